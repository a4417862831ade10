//! Why a connection ended.

use std::fmt;

/// Why a connection ended; prints as nats-server names it in its log and in `/connz?state=closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    ClientClosed,
    /// No CONNECT within the time for it.
    AuthenticationTimeout,
    /// There was no TLS handshake, or it went wrong.
    TlsHandshakeError,
    /// Wrong credentials, or anything else before them.
    AuthenticationFailure,
    /// More is pending for it than `max_pending`.
    SlowConsumerPendingBytes,
    /// It did not take anything within `write_deadline`.
    SlowConsumerWriteDeadline,
    /// The operating system refused a write.
    WriteError,
    /// The operating system refused a read.
    ReadError,
    /// It sent `-ERR`.
    ParseError,
    /// It did not answer PINGs.
    StaleConnection,
    /// What it sent is not the protocol.
    ProtocolViolation,
    /// CONNECT asked for a protocol version that does not exist.
    BadClientProtocolVersion,
    /// CONNECT asked for no-responders without headers.
    NoRespondersRequiresHeaders,
    /// One connection too many for its account.
    MaxAccountConnectionsExceeded,
    /// Its user, or its account, has expired.
    AuthenticationExpired,
    /// A proxy spoke for it that is not trusted.
    ProxyNotTrusted,
    /// No proxy spoke for it, and one has to.
    ProxyRequired,
    /// Its user was revoked.
    Revocation,
    /// It may have no subscription.
    MaxSubscriptionsExceeded,
    /// One connection too many.
    MaxConnectionsExceeded,
    /// It announced a message that is too large.
    MaxPayloadExceeded,
    /// It sent a line that is too long.
    MaxControlLineExceeded,
    /// The server goes down.
    ServerShutdown,
    /// Somebody asked the server to close it.
    Kicked,
}

impl CloseReason {
    /// True if bytes that are already pending for the client must not be waited for.
    pub(crate) fn is_abrupt(self) -> bool {
        matches!(
            self,
            Self::ClientClosed
                | Self::TlsHandshakeError
                | Self::SlowConsumerPendingBytes
                | Self::SlowConsumerWriteDeadline
                | Self::WriteError
                | Self::ReadError
                | Self::ParseError
        )
    }

    /// True if it did not read fast enough.
    #[must_use]
    pub fn is_slow(self) -> bool {
        matches!(self, Self::SlowConsumerPendingBytes | Self::SlowConsumerWriteDeadline)
    }

    /// How nats-server names it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientClosed => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::TlsHandshakeError => "TLS Handshake Failure",
            Self::AuthenticationFailure => "Authentication Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::MaxAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Self::AuthenticationExpired => "Authentication Expired",
            Self::ProxyNotTrusted => "Proxy Not Trusted",
            Self::ProxyRequired => "Proxy Required",
            Self::Revocation => "Credentials Revoked",
            Self::MaxSubscriptionsExceeded => "Maximum Subscriptions Exceeded",
            Self::MaxConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaxPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaxControlLineExceeded => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::Kicked => "Kicked",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
