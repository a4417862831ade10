//! Consumers: who got which message, who acknowledged it, and what comes next. A pure state machine over the messages
//! of its stream; time is handed in.

mod ack;
mod config;
mod deliver;
mod priority;
mod pull;
mod push;
mod request;
mod reset;
pub mod validate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use ack::{Ack, AckKind};
pub use config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
pub use priority::GroupState;
pub use request::{GroupRequest, PullRequest};

use crate::error::Result;
use crate::index::Cursor;
use crate::shard::command::Place;
use crate::shard::emit::ConsumerName;
use crate::stream::Storage;
use crate::stream::messages::Messages;
use crate::types::{NanoTime, Nanos, Seq};
use priority::Pin;
use pull::Waiting;
use push::Push;

/// A consumer sequence with the stream sequence that belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqPair {
    /// The consumer's own count of deliveries.
    pub consumer: u64,
    /// The stream's sequence.
    pub stream: Seq,
}

/// A message that was sent and not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    /// The consumer sequence of its first delivery.
    consumer_seq: u64,
    /// When it was last sent.
    sent: NanoTime,
    /// When it will be sent again; `NanoTime::MAX` while it waits in the redelivery queue.
    deadline: NanoTime,
}

/// The messages that a consumer keeps in a stream which keeps them for their consumers' sake.
pub(crate) struct Held {
    /// What it sent, gave up or is still to send, ascending, all below `next`.
    pub singles: VecDeque<Seq>,
    /// All that it wants from here on,
    pub next: Seq,
    /// and below this.
    pub end: Seq,
}

/// What a consumer needs to go on after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerSnapshot {
    /// Its serial number within the stream.
    pub serial: u64,
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: ConsumerConfig,
    /// When it was made.
    pub created: NanoTime,
    /// The next stream sequence it has not looked at.
    pub next: Seq,
    /// Single sequences still to be sent before `next` counts (last-per-subject).
    #[serde(default)]
    pub initial: Vec<Seq>,
    /// The last delivery.
    pub delivered: SeqPair,
    /// All up to here is acknowledged.
    pub ack_floor: SeqPair,
    /// Sent and not acknowledged: stream sequence, consumer sequence, time sent.
    #[serde(default)]
    pub pending: Vec<(Seq, u64, NanoTime)>,
    /// Stream sequences sent more than once, and how often; those of them that are not pending were given up.
    #[serde(default)]
    pub deliveries: Vec<(Seq, u64)>,
}

/// What clients are told of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// Its names.
    pub name: Arc<ConsumerName>,
    /// Its configuration.
    pub config: ConsumerConfig,
    /// When it was made.
    pub created: NanoTime,
    /// The last delivery, and its time.
    pub delivered: SeqPair,
    /// When it last delivered.
    pub last_delivery: Option<NanoTime>,
    /// All up to here is acknowledged.
    pub ack_floor: SeqPair,
    /// When an acknowledgement last came.
    pub last_ack: Option<NanoTime>,
    /// Messages sent and not acknowledged.
    pub num_ack_pending: u64,
    /// Of those, the ones sent more than once.
    pub num_redelivered: u64,
    /// Pull requests waiting.
    pub num_waiting: u64,
    /// Messages not sent yet.
    pub num_pending: u64,
    /// For a push consumer: whether somebody is subscribed.
    pub push_bound: bool,
    /// How long it still pauses, in nanoseconds; 0 if it does not.
    pub pause_remaining: Nanos,
    /// Its priority groups.
    pub groups: Vec<GroupState>,
}

