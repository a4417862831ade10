//! Reads of JetStream that no storage thread is woken for: they see what was published before them, and say what they always did.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::Value;
use support::{JetStreamServer, Raw};
use weir_broker::conf::options::Backend;

/// A publish that is answered on `to`.
fn line(subject: &str, to: &str, body: &str) -> String {
    format!("PUB {subject} {to} {}\r\n{body}\r\n", body.len())
}

/// The next message: subject, header block, payload.
fn next(client: &mut Raw) -> (String, String, String) {
    let line = client.line();
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words[words.len() - at].parse::<usize>().unwrap();
    let headers = match words[0] {
        "HMSG" => number(2),
        "MSG" => 0,
        other => panic!("{other}: {line}"),
    };
    let mut body = String::from_utf8(client.take(number(1))).unwrap();
    client.expect("\r\n");
    let payload = body.split_off(headers);
    (words[1].to_owned(), body, payload)
}

/// The same without the time at which it was made.
fn timeless((subject, headers, payload): (String, String, String)) -> (String, String, String) {
    let Some((before, after)) = payload.split_once("\"ts\":\"") else {
        return (subject, headers, payload);
    };
    let (_, after) = after.split_once('"').unwrap();
    (subject, headers, before.to_owned() + after)
}

/// A server with the stream S of `s.>`, which allows direct gets, and a client.
fn start(storage: &str) -> (JetStreamServer, Raw) {
    let fixture = JetStreamServer::start(Backend::Segment, |_| {});
    let mut client = fixture.client();
    client.send("SUB a.> 2\r\n");
    let config = format!(r#"{{"name":"S","subjects":["s.>"],"allow_direct":true,"storage":"{storage}"}}"#);
    client.send(line("$JS.API.STREAM.CREATE.S", "r", &config));
    let (_, _, made) = next(&mut client);
    assert!(made.contains("did_create"), "{made}");
    (fixture, client)
}

/// What is asked for in each way, and whether the answer has the message with this sequence and payload.
const ASKED: [(&str, &str); 5] = [
    ("$JS.API.DIRECT.GET.S.s.k", ""),
    ("$JS.API.DIRECT.GET.S", r#"{"last_by_subj":"s.*"}"#),
    ("$JS.API.STREAM.MSG.GET.S", r#"{"last_by_subj":"s.k"}"#),
    ("$JS.API.STREAM.MSG.GET.S", r#"{"last_by_subj":">"}"#),
    ("$JS.API.STREAM.INFO.S", ""),
];

fn says(headers: &str, payload: &str, seq: u64, stored: &str) -> bool {
    if !headers.is_empty() {
        return payload == stored && headers.contains(&format!("\r\nNats-Sequence: {seq}\r\n"));
    }
    let json: Value = serde_json::from_str(payload).unwrap();
    json["message"]["seq"] == seq || json["state"]["last_seq"] == seq
}

#[test]
fn a_client_reads_what_it_published_without_waiting_for_that() {
    for storage in ["file", "memory"] {
        let (_fixture, mut client) = start(storage);
        for round in 1..=400_u64 {
            let (asked, body) = ASKED[round as usize % ASKED.len()];
            let stored = format!("value {round}");
            let (put, get) = (line("s.k", "a.put", &stored), line(asked, "a.get", body));
            // In one piece or two, and twice: who asks when all is done finds the same.
            match round % 3 {
                0 => client.send(put + &get),
                _ => [put, get].iter().for_each(|piece| client.send(piece)),
            }
            let mut heard = [next(&mut client), next(&mut client)];
            heard.sort();
            let [(got, headers, payload), (stored_to, _, ack)] = heard;
            assert_eq!((got.as_str(), stored_to.as_str()), ("a.get", "a.put"));
            assert!(ack.contains(&format!("\"seq\":{round}")), "{ack}");
            assert!(
                says(&headers, &payload, round, &stored),
                "{asked} {body}: {headers}{payload}"
            );
            client.send(line(asked, "a.get", body));
            let (_, headers, payload) = next(&mut client);
            assert!(
                says(&headers, &payload, round, &stored),
                "{asked} {body}: {headers}{payload}"
            );
        }
    }
}

#[test]
fn the_answer_is_the_same_whether_or_not_the_storage_thread_gives_it() {
    let (_fixture, mut client) = start("file");
    for number in 0..20 {
        client.send(line(&format!("s.{}", number % 7), "a.put", &format!("value {number}")));
        next(&mut client);
    }
    client.send("HPUB s.h a.put 24 26\r\nNATS/1.0\r\nColor: red\r\n\r\nxy\r\n");
    let (_, _, ack) = next(&mut client);
    assert!(ack.contains("\"seq\":21"), "{ack}");
    client.send(line("$JS.API.STREAM.MSG.DELETE.S", "a.put", r#"{"seq":5}"#));
    next(&mut client);
    let consumer = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}"#;
    client.send(line("$JS.API.CONSUMER.CREATE.S.C", "a.put", consumer));
    let (_, _, made) = next(&mut client);
    assert!(made.contains("\"name\":\"C\""), "{made}");
    let bodies = [
        "",
        "{}",
        "{",
        r#"{"seq":1}"#,
        r#"{"seq":5}"#,
        r#"{"seq":21}"#,
        r#"{"seq":21,"no_hdr":true}"#,
        r#"{"seq":99}"#,
        r#"{"last_by_subj":"s.3"}"#,
        r#"{"last_by_subj":"s.h"}"#,
        r#"{"last_by_subj":"s.*"}"#,
        r#"{"last_by_subj":"s.none"}"#,
        r#"{"last_by_subj":"none.*"}"#,
        r#"{"next_by_subj":"s.3"}"#,
        r#"{"next_by_subj":"s.3","seq":5}"#,
        r#"{"next_by_subj":"s.3","seq":99}"#,
        r#"{"next_by_subj":"s.*","seq":20}"#,
        r#"{"next_by_subj":"none.*"}"#,
        r#"{"start_time":"2020-01-01T00:00:00Z"}"#,
        r#"{"seq":3,"last_by_subj":"s.3"}"#,
    ];
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for call in ["$JS.API.DIRECT.GET.S", "$JS.API.STREAM.MSG.GET.S"] {
        asked.extend(bodies.map(|body| (call, body)));
    }
    asked.extend([
        ("$JS.API.DIRECT.GET.S.s.3", ""),
        ("$JS.API.DIRECT.GET.S.s.h", ""),
        ("$JS.API.DIRECT.GET.S.s.none", ""),
        ("$JS.API.DIRECT.GET.S.s.h", r#"{"no_hdr":true}"#),
        ("$JS.API.DIRECT.GET.S.s.h", r#"{"seq":3}"#),
        ("$JS.API.STREAM.MSG.GET.T", r#"{"seq":1}"#),
        ("$JS.API.STREAM.INFO.T", ""),
        ("$JS.API.STREAM.INFO.S", ""),
    ]);
    for (call, body) in asked {
        client.send(line(call, "a.get", body));
        let alone = timeless(next(&mut client));
        // Behind something that changes nothing, but waits for the thread.
        let acks = "PUB $JS.ACK.S.C.1.99.1.1.0 0\r\n\r\n".repeat(3);
        client.send(acks + &line(call, "a.get", body));
        let behind = timeless(next(&mut client));
        assert_eq!(alone, behind, "{call} {body}");
    }
}
