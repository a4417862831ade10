//! The scrubber reads what nobody reads: what rots is told of, costs nothing else, and a store that is closed again and again is
//! read to the end all the same.
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
use weir_engine::scrub::{ScrubOptions, ScrubStatus};
use weir_engine::shard::emit::{Emit, Event, Outlet};
use weir_engine::shard::{InTurn, Input};
use weir_engine::stepped::SteppedStore;
use weir_engine::store::{OpenBackend, StoreOptions};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::{Backend, Result, SECOND, Seq, ShardId, StreamId};

const CYCLE: i64 = 100 * SECOND;
const ACCOUNT: &str = "A";

/// The damaged messages that were told of: the stream and the sequence.
type Told = Arc<Mutex<Vec<(String, Seq)>>>;

struct Listener(Told);

impl Outlet for Listener {
    fn emit(&mut self, emit: Emit) {
        if let Emit::Event(Event::MessageDamaged { stream, seq, .. }) = emit {
            self.0.lock().push((stream.to_string(), seq));
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
    disk: Arc<SimulatedDisk>,
    clock: Arc<AtomicI64>,
    told: Told,
    store: Option<SteppedStore>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            disk: Arc::new(SimulatedDisk::new(1)),
            clock: Arc::new(AtomicI64::new(1_700_000_000_000_000_000)),
            told: Told::default(),
            store: None,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        self.disk.boot();
        let disk = self.disk.clone();
        let open: OpenBackend = Box::new(move |kind| {
            Ok(match kind {
                BackendKind::Memory => Arc::new(MemoryBackend::new()) as Arc<dyn Backend>,
                _ => Arc::new(SegmentBackend::open_on(&disk, Path::new("/store"))?),
            })
        });
        let clock = self.clock.clone();
        let options = StoreOptions {
            shards: 1,
            segment_bytes: 20_000,
            scrub: Some(ScrubOptions {
                cycle: CYCLE,
                ..ScrubOptions::default()
            }),
            ..StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)))
        };
        let told = self.told.clone();
        let store = SteppedStore::open(open, options, |_| Box::new(Listener(told.clone())));
        self.store = Some(store.expect("it opens"));
    }

    fn close(&mut self) {
        self.store.take().expect("it is open").close();
    }

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
            if let Ok(answer) = receiver.try_recv() {
                return answer;
            }
        }
        panic!("no answer");
    }

    fn create(&mut self, name: &str, backend: &str) -> StreamId {
        let config = StreamConfig {
            name: name.into(),
            subjects: vec![name.into()],
            metadata: [("weir.backend".to_owned(), backend.to_owned())].into(),
            ..StreamConfig::default()
        };
        let settings = Settings::of(&config, &Defaults::default()).unwrap();
        let id = self.store.as_ref().expect("it is open").store().allocate_id();
        let made = self.call(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings));
        made.unwrap()
    }

    fn publish(&mut self, id: StreamId, name: &str, count: u64) {
        for _ in 0..count {
            let name = name.to_owned();
            self.call(move |shard| {
                let seq = shard.stream(id)?.state()?.last_seq + 1;
                let body = format!("message {seq} of {name} {}", "x".repeat(300));
                shard.publish(id, name.into(), 0, Bytes::from(body))
            })
            .unwrap();
        }
    }

    /// Flips a bit of a message, wherever it is stored but in the journal.
    fn flip(&self, id: StreamId, says: &str) {
        let folder = Path::new("/store/logs").join(id.to_string());
        let mut flipped = 0;
        for (path, bytes) in self.disk.contents(&folder) {
            if let Some(at) = bytes.windows(says.len()).position(|bytes| bytes == says.as_bytes()) {
                self.disk.flip(&path, at, 0).unwrap();
                flipped += 1;
            }
        }
        assert_eq!(flipped, 1, "{says}");
    }

    fn status(&self) -> ScrubStatus {
        self.store.as_ref().expect("it is open").scrubbed()
    }

    /// A step of the scrubber, and the shard's answer.
    fn step(&mut self) {
        let store = self.store.as_mut().expect("it is open");
        store.scrub();
        store.turn(ShardId(0));
    }

    /// Steps to the end of the pass that is under way or due.
    fn pass(&mut self) -> ScrubStatus {
        let before = self.status().last_full;
        for _ in 0..10_000 {
            self.clock.fetch_add(1000, Ordering::SeqCst);
            self.step();
            let status = self.status();
            if status.last_full != before {
                return status;
            }
        }
        panic!("no end of the pass: {:?}", self.status());
    }

    fn lost(&mut self, id: StreamId) -> Vec<Seq> {
        self.call(move |shard| Ok(shard.stream(id)?.ledger().sequences(100)))
            .unwrap()
    }
}

