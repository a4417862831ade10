//! What is known of a stream from what was asked and what was answered, and what must therefore be there.
//!
//! Whatever has no answer, or an answer that leaves it open, may have been done or not. Requests to one stream are done in
//! the order in which they were handed over; each has a number, which also stands at the beginning of a message's payload.

use std::collections::{BTreeMap, BTreeSet};

use weir_engine::consumer::{AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy};
use weir_engine::shard::emit::Delivery;
use weir_engine::stream::settings::{Durability, Settings};
use weir_engine::stream::{Discard, Message, Retention, Storage, StreamConfig, stored_size};
use weir_engine::{NanoTime, Seq, ShardId, StreamId};

use crate::world::Look;

/// A message as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub subject: String,
    pub headers: String,
    pub payload: Vec<u8>,
    /// `sub` or `all`, if it asks for a rollup.
    pub rollup: Option<&'static str>,
    /// How long it lives.
    pub ttl: Option<i64>,
}

/// A message that is on its way, or may be there though nobody was answered.
#[derive(Debug)]
struct Tried {
    body: Body,
    /// The batch that it is of.
    batch: Option<String>,
    /// When it was sent, where answers may come later than they might.
    since: Option<NanoTime>,
}

impl Body {
    fn is(&self, message: &Message) -> bool {
        self.subject.as_bytes() == &message.subject[..]
            && self.headers.as_bytes() == &message.headers[..]
            && self.payload == message.payload[..]
    }

    fn size(&self) -> u64 {
        stored_size(
            Storage::File,
            self.subject.len(),
            self.headers.len(),
            self.payload.len(),
        )
    }
}

/// How certain something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    There,
    Open,
    Gone,
}

#[derive(Debug)]
struct Entry {
    order: u64,
    body: Body,
    time: NanoTime,
    is: Is,
}

/// What a request takes away.
#[derive(Clone, Debug)]
pub enum Takes {
    One(Seq),
    /// Of these subjects (all if empty), below that sequence (0 for all); `some` if only a part of them, not known which.
    Purge {
        filter: String,
        below: Seq,
        some: bool,
    },
}

impl Takes {
    fn takes(&self, seq: Seq, subject: &str) -> bool {
        match self {
            Self::One(one) => *one == seq,
            Self::Purge { filter, below, .. } => {
                (filter.is_empty() || matches(filter, subject)) && (*below == 0 || seq < *below)
            }
        }
    }
}

#[derive(Debug)]
struct Removal {
    order: u64,
    takes: Takes,
    /// `Some(true)` if it was done for certain, `Some(false)` if nobody will ever know.
    done: Option<bool>,
}

/// A consumer as it is known.
#[derive(Debug)]
pub struct KnownConsumer {
    pub config: ConsumerConfig,
    /// The number of the request that made it.
    order: u64,
    pub is: Is,
    /// Whether its filters are still those that it was made with, and it never began anew.
    straight: bool,
    /// Acknowledged or given up for certain.
    acked: BTreeSet<Seq>,
    /// The same, or at least tried.
    tried: BTreeSet<Seq>,
    delivered: BTreeSet<Seq>,
    /// The highest sequence that was delivered for the first time since the last start.
    newest: Seq,
    /// Deliveries to say something of: sequence, consumer sequence, how often.
    pub held: Vec<(Seq, u64, u64)>,
}

/// The tightest limits that a stream ever had or may have had.
#[derive(Debug, Default)]
struct Tightest {
    messages: Option<u64>,
    bytes: Option<u64>,
    per_subject: Option<u64>,
    age: Option<i64>,
}

