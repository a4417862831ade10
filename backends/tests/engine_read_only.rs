//! A file system that becomes read-only under a store, as one does that found something wrong with itself: nothing is taken
//! and all is read, health says why, streams in memory go on, and all can be changed when the file system can be written again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;
use weir_backends::memory::MemoryBackend;
#[cfg(feature = "rocksdb")]
use weir_backends::rocks::{RocksBackend, RocksOptions};
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::{Failure, SimulatedDisk};
use weir_engine::consumer::ConsumerConfig;
use weir_engine::shard::emit::NoOutlet;
use weir_engine::shard::{InTurn, Input};
use weir_engine::stepped::SteppedStore;
use weir_engine::store::{OpenBackend, StoreOptions};
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{Storage, StreamConfig, StreamState};
use weir_engine::{Backend, Kind, Result, SECOND, ShardId, StreamId};

const ACCOUNT: &str = "A";

struct World {
    disk: Arc<SimulatedDisk>,
    /// RocksDB has files of its own, on a disk that is as it was.
    #[cfg(feature = "rocksdb")]
    folder: tempfile::TempDir,
    /// Where its streams in files are made.
    backend: BackendKind,
    clock: Arc<AtomicI64>,
    store: Option<SteppedStore>,
}

impl World {
    fn open(&mut self) -> Result<()> {
        self.disk.boot();
        let disk = self.disk.clone();
        #[cfg(feature = "rocksdb")]
        let folder = self.folder.path().to_owned();
        let open: OpenBackend = Box::new(move |kind| {
            Ok(match kind {
                BackendKind::Segment => {
                    Arc::new(SegmentBackend::open_on(&disk, Path::new("/store"))?) as Arc<dyn Backend>
                }
                #[cfg(feature = "rocksdb")]
                BackendKind::RocksDb => Arc::new(RocksBackend::open(&folder, &RocksOptions::default())?),
                _ => Arc::new(MemoryBackend::new()),
            })
        });
        let clock = self.clock.clone();
        let disk = self.disk.clone();
        #[cfg(feature = "rocksdb")]
        let folder = self.folder.path().to_owned();
        let read: OpenBackend = Box::new(move |kind| {
            Ok(match kind {
                BackendKind::Segment => {
                    Arc::new(SegmentBackend::open_read_only_on(&disk, Path::new("/store"))?) as Arc<dyn Backend>
                }
                #[cfg(feature = "rocksdb")]
                BackendKind::RocksDb => Arc::new(RocksBackend::open_read_only(&folder, &RocksOptions::default())?),
                _ => Arc::new(MemoryBackend::new()),
            })
        });
        let options = StoreOptions {
            shards: 1,
            read: Some(read),
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
        assert!(store.store().shard(ShardId(0)).submit(vec![input]).is_ok());
        for _ in 0..10 {
            store.turn(ShardId(0));
            if let Ok(answer) = receiver.try_recv() {
                return answer;
            }
        }
        panic!("no answer after ten turns");
    }

    fn store(&self) -> &SteppedStore {
        self.store.as_ref().expect("it is open")
    }

    fn create(&mut self, name: &str, storage: Storage) -> Result<StreamId> {
        let config = config(name, storage);
        let mut settings = Settings::of(&config, &Defaults::default()).expect("they make sense");
        if storage == Storage::File {
            settings.backend = self.backend;
        }
        let id = self.store().store().allocate_id();
        self.call(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings))
    }

    fn publish(&mut self, id: StreamId) -> Result<u64> {
        self.call(move |shard| {
            Ok(shard
                .publish(id, Bytes::from_static(b"s"), 0, Bytes::from_static(b"body"))?
                .seq)
        })
    }

    /// Lets a second pass, and what is done beside the shard be done.
    fn wait(&mut self) {
        self.clock.fetch_add(SECOND, Ordering::SeqCst);
        let store = self.store.as_mut().expect("it is open");
        for _ in 0..10 {
            store.turn(ShardId(0));
            for _ in 0..100 {
                store.step_errand(0);
            }
        }
    }
}

fn config(name: &str, storage: Storage) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        storage,
        ..StreamConfig::default()
    }
}

/// A store with a stream S of 20 messages, one of which is deleted, and a consumer, and a stream M in memory.
fn world(backend: BackendKind) -> (World, StreamId, StreamId) {
    let mut world = World {
        disk: Arc::new(SimulatedDisk::new(1)),
        #[cfg(feature = "rocksdb")]
        folder: tempfile::tempdir().unwrap(),
        backend,
        clock: Arc::new(AtomicI64::new(1_700_000_000_000_000_000)),
        store: None,
    };
    world.open().unwrap();
    let [s, m] =
        [("S", Storage::File), ("M", Storage::Memory)].map(|(name, storage)| world.create(name, storage).unwrap());
    for seq in 1..=20 {
        assert_eq!(world.publish(s).unwrap(), seq);
    }
    assert!(world.call(move |shard| shard.delete_message(s, 5, false)).unwrap());
    let consumer = ConsumerConfig {
        name: "c".into(),
        ..ConsumerConfig::default()
    };
    world.call(move |shard| shard.create_consumer(s, consumer)).unwrap();
    (world, s, m)
}