/// One consumer.
pub(crate) struct Consumer {
    pub serial: u64,
    pub name: Arc<ConsumerName>,
    pub config: ConsumerConfig,
    pub created: NanoTime,
    /// Whether its stream lists it among those with something to do.
    pub queued: bool,
    cursor: Cursor,
    filters: Vec<Bytes>,
    next: Seq,
    initial: VecDeque<Seq>,
    delivered: SeqPair,
    last_delivery: Option<NanoTime>,
    ack_floor: SeqPair,
    last_ack: Option<NanoTime>,
    pending: BTreeMap<Seq, Pending>,
    /// How often a message was sent, where it is more than once. Those of them that are not pending were sent as often as
    /// they may be, and given up: retention keeps them.
    deliveries: BTreeMap<Seq, u64>,
    deadlines: BTreeSet<(NanoTime, Seq)>,
    redeliver: BTreeSet<Seq>,
    num_pending: u64,
    waiting: VecDeque<Waiting>,
    pin: Option<Pin>,
    push: Push,
    /// Since when nobody has used it.
    idle_since: NanoTime,
    /// When the last message was sent, and the time it was stored: for replay at the original pace.
    replayed: Option<(NanoTime, NanoTime)>,
    /// Sent in this turn, for the journal: the first consumer sequence, and the stream sequences.
    turn_first_delivery: u64,
    turn_delivered: Vec<Seq>,
    turn_acked: Vec<Seq>,
    /// The waits that began anew in this turn.
    turn_deferred: Vec<(Seq, NanoTime)>,
    turn_given_up: Vec<Seq>,
    /// Purges of this turn moved it, and took these away that it had sent or given up.
    turn_purged: Option<Vec<Seq>>,
    /// What it sent or gave up that a purge under way took away.
    doomed: Vec<Seq>,
    /// Removed in this turn while on their way: stream sequence, consumer sequence, how often sent.
    turn_lost: Vec<(Seq, u64, u64)>,
}

impl Consumer {
    /// Begins a new consumer where its policy says.
    pub fn create(
        serial: u64,
        name: Arc<ConsumerName>,
        config: ConsumerConfig,
        now: NanoTime,
        stream: &mut Messages,
    ) -> Result<Self> {
        let filters = filters_of(&config);
        let last = stream.last();
        let first = stream.first().max(1);
        let mut initial = VecDeque::new();
        let next = match config.deliver_policy {
            DeliverPolicy::All => first,
            DeliverPolicy::New => last + 1,
            DeliverPolicy::Last => match stream.index.prev_match(&filters, last)? {
                Some(seq) => seq,
                None if filters.is_empty() => last + 1,
                None => first,
            },
            DeliverPolicy::ByStartSequence => config.opt_start_seq.max(first),
            DeliverPolicy::ByStartTime => stream.seq_at(config.opt_start_time.unwrap_or(0))?.max(first),
            // All there is, then, is the last of its subject.
            DeliverPolicy::LastPerSubject if stream.config.max_msgs_per_subject == 1 => first,
            DeliverPolicy::LastPerSubject => {
                let mut lasts = Vec::new();
                stream.index.last_of_each(&filters, &mut |_, info| {
                    lasts.push(info.last);
                    std::ops::ControlFlow::Continue(())
                })?;
                lasts.sort_unstable();
                initial = lasts.into();
                match initial.is_empty() {
                    // As nats-server, which looks at the last message in vain.
                    true => last.max(first),
                    false => last + 1,
                }
            }
        };
        let before = initial.front().copied().unwrap_or(next).saturating_sub(1);
        let snapshot = ConsumerSnapshot {
            serial,
            name: name.consumer.to_string(),
            config,
            created: now,
            next,
            initial: initial.into(),
            delivered: SeqPair {
                consumer: 0,
                stream: before,
            },
            ack_floor: SeqPair {
                consumer: 0,
                stream: before,
            },
            ..ConsumerSnapshot::default()
        };
        Self::resume(name, snapshot, now, stream)
    }

    /// Goes on from a snapshot.
    pub fn resume(
        name: Arc<ConsumerName>,
        snapshot: ConsumerSnapshot,
        now: NanoTime,
        stream: &mut Messages,
    ) -> Result<Self> {
        let filters = filters_of(&snapshot.config);
        let mut consumer = Self {
            serial: snapshot.serial,
            name,
            created: snapshot.created,
            queued: false,
            cursor: Cursor::new(&filters),
            filters,
            next: snapshot.next,
            initial: snapshot.initial.into(),
            delivered: snapshot.delivered,
            last_delivery: None,
            ack_floor: snapshot.ack_floor,
            last_ack: None,
            pending: BTreeMap::new(),
            deliveries: snapshot.deliveries.into_iter().collect(),
            deadlines: BTreeSet::new(),
            redeliver: BTreeSet::new(),
            num_pending: 0,
            waiting: VecDeque::new(),
            pin: None,
            push: Push::default(),
            idle_since: now,
            replayed: None,
            turn_first_delivery: 0,
            turn_delivered: Vec::new(),
            turn_acked: Vec::new(),
            turn_deferred: Vec::new(),
            turn_given_up: Vec::new(),
            turn_lost: Vec::new(),
            doomed: Vec::new(),
            turn_purged: None,
            config: snapshot.config,
        };
        for (seq, consumer_seq, sent) in snapshot.pending {
            consumer.track(seq, consumer_seq, sent);
        }
        consumer.recount(stream)?;
        Ok(consumer)
    }

