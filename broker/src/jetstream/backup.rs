//! The format of a stream's backup: an archive of entries in an S2 stream, as nats-server writes it since 2.15, so that
//! either server can restore what the other wrote. What older ones wrote is [`backup_tar`](super::backup_tar)'s.
//!
//! The archive begins with [`MAGIC`]. Each entry is the length of its name, a time (zigzag), a sequence, the length of the
//! header block and of the payload, all LEB128; then the name, the header block and the payload. The first entry is
//! `state.json`; then come as many consumers as it says, `consumers/<name>`; then the messages, named by their subjects;
//! the end is an entry without anything.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_engine::consumer::{ConsumerConfig, ConsumerSnapshot, SeqPair};
use weir_engine::json::parse_time;
use weir_engine::stream::Message;
use weir_engine::{NanoTime, Seq, varint};

/// How an archive begins.
pub(super) const MAGIC: &[u8; 8] = b"NATSARC1";
/// The longest name of an entry, in bytes.
const NAME_MAX: u64 = 1 << 20;
/// The largest entry: more than any message may have.
const ENTRY_MAX: u64 = 128 << 20;

/// What a backup says of the stream as a whole.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct BackupState {
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub last_ts: String,
    /// How many consumers the backup has.
    pub consumer_count: usize,
}

impl BackupState {
    pub fn last_time(&self) -> Option<NanoTime> {
        parse_time(&self.last_ts).ok().flatten()
    }
}

/// A consumer in a backup, as nats-server names its parts.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct BackupConsumer {
    pub config: ConsumerConfig,
    pub state: ConsumerState,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ConsumerState {
    delivered: Pair,
    ack_floor: Pair,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<Seq, Pending>,
    /// How often a message was sent again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redelivered: BTreeMap<Seq, u64>,
}

impl ConsumerState {
    /// Of a consumer that delivered up to one place and was acknowledged up to another.
    pub fn between(delivered: SeqPair, ack_floor: SeqPair) -> Self {
        Self {
            delivered: delivered.into(),
            ack_floor: ack_floor.into(),
            ..Self::default()
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Pair {
    consumer_seq: u64,
    stream_seq: Seq,
}

impl From<SeqPair> for Pair {
    fn from(pair: SeqPair) -> Self {
        Self {
            consumer_seq: pair.consumer,
            stream_seq: pair.stream,
        }
    }
}

/// A message that was delivered and not acknowledged.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Pending {
    /// The number of its delivery.
    pub sequence: u64,
    /// When it was.
    pub timestamp: NanoTime,
}

impl BackupConsumer {
    /// A consumer as a backup of messages up to `last` keeps it.
    pub fn of(consumer: ConsumerSnapshot, last: Seq) -> Self {
        let pair = |pair: SeqPair| {
            let stream = pair.stream.min(last);
            SeqPair { stream, ..pair }.into()
        };
        let pending = consumer.pending.iter().filter(|(seq, ..)| *seq <= last);
        let redelivered = consumer.deliveries.iter().filter(|(seq, _)| *seq <= last);
        Self {
            state: ConsumerState {
                delivered: pair(consumer.delivered),
                ack_floor: pair(consumer.ack_floor),
                pending: pending
                    .map(|&(seq, sequence, timestamp)| (seq, Pending { sequence, timestamp }))
                    .collect(),
                redelivered: redelivered
                    .map(|&(seq, count)| (seq, count.saturating_sub(1)))
                    .collect(),
            },
            config: ConsumerConfig {
                name: consumer.name,
                ..consumer.config
            },
        }
    }

    /// The consumer as the engine takes it up, under a serial number of its own.
    pub fn into_snapshot(self, name: &str, serial: u64, created: NanoTime) -> ConsumerSnapshot {
        let pair = |pair: &Pair| SeqPair {
            consumer: pair.consumer_seq,
            stream: pair.stream_seq,
        };
        let state = &self.state;
        ConsumerSnapshot {
            serial,
            name: name.to_owned(),
            created,
            next: state.delivered.stream_seq + 1,
            delivered: pair(&state.delivered),
            ack_floor: pair(&state.ack_floor),
            pending: state
                .pending
                .iter()
                .map(|(&seq, pending)| (seq, pending.sequence, pending.timestamp))
                .collect(),
            deliveries: state
                .redelivered
                .iter()
                .map(|(&seq, &count)| (seq, count + 1))
                .collect(),
            config: ConsumerConfig {
                name: name.to_owned(),
                ..self.config
            },
            ..ConsumerSnapshot::default()
        }
    }
}

/// Writes a backup, part by part.
pub(super) struct Writer {
    /// What is ready to be sent is taken out of the buffer in it.
    stream: minlz::Writer<Vec<u8>>,
}

impl Writer {
    /// Begins with what is said of the stream (JSON).
    pub fn new(state: &[u8], now: NanoTime) -> io::Result<Self> {
        let mut writer = Self {
            stream: minlz::Writer::new(Vec::new()),
        };
        writer.stream.write_all(MAGIC)?;
        writer.entry(b"state.json", now, 0, b"", state)?;
        Ok(writer)
    }

    /// Adds a consumer.
    pub fn consumer(&mut self, consumer: &BackupConsumer, now: NanoTime) -> io::Result<()> {
        let json = serde_json::to_vec(consumer)?;
        self.entry(
            format!("consumers/{}", consumer.config.name).as_bytes(),
            now,
            0,
            b"",
            &json,
        )
    }

    /// Adds a message.
    pub fn message(&mut self, message: &Message) -> io::Result<()> {
        self.entry(
            &message.subject,
            message.time,
            message.seq,
            &message.headers,
            &message.payload,
        )
    }

    /// What can be sent so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.stream.get_mut())
    }

    /// Ends the backup; answers the rest of it.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.entry(b"", 0, 0, b"", b"")?;
        self.stream.flush()?;
        Ok(self.take())
    }

