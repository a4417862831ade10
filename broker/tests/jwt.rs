//! Operator mode: what becomes of clients while the claims of their accounts change, and what is told of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use support::certificates::{Authority, Issued};
use support::{Raw, TestServer};
use weir_broker::conf::Options;
use weir_broker::conf::options::Listen;
use weir_jwt::{AccountClaims, ActivationClaims, GenericClaims, OperatorClaims, SigningKey, UserClaims, encode};

const NOW: i64 = 1_700_000_000;

/// An operator, an account, and the tokens that they sign.
struct Keys {
    operator: KeyPair,
    account: KeyPair,
    user: KeyPair,
}

impl Keys {
    fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    fn claims(&self) -> AccountClaims {
        AccountClaims::new(&self.account.public_key())
    }

    /// A configuration with that account, or with none.
    fn configuration(&self, account: Option<AccountClaims>) -> String {
        let operator = encode(OperatorClaims::new(&self.operator.public_key()), &self.operator, NOW).unwrap();
        let preload = account.map_or_else(String::new, |claims| {
            let token = encode(claims, &self.operator, NOW).unwrap();
            format!("{}: {token}", self.account.public_key())
        });
        format!("operator: {operator}\nresolver: MEMORY\nresolver_preload {{ {preload} }}")
    }

    fn token(&self, signer: &KeyPair, change: impl FnOnce(&mut UserClaims)) -> String {
        let mut claims = UserClaims::new(&self.user.public_key());
        claims.nats.issuer_account = self.account.public_key();
        change(&mut claims);
        encode(claims, signer, NOW).unwrap()
    }

    /// A client that shows this token.
    fn connect(&self, server: &TestServer, token: &str) -> Raw {
        self.connect_and(server, token, "PING\r\n")
    }

    /// The same, and it says this at once.
    fn connect_and(&self, server: &TestServer, token: &str, more: &str) -> Raw {
        let mut client = Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap());
        let info: Value = serde_json::from_str(client.line().strip_prefix("INFO ").unwrap()).unwrap();
        let nonce = info["nonce"].as_str().unwrap();
        let sig = BASE64_URL_SAFE_NO_PAD.encode(self.user.sign(nonce.as_bytes()).unwrap());
        let connect = json!({"verbose": false, "jwt": token, "sig": sig});
        client.send(format!("CONNECT {connect}\r\n{more}"));
        client
    }

    fn welcome(&self, server: &TestServer, token: &str) -> Raw {
        let mut client = self.connect(server, token);
        client.expect("PONG\r\n");
        client
    }
}

fn read(text: &str) -> Options {
    let read = Options::parse(text, "a.conf", &|_| None).unwrap();
    Options {
        host: "127.0.0.1".into(),
        port: 0,
        http: Some(Listen {
            host: String::new(),
            port: 0,
        }),
        ..read
    }
}

fn configured(text: &str) -> TestServer {
    TestServer::start(|options| *options = read(text))
}

fn reload(server: &TestServer, text: &str) {
    server.run(server.server.reload(read(text), |_| Ok(()))).unwrap();
}

fn page(server: &TestServer, path: &str) -> Value {
    serde_json::from_str(&server.get(path).1).unwrap()
}

#[test]
fn a_user_that_is_revoked_goes_and_others_stay() {
    let keys = Keys::new();
    let server = configured(&keys.configuration(Some(keys.claims())));
    let token = keys.token(&keys.account, |_| {});
    let mut gone = keys.welcome(&server, &token);
    let later = keys.token(&keys.account, |_| {});
    let mut claims = keys.claims();
    claims.nats.revocations.insert(keys.user.public_key(), NOW - 1);
    reload(&server, &keys.configuration(Some(claims.clone())));
    gone.exchange("PUB a 0\r\n\r\n", "");
    claims.nats.revocations.insert(keys.user.public_key(), NOW);
    reload(&server, &keys.configuration(Some(claims)));
    gone.expect_end("-ERR 'User Authentication Revoked'\r\n");
    let mut again = keys.connect(&server, &later);
    again.expect_end("-ERR 'Authorization Violation'\r\n");
    let closed = page(&server, "/connz?state=closed");
    assert_eq!(closed["connections"][0]["reason"], "Credentials Revoked");
}

