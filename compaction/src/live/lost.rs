//! What a server says that a stream has lost.

use serde_json::Value;
use weir_engine::{Seq, words};

/// Sequences that a server lists, at most; those of Weir's say besides how many there are in all.
const LISTED_MAX: usize = 1000;
/// Ranges that a text names.
const NAMED_MAX: usize = 16;

/// Lost messages of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Those that are listed, in order.
    pub listed: Vec<Seq>,
    /// How many there are.
    pub total: u64,
    /// Whether there may be more than that: the server lists so many, and does not count the others.
    pub at_least: bool,
    /// How many of them somebody has settled.
    pub settled: u64,
}

impl Losses {
    /// Of a stream's state, as its info has it.
    pub fn of(state: &Value) -> Self {
        let lost = &state["lost"];
        let listed = lost["msgs"].as_array().into_iter().flatten();
        let listed: Vec<Seq> = listed.filter_map(Value::as_u64).collect();
        let total = lost["total"].as_u64();
        Self {
            total: total.unwrap_or(listed.len() as u64),
            at_least: total.is_none() && listed.len() >= LISTED_MAX,
            settled: lost["settled"].as_u64().unwrap_or(0),
            listed,
        }
    }

    /// Whether there are some that nobody has settled.
    pub fn are_open(&self) -> bool {
        self.total > self.settled
    }

    /// How many nobody has settled.
    pub fn open(&self) -> u64 {
        self.total.saturating_sub(self.settled)
    }

    /// Those of them that an earlier look did not list, within these sequences.
    pub fn newer_than(&self, before: &Self, first: Seq, last: Seq) -> Vec<Seq> {
        let is_new = |seq: &&Seq| (first..=last).contains(*seq) && before.listed.binary_search(seq).is_err();
        self.listed.iter().filter(is_new).copied().collect()
    }

    /// "messages 3, 7 to 9", as many as are named, and how many more there are.
    pub fn to_text(&self) -> String {
        let ranges = ranges_of(&self.listed);
        let shown = &ranges[..ranges.len().min(NAMED_MAX)];
        let named: u64 = shown.iter().map(|(first, last)| last - first + 1).sum();
        let mut text = words::numbered("message", shown);
        let more = self.total.saturating_sub(named);
        if more > 0 || self.at_least {
            text += &match self.at_least {
                true => format!(" and others ({} at least)", self.total),
                false => format!(" and {more} more ({} in all)", self.total),
            };
        }
        match self.settled {
            0 => text,
            settled if settled == self.total => text + "; settled",
            settled => text + &format!("; {settled} of them settled"),
        }
    }
}

/// Sequences, in order, as ranges with both ends included.
pub(super) fn ranges_of(seqs: &[Seq]) -> Vec<(Seq, Seq)> {
    let mut ranges: Vec<(Seq, Seq)> = Vec::new();
    for &seq in seqs {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
