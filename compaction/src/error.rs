//! Why a tool could not do its work at all. Damage that it could work around is in its report instead.

use std::io;
use std::path::{Path, PathBuf};

use weir_engine::{Kind, ShardId};

/// What a server says of a backend's folder that is away.
pub(crate) const MISSING_FOLDER: &str = " is missing, in which ";

/// Why a tool gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store at that place.
    #[error(
        "{} is not a Weir store: expected a server's store directory (its -sd or store_dir), or the folder `weir` in it, with `segment/logs` below",
        path.display()
    )]
    NotAStore {
        /// What was given.
        path: PathBuf,
    },
    /// A server or another tool writes to the store.
    #[error("{0}")]
    InUse(weir_engine::Error),
    /// The store is encrypted, and no key that was given opens it.
    #[error("{0}")]
    Locked(weir_engine::Error),
    /// The store was written by a later version of Weir.
    #[error("{0}")]
    Newer(weir_engine::Error),
    /// The store has no stream of the wanted name.
    #[error("the store has no stream {wanted:?}; it has {}", list(there))]
    NoSuchStream {
        /// The name asked for.
        wanted: String,
        /// The names that there are.
        there: Vec<String>,
    },
    /// No stream of the store belongs to the wanted account.
    #[error("the store has no stream of an account {wanted:?}")]
    NoSuchAccount {
        /// The account asked for.
        wanted: String,
    },
    /// The store has no shard of the wanted number.
    #[error("the store has no shard {shard}; it has {}", weir_engine::words::count(*shards as u64, "shard"))]
    NoSuchShard {
        /// The number asked for.
        shard: ShardId,
        /// How many there are, from 0 on.
        shards: usize,
    },
    /// No stream that was looked at has a consumer of the wanted name.
    #[error("no stream has a consumer {wanted:?}")]
    NoSuchConsumer {
        /// The name asked for.
        wanted: String,
    },
    /// The store has no finding of the wanted key.
    #[error("the store has no finding {wanted:?} to settle; it has {}", list(there))]
    NoSuchFinding {
        /// The key asked for.
        wanted: String,
        /// The keys that there are.
        there: Vec<String>,
    },
    /// What a stream is to be imported from is nothing of the kind.
    #[error(
        "{} is nothing to import from: expected a folder with backup.json and stream.tar.s2, as `nats stream backup` or `weir export` makes it; its stream.tar.s2 alone, with --config; or lines of JSON, as `weir export --format jsonl` writes them",
        path.display()
    )]
    NotASource {
        /// What was given.
        path: PathBuf,
    },
    /// A table is not imported: it has no configuration, and nothing of consumers and removals.
    #[error("{} is a table (Parquet), which `weir export` writes for those who ask questions of it: no stream comes of one, but of what it writes without `--format`, or with `--format jsonl`", path.display())]
    ATable {
        /// What was given.
        path: PathBuf,
    },
    /// An archive does not say what its stream is configured as.
    #[error(
        "{} does not tell the stream's configuration: name the folder that it lies in with its backup.json, or a file with the configuration (--config)",
        path.display()
    )]
    NoConfig {
        /// The archive.
        path: PathBuf,
    },
    /// A source cannot be read, is cut short, or makes no sense.
    #[error("{}: {}", path.display(), words_of(error))]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// A file with a key cannot be read, or holds none.
    #[error("{}: {}", path.display(), words_of(error))]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// A stream would be kept in memory, and so end with the tool.
    #[error(
        "stream {name} is kept in memory, and would be gone when this ends: choose where it is kept with --backend segment or rocksdb"
    )]
    InMemory {
        /// The stream.
        name: String,
    },
    /// The store has a stream of that name.
    #[error(
        "the store has a stream {name} in account {account} already, which is left as it is: delete it first, or choose another name with --name, or another account with --account"
    )]
    NameTaken {
        /// The account.
        account: String,
        /// The stream.
        name: String,
    },
    /// The store does not take a stream.
    #[error("the store does not take stream {name} into account {account}: {error}")]
    Refused {
        /// The account.
        account: String,
        /// The stream.
        name: String,
        /// Why.
        error: weir_engine::Error,
    },
    /// A store of nats-server cannot be read.
    #[error("{0}")]
    Nats(#[from] crate::nats::Error),
    /// One name was given for several streams.
    #[error("--name is for one stream, and these are {streams}: choose one with --stream")]
    OneName {
        /// How many there are.
        streams: usize,
    },
    /// Several accounts have a stream of the wanted name.
    #[error(
        "the accounts {} each have a stream {name}: say which with --account",
        list(accounts)
    )]
    WhichAccount {
        /// The stream.
        name: String,
        /// The accounts.
        accounts: Vec<String>,
    },
    /// Nothing of a stream can be read.
    #[error("stream {name} is offline, and nothing of it can be read: {why}")]
    Offline {
        /// The stream.
        name: String,
        /// Why.
        why: String,
    },
    /// A stream that is to go on without its messages has them.
    #[error(
        "stream {wanted:?} is not offline, and keeps its messages; offline are {}",
        list(offline)
    )]
    NotOffline {
        /// The name asked for.
        wanted: String,
        /// Those that are.
        offline: Vec<String>,
    },
    /// What was to be written cannot be.
    #[error("{}: {error}", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Where a store is to be made something else is.
    #[error("{} is there, and not empty: name a folder that is not, or an empty one", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// What was to be written would lie in the store that it is made of.
    #[error(
        "{} is in the store's own folder {}: name a folder outside of it",
        path.display(),
        store.display()
    )]
    InTheStore {
        /// The folder or file that was named.
        path: PathBuf,
        /// The folder of the store.
        store: PathBuf,
    },
    /// A folder that this command would work in does not say that an earlier run made it.
    #[error(
        "{} is there, and does not say that an earlier run of this command left it: look what it is, remove it or move it away, and run the command again",
        path.display()
    )]
    NotLeftOver {
        /// The folder.
        path: PathBuf,
    },
    /// A store that was being made, and is not whole.
    #[error(
        "{} is a store that `weir` was making, and did not come to an end with: run that command again, which begins anew, or remove the folder",
        path.display()
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A running server is not there, or refuses something.
    #[error("{text}")]
    Server {
        /// What is wrong.
        text: String,
        /// What helps.
        remedy: &'static str,
    },
    /// A running server says that something is damaged, and so did not do what was asked.
    #[error("{text}")]
    ServerDamaged {
        /// What is wrong.
        text: String,
    },
    /// A running server says that a stream is offline.
    #[error("{text}")]
    ServerOffline {
        /// What it says.
        text: String,
    },
    /// What chooses messages makes no sense.
    #[error("{filter:?} is no filter of subjects: {why}")]
    Filter {
        /// The filter.
        filter: String,
        /// Why not.
        why: &'static str,
    },
    /// Messages of a stream are lost, be that settled or not, and a copy would not tell of them.
    #[error(
        "messages of stream {name} in account {account} cannot be read, and the copy would not tell of them: {}",
        weir_engine::words::numbered("sequence", lost)
    )]
    LostMessages {
        /// The account.
        account: String,
        /// The stream.
        name: String,
        /// Sequences: ranges, both ends included; not all, where there are many.
        lost: Vec<(u64, u64)>,
    },
    /// What everything else depends on cannot be read.
    #[error("{0}")]
    Unreadable(weir_engine::Error),
}