/// Also what it says in one breath with CONNECT.
#[test]
fn who_holds_no_more_gets_nothing_done() {
    let keys = Keys::new();
    let server = configured(&keys.configuration(Some(keys.claims())));
    let mut watcher = keys.welcome(&server, &keys.token(&keys.account, |_| {}));
    watcher.exchange("SUB s 1\r\n", "");
    for expires in [-1, i64::MIN, i64::MAX] {
        let token = keys.token(&keys.account, |claims| claims.common.expires = expires);
        let mut late = keys.connect_and(&server, &token, "PUB s 1\r\nx\r\nPING\r\n");
        late.expect_end("-ERR 'User Authentication Expired'\r\n");
        watcher.exchange("", "");
    }
    for expires in [1, NOW] {
        let token = keys.token(&keys.account, |claims| claims.common.expires = expires);
        let mut late = keys.connect_and(&server, &token, "PUB s 1\r\nx\r\nPING\r\n");
        late.expect_end("-ERR 'Authorization Violation'\r\n");
        watcher.exchange("", "");
    }
    // The same of its account.
    for expires in [-1, i64::MIN, i64::MAX, 1] {
        let mut claims = keys.claims();
        claims.common.expires = expires;
        let server = configured(&keys.configuration(Some(claims)));
        keys.connect(&server, &keys.token(&keys.account, |_| {}))
            .expect_end("-ERR 'Authorization Violation'\r\n");
    }
}

#[test]
fn an_account_that_is_taken_away_lets_nobody_in() {
    let keys = Keys::new();
    let server = configured(&keys.configuration(Some(keys.claims())));
    let token = keys.token(&keys.account, |_| {});
    let mut client = keys.welcome(&server, &token);
    reload(&server, &keys.configuration(None));
    client.expect_end("-ERR 'Authorization Violation'\r\n");
    keys.connect(&server, &token)
        .expect_end("-ERR 'Authorization Violation'\r\n");
    reload(&server, &keys.configuration(Some(keys.claims())));
    let mut client = keys.welcome(&server, &token);
    // Answered once, though the account has come twice.
    user_info(&mut client);
    client.exchange("", "");
}

/// What a client is told of itself.
fn user_info(client: &mut Raw) -> Value {
    client.send("SUB r 9\r\nPUB $SYS.REQ.USER.INFO r 0\r\n\r\n");
    let line = client.line();
    let size: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    let body = client.take(size + 2);
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn fewer_connections_and_other_default_permissions() {
    let keys = Keys::new();
    let server = configured(&keys.configuration(Some(keys.claims())));
    let token = keys.token(&keys.account, |_| {});
    let mut oldest = keys.welcome(&server, &token);
    let mut newest = keys.welcome(&server, &token);
    oldest.exchange("SUB a 1\r\nSUB b 2\r\n", "");
    let mut claims = keys.claims();
    claims.nats.limits.conn = 1;
    claims.nats.default_permissions.subscribe.deny.push("a".to_owned());
    reload(&server, &keys.configuration(Some(claims)));
    newest.expect_end("-ERR 'maximum account active connections exceeded'\r\n");
    oldest.expect("-ERR 'Permissions Violation for Subscription to \"a\" (sid \"1\")'\r\n");
    oldest.exchange("PUB b 1\r\nx\r\n", "MSG b 2 1\r\nx\r\n");
}

#[test]
fn who_was_signed_by_a_key_that_signs_no_more_goes() {
    let keys = Keys::new();
    let signer = KeyPair::new_account();
    let mut claims = keys.claims();
    claims.nats.signing_keys.push(SigningKey::Plain(signer.public_key()));
    let server = configured(&keys.configuration(Some(claims)));
    let mut gone = keys.welcome(&server, &keys.token(&signer, |_| {}));
    let mut stays = keys.welcome(
        &server,
        &keys.token(&keys.account, |claims| claims.nats.issuer_account.clear()),
    );
    reload(&server, &keys.configuration(Some(keys.claims())));
    gone.expect_end("");
    stays.exchange("PUB a 0\r\n\r\n", "");
}

#[test]
fn a_token_alone_is_enough_until_the_account_says_otherwise() {
    let keys = Keys::new();
    let server = configured(&keys.configuration(Some(keys.claims())));
    let token = keys.token(&keys.account, |claims| claims.nats.rights.bearer_token = true);
    let mut client = keys.welcome(&server, &token);
    let connz = page(&server, "/connz?auth=1").to_string();
    assert!(!connz.contains(&token), "a token that lets everybody in is a secret");
    let mut claims = keys.claims();
    claims.nats.limits.disallow_bearer = true;
    reload(&server, &keys.configuration(Some(claims)));
    client.expect_end("-ERR 'Authorization Violation'\r\n");
    keys.connect(&server, &token)
        .expect_end("-ERR 'Authorization Violation'\r\n");
}

#[test]
fn who_is_who_is_told() {
    let keys = Keys::new();
    let mut claims = keys.claims();
    claims.common.name = "shop".to_owned();
    claims.nats.tags.push("t".to_owned());
    let server = configured(&keys.configuration(Some(claims)));
    let token = keys.token(&keys.account, |claims| {
        claims.common.name = "ada".to_owned();
        claims.nats.tags.push("team:x".to_owned());
        claims.common.expires = 9_000_000_000;
    });
    let mut client = keys.welcome(&server, &token);
    let (account, user) = (keys.account.public_key(), keys.user.public_key());
    let connz = page(&server, "/connz?auth=1");
    let told = &connz["connections"][0];
    assert_eq!(told["authorized_user"], user);
    assert_eq!((&told["account"], &told["name_tag"]), (&json!(account), &json!("shop")));
    assert_eq!(
        (&told["issuer_key"], &told["tags"]),
        (&json!(account), &json!(["team:x"]))
    );
    assert_eq!(told["jwt"], token);
    let accountz = page(&server, &format!("/accountz?acc={account}"));
    let detail = &accountz["account_detail"];
    assert_eq!(detail["name_tag"], "shop");
    assert_eq!(detail["issuer_key"], keys.operator.public_key());
    assert_eq!(detail["decoded_jwt"]["nats"]["tags"], json!(["t"]));
    let info = user_info(&mut client);
    let data = &info["data"];
    assert_eq!(
        (&data["account_name"], &data["user_name"]),
        (&json!("shop"), &json!("ada"))
    );
    assert!(data["expires"].as_i64().unwrap() > 0);
}

/// What a server of tokens says.
#[derive(Clone)]
enum Said {
    /// This token.
    Token(String),
    /// That it is there.
    Elsewhere(String),
    /// This, and then the end.
    Bytes(Vec<u8>),
    /// This, and then that again and again, until nobody takes it any more.
    Endless(Vec<u8>, Vec<u8>),
    /// Nothing.
    Silence,
}

/// A server of tokens: one answer to each request, by the last part of its path.
struct Tokens {
    url: String,
    answers: Arc<Mutex<HashMap<String, Said>>>,
}

impl Tokens {
    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::<Mutex<HashMap<String, Said>>>::default();
        let all = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, all) = (tls.clone(), Arc::clone(&all));
                std::thread::spawn(move || match tls {
                    Some(tls) => serve(
                        StreamOwned::new(ServerConnection::new(tls).unwrap(), stream.unwrap()),
                        &all,
                    ),
                    None => serve(stream.unwrap(), &all),
                });
            }
        });
        let tokens = Self {
            url: format!("{scheme}://localhost:{port}/jwt/v1/accounts/"),
            answers,
        };
        // Asked for at the start, to see whether anybody is there.
        tokens.say("", Said::Token("ok".to_owned()));
        tokens
    }

    fn say(&self, key: &str, said: Said) {
        self.answers.lock().unwrap().insert(key.to_owned(), said);
    }
}

