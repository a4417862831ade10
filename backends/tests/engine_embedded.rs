//! Consumers of a store without a server: what a fetch brings, and what it does not after an acknowledgement, also when
//! the store was closed or killed meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use weir_backends::root::StoreDir;
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::embed::{EmbeddedMessage, EmbeddedStream, FETCH_MAX, GLOBAL_ACCOUNT};
use weir_engine::shard::emit::NoOutlet;
use weir_engine::stream::settings::Defaults;
use weir_engine::stream::{Retention, StreamConfig};
use weir_engine::{Error, Kind, Nanos, SECOND, Store, StoreOptions};

/// Longer than any test may take: what is waited for has to come by itself.
const LONG: Duration = Duration::from_secs(60);
const NOW: Duration = Duration::ZERO;
const ACK_WAIT: Nanos = 30 * SECOND;

/// A folder, and a clock that stands still.
struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(AtomicI64::new(1_700_000_000 * SECOND)),
        }
    }

    fn options(&self) -> StoreOptions {
        let clock = self.clock.clone();
        StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)))
    }

    fn open(&self) -> Store {
        Store::embedded(StoreDir::new(self.folder.path()).opener(), self.options()).unwrap()
    }

    fn advance(&self, nanos: Nanos) {
        self.clock.fetch_add(nanos, Ordering::SeqCst);
    }
}

fn orders(store: &Store, retention: Retention) -> EmbeddedStream {
    let config = StreamConfig {
        name: "ORDERS".into(),
        subjects: vec!["orders.>".into()],
        retention,
        ..StreamConfig::default()
    };
    store
        .create_stream(GLOBAL_ACCOUNT, config, &Defaults::default())
        .unwrap()
}

fn durable(name: &str) -> ConsumerConfig {
    ConsumerConfig {
        durable_name: name.into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        ..ConsumerConfig::default()
    }
}

fn publish(stream: &EmbeddedStream, count: usize) {
    for number in 0..count {
        stream
            .publish(&format!("orders.{number}"), "", format!("order {number}").as_bytes())
            .unwrap();
    }
}

/// Sequence and deliveries of each.
fn seen(messages: &[EmbeddedMessage]) -> Vec<(u64, u64)> {
    messages.iter().map(|m| (m.message.seq, m.deliveries)).collect()
}

fn code(error: &Error) -> u16 {
    error.rejection.as_ref().map_or(0, |rejection| rejection.code)
}

fn acknowledged_is_not_handed_out_again(stop: fn(Store)) {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::Limits);
    publish(&stream, 6);
    let made = stream.create_consumer(durable("worker")).unwrap();
    assert_eq!((made.num_pending, &*made.name.consumer), (6, "worker"));

    let messages = stream.fetch("worker", 5, NOW).unwrap();
    assert_eq!(seen(&messages), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
    let third = &messages[2];
    assert_eq!(third.message.payload, "order 2");
    assert_eq!(third.message.subject, "orders.2");
    assert_eq!((third.consumer_seq, third.pending), (3, 3));
    messages[0].ack().unwrap();
    messages[1].ack().unwrap();
    messages[2].nak(Duration::ZERO).unwrap();
    messages[3].term("broken").unwrap();
    // The fifth is left as it is.
    stop(store);

    let store = bench.open();
    let stream = store.stream(GLOBAL_ACCOUNT, "ORDERS").unwrap();
    let info = stream.consumer_info("worker").unwrap();
    assert_eq!((info.num_ack_pending, info.num_pending), (2, 1));
    bench.advance(ACK_WAIT);
    let messages = stream.fetch("worker", 100, NOW).unwrap();
    assert_eq!(seen(&messages), [(3, 2), (5, 2), (6, 1)]);
    for message in &messages {
        message.ack().unwrap();
    }
    stop(store);

    let store = bench.open();
    let stream = store.stream(GLOBAL_ACCOUNT, "ORDERS").unwrap();
    bench.advance(ACK_WAIT);
    assert!(stream.fetch("worker", 100, NOW).unwrap().is_empty());
    assert_eq!(stream.state().unwrap().messages, 6);
    stop(store);
}

#[test]
fn acknowledged_is_not_handed_out_again_after_closing() {
    acknowledged_is_not_handed_out_again(|store| store.close());
}

#[test]
fn acknowledged_is_not_handed_out_again_after_a_kill() {
    acknowledged_is_not_handed_out_again(Store::abandon);
}

