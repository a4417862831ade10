//! A service in an account decides who may come in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::net::TcpStream;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::{KeyPair, XKey};
use serde_json::{Value, json};
use support::{Raw, TestServer};
use weir_broker::conf::Options;
use weir_jwt::{
    AccountClaims, AuthorizationRequestClaims, AuthorizationResponseClaims, OperatorClaims, Token, UserClaims, decode,
    encode,
};

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn read(text: &str) -> Options {
    let read = Options::parse(text, "a.conf", &|_| None).unwrap();
    Options {
        host: "127.0.0.1".into(),
        port: 0,
        ..read
    }
}

fn configured(text: &str) -> TestServer {
    TestServer::start(|options| *options = read(text))
}

fn connect(server: &TestServer, fields: &Value, user: Option<&KeyPair>) -> Raw {
    let mut client = Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap());
    let info: Value = serde_json::from_str(client.line().strip_prefix("INFO ").unwrap()).unwrap();
    let mut fields = fields.clone();
    fields["verbose"] = json!(false);
    fields["headers"] = json!(true);
    if let Some(user) = user {
        let nonce = info["nonce"].as_str().unwrap();
        fields["sig"] = json!(BASE64_URL_SAFE_NO_PAD.encode(user.sign(nonce.as_bytes()).unwrap()));
    }
    client.send(format!("CONNECT {fields}\r\nPING\r\n"));
    client
}

fn user(name: &str) -> Value {
    json!({"user": name, "pass": "p"})
}

/// The service, as its client.
struct Service {
    client: Raw,
    /// What it signs with, and encrypts with.
    issuer: KeyPair,
    xkey: Option<XKey>,
}

/// A question that was asked.
struct Asked {
    claims: AuthorizationRequestClaims,
    reply: String,
}

impl Service {
    fn new(mut client: Raw, issuer: KeyPair) -> Self {
        client.expect("PONG\r\n");
        client.exchange("SUB $SYS.REQ.USER.AUTH 1\r\n", "");
        Self {
            client,
            issuer,
            xkey: None,
        }
    }

    fn asked(&mut self) -> Asked {
        let line = self.client.line();
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let size: usize = words.last().unwrap().parse().unwrap();
        let body = self.client.take(size + 2);
        let mut token = body[..size].to_vec();
        if let Some(xkey) = &self.xkey {
            assert_eq!(words[0], "HMSG");
            let headers: usize = words[4].parse().unwrap();
            let text = String::from_utf8_lossy(&body[..headers]).into_owned();
            let server = text.split("Nats-Server-Xkey: ").nth(1).unwrap().trim().to_owned();
            assert!(!body[headers..].starts_with(b"eyJ"));
            let sender = XKey::from_public_key(&server).unwrap();
            token = xkey.open(&body[headers..size], &sender).unwrap();
        }
        let Ok(Token::AuthorizationRequest(claims)) = decode(std::str::from_utf8(&token).unwrap()) else {
            panic!("no request");
        };
        Asked {
            claims: *claims,
            reply: words[3].to_owned(),
        }
    }

    fn answer(&mut self, asked: &Asked, change: impl FnOnce(&mut AuthorizationResponseClaims)) {
        let mut claims = AuthorizationResponseClaims::default();
        claims.common.subject.clone_from(&asked.claims.nats.user_nkey);
        claims.common.audience.clone_from(&asked.claims.nats.server_id.id);
        change(&mut claims);
        let mut token = encode(claims, &self.issuer, now()).unwrap().into_bytes();
        if let Some(xkey) = &self.xkey {
            let server = XKey::from_public_key(&asked.claims.nats.server_id.xkey).unwrap();
            token = xkey.seal(&token, &server).unwrap();
        }
        self.client.send(format!("PUB {} {}\r\n", asked.reply, token.len()));
        self.client.send(token);
        self.client.send("\r\n");
    }

    /// Lets whoever was asked about in to an account.
    fn welcome(&mut self, asked: &Asked, account: &str, change: impl FnOnce(&mut UserClaims)) {
        let mut user = UserClaims::new(&asked.claims.nats.user_nkey);
        account.clone_into(&mut user.common.audience);
        change(&mut user);
        let jwt = encode(user, &self.issuer, now()).unwrap();
        self.answer(asked, |claims| claims.nats.jwt = jwt);
    }
}