/// Answers one request. Whoever asked may be gone at any time.
fn serve(mut stream: impl Read + Write, answers: &Mutex<HashMap<String, Said>>) {
    let mut request = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !request.ends_with("\r\n\r\n") {
        if !matches!(reader.read_line(&mut request), Ok(1..)) {
            return;
        }
    }
    let key = request.split(' ').nth(1).unwrap().rsplit('/').next().unwrap();
    let said = answers.lock().unwrap().get(key).cloned();
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}\r\n").into_bytes();
    let bytes = match said {
        Some(Said::Token(token)) => [
            head("200 OK", &format!("Content-Length: {}\r\n", token.len())),
            token.into_bytes(),
        ]
        .concat(),
        Some(Said::Elsewhere(to)) => head(
            "307 Temporary Redirect",
            &format!("Location: {to}\r\nContent-Length: 0\r\n"),
        ),
        Some(Said::Bytes(bytes)) => bytes,
        Some(Said::Endless(first, again)) => {
            let mut written = stream.write_all(&first);
            while written.is_ok() {
                written = stream.write_all(&again);
            }
            return;
        }
        Some(Said::Silence) => {
            let _ = stream.read(&mut [0]);
            return;
        }
        None => head("404 Not Found", "Content-Length: 0\r\n"),
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.flush();
}

/// Who asks a server of tokens, and `more` in the configuration.
fn asking(keys: &Keys, tokens: &Tokens, more: &str) -> String {
    let operator = encode(OperatorClaims::new(&keys.operator.public_key()), &keys.operator, NOW).unwrap();
    format!("operator: {operator}\nresolver: URL({})\n{more}", tokens.url)
}

/// An account that the operator has signed, and a user of it: their tokens.
fn account_of(keys: &Keys, account: &KeyPair) -> (String, String) {
    let claims = AccountClaims::new(&account.public_key());
    let user = keys.token(account, |claims| claims.nats.issuer_account.clear());
    (encode(claims, &keys.operator, NOW).unwrap(), user)
}

