//! Proxies that speak for clients: trusted ones, and what only they may do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::net::TcpStream;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use support::{Raw, TestServer};
use weir_broker::conf::Options;
use weir_broker::conf::options::Listen;

const REFUSED: &str = "-ERR 'Authorization Violation'\r\n";

fn read(text: &str) -> Options {
    Options {
        host: "127.0.0.1".into(),
        port: 0,
        http: Some(Listen {
            host: String::new(),
            port: 0,
        }),
        ..Options::parse(text, "a.conf", &|_| None).unwrap()
    }
}

fn connect(server: &TestServer, fields: Value, proxy: Option<&KeyPair>) -> Raw {
    let mut client = Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap());
    let info: Value = serde_json::from_str(client.line().strip_prefix("INFO ").unwrap()).unwrap();
    let mut fields = fields;
    fields["verbose"] = json!(false);
    if let Some(proxy) = proxy {
        let nonce = info["nonce"].as_str().unwrap();
        fields["proxy_sig"] = json!(BASE64_URL_SAFE_NO_PAD.encode(proxy.sign(nonce.as_bytes()).unwrap()));
    }
    client.send(format!("CONNECT {fields}\r\nPING\r\n"));
    client
}

#[test]
fn who_needs_a_proxy_comes_by_one_that_is_trusted() {
    let (trusted, other) = (KeyPair::new_user(), KeyPair::new_user());
    let configuration = |proxies: &str| {
        format!(
            "proxies {{ trusted: [{proxies}] }}
             authorization {{ users: [ {{user: a, password: p, proxy_required: true}}, {{user: b, password: p}} ] }}"
        )
    };
    let key = format!("{{key: {}}}", trusted.public_key());
    let server = TestServer::start(|options| *options = read(&configuration(&key)));
    let user = |name: &str| json!({"user": name, "pass": "p"});
    let mut proxied = connect(&server, user("a"), Some(&trusted));
    proxied.expect("PONG\r\n");
    connect(&server, user("a"), None).expect_end(REFUSED);
    connect(&server, user("a"), Some(&other)).expect_end(REFUSED);
    connect(&server, user("b"), Some(&other)).expect_end(REFUSED);
    let mut direct = connect(&server, user("b"), None);
    direct.expect("PONG\r\n");
    let connz: Value = serde_json::from_str(&server.get("/connz").1).unwrap();
    assert_eq!(connz["connections"][0]["proxy"]["key"], trusted.public_key());
    // A client sees the end before it is in the list.
    let mut reasons: Vec<String> = Vec::new();
    while reasons.len() < 3 {
        let closed: Value = serde_json::from_str(&server.get("/connz?state=closed").1).unwrap();
        let all = closed["connections"].as_array().unwrap().iter();
        reasons = all
            .map(|closed| closed["reason"].as_str().unwrap().to_owned())
            .collect();
    }
    assert_eq!(reasons, ["Proxy Required", "Proxy Not Trusted", "Proxy Not Trusted"]);
    // One that is trusted no more.
    let key = format!("{{key: {}}}", other.public_key());
    server.reload(read(&configuration(&key))).unwrap();
    proxied.expect_end(REFUSED);
    direct.exchange("PUB a 0\r\n\r\n", "");
}

#[test]
fn who_knows_the_token_may_need_one_too() {
    let trusted = KeyPair::new_account();
    let server = TestServer::start(|options| {
        *options = read(&format!(
            "proxies {{ trusted: [{{key: {}}}] }}\nauthorization {{ token: t, proxy_required: true }}",
            trusted.public_key()
        ));
    });
    connect(&server, json!({"auth_token": "t"}), Some(&trusted)).expect("PONG\r\n");
    connect(&server, json!({"auth_token": "t"}), None).expect_end(REFUSED);
}

/// Connects, says this first, and is a client then.
fn behind_proxy(server: &TestServer, header: &[u8]) -> Raw {
    let mut client = Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap());
    let info = client.line();
    assert!(!info.contains("client_ip"), "the proxy's address is not told: {info}");
    client.send(header);
    client.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
    client
}

#[test]
fn a_proxy_says_where_a_client_is() {
    let server = TestServer::start(|options| *options = read("proxy_protocol: true"));
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10".to_vec();
    binary.extend([9, 8, 7, 6, 1, 1, 1, 1, 0, 80, 0, 90, 0, 0, 0, 0]);
    let headers: [(&[u8], &str); 4] = [
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 4222\r\n", "1.2.3.4"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&binary, "9.8.7.6"),
        (b"", "127.0.0.1"),
    ];
    let mut clients = Vec::new();
    for (header, _) in headers {
        let mut client = behind_proxy(&server, header);
        client.expect("PONG\r\n");
        clients.push(client);
    }
    let connz: Value = serde_json::from_str(&server.get("/connz").1).unwrap();
    for (at, (_, ip)) in headers.into_iter().enumerate() {
        assert_eq!(connz["connections"][at]["ip"], ip);
    }
    for wrong in [
        "PROXY TCP4 x y 1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "\r\n\r\n\0\rnothing",
    ] {
        let mut client = behind_proxy(&server, wrong.as_bytes());
        client.expect_end("");
    }
}
