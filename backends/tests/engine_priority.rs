//! Priority groups: which pull request gets the next message, and who is pinned.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use support::{Bench, Handle, Storage};
use weir_engine::SECOND;
use weir_engine::consumer::{AckPolicy, ConsumerConfig, GroupRequest, PriorityPolicy, PullRequest};
use weir_engine::shard::Input;
use weir_engine::shard::emit::{Emit, Event, Outlet, Status};
use weir_engine::stream::StreamConfig;

/// What was sent to whom, one line each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Outlet for Log {
    fn has_interest(&mut self, _: &str, subject: &[u8]) -> bool {
        subject != b"gone"
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let line = match emit {
            Emit::Deliver(delivery) => {
                let pin = delivery.pin.map_or_else(String::new, |pin| format!(" pin {pin}"));
                format!("{} gets {}{pin}", text(&delivery.to), delivery.message.seq)
            }
            Emit::Status { to, status, .. } => match status {
                Status::Pinned { text: why, short } => format!("{} 423 {why} {short:?}", text(&to)),
                Status::BadRequest { text: why } => format!("{} 400 {why}", text(&to)),
                Status::Conflict { text: why, .. } => format!("{} 409 {why}", text(&to)),
                other => format!("{} {other:?}", text(&to)),
            },
            Emit::Event(Event::Pinned { group, id, .. }) => format!("pinned {group} {id}"),
            Emit::Event(Event::Unpinned { group, reason, .. }) => format!("unpinned {group} {reason:?}"),
            _ => return,
        };
        self.0.lock().push(line);
    }

    fn flush(&mut self) {}
}

struct Scene {
    bench: Bench,
    stream: Handle,
    log: Log,
}

impl Scene {
    fn new(policy: PriorityPolicy) -> Self {
        let log = Log::default();
        let outlet = log.clone();
        let mut bench = Bench::with_outlet(Storage::Persistent, move || Box::new(outlet.clone()));
        bench.open();
        bench.begin_twin();
        let stream = bench.create(&StreamConfig {
            name: "S".into(),
            subjects: vec![">".into()],
            ..StreamConfig::default()
        });
        let config = ConsumerConfig {
            durable_name: "c".into(),
            name: "c".into(),
            max_waiting: 10,
            max_ack_pending: 100,
            ack_policy: AckPolicy::Explicit,
            ack_wait: 3600 * SECOND,
            priority_policy: policy,
            priority_groups: vec!["A".into()],
            priority_timeout: 10 * SECOND,
            ..ConsumerConfig::default()
        };
        stream.call(move |shard, id| shard.create_consumer(id, config)).unwrap();
        Self { bench, stream, log }
    }

    fn publish(&self, count: usize) {
        for _ in 0..count {
            self.stream.publish("a", "", b"x").unwrap();
        }
        self.bench.check_twin("after publishes");
    }

    fn pull(&self, who: &'static str, batch: u64, group: GroupRequest) -> Vec<String> {
        let group = GroupRequest {
            group: "A".into(),
            ..group
        };
        self.ask(
            who,
            PullRequest {
                batch,
                formal: true,
                group: Some(Box::new(group)),
                ..PullRequest::default()
            },
        )
    }

    fn ask(&self, who: &'static str, request: PullRequest) -> Vec<String> {
        let input = Input::Pull {
            stream: self.stream.id,
            consumer: Bytes::from_static(b"c"),
            request,
            reply: Bytes::from_static(who.as_bytes()),
        };
        assert!(self.stream.shard.submit(vec![input]).is_ok());
        self.seen()
    }

    /// What was sent since the last time.
    fn seen(&self) -> Vec<String> {
        // What a turn emits is out before the next one begins.
        for _ in 0..2 {
            self.stream.call(|_, _| Ok(())).unwrap();
        }
        std::mem::take(&mut *self.log.0.lock())
    }

    fn pin(&self) -> Option<String> {
        let info = self.stream.call(|shard, id| {
            let now = shard.now();
            Ok(shard.stream(id).expect("the stream").consumer_info("c", now))
        });
        let groups = info.unwrap().unwrap().groups;
        assert_eq!((groups.len(), &*groups[0].group), (1, "A"));
        groups[0].pinned.as_ref().map(|(id, _)| id.to_string())
    }
}

fn pinned(id: &str) -> GroupRequest {
    GroupRequest {
        id: id.into(),
        ..GroupRequest::default()
    }
}

