//! How a consumer begins, and what it needs to go on after a restart.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::consumer::push::Push;
use crate::consumer::summed::Summed;
use crate::consumer::{Consumer, ConsumerConfig, DeliverPolicy, Doomed, SeqPair, filters_of};
use crate::error::Result;
use crate::index::Cursor;
use crate::shard::command::check_number;
use crate::shard::emit::ConsumerName;
use crate::stream::messages::Messages;
use crate::types::{NanoTime, Seq};

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
    /// Stream sequences sent more than once, and how often; where a message is not pending it was given up.
    #[serde(default)]
    pub deliveries: Vec<(Seq, u64)>,
}

impl ConsumerSnapshot {
    /// Refuses sequences and counts that nothing counts up to.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged): it names the number.
    pub(crate) fn check(&self) -> Result<()> {
        let (delivered, floor) = (self.delivered, self.ack_floor);
        let single = [
            self.serial,
            self.next,
            delivered.consumer,
            delivered.stream,
            floor.consumer,
            floor.stream,
        ];
        let pending = self.pending.iter().flat_map(|&(seq, delivery, _)| [seq, delivery]);
        let deliveries = self.deliveries.iter().flat_map(|&(seq, count)| [seq, count]);
        let lists = pending.chain(deliveries).chain(self.initial.iter().copied());
        single.into_iter().chain(lists).try_for_each(check_number)
    }
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
        // How many messages it has still to send, where that need not be counted.
        let mut known = None;
        let next = match config.deliver_policy {
            DeliverPolicy::All => first,
            DeliverPolicy::New => last + 1,
            DeliverPolicy::Last => {
                let newest = stream.index.newest(&filters)?;
                known = Some(u64::from(newest.is_some()));
                match newest {
                    Some(seq) => seq,
                    None if filters.is_empty() => last + 1,
                    None => first,
                }
            }
            DeliverPolicy::ByStartSequence => config.opt_start_seq.max(first),
            DeliverPolicy::ByStartTime => stream.seq_at(config.opt_start_time.unwrap_or(0))?.max(first),
            // All there is, then, is the last of its subject.
            DeliverPolicy::LastPerSubject if stream.config.max_msgs_per_subject == 1 => first,
            DeliverPolicy::LastPerSubject => {
                // The index has just said that these are live: asking for each would take long.
                initial = VecDeque::from(stream.index.lasts(&filters)?);
                known = Some(initial.len() as u64);
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
        let mut consumer = Self::of_snapshot(name, snapshot, now);
        consumer.num_pending = match known {
            Some(known) => known,
            None => stream.index.count_from(&consumer.filters, next)?,
        };
        consumer.num_listed = initial.len() as u64;
        consumer.initial = initial;
        Ok(consumer)
    }

    /// Goes on from a snapshot.
    pub fn resume(
        name: Arc<ConsumerName>,
        snapshot: ConsumerSnapshot,
        now: NanoTime,
        stream: &mut Messages,
    ) -> Result<Self> {
        let mut consumer = Self::of_snapshot(name, snapshot, now);
        consumer.recount(stream)?;
        Ok(consumer)
    }

    /// As a snapshot says; what is to be sent is not counted.
    fn of_snapshot(name: Arc<ConsumerName>, snapshot: ConsumerSnapshot, now: NanoTime) -> Self {
        let filters = filters_of(&snapshot.config);
        let mut consumer = Self {
            serial: snapshot.serial,
            name,
            created: snapshot.created,
            queued: false,
            reading: false,
            is_replica: false,
            fetched: None,
            cursor: Cursor::new(&filters),
            filters,
            next: snapshot.next,
            initial: snapshot.initial.into(),
            delivered: snapshot.delivered,
            last_delivery: None,
            ack_floor: snapshot.ack_floor,
            last_ack: None,
            pending: Summed::default(),
            deliveries: snapshot.deliveries.into_iter().collect(),
            deadlines: BTreeSet::new(),
            redeliver: BTreeSet::new(),
            num_pending: 0,
            num_listed: 0,
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
            doomed: Doomed::default(),
            turn_purged: None,
            config: snapshot.config,
        };
        for (seq, consumer_seq, sent) in snapshot.pending {
            consumer.track(seq, consumer_seq, sent);
        }
        consumer
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

    /// After a restart: whatever is gone is forgotten, and counted anew. Answers whether anything was.
    pub fn recovered(&mut self, stream: &mut Messages) -> Result<bool> {
        let gone = self.gone(stream)?;
        for &seq in &gone {
            self.forget(seq);
        }
        let next = self.next.max(stream.first());
        let is_moved = std::mem::replace(&mut self.next, next) != next;
        self.recount(stream)?;
        Ok(is_moved || !gone.is_empty())
    }
}
