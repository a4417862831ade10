//! Who may come in, and what they may do then.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::Value;
use support::{Raw, TestServer};
use weir_broker::conf::Options;

/// A server with this configuration.
fn server(text: &str) -> TestServer {
    let read = Options::parse(text, "test.conf", &|_| None).unwrap();
    TestServer::start(|options| options.auth = read.auth)
}

fn connect(server: &TestServer, user: &str) -> Raw {
    let mut raw = server.connect();
    raw.send(format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{user}\",\"pass\":\"p\"}}\r\n"
    ));
    raw.exchange("", "");
    raw
}

fn refused(server: &TestServer, connect: &str) {
    let mut raw = server.connect();
    raw.send(format!("CONNECT {connect}\r\n"));
    raw.expect_end("-ERR 'Authorization Violation'\r\n");
}

const USERS: &str = r#"authorization { users: [
  {user: all, password: p}
  {user: few, password: p, permissions: {
    publish: {allow: ["a.*", "$JS.>"], deny: "a.no"}, subscribe: {allow: ["in.>", "q v1"], deny: ["in.secret", "in.x w"]}}}
  {user: some, password: p, permissions: {subscribe: {deny: "in.secret"}}}
  {user: answers, password: p, permissions: {publish: {allow: own}, subscribe: work, allow_responses: {max: 2}}}
] }"#;

#[test]
fn what_is_published_is_permitted_or_refused() {
    let server = server(USERS);
    let mut hears = connect(&server, "all");
    hears.exchange("SUB > 1\r\n", "");
    let mut few = connect(&server, "few");
    // More than once: the second time it is remembered.
    for _ in 0..3 {
        few.exchange("PUB a.b 1\r\nx\r\n", "");
        hears.expect("MSG a.b 1 1\r\nx\r\n");
        few.exchange(
            "PUB a.no 1\r\nx\r\n",
            "-ERR 'Permissions Violation for Publish to \"a.no\"'\r\n",
        );
        few.exchange(
            "PUB b 1\r\nx\r\n",
            "-ERR 'Permissions Violation for Publish to \"b\"'\r\n",
        );
        few.exchange(
            "HPUB c 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
            "-ERR 'Permissions Violation for Publish to \"c\"'\r\n",
        );
    }
    // Subjects that have the rest in common do not share a verdict.
    for number in 0..50 {
        few.exchange(format!("PUB a.{number} 0\r\n\r\n"), "");
        hears.expect(&format!("MSG a.{number} 1 0\r\n\r\n"));
        few.exchange(
            format!("PUB b.{number} 0\r\n\r\n"),
            &format!("-ERR 'Permissions Violation for Publish to \"b.{number}\"'\r\n"),
        );
    }
    few.exchange(
        "PUB a.\"q 0\r\n\r\nPUB d\"q 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"d\\\"q\"'\r\n",
    );
    hears.exchange("", "MSG a.\"q 1 0\r\n\r\n");
}

#[test]
fn what_is_subscribed_to_is_permitted_or_refused() {
    let server = server(USERS);
    let mut few = connect(&server, "few");
    few.exchange("SUB in.a 1\r\nSUB in.> 2\r\nSUB q v1 3\r\n", "");
    few.exchange(
        "SUB other 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \"other\"'\r\n",
    );
    few.exchange(
        "SUB > 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \">\"'\r\n",
    );
    few.exchange(
        "SUB q 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \"q\"'\r\n",
    );
    few.exchange(
        "SUB q v2 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \"q\" using queue \"v2\"'\r\n",
    );
    few.exchange(
        "SUB in.secret 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \"in.secret\"'\r\n",
    );
    few.exchange(
        "SUB in.x w 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \"in.x\" using queue \"w\"'\r\n",
    );
    let mut all = connect(&server, "all");
    all.exchange(
        "SUB a _sys_ 4\r\n",
        "-ERR 'Permissions Violation for Subscription to \"a\" using queue \"_sys_\"'\r\n",
    );
}