#[test]
fn what_rots_is_found_and_told_once() {
    let mut world = World::new();
    let (a, b) = (world.create("a", "segment"), world.create("b", "segment"));
    world.publish(a, "a", 300);
    world.publish(b, "b", 100);
    let whole = world.pass();
    assert_eq!(whole.findings, 0);
    assert!(whole.bytes > 400 * 300, "{whole:?}");
    // One in a file that is full, and one in that which is written.
    world.flip(a, "message 7 of a");
    world.flip(b, "message 100 of b");
    world.clock.fetch_add(CYCLE, Ordering::SeqCst);
    let found = world.pass();
    assert_eq!((found.findings, found.last_findings), (2, 2), "{found:?}");
    // The files with the damage were read twice, and are there once.
    assert!(found.bytes < whole.bytes + 100, "{found:?} after {whole:?}");
    let told = [("a".to_owned(), 7), ("b".to_owned(), 100)];
    assert_eq!(*world.told.lock(), told);
    assert_eq!((world.lost(a), world.lost(b)), (vec![7], vec![100]));
    let state = world.call(move |shard| shard.stream(a)?.state()).unwrap();
    assert_eq!((state.messages, state.last_seq), (300, 300));
    // And not once more, nor after a start.
    world.clock.fetch_add(CYCLE, Ordering::SeqCst);
    world.step();
    let under_way = world.status();
    assert!(under_way.began.is_some());
    assert_eq!((under_way.findings, under_way.last_findings), (0, 2));
    world.pass();
    world.close();
    world.open();
    world.clock.fetch_add(CYCLE, Ordering::SeqCst);
    world.pass();
    assert_eq!(*world.told.lock(), told);
    assert_eq!((world.lost(a), world.lost(b)), (vec![7], vec![100]));
}

#[test]
fn a_store_that_is_closed_again_and_again_is_read_to_the_end() {
    let mut world = World::new();
    let ids: Vec<StreamId> = ["a", "b", "c"].map(|name| world.create(name, "segment")).to_vec();
    for (id, name) in ids.iter().zip(["a", "b", "c"]) {
        world.publish(*id, name, 300);
    }
    let before = world.status().last_full;
    let mut read = 0;
    for starts in 1.. {
        for _ in 0..4 {
            world.step();
        }
        world.close();
        world.open();
        let status = world.status();
        if status.last_full != before {
            assert!(starts > 3, "{starts}");
            break;
        }
        assert!(status.bytes >= read && starts < 100, "{status:?}");
        read = status.bytes;
    }
    assert!(read > 900 * 300 / 2, "{read}");
}

#[test]
fn a_pass_waits_for_its_cycle_and_leaves_streams_in_memory_alone() {
    let mut world = World::new();
    let id = world.create("m", "memory");
    world.publish(id, "m", 50);
    let first = world.pass();
    assert_eq!(first.bytes, 0);
    for _ in 0..10 {
        world.step();
    }
    assert_eq!(world.status(), first, "it is not due");
    world.clock.fetch_add(CYCLE, Ordering::SeqCst);
    assert_ne!(world.pass().last_full, first.last_full);
}

#[test]
fn what_goes_while_it_is_read_is_no_damage() {
    let mut world = World::new();
    let (a, b) = (world.create("a", "segment"), world.create("b", "segment"));
    world.publish(a, "a", 300);
    world.publish(b, "b", 300);
    for round in 0..20 {
        world.clock.fetch_add(CYCLE / 10, Ordering::SeqCst);
        for _ in 0..3 {
            world.step();
        }
        let seq = 1 + round * 10;
        // Overwritten, removed and written anew, and trimmed.
        world.call(move |shard| shard.delete_message(a, seq, true)).unwrap();
        world
            .call(move |shard| shard.delete_message(a, seq + 1, false))
            .unwrap();
        world.publish(a, "a", 5);
    }
    world.call(move |shard| shard.delete_stream(b)).unwrap();
    world.clock.fetch_add(CYCLE, Ordering::SeqCst);
    world.pass();
    world.clock.fetch_add(CYCLE, Ordering::SeqCst);
    assert_eq!(world.pass().findings, 0);
    assert!(world.told.lock().is_empty());
}
