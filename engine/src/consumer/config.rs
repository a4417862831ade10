//! What a consumer's owner chooses for it. Field names, defaults and JSON form are JetStream's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{is_false, is_zero, nullable};
use crate::types::{NanoTime, Nanos, Seq};

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverPolicy {
    /// At the first message.
    #[default]
    All,
    /// At the last message that matches.
    Last,
    /// At the next message to come.
    New,
    /// At `opt_start_seq`.
    ByStartSequence,
    /// At the first message not older than `opt_start_time`.
    ByStartTime,
    /// With the last message of each subject.
    LastPerSubject,
}

/// Which messages must be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// None: what is delivered counts as acknowledged.
    #[default]
    None,
    /// An acknowledgement stands for all messages up to it.
    All,
    /// Each one.
    Explicit,
    /// By flow control (JetStream 2.14).
    FlowControl,
}

/// How fast old messages are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayPolicy {
    /// As fast as can be.
    #[default]
    Instant,
    /// With the pauses they came with.
    Original,
}

/// How pull requests of a consumer compete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityPolicy {
    /// In turn.
    #[default]
    None,
    /// Only when much is pending.
    Overflow,
    /// One client at a time.
    PinnedClient,
    /// By the priority each request states.
    Prioritized,
}

/// A consumer's configuration, in the order and with the omissions of nats-server 2.15's JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumerConfig {
    /// The durable name: without one the consumer is removed when idle.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub durable_name: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Free text, 4096 bytes at most.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it begins.
    pub deliver_policy: DeliverPolicy,
    /// The first sequence, for [`DeliverPolicy::ByStartSequence`].
    #[serde(skip_serializing_if = "is_zero")]
    pub opt_start_seq: Seq,
    /// The first time, for [`DeliverPolicy::ByStartTime`].
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::json::rfc3339_pointer")]
    pub opt_start_time: Option<NanoTime>,
    /// What must be acknowledged.
    pub ack_policy: AckPolicy,
    /// How long an acknowledgement may take, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub ack_wait: Nanos,
    /// Deliveries of one message at most; -1 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_deliver: i64,
    /// The waits between redeliveries, instead of `ack_wait`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub backoff: Vec<Nanos>,
    /// The one subject filter.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// Several subject filters.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub filter_subjects: Vec<String>,
    /// How fast.
    pub replay_policy: ReplayPolicy,
    /// Bits per second at most, for a push consumer; 0 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub rate_limit_bps: u64,
    /// The share of acknowledgements that is reported, such as `30%`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sample_freq: String,
    /// Pull requests waiting at most.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_waiting: i64,
    /// Unacknowledged messages at most; -1 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_ack_pending: i64,
    /// Whether the subscriber of a push consumer is asked to keep up.
    #[serde(skip_serializing_if = "is_false")]
    pub flow_control: bool,
    /// Payloads are left out.
    #[serde(skip_serializing_if = "is_false")]
    pub headers_only: bool,
    /// The largest batch of a pull request.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_batch: i64,
    /// The longest time of a pull request, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_expires: Nanos,
    /// The most bytes of a pull request.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_bytes: i64,
    /// Where a push consumer delivers; empty for a pull consumer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
    /// The queue group it delivers to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_group: String,
    /// The silence after which a push consumer sends a heartbeat, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub idle_heartbeat: Nanos,
    /// How long it may go unused before it is removed, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub inactive_threshold: Nanos,
    /// Copies; 0 for as many as the stream.
    pub num_replicas: i64,
    /// Its state need not survive.
    #[serde(skip_serializing_if = "is_false")]
    pub mem_storage: bool,
    /// Internal, for mirrors and sources.
    #[serde(skip_serializing_if = "is_false")]
    pub direct: bool,
    /// Internal, for sources.
    #[serde(skip_serializing_if = "is_false")]
    pub sourcing: bool,
    /// Free keys and values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub metadata: BTreeMap<String, String>,
    /// Delivers nothing before.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::json::rfc3339_option")]
    pub pause_until: Option<NanoTime>,
    /// The groups of pull requests.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub priority_groups: Vec<String>,
    /// How they compete.
    #[serde(skip_serializing_if = "is_no_priority")]
    pub priority_policy: PriorityPolicy,
    /// How long a client stays pinned, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority_timeout: Nanos,
}

fn is_no_priority(policy: &PriorityPolicy) -> bool {
    *policy == PriorityPolicy::None
}

impl ConsumerConfig {
    /// The filters, however they were given; empty for all subjects.
    pub fn filters(&self) -> Vec<&str> {
        if !self.filter_subject.is_empty() {
            vec![&self.filter_subject]
        } else {
            self.filter_subjects.iter().map(String::as_str).collect()
        }
    }

    /// Whether it delivers to a subject rather than on request.
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// Whether it stays when unused.
    pub fn is_durable(&self) -> bool {
        !self.durable_name.is_empty()
    }
}
