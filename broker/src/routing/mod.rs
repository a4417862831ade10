//! Who gets a message: the one path by which clients and the server itself send.
//!
//! The interest graph is asked once per subject and remembered ([`matches`]); the bytes are appended to the receivers'
//! outbound buffers; the receivers are noted in a [`Sink`] and written to once, when the sender's batch is done.

mod courier;
mod crossing;
mod latency;
mod matches;
mod peers;
mod request;
mod traced;

use std::sync::{Arc, Weak};

use crate::interest::{Account, Answer, Chunk, Inbound, Journey, Origin, Own, Shadow, Subscription, Target, Work};
use crate::link::{Delivered, Link, Message, Sink};
use crate::permissions::Rules;
pub use courier::Courier;
pub(crate) use courier::{Carrier, give_up};
pub(crate) use crossing::Via;
pub(crate) use matches::Place;
use matches::{MatchCache, Matched};
pub(crate) use peers::Groups;
pub(crate) use request::{Reply, ask, ask_many};

/// One message on its way out.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    /// What the receivers read.
    pub message: Message<'a>,
    /// The sending client; `None`: the server.
    pub from: Option<&'a Arc<Link>>,
    /// Whether the sending client gets its own messages.
    pub echo: bool,
    /// The read chunk that the slices are parts of.
    pub chunk: Option<Chunk<'a>>,
    /// The services of other accounts that it came through.
    pub via: Option<&'a Via<'a>>,
    /// What is told of the message, if it is traced.
    pub journey: Option<&'a Arc<Journey>>,
    /// Whether this server may be asked for something by it. What a stream lets out, and what JetStream answers, goes where somebody wanted
    /// it who may not be allowed to ask there himself.
    pub asks: bool,
    /// Whether another server sent it.
    pub origin: Origin<'a>,
    /// The queue groups that it may go to.
    pub groups: Groups<'a>,
}

impl<'a> Outgoing<'a> {
    /// A message of the server's own.
    pub fn own(subject: &'a [u8], payload: &'a [u8]) -> Self {
        let message = Message {
            subject,
            reply: b"",
            headers: b"",
            payload,
        };
        Self::of_server(message)
    }

    /// The same, whatever it holds.
    pub fn of_server(message: Message<'a>) -> Self {
        Self {
            message,
            from: None,
            echo: true,
            chunk: None,
            via: None,
            journey: None,
            asks: true,
            origin: Origin::Here,
            groups: Groups::All,
        }
    }
}

impl Outgoing<'_> {
    /// Whether it asks this server for nothing, on whatever subject it is: it is an answer from another account, or JetStream's.
    fn is_no_request(&self) -> bool {
        !self.asks || self.via.is_some_and(Via::is_answer)
    }
}

/// What a sender keeps between messages.
pub(crate) struct Router {
    cache: MatchCache,
    /// Nothing is remembered.
    forgets: bool,
    /// What the sender may do; `None`: everything.
    rules: Option<Arc<Rules>>,
    pub sink: Sink,
    random: XorShift,
    /// Other accounts that messages went into since void matches were dropped last; those next to each other differ.
    crossed: Vec<Arc<Account>>,
}

impl Default for Router {
    fn default() -> Self {
        Self {
            cache: MatchCache::default(),
            forgets: false,
            rules: None,
            sink: Sink::default(),
            random: XorShift(rand::random::<u64>() | 1),
            crossed: Vec::new(),
        }
    }
}

impl Router {
    /// One that asks the interest graph for each message, if it is to remember nothing.
    pub fn new(forgets: bool) -> Self {
        Self {
            cache: MatchCache::new(forgets),
            forgets,
            ..Self::default()
        }
    }

    /// What the sender may do from now on.
    pub fn restrict(&mut self, rules: Option<Arc<Rules>>) {
        self.cache = MatchCache::new(self.forgets);
        self.rules = rules;
    }

    /// What the sender may do; `None`: everything.
    pub fn rules(&self) -> Option<&Arc<Rules>> {
        self.rules.as_ref()
    }

    /// Whether the sender's rules allow it to publish to `to`.
    pub fn permits(&mut self, account: &Account, to: &[u8]) -> bool {
        self.rules.is_none() || self.cache.get(account, to, self.rules.as_deref()).permitted
    }

