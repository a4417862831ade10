//! An account: a subject space that no other one sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, RwLock};
use weir_subject::Sublist;

use super::answers::Answers;
use super::feed::Feed;
use super::watch::Watches;
use super::{ANSWERS, Bonds, Service, Shadow, StreamBond, Subscription, Target, Wake, WatchKey};
use crate::error::{Error, Result};

/// The account of clients that name none.
pub const GLOBAL: &str = "$G";
/// The account of the server's own events.
pub const SYSTEM: &str = "$SYS";

/// A subject space of its own.
pub struct Account {
    /// What it is called in the configuration and on the wire.
    pub name: Box<str>,
    /// Its place among all accounts: what is remembered of subjects is remembered for this number.
    pub number: usize,
    pub(super) sublist: RwLock<Sublist<Arc<Subscription>>>,
    /// Other servers, and what they are told.
    pub(super) feed: Feed,
    /// Copy of the sublist's generation, readable without its lock: what cached matches are checked against.
    generation: AtomicU64,
    removed: AtomicU64,
    watches: Watches,
    limits: ArcSwap<Limits>,
    /// What people call it, if that is not its name.
    tag: RwLock<Option<Arc<str>>>,
    traces: ArcSwapOption<Traces>,
    /// Connections of clients that are in it.
    connections: AtomicUsize,
    /// Whether it maps subjects: asked for each message.
    mapped: AtomicBool,
    /// What it shares with others. Held while a subscription comes or goes, so that none misses what is shared.
    bonds: RwLock<Bonds>,
    /// Its services of others, as subscriptions of its own.
    imports: Mutex<Vec<Arc<Subscription>>>,
    /// What its subscriptions hear of others, by the place of each in memory: subscriptions of the others.
    shadows: Mutex<HashMap<usize, Vec<Arc<Subscription>>>>,
    /// Requests of others that wait for answers.
    pub(crate) answers: Answers,
    /// How often its clients used an API of the server's.
    pub(crate) api: ApiCounters,
}

/// How often an API was used.
#[derive(Debug, Default)]
pub struct ApiCounters {
    /// Requests.
    pub total: AtomicU64,
    /// Requests that were answered with an error.
    pub errors: AtomicU64,
}

/// What the clients of an account may use. `None` is no limit of the account's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<usize>,
    /// Subscriptions of one connection.
    pub subscriptions: Option<usize>,
    /// Bytes of one message.
    pub payload: Option<usize>,
}

/// Where an account is told of messages that are part of a trace that others follow (`traceparent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// The subject.
    pub to: String,
    /// Of how many of a hundred such messages.
    pub sampling: u8,
}

impl Traces {
    /// Whether a message is among them, by a random number below 100.
    pub(crate) fn is_sampled(&self, chance: u8) -> bool {
        chance < self.sampling
    }
}

