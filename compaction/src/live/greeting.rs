//! What a server says first, where that has more than a client's library keeps of it.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::CONNECT;
use super::access::Tls;

/// The longest first line that is read, in bytes.
const LINE_MAX: u64 = 64 << 10;

/// The `INFO` of the server at this host and port; null if it begins with something else.
///
/// # Errors
/// If it is not reached, says nothing in time, or has no TLS where that comes first.
pub(super) fn info(host: &str, port: u16, tls: &Tls) -> io::Result<Value> {
    let mut tried = (host, port)
        .to_socket_addrs()?
        .map(|address| TcpStream::connect_timeout(&address, CONNECT));
    let none = || Err(io::ErrorKind::AddrNotAvailable.into());
    let first = tried.next().unwrap_or_else(none);
    let stream = first.or_else(|error| tried.find(Result::is_ok).unwrap_or(Err(error)))?;
    stream.set_read_timeout(Some(CONNECT))?;
    stream.set_write_timeout(Some(CONNECT))?;
    match tls.is_first {
        true => {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let connection = ClientConnection::new(Arc::new(config(tls)?), name).map_err(io::Error::other)?;
            first_line(StreamOwned::new(connection, stream))
        }
        false => first_line(stream),
    }
}

fn first_line(stream: impl Read) -> io::Result<Value> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut line)?;
    let info = line.strip_prefix(b"INFO ").unwrap_or_default();
    Ok(serde_json::from_slice(info).unwrap_or_default())
}

/// How TLS is begun with a server.
fn config(tls: &Tls) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                roots
                    .add(certificate.map_err(io::Error::other)?)
                    .map_err(io::Error::other)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &tls.shown else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
}
