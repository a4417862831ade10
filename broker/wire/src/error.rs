//! Why a peer's bytes are not the protocol, and what nats-server answers to it.

use thiserror::Error;

/// The operation a control line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `CONNECT {json}`
    Connect,
    /// `INFO {json}`
    Info,
    /// `PUB subject [reply] size`
    Pub,
    /// `HPUB subject [reply] header-size total-size`
    Hpub,
    /// `SUB subject [queue] sid`
    Sub,
    /// `UNSUB sid [max]`
    Unsub,
    /// `MSG subject sid [reply] size`
    Msg,
    /// `HMSG subject sid [reply] header-size total-size`
    Hmsg,
    /// `PING`
    Ping,
    /// `PONG`
    Pong,
    /// `+OK`
    Ok,
    /// `-ERR 'text'`
    Err,
}

/// Bytes that are not the protocol. Every one of these ends the connection; the parser is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A verb nobody knows, a verb without its blank, or a message body that does not end in CR LF where its size says.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// The arguments of a control line are longer than `max_control_line` bytes.
    #[error("maximum control line exceeded")]
    ControlLine,
    /// A message is announced that is larger than `max_payload`.
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
    /// A size that is missing, negative, not a number, or has more than nine digits.
    #[error("{0:?}: bad or missing size")]
    Size(Verb),
    /// A header block larger than the message that contains it.
    #[error("{0:?}: header size is larger than the total size")]
    HeaderSize(Verb),
}

impl ParseError {
    /// The text nats-server 2.15.1 sends in `-ERR '…'` before it closes the connection. `None`: it closes without a word.
    #[must_use]
    pub fn reply(&self) -> Option<&'static str> {
        match self {
            Self::UnknownOperation => Some("Unknown Protocol Operation"),
            Self::ControlLine => Some("maximum control line exceeded"),
            Self::Payload { .. } => Some("Maximum Payload Violation"),
            Self::Arguments(_) | Self::Size(_) | Self::HeaderSize(_) => None,
        }
    }
}
