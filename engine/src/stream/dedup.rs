//! The window in which a message id is taken only once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::types::{NanoTime, Nanos, Seq};
use crate::varint::{put, take};

/// Bytes of ids that a checkpoint keeps under one key.
const PART_BYTES: usize = 256 << 10;

/// Adds an id: its sequence and time (LEB128), its length, its bytes.
pub(crate) fn pack_id(out: &mut Vec<u8>, id: &[u8], seq: Seq, time: NanoTime) {
    put(out, seq);
    put(out, time as u64);
    put(out, id.len() as u64);
    out.extend_from_slice(id);
}

/// Reads what [`pack_id`] wrote, as far as it makes sense.
pub(crate) fn unpack_ids(packed: &[u8], found: &mut dyn FnMut(&[u8], Seq, NanoTime)) {
    let mut rest = packed;
    let mut next = || {
        let seq = take(&mut rest)?;
        let time = take(&mut rest)? as NanoTime;
        let len = usize::try_from(take(&mut rest)?).ok()?;
        let (id, after) = rest.split_at_checked(len)?;
        rest = after;
        Some((seq, time, id))
    };
    while let Some((seq, time, id)) = next() {
        found(id, seq, time);
    }
}

/// Ids of one window that a checkpoint keeps under one key of its own.
#[derive(Clone, Copy, Debug)]
struct Part {
    number: u64,
    /// Of its ids so many are still in the queue.
    left: usize,
}

/// What a checkpoint has to write of a window.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Parts whose ids are all forgotten.
    pub gone: Vec<u64>,
    /// New parts, each a number and its packed ids.
    pub new: Vec<(u64, Bytes)>,
}

/// Message ids of the last `duplicate_window`, each with the sequence it got.
///
/// Checkpoints keep them in parts: each writes the ids that came since the last one, and removes the parts that are too
/// old as a whole. So a checkpoint writes no more than the journal grew by, however long the window is.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    by_id: HashMap<Bytes, (Seq, NanoTime), RandomState>,
    /// In the order they came, which is the order they leave. An id that was taken again after its window stands here
    /// twice until the first is forgotten.
    queue: VecDeque<(NanoTime, Bytes)>,
    last: Bytes,
    /// The parts that checkpoints have, oldest first; together they hold the front of the queue.
    parts: VecDeque<Part>,
    /// Parts that checkpoints have and need not.
    gone: Vec<u64>,
    next_part: u64,
    /// How many ids at the end of the queue no checkpoint has.
    unsaved: usize,
}

impl Dedup {
    /// The sequence that this id got within the window.
    pub fn get(&self, id: &[u8]) -> Option<Seq> {
        self.by_id.get(id).map(|(seq, _)| *seq)
    }

    /// The id of the newest message; empty if it had none.
    pub fn last_id(&self) -> &[u8] {
        &self.last
    }

    /// Notes the id of the newest message; empty if it has none.
    pub fn set_last(&mut self, id: &[u8]) {
        // Most messages have none, and comparing two empty slices took 9 % of a storage thread that stores small ones.
        let same = self.last.len() == id.len() && (id.is_empty() || self.last == id);
        if !same {
            self.last = Bytes::copy_from_slice(id);
        }
    }

    /// Remembers an id, which is the newest message's.
    pub fn insert(&mut self, id: &[u8], seq: Seq, time: NanoTime) {
        // Copied, so that a few bytes of id do not hold on to the buffer of the whole message.
        let id = Bytes::copy_from_slice(id);
        self.last = id.clone();
        self.by_id.insert(id.clone(), (seq, time));
        self.queue.push_back((time, id));
        self.unsaved += 1;
    }

    /// The ids with their sequences, in no order.
    #[cfg(feature = "conformance")]
    pub fn ids(&self) -> impl Iterator<Item = (&Bytes, Seq)> {
        self.by_id.iter().map(|(id, (seq, _))| (id, *seq))
    }