    /// What it needs to go on after a restart.
    pub fn snapshot(&self) -> ConsumerSnapshot {
        ConsumerSnapshot {
            serial: self.serial,
            name: self.name.consumer.to_string(),
            config: self.config.clone(),
            created: self.created,
            next: self.next,
            initial: self.initial.iter().copied().collect(),
            delivered: self.delivered,
            ack_floor: self.ack_floor,
            pending: self
                .pending
                .iter()
                .map(|(&seq, pending)| (seq, pending.consumer_seq, pending.sent))
                .collect(),
            deliveries: self.deliveries.iter().map(|(&seq, &count)| (seq, count)).collect(),
        }
    }

    /// What clients are told; `storage` is that of its stream.
    pub fn info(&self, now: NanoTime, storage: Storage) -> ConsumerInfo {
        ConsumerInfo {
            name: self.name.clone(),
            config: self.config.clone(),
            created: self.created,
            delivered: self.told(storage),
            last_delivery: self.last_delivery,
            ack_floor: self.ack_floor,
            last_ack: self.last_ack,
            num_ack_pending: self.pending.len() as u64,
            num_redelivered: match self.config.max_deliver {
                // What is given up after its only delivery was not redelivered.
                1 => 0,
                _ => self.deliveries.len() as u64,
            },
            num_waiting: self.waiting.len() as u64,
            num_pending: self.num_pending,
            push_bound: self.push.active,
            pause_remaining: self
                .config
                .pause_until
                .map_or(0, |until| until.saturating_sub(now).max(0)),
            groups: self.group_states(),
        }
    }

    /// One in memory that began at the beginning and has sent nothing stands before what it will send first.
    fn told(&self, storage: Storage) -> SeqPair {
        let in_memory = self.config.mem_storage || storage == Storage::Memory;
        let fresh = in_memory && self.delivered == SeqPair::default() && self.initial.is_empty();
        SeqPair {
            stream: match fresh {
                true => self.next.saturating_sub(1),
                false => self.delivered.stream,
            },
            ..self.delivered
        }
    }

    /// The filters, empty for all subjects.
    pub fn filters(&self) -> &[Bytes] {
        &self.filters
    }

    /// Whether it is there after a restart. One in memory is not, as with nats-server; one that only serves a mirror or a
    /// source is made anew by whoever needs it.
    pub fn is_persistent(&self) -> bool {
        !self.config.mem_storage && !self.config.direct
    }

    /// Takes a new configuration; what may change was checked before.
    pub fn update(&mut self, config: ConsumerConfig, now: NanoTime, stream: &mut Messages) -> Result<()> {
        self.filters = filters_of(&config);
        self.cursor = Cursor::new(&self.filters);
        self.config = config;
        self.idle_since = now;
        self.set_deadlines();
        self.recount(stream)
    }

    /// A message it wants was stored. One that begins at a sequence yet to come does not count those before.
    pub fn stored(&mut self, seq: Seq) {
        if seq >= self.next {
            self.num_pending += 1;
        }
    }

    /// A message it wants is gone; if it was on its way, nobody need acknowledge it any more. Answers whether it was sent or
    /// given up: then there may be room for another, and the journal has to know where the consumer stands.
    pub fn removed(&mut self, seq: Seq) -> bool {
        self.uncount(seq);
        self.lost(seq);
        let given_up = self.deliveries.contains_key(&seq);
        let known = self.forget(seq) || given_up;
        if known {
            self.turn_purged.get_or_insert_default().push(seq);
        }
        known
    }

    /// A purge that is under way took these messages away, in ascending order.
    pub fn doom(&mut self, seqs: &[Seq]) {
        let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else {
            return;
        };
        let sent = self.pending.range(first..=last).map(|(seq, _)| *seq);
        let gone = sent.filter(|seq| seqs.binary_search(seq).is_ok());
        self.doomed.extend(gone);
        if self.deliveries.is_empty() {
            return;
        }
        let given_up = |seq: &&Seq| self.deliveries.contains_key(*seq) && !self.pending.contains_key(*seq);
        self.doomed.extend(seqs.iter().filter(given_up));
    }

    /// A purge took all messages away.
    pub fn doom_all(&mut self) {
        let given_up = self.deliveries.keys().filter(|seq| !self.pending.contains_key(seq));
        self.doomed = self.pending.keys().chain(given_up).copied().collect();
    }