/// A stream as it is known.
#[derive(Debug)]
pub struct Known {
    pub id: StreamId,
    pub name: String,
    pub shard: ShardId,
    pub config: StreamConfig,
    pub settings: Settings,
    pub is: Is,
    /// The number of the last request to delete it.
    deletion: u64,
    /// Whether the configuration is that for certain.
    config_certain: bool,
    updated: bool,
    tightest: Tightest,
    entries: BTreeMap<Seq, Entry>,
    by_order: BTreeMap<u64, Seq>,
    /// What had the sequences of others that came later, when what was not synced was lost: it may be found again.
    former: BTreeMap<u64, (Seq, Body)>,
    /// Published, and what came of it is open; with the batch that they belong to.
    tried: BTreeMap<u64, Tried>,
    removals: Vec<Removal>,
    pub last: Seq,
    ids: BTreeMap<String, (u64, Seq, NanoTime)>,
    pub consumers: BTreeMap<String, KnownConsumer>,
    /// What consumers acknowledged, or tried to, in whose place there are others now.
    let_go: BTreeSet<Seq>,
    /// Whether the disk was damaged where this stream lies: then messages may be missing, but no other be there.
    pub damaged: bool,
    /// Whether they may be missing without a word.
    pub silent: bool,
    /// How often a power failure may have taken away what was answered.
    pub cuts: u64,
    /// Whether a process ended or a call of the disk failed: a delivery may be in the journal, and never have left.
    pub troubled: bool,
}

/// Whether a subject matches a filter.
pub fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
}

fn tighter(held: &mut Option<u64>, limit: i64) {
    if limit > 0 {
        let limit = limit.unsigned_abs();
        *held = Some(held.map_or(limit, |before| before.min(limit)));
    }
}

impl Known {
    pub fn new(id: StreamId, shard: ShardId, config: StreamConfig, settings: Settings) -> Self {
        let mut known = Self {
            id,
            name: config.name.clone(),
            shard,
            last: config.first_seq.saturating_sub(1),
            settings,
            is: Is::Open,
            deletion: 0,
            config_certain: true,
            updated: false,
            tightest: Tightest::default(),
            entries: BTreeMap::new(),
            by_order: BTreeMap::new(),
            former: BTreeMap::new(),
            tried: BTreeMap::new(),
            removals: Vec::new(),
            ids: BTreeMap::new(),
            consumers: BTreeMap::new(),
            let_go: BTreeSet::new(),
            damaged: false,
            silent: false,
            cuts: 0,
            troubled: false,
            config,
        };
        known.note_limits(&known.config.clone());
        known
    }

    fn note_limits(&mut self, config: &StreamConfig) {
        tighter(&mut self.tightest.messages, config.max_msgs);
        tighter(&mut self.tightest.bytes, config.max_bytes);
        tighter(&mut self.tightest.per_subject, config.max_msgs_per_subject);
        if config.max_age > 0 {
            let age = self.tightest.age.map_or(config.max_age, |age| age.min(config.max_age));
            self.tightest.age = Some(age);
        }
    }

    fn is_synced(&self) -> bool {
        self.settings.durability == Durability::Sync
    }

    pub fn try_update(&mut self, config: &StreamConfig) {
        self.note_limits(config);
        self.config_certain = false;
        self.updated = true;
    }

    pub fn updated(&mut self, config: StreamConfig, settings: Settings) {
        self.config = config;
        self.settings = settings;
        self.config_certain = true;
    }

    /// Somebody asks for it to be deleted.
    pub fn try_delete(&mut self, order: u64) {
        self.is = Is::Open;
        self.deletion = order;
    }

    /// It answers what was asked of it, so it is there; and stays, if what it answers is on disk. What was asked before its deletion may be
    /// answered behind that.
    fn answers(&mut self, order: u64) {
        if self.is_synced() && order > self.deletion {
            self.is = Is::There;
        }
    }

    /// A message is on its way; it gets its time when it is answered, or, where that may be later, `since` at the earliest.
    pub fn try_publish(&mut self, order: u64, body: Body, batch: Option<String>, since: Option<NanoTime>) {
        self.tried.insert(order, Tried { body, batch, since });
    }

    /// Nothing came of a publish.
    pub fn not_published(&mut self, order: u64) {
        self.tried.remove(&order);
    }

