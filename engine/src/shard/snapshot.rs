//! What a checkpoint keeps of a stream, and where.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::consumer::ConsumerSnapshot;
use crate::stream::removal::Removal;
use crate::stream::settings::Settings;
use crate::stream::{Stream, StreamConfig};
use crate::types::{LogId, NanoTime, Seq};
use crate::varint::{put, take};

/// The prefix of the keys that hold [`StreamSnapshot`]s.
pub const STREAM_PREFIX: &[u8] = b"stream/";
/// The prefix of the keys that hold message ids.
const DEDUP_PREFIX: &[u8] = b"dedup/";
/// The key that holds the highest log id ever given out (8 bytes, little endian), so that none is used again.
pub const LAST_ID_KEY: &[u8] = b"last-id";
/// The key that holds the [`StoreSnapshot`].
pub const STORE_KEY: &[u8] = b"store";

/// What is true of a whole store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSnapshot {
    /// The version of what the engine writes.
    pub version: u32,
    /// How many shards, and so journals, it has.
    pub shards: usize,
}

/// A stream without its messages: what its log does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSnapshot {
    /// Its log.
    pub id: u64,
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: StreamConfig,
    /// Its storage.
    pub settings: Settings,
    /// The shard it belongs to.
    pub shard: usize,
    /// When it was made.
    pub created: NanoTime,
    /// The last sequence given.
    pub last: Seq,
    /// When that was.
    pub last_time: Option<NanoTime>,
    /// The serial number of the next consumer.
    pub next_serial: u64,
    /// The last journal record that is contained in this.
    pub position: Seq,
    /// Its schedules: the sequence of each, and when it is due next. `None` if they have to be looked for in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedules: Option<Vec<(Seq, NanoTime)>>,
    /// Its consumers.
    pub consumers: Vec<ConsumerSnapshot>,
    /// How far it has come with each of its sources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<Box<str>, Seq>,
    /// The removals of many messages that are under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removals: Vec<Removal>,
}

impl StreamSnapshot {
    /// What to keep of a stream now.
    pub(crate) fn of(stream: &Stream, shard: usize, position: Seq) -> Self {
        let core = &stream.core;
        Self {
            id: core.id.0,
            account: core.account.to_string(),
            name: core.name.to_string(),
            config: core.config.clone(),
            settings: core.settings,
            shard,
            created: core.created,
            last: core.last(),
            last_time: core.last_time(),
            next_serial: stream.next_serial(),
            position,
            schedules: stream.schedule_snapshot(),
            consumers: stream.consumer_snapshots(),
            origins: stream.origins().clone(),
            removals: stream.removal_snapshot(),
        }
    }
}

/// The key of a stream's snapshot.
pub fn stream_key(id: LogId) -> Bytes {
    [STREAM_PREFIX, id.to_string().as_bytes()].concat().into()
}

/// The key of a stream's message ids.
pub fn dedup_key(id: LogId) -> Bytes {
    [DEDUP_PREFIX, id.to_string().as_bytes()].concat().into()
}

/// Packs the message ids of a stream's window: for each its sequence and time (LEB128), its length, its bytes. The
/// id of the newest message comes last once more, with sequence 0.
pub(crate) fn pack_dedup(stream: &Stream) -> Bytes {
    let mut out = Vec::new();
    for (id, seq, time) in stream.core.dedup.entries() {
        put(&mut out, seq);
        put(&mut out, time as u64);
        put(&mut out, id.len() as u64);
        out.extend_from_slice(id);
    }
    let last = stream.core.dedup.last_id();
    if !out.is_empty() || !last.is_empty() {
        out.extend_from_slice(&[0, 0]);
        put(&mut out, last.len() as u64);
        out.extend_from_slice(last);
    }
    out.into()
}

/// Reads back what [`pack_dedup`] wrote, as far as it makes sense.
pub(crate) fn unpack_dedup(packed: &Bytes, stream: &mut Stream) {
    let mut rest: &[u8] = packed;
    let mut next = || {
        let seq = take(&mut rest)?;
        let time = take(&mut rest)? as NanoTime;
        let len = usize::try_from(take(&mut rest)?).ok()?;
        let (id, after) = rest.split_at_checked(len)?;
        rest = after;
        Some((seq, time, id))
    };
    while let Some((seq, time, id)) = next() {
        match seq {
            0 => stream.core.dedup.set_last(id),
            seq => stream.core.dedup.insert(id, seq, time),
        }
    }
}