#[test]
fn a_wildcard_does_not_hear_what_is_denied() {
    let server = server(USERS);
    let mut some = connect(&server, "some");
    some.exchange("SUB in.> 1\r\nSUB *.* group 2\r\n", "");
    let mut all = connect(&server, "all");
    for _ in 0..2 {
        all.exchange("PUB in.secret r 1\r\nx\r\nPUB in.b.c 1\r\ny\r\n", "");
        some.expect("MSG in.b.c 1 1\r\ny\r\n");
    }
    // Nobody heard it, and whoever asked is told.
    all.exchange(
        "SUB r 9\r\nPUB in.secret r 1\r\nx\r\n",
        "HMSG r 9 41 41\r\nNATS/1.0 503\r\nNats-Subject: in.secret\r\n\r\n\r\n",
    );
    // Of those that hear it the permitted one does, every time.
    let mut other = connect(&server, "all");
    other.exchange("SUB in.secret group 3\r\n", "");
    for _ in 0..20 {
        all.exchange("PUB in.secret 1\r\nx\r\n", "");
        other.expect("MSG in.secret 3 1\r\nx\r\n");
    }
    some.exchange("", "");
}

#[test]
fn a_request_may_be_answered_so_often() {
    let server = server(USERS);
    let mut answers = connect(&server, "answers");
    answers.exchange("SUB work 1\r\n", "");
    let mut asks = connect(&server, "all");
    asks.exchange("SUB r.* 1\r\n", "");
    answers.exchange(
        "PUB r.1 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"r.1\"'\r\n",
    );
    asks.exchange("PUB work r.1 0\r\n\r\n", "");
    answers.expect("MSG work 1 r.1 0\r\n\r\n");
    answers.exchange("PUB r.1 0\r\n\r\nPUB r.1 0\r\n\r\n", "");
    asks.expect("MSG r.1 1 0\r\n\r\nMSG r.1 1 0\r\n\r\n");
    answers.exchange(
        "PUB r.1 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"r.1\"'\r\n",
    );
    answers.exchange("PUB own 0\r\n\r\n", "");
    // A subject that is asked for by another name is another one.
    asks.exchange("PUB work _INBOX.a 0\r\n\r\n", "");
    answers.expect("MSG work 1 _INBOX.a 0\r\n\r\n");
    answers.exchange(
        "PUB _INBOX.b 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"_INBOX.b\"'\r\n",
    );
    answers.exchange("PUB _INBOX.a 0\r\n\r\n", "");
}

#[test]
fn an_answer_may_look_for_nobody_and_an_acknowledgement_stays_reserved() {
    let server = server(USERS);
    let mut few = connect(&server, "few");
    few.exchange(
        "PUB a.b $JS.ACK.x 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish with Reply of \"$JS.ACK.x\"'\r\n",
    );
    few.exchange(
        "PUB $JS.x 0\r\n\r\nPUB $K 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"$K\"'\r\n",
    );
}

#[test]
fn another_connect_brings_other_rules() {
    let server = server(USERS);
    let mut raw = connect(&server, "all");
    raw.exchange("PUB b 0\r\n\r\n", "");
    raw.send("CONNECT {\"user\":\"few\"}\r\n");
    raw.exchange(
        "PUB b 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"b\"'\r\n",
    );
    raw.send("CONNECT {\"user\":\"all\"}\r\n");
    raw.exchange("PUB b 0\r\n\r\n", "");
}

