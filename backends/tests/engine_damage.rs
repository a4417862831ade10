//! What one damaged record costs: itself. Limits, readers and copies go on, and it is reported once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use support::between::{Rules, under};
use support::{Bench, Handle, Storage};
use weir_engine::shard::emit::{Emit, Event, Outlet};
use weir_engine::stream::{Purge, StreamConfig};
use weir_engine::{Error, Kind, LogId, Result, SECOND, Seq};

/// The records that rot, of whatever log is not a journal.
type Rot = Arc<Mutex<BTreeSet<Seq>>>;

struct Rotting(Rot);

impl Rules for Rotting {
    fn read(&self, id: LogId, seq: Seq) -> Result<()> {
        // The first logs are the shards' journals.
        match id.0 > 1 && self.0.lock().contains(&seq) {
            true => Err(Error::damaged(format!("record {seq} is rotten"))),
            false => Ok(()),
        }
    }
}

/// Notes which damaged messages are told of.
struct Told(Arc<Mutex<Vec<Seq>>>);

impl Outlet for Told {
    fn emit(&mut self, emit: Emit) {
        if let Emit::Event(Event::MessageDamaged { seq, .. }) = emit {
            self.0.lock().push(seq);
        }
    }

    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn flush(&mut self) {}
}

struct World {
    bench: Bench,
    rot: Rot,
    told: Arc<Mutex<Vec<Seq>>>,
}

impl World {
    fn new(storage: Storage) -> Self {
        let told: Arc<Mutex<Vec<Seq>>> = Arc::default();
        let outlet = told.clone();
        let mut bench = Bench::with_outlet(storage, move || Box::new(Told(outlet.clone())));
        let rot = Rot::default();
        let rotting = Arc::new(Rotting(rot.clone()));
        bench.wrap = Some(Arc::new(move |inner| under(inner, rotting.clone())));
        bench.open();
        Self { bench, rot, told }
    }

    fn rots(&self, seqs: impl IntoIterator<Item = Seq>) {
        self.rot.lock().extend(seqs);
    }
}

fn config(change: impl FnOnce(&mut StreamConfig)) -> StreamConfig {
    let mut config = StreamConfig {
        name: "S".into(),
        subjects: vec!["a.>".into()],
        ..StreamConfig::default()
    };
    change(&mut config);
    config
}

fn publish(stream: &Handle, count: u64) {
    for at in 0..count {
        stream.publish(&format!("a.{}", at % 3), "", b"x").unwrap();
    }
}

/// First sequence, last sequence, messages.
fn state(stream: &Handle) -> (Seq, Seq, u64) {
    let state = stream.call(|shard, id| shard.stream(id).unwrap().state()).unwrap();
    (state.first_seq, state.last_seq, state.messages)
}

fn storages() -> Vec<Storage> {
    vec![
        Storage::Segment,
        Storage::Persistent,
        #[cfg(feature = "rocksdb")]
        Storage::Rocks,
    ]
}

#[test]
fn limits_hold_over_damaged_messages() {
    for storage in storages() {
        let world = World::new(storage);
        let stream = world.bench.create(&config(|config| config.max_msgs = 10));
        publish(&stream, 10);
        world.rots([1, 5, 6]);
        publish(&stream, 40);
        assert_eq!(state(&stream), (41, 50, 10), "{storage:?}");
        // Beside an index in memory nobody looked at them, and nothing is lost that was to go.
        let told: &[Seq] = match storage {
            #[cfg(feature = "rocksdb")]
            Storage::Rocks => &[1, 5, 6],
            _ => &[],
        };
        assert_eq!(*world.told.lock(), told, "{storage:?}");
        assert_eq!(stream.publish("a.0", "", b"x").unwrap(), (51, false));
    }
}

#[test]
fn every_way_of_removing_takes_damaged_messages() {
    for storage in storages() {
        removes_damaged_messages(storage);
    }
}