#[test]
fn what_is_said_of_a_message_decides_when_it_comes_again() {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::Limits);
    publish(&stream, 4);
    stream.create_consumer(durable("worker")).unwrap();
    let messages = stream.fetch("worker", 4, NOW).unwrap();
    messages[0].nak(Duration::ZERO).unwrap();
    messages[1].nak(Duration::from_secs(5)).unwrap();
    messages[3].ack_later().unwrap();
    assert_eq!(seen(&stream.fetch("worker", 10, NOW).unwrap()), [(1, 2)]);
    bench.advance(5 * SECOND);
    assert_eq!(seen(&stream.fetch("worker", 10, NOW).unwrap()), [(2, 2)]);
    bench.advance(20 * SECOND);
    messages[2].in_progress().unwrap();
    assert_eq!(stream.consumer_info("worker").unwrap().num_ack_pending, 3);
    bench.advance(20 * SECOND);
    // Its wait began anew, those of the others are over.
    assert_eq!(seen(&stream.fetch("worker", 10, NOW).unwrap()), [(1, 3), (2, 3)]);
    bench.advance(10 * SECOND);
    assert_eq!(seen(&stream.fetch("worker", 10, NOW).unwrap()), [(3, 2)]);
}

#[test]
fn a_work_queue_empties() {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::WorkQueue);
    publish(&stream, 250);
    stream.create_consumer(durable("worker")).unwrap();
    let mut done = 0;
    loop {
        let messages = stream.fetch("worker", 100, NOW).unwrap();
        let Some((last, others)) = messages.split_last() else {
            break;
        };
        for message in others {
            message.ack_later().unwrap();
        }
        last.ack().unwrap();
        done += messages.len();
        assert_eq!(stream.state().unwrap().messages, 250 - done as u64);
    }
    assert_eq!(done, 250);
    store.abandon();
    let store = bench.open();
    let stream = store.stream(GLOBAL_ACCOUNT, "ORDERS").unwrap();
    let state = stream.state().unwrap();
    assert_eq!((state.messages, state.last_seq), (0, 250));
}

#[test]
fn a_fetch_waits_for_the_first_message() {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::Limits);
    stream.create_consumer(durable("worker")).unwrap();
    assert!(stream.fetch("worker", 5, Duration::from_millis(20)).unwrap().is_empty());
    let waiting = stream.clone();
    let fetch = thread::spawn(move || waiting.fetch("worker", 5, LONG).unwrap());
    while stream.consumer_info("worker").unwrap().num_waiting == 0 {
        thread::yield_now();
    }
    publish(&stream, 1);
    // Five were wanted, but one is enough to stop waiting.
    assert_eq!(seen(&fetch.join().unwrap()), [(1, 1)]);
    // A fetch that is over leaves nothing behind that takes messages.
    assert_eq!(stream.consumer_info("worker").unwrap().num_waiting, 0);
    publish(&stream, 2);
    assert_eq!(seen(&stream.fetch("worker", 5, NOW).unwrap()), [(2, 1), (3, 1)]);
}

/// Fetches that give up just when a message comes lose none, though the clock stands still and so nothing is ever
/// handed out for the second time.
#[test]
fn no_message_is_lost_between_two_fetches() {
    const MESSAGES: u64 = 300;
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::WorkQueue);
    stream.create_consumer(durable("worker")).unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let stream = stream.clone();
            thread::spawn(move || {
                let mut got = Vec::new();
                loop {
                    let messages = stream.fetch("worker", 3, Duration::from_micros(300)).unwrap();
                    for message in &messages {
                        assert_eq!(message.deliveries, 1);
                        message.ack_later().unwrap();
                        got.push(message.message.seq);
                    }
                    let info = stream.consumer_info("worker").unwrap();
                    if info.delivered.stream == MESSAGES && info.num_ack_pending == 0 {
                        return got;
                    }
                }
            })
        })
        .collect();
    publish(&stream, MESSAGES as usize);
    let mut got: Vec<u64> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (1..=MESSAGES).collect::<Vec<_>>());
}

/// More than a shard hands out in one turn.
#[test]
fn a_fetch_brings_all_that_is_there() {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::Limits);
    let large = vec![7; 1 << 20];
    for _ in 0..12 {
        stream.publish("orders.large", "", &large).unwrap();
    }
    stream.create_consumer(durable("worker")).unwrap();
    assert_eq!(stream.fetch("worker", 10, NOW).unwrap().len(), 10);
    let rest = stream.fetch("worker", FETCH_MAX, NOW).unwrap();
    assert_eq!(seen(&rest), [(11, 1), (12, 1)]);
}

