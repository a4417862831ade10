//! The scenarios, one module each.

pub mod asking;
pub mod bucket;
pub mod connections;
pub mod core;
pub mod delete;
pub mod drain;
pub mod follow;
pub mod get;
pub mod idle;
pub mod kv_put;
pub mod object_get;
pub mod object_put;
pub mod objects;
pub mod publish;
pub mod publisher;
pub mod pull;
pub mod purge;
pub mod request;
pub mod stream;
pub mod subjects;
pub mod watch;
pub mod work_queue;

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::LoadArgs;
use crate::conn::{Conn, RECEIVE_BYTES};
use crate::error::Result;
use crate::measure::Outcome;
use crate::payload;
use crate::way::Entrance;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Core NATS, one publisher, one subscriber
    Pubsub,
    /// Core NATS, one publisher, several subscribers
    Fanout,
    /// Core NATS, one publisher, nobody who subscribes
    Pub,
    /// Request and reply, one at a time
    Request,
    /// Publishes to a stream, each acknowledged
    Publish,
    /// A pull consumer with explicit acks over a stream that was filled before
    Pull,
    /// Direct gets of the newest message of a subject, as of a key-value bucket
    Get,
    /// Puts into a key-value bucket that keeps the newest value of each key
    KvPut,
    /// Watches of a whole key-value bucket, each until it has all values
    Watch,
    /// One publishes to a work queue, another one takes messages from it and acks them, which removes them
    WorkQueue,
    /// Deletions of single messages
    Delete,
    /// The purge of a stream
    Purge,
    /// Objects that are put into an object store, in chunks of 128 KiB
    ObjectPut,
    /// Objects that are read from an object store
    ObjectGet,
    /// One message on each of very many subjects of a stream
    Subjects,
    /// Connections that are opened and then do nothing
    Connections,
    /// A server that does nothing, without JetStream
    Idle,
    /// A server that does nothing, with JetStream on
    IdleJs,
}

impl Scenario {
    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pubsub => "pubsub",
            Self::Fanout => "fanout",
            Self::Pub => "pub",
            Self::Request => "request",
            Self::Publish => "publish",
            Self::Pull => "pull",
            Self::Get => "get",
            Self::KvPut => "kv-put",
            Self::Watch => "watch",
            Self::WorkQueue => "work-queue",
            Self::Delete => "delete",
            Self::Purge => "purge",
            Self::ObjectPut => "object-put",
            Self::ObjectGet => "object-get",
            Self::Subjects => "subjects",
            Self::Connections => "connections",
            Self::Idle => "idle",
            Self::IdleJs => "idle-js",
        }
    }

    /// Messages when the command line does not say.
    pub fn default_messages(self) -> u64 {
        match self {
            Self::Pubsub => 2_000_000,
            Self::Fanout => 300_000,
            Self::Pub => 5_000_000,
            Self::Request => 30_000,
            Self::Publish | Self::KvPut | Self::Get => 400_000,
            Self::Pull | Self::WorkQueue => 200_000,
            Self::Watch => 500_000,
            Self::Delete => 100_000,
            Self::ObjectPut | Self::ObjectGet => 4096,
            Self::Purge | Self::Subjects => 1_000_000,
            Self::Connections => 2_000,
            Self::Idle | Self::IdleJs => 0,
        }
    }

    /// Whether the server must have JetStream on.
    pub fn needs_jetstream(self) -> bool {
        match self {
            Self::Publish | Self::Pull | Self::Get | Self::KvPut | Self::Watch | Self::WorkQueue => true,
            Self::Delete | Self::Purge | Self::ObjectPut | Self::ObjectGet | Self::Subjects | Self::IdleJs => true,
            Self::Pubsub | Self::Fanout | Self::Pub | Self::Request | Self::Connections | Self::Idle => false,
        }
    }

    /// What its `messages` are.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ObjectPut | Self::ObjectGet => "chunks",
            _ => "messages",
        }
    }

    /// The smallest body that it can check, in bytes.
    pub fn least_size(self) -> usize {
        match self {
            Self::Pub => 1,
            _ => payload::MIN_BYTES,
        }
    }

    /// What the latency of the report is, if there is one.
    pub fn latency_of(self) -> Option<&'static str> {
        match self {
            Self::Pubsub | Self::Fanout => Some("publish to receipt at full load, queues included"),
            Self::Request => Some("request to reply"),
            Self::Publish | Self::KvPut | Self::Subjects => Some("publish to acknowledgement"),
            Self::Watch => Some("from the watch to the last value"),
            Self::WorkQueue => Some("publish to receipt at full load, queues included"),
            Self::Delete => Some("request to the answer that the message is gone"),
            Self::Purge => Some("request to the answer that all messages are gone"),
            Self::ObjectPut => Some("first chunk of an object to the acknowledgement of what it is called"),
            Self::ObjectGet => Some("from what is asked of an object to its last chunk"),
            Self::Pull => Some("pull request to the last message of its batch"),
            Self::Get => Some("request to the message"),
            Self::Connections => Some("from the socket to the first PONG, several at a time"),
            Self::Pub | Self::Idle | Self::IdleJs => None,
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Everything that makes the figure worthless, above all a message that was lost, doubled,
    /// reordered or changed.
    pub fn run(self, target: Target, load: &LoadArgs) -> Result<Outcome> {
        let messages = load.messages_of(self);
        if let Some(subject) = target.entrance.denied {
            target.connect()?.expect_denied(subject)?;
        }
        match self {
            Self::Pubsub => core::run(target, load, messages, 1),
            Self::Fanout => core::run(target, load, messages, load.subscribers),
            Self::Pub => publisher::run(target, load, messages),
            Self::Request => request::run(target, load, messages),
            Self::Publish => publish::run(target, load, messages),
            Self::Pull => pull::run(target, load, messages),
            Self::Get => get::run(target, load, messages),
            Self::KvPut => kv_put::run(target, load, messages),
            Self::Watch => watch::run(target, load, messages),
            Self::WorkQueue => work_queue::run(target, load, messages),
            Self::Delete => delete::run(target, load, messages),
            Self::Purge => purge::run(target, load, messages),
            Self::ObjectPut => object_put::run(target, load, messages),
            Self::ObjectGet => object_get::run(target, load, messages),
            Self::Subjects => subjects::run(target, load, messages),
            Self::Connections => connections::run(target, messages),
            Self::Idle | Self::IdleJs => idle::run(target),
        }
    }
}

/// The server of a run.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens, and how one comes in.
    pub entrance: Entrance,
    /// Its process, when it is known.
    pub pid: Option<u32>,
    /// How long to wait for anything.
    pub patience: Duration,
}

impl Target {
    /// A new connection.
    ///
    /// # Errors
    /// As [`Conn::connect`].
    pub fn connect(&self) -> Result<Conn> {
        Conn::connect(&self.entrance, RECEIVE_BYTES, self.patience)
    }
}
