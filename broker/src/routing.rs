//! Who gets a message: the one path by which clients and the server itself send.
//!
//! The interest graph is asked once per subject and remembered ([`MatchCache`]); the bytes are appended to the receivers'
//! outbound buffers; the receivers are noted in a [`Sink`] and written to once, when the sender's batch is done.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::account::{Account, Chunk, Inbound, Subscription, Target};
use crate::client::Client;
use crate::jetstream::Tray;
use crate::limits::{MATCH_SLOTS_MAX, MATCH_SLOTS_MIN, MATCH_SUBJECT_MAX};

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
    pub fn route(&mut self, account: &Account, to: &[u8], message: &Outgoing<'_>, tray: &mut Tray) -> usize {
        let matched = self.cache.get(account, to);
        let sink = &mut self.sink;
        let mut taken = 0;
        for subscription in &matched.plain {
            taken += usize::from(give(subscription, to, message, sink, tray));
        }
        for group in matched.groups() {
            let start = self.random.below(group.len());
            let (before, from) = group.split_at(start);
            let mut members = from.iter().chain(before);
            taken += usize::from(members.any(|member| give(member, to, message, sink, tray)));
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
fn give(subscription: &Arc<Subscription>, to: &[u8], message: &Outgoing<'_>, sink: &mut Sink, tray: &mut Tray) -> bool {
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
            service.message(&inbound, tray);
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

/// No generation ever reaches this.
const VOID: u64 = u64::MAX;

/// Subjects and who matches them, valid for one generation of the account. A table with one place per hash: a new subject
/// takes over the place (and the allocations) of an older one.
struct MatchCache {
    slots: Box<[Matched]>,
    hasher: FixedState,
    /// Live matches that were overwritten since the table last grew.
    evicted: usize,
    generation: u64,
}

struct Matched {
    hash: u64,
    generation: u64,
    subject: Vec<u8>,
    plain: SmallVec<[Arc<Subscription>; 1]>,
    /// The members of all queue groups, group by group.
    queued: Vec<Arc<Subscription>>,
    /// Where in `queued` each group ends.
    ends: Vec<usize>,
}

impl Default for Matched {
    fn default() -> Self {
        Self {
            hash: 0,
            generation: VOID,
            subject: Vec::new(),
            plain: SmallVec::new(),
            queued: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl Default for MatchCache {
    fn default() -> Self {
        Self {
            slots: Box::default(),
            hasher: FixedState::default(),
            evicted: 0,
            generation: VOID,
        }
    }
}

impl MatchCache {
    fn get(&mut self, account: &Account, subject: &[u8]) -> &Matched {
        let hash = self.hasher.hash_one(subject);
        let generation = account.generation();
        if self.slots.is_empty() {
            self.resize(MATCH_SLOTS_MIN);
        }
        let mut at = self.place(hash);
        let slot = &self.slots[at];
        let live = slot.generation == generation;
        if live && slot.hash == hash && slot.subject == subject {
            return &self.slots[at];
        }
        if live {
            self.evicted += 1;
            if self.evicted > self.slots.len() && self.slots.len() < MATCH_SLOTS_MAX {
                self.resize(self.slots.len() * 2);
                at = self.place(hash);
            }
        }
        self.slots[at].fill(account, subject, hash);
        &self.slots[at]
    }

    /// The length is a power of two.
    fn place(&self, hash: u64) -> usize {
        (hash as usize) & (self.slots.len() - 1)
    }

    fn resize(&mut self, slots: usize) {
        self.slots = std::iter::repeat_with(Matched::default).take(slots).collect();
        self.evicted = 0;
    }

    fn refresh(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            for slot in self.slots.iter_mut().filter(|slot| slot.generation != generation) {
                slot.clear();
            }
        }
    }
}

impl Matched {
    fn clear(&mut self) {
        self.generation = VOID;
        self.plain.clear();
        self.queued.clear();
        self.ends.clear();
    }

    /// The members of each queue group.
    fn groups(&self) -> impl Iterator<Item = &[Arc<Subscription>]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.queued[start..end])
    }

    fn fill(&mut self, account: &Account, subject: &[u8], hash: u64) {
        self.clear();
        self.hash = hash;
        self.subject.clear();
        let (plain, queued) = (&mut self.plain, &mut self.queued);
        let generation = account.matches(subject, |subscription| match &subscription.queue {
            None => plain.push(Arc::clone(subscription)),
            Some(_) => queued.push(Arc::clone(subscription)),
        });
        // Stable, and quick with many groups as with many members.
        queued.sort_by(|a, b| a.queue.cmp(&b.queue));
        let mut end = 0;
        for group in queued.chunk_by(|a, b| a.queue == b.queue) {
            end += group.len();
            self.ends.push(end);
        }
        // A longer subject stays void: it is used once and overwritten.
        if subject.len() <= MATCH_SUBJECT_MAX {
            self.subject.extend_from_slice(subject);
            self.generation = generation;
        }
    }
}

#[cfg(test)]
mod tests;
