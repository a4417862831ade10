//! Messages whose journey is told: who is told what, and that one which is only traced goes nowhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::Read as _;

use serde_json::{Value, json};
use support::{Raw, TestServer};
use weir_broker::conf::Options;

const ACCOUNTS: &str = r"accounts {
  A { users: [{user: a, password: p}
      {user: few, password: p, permissions: {publish: {deny: [secret, no.trace]}, subscribe: {deny: b.deny}}}]
    jetstream: enabled, msg_trace: all.traces
    mappings { m.a: m.b }
    exports: [{service: closed}, {service: open, allow_trace: true}, {stream: st.>}, {stream: dark.>}] }
  B { users: [{user: b, password: p}]
    imports: [{service: {account: A, subject: closed}}, {service: {account: A, subject: open}, to: mine}
      {stream: {account: A, subject: st.>}, allow_trace: true}, {stream: {account: A, subject: dark.>}, prefix: x}] }
  SYS { users: [{user: s, password: p}] }
}
system_account: SYS
";

struct Fixture {
    server: TestServer,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let read = Options::parse(ACCOUNTS, "test.conf", &|_| None).unwrap();
    let server = TestServer::start(|options| {
        options.jetstream.enabled = true;
        options.jetstream.store_dir = Some(folder.path().into());
        options.auth = read.auth;
        options.accounts = read.accounts;
        options.system_account = read.system_account;
    });
    Fixture {
        server,
        _folder: folder,
    }
}

impl Fixture {
    fn user(&self, user: &str) -> Raw {
        let mut client = self.server.connect();
        let connect =
            json!({"verbose": false, "headers": true, "no_responders": true, "user": user, "pass": "p", "name": user});
        client.send(format!("CONNECT {connect}\r\n"));
        client
    }
}

/// A message with these headers.
fn message(subject: &str, headers: &[(&str, &str)], payload: &str) -> String {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let block = format!("NATS/1.0\r\n{lines}\r\n");
    let (headers, total) = (block.len(), block.len() + payload.len());
    format!("HPUB {subject} {headers} {total}\r\n{block}{payload}\r\n")
}

const TO: (&str, &str) = ("Nats-Trace-Dest", "t.o");
const ONLY: (&str, &str) = ("Nats-Trace-Only", "true");

/// The next message: its subject, its headers, its payload.
fn hear(client: &mut Raw) -> (String, String, Vec<u8>) {
    let line = client.line();
    let words: Vec<&str> = line.split(' ').collect();
    let (headers, total): (usize, usize) = match words[0] {
        "MSG" => (0, words.last().unwrap().parse().unwrap()),
        "HMSG" => (
            words[words.len() - 2].parse().unwrap(),
            words.last().unwrap().parse().unwrap(),
        ),
        _ => panic!("not a message: {line}"),
    };
    let mut body = client.take(total + 2);
    body.truncate(total);
    let payload = body.split_off(headers);
    (words[1].to_owned(), String::from_utf8(body).unwrap(), payload)
}

/// The next trace, without times and the server.
fn trace(client: &mut Raw) -> Value {
    let (_, headers, payload) = hear(client);
    assert_eq!(headers, "");
    let mut told: Value = serde_json::from_slice(&payload).unwrap();
    let server = told.as_object_mut().unwrap().remove("server").unwrap();
    assert!(server["id"].as_str().unwrap().starts_with('N'), "{server}");
    for event in told["events"].as_array_mut().unwrap() {
        let fields = event.as_object_mut().unwrap();
        assert!(fields.remove("ts").unwrap().as_str().unwrap().ends_with('Z'));
        fields.remove("cid");
    }
    told
}

fn events(client: &mut Raw) -> Value {
    trace(client)["events"].clone()
}

/// What comes first of all that a client hears, so that nothing came before.
fn nothing(client: &mut Raw) {
    client.send("PING\r\n");
    let pong = client.line();
    // The one that follows the first PING after CONNECT.
    if pong == "PONG" || pong.starts_with("INFO") {
        return;
    }
    panic!("it heard {pong}");
}

fn ready(client: &mut Raw, say: &str) {
    client.send(format!("{say}PING\r\n"));
    while client.line() != "PONG" {}
    // INFO once more, behind the first PONG.
    client.send("PING\r\n");
    while client.line() != "PONG" {}
}

