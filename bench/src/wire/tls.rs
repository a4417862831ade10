//! TLS 1.3 on a socket, by rustls.
//!
//! What comes is read in large pieces and then given to rustls, whose own reads are of 4 KiB.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Wait, receive};
use crate::error::{LoadError, Result};

/// Whom a server's certificate is to be signed by. One for all connections of a run.
static TRUSTED: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Most that is read from the socket at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Has servers that ask for TLS be trusted if these authorities, in PEM, signed their certificate.
///
/// # Errors
/// [`LoadError::Usage`] when the file holds none.
pub fn trust_file(file: &Path) -> Result<()> {
    let failed = |why: String| LoadError::Usage(format!("--tls-ca {}: {why}", file.display()));
    let mut certificates = Vec::new();
    let found = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    for certificate in found {
        certificates.push(certificate.map_err(|error| failed(error.to_string()))?);
    }
    trust(certificates).map_err(failed)
}

/// The same of these certificates. The first that is said in a process counts.
///
/// # Errors
/// Why they are none.
pub fn trust(certificates: Vec<CertificateDer<'static>>) -> std::result::Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(preferring(ring::default_provider()));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    // Clients have a whole handshake each time: most of those of NATS keep no sessions.
    config.resumption = Resumption::disabled();
    let _ = TRUSTED.set(Arc::new(config));
    Ok(())
}

/// AES-128 first, as clients in Go offer it: some servers take what the client likes best, others what they do, and both are to
/// encrypt by the same.
fn preferring(mut provider: CryptoProvider) -> CryptoProvider {
    let wanted = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != wanted);
    provider
}

/// A socket that is encrypted.
#[derive(Debug)]
pub struct Tls {
    socket: TcpStream,
    session: ClientConnection,
    /// What came, and was not given to rustls yet: from `start` to `end`.
    raw: Vec<u8>,
    start: usize,
    end: usize,
}

impl Tls {
    /// Has the handshake.
    ///
    /// # Errors
    /// See [`super::Wire::encrypt`].
    pub fn begin(mut socket: TcpStream) -> Result<Self> {
        let config = TRUSTED.get().ok_or_else(|| {
            LoadError::Usage("the server wants TLS: name who signed its certificate with --tls-ca".into())
        })?;
        let name = ServerName::try_from("localhost").map_err(|error| LoadError::Usage(error.to_string()))?;
        let mut session = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| LoadError::Protocol(format!("TLS: {error}")))?;
        while session.is_handshaking() {
            session
                .complete_io(&mut socket)
                .map_err(LoadError::io("the handshake of TLS"))?;
        }
        Ok(Self {
            socket,
            session,
            raw: Vec::new(),
            start: 0,
            end: 0,
        })
    }

    /// See [`super::Wire::socket`].
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// See [`super::Wire::security`].
    pub fn security(&self) -> String {
        let version = self.session.protocol_version();
        let cipher = self.session.negotiated_cipher_suite().map(|suite| suite.suite());
        match (version, cipher) {
            (Some(version), Some(cipher)) => format!("{version:?} {cipher:?}"),
            _ => "none yet".into(),
        }
    }

    /// See [`super::Wire::read`].
    ///
    /// # Errors
    /// The same.
    pub fn read(&mut self, room: &mut [u8], wait: Wait) -> io::Result<usize> {
        let mut got = 0;
        loop {
            match self.session.reader().read(&mut room[got..]) {
                // The server said that this is the end.
                Ok(0) => return Ok(got),
                Ok(more) => {
                    got += more;
                    if got == room.len() {
                        return Ok(got);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.start == self.end {
                if got > 0 {
                    return Ok(got);
                }
                // As much as there is room for: the buffer of an idle connection stays small.
                self.raw.resize(room.len().min(READ_BYTES), 0);
                self.start = 0;
                self.end = 0;
                self.end = receive(&self.socket, &mut self.raw, wait)?;
                if self.end == 0 {
                    return Ok(0);
                }
            }
            let mut sealed = &self.raw[self.start..self.end];
            self.start += self.session.read_tls(&mut sealed)?;
            self.session
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.push()?;
        }
    }

    /// See [`super::Wire::write`].
    ///
    /// # Errors
    /// The same.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.session.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.push()?;
        }
        Ok(())
    }

    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}