#[test]
fn accounts_are_looked_up_by_http() {
    let (keys, tokens) = (Keys::new(), Tokens::start(None));
    let foreign = KeyPair::new_account();
    let account = encode(keys.claims(), &keys.operator, NOW).unwrap();
    tokens.say(&foreign.public_key(), Said::Token(account.clone()));
    // As it stands in a file.
    tokens.say(&keys.account.public_key(), Said::Token(format!("{account}\n")));
    let server = configured(&asking(&keys, &tokens, ""));
    let mut client = keys.welcome(&server, &keys.token(&keys.account, |_| {}));
    client.exchange("SUB a 1\r\nPUB a 0\r\n\r\n", "MSG a 1 0\r\n\r\n");
    // A token of another account, and none at all.
    for stranger in [foreign, KeyPair::new_account()] {
        let token = keys.token(&stranger, |claims| claims.nats.issuer_account.clear());
        keys.connect(&server, &token)
            .expect_end("-ERR 'Authorization Violation'\r\n");
    }
}

/// How a server of tokens has TLS: with this certificate, and with clients that this authority has signed, if it asks for any.
fn encrypted(authority: &Authority, issued: &Issued, asks: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        true => builder.with_client_cert_verifier(verifier.build().unwrap()),
        false => builder.with_no_client_auth(),
    };
    Arc::new(
        builder
            .with_single_cert(vec![issued.der.clone()], issued.private_key())
            .unwrap(),
    )
}

#[test]
fn accounts_are_looked_up_by_https() {
    let keys = Keys::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let (own, shown) = (authority.server("server"), authority.server("shown"));
    let (token, user) = account_of(&keys, &keys.account);
    let ca = |of: &Authority| format!("ca_file: {:?}", of.file());
    let pair = format!("cert_file: {:?}, key_file: {:?}", shown.certificate, shown.key);
    for asks in [false, true] {
        let tokens = Tokens::start(Some(encrypted(&authority, &own, asks)));
        tokens.say(&keys.account.public_key(), Said::Token(token.clone()));
        let trusting = format!("resolver_tls {{ {}, {pair}, min_version: \"1.3\" }}", ca(&authority));
        let server = configured(&asking(&keys, &tokens, &trusting));
        keys.welcome(&server, &user);
        // Nobody is trusted whom nobody vouches for, neither way.
        let mut wrong = vec![format!("resolver_tls {{ {}, {pair} }}", ca(&other))];
        if asks {
            wrong.push(format!("resolver_tls {{ {} }}", ca(&authority)));
        }
        for more in wrong {
            let refused = TestServer::try_start(|options| *options = read(&asking(&keys, &tokens, &more)));
            let why = refused.err().unwrap().to_string();
            assert!(why.contains("could not fetch <\"https://localhost:"), "{more}: {why}");
        }
    }
    // A certificate of somebody else.
    let tokens = Tokens::start(Some(encrypted(
        &authority,
        &authority.named("elsewhere", "example.com"),
        false,
    )));
    let trusting = format!("resolver_tls {{ {} }}", ca(&authority));
    let refused = TestServer::try_start(|options| *options = read(&asking(&keys, &tokens, &trusting)));
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("could not fetch") && why.contains("certificate"), "{why}");
}

/// A client whose account's token is said so is let in, or not.
fn comes_in(keys: &Keys, server: &TestServer, tokens: &Tokens, said: impl FnOnce(String) -> Said) -> bool {
    let account = KeyPair::new_account();
    let (token, user) = account_of(keys, &account);
    tokens.say(&account.public_key(), said(token));
    let mut client = keys.connect(server, &user);
    match client.line().as_str() {
        "PONG" => true,
        line => {
            assert_eq!(line, "-ERR 'Authorization Violation'");
            false
        }
    }
}

#[test]
fn redirects_are_followed_so_often_and_not_out_of_tls() {
    let (keys, authority) = (Keys::new(), Authority::new());
    let plain = Tokens::start(None);
    let secure = Tokens::start(Some(encrypted(&authority, &authority.server("server"), false)));
    let trusting = format!("resolver_tls {{ ca_file: {:?} }}", authority.file());
    let (by_http, by_https) = (
        configured(&asking(&keys, &plain, &trusting)),
        configured(&asking(&keys, &secure, &trusting)),
    );
    for (there, elsewhere) in [(&plain, &plain), (&plain, &secure), (&secure, &secure)] {
        let server = if there.url == plain.url { &by_http } else { &by_https };
        let taken = comes_in(&keys, server, there, |token| {
            elsewhere.say("there", Said::Token(token));
            Said::Elsewhere(format!("{}there", elsewhere.url))
        });
        assert!(taken, "{} to {}", there.url, elsewhere.url);
        let taken = comes_in(&keys, server, there, |token| {
            there.say("beside", Said::Token(token));
            Said::Elsewhere("beside".to_owned())
        });
        assert!(taken, "{} beside", there.url);
    }
    let taken = comes_in(&keys, &by_https, &secure, |token| {
        plain.say("there", Said::Token(token));
        Said::Elsewhere(format!("{}there", plain.url))
    });
    assert!(!taken, "out of TLS");
    for times in [10, 11] {
        let taken = comes_in(&keys, &by_http, &plain, |token| {
            plain.say("0", Said::Token(token));
            for at in 1..times {
                plain.say(&at.to_string(), Said::Elsewhere((at - 1).to_string()));
            }
            Said::Elsewhere((times - 1).to_string())
        });
        assert_eq!(taken, times == 10, "{times} redirects");
    }
    for location in [
        "ftp://localhost/x",
        "http://",
        "\u{1}",
        "file:///etc/passwd",
        "",
        "0/../0",
    ] {
        assert!(
            !comes_in(&keys, &by_http, &plain, |_| Said::Elsewhere(location.to_owned())),
            "{location:?}"
        );
    }
}

