//! How a paged index lies in the backend's key-value space.
//!
//! All keys begin with the tag and the log's id, so the keys of a stream lie together. The bare prefix is the key of
//! the totals; behind an epoch come, each with a byte of its own, the subjects, the inner postings and the chunks'
//! counts. Emptying the index is a step of the epoch: what older epochs left behind is deleted bit by bit.
//!
//! | key | value |
//! | --- | --- |
//! | prefix | [`Totals`], fixed width, little endian; the digest behind them if it is known |
//! | prefix, epoch, 1, subject | count, first, last - first (the latter only from two messages on), as varints |
//! | prefix, epoch, 2, length of the subject, subject, sequence | nothing |
//! | prefix, epoch, 3, chunk number | live messages of the chunk, `u32` little endian |
//! | prefix, epoch, 4, time, sequence | nothing: that message's life ends then |
//!
//! Numbers in keys are big endian, so that byte order is their order; times are not negative.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::index::{Digest, SubjectInfo};
use crate::types::{LogId, NanoTime, Seq};
use crate::varint;

/// The first byte of every key.
const TAG: u8 = b'I';

const SUBJECT: u8 = 1;
const POSTING: u8 = 2;
const CHUNK: u8 = 3;
const ENDING: u8 = 4;
/// Tag and log id.
const PREFIX: usize = 9;
/// Prefix, epoch and kind.
pub(super) const STEM: usize = PREFIX + 5;

/// Makes the keys of one log and epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub log: LogId,
    pub epoch: u32,
}

impl Keys {
    pub fn new(log: LogId, epoch: u32) -> Self {
        Self { log, epoch }
    }

    /// What all keys of the log begin with, and the key of the totals.
    pub fn prefix(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(PREFIX);
        key.push(TAG);
        key.extend_from_slice(&self.log.0.to_be_bytes());
        key
    }

    /// What the keys of this epoch begin with.
    pub fn epoch(self) -> Vec<u8> {
        let mut key = self.prefix();
        key.extend_from_slice(&self.epoch.to_be_bytes());
        key
    }

    fn stem(self, kind: u8, room: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(STEM + room);
        key.push(TAG);
        key.extend_from_slice(&self.log.0.to_be_bytes());
        key.extend_from_slice(&self.epoch.to_be_bytes());
        key.push(kind);
        key
    }

    /// The key of a subject; of a part of one, what the keys of all subjects that begin so begin with.
    pub fn subject(self, subject: &[u8]) -> Vec<u8> {
        let mut key = self.stem(SUBJECT, subject.len());
        key.extend_from_slice(subject);
        key
    }

    /// What the posting keys of a subject begin with. The sequence is appended by [`with_seq`].
    pub fn postings(self, subject: &[u8]) -> Vec<u8> {
        let mut key = self.stem(POSTING, subject.len() + 16);
        // With its length before it a subject needs no escape, whatever bytes it has. Subjects stand in heads, which
        // are shorter than 64 KiB.
        key.extend_from_slice(&(subject.len() as u32).to_be_bytes());
        key.extend_from_slice(subject);
        key
    }

    /// The key of one posting.
    pub fn posting(self, subject: &[u8], seq: Seq) -> Bytes {
        with_seq(self.postings(subject), seq)
    }

    /// What the keys of the chunks' counts begin with.
    pub fn chunks(self) -> Vec<u8> {
        self.stem(CHUNK, 8)
    }

    /// What the keys of endings begin with.
    pub fn endings(self) -> Vec<u8> {
        self.stem(ENDING, 16)
    }

    /// The key of a message's ending.
    pub fn ending(self, at: NanoTime, seq: Seq) -> Bytes {
        let mut key = self.endings();
        key.extend_from_slice(&at.max(0).to_be_bytes());
        with_seq(key, seq)
    }

    /// The key of a chunk's count.
    pub fn chunk(self, number: u64) -> Bytes {
        with_seq(self.chunks(), number)
    }
}