    fn entry(&mut self, name: &[u8], time: NanoTime, seq: Seq, headers: &[u8], payload: &[u8]) -> io::Result<()> {
        let mut head = Vec::with_capacity(32 + name.len());
        varint::put(&mut head, name.len() as u64);
        varint::put(&mut head, varint::zigzag(time));
        varint::put(&mut head, seq);
        varint::put(&mut head, headers.len() as u64);
        varint::put(&mut head, payload.len() as u64);
        head.extend_from_slice(name);
        self.stream.write_all(&head)?;
        self.stream.write_all(headers)?;
        self.stream.write_all(payload)
    }
}

/// One part of a backup as it is read.
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub time: NanoTime,
    pub seq: Seq,
    headers_len: usize,
    body: Bytes,
}

impl Entry {
    /// Whether it is the mark at the end.
    pub fn is_end(&self) -> bool {
        self.seq == 0 && self.time == 0 && self.body.is_empty() && self.name.is_empty()
    }

    /// What stands in it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The message it is.
    pub fn into_message(self) -> Message {
        Message {
            seq: self.seq,
            time: self.time,
            subject: self.name.into(),
            headers: self.body.slice(..self.headers_len),
            payload: self.body.slice(self.headers_len..),
        }
    }
}

/// What a backup's S2 stream holds.
type Unpacked<R> = io::BufReader<minlz::Reader<R>>;

/// A backup, in either of the two formats.
pub(super) enum Backup<R: Read> {
    /// An archive of nats-server 2.15 or Weir.
    Archive(Reader<R>),
    /// A tar of an older nats-server's files.
    Tar(io::Chain<io::Cursor<[u8; MAGIC.len()]>, Unpacked<R>>),
}

impl<R: Read> Backup<R> {
    /// Looks which it is: an archive begins with its mark.
    ///
    /// # Errors
    /// It is no S2 stream.
    pub fn open(from: R) -> io::Result<Self> {
        let mut unpacked = io::BufReader::new(minlz::Reader::new(from));
        let mut magic = [0; MAGIC.len()];
        unpacked.read_exact(&mut magic)?;
        Ok(match &magic == MAGIC {
            true => Self::Archive(Reader { archive: unpacked }),
            false => Self::Tar(io::Cursor::new(magic).chain(unpacked)),
        })
    }
}

