//! Messages that lie on a disk and not in memory: nobody else waits for them, and whoever does gets them in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;
use parking_lot::Mutex;
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::consumer::{AckPolicy, ConsumerConfig, PullRequest, ReplayPolicy};
use weir_engine::shard::emit::{Emit, Outlet};
use weir_engine::shard::{InTurn, Input};
use weir_engine::stepped::SteppedStore;
use weir_engine::store::{OpenBackend, StoreOptions};
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{Found, Search, StreamConfig, Unread};
use weir_engine::{Backend, Result, Seq, ShardId, StreamId};

const MESSAGES: Seq = 600;
const START: i64 = 1_700_000_000_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

/// Keeps the sequences that are delivered.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Seq>>>);

impl Outlet for Inbox {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        if let Emit::Deliver(delivery) = emit {
            self.0.lock().push(delivery.message.seq);
        }
    }

    fn flush(&mut self) {}
}

/// A stream of [`MESSAGES`] messages in several files, just opened, of which nothing is in memory.
struct Scene {
    disk: Arc<SimulatedDisk>,
    clock: Arc<AtomicI64>,
    store: SteppedStore,
    inbox: Inbox,
    id: StreamId,
}

impl Scene {
    fn new() -> Self {
        Self::of_age(0)
    }

    /// With a limit of age, in nanoseconds.
    fn of_age(max_age: i64) -> Self {
        let disk = Arc::new(SimulatedDisk::new(7));
        let mut scene = Self::open(disk.clone(), StreamId(0));
        let config = StreamConfig {
            name: "S".into(),
            subjects: vec!["s.>".into()],
            max_age,
            ..StreamConfig::default()
        };
        let settings = Settings::of(&config, &Defaults::default()).unwrap();
        let id = scene.store.store().allocate_id();
        scene
            .call(move |shard| shard.create_stream(id, &"A".into(), config, settings))
            .unwrap();
        scene.id = id;
        for n in 1..=MESSAGES {
            scene.clock.fetch_add(1, Ordering::Relaxed);
            scene.publish(n);
        }
        scene.store.close();
        let scene = Self::open(disk, id);
        scene.disk.chill();
        scene
    }

    fn open(disk: Arc<SimulatedDisk>, id: StreamId) -> Self {
        disk.boot();
        let own = disk.clone();
        let open: OpenBackend = Box::new(move |kind| {
            Ok(match kind {
                BackendKind::Segment => {
                    Arc::new(SegmentBackend::open_on(&own, Path::new("/store"))?) as Arc<dyn Backend>
                }
                BackendKind::RocksDb | BackendKind::Memory => Arc::new(MemoryBackend::new()),
            })
        });
        let clock = Arc::new(AtomicI64::new(START));
        let time = clock.clone();
        let options = StoreOptions {
            shards: 1,
            segment_bytes: 20_000,
            ..StoreOptions::new(Arc::new(move || time.load(Ordering::Relaxed)))
        };
        let inbox = Inbox::default();
        let outlet = inbox.clone();
        let store = SteppedStore::open(open, options, move |_| Box::new(outlet.clone())).unwrap();
        Self {
            disk,
            clock,
            store,
            inbox,
            id,
        }
    }

