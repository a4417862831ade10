//! OCSP stapling, against a server in this process, a responder in this process, and clients that look what goes with the certificate.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/responder.rs"]
mod responder;
mod support;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io};

use answers::{Ca, Made, Said, Saying, answer};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use responder::{Reply, Responder};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use support::{Raw, TestServer};
use weir_broker::conf::Options;
use weir_broker::{Error, Server};
use x509_cert::der::Decode as _;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how many seconds an answer counts that is to be renewed, or to run out, in a test: more than anything takes that needs it to count.
const SHORT: u64 = 8;

const GOOD: Seen = Seen::With(Saying::Good);

/// What a certificate is made with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// That it goes with a staple.
    MustStaple,
    Nothing,
}

struct Fixture {
    folder: tempfile::TempDir,
    ca: Arc<Ca>,
    responder: Responder,
}

impl Fixture {
    fn new() -> Self {
        let ca = Arc::new(Ca::new());
        Self {
            folder: tempfile::tempdir().unwrap(),
            responder: Responder::start(&ca, Saying::Good),
            ca,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A certificate that names the responder, in files of that name, with its authority behind it.
    fn issue(&self, name: &str, says: Says) -> Made {
        let made = self.ca.server(&[self.responder.url()], says == Says::MustStaple);
        self.write(name, &made);
        made
    }

    fn write(&self, name: &str, made: &Made) {
        let chain = pem("CERTIFICATE", &made.der) + &pem("CERTIFICATE", &self.ca.der);
        fs::write(self.path(&format!("{name}.pem")), chain).unwrap();
        fs::write(
            self.path(&format!("{name}.key")),
            pem("PRIVATE KEY", &made.key.serialize_der()),
        )
        .unwrap();
    }

    fn tls(&self, name: &str) -> String {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}",
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key"))
        )
    }

    /// A server with this certificate and what else stands in the file.
    fn options(&self, name: &str, more: &str) -> Options {
        let text = format!("listen: \"127.0.0.1:-1\"\n{}\n{more}", self.tls(name));
        Options::parse(&text, "a.conf", &|_| None).unwrap()
    }

    fn start(&self, name: &str, more: &str) -> Result<TestServer, String> {
        let options = self.options(name, more);
        TestServer::try_start(|found| *found = options).map_err(|error| error.to_string())
    }

    fn reload(&self, server: &TestServer, name: &str, more: &str) -> Result<(), Error> {
        server.run(server.server.reload(self.options(name, more), |_| Ok(())))
    }

    /// Where the answer about a certificate is kept.
    fn kept(&self, made: &Made) -> PathBuf {
        let name: String = Sha256::digest(&made.der)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.store().join("ocsp").join(name)
    }

    fn keeping(&self, mode: &str) -> String {
        format!("store_dir: {:?}\nocsp {{ mode: {mode} }}", self.store())
    }
}

fn pem(of: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {of}-----\n{}\n-----END {of}-----\n", lines.join("\n"))
}

/// Takes any certificate, and keeps what goes with it.
#[derive(Debug, Default)]
struct Looker(Mutex<Vec<u8>>);

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What goes with the certificate that is shown to a client of this name at this address; an error: there was no handshake.
fn look(
    address: SocketAddr,
    behind_info: bool,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).unwrap();
    if behind_info {
        let mut raw = Raw::new(stream);
        assert!(raw.line().starts_with("INFO {"));
        stream = raw.stream;
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let looker = Arc::new(Looker::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&looker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let _ = connection.writer().flush();
    let seen = looker.0.lock().unwrap().clone();
    Ok(seen)
}

/// What clients are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// No certificate.
    Nothing,
    /// One that goes with no answer.
    Alone,
    With(Saying),
}

fn seen(server: &TestServer) -> Seen {
    match look(server.server.client_address().unwrap(), true, "localhost", &TLS13) {
        Err(_) => Seen::Nothing,
        Ok(seen) if seen.is_empty() => Seen::Alone,
        Ok(seen) => Seen::With(said(&seen)),
    }
}

fn said(raw: &[u8]) -> Saying {
    let bytes = OcspResponse::from_der(raw).unwrap().response_bytes.unwrap();
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).unwrap();
    match basic.tbs_response_data.responses[0].cert_status {
        CertStatus::Good(_) => Saying::Good,
        CertStatus::Revoked(_) => Saying::Revoked,
        CertStatus::Unknown(_) => Saying::Unknown,
    }
}

