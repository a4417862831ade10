//! Which consumers want which subjects, and who of them is told of messages that went away.

use crate::consumer::Consumer;
use crate::stream::Stream;
use crate::types::Seq;

impl Stream {
    pub(super) fn subscribe(&mut self, serial: u64, filters: &[bytes::Bytes]) {
        if self.consumers.get(&serial).is_some_and(Consumer::has_list) {
            self.listed.push(serial);
        }
        if filters.is_empty() {
            self.unfiltered.push(serial);
            return;
        }
        let keys = filters
            .iter()
            .filter_map(|filter| self.filtered.insert(filter, serial).ok())
            .collect();
        self.filter_keys.insert(serial, keys);
    }

    pub(super) fn unsubscribe(&mut self, serial: u64) {
        self.unfiltered.retain(|other| *other != serial);
        self.listed.retain(|other| *other != serial);
        for key in self.filter_keys.remove(&serial).unwrap_or_default() {
            self.filtered.remove(key);
        }
    }

    /// Finds the consumers that want a subject.
    pub(super) fn find_interested(&mut self, subject: &[u8]) {
        self.interested.clear();
        self.interested.extend_from_slice(&self.unfiltered);
        if self.filtered.is_empty() {
            return;
        }
        let interested = &mut self.interested;
        let unfiltered = interested.len();
        self.filtered.matches(subject, &mut |serial| interested.push(*serial));
        if interested.len() > unfiltered + 1 {
            // A consumer with several filters is still one.
            interested[unfiltered..].sort_unstable();
            interested.dedup();
        }
    }

    /// A message is gone: it counts no longer for the consumers that have it on the list that they began with. Their filters
    /// may have changed since, so the message's subject does not find them.
    pub(super) fn uncount_listed(&mut self, seq: Seq) {
        let consumers = &mut self.consumers;
        self.listed.retain(|serial| {
            let consumer = consumers.get_mut(serial).filter(|consumer| consumer.has_list());
            consumer.map(|consumer| consumer.unlist(seq)).is_some()
        });
    }

    /// Tells the consumers that want them of messages that went away.
    pub(super) fn tell_removed(&mut self) {
        if self.messages.removed.is_empty() {
            return;
        }
        for removed in std::mem::take(&mut self.messages.removed) {
            self.find_interested(&removed.subject);
            for serial in &self.interested {
                if let Some(consumer) = self.consumers.get_mut(serial)
                    && consumer.removed(removed.seq)
                {
                    self.progressed.push(consumer.serial);
                    if !consumer.queued {
                        consumer.queued = true;
                        self.queue.push(consumer.serial);
                    }
                }
            }
            self.uncount_listed(removed.seq);
        }
    }
}
