//! Reads the store directory of a nats-server that is not running: its accounts, streams, messages and consumers, as
//! nats-server 2.10 to 2.15 write them. Nothing is written.
//!
//! ```no_run
//! let store = weir_compaction::nats::open("/var/lib/nats".as_ref())?;
//! for account in &store.accounts {
//!     for stream in &account.streams {
//!         let mut messages = stream.messages()?;
//!         println!("{}: {:?}", stream.name, messages.state());
//!         for message in &mut messages {
//!             println!("{} {}", message.seq, message.payload.len());
//!         }
//!         for finding in messages.findings().list() {
//!             println!("{finding}");
//!         }
//!     }
//! }
//! # Ok::<(), weir_compaction::nats::Error>(())
//! ```
//!
//! The messages are those that the server would serve after a restart on the directory, with these differences:
//! - Where it cuts a block at the first damaged record, what follows is read here. Nor is what nats-server 2.10 loses by
//!   itself lost here: messages around one that was erased in a packed block, and a stream with a first sequence, which
//!   it empties at every start until its first message is gone.
//! - It removes what is past its age or its own time to live. Whoever takes the messages up does that, by a clock.
//! - Of a stream with interest retention it removes what no consumer waits for any more.
//!
//! Every record is checked against its checksum, which covers neither where its subject ends nor a consumer's state. What
//! cannot be damaged unseen but by that is a [`Finding`].
//!
//! Streams in memory are not on disk. Streams that were encrypted are refused, and so is what a cluster wrote.

mod block;
mod blocks;
mod consumer;
mod error;
mod finding;
mod hash;
mod in_use;
mod index;
mod messages;
mod meta;
mod recover;
mod s2;
mod seqs;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use weir_engine::NanoTime;
use weir_engine::stream::StreamConfig;

pub use consumer::{Consumer, ConsumerState, Pending};
pub use error::{Error, Result};
pub use finding::{Finding, Findings, What};
pub use messages::{Messages, State};

use hash::HashKey;
use meta::Meta;

/// A store directory of nats-server.
#[derive(Clone, Debug)]
pub struct Store {
    /// The folder that has the accounts: `jetstream` in the server's `store_dir`.
    pub folder: PathBuf,
    /// Its accounts, by name.
    pub accounts: Vec<Account>,
    /// What is wrong with the descriptions of streams and consumers, and with the consumers' states. What is wrong with
    /// messages is told as they are read.
    pub findings: Findings,
}

/// An account and its streams.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name: `$G`, one from the configuration, or a public key.
    pub name: String,
    /// Its streams, by name.
    pub streams: Vec<Stream>,
}

/// A stream and its consumers.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its configuration, as the server wrote it.
    pub config_json: String,
    /// The same.
    pub config: StreamConfig,
    /// When it was made, in nanoseconds; 0 if that is not known.
    pub created: NanoTime,
    /// Its consumers, by name.
    pub consumers: Vec<Consumer>,
    folder: PathBuf,
}

impl Stream {
    /// Its messages. Where the server was killed this reads all of them twice before, or three times.
    ///
    /// # Errors
    /// The folder cannot be read, or is not one that this program reads.
    pub fn messages(&self) -> Result<Messages> {
        Ok(Messages::new(
            recover::recover(&self.folder, &self.config)?,
            &self.config,
        ))
    }

    fn read(folder: &Path, name: &str, findings: &mut Findings) -> Result<Option<Self>> {
        refuse_key(folder)?;
        let Some(meta) = Meta::<StreamConfig>::read(folder, &HashKey::of_stream(name), findings) else {
            return Ok(None);
        };
        let mut consumers = Vec::new();
        let obs = folder.join("obs");
        for consumer in names(&obs)? {
            let folder = obs.join(&consumer);
            refuse_key(&folder)?;
            consumers.extend(Consumer::read(&folder, name, &consumer, findings));
        }
        Ok(Some(Self {
            name: name.to_owned(),
            config_json: meta.json,
            config: StreamConfig {
                name: name.to_owned(),
                ..meta.config
            },
            created: meta.created,
            consumers,
            folder: folder.to_owned(),
        }))
    }
}

/// Opens the store in a server's `store_dir`, or in the folder `jetstream` below it. Reads all descriptions and
/// consumers, and no messages.
///
/// # Errors
/// There is no store, or it is encrypted, a cluster's, or in use, as far as that can be told.
pub fn open(path: &Path) -> Result<Store> {
    let below = path.join("jetstream");
    let folder = match below.is_dir() {
        true => below,
        false => path.to_owned(),
    };
    refuse_cluster(&folder)?;
    let mut accounts = Vec::new();
    let mut findings = Findings::default();
    let mut is_store = false;
    for account in names(&folder)? {
        let streams_folder = folder.join(&account).join("streams");
        if !streams_folder.is_dir() {
            continue;
        }
        is_store = true;
        let mut streams = Vec::new();
        for stream in names(&streams_folder)? {
            streams.extend(Stream::read(&streams_folder.join(&stream), &stream, &mut findings)?);
        }
        accounts.push(Account { name: account, streams });
    }
    if !is_store {
        return Err(Error::NotAStore { path: path.to_owned() });
    }
    if let Some((pid, path)) = in_use::user_of(&folder) {
        return Err(Error::InUse { pid, path });
    }
    Ok(Store {
        folder,
        accounts,
        findings,
    })
}

/// The folders in a folder, by name. Those with a point in front are what is left of deleted ones.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if entry.path().is_dir() {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn refuse_key(folder: &Path) -> Result<()> {
    let path = folder.join("meta.key");
    match path.exists() {
        true => Err(Error::Encrypted { path }),
        false => Ok(()),
    }
}

fn refuse_cluster(folder: &Path) -> Result<()> {
    let path = folder.join("$SYS").join("_js_");
    match names(&path)?.len() {
        0 => Ok(()),
        groups => Err(Error::Clustered { path, groups }),
    }
}

#[cfg(test)]
mod tests;
