//! The nouns that every layer shares: sequences, times, records and entries.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stream::settings::BackendKind;

/// The number of a message in its stream, or of a record in its log. The first is 1; 0 means "none".
pub type Seq = u64;

/// The highest sequence that a request may name as a stream's first or purge up to. Far above what a stream can count
/// to (a million messages a second for 146,000 years), and far enough below the end of [`Seq`] that adding to it never
/// overflows.
pub const SEQ_LIMIT: Seq = 1 << 62;

/// The highest number that is read back as a sequence, a position or a count: counting on from [`SEQ_LIMIT`] never gets
/// there. A higher one is damage, and adding to it could wrap.
pub(crate) const NUMBER_MAX: u64 = i64::MAX as u64;

/// Nanoseconds since the Unix epoch, UTC. Always handed in; nothing in the engine reads a clock.
pub type NanoTime = i64;

/// A length of time in nanoseconds. 0 usually means "not set".
pub type Nanos = i64;

/// One second in [`Nanos`].
pub const SECOND: Nanos = 1_000_000_000;

/// One millisecond in [`Nanos`].
pub const MILLISECOND: Nanos = 1_000_000;

/// Names one log within a backend. Never used twice in the life of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

/// Names one stream of a store, wherever its messages are: it stays the same when they go over to another backend. Never used for
/// another stream. Which log it has there is another matter: see [`LogRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl StreamId {
    /// From here on ids are not the store's own to give out: whoever [adds](crate::Store::add_shard) shards gives them to its streams.
    pub const FIRST_GIVEN: Self = Self(1 << 63);

    /// Whether the store itself gives it out, one after the other.
    pub fn is_local(self) -> bool {
        self < Self::FIRST_GIVEN
    }

    /// The log that the stream has in whichever backend it is, or goes over to: one of that number is made for no other. What else
    /// than this knows that takes the one for the other.
    pub fn log(self) -> LogId {
        LogId(self.0)
    }
}

impl LogId {
    /// The stream that the log is made for, if it is for one and not a [journal](ShardId::journal).
    pub fn stream(self) -> StreamId {
        StreamId(self.0)
    }
}

/// Where a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogRef {
    /// In this backend.
    pub backend: BackendKind,
    /// Under this id.
    pub id: LogId,
}

/// 16 hexadecimal digits, in keys and names of folders as in messages.
impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// As that of its log.
impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.log().fmt(f)
    }
}

/// Reads what `Display` writes, and nothing else.
impl std::str::FromStr for LogId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let id = u64::from_str_radix(text, 16).ok().map(Self);
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is no log id: one has 16 hexadecimal digits")))
    }
}

/// Reads what `Display` writes, and nothing else.
impl std::str::FromStr for StreamId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(LogId::stream)
    }
}

/// Names one shard of a store. Those that it is [opened](crate::Store::open) with are numbered from 0 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u32);

impl ShardId {
    /// The first of those that may be [added](crate::Store::add_shard); a store is opened with some below it.
    pub const FIRST_ADDED: Self = Self(crate::store::SHARDS_MAX as u32);

    /// The last one that there may be: the logs of journals have ids below those of streams.
    pub const MAX: Self = Self(253);

    /// Whether a store may be opened with it.
    pub fn is_local(self) -> bool {
        self < Self::FIRST_ADDED
    }

    /// Whether a stream with that id may be one of its streams: the [store's own](StreamId::is_local) are in the shards that it is opened with,
    /// and only they.
    pub fn may_have(self, id: StreamId) -> bool {
        self.is_local() == id.is_local()
    }

    /// The log of its journal. Those of streams have ids above all of these.
    pub fn journal(self) -> LogId {
        LogId(1 + u64::from(self.0))
    }
}

/// In decimal, in keys as in messages.
impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a writer gives to a log. The backend never looks inside `head` and `body`.
///
/// Two parts, because recovery, indexing, time search and inspection read heads only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Strictly greater than every sequence that the log has ever held.
    pub seq: Seq,
    /// The caller's time for the record; not necessarily increasing.
    pub time: NanoTime,
    /// Up to [`Record::HEAD_MAX`] bytes.
    pub head: &'a [u8],
    /// Up to [`Record::BODY_MAX`] bytes.
    pub body: &'a [u8],
}

impl Record<'_> {
    /// The longest head, in bytes.
    pub const HEAD_MAX: usize = u16::MAX as usize;
    /// The longest body, in bytes: 128 MiB, above nats-server's largest `max_payload` (64 MiB) and its headers.
    pub const BODY_MAX: usize = 128 << 20;
    /// What a backend stores of a body at most, in bytes: whoever encrypts it makes it longer, and may put a long head there as well.
    pub const BODY_STORED_MAX: usize = Self::BODY_MAX + (128 << 10);
}

#[cfg(feature = "conformance")]
impl Record<'_> {
    /// A copy of it.
    pub(crate) fn to_entry(self) -> Entry {
        Entry {
            seq: self.seq,
            time: self.time,
            head: Bytes::copy_from_slice(self.head),
            body: Bytes::copy_from_slice(self.body),
        }
    }
}

/// A record as it is read: the bytes own a piece of the mapping or a reference count, so keeping them costs no copy
/// where the backend allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record's sequence.
    pub seq: Seq,
    /// The record's time.
    pub time: NanoTime,
    /// The record's head.
    pub head: Bytes,
    /// The record's body.
    pub body: Bytes,
}

impl Entry {
    /// The record, to be written.
    pub fn as_record(&self) -> Record<'_> {
        Record {
            seq: self.seq,
            time: self.time,
            head: &self.head,
            body: &self.body,
        }
    }
}

/// A record as a scan lends it.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    /// The record's sequence.
    pub seq: Seq,
    /// The record's time.
    pub time: NanoTime,
    /// The record's head.
    pub head: &'a [u8],
    /// The record's body; empty when only heads were asked for.
    pub body: &'a [u8],
    /// The body's length in bytes, known even when only heads were asked for.
    pub body_len: u32,
    /// What `head` and `body` are slices of, if the backend can share it.
    pub owner: Option<&'a Bytes>,
}

impl EntryRef<'_> {
    /// Keeps the record past the callback: shared if the backend can share, else copied.
    pub fn to_entry(&self) -> Entry {
        let keep = |part: &[u8]| match self.owner {
            Some(owner) if !part.is_empty() => owner.slice_ref(part),
            _ => Bytes::copy_from_slice(part),
        };
        Entry {
            seq: self.seq,
            time: self.time,
            head: keep(self.head),
            body: keep(self.body),
        }
    }
}

/// What a log holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The lowest live sequence, or `last + 1` when nothing is live.
    pub first: Seq,
    /// The highest sequence the log has ever held (after [`truncate`](crate::Log::truncate): the one truncated to);
    /// 0 if none. Erasing and trimming never lower it, nor does reopening.
    pub last: Seq,
    /// Live records.
    pub count: u64,
    /// Bytes of the live records' heads and bodies.
    pub bytes: u64,
    /// Bytes that the log occupies in its storage, as near as the backend can say.
    pub disk_bytes: u64,
    /// Records known to be damaged: they are kept, never served.
    pub damaged: u64,
}

/// The level of the JetStream API that the engine speaks, nats-server 2.15's (ADR-44).
pub const API_LEVEL: u64 = 5;

#[cfg(test)]
mod tests;
