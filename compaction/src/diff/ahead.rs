//! The messages of a stream, read by a thread that goes ahead of the comparison.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use weir_engine::stream::{Listing, Message};
use weir_engine::{Error, Result, Seq};

/// A message's sequence, and the message unless it is damaged.
pub(super) type Next = (Seq, Option<Message>);

/// Messages that are handed over at a time.
const MESSAGES: usize = 256;
/// Bytes of these, give or take one message.
const BYTES: usize = 512 << 10;
/// How often so many wait to be taken.
const WAITING: usize = 2;

/// What the thread has read.
pub(super) struct Ahead {
    thread: Receiver<Result<VecDeque<Next>>>,
    read: VecDeque<Next>,
}

impl Ahead {
    /// Begins to read.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn begin<'s>(scope: &'s Scope<'s, '_>, messages: Listing) -> Result<Self> {
        let (sender, thread) = sync_channel(WAITING);
        let builder = std::thread::Builder::new().name("weir-diff".to_owned());
        builder
            .spawn_scoped(scope, move || read(messages, &sender))
            .map_err(|error: io::Error| Error::io("starting a thread to read", error))?;
        Ok(Self {
            thread,
            read: VecDeque::new(),
        })
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn next(&mut self) -> Result<Option<Next>> {
        while self.read.is_empty() {
            // The thread has ended.
            let Ok(read) = self.thread.recv() else {
                return Ok(None);
            };
            self.read = read?;
        }
        Ok(self.read.pop_front())
    }
}

fn read(messages: Listing, to: &SyncSender<Result<VecDeque<Next>>>) {
    let (mut read, mut bytes) = (VecDeque::new(), 0);
    let outcome = messages.each(&mut |seq, message| {
        bytes += message.as_ref().map_or(0, |message| {
            message.subject.len() + message.headers.len() + message.payload.len()
        });
        read.push_back((seq, message));
        if read.len() < MESSAGES && bytes < BYTES {
            return ControlFlow::Continue(());
        }
        bytes = 0;
        match to.send(Ok(std::mem::take(&mut read))) {
            Ok(()) => ControlFlow::Continue(()),
            // The comparison has failed.
            Err(_) => ControlFlow::Break(()),
        }
    });
    // If nobody takes it any more, nobody misses it.
    let _ = to.send(Ok(read));
    if let Err(error) = outcome {
        let _ = to.send(Err(error));
    }
}
