//! The way out of the shards of a store without a server: to the fetches that wait in the same process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::shard::emit::{Delivery, Emit, Outlet, Status};

/// What a fetch is handed.
pub(super) enum Fetched {
    /// A message.
    Message(Box<Delivery>),
    /// The request is over before its batch is full.
    Ended(Status),
}

/// The open fetches of one shard, by the subject that stands for each. No client can subscribe to these.
#[derive(Default)]
pub(crate) struct Fetches {
    open: Mutex<HashMap<Bytes, Sender<Fetched>, RandomState>>,
    last: AtomicU64,
}

/// One open fetch; it is closed when this is dropped.
pub(super) struct Mailbox {
    fetches: Arc<Fetches>,
    pub subject: Bytes,
    pub receiver: Receiver<Fetched>,
}

impl Fetches {
    /// Opens a fetch of `batch` messages at most.
    pub(super) fn open(self: &Arc<Self>, batch: usize) -> Mailbox {
        // The engine sends no more messages than were asked for, and one status at the end: there is room for all.
        let (sender, receiver) = crossbeam_channel::bounded(batch + 1);
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let subject = Bytes::from(format!("_FETCH.{number}"));
        self.open.lock().insert(subject.clone(), sender);
        Mailbox {
            fetches: self.clone(),
            subject,
            receiver,
        }
    }

    fn hand(&self, to: &Bytes, what: Fetched) {
        if let Some(sender) = self.open.lock().get(to) {
            // It never blocks the shard: there is room, and a receiver that is gone wants nothing.
            let _ = sender.try_send(what);
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.fetches.open.lock().remove(&self.subject);
    }
}

/// One shard's way to its fetches.
pub(crate) struct FetchOutlet(pub Arc<Fetches>);

impl Outlet for FetchOutlet {
    fn has_interest(&mut self, _: &str, subject: &[u8]) -> bool {
        self.0.open.lock().contains_key(subject)
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        false
    }

    fn emit(&mut self, emit: Emit) {
        match emit {
            Emit::Deliver(delivery) => {
                let to = delivery.to.clone();
                self.0.hand(&to, Fetched::Message(Box::new(delivery)));
            }
            Emit::Status { to, status, .. } => self.0.hand(&to, Fetched::Ended(status)),
            // Advisories and the answers to other subjects: an embedded store has no clients to hear them.
            _ => {}
        }
    }

    fn flush(&mut self) {}
}

impl Drop for FetchOutlet {
    /// The shard is gone: a fetch that waits is told so by a channel without a sender.
    fn drop(&mut self) {
        self.0.open.lock().clear();
    }
}