impl Error {
    /// Why a store cannot be opened.
    pub(crate) fn opening(error: weir_engine::Error) -> Self {
        match error.kind {
            Kind::Busy => Self::InUse(error),
            Kind::Unsupported => Self::Newer(error),
            Kind::Locked => Self::Locked(error),
            _ => Self::Unreadable(error),
        }
    }

    pub(crate) fn source(path: &Path, error: io::Error) -> Self {
        Self::Source {
            path: path.to_path_buf(),
            error,
        }
    }

    /// Whether what was to be read is damaged, and not only out of reach.
    pub fn is_damage(&self) -> bool {
        let broken = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
        match self {
            Self::Source { error, .. } => broken.contains(&error.kind()),
            Self::Offline { .. } | Self::ServerDamaged { .. } | Self::ServerOffline { .. } => true,
            _ => false,
        }
    }

    /// What is wrong, and what helps.
    pub fn with_remedy(&self) -> String {
        match self {
            // What is wrong is told with what helps.
            Self::NotAStore { .. }
            | Self::InUse(_)
            | Self::Locked(_)
            | Self::NotASource { .. }
            | Self::ATable { .. }
            | Self::NoConfig { .. }
            | Self::InMemory { .. }
            | Self::NameTaken { .. }
            | Self::OneName { .. }
            | Self::WhichAccount { .. }
            | Self::Offline { .. }
            | Self::NotEmpty { .. }
            | Self::InTheStore { .. }
            | Self::NotLeftOver { .. }
            | Self::Unfinished { .. } => self.to_string(),
            Self::Nats(error) if !matches!(error, crate::nats::Error::Io { .. }) => self.to_string(),
            _ => format!("{self}; {}", self.remedy()),
        }
    }

