//! The engine's one error: a kind that says what to do, and a message that says what happened.

use crate::reject::Rejection;

/// What the receiver of an [`Error`] can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request breaks a rule of streams or consumers; [`Error::rejection`] has the code. Change the request.
    Rejected,
    /// The caller broke a promise of the interface. Change the caller.
    Invalid,
    /// This backend cannot do that. Choose another.
    Unsupported,
    /// Stored bytes fail their checksum or make no sense. They are kept and not served; see the message for the
    /// place, and `weir verify`.
    Damaged,
    /// The operating system refused a read, a write or a sync. Look at the disk.
    Io,
    /// An earlier write or sync failed: the store must be opened anew before anything is written again.
    Poisoned,
    /// The store, stream or log is closed or gone.
    Closed,
    /// A bounded queue is full, or the process has too many files open. Nothing was changed. Try again later.
    Busy,
    /// The disk has no room for it. Nothing was written and nothing is lost: make room and try again.
    Full,
    /// The store is encrypted, and no key that was given opens it; or it is not, and one was given. Nothing was changed. Give the right one.
    Locked,
    /// Another replica decides now. What was asked may still come to be, or never: ask that one.
    NotLeading,
}

impl Kind {
    /// Whether what failed is the stream's log, or what memory has of the stream, and not just one request: the stream
    /// must be opened anew.
    pub(crate) fn breaks_stream(self) -> bool {
        match self {
            Self::Poisoned | Self::Closed | Self::Invalid => true,
            Self::Rejected
            | Self::Unsupported
            | Self::Damaged
            | Self::Io
            | Self::Busy
            | Self::Full
            | Self::Locked
            | Self::NotLeading => false,
        }
    }
}

/// Why something failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do about it.
    pub kind: Kind,
    /// What happened, where, and the remedy where there is one.
    pub message: String,
    /// The code and text for the wire, for [`Kind::Rejected`].
    pub rejection: Option<Rejection>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of that kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            rejection: None,
        }
    }

    /// The caller broke a promise.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The backend cannot do that.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// Stored bytes are not what they should be; the message names the place.
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, message)
    }

    /// An input or output error, with what was being done to which file.
    pub fn io(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::new(Kind::Io, format!("{doing}: {error}"))
    }

    /// Something that was there is gone or closed.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(Kind::Closed, message)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self {
            kind: Kind::Rejected,
            message: rejection.text.to_string(),
            rejection: Some(rejection),
        }
    }
}

impl From<crate::meta::Refusal> for Error {
    fn from(refusal: crate::meta::Refusal) -> Self {
        refusal.rejection().into()
    }
}
