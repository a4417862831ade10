//! Frames: what a segment consists of behind its header.

use bytes::Bytes;

use super::crc;
use super::erase::EraseRun;
use super::{FRAME_LEN, FRAME_MAGIC, align, u16_at, u32_at, u64_at};
use crate::codec;

/// The longest head of a damaged frame that is tried bit by bit, in bytes: the work is the square of it.
const MENDED_MAX: usize = 512;

/// The codec of a body that is as it came, but counts for another number of bytes: whoever compressed it is above, and said so.
pub const COUNTED: u8 = 3;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The beginning of a batch.
    Begin = 1,
    /// A record.
    Record = 2,
    /// Sequences that were erased.
    Erase = 3,
    /// Everything below a sequence was removed.
    Trim = 4,
    /// A record that was overwritten in place.
    Void = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Begin,
            2 => Self::Record,
            3 => Self::Erase,
            4 => Self::Trim,
            5 => Self::Void,
            _ => return None,
        })
    }
}

/// The fixed part of a frame; its fields mean for each [`Kind`] what `docs/format.md` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// How the body is compressed (records): 0 not, 1 LZ4, 2 Zstandard, 3 by whoever gave it.
    pub codec: u8,
    /// Bytes of the head.
    pub head_len: u16,
    /// Bytes of the body as stored.
    pub stored_len: u32,
    /// The record's sequence; the number of a batch; the sequence that a trim leaves first.
    pub seq: u64,
    /// The record's time; for `Begin`, the batch up to which the log was known to be durable.
    pub time: i64,
    /// Bytes of the body before compression, or those that it counts for; for `Begin`, the length of the frames that follow in units of 8.
    pub body_len: u32,
    /// The checksum of the body as stored.
    pub body_crc: u32,
}

impl Frame {
    /// The bytes that the frame takes, padding included.
    pub fn len(&self) -> u64 {
        align(FRAME_LEN as u64 + u64::from(self.head_len) + u64::from(self.stored_len))
    }

    /// Reads and verifies the frame at the beginning of `raw`, head included, body not; `None` if there is none.
    /// `at` is where `raw` begins in the file.
    pub fn decode(raw: &[u8], seed: u32, at: u64) -> Option<Self> {
        Self::decode_head(raw, seed, at).filter(|frame| frame.len() <= raw.len() as u64)
    }

    /// As [`decode`](Self::decode), but the body may be cut off.
    #[inline(always)]
    fn decode_head(raw: &[u8], seed: u32, at: u64) -> Option<Self> {
        if raw.len() < FRAME_LEN || u32_at(raw, 0) != FRAME_MAGIC {
            return None;
        }
        let head_len = u16_at(raw, 10);
        let covered = raw.get(8..FRAME_LEN + usize::from(head_len))?;
        if crc::append(frame_seed(seed, at), covered) != u32_at(raw, 4) {
            return None;
        }
        let frame = Self {
            kind: Kind::from_byte(raw[8])?,
            codec: raw[9],
            head_len,
            stored_len: u32_at(raw, 12),
            seq: u64_at(raw, 16),
            time: i64::from_le_bytes(u64_at(raw, 24).to_le_bytes()),
            body_len: u32_at(raw, 32),
            body_crc: u32_at(raw, 36),
        };
        Some(frame)
    }

    /// What a frame whose head fails its checksum was, if one flipped bit of its head is all that is wrong: to say what
    /// is lost, not to serve it. Answers the frame and its head; `None` if it isn't that, or the head is longer than
    /// [`MENDED_MAX`].
    pub fn mended(raw: &[u8], seed: u32, at: u64) -> Option<(Self, Bytes)> {
        let mut head = raw.get(..raw.len().min(FRAME_LEN + MENDED_MAX))?.to_vec();
        let whole = raw.len() as u64;
        let bits = head.len() * 8;
        (0..bits).find_map(|bit| {
            head[bit / 8] ^= 1 << (bit % 8);
            let frame = Self::decode_head(&head, seed, at).filter(|frame| frame.len() <= whole);
            let mended = frame.map(|frame| (frame, Bytes::copy_from_slice(frame.head(&head))));
            head[bit / 8] ^= 1 << (bit % 8);
            mended
        })
    }

