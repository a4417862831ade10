//! The scenarios, one module each.

pub mod connections;
pub mod core;
pub mod get;
pub mod idle;
pub mod publish;
pub mod pull;
pub mod request;
pub mod stream;
pub mod subjects;

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::LoadArgs;
use crate::conn::{Conn, RECEIVE_BYTES};
use crate::error::Result;
use crate::measure::Outcome;
use crate::way::Entrance;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Core NATS, one publisher, one subscriber
    Pubsub,
    /// Core NATS, one publisher, several subscribers
    Fanout,
    /// Request and reply, one at a time
    Request,
    /// Publishes to a stream, each acknowledged
    Publish,
    /// A pull consumer with explicit acks over a stream that was filled before
    Pull,
    /// Direct gets of the newest message of a subject, as of a key-value bucket
    Get,
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
            Self::Request => "request",
            Self::Publish => "publish",
            Self::Pull => "pull",
            Self::Get => "get",
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
            Self::Request => 30_000,
            Self::Publish => 400_000,
            Self::Pull => 200_000,
            Self::Get => 400_000,
            Self::Subjects => 1_000_000,
            Self::Connections => 2_000,
            Self::Idle | Self::IdleJs => 0,
        }
    }

    /// Whether the server must have JetStream on.
    pub fn needs_jetstream(self) -> bool {
        match self {
            Self::Publish | Self::Pull | Self::Get | Self::Subjects | Self::IdleJs => true,
            Self::Pubsub | Self::Fanout | Self::Request | Self::Connections | Self::Idle => false,
        }
    }

    /// What its `messages` are.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            _ => "messages",
        }
    }

    /// What the latency of the report is, if there is one.
    pub fn latency_of(self) -> Option<&'static str> {
        match self {
            Self::Pubsub | Self::Fanout => Some("publish to receipt at full load, queues included"),
            Self::Request => Some("request to reply"),
            Self::Publish | Self::Subjects => Some("publish to acknowledgement"),
            Self::Pull => Some("pull request to the last message of its batch"),
            Self::Get => Some("request to the message"),
            Self::Connections => Some("from the socket to the first PONG, several at a time"),
            Self::Idle | Self::IdleJs => None,
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
            Self::Request => request::run(target, load, messages),
            Self::Publish => publish::run(target, load, messages),
            Self::Pull => pull::run(target, load, messages),
            Self::Get => get::run(target, load, messages),
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
