//! Batches, counters and subject rules, over every backend: what publishers are told, what is stored, and what a restart
//! leaves of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use support::{Bench, Handle, Storage};
use weir_engine::shard::Input;
use weir_engine::shard::emit::{Emit, Event, Outlet, Ticket};
use weir_engine::stream::{Abandoned, BatchLimits, Discard, Republish, StreamConfig, SubjectTransform};
use weir_engine::{Result, SECOND};

const STORAGES: &[Storage] = &[
    Storage::Memory,
    Storage::Segment,
    #[cfg(feature = "rocksdb")]
    Storage::Rocks,
];

/// What streams sent on their own account: subject, headers, payload; and what they reported.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, String, String)>>>, Arc<Mutex<Vec<Abandoned>>>);

impl Outlet for Heard {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        false
    }

    fn emit(&mut self, emit: Emit) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match emit {
            Emit::Send {
                to, headers, payload, ..
            } => self.0.lock().unwrap().push((text(&to), text(&headers), text(&payload))),
            Emit::Published { result, .. } => {
                let said = match result {
                    Ok(ack) => format!(
                        "seq {} dup {} batch {:?}",
                        ack.seq,
                        ack.duplicate,
                        ack.batch.map(|batch| batch.count)
                    ),
                    Err(error) => error.rejection.unwrap().code.to_string(),
                };
                self.0.lock().unwrap().push(("ack".into(), String::new(), said));
            }
            Emit::Event(Event::BatchAbandoned { reason, .. }) => self.1.lock().unwrap().push(reason),
            _ => {}
        }
    }

    fn flush(&mut self) {}
}

