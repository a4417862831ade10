//! The messages of a stream to be gone through from the first to the last, without the stream's index: of that no more is kept
//! than which messages there are.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{Direction, LogReader, Want};
use crate::error::{Kind, Result};
use crate::index::Runs;
use crate::stream::tail::Tail;
use crate::stream::{Message, Stream};
use crate::types::{Entry, Seq};

/// Sees a message's sequence, and the message unless it is damaged, and says whether to go on.
pub type VisitMessage<'a> = &'a mut dyn FnMut(Seq, Option<Message>) -> ControlFlow<()>;

/// See [`Stream::listing`].
pub struct Listing {
    live: Runs,
    reader: Arc<dyn LogReader>,
    /// What the log does not have.
    tail: Tail,
}

impl Stream {
    /// Its messages as they are now, to be gone through when the stream itself is let go of.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn listing(&self) -> Result<Listing> {
        let mut live = Runs::default();
        let messages = &self.messages;
        messages
            .index
            .each_live(0, messages.last(), &mut |seq| live.push(seq))?;
        live.finish();
        Ok(Listing {
            live,
            reader: messages.reader().clone(),
            tail: messages.tail().clone(),
        })
    }
}

impl Listing {
    /// Visits the messages in order until told to stop, those too that are damaged.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn each(self, visit: VisitMessage<'_>) -> Result<()> {
        let Self { live, reader, tail } = self;
        // What a scan passes over is damaged, or not in the log yet.
        let passed_over = |seq| match tail.get(seq) {
            Some(entry) => unpacked(Ok(Some(entry.clone()))),
            None => unpacked(reader.get(seq)),
        };
        let mut live = live.peekable();
        let mut outcome = Ok(ControlFlow::Continue(()));
        reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
            while let Some(seq) = live.next_if(|seq| *seq < entry.seq) {
                outcome = passed_over(seq).map(|message| visit(seq, message));
                if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
                    return ControlFlow::Break(());
                }
            }
            if live.next_if_eq(&entry.seq).is_some() {
                outcome = unpacked(Ok(Some(entry.to_entry()))).map(|message| visit(entry.seq, message));
            }
            match outcome {
                Ok(goes_on) => goes_on,
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        while outcome?.is_continue()
            && let Some(seq) = live.next()
        {
            outcome = passed_over(seq).map(|message| visit(seq, message));
        }
        Ok(())
    }
}

/// The message; `None` if it is damaged.
fn unpacked(entry: Result<Option<Entry>>) -> Result<Option<Message>> {
    match entry.and_then(|entry| entry.map(Message::unpack).transpose()) {
        Err(error) if error.kind == Kind::Damaged => Ok(None),
        unpacked => unpacked,
    }
}