    /// What it holds on to, for retention's sake.
    pub fn held(&self) -> Held {
        let sent = self.pending.keys().chain(self.deliveries.keys()).chain(&self.initial);
        let mut singles: Vec<Seq> = sent.copied().filter(|seq| *seq < self.next).collect();
        singles.sort_unstable();
        singles.dedup();
        Held {
            singles: singles.into(),
            next: self.next,
            end: Seq::MAX,
        }
    }

    /// Every message from here on that it wants, it needs.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// If that message was on its way, the world is told that it will not be acknowledged.
    pub fn lost(&mut self, seq: Seq) {
        if let Some(pending) = self.pending.get(&seq) {
            let deliveries = self.deliveries.get(&seq).copied().unwrap_or(1);
            self.turn_lost.push((seq, pending.consumer_seq, deliveries));
        }
    }

    /// A message it wants is gone: it does not count as one to be sent.
    pub fn uncount(&mut self, seq: Seq) {
        // One on the list is dropped from it when its turn comes.
        let unsent = seq >= self.next || self.initial.binary_search(&seq).is_ok();
        if unsent {
            self.num_pending = self.num_pending.saturating_sub(1);
        }
    }

    /// After a restart: whatever is gone is forgotten, and counted anew.
    pub fn recovered(&mut self, stream: &mut Messages) -> Result<()> {
        for seq in self.gone(stream)? {
            self.forget(seq);
        }
        self.next = self.next.max(stream.first());
        self.recount(stream)
    }

    /// Messages were purged, of the subjects that `filter` matches, all of which are now at or above `start`. The place of
    /// a consumer that wants only some of these moves up to there, as nats-server's does; that of others that want some of
    /// them to the first message of the stream. Answers whether there may be room for another message now.
    pub fn purged(&mut self, filter: &[u8], start: Seq, now: NanoTime, stream: &mut Messages) -> Result<bool> {
        let all = filter.is_empty() || filter == b">";
        let within = |own: &Bytes| weir_subject::is_subset(own, filter);
        let only = !self.filters.is_empty() && self.filters.iter().all(within);
        let some = self.filters.iter().any(within);
        let among =
            some || self.filters.is_empty() || self.filters.iter().any(|own| weir_subject::is_subset(filter, own));
        let start = match () {
            () if all || only => start,
            () if among => stream.first(),
            () => {
                self.doomed.clear();
                return Ok(false);
            }
        };
        let gone = std::mem::take(&mut self.doomed);
        self.next = self.next.max(start);
        if self.ack_floor.stream < start {
            self.ack_floor.stream = start - 1;
            for &seq in &gone {
                self.deliveries.remove(&seq);
                if let Some(pending) = self.drop_pending(seq) {
                    self.ack_floor.consumer = self.ack_floor.consumer.max(pending.consumer_seq);
                    self.last_ack = Some(now);
                }
            }
        } else {
            for &seq in &gone {
                self.forget(seq);
                self.last_ack = Some(now);
            }
        }
        self.delivered.stream = self.next.saturating_sub(1);
        if self.pending.is_empty() {
            self.ack_floor = self.delivered;
        }
        let freed = !gone.is_empty();
        self.turn_purged.get_or_insert_default().extend(gone);
        Ok(freed)
    }

    /// Applies from the journal where purges left it.
    pub fn replay_placed(&mut self, place: Place, gone: &[Seq]) {
        for &seq in gone {
            self.deliveries.remove(&seq);
            self.drop_pending(seq);
        }
        self.next = place.next;
        self.delivered = place.delivered;
        self.ack_floor = place.ack_floor;
    }

    /// What it sent or gave up that is no longer there.
    fn gone(&self, stream: &mut Messages) -> Result<Vec<Seq>> {
        let mut gone = Vec::new();
        let given_up = self.deliveries.keys().filter(|seq| !self.pending.contains_key(seq));
        for &seq in self.pending.keys().chain(given_up) {
            if !stream.index.is_live(seq)? {
                gone.push(seq);
            }
        }
        Ok(gone)
    }

    /// Whether the consumer still needs a message, for retention by interest.
    pub fn needs(&self, seq: Seq) -> bool {
        seq >= self.next
            || self.pending.contains_key(&seq)
            || self.deliveries.contains_key(&seq)
            || self.initial.binary_search(&seq).is_ok()
    }

