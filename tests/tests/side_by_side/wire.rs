//! What clients come by: TCP, TLS, WebSocket, and what a proxy says before them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weir_tests::certificates::Certificates;
use weir_tests::peer::{LIMIT, Peer};

/// How long anything may take to come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, whatever it goes by.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// Connects as a word says:
///
/// - nothing, or `tcp`
/// - `tls`, `tls:NAME`: INFO comes first, then a handshake, with the certificate of that name
/// - `first`, `first:NAME`: the handshake comes first
/// - `ws`, `ws(HEADER: VALUE)`: by WebSocket; `wss` with TLS before
/// - `proxy(TEXT)`: that line comes before everything
/// - `proxy2(HEX)`: a header of the PROXY protocol's second version comes, which has these bytes behind its signature
///
/// Returns what came before the handshake, where something did, and the connection.
pub fn connect(peer: &Peer, certificates: &Certificates, way: &str) -> Result<(Vec<u8>, Box<dyn Wire>)> {
    let (kind, more) = match way.split_once('(') {
        Some((kind, more)) => (kind, more.trim_end_matches(')')),
        None => way.split_once(':').unwrap_or((way, "")),
    };
    let port = if kind.starts_with("ws") { "websocket" } else { "nats" };
    let mut stream = TcpStream::connect(peer.address(port)?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let shown = (!more.is_empty() && !kind.starts_with("ws")).then_some(more);
    Ok(match kind {
        "" | "tcp" => (Vec::new(), Box::new(stream)),
        "proxy" => {
            stream.write_all(format!("{more}\r\n").as_bytes())?;
            (Vec::new(), Box::new(stream))
        }
        "proxy2" => {
            stream.write_all(b"\r\n\r\n\0\r\nQUIT\n")?;
            stream.write_all(&bytes(more)?)?;
            (Vec::new(), Box::new(stream))
        }
        "tls" => {
            let info = line(&mut stream)?;
            (info, Box::new(secure(stream, certificates, shown)?))
        }
        "first" => (Vec::new(), Box::new(secure(stream, certificates, shown)?)),
        "ws" => (Vec::new(), Box::new(upgrade(stream, more)?)),
        "wss" => {
            let stream = secure(stream, certificates, None)?;
            (Vec::new(), Box::new(upgrade(stream, more)?))
        }
        _ => bail!("no way to connect: {way}"),
    })
}

/// Two digits for each, and blanks anywhere.
fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits
        .chunks(2)
        .map(|pair| byte(pair).with_context(|| format!("no hexadecimal digits: {hex}")))
        .collect()
}

/// The status and the body of a page of the monitoring port, by HTTP or HTTPS.
pub fn page(peer: &Peer, certificates: &Certificates, path: &str) -> Result<(u16, String)> {
    let address = peer.address("monitoring")?;
    let stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut stream: Box<dyn Wire> = match peer.scheme("monitoring") {
        "https" => Box::new(secure(stream, certificates, None)?),
        _ => Box::new(stream),
    };
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    stream.flush()?;
    let mut text = Vec::new();
    // Some end without a word about it.
    if let Err(error) = stream.read_to_end(&mut text)
        && error.kind() != ErrorKind::UnexpectedEof
    {
        return Err(error.into());
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("no end of the headers: {text:?}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Up to the end of a line; a byte at a time, for a handshake may follow.
fn line(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    while !found.ends_with(b"\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte)? {
            0 => break,
            _ => found.push(byte[0]),
        }
    }
    Ok(found)
}

/// Of a client that shows one of the certificates, or none.
fn config(certificates: &Certificates, shown: Option<&str>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.path("ca.pem"))?)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier);
    Ok(Arc::new(match shown {
        Some(name) => {
            let certificate = CertificateDer::from_pem_file(certificates.path(&format!("{name}.pem")))?;
            let key = PrivateKeyDer::from_pem_file(certificates.path(&format!("{name}.key")))?;
            builder.with_client_auth_cert(vec![certificate], key)?
        }
        None => builder.with_no_client_auth(),
    }))
}

fn secure(
    stream: TcpStream,
    certificates: &Certificates,
    shown: Option<&str>,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = config(certificates, shown)?;
    let connection = ClientConnection::new(config, "localhost".try_into()?)?;
    let mut stream = StreamOwned::new(connection, stream);
    // What is wrong with it, the next read says.
    let _ = stream.conn.complete_io(&mut stream.sock);
    Ok(stream)
}

/// A client's side of a WebSocket, without compression.
struct WebSocket<S> {
    stream: S,
    raw: Vec<u8>,
    heard: Vec<u8>,
    closed: bool,
}

fn upgrade<S: Wire>(mut stream: S, header: &str) -> Result<WebSocket<S>> {
    let header = if header.is_empty() {
        String::new()
    } else {
        format!("{header}\r\n")
    };
    let request = format!(
        "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{header}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut status = None;
    loop {
        let found = line(&mut stream)?;
        let text = String::from_utf8_lossy(&found).trim().to_owned();
        let first = status.get_or_insert_with(|| text.clone()).clone();
        if text.is_empty() {
            // What is not upgraded is told as though it were the protocol's.
            let refused = !first.contains(" 101 ");
            return Ok(WebSocket {
                stream,
                raw: Vec::new(),
                heard: if refused {
                    format!("{first}\r\n").into_bytes()
                } else {
                    Vec::new()
                },
                closed: refused,
            });
        }
    }
}

impl<S: Wire> WebSocket<S> {
    /// Takes a frame of what came. False: there is no whole one.
    fn frame(&mut self) -> bool {
        let Some(&[first, second]) = self.raw.first_chunk::<2>() else {
            return false;
        };
        let wide = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = self.raw.get(2..2 + wide) else {
            return false;
        };
        let length = match wide {
            0 => usize::from(second & 0x7F),
            _ => length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let Some(payload) = self.raw.get(2 + wide..2 + wide + length) else {
            return false;
        };
        match first & 0x0F {
            8 => self.closed = true,
            0..=2 => self.heard.extend_from_slice(payload),
            _ => {}
        }
        self.raw.drain(..2 + wide + length);
        true
    }
}

impl<S: Wire> Read for WebSocket<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.heard.is_empty() && !self.closed {
            if self.frame() {
                continue;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => self.closed = true,
                read => self.raw.extend_from_slice(&chunk[..read]),
            }
        }
        let taken = self.heard.len().min(into.len());
        into[..taken].copy_from_slice(&self.heard[..taken]);
        self.heard.drain(..taken);
        Ok(taken)
    }
}

impl<S: Wire> Write for WebSocket<S> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mask = [0xA1, 0x02, 0xF3, 0x44];
        let mut frame = vec![0x82];
        match u16::try_from(from.len()) {
            Ok(short @ 0..=125) => frame.push(0x80 | short as u8),
            Ok(middle) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&middle.to_be_bytes());
            }
            Err(_) => return Err(ErrorKind::InvalidInput.into()),
        }
        frame.extend_from_slice(&mask);
        frame.extend(from.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.stream.write_all(&frame)?;
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The address of a client that a server tells, and other words of it.
pub fn info(text: &[u8]) -> Result<serde_json::Value> {
    let text = String::from_utf8_lossy(text);
    let info = text.trim().strip_prefix("INFO ").context("no INFO")?;
    Ok(serde_json::from_str(info)?)
}
