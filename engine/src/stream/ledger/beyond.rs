//! Sequences that are lost and have no range of a ledger with a reason: only which they are, and whether somebody has seen it.

use serde::{Deserialize, Serialize};

use crate::types::{NUMBER_MAX, Seq};

/// Ranges that are kept, each of some twenty bytes; of what comes beyond them a ledger keeps only the number.
pub const BEYOND_RANGES: usize = 16_384;

/// Consecutive sequences, `first` to `last`, and whether their loss is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range(Seq, Seq, bool);

/// Ranges in order, none of which overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beyond(Vec<Range>);

impl Beyond {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they can be what was kept.
    pub fn is_sound(&self) -> bool {
        let sound = |range: &Range| range.0 <= range.1 && range.1 <= NUMBER_MAX;
        self.0.is_sorted_by(|one, next| one.1 < next.0) && self.0.iter().all(sound)
    }

    /// How many sequences.
    pub fn count(&self) -> u64 {
        let all = self.0.iter().map(|range| range.1 - range.0 + 1);
        all.fold(0, u64::saturating_add)
    }

    /// All of them, and whether each is settled.
    pub fn ranges(&self) -> impl Iterator<Item = ((Seq, Seq), bool)> + '_ {
        self.0.iter().map(|range| ((range.0, range.1), range.2))
    }

    /// The first of them that reaches to a sequence or beyond, and whether it is settled.
    pub fn from(&self, seq: Seq) -> Option<((Seq, Seq), bool)> {
        let range = self.0.get(self.place(seq))?;
        Some(((range.0, range.1), range.2))
    }

    fn place(&self, seq: Seq) -> usize {
        self.0.partition_point(|range| range.1 < seq)
    }

    /// Takes in a range that none of these overlaps; answers whether there is room for it.
    pub fn insert(&mut self, (first, last): (Seq, Seq), settled: bool) -> bool {
        let at = self.place(first);
        let before = at
            .checked_sub(1)
            .filter(|&i| self.0[i].1 + 1 == first && self.0[i].2 == settled);
        let after = self
            .0
            .get(at)
            .is_some_and(|range| last + 1 == range.0 && range.2 == settled);
        match (before, after) {
            (Some(i), true) => {
                self.0[i].1 = self.0[at].1;
                self.0.remove(at);
            }
            (Some(i), false) => self.0[i].1 = last,
            (None, true) => self.0[at].0 = first,
            (None, false) if self.0.len() >= BEYOND_RANGES => return false,
            (None, false) => self.0.insert(at, Range(first, last, settled)),
        }
        true
    }

    /// Somebody has seen all of them.
    pub fn settle(&mut self) {
        let all = std::mem::take(&mut self.0);
        for range in all {
            self.insert((range.0, range.1), true);
        }
    }

    /// Takes sequences out, `first` to `last`; answers which of them were there, and whether each was settled. One may be cut in two, so
    /// that there is one more than is kept otherwise.
    pub fn take_out(&mut self, first: Seq, last: Seq) -> Vec<((Seq, Seq), bool)> {
        let mut out = Vec::new();
        for Range(low, high, settled) in std::mem::take(&mut self.0) {
            let (from, to) = (low.max(first), high.min(last));
            if from > to {
                self.0.push(Range(low, high, settled));
                continue;
            }
            out.push(((from, to), settled));
            if low < from {
                self.0.push(Range(low, from - 1, settled));
            }
            if to < high {
                self.0.push(Range(to + 1, high, settled));
            }
        }
        out
    }
}
