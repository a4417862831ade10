//! A stream's messages go over to another backend while it goes on: all that was acknowledged is there at each moment, whatever
//! ends the process, and in the end there is one log of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::conformance::model::Dice;
use weir_engine::consumer::ConsumerConfig;
use weir_engine::shard::emit::NoOutlet;
use weir_engine::shard::{InTurn, Input};
use weir_engine::stepped::SteppedStore;
use weir_engine::store::{OpenBackend, StoreOptions};
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{Purge, StreamConfig};
use weir_engine::{Backend, Result, SECOND, ShardId, StreamId};

const ACCOUNT: &str = "A";

/// What stands for RocksDB.
#[derive(Clone)]
enum Other {
    /// Segment files in another folder of the same disk: a power cut meets both.
    Files,
    /// A backend that keeps a paged index beside the messages, and outlives the store.
    Paged(Arc<MemoryBackend>),
    #[cfg(feature = "rocksdb")]
    Rocks(Arc<tempfile::TempDir>),
}

struct World {
    disk: Arc<SimulatedDisk>,
    other: Other,
    clock: Arc<AtomicI64>,
    store: Option<SteppedStore>,
    id: StreamId,
    /// What was acknowledged and not deleted since.
    model: BTreeMap<u64, Bytes>,
    /// What a call was not answered about: it may be there or not.
    unsure: Vec<u64>,
    published: u64,
}

