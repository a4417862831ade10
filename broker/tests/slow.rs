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
            assert!(waiting.link.pending() as u64 <= MAX_PENDING + 256, "{question:?}");
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

/// A server with a stream `S` of 300 messages of 100 kB, and a consumer `C` of it.
fn with_stream(folder: &std::path::Path, consumer: &str) -> (TestServer, Raw) {
    let server = TestServer::start(|options| {
        options.max_pending = MAX_PENDING;
        options.jetstream.enabled = true;
        options.jetstream.store_dir = Some(folder.into());
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    });
    let mut client = server.client();
    client.send("SUB answer 1\r\n");
    let ask = |client: &mut Raw, subject: &str, request: &str| {
        let length = request.len();
        client.send(format!("PUB {subject} answer {length}\r\n{request}\r\n"));
        assert!(client.line().starts_with("MSG answer 1 "));
        let answer = client.line();
        assert!(!answer.contains("error"), "{answer}");
    };
    ask(
        &mut client,
        "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s\"],\"storage\":\"memory\"}",
    );
    let publish = format!("PUB s {SIZE}\r\n{}\r\n", "x".repeat(SIZE));
    for _ in 0..COUNT {
        client.send(&publish);
    }
    // Served behind what was published.
    ask(&mut client, "$JS.API.CONSUMER.DURABLE.CREATE.S.C", consumer);
    (server, client)
}

const COUNT: u64 = 300;
const SIZE: usize = 100_000;

const PULL: &str = "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\",\"ack_wait\":3600000000000}}";
const PUSH: &str =
    "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"none\",\"deliver_subject\":\"push\"}}";

/// Waits until as much waits for the client as consumers may fill.
fn wait_until_full(server: &TestServer, id: u64) {
    let client = server.server.client(id).unwrap();
    while (client.link.pending() as u64) < MAX_PENDING / 4 {
        std::thread::yield_now();
    }
}

/// Reads messages of the stream, each once and in order, from the sequence `first` on.
fn read(client: &mut Raw, first: u64, count: u64) {
    for seq in first..first + count {
        let line = client.line();
        assert!(
            line.starts_with("MSG s ") && line.contains(&format!(".1.{seq}.")),
            "{seq}: {line}"
        );
        assert_eq!(client.take(SIZE + 2).len(), SIZE + 2);
    }
}

#[test]
fn a_fetch_that_is_larger_than_max_pending_waits_for_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut other) = with_stream(folder.path(), PULL);
    let mut slow = server.client();
    slow.send("SUB inbox 7\r\n");
    // It would not wait for messages, but there are some all the time.
    let all = format!("{{\"batch\":{COUNT},\"no_wait\":true,\"expires\":3600000000000}}");
    let length = all.len();
    slow.send(format!("PUB $JS.API.CONSUMER.MSG.NEXT.S.C inbox {length}\r\n{all}\r\n"));
    wait_until_full(&server, 2);
    // Others who ask are served meanwhile.
    other.send("SUB more 2\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.C more 2\r\n10\r\n");
    let line = other.line();
    let from: u64 = line.split('.').nth(5).unwrap().parse().unwrap();
    other.take(SIZE + 2);
    read(&mut other, from + 1, 9);
    read(&mut slow, 1, from - 1);
    read(&mut slow, from + 10, COUNT - from - 9);
    // The request is complete but for what the other got, and ends as one that does not wait.
    let status = slow.line();
    assert!(status.starts_with("HMSG inbox 7 "), "{status}");
    assert_eq!(slow.line(), "NATS/1.0 404 No Messages");
    let (_, varz) = server.get("/varz");
    let varz: serde_json::Value = serde_json::from_str(&varz).unwrap();
    assert_eq!(varz["slow_consumers"], 0);
}

#[test]
fn a_push_consumer_waits_for_its_only_reader_and_not_for_one_that_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _other) = with_stream(folder.path(), PUSH);
    let mut gone = server.client();
    gone.send("SUB push 7\r\n");
    wait_until_full(&server, 2);
    let mut slow = server.client();
    drop(gone);
    while server.server.client_count() > 2 {
        std::thread::yield_now();
    }
    slow.send("SUB push 8\r\n");
    wait_until_full(&server, 3);
    // What the first was sent is not sent again: nothing is acknowledged here.
    let line = slow.line();
    let from: u64 = line.split('.').nth(5).unwrap().parse().unwrap();
    slow.take(SIZE + 2);
    read(&mut slow, from + 1, COUNT - from);
    assert_eq!(server.server.client_count(), 2);
}