    /// Any number: where nobody gains by guessing it.
    pub fn chance(&mut self) -> u64 {
        self.random.any()
    }

    /// Finds out who listens on `to` in `account`: good for what is asked of it before anything else is found.
    #[inline]
    pub fn find(&mut self, account: &Account, to: &[u8]) -> Place {
        self.cache.find(account, to, self.rules.as_deref())
    }

    /// Whether the sender may publish on a subject that was found.
    pub fn is_permitted(&self, place: Place) -> bool {
        self.cache.at(place).permitted
    }

    /// Whether the sender may publish there, and nobody listens.
    #[inline]
    pub fn is_unheard(&self, place: Place) -> bool {
        let matched = self.cache.at(place);
        matched.permitted && matched.is_empty()
    }

    /// Gives a message to everybody in `account` who listens on `to`, whatever the sender may do. Returns how many took it.
    pub fn route(&mut self, account: &Arc<Account>, to: &[u8], outgoing: &Outgoing<'_>, work: &mut Work) -> usize {
        let place = self.find(account, to);
        self.route_found(account, place, to, outgoing, work)
    }

    /// The same, where `to` was found.
    pub fn route_found(
        &mut self,
        account: &Arc<Account>,
        place: Place,
        to: &[u8],
        outgoing: &Outgoing<'_>,
        work: &mut Work,
    ) -> usize {
        let matched = self.cache.at(place);
        let taken = give_all(account, matched, to, outgoing, &mut self.sink, &mut self.random, work);
        if matched.crossings.is_empty() {
            return taken;
        }
        let crossings = matched.crossings.clone();
        taken + self.cross(account, &crossings, to, outgoing, work)
    }

    /// True if anybody listens on `to`.
    pub fn has_interest(&mut self, account: &Account, to: &[u8]) -> bool {
        let matched = self.cache.get(account, to, self.rules.as_deref());
        matched.is_wanted() || Self::crossing_interest(account, &matched.crossings, to)
    }

    /// The connection that alone listens on `to`; `None` if there are several, or a part of the server.
    pub fn sole_link(&mut self, account: &Account, to: &[u8]) -> Option<&Arc<Link>> {
        let matched = self.cache.get(account, to, self.rules.as_deref());
        match (
            matched.plain.as_slice(),
            matched.peers.as_slice(),
            matched.queued.as_slice(),
        ) {
            ([one], [], []) | ([], [one], []) | ([], [], [one]) if matched.crossings.is_empty() => one.link(),
            _ => None,
        }
    }

    /// Drops what is only there for speed, and with it every reference to other clients.
    pub fn forget(&mut self) {
        self.cache = MatchCache::new(self.forgets);
        self.sink.dirty.shrink_to(8);
    }

    /// Drops matches that are void, so that they do not keep closed connections in memory.
    pub fn refresh(&mut self, account: &Account) {
        self.cache.refresh(account);
        self.refresh_crossed();
    }

    /// The same for accounts that messages went into.
    pub fn refresh_crossed(&mut self) {
        for other in self.crossed.drain(..) {
            self.cache.refresh(&other);
        }
    }

    /// A message went into another account.
    fn note_crossed(&mut self, account: &Arc<Account>) {
        if !self.crossed.iter().any(|known| Arc::ptr_eq(known, account)) {
            self.crossed.push(Arc::clone(account));
        }
    }

    /// A request to a service of this account has waited for too long.
    pub fn give_up(&mut self, account: &Arc<Account>, answer: &Answer, work: &mut Work) {
        if !answer.answered.load(std::sync::atomic::Ordering::Relaxed) {
            let measure = answer.measure.as_ref();
            self.tell(
                account,
                &answer.export,
                measure,
                answer.share,
                latency::Outcome::Late,
                work,
            );
        }
    }
}

/// Gives a message to all that match, and to one member of each queue. Returns how many took it.
#[inline]
fn give_all(
    account: &Account,
    matched: &Matched,
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
    random: &mut XorShift,
    work: &mut Work,
) -> usize {
    work.next_message();
    let mut taken = 0;
    for subscription in &matched.plain {
        taken += usize::from(give(account, subscription, to, outgoing, sink, work));
    }
    if matched.has_peers || !matches!(outgoing.groups, Groups::All) {
        return taken + peers::give_rest(account, matched, to, outgoing, sink, random, work);
    }
    for (group, _) in matched.groups() {
        taken += usize::from(give_one_of(account, group, to, outgoing, sink, random, work));
    }
    taken
}

