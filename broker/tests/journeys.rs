//! Message tracing: what is told of a message's way, as nats-server 2.15.1 tells it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::{Value, json};
use support::{JetStreamServer, Raw};
use weir_broker::conf::Options;
use weir_broker::conf::options::Backend;

const ACCOUNTS: &str = "server_name: here
jetstream: enabled
accounts {
    A { jetstream: enabled
        users: [{user: a}, {user: held, permissions: {publish: {deny: [\"no.>\", T2]}}}]
        exports: [{service: \"open.*\", allow_trace: true}, {service: \"shut.*\"}, {stream: \"news.>\"}, {stream: \"still.>\"}]
        mappings: {\"m.in\": \"m.out\"} }
    B { users: [{user: b}]
        imports: [{service: {account: A, subject: \"open.*\"}}, {service: {account: A, subject: \"shut.*\"}}
            {stream: {account: A, subject: \"news.>\"}, prefix: p, allow_trace: true}
            {stream: {account: A, subject: \"still.>\"}}] } }
no_auth_user: a";

fn server() -> JetStreamServer {
    let read = Options::parse(ACCOUNTS, "test.conf", &|_| None).unwrap();
    JetStreamServer::start(Backend::Memory, |options| {
        *options = Options {
            host: options.host.clone(),
            port: options.port,
            jetstream: options.jetstream.clone(),
            ..read
        };
    })
}

fn client(fixture: &JetStreamServer, name: &str, more: &str) -> Raw {
    let mut raw = fixture.server.connect();
    raw.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\"name\":\"{name}\",\"user\":\"{name}\"{more}}}\r\nPING\r\n"
    ));
    raw.expect("PONG\r\n");
    raw.line();
    raw
}

fn publish(client: &mut Raw, subject: &str, reply: &str, headers: &[(&str, &str)]) {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let block = format!("NATS/1.0\r\n{lines}\r\n");
    client.send(format!(
        "HPUB {subject} {reply} {} {}\r\n{block}x\r\n",
        block.len(),
        block.len() + 1
    ));
}

/// The next message: its line, its header block and its body.
fn message(client: &mut Raw) -> (String, String, Vec<u8>) {
    let line = client.line();
    let sizes: Vec<usize> = line.split(' ').rev().map_while(|word| word.parse().ok()).collect();
    let headers = if line.starts_with("HMSG ") { sizes[1] } else { 0 };
    let mut block = client.take(sizes[0] + 2);
    let mut body = block.split_off(headers);
    body.truncate(body.len() - 2);
    (line, String::from_utf8(block).unwrap(), body)
}

/// What is told next, without what differs each time.
fn told(client: &mut Raw, to: &str) -> Value {
    let (line, _, body) = message(client);
    assert!(line.starts_with(&format!("MSG {to} ")), "{line}");
    stations(&body)
}

fn stations(told: &[u8]) -> Value {
    let mut told: Value = serde_json::from_slice(told).unwrap();
    assert_eq!(
        (&told["server"]["name"], &told["server"]["ver"]),
        (&json!("here"), &json!("2.15.1"))
    );
    assert!(told["server"]["seq"].as_u64() > Some(0), "{told}");
    assert!(told["request"]["msgsize"].as_u64() > Some(0), "{told}");
    for station in told["events"].as_array_mut().unwrap() {
        let station = station.as_object_mut().unwrap();
        assert!(station.remove("ts").unwrap().as_str().unwrap().ends_with('Z'));
        station.remove("cid");
    }
    told["events"].take()
}

fn begun(name: &str, account: &str, subject: &str) -> Value {
    json!({"type": "in", "kind": 0, "name": name, "acc": account, "subj": subject})
}

#[test]
fn who_gets_a_message_is_told() {
    let fixture = server();
    let mut a = client(&fixture, "a", ",\"echo\":false");
    let mut other = client(&fixture, "held", "");
    other.exchange("SUB s 1\r\nSUB s q 2\r\nSUB m.out 3\r\n", "");
    a.exchange("SUB s 7\r\nSUB T 8\r\n", "");
    let to_other = |sub: &str| json!({"type": "eg", "kind": 0, "name": "held", "sub": sub});
    let mut queued = to_other("s");
    queued["queue"] = json!("q");
    let mut echo = json!({"type": "eg", "kind": 0, "name": "a", "sub": "s"});
    echo["error"] = json!("Not delivered because of no echo");
    // Told to one who does not hear its own messages: it is the server's.
    publish(&mut a, "s", "", &[("Nats-Trace-Dest", "T")]);
    let mut events = told(&mut a, "T");
    let found = events.as_array_mut().unwrap();
    assert_eq!(found.remove(0), begun("a", "A", "s"));
    for wanted in [to_other("s"), queued, echo] {
        let at = found.iter().position(|one| *one == wanted);
        found.remove(at.unwrap_or_else(|| panic!("{wanted} is not in {found:?}")));
    }
    assert!(found.is_empty(), "{found:?}");
    for _ in 0..2 {
        let (_, block, body) = message(&mut other);
        assert_eq!((&*block, &*body), ("NATS/1.0\r\nNats-Trace-Dest: T\r\n\r\n", &b"x"[..]));
    }
    // Mapped, and nobody gets it.
    publish(
        &mut a,
        "m.in",
        "",
        &[("Nats-Trace-Dest", "T"), ("Nats-Trace-Only", "true")],
    );
    let mapped = json!({"type": "sm", "to": "m.out"});
    assert_eq!(
        told(&mut a, "T"),
        json!([begun("a", "A", "m.in"), mapped, to_other("m.out")])
    );
    // Nobody is there: told, and the requester knows as well.
    a.send("SUB r 9\r\n");
    publish(
        &mut a,
        "nobody",
        "r",
        &[("Nats-Trace-Dest", "T"), ("Nats-Trace-Only", "true")],
    );
    let mut lines = [message(&mut a), message(&mut a)];
    lines.sort_by_key(|(line, ..)| line.starts_with("MSG T"));
    assert!(lines[0].1.starts_with("NATS/1.0 503"), "{lines:?}");
    assert_eq!(stations(&lines[1].2), json!([begun("a", "A", "nobody")]));
    other.exchange("", "");
}

#[test]
fn what_cannot_be_told_is_a_message_like_any_other() {
    let fixture = server();
    let mut a = client(&fixture, "a", "");
    a.exchange("SUB s 1\r\nSUB T 8\r\nSUB > 9\r\n", "");
    a.exchange("UNSUB 9\r\n", "");
    for to in ["a..b", "a.*", "trace disabled"] {
        publish(&mut a, "s", "", &[("Nats-Trace-Dest", to)]);
        assert!(message(&mut a).0.starts_with("HMSG s 1 "));
    }
    // One that only asks where it would go goes nowhere; it does not ask where that has ended.
    publish(
        &mut a,
        "s",
        "",
        &[("Nats-Trace-Dest", "a.*"), ("Nats-Trace-Only", "true")],
    );
    publish(
        &mut a,
        "s",
        "",
        &[("Nats-Trace-Dest", "trace disabled"), ("Nats-Trace-Only", "true")],
    );
    assert!(message(&mut a).1.contains("trace disabled"));
    publish(&mut a, "s", "", &[("nats-trace-dest", "T")]);
    assert!(message(&mut a).0.starts_with("HMSG s 1 "));
    a.exchange("", "");
}

#[test]
fn permissions_hold_for_where_it_is_told_too() {
    let fixture = server();
    let mut a = client(&fixture, "a", "");
    a.exchange("SUB T 1\r\nSUB T2 3\r\nSUB s 2\r\n", "");
    let mut held = client(&fixture, "held", "");
    publish(&mut held, "no.s", "", &[("Nats-Trace-Dest", "T")]);
    held.expect("-ERR 'Permissions Violation for Publish to \"no.s\"'\r\n");
    let mut refused = begun("held", "A", "no.s");
    refused["error"] = json!("Permissions Violation for Publish to \"no.s\"");
    assert_eq!(told(&mut a, "T"), json!([refused]));
    publish(&mut held, "s", "", &[("Nats-Trace-Dest", "T2")]);
    held.expect("-ERR 'Permissions Violation for Publish to \"T2\"'\r\n");
    held.exchange("", "");
    a.exchange("", "");
}

#[test]
fn what_a_stream_does_with_it_is_told_once_it_is_done() {
    let fixture = server();
    let mut a = client(&fixture, "a", "");
    a.exchange("SUB T 1\r\nSUB r 2\r\n", "");
    let ask = |a: &mut Raw, call: &str, body: &Value| {
        let body = body.to_string();
        a.send(format!("PUB $JS.API.{call} r {}\r\n{body}\r\n", body.len()));
        let answer: Value = serde_json::from_slice(&message(a).2).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    };
    ask(&mut a, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["js"]}));
    let stored = json!({"type": "js", "stream": "S", "subject": "js"});
    publish(&mut a, "js", "", &[("Nats-Trace-Dest", "T"), ("k", "v")]);
    assert_eq!(told(&mut a, "T"), json!([begun("a", "A", "js"), stored]));
    // Both are told: the publisher, and who looks on.
    publish(&mut a, "js", "r", &[("Nats-Trace-Dest", "T")]);
    let (line, _, body) = message(&mut a);
    assert_eq!((&line[..6], &*body), ("MSG r ", &b"{\"stream\":\"S\",\"seq\":2}"[..]));
    assert_eq!(told(&mut a, "T"), json!([begun("a", "A", "js"), stored]));
    publish(
        &mut a,
        "js",
        "r",
        &[("Nats-Trace-Dest", "T"), ("Nats-Expected-Stream", "Z")],
    );
    assert!(String::from_utf8(message(&mut a).2).unwrap().contains("10060"));
    let refused = json!({"type": "js", "stream": "S", "error": "expected stream does not match"});
    assert_eq!(told(&mut a, "T"), json!([begun("a", "A", "js"), refused]));
    publish(&mut a, "js", "r", &[("Nats-Trace-Dest", "T"), ("Nats-Trace-Only", "1")]);
    assert_eq!(told(&mut a, "T"), json!([begun("a", "A", "js"), stored]));
    let info = ask(&mut a, "STREAM.INFO.S", &json!({}));
    assert_eq!(info["state"]["messages"], 2);
    // Whoever reads it from the stream does not have its way told again.
    let got = ask(&mut a, "STREAM.MSG.GET.S", &json!({"seq": 1}));
    // NATS/1.0, Nats-Trace-Dest: trace disabled, k: v.
    assert_eq!(
        got["message"]["hdrs"],
        "TkFUUy8xLjANCk5hdHMtVHJhY2UtRGVzdDogdHJhY2UgZGlzYWJsZWQNCms6IHYNCg0K"
    );
}

#[test]
fn it_is_told_into_other_accounts_only_where_they_let_it() {
    let fixture = server();
    let (mut a, mut b) = (client(&fixture, "a", ""), client(&fixture, "b", ""));
    a.exchange("SUB open.* 1\r\nSUB shut.* 2\r\nSUB T 8\r\n", "");
    b.exchange("SUB p.news.x 1\r\nSUB still.x 2\r\nSUB T 8\r\n", "");
    for (service, tells) in [("open.x", true), ("shut.x", false)] {
        publish(&mut b, service, "r", &[("Nats-Trace-Dest", "T")]);
        let mut events = vec![
            begun("b", "B", service),
            json!({"type": "si", "acc": "A", "from": service, "to": service}),
        ];
        if tells {
            let filter = "open.*";
            events.push(json!({"type": "eg", "kind": 0, "name": "a", "acc": "A", "sub": filter}));
        }
        assert_eq!(told(&mut b, "T"), json!(events));
        let (_, block, _) = message(&mut a);
        assert!(block.contains("Nats-Trace-Dest: trace disabled\r\n"), "{block}");
    }
    for (stream, new, tells) in [("news.x", "p.news.x", true), ("still.x", "still.x", false)] {
        publish(&mut a, stream, "", &[("Nats-Trace-Dest", "T")]);
        let mut events = vec![begun("a", "A", stream), json!({"type": "se", "acc": "B", "to": new})];
        if tells {
            events.push(json!({"type": "eg", "kind": 0, "name": "b", "acc": "B", "sub": stream}));
        }
        assert_eq!(told(&mut a, "T"), json!(events));
        assert!(message(&mut b).0.starts_with(&format!("HMSG {new} ")));
    }
}

#[test]
fn it_is_told_in_the_form_that_is_asked_for() {
    let fixture = server();
    let mut a = client(&fixture, "a", "");
    a.exchange("SUB T 1\r\n", "");
    publish(
        &mut a,
        "s",
        "",
        &[("Nats-Trace-Dest", "T"), ("Accept-Encoding", "br, gzip")],
    );
    let (_, block, body) = message(&mut a);
    assert_eq!(block, "NATS/1.0\r\nContent-Encoding: gzip\r\n\r\n");
    let mut told = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut told).unwrap();
    assert_eq!(stations(told.as_bytes()), json!([begun("a", "A", "s")]));
    let told: Value = serde_json::from_str(&told).unwrap();
    let headers = json!({"Nats-Trace-Dest": ["T"], "Accept-Encoding": ["br, gzip"]});
    assert_eq!(told["request"], json!({"header": headers, "msgsize": 60}));
}
