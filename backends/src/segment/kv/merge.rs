//! What two copies of a key-value file say together.

use weir_engine::words;

use super::batch::{BATCH_HEADER, FILE_HEADER, Pairs, StoredBatch, batches, file_header};

/// How many copies there are.
pub const COPIES: usize = 2;

/// What one copy is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It says all that the merge says.
    Whole,
    /// It has all up to this offset, and nothing behind: it is not there, or the writing process ended before it came to
    /// the second copy.
    Short(u64),
    /// An unfinished write, which nobody was answered for, is in it from this offset on.
    Torn(u64),
    /// At or behind this offset it is not what was written.
    Damaged(u64),
}

/// The outcome of a merge.
#[derive(Debug, Default)]
pub struct Merged {
    /// What the batches made.
    pub pairs: Pairs,
    /// The bytes of a copy as it should be; only if nothing is lost.
    pub image: Vec<u8>,
    /// Where the batches end.
    pub end: u64,
    /// The number of the last batch.
    pub number: u64,
    /// The highest mark.
    pub mark: u64,
    /// Where the batch of the mark ends.
    pub durable_end: u64,
    /// What is damaged in all copies, one line each.
    pub lost: Vec<String>,
    /// As that, where nothing was lost with it.
    pub blank: Vec<String>,
    /// Where each of these begins: no copy has there what was written.
    pub holes: Vec<u64>,
}

impl Merged {
    /// Merges the copies that are there. A batch counts if any copy has it whole.
    pub fn of(copies: &[Option<Vec<u8>>], generation: u64) -> Self {
        let found: Vec<Vec<StoredBatch<'_>>> = copies.iter().flatten().map(|data| batches(data, generation)).collect();
        let all = || found.iter().flatten();
        let mark = all().map(|batch| batch.durable).max().unwrap_or(0);
        let mut good: Vec<&StoredBatch<'_>> = all().filter(|batch| batch.raw.is_some()).collect();
        good.sort_by_key(|batch| (batch.number, batch.at));
        good.dedup_by_key(|batch| (batch.number, batch.at));
        let mut merged = Self {
            image: file_header(generation).to_vec(),
            end: FILE_HEADER as u64,
            mark,
            // Before a first sync not even the header need be there.
            durable_end: if mark > 0 { FILE_HEADER as u64 } else { 0 },
            ..Self::default()
        };
        for batch in good {
            if batch.number <= merged.number || batch.at < merged.end {
                continue;
            }
            if batch.number != merged.number + 1 || batch.at != merged.end {
                // As for logs: what is broken above the mark is torn, and cut with all that follows.
                if merged.number + 1 > mark {
                    break;
                }
                merged.lose(batch.at, batch.number - 1);
            }
            merged.take(batch);
        }
        if merged.number < mark {
            let end = copies.iter().flatten().map(|data| data.len() as u64).max();
            merged.lose(end.unwrap_or(0), mark);
        }
        merged
    }

    fn take(&mut self, batch: &StoredBatch<'_>) {
        self.number = batch.number;
        self.end = batch.end;
        if let Some(raw) = batch.raw {
            self.image.resize(batch.at as usize, 0);
            self.image.extend_from_slice(raw);
            self.image.resize(batch.end as usize, 0);
        }
        if let Some(payload) = batch.payload()
            && self.pairs.apply_payload(payload).is_none()
        {
            self.lost.push(format!("offset {} makes no sense", batch.at));
        }
        if self.number <= self.mark {
            self.durable_end = self.end;
        }
    }

    fn lose(&mut self, until: u64, last: u64) {
        let (from, first) = (self.end, self.number + 1);
        self.holes.push(from);
        // The shortest batch with a write in it is longer than one that only states the mark.
        let marks = last.saturating_sub(self.number).saturating_mul(BATCH_HEADER as u64);
        if until.saturating_sub(from) == marks {
            let line = format!("offset {from} to {until} is damaged in every copy; it held no writes");
            self.blank.push(line);
        } else {
            let lost = words::numbered("write", &[(first, last)]);
            self.lost.push(format!(
                "offset {from} to {until} is damaged in every copy; lost: {lost}"
            ));
        }
        self.number = self.number.max(last);
        self.end = self.end.max(until);
        self.durable_end = self.end;
    }

    /// What a copy is worth, against what the merge says.
    pub fn worth(&self, copy: Option<&[u8]>) -> Worth {
        let Some(copy) = copy else {
            return Worth::Short(0);
        };
        // What follows the last byte that is not zero was not written.
        let written = copy.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let image = self.image.iter().zip(copy);
        let same = image.take_while(|(ours, theirs)| ours == theirs).count();
        let short = written <= same;
        match same as u64 {
            at if short && same < self.image.len() => Worth::Short(at),
            _ if short => Worth::Whole,
            at if at < self.durable_end && same < self.image.len() => Worth::Damaged(at),
            at => Worth::Torn(at),
        }
    }
}
