//! What the index of a stream says of its messages, for tools that compare it with the log.

use crate::index::{Digest, Index, KeptUse, Resident};
use crate::stream::message::{has_life, life_in, stored_size_of_record, subject_of};
use crate::stream::{Storage, Stream};
use crate::types::{NanoTime, Seq};

/// An index in memory.
#[derive(Clone, Copy, Debug)]
pub struct IndexInMemory<'a>(&'a Resident);

impl IndexInMemory<'_> {
    /// All that it says of messages, added up anew; see [`Stream::digest`]. Takes as long as there are messages.
    pub fn counted_digest(&self) -> Digest {
        self.0.counted_digest()
    }

    /// Calls with each subject and the number of its messages, in no order.
    pub fn each_subject(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        self.0.each_subject(visit);
    }
}

impl Stream {
    /// See [`StreamState::digest`](crate::stream::StreamState::digest).
    pub fn digest(&self) -> Option<Digest> {
        self.messages.index.digest()
    }

    /// What became of that which was kept of its index when its log was opened.
    pub fn kept_use(&self) -> KeptUse {
        match &self.messages.index {
            Index::Resident(index) => index.kept_use,
            Index::Paged(_) => KeptUse::Unused,
        }
    }

    /// Its index, if that lies in memory: a thread may look at that beside whoever has the stream.
    pub fn index_in_memory(&self) -> Option<IndexInMemory<'_>> {
        match &self.messages.index {
            Index::Resident(index) => Some(IndexInMemory(index)),
            Index::Paged(_) => None,
        }
    }

    /// Whether the index has the ending of a live message that its head tells; so it is where only the body tells, or where the index
    /// does not lie in memory.
    pub fn has_ending(&self, seq: Seq, time: NanoTime, head: &[u8]) -> bool {
        let Index::Resident(index) = &self.messages.index else {
            return true;
        };
        if !has_life(head) && index.first_ending().is_none() {
            return true;
        }
        let life = life_in(head, |_| Err(()));
        life.is_ok_and(|life| index.ending_at(seq) == life.end(time)) || life.is_err()
    }

    /// Where its messages are kept, as far as limits count them.
    pub fn storage(&self) -> Storage {
        self.messages.config.storage
    }
}

/// Adds a record to a digest as the index of a stream of that storage has it.
pub fn digest_record(digest: &mut Digest, storage: Storage, seq: Seq, head: &[u8], body_len: usize) {
    digest.add(seq, subject_of(head), stored_size_of_record(storage, head, body_len));
}
