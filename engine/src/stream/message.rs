//! A message, and how it is packed into a record.
//!
//! The record's head is one byte of flags, the length of the header block (4 bytes, little endian) if there is one,
//! and the subject. The body is the header block followed by the payload, just as they came off the wire.
//!
//! | flags | meaning |
//! | --- | --- |
//! | bit 0 | there is a header block, and so its length |
//! | bits 1 and 2 | 0: only the stream's limits end the message's life; 1: it has a TTL that stands in the head; 2: it never grows too old; 3: it has a TTL that only its headers tell |
//! | bit 3 | it is a schedule |
//! | bits 4 to 7 | the upper 4 bits of the TTL in the head |
//!
//! A TTL of up to 2^20 - 1 seconds, which is 12 days, is in the head: its lower 16 bits are the upper half of the length,
//! for a header block has less than 64 KiB. So a head with a TTL is no longer than one without, and what must expire is
//! found without reading bodies.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::stream::ttl::{Life, life_of};
use crate::stream::{Storage, StreamConfig};
use crate::types::{Entry, NanoTime, Seq};

/// The flag of a head that states the length of a header block.
const HAS_HEADERS: u8 = 1;
/// Where the kind of life stands.
const LIFE: u8 = 3 << 1;
const TTL_IN_HEAD: u8 = 1 << 1;
const NEVER: u8 = 2 << 1;
const TTL_IN_HEADERS: u8 = 3 << 1;
/// The flag of a schedule.
const SCHEDULE: u8 = 1 << 3;
/// The longest TTL that fits in a head, in seconds.
const TTL_MAX: u64 = (1 << 20) - 1;

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the stream.
    pub seq: Seq,
    /// When the stream took it.
    pub time: NanoTime,
    /// Its subject.
    pub subject: Bytes,
    /// Its NATS header block; empty if it has none.
    pub headers: Bytes,
    /// Its payload.
    pub payload: Bytes,
}

impl Message {
    /// Reads a record back.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged) if the head is not one of ours.
    pub fn unpack(entry: Entry) -> Result<Self> {
        let (subject_at, headers_len) = parse_head(&entry.head)
            .filter(|(_, headers_len)| *headers_len <= entry.body.len())
            .ok_or_else(|| Error::damaged(format!("the head of message {} makes no sense", entry.seq)))?;
        Ok(Self {
            seq: entry.seq,
            time: entry.time,
            subject: entry.head.slice(subject_at..),
            headers: entry.body.slice(..headers_len),
            payload: entry.body.slice(headers_len..),
        })
    }
}

/// What a head says of a message apart from its subject and lengths: what its headers ask for in the long run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How long it lives.
    pub life: Life,
    /// Whether it is a schedule.
    pub schedule: bool,
}

impl Marks {
    /// Those of a message that was not checked here: one that another stream took, or that comes out of a snapshot. A stream that
    /// grants no TTL keeps it as long as any other, whatever its headers say.
    pub fn of_headers(block: &[u8], config: &StreamConfig) -> Self {
        let has = |name| crate::headers::get(block, name).is_some_and(|value| !value.is_empty());
        Self {
            life: if config.allow_msg_ttl {
                life_of(block)
            } else {
                Life::Limits
            },
            schedule: has("Nats-Schedule"),
        }
    }
}

/// Packs a head. `headers_len` bytes of the body are the header block, without which there are no marks;
/// [`Record::HEAD_MAX`](crate::Record::HEAD_MAX) leaves room for any subject that a control line can hold.
pub fn pack_head(subject: &[u8], headers_len: usize, marks: Marks, out: &mut Vec<u8>) {
    if headers_len == 0 {
        out.push(0);
    } else {
        // A header block ends within 64 KiB (nats-server's limit), checked when the message is taken.
        let mut len = headers_len as u32;
        let mut flags = HAS_HEADERS;
        match marks.life {
            Life::Limits => {}
            Life::Never => flags |= NEVER,
            Life::Seconds(ttl) if ttl <= TTL_MAX && len <= u32::from(u16::MAX) => {
                flags |= TTL_IN_HEAD | ((ttl >> 16) as u8) << 4;
                len |= (ttl as u32) << 16;
            }
            Life::Seconds(_) => flags |= TTL_IN_HEADERS,
        }
        if marks.schedule {
            flags |= SCHEDULE;
        }
        out.push(flags);
        out.extend_from_slice(&len.to_le_bytes());
    }
    out.extend_from_slice(subject);
}

