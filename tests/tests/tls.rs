//! TLS with real clients, and beside a genuine `nats-server` 2.15, if there is one: the same clients with the same certificates, over the
//! same configuration, get the same.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use weir_tests::certificates::Certificates;
use weir_tests::genuine::genuine;
use weir_tests::peer::{LIMIT, POLL, Peer};
use weir_tests::server::program;
use weir_tests::{jetstream, patient};

/// How a client comes that trusts the authority, and shows this certificate if it is asked for one.
fn config(certificates: &Certificates, shown: Option<&str>, only_1_2: bool) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.path("ca.pem"))?)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let versions = if only_1_2 { vec![&TLS12] } else { vec![&TLS13, &TLS12] };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
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

/// How a client comes.
#[derive(Debug)]
enum Ask {
    /// It waits for INFO and then has its handshake, with this certificate.
    Tls(Option<&'static str>),
    /// The same with TLS 1.2.
    Tls12(Option<&'static str>),
    /// It has its handshake first.
    First,
    /// It says CONNECT as it is.
    Plain,
    /// The same as [`Ask::Tls`], and it says this user and password.
    As(Option<&'static str>, &'static str),
}

struct Case {
    name: &'static str,
    /// In the `tls` block.
    tls: &'static str,
    more: &'static str,
    asks: &'static [Ask],
}

const ALL: &[Ask] = &[
    Ask::Tls(None),
    Ask::Tls12(None),
    Ask::Tls(Some("person")),
    Ask::Tls(Some("stranger")),
    Ask::First,
    Ask::Plain,
];

/// Those who wait for INFO.
const WAITING: &[Ask] = &[
    Ask::Tls(None),
    Ask::Tls12(None),
    Ask::Tls(Some("person")),
    Ask::Tls(Some("stranger")),
    Ask::Plain,
];

const MAPPED: &[Ask] = &[
    Ask::Tls(Some("person")),
    Ask::Tls12(Some("names")),
    Ask::Tls(Some("names")),
    Ask::Tls(Some("domain")),
    Ask::Tls(Some("stranger")),
    Ask::Tls(None),
    Ask::As(Some("person"), "\"user\":\"x\",\"pass\":\"y\""),
    Ask::As(Some("person"), "\"user\":\"x\""),
    Ask::As(Some("person"), "\"pass\":\"y\""),
];

const CASES: &[Case] = &[
    Case {
        name: "a certificate of the server",
        tls: "",
        more: "",
        asks: ALL,
    },
    Case {
        name: "only TLS 1.3",
        tls: "min_version: \"1.3\"",
        more: "",
        asks: ALL,
    },
    Case {
        name: "certificates of clients",
        tls: "ca_file: \"@/ca.pem\", verify: true",
        more: "",
        asks: ALL,
    },
    Case {
        name: "certificates of all kinds",
        tls: "ca_file: \"@/several.pem\", verify: true",
        more: "",
        asks: &[
            Ask::Tls(Some("any")),
            Ask::Tls12(Some("any")),
            Ask::Tls(Some("serving")),
            Ask::Tls(Some("both")),
            Ask::Tls(Some("any-stranger")),
            Ask::Tls(Some("below")),
            Ask::Tls12(Some("below")),
            Ask::Tls(Some("below-any")),
            Ask::Tls(Some("below-serving")),
            Ask::Tls(Some("below-stranger")),
            Ask::Tls(Some("self")),
            Ask::Tls12(Some("self")),
            Ask::Tls(Some("self-unknown")),
            Ask::Tls(Some("self-plain")),
            Ask::Tls(Some("ca")),
        ],
    },
    Case {
        name: "an authority, and nobody is asked",
        tls: "ca_file: \"@/ca.pem\"",
        more: "",
        asks: ALL,
    },
    Case {
        name: "pinned keys, and none of them",
        tls: "ca_file: \"@/ca.pem\", verify: true, pinned_certs: [\"0000000000000000000000000000000000000000000000000000000000000000\"]",
        more: "",
        asks: ALL,
    },
    Case {
        name: "the handshake first",
        tls: "handshake_first: true",
        more: "",
        asks: &[Ask::First],
    },
    Case {
        name: "the handshake first, or not",
        tls: "handshake_first: \"300ms\"",
        more: "",
        asks: WAITING,
    },
    Case {
        // A time that is over for nobody, on a machine that is at other things.
        name: "the handshake first, and its time",
        tls: "handshake_first: \"60s\"",
        more: "",
        asks: &[Ask::First],
    },
    Case {
        name: "with TLS or without",
        tls: "",
        more: "allow_non_tls: true",
        asks: ALL,
    },
    Case {
        name: "the handshake first, or not, or no TLS",
        tls: "handshake_first: auto",
        more: "allow_non_tls: true",
        asks: &[Ask::Plain],
    },
    Case {
        name: "the handshake first, and its time, or no TLS",
        tls: "handshake_first: \"60s\"",
        more: "allow_non_tls: true",
        asks: &[Ask::First],
    },
    Case {
        name: "passwords",
        tls: "",
        more: "authorization { user: x, password: y }",
        asks: &[
            Ask::Tls(None),
            Ask::As(None, "\"user\":\"x\",\"pass\":\"y\""),
            Ask::As(None, "\"user\":\"x\",\"pass\":\"z\""),
        ],
    },
    Case {
        name: "users by their subject",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { users: [{user: \"CN=person,O=Weir\\\\, Inc,C=DE\"}, {user: \"CN=domain,DC=com\"}, {user: x, password: y}] }",
        asks: MAPPED,
    },
    Case {
        name: "users by their subject in another order",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { users: [{user: \"c=DE,o=Weir\\\\, Inc,cn=person\"}, {user: \"DC=com, CN=domain\"}] }",
        asks: MAPPED,
    },
    Case {
        name: "users by a part of their subject",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { users: [{user: \"CN=person\"}, {user: \"CN=domain\"}, {user: \"O=Weir\\\\, Inc,C=DE\"}] }",
        asks: MAPPED,
    },
    Case {
        name: "users by their other names",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { users: [{user: \"a.example.com\"}, {user: \"spiffe://a/b\"}, {user: \"CN=person,O=Weir\\\\, Inc,C=DE\", password: y}] }",
        asks: MAPPED,
    },
    Case {
        name: "users by their address",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "accounts { A { users: [{user: \"a@example.com\"}, {user: \"a.example.com\"}] } }",
        asks: MAPPED,
    },
    Case {
        name: "who is nobody is nobody, also where others need not say who they are",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { users: [{user: x, password: y}, {user: \"CN=domain,DC=com\", allowed_connection_types: [WEBSOCKET]}] }, no_auth_user: x",
        asks: MAPPED,
    },
    Case {
        name: "one user, who is not in a list",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { user: x, password: y }",
        asks: MAPPED,
    },
    Case {
        name: "a token",
        tls: "ca_file: \"@/ca.pem\", verify_and_map: true",
        more: "authorization { token: y }",
        asks: &[
            Ask::Tls(Some("person")),
            Ask::As(Some("person"), "\"auth_token\":\"y\""),
        ],
    },
];

/// Reads a line. `None`: the connection has ended, or was ended.
fn line(stream: &mut impl Read) -> Result<Option<String>> {
    let mut found = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte[0] == b'\n' => return Ok(Some(String::from_utf8_lossy(&found).trim().to_owned())),
            Ok(_) => found.push(byte[0]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("nothing came, so far {:?}", String::from_utf8_lossy(&found))
            }
            // Refused, or cut off.
            Err(_) => return Ok(None),
        }
    }
}

/// What of INFO is about TLS.
fn told(info: &str) -> Result<String> {
    let info: Value = serde_json::from_str(info.strip_prefix("INFO ").with_context(|| format!("no INFO: {info}"))?)?;
    let names = ["auth_required", "tls_required", "tls_verify", "tls_available"];
    let there = names.into_iter().filter(|name| info[*name] == Value::Bool(true));
    Ok(there.collect::<Vec<_>>().join(" "))
}

/// Says CONNECT and PING, and tells what comes; answers whether the connection stays.
fn converse(stream: &mut (impl Read + Write), credentials: &str, out: &mut String) -> Result<bool> {
    let comma = if credentials.is_empty() { "" } else { "," };
    let said = format!("CONNECT {{\"verbose\":false,\"pedantic\":false{comma}{credentials}}}\r\nPING\r\n");
    // One that is refused may be closed by now.
    let _ = stream.write_all(said.as_bytes());
    loop {
        match line(stream)? {
            None => {
                writeln!(out, "  (closed)")?;
                return Ok(false);
            }
            Some(ping) if ping == "PING" => {}
            Some(pong) if pong == "PONG" => {
                writeln!(out, "  PONG")?;
                return Ok(true);
            }
            Some(other) => writeln!(out, "  {other}")?,
        }
    }
}

/// What a client gets, and what the server says of it meanwhile.
fn play(peer: &Peer, certificates: &Certificates, ask: &Ask, out: &mut String) -> Result<()> {
    writeln!(out, " {ask:?}")?;
    let mut stream = TcpStream::connect(peer.address("nats")?)?;
    stream.set_read_timeout(Some(LIMIT / 3))?;
    stream.set_nodelay(true)?;
    if !matches!(ask, Ask::First) {
        let Some(info) = line(&mut stream)? else {
            writeln!(out, "  (closed)")?;
            return Ok(());
        };
        writeln!(out, "  {}", told(&info)?)?;
    }
    let (shown, only_1_2, credentials) = match ask {
        Ask::Plain => return converse(&mut stream, "", out).map(drop),
        Ask::Tls(shown) => (*shown, false, ""),
        Ask::Tls12(shown) => (*shown, true, ""),
        Ask::As(shown, credentials) => (*shown, false, *credentials),
        Ask::First => (None, false, ""),
    };
    let connection = ClientConnection::new(
        config(certificates, shown, only_1_2)?,
        ServerName::try_from("localhost")?,
    )?;
    let mut stream = StreamOwned::new(connection, stream);
    if matches!(ask, Ask::First) {
        let Some(info) = line(&mut stream)? else {
            writeln!(out, "  (closed)")?;
            return Ok(());
        };
        writeln!(out, "  {}", told(&info)?)?;
    }
    if !converse(&mut stream, credentials, out)? {
        // One that ends may be listed for a moment still.
        return Ok(());
    }
    let page = page(peer, "/connz?auth=1")?;
    for row in page["connections"].as_array().context("no connections")? {
        for name in [
            "authorized_user",
            "account",
            "tls_version",
            "tls_first",
            "tls_peer_certs",
        ] {
            // Whoever came by a token has no name with us.
            if let Some(value) = row.get(name).filter(|value| *value != "[REDACTED]") {
                writeln!(out, "  {name}: {value}")?;
            }
        }
    }
    Ok(())
}

fn page(peer: &Peer, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(peer.address("monitoring")?)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no page")?;
    // In one piece or in several.
    let start = body.find('{').context("no JSON")?;
    let end = body.rfind('}').context("no JSON")?;
    Ok(serde_json::from_str(&body[start..=end])?)
}

/// All that the clients of a case get.
fn run(program: &Path, certificates: &Certificates, case: &Case) -> Result<String> {
    let configuration = format!(
        "http: \"127.0.0.1:-1\"\ntls {{ cert_file: \"@/server.pem\", key_file: \"@/server.key\", timeout: 30\n{} }}\n{}\njetstream {{ store_dir: \"@STORE@\" }}",
        case.tls, case.more
    );
    let peer = Peer::start(program, &certificates.fill(&configuration))?;
    let mut out = format!(" {}\n", peer.scheme("nats"));
    for ask in case.asks {
        play(&peer, certificates, ask, &mut out)?;
        // The next one is to be alone.
        let since = Instant::now();
        while page(&peer, "/connz")?["num_connections"] != 0 {
            ensure!(since.elapsed() < LIMIT, "connections do not end");
            std::thread::sleep(POLL);
        }
    }
    let varz = page(&peer, "/varz")?;
    for name in [
        "auth_required",
        "tls_required",
        "tls_verify",
        "tls_timeout",
        "auth_timeout",
        "tls_cert_not_after",
    ] {
        if let Some(value) = varz.get(name) {
            match value.as_f64() {
                Some(number) => writeln!(out, " {name}: {number}")?,
                None => writeln!(out, " {name}: {value}")?,
            }
        }
    }
    Ok(out)
}

#[test]
fn the_same_clients_get_the_same() -> Result<()> {
    let theirs = match genuine() {
        Ok(theirs) => theirs,
        Err(why) => {
            println!("nothing was compared: {why}");
            return Ok(());
        }
    };
    let certificates = Certificates::make()?;
    let only = std::env::var("WEIR_CASE").ok();
    let mut wrong = Vec::new();
    for case in CASES {
        if only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        let shown = |told: Result<String>| told.unwrap_or_else(|error| format!("{error:#}\n"));
        let told = shown(run(&theirs, &certificates, case));
        let ours = shown(run(&program(), &certificates, case));
        if told != ours {
            wrong.push(format!("{}\n--- genuine ---\n{told}--- ours ---\n{ours}", case.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// `-t` says the same of files with TLS in them.
#[test]
fn the_same_is_refused() -> Result<()> {
    let theirs = match genuine() {
        Ok(theirs) => theirs,
        Err(why) => {
            println!("nothing was compared: {why}");
            return Ok(());
        }
    };
    let certificates = Certificates::make()?;
    let accepts = |program: &Path, configuration: &str| -> Result<bool> {
        let file = certificates.path("checked.conf");
        fs::write(&file, certificates.fill(configuration))?;
        let output = Command::new(program).arg("-t").arg("-c").arg(&file).output()?;
        Ok(output.status.success())
    };
    let pair = "cert_file: \"@/server.pem\", key_file: \"@/server.key\"";
    let mut wrong = Vec::new();
    for (block, both) in [
        ("", true),
        ("timeout: 2, verify: false, insecure: false", true),
        ("timeout: \"2s\", connection_rate_limit: 10", true),
        ("ca_file: \"@/ca.pem\", verify: true", true),
        ("ca_file: \"@/missing.pem\"", false),
        ("ca_file: \"@/server.key\"", false),
        ("verify: yes, verify_and_map: true, ca_file: \"@/ca.pem\"", true),
        ("verify: 1", false),
        ("verfy: true", false),
        ("verify_cert_and_check_known_urls: true", false),
        ("handshake_first: true", true),
        ("handshake_first: auto", true),
        ("first: 50ms", true),
        ("immediate: off", true),
        ("handshake_first: soon", false),
        ("handshake_first: 5", false),
        ("min_version: \"1.2\"", true),
        ("min_version: \"1.3\"", true),
        ("min_version: \"1.1\"", false),
        ("min_version: 1.3", false),
        (
            "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]",
            true,
        ),
        (
            "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]",
            true,
        ),
        ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", false),
        ("cipher_suites: [TLS_SOMETHING]", false),
        ("cipher_suites: []", false),
        ("curve_preferences: [CurveP256, X25519, CurveP384]", true),
        ("curve_preferences: [CurveP521, CurveP256, X25519MLKEM768]", true),
        ("curve_preferences: [Curve]", false),
        (
            "pinned_certs: [\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF\"]",
            true,
        ),
        ("pinned_certs: [\"0123\"]", false),
        ("ocsp_peer: false", true),
        (
            "certs: [{cert_file: \"@/server.pem\", key_file: \"@/server.key\"}]",
            false,
        ),
        ("cert_store: \"WindowsCurrentUser\"", false),
    ] {
        let configuration = format!("port: 4222\ntls {{ {pair}, {block} }}");
        for (whose, program) in [("genuine", &theirs), ("ours", &program())] {
            if accepts(program, &configuration)? != both {
                wrong.push(format!("{whose} says {} to {block:?}", !both));
            }
        }
    }
    for (configuration, both) in [
        (
            "port: 4222\ntls { certs: [{cert_file: \"@/server.pem\", key_file: \"@/server.key\"}, {cert_file: \"@/person.pem\", key_file: \"@/person.key\"}] }",
            true,
        ),
        ("port: 4222\ntls { certs: [{cert_file: \"@/server.pem\"}] }", false),
        (
            "port: 4222\ntls { certs: [{cert_file: \"@/server.pem\", key_fil: \"@/server.key\"}] }",
            false,
        ),
        ("port: 4222\ntls { cert_file: \"@/server.pem\" }", false),
        ("port: 4222\ntls { key_file: \"@/server.key\" }", false),
        (
            "port: 4222\ntls { cert_file: \"@/server.pem\", key_file: \"@/person.key\" }",
            false,
        ),
        (
            "port: 4222\ntls { cert_file: \"@/server.key\", key_file: \"@/server.key\" }",
            false,
        ),
        (
            "port: 4222\ntls { cert_file: \"@/server.pem\", key_file: \"@/server.pem\" }",
            false,
        ),
        (
            "port: 4222\ntls { cert_file: \"@/server.pem\", key_file: \"@/server.key\" }\nallow_non_tls: true\nhttps: 8222",
            true,
        ),
        (
            "port: 4222\nwebsocket { port: 8080, tls { cert_file: \"@/server.pem\", key_file: \"@/server.key\" } }",
            true,
        ),
        (
            "port: 4222\nwebsocket { port: 8080, tls { cert_file: \"@/server.pem\" } }",
            false,
        ),
        (
            "port: 4222\nwebsocket { port: 8080, tls { cert_file: \"@/missing.pem\", key_file: \"@/server.key\" } }",
            false,
        ),
    ] {
        for (whose, program) in [("genuine", &theirs), ("ours", &program())] {
            if accepts(program, configuration)? != both {
                wrong.push(format!("{whose} says {} to {configuration:?}", !both));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// async-nats: core messages of a megabyte, a stream, and a client certificate.
#[test]
fn async_nats_comes_by_tls() -> Result<()> {
    let certificates = Certificates::make()?;
    let runtime = tokio::runtime::Runtime::new()?;
    for (tls, first) in [
        ("", false),
        ("handshake_first: \"60s\"", true),
        ("ca_file: \"@/ca.pem\", verify: true", false),
    ] {
        let configuration = format!(
            "tls {{ cert_file: \"@/server.pem\", key_file: \"@/server.key\", {tls} }}\njetstream {{ store_dir: \"@STORE@\" }}"
        );
        let peer = Peer::start(&program(), &certificates.fill(&configuration))?;
        let address = peer.address("nats")?;
        runtime.block_on(async {
            let mut options = patient(async_nats::ConnectOptions::new())
                .require_tls(true)
                .add_root_certificates(certificates.path("ca.pem"))
                .add_client_certificate(certificates.path("person.pem"), certificates.path("person.key"));
            if first {
                options = options.tls_first();
            }
            let client = options.connect(format!("tls://{address}")).await?;
            let mut heard = client.subscribe("a").await?;
            let body = bytes::Bytes::from(vec![7; 1 << 20]);
            for _ in 0..20 {
                client.publish("a", body.clone()).await?;
            }
            for _ in 0..20 {
                let message = heard.next().await.context("the end")?;
                ensure!(message.payload == body, "another body");
            }
            let jetstream = jetstream(client.clone());
            let config = async_nats::jetstream::stream::Config {
                name: "S".to_owned(),
                subjects: vec!["s.>".to_owned()],
                ..Default::default()
            };
            let mut stream = jetstream.create_stream(config).await?;
            for at in 0..200 {
                jetstream.publish(format!("s.{at}"), body.slice(..1000)).await?.await?;
            }
            ensure!(stream.info().await?.state.messages == 200, "messages are missing");
            Ok(())
        })?;
    }
    Ok(())
}