fn configuration(issuer: &KeyPair, more: &str) -> String {
    format!(
        "accounts {{ AUTH {{ users: [{{user: auth, password: p}}] }}, APP {{ users: [{{user: own, password: p}}] }} }}
         authorization {{ auth_callout {{ issuer: {}, account: AUTH, auth_users: [auth], {more} }} }}",
        issuer.public_key()
    )
}

/// The same with little time for an answer: what has to come in time does not come then, on a machine that is at other things.
fn in_a_hurry(server: &TestServer, issuer: &KeyPair) {
    let text = configuration(issuer, "").replace("auth_callout", "timeout: 0.5, auth_callout");
    server.reload(read(&text)).unwrap();
}

fn started(more: &str) -> (TestServer, Service) {
    let issuer = KeyPair::new_account();
    let server = configured(&configuration(&issuer, more));
    let client = connect(&server, &user("auth"), None);
    (server, Service::new(client, issuer))
}

const REFUSED: &str = "-ERR 'Authorization Violation'\r\n";

#[test]
fn a_service_says_who_a_client_is_and_what_it_may_do() {
    let (server, mut service) = started("");
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    let nats = &asked.claims.nats;
    assert_eq!(asked.claims.common.issuer, nats.server_id.id);
    assert_eq!(asked.claims.common.audience, "nats-authorization-request");
    assert_eq!(
        (nats.connect_opts.user.as_str(), nats.connect_opts.pass.as_str()),
        ("bob", "p")
    );
    assert_eq!(
        (nats.client_info.user.as_str(), nats.client_info.kind.as_str()),
        ("bob", "Client")
    );
    service.welcome(&asked, "APP", |user| {
        user.common.name = "robert".to_owned();
        user.nats.rights.permissions.publish.allow.push("a".to_owned());
    });
    client.expect("PONG\r\n");
    client.exchange(
        "PUB a 0\r\n\r\nPUB b 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"b\"'\r\n",
    );
    let all = server.server.clients();
    assert!(all.iter().any(|client| client.link.user() == "robert"));
    // Also about users that the server knows.
    let mut client = connect(&server, &user("own"), None);
    let asked = service.asked();
    service.answer(&asked, |claims| claims.nats.error = "no".to_owned());
    client.expect_end(REFUSED);
}

#[test]
fn an_answer_must_be_to_this_question_and_signed_by_the_issuer() {
    let (server, mut service) = started("");
    let wrong: [fn(&mut UserClaims); 4] = [
        |user| user.common.subject = KeyPair::new_user().public_key(),
        |user| user.common.audience = "NOBODY".to_owned(),
        |user| user.common.expires = 1,
        |user| user.nats.issuer_account = KeyPair::new_account().public_key(),
    ];
    for change in wrong {
        let mut client = connect(&server, &user("bob"), None);
        let asked = service.asked();
        service.welcome(&asked, "APP", change);
        client.expect_end(REFUSED);
    }
    let answers: [fn(&mut AuthorizationResponseClaims); 2] = [
        |claims| claims.common.audience = KeyPair::new_server().public_key(),
        |claims| claims.common.subject = KeyPair::new_user().public_key(),
    ];
    for change in answers {
        let mut client = connect(&server, &user("bob"), None);
        let asked = service.asked();
        let jwt = encode(UserClaims::new(&asked.claims.nats.user_nkey), &service.issuer, now()).unwrap();
        service.answer(&asked, |claims| {
            claims.nats.jwt = jwt;
            change(claims);
        });
        client.expect_end(REFUSED);
    }
    let own = std::mem::replace(&mut service.issuer, KeyPair::new_account());
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    service.welcome(&asked, "APP", |_| {});
    client.expect_end(REFUSED);
    // The user's token is the issuer's, and what it comes in is somebody else's, whatever that says.
    for account in [String::new(), own.public_key()] {
        let mut client = connect(&server, &user("bob"), None);
        let asked = service.asked();
        let mut named = UserClaims::new(&asked.claims.nats.user_nkey);
        "APP".clone_into(&mut named.common.audience);
        let jwt = encode(named, &own, now()).unwrap();
        service.answer(&asked, |claims| {
            claims.nats.jwt = jwt;
            claims.nats.issuer_account = account;
        });
        client.expect_end(REFUSED);
    }
    service.issuer = own;
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    service.client.send(format!("PUB {} 0\r\n\r\n", asked.reply));
    client.expect_end(REFUSED);
}

