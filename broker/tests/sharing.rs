//! What accounts share: how long services take, requests that are not answered, chains of imports.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::{Value, json};
use support::{Raw, TestServer};
use weir_broker::conf::Options;

fn server(text: &str) -> TestServer {
    let read = Options::parse(text, "test.conf", &|_| None).unwrap();
    TestServer::start(|options| {
        *options = Options {
            host: options.host.clone(),
            port: options.port,
            ..read
        };
    })
}

fn client(server: &TestServer, user: &str) -> Raw {
    let mut raw = server.connect();
    raw.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{user}\"}}\r\n"
    ));
    raw.exchange("", "");
    raw
}

/// The next message: its line, and its body without headers.
fn message(client: &mut Raw) -> (String, String) {
    let line = client.line();
    let size: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    let body = String::from_utf8(client.take(size + 2)).unwrap();
    let body = body.split_once("\r\n\r\n").map_or(body.as_str(), |(_, body)| body);
    (line.clone(), body.trim_end().to_owned())
}

/// Where a message wants its answer.
fn reply(line: &str) -> &str {
    line.split(' ').nth(3).unwrap()
}

const MEASURED: &str = "accounts {
    A { users: [{user: a}], exports: [
        {service: ask, latency: {sampling: 100, subject: took}}
        {service: late, threshold: \"1ms\", latency: took}
        {service: traced, latency: {sampling: headers, subject: took}}] }
    B { users: [{user: b}], imports: [
        {service: {account: A, subject: ask}, share: true}
        {service: {account: A, subject: late}}
        {service: {account: A, subject: traced}}] } }";

fn told(client: &mut Raw) -> Value {
    let (line, body) = message(client);
    assert!(line.starts_with("MSG took "), "{line}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn it_is_told_how_long_a_service_takes() {
    let server = server(MEASURED);
    let (mut a, mut b, mut hears) = (client(&server, "a"), client(&server, "b"), client(&server, "a"));
    hears.exchange("SUB took 1\r\n", "");
    a.exchange("SUB ask 1\r\n", "");
    b.exchange("SUB r 1\r\nPUB ask r 1\r\n1\r\n", "");
    let (line, body) = message(&mut a);
    assert_eq!(body, "1");
    a.exchange(format!("PUB {} 2\r\nok\r\n", reply(&line)), "");
    b.expect("MSG r 1 2\r\nok\r\n");
    let metric = told(&mut hears);
    assert_eq!(metric["type"], "io.nats.server.metric.v1.service_latency");
    assert_eq!(metric["status"], 200);
    assert_eq!(
        (&metric["requestor"]["acc"], &metric["requestor"]["user"]),
        (&json!("B"), &json!("b"))
    );
    assert_eq!(
        (&metric["responder"]["acc"], &metric["responder"]["user"]),
        (&json!("A"), &json!("a"))
    );
    assert!(metric["total"].as_u64() >= metric["service"].as_u64() && metric["service"].is_u64());
    // A request that nobody can answer, and one that nobody hears.
    b.exchange("PUB ask 1\r\n1\r\n", "");
    let bad = told(&mut hears);
    assert_eq!(
        (&bad["status"], &bad["description"]),
        (&json!(400), &json!("Bad Request"))
    );
    assert_eq!(message(&mut a).1, "1");
    a.exchange("UNSUB 1\r\n", "");
    b.exchange(
        "PUB ask r 1\r\n1\r\n",
        "HMSG r 1 35 35\r\nNATS/1.0 503\r\nNats-Subject: ask\r\n\r\n\r\n",
    );
    let nobody = told(&mut hears);
    assert_eq!(
        (&nobody["status"], &nobody["description"]),
        (&json!(503), &json!("Service Unavailable"))
    );
    assert!(nobody["responder"].is_null());
}

#[test]
fn a_request_that_is_not_answered_in_time_ends() {
    let server = server(MEASURED);
    let (mut a, mut b, mut hears) = (client(&server, "a"), client(&server, "b"), client(&server, "a"));
    hears.exchange("SUB took 1\r\n", "");
    a.exchange("SUB late 1\r\n", "");
    b.exchange("SUB r 1\r\nPUB late r 1\r\n1\r\n", "");
    let (line, _) = message(&mut a);
    let metric = told(&mut hears);
    assert_eq!(
        (&metric["status"], &metric["description"]),
        (&json!(504), &json!("Service Timeout"))
    );
    assert_eq!(metric["requestor"]["acc"], "B");
    assert!(metric["requestor"]["user"].is_null());
    a.exchange(format!("PUB {} 2\r\nok\r\n", reply(&line)), "");
    b.exchange("", "");
}

#[test]
fn headers_ask_for_a_measurement() {
    let server = server(MEASURED);
    let (mut a, mut b, mut hears) = (client(&server, "a"), client(&server, "b"), client(&server, "a"));
    hears.exchange("SUB took 1\r\n", "");
    a.exchange("SUB traced 1\r\n", "");
    b.exchange("SUB r 1\r\nPUB traced r 1\r\n1\r\n", "");
    let (line, _) = message(&mut a);
    a.exchange(format!("PUB {} 2\r\nok\r\n", reply(&line)), "");
    b.expect("MSG r 1 2\r\nok\r\n");
    let block = "NATS/1.0\r\nb3: a-b-1-c\r\n\r\n";
    b.exchange(
        format!("HPUB traced r {} {}\r\n{block}\r\n", block.len(), block.len()),
        "",
    );
    let (line, _) = message(&mut a);
    a.exchange(format!("PUB {} 2\r\nok\r\n", reply(&line)), "");
    let metric = told(&mut hears);
    assert_eq!(metric["header"], json!({"B3": ["a-b-1-c"]}));
}

#[test]
fn a_chain_of_imports_ends() {
    use std::fmt::Write as _;
    let mut text = "accounts {\n".to_owned();
    for n in 0..40 {
        let imports = match n {
            0 => String::new(),
            n => format!("imports: [{{service: {{account: A{}, subject: ask}}}}]", n - 1),
        };
        writeln!(
            text,
            "A{n} {{ users: [{{user: a{n}}}], exports: [{{service: ask}}], {imports} }}"
        )
        .unwrap();
    }
    text.push('}');
    let server = server(&text);
    let mut first = client(&server, "a0");
    first.exchange("SUB ask 1\r\n", "");
    let mut near = client(&server, "a32");
    near.exchange("SUB r 1\r\nPUB ask r 1\r\n1\r\n", "");
    let (line, _) = message(&mut first);
    first.exchange(format!("PUB {} 2\r\nok\r\n", reply(&line)), "");
    near.expect("MSG r 1 2\r\nok\r\n");
    let mut far = client(&server, "a39");
    far.exchange(
        "SUB r 1\r\nPUB ask r 1\r\n1\r\n",
        "HMSG r 1 35 35\r\nNATS/1.0 503\r\nNats-Subject: ask\r\n\r\n\r\n",
    );
    first.exchange("", "");
}
