//! OCSP for certificates of clients, against a server and a responder in this process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/responder.rs"]
mod responder;
mod support;

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use answers::{Ca, Made, Said, Saying};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use responder::{Reply, Responder};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use support::{HELLO, Raw, TestServer, prepare};
use weir_broker::conf::Options;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

type Sealed = Raw<StreamOwned<ClientConnection, TcpStream>>;

struct Fixture {
    folder: tempfile::TempDir,
    ca: Arc<Ca>,
    server: Made,
    responder: Responder,
}

impl Fixture {
    fn new() -> Self {
        let ca = Arc::new(Ca::new());
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
            server: ca.server(&[], false),
            responder: Responder::start(&ca, Saying::Good),
            ca,
        };
        let key = fixture.server.key.serialize_der();
        fs::write(fixture.path("server.pem"), pem("CERTIFICATE", &fixture.server.der)).unwrap();
        fs::write(fixture.path("server.key"), pem("PRIVATE KEY", &key)).unwrap();
        fs::write(fixture.path("ca.pem"), pem("CERTIFICATE", &fixture.ca.der)).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self, peer: &str) -> String {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true\n{peer} }}",
            self.path("server.pem"),
            self.path("server.key"),
            self.path("ca.pem")
        )
    }

    fn start(&self, peer: &str, more: &str) -> TestServer {
        let text = format!(
            "listen: \"127.0.0.1:-1\", http: \"127.0.0.1:-1\"\n{}\n{more}",
            self.tls(peer)
        );
        TestServer::start(|options| *options = Options::parse(&text, "a.conf", &|_| None).unwrap())
    }

    /// A client's certificate, which names the responder.
    fn client(&self) -> Made {
        self.ca.server(&[self.responder.url()], false)
    }

    /// Whether a client with this certificate comes in.
    fn comes_in(&self, server: &TestServer, shown: &Made) -> bool {
        let mut client = self.connect(server, shown, &[]);
        client.send(HELLO);
        client.send("PING\r\n");
        let said = client.until_pong();
        assert!(said || !self.is_there(server), "it hears nothing, and goes on");
        said
    }

    /// Whether there is any connection.
    fn is_there(&self, server: &TestServer) -> bool {
        let end = Instant::now() + PATIENCE;
        while server.server.client_count() > 0 {
            if Instant::now() > end {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    fn connect(&self, server: &TestServer, shown: &Made, between: &[&CertificateDer<'static>]) -> Sealed {
        let mut raw = Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap());
        assert!(raw.line().starts_with("INFO {"));
        self.seal(raw.stream, shown, between)
    }

    fn seal(&self, stream: TcpStream, shown: &Made, between: &[&CertificateDer<'static>]) -> Sealed {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chain = [&shown.der]
            .into_iter()
            .chain(between.iter().copied())
            .cloned()
            .collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key.serialize_der()));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap())
            .with_client_auth_cert(chain, key)
            .unwrap();
        prepare(&stream);
        let name = ServerName::try_from("localhost").unwrap();
        Raw::over(StreamOwned::new(
            ClientConnection::new(Arc::new(config), name).unwrap(),
            stream,
        ))
    }
}

trait UntilPong {
    /// Whether PONG comes before the end.
    fn until_pong(&mut self) -> bool;
}

impl UntilPong for Sealed {
    fn until_pong(&mut self) -> bool {
        use std::io::{ErrorKind, Read as _};
        let (mut heard, end) = (Vec::new(), Instant::now() + PATIENCE);
        let mut chunk = [0; 4096];
        loop {
            if heard.windows(6).any(|found| found == b"PONG\r\n") {
                return true;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => heard.extend_from_slice(&chunk[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    assert!(Instant::now() < end, "neither comes");
                }
                Err(_) => return false,
            }
        }
    }
}

fn pem(of: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {of}-----\n{}\n-----END {of}-----\n",
        BASE64_STANDARD.encode(der)
    )
}

fn varz(server: &TestServer) -> Value {
    serde_json::from_str(&server.get("/varz").1).unwrap()
}

#[test]
fn who_is_revoked_does_not_come_in() {
    let fixture = Fixture::new();
    let client = fixture.client();
    let server = fixture.start("ocsp_peer: true", "ocsp_cache: false");
    for (saying, comes) in [(Saying::Good, true), (Saying::Revoked, false), (Saying::Unknown, false)] {
        fixture.responder.say(saying);
        assert_eq!(fixture.comes_in(&server, &client), comes, "{saying:?}");
    }
    assert!(fixture.responder.requests().iter().all(|request| request == "GET /…"));
    assert_eq!(fixture.responder.requests().len(), 3);
    // Who only listens is told why.
    let mut silent = fixture.connect(&server, &client, &[]);
    silent.expect_end("-ERR 'client not OCSP valid'\r\n");
    // Who names no responder is not asked about.
    fixture.responder.say(Saying::Revoked);
    assert!(fixture.comes_in(&server, &fixture.ca.server(&[], false)));
    assert_eq!(fixture.responder.requests().len(), 4);
    let page = varz(&server);
    assert_eq!(page["tls_ocsp_peer_verify"], true);
    assert!(page.get("ocsp_peer_cache").is_none());
    drop(server);
    // Nor anybody where that is not wanted.
    for peer in ["ocsp_peer: false", "", "ocsp_peer { warn_only: false }"] {
        let server = fixture.start(peer, "");
        assert!(fixture.comes_in(&server, &client), "{peer}");
        assert!(varz(&server).get("tls_ocsp_peer_verify").is_none());
    }
}