impl World {
    fn new(seed: u64, other: Other) -> Self {
        let mut world = Self {
            disk: Arc::new(SimulatedDisk::new(seed)),
            other,
            clock: Arc::new(AtomicI64::new(1_700_000_000_000_000_000)),
            store: None,
            id: StreamId(0),
            model: BTreeMap::new(),
            unsure: Vec::new(),
            published: 0,
        };
        world.open();
        let config = world.config("segment");
        let settings = Settings::of(&config, &Defaults::default()).unwrap();
        let id = world.store().store().allocate_id();
        world
            .call(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings))
            .unwrap();
        world.id = id;
        let consumer = ConsumerConfig {
            name: "c".into(),
            durable_name: "c".into(),
            ..ConsumerConfig::default()
        };
        world.call(move |shard| shard.create_consumer(id, consumer)).unwrap();
        world
    }

    fn config(&self, backend: &str) -> StreamConfig {
        let index = match (&self.other, backend) {
            (Other::Files, _) | (_, "segment") => "resident",
            _ => "paged",
        };
        let metadata = [("weir.backend", backend), ("weir.index", index)];
        StreamConfig {
            name: "S".into(),
            subjects: vec!["s.>".into()],
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..StreamConfig::default()
        }
    }

    fn open(&mut self) {
        self.disk.boot();
        let (disk, other) = (self.disk.clone(), self.other.clone());
        let open: OpenBackend = Box::new(move |kind| {
            Ok(match (kind, &other) {
                (BackendKind::Segment, _) => {
                    Arc::new(SegmentBackend::open_on(&disk, Path::new("/store"))?) as Arc<dyn Backend>
                }
                (BackendKind::RocksDb, Other::Files) => Arc::new(SegmentBackend::open_on(&disk, Path::new("/other"))?),
                (BackendKind::RocksDb, Other::Paged(backend)) => backend.clone(),
                #[cfg(feature = "rocksdb")]
                (BackendKind::RocksDb, Other::Rocks(folder)) => Arc::new(weir_backends::rocks::RocksBackend::open(
                    folder.path(),
                    &weir_backends::rocks::RocksOptions::default(),
                )?),
                (BackendKind::Memory, _) => Arc::new(MemoryBackend::new()),
            })
        });
        let clock = self.clock.clone();
        let options = StoreOptions {
            shards: 1,
            checkpoint_bytes: 30_000,
            segment_bytes: 20_000,
            ..StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)))
        };
        self.store = Some(SteppedStore::open(open, options, |_| Box::new(NoOutlet)).expect("it opens"));
    }

    fn store(&self) -> &SteppedStore {
        self.store.as_ref().expect("it is open")
    }

    /// What something is answered that is done within a turn; an error if it is not, for the process has ended.
    fn call<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let store = self.store.as_mut().expect("it is open");
        let (sender, receiver) = channel();
        let input = Input::Call(Box::new(move |shard| {
            let result = shard.map_err(Clone::clone).and_then(work);
            Box::new(move |durable| {
                let _ = sender.send(durable.map_err(Clone::clone).and(result));
            })
        }));
        assert!(store.store().shard(ShardId(0)).submit(vec![input]).is_ok());
        for _ in 0..20 {
            store.turn(ShardId(0));
            // What a process does that has ended reaches nobody.
            if self.disk.is_halted() {
                break;
            }
            if let Ok(answer) = receiver.try_recv() {
                return answer;
            }
        }
        Err(weir_engine::Error::closed("no answer"))
    }

    fn publish(&mut self) {
        self.published += 1;
        let body = Bytes::from(format!("message {} {}", self.published, "x".repeat(200)));
        let (id, sent) = (self.id, body.clone());
        let subject = format!("s.{}", self.published % 7);
        let done = self.call(move |shard| Ok(shard.publish(id, subject.into(), 0, sent)?.seq));
        if let Ok(seq) = done {
            self.model.insert(seq, body);
        }
    }

    fn delete(&mut self, seq: u64) {
        let id = self.id;
        match self.call(move |shard| shard.delete_message(id, seq, seq.is_multiple_of(2))) {
            Ok(_) => _ = self.model.remove(&seq),
            Err(_) => self.unsure.push(seq),
        }
    }

    fn purge_below(&mut self, seq: u64) {
        let id = self.id;
        let purge = Purge {
            seq,
            ..Purge::default()
        };
        match self.call(move |shard| shard.purge(id, &purge)) {
            Ok(_) => self.model.retain(|at, _| *at >= seq),
            Err(_) => self.unsure.extend(self.model.range(..seq).map(|(at, _)| *at)),
        }
    }

    /// Has the stream go over.
    fn move_to(&mut self, backend: &str) -> Result<()> {
        let (id, config) = (self.id, self.config(backend));
        self.call(move |shard| {
            let current = shard.stream(id)?.settings();
            shard.update_stream(id, config, current)
        })
    }

    fn is_in(&self, backend: BackendKind) -> bool {
        let entry = self.store().store().catalogue().get(ACCOUNT, "S").expect("the stream");
        entry.settings.backend == backend
    }

    /// A step of what is done beside the shard, and a turn.
    fn step(&mut self) {
        self.clock.fetch_add(1_000_000, Ordering::SeqCst);
        let store = self.store.as_mut().expect("it is open");
        for errand in 0..store.errands() {
            store.step_errand(errand);
        }
        store.turn(ShardId(0));
    }

    /// A step of what copies, and a turn, until the messages are elsewhere.
    fn step_without_checkpoint(&mut self) {
        self.clock.fetch_add(1_000_000, Ordering::SeqCst);
        let store = self.store.as_mut().expect("it is open");
        store.step_errand(0);
        store.turn(ShardId(0));
    }

    /// Goes on until the messages are there and the log they were in is gone.
    fn settle(&mut self, backend: BackendKind) {
        for _ in 0..3000 {
            if self.is_in(backend) && self.store().errands() == 0 && self.logs() == [(backend, self.id)] {
                return;
            }
            self.clock.fetch_add(SECOND / 10, Ordering::SeqCst);
            self.step();
        }
        panic!("it is in {:?}, and has not come to {backend:?}", self.logs());
    }

    /// The stream's logs, in whatever backend.
    fn logs(&mut self) -> Vec<(BackendKind, StreamId)> {
        let mut logs = Vec::new();
        self.disk.observe(true);
        let of = |folder: &str| {
            let files = self
                .disk
                .files(&Path::new(folder).join("logs").join(self.id.to_string()));
            !files.is_empty()
        };
        if of("/store") {
            logs.push((BackendKind::Segment, self.id));
        }
        let there = match &self.other {
            Other::Files => of("/other"),
            Other::Paged(backend) => backend.list().unwrap().contains(&self.id.log()),
            // The store has it open.
            #[cfg(feature = "rocksdb")]
            Other::Rocks(_) => self.is_in(BackendKind::RocksDb),
        };
        if there {
            logs.push((BackendKind::RocksDb, self.id));
        }
        self.disk.observe(false);
        logs
    }

    /// Compares the stream with what was acknowledged.
    fn check(&mut self, what: &str) {
        let id = self.id;
        let found = self.call(move |shard| {
            let stream = shard.stream(id)?;
            let mut found = BTreeMap::new();
            let mut next = 0;
            while let Some(message) = stream.next_message(b"", next)? {
                next = message.seq + 1;
                found.insert(message.seq, message.payload);
            }
            let state = stream.state()?;
            assert_eq!(state.messages, found.len() as u64);
            let (subjects, _) = stream.subjects(b">", &Default::default(), 10_000)?;
            for (subject, count) in subjects {
                assert_eq!(stream.count_from(&[subject], 0)?, count);
            }
            assert_eq!(stream.consumer_names().len(), 1);
            Ok(found)
        });
        let mut found = found.expect(what);
        for (seq, body) in &self.model {
            match found.remove(seq) {
                Some(there) => assert!(there == *body, "{what}: message {seq} is another"),
                None => assert!(self.unsure.contains(seq), "{what}: message {seq} is missing"),
            }
        }
        // The last publish may not have been answered.
        let more: Vec<u64> = found.into_keys().collect();
        let newest = self.model.keys().next_back().copied().unwrap_or(0);
        assert!(
            more.len() <= 1 && more.iter().all(|seq| *seq > newest),
            "{what}: {more:?} are back"
        );
        self.unsure.clear();
        self.adopt();
    }

    /// What is there is what counts from here on.
    fn adopt(&mut self) {
        let id = self.id;
        let found = self.call(move |shard| {
            let stream = shard.stream(id)?;
            let mut found = BTreeMap::new();
            let mut next = 0;
            while let Some(message) = stream.next_message(b"", next)? {
                next = message.seq + 1;
                found.insert(message.seq, message.payload);
            }
            Ok(found)
        });
        self.model = found.expect("it can be read");
    }

    /// Publishes and deletes while the messages go over.
    fn work(&mut self, rounds: u64) {
        for round in 0..rounds {
            for _ in 0..3 {
                self.publish();
            }
            let some = self.model.keys().nth((round % 50) as usize).copied();
            some.into_iter().for_each(|seq| self.delete(seq));
            if round == rounds / 2 {
                let first = self.model.keys().nth(40).copied();
                first.into_iter().for_each(|seq| self.purge_below(seq));
            }
            self.step();
            if self.disk.is_halted() {
                return;
            }
        }
    }
}

