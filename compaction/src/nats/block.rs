//! One `N.blk` file: records, one after the other, the whole packed or not.
//!
//! A record is its length (u32; the top bit says that it has headers), sequence (u64) and time (i64), the length of the
//! subject (u16), the subject, the length of the header block (u32) and the header block if it has one, the payload, and
//! a checksum of all but the lengths (8 bytes). All numbers are little-endian. The sequence's top bits say what else a
//! record may be: a message that was erased, or the mark of one that was deleted elsewhere.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use weir_engine::stream::Message;
use weir_engine::{NanoTime, Seq};

use super::hash::HashKey;
use super::s2::{BadChunk, Packed};

/// Bytes before a record's subject.
const HEAD: usize = 22;
/// Bytes of a record's checksum.
pub(super) const CHECKSUM: usize = 8;
/// The longest record, in bytes, which is what nats-server reads.
const RECORD_MAX: usize = 32 << 20;
/// The longest block, in bytes. nats-server begins a new one at 8 MiB; the record that passes them is in it whole.
pub(super) const BLOCK_MAX: u64 = 64 << 20;
/// In a record's length: it has a header block.
const HAS_HEADERS: u32 = 1 << 31;
/// In a record's sequence: the message was erased, or the sequence was never used.
const ERASED: u64 = 1 << 63;
/// In a record's sequence: the message of that sequence was deleted; where it lies it is as it was.
const TOMBSTONE: u64 = 1 << 62;
/// How many times a block's length is hashed, at most, in search of where its records go on behind damage.
const SEARCH_MAX: usize = 8;

/// A block in memory.
pub(super) struct Block {
    /// Its records.
    pub data: Bytes,
    /// The places where it could not be unpacked.
    pub bad: Vec<BadChunk>,
    key: HashKey,
}

impl Block {
    /// Reads a block file.
    ///
    /// # Errors
    /// It cannot be read, or is longer than any block.
    pub fn read(path: &Path, key: HashKey) -> io::Result<Self> {
        let file = read_bounded(path, BLOCK_MAX)?;
        let packed = Packed::parse(&file);
        if packed.as_ref().is_some_and(|packed| packed.len > BLOCK_MAX) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the block says that it unpacks to more than any block has",
            ));
        }
        let (data, bad) = match packed {
            Some(packed) => packed.unpack(),
            None => (file, Vec::new()),
        };
        Ok(Self {
            data: data.into(),
            bad,
            key,
        })
    }

    /// Its records from the first on.
    pub fn walk(&self) -> Walk {
        Walk {
            data: self.data.clone(),
            key: self.key,
            at: 0,
            last: 0,
            searchable: self.data.len().saturating_mul(SEARCH_MAX),
        }
    }
}

/// Reads a file that has at most so many bytes.
///
/// # Errors
/// It cannot be read, or has more.
pub(super) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut data = Vec::new();
    file.take(max + 1).read_to_end(&mut data)?;
    match data.len() as u64 > max {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {max} bytes, which nats-server never writes"),
        )),
        false => Ok(data),
    }
}

/// The last eight bytes of a block file, by which the index knows it; zeros if it has fewer.
pub(super) fn last_checksum(path: &Path) -> io::Result<[u8; CHECKSUM]> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    let mut checksum = [0; CHECKSUM];
    if file.metadata()?.len() >= CHECKSUM as u64 {
        file.seek(SeekFrom::End(-(CHECKSUM as i64)))?;
        file.read_exact(&mut checksum)?;
    }
    Ok(checksum)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message.
    Message,
    /// A message that was erased, or a sequence that was passed over.
    Erased,
    /// A mark that a message was deleted.
    Tombstone,
}

/// A record whose checksum matches.
#[derive(Debug)]
pub(super) struct Record {
    pub kind: Kind,
    pub seq: Seq,
    pub time: NanoTime,
    /// Where it lies in the block.
    pub at: Range<usize>,
    subject: Range<usize>,
    headers: Range<usize>,
    payload: Range<usize>,
}

impl Record {
    /// Bytes it takes, as the stream's limits count them.
    pub fn size(&self) -> u64 {
        self.at.len() as u64
    }

    pub fn subject<'a>(&self, data: &'a Bytes) -> &'a [u8] {
        &data[self.subject.clone()]
    }

    /// The message, which keeps the block alive.
    pub fn message(&self, data: &Bytes) -> Message {
        Message {
            seq: self.seq,
            time: self.time,
            subject: data.slice(self.subject.clone()),
            headers: data.slice(self.headers.clone()),
            payload: data.slice(self.payload.clone()),
        }
    }
}

/// Bytes that are not a record.
#[derive(Debug)]
pub(super) struct Bad {
    pub at: Range<usize>,
    pub why: Why,
    /// The sequence in what should be the record's head.
    pub seq: Option<Seq>,
    /// Whether no record follows in this block.
    pub is_tail: bool,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The block ends within it.
    Cut,
    /// Its lengths make no sense.
    Lengths,
    /// Its checksum does not match; it ends there.
    Checksum(usize),
}