fn removes_damaged_messages(storage: Storage) {
    let per_subject = config(|config| config.max_msgs_per_subject = 2);
    let world = World::new(storage);
    let stream = world.bench.create(&per_subject);
    publish(&stream, 6);
    world.rots([1, 2, 4]);
    publish(&stream, 3);
    assert_eq!(state(&stream), (4, 9, 6), "{storage:?}");
    let purge = |filter: &str, seq| Purge {
        filter: filter.into(),
        seq,
        keep: 0,
    };
    let by_filter = purge("a.0", 0);
    assert_eq!(
        stream
            .call(move |shard, id| shard.purge(id, &by_filter))
            .unwrap()
            .count(),
        2
    );
    world.rots([5]);
    let front = purge("", 6);
    assert_eq!(
        stream.call(move |shard, id| shard.purge(id, &front)).unwrap().count(),
        1
    );
    world.rots([8]);
    assert!(stream.call(|shard, id| shard.delete_message(id, 8, false)).unwrap());
    assert_eq!(state(&stream), (6, 9, 2), "{storage:?}");
    let aging = config(|config| config.max_age = 10 * SECOND);
    let world = World::new(storage);
    let stream = world.bench.create(&aging);
    publish(&stream, 5);
    world.rots([1, 3, 5]);
    world.bench.skip(5 * SECOND);
    publish(&stream, 1);
    world.bench.advance(6 * SECOND);
    // Nobody can tell that the fifth is no younger than the sixth before that one is too old.
    assert_eq!(state(&stream), (5, 6, 2), "{storage:?}");
    world.bench.advance(5 * SECOND);
    assert_eq!(state(&stream).2, 0, "{storage:?}");
}

#[test]
fn readers_pass_over_damaged_messages() {
    for storage in storages() {
        let world = World::new(storage);
        let stream = world.bench.create(&config(|_| {}));
        publish(&stream, 9);
        // What nobody reads is not held in memory: every message comes from the log.
        world.rots([1, 5, 7]);
        let seqs = |filters: &'static [&'static str]| {
            let filters: Vec<_> = filters.iter().map(|filter| filter.as_bytes().into()).collect();
            stream
                .call(move |shard, id| {
                    let stream = shard.stream(id).unwrap();
                    let mut seqs = Vec::new();
                    let mut from = 1;
                    loop {
                        let portion = stream.read_on(from, &filters, 2, 1 << 20)?;
                        seqs.extend(portion.messages.iter().map(|message| message.seq));
                        from = portion.through + 1;
                        if from > 9 {
                            return Ok(seqs);
                        }
                    }
                })
                .unwrap()
        };
        assert_eq!(seqs(&[]), [2, 3, 4, 6, 8, 9], "{storage:?}");
        // A turn that does not touch the stream: the ones before are over.
        stream.call(|shard, _| Ok(shard.now())).unwrap();
        assert_eq!(
            *world.told.lock(),
            [1, 5, 7],
            "{storage:?}: none is passed over without a word"
        );
        assert_eq!(seqs(&["a.0"]), [4], "{storage:?}");
        let next = |filter: &'static str, from| {
            let found = stream.call(move |shard, id| shard.stream(id).unwrap().next_message(filter.as_bytes(), from));
            found.unwrap().map(|message| message.seq)
        };
        assert_eq!((next("", 1), next("a.0", 1), next("a.0", 5)), (Some(2), Some(4), None));
        let alone = stream.call(|shard, id| shard.stream(id).unwrap().message(5));
        assert_eq!(alone.unwrap_err().kind, Kind::Damaged, "{storage:?}");
        publish(&stream, 1);
    }
}

/// It was told of, and counted, once something else happened to the stream.
#[test]
fn what_a_reader_finds_damaged_is_told_in_its_turn() {
    for storage in storages() {
        let world = World::new(storage);
        let stream = world.bench.create(&config(|_| {}));
        publish(&stream, 9);
        world.rots([5]);
        let found = stream.call(|shard, id| shard.stream(id).unwrap().message(5));
        assert_eq!(found.unwrap_err().kind, Kind::Damaged, "{storage:?}");
        // A turn that does not touch the stream: the one before is over.
        stream.call(|shard, _| Ok(shard.now())).unwrap();
        assert_eq!(*world.told.lock(), [5], "{storage:?}");
        assert_eq!(world.bench.store().catalogue().lost(), 1, "{storage:?}");
    }
}

/// The shard went down with each attempt, and the publisher was not even told.
#[test]
fn a_counter_whose_newest_message_is_damaged_is_refused_alone() {
    for storage in storages() {
        let world = World::new(storage);
        let stream = world.bench.create(&config(|config| config.allow_msg_counter = true));
        let add = |subject: &str| stream.publish(subject, "NATS/1.0\r\nNats-Incr: 5\r\n\r\n", b"");
        add("a.x").unwrap();
        add("a.y").unwrap();
        world.rots([1]);
        for _ in 0..3 {
            let error = add("a.x").unwrap_err();
            assert!(error.kind == Kind::Damaged && error.message.contains(" 1 "), "{error}");
        }
        assert_eq!(add("a.y").unwrap().0, 3, "{storage:?}");
        assert_eq!(world.bench.store().catalogue().trouble(), None);
    }
}