/// Reads an archive.
pub(super) struct Reader<R: Read> {
    archive: Unpacked<R>,
}

impl<R: Read> Reader<R> {
    /// The next entry.
    ///
    /// # Errors
    /// The archive ends too early, or makes no sense.
    pub fn next(&mut self) -> io::Result<Entry> {
        let name_len = self.number()?;
        let time = self.number()?;
        let seq = self.number()?;
        let headers_len = self.number()?;
        let payload_len = self.number()?;
        let body_len = headers_len.saturating_add(payload_len);
        if name_len > NAME_MAX || headers_len > ENTRY_MAX || body_len > ENTRY_MAX {
            return Err(broken("invalid archive stream: an entry is too long"));
        }
        Ok(Entry {
            name: self.bytes(name_len)?,
            time: varint::unzigzag(time),
            seq,
            headers_len: headers_len as usize,
            body: self.bytes(body_len)?.into(),
        })
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 10];
        for at in 0..bytes.len() {
            self.archive.read_exact(&mut bytes[at..=at])?;
            if bytes[at] < 0x80 {
                break;
            }
        }
        varint::take(&mut &bytes[..]).ok_or_else(|| broken("invalid archive stream: a number is too long"))
    }

    /// Grows with what arrives, so that a length that lies costs nothing.
    fn bytes(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len.min(64 << 10) as usize);
        let read = self.archive.by_ref().take(len).read_to_end(&mut bytes)?;
        match read as u64 == len {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

pub(super) fn broken(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: Seq) -> Message {
        Message {
            seq,
            time: -5 + seq as i64,
            subject: format!("a.{seq}").into(),
            headers: Bytes::from_static(b"NATS/1.0\r\nK: v\r\n\r\n"),
            payload: vec![seq as u8; 100_000].into(),
        }
    }

    fn backup() -> Vec<u8> {
        let mut writer = Writer::new(br#"{"first_seq":1,"last_seq":9}"#, 1).unwrap();
        let mut all = writer.take();
        for seq in [1, 2, 9] {
            writer.message(&message(seq)).unwrap();
            all.extend(writer.take());
        }
        all.extend(writer.finish().unwrap());
        all
    }

    fn open(data: &[u8]) -> io::Result<Reader<&[u8]>> {
        match Backup::open(data)? {
            Backup::Archive(reader) => Ok(reader),
            Backup::Tar(_) => Err(broken("not an archive")),
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let all = backup();
        let mut reader = open(&all).unwrap();
        let state = reader.next().unwrap();
        assert_eq!(state.name, b"state.json");
        assert_eq!(serde_json::from_slice::<BackupState>(state.body()).unwrap().last_seq, 9);
        for seq in [1, 2, 9] {
            assert_eq!(reader.next().unwrap().into_message(), message(seq));
        }
        assert!(reader.next().unwrap().is_end());
        assert!(reader.next().is_err());
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_refused() {
        let all = backup();
        for len in [0, 5, 30, all.len() / 2, all.len() - 1] {
            let read = open(&all[..len]).and_then(|mut reader| {
                while !reader.next()?.is_end() {}
                Ok(())
            });
            assert!(read.is_err(), "{len} bytes");
        }
        assert!(open(b"not a backup at all").is_err());
    }

    #[test]
    fn consumers_keep_their_state() {
        let snapshot = ConsumerSnapshot {
            serial: 3,
            name: "C".into(),
            next: 8,
            created: 5,
            delivered: SeqPair { consumer: 9, stream: 7 },
            ack_floor: SeqPair { consumer: 4, stream: 4 },
            pending: vec![(5, 6, 100), (7, 9, 101)],
            deliveries: vec![(5, 2)],
            config: ConsumerConfig {
                name: "C".into(),
                durable_name: "C".into(),
                ..ConsumerConfig::default()
            },
            ..ConsumerSnapshot::default()
        };
        let json = serde_json::to_string(&BackupConsumer::of(snapshot.clone(), 100)).unwrap();
        let read: BackupConsumer = serde_json::from_str(&json).unwrap();
        assert_eq!(read.into_snapshot("C", 3, 5), snapshot);
    }
}
