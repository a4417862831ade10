//! TLS, against a server in this process: with a client of rustls, and byte by byte where it is to go wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{DnType, SanType};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use serde_json::Value;
use support::certificates::{Authority, Issued, replace};
use support::{HELLO, PATIENCE, Raw, TestServer, prepare};
use weir_broker::Result;
use weir_broker::conf::Options;

type Sealed = Raw<StreamOwned<ClientConnection, TcpStream>>;

/// A server's certificate, and who signed it.
struct Fixture {
    authority: Authority,
    certificate: Issued,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new();
        let certificate = authority.server("server");
        Self { authority, certificate }
    }

    /// Options: a `tls` block with that certificate and this, and what else stands in the file.
    fn options(&self, tls: &str, more: &str) -> Options {
        let (certificate, key) = (&self.certificate.certificate, &self.certificate.key);
        let text = format!(
            "listen: \"127.0.0.1:-1\", http: \"127.0.0.1:-1\"\ntls {{ cert_file: {certificate:?}, key_file: {key:?}\n{tls} }}\n{more}"
        );
        Options::parse(&text, "a.conf", &|_| None).unwrap()
    }

    fn start(&self, tls: &str, more: &str) -> TestServer {
        TestServer::start(|options| *options = self.options(tls, more))
    }

    /// The same where clients need a certificate.
    fn verifying(&self, tls: &str, more: &str) -> TestServer {
        self.start(
            &format!("ca_file: {:?}, verify: true\n{tls}", self.authority.file()),
            more,
        )
    }

    fn reload(&self, server: &TestServer, tls: &str, more: &str) -> Result<()> {
        server.reload(self.options(tls, more))
    }

    fn client(&self, shown: Option<&Issued>) -> Arc<ClientConfig> {
        self.authority.client(shown, &[&TLS13, &TLS12])
    }

    /// A client that was sent INFO and then had its handshake, and that INFO.
    fn connect(&self, server: &TestServer, shown: Option<&Issued>) -> (Sealed, String) {
        upgrade(server, self.client(shown))
    }

    /// Why there is no TLS with a client that shows this certificate.
    fn refused(&self, server: &TestServer, shown: Option<&Issued>) -> String {
        refusal(server, self.client(shown))
    }

    /// The user that a client which shows this certificate is, and says this in CONNECT; `None`: it may not come in.
    fn user(&self, server: &TestServer, shown: &Issued, connect: &str) -> Option<String> {
        let (mut client, _) = self.connect(server, Some(shown));
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"protocol\":1{connect}}}\r\nPING\r\n"
        ));
        let line = client.line();
        if line != "PONG" {
            assert_eq!(line, "-ERR 'Authorization Violation'");
            return None;
        }
        let cid = field(&client.line(), "client_id");
        let page = get(server, &format!("/connz?cid={cid}&auth=1"));
        Some(page["connections"][0]["authorized_user"].as_str().unwrap().to_owned())
    }
}

fn field(info: &str, name: &str) -> Value {
    let json: Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
    json[name].clone()
}

fn get(server: &TestServer, path: &str) -> Value {
    let (status, body) = server.get(path);
    assert!(status.contains("200"), "{status}");
    serde_json::from_str(&body).unwrap()
}

fn socket(server: &TestServer) -> Raw {
    Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap())
}

/// TLS over a socket on which nothing more waits.
fn seal(stream: TcpStream, config: Arc<ClientConfig>) -> Sealed {
    prepare(&stream);
    let name = ServerName::try_from("localhost").unwrap();
    Raw::over(StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream))
}

fn upgrade(server: &TestServer, config: Arc<ClientConfig>) -> (Sealed, String) {
    let mut raw = socket(server);
    let info = raw.line();
    assert!(info.starts_with("INFO {"), "{info}");
    (seal(raw.stream, config), info)
}

/// A client that has said [`HELLO`], with the answer to its first PING read.
fn ready(mut client: Sealed) -> Sealed {
    client.send(HELLO);
    client.send("PING\r\n");
    client.expect("PONG\r\n");
    assert!(client.line().contains("\"connect_info\":true"));
    client
}

