//! The messages of a stream of an image, one after the other, the damaged ones among them.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_engine::stream::{Message, Stream};
use weir_engine::{Result, Seq};

/// Messages that are read at a time.
const MESSAGES: usize = 1000;
/// Bytes that are read at a time, give or take one message.
const BYTES: usize = 4 << 20;

/// What comes next.
pub(crate) enum Next {
    /// A message.
    Message(Message),
    /// One that is there and cannot be read.
    Damaged(Seq),
}

/// How far the reading of a stream is.
pub(crate) struct Messages {
    next: Seq,
    to: Seq,
    filters: Vec<Bytes>,
    read: VecDeque<Next>,
}

impl Messages {
    /// From one sequence to another, both included, of subjects that match any of the filters; all match if there are none.
    pub fn new(from: Seq, to: Seq, filters: Vec<Bytes>) -> Self {
        Self {
            next: from,
            to,
            filters,
            read: VecDeque::new(),
        }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn next(&mut self, stream: &mut Stream) -> Result<Option<Next>> {
        while self.read.is_empty() && self.next <= self.to {
            let portion = stream.read_on(self.next, &self.filters, MESSAGES, BYTES)?;
            if portion.through < self.next {
                self.next = Seq::MAX;
                break;
            }
            let from = self.next;
            self.next = portion.through + 1;
            // Those that match and were not read are damaged.
            let mut read = portion.messages.into_iter().peekable();
            for seq in stream.matching(&self.filters, from, portion.through.min(self.to))? {
                let message = read.next_if(|message| message.seq == seq);
                self.read.push_back(message.map_or(Next::Damaged(seq), Next::Message));
            }
        }
        Ok(self.read.pop_front())
    }
}