/// The key with a number appended.
pub(super) fn with_seq(mut key: Vec<u8>, seq: u64) -> Bytes {
    key.extend_from_slice(&seq.to_be_bytes());
    key.into()
}

/// The number at the end of a key.
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The time and the sequence of an ending's key.
pub(super) fn ending_of(key: &[u8]) -> Option<(NanoTime, Seq)> {
    let at = key.get(STEM..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))?;
    Some((at, seq_of(key)?))
}

/// Whether the key is one of a subject.
pub(super) fn is_subject(key: &[u8]) -> bool {
    key.get(STEM - 1) == Some(&SUBJECT)
}

/// A subject's value.
pub(super) fn encode(info: SubjectInfo) -> Bytes {
    let mut value = Vec::with_capacity(16);
    varint::put(&mut value, info.count);
    varint::put(&mut value, info.first);
    if info.count > 1 {
        varint::put(&mut value, info.last - info.first);
    }
    value.into()
}

/// What [`encode`] wrote.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<SubjectInfo> {
    let mut rest = value;
    let mut read = || -> Option<SubjectInfo> {
        let count = varint::take(&mut rest)?;
        let first = varint::take(&mut rest)?;
        let span = if count > 1 { varint::take(&mut rest)? } else { 0 };
        Some(SubjectInfo {
            count,
            first,
            last: first.checked_add(span)?,
        })
    };
    read()
        .filter(|info| info.count > 0 && info.first > 0)
        .ok_or_else(|| damaged(key))
}

/// The error for a value that makes no sense.
pub(super) fn damaged(key: &[u8]) -> Error {
    Error::damaged(format!(
        "the index entry under key {} makes no sense",
        key.escape_ascii()
    ))
}

/// The totals of an index, kept so that opening reads one key and the chunks' counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub epoch: u32,
    /// Older epochs, from this one on, may have left keys behind.
    pub oldest: u32,
    /// Whether the index is just being built from the log, and incomplete.
    pub building: bool,
    pub len: u64,
    pub subjects: u64,
    /// The first live sequence, or 0.
    pub first: Seq,
    /// The last live sequence, or 0.
    pub last: Seq,
    /// No sequence below may be added any more.
    pub next: Seq,
    /// All messages, added up, if that is known: earlier versions of this program did not keep it.
    pub digest: Option<Digest>,
}

/// Those of an index without messages.
impl Default for Totals {
    fn default() -> Self {
        Self {
            epoch: 0,
            oldest: 0,
            building: false,
            len: 0,
            subjects: 0,
            first: 0,
            last: 0,
            next: 0,
            digest: Some(Digest::default()),
        }
    }
}

/// The version of the layout, the first byte of the totals.
const VERSION: u8 = 1;
/// Where the digest is, if it is there; earlier versions of this program do not look so far.
const DIGEST: usize = 50;

impl Totals {
    pub fn encode(&self) -> Bytes {
        let mut value = vec![VERSION, u8::from(self.building)];
        value.extend_from_slice(&self.epoch.to_le_bytes());
        value.extend_from_slice(&self.oldest.to_le_bytes());
        for number in [self.len, self.subjects, self.first, self.last, self.next] {
            value.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(digest) = self.digest {
            value.extend_from_slice(&digest.number().to_le_bytes());
        }
        value.into()
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let word = |at: usize| {
            value
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let long = |at: usize| {
            value
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes)
        };
        let read = || {
            Some(Self {
                epoch: word(2)?,
                oldest: word(6)?,
                building: *value.get(1)? != 0,
                len: long(10)?,
                subjects: long(18)?,
                first: long(26)?,
                last: long(34)?,
                next: long(42)?,
                digest: long(DIGEST).map(Digest::from_number),
            })
        };
        match value.first() {
            Some(&VERSION) => read().ok_or_else(|| damaged(key)),
            Some(version) => Err(Error::unsupported(format!(
                "the index under key {} is of version {version}; this program reads version {VERSION}",
                key.escape_ascii()
            ))),
            None => Err(damaged(key)),
        }
    }
}

#[cfg(test)]
mod tests;