    /// The same ids, of which no checkpoint has any.
    #[cfg(feature = "conformance")]
    pub fn copy(&self) -> Self {
        let mut copy = Self::default();
        for (time, id) in &self.queue {
            if let Some((seq, _)) = self.by_id.get(id).filter(|(_, at)| at == time) {
                copy.insert(id, *seq, *time);
            }
        }
        copy.last = self.last.clone();
        copy
    }

    /// What came and went since this was last asked: for a checkpoint. Each new part is up to about [`PART_BYTES`] long.
    pub fn take_delta(&mut self) -> Delta {
        let mut delta = Delta {
            gone: std::mem::take(&mut self.gone),
            new: Vec::new(),
        };
        let mut packed = Vec::new();
        let mut count = 0;
        let mut parts = Vec::new();
        let from = self.queue.len() - self.unsaved;
        for (time, id) in self.queue.range(from..) {
            count += 1;
            // One that was taken again since stands further back once more.
            if let Some((seq, _)) = self.by_id.get(id).filter(|(_, at)| at == time) {
                pack_id(&mut packed, id, *seq, *time);
            }
            if packed.len() >= PART_BYTES {
                parts.push((std::mem::take(&mut count), std::mem::take(&mut packed)));
            }
        }
        if count > 0 {
            parts.push((count, packed));
        }
        for (left, packed) in parts {
            let number = self.next_part;
            self.next_part += 1;
            self.parts.push_back(Part { number, left });
            delta.new.push((number, packed.into()));
        }
        self.unsaved = 0;
        delta
    }

    /// What checkpoints were given may not be there: the next one writes all of it again.
    pub fn forget_saved(&mut self) {
        self.gone.extend(self.parts.drain(..).map(|part| part.number));
        self.unsaved = self.queue.len();
    }

    /// Takes up a part that a checkpoint has; parts come in the order of their numbers. What makes no sense ends it. Ids are written before the
    /// snapshot: those of messages above the last that this has, `up_to`, are left out, for the journal has them behind those before.
    pub fn load_part(&mut self, number: u64, packed: &[u8], up_to: Seq) {
        let before = self.queue.len();
        let last = self.last.clone();
        unpack_ids(packed, &mut |id, seq, time| {
            if seq <= up_to {
                self.insert(id, seq, time);
            }
        });
        self.last = last;
        let left = self.queue.len() - before;
        self.unsaved -= left;
        self.next_part = self.next_part.max(number + 1);
        match left {
            0 => self.gone.push(number),
            left => self.parts.push_back(Part { number, left }),
        }
    }

    /// Forgets what is older than the window.
    pub fn expire(&mut self, now: NanoTime, window: Nanos) {
        while let Some((time, _)) = self.queue.front() {
            if *time > now.saturating_sub(window) {
                break;
            }
            if let Some((time, id)) = self.queue.pop_front()
                && self.by_id.get(&id).is_some_and(|(_, at)| *at == time)
            {
                self.by_id.remove(&id);
            }
            self.unsaved = self.unsaved.min(self.queue.len());
            if let Some(part) = self.parts.front_mut() {
                part.left -= 1;
                if part.left == 0 {
                    self.gone.push(part.number);
                    self.parts.pop_front();
                }
            }
        }
        if self.queue.is_empty() && self.by_id.capacity() > 1024 {
            self.by_id = HashMap::default();
            self.queue = VecDeque::new();
        }
    }

    /// The time of the day has stepped: the window lasts as long as it would have.
    pub fn step(&mut self, step: Nanos) {
        // Checkpoints have the times of before.
        self.forget_saved();
        for (time, _) in &mut self.queue {
            *time = time.saturating_add(step);
        }
        for (_, time) in self.by_id.values_mut() {
            *time = time.saturating_add(step);
        }
    }

    /// When [`Dedup::expire`] next has something to forget.
    pub fn next_deadline(&self, window: Nanos) -> Option<NanoTime> {
        self.queue.front().map(|(time, _)| time.saturating_add(window))
    }

    /// How many ids are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests;
