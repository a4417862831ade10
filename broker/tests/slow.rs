//! What waits for a client that does not read has a bound, whatever it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::Write;

use support::{Raw, TestServer};
use weir_broker::conf::options::Listen;

const MAX_PENDING: u64 = 1_000_000;
/// More than `MAX_PENDING` and what the sockets on both sides hold, in answers as in questions.
const FLOOD: usize = 96 << 20;

fn server() -> TestServer {
    TestServer::start(|options| {
        options.max_pending = MAX_PENDING;
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    })
}

/// Sends `question` again and again, never reading an answer, until the server has had enough.
#[track_caller]
fn flood(server: &TestServer, mut client: Raw, question: &str) {
    let many = question.repeat(65_536 / question.len());
    let mut sent = 0;
    while client.stream.write_all(many.as_bytes()).is_ok() {
        sent += many.len();
        assert!(sent < FLOOD, "{question:?} may be asked for ever");
        for waiting in server.server.clients() {
            // The answer that is too much counts as well.
            assert!(waiting.pending() as u64 <= MAX_PENDING + 256, "{question:?}");
        }
    }
    while server.server.client_count() > 0 {
        std::thread::yield_now();
    }
    let (_, closed) = server.get("/connz?state=closed&sort=stop");
    let closed: serde_json::Value = serde_json::from_str(&closed).unwrap();
    let connections = closed["connections"].as_array().unwrap();
    assert!(
        connections
            .iter()
            .all(|connection| connection["reason"] == "Slow Consumer (Pending Bytes)"),
        "{question:?}: {connections:?}"
    );
    let (_, varz) = server.get("/varz");
    let varz: serde_json::Value = serde_json::from_str(&varz).unwrap();
    assert_eq!(varz["slow_consumers"], connections.len(), "{question:?}");
}

#[test]
fn answers_to_a_client_that_does_not_read_end_at_max_pending() {
    let server = server();
    // PONG.
    flood(&server, server.client(), "PING\r\n");
    // -ERR.
    flood(&server, server.client(), "SUB . 1\r\n");
    // 503: nobody answers.
    let mut client = server.client();
    client.exchange("SUB reply 1\r\n", "");
    flood(&server, client, "PUB nobody reply 0\r\n\r\n");
    // +OK.
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":true}\r\n");
    client.expect("+OK\r\n");
    flood(&server, client, "UNSUB 7\r\n");
}