#[test]
fn rules_let_some_in_who_would_not_come_in() {
    let fixture = Fixture::new();
    let client = fixture.client();
    let old = Said {
        status: Saying::Good,
        this_update: SystemTime::now() - Duration::from_secs(200),
        next_update: Some(SystemTime::now() - Duration::from_secs(100)),
    };
    let endless = Said {
        next_update: None,
        ..old.clone()
    };
    let of = |said: &Said| fixture.ca.answer(fixture.ca.id(&client.der), said);
    let (old, endless) = (of(&old), of(&endless));
    let strangers = Ca::new().answer(
        fixture.ca.id(&client.der),
        &Said::until(Saying::Good, SystemTime::now(), PATIENCE),
    );
    type Case<'c> = (&'c str, fn(&[Vec<u8>; 3]) -> Reply, [bool; 6]);
    let bytes = [old, endless, strangers];
    let rules = [
        "",
        "warn_only: true",
        "unknown_is_good: true",
        "allow_when_ca_unreachable: true",
        "allowed_clockskew: 1000",
        "cache_ttl_when_next_update_unset: 10",
    ];
    let cases: [Case<'_>; 7] = [
        ("good", |_| Reply::Says(Saying::Good, 3600), [true; 6]),
        (
            "revoked",
            |_| Reply::Says(Saying::Revoked, 3600),
            [false, true, false, false, false, false],
        ),
        (
            "unknown",
            |_| Reply::Says(Saying::Unknown, 3600),
            [false, true, true, false, false, false],
        ),
        ("nobody", |_| Reply::Nothing, [false, true, false, true, false, false]),
        (
            "old",
            |bytes| Reply::Bytes(200, bytes[0].clone()),
            [false, true, false, false, true, false],
        ),
        (
            "without end",
            |bytes| Reply::Bytes(200, bytes[1].clone()),
            [true, true, true, true, true, false],
        ),
        (
            "a stranger's",
            |bytes| Reply::Bytes(200, bytes[2].clone()),
            [false, true, false, false, false, false],
        ),
    ];
    for (at, rule) in rules.iter().enumerate() {
        let server = fixture.start(&format!("ocsp_peer {{ verify: true, {rule} }}"), "ocsp_cache: false");
        for (what, reply, comes) in &cases {
            let (bytes, reply) = (bytes.clone(), *reply);
            fixture.responder.behave(move |_, _| reply(&bytes));
            assert_eq!(fixture.comes_in(&server, &client), comes[at], "{what}, {rule:?}");
        }
    }
}

#[test]
fn a_responder_that_says_nothing_has_its_time() {
    let fixture = Fixture::new();
    // It takes connections, and no more.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = fixture
        .ca
        .server(&[format!("http://{}", deaf.local_addr().unwrap())], false);
    let server = fixture.start("ocsp_peer { verify: true, ca_timeout: 0.2 }", "");
    assert!(!fixture.comes_in(&server, &client));
    // Others come in meanwhile.
    let server = fixture.start("ocsp_peer { verify: true, ca_timeout: 15 }", "");
    let mut waiting = fixture.connect(&server, &client, &[]);
    waiting.send(HELLO);
    let _ = waiting.stream.flush();
    deaf.accept().unwrap();
    let (asked, _) = deaf.accept().unwrap();
    assert!(fixture.comes_in(&server, &fixture.client()));
    drop(asked);
    assert!(!waiting.until_pong());
}

#[test]
fn all_that_a_certificate_depends_on_is_asked_about() {
    let fixture = Fixture::new();
    let between = fixture.ca.below(&[fixture.responder.url()]);
    let client = between.server(&[], false);
    let server = fixture.start("ocsp_peer: true", "ocsp_cache: false");
    for (saying, comes) in [(Saying::Good, true), (Saying::Revoked, false)] {
        fixture.responder.say(saying);
        let mut connection = fixture.connect(&server, &client, &[&between.der]);
        connection.send(HELLO);
        connection.send("PING\r\n");
        assert_eq!(connection.until_pong(), comes, "{saying:?}");
    }
    assert_eq!(fixture.responder.requests().len(), 2);
}