    /// A publish was answered with a sequence.
    pub fn published(&mut self, order: u64, seq: Seq, duplicate: bool, time: NanoTime) {
        let Some(Tried { body, since, .. }) = self.tried.remove(&order) else {
            return;
        };
        self.answers(order);
        let id = header(&body.headers, "Nats-Msg-Id");
        if duplicate {
            let id = id.expect("only what has an id is a duplicate");
            let has_it = |body: &Body| header(&body.headers, "Nats-Msg-Id") == Some(id);
            // A later one that nobody was answered for may be there as well.
            let other = self.tried.values().any(|tried| has_it(&tried.body))
                || self.entries.get(&seq).is_some_and(|entry| has_it(&entry.body));
            if let Some((_, first, _)) = self.ids.get(id)
                && !other
            {
                assert_eq!(seq, *first, "{}: {id} is a duplicate of another message", self.name);
            }
            return;
        }
        if let Some(id) = id {
            if let Some((_, first, at)) = self.ids.get(id)
                && self.cuts == 0
                && !self.damaged
                && !self.updated
                && time - at < self.config.duplicate_window
            {
                panic!("{}: {id} was stored as {first} and again as {seq}", self.name);
            }
            self.ids.insert(id.to_owned(), (order, seq, since.unwrap_or(time)));
        }
        if let Some(expected) = header(&body.headers, "Nats-Expected-Last-Sequence") {
            let expected: Seq = expected.parse().expect("a number of ours");
            assert_eq!(
                seq,
                expected.wrapping_add(1),
                "{}: expected to follow {expected}",
                self.name
            );
        }
        if let Some(expected) = header(&body.headers, "Nats-Expected-Last-Subject-Sequence") {
            let expected: Seq = expected.parse().expect("a number of ours");
            let between = self.entries.range(expected.saturating_add(1)..);
            let newer = between.filter(|(_, entry)| entry.is == Is::There && entry.body.subject == body.subject);
            let mut newer = newer.filter(|(newer, _)| !self.is_excused(**newer, time, seq));
            if let Some((newer, _)) = newer.next() {
                panic!(
                    "{}: {seq} expected {expected} to be the last of its subject, {newer} is",
                    self.name
                );
            }
        }
        assert!(seq > self.last, "{}: {seq} after {}", self.name, self.last);
        self.last = seq;
        self.put(order, seq, body, since.unwrap_or(time));
    }

    /// All messages of a batch were stored, the last of them as this.
    pub fn batch_published(&mut self, orders: &[u64], last: Seq, time: NanoTime) {
        let first = last + 1 - orders.len() as u64;
        assert!(
            first > self.last,
            "{}: a batch from {first}, after {}",
            self.name,
            self.last
        );
        self.answers(orders.last().copied().unwrap_or(0));
        for (seq, order) in (first..).zip(orders) {
            let Tried { body, since, .. } = self.tried.remove(order).expect("a member of the batch");
            self.put(*order, seq, body, since.unwrap_or(time));
        }
        self.last = last;
    }

    fn put(&mut self, order: u64, seq: Seq, body: Body, time: NanoTime) {
        let mut is = Is::There;
        for removal in self.removals.iter().filter(|removal| removal.order > order) {
            if removal.takes.takes(seq, &body.subject) {
                is = after(is, removal);
            }
        }
        self.by_order.insert(order, seq);
        let entry = Entry { order, body, time, is };
        if let Some(former) = self.entries.insert(seq, entry) {
            assert!(self.cuts > 0, "{}: {seq} is given twice", self.name);
            self.by_order.remove(&former.order);
            self.former.insert(former.order, (seq, former.body));
        }
    }

    pub fn try_removal(&mut self, order: u64, takes: Takes) {
        self.removals.push(Removal {
            order,
            takes,
            done: None,
        });
    }

    /// What came of a removal: it was done, it was refused, or nobody knows.
    pub fn removed(&mut self, order: u64, is: Is) {
        let Some(at) = self.removals.iter().position(|removal| removal.order == order) else {
            return;
        };
        if is == Is::Gone {
            self.removals.remove(at);
            return;
        }
        self.removals[at].done = Some(is == Is::There);
        let removal = &self.removals[at];
        for (seq, entry) in &mut self.entries {
            if entry.order < order && removal.takes.takes(*seq, &entry.body.subject) {
                entry.is = after(entry.is, removal);
            }
        }
    }

    /// Whether a removal that is under way, or of which nobody knows, may have taken a message.
    fn is_doubtful(&self, seq: Seq, entry: &Entry) -> bool {
        let may = |removal: &&Removal| removal.done != Some(true) && removal.order > entry.order;
        let mut removals = self.removals.iter().filter(may);
        entry.is == Is::Open || removals.any(|removal| removal.takes.takes(seq, &entry.body.subject))
    }

