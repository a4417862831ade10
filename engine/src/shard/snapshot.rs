//! What a checkpoint keeps of a stream, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::backend::{Kv, KvWrite};
use crate::consumer::ConsumerSnapshot;
use crate::error::{Error, Result};
use crate::index::Census;
use crate::shard::command::check_number;
use crate::stream::dedup::{pack_id, unpack_ids};
use crate::stream::removal::Removal;
use crate::stream::settings::Settings;
use crate::stream::{Stream, StreamConfig};
use crate::types::{LogRef, NanoTime, Seq, ShardId, StreamId};

/// The prefix of the keys that hold [`StreamSnapshot`]s.
pub const STREAM_PREFIX: &[u8] = b"stream/";
/// The prefix of the keys that hold message ids: the newest message's, and behind a further `/` the parts of a window.
const DEDUP_PREFIX: &[u8] = b"dedup/";
/// The prefix of the keys that hold what streams have lost.
const LEDGER_PREFIX: &[u8] = b"ledger/";
/// The key that holds the highest log id ever given out (8 bytes, little endian), so that none is used again.
pub const LAST_ID_KEY: &[u8] = b"last-id";
/// The key that holds the [`StoreSnapshot`].
pub const STORE_KEY: &[u8] = b"store";

/// What is true of a whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSnapshot {
    /// The version of what the engine writes.
    pub version: u32,
    /// How many shards, and so journals, it is opened with.
    pub shards: usize,
    /// The shards that were ever [added](crate::Store::add_shard) to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub added: BTreeSet<ShardId>,
}

/// A stream without its messages: what its log does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSnapshot {
    /// Its id.
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
    pub shard: ShardId,
    /// When it was made.
    pub created: NanoTime,
    /// The last sequence given.
    pub last: Seq,
    /// When that was.
    pub last_time: Option<NanoTime>,
    /// The first sequence: what is below was removed for good.
    #[serde(default)]
    pub first: Seq,
    /// The last sequence that the log had, so that one which has lost its end is found out.
    #[serde(default)]
    pub log_last: Seq,
    /// Whether all messages were purged before it had any: it has a first sequence all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleared: bool,
    /// The last change that the log had ([`Log::last_change`](crate::Log::last_change)): it was synced before this was
    /// written.
    #[serde(default)]
    pub log_change: u64,
    /// The messages that the log had, so that one which has as many, and others, is found out: a file that is missing may have had
    /// as many as it removed of those before it. `None` if nobody counted, as in stores of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
    /// The serial number of the next consumer.
    pub next_serial: u64,
    /// The last journal record that is contained in this.
    pub position: Seq,
    /// When the turn was that wrote this, by the time of its shard. 0 if it was no turn, or one of an earlier
    /// version.
    #[serde(default)]
    pub time: NanoTime,
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
    /// The sequences, first and last, whose messages may be compressed otherwise than `settings` say, and are to be as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recompressing: Option<(Seq, Seq)>,
}

impl StreamSnapshot {
    /// Reads one that is kept, of the log `id` if that is known.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged) if it makes no sense, is another log's, or of a shard that a stream of that id cannot be in.
    pub fn read(json: &[u8], id: Option<StreamId>) -> Result<Self> {
        let read: Self = crate::json::from_json(json)?;
        if id.is_some_and(|id| id.0 != read.id) {
            return Err(Error::damaged(format!("it is that of log {}", StreamId(read.id))));
        }
        if !read.shard.may_have(StreamId(read.id)) {
            let (id, shard) = (StreamId(read.id), read.shard);
            return Err(Error::damaged(format!(
                "log {id} cannot be that of a stream of shard {shard}"
            )));
        }
        let numbers = [
            read.last,
            read.first,
            read.log_last,
            read.log_change,
            read.next_serial,
            read.position,
        ];
        if let Some((first, last)) = read.recompressing {
            check_number(first)?;
            check_number(last)?;
        }
        let schedules = read.schedules.iter().flatten().map(|(seq, _)| *seq);
        let all = numbers
            .into_iter()
            .chain(schedules)
            .chain(read.origins.values().copied());
        for number in all {
            check_number(number)?;
        }
        Ok(read)
    }

