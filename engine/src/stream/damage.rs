//! Records that could not be read: each is reported once, however many readers come by it.

use std::collections::BTreeSet;

use crate::types::Seq;

/// Damaged records of one stream that are remembered as reported. Beyond these the oldest sequences are forgotten, and may
/// be reported again.
const REMEMBERED: usize = 4096;

/// The damaged records of a stream that readers met since it was opened.
#[derive(Debug, Default)]
pub(super) struct Damage {
    met: BTreeSet<Seq>,
    /// Not yet told to the world.
    untold: Vec<Seq>,
}

impl Damage {
    /// A reader met one; answers whether it is the first to do so.
    pub fn found(&mut self, seq: Seq) -> bool {
        if !self.met.insert(seq) {
            return false;
        }
        if self.met.len() > REMEMBERED {
            self.met.pop_first();
        }
        if self.untold.len() < REMEMBERED {
            self.untold.push(seq);
        }
        true
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