    /// Whether the limits, the retention or a rollup may have taken a message away.
    fn is_excused(&self, seq: Seq, now: NanoTime, last: Seq) -> bool {
        let Some(entry) = self.entries.get(&seq) else {
            return true;
        };
        if self.is_doubtful(seq, entry) {
            return true;
        }
        let too_old = |age: i64| now >= entry.time.saturating_add(age);
        if self.tightest.age.is_some_and(too_old) || entry.body.ttl.is_some_and(too_old) {
            return true;
        }
        let limits_take = self.config.discard == Discard::Old || self.updated;
        let newer = || self.entries.range(seq + 1..).map(|(_, entry)| &entry.body);
        let tried = || self.tried.values().map(|tried| &tried.body);
        let rolled = |body: &Body| match body.rollup {
            None => false,
            Some("sub") => body.subject == entry.body.subject,
            Some(_) => true,
        };
        if newer().any(rolled) || tried().any(rolled) {
            return true;
        }
        if limits_take
            && self
                .tightest
                .messages
                .is_some_and(|most| last.saturating_sub(seq) >= most)
        {
            return true;
        }
        if self.tightest.per_subject.is_some_and(|most| {
            let same = newer().chain(tried()).filter(|body| body.subject == entry.body.subject);
            same.count() as u64 >= most
        }) {
            return true;
        }
        if limits_take
            && self.tightest.bytes.is_some_and(|most| {
                let bytes: u64 = newer().chain(tried()).map(Body::size).sum();
                bytes + entry.body.size() > most
            })
        {
            return true;
        }
        match self.config.retention {
            Retention::Limits => false,
            Retention::WorkQueue => {
                let tried = |consumer: &KnownConsumer| consumer.tried.contains(&seq);
                self.let_go.contains(&seq) || self.consumers.values().any(tried)
            }
            Retention::Interest => !self.consumers.values().any(|consumer| consumer.holds(seq, entry)),
        }
    }

    /// A message was handed to a consumer.
    pub fn delivered(&mut self, delivery: &Delivery) {
        let (name, message) = (&delivery.consumer.consumer, &delivery.message);
        let seq = message.seq;
        let order = self.check_message(message);
        let what = format!("{}: consumer {name}: message {seq}", self.name);
        if let Some(entry) = self.entries.get(&seq) {
            assert!(
                entry.is != Is::Gone || entry.order != order,
                "{what} is gone, and is delivered: {entry:?}, {:?}",
                self.removals
            );
        }
        let Some(consumer) = self.consumers.get_mut(&**name) else {
            panic!("{what}: there is no such consumer");
        };
        let subject = String::from_utf8_lossy(&message.subject);
        if consumer.straight {
            assert!(consumer.wants(&subject), "{what}: {subject} is not one of its subjects");
        }
        assert!(
            !consumer.acked.contains(&seq),
            "{what} was acknowledged and comes again, {} times",
            delivery.deliveries
        );
        let most = consumer.config.max_deliver;
        assert!(
            most <= 0 || delivery.deliveries <= most.unsigned_abs(),
            "{what} comes {} times",
            delivery.deliveries
        );
        if delivery.deliveries == 1 && consumer.config.deliver_policy == DeliverPolicy::All && consumer.straight {
            assert!(seq > consumer.newest, "{what} comes first after {}", consumer.newest);
            consumer.newest = seq;
        }
        consumer.delivered.insert(seq);
        consumer.held.push((seq, delivery.consumer_seq, delivery.deliveries));
        if consumer.config.ack_policy == AckPolicy::None {
            consumer.tried.insert(seq);
        }
    }

    /// A message that is there is one that was published, as it was.
    fn check_message(&self, message: &Message) -> u64 {
        let seq = message.seq;
        let order = message.payload.first_chunk().map(|order| u64::from_le_bytes(*order));
        let order = order.unwrap_or_else(|| panic!("{}: message {seq} is too short", self.name));
        let known = self.by_order.get(&order).map(|at| (*at, &self.entries[at].body));
        let known = known.or_else(|| self.former.get(&order).map(|(at, body)| (*at, body)));
        let body = match (known, self.tried.get(&order)) {
            (Some((at, body)), _) => {
                assert_eq!(at, seq, "{}: the message of {order} has another sequence", self.name);
                body
            }
            (None, Some(tried)) => &tried.body,
            (None, None) => panic!("{}: message {seq} should not be there: {order}", self.name),
        };
        assert!(
            body.is(message),
            "{}: message {seq} is not as it was: {body:?}, {message:?}",
            self.name
        );
        order
    }

