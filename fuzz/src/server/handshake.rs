//! What comes in the place of a TLS handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};
use tokio::runtime::Runtime;
use weir_broker::Server;
use weir_broker::conf::Options;

/// How long an end may take: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that has a handshake with clients before anything else, and asks them for a certificate.
pub struct Doorway {
    address: SocketAddr,
    runtime: Runtime,
    server: Arc<Server>,
}

impl Drop for Doorway {
    fn drop(&mut self) {
        self.runtime.block_on(self.server.shutdown());
    }
}

impl Doorway {
    /// Starts it.
    pub fn open() -> Self {
        // The files are read once.
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
        let pair = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
        let signed = params.self_signed(&pair).expect("a certificate");
        write(&certificate, "CERTIFICATE", signed.der());
        write(&key, "PRIVATE KEY", &pair.serialize_der());
        let text = format!(
            "port: -1\nhost: 127.0.0.1\ntls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {certificate:?}, verify: true, \
             handshake_first: true, timeout: 10 }}"
        );
        let options = Options::parse(&text, "fuzz.conf", &|_| None).expect("a configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let server = runtime.block_on(Server::start(options)).expect("a server");
        Self {
            address: server.client_address().expect("a port"),
            runtime,
            server,
        }
    }
}

fn write(path: &Path, of: &str, der: &[u8]) {
    let text = format!(
        "-----BEGIN {of}-----\n{}\n-----END {of}-----\n",
        BASE64_STANDARD.encode(der)
    );
    std::fs::write(path, text).expect("a file");
}

/// Whatever comes in the place of a handshake and then ends, the server ends the connection, and says nothing but an alert or what a
/// handshake is made of.
pub fn handshake(doorway: &mut Doorway, data: &[u8]) {
    let mut stream = TcpStream::connect(doorway.address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // It may have hung up before it was told all.
    let _ = stream.write_all(data);
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        Err(error) => panic!("the server does not hang up: {error}"),
    }
    if let Some(first) = heard.first() {
        assert!(matches!(first, 0x14..=0x17), "{:?}", String::from_utf8_lossy(&heard));
    }
}