#[test]
fn silence_lets_nobody_in_and_nobody_pretends_to_be_the_server() {
    let (server, mut service) = started("");
    in_a_hurry(&server, &service.issuer);
    let mut client = connect(&server, &user("bob"), None);
    service.asked();
    client.expect_end(REFUSED);
    service.client.exchange(
        "PUB $SYS.REQ.USER.AUTH 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"$SYS.REQ.USER.AUTH\"'\r\n",
    );
}

#[test]
fn accounts_that_it_does_not_decide_about() {
    let (server, mut service) = started("allowed_accounts: [OTHER]");
    let mut client = connect(&server, &user("own"), None);
    client.expect("PONG\r\n");
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    service.welcome(&asked, "APP", |_| {});
    client.expect("PONG\r\n");
}

/// An answer that comes too late, or to another question, or once more, or of any length, lets nobody in, and costs the next one nothing.
#[test]
fn an_answer_counts_once_in_its_time_and_for_its_client() {
    let (server, mut service) = started("");
    // Too late.
    in_a_hurry(&server, &service.issuer);
    let mut late = connect(&server, &user("late"), None);
    let asked = service.asked();
    late.expect_end(REFUSED);
    service.welcome(&asked, "APP", |_| {});
    service.client.exchange("", "");
    server.reload(read(&configuration(&service.issuer, ""))).unwrap();
    // Each other's.
    let (mut one, mut two) = (
        connect(&server, &user("one"), None),
        connect(&server, &user("two"), None),
    );
    let (first, second) = (service.asked(), service.asked());
    let swapped = |of: &Asked, to: &Asked| Asked {
        claims: of.claims.clone(),
        reply: to.reply.clone(),
    };
    service.welcome(&swapped(&first, &second), "APP", |_| {});
    service.welcome(&swapped(&second, &first), "APP", |_| {});
    one.expect_end(REFUSED);
    two.expect_end(REFUSED);
    // No, and then yes.
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    service.answer(&asked, |claims| claims.nats.error = "no".to_owned());
    service.welcome(&asked, "APP", |_| {});
    client.expect_end(REFUSED);
    // That of the last time.
    let mut client = connect(&server, &user("bob"), None);
    let again = service.asked();
    service.welcome(&swapped(&asked, &again), "APP", |_| {});
    client.expect_end(REFUSED);
    // Of the largest size that a message has, and nonsense of any.
    let max = 1 << 20;
    for payload in [
        "x".repeat(max),
        format!("eyJ{}", "A".repeat(max - 3)),
        format!(
            "{}.{}.{}",
            "e".repeat(300_000),
            "e".repeat(300_000),
            "e".repeat(300_000)
        ),
        ".".repeat(max),
        "\u{e4}".repeat(1000),
    ] {
        let mut client = connect(&server, &user("bob"), None);
        let asked = service.asked();
        service
            .client
            .send(format!("PUB {} {}\r\n{payload}\r\n", asked.reply, payload.len()));
        client.expect_end(REFUSED);
    }
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    service.welcome(&asked, "APP", |user| user.common.name = "n".repeat(10_000));
    client.expect("PONG\r\n");
}

/// Who does not say CONNECT is not asked about, and comes in as nobody whom the service decides about.
#[test]
fn nobody_comes_in_unasked_by_saying_nothing() {
    for (more, unasked) in [("", false), ("allowed_accounts: [OTHER]", true)] {
        let issuer = KeyPair::new_account();
        let server = configured(&format!("{}\nno_auth_user: own", configuration(&issuer, more)));
        let mut service = Service::new(connect(&server, &user("auth"), None), issuer);
        let mut silent = server.connect();
        silent.send("SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n");
        match unasked {
            true => silent.expect("+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\nPONG\r\n"),
            false => silent.expect_end(REFUSED),
        }
        service.client.exchange("", "");
    }
}

