//! The window in which a message id is taken only once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::types::{NanoTime, Nanos, Seq};

/// Message ids of the last `duplicate_window`, each with the sequence it got.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    by_id: HashMap<Bytes, (Seq, NanoTime), RandomState>,
    /// In the order they came, which is the order they leave. An id that was taken again after its window stands here
    /// twice until the first is forgotten.
    queue: VecDeque<(NanoTime, Bytes)>,
    last: Bytes,
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
        if self.last != id {
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
        }
        if self.queue.is_empty() && self.by_id.capacity() > 1024 {
            *self = Self {
                last: std::mem::take(&mut self.last),
                ..Self::default()
            };
        }
    }

    /// The time of the day has stepped: the window lasts as long as it would have.
    pub fn step(&mut self, step: Nanos) {
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

    /// Ids, sequences and times, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (&Bytes, Seq, NanoTime)> {
        self.queue.iter().filter_map(|(time, id)| {
            let (seq, at) = self.by_id.get(id)?;
            (at == time).then_some((id, *seq, *time))
        })
    }

    /// How many ids are remembered.
    #[cfg(test)]
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
        dedup.set_last(b"");
        assert_eq!(dedup.last_id(), b"");
    }

    #[test]
    fn an_id_taken_again_is_remembered_from_then_on() {
        // As a journal's tail is applied: nothing is forgotten between the two.
        let mut dedup = Dedup::default();
        dedup.insert(b"a", 1, 100);
        dedup.insert(b"a", 9, 200);
        assert_eq!(dedup.entries().count(), 1);
        dedup.expire(210, 60);
        assert_eq!(dedup.get(b"a"), Some(9));
        dedup.expire(260, 60);
        assert_eq!(dedup.get(b"a"), None);
    }
}