/// A world with a stream that has much to copy.
fn filled(seed: u64, other: Other) -> World {
    let mut world = World::new(seed, other);
    // More than one slice of records.
    let id = world.id;
    let bodies: Vec<Bytes> = (0..1300).map(|n| Bytes::from(format!("early message {n}"))).collect();
    let sent = bodies.clone();
    let seqs = world.call(move |shard| {
        let publish = |(n, body)| Ok(shard.publish(id, format!("s.early.{}", n % 100).into(), 0, body)?.seq);
        sent.into_iter().enumerate().map(publish).collect::<Result<Vec<u64>>>()
    });
    world.model.extend(seqs.unwrap().into_iter().zip(bodies));
    world.delete(5);
    world.delete(1200);
    world
}

fn there_and_back(other: Other) {
    let mut world = filled(1, other);
    for backend in [BackendKind::RocksDb, BackendKind::Segment, BackendKind::RocksDb] {
        world.move_to(&backend.to_string()).unwrap();
        world.work(30);
        world.settle(backend);
        world.check("it went over");
        world.store.take().unwrap().close();
        world.open();
        assert!(world.is_in(backend));
        world.check("it was opened anew");
        world.work(5);
        world.store = None;
        world.open();
        assert!(world.is_in(backend));
        world.check("it was killed");
        assert_eq!(world.logs(), [(backend, world.id)]);
    }
}