impl Heard {
    fn take(&self) -> Vec<(String, String, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn open(storage: Storage) -> (Bench, Heard) {
    let heard = Heard::default();
    let given = heard.clone();
    let mut bench = Bench::with_outlet(storage, move || Box::new(given.clone()));
    bench.open();
    bench.begin_twin();
    (bench, heard)
}

fn config() -> StreamConfig {
    StreamConfig {
        name: "S".into(),
        subjects: vec!["a.>".into()],
        allow_atomic: true,
        allow_batched: true,
        duplicate_window: 60 * SECOND,
        ..StreamConfig::default()
    }
}

fn block(lines: &[(&str, &str)]) -> String {
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("NATS/1.0\r\n{lines}\r\n")
}

/// One message of batch `b`; the answer's sequence, or the error's code.
fn batched(stream: &Handle, subject: &str, number: u64, more: &[(&str, &str)]) -> std::result::Result<u64, u16> {
    let number = number.to_string();
    let mut lines = vec![("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", number.as_str())];
    lines.extend(more);
    code(stream.publish(subject, &block(&lines), b"x"))
}

fn code(result: Result<(u64, bool)>) -> std::result::Result<u64, u16> {
    result
        .map(|(seq, _)| seq)
        .map_err(|error| error.rejection.expect("a rejection").code)
}

const COMMIT: (&str, &str) = ("Nats-Batch-Commit", "1");

fn messages(stream: &Handle) -> u64 {
    stream
        .call(|shard, id| Ok(shard.stream(id).unwrap().state()?.messages))
        .unwrap()
}

#[test]
fn an_atomic_batch_is_stored_whole() {
    for &storage in STORAGES {
        let (mut bench, _) = open(storage);
        let stream = bench.create(&config());
        assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
        assert_eq!(batched(&stream, "a.2", 2, &[]), Ok(0));
        assert_eq!(messages(&stream), 0);
        assert_eq!(batched(&stream, "a.3", 3, &[COMMIT]), Ok(3));
        assert_eq!(messages(&stream), 3);
        // One that ends with a message that is not stored.
        assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
        assert_eq!(batched(&stream, "a.1", 2, &[("Nats-Batch-Commit", "eob")]), Ok(4));
        let last = stream.message(4).unwrap();
        assert!(String::from_utf8_lossy(&last.headers).contains("Nats-Batch-Commit: 1\r\n"));
        if storage.survives() {
            bench.kill();
            bench.open();
            assert_eq!(messages(&bench.find("S").unwrap()), 4);
        }
    }
}

#[test]
fn a_batch_that_breaks_a_rule_leaves_nothing() {
    let (bench, heard) = open(Storage::Memory);
    let stream = bench.create(&StreamConfig {
        max_msgs: 3,
        discard: Discard::New,
        ..config()
    });
    let id = |id| ("Nats-Msg-Id", id);
    assert_eq!(batched(&stream, "a.1", 2, &[]), Err(10176), "it does not begin");
    assert_eq!(batched(&stream, "a.1", 1001, &[]), Err(10199), "nor so late");
    assert_eq!(batched(&stream, "a.1", 1, &[("Nats-Batch-Commit", "yes")]), Err(10200));
    assert_eq!(
        batched(&stream, "a.1", 1, &[("Nats-Required-Api-Level", "99")]),
        Err(10185)
    );
    // A gap.
    assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
    assert_eq!(batched(&stream, "a.1", 3, &[]), Err(10176));
    // The same id twice.
    assert_eq!(batched(&stream, "a.1", 1, &[id("i")]), Ok(0));
    assert_eq!(batched(&stream, "a.1", 2, &[id("i"), COMMIT]), Err(10201));
    // An expectation that its own messages make wrong.
    let none = ("Nats-Expected-Last-Subject-Sequence", "0");
    assert_eq!(batched(&stream, "a.1", 1, &[none]), Ok(0));
    assert_eq!(batched(&stream, "a.1", 2, &[none, COMMIT]), Err(10164));
    let first = ("Nats-Expected-Last-Sequence", "1");
    assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
    assert_eq!(batched(&stream, "a.1", 2, &[first, COMMIT]), Err(10164));
    assert_eq!(
        batched(&stream, "a.1", 1, &[("Nats-Expected-Last-Msg-Id", "i"), COMMIT]),
        Err(10177)
    );
    // No room for all.
    for number in 1..4 {
        assert_eq!(batched(&stream, "a.1", number, &[]), Ok(0));
    }
    assert_eq!(batched(&stream, "a.1", 4, &[COMMIT]), Err(10077));
    // Silent for too long.
    assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
    bench.advance(11 * SECOND);
    assert_eq!(batched(&stream, "a.1", 2, &[COMMIT]), Err(10176));
    let state = stream.call(|shard, id| shard.stream(id).unwrap().state()).unwrap();
    assert_eq!((state.messages, state.last_seq), (0, 0));
    use Abandoned::{Incomplete, Timeout, Unsupported};
    assert_eq!(*heard.1.lock().unwrap(), [Unsupported, Incomplete, Timeout]);
}

#[test]
fn only_so_many_batches_are_open() {
    let (bench, _) = open(Storage::Memory);
    let stream = bench.create(&config());
    let begin = |id: &str| {
        code(stream.publish(
            "a.1",
            &block(&[("Nats-Batch-Id", id), ("Nats-Batch-Sequence", "1")]),
            b"",
        ))
    };
    for id in 0..50 {
        assert_eq!(begin(&id.to_string()), Ok(0));
    }
    assert_eq!(begin("one too many"), Err(10210));
    bench.advance(11 * SECOND);
    assert_eq!(begin("one too many"), Ok(0));
}

#[test]
fn limits_of_batches_can_be_chosen() {
    let heard = Heard::default();
    let given = heard.clone();
    let mut bench = Bench::with_outlet(Storage::Memory, move || Box::new(given.clone()));
    bench.batches = BatchLimits {
        messages: 2,
        open_per_stream: Some(1),
        open_total: None,
        idle: SECOND,
    };
    bench.open();
    bench.begin_twin();
    let stream = bench.create(&config());
    assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
    let other = block(&[("Nats-Batch-Id", "other"), ("Nats-Batch-Sequence", "1")]);
    assert_eq!(code(stream.publish("a.1", &other, b"")), Err(10210), "one at a time");
    assert_eq!(batched(&stream, "a.1", 2, &[]), Ok(0));
    assert_eq!(
        batched(&stream, "a.1", 3, &[COMMIT]),
        Err(10199),
        "two messages at most"
    );
    assert_eq!(batched(&stream, "a.1", 1, &[]), Ok(0));
    bench.advance(2 * SECOND);
    assert_eq!(code(stream.publish("a.1", &other, b"")), Ok(0), "the other was silent");
    assert_eq!(*heard.1.lock().unwrap(), [Abandoned::Large, Abandoned::Timeout]);
    fast(&stream, "2.fail.1.0", "x");
    let second = Input::Publish {
        stream: stream.id,
        subject: "a.1".into(),
        headers_len: 0,
        body: "x".into(),
        ticket: Ticket::Reply(Bytes::from_static(b"r.second.2.fail.1.0.$FI")),
    };
    heard.take();
    assert!(stream.shard.submit(vec![second]).is_ok());
    messages(&stream);
    let said: Vec<String> = heard.take().into_iter().map(|(_, _, payload)| payload).collect();
    assert_eq!(said, ["10211"]);
}

#[test]
fn counters_count_in_batches_too() {
    for &storage in STORAGES {
        let (mut bench, _) = open(storage);
        let stream = bench.create(&StreamConfig {
            allow_msg_counter: true,
            ..config()
        });
        let add =
            |stream: &Handle, by: &str, body: &[u8]| code(stream.publish("a.1", &block(&[("Nats-Incr", by)]), body));
        assert_eq!(add(&stream, "5", b""), Ok(1));
        assert_eq!(add(&stream, "-7", b""), Ok(2));
        assert_eq!(stream.message(2).unwrap().payload, "{\"val\":\"-2\"}");
        assert_eq!(add(&stream, "x", b""), Err(10171));
        assert_eq!(add(&stream, "1", b"body"), Err(10170));
        assert_eq!(code(stream.publish("a.1", "", b"")), Err(10169));
        let by = |by| ("Nats-Incr", by);
        let empty = |number: &str, more: &[(&str, &str)]| {
            let mut lines = vec![("Nats-Batch-Id", "c"), ("Nats-Batch-Sequence", number)];
            lines.extend(more);
            code(stream.publish("a.1", &block(&lines), b""))
        };
        assert_eq!(empty("1", &[by("10")]), Ok(0));
        assert_eq!(empty("2", &[by("10"), COMMIT]), Ok(4));
        assert_eq!(stream.message(4).unwrap().payload, "{\"val\":\"18\"}");
        if storage.survives() {
            bench.kill();
            bench.open();
            let stream = bench.find("S").unwrap();
            assert_eq!(add(&stream, "1", b""), Ok(5));
            assert_eq!(stream.message(5).unwrap().payload, "{\"val\":\"19\"}");
        }
    }
}

/// Publishes with a reply subject, and waits for the turn to end.
fn fast(stream: &Handle, operation: &str, body: &'static str) {
    let input = Input::Publish {
        stream: stream.id,
        subject: "a.1".into(),
        headers_len: 0,
        body: body.into(),
        ticket: Ticket::Reply(Bytes::from(format!("r.id.{operation}.$FI"))),
    };
    assert!(stream.shard.submit(vec![input]).is_ok());
    messages(stream);
}

#[test]
fn a_fast_batch_is_acknowledged_along_the_way() {
    let (bench, heard) = open(Storage::Memory);
    let stream = bench.create(&config());
    let said = || -> Vec<String> { heard.take().into_iter().map(|(_, _, payload)| payload).collect() };
    fast(&stream, "2.fail.1.0", "x");
    assert_eq!(said(), [r#"{"type":"ack","seq":0,"msgs":2}"#]);
    fast(&stream, "2.fail.2.1", "x");
    assert_eq!(said(), [r#"{"type":"ack","seq":2,"msgs":2}"#]);
    fast(&stream, "2.fail.2.4", "");
    assert_eq!(said(), [r#"{"type":"ack","seq":2,"msgs":2}"#]);
    fast(&stream, "2.fail.3.2", "x");
    assert_eq!(said(), ["seq 3 dup false batch Some(3)"]);
    fast(&stream, "2.fail.4.1", "x");
    assert_eq!(said(), ["10208"], "that batch is over");
    // A gap ends a batch, unless it says that gaps are fine.
    fast(&stream, "10.fail.1.0", "x");
    fast(&stream, "10.fail.3.1", "x");
    assert_eq!(
        said()[1..],
        [
            r#"{"type":"gap","last_seq":2,"seq":3}"#,
            "seq 4 dup false batch Some(1)"
        ]
    );
    fast(&stream, "10.ok.1.0", "x");
    fast(&stream, "10.ok.3.1", "x");
    fast(&stream, "10.ok.4.3", "");
    assert_eq!(
        said()[1..],
        [
            r#"{"type":"gap","last_seq":2,"seq":3}"#,
            "seq 6 dup false batch Some(3)"
        ]
    );
    assert_eq!(messages(&stream), 6);
}

#[test]
fn subjects_are_rewritten_and_messages_published_again() {
    let (bench, heard) = open(Storage::Memory);
    let stream = bench.create(&StreamConfig {
        subject_transform: Some(SubjectTransform {
            src: "a.*".into(),
            dest: "b.$1".into(),
        }),
        republish: Some(Republish {
            src: "b.>".into(),
            dest: "again.>".into(),
            headers_only: false,
        }),
        ..config()
    });
    stream.publish("a.x", "", b"one").unwrap();
    stream.publish("a.x", &block(&[("K", "v")]), b"two").unwrap();
    stream.publish("a.x.y", "", b"as it is").unwrap();
    assert_eq!(stream.message(1).unwrap().subject, "b.x");
    assert_eq!(stream.message(3).unwrap().subject, "a.x.y");
    let heard = heard.take();
    assert_eq!(heard.len(), 2);
    assert_eq!((&*heard[1].0, &*heard[1].2), ("again.x", "two"));
    let lines: Vec<_> = heard[1]
        .1
        .split("\r\n")
        .filter(|line| !line.contains("Time-Stamp"))
        .collect();
    assert_eq!(
        lines,
        [
            "NATS/1.0",
            "K: v",
            "Nats-Stream: S",
            "Nats-Subject: b.x",
            "Nats-Sequence: 2",
            "Nats-Last-Sequence: 1",
            "",
            ""
        ]
    );
}
