//! What an inspection found. The JSON form of these is an interface: fields are added, never renamed or removed.

use std::path::PathBuf;

use serde::{Serialize, Serializer};
use weir_engine::{NanoTime, Seq, ShardId};

use super::histogram::Histogram;

/// A whole store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder that holds all of it.
    pub path: PathBuf,
    /// The version of what the engine wrote; `None` if the store's own record is missing or damaged.
    pub format_version: Option<u32>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// How many shards, and so journals, it has.
    pub shards: usize,
    /// Bytes of all files below `path`.
    pub disk_bytes: u64,
    /// Whether the journals hold changes that are newer than the last checkpoint: the store was not closed. The
    /// numbers below are those that a server will show once it has applied them.
    pub has_journal_tail: bool,
    /// The journals, by shard.
    pub journals: Vec<JournalReport>,
    /// The streams that were asked for, by account and name.
    pub streams: Vec<StreamReport>,
    /// Logs that belong to no stream: what was left of a creation or a deletion that a crash cut short, or the log of a
    /// stream that the catalogue has lost.
    pub orphans: Vec<OrphanReport>,
    /// How many things are wrong with the rest of the store, if a stream was asked for; 0 if all was.
    pub elsewhere: u64,
    /// What servers found wrong and is not settled.
    pub findings: Vec<FindingReport>,
    /// Damaged places of logs that are settled, one line each.
    pub settled: Vec<String>,
    /// Whatever is damaged or missing, one line each.
    pub problems: Vec<String>,
}

/// Something that a server found wrong with the store's own bookkeeping, and keeps until it is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingReport {
    /// The key under which the store keeps it, behind `finding/`.
    pub key: String,
    /// When it was found.
    #[serde(serialize_with = "time")]
    pub found: NanoTime,
    /// What was found, where, and what became of it, with the streams and sequences that it concerns.
    pub text: String,
}

/// Sequences of a stream that a server found lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossReport {
    /// The lowest.
    pub first: Seq,
    /// The highest.
    pub last: Seq,
    /// When the first of them was found.
    #[serde(serialize_with = "time")]
    pub found: NanoTime,
    /// Why.
    pub why: String,
    /// Bytes that are lost with them, as far as is known.
    pub bytes: u64,
    /// Whether that is settled.
    pub settled: bool,
}

/// One shard's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalReport {
    /// The shard.
    pub shard: ShardId,
    /// The first record it still holds.
    pub first: u64,
    /// The last record it ever held.
    pub last: u64,
    /// Records.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// Bytes of its files, which are made at full size and used again.
    pub disk_bytes: u64,
    /// Records that the last checkpoint does not cover.
    pub tail: u64,
    /// Damaged records that cost nothing any more: checkpoints cover them, or they are in a finding.
    pub damaged: u64,
    /// Bytes at the end of a write that never finished, or of a last write that is damaged.
    pub torn_bytes: u64,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its log, as the files are named: 16 hexadecimal digits.
    pub log: String,
    /// The shard it belongs to.
    pub shard: ShardId,
    /// `segment` or `rocksdb`.
    pub backend: String,
    /// `sync`, `interval:<duration>` or `os`.
    pub durability: String,
    /// `none`, `lz4` or `zstd`.
    pub compression: String,
    /// `resident` or `paged`.
    pub index: String,
    /// The subjects it takes.
    pub subject_filters: Vec<String>,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: NanoTime,
    /// The first message's sequence; one above the last if there is none, 0 if there never was one.
    pub first_seq: Seq,
    /// The last sequence given.
    pub last_seq: Seq,
    /// When the first message was stored.
    #[serde(serialize_with = "maybe_time")]
    pub first_time: Option<NanoTime>,
    /// When the last sequence was given.
    #[serde(serialize_with = "maybe_time")]
    pub last_time: Option<NanoTime>,
    /// Messages.
    pub messages: u64,
    /// Their bytes as limits count them: subject, headers, payload and 30 to 34 bytes each.
    pub bytes: u64,
    /// Bytes that the log takes in its backend's files, as near as the backend can say.
    pub disk_bytes: u64,
    /// Distinct subjects.
    pub subjects: u64,
    /// The digest of its messages, 16 hexadecimal digits; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The subjects with the most messages, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_subjects: Option<Vec<SubjectReport>>,
    /// Its messages by size and age, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// Its consumers, by name.
    pub consumers: Vec<ConsumerReport>,
    /// Stretches of records that were found damaged or missing, up to the next one that is whole or was removed: what is there is
    /// kept and not served. Heads are checked, bodies are not.
    pub damaged: u64,
    /// The places where they are: a file that is missing is one.
    pub damaged_places: u64,
    /// Messages that are lost at these places, as far as the log can tell.
    pub damaged_messages: u64,
    /// Messages lost, at these places or with the end of the log, that no server has noted yet.
    pub lost_unnoted: u64,
    /// Of the damaged places, those that are not settled.
    pub damaged_unsettled: u64,
    /// What servers noted as lost, by sequence; up to 256 ranges.
    pub lost: Vec<LossReport>,
    /// Messages lost: those of the ranges, and what came beyond them.
    pub lost_messages: u64,
    /// Of those, the ones whose loss nobody has settled.
    pub lost_unsettled: u64,
    /// Damaged places in its log, which are among [`Report::problems`], that can be settled: a server has noted what is lost with
    /// them.
    pub places_to_settle: u64,
    /// Bytes at the end of a write that never finished, or of a last write that is damaged.
    pub torn_bytes: u64,
    /// What the journal has for it beyond the last checkpoint.
    pub journal_tail: TailReport,
    /// Whether its messages could be read; if not, the numbers are what the last checkpoint knew.
    pub readable: bool,
}