#[test]
fn a_user_of_this_kind_of_connection() {
    let server = server(
        "authorization { users: [{user: a, password: p, allowed_connection_types: [WEBSOCKET]}, \
         {user: b, password: p, allowed_connection_types: [websocket, standard]}] }",
    );
    refused(&server, r#"{"user":"a","pass":"p"}"#);
    connect(&server, "b");
}

#[test]
fn whoever_gives_no_credentials_is_a_user() {
    let text = "no_auth_user: none\nauthorization { users: [{user: none, password: p, permissions: {publish: a}}, {user: a, password: p}] }";
    let server = server(text);
    let mut raw = Raw::new(std::net::TcpStream::connect(server.server.client_address().unwrap()).unwrap());
    let info = raw.line();
    assert!(!info.contains("auth_required"), "{info}");
    raw.send("CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    raw.exchange(
        "PUB b 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"b\"'\r\n",
    );
    // Also without CONNECT, in the client's first mode.
    let mut telnet = server.connect();
    telnet.exchange(
        "PUB a 0\r\n\r\nPUB b 0\r\n\r\n",
        "+OK\r\n-ERR 'Permissions Violation for Publish to \"b\"'\r\n",
    );
    refused(&server, r#"{"user":"none","pass":"x"}"#);
    refused(&server, r#"{"auth_token":"x"}"#);
    connect(&server, "a").exchange("PUB b 0\r\n\r\n", "");
}

#[test]
fn passwords_and_tokens_as_hashes() {
    let hash = bcrypt::hash("p", 4).unwrap();
    let users = server(&format!(
        "authorization {{ users: [{{user: a, password: \"{hash}\"}}] }}"
    ));
    connect(&users, "a");
    refused(&users, r#"{"user":"a","pass":"q"}"#);
    refused(&users, &format!(r#"{{"user":"a","pass":"{hash}"}}"#));
    let token = server(&format!("authorization {{ token: \"{hash}\" }}"));
    let mut raw = token.connect();
    // What comes behind CONNECT waits.
    raw.send("CONNECT {\"verbose\":false,\"auth_token\":\"p\"}\r\nSUB a 1\r\nPUB a 0\r\n\r\nPING\r\n");
    raw.expect("MSG a 1 0\r\n\r\nPONG\r\n");
    refused(&token, r#"{"auth_token":"q"}"#);
    // What looks like a hash and is none lets nobody in.
    let broken = server("authorization { token: \"$2a$10$x\" }");
    refused(&broken, r#"{"auth_token":"$2a$10$x"}"#);
}

#[test]
fn keys_sign_what_they_are_sent() {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let server = server(&format!(
        "authorization {{ users: [{{nkey: {}, permissions: {{publish: a}}}}, {{user: u, password: p}}] }}",
        key.public_key()
    ));
    let attempt = |named: &KeyPair, by: &KeyPair| {
        let mut raw = Raw::new(std::net::TcpStream::connect(server.server.client_address().unwrap()).unwrap());
        let info = raw.line();
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        let signature = by.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        raw.send(format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"nkey\":\"{}\",\"sig\":\"{signature}\"}}\r\n",
            named.public_key()
        ));
        raw
    };
    attempt(&key, &key).exchange(
        "PUB a 0\r\n\r\nPUB b 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"b\"'\r\n",
    );
    attempt(&key, &other).expect_end("-ERR 'Authorization Violation'\r\n");
    attempt(&other, &other).expect_end("-ERR 'Authorization Violation'\r\n");
    let public = key.public_key();
    refused(&server, &format!(r#"{{"nkey":"{public}"}}"#));
    refused(&server, &format!(r#"{{"user":"{public}"}}"#));
    refused(&server, &format!(r#"{{"nkey":"{public}","sig":"!"}}"#));
    connect(&server, "u");
}

#[test]
fn a_client_hears_what_it_may_do() {
    let server = server(
        "authorization { users: [{user: a, password: p, permissions: {publish: {deny: [x]}, allow_responses: true, subscribe: \"in.>\"}}] }",
    );
    let mut raw = connect(&server, "a");
    raw.exchange(
        "SUB in.a 1\r\nPUB $SYS.REQ.USER.INFO in.a 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"$SYS.REQ.USER.INFO\"'\r\n",
    );
    drop(server);
    let server = self::server(
        "authorization { users: [{user: a, password: p, permissions: {publish: {allow: \">\", deny: [x]}, subscribe: \"in.>\"}}] }",
    );
    let mut raw = connect(&server, "a");
    raw.send("SUB in.a 1\r\nPUB $SYS.REQ.USER.INFO in.a 0\r\n\r\n");
    assert!(raw.line().starts_with("MSG in.a 1 "));
    let told: Value = serde_json::from_str(&raw.line()).unwrap();
    assert_eq!(
        told["data"]["permissions"],
        serde_json::json!({"publish": {"allow": [">"], "deny": ["x"]}, "subscribe": {"allow": ["in.>"]}})
    );
}
