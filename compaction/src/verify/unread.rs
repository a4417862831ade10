//! Messages that cannot be read, one by one: those of which the same is said are told of together.

use std::collections::HashMap;
use std::path::PathBuf;

use weir_engine::{Seq, words};

use super::report::{Found, Standing};

/// Ranges that a text names.
const NAMED_MAX: usize = 16;

/// What is said of a message, its sequence left out; where; and whether that is settled.
type Same = (String, Option<PathBuf>, Option<u64>, Standing);

/// What was found so far.
#[derive(Default)]
pub(super) struct Unread {
    found: Vec<Found>,
    /// Which of them says that.
    said: HashMap<Same, usize>,
}

impl Unread {
    /// `found` is of that message alone; they come in the order of their sequences.
    pub fn add(&mut self, seq: Seq, found: Found) {
        let what = found.text.replace(&of(&[(seq, seq)]), "");
        let same = (what, found.file.clone(), found.offset, found.standing);
        let at = *self.said.entry(same).or_insert(self.found.len());
        let Some(first) = self.found.get_mut(at) else {
            self.found.push(found);
            return;
        };
        let before = of(&first.lost);
        match first.lost.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => first.lost.push((seq, seq)),
        }
        first.text = first.text.replace(&before, &of(&first.lost));
        // Of one message it is told.
        first.subject = None;
    }

    /// All of them.
    pub fn into_found(self) -> Vec<Found> {
        self.found
    }
}

/// As an error names a sequence, and as several are named.
fn of(ranges: &[(Seq, Seq)]) -> String {
    let named = words::numbered("sequence", &ranges[..ranges.len().min(NAMED_MAX)]);
    match ranges.len() > NAMED_MAX {
        true => format!(", {named} and others:"),
        false => format!(", {named}:"),
    }
}

#[cfg(test)]
mod tests;
