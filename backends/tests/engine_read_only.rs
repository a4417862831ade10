//! A file system that becomes read-only under a store, as one does that found something wrong with itself: nothing is taken,
//! health says why, nothing is begun at zero, and all is there when the file system can be written again.
//!
//! Nothing is read meanwhile either: a shard whose journal cannot be written tries to open its storage anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::{Failure, SimulatedDisk};
use weir_engine::shard::emit::NoOutlet;
use weir_engine::shard::{InTurn, Input};
use weir_engine::stepped::SteppedStore;
use weir_engine::store::{OpenBackend, StoreOptions};
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{StreamConfig, StreamState};
use weir_engine::{Backend, LogId, Result, SECOND};

const ACCOUNT: &str = "A";

struct World {
    disk: Arc<SimulatedDisk>,
    clock: Arc<AtomicI64>,
    store: Option<SteppedStore>,
}

impl World {
    fn open(&mut self) -> Result<()> {
        self.disk.boot();
        let disk = self.disk.clone();
        let open: OpenBackend = Box::new(move |kind| {
            Ok(match kind {
                BackendKind::Segment => {
                    Arc::new(SegmentBackend::open_on(&disk, Path::new("/store"))?) as Arc<dyn Backend>
                }
                _ => Arc::new(MemoryBackend::new()),
            })
        });
        let clock = self.clock.clone();
        let options = StoreOptions {
            shards: 1,
            ..StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)))
        };
        self.store = Some(SteppedStore::open(open, options, |_| Box::new(NoOutlet))?);
        Ok(())
    }

    /// What something is answered that is done within a turn.
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
        assert!(store.store().shard(0).submit(vec![input]).is_ok());
        for _ in 0..10 {
            store.turn(0);
            if let Ok(answer) = receiver.try_recv() {
                return answer;
            }
        }
        panic!("no answer after ten turns");
    }

    fn publish(&mut self, id: LogId) -> Result<u64> {
        self.call(move |shard| {
            Ok(shard
                .publish(id, Bytes::from_static(b"s"), 0, Bytes::from_static(b"body"))?
                .seq)
        })
    }

    fn state(&mut self, id: LogId) -> Result<StreamState> {
        self.call(move |shard| shard.stream(id)?.state())
    }

    /// Lets a second pass, and what is done beside the shard be done.
    fn wait(&mut self) {
        self.clock.fetch_add(SECOND, Ordering::SeqCst);
        let store = self.store.as_mut().expect("it is open");
        for _ in 0..10 {
            store.turn(0);
            for _ in 0..100 {
                store.step_errand(0);
            }
        }
    }
}

#[test]
fn a_store_on_a_file_system_that_became_read_only_goes_on_later() {
    for killed in [false, true] {
        let mut world = World {
            disk: Arc::new(SimulatedDisk::new(1)),
            clock: Arc::new(AtomicI64::new(1_700_000_000_000_000_000)),
            store: None,
        };
        world.open().unwrap();
        let config = StreamConfig {
            name: "S".into(),
            subjects: vec!["s".into()],
            ..StreamConfig::default()
        };
        let settings = Settings::of(&config, &Defaults::default()).unwrap();
        let id = world.store.as_ref().expect("it is open").store().allocate_id();
        world
            .call(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings))
            .unwrap();
        for seq in 1..=20 {
            assert_eq!(world.publish(id).unwrap(), seq);
        }
        let before = world.state(id).unwrap();

        world.disk.fail_at(1, Failure::ReadOnly, true);
        for _ in 0..3 {
            assert!(world.publish(id).is_err(), "nothing can be stored");
        }
        let catalogue = world.store.as_ref().expect("it is open").store().catalogue().clone();
        assert!(catalogue.trouble().is_some(), "health says so");
        let entry = catalogue.get(ACCOUNT, "S").expect("the stream is known");
        assert!(entry.stats.messages() >= 20, "{:?}", entry.stats);
        if killed {
            world.store = None;
            world.disk.kill();
            world.disk.fail_at(1, Failure::ReadOnly, true);
            // It may refuse to start, or start without the stream; it begins nothing at zero.
            if world.open().is_ok()
                && let Ok(state) = world.state(id)
            {
                assert_eq!((state.messages, state.last_seq), (20, 20), "on a read-only disk");
            }
            world.store = None;
            world.disk.kill();
        }
        world.disk.fail_at(0, Failure::ReadOnly, false);
        if killed {
            world.open().unwrap();
        } else {
            for _ in 0..70 {
                world.wait();
            }
        }
        assert_eq!(world.state(id).unwrap(), before, "killed: {killed}");
        assert_eq!(world.publish(id).unwrap(), 21, "killed: {killed}");
        let store = world.store.take().expect("it is open");
        assert_eq!(store.store().catalogue().trouble(), None, "killed: {killed}");
        store.close();
    }
}
