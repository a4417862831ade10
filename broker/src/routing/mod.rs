//! Who gets a message: the one path by which clients and the server itself send.
//!
//! The interest graph is asked once per subject and remembered ([`matches`]); the bytes are appended to the receivers'
//! outbound buffers; the receivers are noted in a [`Sink`] and written to once, when the sender's batch is done.

mod courier;
mod matches;

use std::sync::Arc;

use crate::interest::{Account, Chunk, Inbound, Subscription, Target, Work};
use crate::session::Client;
pub use courier::Courier;
use matches::MatchCache;

/// One message on its way out.
pub(crate) struct Outgoing<'a> {
    /// What the receiver reads as its subject.
    pub subject: &'a [u8],
    /// Empty if there is none.
    pub reply: &'a [u8],
    /// Empty if there is none.
    pub headers: &'a [u8],
    pub payload: &'a [u8],
    /// The sending client; `None`: the server.
    pub from: Option<&'a Arc<Client>>,
    /// Whether the sending client gets its own messages.
    pub echo: bool,
    /// The read chunk that the slices are parts of.
    pub chunk: Option<Chunk<'a>>,
}

/// Clients that were given bytes which nobody has tried to write yet.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) dirty: Vec<Arc<Client>>,
    /// A receiver is so far behind that the sender should wait a little.
    pub(crate) stall: bool,
}

impl Sink {
    /// Writes what was gathered, once per client.
    pub fn flush(&mut self) {
        for client in self.dirty.drain(..) {
            client.flush();
        }
    }
}

/// What a sender keeps between messages.
pub(crate) struct Router {
    cache: MatchCache,
    pub sink: Sink,
    random: XorShift,
}

impl Default for Router {
    fn default() -> Self {
        Self {
            cache: MatchCache::default(),
            sink: Sink::default(),
            random: XorShift(rand::random::<u64>() | 1),
        }
    }
}

impl Router {
    /// Gives `message` to everybody in `account` who listens on `to`. Returns how many took it.
    pub fn route(&mut self, account: &Account, to: &[u8], message: &Outgoing<'_>, work: &mut Work) -> usize {
        work.next_message();
        let matched = self.cache.get(account, to);
        let sink = &mut self.sink;
        let mut taken = 0;
        for subscription in &matched.plain {
            taken += usize::from(give(subscription, to, message, sink, work));
        }
        for group in matched.groups() {
            let start = self.random.below(group.len());
            let (before, from) = group.split_at(start);
            let mut members = from.iter().chain(before);
            taken += usize::from(members.any(|member| give(member, to, message, sink, work)));
        }
        taken
    }

    /// True if anybody listens on `to`.
    pub fn has_interest(&mut self, account: &Account, to: &[u8]) -> bool {
        let matched = self.cache.get(account, to);
        !matched.plain.is_empty() || !matched.queued.is_empty()
    }

    /// The client that alone listens on `to`; `None` if there are several, or a part of the server.
    pub fn sole_client(&mut self, account: &Account, to: &[u8]) -> Option<&Arc<Client>> {
        let matched = self.cache.get(account, to);
        match (matched.plain.as_slice(), matched.queued.as_slice()) {
            ([one], []) | ([], [one]) => one.client(),
            _ => None,
        }
    }

    /// Drops what is only there for speed, and with it every reference to other clients.
    pub fn forget(&mut self) {
        self.cache = MatchCache::default();
        self.sink.dirty.shrink_to(8);
    }

    /// Drops matches that are void, so that they do not keep closed connections in memory.
    pub fn refresh(&mut self, account: &Account) {
        self.cache.refresh(account.generation());
    }
}

/// Gives a message to one receiver. False if it cannot or must not take it.
fn give(subscription: &Arc<Subscription>, to: &[u8], message: &Outgoing<'_>, sink: &mut Sink, work: &mut Work) -> bool {
    match &subscription.target {
        Target::Client(client) => {
            if !message.echo && message.from.is_some_and(|from| Arc::ptr_eq(from, client)) {
                return false;
            }
            client.deliver(subscription, message, sink)
        }
        Target::Service(service) => {
            let inbound = Inbound {
                subject: to,
                reply: message.reply,
                headers: message.headers,
                payload: message.payload,
                from: message.from,
                chunk: message.chunk,
            };
            subscription.count();
            service.message(&inbound, work);
            true
        }
    }
}

/// Marsaglia's xorshift: to pick a queue member, where nobody gains by guessing.
struct XorShift(u64);

impl XorShift {
    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper half of the product: no division. Queue groups have far fewer than 2^32 members.
        (((self.0 >> 32) * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests;