#[test]
fn who_gets_a_message_is_told_and_who_does_not() {
    let fixture = fixture();
    let (mut a, mut few, mut ear) = (fixture.user("a"), fixture.user("few"), fixture.user("a"));
    ready(&mut ear, "SUB t.o 1\r\n");
    ready(&mut a, "SUB b.* q 7\r\nSUB one 8\r\nUNSUB 8 1\r\n");
    ready(&mut few, "SUB b.* 3\r\n");
    a.send(message("b.c", &[TO, ("X", "1"), ("X", "2")], "hi"));
    let told = trace(&mut ear);
    assert_eq!(
        told["request"]["header"],
        json!({"Nats-Trace-Dest": ["t.o"], "X": ["1", "2"]})
    );
    assert_eq!(told["request"]["msgsize"], 48);
    assert_eq!(
        told["events"],
        json!([
            {"type": "in", "kind": 0, "name": "a", "acc": "A", "subj": "b.c"},
            {"type": "eg", "kind": 0, "name": "few", "sub": "b.*"},
            {"type": "eg", "kind": 0, "name": "a", "sub": "b.*", "queue": "q"}
        ])
    );
    // Both hear it, with all its headers.
    for client in [&mut a, &mut few] {
        let (_, headers, payload) = hear(client);
        assert!(headers.contains("Nats-Trace-Dest: t.o\r\nX: 1"), "{headers}");
        assert_eq!(payload, b"hi");
    }
    a.send(message("b.deny", &[TO], ""));
    let told = events(&mut ear);
    let denied = json!({"type": "eg", "kind": 0, "name": "few", "sub": "b.*",
        "error": "Not delivered because subscription denies this subject"});
    assert!(told.as_array().unwrap().contains(&denied), "{told}");
    assert_eq!(hear(&mut a).0, "b.deny");
    nothing(&mut few);
    few.send(message("secret", &[TO], ""));
    assert_eq!(few.line(), "-ERR 'Permissions Violation for Publish to \"secret\"'");
    assert_eq!(
        events(&mut ear)[0]["error"],
        "Permissions Violation for Publish to \"secret\""
    );
    // The second one is one too many; who subscribed is not there any more.
    a.send([message("one", &[TO], ""), message("one", &[TO], "")].concat());
    assert_eq!(events(&mut ear).as_array().unwrap().len(), 2);
    assert_eq!(events(&mut ear).as_array().unwrap().len(), 1);
}

#[test]
fn one_that_is_only_traced_goes_nowhere() {
    let fixture = fixture();
    let (mut a, mut ear) = (fixture.user("a"), fixture.user("a"));
    ready(&mut ear, "SUB t.o 1\r\n");
    ready(&mut a, "SUB b 7\r\nSUB js.* 8\r\nSUB r 9\r\n");
    let create = json!({"name": "S", "subjects": ["js.*"], "storage": "memory"}).to_string();
    a.send(format!(
        "PUB $JS.API.STREAM.CREATE.S r {}\r\n{create}\r\n",
        create.len()
    ));
    assert!(hear(&mut a).2.starts_with(b"{\"type\""));
    for subject in ["b", "js.a", "$JS.API.STREAM.DELETE.S", "$JS.API.CONSUMER.MSG.NEXT.S.C"] {
        a.send(message(subject, &[TO, ONLY], ""));
    }
    assert_eq!(
        events(&mut ear)[1],
        json!({"type": "eg", "kind": 0, "name": "a", "sub": "b"})
    );
    let mut told = [events(&mut ear), events(&mut ear), events(&mut ear)];
    told.sort_by_key(Value::to_string);
    let stored = told.iter().find(|told| told[0]["subj"] == "js.a").unwrap();
    assert_eq!(stored[1], json!({"type": "eg", "kind": 0, "name": "a", "sub": "js.*"}));
    assert_eq!(stored[2], json!({"type": "js", "stream": "S", "subject": "js.a"}));
    let deleted = told.iter().find(|told| told[1]["type"] == "si").unwrap();
    assert_eq!(deleted[1]["acc"], "SYS");
    nothing(&mut a);
    a.send("PUB $JS.API.STREAM.INFO.S r 0\r\n\r\n");
    let info: Value = serde_json::from_slice(&hear(&mut a).2).unwrap();
    assert_eq!(info["state"]["last_seq"], 0, "it is there, and empty: {info}");
}