    /// Everything that is there is known, and everything that must be is there. `quiet` if nothing is under way.
    pub fn verify(&mut self, look: &Look, now: NanoTime, quiet: bool, found: usize) {
        let Look { state, messages, .. } = look;
        let what = self.name.clone();
        let mut left: BTreeSet<Seq> = self.entries.keys().copied().collect();
        let mut orders = BTreeSet::new();
        let mut last = 0;
        for message in messages {
            assert!(message.seq > last, "{what}: {} after {last}", message.seq);
            last = message.seq;
            let order = self.check_message(message);
            assert!(orders.insert(order), "{what}: the message of {order} is there twice");
            left.remove(&message.seq);
            if let Some(entry) = self.entries.get(&message.seq) {
                // Under the sequence of one that was not durable there may be another.
                assert!(
                    entry.is != Is::Gone || entry.order != order || self.damaged,
                    "{what}: message {} was removed and is there; {state:?}",
                    message.seq
                );
            }
        }
        let missing: Vec<Seq> = left
            .into_iter()
            .filter(|seq| self.entries[seq].is != Is::Gone && !self.is_excused(*seq, now, state.last_seq))
            .collect();
        match self.damaged {
            false => assert!(
                missing.is_empty(),
                "{what}: acknowledged and gone: {missing:?} at {now}; {state:?}; {:?}; {:?}, {:?}; {:?}",
                missing
                    .iter()
                    .map(|seq| &self.entries[seq])
                    .map(|entry| (entry.order, entry.time, entry.body.payload.len()))
                    .collect::<Vec<_>>(),
                self.settings.durability,
                self.removals,
                self.config
            ),
            true => assert!(
                missing.is_empty() || look.lost > 0 || found > 0 || self.cuts > 0 || self.silent,
                "{what}: gone without a word: {missing:?}; {state:?}"
            ),
        }
        if self.damaged {
            // What it has lost counts until it is met.
            return;
        }
        assert_eq!(state.messages, messages.len() as u64, "{what}: {state:?}");
        let bytes: u64 = messages
            .iter()
            .map(|message| {
                stored_size(
                    self.config.storage,
                    message.subject.len(),
                    message.headers.len(),
                    message.payload.len(),
                )
            })
            .sum();
        assert_eq!(state.bytes, bytes, "{what}: {state:?}");
        let subjects: BTreeSet<&[u8]> = messages.iter().map(|message| &message.subject[..]).collect();
        assert_eq!(state.num_subjects, subjects.len() as u64, "{what}: {state:?}");
        if let (Some(first), Some(last)) = (messages.first(), messages.last()) {
            assert_eq!(state.first_seq, first.seq, "{what}: {state:?}");
            assert!(state.last_seq >= last.seq, "{what}: {state:?}");
            let holes = state.last_seq - first.seq + 1 - state.messages;
            assert_eq!(state.num_deleted, holes, "{what}: {state:?}");
        }
        if !self.damaged {
            assert!(
                state.last_seq >= self.last,
                "{what}: {state:?}, acknowledged {}",
                self.last
            );
        }
        if quiet {
            self.check_released(messages);
            self.check_batches(&orders);
            self.check_limits(look, now);
        }
        for info in &look.consumers {
            self.check_consumer(info, messages, quiet);
        }
        for (name, consumer) in &self.consumers {
            let there = look.consumers.iter().any(|info| *info.name.consumer == **name);
            assert!(
                there || consumer.is != Is::There || self.damaged,
                "{what}: consumer {name} was acknowledged and is gone"
            );
        }
    }

    /// What was acknowledged for certain is not kept for its consumers' sake any more.
    fn check_released(&self, messages: &[Message]) {
        let consumers = || self.consumers.values().filter(|consumer| consumer.is != Is::Gone);
        for seq in messages.iter().map(|message| message.seq) {
            let released = match self.config.retention {
                Retention::Limits => false,
                Retention::WorkQueue => consumers().any(|consumer| consumer.acked.contains(&seq)),
                Retention::Interest => {
                    let done = |consumer: &KnownConsumer| consumer.is == Is::There && consumer.acked.contains(&seq);
                    consumers().next().is_some() && consumers().all(done)
                }
            };
            assert!(!released, "{}: message {seq} was acknowledged, and stays", self.name);
        }
    }