/// Whatever a server of tokens answers, and for however long, the client is told no, and others are served.
#[test]
fn answers_have_an_end() {
    let (keys, tokens) = (Keys::new(), Tokens::start(None));
    let server = configured(&asking(&keys, &tokens, ""));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let zeros = "0".repeat(4096);
    let endless = |first: &str, again: &str| Said::Endless(first.into(), again.into());
    let bytes = |text: String| Said::Bytes(text.into_bytes());
    for said in [
        endless(chunked, "400\r\n"),
        endless(chunked, &format!("1000\r\n{zeros}\r\n")),
        endless(chunked, &format!("1;{zeros}\r\n0\r\n")),
        endless(&format!("{chunked}0\r\n"), "X: y\r\n"),
        endless(&length("18446744073709551615"), &zeros),
        endless("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        endless("HTTP/1.1 200 OK\r\nX: ", &zeros),
        endless("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"),
        endless("", "\r\n"),
        endless(&length("2000000"), &zeros),
        bytes(format!("{chunked}ffffffffffffffff\r\n{zeros}")),
        bytes(format!("{chunked}10000000000000000\r\n{zeros}")),
        bytes(format!("{chunked}-1\r\n{zeros}\r\n0\r\n\r\n")),
        bytes(format!("{chunked}\r\n\r\n")),
        bytes(format!("{chunked}5\r\nab")),
        bytes(length("-1")),
        bytes(length("18446744073709551616")),
        bytes(length("10")),
        bytes("HTTP/1.1 999 OK\r\n\r\n".to_owned()),
        bytes("HTTP/9.9 200 OK\r\n\r\n".to_owned()),
        bytes("nonsense".to_owned()),
        bytes(String::new()),
        Said::Silence,
    ] {
        let shown = match &said {
            Said::Bytes(first) | Said::Endless(first, _) => String::from_utf8_lossy(first).into_owned(),
            _ => String::new(),
        };
        assert!(!comes_in(&keys, &server, &tokens, |_| said), "{shown:?}");
    }
    assert!(comes_in(&keys, &server, &tokens, Said::Token));
    // In pieces, as servers send what they make.
    assert!(comes_in(&keys, &server, &tokens, |token| {
        let (one, two) = token.split_at(7);
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        bytes(format!("{chunked}{}{}0\r\n\r\n", chunk(one), chunk(two)))
    }));
}

/// Keys with a system account, whose client asks in it.
struct World {
    keys: Keys,
    system: KeyPair,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            keys: Keys::new(),
            system: KeyPair::new_account(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn configuration(&self, resolver: &str) -> String {
        let mut claims = OperatorClaims::new(&self.keys.operator.public_key());
        claims.nats.system_account = self.system.public_key();
        let operator = encode(claims, &self.keys.operator, NOW).unwrap();
        let folder = self.folder.path().display();
        format!("operator: {operator}\nresolver: {{ dir: \"{folder}\", {resolver} }}")
    }

    fn account(&self, key: &KeyPair, change: impl FnOnce(&mut AccountClaims)) -> String {
        let mut claims = AccountClaims::new(&key.public_key());
        change(&mut claims);
        encode(claims, &self.keys.operator, NOW).unwrap()
    }

    fn user(&self, account: &KeyPair) -> String {
        self.keys.token(account, |claims| claims.nats.issuer_account.clear())
    }

    /// A client in the system account.
    fn system(&self, server: &TestServer) -> Raw {
        let mut client = self.keys.welcome(server, &self.user(&self.system));
        client.exchange("SUB answer 1\r\n", "");
        client
    }

    fn file(&self, key: &KeyPair) -> std::path::PathBuf {
        self.folder.path().join(format!("{}.jwt", key.public_key()))
    }
}

/// What a client is answered in the system account.
fn ask(client: &mut Raw, subject: &str, payload: &str) -> String {
    client.send(format!("PUB {subject} answer {}\r\n{payload}\r\n", payload.len()));
    body(client)
}

fn body(client: &mut Raw) -> String {
    let line = client.line();
    assert!(line.starts_with("MSG "), "{line}");
    let size: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    let body = client.take(size + 2);
    String::from_utf8_lossy(&body[..size]).into_owned()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn accounts_are_pushed_listed_looked_up_and_deleted() {
    let world = World::new();
    let server = configured(&world.configuration("type: full, allow_delete: true, limit: 3"));
    // Nobody has brought the system account's token yet.
    let mut system = world.system(&server);
    let (account, key) = (&world.keys.account, world.keys.account.public_key());
    let token = world.account(account, |_| {});
    let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &token));
    assert_eq!(
        told["data"],
        json!({"account": key, "code": 200, "message": "jwt updated"})
    );
    assert_eq!(std::fs::read_to_string(world.file(account)).unwrap(), token);
    let mut client = world.keys.welcome(&server, &world.user(account));
    assert_eq!(
        ask(&mut system, &format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP"), ""),
        token
    );
    assert_eq!(ask(&mut system, "$SYS.REQ.ACCOUNT.nobody.CLAIMS.LOOKUP", ""), "");
    assert_eq!(
        json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.LIST", ""))["data"],
        json!([key])
    );
    assert_eq!(ask(&mut system, "$SYS.REQ.CLAIMS.PACK", ""), format!("{key}|{token}"));
    assert_eq!(body(&mut system), "");
    // Changed while a client is there, under its own subject.
    let limited = world.account(account, |claims| {
        claims.nats.revocations.insert("*".to_owned(), NOW);
    });
    let own = format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.UPDATE");
    assert_eq!(
        json_of(&ask(&mut system, &own, &limited))["data"]["message"],
        "jwt updated"
    );
    client.expect_end("-ERR 'User Authentication Revoked'\r\n");
    let foreign = world.account(&world.system, |_| {});
    let told = json_of(&ask(&mut system, &own, &foreign));
    assert_eq!(
        told["error"]["description"],
        "jwt update resulted in error - subject does not match jwt content"
    );
    assert_eq!(json_of(&ask(&mut system, &own, "nonsense"))["error"]["account"], "n/a");
    // Only an operator deletes, and not the system account.
    let request = |key: &KeyPair, account: &str| {
        let mut claims = GenericClaims {
            nats: json!({"accounts": [account]}),
            ..GenericClaims::default()
        };
        claims.common.subject = key.public_key();
        encode(claims, key, NOW).unwrap()
    };
    let delete = "$SYS.REQ.CLAIMS.DELETE";
    let wrong = request(&KeyPair::new_operator(), &key);
    let told = json_of(&ask(&mut system, delete, &wrong));
    assert!(
        told["error"]["description"]
            .as_str()
            .unwrap()
            .ends_with("failed - not trusted")
    );
    let own = request(&world.keys.operator, &world.system.public_key());
    let told = json_of(&ask(&mut system, delete, &own));
    assert!(
        told["error"]["description"]
            .as_str()
            .unwrap()
            .ends_with("not allowed to delete system account")
    );
    ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &world.account(account, |_| {}));
    let mut client = world.keys.welcome(&server, &world.user(account));
    let told = json_of(&ask(&mut system, delete, &request(&world.keys.operator, &key)));
    assert_eq!(told["data"]["message"], "deleted 1 accounts");
    client.expect_end("-ERR 'Account Authentication Expired'\r\n");
    world
        .keys
        .connect(&server, &world.user(account))
        .expect_end("-ERR 'Authorization Violation'\r\n");
    assert!(!world.file(account).exists());
}

/// An operator who pushes all that it has at once is answered for each.
#[test]
fn many_accounts_may_be_pushed_at_once() {
    let world = World::new();
    let server = configured(&world.configuration("type: full, limit: 400"));
    let mut system = world.system(&server);
    let mut all = String::new();
    for _ in 0..500 {
        let token = world.account(&KeyPair::new_account(), |_| {});
        all += &format!("PUB $SYS.REQ.CLAIMS.UPDATE answer {}\r\n{token}\r\n", token.len());
    }
    system.send(all);
    let answers: Vec<String> = (0..500).map(|_| body(&mut system)).collect();
    let of = |text: &str| answers.iter().filter(|answer| answer.contains(text)).count();
    assert_eq!((of("jwt updated"), of("jwt store is full")), (400, 100));
}

/// What no operator has signed takes nobody's place in a directory, whoever in the system account says it, and however.
#[test]
fn what_no_operator_has_signed_is_not_kept() {
    let world = World::new();
    let (account, stranger) = (&world.keys.account, KeyPair::new_operator());
    let key = account.public_key();
    let good = world.account(account, |_| {});
    // Later than what is there.
    let forged = |signer: &KeyPair| encode(AccountClaims::new(&key), signer, NOW + 10).unwrap();
    let by_nobody = format!(
        "{}.{}",
        good.rsplit_once('.').unwrap().0,
        BASE64_URL_SAFE_NO_PAD.encode([0; 64])
    );
    let all = [
        forged(&stranger),
        forged(account),
        by_nobody,
        "x".to_owned(),
        format!("{good}|{good}"),
    ];
    let server = configured(&world.configuration("type: full, interval: \"100ms\""));
    let mut system = world.system(&server);
    let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &good));
    assert_eq!(told["data"]["code"], 200, "{told}");
    let mut client = world.keys.welcome(&server, &world.user(account));
    for subject in [
        "$SYS.REQ.CLAIMS.UPDATE".to_owned(),
        format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.UPDATE"),
    ] {
        for token in &all {
            let told = json_of(&ask(&mut system, &subject, token));
            assert_eq!(told["error"]["code"], 500, "{subject} {token}: {told}");
        }
    }
    // Somebody who says that he has them, when the server asks what others have; and then once more.
    let mut other = world.keys.welcome(&server, &world.user(&world.system));
    other.exchange("SUB $SYS.REQ.CLAIMS.PACK 1\r\n", "");
    for _ in 0..2 {
        let line = other.line();
        let words: Vec<&str> = line.split(' ').collect();
        let (reply, size): (&str, usize) = (words[3], words[4].parse().unwrap());
        other.take(size + 2);
        for token in &all {
            let pack = format!("{key}|{token}");
            other.send(format!("PUB {reply} {}\r\n{pack}\r\n", pack.len()));
        }
        other.send(format!("PUB {reply} 0\r\n\r\n"));
    }
    assert_eq!(std::fs::read_to_string(world.file(account)).unwrap(), good);
    client.exchange("", "");
    world.keys.welcome(&server, &world.user(account));
}

