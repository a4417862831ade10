//! Records that could not be read: each is reported once, however many readers come by it, and very many of them in few lines.

use std::collections::BTreeSet;

use crate::types::Seq;

/// Damaged records of one stream that are remembered as reported. Beyond these the oldest sequences are forgotten, and may
/// be reported again.
const REMEMBERED: usize = 4096;

/// Damaged records of one stream each of which has a line of the log. Of more there is one each time that they are twice as many: a file that
/// is gone may have had millions.
const LINES: u64 = 64;

/// What is said in the log of a damaged record that a reader met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// That it is damaged.
    Of,
    /// That it is, and how many were met.
    AndCount(u64),
    /// It is one of many, or was met before.
    Nothing,
}

/// The damaged records of a stream that readers met since it was opened.
#[derive(Debug, Default)]
pub(super) struct Damage {
    met: BTreeSet<Seq>,
    /// How many were met.
    count: u64,
    /// Not yet told to the world.
    untold: Vec<Seq>,
}

impl Damage {
    /// A reader met one.
    pub fn found(&mut self, seq: Seq) -> Line {
        if !self.met.insert(seq) {
            return Line::Nothing;
        }
        if self.met.len() > REMEMBERED {
            self.met.pop_first();
        }
        if self.untold.len() < REMEMBERED {
            self.untold.push(seq);
        }
        self.count += 1;
        match self.count {
            count if count < LINES => Line::Of,
            count if count.is_power_of_two() => Line::AndCount(count),
            _ => Line::Nothing,
        }
    }

    /// It is removed.
    pub fn gone(&mut self, seq: Seq) {
        self.met.remove(&seq);
    }

    /// Those below a sequence that are still there.
    pub fn below(&self, seq: Seq) -> Vec<Seq> {
        self.met.range(..seq).copied().collect()
    }

    /// Whether some were met since they were last taken.
    pub fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Those met since this was last asked.
    pub fn take(&mut self) -> Vec<Seq> {
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests;
