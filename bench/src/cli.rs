//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::error::{LoadError, Result};
use crate::scenario::Scenario;
use crate::server::ServerSpec;
use crate::way::{Entrance, Way};
use crate::wire::tls;

/// Measures NATS servers over raw sockets and checks that nothing was lost.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The two ways to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start servers, run every scenario on each in turn, and compare the medians
    Compare(CompareArgs),
    /// Drive a server that is already running
    Run(RunArgs),
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Server to start: NAME=PROGRAM[,ARGUMENT..][,conf:FILE][,only:SCENARIO..]; the first one is
    /// compared to the others
    #[arg(long = "server", required = true, value_name = "SPEC")]
    pub servers: Vec<ServerSpec>,
    /// How often every scenario is run on every server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Scenarios to run; all when none is given
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    pub only: Vec<Scenario>,
    /// Ways by which clients come in; each scenario is run by each of them
    #[arg(long, value_delimiter = ',', num_args = 1.., default_value = "plain")]
    pub over: Vec<Way>,
    /// Also write everything, every round included, to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Folder for the stores of the servers; should be on a real disk
    #[arg(long, value_name = "DIR")]
    pub store_root: Option<PathBuf>,
    /// The load
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where the server listens: [nats|tls|ws://][USER:PASSWORD@]HOST:PORT
    #[arg(long, default_value = "127.0.0.1:4222")]
    pub url: Entrance,
    /// Its process id, for processor time and memory
    #[arg(long)]
    pub pid: Option<u32>,
    /// Also write the result to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What to run
    pub scenario: Scenario,
    /// The load
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Storage backend of the streams that a scenario creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// `storage: file`, metadata `weir.backend: segment`
    Segment,
    /// `storage: file`, metadata `weir.backend: rocksdb`
    Rocksdb,
    /// `storage: memory`, metadata `weir.backend: memory`
    Memory,
}

/// `N`, or `SCENARIO=N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MessageCount {
    scenario: Option<Scenario>,
    count: u64,
}

impl FromStr for MessageCount {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (scenario, count) = match text.split_once('=') {
            Some((name, count)) => (Some(Scenario::from_str(name, true)?), count),
            None => (None, text),
        };
        let count = count.replace('_', "").parse().map_err(|e| format!("{count}: {e}"))?;
        if count == 0 {
            return Err("at least one message".into());
        }
        Ok(Self { scenario, count })
    }
}

/// What the scenarios send. The same for every server of a comparison.
#[derive(Debug, Clone, Args, Serialize)]
pub struct LoadArgs {
    /// Messages per run: N for every scenario, or SCENARIO=N; each scenario has its own default
    #[arg(long, value_name = "[SCENARIO=]N")]
    pub messages: Vec<MessageCount>,
    /// pubsub, fanout, pub, request, get, delete, publish and kv-put stop after this time even when messages are left
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Size of a body in bytes, at least 20, or 1 for pub alone
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// Unacknowledged publishes per connection, or unanswered gets and deletions [default: 512; 1024 for subjects, 64 for
    /// get, kv-put, delete and object-put]
    #[arg(long, value_name = "N")]
    pub outstanding: Option<usize>,
    /// Connections that publish to the stream, in `publish`
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub connections: u32,
    /// Messages per pull request
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// Subscribers in `fanout`
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub subscribers: u32,
    /// Backend of the streams [default: the server's; rocksdb for subjects]
    #[arg(long)]
    pub backend: Option<Backend>,
    /// Further stream metadata, such as weir.durability=os
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// Who signed the certificate of a server that asks for TLS, in PEM; it is to be one of `localhost`
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Seconds of silence after which a run has failed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub patience: u64,
}

impl LoadArgs {
    /// Messages of a scenario: the last option that names it, or names none.
    pub fn messages_of(&self, scenario: Scenario) -> u64 {
        let fits = |m: &&MessageCount| m.scenario.is_none_or(|s| s == scenario);
        self.messages
            .iter()
            .rev()
            .find(fits)
            .map_or(scenario.default_messages(), |m| m.count)
    }

    /// See [`LoadArgs::patience`].
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    /// See [`LoadArgs::seconds`].
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Checks what the parser of the command line does not.
    ///
    /// # Errors
    /// [`LoadError::Usage`].
    pub fn validate(&self, scenarios: &[Scenario]) -> Result<()> {
        let least = scenarios.iter().map(|s| s.least_size()).max().unwrap_or(1);
        if !(least..=8 << 20).contains(&self.size) {
            return Err(LoadError::Usage(format!("--size {}: {least} to 8 MiB", self.size)));
        }
        if self.outstanding == Some(0) {
            return Err(LoadError::Usage("--outstanding 0: at least 1".into()));
        }
        if let Some(file) = &self.tls_ca {
            tls::trust_file(file)?;
        }
        Ok(())
    }
}

fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