    /// Reads a record that is half overwritten, which is one of these runs. Its lengths and sequence are the same before
    /// and after, so they are right whatever part of it is on disk; its checksums are not.
    pub fn torn_void(raw: &[u8], overwritten: &[EraseRun]) -> Option<Self> {
        if overwritten.is_empty() || raw.len() < FRAME_LEN || u32_at(raw, 0) != FRAME_MAGIC {
            return None;
        }
        let frame = Self {
            kind: Kind::Void,
            codec: 0,
            head_len: u16_at(raw, 10),
            stored_len: u32_at(raw, 12),
            seq: u64_at(raw, 16),
            time: i64::from_le_bytes(u64_at(raw, 24).to_le_bytes()),
            body_len: u32_at(raw, 32),
            body_crc: 0,
        };
        // Of another frame of which only a part was written, the number may be anything.
        let kind = Kind::from_byte(raw[8]);
        let known = matches!(kind, Some(Kind::Record | Kind::Void))
            && overwritten
                .iter()
                .any(|run| run.first <= frame.seq && frame.seq - run.first < run.count);
        (known && frame.len() <= raw.len() as u64).then_some(frame)
    }

    /// The head, from the bytes that [`decode`](Self::decode) accepted.
    pub fn head<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        &raw[FRAME_LEN..FRAME_LEN + usize::from(self.head_len)]
    }

    /// The body as stored, from the bytes that [`decode`](Self::decode) accepted.
    pub fn stored<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        let at = FRAME_LEN + usize::from(self.head_len);
        &raw[at..at + self.stored_len as usize]
    }

    /// Whether the body matches its checksum.
    pub fn body_is_good(&self, raw: &[u8]) -> bool {
        crc::crc32c(self.stored(raw)) == self.body_crc
    }

    /// Whether the body is what is stored, and nothing is to be undone.
    pub fn is_bare(&self) -> bool {
        matches!(self.codec, codec::PLAIN | COUNTED)
    }

    /// Whether the lengths of one that [is bare](Self::is_bare) are right.
    pub fn is_as_long(&self) -> bool {
        self.codec == COUNTED || self.stored_len == self.body_len
    }

    /// What the record counts for in an extent.
    pub fn size(&self) -> u64 {
        u64::from(self.head_len) + u64::from(self.body_len)
    }

    /// Writes the fixed part at `start` in `buf`, where the head already follows it. `at` is where it lies in the file.
    pub(super) fn seal(&self, buf: &mut [u8], start: usize, seed: u32, at: u64) {
        let raw = &mut buf[start..start + FRAME_LEN];
        raw[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        raw[8] = self.kind as u8;
        raw[9] = self.codec;
        raw[10..12].copy_from_slice(&self.head_len.to_le_bytes());
        raw[12..16].copy_from_slice(&self.stored_len.to_le_bytes());
        raw[16..24].copy_from_slice(&self.seq.to_le_bytes());
        raw[24..32].copy_from_slice(&self.time.to_le_bytes());
        raw[32..36].copy_from_slice(&self.body_len.to_le_bytes());
        raw[36..40].copy_from_slice(&self.body_crc.to_le_bytes());
        let end = start + FRAME_LEN + usize::from(self.head_len);
        let crc = crc::append(frame_seed(seed, at), &buf[start + 8..end]);
        buf[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

fn frame_seed(seed: u32, at: u64) -> u32 {
    crc::append(seed, &at.to_le_bytes())
}

/// The bytes that take the place of a record that is overwritten: a frame of the same length with nothing in it.
pub fn void_frame(old: &Frame, seed: u32, at: u64) -> Vec<u8> {
    let mut raw = vec![0; old.len() as usize];
    let body_crc = crc32c::crc32c(&raw[..old.stored_len as usize]);
    let frame = Frame {
        kind: Kind::Void,
        codec: 0,
        body_crc,
        ..*old
    };
    frame.seal(&mut raw, 0, seed, at);
    raw
}

/// Undoes the compression of a stored body.
pub fn decompress(codec: u8, stored: &[u8], body_len: u32, out: &mut Vec<u8>) -> bool {
    match codec {
        COUNTED => {
            out.extend_from_slice(stored);
            true
        }
        codec => codec::decompress(codec, stored, body_len, out),
    }
}