/// A connection's place in an account, which is free again when this is dropped.
pub(crate) struct Seat(Arc<Account>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Account {
    /// An account without any interest.
    #[must_use]
    pub fn new(name: &str, number: usize) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            number,
            sublist: RwLock::new(Sublist::new()),
            feed: Feed::default(),
            generation: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            watches: Watches::default(),
            limits: ArcSwap::default(),
            tag: RwLock::default(),
            traces: ArcSwapOption::empty(),
            connections: AtomicUsize::new(0),
            mapped: AtomicBool::new(false),
            bonds: RwLock::default(),
            imports: Mutex::default(),
            shadows: Mutex::default(),
            answers: Answers::default(),
            api: ApiCounters::default(),
        })
    }

    /// What people call it from now on, if that is not its name.
    pub fn set_tag(&self, tag: Option<&str>) {
        *self.tag.write() = tag.filter(|tag| !tag.is_empty()).map(Arc::from);
    }

    /// What people call it, if that is not its name.
    #[must_use]
    pub fn tag(&self) -> Option<Arc<str>> {
        self.tag.read().clone()
    }

    /// What its clients may use from now on.
    pub fn limit(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// What its clients may use.
    #[must_use]
    pub fn limits(&self) -> Limits {
        **self.limits.load()
    }

    /// Where it is told of messages that are part of a trace, from now on.
    pub fn trace(&self, traces: Option<Traces>) {
        self.traces.store(traces.map(Arc::new));
    }

    /// Where it is told of messages that are part of a trace.
    #[must_use]
    pub fn traces(&self) -> Option<Arc<Traces>> {
        self.traces.load_full()
    }

    /// A place for one more connection; `None` if all are taken.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let max = self.limits().connections.unwrap_or(usize::MAX);
        // The seat gives back what is counted, also if it is one too many.
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(self));
        (before < max).then_some(seat)
    }

    /// Changes whenever any subscription comes or goes. A match that was found at an earlier generation is void.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds a subscription; from the next message on it counts.
    ///
    /// # Errors
    /// The filter is malformed, or there is no room.
    pub fn insert(&self, subscription: Arc<Subscription>) -> Result<(), weir_subject::SublistError> {
        let bonds = self.bonds.read();
        self.put(&subscription)?;
        if subscription.imports && !bonds.streams.is_empty() {
            self.overshadow(&subscription, &bonds.streams);
        }
        Ok(())
    }

    fn put(&self, subscription: &Arc<Subscription>) -> Result<(), weir_subject::SublistError> {
        let mut sublist = self.sublist.write();
        let key = sublist.insert_as_sent(&subscription.subject, Arc::clone(subscription))?;
        // Whoever makes a subscription inserts it, and does so once.
        let _ = subscription.key.set(key);
        self.generation.store(sublist.generation(), Ordering::Release);
        let change = self.feed.change().filter(|_| !subscription.quiet);
        drop(sublist);
        if let Some(change) = change {
            change.tell(subscription, 0, subscription.weight());
        }
        self.watches.changed(&subscription.subject);
        Ok(())
    }

    /// Has a subscription hear what these imports bring of it.
    fn overshadow(&self, subscription: &Arc<Subscription>, streams: &[Arc<StreamBond>]) {
        let mut made = Vec::new();
        for bond in streams {
            let Some(exporter) = bond.exporter.upgrade() else {
                continue;
            };
            let Some(filter) = bond.of.heard_by(&subscription.subject) else {
                continue;
            };
            let target = Target::Shadow(Box::new(Shadow {
                of: Arc::clone(subscription),
                bond: Arc::clone(bond),
            }));
            let queue = subscription.queue.as_deref();
            let shadow = Arc::new(Subscription::new(target, &filter, queue, subscription.sid()));
            match exporter.put(&shadow) {
                Ok(()) => made.push(shadow),
                Err(why) => tracing::error!(
                    "{}: a subscription does not hear what is imported of {}: {why}",
                    self.name,
                    exporter.name
                ),
            }
        }
        if !made.is_empty() {
            let mut shadows = self.shadows.lock();
            shadows
                .entry(Arc::as_ptr(subscription).addr())
                .or_default()
                .append(&mut made);
        }
    }

    /// Takes a subscription out. False if it was out already.
    pub fn remove(&self, subscription: &Subscription) -> bool {
        let _bonds = self.bonds.read();
        let was_in = self.take(subscription);
        if was_in {
            let shadows = self.shadows.lock().remove(&std::ptr::from_ref(subscription).addr());
            for shadow in shadows.into_iter().flatten() {
                shadow.leave();
            }
        }
        was_in
    }

    /// Takes it out, and leaves what it hears of others.
    pub(super) fn take(&self, subscription: &Subscription) -> bool {
        let Some(&key) = subscription.key.get() else {
            return false;
        };
        let mut sublist = self.sublist.write();
        let was_in = sublist
            .get(key)
            .is_some_and(|found| std::ptr::eq(&**found, subscription));
        if was_in {
            sublist.remove(key);
            self.generation.store(sublist.generation(), Ordering::Release);
            self.removed.fetch_add(1, Ordering::Relaxed);
            let change = self.feed.change().filter(|_| !subscription.quiet);
            drop(sublist);
            if let Some(change) = change {
                change.tell(subscription, subscription.weight(), 0);
            }
            self.watches.changed(&subscription.subject);
        }
        was_in
    }

    /// Shares this with others from now on. What stays the same goes on without a gap.
    pub fn bind(&self, new: Bonds) {
        let mut bonds = self.bonds.write();
        self.mapped.store(!new.mappings.is_empty(), Ordering::Relaxed);
        *bonds = new;
        self.bind_services(&bonds);
        self.bind_streams(&bonds.streams);
    }

    fn bind_services(&self, bonds: &Bonds) {
        let mut imports = self.imports.lock();
        let bond_of = |subscription: &Arc<Subscription>| match &subscription.target {
            Target::Import(bond) => Some(Arc::clone(bond)),
            _ => None,
        };
        let before: Vec<_> = imports.iter().filter_map(bond_of).collect();
        for bond in &bonds.services {
            if before.iter().any(|known| Arc::ptr_eq(known, bond)) {
                continue;
            }
            let target = Target::Import(Arc::clone(bond));
            let subscription = Arc::new(Subscription::new(target, bond.of.from.as_bytes(), None, b""));
            match self.put(&subscription) {
                Ok(()) => imports.push(subscription),
                Err(why) => tracing::error!("{}: {} is not imported: {why}", self.name, bond.of.from),
            }
        }
        imports.retain(|subscription| {
            let stays =
                bond_of(subscription).is_some_and(|bond| bonds.services.iter().any(|known| Arc::ptr_eq(known, &bond)));
            if !stays {
                self.take(subscription);
            }
            stays
        });
    }

    fn bind_streams(&self, streams: &[Arc<StreamBond>]) {
        let stays = |shadow: &Arc<Subscription>| match &shadow.target {
            Target::Shadow(shadow) => streams.iter().any(|bond| Arc::ptr_eq(bond, &shadow.bond)),
            _ => false,
        };
        let before: Vec<Arc<StreamBond>> = {
            let shadows = self.shadows.lock();
            let bonds = shadows.values().flatten().filter_map(|shadow| match &shadow.target {
                Target::Shadow(shadow) => Some(Arc::clone(&shadow.bond)),
                _ => None,
            });
            let mut known: Vec<Arc<StreamBond>> = Vec::new();
            for bond in bonds {
                if !known.iter().any(|other| Arc::ptr_eq(other, &bond)) {
                    known.push(bond);
                }
            }
            known
        };
        // One that no subscription heard before is heard by none now, or is new.
        let fresh: Vec<_> = streams
            .iter()
            .filter(|bond| !before.iter().any(|known| Arc::ptr_eq(known, bond)))
            .cloned()
            .collect();
        if !fresh.is_empty() {
            let all: Vec<_> = {
                let sublist = self.sublist.read();
                let hearing = sublist.iter().filter(|(_, found)| found.imports);
                hearing.map(|(_, found)| Arc::clone(found)).collect()
            };
            for subscription in &all {
                self.overshadow(subscription, &fresh);
            }
        }
        let gone: Vec<_> = {
            let mut shadows = self.shadows.lock();
            let gone = shadows
                .values_mut()
                .flat_map(|list| {
                    let (keep, gone): (Vec<_>, Vec<_>) = list.drain(..).partition(&stays);
                    *list = keep;
                    gone
                })
                .collect();
            shadows.retain(|_, list| !list.is_empty());
            gone
        };
        for shadow in gone {
            shadow.leave();
        }
    }

    /// Looks at what it shares with others.
    pub fn bonds<R>(&self, look: impl FnOnce(&Bonds) -> R) -> R {
        look(&self.bonds.read())
    }

    /// Requests of others that wait for answers, as a report tells them: no more than a thousand.
    pub(crate) fn responses(&self) -> serde_json::Map<String, serde_json::Value> {
        self.answers.told(1000)
    }

    /// Whether subjects that its clients publish to become others.
    #[inline]
    pub(crate) fn is_mapped(&self) -> bool {
        self.mapped.load(Ordering::Relaxed)
    }

    /// What becomes of a subject that a client publishes to; see [`Mappings::map`](crate::conf::tenancy::Mappings::map).
    pub(crate) fn map(&self, subject: &[u8], chance: u64) -> Option<Vec<u8>> {
        match self.is_mapped() {
            true => self.bonds.read().mappings.map(subject, chance),
            false => None,
        }
    }

    /// Makes sure that answers to requests of other accounts are heard.
    pub(crate) fn expect_answers(&self) {
        let (filter, first) = self.answers.filter();
        if first {
            debug_assert!(filter.starts_with(ANSWERS));
            let subscription = Arc::new(Subscription::new(Target::Answers, &filter, None, b""));
            if let Err(why) = self.put(&subscription) {
                tracing::error!("{}: answers to other accounts are not heard: {why}", self.name);
            }
        }
    }

    /// Has everybody forget what was found out of who matches what, though nobody came or went.
    pub(crate) fn touch(&self) {
        let mut sublist = self.sublist.write();
        sublist.touch();
        self.generation.store(sublist.generation(), Ordering::Release);
    }

    /// Makes a part of the server receive what matches `filter`. It stays until [`remove`](Self::remove).
    ///
    /// # Errors
    /// The filter is malformed, or there is no room.
    pub fn serve(&self, filter: &[u8], service: Arc<dyn Service>) -> Result<Arc<Subscription>> {
        self.add(Subscription::new(Target::Service(service), filter, None, b""))
    }

    /// The same, and it receives also what the account imports of that.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_imported(&self, filter: &[u8], service: Arc<dyn Service>) -> Result<Arc<Subscription>> {
        let mut subscription = Subscription::new(Target::Service(service), filter, None, b"");
        subscription.imports = true;
        self.add(subscription)
    }

    fn add(&self, subscription: Subscription) -> Result<Arc<Subscription>> {
        let filter = subscription.subject.clone();
        let subscription = Arc::new(subscription);
        self.insert(Arc::clone(&subscription))
            .map_err(|source| Error::Subscribe {
                subject: String::from_utf8_lossy(&filter).into_owned(),
                source,
            })?;
        Ok(subscription)
    }

    /// Has `wake` called whenever a subscription comes or goes that `subject` (without wildcards) matches. A second watch
    /// with the same subject and key replaces the first.
    pub fn watch(&self, subject: &[u8], key: WatchKey, wake: Wake) {
        self.watches.add(subject, key, wake);
    }

    /// Ends a watch.
    pub fn unwatch(&self, subject: &[u8], key: &WatchKey) {
        self.watches.remove(subject, key);
    }

    /// True if anybody, a client or a part of the server, would get a message on `subject`.
    #[must_use]
    pub fn has_interest(&self, subject: &[u8]) -> bool {
        self.sublist.read().has_interest(subject)
    }

    /// Whether somebody subscribed to this very subject, in this very queue (empty: in none): a wildcard does not count.
    #[must_use]
    pub fn has_subscriber(&self, subject: &[u8], queue: &str) -> bool {
        let mut found = false;
        self.matches(subject, |subscription| {
            let in_queue = subscription.queue.as_deref().unwrap_or_default();
            found |= *subscription.subject == *subject && in_queue == queue.as_bytes();
        });
        found
    }

    /// Calls `out` with every subscription that matches `subject`, and returns the generation that this holds for, and how
    /// many tokens of the subject decided it (see [`Sublist::matches`]).
    pub fn matches(&self, subject: &[u8], mut out: impl FnMut(&Arc<Subscription>)) -> (u64, usize) {
        let sublist = self.sublist.read();
        let decided = sublist.matches(subject, &mut out);
        (sublist.generation(), decided)
    }

    /// A page of the subscriptions, in no particular order: at most `limit` of those behind the first `offset`. With a
    /// `subject`, only of those that match it. And how many there are.
    #[must_use]
    pub fn page(&self, subject: Option<&[u8]>, offset: usize, limit: usize) -> (usize, Vec<Arc<Subscription>>) {
        let sublist = self.sublist.read();
        let Some(subject) = subject else {
            let page = sublist.iter().skip(offset).take(limit);
            return (sublist.len(), page.map(|(_, found)| Arc::clone(found)).collect());
        };
        let (mut count, mut page) = (0, Vec::new());
        sublist.matches(subject, &mut |found| {
            if count >= offset && page.len() < limit {
                page.push(Arc::clone(found));
            }
            count += 1;
        });
        (count, page)
    }

    /// How many subscriptions of clients there are that hear a subject, or that are within a filter with wildcards; with a `queue`, of those
    /// that are in it.
    #[must_use]
    pub fn subscribers(&self, filter: &[u8], queue: Option<&[u8]>) -> usize {
        let counts = |found: &Subscription| {
            matches!(found.target, Target::Link { .. })
                && queue.is_none_or(|queue| found.queue.as_deref() == Some(queue))
        };
        let mut count = 0;
        if weir_subject::is_literal(filter) {
            self.matches(filter, |found| count += usize::from(counts(found)));
            return count;
        }
        let sublist = self.sublist.read();
        let within = sublist
            .iter()
            .filter(|(_, found)| counts(found) && weir_subject::is_subset(&found.subject, filter));
        within.count()
    }

    /// How many subscriptions there are, and how many were taken out since the start.
    #[must_use]
    pub fn subscription_counts(&self) -> (usize, u64) {
        (self.sublist.read().len(), self.removed.load(Ordering::Relaxed))
    }
}
