//! Messages that lie on a disk and not in memory: reading them is for a thread that may wait, not for the shard's.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::backend::LogReader;
use crate::stream::{Message, Stream};
use crate::types::Seq;

/// Messages of a stream that a disk has to be waited for.
#[derive(Clone)]
pub struct Unread {
    reader: Arc<dyn LogReader>,
    seqs: RangeInclusive<Seq>,
}

/// What comes of reading a message without waiting for a disk.
#[derive(Debug)]
pub enum AtHand {
    /// It.
    Message(Message),
    /// A disk has to be waited for.
    Unread,
    /// It has been removed meanwhile or cannot be read: the stream, asked for it, says which.
    Odd,
}

impl Unread {
    pub(crate) fn new(reader: Arc<dyn LogReader>, seqs: RangeInclusive<Seq>) -> Self {
        Self { reader, seqs }
    }

    /// The first of them.
    pub fn first(&self) -> Seq {
        *self.seqs.start()
    }

    /// Waits for the disk: read soon, on the shard's thread, they are in memory.
    pub fn fetch(&self) {
        self.reader.fetch(self.seqs.clone());
    }

    /// Reads the first of them, if no disk has to be waited for.
    pub fn read_at_hand(&self) -> AtHand {
        let seq = *self.seqs.start();
        if self.reader.at_hand(seq..=seq).is_none() {
            return AtHand::Unread;
        }
        let entry = self.reader.get(seq).ok().flatten();
        let message = entry.and_then(|entry| Message::unpack(entry).ok());
        message.map_or(AtHand::Odd, AtHand::Message)
    }

    /// Waits for the disk, and reads the first of them. `None` if it has been removed meanwhile or cannot be read: the stream, asked
    /// once more, says which.
    pub fn read(&self) -> Option<Message> {
        // Exactly what is needed, where looking at a map would have the kernel read much around it.
        let seq = *self.seqs.start();
        self.reader.fetch(seq..=seq);
        let entry = self.reader.get(seq).ok()??;
        Message::unpack(entry).ok()
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unread").field(&self.seqs).finish()
    }
}

impl Stream {
    /// A message, if reading it would wait for a disk.
    pub fn unread(&self, seq: Seq) -> Option<Unread> {
        let cold = self.messages.is_cold(seq);
        cold.then(|| Unread::new(self.messages.reader().clone(), seq..=seq))
    }

    /// The messages from a sequence on, within the next `count` sequences, if reading these would wait for a disk.
    pub fn unread_from(&self, from: Seq, count: u64) -> Option<Unread> {
        let first = self.messages.index.next_live(from).ok()??;
        let last = first
            .saturating_add(count.saturating_sub(1))
            .min(self.messages.log_last());
        let reader = self.messages.reader();
        let cold = first <= last && reader.at_hand(first..=last).is_none_or(|reach| reach < last);
        cold.then(|| Unread::new(reader.clone(), first..=last))
    }
}
