//! A time that is looked for in a log: where a disk has to be waited for, by a thread that may wait, not by the shard's.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{Direction, LogReader, Want};
use crate::error::Result;
use crate::stream::{Stream, Unread};
use crate::types::{NanoTime, Seq};

/// A time of which the message is to be found that is the first not older.
#[derive(Clone)]
pub struct Moment {
    reader: Arc<dyn LogReader>,
    between: (Seq, Seq),
    time: NanoTime,
}

impl Moment {
    /// Reads what has to be looked at to find the message: [`Stream::seq_at`], asked soon, waits for no disk then. What cannot be read
    /// is no error here.
    pub fn fetch(&self) {
        let (_, high) = self.between;
        let _: Result<Seq> = narrow(self.between, self.time, |from| {
            let mut found = None;
            self.reader
                .scan(from..=high, Want::Heads, Direction::Forward, &mut |entry| {
                    found = Some((entry.seq, entry.time));
                    ControlFlow::Break(())
                })?;
            Ok(found)
        });
    }
}

/// Looks for a time between two sequences by halves: up to which one all messages are older. `first_from` answers with the first message
/// from a sequence on, and its time, if there is one that can be read.
///
/// # Errors
/// Those of `first_from`.
pub(super) fn narrow(
    (mut low, mut high): (Seq, Seq),
    time: NanoTime,
    mut first_from: impl FnMut(Seq) -> Result<Option<(Seq, NanoTime)>>,
) -> Result<Seq> {
    while low < high {
        let middle = low + (high - low) / 2;
        match first_from(middle)? {
            Some((seq, found)) if found < time => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

impl Stream {
    /// What has to be read to find a time, if a disk may have to be waited for.
    pub fn moment(&self, time: NanoTime) -> Option<Moment> {
        let (low, high) = self.messages.around(time);
        (low < high && low <= self.messages.log_last()).then(|| Moment {
            reader: self.messages.reader().clone(),
            between: (low, high),
            time,
        })
    }

    /// The first message, if a disk has to be waited for to know its time.
    pub fn unread_first(&self) -> Option<Unread> {
        let first = self.messages.unknown_first()?;
        self.unread(first)
    }
}
