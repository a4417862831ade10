//! The handshake, and what goes wrong with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, ServerConfig, ServerConnection};
use tokio::time::{sleep, timeout};

use super::incoming::SCRATCH;
use super::{Mode, Raw, Socket, TlsFacts, peer};
use crate::conf::options::Tls as TlsOptions;
use crate::limits::{TLS_HANDSHAKE_MAX, TLS_HANDSHAKE_WITH_CERTIFICATE_MAX, TLS_READ_MIN};

/// What a handshake record begins with.
const HANDSHAKE: u8 = 0x16;

/// Why there is no TLS on a connection. Prints as nats-server says it, where it has words for it.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// It took too long.
    Time,
    /// The socket ended, or failed.
    Socket(io::Error),
    /// The first bytes are not those of a handshake: somebody who does not know of TLS.
    NotTls,
    /// The client sent more than any handshake has.
    TooLong,
    /// The key of its certificate is not on the list.
    NotPinned,
    /// What the client sent is wrong, or its certificate is not good.
    Tls(Error),
}

impl HandshakeError {
    /// Whether it is nothing to wonder at: a probe, or a client that does not know of TLS.
    pub fn is_usual(&self) -> bool {
        matches!(self, Self::Time | Self::NotTls)
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time => f.write_str("i/o timeout"),
            Self::Socket(error) if error.kind() == io::ErrorKind::UnexpectedEof => f.write_str("EOF"),
            Self::Socket(error) => error.fmt(f),
            Self::NotTls => f.write_str("tls: first record does not look like a TLS handshake"),
            Self::TooLong => f.write_str("tls: handshake message too long"),
            Self::NotPinned => f.write_str("certificate not pinned"),
            Self::Tls(error) => tls_text(error, f),
        }
    }
}

/// In Go's words, where it is one of the errors that people look for.
fn tls_text(error: &Error, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let unverified = "tls: failed to verify certificate: x509: certificate";
    match error {
        Error::NoCertificatesPresented => f.write_str("tls: client didn't provide a certificate"),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            write!(f, "{unverified} signed by unknown authority")
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => write!(f, "{unverified} has expired or is not yet valid"),
        Error::AlertReceived(AlertDescription::BadCertificate) => f.write_str("remote error: tls: bad certificate"),
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            f.write_str("remote error: tls: unknown certificate authority")
        }
        Error::AlertReceived(alert) => write!(f, "remote error: tls: {alert:?}"),
        other => write!(f, "tls: {other}"),
    }
}

impl Socket {
    /// Whether the peer says anything within that time. What it says is not taken.
    pub async fn speaks_within(&self, delay: Duration) -> bool {
        let mut byte = [0];
        matches!(timeout(delay, self.stream.peek(&mut byte)).await, Ok(Ok(1..)))
    }

    /// Whether the first that the peer says within that time is a handshake. What it says is not taken.
    pub async fn begins_with_handshake(&self, delay: Duration) -> bool {
        let mut byte = [0];
        let peeked = timeout(delay, self.stream.peek(&mut byte)).await;
        matches!(peeked, Ok(Ok(1..))) && byte[0] == HANDSHAKE
    }

    /// Has the peer's handshake, in the time that the options give it. What is sent meanwhile waits.
    pub async fn handshake(
        &self,
        config: &Arc<ServerConfig>,
        options: &TlsOptions,
        first: bool,
    ) -> Result<TlsFacts, HandshakeError> {
        self.set_mode(Mode::Handshake);
        let outcome = tokio::select! {
            biased;
            outcome = self.shake_hands(config, options) => outcome,
            () = sleep(options.timeout) => Err(HandshakeError::Time),
        };
        let mut connection = outcome?;
        let facts = peer::facts(&connection, first, options.ocsp_peer.is_some());
        if !options.pinned.is_empty() && !facts.is_pinned(&options.pinned) {
            return Err(HandshakeError::NotPinned);
        }
        connection.set_buffer_limit(None);
        self.state.lock().connection = Some(connection);
        self.set_mode(Mode::Sealed);
        Ok(facts)
    }

    async fn shake_hands(
        &self,
        config: &Arc<ServerConfig>,
        options: &TlsOptions,
    ) -> Result<Box<ServerConnection>, HandshakeError> {
        let mut connection = Box::new(ServerConnection::new(Arc::clone(config)).map_err(HandshakeError::Tls)?);
        // Without a certificate, a client says little.
        let most = match options.verify {
            true => TLS_HANDSHAKE_WITH_CERTIFICATE_MAX,
            false => TLS_HANDSHAKE_MAX,
        };
        let mut taken = 0;
        loop {
            while connection.wants_write() {
                match connection.write_tls(&mut Raw(&self.stream)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                    done => drop(done?),
                }
            }
            if !connection.is_handshaking() {
                return Ok(connection);
            }
            self.stream.readable().await?;
            match self.hear(&mut connection, taken == 0) {
                Ok(read) => taken += read,
                Err(HandshakeError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    // The alert that says what is wrong; not to those who do not know of TLS.
                    if matches!(error, HandshakeError::Tls(..)) {
                        let _ = connection.write_tls(&mut Raw(&self.stream));
                    }
                    return Err(error);
                }
            }
            if taken > most && connection.is_handshaking() {
                return Err(HandshakeError::TooLong);
            }
        }
    }

    /// Reads what is there, and has it worked on. Returns how many bytes that was.
    fn hear(&self, connection: &mut ServerConnection, first: bool) -> Result<usize, HandshakeError> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = self.stream.try_read(&mut scratch[..TLS_READ_MIN])?;
            let mut heard = &scratch[..read];
            match heard.first() {
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Some(&byte) if first && byte != HANDSHAKE => return Err(HandshakeError::NotTls),
                Some(_) => {}
            }
            while !heard.is_empty() {
                connection.read_tls(&mut heard)?;
                connection.process_new_packets().map_err(|error| match error {
                    Error::InvalidMessage(InvalidMessage::InvalidContentType) if first => HandshakeError::NotTls,
                    error => HandshakeError::Tls(error),
                })?;
            }
            Ok(read)
        })
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}