    fn call<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = channel();
        let input = Input::Call(Box::new(move |shard| {
            let result = shard.map_err(Clone::clone).and_then(work);
            Box::new(move |durable| {
                let _ = sender.send(durable.map_err(Clone::clone).and(result));
            })
        }));
        assert!(self.store.store().shard(ShardId(0)).submit(vec![input]).is_ok());
        // The first turn answers: nothing here waits for a disk.
        self.store.turn(ShardId(0));
        receiver.try_recv().unwrap()
    }

    fn publish(&mut self, n: Seq) {
        let id = self.id;
        let body = Bytes::from(format!("message {n} {}", "x".repeat(300)));
        let subject = format!("s.{}", n % 7);
        self.call(move |shard| shard.publish(id, subject.into(), 0, body))
            .unwrap();
    }

    fn delete(&mut self, seq: Seq) {
        let id = self.id;
        assert!(self.call(move |shard| shard.delete_message(id, seq, false)).unwrap());
    }

    fn make_consumer(&mut self, name: &'static str) {
        self.make_consumer_that_replays(name, ReplayPolicy::Instant);
    }

    fn make_consumer_that_replays(&mut self, name: &'static str, replay_policy: ReplayPolicy) {
        let id = self.id;
        let config = ConsumerConfig {
            name: name.into(),
            durable_name: name.into(),
            ack_policy: AckPolicy::None,
            replay_policy,
            ..ConsumerConfig::default()
        };
        self.call(move |shard| shard.create_consumer(id, config)).unwrap();
    }

    fn pull(&mut self, name: &'static str, batch: u64) {
        let input = Input::Pull {
            stream: self.id,
            consumer: Bytes::from_static(name.as_bytes()),
            request: PullRequest {
                batch,
                no_wait: true,
                ..PullRequest::default()
            },
            reply: Bytes::from_static(b"inbox"),
        };
        assert!(self.store.store().shard(ShardId(0)).submit(vec![input]).is_ok());
        self.store.turn(ShardId(0));
    }

    /// Lets all be read that waits for the disk.
    fn read(&mut self) {
        while self.store.errands() > 0 {
            self.store.step_errand(0);
            self.store.turn(ShardId(0));
        }
    }

    fn delivered(&self) -> Vec<Seq> {
        std::mem::take(&mut *self.inbox.0.lock())
    }

    /// What a search finds next.
    fn search(&mut self, mut search: Search) -> (Search, Found) {
        let id = self.id;
        self.call(move |shard| {
            let found = shard.stream(id)?.search(&mut search)?;
            Ok((search, found))
        })
        .unwrap()
    }
}

