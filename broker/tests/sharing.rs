//! What accounts share: how long services take, requests that are not answered, chains of imports.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::{Value, json};
use support::{PATIENCE, Raw, TestServer};
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
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{user}\"}}\r\n"
    ));
    raw.exchange("", "");
    raw
}

/// The next message: its line, and its body without headers.
fn message(client: &mut Raw) -> (String, String) {
    let line = client.line();
    let size = line.rsplit(' ').next().and_then(|size| size.parse().ok());
    let size: usize = size.unwrap_or_else(|| panic!("no message: {line}"));
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

#[test]
fn what_is_shared_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "http: \"127.0.0.1:-1\"\njetstream {{ store_dir: {:?} }}\n{}",
        folder.path(),
        "accounts {
            A { users: [{user: a}], mappings: {m: [{destination: n, weight: 40}]}, exports: [
                {service: \"q.*\", response: stream}, {service: z, latency: {sampling: 50, subject: lat}}
                {stream: \"s.>\", accounts: [B]}] }
            B { users: [{user: b}], imports: [
                {service: {account: A, subject: \"q.*\"}, to: \"r.$1\", share: true}
                {stream: {account: A, subject: \"s.>\"}, prefix: x}] } }"
    );
    let server = server(&text);
    let detail = |account: &str| -> Value {
        let (_, body) = server.get(&format!("/accountz?acc={account}"));
        serde_json::from_str::<Value>(&body).unwrap()["account_detail"].take()
    };
    let a = detail("A");
    assert_eq!(
        a["exports"],
        json!([
            {"subject": "q.*", "type": "service", "response_type": "Streamed"},
            {"subject": "z", "type": "service", "response_type": "Singleton",
                "service_latency": {"sampling": 50, "results": "lat"}},
            {"subject": "s.>", "type": "stream", "approved_accounts": ["B"]},
        ])
    );
    assert_eq!(
        a["mappings"],
        json!({"m": [{"subject": "n", "weight": 40}, {"subject": "m", "weight": 100}]})
    );
    let told = json!({"invalid": false, "share": false, "tracking": false, "account": "A"});
    let with = |more: Value| {
        let mut all = told.clone();
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    assert_eq!(
        detail("B")["imports"],
        json!([
            with(json!({"subject": "s.>", "local_subject": "x.s.>", "type": "stream"})),
            with(json!({"subject": "q.*", "to": "r.*", "local_subject": "r.*", "type": "service", "share": true})),
        ])
    );
    let (mut asked, mut b) = (client(&server, "a"), client(&server, "b"));
    asked.exchange("SUB q.* 1\r\n", "");
    b.exchange("SUB r 1\r\nPUB r.x r 1\r\n1\r\n", "");
    let (line, _) = message(&mut asked);
    assert_eq!(detail("A")["responses"][reply(&line)]["subject"], "r");
}

const STREAMS: &str = "accounts {
    A { users: [{user: a}], jetstream: enabled, exports: [
        {service: \"$JS.API.>\", response: stream}, {service: \"$JS.ACK.>\"}, {service: \"orders.*\"}, {stream: \"d.>\"}] }
    B { users: [{user: b}], jetstream: enabled, imports: [
        {service: {account: A, subject: \"$JS.API.>\"}, to: \"far.>\"}
        {service: {account: A, subject: \"$JS.ACK.>\"}}
        {service: {account: A, subject: \"orders.*\"}}
        {stream: {account: A, subject: \"d.>\"}}] }
    C { users: [{user: c}], jetstream: enabled, imports: [{service: {account: A, subject: \"$JS.API.>\"}, to: \"far.>\"}] } }";

/// A server with streams in two accounts, and the folder of its store.
fn streams() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let read = Options::parse(STREAMS, "test.conf", &|_| None).unwrap();
    let server = TestServer::start(|options| {
        options.jetstream.enabled = true;
        options.jetstream.store_dir = Some(folder.path().into());
        options.auth = read.auth;
        options.accounts = read.accounts;
    });
    (server, folder)
}

fn ask(client: &mut Raw, subject: &str, payload: &str) -> Value {
    client.send(format!("PUB {subject} r {}\r\n{payload}\r\n", payload.len()));
    let (line, body) = message(client);
    assert!(line.starts_with("MSG r "), "{line}");
    serde_json::from_str(&body).unwrap()
}

/// Asks until the answer is the one that is wanted.
fn until(client: &mut Raw, subject: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let told = ask(client, subject, "");
        if wanted(&told) {
            return told;
        }
        assert!(std::time::Instant::now() < end, "{told}");
        std::thread::yield_now();
    }
}

#[test]
fn streams_of_another_account_are_used_and_copied() {
    let (server, _folder) = streams();
    let (mut a, mut b, mut c) = (client(&server, "a"), client(&server, "b"), client(&server, "c"));
    for client in [&mut a, &mut b, &mut c] {
        client.exchange("SUB r 1\r\n", "");
    }
    ask(
        &mut a,
        "$JS.API.STREAM.CREATE.O",
        r#"{"name":"O","subjects":["orders.*"]}"#,
    );
    // It is the other account's stream, under the prefix; and no own one has that name.
    assert_eq!(ask(&mut b, "far.STREAM.INFO.O", "")["config"]["name"], "O");
    assert_eq!(ask(&mut b, "$JS.API.STREAM.INFO.O", "")["error"]["err_code"], 10059);
    assert_eq!(ask(&mut b, "orders.1", "one")["seq"], 1);
    // A consumer there gives its messages here, and takes their acknowledgements.
    let made =
        r#"{"stream_name":"O","config":{"durable_name":"P","ack_policy":"explicit","filter_subject":"orders.*"}}"#;
    assert_eq!(ask(&mut b, "far.CONSUMER.CREATE.O.P.orders.*", made)["name"], "P");
    b.send("SUB in 2\r\nPUB far.CONSUMER.MSG.NEXT.O.P in 1\r\n1\r\n");
    let (line, body) = message(&mut b);
    // Who published it stands in it: it came by way of an import.
    assert!(line.starts_with("HMSG orders.1 2 $JS.ACK.O.P.1.1.1."), "{line}");
    assert_eq!(body, "one");
    b.send(format!("PUB {} 0\r\n\r\n", reply(&line)));
    until(&mut b, "far.CONSUMER.INFO.O.P", |told| {
        told["ack_floor"]["stream_seq"] == 1
    });
    // Copies.
    let external = r#""external":{"api":"far","deliver":"d"}"#;
    let mirror = format!(r#"{{"name":"M","mirror":{{"name":"O",{external}}}}}"#);
    let source = format!(r#"{{"name":"S","sources":[{{"name":"O","filter_subject":"orders.*",{external}}}]}}"#);
    for (name, config) in [("M", &mirror), ("S", &source)] {
        let made = ask(&mut b, &format!("$JS.API.STREAM.CREATE.{name}"), config);
        assert_eq!(made["config"]["name"], name, "{made}");
    }
    ask(&mut a, "orders.2", "two");
    for name in ["M", "S"] {
        let info = format!("$JS.API.STREAM.INFO.{name}");
        until(&mut b, &info, |told| told["state"]["messages"] == 2);
    }
    // One who may make consumers there, and does not hear what they deliver, gets no copy.
    let refused = ask(&mut c, "$JS.API.STREAM.CREATE.M", &mirror);
    assert_eq!(refused["error"]["err_code"], 10052, "{refused}");
    let own = r#"{"name":"N","mirror":{"name":"O","external":{"api":"near","deliver":"d"}}}"#;
    assert_eq!(ask(&mut b, "$JS.API.STREAM.CREATE.N", own)["error"]["err_code"], 10052);
}

/// What somebody in another account answers goes where the request said, and asks the server for nothing there: neither what the
/// requester may not ask for itself, nor what the other account has no part in.
#[test]
fn an_answer_from_another_account_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "jetstream {{ store_dir: {:?} }}
        accounts {{
          A {{ users: [{{user: a}}], exports: [{{service: svc.>}}] }}
          B {{ users: [ {{user: b}},
                {{user: few, permissions: {{publish: \"A.svc.>\", subscribe: \"_INBOX.>\"}}}} ]
            jetstream: enabled
            imports: [{{service: {{account: A, subject: svc.>}}, to: A.svc.>}}, {{service: {{account: C, subject: \"$JS.API.>\"}}, to: C.API.>}}] }}
          C {{ users: [{{user: c}}], jetstream: enabled, exports: [{{service: \"$JS.API.>\"}}] }}
        }}",
        folder.path().display().to_string()
    );
    let server = server(&text);
    let (mut a, mut b, mut c) = (client(&server, "a"), client(&server, "b"), client(&server, "c"));
    for owner in [&mut b, &mut c] {
        owner.exchange("SUB r 1\r\n", "");
        let made = ask(
            owner,
            "$JS.API.STREAM.CREATE.S",
            "{\"name\":\"S\",\"subjects\":[\"s\"]}",
        );
        assert_eq!(made["did_create"], true, "{made}");
    }
    a.exchange("SUB svc.> 1\r\n", "");
    let config = "{\"name\":\"T\",\"subjects\":[\"t\"]}";
    let mut few = client(&server, "few");
    for (to, payload) in [
        ("$JS.API.STREAM.DELETE.S", ""),
        ("$JS.API.STREAM.CREATE.T", config),
        ("$JS.API.STREAM.PURGE.S", ""),
        ("C.API.STREAM.DELETE.S", ""),
        ("C.API.STREAM.CREATE.T", config),
    ] {
        few.exchange(format!("PUB A.svc.x {to} 0\r\n\r\n"), "");
        let (line, _) = message(&mut a);
        let here = reply(&line).to_owned();
        a.exchange(format!("PUB {here} r {}\r\n{payload}\r\n", payload.len()), "");
    }
    for owner in [&mut b, &mut c] {
        let names = ask(owner, "$JS.API.STREAM.NAMES", "");
        assert_eq!(names["streams"], serde_json::json!(["S"]));
    }
}
