//! What clients are told of a consumer.

use std::sync::Arc;

use crate::consumer::{Consumer, ConsumerConfig, GroupState, SeqPair};
use crate::index::Digest;
use crate::shard::emit::ConsumerName;
use crate::stream::Storage;
use crate::types::{NanoTime, Nanos};

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
    /// For a push consumer: whether a client is subscribed.
    pub push_bound: bool,
    /// How long it still pauses, in nanoseconds; 0 if it does not.
    pub pause_remaining: Nanos,
    /// Its priority groups.
    pub groups: Vec<GroupState>,
    /// Where it stands, added up: the last delivery, the floor, what is on its way, and how often that was sent.
    pub digest: Digest,
}

impl Consumer {
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
            digest: self.digest(),
        }
    }

    /// One in memory that began at the beginning and has sent nothing stands before what it will send first.
    pub(super) fn told(&self, storage: Storage) -> SeqPair {
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
}