fn unread(found: Found) -> Unread {
    match found {
        Found::Unread(unread) => unread,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_consumer_that_needs_a_disk_keeps_nobody_waiting_and_gets_everything_in_order() {
    let mut scene = Scene::new();
    scene.make_consumer("c");
    scene.pull("c", MESSAGES);
    assert!(
        scene.delivered().is_empty(),
        "the disk was waited for on the shard's thread"
    );
    // Meanwhile others publish, and what is on its way is removed.
    scene.publish(MESSAGES + 1);
    scene.delete(3);
    scene.pull("c", 1);
    assert!(scene.delivered().is_empty());
    assert_eq!(scene.store.errands(), 1, "it waits for one thing at a time");
    scene.read();
    let all: Vec<Seq> = (1..=MESSAGES + 1).filter(|seq| *seq != 3).collect();
    assert_eq!(scene.delivered(), all);
    // And once more, when nothing is in memory again.
    scene.disk.chill();
    scene.make_consumer("d");
    scene.pull("d", MESSAGES);
    scene.read();
    assert_eq!(scene.delivered(), all[..MESSAGES as usize]);
}

#[test]
fn consumers_at_different_places_of_a_cold_stream_all_get_on() {
    let mut scene = Scene::new();
    scene.make_consumer("a");
    scene.pull("a", 10);
    scene.read();
    let first: Vec<Seq> = (1..=10).collect();
    assert_eq!(scene.delivered(), first);
    scene.make_consumer("b");
    scene.disk.chill();
    scene.pull("a", MESSAGES);
    scene.pull("b", MESSAGES);
    assert_eq!(scene.store.errands(), 2);
    scene.read();
    let mut delivered = scene.delivered();
    assert_eq!(delivered.len() as Seq, 2 * MESSAGES - 10);
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered, (1..=MESSAGES).collect::<Vec<Seq>>());
}

#[test]
fn a_search_tells_what_a_disk_has_to_be_waited_for_and_goes_on_where_it_was() {
    let mut scene = Scene::new();
    let (search, found) = scene.search(Search::of_seq(5));
    let message = unread(found).read().unwrap();
    assert_eq!((message.seq, &message.subject[..]), (5, &b"s.5"[..]));
    // Asked once more, it reads it on the shard's thread.
    let (_, found) = scene.search(search);
    assert!(matches!(found, Found::Message(message) if message.seq == 5));

    scene.disk.chill();
    let (search, found) = scene.search(Search::newest(b"s.*"));
    assert_eq!(unread(found).first(), MESSAGES);
    let (_, found) = scene.search(search);
    assert!(matches!(found, Found::Message(message) if message.seq == MESSAGES));

    scene.disk.chill();
    let (search, found) = scene.search(Search::from(b"s.1", 2));
    let eight = unread(found);
    assert_eq!(eight.first(), 8);
    // It goes before it was read: there is nothing to read, and the search finds the next one.
    scene.delete(8);
    assert!(eight.read().is_none());
    let (search, found) = scene.search(search);
    assert_eq!(unread(found).first(), 15);
    let (_, found) = scene.search(search);
    assert!(matches!(found, Found::Message(message) if message.seq == 15));
}

#[test]
fn what_a_backup_reads_next_is_told_before_it_is_read() {
    let mut scene = Scene::new();
    let id = scene.id;
    let ask = move |shard: &mut InTurn<'_, '_>| Ok(shard.stream(id)?.unread_from(1, 100));
    let unread = scene.call(ask).unwrap().unwrap();
    unread.fetch();
    assert!(scene.call(ask).unwrap().is_none());
    assert!(
        scene
            .call(move |shard| Ok(shard.stream(id)?.unread_from(1, 300)))
            .unwrap()
            .is_some()
    );
}

#[test]
fn messages_grow_too_old_though_their_times_lie_on_a_disk_and_nobody_waits_for_these() {
    let mut scene = Scene::of_age(HOUR);
    scene.clock.fetch_add(2 * HOUR, Ordering::Relaxed);
    // The call is answered in its turn; the first message's time was seen when the stream was opened, and is all that was.
    scene.publish(MESSAGES + 1);
    let id = scene.id;
    let held = |scene: &mut Scene| scene.call(move |shard| shard.stream(id)?.state()).unwrap();
    let first = held(&mut scene).first_seq;
    assert!(
        first < 10,
        "times were waited for on the shard's thread: the first is {first}"
    );
    assert_eq!(scene.store.errands(), 1, "one thing is read at a time");
    while scene.store.errands() > 0 {
        scene.read();
        // What was read is found to be due, and that goes on in the next turn.
        scene.store.turn(ShardId(0));
        scene.store.turn(ShardId(0));
    }
    let state = held(&mut scene);
    assert_eq!((state.messages, state.first_seq), (1, MESSAGES + 1));
}

#[test]
fn a_time_is_looked_for_in_the_log_only_where_the_index_does_not_tell() {
    let mut scene = Scene::new();
    let id = scene.id;
    for seq in [2, 300, MESSAGES - 1] {
        let time = START + seq as i64;
        let moment = scene.call(move |shard| Ok(shard.stream(id)?.moment(time))).unwrap();
        moment.expect("it has to be looked for").fetch();
        let found = scene.call(move |shard| shard.stream(id)?.seq_at(time)).unwrap();
        assert_eq!(found, seq);
    }
    for (time, seq) in [(START, 1), (START + HOUR, MESSAGES + 1)] {
        let nothing = scene.call(move |shard| Ok(shard.stream(id)?.moment(time))).unwrap();
        assert!(nothing.is_none());
        let found = scene.call(move |shard| shard.stream(id)?.seq_at(time)).unwrap();
        assert_eq!(found, seq);
    }
}

#[test]
fn when_the_first_message_was_stored_is_asked_of_the_disk_once() {
    let mut scene = Scene::new();
    let id = scene.id;
    scene.delete(1);
    let ask = move |shard: &mut InTurn<'_, '_>| Ok(shard.stream(id)?.unread_first());
    let first = scene.call(ask).unwrap().expect("the second message is on the disk");
    assert_eq!(first.first(), 2);
    first.fetch();
    assert!(scene.call(ask).unwrap().is_none(), "it is in memory now");
    scene.disk.chill();
    assert!(scene.call(ask).unwrap().is_some(), "and now it is not");
    scene.call(move |shard| shard.stream(id)?.state()).unwrap();
    assert!(scene.call(ask).unwrap().is_none(), "the stream knows it");
}

#[test]
fn a_replay_at_the_original_pace_waits_for_no_disk_on_the_shards_thread() {
    let mut scene = Scene::new();
    scene.make_consumer_that_replays("c", ReplayPolicy::Original);
    scene.pull("c", 3);
    scene.read();
    // The first is sent at once, and the time of the second is in memory with it.
    let mut delivered = scene.delivered();
    scene.disk.chill();
    for _ in 0..8 {
        scene.clock.fetch_add(HOUR, Ordering::Relaxed);
        scene.pull("c", 1);
        scene.read();
        scene.store.turn(ShardId(0));
    }
    delivered.append(&mut scene.delivered());
    assert!(delivered.len() > 3 && delivered.is_sorted(), "{delivered:?}");
    scene.disk.chill();
    scene.clock.fetch_add(HOUR, Ordering::Relaxed);
    scene.pull("c", 1);
    assert!(scene.delivered().is_empty(), "the disk was waited for");
    assert_eq!(scene.store.errands(), 1);
}
