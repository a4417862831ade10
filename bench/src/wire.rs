//! What a connection goes over: a socket, or TLS on one.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::net::RecvFlags;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::error::{LoadError, Result};

/// Whom a server's certificate is to be signed by. One for all connections of a run.
static TRUSTED: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Has servers that ask for TLS be trusted if these authorities, in PEM, signed their certificate.
///
/// # Errors
/// [`LoadError::Usage`] when the file holds none.
pub fn trust(file: &Path) -> Result<()> {
    let failed = |why: String| LoadError::Usage(format!("--tls-ca {}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    // The command line names one.
    let _ = TRUSTED.set(Arc::new(config));
    Ok(())
}

/// Bytes to and from a server.
#[derive(Debug)]
pub enum Wire {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// Goes on by TLS with a server that is called `localhost` in its certificate.
    ///
    /// # Errors
    /// Nobody said whom to trust.
    pub fn encrypt(self) -> Result<Self> {
        let Self::Plain(socket) = self else {
            return Ok(self);
        };
        let config = TRUSTED.get().ok_or_else(|| {
            LoadError::Usage("the server wants TLS: name who signed its certificate with --tls-ca".into())
        })?;
        let name = ServerName::try_from("localhost").map_err(|error| LoadError::Usage(error.to_string()))?;
        let connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| LoadError::Protocol(format!("TLS: {error}")))?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The socket's; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub fn read_now(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(rustix::net::recv(&*socket, room, RecvFlags::DONTWAIT)?.1),
            Self::Tls(tls) => {
                tls.sock.set_nonblocking(true)?;
                let read = tls.read(room);
                tls.sock.set_nonblocking(false)?;
                read
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Tls(tls) => tls.read(room),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
