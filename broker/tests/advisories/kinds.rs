//! What holds for one kind of connection holds for all (S18): clients as they are, by TLS, by WebSocket with TLS and without, and behind a
//! proxy that says where they are.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::certificates::{Authority, Issued};
use crate::support::{Raw, prepare};
use crate::{Fixture, start};

/// Whatever a client's bytes go over.
pub trait Wire: Read + Write {}
impl<S: Read + Write> Wire for S {}

pub type Client = Raw<Box<dyn Wire>>;

/// How clients come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Tls,
    WebSocket,
    SecureWebSocket,
    Proxied,
}

pub const KINDS: [Kind; 5] = [
    Kind::Plain,
    Kind::Tls,
    Kind::WebSocket,
    Kind::SecureWebSocket,
    Kind::Proxied,
];

/// A server for one kind of clients.
pub struct Hall {
    pub kind: Kind,
    pub fixture: Fixture,
    authority: Authority,
    issued: Issued,
}

impl Kind {
    fn block(self, issued: &Issued) -> String {
        let files = format!("cert_file: {:?}, key_file: {:?}", issued.certificate, issued.key);
        match self {
            Self::Plain => String::new(),
            Self::Tls => format!("tls {{ {files}, handshake_first: true }}"),
            Self::WebSocket => "websocket { listen: \"127.0.0.1:-1\", no_tls: true }".to_owned(),
            Self::SecureWebSocket => format!("websocket {{ listen: \"127.0.0.1:-1\", tls {{ {files} }} }}"),
            Self::Proxied => "proxy_protocol: true".to_owned(),
        }
    }

    pub fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::SecureWebSocket)
    }
}

impl Hall {
    pub fn new(kind: Kind, text: &str) -> Self {
        let authority = Authority::new();
        let issued = authority.server("server");
        let fixture = start(&format!("{}\n{text}", kind.block(&issued)));
        Self {
            kind,
            fixture,
            authority,
            issued,
        }
    }

    pub fn reload(&self, text: &str) {
        self.fixture
            .reload(&format!("{}\n{text}", self.kind.block(&self.issued)));
    }

    /// A client, and what INFO says.
    pub fn arrive(&self) -> (Client, Value) {
        let server = &self.fixture.server.server;
        let config = || self.authority.client(None, &[&TLS13]);
        let (clients, websockets) = (server.client_address(), server.websocket_address());
        let wire: Box<dyn Wire> = match self.kind {
            Kind::Plain => Box::new(socket(clients)),
            Kind::Tls => Box::new(sealed(socket(clients), config())),
            Kind::WebSocket => Box::new(Framed::upgrade(socket(websockets))),
            Kind::SecureWebSocket => Box::new(Framed::upgrade(sealed(socket(websockets), config()))),
            Kind::Proxied => {
                let mut socket = socket(clients);
                socket.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n").unwrap();
                Box::new(socket)
            }
        };
        let mut client = Raw::over(wire);
        let info = client.line();
        (
            client,
            serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap(),
        )
    }

    /// One that has said who it is.
    pub fn connect(&self, user: &str) -> Client {
        let (mut client, _) = self.arrive();
        let connect = json!({"verbose": false, "headers": true, "no_responders": true, "user": user, "pass": "p"});
        client.send(format!("CONNECT {connect}\r\n"));
        client
    }
}

fn socket(address: Option<SocketAddr>) -> TcpStream {
    let socket = TcpStream::connect(address.unwrap()).unwrap();
    socket.set_nodelay(true).unwrap();
    prepare(&socket);
    socket
}

fn sealed(mut socket: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    socket.set_read_timeout(None).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    prepare(&socket);
    StreamOwned::new(connection, socket)
}

/// Frames around what a client says.
struct Framed<S> {
    stream: S,
    raw: Vec<u8>,
    heard: VecDeque<u8>,
}

impl<S: Read + Write> Framed<S> {
    fn upgrade(mut stream: S) -> Self {
        let request = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(read) => head.extend_from_slice(&byte[..read]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self {
            stream,
            raw: Vec::new(),
            heard: VecDeque::new(),
        }
    }

    /// Takes one whole frame of what came. False: there is none. The end, if it says that.
    fn take(&mut self) -> io::Result<bool> {
        let [first, second, ..] = *self.raw.as_slice() else {
            return Ok(false);
        };
        let wide = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = self.raw.get(2..2 + wide) else {
            return Ok(false);
        };
        let length = match wide {
            0 => usize::from(second),
            _ => length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)),
        };
        let (start, end) = (2 + wide, 2 + wide + length);
        if self.raw.len() < end {
            return Ok(false);
        }
        match first & 0x0f {
            0..=2 => self.heard.extend(&self.raw[start..end]),
            8 => return Err(ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        self.raw.drain(..end);
        Ok(true)
    }
}

impl<S: Read + Write> Read for Framed<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.heard.is_empty() {
            match self.take() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Err(error),
            }
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(0);
            }
            self.raw.extend_from_slice(&chunk[..read]);
        }
        self.heard.read(buf)
    }
}

