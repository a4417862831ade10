//! Backups as nats-server wrote them before 2.15: a tar of its own files in an S2 stream. Read, so that streams can be
//! brought over; never written.
//!
//! `meta.inf` is the stream's configuration; `msgs/<number>.blk` are blocks of messages, in order; `obs/<consumer>/meta.inf`
//! and `obs/<consumer>/o.dat` a consumer's configuration and state. A block is a row of records, little-endian:
//!
//! | bytes | |
//! | --- | --- |
//! | 4 | length of the record, all of it; the highest bit says that there is a header block |
//! | 8 | sequence; the highest bit marks an erased message, the one below it the deletion of an earlier one |
//! | 8 | time, in nanoseconds |
//! | 2 | length of the subject |
//! | | subject; with a header block its length (4); header block; payload |
//! | 8 | checksum |
//!
//! What removed a message may stand in a later block, and what limits removed is told nowhere: limits are applied again
//! once all is read. The checksums in it are HighwayHash, which nothing else here needs: the S2 stream around it has its
//! own, and they are checked.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use weir_engine::consumer::{ConsumerConfig, SeqPair};
use weir_engine::stream::Message;
use weir_engine::{NanoTime, SECOND, Seq, varint};

use crate::archive::{BackupConsumer, ConsumerState, PARTS_MAX, Pending, broken};

/// What stands before a record's subject.
const HEAD: usize = 22;
/// What stands behind a record's payload.
const CHECKSUM: usize = 8;
/// In a record's length: it has a header block.
const HEADERS: u32 = 1 << 31;
/// In a record's sequence: the message was erased.
const ERASED: u64 = 1 << 63;
/// In a record's sequence: the message of that sequence, in an earlier record, was deleted.
const TOMBSTONE: u64 = 1 << 62;
/// The largest file of a backup without the largest message, in bytes: blocks have 16 MiB at most, and one message more.
const FILE_MAX: u64 = 32 << 20;
/// The unit of a tar: headers have one, files are filled up to a multiple.
const TAR_BLOCK: usize = 512;
/// The largest record about a file that precedes its header, in bytes: a long name, for instance.
const EXTENSION_MAX: u64 = 64 << 10;
/// How the file of a consumer's state begins, before its version.
const STATE_MAGIC: u8 = 22;

/// What a backup holds besides messages.
#[derive(Debug, Default)]
pub struct Rest {
    /// The name in the stream's configuration.
    pub stream: String,
    pub consumers: BTreeMap<String, BackupConsumer>,
    /// Messages that were removed after they were written, and were not [taken](TarReader::take_removed) yet.
    pub removed: Vec<Seq>,
    /// The highest sequence that is spoken of.
    pub last: Seq,
    /// When the message of that sequence was stored.
    pub last_time: NanoTime,
}

/// Reads a backup piece by piece.
#[derive(Debug)]
pub struct TarReader {
    /// Messages below this are not wanted.
    first: Seq,
    /// The largest message.
    max_payload: u64,
    rest: Rest,
    /// Bytes of consumers' files so far.
    parts: u64,
    /// The mark at the end came.
    ended: bool,
}

impl TarReader {
    /// For the messages from the sequence `first` on, none of which has more than `max_payload` bytes.
    pub fn new(first: Seq, max_payload: u64) -> Self {
        Self {
            first,
            max_payload,
            rest: Rest::default(),
            parts: 0,
            ended: false,
        }
    }

    /// Whether the mark at the end came.
    pub fn is_at_end(&self) -> bool {
        self.ended
    }

    /// Takes the next file off the front of what was unpacked of the tar, and gives the messages in it; `None` if more
    /// of it has to come first, or nothing does.
    ///
    /// # Errors
    /// The backup makes no sense.
    pub fn next(&mut self, unpacked: &mut BytesMut) -> io::Result<Option<Vec<Message>>> {
        if self.ended {
            unpacked.clear();
            return Ok(None);
        }
        let Some(len) = self.whole_file(unpacked)? else {
            return Ok(None);
        };
        let file = unpacked.split_to(len).freeze();
        self.file(&file).map(Some)
    }