/// A cache keeps none either: the next one who answers is asked.
#[test]
fn a_cache_keeps_nothing_that_no_operator_has_signed() {
    let world = World::new();
    let server = configured(&world.configuration("type: cache, ttl: \"1h\", timeout: \"10s\""));
    let mut system = world.system(&server);
    let account = &world.keys.account;
    let key = account.public_key();
    system.exchange(format!("SUB $SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP 2\r\n"), "");
    let good = world.account(account, |_| {});
    let forged = encode(AccountClaims::new(&key), &KeyPair::new_operator(), NOW + 10).unwrap();
    for (token, may) in [(&forged, false), (&good, true)] {
        let mut client = world.keys.connect(&server, &world.user(account));
        let line = system.line();
        let reply = line.split(' ').nth(3).unwrap().to_owned();
        system.expect("\r\n");
        system.send(format!("PUB {reply} {}\r\n{token}\r\n", token.len()));
        match may {
            true => client.expect("PONG\r\n"),
            false => client.expect_end("-ERR 'Authorization Violation'\r\n"),
        }
        assert_eq!(world.file(account).exists(), may);
    }
}

#[test]
fn a_full_directory_survives_a_restart_and_takes_the_system_account() {
    let world = World::new();
    let configuration = world.configuration("type: full");
    let server = configured(&configuration);
    let mut system = world.system(&server);
    for key in [&world.system, &world.keys.account] {
        let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &world.account(key, |_| {})));
        assert_eq!(told["data"]["code"], 200);
    }
    drop(system);
    server.run(server.server.shutdown());
    let server = configured(&configuration);
    world.keys.welcome(&server, &world.user(&world.keys.account));
    let mut system = world.system(&server);
    let list = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.LIST", ""));
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[test]
fn a_cache_asks_in_the_system_account() {
    let world = World::new();
    let server = configured(&world.configuration("type: cache, ttl: \"1h\", timeout: \"10s\""));
    let mut system = world.system(&server);
    let key = world.keys.account.public_key();
    system.exchange(format!("SUB $SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP 2\r\n"), "");
    let mut client = world.keys.connect(&server, &world.user(&world.keys.account));
    let line = system.line();
    let reply = line.split(' ').nth(3).unwrap().to_owned();
    system.expect("\r\n");
    let token = world.account(&world.keys.account, |_| {});
    system.send(format!("PUB {reply} {}\r\n{token}\r\n", token.len()));
    client.expect("PONG\r\n");
    assert!(world.file(&world.keys.account).exists());
    let told = json_of(&ask(
        &mut system,
        "$SYS.REQ.CLAIMS.UPDATE",
        &world.account(&KeyPair::new_account(), |_| {}),
    ));
    assert_eq!(told["data"]["message"], "jwt update cache skipped");
}

