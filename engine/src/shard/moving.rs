//! A journal is kept for streams that are offline from the first record on that they need to be opened anew. Where it grows
//! too long, what they need is written once more at its end, a slice in each turn, so that a checkpoint frees what is
//! before. Each such record says which number it had first: a stream that has it already passes over it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::backend::{Direction, Want};
use crate::error::{Kind, Result};
use crate::shard::Shard;
use crate::shard::command::{moved_head, stream_of};
use crate::types::{Entry, Record, Seq, StreamId};

/// A journal that is kept for offline streams may hold so many times the bytes between two checkpoints before what they need
/// is moved; and twice what was moved the last time.
const KEPT_CHECKPOINTS: u64 = 4;
/// Bytes of the journal that are looked at in one turn.
const SLICE_BYTES: usize = 1 << 20;
/// Records of the journal that are looked at in one turn.
const SLICE_RECORDS: usize = 4096;

/// A move that is under way.
#[derive(Debug)]
pub(super) struct Moving {
    /// The next record to look at, and the last.
    next: Seq,
    end: Seq,
    /// The streams that were offline when it began: which records each needs, and where they are now.
    needs: BTreeMap<StreamId, Needs>,
    bytes: u64,
}

#[derive(Debug)]
struct Needs {
    /// Behind the first, and up to the second of these records.
    records: (Seq, Seq),
    moved: Option<(Seq, Seq)>,
}

impl Shard {
    /// A checkpoint was written: begins to move what offline streams need if the journal is too long because of them.
    pub(super) fn move_if_due(&mut self) {
        let held = self.offline.needs_behind().is_some_and(|needed| needed < self.position);
        let limit = (self.env.checkpoint_bytes as u64).saturating_mul(KEPT_CHECKPOINTS);
        let limit = limit.max(self.moved_bytes.saturating_mul(2));
        let extent = self.commit.reader().extent();
        if !held || self.moving.is_some() || extent.bytes <= limit {
            return;
        }
        let needs = self
            .offline
            .needs()
            .map(|(id, records)| (id, Needs { records, moved: None }));
        tracing::warn!(
            shard = %self.number,
            bytes = extent.bytes,
            "the journal is long because streams are offline: what they need of it is moved to its end"
        );
        self.moving = Some(Moving {
            next: extent.first,
            end: self.position,
            needs: needs.collect(),
            bytes: 0,
        });
    }

    /// Whether a move can go on: not while a stream is being opened anew, which reads what is moved.
    pub(super) fn can_move(&self) -> bool {
        self.moving.is_some() && !self.offline.is_opening()
    }

    /// Moves a slice.
    ///
    /// # Errors
    /// If the journal failed.
    pub(super) fn go_on_moving(&mut self) -> Result<()> {
        if !self.can_move() {
            return Ok(());
        }
        let Some(mut moving) = self.moving.take() else {
            return Ok(());
        };
        // Behind the word of its deletion, that of its creation would make a stream once more; and one that was opened anew needs
        // nothing.
        moving.needs.retain(|id, _| self.offline.contains(*id));
        let entries = self.next_slice(&mut moving)?;
        let heads: Vec<Vec<u8>> = entries.iter().map(|entry| moved_head(&entry.head, entry.seq)).collect();
        let records: Vec<Record<'_>> = (self.position + 1..)
            .zip(entries.iter().zip(&heads))
            .map(|(seq, (entry, head))| Record {
                seq,
                time: entry.time,
                head,
                body: &entry.body,
            })
            .collect();
        match self.commit.submit(&records) {
            Ok(()) => {}
            Err(error) if matches!(error.kind, Kind::Full | Kind::Invalid) => {
                tracing::error!(
                    shard = %self.number,
                    "the journal is kept as it is for streams that are offline: {error}"
                );
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for record in &records {
            let bytes = record.head.len() + record.body.len();
            moving.bytes += bytes as u64;
            self.checkpoint.grown(bytes + 64);
            if let Some(needs) = stream_of(record.head).and_then(|id| moving.needs.get_mut(&id)) {
                let (first, _) = needs.moved.unwrap_or((record.seq, record.seq));
                needs.moved = Some((first, record.seq));
            }
        }
        self.position += records.len() as Seq;
        match moving.next > moving.end {
            true => self.moved(moving),
            false => {
                self.moving = Some(moving);
                Ok(())
            }
        }
    }

    /// What the next slice has of what is needed.
    fn next_slice(&self, moving: &mut Moving) -> Result<Vec<Entry>> {
        let (mut needed, mut bytes, mut looked) = (Vec::new(), 0, 0);
        let (mut next, end) = (moving.end + 1, moving.end);
        self.commit
            .reader()
            .scan(moving.next..=end, Want::Full, Direction::Forward, &mut |entry| {
                if bytes >= SLICE_BYTES || looked >= SLICE_RECORDS {
                    next = entry.seq;
                    return ControlFlow::Break(());
                }
                bytes += entry.head.len() + entry.body.len();
                looked += 1;
                let needs = stream_of(entry.head).and_then(|id| moving.needs.get(&id));
                if needs.is_some_and(|needs| needs.records.0 < entry.seq && entry.seq <= needs.records.1) {
                    needed.push(entry.to_entry());
                }
                ControlFlow::Continue(())
            })?;
        moving.next = next;
        Ok(needed)
    }

    /// All is moved: the next checkpoint frees what was kept.
    fn moved(&mut self, moving: Moving) -> Result<()> {
        self.commit.sync()?;
        self.moved_bytes = moving.bytes;
        for (id, needs) in moving.needs {
            let now = match needs.moved {
                Some((first, last)) => (first - 1, last),
                None => (moving.end, moving.end),
            };
            self.offline.now_needs(id, needs.records, now);
        }
        Ok(())
    }
}