impl<S: Read + Write> Write for Framed<S> {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        let payload = &payload[..payload.len().min(0xffff)];
        let mask = [0xa1, 0x02, 0xf3, 0x44];
        let mut frame = vec![0x82];
        match u8::try_from(payload.len()) {
            Ok(short @ ..=125) => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.stream.write_all(&frame)?;
        Ok(payload.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

const USERS: &str = "accounts {
  A { users: [
    {user: all, password: p}
    {user: one, password: p, permissions: {
      publish: {deny: [\"a.secret\"]}, subscribe: {deny: [\"b.secret\", \"c.secret q\"]}}}
    {user: standard, password: p, allowed_connection_types: [STANDARD]}
    {user: websocket, password: p, allowed_connection_types: [WEBSOCKET]}
    {user: proxied, password: p, proxy_required: true}
  ], imports: [{service: {account: B, subject: svc}}] }
  B { users: [{user: b, password: p}], exports: [{service: svc}] }
}";

const REFUSED: &str = "-ERR 'Authorization Violation'\r\n";

#[test]
fn whoever_is_not_let_in_gets_nothing_done() {
    for kind in KINDS {
        let hall = Hall::new(kind, USERS);
        let mut watcher = hall.connect("all");
        watcher.exchange("SUB > 1\r\n", "");
        for said in [
            "PING\r\n",
            "SUB > 1\r\n",
            "PUB a 1\r\nx\r\n",
            "HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
            "CONNECT {}\r\nPUB a 1\r\nx\r\n",
            "CONNECT {\"user\":\"all\",\"pass\":\"q\"}\r\nPUB a 1\r\nx\r\n",
            "CONNECT {\"user\":\"proxied\",\"pass\":\"p\",\"proxy_sig\":\"x\"}\r\nPUB a 1\r\nx\r\n",
        ] {
            let (mut stranger, _) = hall.arrive();
            stranger.send(said);
            assert_eq!(stranger.until_end(), REFUSED, "{kind:?} {said:?}");
            watcher.exchange("", "");
        }
        for (user, may) in [
            ("standard", !kind.is_websocket()),
            ("websocket", kind.is_websocket()),
            ("proxied", false),
        ] {
            let mut client = hall.connect(user);
            match may {
                true => client.exchange("", ""),
                false => client.expect_end(REFUSED),
            }
        }
    }
}

#[test]
fn what_is_denied_and_what_is_the_servers_own() {
    for kind in KINDS {
        let hall = Hall::new(kind, USERS);
        let (mut all, mut one, mut b) = (hall.connect("all"), hall.connect("one"), hall.connect("b"));
        all.exchange("SUB > 1\r\n", "");
        b.exchange("SUB svc 1\r\n", "");
        one.exchange("SUB b.* 1\r\nSUB b.* q 2\r\nSUB c.* q 3\r\n", "");
        let violation = |what: &str| format!("-ERR 'Permissions Violation for {what}'\r\n");
        for (said, told) in [
            ("PUB a.secret 1\r\nx\r\n", "Publish to \"a.secret\""),
            (
                "HPUB a.secret 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
                "Publish to \"a.secret\"",
            ),
            ("SUB b.secret 9\r\n", "Subscription to \"b.secret\""),
            ("SUB b.secret q 9\r\n", "Subscription to \"b.secret\" using queue \"q\""),
            ("SUB c.secret q 9\r\n", "Subscription to \"c.secret\" using queue \"q\""),
            ("SUB x _sys_ 9\r\n", "Subscription to \"x\" using queue \"_sys_\""),
            ("PUB $NRG.x 1\r\nx\r\n", "Publish to \"$NRG.x\""),
            (
                "PUB x $JS.ACK.S.C.1.1.1.1.1 1\r\nx\r\n",
                "Publish with Reply of \"$JS.ACK.S.C.1.1.1.1.1\"",
            ),
            ("PUB x _R_.x 1\r\nx\r\n", "Publish with Reply of \"_R_.x\""),
            ("PUB x _GR_.x 1\r\nx\r\n", "Publish with Reply of \"_GR_.x\""),
        ] {
            one.exchange(said, &violation(told));
            all.exchange("", "");
        }
        // What a wildcard covers of it is not heard either, in a queue or in none.
        all.exchange(
            "UNSUB 1\r\nPUB b.secret 1\r\nx\r\nPUB c.secret 1\r\nx\r\nPUB b.open 1\r\nx\r\n",
            "",
        );
        one.exchange("", "MSG b.open 1 1\r\nx\r\nMSG b.open 2 1\r\nx\r\n");
        let forged = "NATS/1.0\r\nX: a\nNats-Request-Info: {\"acc\":\"FORGED\"}\r\n\r\n";
        one.send(format!(
            "HPUB svc r {} {}\r\n{forged}x\r\n",
            forged.len(),
            forged.len() + 1
        ));
        let line = b.line();
        let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        let heard = String::from_utf8(b.take(length + 2)).unwrap();
        assert!(
            heard.contains("\"acc\":\"A\"") && !heard.contains("FORGED"),
            "{kind:?}: {heard:?}"
        );
    }
}

/// Somebody who does not say CONNECT is who may come in without saying so, if that one may come by this way, and nobody else.
#[test]
fn the_user_of_those_who_say_nothing_is_held_to_how_it_may_come() {
    for kind in KINDS {
        for (user, may) in [
            ("all", true),
            ("standard", !kind.is_websocket()),
            ("websocket", kind.is_websocket()),
            ("proxied", false),
        ] {
            let hall = Hall::new(kind, &format!("{USERS}\nno_auth_user: {user}"));
            for said in ["", "CONNECT {\"verbose\":false}\r\n"] {
                let (mut client, _) = hall.arrive();
                match may {
                    true => {
                        // Whoever does not say otherwise is told of all that is taken.
                        let taken = if said.is_empty() { "+OK\r\n+OK\r\n" } else { "" };
                        let told = format!("{taken}MSG a 1 1\r\nx\r\n");
                        client.exchange(format!("{said}SUB a 1\r\nPUB a 1\r\nx\r\n"), &told);
                    }
                    false => {
                        client.send(format!("{said}SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n"));
                        assert_eq!(client.until_end(), REFUSED, "{kind:?} {user} {said:?}");
                    }
                }
            }
        }
    }
}
