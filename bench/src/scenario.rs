//! The scenarios, one module each.

pub mod core;
pub mod idle;
pub mod publish;
pub mod pull;
pub mod request;
pub mod stream;
pub mod subjects;

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::LoadArgs;
use crate::conn::Conn;
use crate::error::Result;
use crate::measure::Outcome;

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
    /// One message on each of very many subjects of a stream
    Subjects,
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
            Self::Subjects => "subjects",
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
            Self::Subjects => 1_000_000,
            Self::Idle | Self::IdleJs => 0,
        }
    }

    /// Whether the server must have JetStream on.
    pub fn needs_jetstream(self) -> bool {
        match self {
            Self::Publish | Self::Pull | Self::Subjects | Self::IdleJs => true,
            Self::Pubsub | Self::Fanout | Self::Request | Self::Idle => false,
        }
    }

    /// What the latency of the report is, if there is one.
    pub fn latency_of(self) -> Option<&'static str> {
        match self {
            Self::Pubsub | Self::Fanout => Some("publish to receipt at full load, queues included"),
            Self::Request => Some("request to reply"),
            Self::Publish | Self::Subjects => Some("publish to acknowledgement"),
            Self::Pull => Some("pull request to the last message of its batch"),
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
        match self {
            Self::Pubsub => core::run(target, load, messages, 1),
            Self::Fanout => core::run(target, load, messages, load.subscribers),
            Self::Request => request::run(target, load, messages),
            Self::Publish => publish::run(target, load, messages),
            Self::Pull => pull::run(target, load, messages),
            Self::Subjects => subjects::run(target, load, messages),
            Self::Idle | Self::IdleJs => idle::run(target),
        }
    }
}

/// The server of a run.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Where it listens.
    pub addr: SocketAddr,
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
        Conn::connect(self.addr, self.patience)
    }
}