/// Gives a message to one of several, whichever takes it. False if none does.
#[inline]
fn give_one_of(
    account: &Account,
    group: &[Arc<Subscription>],
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
    random: &mut XorShift,
    work: &mut Work,
) -> bool {
    let (before, from) = group.split_at(random.below(group.len()));
    let mut members = from.iter().chain(before);
    members.any(|member| give(account, member, to, outgoing, sink, work))
}

/// Gives a message to one receiver. False if it cannot or must not take it.
fn give(
    account: &Account,
    subscription: &Arc<Subscription>,
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
    work: &mut Work,
) -> bool {
    if let Some(journey) = outgoing.journey {
        return traced::give(journey, account, subscription, to, outgoing, sink, work);
    }
    let message = &outgoing.message;
    match &subscription.target {
        Target::Link { link, own } => {
            if !outgoing.echo && outgoing.from.is_some_and(|from| Arc::ptr_eq(from, link)) {
                return false;
            }
            // What is read as the subject of a stream's message is not what it was sent to.
            if subscription.is_watched() && message.subject != to && subscription.denies(message.subject).0 {
                return false;
            }
            match link.deliver(&subscription.claim, message, sink) {
                Delivered::Taken => true,
                Delivered::Refused => false,
                Delivered::Last => {
                    exhausted(account, subscription, link, own);
                    true
                }
            }
        }
        Target::Service(service) if outgoing.is_no_request() && !service.only_hears() => false,
        Target::Service(service) => {
            let inbound = Inbound {
                subject: to,
                reply: message.reply,
                headers: message.headers,
                payload: message.payload,
                from: outgoing.from,
                journey: None,
                chunk: outgoing.chunk,
            };
            subscription.claim.count();
            service.message(&inbound, work);
            true
        }
        Target::Shadow(shadow) => give_shadow(shadow, to, outgoing, sink, work),
        Target::Peer(peer) => peers::give_alone(peer, subscription, to, outgoing, sink),
        // Those are no part of what is given within an account.
        Target::Import(_) | Target::Answers => false,
    }
}

/// Gives a message to a subscription of another account, which imports it. What came as a request to a service is not exported again.
fn give_shadow(shadow: &Shadow, to: &[u8], outgoing: &Outgoing<'_>, sink: &mut Sink, work: &mut Work) -> bool {
    let (Some(importer), None) = (shadow.bond.importer.upgrade(), outgoing.via) else {
        return false;
    };
    // Of an import that names a wildcard twice a subscription is given more than it wants.
    let wanted = |new: &Vec<u8>| weir_subject::matches(&shadow.of.subject, new);
    let Some(new) = shadow.bond.rename(to).filter(wanted) else {
        return false;
    };
    let mut outgoing = *outgoing;
    if shadow.of.denies(&new).0 {
        return false;
    }
    if outgoing.message.subject == to {
        outgoing.message.subject = &new;
    }
    give(&importer, &shadow.of, &new, &outgoing, sink, work)
}

/// The last message that a subscription asked for has been delivered: it ends.
#[cold]
fn exhausted(account: &Account, subscription: &Subscription, link: &Link, own: &Weak<Own>) {
    let sid = String::from_utf8_lossy(subscription.sid());
    tracing::debug!(
        "{} - Auto-unsubscribe limit of {} reached for sid '{sid}'",
        link.label(),
        subscription.claim.max()
    );
    if link.is_traced() {
        tracing::trace!("{} - <-> [DELSUB {sid}]", link.label());
    }
    if let Some(own) = own.upgrade() {
        own.remove(subscription);
    }
    account.remove(subscription);
}

/// Marsaglia's xorshift: to pick a queue member, where nobody gains by guessing.
struct XorShift(u64);

impl XorShift {
    /// Any number.
    fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`; 0 if that is 0.
    fn below(&mut self, n: usize) -> usize {
        self.any();
        // The upper half of the product: no division. Queue groups have far fewer than 2^32 members.
        (((self.0 >> 32) * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests;
