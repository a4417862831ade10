//! What holds up a consumer and what lets it go on: acknowledgement by flow control, a reset, too much
//! unacknowledged, the pace of the past.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use support::{Bench, Handle, Storage};
use weir_engine::SECOND;
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, ConsumerInfo, PullRequest, ReplayPolicy};
use weir_engine::shard::Input;
use weir_engine::shard::emit::{Delivery, Emit, Outlet, Status};
use weir_engine::stream::{Retention, StreamConfig};

#[cfg(feature = "rocksdb")]
const STORAGES: [Storage; 4] = [Storage::Memory, Storage::Persistent, Storage::Segment, Storage::Rocks];
#[cfg(not(feature = "rocksdb"))]
const STORAGES: [Storage; 3] = [Storage::Memory, Storage::Persistent, Storage::Segment];

/// Keeps what is delivered and said; everybody listens.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    deliveries: Vec<Delivery>,
    statuses: Vec<Status>,
}

impl Outlet for Inbox {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        match emit {
            Emit::Deliver(delivery) => self.0.lock().deliveries.push(delivery),
            Emit::Status { status, .. } => self.0.lock().statuses.push(status),
            _ => {}
        }
    }

    fn flush(&mut self) {}
}

struct Scene {
    bench: Bench,
    stream: Handle,
    inbox: Inbox,
}

impl Scene {
    fn new(storage: Storage, retention: Retention, config: ConsumerConfig) -> Self {
        let inbox = Inbox::default();
        let outlet = inbox.clone();
        let mut bench = Bench::with_outlet(storage, move || Box::new(outlet.clone()));
        bench.open();
        bench.begin_twin();
        let stream = bench.create(&StreamConfig {
            name: "S".into(),
            subjects: vec![">".into()],
            retention,
            ..StreamConfig::default()
        });
        let config = ConsumerConfig {
            durable_name: "c".into(),
            name: "c".into(),
            ack_wait: 3600 * SECOND,
            max_waiting: 10,
            ..config
        };
        stream.call(move |shard, id| shard.create_consumer(id, config)).unwrap();
        Self { bench, stream, inbox }
    }

    fn submit(&self, input: Input) {
        assert!(self.stream.shard.submit(vec![input]).is_ok());
        self.settle();
    }

    /// What a turn emits is out before the next one begins.
    fn settle(&self) {
        self.stream.settle(2);
    }

    fn publish(&self, count: usize) {
        for _ in 0..count {
            self.stream.publish("a", "", b"x").unwrap();
        }
        self.settle();
    }

    fn pull(&self, batch: u64) {
        self.ask(PullRequest {
            batch,
            ..PullRequest::default()
        });
    }

    fn ask(&self, request: PullRequest) {
        self.submit(Input::Pull {
            stream: self.stream.id,
            consumer: Bytes::from_static(b"c"),
            request,
            reply: Bytes::from_static(b"inbox"),
        });
    }

    fn ack(&self, stream_seq: u64, consumer_seq: u64) {
        self.submit(Input::Ack {
            stream: self.stream.id,
            consumer: Bytes::from_static(b"c"),
            ack: Ack {
                stream_seq,
                consumer_seq,
                deliveries: 1,
                kind: AckKind::Ack,
                reply: Bytes::new(),
            },
        });
    }

    /// The stream and consumer sequences delivered since the last time.
    fn delivered(&self) -> Vec<(u64, u64)> {
        let all = std::mem::take(&mut self.inbox.0.lock().deliveries);
        all.iter()
            .map(|delivery| (delivery.message.seq, delivery.consumer_seq))
            .collect()
    }

    /// What was said since the last time.
    fn said(&self) -> Vec<Status> {
        std::mem::take(&mut self.inbox.0.lock().statuses)
    }

    fn info(&self) -> ConsumerInfo {
        self.stream.call(|shard, id| shard.consumer_info(id, "c")).unwrap()
    }

    fn messages(&self) -> u64 {
        let state = self.stream.call(|shard, id| shard.stream(id).unwrap().state());
        state.unwrap().messages
    }

