//! Why a directory of nats-server cannot be read at all.

use std::io;
use std::path::PathBuf;

/// Why a directory of nats-server cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It holds no streams of nats-server.
    #[error(
        "{} is not a store of nats-server: expected its store_dir (-sd), or the folder `jetstream` in it, with ACCOUNT/streams below",
        path.display()
    )]
    NotAStore {
        /// What was given.
        path: PathBuf,
    },
    /// It is encrypted: the key is in nats-server's configuration, and not here.
    #[error(
        "the store is encrypted ({} is there), and its key is not here: start nats-server with the key and take backups of its streams with `nats stream backup`, which are not encrypted",
        path.display()
    )]
    Encrypted {
        /// The file that holds an encrypted key.
        path: PathBuf,
    },
    /// It is one server's part of a cluster's.
    #[error(
        "the store is one server's part of a cluster's: {} holds {groups} Raft groups, which say what of it counts. Take backups from the running cluster with `nats stream backup`",
        path.display()
    )]
    Clustered {
        /// Where the groups are.
        path: PathBuf,
        /// How many there are.
        groups: usize,
    },
    /// A process has a file in it open.
    #[error("process {pid} has {} open: stop nats-server first", path.display())]
    InUse {
        /// The process.
        pid: u32,
        /// The file.
        path: PathBuf,
    },
    /// It was written by nats-server before 2.10, which kept deletions elsewhere.
    #[error(
        "{} was written by nats-server before 2.10: start nats-server 2.10 or later on the store once, and stop it again",
        path.display()
    )]
    TooOld {
        /// The index of a block, as they were before.
        path: PathBuf,
    },
    /// A directory or file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Error {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

/// The reader's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
