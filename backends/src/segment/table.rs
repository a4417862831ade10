//! From sequence to place in one segment: four bytes a record, and sixteen for each run of consecutive sequences.
//!
//! The table of the segment that is being written lives in memory; that of a sealed one is read from its footer
//! through the map.

use std::ops::Range;

use weir_engine::Seq;

use super::format::{ALIGN, u32_at, u64_at};
use super::seal::RUN_LEN;

/// Consecutive sequences: `seq` is in row `slot`, `seq + 1` in the next, until the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first sequence.
    pub seq: Seq,
    /// Its row.
    pub slot: u32,
}

/// A table in memory.
#[derive(Clone, Debug, Default)]
pub struct MemTable {
    /// In ascending order.
    pub runs: Vec<Run>,
    /// For each row, the offset of its frame in units of [`ALIGN`].
    pub offsets: Vec<u32>,
}

impl MemTable {
    /// Adds a record above all others.
    pub fn push(&mut self, seq: Seq, offset: u64) {
        let slot = self.offsets.len() as u32;
        let follows = self
            .runs
            .last()
            .is_some_and(|run| run.seq + u64::from(slot - run.slot) == seq);
        if !follows {
            self.runs.push(Run { seq, slot });
        }
        self.offsets.push((offset / ALIGN) as u32);
    }

    /// Adds `count` rows, from sequence `seq` on, that lie nowhere.
    pub fn push_missing(&mut self, count: usize, seq: Seq) {
        for i in 0..count {
            self.push(seq + i as u64, 0);
        }
    }

    /// The highest sequence.
    pub fn last(&self) -> Option<Seq> {
        let run = self.runs.last()?;
        Some(run.seq + (self.offsets.len() as u64 - u64::from(run.slot)) - 1)
    }
}

/// A table to look things up in.
#[derive(Clone, Copy)]
pub enum TableRef<'a> {
    /// In memory.
    Mem(&'a MemTable),
    /// In a footer: runs and offsets as they are stored.
    Stored(&'a [u8], &'a [u8]),
}

impl TableRef<'_> {
    fn run_count(&self) -> usize {
        match self {
            Self::Mem(table) => table.runs.len(),
            Self::Stored(runs, _) => runs.len() / RUN_LEN,
        }
    }

    fn run(&self, i: usize) -> Run {
        match self {
            Self::Mem(table) => table.runs[i],
            Self::Stored(runs, _) => Run {
                seq: u64_at(runs, i * RUN_LEN),
                slot: u32_at(runs, i * RUN_LEN + 8),
            },
        }
    }

    /// Whether its runs follow each other and are of its rows.
    pub fn is_sound(&self) -> bool {
        let mut free = 0;
        let follow = (0..self.run_count()).all(|i| {
            let run = self.run(i);
            let rows = self.slot_end(i).checked_sub(run.slot);
            let begins = if i == 0 { run.slot == 0 } else { run.seq >= free };
            let end = rows.and_then(|rows| run.seq.checked_add(u64::from(rows)));
            free = end.unwrap_or(0);
            begins && rows > Some(0) && end.is_some()
        });
        follow && (self.run_count() > 0 || self.rows() == 0)
    }

    /// How many records there are.
    pub fn rows(&self) -> u32 {
        match self {
            Self::Mem(table) => table.offsets.len() as u32,
            Self::Stored(_, offsets) => (offsets.len() / 4) as u32,
        }
    }

    /// Where a row's frame lies in the file.
    pub fn offset(&self, slot: u32) -> u64 {
        let units = match self {
            Self::Mem(table) => table.offsets[slot as usize],
            Self::Stored(_, offsets) => u32_at(offsets, slot as usize * 4),
        };
        u64::from(units) * ALIGN
    }

    fn slot_end(&self, run: usize) -> u32 {
        if run + 1 < self.run_count() {
            self.run(run + 1).slot
        } else {
            self.rows()
        }
    }

    /// The runs of sequences from `low` to `high`: the first sequence of each, and its rows.
    pub fn runs_within(&self, low: Seq, high: Seq) -> Vec<(Seq, Range<u32>)> {
        let first = self.partition(|run| run.seq <= low).saturating_sub(1);
        let mut found = Vec::new();
        for i in first..self.run_count() {
            let run = self.run(i);
            if run.seq > high {
                break;
            }
            // A page that could not be read is zeros, and the answer is not used then.
            let len = u64::from(self.slot_end(i).saturating_sub(run.slot));
            let skip = low.saturating_sub(run.seq).min(len);
            let end = (high - run.seq).saturating_add(1).min(len);
            if skip < end {
                found.push((run.seq + skip, run.slot + skip as u32..run.slot + end as u32));
            }
        }
        found
    }

    /// The first run whose property fails, as `slice::partition_point`.
    fn partition(&self, holds: impl Fn(Run) -> bool) -> usize {
        let (mut low, mut high) = (0, self.run_count());
        while low < high {
            let middle = low.midpoint(high);
            if holds(self.run(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The first row whose sequence is `seq` or higher; [`rows`](Self::rows) if there is none.
    pub fn ceiling(&self, seq: Seq) -> u32 {
        let above = self.partition(|run| run.seq <= seq);
        let Some(i) = above.checked_sub(1) else {
            return 0;
        };
        let run = self.run(i);
        let end = self.slot_end(i);
        // A page that could not be read is zeros, and the answer is not used then.
        let distance = seq.saturating_sub(run.seq);
        if distance < u64::from(end.saturating_sub(run.slot)) {
            run.slot + distance as u32
        } else {
            end
        }
    }

    /// The row of a sequence.
    pub fn slot(&self, seq: Seq) -> Option<u32> {
        let slot = self.ceiling(seq);
        (slot < self.rows() && self.seq(slot) == seq).then_some(slot)
    }

    /// The sequence of a row.
    pub fn seq(&self, slot: u32) -> Seq {
        let i = self.partition(|run| run.slot <= slot).saturating_sub(1);
        let run = self.run(i);
        run.seq.saturating_add(u64::from(slot.saturating_sub(run.slot)))
    }
}