/// Nobody has to do anything for it: no account's claims change meanwhile.
#[test]
fn an_activation_ends_at_its_second() {
    let world = World::new();
    let server = configured(&world.configuration("type: full"));
    let mut system = world.system(&server);
    let (exporter, importer) = (&world.keys.account, KeyPair::new_account());
    let mut push = |token: String| {
        let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &token));
        assert_eq!(told["data"]["code"], 200, "{told}");
    };
    let shared = |kind: &str| json!({"subject": format!("{kind}.>"), "type": kind, "token_req": true});
    push(world.account(exporter, |claims| {
        claims.nats.exports = serde_json::from_value(json!([shared("stream"), shared("service")])).unwrap();
    }));
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let end = now() + 3;
    let import = |kind: &str| {
        let mut activation = ActivationClaims::default();
        activation.common.subject = importer.public_key();
        activation.common.expires = i64::try_from(end).unwrap();
        activation.nats.subject = format!("{kind}.>");
        activation.nats.share = Some(serde_json::from_value(json!(kind)).unwrap());
        let token = encode(activation, exporter, NOW).unwrap();
        json!({"subject": format!("{kind}.>"), "account": exporter.public_key(), "type": kind, "token": token})
    };
    push(world.account(&importer, |claims| {
        claims.nats.imports = serde_json::from_value(json!([import("stream"), import("service")])).unwrap();
    }));
    let mut inside = world.keys.welcome(&server, &world.user(&importer));
    let mut outside = world.keys.welcome(&server, &world.user(exporter));
    inside.exchange("SUB stream.x 1\r\n", "");
    outside.exchange("SUB service.x 1\r\n", "");
    // Whether a message of the one is heard by the other.
    let heard = |from: &mut Raw, by: &mut Raw, subject: &str| {
        from.exchange(format!("PUB {subject} 1\r\nb\r\n"), "");
        by.send("PING\r\n");
        match by.line().as_str() {
            "PONG" => false,
            line => {
                assert_eq!(line, format!("MSG {subject} 1 1"));
                by.expect("b\r\nPONG\r\n");
                true
            }
        }
    };
    assert!(heard(&mut outside, &mut inside, "stream.x") && heard(&mut inside, &mut outside, "service.x"));
    while heard(&mut outside, &mut inside, "stream.x") {}
    assert!(now() >= end);
    assert!(!heard(&mut inside, &mut outside, "service.x"));
}