/// Waits until this is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn modes_decide_which_certificates_go_with_an_answer() {
    let fixture = Fixture::new();
    fixture.issue("must", Says::MustStaple);
    fixture.issue("may", Says::Nothing);
    for (more, must, may) in [
        ("", true, false),
        ("ocsp: true", true, false),
        ("ocsp: false", false, false),
        ("ocsp { mode: auto }", true, false),
        ("ocsp { mode: always }", true, true),
        ("ocsp { mode: must }", true, false),
        ("ocsp { mode: never }", false, false),
    ] {
        for (name, expected) in [("must", must), ("may", may)] {
            let before = fixture.responder.requests().len();
            let server = fixture.start(name, more).unwrap();
            assert_eq!(
                seen(&server),
                if expected { GOOD } else { Seen::Alone },
                "{name}, {more:?}"
            );
            // The server may show an answer before the responder has noted that it gave one.
            fixture.responder.wait_for(before + usize::from(expected));
            let asked = fixture.responder.requests().len() - before;
            assert_eq!(asked, usize::from(expected), "{name}, {more:?}");
        }
    }
    assert!(fixture.responder.requests().iter().all(|request| request == "POST /"));
}

#[test]
fn all_ports_and_versions_show_it() {
    let fixture = Fixture::new();
    fixture.issue("must", Says::MustStaple);
    fixture.issue("other", Says::MustStaple);
    let websocket = format!("websocket {{ listen: \"127.0.0.1:-1\"\n{} }}", fixture.tls("other"));
    let server = fixture
        .start("must", &format!("https: \"127.0.0.1:-1\"\n{websocket}"))
        .unwrap();
    let (clients, pages, websockets) = (
        server.server.client_address().unwrap(),
        server.server.monitor_address().unwrap(),
        server.server.websocket_address().unwrap(),
    );
    for (address, behind_info) in [(clients, true), (pages, false), (websockets, false)] {
        for version in [&TLS12, &TLS13] {
            let seen = look(address, behind_info, "localhost", version).unwrap();
            assert_eq!(said(&seen), Saying::Good, "{address}");
        }
    }
    // Of one certificate at two ports there is one question.
    assert_eq!(fixture.responder.requests().len(), 2);
    let websocket = format!("websocket {{ listen: \"127.0.0.1:-1\"\n{} }}", fixture.tls("must"));
    let server = fixture.start("must", &websocket).unwrap();
    let seen = look(server.server.websocket_address().unwrap(), false, "localhost", &TLS13).unwrap();
    assert_eq!(said(&seen), Saying::Good);
    assert_eq!(fixture.responder.requests().len(), 3);
}

#[test]
fn of_several_certificates_each_goes_with_its_own() {
    let fixture = Fixture::new();
    let mut params = rcgen::CertificateParams::new(vec!["plain.example".to_owned()]).unwrap();
    params.subject_alt_names.truncate(1);
    let plain = fixture.ca.sign(params);
    fixture.write("plain", &plain);
    let must = fixture.issue("must", Says::MustStaple);
    let pair = |name: &str| {
        let (certificate, key) = (
            fixture.path(&format!("{name}.pem")),
            fixture.path(&format!("{name}.key")),
        );
        format!("{{ cert_file: {certificate:?}, key_file: {key:?} }}")
    };
    let text = format!(
        "listen: \"127.0.0.1:-1\"\ntls {{ certs: [{}, {}] }}",
        pair("plain"),
        pair("must")
    );
    let server = TestServer::start(|options| *options = Options::parse(&text, "a.conf", &|_| None).unwrap());
    let address = server.server.client_address().unwrap();
    assert!(look(address, true, "plain.example", &TLS13).unwrap().is_empty());
    let seen = look(address, true, "localhost", &TLS13).unwrap();
    assert_eq!(said(&seen), Saying::Good);
    let id = OcspResponse::from_der(&seen).unwrap().response_bytes.unwrap();
    let id = BasicOcspResponse::from_der(id.response.as_bytes()).unwrap();
    assert_eq!(
        id.tbs_response_data.responses[0].cert_id.serial_number,
        answers::number(&must.der)
    );
}