/// A subject and how many messages it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubjectReport {
    /// The subject; bytes that are not UTF-8 are replaced.
    pub subject: String,
    /// Its messages.
    pub messages: u64,
}

/// What a journal has for one stream beyond the last checkpoint, by kind of command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TailReport {
    /// All of them.
    pub commands: u64,
    /// Messages stored.
    pub publishes: u64,
    /// Of those, the ones that the stream's log does not have yet.
    pub unwritten: u64,
    /// Removals, each of one or more messages, and sequences given away with nothing stored under them.
    pub removals: u64,
    /// Deliveries to consumers and acknowledgements by them, each of one or more messages.
    pub progress: u64,
    /// Creation, change and deletion of the stream and its consumers.
    pub configuration: u64,
}

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerReport {
    /// Its name.
    pub name: String,
    /// Whether it stays when unused.
    pub durable: bool,
    /// Where it delivers, for a push consumer; `None` for a pull consumer.
    pub deliver_subject: Option<String>,
    /// The subjects it wants; empty for all.
    pub filters: Vec<String>,
    /// `none`, `all`, `explicit` or `flow_control`.
    pub ack_policy: String,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: NanoTime,
    /// The last delivery.
    pub delivered: Position,
    /// All up to here is acknowledged.
    pub ack_floor: Position,
    /// Messages sent and not acknowledged.
    pub ack_pending: u64,
    /// Of those, the ones sent more than once.
    pub redelivered: u64,
    /// The digest of where it stands, 16 hexadecimal digits.
    pub digest: String,
    /// What was sent and not acknowledged, by sequence, if the consumer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<PendingReport>>,
    /// Its configuration as JetStream's API has it, if the consumer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
}

/// A message that was sent and is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingReport {
    /// Its sequence in the stream.
    pub stream_seq: Seq,
    /// The number of its first delivery.
    pub consumer_seq: u64,
    /// When it was last sent.
    #[serde(serialize_with = "time")]
    pub sent: NanoTime,
    /// How often it was sent.
    pub deliveries: u64,
}

/// A place in a consumer's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The consumer's own count.
    pub consumer_seq: u64,
    /// The stream's sequence.
    pub stream_seq: Seq,
}

/// A log that belongs to no stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrphanReport {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub log: String,
    /// The account that its label names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The stream that its label names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Messages in it; `None` if it cannot be read.
    pub messages: Option<u64>,
}

impl Report {
    /// Whether anything is damaged, missing, or lost and not settled. What is no damage: a write at the end of a file that never
    /// finished, as a crash leaves one; and an empty log without a stream, as a crash leaves one that was being made.
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty()
            || !self.findings.is_empty()
            || self
                .streams
                .iter()
                .any(|stream| stream.damaged_unsettled > 0 || stream.lost_unsettled > 0 || stream.lost_unnoted > 0)
            || self.orphans.iter().any(|orphan| orphan.messages != Some(0))
    }
}

pub(super) fn time<S: Serializer>(time: &NanoTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&weir_engine::json::format_time(Some(*time)))
}

fn maybe_time<S: Serializer>(time: &Option<NanoTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(nanos) => self::time(nanos, serializer),
        None => serializer.serialize_none(),
    }
}