/// What can be read of a stream.
fn read(world: &mut World, id: StreamId) -> Result<(StreamState, Vec<u64>, Vec<Arc<str>>)> {
    world.call(move |shard| {
        let stream = shard.stream(id)?;
        let mut seqs = Vec::new();
        while let Some(message) = stream.next_message(b">", seqs.last().map_or(0, |seq| seq + 1))? {
            seqs.push(message.seq);
        }
        Ok((stream.state()?, seqs, stream.consumer_names()))
    })
}

/// Before, nothing of the shard could be read until the file system could be written again.
#[test]
fn on_a_file_system_that_became_read_only_all_is_read_and_nothing_taken() {
    // The calls that the disk still does: a write may go well and its sync not.
    let cases = (1..8).map(|calls| (calls, BackendKind::Segment));
    #[cfg(feature = "rocksdb")]
    let cases = cases.chain([1, 2].map(|calls| (calls, BackendKind::RocksDb)));
    for (calls, backend) in cases {
        let (mut world, s, m) = world(backend);
        let before = read(&mut world, s).unwrap();
        world.disk.fail_at(calls, Failure::ReadOnly, true);
        let mut taken = 0;
        while world.publish(s).is_ok() {
            taken += 1;
        }
        let refused = world.publish(s).unwrap_err();
        assert!(refused.message.contains("Read-only file system"), "{refused}");
        // Either the journal fails, which the broker tells with 10077, or the stream's log alone.
        let code = refused.rejection.as_ref().map(|rejection| rejection.code);
        assert!(refused.kind == Kind::Io || code == Some(10194), "{refused:?}");
        let catalogue = world.store().store().catalogue().clone();
        assert!(catalogue.trouble().unwrap().contains("Read-only file system"));
        let entry = catalogue.get(ACCOUNT, "S").expect("the stream is known");
        assert!(entry.offline.as_ref().is_some_and(|why| why.contains("Read-only")));
        assert!(catalogue.get(ACCOUNT, "M").unwrap().offline.is_none());
        for _ in 0..3 {
            let (state, seqs, consumers) = read(&mut world, s).unwrap();
            // What a failed sync leaves may be there or not.
            let more = seqs.len() - before.1.len();
            assert!(
                (taken..=taken + 1).contains(&more),
                "{more} of {taken} after {calls} calls"
            );
            assert_eq!(state.last_seq, 20 + more as u64);
            assert_eq!((&seqs[..19], consumers), (&before.1[..], before.2.clone()));
            assert!(world.call(move |shard| shard.delete_message(s, 6, false)).is_err());
            assert!(world.call(move |shard| shard.delete_stream(s)).is_err());
            assert!(world.create("T", Storage::File).is_err());
            assert!(world.publish(m).is_ok(), "a stream in memory needs no disk");
            world.wait();
        }
        let (_, seqs, _) = read(&mut world, s).unwrap();
        let n = world.create("N", Storage::Memory).unwrap();
        assert!(world.publish(n).is_ok());

        world.disk.fail_at(0, Failure::ReadOnly, false);
        for _ in 0..20 {
            if catalogue.trouble().is_none() {
                break;
            }
            world.wait();
        }
        let (_, after, _) = read(&mut world, s).unwrap();
        assert!(after.len() >= seqs.len() && after[..seqs.len()] == seqs[..]);
        assert_eq!(world.publish(s).unwrap(), after.last().unwrap() + 1);
        assert!(world.create("T", Storage::File).is_ok());
        assert!(read(&mut world, n).is_ok());
        assert_eq!(catalogue.trouble(), None);
        assert_eq!(catalogue.get(ACCOUNT, "S").unwrap().offline, None);
        world.store.take().expect("it is open").close();
    }
}

#[test]
fn a_server_that_is_killed_meanwhile_begins_nothing_at_zero() {
    let (mut world, s, _) = world(BackendKind::Segment);
    let before = read(&mut world, s).unwrap();
    world.disk.fail_at(1, Failure::ReadOnly, true);
    assert!(world.publish(s).is_err());
    world.store = None;
    world.disk.kill();
    world.disk.fail_at(1, Failure::ReadOnly, true);
    assert!(world.open().is_err(), "a start needs a disk that can be written");
    world.disk.kill();
    world.disk.fail_at(0, Failure::ReadOnly, false);
    world.open().unwrap();
    assert_eq!(read(&mut world, s).unwrap(), before);
    assert_eq!(world.publish(s).unwrap(), 21);
    assert_eq!(world.store().store().catalogue().trouble(), None);
    world.store.take().expect("it is open").close();
}