#[test]
fn the_authority_may_stand_in_ca_file() {
    let fixture = Fixture::new();
    let made = fixture.issue("must", Says::MustStaple);
    fs::write(fixture.path("must.pem"), pem("CERTIFICATE", &made.der)).unwrap();
    let without = fixture.start("must", "").err().unwrap();
    assert!(without.contains("no issuers found"), "{without}");
    let check = Server::check(&fixture.options("must", "")).unwrap_err().to_string();
    assert!(check.contains("no issuers found"), "{check}");
    fs::write(fixture.path("ca.pem"), pem("CERTIFICATE", &fixture.ca.der)).unwrap();
    let tls = fixture
        .tls("must")
        .replace(" }", &format!(", ca_file: {:?} }}", fixture.path("ca.pem")));
    let options = Options::parse(&format!("listen: \"127.0.0.1:-1\"\n{tls}"), "a.conf", &|_| None).unwrap();
    let server = TestServer::start(|found| *found = options);
    assert_eq!(seen(&server), GOOD);
}

#[test]
fn a_start_without_an_answer_that_counts_is_refused() {
    let fixture = Fixture::new();
    let made = fixture.issue("must", Says::MustStaple);
    let (id, stranger) = (fixture.ca.id(&made.der), Ca::new());
    let said = |left: i64| Said {
        status: Saying::Good,
        this_update: std::time::SystemTime::now() - Duration::from_secs(100),
        next_update: Some(
            std::time::SystemTime::now() - Duration::from_secs(50) + Duration::from_secs(left.unsigned_abs()),
        ),
    };
    let other = fixture.issue("other", Says::Nothing);
    for (bytes, status, why) in [
        (b"<html>no</html>".to_vec(), 200, "it is no answer"),
        (vec![0x30; 40 << 10], 200, "length limit exceeded"),
        (b"".to_vec(), 500, "500"),
        (
            answer(vec![(id.clone(), said(100))], stranger.issuer.key(), &[]),
            200,
            "nobody has signed",
        ),
        (
            fixture.ca.answer(fixture.ca.id(&other.der), &said(100)),
            200,
            "about another certificate",
        ),
        (fixture.ca.answer(id.clone(), &said(0)), 200, "is past time"),
        (
            answers::refusal(x509_ocsp::OcspResponseStatus::TryLater),
            200,
            "try later",
        ),
    ] {
        fixture
            .responder
            .behave(move |_, _| Reply::Bytes(status, bytes.clone()));
        let refused = fixture.start("must", "").err().unwrap();
        let begins = format!(
            "bad OCSP status update for certificate at '{}': exhausted ocsp servers: POST ",
            fixture.path("must.pem").display()
        );
        assert!(
            refused.starts_with(&begins) && refused.contains(why),
            "{why}: {refused}"
        );
        // What says what a start would do asks nobody.
        Server::check(&fixture.options("must", "")).unwrap();
    }
    fixture.responder.behave(|_, _| Reply::Nothing);
    assert!(fixture.start("must", "").is_err());
    // One that names nobody.
    let silent = fixture.ca.server(&[], true);
    fixture.write("silent", &silent);
    let refused = fixture.start("silent", "").err().unwrap();
    assert!(refused.contains("no available ocsp servers"), "{refused}");
    fixture.start("silent", "ocsp: false").unwrap();
}

#[test]
fn a_certificate_that_is_not_good_starts_no_server_where_it_has_to_be() {
    let fixture = Fixture::new();
    fixture.issue("must", Says::MustStaple);
    fixture.issue("may", Says::Nothing);
    for (saying, told) in [(Saying::Revoked, "revoked"), (Saying::Unknown, "unknown")] {
        fixture.responder.say(saying);
        for (name, mode) in [("must", "must"), ("must", "always"), ("may", "always")] {
            let refused = fixture.start(name, &format!("ocsp {{ mode: {mode} }}")).err().unwrap();
            let expected = format!(
                "found existing OCSP status for certificate at '{}': {told}",
                fixture.path(&format!("{name}.pem")).display()
            );
            assert_eq!(refused, expected);
        }
        // Clients are told, and decide.
        let server = fixture.start("must", "ocsp: true").unwrap();
        assert_eq!(seen(&server), Seen::With(saying));
    }
}

