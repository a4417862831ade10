//! What a comparison found. The JSON form of these is an interface: fields are added, never renamed or removed.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use weir_engine::Seq;

/// Differing messages of a stream that are named.
pub const NAMED_MAX: usize = 20;

/// Two stores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The folder of the one.
    pub a: PathBuf,
    /// The folder of the other.
    pub b: PathBuf,
    /// Streams that the other does not have.
    pub only_in_a: Vec<Named>,
    /// Streams that the one does not have.
    pub only_in_b: Vec<Named>,
    /// The streams that both have.
    pub streams: Vec<StreamDiff>,
    /// How many things are wrong elsewhere in the one store, where one stream was asked for.
    pub elsewhere_in_a: u64,
    /// And in the other.
    pub elsewhere_in_b: u64,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Named {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
}

/// Something that the two say differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// What it is.
    pub field: String,
    /// What the one says.
    pub a: Value,
    /// What the other says.
    pub b: Value,
}

/// A stream that both have.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamDiff {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Where the configurations differ.
    pub configuration: Vec<Field>,
    /// Where they differ in how messages are kept: `weir.backend` and the like. That is no difference.
    pub kept: Vec<Field>,
    /// Where the states differ.
    pub state: Vec<Field>,
    /// Messages that are the same: sequence, time, subject, headers and body.
    pub same: u64,
    /// Messages that only the one has.
    pub only_in_a: u64,
    /// Messages that only the other has.
    pub only_in_b: u64,
    /// Messages that are not the same.
    pub different: u64,
    /// Messages that are damaged in one of them, or in both.
    pub damaged: u64,
    /// The first of all these.
    pub first: Vec<MessageDiff>,
    /// The consumers that differ.
    pub consumers: Vec<ConsumerDiff>,
    /// Why it could not be compared: it is offline in one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline: Option<String>,
}

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// In the one alone.
    OnlyInA,
    /// In the other alone.
    OnlyInB,
    /// In both, and not the same.
    Different,
    /// In both or one of them, and there is one that cannot be read.
    Damaged,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// When it was stored.
    Time,
    /// Its subject.
    Subject,
    /// Its headers.
    Headers,
    /// Its body.
    Body,
}

/// A message that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageDiff {
    /// Its sequence.
    pub seq: Seq,
    /// Where it is.
    pub what: Where,
    /// Its subject, if one of them can be read.
    pub subject: Option<String>,
    /// The parts that are not the same.
    pub parts: Vec<Part>,
}

/// A consumer that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConsumerDiff {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub what: Where,
    /// What the two say differently.
    pub fields: Vec<Field>,
}

impl Report {
    /// Whether the two are not the same.
    pub fn is_different(&self) -> bool {
        !self.only_in_a.is_empty() || !self.only_in_b.is_empty() || self.streams.iter().any(StreamDiff::is_different)
    }
}

impl StreamDiff {
    /// Whether the two are not the same.
    pub fn is_different(&self) -> bool {
        let messages = self.only_in_a + self.only_in_b + self.different + self.damaged;
        messages > 0
            || !self.configuration.is_empty()
            || !self.state.is_empty()
            || !self.consumers.is_empty()
            || self.offline.is_some()
    }
}
