//! A stream is read for its backup.

use weir_engine::stream::{Portion, Stream, Unread};
use weir_engine::{Result, Seq};

use crate::archive::{BackupConsumer, BackupState};

/// Messages that are read at a time.
const MESSAGES: usize = 1000;
/// Bytes that are read at a time, give or take one message: less than are fetched from a disk at once, and so little that the shard is not
/// kept by it.
const BYTES: usize = 512 << 10;
const _: () = assert!(
    BYTES as u64 * 2 <= weir_engine::FETCH_BYTES,
    "a portion waits for the disk on the shard's thread"
);

/// How far the reading of a stream is. What comes to the stream meanwhile is no part of it.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    next: Seq,
    last: Seq,
}

/// What a backup begins with.
#[derive(Debug)]
pub struct Begun {
    /// What the stream holds.
    pub state: BackupState,
    /// Its consumers.
    pub consumers: Vec<BackupConsumer>,
    /// The messages are to be read now.
    pub reading: Reading,
}

impl Reading {
    /// Begins with a stream as it is now, with or without its consumers.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn begin(stream: &mut Stream, with_consumers: bool) -> Result<Begun> {
        let consumers = match with_consumers {
            true => stream.consumer_backups(),
            false => Vec::new(),
        };
        let state = stream.state()?;
        let last = state.last_seq;
        Ok(Begun {
            state: BackupState::of(&state, consumers.len()),
            consumers: consumers
                .into_iter()
                .map(|consumer| BackupConsumer::of(consumer, last))
                .collect(),
            reading: Self { next: 0, last },
        })
    }

    /// The messages that the stream has and that a portion, read from the sequence `from` on, passed over: they are damaged.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn damaged(&self, stream: &Stream, from: Seq, portion: &Portion) -> Result<Vec<Seq>> {
        let mut read = portion.messages.iter().map(|message| message.seq).peekable();
        let mut damaged = stream.live(from, portion.through.min(self.last))?;
        damaged.retain(|seq| read.next_if_eq(seq).is_none());
        Ok(damaged)
    }

    /// The next sequence that is read.
    pub fn position(&self) -> Seq {
        self.next
    }

    /// What comes next, if reading it would wait for a disk.
    pub fn unread(&self, stream: &Stream) -> Option<Unread> {
        stream.unread_from(self.next, MESSAGES as u64)
    }

    /// Reads on; `None` behind the last message.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn next(&mut self, stream: &mut Stream) -> Result<Option<Portion>> {
        if self.next > self.last {
            return Ok(None);
        }
        let mut portion = stream.read_on(self.next, &[], MESSAGES, BYTES)?;
        if portion.through < self.next {
            self.next = Seq::MAX;
            return Ok(None);
        }
        self.next = portion.through + 1;
        portion.messages.retain(|message| message.seq <= self.last);
        Ok(Some(portion))
    }
}
