//! The window in which a message id is taken only once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::types::{NanoTime, Nanos, Seq};

/// Message ids of the last `duplicate_window`, each with the sequence it got.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    by_id: HashMap<Bytes, Seq, RandomState>,
    /// In the order they came, which is the order they leave.
    queue: VecDeque<(NanoTime, Bytes)>,
    last: Bytes,
}

impl Dedup {
    /// The sequence that this id got within the window.
    pub fn get(&self, id: &[u8]) -> Option<Seq> {
        self.by_id.get(id).copied()
    }

    /// The id of the newest message that had one; empty if none is remembered.
    pub fn last_id(&self) -> &[u8] {
        &self.last
    }

    /// Remembers an id.
    pub fn insert(&mut self, id: &[u8], seq: Seq, time: NanoTime) {
        // Copied, so that a few bytes of id do not hold on to the buffer of the whole message.
        let id = Bytes::copy_from_slice(id);
        self.last = id.clone();
        if self.by_id.insert(id.clone(), seq).is_none() {
            self.queue.push_back((time, id));
        }
    }

    /// Forgets what is older than the window.
    pub fn expire(&mut self, now: NanoTime, window: Nanos) {
        while let Some((time, _)) = self.queue.front() {
            if *time > now.saturating_sub(window) {
                break;
            }
            if let Some((_, id)) = self.queue.pop_front() {
                self.by_id.remove(&id);
            }
        }
        if self.queue.is_empty() && self.by_id.capacity() > 1024 {
            *self = Self {
                last: std::mem::take(&mut self.last),
                ..Self::default()
            };
        }
    }

    /// When [`Dedup::expire`] next has something to forget.
    pub fn next_deadline(&self, window: Nanos) -> Option<NanoTime> {
        self.queue
            .front()
            .map(|(time, _)| time.saturating_add(window))
    }

    /// Ids, sequences and times, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (&Bytes, Seq, NanoTime)> {
        self.queue
            .iter()
            .filter_map(|(time, id)| self.by_id.get(id).map(|&seq| (id, seq, *time)))
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_the_window_only() {
        let mut dedup = Dedup::default();
        dedup.insert(b"a", 1, 100);
        dedup.insert(b"b", 2, 150);
        dedup.expire(160, 60);
        assert_eq!(dedup.get(b"a"), None);
        assert_eq!(dedup.get(b"b"), Some(2));
        assert_eq!(dedup.next_deadline(60), Some(210));
        dedup.expire(210, 60);
        assert_eq!(dedup.len(), 0);
        assert_eq!(dedup.last_id(), b"b");
    }
}