#[test]
fn what_was_said_is_remembered_and_a_revocation_longer_than_it_counts() {
    let fixture = Fixture::new();
    let [one, two] = [fixture.client(), fixture.client()];
    let server = fixture.start(
        "ocsp_peer { verify: true, allow_when_ca_unreachable: true, allowed_clockskew: 0 }",
        "",
    );
    assert_eq!(varz(&server)["ocsp_peer_cache"]["cache_type"], "local");
    let second = answers::number(&two.der);
    fixture.responder.behave(move |_, id| match id.serial_number == second {
        true => Reply::Says(Saying::Revoked, 6),
        false => Reply::Says(Saying::Good, 3600),
    });
    for _ in 0..3 {
        assert!(fixture.comes_in(&server, &one));
    }
    assert_eq!(fixture.responder.requests().len(), 1);
    assert!(!fixture.comes_in(&server, &two));
    let page = varz(&server);
    let cache = &page["ocsp_peer_cache"];
    let counts = [
        "cache_hits",
        "cache_misses",
        "cached_responses",
        "cached_good_responses",
        "cached_revoked_responses",
    ];
    assert_eq!(
        counts.map(|count| cache[count].as_u64().unwrap()),
        [2, 2, 2, 1, 1],
        "{page}"
    );
    // Nobody can be asked any more, and what was said last does not count any more: it is all that is known.
    fixture.responder.behave(|_, _| Reply::Nothing);
    let asked = fixture.responder.requests().len();
    let end = Instant::now() + PATIENCE;
    while fixture.responder.requests().len() == asked {
        assert!(!fixture.comes_in(&server, &two));
        assert!(Instant::now() < end, "nobody asks");
    }
    assert!(!fixture.comes_in(&server, &two));
    // Of whom nothing was said: everybody.
    assert!(fixture.comes_in(&server, &fixture.client()));
}

#[test]
fn websockets_are_asked_about_too() {
    let fixture = Fixture::new();
    let websocket = format!(
        "websocket {{ listen: \"127.0.0.1:-1\"\n{} }}",
        fixture.tls("ocsp_peer: true")
    );
    let server = fixture.start("", &websocket);
    assert_eq!(varz(&server)["websocket"]["tls_ocsp_peer_verify"], true);
    for (saying, comes) in [(Saying::Revoked, false), (Saying::Good, true)] {
        fixture.responder.say(saying);
        let stream = TcpStream::connect(server.server.websocket_address().unwrap()).unwrap();
        let client = fixture.client();
        let mut client = fixture.seal(stream, &client, &[]);
        client.send(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        while !client.line().is_empty() {}
        // A frame, masked by nothing: `PING`.
        client.send(b"\x82\x86\0\0\0\0PING\r\n");
        assert_eq!(client.until_pong(), comes, "{saying:?}");
    }
}

#[test]
fn the_system_account_is_told() {
    let fixture = Fixture::new();
    let (revoked, good) = (fixture.client(), fixture.ca.server(&[], false));
    let server = fixture.start(
        "ocsp_peer: true",
        "accounts { S { users: [{user: s, password: p}] }, A { users: [{user: a, password: p}] } }\nsystem_account: S",
    );
    let mut listener = fixture.connect(&server, &good, &[]);
    listener.send("CONNECT {\"user\":\"s\",\"pass\":\"p\",\"verbose\":false,\"protocol\":1}\r\n");
    listener.send("SUB $SYS.SERVER.*.OCSP.PEER.> 1\r\nPING\r\n");
    listener.expect("PONG\r\n");
    listener.line();
    fixture.responder.say(Saying::Revoked);
    let mut refused = fixture.connect(&server, &revoked, &[]);
    refused.send(HELLO);
    assert!(!refused.until_pong());
    let mut event = |name: &str| -> Value {
        let head = listener.line();
        assert!(head.starts_with("MSG $SYS.SERVER.") && head.contains(name), "{head}");
        let length = head.rsplit(' ').next().unwrap().parse().unwrap();
        let body = listener.take(length);
        listener.expect("\r\n");
        serde_json::from_slice(&body).unwrap()
    };
    let invalid = event("OCSP.PEER.LINK.INVALID");
    assert_eq!(invalid["type"], "io.nats.server.advisory.v1.ocsp_peer_link_invalid");
    assert_eq!(invalid["reason"], "Invalid OCSP response status: revoked");
    assert_eq!(invalid["link"], invalid["peer"]);
    assert_eq!(invalid["peer"]["raw"], BASE64_STANDARD.encode(&revoked.der));
    assert_eq!(invalid["peer"]["issuer"], "CN=authority of answers");
    let rejected = event("OCSP.PEER.CONN.REJECT");
    assert_eq!(rejected["type"], "io.nats.server.advisory.v1.ocsp_peer_reject");
    assert_eq!(
        (&rejected["kind"], &rejected["reason"]),
        (&"Client".into(), &"client not OCSP valid".into())
    );
    assert_eq!(rejected["peer"], invalid["peer"]);
    assert!(rejected["server"]["id"].is_string() && rejected["id"].is_string());
}
