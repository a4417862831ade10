//! Importing: a stream comes into a store from a backup that was made elsewhere, without a server.
//!
//! Nothing of it is seen before all of it is there and on disk; whatever breaks off before leaves nothing behind, a crash at the
//! next start of whoever opens the store.

mod backup;
mod lines;
mod nats;
mod source;
mod target;
mod wanted;

use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_engine::Seq;
use weir_engine::embed::{EmbeddedStream, GLOBAL_ACCOUNT};
use weir_engine::stream::settings::BackendKind;

use crate::error::{Error, Result};
pub(crate) use lines::Lines as LineSource;
pub use nats::{FromNats, NatsOptions, NatsStream, import_nats};
use source::Source;
pub(crate) use source::{ARCHIVE, DESCRIPTION};
pub use target::Target;
pub(crate) use target::open_still;
pub use wanted::Wanted;

/// Messages that are handed on at a time.
const MESSAGES: usize = 1000;
/// Bytes of messages that are handed on at a time, give or take one.
const BYTES: usize = 1 << 20;

/// How a stream is imported.
#[derive(Clone, Debug)]
pub struct Options {
    /// The account that it belongs to.
    pub account: String,
    /// What is different from what the source says.
    pub wanted: Wanted,
    /// A file with the configuration (JSON) instead of the source's.
    pub config: Option<PathBuf>,
}

impl Default for Options {
    /// Into the account of clients that name none, as the source says.
    fn default() -> Self {
        Self {
            account: GLOBAL_ACCOUNT.to_owned(),
            wanted: Wanted::default(),
            config: None,
        }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes of the source that were read.
    pub done: u64,
    /// Bytes that it has.
    pub of: u64,
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The stream's account.
    pub account: String,
    /// Its name.
    pub stream: String,
    /// Where its messages are.
    pub backend: BackendKind,
    /// Messages that the source has.
    pub read: u64,
    /// Messages that the stream has: its limits count, and messages whose TTL is over are left out.
    pub messages: u64,
    /// Their bytes, as limits count them.
    pub bytes: u64,
    /// The first sequence.
    pub first_seq: Seq,
    /// The last sequence.
    pub last_seq: Seq,
    /// The consumers, by name.
    pub consumers: Vec<String>,
    /// Whether there was no store, and one was made.
    pub new_store: bool,
}

/// Imports the stream of a source into the store at a path, which is made if there is none.
///
/// # Errors
/// If the source cannot be read or makes no sense; if the store is no store, or in use; if the store does not take the stream:
/// its name or its subjects are taken, or it breaks a rule. Then the store is as before.
pub fn import(path: &Path, source: &Path, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Imported> {
    let source = Source::open(source, options.config.as_deref())?;
    let config = options.wanted.applied(source.config().clone())?;
    let target = Target::open(path)?;
    let imported = match source {
        Source::Backup(backup) => backup.fill(&target, &options.account, config, progress),
        Source::Lines(lines) => lines.fill(&target, &options.account, config, progress),
    };
    target.close();
    imported
}

/// What became of a stream that is whole.
fn told(target: &Target, stream: &EmbeddedStream, account: &str, name: &str, filled: Filled) -> Result<Imported> {
    let state = stream.state().map_err(Error::Unreadable)?;
    let entry = target.store().catalogue().get(account, name);
    Ok(Imported {
        account: account.to_owned(),
        stream: name.to_owned(),
        backend: entry.map_or(BackendKind::default(), |entry| entry.settings.backend),
        read: filled.read,
        messages: state.messages,
        bytes: state.bytes,
        first_seq: state.first_seq,
        last_seq: state.last_seq,
        consumers: filled.consumers,
        new_store: target.is_new(),
    })
}

/// What went into a stream.
struct Filled {
    read: u64,
    consumers: Vec<String>,
}
