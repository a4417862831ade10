//! Clients that come by WebSocket, frame by frame, against a server in this process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nkeys::KeyPair;
use support::{HELLO, PATIENCE, TestServer};
use weir_broker::conf::Options;
use weir_broker::conf::options::{Auth, ConnectionType, User, WebSocket};
use weir_wire::websocket::{Deflater, Inflater, Opcode, close_payload};

fn start(change: impl FnOnce(&mut WebSocket, &mut Options)) -> TestServer {
    TestServer::start(|options| {
        let mut websocket = WebSocket {
            host: "127.0.0.1".into(),
            no_tls: true,
            ..WebSocket::default()
        };
        change(&mut websocket, options);
        options.websocket = Some(websocket);
    })
}

/// A client, and what it heard and did not look at.
struct Client {
    stream: TcpStream,
    raw: VecDeque<u8>,
    heard: Vec<u8>,
    pongs: Vec<Vec<u8>>,
    /// Compressed frames that came.
    compressed: usize,
    close: Option<Vec<u8>>,
}

impl Client {
    /// Asks for a WebSocket, with these headers in addition. Returns the client and the answer's head, or all of the answer.
    fn ask(server: &TestServer, more: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(server.server.websocket_address().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
        );
        // One that is refused may be closed before it has said all.
        let _ = stream.write_all(request.as_bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let client = Self {
            stream,
            raw: VecDeque::new(),
            heard: Vec::new(),
            pongs: Vec::new(),
            compressed: 0,
            close: None,
        };
        (client, String::from_utf8(head).unwrap())
    }

    /// A client whose INFO has been read.
    fn open(server: &TestServer, more: &str) -> (Self, String) {
        let (mut client, head) = Self::ask(server, more);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let info = client.line();
        assert!(info.starts_with("INFO {"), "{info}");
        (client, info)
    }

    /// A client that has said [`HELLO`], with the answer to its first PING read.
    fn ready(server: &TestServer, more: &str) -> Self {
        let (mut client, _) = Self::open(server, more);
        client.say(HELLO);
        client.say("PING\r\n");
        assert_eq!(client.line(), "PONG");
        assert!(client.line().contains("\"connect_info\":true"));
        client
    }

    fn say(&mut self, text: impl AsRef<[u8]>) {
        self.frame(0x82, text.as_ref());
    }

    fn frame(&mut self, first: u8, payload: &[u8]) {
        let mask = [0xA1, 0x02, 0xF3, 0x44];
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..=125 => bytes.push(0x80 | short as u8),
            middle @ ..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        support::send(&mut self.stream, &bytes);
    }

    /// Reads. False: the server closed.
    fn more(&mut self) -> bool {
        let mut chunk = vec![0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(read) => self.raw.extend(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
            Err(error) => panic!("{error}; so far: {:?}", String::from_utf8_lossy(&self.heard)),
        }
        while self.take_frame() {}
        true
    }

    fn take_frame(&mut self) -> bool {
        let raw = self.raw.make_contiguous();
        let [first, second, ..] = *raw else { return false };
        assert_eq!(second & 0x80, 0, "servers do not mask");
        let wide = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = raw.get(2..2 + wide) else {
            return false;
        };
        let length = match wide {
            0 => usize::from(second),
            _ => length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let Some(payload) = raw.get(2 + wide..2 + wide + length) else {
            return false;
        };
        let payload = payload.to_vec();
        self.raw.drain(..2 + wide + length);
        assert_eq!(first & 0xB0, 0x80, "each frame is a message");
        match first & 0x0F {
            opcode if opcode == Opcode::Binary as u8 && first & 0x40 != 0 => {
                self.compressed += 1;
                let mut out = vec![0; 1 << 20];
                let found = Inflater::new(1 << 30).inflate(&payload, true, &mut out).unwrap();
                assert!(found.done);
                self.heard.extend_from_slice(&out[..found.written]);
            }
            opcode if opcode == Opcode::Binary as u8 => self.heard.extend_from_slice(&payload),
            opcode if opcode == Opcode::Pong as u8 => self.pongs.push(payload),
            opcode if opcode == Opcode::Close as u8 => self.close = Some(payload),
            other => panic!("opcode {other}"),
        }
        true
    }

    /// The next line, without its end, that is no PING.
    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.heard.windows(2).position(|end| end == b"\r\n") {
                let line = String::from_utf8(self.heard[..at].to_vec()).unwrap();
                self.heard.drain(..at + 2);
                if line != "PING" {
                    return line;
                }
                continue;
            }
            assert!(
                self.more(),
                "closed; so far: {:?}",
                String::from_utf8_lossy(&self.heard)
            );
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.heard.len() < count {
            assert!(self.more(), "closed");
        }
        self.heard.drain(..count).collect()
    }

    /// The end of the connection, with the Close frame's payload.
    fn end(&mut self) -> Vec<u8> {
        while self.more() {}
        self.close.clone().unwrap()
    }
}

#[test]
fn the_protocol_is_the_same_in_frames() {
    let server = start(|_, options| options.http = Some(support_http()));
    let mut plain = server.client();
    plain.exchange("SUB from.ws 1\r\n", "");
    let (mut client, info) = Client::open(&server, "X-Forwarded-For: 10.1.2.3\r\n");
    let port = server.server.websocket_address().unwrap().port();
    assert!(info.contains(&format!("\"port\":{port}")), "{info}");
    assert!(
        !info.contains("auth_required") && !info.contains("tls_required"),
        "{info}"
    );
    // In pieces, as text, two operations in a frame, and a ping between two pieces of one.
    client.frame(0x01, &HELLO.as_bytes()[..20]);
    client.frame(0x89, b"are you there");
    client.frame(0x80, &HELLO.as_bytes()[20..]);
    client.say("SUB to.ws 7\r\nPING\r\n");
    assert_eq!(client.line(), "PONG");
    assert!(client.line().contains("\"connect_info\":true"));
    assert_eq!(client.pongs, [b"are you there"]);
    client.say("PUB from.ws 5\r\nhello\r\n");
    plain.expect("MSG from.ws 1 5\r\nhello\r\n");
    plain.send("PUB to.ws 5\r\nworld\r\n");
    assert_eq!(client.line(), "MSG to.ws 7 5");
    assert_eq!(client.line(), "world");
    let (_, connections) = server.get("/connz");
    assert!(
        connections.contains("\"type\": \"websocket\"") && connections.contains("\"type\": \"nats\""),
        "{connections}"
    );
    let (_, varz) = server.get("/varz");
    assert!(varz.contains(&format!("\"port\": {port}")), "{varz}");
    client.frame(0x88, &close_payload(1000, "done"));
    assert_eq!(client.end(), close_payload(1000, "done"));
}

fn support_http() -> weir_broker::conf::options::Listen {
    weir_broker::conf::options::Listen {
        host: "127.0.0.1".into(),
        port: 0,
    }
}

#[test]
fn messages_of_every_size_go_both_ways() {
    for compression in [false, true] {
        let server = start(|websocket, _| websocket.compression = compression);
        let more = if compression {
            "Sec-WebSocket-Extensions: permessage-deflate\r\n"
        } else {
            ""
        };
        let mut client = Client::ready(&server, more);
        client.say("SUB big 1\r\n");
        let mut deflater = Deflater::default();
        // What does not become smaller, too.
        let noise: Vec<u8> = (0_u64..1 << 20)
            .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect();
        for size in [0, 1, 125, 126, 65_535, 65_536, 65_537, 200_000, 1 << 20] {
            for payload in [vec![b'x'; size], noise[..size].to_vec()] {
                let mut operation = format!("PUB big {size}\r\n").into_bytes();
                operation.extend_from_slice(&payload);
                operation.extend_from_slice(b"\r\n");
                if compression {
                    let mut deflated = Vec::new();
                    deflater.deflate(&operation, &mut deflated);
                    let (first, last) = deflated.split_at(deflated.len() / 2);
                    client.frame(0x42, first);
                    client.frame(0x80, last);
                } else {
                    client.say(&operation);
                }
                assert_eq!(client.line(), format!("MSG big 1 {size}"));
                assert!(client.take(size) == payload, "{size} bytes come back as they were");
                assert_eq!(client.take(2), b"\r\n");
            }
        }
        assert_eq!(client.compressed > 0, compression);
    }
}

#[test]
fn what_is_not_asked_for_rightly_is_refused() {
    let server = start(|websocket, _| {
        websocket.allowed_origins = vec!["http://good.com".into(), "https://good.com:8443".into()];
        websocket.headers = vec![("X-Own".into(), "yes".into())];
    });
    let status = |more: &str| {
        let (_, head) = Client::ask(&server, more);
        head.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(""), "101");
    assert_eq!(status("Origin: http://good.com\r\n"), "101");
    assert_eq!(status("Origin: https://good.com:8443\r\n"), "101");
    assert_eq!(status("Origin: https://good.com\r\n"), "403");
    assert_eq!(status("Origin: http://evil.com\r\n"), "403");
    assert_eq!(status(&format!("X: {}\r\n", "x".repeat(100_000))), "431");
    let (_, head) = Client::ask(&server, "");
    assert!(head.contains("\r\nX-Own: yes\r\n"), "{head}");
    let address = server.server.websocket_address().unwrap();
    let answer = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert!(answer(HELLO).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let asks = |path: &str| {
        answer(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ))
    };
    assert!(asks("/leafnode").starts_with("HTTP/1.1 404 "));
    assert!(asks("/mqtt").starts_with("HTTP/1.1 404 "));
    // None of them was a client for long: those that were have hung up.
    while server.server.client_count() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_that_does_not_end_is_not_waited_for() {
    let server = start(|websocket, _| websocket.handshake_timeout = Some(Duration::from_millis(50)));
    let mut stream = TcpStream::connect(server.server.websocket_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let server = start(|_, _| {});
    let end = |first: u8, payload: &[u8]| {
        let mut client = Client::ready(&server, "");
        client.frame(first, payload);
        client.end()
    };
    assert_eq!(end(0x83, b""), close_payload(1002, "unknown opcode 3"));
    assert_eq!(end(0x80, b""), close_payload(1002, "invalid continuation frame"));
    assert_eq!(
        end(0xC2, b""),
        close_payload(1002, "compressed frame received without negotiated permessage-deflate")
    );
    let mut client = Client::ready(&server, "");
    support::send(&mut client.stream, b"\x82\x06PING\r\n");
    assert_eq!(client.end(), close_payload(1002, "mask bit missing"));
}

/// A user whose password is b.
fn user(name: &str) -> User {
    User {
        name: name.into(),
        password: "b".into(),
        ..User::default()
    }
}

#[test]
fn the_server_says_why_it_closes() {
    let server = start(|_, options| {
        options.max_payload = 100;
        options.auth = Auth {
            users: vec![user("a")],
            ..Auth::default()
        };
    });
    let (mut client, info) = Client::open(&server, "");
    assert!(info.contains("\"auth_required\":true"), "{info}");
    client.say(HELLO);
    assert_eq!(client.end(), close_payload(1008, "Authentication Failure"));
    assert_eq!(client.line(), "-ERR 'Authorization Violation'");
    let (mut client, _) = Client::open(&server, "");
    client.say("CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPUB a 101\r\n");
    assert_eq!(client.end(), close_payload(1009, "Maximum Message Payload Exceeded"));
    let (mut client, _) = Client::open(&server, "");
    client.say("CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPING\r\n");
    assert_eq!(client.line(), "PONG");
    server.run(server.server.shutdown());
    assert_eq!(client.end(), close_payload(1001, "Server Shutdown"));
}

#[test]
fn cookies_stand_in_for_what_connect_does_not_say() {
    let server = start(|websocket, options| {
        websocket.user_cookie = Some("u".into());
        websocket.pass_cookie = Some("p".into());
        websocket.token_cookie = Some("t".into());
        options.auth.users = vec![user("a")];
    });
    let client = Client::ready(&server, "Cookie: x=y; u=a; p=b\r\n");
    drop(client);
    let (mut client, _) = Client::open(&server, "Cookie: u=a; p=c\r\n");
    client.say(HELLO);
    assert_eq!(client.end(), close_payload(1008, "Authentication Failure"));
    // What it says itself counts.
    let (mut client, _) = Client::open(&server, "Cookie: u=a; p=b\r\n");
    client.say("CONNECT {\"user\":\"z\"}\r\n");
    assert_eq!(client.end(), close_payload(1008, "Authentication Failure"));
    let server = start(|websocket, _| {
        websocket.token_cookie = Some("t".into());
        websocket.auth.token = Some("secret".into());
    });
    drop(Client::ready(&server, "Cookie: t=\"secret\"\r\n"));
}

#[test]
fn a_token_may_come_in_a_cookie() {
    use weir_jwt::{AccountClaims, OperatorClaims, UserClaims, encode};
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let mut claims = UserClaims::new(&user.public_key());
    claims.nats.rights.bearer_token = true;
    let token = encode(claims, &account, 1).unwrap();
    let text = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload {{ {}: {} }}",
        encode(OperatorClaims::new(&operator.public_key()), &operator, 1).unwrap(),
        account.public_key(),
        encode(AccountClaims::new(&account.public_key()), &operator, 1).unwrap()
    );
    let server = start(|websocket, options| {
        websocket.jwt_cookie = Some("jwt".into());
        options.trust = Options::parse(&text, "a.conf", &|_| None).unwrap().trust;
    });
    drop(Client::ready(&server, &format!("Cookie: jwt={token}\r\n")));
    let (mut client, _) = Client::open(&server, "Cookie: jwt=x\r\n");
    client.say(HELLO);
    assert_eq!(client.end(), close_payload(1008, "Authentication Failure"));
}

#[test]
fn who_may_come_in_by_websocket_can_be_somebody_else() {
    let server = start(|websocket, _| websocket.auth.user = Some(("a".into(), "b".into())));
    drop(server.client());
    let (mut client, info) = Client::open(&server, "");
    assert!(info.contains("\"auth_required\":true"), "{info}");
    client.say("PING\r\n");
    assert_eq!(client.end(), close_payload(1008, "Authentication Failure"));
    let (mut client, _) = Client::open(&server, "");
    client.say("CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPING\r\n");
    assert_eq!(client.line(), "PONG");
}

#[test]
fn clients_without_credentials_can_be_a_user_by_websocket_alone() {
    let server = start(|websocket, options| {
        websocket.auth.no_auth_user = Some("a".into());
        options.http = Some(support_http());
        options.auth.users = vec![user("a"), user("z")];
        options.auth.users[1].connection_types = vec![ConnectionType::Standard];
    });
    drop(Client::ready(&server, ""));
    // Without CONNECT, too.
    let (mut client, _) = Client::open(&server, "");
    client.say("PING\r\n");
    assert_eq!(client.line(), "PONG");
    let (_, connections) = server.get("/connz?auth=1&user=a");
    assert!(connections.contains("\"authorized_user\": \"a\""), "{connections}");
    // Who says something must be somebody, and one that may come by WebSocket.
    for connect in ["{\"user\":\"a\",\"pass\":\"x\"}", "{\"user\":\"z\",\"pass\":\"b\"}"] {
        let (mut client, _) = Client::open(&server, "");
        client.say(format!("CONNECT {connect}\r\n"));
        assert_eq!(client.end(), close_payload(1008, "Authentication Failure"), "{connect}");
    }
    let mut plain = server.connect();
    plain.send("CONNECT {}\r\n");
    plain.expect_end("-ERR 'Authorization Violation'\r\n");
}

#[test]
fn a_client_stays_when_users_change_that_it_is_not() {
    let server = start(|_, options| {
        options.auth.users = vec![user("a"), user("b")];
        options.auth.users[0].connection_types = vec![ConnectionType::Websocket];
    });
    let come = |name: &str| {
        let (mut client, _) = Client::open(&server, "");
        client.say(format!(
            "CONNECT {{\"user\":\"{name}\",\"pass\":\"b\",\"verbose\":false}}\r\nPING\r\n"
        ));
        assert_eq!(client.line(), "PONG");
        client
    };
    let (mut a, mut b) = (come("a"), come("b"));
    let mut options = (*server.server.options()).clone();
    options.auth.users.pop();
    server.reload(options).unwrap();
    // Without a word, as with nats-server.
    assert_eq!(b.end(), close_payload(1000, "Client Closed"));
    a.say("PING\r\n");
    assert_eq!(a.line(), "PONG");
}

#[test]
fn a_bomb_before_connect_does_not_explode() {
    let server = start(|websocket, options| {
        websocket.compression = true;
        options.auth.token = Some("secret".into());
    });
    let (mut client, _) = Client::open(&server, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let mut bomb = Vec::new();
    Deflater::default().deflate(&vec![b' '; 64 << 20], &mut bomb);
    // The server may close before it has taken all.
    let _ = client.stream.write_all(&[0xC2, 0xFF, 0, 0, 0, 0, 0]);
    let length = (bomb.len() as u32).to_be_bytes();
    let _ = client.stream.write_all(&length[1..]);
    let _ = client.stream.write_all(&[0; 4]);
    let _ = client.stream.write_all(&bomb);
    while client.more() {}
    drop(client);
    let (_, info) = Client::open(&server, "");
    assert!(info.starts_with("INFO"), "others are served");
}

/// Pings that are not read the answers to: the last one is answered, none is kept.
#[test]
fn pings_are_answered_when_there_is_room() {
    let server = start(|_, _| {});
    let mut client = Client::ready(&server, "");
    client.say("SUB a 1\r\n");
    let payload = vec![b'x'; 1 << 20];
    // More than the sockets take, so that answers to pings wait behind the beginning of a frame.
    for _ in 0..16 {
        client.say([format!("PUB a {}\r\n", payload.len()).as_bytes(), &payload, b"\r\n"].concat());
    }
    for number in 0_u32..1000 {
        client.frame(0x89, &number.to_be_bytes());
    }
    client.say("PING\r\n");
    for _ in 0..16 {
        assert_eq!(client.line(), format!("MSG a 1 {}", payload.len()));
        assert!(client.take(payload.len()) == payload);
        client.take(2);
    }
    assert_eq!(client.line(), "PONG");
    while client.pongs.last() != Some(&999_u32.to_be_bytes().to_vec()) {
        assert!(client.more());
    }
}

#[test]
fn an_origin_that_is_none_is_refused_before_anything_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options {
        host: "127.0.0.1".into(),
        port: 0,
        pid_file: Some(folder.path().join("pid")),
        ..Options::default()
    };
    options.websocket = Some(WebSocket {
        no_tls: true,
        allowed_origins: vec!["example.com".into()],
        ..WebSocket::default()
    });
    let error = weir_broker::Server::check(&options).unwrap_err().to_string();
    assert_eq!(
        error,
        "unable to parse allowed origin: parse \"example.com\": invalid URI for request"
    );
}