    /// Where its log is.
    pub fn log(&self) -> LogRef {
        LogRef {
            backend: self.settings.backend,
            id: StreamId(self.id).log(),
        }
    }

    /// What to keep of a stream now.
    pub(crate) fn of(stream: &Stream, shard: ShardId, position: Seq) -> Self {
        let messages = &stream.messages;
        Self {
            id: messages.id.0,
            account: messages.account.to_string(),
            name: messages.name.to_string(),
            config: messages.config.clone(),
            settings: messages.settings,
            shard,
            created: messages.created,
            last: messages.last(),
            first: messages.first(),
            log_last: messages.log_last(),
            cleared: messages.is_cleared() && messages.last() == 0,
            log_change: messages.log_change(),
            census: messages.index.census(),
            last_time: messages.last_time(),
            next_serial: stream.next_serial(),
            position,
            time: 0,
            schedules: stream.schedule_snapshot(),
            consumers: stream.consumer_snapshots(),
            origins: stream.origins().clone(),
            removals: stream.removal_snapshot(),
            recompressing: messages.recompressing(),
        }
    }
}

/// The key of a stream's snapshot.
pub fn stream_key(id: StreamId) -> Bytes {
    [STREAM_PREFIX, id.to_string().as_bytes()].concat().into()
}

/// The key of what a stream's newest message has for an id. In version 1, all ids of its window were there.
pub fn dedup_key(id: StreamId) -> Bytes {
    [DEDUP_PREFIX, id.to_string().as_bytes()].concat().into()
}

/// The key of what a stream has lost.
pub fn ledger_key(id: StreamId) -> Bytes {
    [LEDGER_PREFIX, id.to_string().as_bytes()].concat().into()
}

/// The prefix of the keys of the parts of a stream's window of message ids.
fn parts_prefix(id: StreamId) -> Bytes {
    [DEDUP_PREFIX, id.to_string().as_bytes(), b"/"].concat().into()
}

fn part_key(id: StreamId, number: u64) -> Bytes {
    let number = format!("{number:016x}");
    [&parts_prefix(id)[..], number.as_bytes()].concat().into()
}

/// What a checkpoint writes of a stream's window of message ids.
pub(crate) fn dedup_writes(stream: &mut Stream, writes: &mut Vec<KvWrite>) {
    let id = stream.id();
    let dedup = &mut stream.messages.dedup;
    let delta = dedup.take_delta();
    writes.extend(
        delta
            .new
            .into_iter()
            .map(|(number, packed)| (part_key(id, number), Some(packed))),
    );
    writes.extend(delta.gone.into_iter().map(|number| (part_key(id, number), None)));
    let mut last = Vec::new();
    if !dedup.last_id().is_empty() {
        // Where a sequence would be 0 says that this is the newest message's.
        pack_id(&mut last, dedup.last_id(), 0, 0);
    }
    writes.push((dedup_key(id), (!last.is_empty()).then(|| last.into())));
}

/// Removes all that checkpoints have of the message ids of a stream.
pub(crate) fn forget_dedup(kv: &dyn Kv, id: StreamId, writes: &mut Vec<KvWrite>) -> Result<()> {
    writes.push((dedup_key(id), None));
    kv.scan(&parts_prefix(id), None, &mut |key, _| {
        writes.push((Bytes::copy_from_slice(key), None));
        ControlFlow::Continue(())
    })
}

/// Reads back what checkpoints have of a stream's message ids, as far as it makes sense.
pub(crate) fn load_dedup(kv: &dyn Kv, stream: &mut Stream, up_to: Seq) -> Result<()> {
    let id = stream.id();
    let prefix = parts_prefix(id);
    let dedup = &mut stream.messages.dedup;
    kv.scan(&prefix, None, &mut |key, packed| {
        let number = std::str::from_utf8(&key[prefix.len()..]).ok();
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            dedup.load_part(number, packed, up_to);
        }
        ControlFlow::Continue(())
    })?;
    if let Some(packed) = kv.get(&dedup_key(id))? {
        unpack_ids(&packed, &mut |id, seq, time| match seq {
            0 => dedup.set_last(id),
            seq => dedup.insert(id, seq, time),
        });
    }
    Ok(())
}