#[test]
fn one_client_is_pinned_until_it_falls_silent_or_is_unpinned() {
    let scene = Scene::new(PriorityPolicy::PinnedClient);
    scene.publish(6);
    assert_eq!(scene.pin(), None);
    let seen = scene.pull("one", 2, pinned(""));
    let first = scene.pin().unwrap();
    assert_eq!(first.len(), 22);
    let get = |who: &str, seq: u64, pin: &str| format!("{who} gets {seq} pin {pin}");
    let expected = vec![
        format!("pinned A {first}"),
        get("one", 1, &first),
        get("one", 2, &first),
    ];
    assert_eq!(seen, expected);
    assert!(scene.pull("two", 5, pinned("")).is_empty(), "another waits");
    assert_eq!(
        scene.pull("three", 1, pinned("other")),
        ["three 423 Nats-Pin-Id mismatch None"]
    );
    assert_eq!(scene.pull("one", 1, pinned(&first)), [get("one", 3, &first)]);

    // Asking keeps the pin; silence loses it to who waits.
    scene.bench.advance(9 * SECOND);
    assert_eq!(scene.pull("one", 1, pinned(&first)), [get("one", 4, &first)]);
    scene.bench.advance(9 * SECOND);
    assert!(scene.seen().is_empty());
    scene.bench.advance(SECOND);
    let seen = scene.seen();
    let second = scene.pin().unwrap();
    assert_ne!(first, second);
    let expected = vec![
        "unpinned A Timeout".to_owned(),
        format!("pinned A {second}"),
        get("two", 5, &second),
        get("two", 6, &second),
    ];
    assert_eq!(seen, expected);

    // Unpinned on request; the old pin is of no use any more, even while nobody is pinned.
    scene.stream.call(|shard, id| shard.unpin(id, "c", "A")).unwrap();
    assert!(scene.stream.call(|shard, id| shard.unpin(id, "c", "B")).is_err());
    assert_eq!(scene.seen(), ["unpinned A Admin"]);
    assert_eq!(scene.pin(), None);
    assert!(scene.pull("one", 1, pinned(&first)).is_empty());
    scene.publish(1);
    assert_eq!(
        scene.seen(),
        [
            "two 423 Nats-Wrong-Pin-Id Some((3, 0))",
            "one 423 Nats-Wrong-Pin-Id Some((1, 0))"
        ]
    );
}

#[test]
fn nobody_is_pinned_who_has_gone() {
    let scene = Scene::new(PriorityPolicy::PinnedClient);
    scene.publish(1);
    assert!(scene.pull("gone", 1, pinned("")).is_empty());
    assert_eq!(scene.pin(), None);
    assert_eq!(scene.pull("here", 1, pinned("")).len(), 2);
}

#[test]
fn overflow_is_served_when_much_is_pending() {
    let scene = Scene::new(PriorityPolicy::Overflow);
    scene.publish(3);
    let request = |min_pending: i64, min_ack_pending: i64| GroupRequest {
        min_pending,
        min_ack_pending,
        ..GroupRequest::default()
    };
    assert!(scene.pull("four", 9, request(4, 0)).is_empty());
    assert_eq!(scene.pull("three", 1, request(3, 0)), ["three gets 1"]);
    assert!(scene.pull("acks", 1, request(0, 2)).is_empty());
    assert_eq!(scene.pull("any", 1, request(0, 0)), ["any gets 2", "acks gets 3"]);
    scene.publish(3);
    assert!(scene.seen().is_empty());
    scene.publish(1);
    assert_eq!(scene.seen(), ["four gets 4"], "then fewer are pending");
}

#[test]
fn prioritized_requests_are_served_in_their_order() {
    let scene = Scene::new(PriorityPolicy::Prioritized);
    let request = |priority: i64| GroupRequest {
        priority,
        ..GroupRequest::default()
    };
    for (who, priority) in [("five", 5), ("one", 1), ("other", 1), ("zero", 0)] {
        assert!(scene.pull(who, 2, request(priority)).is_empty());
    }
    scene.publish(7);
    let expected = [
        "zero gets 1",
        "zero gets 2",
        "one gets 3",
        "other gets 4",
        "one gets 5",
        "other gets 6",
        "five gets 7",
    ];
    assert_eq!(scene.seen(), expected);
}

#[test]
fn requests_that_do_not_fit_the_policy_are_refused() {
    let asked = |group: &str, change: &dyn Fn(&mut GroupRequest)| {
        let mut request = GroupRequest {
            group: group.into(),
            ..GroupRequest::default()
        };
        change(&mut request);
        PullRequest {
            formal: true,
            group: Some(Box::new(request)),
            ..PullRequest::default()
        }
    };
    let overflow = Scene::new(PriorityPolicy::Overflow);
    let pinned = Scene::new(PriorityPolicy::PinnedClient);
    for (scene, request, why) in [
        (
            &pinned,
            asked("A", &|r| r.min_pending = 1),
            "Not a Overflow Priority consumer",
        ),
        (
            &overflow,
            asked("A", &|r| r.id = "x".into()),
            "Not a Pinned Client Priority consumer",
        ),
        (
            &overflow,
            asked("A", &|r| r.priority = 10),
            "Priority must be between 0 and 9",
        ),
        (&overflow, asked("", &|_| {}), "Priority Group missing"),
        (&overflow, asked("B", &|_| {}), "Invalid Priority Group"),
    ] {
        assert_eq!(scene.ask("r", request), [format!("r 400 {why}")]);
    }
    // One that is no JSON is taken without a group.
    assert!(overflow.ask("r", PullRequest::default()).is_empty());
}
