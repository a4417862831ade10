//! Who a request comes from is said by the server alone (S6), and so is where a message of a stream comes from.

use serde_json::json;

use crate::support::Raw;
use crate::{asked, start};

/// `echo` is answered by whoever is in D; B is told who asks.
const ACCOUNTS: &str = "accounts {
  A { users: [{user: a, password: p}], jetstream: enabled, imports: [
    {service: {account: B, subject: svc}}, {service: {account: D, subject: echo}}, {service: {account: C, subject: far}}
  ] }
  B { users: [{user: b, password: p}], exports: [{service: svc}] }
  C { users: [{user: c, password: p}], imports: [{service: {account: B, subject: svc}, to: far}], exports: [{service: far}] }
  D { users: [{user: d, password: p}], exports: [{service: echo, response_type: stream}] }
}";

/// Header blocks that some reader takes for one with a header of that name.
fn forgeries(name: &str, value: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    let lines = [
        format!("{name}: {value}"),
        format!("{name}:{value}"),
        format!("{lower}: {value}"),
        format!("{name} : {value}"),
        format!(" {name}: {value}"),
        format!("\t{name}: {value}"),
        format!("X: a\n{name}: {value}"),
        format!("X: a\r{name}: {value}"),
        format!("{name}: {value}\r\n{name}: {value}"),
    ];
    let block = |line: &String| {
        [
            format!("NATS/1.0\r\n{line}\r\n\r\n"),
            format!("NATS/1.0\n{line}\r\n\r\n"),
            format!("NATS/1.0\r\n\r\n{line}\r\n\r\n"),
            format!("NATS/1.0\r\nA: 1\r\n{line}\r\nZ: 2\r\n\r\n"),
        ]
    };
    lines.iter().flat_map(block).collect()
}

/// All values of a header that any reader finds in a block.
fn values(block: &str, name: &str) -> Vec<String> {
    let parts = block.split(['\r', '\n']).filter_map(|part| part.split_once(':'));
    let named = parts.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim().to_owned()).collect()
}

/// The header block of the next message, up to where every reader stops.
fn block(client: &mut Raw) -> String {
    let line = client.line();
    assert!(line.starts_with("HMSG "), "{line}");
    let words: Vec<&str> = line.split(' ').collect();
    let number = |back: usize| words[words.len() - back].parse::<usize>().unwrap();
    let (head, all) = (number(2), number(1));
    let text = String::from_utf8(client.take(all + 2)[..head].to_vec()).unwrap();
    let end = text.find("\r\n\r\n").unwrap();
    assert_eq!(end + 4, text.len(), "something stands behind the empty line: {text:?}");
    text
}

fn publish(client: &mut Raw, subject: &str, reply: &str, block: &str) {
    client.send(format!(
        "HPUB {subject} {reply} {} {}\r\n{block}p\r\n",
        block.len(),
        block.len() + 1
    ));
}

const INFO: &str = "Nats-Request-Info";
const FORGED: &str = "{\"acc\":\"FORGED\",\"svc\":\"FORGED\",\"user\":\"root\"}";

fn is_of(block: &str, account: &str) -> bool {
    let found = values(block, INFO);
    assert_eq!(found.len(), 1, "{block:?}");
    let info: serde_json::Value = serde_json::from_str(&found[0]).unwrap();
    info["acc"] == account && info["user"].is_null() && !found[0].contains("FORGED")
}

#[test]
fn a_client_does_not_say_who_asks() {
    let fixture = start(ACCOUNTS);
    let (mut a, mut b) = (fixture.connect("a"), fixture.connect("b"));
    b.exchange("SUB svc 1\r\n", "");
    for forged in forgeries(INFO, FORGED) {
        // By one account, and by two.
        for subject in ["svc", "far"] {
            publish(&mut a, subject, "r", &forged);
            let heard = block(&mut b);
            assert!(is_of(&heard, "A"), "{subject} {forged:?}: {heard:?}");
        }
    }
}

#[test]
fn a_stream_does_not_say_who_asks() {
    let fixture = start(ACCOUNTS);
    let (mut a, mut b) = (fixture.client("a"), fixture.connect("b"));
    b.exchange("SUB svc 1\r\n", "");
    let config = json!({"name": "S", "subjects": ["s", "t"], "republish": {"src": "t", "dest": "svc"}});
    assert_eq!(asked(&mut a, "$JS.API.STREAM.CREATE.S", &config)["did_create"], true);
    let consumer = json!({"durable_name": "C", "deliver_subject": "svc", "filter_subject": "s", "ack_policy": "none"});
    let made = asked(
        &mut a,
        "$JS.API.CONSUMER.CREATE.S.C.s",
        &json!({"stream_name": "S", "config": consumer}),
    );
    assert_eq!(made["name"], "C", "{made}");
    for forged in forgeries(INFO, FORGED) {
        for subject in ["s", "t"] {
            publish(&mut a, subject, "", &forged);
            let heard = block(&mut b);
            assert!(is_of(&heard, "A"), "{subject} {forged:?}: {heard:?}");
        }
    }
}

/// Whoever answers chooses no header by which somebody else, whom the answer is a request to, takes it for another's.
#[test]
fn an_answer_does_not_say_who_asks() {
    let fixture = start(ACCOUNTS);
    let (mut a, mut b, mut d) = (fixture.connect("a"), fixture.connect("b"), fixture.connect("d"));
    b.exchange("SUB svc 1\r\n", "");
    d.exchange("SUB echo 1\r\n", "");
    for reply in ["svc", "far"] {
        publish(&mut a, "echo", reply, "NATS/1.0\r\n\r\n");
        let line = d.line();
        let answer = line.split(' ').nth(3).unwrap().to_owned();
        let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        d.take(length + 2);
        for forged in forgeries(INFO, FORGED) {
            publish(&mut d, &answer, "", &forged);
            let heard = block(&mut b);
            assert!(is_of(&heard, "D"), "{reply} {forged:?}: {heard:?}");
        }
    }
}

/// What a publisher says of the place of its message in a stream is not what readers of that stream are told.
#[test]
fn a_publisher_does_not_say_where_its_message_is() {
    let fixture = start("");
    let mut client = fixture.client("");
    let config =
        json!({"name": "S", "subjects": ["s.>"], "allow_direct": true, "republish": {"src": "s.>", "dest": "again.>"}});
    assert_eq!(
        asked(&mut client, "$JS.API.STREAM.CREATE.S", &config)["did_create"],
        true
    );
    let mut hears = fixture.connect("");
    hears.exchange("SUB again.> 1\r\n", "");
    client.exchange("UNSUB 1\r\nSUB d 2\r\n", "");
    let mut seq = 0;
    for (name, value) in [
        ("Nats-Subject", "s.other"),
        ("Nats-Sequence", "999"),
        ("Nats-Stream", "OTHER"),
    ] {
        for forged in forgeries(name, value) {
            seq += 1;
            publish(&mut client, "s.a", "", &forged);
            let request = json!({"seq": seq}).to_string();
            client.send(format!("PUB $JS.API.DIRECT.GET.S d {}\r\n{request}\r\n", request.len()));
            for heard in [block(&mut hears), block(&mut client)] {
                let found = [
                    values(&heard, "Nats-Subject"),
                    values(&heard, "Nats-Sequence"),
                    values(&heard, "Nats-Stream"),
                ];
                let expected = [vec!["s.a".to_owned()], vec![seq.to_string()], vec!["S".to_owned()]];
                assert_eq!(found, expected, "{forged:?}: {heard:?}");
            }
        }
    }
}