#[test]
fn accounts_share_what_their_tokens_say() {
    let world = World::new();
    let server = configured(&world.configuration("type: full"));
    let mut system = world.system(&server);
    let (exporter, importer) = (&world.keys.account, KeyPair::new_account());
    let mut push = |token: String| {
        let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &token));
        assert_eq!(told["data"]["code"], 200, "{told}");
    };
    push(world.account(exporter, |claims| {
        claims.nats.exports = serde_json::from_value(json!([
            {"subject": "news.>", "type": "stream"},
            {"subject": "secret.>", "type": "stream", "token_req": true},
            {"subject": "help", "type": "service"},
        ]))
        .unwrap();
    }));
    let mut activation = ActivationClaims::default();
    activation.common.subject = importer.public_key();
    activation.nats.subject = "secret.>".to_owned();
    activation.nats.share = Some(serde_json::from_value(json!("stream")).unwrap());
    let token = encode(activation, exporter, NOW).unwrap();
    let account = exporter.public_key();
    let imports = move |token: &str| {
        json!([
            {"subject": "news.>", "account": account, "type": "stream", "local_subject": "theirs.>"},
            {"subject": "secret.>", "account": account, "type": "stream", "token": token},
            {"subject": "help", "account": account, "type": "service", "local_subject": "ask"},
        ])
    };
    push(world.account(&importer, |claims| {
        claims.nats.imports = serde_json::from_value(imports(&token)).unwrap();
        claims.nats.mappings = serde_json::from_value(json!({"old": [{"subject": "new"}]})).unwrap();
    }));
    let mut inside = world.keys.welcome(&server, &world.user(&importer));
    let mut outside = world.keys.welcome(&server, &world.user(exporter));
    inside.exchange(
        "SUB theirs.x 1\r\nSUB secret.x 2\r\nSUB new 3\r\nPUB old 1\r\nm\r\n",
        "MSG new 3 1\r\nm\r\n",
    );
    outside.exchange("SUB help 1\r\nPUB news.x 1\r\na\r\nPUB secret.x 1\r\nb\r\n", "");
    inside.expect("MSG theirs.x 1 1\r\na\r\nMSG secret.x 2 1\r\nb\r\n");
    inside.exchange("PUB ask 1\r\n?\r\n", "");
    let line = outside.line();
    assert!(line.starts_with("MSG help 1 "), "{line}");
}