    /// Kills the store and opens it again, where that leaves something.
    fn crash(&mut self, storage: Storage) {
        if storage.survives() {
            self.bench.kill();
            self.bench.open();
            self.stream = self.bench.find("S").unwrap();
        }
    }
}

/// Nothing goes on once as much is unacknowledged as may be, until the subscriber says how far it got.
#[test]
fn flow_control_acknowledges() {
    for storage in STORAGES {
        let mut scene = Scene::new(
            storage,
            Retention::Limits,
            ConsumerConfig {
                deliver_subject: "push".into(),
                ack_policy: AckPolicy::FlowControl,
                flow_control: true,
                idle_heartbeat: 3600 * SECOND,
                max_ack_pending: 4,
                ..ConsumerConfig::default()
            },
        );
        scene.publish(10);
        assert_eq!(scene.delivered(), [(1, 1), (2, 2), (3, 3), (4, 4)], "{storage:?}");
        let said = scene.said();
        let [Status::FlowControl { id }] = said[..] else {
            panic!("{storage:?}: {said:?}");
        };
        // It has taken three of the four.
        scene.submit(Input::FlowControl {
            stream: scene.stream.id,
            consumer: Bytes::from_static(b"c"),
            id,
            last: Some(3),
        });
        assert_eq!(scene.delivered(), [(5, 5), (6, 6), (7, 7)], "{storage:?}");
        let info = scene.info();
        assert_eq!((info.ack_floor.stream, info.num_ack_pending), (3, 4), "{storage:?}");
        // An answer to a request that is not open says nothing.
        scene.submit(Input::FlowControl {
            stream: scene.stream.id,
            consumer: Bytes::from_static(b"c"),
            id,
            last: Some(7),
        });
        assert_eq!(scene.info().ack_floor.stream, 3, "{storage:?}");
        scene.crash(storage);
        assert_eq!(scene.info().ack_floor.stream, 3, "{storage:?}");
    }
}

/// After a reset the messages come once more with new numbers; an acknowledgement of what came before it still lets a
/// work queue drop the message, and moves nothing else.
#[test]
fn a_reset_begins_anew() {
    for storage in STORAGES {
        let mut scene = Scene::new(
            storage,
            Retention::WorkQueue,
            ConsumerConfig {
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: 100,
                ..ConsumerConfig::default()
            },
        );
        scene.publish(5);
        scene.pull(3);
        assert_eq!(scene.delivered(), [(1, 1), (2, 2), (3, 3)], "{storage:?}");
        scene.ack(1, 1);
        assert_eq!(scene.messages(), 4, "{storage:?}");
        // 0 asks for what follows the acknowledged ones.
        let (seq, info) = scene.stream.call(|shard, id| shard.reset_consumer(id, "c", 0)).unwrap();
        assert_eq!((seq, info.num_ack_pending, info.num_pending), (2, 0, 4), "{storage:?}");
        assert_eq!((info.delivered.consumer, info.delivered.stream), (0, 1), "{storage:?}");
        scene.crash(storage);
        let info = scene.info();
        assert_eq!((info.delivered.consumer, info.ack_floor.stream), (0, 1), "{storage:?}");
        scene.pull(1);
        assert_eq!(scene.delivered(), [(2, 1)], "{storage:?}");
        // 3 was sent before the reset, and will be sent again: this is not heard.
        scene.ack(3, 3);
        assert_eq!((scene.messages(), scene.info().num_pending), (4, 3), "{storage:?}");
        scene.ack(2, 1);
        assert_eq!((scene.messages(), scene.info().ack_floor.stream), (3, 2), "{storage:?}");
    }
}

/// A request that would not wait, but said how long it would for the first message, ends at its next heartbeat once it got
/// something, though there is more that may not be sent yet; one that waits goes on.
#[test]
fn requests_that_would_not_wait_end_at_a_heartbeat() {
    let scene = Scene::new(
        Storage::Memory,
        Retention::Limits,
        ConsumerConfig {
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: 2,
            ..ConsumerConfig::default()
        },
    );
    let request = PullRequest {
        batch: 10,
        no_wait: true,
        expires: 60 * SECOND,
        idle_heartbeat: SECOND,
        formal: true,
        ..PullRequest::default()
    };
    scene.publish(3);
    scene.ask(request.clone());
    assert_eq!(scene.delivered(), [(1, 1), (2, 2)]);
    assert_eq!(scene.said(), []);
    scene.ask(PullRequest {
        no_wait: false,
        ..request
    });
    assert_eq!(scene.info().num_waiting, 2);
    scene.bench.advance(SECOND + 1);
    scene.settle();
    let said = scene.said();
    assert!(
        matches!(said[..], [Status::NoMessages, Status::Heartbeat { .. }]),
        "{said:?}"
    );
    assert_eq!(scene.info().num_waiting, 1);
    scene.ack(1, 1);
    assert_eq!(scene.delivered(), [(3, 3)]);
}