    /// Counts anew what is to be sent.
    pub fn recount(&mut self, stream: &mut Messages) -> Result<()> {
        self.num_pending = stream.index.count_from(&self.filters, self.next)?;
        for &seq in &self.initial {
            self.num_pending += u64::from(stream.index.is_live(seq)?);
        }
        Ok(())
    }

    /// Notes that a message is on its way.
    fn track(&mut self, seq: Seq, consumer_seq: u64, sent: NanoTime) {
        let deadline = match self.wait_for(seq) {
            // Flow control acknowledges when it comes round to it.
            0 => NanoTime::MAX,
            wait => sent.saturating_add(wait),
        };
        let entry = self.pending.entry(seq).or_insert(Pending {
            consumer_seq,
            sent,
            deadline,
        });
        self.deadlines.remove(&(entry.deadline, seq));
        entry.sent = sent;
        entry.deadline = deadline;
        if deadline != NanoTime::MAX {
            self.deadlines.insert((deadline, seq));
        }
        self.redeliver.remove(&seq);
    }

    /// The time of the day has stepped: what waits goes on to wait as long as it would have.
    pub fn step(&mut self, step: Nanos) {
        let shift = |time: &mut NanoTime| {
            if *time != NanoTime::MAX {
                *time = time.saturating_add(step);
            }
        };
        self.deadlines.clear();
        for (&seq, sent) in &mut self.pending {
            shift(&mut sent.sent);
            shift(&mut sent.deadline);
            if sent.deadline != NanoTime::MAX {
                self.deadlines.insert((sent.deadline, seq));
            }
        }
        for waiting in &mut self.waiting {
            shift(&mut waiting.expires);
            shift(&mut waiting.next_heartbeat);
        }
        shift(&mut self.idle_since);
        if let Some(pin) = &mut self.pin {
            shift(&mut pin.deadline);
        }
        if let Some((sent, _)) = &mut self.replayed {
            shift(sent);
        }
        self.push.step(step);
    }

    /// Waits for acknowledgements last as long as the configuration says now, from when the messages were sent. What waits
    /// to be sent again goes on to.
    fn set_deadlines(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        self.deadlines.clear();
        for (&seq, sent) in &mut pending {
            if self.redeliver.contains(&seq) {
                continue;
            }
            sent.deadline = match self.wait_for(seq) {
                0 => NanoTime::MAX,
                wait => {
                    let deadline = sent.sent.saturating_add(wait);
                    self.deadlines.insert((deadline, seq));
                    deadline
                }
            };
        }
        self.pending = pending;
    }

    /// How long the acknowledgement of a message may take now.
    fn wait_for(&self, seq: Seq) -> Nanos {
        let sent = self.deliveries.get(&seq).copied().unwrap_or(1);
        match self.config.backoff.as_slice() {
            [] => self.config.ack_wait,
            waits => {
                let at = usize::try_from(sent - 1).unwrap_or(usize::MAX).min(waits.len() - 1);
                waits[at]
            }
        }
    }

    /// Drops what is known of a message on its way; answers whether it was.
    fn forget(&mut self, seq: Seq) -> bool {
        self.deliveries.remove(&seq);
        let Some(pending) = self.drop_pending(seq) else {
            return false;
        };
        self.raise_floor(SeqPair {
            consumer: pending.consumer_seq,
            stream: seq,
        });
        true
    }

    /// Takes a message off those on their way.
    fn drop_pending(&mut self, seq: Seq) -> Option<Pending> {
        self.redeliver.remove(&seq);
        let pending = self.pending.remove(&seq)?;
        self.deadlines.remove(&(pending.deadline, seq));
        Some(pending)
    }

    /// Moves the floor after a message was acknowledged, as nats-server does: from one to the next, so that it stays
    /// below one that was given up, until nothing is on its way any more.
    fn raise_floor(&mut self, acked: SeqPair) {
        if self.pending.is_empty() {
            self.ack_floor = self.delivered;
            return;
        }
        if acked.consumer != self.ack_floor.consumer + 1 {
            return;
        }
        self.ack_floor = acked;
        if let Some((&next, pending)) = self.pending.range(acked.stream + 1..).next()
            && self.delivered.consumer > acked.consumer
        {
            self.ack_floor = SeqPair {
                consumer: pending.consumer_seq.saturating_sub(1),
                stream: next - 1,
            };
        }
    }
}

fn filters_of(config: &ConsumerConfig) -> Vec<Bytes> {
    config
        .filters()
        .into_iter()
        .filter(|filter| *filter != ">")
        .map(|filter| Bytes::copy_from_slice(filter.as_bytes()))
        .collect()
}