#[test]
fn what_is_asked_and_answered_can_be_encrypted() {
    let xkey = XKey::new();
    let (server, mut service) = started(&format!("xkey: {}", xkey.public_key()));
    service.xkey = Some(xkey);
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    service.welcome(&asked, "APP", |_| {});
    client.expect("PONG\r\n");
    // As with nats-server: the encryption tells whose the answer is.
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    let mut named = UserClaims::new(&asked.claims.nats.user_nkey);
    "APP".clone_into(&mut named.common.audience);
    let jwt = encode(named, &service.issuer, now()).unwrap();
    let issuer = std::mem::replace(&mut service.issuer, KeyPair::new_account());
    service.answer(&asked, |claims| claims.nats.jwt = jwt);
    client.expect("PONG\r\n");
    service.issuer = issuer;
    // By somebody else's key.
    let mut client = connect(&server, &user("bob"), None);
    let asked = service.asked();
    let own = service.xkey.replace(XKey::new());
    service.welcome(&asked, "APP", |_| {});
    client.expect_end(REFUSED);
    drop(own);
}

#[test]
fn an_account_of_an_operator_has_a_service_too() {
    let (operator, auth, app) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let (service_user, sentinel) = (KeyPair::new_user(), KeyPair::new_user());
    let mut claims = AccountClaims::new(&auth.public_key());
    claims.nats.authorization.auth_users.push(service_user.public_key());
    claims.nats.authorization.allowed_accounts.push(app.public_key());
    let accounts = [
        (&auth, encode(claims, &operator, 1).unwrap()),
        (
            &app,
            encode(AccountClaims::new(&app.public_key()), &operator, 1).unwrap(),
        ),
    ];
    let preload: Vec<String> = accounts
        .iter()
        .map(|(key, token)| format!("{}: {token}", key.public_key()))
        .collect();
    let server = configured(&format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload {{ {} }}",
        encode(OperatorClaims::new(&operator.public_key()), &operator, 1).unwrap(),
        preload.join("\n")
    ));
    let token = |user: &KeyPair| encode(UserClaims::new(&user.public_key()), &auth, 1).unwrap();
    let client = connect(&server, &json!({"jwt": token(&service_user)}), Some(&service_user));
    let auth_key = KeyPair::from_seed(&auth.seed().unwrap()).unwrap();
    let mut service = Service::new(client, auth_key);
    let shown = json!({"jwt": token(&sentinel), "auth_token": "secret"});
    let mut client = connect(&server, &shown, Some(&sentinel));
    let asked = service.asked();
    assert_eq!(asked.claims.nats.connect_opts.jwt, token(&sentinel));
    assert_eq!(asked.claims.nats.connect_opts.auth_token, "secret");
    let jwt = encode(UserClaims::new(&asked.claims.nats.user_nkey), &app, now()).unwrap();
    service.answer(&asked, |claims| claims.nats.jwt = jwt);
    client.expect("PONG\r\n");
    let stranger = KeyPair::new_account();
    let mut client = connect(&server, &shown, Some(&sentinel));
    let asked = service.asked();
    let jwt = encode(UserClaims::new(&asked.claims.nats.user_nkey), &stranger, now()).unwrap();
    service.answer(&asked, |claims| claims.nats.jwt = jwt);
    client.expect_end(REFUSED);
    let own = std::mem::replace(&mut service.issuer, stranger);
    for account in [String::new(), auth.public_key()] {
        let mut client = connect(&server, &shown, Some(&sentinel));
        let asked = service.asked();
        let jwt = encode(UserClaims::new(&asked.claims.nats.user_nkey), &app, now()).unwrap();
        service.answer(&asked, |claims| {
            claims.nats.jwt = jwt;
            claims.nats.issuer_account = account;
        });
        client.expect_end(REFUSED);
    }
    service.issuer = own;
    let mut client = connect(&server, &shown, Some(&sentinel));
    let asked = service.asked();
    let jwt = encode(UserClaims::new(&asked.claims.nats.user_nkey), &app, now()).unwrap();
    service.answer(&asked, |claims| claims.nats.jwt = jwt);
    client.expect("PONG\r\n");
}
