//! The broker's one error: what failed, in words that say where to look.

use std::io;

/// Why the server could not be started, or could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket could not be bound: the port is in use, privileged, or the address is not this machine's.
    #[error("Error listening on port: {address}, \"{source}\"")]
    Listen {
        /// `host:port` as configured.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The same for the monitoring port.
    #[error("Can't start monitoring: can't listen to the monitor port: {address}: {source}")]
    Monitor {
        /// `host:port` as configured.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file the server writes beside its data (log, pid, ports) cannot be written.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried: `write`, `open`, `remove`.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The options contradict each other, or ask for what this server does not have.
    #[error("{0}")]
    Options(String),
    /// The subject or filter is malformed, or the interest graph is full.
    #[error("subscription to \"{subject}\": {source}")]
    Subscribe {
        /// The filter, made printable.
        subject: String,
        /// Why.
        source: weir_subject::SublistError,
    },
    /// JetStream could not start: the store directory is not writable, is locked by another server, or damaged.
    #[error("Can't start JetStream: {0}")]
    Storage(#[from] weir_engine::Error),
    /// The operating system refused something else.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The broker's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