#[test]
fn a_stream_goes_over_and_back() {
    there_and_back(Other::Files);
    there_and_back(Other::Paged(Arc::new(MemoryBackend::new())));
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_stream_goes_over_to_rocksdb_and_back() {
    there_and_back(Other::Rocks(Arc::new(tempfile::tempdir().unwrap())));
}

/// The process ends, or the power goes, at calls of the disk all over a move.
#[test]
fn whatever_ends_the_process_leaves_one_log_whole() {
    let calls = {
        let mut world = filled(7, Other::Files);
        let before = world.disk.all_calls();
        world.move_to("rocksdb").unwrap();
        world.work(40);
        world.settle(BackendKind::RocksDb);
        world.disk.all_calls() - before
    };
    assert!(calls > 200, "{calls}");
    let mut ended = 0;
    for (case, at) in (1..calls).step_by((calls / 14) as usize).enumerate() {
        let mut world = filled(7, Other::Files);
        world.disk.end_at(at);
        let asked = world.move_to("rocksdb").is_ok();
        world.work(40);
        for _ in 0..300 {
            world.step();
        }
        let cut = !case.is_multiple_of(2);
        let what = format!(
            "the {} at call {at} of {calls}",
            if cut { "power went" } else { "process ended" }
        );
        ended += u64::from(world.disk.is_halted());
        world.disk.kill();
        world.store = None;
        if cut {
            world.disk.lose_power(&mut Dice::new(at));
        }
        world.open();
        world.check(&what);
        if !asked {
            continue;
        }
        world.work(3);
        world.settle(BackendKind::RocksDb);
        world.check(&format!("{what}, and it went on"));
        world.store.take().unwrap().close();
        world.open();
        world.check(&format!("{what}, and it was closed"));
        assert_eq!(world.logs(), [(BackendKind::RocksDb, world.id)], "{what}");
    }
    assert!(ended > 8, "{ended} ended in between");
}

/// The process ends when the catalogue names the copy and that is not on disk: the next one, which goes by it and removes the other log, is
/// ended by the power.
#[test]
fn what_names_the_copy_is_on_disk_before_a_start_removes_the_other_log() {
    let mut ended = 0;
    for at in 1..40 {
        let mut world = filled(7, Other::Files);
        world.move_to("rocksdb").unwrap();
        while !world.is_in(BackendKind::RocksDb) {
            world.step_without_checkpoint();
        }
        world.disk.end_at(at);
        for _ in 0..20 {
            world.step();
        }
        let is_whole = !world.disk.is_halted();
        world.disk.kill();
        world.store = None;
        world.open();
        world.disk.lose_power(&mut Dice::new(at));
        world.store = None;
        world.open();
        world.check(&format!("the process ends at call {at}, and the power goes later"));
        if is_whole {
            break;
        }
        ended += 1;
    }
    assert!(ended > 5, "{ended} ended in between");
}

/// A stream is deleted while it goes over: nothing is left of it.
#[test]
fn a_stream_that_is_deleted_meanwhile_leaves_nothing() {
    for steps in [0, 1, 2, 3, 8] {
        let mut world = filled(3, Other::Files);
        world.move_to("rocksdb").unwrap();
        (0..steps).for_each(|_| world.step());
        let id = world.id;
        world.call(move |shard| shard.delete_stream(id)).unwrap();
        (0..50).for_each(|_| world.step());
        assert_eq!(world.logs(), [], "after {steps} steps");
        world.store.take().unwrap().close();
        world.open();
        assert_eq!(world.logs(), [], "after {steps} steps");
        assert!(world.store().store().findings().is_empty());
    }
}

/// What cannot be read is not left behind.
#[test]
fn a_stream_with_a_damaged_message_stays_until_that_is_deleted() {
    let mut world = filled(4, Other::Files);
    world.store.take().unwrap().close();
    let says = b"early message 1111";
    for path in world.disk.files(&Path::new("/store/logs").join(world.id.to_string())) {
        let raw = world.disk.contents(path.parent().unwrap()).remove(&path).unwrap();
        if let Some(at) = raw.windows(says.len()).position(|bytes| bytes == says) {
            world.disk.flip(&path, at, 0).unwrap();
        }
    }
    world.open();
    world.move_to("rocksdb").unwrap();
    (0..100).for_each(|_| world.step());
    assert!(world.is_in(BackendKind::Segment));
    world.delete(1112);
    world.model.remove(&1112);
    world.move_to("rocksdb").unwrap();
    world.settle(BackendKind::RocksDb);
    world.check("it went over");
}

/// A stream of few and large messages was said to have some that cannot be read: only the first slice of the last ones was copied.
#[test]
fn few_large_messages_go_over() {
    let mut world = World::new(5, Other::Files);
    let id = world.id;
    for n in 0..40 {
        let body = Bytes::from(vec![n; 100_000]);
        let sent = body.clone();
        let seq = world.call(move |shard| Ok(shard.publish(id, "s.large".into(), 0, sent)?.seq));
        world.model.insert(seq.unwrap(), body);
    }
    world.move_to("rocksdb").unwrap();
    world.settle(BackendKind::RocksDb);
    world.check("it went over");
}

/// An update, or a move back, between the end of a move and the checkpoint that makes it true: a start took the log that the stream
/// has for the one that it has left, and the other way round.
#[test]
fn what_is_changed_before_the_checkpoint_of_a_move_confuses_no_start() {
    for back in [false, true] {
        let mut world = filled(6, Other::Files);
        world.move_to("rocksdb").unwrap();
        while !world.is_in(BackendKind::RocksDb) {
            world.step_without_checkpoint();
        }
        assert_eq!(world.logs().len(), 2, "no checkpoint was written");
        let to = if back { "segment" } else { "rocksdb" };
        world.move_to(to).unwrap();
        for _ in 0..5 {
            world.publish();
        }
        assert_eq!(world.logs().len(), 2);
        world.store = None;
        world.open();
        assert!(world.is_in(BackendKind::Segment), "as the catalogue says");
        world.check("it was killed");
        world.work(5);
        world.settle(if back {
            BackendKind::Segment
        } else {
            BackendKind::RocksDb
        });
        world.check("it went on");
        world.store.take().unwrap().close();
        world.open();
        world.check("it was closed");
        assert_eq!(world.logs().len(), 1);
    }
}
