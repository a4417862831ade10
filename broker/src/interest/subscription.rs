//! One interest: a filter, and who gets what matches it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwapOption;
use weir_subject::SubKey;

use super::{Chunk, Journey, Own, Peer, ServiceBond, StreamBond, Work};
use crate::link::{Claim, Link};
use crate::permissions::Rules;

/// A filter of one account and who receives what matches it.
pub struct Subscription {
    /// Who receives.
    pub target: Target,
    /// The filter.
    pub subject: Box<[u8]>,
    /// The queue group: one of its members gets each message.
    pub queue: Option<Box<[u8]>>,
    /// How many members of the group it stands for: another server's has as many as that says, and every other one is one.
    weight: AtomicU32,
    /// What the receiving link needs to know of it.
    pub claim: Claim,
    /// Rules that deny a part of what it matches.
    deny: ArcSwapOption<Rules>,
    /// Whether there are such: asked for each message.
    watched: AtomicBool,
    /// Whether it hears also what its account imports.
    pub(super) imports: bool,
    /// Whether other servers are not told of it: what it is for is not to be asked from there.
    pub(super) quiet: bool,
    /// Its place in the account's interest graph.
    pub(super) key: OnceLock<SubKey>,
}

/// Who receives.
pub enum Target {
    /// A connection.
    Link {
        /// Where it goes.
        link: Arc<Link>,
        /// All subscriptions of the connection; gone with its session.
        own: Weak<Own>,
    },
    /// A part of this server.
    Service(Arc<dyn Service>),
    /// Another server, which knows who receives there.
    Peer(Arc<Peer>),
    /// A subscription of another account, which imports what this one matches.
    Shadow(Box<Shadow>),
    /// A service of another account, which this account imports.
    Import(Arc<ServiceBond>),
    /// Those who wait in other accounts for answers to their requests.
    Answers,
}

/// What a subscription hears of another account.
pub struct Shadow {
    /// The subscription.
    pub of: Arc<Subscription>,
    /// The import.
    pub bond: Arc<StreamBond>,
}

/// A part of the server that takes messages: JetStream's streams and its API hang into the interest graph so.
pub trait Service: Send + Sync {
    /// Takes one message, on the sender's thread. Must not block: what takes time goes into a [`Tray`](super::Tray) of
    /// `work`, which is submitted once the sender's read buffer (or a courier's batch) is worked off.
    fn message(&self, message: &Inbound<'_>, work: &mut Work);

    /// Where nats-server would take a message on that subject to, if this is a service of its system account that others import: the
    /// account, and the subject there. A traced message is told to have gone there, and is traced no further.
    fn of_system(&self, subject: &[u8]) -> Option<(String, String)> {
        let _ = subject;
        None
    }

    /// Whether it takes messages that are only traced: it finds out what would become of them, and does nothing.
    fn rehearses(&self) -> bool {
        false
    }

    /// Whether it only keeps what it is told, and does nothing that the message asks for: it takes what nobody may ask with, too.
    fn only_hears(&self) -> bool {
        false
    }
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
    pub from: Option<&'a Arc<Link>>,
    /// What is told of it, if it is traced.
    pub journey: Option<&'a Arc<Journey>>,
    /// The read chunk that all slices above are parts of, with headers and payload adjacent.
    pub(crate) chunk: Option<Chunk<'a>>,
}

impl Subscription {
    /// A subscription that is not in any account yet.
    #[must_use]
    pub fn new(target: Target, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> Self {
        Self {
            imports: matches!(target, Target::Link { .. } | Target::Peer(_)),
            target,
            subject: subject.into(),
            queue: queue.map(Into::into),
            weight: AtomicU32::new(1),
            claim: Claim::new(sid),
            deny: ArcSwapOption::empty(),
            watched: AtomicBool::new(false),
            quiet: false,
            key: OnceLock::new(),
        }
    }

    /// The same, without what the rules of its client deny.
    #[must_use]
    pub(crate) fn under(self, rules: &Arc<Rules>) -> Self {
        self.restrict(Some(rules));
        self
    }

    /// Has the rules of its client deny a part of what it matches from now on; what is remembered of matches has to be
    /// [forgotten](super::Account::touch).
    pub(crate) fn restrict(&self, rules: Option<&Arc<Rules>>) {
        let queue = self.queue.as_deref();
        let rules = rules.filter(|rules| rules.must_watch(&self.subject, queue));
        self.watched.store(rules.is_some(), Ordering::Relaxed);
        self.deny.store(rules.cloned());
    }

    /// Whether a part of what it matches is denied.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Whether a message on `subject` must not be heard by it; and how many of its tokens decided that.
    pub(crate) fn denies(&self, subject: &[u8]) -> (bool, usize) {
        if !self.is_watched() {
            return (false, 0);
        }
        match &*self.deny.load() {
            None => (false, 0),
            Some(rules) => rules.denies(subject, self.queue.as_deref()),
        }
    }

    /// The client's name for it; empty for parts of the server.
    #[must_use]
    pub fn sid(&self) -> &[u8] {
        &self.claim.sid
    }

    /// How many members of its group it stands for; 0: none that is ever chosen.
    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// It stands for as many from the next message on; answers how many it stood for.
    pub(crate) fn set_weight(&self, weight: u32) -> u32 {
        self.weight.swap(weight, Ordering::Relaxed)
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "leaf nodes: no other server is let in yet"))]
    /// Other servers are not told of it.
    #[must_use]
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// The other server whose own subscription it is.
    pub(crate) fn peer(&self) -> Option<&Arc<Peer>> {
        match &self.target {
            Target::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// The receiving connection, if it is one.
    #[must_use]
    pub fn link(&self) -> Option<&Arc<Link>> {
        match &self.target {
            Target::Link { link, .. } => Some(link),
            Target::Peer(peer) => Some(&peer.link),
            Target::Shadow(shadow) => shadow.of.link(),
            Target::Service(_) | Target::Import(_) | Target::Answers => None,
        }
    }

    /// The subscription that a client or a part of the server has made: this one, or the one that this is the shadow of.
    #[must_use]
    pub fn original(&self) -> &Self {
        match &self.target {
            Target::Shadow(shadow) => &shadow.of,
            _ => self,
        }
    }

    /// Takes a shadow out of the account that it is in.
    pub(super) fn leave(&self) {
        if let Target::Shadow(shadow) = &self.target
            && let Some(exporter) = shadow.bond.exporter.upgrade()
        {
            exporter.take(self);
        }
    }

    /// Whether a message to it goes on into another account, to be routed there.
    pub(crate) fn is_crossing(&self) -> bool {
        matches!(self.target, Target::Import(_) | Target::Answers)
    }
}
