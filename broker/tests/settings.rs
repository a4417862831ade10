//! Settings that change a little of what clients and dashboards see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::TestServer;
use weir_broker::conf::Options;

fn configured(text: &str) -> TestServer {
    let read = Options::parse(text, "a.conf", &|_| None).unwrap();
    TestServer::start(|options| {
        *options = Options {
            host: "127.0.0.1".into(),
            port: 0,
            ..read
        }
    })
}

#[test]
fn a_subject_of_too_many_tokens_is_not_subscribed_to() {
    let server = configured("max_sub_tokens: 3");
    let mut client = server.client();
    client.send("SUB a.b.c 1\r\nSUB a.b.c.> 2\r\nPING\r\n");
    client.expect("-ERR 'Permissions Violation for Subscription to \"a.b.c.>\", too many tokens'\r\nPONG\r\n");
    client.exchange("PUB a.b.c 0\r\n\r\n", "MSG a.b.c 1 0\r\n\r\n");
}

#[test]
fn pages_are_found_below_the_base_path() {
    let server =
        configured("http: \"127.0.0.1:-1\"\nhttp_base_path: nats\nserver_tags: [a, b]\nserver_metadata { zone: z }");
    let (status, body) = server.get("/nats/varz");
    assert!(status.contains("200"), "{status}");
    let varz: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(varz["http_base_path"], "nats");
    assert_eq!(varz["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(varz["metadata"], serde_json::json!({"zone": "z"}));
    assert!(server.get("/nats").0.contains("200"));
    for elsewhere in ["/varz", "/", "/natsvarz"] {
        assert!(server.get(elsewhere).0.contains("404"), "{elsewhere}");
    }
}
