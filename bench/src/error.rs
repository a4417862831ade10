//! Everything that can end a load run.

use std::io;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, LoadError>;

/// Why a run ended. Each of these makes `weir-load` exit with a failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A socket, file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The server sent something that is not the NATS protocol, or `-ERR`.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The JetStream API answered with an error, or not at all.
    #[error("JetStream API: {0}")]
    Api(String),
    /// A message was lost, duplicated, reordered or changed.
    #[error("VERIFICATION FAILED: {0}")]
    Verify(String),
    /// The server process could not be started, or ended by itself.
    #[error("server: {0}")]
    Server(String),
    /// The command line asks for something impossible.
    #[error("usage: {0}")]
    Usage(String),
}

impl LoadError {
    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