    /// What helps.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotAStore { .. } => {
                "name the server's store directory (its -sd or store_dir), or the folder `weir` in it"
            }
            Self::InUse(_) => "stop the server, or take a copy of its directory while it is stopped",
            Self::Locked(_) => "give the key that it is encrypted with: --key-file FILE, or in the variable WEIR_KEY",
            Self::Newer(_) => "take the `weir` of the version that wrote it",
            Self::NoSuchStream { .. } | Self::NoSuchAccount { .. } | Self::NoSuchConsumer { .. } => {
                "`weir inspect` lists what there is"
            }
            Self::NoSuchShard { .. } => "shards are numbered from 0 on; `weir inspect` lists their journals",
            Self::NoSuchFinding { .. } => "`weir inspect` shows the keys",
            Self::NotASource { .. } => {
                "name a folder with backup.json and stream.tar.s2, that archive with --config, or lines of JSON"
            }
            Self::ATable { .. } => "export the stream once more, as a backup or with --format jsonl, and import that",
            Self::NoConfig { .. } => "name the folder that has its backup.json, or a file with --config",
            Self::InMemory { .. } => "choose where it is kept with --backend segment or rocksdb",
            Self::NameTaken { .. } => "delete that stream first, or choose another name with --name",
            Self::OneName { .. } => "choose one stream with --stream",
            Self::WhichAccount { .. } => "say which with --account",
            Self::Offline { .. } => "`weir repair --dry-run` tells what can be done",
            Self::Unreadable(error) => match error.kind {
                Kind::Damaged | Kind::Poisoned => "`weir repair --dry-run` tells what can be done",
                Kind::Full => "make room on its disk, and run the command again",
                Kind::Unsupported => "take a `weir` that was built with that",
                Kind::Locked => "give the key that it is encrypted with: --key-file FILE, or in the variable WEIR_KEY",
                Kind::Rejected | Kind::Invalid => "name something else, or change it, and run the command again",
                Kind::Io | Kind::Closed | Kind::Busy | Kind::NotLeading => {
                    "see whether this user may read and write there, and what the system's log says of its disk"
                }
            },
            Self::NotEmpty { .. } => "name a folder that is not there, or an empty one",
            Self::InTheStore { .. } => "name a folder outside of the store",
            Self::NotLeftOver { .. } => "look what it is, remove it or move it away, and run the command again",
            Self::Unfinished { .. } => "run the command again that was broken off, or remove the folder",
            Self::ServerDamaged { text } if text.contains(MISSING_FOLDER) => {
                "put that folder back, and run the command again; if it is gone for good, stop the server: \
                 `weir repair --dry-run` tells what its streams had, and how they go on without it"
            }
            Self::ServerDamaged { .. } => {
                "delete the messages that it names, or export what there is; with the server stopped, `weir verify` tells more"
            }
            Self::ServerOffline { .. } => {
                "it says why; where that needs somebody, `weir inspect` and `weir repair --dry-run` tell more, with the server stopped"
            }
            Self::Filter { .. } => "filters are orders.eu, orders.* or orders.>",
            Self::KeyFile { error, .. } if error.kind() == io::ErrorKind::InvalidData => {
                "name a file with the key as text, as the server has it, and one end of a line behind it at most"
            }
            Self::Source { error, .. } | Self::KeyFile { error, .. } => of_reading(error),
            Self::Output { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there, or name another place",
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "name a place in a folder that is there",
                io::ErrorKind::AlreadyExists => "name what is not there, or move it away",
                _ => "name a place that this user may write to; what the system's log says of the disk may help",
            },
            Self::Refused { .. } => {
                "change that in its configuration (its backup.json, or --config), or remove what it collides with"
            }
            Self::Nats(error) => match error {
                crate::nats::Error::NotAStore { .. } => {
                    "name nats-server's store directory (its -sd or store_dir), or the folder `jetstream` in it"
                }
                crate::nats::Error::Encrypted { .. } | crate::nats::Error::Clustered { .. } => {
                    "take backups of its streams with `nats stream backup`, and import these"
                }
                crate::nats::Error::InUse { .. } => "stop nats-server first",
                crate::nats::Error::TooOld { .. } => "start nats-server 2.10 or later on it once, and stop it again",
                crate::nats::Error::Io { error, .. } => of_reading(error),
            },
            Self::LostMessages { .. } => {
                "first `weir repair`; what it leaves lost: delete the messages that a server still counts (`nats stream rmm`), and run the \
                 command again; where there are none to delete, `weir export --format jsonl` takes each stream without them, and \
                 `weir import --key-file` makes an encrypted store of that"
            }
            Self::NotOffline { .. } => "`weir repair --dry-run` names the streams that are offline",
            Self::Server { remedy, .. } => remedy,
        }
    }
}

/// What helps where something cannot be read.
fn of_reading(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            "name a file or folder that is there"
        }
        io::ErrorKind::PermissionDenied => "run the command as a user who may read it",
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            "take another copy of it, or make it anew"
        }
        _ => "see what the system's log says of its disk",
    }
}

fn words_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it was cut short".to_owned(),
        _ => error.to_string(),
    }
}

/// The tools' result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn list(names: &[String]) -> String {
    /// A store may have thousands.
    const SHOWN: usize = 20;
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is to be deleted where a folder is only away.
    #[test]
    fn what_helps_where_a_folder_is_away_is_to_put_it_back() {
        let of = |text: &str| {
            let text = text.to_owned();
            Error::ServerDamaged { text }.with_remedy()
        };
        let away = of(
            "stream S stays where it was: /srv/weir/rocksdb is missing, in which 2 streams have their messages (A, B)",
        );
        assert!(
            away.contains("put that folder back") && !away.contains("delete"),
            "{away}"
        );
        let damaged = of("stream S stays where it was: 1 message cannot be read, the first is 61");
        assert!(damaged.contains("delete the messages"), "{damaged}");
    }
}
