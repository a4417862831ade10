//! What a stream's owner chooses for it. Field names, defaults and JSON form are JetStream's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{is_false, is_zero, nullable};
use crate::types::{NanoTime, Nanos, Seq};

/// When a stream lets go of a message, apart from its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// Only by its limits.
    #[default]
    Limits,
    /// When every consumer that wants it has acknowledged it; at once if none does.
    Interest,
    /// When one consumer has acknowledged it.
    #[serde(rename = "workqueue")]
    WorkQueue,
}

/// What happens when a stream is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// The oldest messages go.
    #[default]
    Old,
    /// The new message is refused.
    New,
}

/// JetStream's two kinds of storage; `weir.backend` in the metadata says more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// The server's default file backend.
    #[default]
    File,
    /// The memory backend.
    Memory,
}

/// JetStream's stream compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamCompression {
    /// As it came.
    #[default]
    None,
    /// Compressed; Weir uses LZ4.
    S2,
}

/// When a publish is answered, as JetStream 2.12 has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistMode {
    /// As `weir.durability` says.
    #[default]
    Default,
    /// Before it is on disk.
    Async,
}

/// Limits that every consumer of a stream must keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumerLimits {
    /// The longest `inactive_threshold`.
    #[serde(skip_serializing_if = "is_zero")]
    pub inactive_threshold: Nanos,
    /// The largest `max_ack_pending`.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_ack_pending: i64,
}

/// Where replicas are put. Kept and echoed; a single server has nothing to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// The cluster's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Tags that each server must have.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub tags: Vec<String>,
    /// The preferred leader; refused in a stream's configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preferred: String,
}

/// A rewriting of subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectTransform {
    /// The subjects it takes.
    pub src: String,
    /// What they become.
    pub dest: String,
}

/// Stored messages published again under another subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Republish {
    /// The subjects it takes; all if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    /// What they become.
    pub dest: String,
    /// Whether payloads are left out.
    #[serde(skip_serializing_if = "is_false")]
    pub headers_only: bool,
}

/// Another stream's API, for a source or mirror beyond this account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalStream {
    /// The prefix of its API subjects.
    pub api: String,
    /// The prefix of the delivery subjects.
    pub deliver: String,
}

/// The consumer that a source or mirror uses (JetStream 2.14).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceConsumer {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it delivers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
}

/// A stream that another one copies from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamSource {
    /// The origin's name.
    pub name: String,
    /// The first sequence to copy.
    #[serde(skip_serializing_if = "is_zero")]
    pub opt_start_seq: Seq,
    /// The time of the first message to copy.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::json::rfc3339_pointer")]
    pub opt_start_time: Option<NanoTime>,
    /// The subjects to copy; all if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// The subjects to copy, each with its rewriting.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub subject_transforms: Vec<SubjectTransform>,
    /// Where the origin is, if not in this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// The consumer to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<SourceConsumer>,
}

/// A stream's configuration, in the order and with the omissions of nats-server 2.15's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamConfig {
    /// Its name: no white space, `.`, `*`, `>`, `/` or `\`; 255 bytes at most.
    pub name: String,
    /// Free text, 4096 bytes at most.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The subjects it captures.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub subjects: Vec<String>,
    /// When messages go.
    pub retention: Retention,
    /// Consumers at most; -1 for no limit.
    pub max_consumers: i64,
    /// Messages at most; -1 for no limit.
    pub max_msgs: i64,
    /// Bytes at most, counted as nats-server's file store does; -1 for no limit.
    pub max_bytes: i64,
    /// The age in nanoseconds at which a message goes; 0 for never.
    pub max_age: Nanos,
    /// Messages of one subject at most; -1 for no limit.
    pub max_msgs_per_subject: i64,
    /// Headers and payload of one message in bytes at most; -1 for no limit.
    pub max_msg_size: i64,
    /// What happens when it is full.
    pub discard: Discard,
    /// File or memory.
    pub storage: Storage,
    /// Copies; a single server keeps 1.
    pub num_replicas: i64,
    /// Publishers get no acknowledgement.
    #[serde(skip_serializing_if = "is_false")]
    pub no_ack: bool,
    /// How long a message id is remembered, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicate_window: Nanos,
    /// Where replicas are put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// The stream it is a copy of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSource>,
    /// The streams it copies from.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub sources: Vec<StreamSource>,
    /// Whether what it stores is compressed.
    pub compression: StreamCompression,
    /// The sequence of its first message; 0 for 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_seq: Seq,
    /// How subjects are rewritten before storing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_transform: Option<SubjectTransform>,
    /// What is published again once stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<Republish>,
    /// Whether direct get is answered.
    pub allow_direct: bool,
    /// Whether a mirror answers direct get for its origin.
    pub mirror_direct: bool,
    /// With [`Discard::New`]: a subject that is full refuses too.
    #[serde(skip_serializing_if = "is_false")]
    pub discard_new_per_subject: bool,
    /// Nothing may be added or removed any more.
    pub sealed: bool,
    /// Messages cannot be deleted one by one.
    pub deny_delete: bool,
    /// Messages cannot be purged.
    pub deny_purge: bool,
    /// `Nats-Rollup` is honoured.
    pub allow_rollup_hdrs: bool,
    /// What its consumers must keep to.
    pub consumer_limits: ConsumerLimits,
    /// `Nats-TTL` is honoured.
    pub allow_msg_ttl: bool,
    /// How long the marker of an aged-out subject stays.
    #[serde(skip_serializing_if = "is_zero")]
    pub subject_delete_marker_ttl: Nanos,
    /// `Nats-Incr` is honoured.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_msg_counter: bool,
    /// Atomic batches are accepted.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_atomic: bool,
    /// Scheduled messages are accepted.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_msg_schedules: bool,
    /// When publishes are answered.
    #[serde(skip_serializing_if = "is_default_persist")]
    pub persist_mode: PersistMode,
    /// Fast batches are accepted.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_batched: bool,
    /// Free keys and values, 128 KiB at most; `weir.*` chooses the storage.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub metadata: BTreeMap<String, String>,
}

fn is_default_persist(mode: &PersistMode) -> bool {
    *mode == PersistMode::Default
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            subjects: Vec::new(),
            retention: Retention::Limits,
            max_consumers: -1,
            max_msgs: -1,
            max_bytes: -1,
            max_age: 0,
            max_msgs_per_subject: -1,
            max_msg_size: -1,
            discard: Discard::Old,
            discard_new_per_subject: false,
            storage: Storage::File,
            num_replicas: 1,
            no_ack: false,
            duplicate_window: 0,
            placement: None,
            mirror: None,
            sources: Vec::new(),
            compression: StreamCompression::None,
            first_seq: 0,
            subject_transform: None,
            republish: None,
            allow_direct: false,
            mirror_direct: false,
            sealed: false,
            deny_delete: false,
            deny_purge: false,
            allow_rollup_hdrs: false,
            consumer_limits: ConsumerLimits::default(),
            allow_msg_ttl: false,
            subject_delete_marker_ttl: 0,
            allow_msg_counter: false,
            allow_atomic: false,
            allow_msg_schedules: false,
            allow_batched: false,
            persist_mode: PersistMode::Default,
            metadata: BTreeMap::new(),
        }
    }
}
