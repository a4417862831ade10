//! The format of a stream's backup: an archive of entries in an S2 stream, as nats-server writes it since 2.15, so that
//! either server can restore what the other wrote. What older ones wrote is [`tar`](crate::tar)'s.
//!
//! The archive begins with [`MAGIC`]. Each entry is the length of its name, a time (zigzag), a sequence, the length of the
//! header block and of the payload, all LEB128; then the name, the header block and the payload. The first entry is
//! `state.json`; then come as many consumers as it says, `consumers/<name>`; then the messages, named by their subjects;
//! the end is an entry without anything.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use weir_engine::consumer::{ConsumerConfig, ConsumerSnapshot, SeqPair};
use weir_engine::json::{format_time, is_zero, parse_time};
use weir_engine::stream::{Message, StreamState};
use weir_engine::{NanoTime, Seq, varint};

use crate::pack::Packer;

/// How an archive begins.
pub const MAGIC: &[u8; 8] = b"NATSARC1";
/// The longest name of an entry, in bytes: of a subject, what the head of a record has room for.
const NAME_MAX: u64 = 60_000;
/// The longest header block of a message, in bytes, as for one that is published.
const HEADERS_MAX: u64 = 65_535;
/// What a backup's own parts (its state, and all consumers together) may take, in bytes.
pub const PARTS_MAX: u64 = 64 << 20;
/// The highest sequence that a stream may be restored with, and the highest count in a consumer's state: far beyond any
/// that is reached by counting, and far enough below the end that adding to it is safe.
pub const SEQ_MAX: u64 = 1 << 62;
/// Bytes of the five numbers that an entry begins with, at most.
const NUMBERS_MAX: usize = 50;

/// What a backup says of the stream as a whole.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default)]
pub struct BackupState {
    /// Its messages.
    pub messages: u64,
    /// Their bytes, as the server that made the backup counts them.
    pub bytes: u64,
    /// Its first sequence.
    pub first_seq: Seq,
    /// When its first message came, by RFC 3339.
    pub first_ts: String,
    /// The last sequence that it gave.
    pub last_seq: Seq,
    /// When that was, by RFC 3339.
    pub last_ts: String,
    /// Its subjects.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_subjects: u64,
    /// Sequences between the first and the last that hold nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_deleted: u64,
    /// How many consumers the backup has.
    pub consumer_count: usize,
}

impl BackupState {
    /// What a backup of a stream with so many consumers says.
    pub fn of(state: &StreamState, consumers: usize) -> Self {
        Self {
            messages: state.messages,
            bytes: state.bytes,
            first_seq: state.first_seq,
            first_ts: format_time(state.first_time),
            last_seq: state.last_seq,
            last_ts: format_time(state.last_time),
            num_subjects: state.num_subjects,
            num_deleted: state.num_deleted,
            consumer_count: consumers,
        }
    }

    /// When its last message came, if that is said.
    pub fn last_time(&self) -> Option<NanoTime> {
        parse_time(&self.last_ts).ok().flatten()
    }

    /// Refuses numbers that no stream has.
    ///
    /// # Errors
    /// Names the number.
    pub fn check(&self) -> io::Result<()> {
        check_seq("first sequence", self.first_seq)?;
        check_seq("last sequence", self.last_seq)
    }
}

/// Refuses a sequence that no stream has.
///
/// # Errors
/// Names it.
pub fn check_seq(what: &str, seq: Seq) -> io::Result<()> {
    match seq > SEQ_MAX {
        true => Err(broken(format!(
            "{what} {seq} is above the highest there may be, {SEQ_MAX}"
        ))),
        false => Ok(()),
    }
}

/// A consumer in a backup, as nats-server names its parts.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct BackupConsumer {
    /// Its configuration.
    pub config: ConsumerConfig,
    /// How far it is.
    pub state: ConsumerState,
}