#[test]
fn what_a_stream_makes_of_it_is_told() {
    let fixture = fixture();
    let (mut a, mut ear) = (fixture.user("a"), fixture.user("a"));
    ready(&mut ear, "SUB t.o 1\r\n");
    ready(&mut a, "SUB r 9\r\n");
    let streams = [
        json!({"name": "S", "subjects": ["js.*"], "storage": "memory", "max_msg_size": 200,
            "subject_transform": {"src": "js.old", "dest": "js.new"}, "discard": "new", "max_msgs": 2}),
        json!({"name": "I", "subjects": ["i.*"], "storage": "memory", "retention": "interest"}),
    ];
    for config in streams {
        let (name, text) = (config["name"].as_str().unwrap(), config.to_string());
        a.send(format!(
            "PUB $JS.API.STREAM.CREATE.{name} r {}\r\n{text}\r\n",
            text.len()
        ));
        assert!(hear(&mut a).2.starts_with(b"{\"type\""));
    }
    let mut publish = |subject: &str, headers: &[(&str, &str)], payload: &str| {
        let with_reply = message(&format!("{subject} r"), &[&[TO], headers].concat(), payload);
        a.send(with_reply);
        let told = events(&mut ear);
        let event = told.as_array().unwrap().last().unwrap().clone();
        assert_eq!(event["type"], "js");
        let answer: Value = serde_json::from_slice(&hear(&mut a).2).unwrap();
        (event, answer)
    };
    let (event, answer) = publish("js.old", &[("Nats-Msg-Id", "1")], "");
    assert_eq!(event, json!({"type": "js", "stream": "S", "subject": "js.new"}));
    assert_eq!(answer["seq"], 1);
    for (headers, payload, error, code) in [
        (&[("Nats-Msg-Id", "1")][..], "", "msgid is duplicate", None),
        (
            &[("Nats-Expected-Last-Sequence", "9")],
            "",
            "last sequence mismatch: 9 vs 1",
            Some(10071),
        ),
        (
            &[("Nats-Expected-Last-Subject-Sequence", "9")],
            "",
            "last sequence by subject mismatch: 9 vs 0",
            Some(10071),
        ),
        (
            &[("Nats-Expected-Last-Msg-Id", "z")],
            "",
            "last msgid mismatch: \"z\" vs \"1\"",
            Some(10070),
        ),
        (
            &[("Nats-Expected-Stream", "z")],
            "",
            "expected stream does not match",
            Some(10060),
        ),
        (&[], &"x".repeat(300), "maximum payload exceeded", Some(10054)),
        (&[("Nats-Rollup", "sub")], "", "rollup not permitted", Some(10111)),
        (&[("Nats-TTL", "5s")], "", "message TTL disabled", Some(10166)),
        (
            &[("Nats-Incr", "5")],
            "",
            "message counters is disabled (10168)",
            Some(10168),
        ),
    ] {
        let (event, answer) = publish("js.a", headers, payload);
        assert_eq!(event["error"], error);
        assert_eq!(answer["error"]["err_code"].as_i64(), code, "{answer}");
    }
    assert_eq!(publish("js.a", &[], "").1["seq"], 2);
    let (event, answer) = publish("js.b", &[], "");
    assert_eq!(
        (&event["subject"], &event["error"], &answer["error"]["err_code"]),
        (&json!("js.b"), &json!("maximum messages exceeded"), &json!(10077))
    );
    let (event, _) = publish("i.a", &[], "");
    assert_eq!(
        event,
        json!({"type": "js", "stream": "I", "subject": "i.a", "nointerest": true})
    );
    // What is stored is not traced again when it is delivered.
    let get = "{\"seq\":1}";
    a.send(format!("PUB $JS.API.STREAM.MSG.GET.S r {}\r\n{get}\r\n", get.len()));
    let got: Value = serde_json::from_slice(&hear(&mut a).2).unwrap();
    let headers = got["message"]["hdrs"].as_str().unwrap();
    let headers = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, headers).unwrap();
    let headers = String::from_utf8(headers).unwrap();
    assert_eq!(
        headers,
        "NATS/1.0\r\nNats-Trace-Dest: trace disabled\r\nNats-Msg-Id: 1\r\n\r\n"
    );
}

#[test]
fn who_may_have_it_told_where() {
    let fixture = fixture();
    let (mut few, mut ear) = (fixture.user("few"), fixture.user("a"));
    ready(
        &mut ear,
        "SUB t.o 1\r\nSUB no.trace 2\r\nSUB b 3\r\nSUB all.traces 4\r\n",
    );
    ready(&mut few, "");
    // Not even the message goes on then.
    for to in ["no.trace", "_GR_.x", "$NRG.x"] {
        few.send(message("b", &[("Nats-Trace-Dest", to)], ""));
        assert_eq!(
            few.line(),
            format!("-ERR 'Permissions Violation for Publish to \"{to}\"'")
        );
    }
    // As if it had not asked.
    for headers in [
        &[("Nats-Trace-Dest", "no.*")][..],
        &[("Nats-Trace-Dest", "trace disabled")],
        &[("nats-trace-dest", "t.o")],
        &[("traceparent", "00-1-2-00")],
    ] {
        few.send(message("b", headers, ""));
        assert!(hear(&mut ear).1.contains(headers[0].1));
    }
    few.send(message("b", &[("Nats-Trace-Dest", "no.*"), ONLY], ""));
    nothing(&mut few);
    nothing(&mut ear);
    // Where the account says.
    few.send(message("b", &[("TraceParent", "00-1-2-01")], ""));
    let mut heard = [hear(&mut ear), hear(&mut ear)];
    heard.sort();
    assert_eq!((&*heard[0].0, &*heard[1].0), ("all.traces", "b"));
    // A header of old servers ends it.
    few.send(message("b", &[TO, ("Nats-Trace-Origin-Account", "A")], ""));
    let (_, headers, _) = hear(&mut ear);
    assert!(headers.contains("Nats-Trace-Dest: trace disabled\r\n"), "{headers}");
    nothing(&mut ear);
}