    /// Of a batch that nobody was answered for, all messages are there or none.
    fn check_batches(&self, there: &BTreeSet<u64>) {
        let limited = self.tightest.messages.is_some()
            || self.tightest.bytes.is_some()
            || self.tightest.per_subject.is_some()
            || self.tightest.age.is_some()
            || self.config.retention != Retention::Limits
            || !self.removals.is_empty()
            || self.damaged;
        if limited || self.config.allow_rollup_hdrs {
            return;
        }
        let mut batches: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (order, Tried { batch, .. }) in &self.tried {
            if let Some(batch) = batch {
                let (all, found) = batches.entry(batch).or_default();
                *all += 1;
                *found += usize::from(there.contains(order));
            }
        }
        for (batch, (all, found)) in batches {
            assert!(
                found == 0 || found == all,
                "{}: {found} of the {all} messages of batch {batch} are there",
                self.name
            );
        }
    }

    fn check_limits(&self, look: &Look, now: NanoTime) {
        let (config, state, what) = (&self.config, &look.state, &self.name);
        // Whoever refuses new messages does not remove old ones when limits become tighter.
        if !self.config_certain || self.damaged || (config.discard == Discard::New && self.updated) {
            return;
        }
        if config.max_msgs > 0 {
            assert!(
                state.messages <= config.max_msgs.unsigned_abs(),
                "{what}: {state:?}, {config:?}"
            );
        }
        if config.max_bytes > 0 {
            assert!(
                state.bytes <= config.max_bytes.unsigned_abs(),
                "{what}: {state:?}, {config:?}"
            );
        }
        let mut counts: BTreeMap<&[u8], i64> = BTreeMap::new();
        for message in &look.messages {
            let count = counts.entry(&message.subject).or_default();
            *count += 1;
            assert!(
                config.max_msgs_per_subject <= 0 || *count <= config.max_msgs_per_subject,
                "{what}: {} of one subject, {config:?}",
                *count
            );
            assert!(
                config.max_age <= 0 || now < message.time.saturating_add(config.max_age),
                "{what}: message {} of {} is too old at {now}",
                message.seq,
                message.time
            );
            let ttl = self.entries.get(&message.seq).and_then(|entry| entry.body.ttl);
            assert!(
                ttl.is_none_or(|ttl| now < message.time.saturating_add(ttl)),
                "{what}: the time of message {} is over",
                message.seq
            );
        }
    }

    fn check_consumer(&mut self, info: &ConsumerInfo, messages: &[Message], quiet: bool) {
        let name = &*info.name.consumer;
        let what = format!("{}: consumer {name}", self.name);
        let Some(consumer) = self.consumers.get(name) else {
            panic!("{what} should not be there");
        };
        assert!(
            consumer.is != Is::Gone || self.damaged,
            "{what} was deleted and is there"
        );
        assert!(info.ack_floor.stream <= info.delivered.stream, "{what}: {info:?}");
        assert!(info.ack_floor.consumer <= info.delivered.consumer, "{what}: {info:?}");
        let most = info.config.max_ack_pending;
        assert!(
            most <= 0 || info.num_ack_pending <= most.unsigned_abs() || self.updated || !consumer.straight,
            "{what}: {info:?}"
        );
        // What is handed out without acknowledgements may be lost on the way, and counts all the same.
        if !consumer.straight || self.damaged || consumer.config.ack_policy == AckPolicy::None {
            return;
        }
        let wanted = || {
            messages
                .iter()
                .filter(|message| consumer.wants(&String::from_utf8_lossy(&message.subject)))
        };
        for message in wanted().filter(|message| message.seq <= info.ack_floor.stream) {
            // Purges move the floor over what was given up, as nats-server does. A delivery that never left counts as one, also
            // there (`deliverMsg` notes it before it sends): what may be sent once is sent at most once.
            let sent = self.troubled || consumer.delivered.contains(&message.seq);
            let given_up = consumer.config.max_deliver > 0 && sent;
            // Removals of others move it over what was sent, as nats-server's do, which looks at its own half of it only.
            let passed = !self.removals.is_empty() && sent;
            let later = || consumer.tried.range(message.seq..).next().is_some();
            let with_later = consumer.config.ack_policy == AckPolicy::All && later();
            let settled = consumer.tried.contains(&message.seq)
                || consumer.begins_after(message.seq)
                || given_up
                || passed
                || with_later;
            assert!(
                settled || !consumer.sees_all(),
                "{what}: the floor {} is ahead of {}, which nobody acknowledged: {:?}; {info:?}",
                info.ack_floor.stream,
                message.seq,
                consumer.tried
            );
        }
        if quiet && consumer.sees_all() {
            let to_come = wanted().filter(|message| message.seq > info.delivered.stream).count() as u64;
            assert_eq!(info.num_pending, to_come, "{what}: {info:?}");
        }
    }