/// How far a consumer is.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConsumerState {
    delivered: Pair,
    ack_floor: Pair,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    /// What was delivered and not acknowledged, by sequence.
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
pub struct Pending {
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

    /// Refuses a state that no consumer can be in, by nats-server's rules and texts.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> io::Result<()> {
        let (delivered, floor) = (&self.state.delivered, &self.state.ack_floor);
        if floor.consumer_seq > delivered.consumer_seq {
            return Err(broken("bad ack floor for consumer"));
        }
        if floor.stream_seq > delivered.stream_seq {
            return Err(broken("bad ack floor for stream"));
        }
        check_seq("delivered sequence", delivered.stream_seq.max(delivered.consumer_seq))?;
        let known = |seq: Seq| seq > floor.stream_seq && seq <= delivered.stream_seq;
        if let Some(seq) = self.state.pending.keys().find(|seq| !known(**seq)) {
            return Err(broken(format!("bad pending entry, sequence [{seq}] out of range")));
        }
        for pending in self.state.pending.values() {
            check_seq("pending delivery", pending.sequence)?;
        }
        for (&seq, &count) in &self.state.redelivered {
            check_seq("redelivered sequence", seq)?;
            check_seq("redelivery count", count)?;
        }
        Ok(())
    }

    /// The consumer as the engine takes it up, under a serial number of its own. Its state was
    /// [checked](BackupConsumer::check).
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
                // A delivery in the future would wait for its acknowledgement for as long.
                .map(|(&seq, pending)| (seq, pending.sequence, pending.timestamp.clamp(0, created)))
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
pub struct Writer {
    stream: Packer,
}

impl Writer {
    /// Begins with what is said of the stream.
    pub fn new(state: &BackupState, now: NanoTime) -> Self {
        // It is made of numbers and texts, which JSON has.
        Self::described(&serde_json::to_vec(state).unwrap_or_default(), now)
    }

    /// Begins with what is said of the stream, whatever that is.
    pub(crate) fn described(state: &[u8], now: NanoTime) -> Self {
        let mut writer = Self { stream: Packer::new() };
        writer.stream.push(MAGIC);
        writer.entry(b"state.json", now, 0, b"", state);
        writer
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// None that is known: what a consumer has can be written as JSON.
    pub fn consumer(&mut self, consumer: &BackupConsumer, now: NanoTime) -> io::Result<()> {
        self.named_consumer(&consumer.config.name, consumer, now)
    }

    /// Adds a consumer under any name.
    ///
    /// # Errors
    /// As [`Writer::consumer`].
    pub(crate) fn named_consumer(&mut self, name: &str, consumer: &BackupConsumer, now: NanoTime) -> io::Result<()> {
        let json = serde_json::to_vec(consumer)?;
        self.entry(format!("consumers/{name}").as_bytes(), now, 0, b"", &json);
        Ok(())
    }

    /// Adds a message.
    pub fn message(&mut self, message: &Message) {
        self.entry(
            &message.subject,
            message.time,
            message.seq,
            &message.headers,
            &message.payload,
        );
    }

    /// What can be sent so far.
    pub fn take(&mut self) -> Vec<u8> {
        self.stream.take()
    }

    /// Ends the backup; answers the rest of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(b"", 0, 0, b"", b"");
        self.stream.finish()
    }

    fn entry(&mut self, name: &[u8], time: NanoTime, seq: Seq, headers: &[u8], payload: &[u8]) {
        let mut head = Vec::with_capacity(32 + name.len());
        varint::put(&mut head, name.len() as u64);
        varint::put(&mut head, varint::zigzag(time));
        varint::put(&mut head, seq);
        varint::put(&mut head, headers.len() as u64);
        varint::put(&mut head, payload.len() as u64);
        head.extend_from_slice(name);
        self.stream.push(&head);
        self.stream.push(headers);
        self.stream.push(payload);
    }
}

/// One part of a backup as it is read.
pub struct Entry {
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

/// What the size of one message is held against, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// The server's `max_payload`.
    pub max_payload: u64,
    /// The stream's `max_msg_size`.
    pub max_msg_size: Option<u64>,
}