#[test]
fn a_message_that_is_too_large_is_told_of() {
    let fixture = fixture();
    let (mut a, mut ear) = (fixture.user("a"), fixture.user("a"));
    ready(&mut ear, "SUB t.o 1\r\n");
    ready(&mut a, "");
    let block = "NATS/1.0\r\nNats-Trace-Dest: t.o\r\n\r\n";
    a.send(format!("HPUB big {} 2000000\r\n{block}", block.len()));
    let told = trace(&mut ear);
    assert_eq!(told["request"]["msgsize"], 2_000_000);
    assert_eq!(
        told["events"],
        json!([{"type": "in", "kind": 0, "name": "a", "acc": "A", "subj": "big", "error": "maximum payload exceeded"}])
    );
}

#[test]
fn it_is_packed_as_it_is_wanted() {
    let fixture = fixture();
    let (mut a, mut ear) = (fixture.user("a"), fixture.user("a"));
    ready(&mut ear, "SUB t.o 1\r\n");
    for (accepted, encoding) in [("gzip", "gzip"), ("s2, gzip", "snappy"), ("br", "identity")] {
        a.send(message("x", &[TO, ("Accept-Encoding", accepted)], ""));
        let (_, headers, payload) = hear(&mut ear);
        assert_eq!(headers, format!("NATS/1.0\r\nContent-Encoding: {encoding}\r\n\r\n"));
        let mut text = Vec::new();
        match encoding {
            "gzip" => {
                flate2::read::GzDecoder::new(&payload[..])
                    .read_to_end(&mut text)
                    .unwrap();
            }
            "snappy" => {
                minlz::Reader::new(&payload[..]).read_to_end(&mut text).unwrap();
            }
            _ => text = payload,
        }
        let told: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(told["request"]["header"]["Accept-Encoding"], json!([accepted]));
    }
}

#[test]
fn it_goes_into_other_accounts_where_these_let_it() {
    let fixture = fixture();
    let (mut a, mut b) = (fixture.user("a"), fixture.user("b"));
    ready(&mut a, "SUB t.o 1\r\nSUB closed 2\r\nSUB open 3\r\nSUB m.b 4\r\n");
    ready(&mut b, "SUB t.o 1\r\nSUB st.x 2\r\nSUB x.dark.x 3\r\n");
    let ingress = |who: &str, account: &str, subject: &str| json!({"type": "in", "kind": 0, "name": who, "acc": account, "subj": subject});
    a.send(message("m.a", &[TO], ""));
    assert_eq!(hear(&mut a).0, "m.b");
    let got = json!({"type": "eg", "kind": 0, "name": "a", "sub": "m.b"});
    assert_eq!(
        events(&mut a),
        json!([ingress("a", "A", "m.a"), {"type": "sm", "to": "m.b"}, got])
    );
    a.send(message("st.x", &[TO], ""));
    assert_eq!(hear(&mut b).0, "st.x");
    let got = json!({"type": "eg", "kind": 0, "name": "b", "acc": "B", "sub": "st.x"});
    assert_eq!(
        events(&mut a),
        json!([ingress("a", "A", "st.x"), {"type": "se", "acc": "B", "to": "st.x"}, got])
    );
    for (only, heard) in [(false, true), (true, false)] {
        let headers = if only { &[TO, ONLY][..] } else { &[TO] };
        a.send(message("dark.x", headers, ""));
        let export = json!({"type": "se", "acc": "B", "to": "x.dark.x"});
        assert_eq!(events(&mut a), json!([ingress("a", "A", "dark.x"), export]));
        if heard {
            assert_eq!(hear(&mut b).0, "x.dark.x");
        }
        b.send(message("closed", headers, ""));
        let import = json!({"type": "si", "acc": "A", "from": "closed", "to": "closed"});
        assert_eq!(events(&mut b), json!([ingress("b", "B", "closed"), import]));
        b.send(message("mine", headers, ""));
        let import = json!({"type": "si", "acc": "A", "from": "mine", "to": "open"});
        let got = json!({"type": "eg", "kind": 0, "name": "a", "acc": "A", "sub": "open"});
        assert_eq!(events(&mut b), json!([ingress("b", "B", "mine"), import, got]));
        for subject in ["closed", "open"].into_iter().filter(|_| heard) {
            let (heard, headers, _) = hear(&mut a);
            assert_eq!(heard, subject);
            assert!(headers.contains("Nats-Trace-Dest: trace disabled\r\n"), "{headers}");
        }
    }
    nothing(&mut a);
    nothing(&mut b);
}