#[test]
fn limits_of_the_consumer_hold() {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::Limits);
    publish(&stream, 9);
    let config = ConsumerConfig {
        max_ack_pending: 4,
        max_batch: 3,
        headers_only: true,
        filter_subject: "orders.*".into(),
        ..durable("worker")
    };
    stream.create_consumer(config).unwrap();
    assert!(stream.fetch("worker", 0, NOW).unwrap().is_empty());
    let first = stream.fetch("worker", 100, NOW).unwrap();
    assert_eq!(first.len(), 3);
    assert!(first[0].message.payload.is_empty());
    assert_eq!(stream.fetch("worker", 100, NOW).unwrap().len(), 1);
    // Four are not acknowledged: no more until one is.
    assert!(stream.fetch("worker", 100, NOW).unwrap().is_empty());
    first[0].ack().unwrap();
    assert_eq!(seen(&stream.fetch("worker", 100, NOW).unwrap()), [(5, 1)]);

    let config = ConsumerConfig {
        max_waiting: 1,
        filter_subject: "orders.none".into(),
        ..durable("narrow")
    };
    stream.create_consumer(config).unwrap();
    let waiting = stream.clone();
    let fetch = thread::spawn(move || waiting.fetch("narrow", 1, LONG));
    while stream.consumer_info("narrow").unwrap().num_waiting == 0 {
        thread::yield_now();
    }
    assert_eq!(stream.fetch("narrow", 1, NOW).unwrap_err().kind, Kind::Busy);
    stream.delete_consumer("narrow").unwrap();
    assert_eq!(code(&fetch.join().unwrap().unwrap_err()), 10014);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    let store = bench.open();
    let stream = orders(&store, Retention::Limits);
    publish(&stream, 1);
    for found in [
        stream.fetch("nobody", 1, LONG).map(|_| ()),
        stream.consumer_info("nobody").map(|_| ()),
        stream.delete_consumer("nobody"),
    ] {
        assert_eq!(code(&found.unwrap_err()), 10014);
    }
    let nameless = stream.create_consumer(ConsumerConfig::default()).unwrap_err();
    assert_eq!(nameless.kind, Kind::Invalid, "{nameless}");
    let push = ConsumerConfig {
        deliver_subject: "somewhere".into(),
        ..durable("push")
    };
    let push = stream.create_consumer(push).unwrap_err();
    assert_eq!(push.kind, Kind::Invalid);
    assert!(push.message.contains("deliver_subject"), "{push}");

    stream.create_consumer(durable("worker")).unwrap();
    // As a program does that begins anew.
    stream.create_consumer(durable("worker")).unwrap();
    let other = ConsumerConfig {
        max_deliver: 3,
        ..durable("worker")
    };
    assert_eq!(code(&stream.create_consumer(other).unwrap_err()), 10148);
    let bad = durable("a.b");
    assert_eq!(stream.create_consumer(bad).unwrap_err().kind, Kind::Rejected);

    let message = stream.fetch("worker", 1, NOW).unwrap().remove(0);
    stream.delete_consumer("worker").unwrap();
    assert_eq!(code(&message.ack().unwrap_err()), 10014);

    stream.create_consumer(durable("last")).unwrap();
    let message = stream.fetch("last", 1, NOW).unwrap().remove(0);
    let waiting = stream.clone();
    let fetch = thread::spawn(move || waiting.fetch("last", 1, LONG));
    while stream.consumer_info("last").unwrap().num_waiting == 0 {
        thread::yield_now();
    }
    store.close();
    assert_eq!(fetch.join().unwrap().unwrap_err().kind, Kind::Closed);
    assert_eq!(message.ack().unwrap_err().kind, Kind::Closed);
    assert_eq!(message.ack_later().unwrap_err().kind, Kind::Closed);
    assert_eq!(stream.fetch("last", 1, NOW).unwrap_err().kind, Kind::Closed);
}

#[test]
fn a_store_with_another_outlet_says_so() {
    let bench = Bench::new();
    let opener = StoreDir::new(bench.folder.path()).opener();
    let store = Store::open(opener, bench.options(), |_| Box::new(NoOutlet)).unwrap();
    let stream = orders(&store, Retention::Limits);
    stream.create_consumer(durable("worker")).unwrap();
    assert_eq!(stream.fetch("worker", 1, NOW).unwrap_err().kind, Kind::Invalid);
}