/// The numbers that an entry begins with.
struct EntryHead {
    name_len: u64,
    time: NanoTime,
    seq: Seq,
    headers_len: u64,
    payload_len: u64,
    /// How many bytes the numbers themselves take.
    len: usize,
}

/// Takes the next entry off the front of what was unpacked of an archive; `None` if more of it has to come first.
///
/// # Errors
/// The archive makes no sense, or a message is larger than the limits allow.
pub fn next_entry(unpacked: &mut BytesMut, limits: &MessageLimits) -> io::Result<Option<Entry>> {
    let Some(head) = EntryHead::parse(unpacked)? else {
        return Ok(None);
    };
    head.check(limits)?;
    let (name_len, headers_len) = (head.name_len as usize, head.headers_len as usize);
    let body_len = headers_len + head.payload_len as usize;
    let len = head.len + name_len + body_len;
    if unpacked.len() < len {
        return Ok(None);
    }
    let mut entry = unpacked.split_to(len).freeze();
    entry.advance(head.len);
    let name = entry.split_to(name_len).to_vec();
    Ok(Some(Entry {
        name,
        time: head.time,
        seq: head.seq,
        headers_len,
        body: entry,
    }))
}

impl EntryHead {
    fn parse(from: &[u8]) -> io::Result<Option<Self>> {
        let mut rest = from;
        let mut numbers = [0; 5];
        for number in &mut numbers {
            match varint::take(&mut rest) {
                Some(value) => *number = value,
                None if from.len() < NUMBERS_MAX => return Ok(None),
                None => return Err(broken("invalid archive stream: a number is too long")),
            }
        }
        let [name_len, time, seq, headers_len, payload_len] = numbers;
        Ok(Some(Self {
            name_len,
            time: varint::unzigzag(time),
            seq,
            headers_len,
            payload_len,
            len: from.len() - rest.len(),
        }))
    }

    /// Before the entry is there, so that a length that lies costs nothing.
    fn check(&self, limits: &MessageLimits) -> io::Result<()> {
        let seq = self.seq;
        if self.name_len > NAME_MAX {
            return Err(broken("invalid archive stream: a name is too long"));
        }
        let size = self.headers_len.saturating_add(self.payload_len);
        if seq == 0 {
            return match size > PARTS_MAX {
                true => Err(broken("invalid archive stream: an entry is too long")),
                false => Ok(()),
            };
        }
        if size > limits.max_payload {
            return Err(broken(format!("message sequence {seq} exceeds maximum payload size")));
        }
        if limits.max_msg_size.is_some_and(|max| size > max) {
            return Err(broken(format!("message sequence {seq} exceeds maximum message size")));
        }
        if self.headers_len > HEADERS_MAX {
            return Err(broken(format!("message sequence {seq} exceeds maximum header size")));
        }
        check_seq("message sequence", seq)
    }
}

/// Refuses a message that could not have been published: its subject and header block are sent to clients as they are.
///
/// # Errors
/// Names the message.
pub fn check_message(message: &Message, limits: &MessageLimits) -> io::Result<()> {
    let (seq, subject, headers) = (message.seq, &message.subject, &message.headers);
    let head = EntryHead {
        name_len: subject.len() as u64,
        time: message.time,
        seq,
        headers_len: headers.len() as u64,
        payload_len: message.payload.len() as u64,
        len: 0,
    };
    head.check(limits)?;
    if !weir_subject::is_valid_subject(subject) {
        return Err(broken(format!("message sequence {seq} has an invalid subject")));
    }
    let is_block = headers.starts_with(weir_headers::VERSION) && headers.ends_with(b"\r\n\r\n");
    if !headers.is_empty() && !is_block {
        return Err(broken(format!("message sequence {seq} has an invalid header block")));
    }
    Ok(())
}

pub fn broken(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests;