/// Why a connection by TLS ends before anything came by it.
fn refusal(server: &TestServer, config: Arc<ClientConfig>) -> String {
    let (mut client, _) = upgrade(server, config);
    let end = Instant::now() + PATIENCE;
    let _ = client.stream.write_all(HELLO.as_bytes());
    loop {
        match client.stream.read(&mut [0; 1024]) {
            Ok(0) => return "closed".to_owned(),
            Ok(_) => return "something came".to_owned(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(Instant::now() < end, "nothing came");
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// Waits until that many connections have ended, and returns the last of them.
fn closed(server: &TestServer, count: usize) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = get(server, "/connz?state=closed&sort=stop");
        let all = page["connections"].as_array().unwrap();
        if all.len() >= count {
            let last = all.iter().max_by_key(|one| one["stop"].as_str().unwrap().to_owned());
            return last.unwrap().clone();
        }
        assert!(Instant::now() < end, "{page}");
        std::thread::yield_now();
    }
}

#[test]
fn clients_are_served_by_tls_behind_info() {
    let fixture = Fixture::new();
    let server = fixture.start("timeout: 100", "");
    for (version, told) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let (client, info) = upgrade(&server, fixture.authority.client(None, &[version]));
        assert_eq!(field(&info, "tls_required"), true, "{info}");
        assert!(
            !info.contains("tls_verify") && !info.contains("tls_available"),
            "{info}"
        );
        let mut client = ready(client);
        client.exchange("SUB a 1\r\nPUB a 2\r\nhi\r\n", "MSG a 1 2\r\nhi\r\n");
        let page = get(&server, &format!("/connz?cid={}", field(&info, "client_id")));
        let row = &page["connections"][0];
        assert_eq!(row["tls_version"], told, "{page}");
        assert!(row["tls_cipher_suite"].as_str().unwrap().starts_with("TLS_"), "{page}");
        assert!(
            row.get("tls_first").is_none() && row.get("tls_peer_certs").is_none(),
            "{page}"
        );
    }
    let page = get(&server, "/varz");
    assert_eq!(page["tls_required"], true);
    assert_eq!(page["tls_timeout"], 100.0);
    assert_eq!(page["auth_timeout"], 101.0);
    assert_eq!(page["tls_cert_not_after"], "4096-01-01T00:00:00Z");
}

#[test]
fn messages_of_every_size_go_both_ways() {
    let fixture = Fixture::new();
    let server = fixture.start("", "max_payload: 4mb");
    let mut receiver = ready(fixture.connect(&server, None).0);
    receiver.exchange("SUB a 1\r\n", "");
    let mut sender = ready(fixture.connect(&server, None).0);
    let sizes = [
        0,
        1,
        1000,
        4096,
        16 << 10,
        (16 << 10) + 1,
        64 << 10,
        1 << 20,
        3 << 20,
        5,
    ];
    for size in sizes {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        sender.send(format!("PUB a {size}\r\n"));
        sender.send(&body);
        sender.send("\r\n");
        receiver.expect(&format!("MSG a 1 {size}\r\n"));
        assert!(receiver.take(size) == body, "{size}");
        receiver.expect("\r\n");
    }
    // Many in one write.
    let many = "PUB a 3\r\nabc\r\n".repeat(5000);
    sender.send(&many);
    for _ in 0..5000 {
        receiver.expect("MSG a 1 3\r\nabc\r\n");
    }
}

#[test]
fn a_receiver_that_reads_late_misses_nothing_and_one_that_does_not_is_closed() {
    let fixture = Fixture::new();
    let server = fixture.start("", "max_pending: 12mb");
    let mut receiver = ready(fixture.connect(&server, None).0);
    receiver.exchange("SUB a 1\r\n", "");
    let mut sender = ready(fixture.connect(&server, None).0);
    let body = vec![b'x'; 1 << 20];
    let publish = |sender: &mut Sealed| {
        sender.send("PUB a 1048576\r\n");
        sender.send(&body);
        sender.send("\r\n");
    };
    for _ in 0..8 {
        publish(&mut sender);
    }
    sender.exchange("", "");
    for _ in 0..8 {
        receiver.expect("MSG a 1 1048576\r\n");
        assert!(receiver.take(1 << 20) == body);
        receiver.expect("\r\n");
    }
    // Far more than the server keeps, and sockets hold.
    for _ in 0..40 {
        publish(&mut sender);
    }
    assert_eq!(closed(&server, 1)["reason"], "Slow Consumer (Pending Bytes)");
    sender.exchange("", "");
}

#[test]
fn whoever_does_not_speak_tls_is_not_served() {
    let fixture = Fixture::new();
    let server = fixture.start("timeout: 0.2", "");
    for (count, said) in [(1, &b"CONNECT {}\r\nPING\r\n"[..]), (2, &[0xff; 100]), (3, b"")] {
        let mut client = server.connect();
        client.send(said);
        client.expect_end("");
        let last = closed(&server, count);
        assert_eq!(last["reason"], "TLS Handshake Failure", "{last}");
        assert!(last.get("tls_version").is_none());
    }
    // The others go on, who need more time on a machine that is at other things.
    fixture.reload(&server, "", "").unwrap();
    ready(fixture.connect(&server, None).0).exchange("", "");
}

#[test]
fn a_handshake_has_an_end_in_time_and_in_bytes() {
    let fixture = Fixture::new();
    let server = fixture.start("timeout: 60", "");
    // A greeting that says it has 65,000 bytes: that is more than any has.
    let mut client = server.connect();
    client.send([0x16, 3, 1, 0x40, 0, 1, 0, 0xfd, 0xe8]);
    client.send(vec![0; 0x4000 - 4]);
    for _ in 0..3 {
        // The server may have hung up by now.
        let _ = client.stream.write_all(&[0x16, 3, 1, 0x40, 0]);
        let _ = client.stream.write_all(&[0; 0x4000]);
    }
    client.expect_end("");
    // One that comes byte by byte has its time, and no more.
    fixture.reload(&server, "timeout: 0.3", "").unwrap();
    let mut client = server.connect();
    let (mut sent, end) = (0, Instant::now() + PATIENCE);
    while client.stream.write_all(if sent == 0 { &[0x16] } else { &[3] }).is_ok() {
        sent += 1;
        assert!(Instant::now() < end, "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    closed(&server, 2);
}

#[test]
fn what_is_no_record_any_more_ends_the_connection() {
    let fixture = Fixture::new();
    let server = fixture.start("", "");
    let mut client = ready(fixture.connect(&server, None).0);
    support::send(&mut client.stream.sock, &[0x17, 3, 3, 0, 20]);
    support::send(&mut client.stream.sock, &[7; 20]);
    let last = closed(&server, 1);
    assert_eq!(last["reason"], "Read Error", "{last}");
    ready(fixture.connect(&server, None).0).exchange("", "");
}

#[test]
fn too_many_connections_are_told_so_before_the_handshake() {
    let fixture = Fixture::new();
    let server = fixture.start("", "max_connections: 1");
    let _first = ready(fixture.connect(&server, None).0);
    let mut second = server.connect();
    second.expect_end("-ERR 'maximum connections exceeded'\r\n");
}

#[test]
fn time_for_connect_begins_behind_the_handshake() {
    let fixture = Fixture::new();
    let server = fixture.start("", "authorization { token: t, timeout: 2 }");
    let raw = server.connect();
    // All that time is gone before its handshake begins: of somebody who came later, and had one, it is.
    let (mut silent, _) = fixture.connect(&server, None);
    silent.expect_end("-ERR 'Authentication Timeout'\r\n");
    let mut client = seal(raw.stream, fixture.client(None));
    client.send("CONNECT {\"auth_token\":\"t\",\"verbose\":true}\r\n");
    client.expect("+OK\r\n");
}

#[test]
fn the_least_version_and_the_suites_are_those_of_the_options() {
    let fixture = Fixture::new();
    let server = fixture.start("min_version: \"1.3\"", "");
    let old = fixture.authority.client(None, &[&TLS12]);
    assert!(refusal(&server, old).contains("ProtocolVersion"));
    ready(fixture.connect(&server, None).0);
    let server = fixture.start(
        "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], curve_preferences: [CurveP384]",
        "",
    );
    let (client, info) = upgrade(&server, fixture.authority.client(None, &[&TLS12]));
    let client = ready(client);
    let suite = client.stream.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(suite, rustls::NamedGroup::secp384r1);
    let page = get(&server, &format!("/connz?cid={}", field(&info, "client_id")));
    let row = &page["connections"][0];
    assert_eq!(row["tls_cipher_suite"], "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn clients_need_a_certificate_where_the_options_say_so() {
    let fixture = Fixture::new();
    let server = fixture.verifying("", "");
    let good = fixture.authority.issue("good", &[(DnType::CommonName, "good")], vec![]);
    let (client, info) = fixture.connect(&server, Some(&good));
    assert_eq!(field(&info, "tls_verify"), true);
    let _client = ready(client);
    let page = get(&server, &format!("/connz?cid={}&auth=1", field(&info, "client_id")));
    let shown = &page["connections"][0]["tls_peer_certs"];
    assert_eq!(shown[0]["subject"], "CN=good", "{page}");
    assert_eq!(shown[0]["spki_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(shown[0]["cert_sha256"].as_str().unwrap().len(), 64);
    // Not of everybody who may look.
    let page = get(&server, &format!("/connz?cid={}", field(&info, "client_id")));
    assert!(page["connections"][0].get("tls_peer_certs").is_none(), "{page}");
    assert!(fixture.refused(&server, None).contains("CertificateRequired"));
    let stranger = Authority::new().issue("stranger", &[(DnType::CommonName, "good")], vec![]);
    let why = fixture.refused(&server, Some(&stranger));
    assert!(why.contains("UnknownCA") || why.contains("DecryptError"), "{why}");
    let old = fixture.authority.expired("old");
    assert!(fixture.refused(&server, Some(&old)).contains("CertificateExpired"));
    assert_eq!(get(&server, "/varz")["tls_verify"], true);
}

#[test]
fn only_pinned_keys_come_in_and_a_reload_sends_the_others_away() {
    let fixture = Fixture::new();
    let [one, two] = ["one", "two"].map(|name| fixture.authority.issue(name, &[(DnType::CommonName, name)], vec![]));
    let server = fixture.verifying("", "");
    let mut pins = Vec::new();
    let mut clients = Vec::new();
    for shown in [&one, &two] {
        let (client, info) = fixture.connect(&server, Some(shown));
        clients.push(ready(client));
        let page = get(&server, &format!("/connz?cid={}&auth=1", field(&info, "client_id")));
        pins.push(
            page["connections"][0]["tls_peer_certs"][0]["spki_sha256"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let tls = format!(
        "ca_file: {:?}, verify: true, pinned_certs: [{:?}]",
        fixture.authority.file(),
        pins[0].to_uppercase()
    );
    fixture.reload(&server, &tls, "").unwrap();
    assert_eq!(closed(&server, 1)["reason"], "TLS Handshake Failure");
    clients[0].exchange("", "");
    clients[1].expect_end("");
    ready(fixture.connect(&server, Some(&one)).0);
    assert_ne!(fixture.refused(&server, Some(&two)), "something came");
}

#[test]
fn handshake_first_is_had_before_info_or_within_its_time() {
    let fixture = Fixture::new();
    let server = fixture.start("handshake_first: true", "");
    let mut first = seal(
        TcpStream::connect(server.server.client_address().unwrap()).unwrap(),
        fixture.client(None),
    );
    let info = first.line();
    assert_eq!(field(&info, "tls_required"), true);
    let _first = ready(first);
    let page = get(&server, &format!("/connz?cid={}", field(&info, "client_id")));
    assert_eq!(page["connections"][0]["tls_first"], true, "{page}");
    // Who waits for INFO waits for nothing.
    fixture
        .reload(&server, "handshake_first: true, timeout: 0.5", "")
        .unwrap();
    socket(&server).expect_end("");

    let server = fixture.start("handshake_first: \"60s\"", "allow_non_tls: true");
    let mut first = seal(
        TcpStream::connect(server.server.client_address().unwrap()).unwrap(),
        fixture.client(None),
    );
    assert_eq!(field(&first.line(), "tls_required"), true);
    ready(first);
    fixture
        .reload(&server, "handshake_first: \"1ms\"", "allow_non_tls: true")
        .unwrap();
    let (client, info) = fixture.connect(&server, None);
    assert!(
        !info.contains("tls_required") && field(&info, "tls_available") == true,
        "{info}"
    );
    ready(client);
    server.client().exchange("", "");
}

#[test]
fn clients_may_do_without_where_the_options_say_so() {
    let fixture = Fixture::new();
    let server = fixture.start("", "allow_non_tls: true");
    let (client, info) = fixture.connect(&server, None);
    assert!(
        !info.contains("tls_required") && field(&info, "tls_available") == true,
        "{info}"
    );
    let mut sealed = ready(client);
    sealed.exchange("SUB a 1\r\n", "");
    let mut plain = server.client();
    plain.exchange("SUB b 1\r\n", "");
    plain.send("PUB a 1\r\nx\r\n");
    sealed.expect("MSG a 1 1\r\nx\r\n");
    sealed.send("PUB b 1\r\ny\r\n");
    plain.expect("MSG b 1 1\r\ny\r\n");
    // Who says nothing for as long as a handshake may take will not have one. That time is over when it is for who came later and began with one.
    fixture.reload(&server, "timeout: 0.2", "allow_non_tls: true").unwrap();
    let (mut late, mut begun) = (server.connect(), server.connect());
    begun.send([0x16]);
    begun.expect_end("");
    late.send("PING\r\n");
    late.expect("PONG\r\n");
    assert!(get(&server, "/varz").get("tls_required").is_none());
}

#[test]
fn no_more_handshakes_are_begun_in_a_second_than_the_options_say() {
    let fixture = Fixture::new();
    let server = fixture.start("connection_rate_limit: 2", "");
    let mut clients: Vec<Raw> = (0..50).map(|_| server.connect()).collect();
    // None of the others ends: they have time for their handshakes.
    let refused = closed(&server, 1);
    assert_eq!(refused["reason"], "Maximum Connections Exceeded", "{refused}");
    let number = usize::try_from(refused["cid"].as_u64().unwrap()).unwrap();
    clients[number - 1].expect_end("-ERR 'Connection throttling is active. Please try again later.'\r\n");
}

#[test]
fn a_reload_has_other_certificates_for_new_connections_alone() {
    let fixture = Fixture::new();
    let server = fixture.start("", "");
    let (client, _) = fixture.connect(&server, None);
    let mut before = ready(client);
    let first = before.stream.conn.peer_certificates().unwrap()[0].clone();
    assert_eq!(first, fixture.certificate.der);
    let next = fixture.authority.server("next");
    replace(&fixture.certificate, &next);
    fixture.reload(&server, "", "").unwrap();
    before.exchange("", "");
    let client = ready(fixture.connect(&server, None).0);
    assert_eq!(client.stream.conn.peer_certificates().unwrap()[0], next.der);
    // What is no certificate is refused whole, and nothing has changed.
    std::fs::write(&fixture.certificate.certificate, "x").unwrap();
    let error = fixture.reload(&server, "", "max_payload: 5").unwrap_err().to_string();
    assert!(error.contains("error parsing X509 certificate/key pair"), "{error}");
    assert_eq!(server.server.options().max_payload, 1 << 20);
    ready(fixture.connect(&server, None).0);
    replace(&fixture.certificate, &next);
    let (certificate, key) = (&fixture.certificate.certificate, &fixture.certificate.key);
    std::fs::copy(&fixture.authority.server("third").key, key).unwrap();
    let error = fixture.reload(&server, "", "max_payload: 5").unwrap_err().to_string();
    let says = format!(
        "private key does not match public key: {} is not the key of {}",
        key.display(),
        certificate.display()
    );
    assert!(error.ends_with(&says), "{error}");
    replace(&fixture.certificate, &next);
    for (tls, more, what) in [
        ("connection_rate_limit: 5", "", "connection_rate_limit"),
        ("verify_and_map: true", "", "verify_and_map"),
        ("", "allow_non_tls: true", "allow_non_tls"),
    ] {
        let tls = format!("ca_file: {:?}\n{tls}", fixture.authority.file());
        let error = fixture.reload(&server, &tls, more).unwrap_err().to_string();
        assert!(
            error.contains(&format!("config reload not supported for {what}")),
            "{error}"
        );
    }
    // Without TLS, and with it again.
    let plain = || Options::parse("listen: \"127.0.0.1:-1\", http: \"127.0.0.1:-1\"", "a.conf", &|_| None).unwrap();
    let same_monitor = |mut options: Options| {
        options.http = server.server.options().http.clone();
        options
    };
    server.reload(same_monitor(plain())).unwrap();
    server.client().exchange("", "");
    before.exchange("", "");
    fixture.reload(&server, "", "").unwrap();
    ready(fixture.connect(&server, None).0);
}

/// Who comes back goes on with the session of the last time, if nothing had to be looked at then; and not after a reload.
#[test]
fn sessions_are_gone_on_with_where_nobody_shows_a_certificate() {
    let fixture = Fixture::new();
    let person = fixture.authority.issue("person", &[], vec![]);
    for version in [&TLS13, &TLS12] {
        let kind = |server: &TestServer, config: &Arc<ClientConfig>| {
            let client = ready(upgrade(server, Arc::clone(config)).0);
            client.stream.conn.handshake_kind()
        };
        let server = fixture.start("", "");
        let config = fixture.authority.client(None, &[version]);
        assert_eq!(kind(&server, &config), Some(HandshakeKind::Full));
        for _ in 0..3 {
            assert_eq!(kind(&server, &config), Some(HandshakeKind::Resumed));
        }
        fixture.reload(&server, "", "").unwrap();
        assert_eq!(kind(&server, &config), Some(HandshakeKind::Full));
        assert_eq!(kind(&server, &config), Some(HandshakeKind::Resumed));
        // Another server's are nothing here.
        let other = fixture.start("", "");
        assert_eq!(kind(&other, &config), Some(HandshakeKind::Full));
        let server = fixture.verifying("", "");
        let config = fixture.authority.client(Some(&person), &[version]);
        for _ in 0..3 {
            assert_eq!(kind(&server, &config), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn of_several_certificates_the_one_with_the_right_name_is_shown() {
    let fixture = Fixture::new();
    let other = fixture.authority.named("other", "other.example");
    let pair = |issued: &Issued| format!("{{cert_file: {:?}, key_file: {:?}}}", issued.certificate, issued.key);
    let text = format!(
        "listen: \"127.0.0.1:-1\"\ntls {{ certs: [{}, {}] }}",
        pair(&other),
        pair(&fixture.certificate)
    );
    let server = TestServer::start(|options| *options = Options::parse(&text, "a.conf", &|_| None).unwrap());
    let client = ready(fixture.connect(&server, None).0);
    assert_eq!(
        client.stream.conn.peer_certificates().unwrap()[0],
        fixture.certificate.der
    );
}

#[test]
fn a_certificate_names_the_user() {
    let fixture = Fixture::new();
    let email = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
    let host = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dc = || DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
    let issue = |name: &str, subject: &[(DnType, &str)], others| fixture.authority.issue(name, subject, others);
    let person = |name: &'static str| {
        [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Weir, Inc"),
            (DnType::CommonName, name),
        ]
    };
    let server = fixture.verifying(
        "verify_and_map: true",
        "authorization { users: [
            {user: \"ada@example.com\"}, {user: \"ada.example.com\"}, {user: \"spiffe://a/ada\"},
            {user: \"CN=exact,O=Weir\\\\, Inc,C=DE\"}, {user: \"C=DE, CN=reordered, O=Weir\\\\, Inc\"},
            {user: \"DC=com,CN=domain\"}, {user: \"CN=domain\"}, {user: \"CN=secret\", password: p}
            {user: \"CN=ws\", allowed_connection_types: [WEBSOCKET]}, {user: plain, password: p}
        ] }",
    );
    let all = || vec![uri("spiffe://a/ada"), host("ada.example.com"), email("ada@example.com")];
    let hosts = || vec![uri("spiffe://a/ada"), host("ada.example.com"), email("bob@example.com")];
    let uris = || vec![uri("spiffe://a/ada"), host("bob.example.com")];
    for (name, certificate, user) in [
        ("email", issue("1", &person("exact"), all()), Some("ada@example.com")),
        ("host", issue("2", &person("exact"), hosts()), Some("ada.example.com")),
        ("uri", issue("3", &person("exact"), uris()), Some("spiffe://a/ada")),
        (
            "dn",
            issue("4", &person("exact"), vec![host("bob")]),
            Some("CN=exact,O=Weir\\, Inc,C=DE"),
        ),
        (
            "reordered",
            issue("5", &person("reordered"), vec![]),
            Some("C=DE, CN=reordered, O=Weir\\, Inc"),
        ),
        ("a part of it", issue("6", &person("exact")[1..], vec![]), None),
        (
            "more than it",
            issue(
                "7",
                &[&person("exact")[..], &[(DnType::LocalityName, "x")]].concat(),
                vec![],
            ),
            None,
        ),
        (
            "domain",
            issue("8", &[(dc(), "com"), (DnType::CommonName, "domain")], vec![]),
            Some("DC=com,CN=domain"),
        ),
        (
            "other domain",
            issue("9", &[(dc(), "net"), (DnType::CommonName, "domain")], vec![]),
            Some("CN=domain"),
        ),
        (
            "nobody",
            issue("10", &[(DnType::CommonName, "nobody")], vec![host("nobody")]),
            None,
        ),
        (
            "by another way",
            issue("11", &[(DnType::CommonName, "ws")], vec![]),
            None,
        ),
    ] {
        assert_eq!(fixture.user(&server, &certificate, "").as_deref(), user, "{name}");
    }
    // The user whom the certificate names counts, and not whom the client names; with a password both have to be right.
    let exact = issue("12", &person("exact"), vec![]);
    let named = ",\"user\":\"plain\",\"pass\":\"\"";
    assert_eq!(
        fixture.user(&server, &exact, named).as_deref(),
        Some("CN=exact,O=Weir\\, Inc,C=DE")
    );
    assert_eq!(
        fixture.user(&server, &exact, ",\"user\":\"plain\",\"pass\":\"p\""),
        None
    );
    let secret = issue("13", &[(DnType::CommonName, "secret")], vec![]);
    assert_eq!(fixture.user(&server, &secret, ""), None);
    assert_eq!(
        fixture.user(&server, &secret, ",\"pass\":\"p\"").as_deref(),
        Some("CN=secret")
    );
}

#[test]
fn a_shutdown_says_that_it_is_the_end() {
    let fixture = Fixture::new();
    let server = fixture.start("", "");
    let mut client = ready(fixture.connect(&server, None).0);
    server.run(server.server.shutdown());
    let end = Instant::now() + PATIENCE;
    loop {
        match client.stream.read(&mut [0; 64]) {
            // Not an end that somebody on the way could have made.
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => assert!(Instant::now() < end),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn pages_are_served_by_https() {
    let fixture = Fixture::new();
    let (certificate, key) = (&fixture.certificate.certificate, &fixture.certificate.key);
    let configuration = format!(
        "listen: \"127.0.0.1:-1\", https: \"127.0.0.1:-1\"\ntls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {:?}, verify: true }}",
        fixture.authority.file()
    );
    let server = TestServer::start(|options| *options = Options::parse(&configuration, "a.conf", &|_| None).unwrap());
    let address = server.server.monitor_address().unwrap();
    let get = || {
        // Nobody is asked for a certificate there.
        let mut client = seal(TcpStream::connect(address).unwrap(), fixture.client(None));
        client.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send("GET /varz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut text = String::new();
        client.stream.read_to_string(&mut text).unwrap();
        let shown = client.stream.conn.peer_certificates().unwrap()[0].clone();
        (text, shown)
    };
    let (text, shown) = get();
    assert!(text.contains(&format!("\"https_port\": {}", address.port())), "{text}");
    assert_eq!(shown, fixture.certificate.der);
    let next = fixture.authority.server("next");
    replace(&fixture.certificate, &next);
    let again = Options::parse(&configuration, "a.conf", &|_| None).unwrap();
    server.reload(again).unwrap();
    assert_eq!(get().1, next.der);
}

/// Asks for a WebSocket at this address, by TLS, and returns the client and the answer's head.
fn ask_websocket(server: &TestServer, config: Arc<ClientConfig>, more: &str) -> (Sealed, String) {
    let stream = TcpStream::connect(server.server.websocket_address().unwrap()).unwrap();
    let mut client = seal(stream, config);
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    ));
    let mut head = client.line();
    let status = head.clone();
    while !head.is_empty() {
        head = client.line();
    }
    (client, status)
}

/// What the next frame holds.
fn frame(client: &mut Sealed) -> Vec<u8> {
    let head = client.take(2);
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes(client.take(2).try_into().unwrap())),
        127 => usize::try_from(u64::from_be_bytes(client.take(8).try_into().unwrap())).unwrap(),
        short => usize::from(short),
    };
    client.take(length)
}

/// The next frame's that is no PING of the server's, which come when they like.
fn answer(client: &mut Sealed) -> Vec<u8> {
    loop {
        let next = frame(client);
        if next != b"PING\r\n" {
            return next;
        }
    }
}

fn say(client: &mut Sealed, text: &[u8]) {
    let mut bytes = vec![0x82];
    match u16::try_from(text.len()) {
        Ok(short @ ..126) => bytes.push(0x80 | short as u8),
        Ok(middle) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&middle.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    // With a mask of zeros.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text);
    client.send(&bytes);
}

#[test]
fn websockets_come_by_tls() {
    let fixture = Fixture::new();
    let (certificate, key) = (&fixture.certificate.certificate, &fixture.certificate.key);
    let configuration = |more: &str| {
        format!(
            "listen: \"127.0.0.1:-1\", http: \"127.0.0.1:-1\"\nwebsocket {{ listen: \"127.0.0.1:-1\", same_origin: true\n
               tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {:?}, verify_and_map: true, {more} }} }}
             authorization {{ users: [{{user: \"CN=ada\"}}, {{user: \"CN=bob\", password: p}}] }}",
            fixture.authority.file()
        )
    };
    let parse = |text: &str| Options::parse(text, "a.conf", &|_| None).unwrap();
    let server = TestServer::start(|options| *options = parse(&configuration("")));
    let ada = fixture.authority.issue("ada", &[(DnType::CommonName, "ada")], vec![]);
    let shown = || fixture.client(Some(&ada));
    // The origin of a page that came by TLS is another port's.
    let (_, status) = ask_websocket(&server, shown(), "Origin: http://example.com\r\n");
    assert!(status.starts_with("HTTP/1.1 403 "), "{status}");
    let (mut client, status) = ask_websocket(&server, shown(), "Origin: https://example.com\r\n");
    assert!(status.starts_with("HTTP/1.1 101 "), "{status}");
    let info = String::from_utf8(frame(&mut client)).unwrap();
    assert_eq!(field(&info, "tls_required"), true, "{info}");
    assert_eq!(field(&info, "tls_available"), true, "{info}");
    say(&mut client, HELLO.as_bytes());
    say(&mut client, b"SUB a 1\r\nPING\r\n");
    assert!(answer(&mut client).starts_with(b"PONG\r\n"));
    let body = vec![b'x'; 300_000];
    let message = [b"PUB a 300000\r\n", body.as_slice(), b"\r\n"].concat();
    say(&mut client, &message);
    let mut heard = Vec::new();
    while heard.len() < message.len() {
        heard.extend(answer(&mut client));
    }
    assert!(heard.starts_with(b"MSG a 1 300000\r\nxxx") && heard.ends_with(b"xxx\r\n"));
    let page = get(&server, &format!("/connz?cid={}&auth=1", field(&info, "client_id")));
    let row = &page["connections"][0];
    assert_eq!(row["authorized_user"], "CN=ada", "{page}");
    assert_eq!(
        (&row["type"], &row["tls_version"]),
        (&"websocket".into(), &"1.3".into()),
        "{page}"
    );
    let page = get(&server, "/varz");
    assert_eq!(page["websocket"]["tls_map"], true, "{page}");
    assert_eq!(page["websocket"]["tls_cert_not_after"], "4096-01-01T00:00:00Z");
    // Without TLS, and without a certificate, nobody comes in.
    let mut plain = Raw::new(TcpStream::connect(server.server.websocket_address().unwrap()).unwrap());
    plain.send("GET / HTTP/1.1\r\n\r\n");
    plain.expect_end("");
    // New certificates are for new connections; what they are good for may not be different.
    let next = fixture.authority.server("next");
    replace(&fixture.certificate, &next);
    let with_its_port = |text: &str| {
        let mut options = parse(text);
        options.http = server.server.options().http.clone();
        options
    };
    server.reload(with_its_port(&configuration("timeout: 100"))).unwrap();
    let (client, _) = ask_websocket(&server, shown(), "");
    assert_eq!(client.stream.conn.peer_certificates().unwrap()[0], next.der);
    let pinned = configuration(&format!("pinned_certs: [\"{}\"]", "0".repeat(64)));
    let error = server.reload(with_its_port(&pinned)).unwrap_err();
    assert!(
        error.to_string().contains("config reload not supported for websocket"),
        "{error}"
    );
}
