//! Operator mode: what becomes of clients while the claims of their accounts change, and what is told of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod directory;
#[path = "../support/mod.rs"]
mod support;
mod url;

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
    server.reload(read(text)).unwrap();
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
    // A client sees the end before it is in the list.
    let mut closed = Vec::new();
    while closed.len() < 2 {
        closed = page(&server, "/connz?state=closed")["connections"]
            .as_array()
            .unwrap()
            .clone();
    }
    assert_eq!(closed[0]["reason"], "Credentials Revoked");
}

/// What is below 0 is in time, and over. Because of the new block all clients are looked at once more while their account ends.
#[test]
fn clients_of_an_account_that_ends_with_a_reload_are_told_that_it_has() {
    let keys = Keys::new();
    let server = configured(&keys.configuration(Some(keys.claims())));
    for _ in 0..5 {
        let mut clients: Vec<_> = (0..20)
            .map(|_| keys.welcome(&server, &keys.token(&keys.account, |_| {})))
            .collect();
        let mut claims = keys.claims();
        claims.common.expires = -1;
        let ends = keys.configuration(Some(claims));
        reload(&server, &format!("{ends}\nauthorization {{ timeout: 5 }}"));
        for client in &mut clients {
            client.expect_end("-ERR 'Account Authentication Expired'\r\n");
        }
        reload(&server, &keys.configuration(Some(keys.claims())));
    }
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
