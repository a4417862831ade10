//! A message, and how it is packed into a record.
//!
//! The record's head is one byte of flags, the length of the header block (4 bytes, little endian) if there is one,
//! and the subject. The body is the header block followed by the payload, just as they came off the wire.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::types::{Entry, NanoTime, Seq};

/// The flag of a head that states the length of a header block.
const HAS_HEADERS: u8 = 1;

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

    /// Its size as the stream's limits count it.
    pub fn size(&self) -> u64 {
        stored_size(self.subject.len(), self.headers.len(), self.payload.len())
    }
}

/// Packs a head. `headers_len` bytes of the body are the header block; [`Record::HEAD_MAX`](crate::Record::HEAD_MAX)
/// leaves room for any subject that a control line can hold.
pub fn pack_head(subject: &[u8], headers_len: usize, out: &mut Vec<u8>) {
    if headers_len == 0 {
        out.push(0);
    } else {
        out.push(HAS_HEADERS);
        // A header block ends within 64 KiB (nats-server's limit), checked when the message is taken.
        out.extend_from_slice(&(headers_len as u32).to_le_bytes());
    }
    out.extend_from_slice(subject);
}

/// The subject in a head; empty if the head makes no sense.
pub fn subject_of(head: &[u8]) -> &[u8] {
    parse_head(head).map_or(&[], |(subject_at, _)| &head[subject_at..])
}

/// The length of the header block, if there is one.
pub(crate) fn headers_len_of(head: &[u8]) -> Option<usize> {
    parse_head(head).map(|(_, len)| len).filter(|len| *len > 0)
}

/// A message's size as nats-server's file store counts it for `max_bytes`: record overhead, subject, headers, payload.
pub fn stored_size(subject_len: usize, headers_len: usize, payload_len: usize) -> u64 {
    let headers = if headers_len > 0 { 4 + headers_len } else { 0 };
    (22 + subject_len + headers + payload_len + 8) as u64
}

/// What [`stored_size`] says of a record, from its lengths alone.
pub fn stored_size_of_record(head_len: usize, body_len: usize) -> u64 {
    // The head already has the 4 bytes of the header length, and 1 byte of flags.
    (29 + head_len + body_len) as u64
}

/// Where the subject begins, and the length of the header block.
fn parse_head(head: &[u8]) -> Option<(usize, usize)> {
    match *head.first()? {
        0 => Some((1, 0)),
        HAS_HEADERS => {
            let len: [u8; 4] = head.get(1..5)?.try_into().ok()?;
            Some((5, u32::from_le_bytes(len) as usize))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        for (headers, payload) in [("", ""), ("", "x"), ("NATS/1.0\r\n\r\n", "body")] {
            let mut head = Vec::new();
            pack_head(b"a.b", headers.len(), &mut head);
            let body = Bytes::from(format!("{headers}{payload}"));
            assert_eq!(subject_of(&head), b"a.b");
            assert_eq!(
                stored_size_of_record(head.len(), body.len()),
                stored_size(3, headers.len(), payload.len())
            );
            let message = Message::unpack(Entry {
                seq: 1,
                time: 2,
                head: head.into(),
                body,
            })
            .unwrap();
            assert_eq!(
                (&message.subject[..], &message.headers[..]),
                (&b"a.b"[..], headers.as_bytes())
            );
            assert_eq!(message.payload, payload);
        }
    }

    #[test]
    fn refuses_foreign_heads() {
        for head in [&b""[..], b"\x07a", b"\x01\x01", b"\x01\xff\xff\xff\xffa"] {
            let entry = Entry {
                seq: 1,
                time: 1,
                head: Bytes::copy_from_slice(head),
                body: Bytes::new(),
            };
            assert!(Message::unpack(entry).is_err());
        }
    }
}
