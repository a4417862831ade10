//! Removing messages beside an index in memory looks at none of them, wherever they lie: not at their heads either. To find one by its
//! time few are looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use support::between::{Rules, under};
use support::{Bench, Handle, Inbox, Storage};
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, PullRequest};
use weir_engine::shard::Input;
use weir_engine::store::ChunkSize;
use weir_engine::stream::{Purge, Retention, StreamConfig};
use weir_engine::{SECOND, Seq};

const MESSAGES: Seq = 2000;

/// Counts the records that are looked at.
#[derive(Default)]
struct Looks(AtomicUsize);

impl Rules for Looks {
    fn look(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream of [`MESSAGES`] messages of sizes of all kinds, none of which is in memory.
struct Scene {
    bench: Bench,
    looks: Arc<Looks>,
    stream: Handle,
    config: StreamConfig,
}

impl Scene {
    fn new(change: impl FnOnce(&mut StreamConfig)) -> Self {
        let mut config = StreamConfig {
            name: "S".into(),
            subjects: vec!["k.>".into()],
            allow_msg_ttl: true,
            ..StreamConfig::default()
        };
        change(&mut config);
        let looks = Arc::new(Looks::default());
        let rules = looks.clone();
        let mut bench = Bench::with_outlet(Storage::Segment, || Box::new(Inbox::default()));
        bench.wrap = Some(Arc::new(move |backend| under(backend, rules.clone())));
        bench.chunk_size = ChunkSize::small(8);
        bench.segment_bytes = 50_000;
        bench.open();
        let stream = bench.create(&config);
        publish(&stream, 1..=MESSAGES);
        bench.close();
        bench.open();
        let stream = bench.find("S").unwrap();
        Self {
            bench,
            looks,
            stream,
            config,
        }
    }

    /// How many records this looks at.
    fn looks(&self, work: impl FnOnce(&Self)) -> usize {
        self.stream.settle(20);
        self.looks.0.store(0, Ordering::Relaxed);
        work(self);
        self.stream.settle(20);
        self.looks.0.load(Ordering::Relaxed)
    }

    fn update(&self, change: impl FnOnce(&mut StreamConfig)) {
        let mut config = self.config.clone();
        change(&mut config);
        let settings = self.bench.settings(&config);
        let updated = self
            .stream
            .call(move |shard, id| shard.update_stream(id, config, settings));
        updated.unwrap();
    }

    fn purge(&self, filter: &str) {
        let purge = Purge {
            filter: filter.into(),
            ..Purge::default()
        };
        let purged = self.stream.call(move |shard, id| shard.purge(id, &purge).map(|_| ()));
        purged.unwrap();
    }

    /// So many messages are left; and their bytes are those that a start would count.
    fn holds(mut self, messages: u64) {
        let state = |stream: &Handle| stream.call(|shard, id| shard.stream(id)?.state()).unwrap();
        let before = state(&self.stream);
        assert_eq!(before.messages, messages);
        self.bench.kill();
        self.bench.open();
        assert_eq!(state(&self.bench.find("S").unwrap()), before);
    }
}

fn subject(n: Seq) -> String {
    format!("k.{}.{}", n % 3, n % 100)
}

fn publish(stream: &Handle, seqs: impl Iterator<Item = Seq> + Send + 'static) {
    let published = stream.call(move |shard, id| {
        for n in seqs {
            let (headers, len) = match n % 10 {
                0 => (format!("NATS/1.0\r\nNats-TTL: {}s\r\n\r\n", 10 + n % 7), n % 300),
                _ => (String::new(), n * n % 300),
            };
            let body = [headers.as_bytes(), &vec![b'x'; len as usize]].concat();
            shard.publish(id, subject(n).into(), headers.len(), body.into())?;
        }
        Ok(())
    });
    published.unwrap();
}

#[test]
fn limits() {
    let scene = Scene::new(|config| config.max_msgs = MESSAGES as i64);
    assert_eq!(scene.looks(|scene| publish(&scene.stream, 1..=900)), 0);
    // Each of those that are removed now had a message behind it that was published after the start.
    assert_eq!(scene.looks(|scene| publish(&scene.stream, 1..=1500)), 0);
    scene.holds(MESSAGES);

    let scene = Scene::new(|_| {});
    assert_eq!(scene.looks(|scene| scene.update(|config| config.max_msgs = 77)), 0);
    scene.holds(77);
}

#[test]
fn limits_of_bytes() {
    let scene = Scene::new(|_| {});
    let state = scene.stream.call(|shard, id| shard.stream(id)?.state()).unwrap();
    let looks = scene.looks(|scene| {
        scene.update(|config| config.max_bytes = state.bytes as i64);
        publish(&scene.stream, 1..=MESSAGES / 2);
    });
    assert_eq!(looks, 0);
    // The same came again as went.
    scene.holds(MESSAGES);
}

#[test]
fn limits_of_subjects() {
    let scene = Scene::new(|_| {});
    let looks = scene.looks(|scene| {
        scene.update(|config| config.max_msgs_per_subject = 2);
        publish(&scene.stream, 1..=300);
    });
    assert_eq!(looks, 0);
    scene.holds(600);
}

#[test]
fn purges_and_deletions() {
    let scene = Scene::new(|_| {});
    let looks = scene.looks(|scene| {
        scene.purge("k.1.7");
        scene.purge("k.2.*");
        for seq in (0..200).map(|n| 3 * (n * 7919 % 600 + 1)) {
            let deleted = scene.stream.call(move |shard, id| shard.delete_message(id, seq, false));
            assert!(deleted.unwrap(), "{seq}");
        }
    });
    assert_eq!(looks, 0);
    // Of 300 subjects with 6 or 7 messages.
    let left = (1..=MESSAGES).filter(|n| n % 3 != 2 && subject(*n) != "k.1.7").count() as u64 - 200;
    scene.holds(left);
}

#[test]
fn acknowledgements() {
    for retention in [Retention::WorkQueue, Retention::Interest] {
        // What nobody wants is not kept: there is a consumer from the beginning.
        let mut scene = Scene::new(|config| config.retention = Retention::Limits);
        let config = ConsumerConfig {
            name: "c".into(),
            durable_name: "c".into(),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: 10_000,
            ..ConsumerConfig::default()
        };
        let made = scene.stream.call(move |shard, id| shard.create_consumer(id, config));
        made.unwrap();
        scene.config.retention = retention;
        let input = Input::Pull {
            stream: scene.stream.id,
            consumer: Bytes::from_static(b"c"),
            request: PullRequest {
                batch: MESSAGES,
                ..PullRequest::default()
            },
            reply: Bytes::from_static(b"inbox"),
        };
        assert!(scene.stream.shard.submit(vec![input]).is_ok());
        scene.stream.settle(20);
        let looks = scene.looks(|scene| {
            let settings = scene.bench.settings(&scene.config);
            let config = scene.config.clone();
            let updated = scene
                .stream
                .call(move |shard, id| shard.update_stream(id, config, settings));
            updated.unwrap();
            // Some later ones first.
            let acks = (1..=MESSAGES).filter(|seq| seq % 5 != 0).map(|seq| Input::Ack {
                stream: scene.stream.id,
                consumer: Bytes::from_static(b"c"),
                ack: Ack {
                    stream_seq: seq ^ 1,
                    consumer_seq: 0,
                    deliveries: 1,
                    kind: AckKind::Ack,
                    reply: Bytes::new(),
                },
            });
            assert!(scene.stream.shard.submit(acks.collect()).is_ok());
        });
        assert_eq!(looks, 0, "{retention:?}");
        let acked = (1..=MESSAGES).filter(|seq| seq % 5 != 0).map(|seq| seq ^ 1);
        scene.holds(MESSAGES - acked.filter(|seq| (1..=MESSAGES).contains(seq)).count() as u64);
    }
}

#[test]
fn ends_of_lives() {
    let scene = Scene::new(|_| {});
    let looks = scene.looks(|scene| {
        scene.bench.advance(13 * SECOND);
        // A message with a life of its own that goes before its end leaves nothing behind.
        scene.purge("k.0.*");
        scene.bench.advance(13 * SECOND);
    });
    assert_eq!(looks, 0);
    let left = (1..=MESSAGES).filter(|n| n % 10 != 0 && n % 3 != 0).count() as u64;
    scene.holds(left);
}

#[test]
fn a_message_is_found_by_its_time_with_few_looks() {
    let mut scene = Scene::new(|_| {});
    // Chunks of 16, of which the first and the last time are known.
    scene.bench.close();
    scene.bench.chunk_size = ChunkSize::small(4);
    scene.bench.open();
    scene.stream = scene.bench.find("S").unwrap();
    let begin = scene.bench.now();
    for _ in 1..=200 {
        scene.bench.skip(SECOND);
        publish(&scene.stream, (0..20).map(|n| 10 * n + 1));
    }
    let seq_at = |scene: &Scene, time| {
        scene
            .stream
            .call(move |shard, id| shard.stream(id)?.seq_at(time))
            .unwrap()
    };
    for round in [1, 2, 77, 100, 199, 200] {
        let looks = scene.looks(|scene| {
            let first = MESSAGES + 20 * (round - 1) + 1;
            assert_eq!(seq_at(scene, begin + round as i64 * SECOND), first);
            assert_eq!(seq_at(scene, begin + round as i64 * SECOND - 1), first);
            let next = (round < 200).then_some(first + 20);
            assert_eq!(
                seq_at(scene, begin + round as i64 * SECOND + 1),
                next.unwrap_or(MESSAGES + 4001)
            );
        });
        assert!(looks <= 3 * 4, "{looks} looks");
    }
    // What is gone is passed over.
    scene.purge("k.2.*");
    let found = seq_at(&scene, begin + 77 * SECOND);
    assert!(scene.stream.message(found).is_some(), "{found}");
}