/// Also where the last message took all that one turn may deliver.
#[test]
fn requests_that_would_not_wait_end_with_the_stream() {
    for (count, size) in [
        (1, 100),
        (2, 512 << 10),
        (2, 600_000),
        (4, 300_000),
        (2, 1 << 20),
        (3, 600_000),
    ] {
        let scene = Scene::new(Storage::Memory, Retention::Limits, ConsumerConfig::default());
        for _ in 0..count {
            scene.stream.publish("a", "", &vec![0; size]).unwrap();
        }
        scene.ask(PullRequest {
            batch: 10,
            no_wait: true,
            formal: true,
            ..PullRequest::default()
        });
        scene.settle();
        assert_eq!(scene.delivered().len(), count, "{count} of {size} bytes");
        assert!(
            matches!(scene.said()[..], [Status::NoMessages]),
            "{count} of {size} bytes: {:?}",
            scene.said()
        );
        assert_eq!(scene.info().num_waiting, 0, "{count} of {size} bytes");
    }
}

/// At the original pace, a message waits as long after the one before as it did when it was stored.
#[test]
fn the_original_pace_is_kept() {
    let scene = Scene::new(Storage::Memory, Retention::Limits, ConsumerConfig::default());
    for pause in [0, 2, 5] {
        scene.bench.advance(pause * SECOND);
        scene.publish(1);
    }
    let config = ConsumerConfig {
        durable_name: "slow".into(),
        name: "slow".into(),
        deliver_subject: "push".into(),
        replay_policy: ReplayPolicy::Original,
        ..ConsumerConfig::default()
    };
    scene
        .stream
        .call(move |shard, id| shard.create_consumer(id, config))
        .unwrap();
    scene.settle();
    assert_eq!(scene.delivered(), [(1, 1)]);
    for (pause, expected) in [(1, vec![]), (1, vec![(2, 2)]), (4, vec![]), (1, vec![(3, 3)])] {
        scene.bench.advance(pause * SECOND);
        scene.settle();
        assert_eq!(scene.delivered(), expected);
    }
}

fn explicit() -> ConsumerConfig {
    ConsumerConfig {
        ack_policy: AckPolicy::Explicit,
        ..ConsumerConfig::default()
    }
}

/// Another `ack_wait` or `backoff` counts for what is on its way already, and after a crash.
#[test]
fn a_wait_that_is_changed_counts_at_once() {
    for storage in STORAGES {
        let mut scene = Scene::new(storage, Retention::Limits, explicit());
        scene.publish(2);
        scene.pull(2);
        assert_eq!(scene.delivered().len(), 2, "{storage:?}");
        let update = |scene: &Scene, ack_wait, backoff: &[i64]| {
            let backoff = backoff.to_vec();
            let updated = scene.stream.call(move |shard, id| {
                let config = ConsumerConfig {
                    ack_wait,
                    backoff,
                    max_deliver: 10,
                    ..shard.consumer_info(id, "c")?.config
                };
                shard.update_consumer(id, "c", config)
            });
            updated.unwrap();
        };
        // Longer, and longer than the hour that it was.
        update(&scene, 7200 * SECOND, &[]);
        scene.pull(2);
        scene.bench.advance(3601 * SECOND);
        scene.settle();
        assert_eq!(scene.delivered(), [], "{storage:?}");
        // Shorter: their time is over.
        update(&scene, SECOND, &[]);
        scene.crash(storage);
        scene.bench.advance(0);
        scene.pull(2);
        assert_eq!(scene.delivered(), [(1, 3), (2, 4)], "{storage:?}");
        update(&scene, 5 * SECOND, &[5 * SECOND, 10 * SECOND]);
        scene.pull(2);
        scene.bench.advance(6 * SECOND);
        scene.settle();
        assert_eq!(scene.delivered(), [], "{storage:?}");
        scene.bench.advance(5 * SECOND);
        scene.pull(2);
        assert_eq!(scene.delivered(), [(1, 5), (2, 6)], "{storage:?}");
    }
}

