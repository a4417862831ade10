//! Why a peer's bytes are not what servers say to each other.

use thiserror::Error;

use super::Verb;

/// Bytes that are none of a link's. Every one of these ends the connection; the parser is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinkError {
    /// A verb that such a link does not have, a verb without its blank, or a message that does not end in CR LF where its size says.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// The arguments of a control line are longer than they may be.
    #[error("maximum control line exceeded")]
    ControlLine,
    /// A message is announced that is larger than it may be.
    #[error("maximum payload exceeded: {size} vs {max}")]
    Payload {
        /// Announced size in bytes.
        size: usize,
        /// Allowed size in bytes.
        max: usize,
    },
    /// Too few or too many arguments.
    #[error("{0:?}: wrong number of arguments")]
    Arguments(Verb),
    /// Queues are named, and neither `+` nor `|` stands in front of them.
    #[error("{0:?}: bad or missing reply indicator")]
    Indicator(Verb),
    /// A size that is negative, not a number, or has more than nine digits.
    #[error("{0:?}: bad or missing size")]
    Size(Verb),
    /// A header block larger than the message that contains it.
    #[error("{0:?}: header size is larger than the total size")]
    HeaderSize(Verb),
}

impl LinkError {
    /// The text that nats-server 2.15.1 sends in `-ERR '…'` before it closes the connection. `None`: it closes without a word.
    #[must_use]
    pub fn reply(&self) -> Option<&'static str> {
        match self {
            Self::UnknownOperation => Some("Unknown Protocol Operation"),
            Self::ControlLine => Some("maximum control line exceeded"),
            Self::Payload { .. } => Some("Maximum Payload Violation"),
            Self::Arguments(_) | Self::Indicator(_) | Self::Size(_) | Self::HeaderSize(_) => None,
        }
    }
}
