//! One interest: a filter, and who gets what matches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use weir_subject::SubKey;

use super::{Chunk, Work};
use crate::session::Client;

/// A filter of one account and who receives what matches it.
pub struct Subscription {
    /// Who receives.
    pub target: Target,
    /// The filter.
    pub subject: Box<[u8]>,
    /// The queue group: one of its members gets each message.
    pub queue: Option<Box<[u8]>>,
    /// The client's name for it; empty for services.
    pub sid: Box<[u8]>,
    /// Messages after which it ends by itself; 0: never.
    pub(crate) max: AtomicU64,
    /// Messages delivered. Written only by whoever holds the receiving client's outbound lock.
    pub(crate) delivered: AtomicU64,
    /// Its place in the account's interest graph.
    pub(super) key: OnceLock<SubKey>,
}

/// Who receives.
pub enum Target {
    /// A connection.
    Client(Arc<Client>),
    /// A part of this server.
    Service(Arc<dyn Service>),
}

/// A part of the server that takes messages: JetStream's streams and its API hang into the interest graph so.
pub trait Service: Send + Sync {
    /// Takes one message, on the sender's thread. Must not block: what takes time goes into a [`Tray`](super::Tray) of
    /// `work`, which is submitted once the sender's read buffer (or a courier's batch) is worked off.
    fn message(&self, message: &Inbound<'_>, work: &mut Work);
}

/// A message on its way to a [`Service`]. Everything borrows from the sender's buffer; [`body`](Self::body) and
/// [`own`](Self::own) make it outlive the call.
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    /// Where it was sent to.
    pub subject: &'a [u8],
    /// Where an answer should go; empty if none is wanted.
    pub reply: &'a [u8],
    /// The header block as it was sent; empty if there is none.
    pub headers: &'a [u8],
    /// What stands behind the header block.
    pub payload: &'a [u8],
    /// The client that sent it; `None` for messages of the server itself.
    pub from: Option<&'a Arc<Client>>,
    /// The read chunk that all slices above are parts of, with headers and payload adjacent.
    pub(crate) chunk: Option<Chunk<'a>>,
}

impl Subscription {
    /// A subscription that is not in any account yet.
    #[must_use]
    pub fn new(target: Target, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> Self {
        Self {
            target,
            subject: subject.into(),
            queue: queue.map(Into::into),
            sid: sid.into(),
            max: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            key: OnceLock::new(),
        }
    }

    /// Counts a delivery to a service. Several senders may do so at once.
    pub(crate) fn count(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages delivered so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages after which it ends by itself; 0: never.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// The receiving client, if it is one.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<Client>> {
        match &self.target {
            Target::Client(client) => Some(client),
            Target::Service(_) => None,
        }
    }
}