/// The time of the day steps back and forth: waits last as if it had not, and times of messages never go back.
#[test]
fn waits_do_not_follow_the_time_of_the_day() {
    const HOUR: i64 = 3600 * SECOND;
    for storage in STORAGES {
        let mut scene = Scene::new(storage, Retention::Limits, explicit());
        // Nothing tells the journal that waits step along: what it knows of them is as old as the deliveries.
        scene.bench.end_twin();
        let scene = scene;
        let times = || -> Vec<i64> {
            let last = scene
                .stream
                .call(|shard, id| shard.stream(id).unwrap().state())
                .unwrap()
                .last_seq;
            (1..=last).map(|seq| scene.stream.message(seq).unwrap().time).collect()
        };
        scene.publish(1);
        scene.pull(1);
        assert_eq!(scene.delivered(), [(1, 1)], "{storage:?}");
        // What was sent is sent again after the hour that it waits, and not after two.
        scene.bench.step(-HOUR);
        scene.publish(1);
        assert!(times().is_sorted(), "{storage:?}: {:?}", times());
        scene.pull(2);
        assert_eq!(scene.delivered(), [(2, 2)], "{storage:?}");
        scene.bench.advance(HOUR + SECOND);
        scene.settle();
        assert_eq!(scene.delivered(), [(1, 3)], "{storage:?}");
        scene.pull(1);
        assert_eq!(scene.delivered(), [(2, 4)], "{storage:?}");
        // Two hours forward: nothing is over that was not before.
        scene.ask(PullRequest {
            batch: 1,
            expires: 60 * SECOND,
            idle_heartbeat: 20 * SECOND,
            ..PullRequest::default()
        });
        scene.said();
        scene.bench.step(2 * HOUR);
        scene.bench.advance(0);
        scene.settle();
        assert_eq!(scene.said(), [], "{storage:?}");
        assert_eq!(scene.info().num_waiting, 1, "{storage:?}");
        scene.bench.advance(21 * SECOND);
        scene.settle();
        assert!(matches!(scene.said()[..], [Status::Heartbeat { .. }]), "{storage:?}");
        scene.publish(1);
        assert_eq!(scene.delivered(), [(3, 5)], "{storage:?}");
        assert!(times().is_sorted(), "{storage:?}");
    }
}

/// The numbers in an acknowledgement's subject are the client's, and may be any.
#[test]
fn numbers_of_acknowledgements_may_be_any() {
    for storage in STORAGES {
        let sampled = ConsumerConfig {
            sample_freq: "100".into(),
            ..explicit()
        };
        let scene = Scene::new(storage, Retention::Limits, sampled);
        scene.publish(2);
        scene.pull(2);
        assert_eq!(scene.delivered().len(), 2, "{storage:?}");
        scene.ack(u64::MAX, u64::MAX);
        scene.ack(1, u64::MAX);
        scene.ack(2, 0);
        assert_eq!(scene.info().num_ack_pending, 0, "{storage:?}");
    }
}

/// The sum overflowed, and took the storage thread down for a moment.
#[test]
fn requests_may_ask_for_as_many_as_there_are_numbers() {
    for storage in STORAGES {
        let limited = ConsumerConfig {
            max_ack_pending: 1,
            ..explicit()
        };
        let scene = Scene::new(storage, Retention::Limits, limited);
        scene.publish(5);
        for _ in 0..3 {
            scene.pull(u64::MAX / 2);
        }
        scene.ask(PullRequest {
            batch: 1,
            no_wait: true,
            ..PullRequest::default()
        });
        assert_eq!(scene.delivered().len(), 1, "{storage:?}");
        assert_eq!(scene.info().num_waiting, 3, "{storage:?}");
    }
}
