//! The time of a shard never goes back, whatever the clock does, and what waits waits as long as it should. A failure prints the seed;
//! `WEIR_SEED=<n>` runs only that one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use bytes::Bytes;
use support::{Bench, Handle, Inbox, Random, Storage, run_seeds};
use weir_engine::consumer::{AckPolicy, ConsumerConfig, PullRequest};
use weir_engine::shard::Input;
use weir_engine::stream::StreamConfig;
use weir_engine::{MILLISECOND, NanoTime, SECOND};

const HOUR: NanoTime = 3600 * SECOND;
const ACK_WAIT: NanoTime = 30 * SECOND;
const NAMES: [&str; 3] = ["S", "T", "U"];

fn open(storage: Storage) -> (Bench, Inbox) {
    let inbox = Inbox::default();
    let outlet = inbox.clone();
    let mut bench = Bench::with_outlet(storage, move || Box::new(outlet.clone()));
    bench.open();
    (bench, inbox)
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        duplicate_window: 120 * SECOND,
        ..StreamConfig::default()
    }
}

fn consumer() -> ConsumerConfig {
    ConsumerConfig {
        durable_name: "c".into(),
        name: "c".into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_waiting: 10,
        max_ack_pending: 100,
        ..ConsumerConfig::default()
    }
}

fn pull(stream: &Handle, batch: u64) {
    let input = Input::Pull {
        stream: stream.id,
        consumer: Bytes::from_static(b"c"),
        request: PullRequest {
            batch,
            ..PullRequest::default()
        },
        reply: Bytes::from_static(b"inbox"),
    };
    assert!(stream.shard.submit(vec![input]).is_ok());
    stream.settle(2);
}

/// Publishes; answers the time that the message got.
fn publish(stream: &Handle, name: &str, id: Option<u64>) -> Option<NanoTime> {
    let headers = id.map_or_else(String::new, |id| format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n"));
    let (seq, duplicate) = stream.publish(&format!("{name}.x"), &headers, b"x").unwrap();
    (!duplicate).then(|| stream.message(seq).unwrap().time)
}

fn run(storage: Storage, seed: u64) {
    let mut random = Random(seed);
    let (mut bench, _inbox) = open(storage);
    let mut streams: Vec<Handle> = NAMES.iter().map(|name| bench.create(&config(name))).collect();
    for stream in &streams {
        stream.call(|shard, id| shard.create_consumer(id, consumer())).unwrap();
    }
    let mut last = NanoTime::MIN;
    for _ in 0..60 {
        match random.below(12) {
            0..=5 => {
                let at = random.below(3) as usize;
                if let Some(time) = publish(&streams[at], NAMES[at], None) {
                    assert!(time >= last, "{storage:?}: {} of {} is before {last}", time, NAMES[at]);
                    last = time;
                }
            }
            6 => pull(&streams[random.below(3) as usize], 2),
            7 => bench.advance([MILLISECOND, SECOND, 40 * SECOND][random.below(3) as usize]),
            8 | 9 => {
                let by = [-HOUR, HOUR, -5 * SECOND][random.below(3) as usize];
                bench.step(by);
            }
            _ if storage.survives() => {
                // Of a message alone nobody knows whose time it has: a turn that did anything else, or a checkpoint, tells.
                if random.one_in(2) {
                    pull(&streams[0], 1);
                    publish(&streams[0], NAMES[0], None);
                    bench.kill();
                    last = NanoTime::MIN;
                } else {
                    bench.close();
                }
                if random.one_in(2) {
                    bench.step(-HOUR);
                }
                bench.open();
                streams = NAMES.iter().map(|name| bench.find(name).unwrap()).collect();
            }
            _ => {}
        }
    }
}

#[test]
fn no_message_is_older_than_one_before_it_in_any_stream_of_the_shard() {
    for storage in [Storage::Memory, Storage::Persistent, Storage::Segment] {
        run_seeds(storage, 40, move |seed| run(storage, seed));
    }
}

/// What was sent, and the delivery was noted: that time is known after a crash.
#[test]
fn a_time_that_the_journal_tells_is_known_after_a_crash() {
    for storage in [Storage::Persistent, Storage::Segment] {
        let (mut bench, inbox) = open(storage);
        let mut stream = bench.create(&config("S"));
        stream.call(|shard, id| shard.create_consumer(id, consumer())).unwrap();
        publish(&stream, "S", None);
        bench.advance(HOUR);
        pull(&stream, 1);
        assert_eq!(inbox.take(), [1]);
        let sent = bench.now();
        bench.kill();
        bench.step(-HOUR);
        bench.open();
        let other = bench.create(&config("T"));
        assert!(publish(&other, "T", None).unwrap() >= sent, "{storage:?}");
        // It was sent just now, as far as anybody knows: it is sent again when its time is over, and not an hour later.
        stream = bench.find("S").unwrap();
        pull(&stream, 1);
        for _ in 0..29 {
            bench.advance(SECOND);
        }
        stream.settle(2);
        assert_eq!(inbox.take(), [0; 0], "{storage:?}");
        for _ in 0..3 {
            bench.advance(SECOND);
        }
        stream.settle(2);
        assert_eq!(inbox.take(), [1], "{storage:?}");
    }
}

/// While the time stands still, waits go on: an acknowledgement is waited for as long as before, and an id is known as long.
#[test]
fn what_waits_goes_on_while_the_time_stands_still() {
    for storage in [Storage::Memory, Storage::Persistent, Storage::Segment] {
        let (bench, inbox) = open(storage);
        let stream = bench.create(&config("S"));
        stream.call(|shard, id| shard.create_consumer(id, consumer())).unwrap();
        assert!(publish(&stream, "S", Some(1)).is_some());
        let first = stream.message(1).unwrap().time;
        pull(&stream, 1);
        assert_eq!(inbox.take(), [1]);
        bench.step(-HOUR);
        pull(&stream, 1);
        for second in 1..=28 {
            bench.advance(SECOND);
            stream.settle(2);
            assert_eq!(inbox.take(), [0; 0], "{storage:?}: {second} s");
        }
        for _ in 0..4 {
            bench.advance(SECOND);
        }
        stream.settle(2);
        assert_eq!(inbox.take(), [1], "{storage:?}: sent again");
        assert!(
            publish(&stream, "S", Some(1)).is_none(),
            "{storage:?}: the id is still known"
        );
        for _ in 0..100 {
            bench.advance(SECOND);
        }
        let again = publish(&stream, "S", Some(1));
        assert!(
            again.is_some_and(|time| time >= first),
            "{storage:?}: the id is not known any more: {again:?}"
        );
        assert!(bench.now() < first, "the clock is not there yet");
        // When the clock is there, the time goes on.
        bench.advance(HOUR);
        assert_eq!(publish(&stream, "S", None), Some(bench.now()), "{storage:?}");
    }
}

/// A clock that was years ahead for a moment does not stop the time for years.
#[test]
fn nobody_waits_for_a_time_that_is_far_away() {
    for storage in [Storage::Memory, Storage::Segment] {
        let (bench, _) = open(storage);
        let stream = bench.create(&config("S"));
        bench.step(9000 * 24 * HOUR);
        let wrong = publish(&stream, "S", None).unwrap();
        bench.step(-9000 * 24 * HOUR);
        assert_eq!(
            publish(&stream, "S", None),
            Some(wrong),
            "within a stream nothing goes back"
        );
        let other = bench.create(&config("T"));
        assert_eq!(publish(&other, "T", None), Some(bench.now()), "{storage:?}");
    }
}