/// How long the message of a head lives, where `headers` gets its header block, of that length, if the head does not say
/// it all.
pub(crate) fn life_in<E>(
    head: &[u8],
    headers: impl FnOnce(usize) -> std::result::Result<Bytes, E>,
) -> std::result::Result<Life, E> {
    let flags = head.first().copied().unwrap_or(0);
    Ok(match flags & LIFE {
        TTL_IN_HEAD => {
            let low = head
                .get(3..5)
                .map_or(0, |low| u64::from(low[0]) | u64::from(low[1]) << 8);
            Life::Seconds(u64::from(flags >> 4) << 16 | low)
        }
        NEVER => Life::Never,
        TTL_IN_HEADERS => life_of(&headers(headers_len_of(head).unwrap_or(0))?),
        _ => Life::Limits,
    })
}

/// Whether the message of a head may have a life of its own.
pub(crate) fn has_life(head: &[u8]) -> bool {
    head.first().is_some_and(|flags| flags & LIFE != 0)
}

/// Whether the message of a head is a schedule.
pub(crate) fn is_schedule(head: &[u8]) -> bool {
    head.first().is_some_and(|flags| flags & SCHEDULE != 0)
}

/// The subject in a head; empty if the head makes no sense.
pub fn subject_of(head: &[u8]) -> &[u8] {
    parse_head(head).map_or(&[], |(subject_at, _)| &head[subject_at..])
}

/// The length of the header block, if there is one.
pub(crate) fn headers_len_of(head: &[u8]) -> Option<usize> {
    parse_head(head).map(|(_, len)| len).filter(|len| *len > 0)
}

/// A message's size as nats-server's stores count it for `max_bytes`: overhead, subject, headers, payload.
pub fn stored_size(storage: Storage, subject_len: usize, headers_len: usize, payload_len: usize) -> u64 {
    let content = subject_len + headers_len + payload_len;
    let overhead = match storage {
        Storage::Memory => 16,
        Storage::File if headers_len > 0 => 34,
        Storage::File => 30,
    };
    (overhead + content) as u64
}

/// What [`stored_size`] says of a record, from its head and the length of its body, which begins with the headers.
pub(crate) fn stored_size_of_record(storage: Storage, head: &[u8], body_len: usize) -> u64 {
    match storage {
        Storage::Memory => (16 + subject_of(head).len() + body_len) as u64,
        // The head already has the 4 bytes of the header length, and 1 byte of flags.
        Storage::File => stored_size_of_file_record(head.len(), body_len),
    }
}

/// What [`stored_size`] says of a record in a file, from its lengths alone.
pub(crate) fn stored_size_of_file_record(head_len: usize, body_len: usize) -> u64 {
    (29 + head_len + body_len) as u64
}

/// Where the subject begins, and the length of the header block.
fn parse_head(head: &[u8]) -> Option<(usize, usize)> {
    let flags = *head.first()?;
    if flags == 0 {
        return Some((1, 0));
    }
    let ttl_in_head = flags & LIFE == TTL_IN_HEAD;
    if flags & HAS_HEADERS == 0 || (flags >> 4 != 0 && !ttl_in_head) {
        return None;
    }
    let len = u32::from_le_bytes(head.get(1..5)?.try_into().ok()?);
    let len = if ttl_in_head { len & u32::from(u16::MAX) } else { len };
    Some((5, len as usize))
}

#[cfg(test)]
mod tests;