/// The records of a block, one after the other, and what lies between them.
pub(super) struct Walk {
    pub data: Bytes,
    key: HashKey,
    at: usize,
    /// The highest sequence so far.
    last: Seq,
    /// Bytes that may still be hashed in search of a record.
    searchable: usize,
}

impl Iterator for Walk {
    type Item = Result<Record, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.data.len() {
            return None;
        }
        let at = self.at;
        Some(match parse(&self.data, at, &self.key) {
            Ok(record) => {
                self.at = record.at.end;
                if record.kind != Kind::Tombstone {
                    self.last = self.last.max(record.seq);
                }
                Ok(record)
            }
            Err(why) => {
                self.at = self.search(at, why).unwrap_or(self.data.len());
                Err(Bad {
                    at: at..self.at,
                    why,
                    seq: head_seq(&self.data, at),
                    is_tail: self.at == self.data.len(),
                })
            }
        })
    }
}

impl Walk {
    /// Where the next record begins behind one that is damaged.
    fn search(&mut self, from: usize, why: Why) -> Option<usize> {
        if let Why::Checksum(end) = why
            && (end == self.data.len() || self.is_record(end))
        {
            return Some(end);
        }
        (from + 1..self.data.len()).find(|&at| self.searchable > 0 && self.is_record(at))
    }

    fn is_record(&mut self, at: usize) -> bool {
        let Ok(head) = Head::parse(&self.data, at) else {
            return false;
        };
        // The sequences go up by less than this, or a message's payload would be taken for a record too easily.
        const STEP_MAX: u64 = 1 << 40;
        let (kind, seq) = (head.kind(), head.seq());
        let is_next = seq > self.last && seq - self.last <= STEP_MAX;
        let is_earlier = seq <= self.last;
        if !(is_next || is_earlier && kind != Kind::Message) {
            return false;
        }
        self.searchable = self.searchable.saturating_sub(head.len);
        parse(&self.data, at, &self.key).is_ok()
    }
}

/// What a record's head says.
struct Head {
    at: usize,
    len: usize,
    has_headers: bool,
    raw_seq: u64,
    time: NanoTime,
    subject_len: usize,
}

impl Head {
    fn parse(data: &[u8], at: usize) -> Result<Self, Why> {
        let rest = data.get(at..).ok_or(Why::Cut)?;
        let head: &[u8; HEAD] = rest.first_chunk().ok_or(Why::Cut)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let mut eight = [0; 8];
        eight.copy_from_slice(&head[4..12]);
        let raw_seq = u64::from_le_bytes(eight);
        eight.copy_from_slice(&head[12..20]);
        let time = i64::from_le_bytes(eight);
        let head = Self {
            at,
            len: (length & !HAS_HEADERS) as usize,
            has_headers: length & HAS_HEADERS != 0,
            raw_seq,
            time,
            subject_len: usize::from(u16::from_le_bytes([head[20], head[21]])),
        };
        let least = HEAD + head.subject_len + if head.has_headers { 4 } else { 0 } + CHECKSUM;
        match head.len {
            len if len < least || len > RECORD_MAX => Err(Why::Lengths),
            len if len > rest.len() => Err(Why::Cut),
            _ => Ok(head),
        }
    }

    fn kind(&self) -> Kind {
        match self.raw_seq {
            raw if raw & TOMBSTONE != 0 => Kind::Tombstone,
            raw if raw & ERASED != 0 || raw == 0 => Kind::Erased,
            _ => Kind::Message,
        }
    }

    fn seq(&self) -> Seq {
        self.raw_seq & !(ERASED | TOMBSTONE)
    }
}

fn head_seq(data: &[u8], at: usize) -> Option<Seq> {
    let bytes = data.get(at + 4..at + 12)?;
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes);
    match u64::from_le_bytes(eight) & !(ERASED | TOMBSTONE) {
        0 => None,
        seq => Some(seq),
    }
}

fn parse(data: &[u8], at: usize, key: &HashKey) -> Result<Record, Why> {
    let head = Head::parse(data, at)?;
    let end = at + head.len;
    let sum_at = end - CHECKSUM;
    let subject = at + HEAD..at + HEAD + head.subject_len;
    let hashed_from = subject.end + if head.has_headers { 4 } else { 0 };
    let sum = key.hash(&[
        &data[at + 4..at + 20],
        &data[subject.clone()],
        &data[hashed_from..sum_at],
    ]);
    if sum[..] != data[sum_at..end] {
        return Err(Why::Checksum(end));
    }
    let headers_len = match data[subject.end..hashed_from].first_chunk::<4>() {
        Some(length) => u32::from_le_bytes(*length) as usize,
        None => 0,
    };
    if headers_len > sum_at - hashed_from {
        return Err(Why::Lengths);
    }
    Ok(Record {
        kind: head.kind(),
        seq: head.seq(),
        time: head.time,
        at: head.at..end,
        subject,
        headers: hashed_from..hashed_from + headers_len,
        payload: hashed_from + headers_len..sum_at,
    })
}