    /// The length of the file that `tar` begins with, from the records that precede its header to its end, once all of
    /// it is there.
    fn whole_file(&mut self, tar: &[u8]) -> io::Result<Option<usize>> {
        let mut at = 0;
        loop {
            let Some(block) = tar.get(at..at + TAR_BLOCK) else {
                return Ok(None);
            };
            if block.iter().all(|byte| *byte == 0) {
                self.ended = true;
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(block);
            let kind = header.entry_type();
            let extends = kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions()
                || kind.is_gnu_longname()
                || kind.is_gnu_longlink();
            let size = header.entry_size()?;
            let max = match extends {
                true => EXTENSION_MAX,
                false => FILE_MAX + self.max_payload,
            };
            if size > max || at > 8 * EXTENSION_MAX as usize {
                return Err(broken("a file of the backup is too large"));
            }
            at += TAR_BLOCK + (size as usize).next_multiple_of(TAR_BLOCK);
            if tar.len() < at {
                return Ok(None);
            }
            if !extends {
                return Ok(Some(at));
            }
        }
    }

    /// What one file brings, which `tar` holds whole.
    fn file(&mut self, tar: &[u8]) -> io::Result<Vec<Message>> {
        #[derive(Deserialize)]
        struct Stream {
            name: String,
        }
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let parts: Vec<&str> = path.split('/').collect();
            match parts[..] {
                ["meta.inf"] => {
                    let stream: Stream = json(&path, &contents(&mut entry)?)?;
                    self.rest.stream = stream.name;
                }
                ["msgs", name] if name.ends_with(".blk") => {
                    let block = contents(&mut entry)?;
                    return records(&path, block, self.first, &mut self.rest);
                }
                ["obs", name, "meta.inf"] => {
                    self.count(entry.size())?;
                    let config: ConsumerConfig = json(&path, &contents(&mut entry)?)?;
                    self.rest.consumers.entry(name.to_owned()).or_default().config = config;
                }
                ["obs", name, "o.dat"] => {
                    self.count(entry.size())?;
                    let state = consumer_state(contents(&mut entry)?)
                        .ok_or_else(|| broken(format!("{path}: not the state of a consumer")))?;
                    self.rest.consumers.entry(name.to_owned()).or_default().state = state;
                }
                // So nats-server says in the backup itself that it could not go on.
                ["errors.txt"] => {
                    let why = contents(&mut entry)?;
                    return Err(broken(format!("{path}: {}", String::from_utf8_lossy(&why))));
                }
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// Counts what is kept until the end. A state takes more room than the file it is in, which has two bytes or more for
    /// a message that is pending.
    fn count(&mut self, file: u64) -> io::Result<()> {
        self.parts += file.saturating_mul(8);
        match self.parts > PARTS_MAX {
            true => Err(broken("the consumers of the backup are too large")),
            false => Ok(()),
        }
    }

    /// The messages that the files so far tell to be removed, which they or others gave before.
    pub fn take_removed(&mut self) -> Vec<Seq> {
        std::mem::take(&mut self.rest.removed)
    }

    /// What the backup held besides messages.
    ///
    /// # Errors
    /// It was cut short.
    pub fn finish(self) -> io::Result<Rest> {
        match self.ended && !self.rest.stream.is_empty() {
            true => Ok(self.rest),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A whole file of the backup.
fn contents(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Bytes> {
    let size = entry.size();
    let mut bytes = Vec::new();
    let read = entry.take(size).read_to_end(&mut bytes)?;
    match read as u64 == size {
        true => Ok(bytes.into()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn json<T: serde::de::DeserializeOwned>(path: &str, bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(|error| broken(format!("{path}: {error}")))
}

/// The messages of a block; what it says of others goes to `rest`.
fn records(path: &str, mut block: Bytes, first: Seq, rest: &mut Rest) -> io::Result<Vec<Message>> {
    let whole = block.len();
    let mut messages = Vec::new();
    while block.has_remaining() {
        let at = whole - block.len();
        let record = record(&mut block).ok_or_else(|| broken(format!("{path}: no record at byte {at}")))?;
        let seq = record.seq & !(ERASED | TOMBSTONE);
        let rises = seq > rest.last;
        if rises {
            (rest.last, rest.last_time) = (seq, record.time);
        }
        if record.seq & TOMBSTONE != 0 {
            rest.removed.push(seq);
        } else if record.seq & ERASED == 0 && seq >= first.max(1) && rises {
            messages.push(Message { seq, ..record });
        }
    }
    Ok(messages)
}

/// The record that the block begins with; its sequence still has its marks.
fn record(block: &mut Bytes) -> Option<Message> {
    let mut head = block.get(..HEAD)?;
    let len = head.get_u32_le();
    let seq = head.get_u64_le();
    let time = head.get_i64_le();
    let subject_len = usize::from(head.get_u16_le());
    let record_len = (len & !HEADERS) as usize;
    if record_len < HEAD + CHECKSUM || record_len > block.len() {
        return None;
    }
    let mut record = block.split_to(record_len);
    record.truncate(record_len - CHECKSUM);
    record.advance(HEAD);
    let mut take = |len: usize| (len <= record.len()).then(|| record.split_to(len));
    let subject = take(subject_len)?;
    let headers = match len & HEADERS {
        0 => Bytes::new(),
        _ => {
            let len = take(4)?.get_u32_le() as usize;
            take(len)?
        }
    };
    Some(Message {
        seq,
        time,
        subject,
        headers,
        payload: record,
    })
}

/// A consumer's state, in either version of the file. All numbers are LEB128; sequences are told from the ack floor on,
/// times in seconds from the least one.
fn consumer_state(file: Bytes) -> Option<ConsumerState> {
    if file.is_empty() {
        return Some(ConsumerState::default());
    }
    let [STATE_MAGIC, version @ 1..=2, rest @ ..] = &*file else {
        return None;
    };
    let (version, file) = (*version, &mut &*rest);
    let mut pair = || {
        Some(SeqPair {
            consumer: varint::take(file)?,
            stream: varint::take(file)?,
        })
    };
    let (floor, mut delivered) = (pair()?, pair()?);
    if version == 1 {
        // It told what came after the floor.
        delivered.consumer = delivered.consumer.checked_add(floor.consumer.saturating_sub(1))?;
        delivered.stream = delivered.stream.checked_add(floor.stream.saturating_sub(1))?;
    }
    let mut state = ConsumerState::between(delivered, floor);
    let pending = varint::take(file)?;
    if pending > 0 {
        let least = varint::take(file).map(varint::unzigzag)?;
        for _ in 0..pending {
            let seq = varint::take(file)?.checked_add(floor.stream)?;
            let sequence = match version {
                2 => varint::take(file)?.checked_add(floor.consumer)?,
                _ => 0,
            };
            let time = varint::take(file).map(varint::unzigzag)?;
            let seconds = match version {
                1 => time.checked_add(least)?,
                _ => least.checked_sub(time)?,
            };
            let timestamp = seconds.checked_mul(SECOND)?;
            state.pending.insert(seq, Pending { sequence, timestamp });
        }
    }
    for _ in 0..varint::take(file)? {
        let seq = varint::take(file)?.checked_add(floor.stream)?;
        let count = varint::take(file)?;
        state.redelivered.insert(seq, count);
    }
    Some(state)
}

#[cfg(test)]
mod tests;