#[test]
fn answers_are_kept_for_the_next_start() {
    let fixture = Fixture::new();
    let made = fixture.issue("must", Says::MustStaple);
    let more = fixture.keeping("always");
    drop(fixture.start("must", &more).unwrap());
    let kept = fixture.kept(&made);
    let bytes = fs::read(&kept).unwrap();
    assert_eq!(said(&bytes), Saying::Good);
    assert_eq!(files(kept.parent().unwrap()), 1, "nothing unfinished stays");
    // Nobody has to be there.
    fixture.responder.behave(|_, _| Reply::Nothing);
    let server = fixture.start("must", &more).unwrap();
    assert_eq!(seen(&server), GOOD);
    drop(server);
    assert_eq!(fixture.responder.requests().len(), 1);
    // What is damaged, is another's, or has run out is asked for again.
    let expired = Said {
        status: Saying::Good,
        this_update: std::time::SystemTime::now() - Duration::from_secs(100),
        next_update: Some(std::time::SystemTime::now() - Duration::from_secs(50)),
    };
    let endless = Said {
        next_update: None,
        ..expired.clone()
    };
    let id = fixture.ca.id(&made.der);
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for wrong in [
        damaged,
        Vec::new(),
        vec![0x30; 40 << 10],
        Ca::new().answer(id.clone(), &expired),
        fixture.ca.answer(id.clone(), &expired),
        fixture.ca.answer(id, &endless),
    ] {
        fs::write(&kept, wrong).unwrap();
        fixture.responder.behave(|_, _| Reply::Nothing);
        assert!(fixture.start("must", &more).is_err());
        fixture.responder.say(Saying::Good);
        drop(fixture.start("must", &more).unwrap());
        assert_eq!(said(&fs::read(&kept).unwrap()), Saying::Good);
    }
    // What was said of it is not forgotten by a start.
    fixture.responder.say(Saying::Revoked);
    fs::remove_file(&kept).unwrap();
    assert!(fixture.start("must", &more).is_err());
    fixture.responder.behave(|_, _| Reply::Nothing);
    let refused = fixture.start("must", &more).err().unwrap();
    assert!(refused.contains(": revoked (a start without "), "{refused}");
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_next_start_its_answer_and_no_more() {
    let fixture = Fixture::new();
    fixture.issue("must", Says::MustStaple);
    fs::create_dir(fixture.store()).unwrap();
    fs::write(fixture.store().join("ocsp"), "a file").unwrap();
    let server = fixture.start("must", &fixture.keeping("must")).unwrap();
    assert_eq!(seen(&server), GOOD);
}

#[test]
fn responders_are_asked_as_they_like_and_one_after_the_other() {
    let fixture = Fixture::new();
    fixture.issue("must", Says::MustStaple);
    // By GET where POST is not taken.
    fixture.responder.behave(|method, _| match method {
        "GET" => Reply::Says(Saying::Good, 3600),
        _ => Reply::Bytes(405, Vec::new()),
    });
    let server = fixture.start("must", "").unwrap();
    assert_eq!(seen(&server), GOOD);
    assert_eq!(fixture.responder.requests(), ["POST /", "GET /…"]);
    drop(server);
    // Others than those that the certificate names, and of these the first that has an answer that counts.
    let [wrong, right] = [0, 1].map(|_| Responder::start(&fixture.ca, Saying::Good));
    wrong.behave(|_, _| Reply::Bytes(200, b"no".to_vec()));
    let urls = format!(
        "ocsp {{ urls: [\"http://127.0.0.1:1\", \"{}/x/\", \"{}/y\"] }}",
        wrong.url(),
        right.url()
    );
    let server = fixture.start("must", &urls).unwrap();
    assert_eq!(seen(&server), GOOD);
    assert_eq!(wrong.requests(), ["POST /x", "GET /…"]);
    assert_eq!(right.requests(), ["POST /y"]);
    assert_eq!(fixture.responder.requests().len(), 2);
    drop(server);
    // Where it is said to be elsewhere: with what was sent along only if that is said, too.
    let there = format!("{}/there", right.url());
    for status in [302, 307] {
        let there = there.clone();
        wrong.behave(move |method, _| match method {
            "POST" => Reply::Elsewhere(status, there.clone()),
            _ => Reply::Nothing,
        });
        let server = fixture
            .start("must", &format!("ocsp {{ url: \"{}\" }}", wrong.url()))
            .err();
        assert_eq!(server.is_some(), status == 302);
    }
    assert_eq!(right.requests().last().unwrap(), "POST /there");
}

#[test]
fn an_answer_is_renewed_before_it_runs_out() {
    let fixture = Fixture::new();
    let made = fixture.issue("must", Says::MustStaple);
    fixture.responder.behave(|_, _| Reply::Says(Saying::Good, SHORT));
    let server = fixture.start("must", &fixture.keeping("auto")).unwrap();
    assert_eq!(seen(&server), GOOD);
    fixture.responder.wait_for(2);
    // What is told then is shown, and kept; and asked about further, for it may be good again.
    fixture.responder.behave(|_, _| Reply::Says(Saying::Revoked, SHORT));
    until("what was revoked", || seen(&server) == Seen::With(Saying::Revoked));
    until("what is kept", || {
        fs::read(fixture.kept(&made)).is_ok_and(|kept| said(&kept) == Saying::Revoked)
    });
    fixture.responder.say(Saying::Good);
    until("what is good again", || seen(&server) == GOOD);
    assert!(!server.server.is_leaving());
}

#[test]
fn a_server_whose_certificate_is_revoked_goes_where_it_has_to_be_good() {
    for (name, says, mode) in [("must", Says::MustStaple, "must"), ("may", Says::Nothing, "always")] {
        let fixture = Fixture::new();
        fixture.issue(name, says);
        fixture.responder.behave(|_, _| Reply::Says(Saying::Good, SHORT));
        let server = fixture.start(name, &format!("ocsp {{ mode: {mode} }}")).unwrap();
        fixture.responder.say(Saying::Revoked);
        server
            .run(async { tokio::time::timeout(PATIENCE, server.server.wait()).await })
            .unwrap();
    }
}

#[test]
fn a_certificate_whose_answer_has_run_out_is_not_shown_until_there_is_another() {
    let fixture = Fixture::new();
    fixture.issue("must", Says::MustStaple);
    fixture.responder.behave(|_, _| Reply::Says(Saying::Good, SHORT));
    let server = fixture.start("must", "ocsp { mode: always }").unwrap();
    fixture.responder.behave(|_, _| Reply::Nothing);
    until("the end of the answer", || seen(&server) == Seen::Nothing);
    assert!(!server.server.is_leaving());
    fixture.responder.say(Saying::Good);
    until("another answer", || seen(&server) == GOOD);
    assert_eq!(seen(&server), GOOD);
}

#[test]
fn a_reload_goes_over_to_other_answers_or_not_at_all() {
    let fixture = Fixture::new();
    fixture.issue("may", Says::Nothing);
    let server = fixture.start("may", "").unwrap();
    assert_eq!(seen(&server), Seen::Alone);
    // Nobody has an answer, or not a good one: nothing changes.
    fixture.responder.behave(|_, _| Reply::Nothing);
    let refused = fixture.reload(&server, "may", "ocsp { mode: always }").unwrap_err();
    assert!(refused.to_string().starts_with("bad OCSP status update"), "{refused}");
    fixture.responder.say(Saying::Revoked);
    let refused = fixture.reload(&server, "may", "ocsp { mode: always }").unwrap_err();
    assert!(refused.to_string().ends_with(": revoked"), "{refused}");
    assert_eq!(seen(&server), Seen::Alone);
    assert_eq!(server.server.options().ocsp, None);
    fixture.responder.say(Saying::Good);
    fixture.reload(&server, "may", "ocsp { mode: always }").unwrap();
    assert_eq!(seen(&server), GOOD);
    // What is known stays known, whatever else is different, and whoever is away.
    fixture.responder.behave(|_, _| Reply::Nothing);
    fixture
        .reload(&server, "may", "ocsp { mode: always }\nmax_payload: 1000")
        .unwrap();
    assert_eq!(seen(&server), GOOD);
    // Of another certificate nothing is known.
    fixture.issue("may", Says::Nothing);
    assert!(fixture.reload(&server, "may", "ocsp { mode: always }").is_err());
    assert_eq!(seen(&server), GOOD);
    fixture.responder.say(Saying::Good);
    fixture.reload(&server, "may", "ocsp { mode: always }").unwrap();
    assert_eq!(seen(&server), GOOD);
    fixture.reload(&server, "may", "ocsp: false").unwrap();
    assert_eq!(seen(&server), Seen::Alone);
}

#[test]
fn what_a_reload_goes_over_to_is_renewed_and_what_it_left_is_not() {
    let fixture = Fixture::new();
    let (first, second) = (
        fixture.issue("first", Says::Nothing),
        fixture.issue("second", Says::Nothing),
    );
    fixture.responder.behave(|_, _| Reply::Says(Saying::Good, SHORT));
    let server = fixture.start("first", "ocsp { mode: always }").unwrap();
    fixture.reload(&server, "second", "ocsp { mode: always }").unwrap();
    let left = answers::number(&first.der);
    let (asked, told) = std::sync::mpsc::channel();
    fixture.responder.behave(move |_, id| {
        let _ = asked.send(id.serial_number.clone());
        // That of the first is nobody's business any more.
        let saying = if id.serial_number == left {
            Saying::Revoked
        } else {
            Saying::Good
        };
        Reply::Says(saying, SHORT)
    });
    for _ in 0..2 {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), answers::number(&second.der));
    }
    assert!(!server.server.is_leaving());
    assert_eq!(seen(&server), GOOD);
}