    pub fn try_consumer(&mut self, name: &str, config: ConsumerConfig, order: u64) {
        let consumer = KnownConsumer {
            config,
            order,
            is: Is::Open,
            straight: true,
            acked: BTreeSet::new(),
            tried: BTreeSet::new(),
            delivered: BTreeSet::new(),
            newest: 0,
            held: Vec::new(),
        };
        if let Some(former) = self.consumers.insert(name.to_owned(), consumer) {
            self.let_go.extend(former.tried);
        }
    }

    /// An acknowledgement of these sequences is on its way, or was heard.
    pub fn acknowledge(&mut self, name: &str, seq: Seq, heard: bool) {
        let Some(consumer) = self.consumers.get_mut(name) else {
            return;
        };
        let seqs: Vec<Seq> = match consumer.config.ack_policy {
            AckPolicy::Explicit => vec![seq],
            AckPolicy::All => consumer.delivered.range(..=seq).copied().collect(),
            _ => return,
        };
        consumer.tried.extend(&seqs);
        if heard {
            consumer
                .acked
                .extend(seqs.iter().filter(|seq| consumer.delivered.contains(seq)));
        }
    }

    /// The process ends. `power` if what was not synced may be lost.
    pub fn restarted(&mut self, power: bool) {
        self.troubled = true;
        for removal in &mut self.removals {
            removal.done.get_or_insert(false);
        }
        let loses = power && !self.is_synced();
        if loses {
            self.cuts += 1;
            self.config_certain = false;
            for entry in self.entries.values_mut() {
                entry.is = Is::Open;
            }
        }
        for consumer in self.consumers.values_mut() {
            consumer.newest = 0;
            consumer.held.clear();
            if loses {
                consumer.acked.clear();
                consumer.straight = false;
            }
        }
        if loses {
            self.last = 0;
        }
        // What was tried and is of no use any more need not be kept for ever; it may still be there.
    }

    /// A stream in memory is gone with its process.
    pub fn is_in_memory(&self) -> bool {
        !self.settings.is_journaled()
    }

    /// How many messages are known.
    pub fn plain_seq(&self, back: u64) -> Seq {
        self.last.saturating_sub(back)
    }
}

/// What is left of a message after a removal that takes it.
fn after(is: Is, removal: &Removal) -> Is {
    let certain = removal.done == Some(true) && !matches!(removal.takes, Takes::Purge { some: true, .. });
    match removal.done {
        _ if is == Is::Gone => Is::Gone,
        None => is,
        Some(_) if certain => Is::Gone,
        Some(_) => Is::Open,
    }
}

impl KnownConsumer {
    pub fn wants(&self, subject: &str) -> bool {
        let filters = self.config.filters();
        filters.is_empty() || filters.iter().any(|filter| matches(filter, subject))
    }

    /// Whether it was made to get every message from the first on, and nothing has changed that.
    fn sees_all(&self) -> bool {
        self.straight && self.config.deliver_policy == DeliverPolicy::All
    }

    fn begins_after(&self, seq: Seq) -> bool {
        self.config.deliver_policy == DeliverPolicy::ByStartSequence && seq < self.config.opt_start_seq
    }

    /// Whether an interest stream must keep a message for this consumer.
    fn holds(&self, seq: Seq, entry: &Entry) -> bool {
        self.is == Is::There
            && self.straight
            && self.order < entry.order
            && self.config.ack_policy == AckPolicy::Explicit
            && self.sees_all()
            && self.wants(&entry.body.subject)
            && !self.tried.contains(&seq)
    }

    /// It begins anew, or gets other subjects: what was acknowledged may come again.
    pub fn bend(&mut self) {
        self.straight = false;
        self.acked.clear();
    }
}

/// The value of a header.
fn header<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
