//! Consumers: who got which message, who acknowledged it, and what comes next. A pure state machine over the messages
//! of its stream; time is handed in.

mod ack;
mod config;
mod deliver;
mod info;
mod prepare;
mod priority;
mod pull;
mod push;
mod removed;
mod replica;
mod request;
mod reset;
mod snapshot;
mod standing;
mod summed;
pub mod validate;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use ack::{Ack, AckKind};
pub use config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
pub(crate) use deliver::Went;
pub use info::ConsumerInfo;
pub use prepare::Preparation;
pub use priority::GroupState;
use removed::Doomed;
pub(crate) use removed::Held;
pub use request::{GroupRequest, PullRequest};
pub use snapshot::ConsumerSnapshot;
pub use standing::{Standing, Why};

use crate::error::Result;
use crate::index::{Cursor, Digest};
use crate::shard::emit::ConsumerName;
use crate::stream::messages::Messages;
use crate::types::{NanoTime, Nanos, Seq};
use priority::Pin;
use pull::Waiting;
use push::Push;
use summed::{Counts, Summed};

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

/// Times do not: they step with the clock of the day, of which the journal does not tell.
impl Counts for Pending {
    fn counts(&self) -> u64 {
        self.consumer_seq
    }
}

/// One consumer.
pub(crate) struct Consumer {
    pub serial: u64,
    pub name: Arc<ConsumerName>,
    pub config: ConsumerConfig,
    pub created: NanoTime,
    /// Whether its stream lists it among those with something to do.
    pub queued: bool,
    /// Whether a message that it needs is being read from a disk: until it is there, nothing is sent.
    pub reading: bool,
    /// Whether its stream has replicas.
    pub is_replica: bool,
    /// The message that was read for it last: the consumer waits for that one no second time.
    fetched: Option<Seq>,
    cursor: Cursor,
    filters: Vec<Bytes>,
    next: Seq,
    initial: VecDeque<Seq>,
    delivered: SeqPair,
    last_delivery: Option<NanoTime>,
    ack_floor: SeqPair,
    last_ack: Option<NanoTime>,
    pending: Summed<Pending>,
    /// How often a message was sent, where it is more than once. Those of them that are not pending were sent as often as
    /// they may be, and given up: retention keeps them.
    deliveries: Summed<u64>,
    deadlines: BTreeSet<(NanoTime, Seq)>,
    redeliver: BTreeSet<Seq>,
    num_pending: u64,
    /// Those of `num_pending` that are on the list that it began with.
    num_listed: u64,
    waiting: VecDeque<Waiting>,
    pin: Option<Pin>,
    push: Push,
    /// Since when no client has used it.
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
    doomed: Doomed,
    /// Removed in this turn while on their way: stream sequence, consumer sequence, how often sent.
    turn_lost: Vec<(Seq, u64, u64)>,
}

impl Consumer {
    /// The filters, empty for all subjects.
    pub fn filters(&self) -> &[Bytes] {
        &self.filters
    }

    /// Whether it is there after a restart. One in memory is not, as with nats-server, unless there are replicas, which have it in
    /// their memories; one that only serves a mirror or a source is made anew by whoever needs it.
    pub fn is_persistent(&self) -> bool {
        (!self.config.mem_storage || self.is_replica) && !self.config.direct
    }

    /// The stream has another index from now on.
    pub fn forget_index(&mut self) {
        self.cursor = Cursor::new(&self.filters);
    }

    /// Takes a new configuration; what may change was checked before.
    pub fn update(&mut self, config: ConsumerConfig, now: NanoTime, stream: &mut Messages) -> Result<()> {
        let filters = filters_of(&config);
        if filters != self.filters {
            self.cursor = Cursor::new(&filters);
            self.num_pending = stream.index.count_from(&filters, self.next)? + self.num_listed;
            self.filters = filters;
        }
        self.config = config;
        self.idle_since = now;
        self.set_deadlines();
        Ok(())
    }

    /// A message it wants was stored. One that begins at a sequence yet to come does not count those before.
    pub fn stored(&mut self, seq: Seq) {
        if seq >= self.next {
            self.num_pending += 1;
        }
    }

    /// Every message from here on that it wants, it needs.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Counts anew what is to be sent.
    pub fn recount(&mut self, stream: &mut Messages) -> Result<()> {
        self.num_listed = 0;
        for &seq in &self.initial {
            self.num_listed += u64::from(stream.index.is_live(seq)?);
        }
        self.num_pending = stream.index.count_from(&self.filters, self.next)? + self.num_listed;
        Ok(())
    }

    /// Where it stands, added up: the last delivery, the floor, what is on its way and how often it was sent. The same of any consumer
    /// that stands there, on any machine; how far it has looked in vain, and times, are not in it.
    pub fn digest(&self) -> Digest {
        Digest::of_numbers(&[
            self.delivered.consumer,
            self.delivered.stream,
            self.ack_floor.consumer,
            self.ack_floor.stream,
            self.pending.sum().number(),
            self.deliveries.sum().number(),
        ])
    }

    /// Notes that a message is on its way.
    fn track(&mut self, seq: Seq, consumer_seq: u64, sent: NanoTime) {
        let deadline = match self.wait_for(seq) {
            // Flow control acknowledges when it comes round to it.
            0 => NanoTime::MAX,
            wait => sent.saturating_add(wait),
        };
        let unknown = Pending {
            consumer_seq,
            sent,
            deadline,
        };
        let before = self.pending.change_or(seq, unknown, |entry| {
            entry.sent = sent;
            std::mem::replace(&mut entry.deadline, deadline)
        });
        self.deadlines.remove(&(before, seq));
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
        self.pending.change_all(|seq, sent| {
            shift(&mut sent.sent);
            shift(&mut sent.deadline);
            if sent.deadline != NanoTime::MAX {
                self.deadlines.insert((sent.deadline, seq));
            }
        });
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
        pending.change_all(|seq, sent| {
            if self.redeliver.contains(&seq) {
                return;
            }
            sent.deadline = match self.wait_for(seq) {
                0 => NanoTime::MAX,
                wait => {
                    let deadline = sent.sent.saturating_add(wait);
                    self.deadlines.insert((deadline, seq));
                    deadline
                }
            };
        });
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
