//! `websocket { }`: every key, what it means, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use weir_conf::Options;
use weir_conf::options::{WebSocket, WebSocketAuth};

fn parse(text: &str) -> Result<Options, String> {
    Options::parse(text, "a.conf", &|_| None).map_err(|error| error.to_string())
}

fn block(text: &str) -> WebSocket {
    let options = parse(&format!("websocket {{ {text} }}")).unwrap();
    assert!(options.warnings.is_empty());
    options.websocket.unwrap()
}

#[test]
fn every_key_is_read() {
    let found = block(
        "host: 127.0.0.1, port: 8080, advertise: \"example.com:443\", no_tls: true, same_origin: true,
        allowed_origins: [\"http://a\", \"https://b:1\"], compression: true, handshake_timeout: 3s, ping_interval: 4s,
        user_cookie: u, pass_cookie: p, token_cookie: t, jwt_cookie: \"\", no_auth_user: \"\",
        authorization { user: a, password: b, timeout: 5 }, headers { X-A: b, \"X-B\": \"c d\" }",
    );
    let text = |text: &str| Some(text.to_owned());
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let wanted = WebSocket {
        host: "127.0.0.1".into(),
        port: 8080,
        advertise: text("example.com:443"),
        no_tls: true,
        tls: None,
        same_origin: true,
        allowed_origins: vec!["http://a".into(), "https://b:1".into()],
        compression: true,
        handshake_timeout: Some(Duration::from_secs(3)),
        ping_interval: Some(Duration::from_secs(4)),
        user_cookie: text("u"),
        pass_cookie: text("p"),
        token_cookie: text("t"),
        jwt_cookie: None,
        auth: WebSocketAuth {
            user: Some(pair("a", "b")),
            token: None,
            no_auth_user: None,
            timeout: Some(Duration::from_secs(5)),
        },
        headers: vec![pair("X-A", "b"), pair("X-B", "c d")],
    };
    assert!(found == wanted, "{found:?}");
}

#[test]
fn other_spellings_mean_the_same() {
    let found =
        block("listen: \"[::1]:-1\", no_tls: true, compress: yes, origin: \"http://a\", authentication { token: x }");
    assert_eq!((found.host.as_str(), found.port), ("::1", 0));
    assert!(found.compression && found.auth.overrides());
    assert_eq!(found.allowed_origins, ["http://a"]);
    assert_eq!(
        parse("ws { port: 80, no_tls: true }").unwrap().websocket.unwrap().host,
        "0.0.0.0"
    );
}

/// As nats-server, which does not look at the rest then.
#[test]
fn nothing_listens_without_a_port() {
    for text in ["", "host: 127.0.0.1", "port: 0, tls {}", "jwt_cookie: x"] {
        let options = parse(&format!("websocket {{ {text} }}")).unwrap();
        assert_eq!(options.websocket, None, "{text}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for (text, wanted) in [
        (
            "port: 80",
            "a.conf:1:1: websocket requires TLS configuration, or no_tls: true to do without",
        ),
        (
            "port: 80, tls { cert_file: a }",
            "a.conf:1:23: missing 'key_file' in TLS configuration",
        ),
        (
            "port: 80, no_tls: true, jwt_cookie: x",
            "trusted operators or trusted keys configuration is required for JWT authentication via cookie \"x\"",
        ),
        (
            "port: 80, no_tls: true, headers { upgrade: x }",
            "a.conf:1:47: websocket: invalid header \"upgrade\" not allowed",
        ),
        (
            "port: 80, no_tls: true, headers { \"X A\": x }",
            "a.conf:1:47: websocket: \"X A\" cannot be a header with this value",
        ),
        (
            "port: 80, no_tls: true, headers { XA: \"x\\r\\ny\" }",
            "a.conf:1:47: websocket: \"XA\" cannot be a header with this value",
        ),
        (
            "port: 80, no_tls: true, authorization { user: a }",
            "a.conf:1:37: authorization has a user without a password",
        ),
        (
            "port: 80, no_tls: true, authorization { user: a, pass: b, token: c }",
            "a.conf:1:37: authorization has both a token and a user: choose one",
        ),
    ] {
        assert_eq!(parse(&format!("websocket {{ {text} }}")).unwrap_err(), wanted, "{text}");
    }
    let both = "authorization { users: [{user: a, password: b}, {user: c, password: d}] }\n\
        websocket { port: 80, no_tls: true, authorization { user: x, password: y } }";
    assert_eq!(
        parse(both).unwrap_err(),
        "websocket authentication username not compatible with presence of users/nkeys"
    );
}

#[test]
fn clients_without_credentials_are_a_user_that_there_is() {
    let text = |users: &str| format!("{users}\nwebsocket {{ port: 80, no_tls: true, no_auth_user: a }}");
    let options = parse(&text("authorization { users: [{user: a, password: b}] }")).unwrap();
    assert_eq!(options.websocket.unwrap().auth.no_auth_user.as_deref(), Some("a"));
    assert_eq!(
        parse(&text("")).unwrap_err(),
        "no_auth_user: \"a\" present, but users/nkeys are not defined"
    );
    assert_eq!(
        parse(&text("authorization { users: [{user: c, password: b}] }")).unwrap_err(),
        "no_auth_user: \"a\" not present as user or nkey in authorization block or account configuration"
    );
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!(
        "{:?}",
        block("port: 80, no_tls: true, authorization { user: a, password: secret }")
    );
    assert!(!shown.contains("secret"), "{shown}");
}
