//! Shards that are added while a store runs, and ended again: what they acknowledged is there when they come back, however the process
//! ended meanwhile, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use support::{ACCOUNT, Bench, Handle, Storage};
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::conformance::model::Dice;
use weir_engine::image::Image;
use weir_engine::shard::emit::NoOutlet;
use weir_engine::shard::snapshot::STORE_KEY;
use weir_engine::shard::{InTurn, Input};
use weir_engine::stepped::SteppedStore;
use weir_engine::store::{OpenBackend, StoreOptions};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::{Backend, Error, Kind, Result, Seq, ShardId, StreamId};

/// The shard that comes and goes.
const ADDED: ShardId = ShardId(70);
/// Its stream.
const GIVEN: StreamId = StreamId(1 << 63 | 5);

const STORAGES: &[Storage] = &[
    Storage::Memory,
    Storage::Segment,
    Storage::Persistent,
    #[cfg(feature = "rocksdb")]
    Storage::Rocks,
];

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

fn bench(storage: Storage) -> Bench {
    let mut bench = Bench::new(storage);
    bench.shards = 2;
    bench.checkpoint_bytes = 32 << 10;
    bench.open();
    bench
}

fn add(bench: &Bench) {
    bench.store().add_shard(ADDED, Box::new(NoOutlet)).unwrap();
}

/// Makes a stream in a shard, under that id.
fn make(bench: &Bench, shard: ShardId, id: StreamId, name: &str) -> Result<Handle> {
    let config = config(name);
    let settings = bench.settings(&config);
    let shard = bench.store().shard(shard);
    shard.call_blocking(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings))?;
    Ok(Handle { shard, id })
}

/// The stream of the shard that comes and goes; a new one, if it is not there.
fn given(bench: &Bench) -> Handle {
    let there = bench.find("GIVEN");
    there.unwrap_or_else(|| make(bench, ADDED, GIVEN, "GIVEN").unwrap())
}

/// Somebody who publishes until he is told that it is closed, or to stop.
struct Publisher {
    thread: JoinHandle<Vec<Seq>>,
    stopped: Arc<AtomicBool>,
    /// Told of each that was acknowledged.
    acked: Receiver<()>,
}

impl Publisher {
    fn start(to: &Handle) -> Self {
        let (to, stopped) = (to.clone(), Arc::new(AtomicBool::new(false)));
        let (sender, acked) = channel();
        let stop = stopped.clone();
        let thread = std::thread::spawn(move || {
            let mut seqs = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match to.publish("GIVEN.x", "", b"something") {
                    Ok((seq, _)) => seqs.push(seq),
                    Err(error) => {
                        assert_eq!(error.kind, Kind::Closed, "{error}");
                        break;
                    }
                }
                // Whoever was interested may have enough.
                let _ = sender.send(());
            }
            seqs
        });
        Self { thread, stopped, acked }
    }

    /// Waits until so many more were acknowledged.
    fn wait_for(&self, count: usize) {
        (0..count).for_each(|_| self.acked.recv().unwrap());
    }

    /// The sequences that were acknowledged.
    fn end(self) -> Vec<Seq> {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// All of these are there, and as many others at most.
fn verify(stream: &Handle, acked: &[Seq], others: u64) {
    for seq in acked {
        let message = stream.message(*seq).unwrap_or_else(|| panic!("{seq} is lost"));
        assert_eq!(&message.payload[..], b"something");
    }
    let state = stream.call(|shard, id| shard.stream(id)?.state()).unwrap();
    let acked = acked.len() as u64;
    assert!(
        (acked..=acked + others).contains(&state.messages),
        "{state:?}, acknowledged {acked}"
    );
}

fn assert_closed<R: std::fmt::Debug>(answer: Result<R>) {
    assert_eq!(answer.unwrap_err().kind, Kind::Closed);
}

/// Nothing is wrong, for all that those know who look.
fn assert_sound(bench: &Bench) {
    let catalogue = bench.store().catalogue();
    assert_eq!((catalogue.trouble(), catalogue.findings()), (None, Vec::new()));
}

#[test]
fn a_shard_comes_and_goes_while_all_publish() {
    for &storage in STORAGES {
        let bench = bench(storage);
        let local: Vec<Handle> = ["A", "B", "C"].map(|name| bench.create(&config(name))).to_vec();
        let publishers: Vec<Publisher> = local.iter().map(Publisher::start).collect();
        let (mut acked, mut unsure) = (Vec::new(), 0);
        for _ in 0..3 {
            add(&bench);
            assert_eq!(bench.store().shards(), [ShardId(0), ShardId(1), ADDED]);
            let stream = given(&bench);
            if !storage.survives() {
                (acked, unsure) = (Vec::new(), 0);
            }
            verify(&stream, &acked, unsure);
            let own: Vec<Publisher> = (0..3).map(|_| Publisher::start(&stream)).collect();
            own.iter().for_each(|publisher| publisher.wait_for(20));
            bench.store().end_shard(ADDED).unwrap();
            assert_eq!(bench.store().shards(), [ShardId(0), ShardId(1)]);
            assert!(bench.find("GIVEN").is_none());
            assert!(bench.store().catalogue().by_id(GIVEN).is_none());
            assert_closed(stream.publish("GIVEN.x", "", b"something"));
            assert_closed(bench.store().shard(ADDED).call_blocking(|_| Ok(())));
            let waited_for: Vec<Vec<Seq>> = own.into_iter().map(Publisher::end).collect();
            unsure += waited_for.len() as u64;
            acked.extend(waited_for.into_iter().flatten());
            publishers.iter().for_each(|publisher| publisher.wait_for(1));
        }
        for (publisher, stream) in publishers.into_iter().zip(&local) {
            verify(stream, &publisher.end(), 0);
        }
        assert_sound(&bench);
    }
}

/// What the shard takes while the store is killed is there when it is added again, be that at once or after another life of the store.
#[test]
fn a_kill_costs_a_shard_that_was_added_nothing() {
    for &storage in STORAGES.iter().filter(|storage| storage.survives()) {
        for ends_before in [false, true] {
            let mut bench = bench(storage);
            let local = bench.create(&config("A"));
            local.publish("A.x", "", b"something").unwrap();
            add(&bench);
            let stream = given(&bench);
            let publishers: Vec<Publisher> = (0..3).map(|_| Publisher::start(&stream)).collect();
            publishers.iter().for_each(|publisher| publisher.wait_for(50));
            if ends_before {
                bench.store().end_shard(ADDED).unwrap();
            }
            bench.kill();
            let acked: Vec<Seq> = publishers.into_iter().flat_map(Publisher::end).collect();
            for round in 0..2 {
                bench.open();
                assert!(bench.find("GIVEN").is_none(), "nobody has added its shard yet");
                assert_sound(&bench);
                verify(&bench.find("A").unwrap(), &[1], 0);
                if round == 0 {
                    bench.close();
                }
            }
            add(&bench);
            verify(&bench.find("GIVEN").unwrap(), &acked, 3);
            assert_sound(&bench);
        }
    }
}

#[test]
fn ids_that_others_give_never_move_those_of_the_store() {
    for &storage in STORAGES {
        let mut bench = bench(storage);
        assert_eq!(bench.create(&config("A")).id, StreamId(256));
        add(&bench);
        let last = StreamId(u64::MAX);
        let highest = make(&bench, ADDED, last, "HIGHEST").unwrap();
        highest.publish("HIGHEST.x", "", b"something").unwrap();
        given(&bench);
        assert_eq!(bench.create(&config("B")).id, StreamId(257));
        // Of streams in memory nothing is left that had an id.
        let least = if storage.survives() { 258 } else { 256 };
        for killed in [true, false] {
            match killed {
                true => bench.kill(),
                false => bench.close(),
            }
            bench.open();
            let next = bench.store().allocate_id();
            assert!((least..300).contains(&next.0), "{next}");
            add(&bench);
            let found = bench.find("HIGHEST").map(|stream| stream.id);
            assert_eq!(found, storage.survives().then_some(last));
            let next = bench.store().allocate_id();
            assert!((least..300).contains(&next.0), "{next}");
        }
        let mixed_up = [(ShardId(0), StreamId(1 << 63 | 9)), (ADDED, StreamId(999))];
        for (shard, id) in mixed_up {
            let refused = make(&bench, shard, id, "MIXED");
            assert_eq!(refused.map(|_| ()).unwrap_err().kind, Kind::Invalid);
        }
    }
}

#[test]
fn only_what_was_added_ends_and_only_what_is_not_there_is_added() {
    let bench = bench(Storage::Segment);
    let store = bench.store();
    add(&bench);
    for id in [ShardId(0), ShardId(63), ADDED, ShardId(254)] {
        let refused = store.add_shard(id, Box::new(NoOutlet));
        assert_eq!(refused.unwrap_err().kind, Kind::Invalid, "{id}");
    }
    for id in [ShardId(0), ShardId(71)] {
        assert_eq!(store.end_shard(id).unwrap_err().kind, Kind::Invalid, "{id}");
    }
    assert_eq!(store.shards(), [ShardId(0), ShardId(1), ADDED]);
    // New streams of the store's own are in the shards that it was opened with.
    assert!((0..100).all(|n| store.shard_for(ACCOUNT, &format!("S{n}")).0 < 2));
    store.close();
    let late = store.add_shard(ShardId(71), Box::new(NoOutlet));
    assert_closed(late);
}

/// Whoever adds shards sees to it that no two streams have one name; if he does not, the one that was there first stays.
#[test]
fn a_name_that_is_taken_stays_with_the_one_that_has_it() {
    let bench = bench(Storage::Segment);
    add(&bench);
    given(&bench).publish("GIVEN.x", "", b"something").unwrap();
    bench.store().end_shard(ADDED).unwrap();
    let local = bench.create(&config("GIVEN"));
    add(&bench);
    assert_eq!(bench.find("GIVEN").unwrap().id, local.id);
    let hidden = Handle {
        shard: bench.store().shard(ADDED),
        id: GIVEN,
    };
    verify(&hidden, &[1], 0);
    bench.store().end_shard(ADDED).unwrap();
    assert_eq!(bench.find("GIVEN").unwrap().id, local.id);
    verify(&local, &[], 0);
}

/// A store is as it always was until the first shard is added, and then says so: programs that know none refuse it.
#[test]
fn a_store_says_which_shards_were_added() {
    let said = |bench: &Bench| bench.root().kv().get(STORE_KEY).unwrap().unwrap();
    let mut bench = bench(Storage::Segment);
    bench.close();
    assert_eq!(said(&bench), r#"{"version":3,"shards":2}"#);
    bench.open();
    add(&bench);
    bench.store().end_shard(ADDED).unwrap();
    add(&bench);
    bench.close();
    let with = r#"{"version":4,"shards":2,"added":[70]}"#;
    assert_eq!(said(&bench), with);
    bench.open();
    bench.close();
    assert_eq!(said(&bench), with);
}

#[test]
fn tools_see_the_streams_of_shards_that_were_added() {
    for killed in [true, false] {
        let mut bench = bench(Storage::Segment);
        bench.create(&config("A"));
        add(&bench);
        given(&bench).publish("GIVEN.x", "", b"something").unwrap();
        match killed {
            true => bench.kill(),
            false => bench.close(),
        }
        let folder = bench.segment_folder();
        let read: OpenBackend =
            Box::new(move |_| Ok(Arc::new(SegmentBackend::open_read_only(&folder)?) as Arc<dyn Backend>));
        let mut image = Image::open(read, &[], 0, None).unwrap();
        assert_eq!(image.shards(), [ShardId(0), ShardId(1), ADDED]);
        assert_eq!((image.problems(), image.findings()), (&[][..], Vec::new()));
        assert_eq!(image.orphans().unwrap(), []);
        let names: Vec<_> = image.entries().iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, ["A", "GIVEN"]);
        let state = image.stream(GIVEN).unwrap().stream.unwrap().state().unwrap();
        assert_eq!(state.messages, 1);
        assert!(image.journal(ADDED).is_ok() && image.journal(ShardId(69)).is_err());
    }
}

/// A store on a disk whose power may fail at each thing that is asked of it.
struct World {
    disk: Arc<SimulatedDisk>,
    store: Option<SteppedStore>,
    /// Payloads that were acknowledged, of the local stream and of the one of the added shard.
    acked: [Vec<Seq>; 2],
    is_made: bool,
}

const LOCAL: StreamId = StreamId(256);

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            disk: Arc::new(SimulatedDisk::new(seed)),
            store: None,
            acked: Default::default(),
            is_made: false,
        };
        world.open();
        world.make(ShardId(0), LOCAL, "LOCAL").unwrap();
        world
    }

    fn open(&mut self) {
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
        let options = StoreOptions {
            shards: 1,
            ..StoreOptions::new(Arc::new(|| 1_700_000_000_000_000_000))
        };
        self.store = Some(SteppedStore::open(open, options, |_| Box::new(NoOutlet)).unwrap());
    }

    fn call<R: Send + 'static>(
        &mut self,
        shard: ShardId,
        work: impl FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = channel();
        let store = self.store.as_mut().unwrap();
        let done = move |result| {
            let _ = sender.send(result);
        };
        assert!(
            store
                .store()
                .shard(shard)
                .submit(vec![Input::calling(work, done)])
                .is_ok()
        );
        store.turn(shard);
        receiver.try_recv().unwrap_or_else(|_| Err(Error::closed("no answer")))
    }

    fn make(&mut self, shard: ShardId, id: StreamId, name: &str) -> Result<()> {
        let config = config(name);
        let settings = Settings::of(&config, &Defaults::default()).unwrap();
        self.call(shard, move |shard| {
            shard.create_stream(id, &ACCOUNT.into(), config, settings)
        })?;
        Ok(())
    }

    fn publish(&mut self, shard: ShardId, id: StreamId) -> Result<()> {
        let subject = if id == LOCAL { "LOCAL.x" } else { "GIVEN.x" };
        let body = Bytes::from_static(b"something");
        let ack = self.call(shard, move |shard| shard.publish(id, subject.into(), 0, body))?;
        self.acked[usize::from(id == GIVEN)].push(ack.seq);
        Ok(())
    }

    /// The shard comes and goes, and comes.
    fn script(&mut self) -> Result<()> {
        for _ in 0..2 {
            self.store.as_mut().unwrap().add_shard(ADDED, Box::new(NoOutlet))?;
            if !self.is_made {
                self.make(ADDED, GIVEN, "GIVEN")?;
                self.is_made = true;
            }
            self.publish(ADDED, GIVEN)?;
            self.publish(ShardId(0), LOCAL)?;
            self.publish(ADDED, GIVEN)?;
            self.store.as_mut().unwrap().end_shard(ADDED)?;
            self.publish(ShardId(0), LOCAL)?;
        }
        Ok(())
    }

    fn verify(&mut self, shard: ShardId, id: StreamId, what: &str) {
        let acked = self.acked[usize::from(id == GIVEN)].clone();
        let there = self.call(shard, move |shard| {
            let stream = shard.stream(id)?;
            let there: Vec<Seq> = (1..=stream.state()?.last_seq)
                .filter(|seq| stream.message(*seq).is_ok_and(|message| message.is_some()))
                .collect();
            Ok(there)
        });
        let there = there.unwrap_or_else(|error| panic!("{what}: stream {id}: {error}"));
        assert!(
            acked.iter().all(|seq| there.contains(seq)),
            "{what}: {acked:?} of {id} are to be there, {there:?} are"
        );
    }
}

#[test]
fn a_power_cut_at_each_step_costs_nothing_that_was_acknowledged() {
    let mut whole = World::new(0);
    let before = whole.disk.all_calls();
    whole.script().unwrap();
    let calls = whole.disk.all_calls() - before;
    let mut cut_off = 0;
    for n in 1..=calls {
        let mut world = World::new(n);
        world.disk.end_at(n);
        cut_off += u64::from(world.script().is_err());
        let what = format!("power cut at {n} of {calls}");
        world.disk.lose_power(&mut Dice::new(n));
        world.store = None;
        world.open();
        let store = world.store.as_mut().unwrap().store();
        assert_eq!(
            (store.catalogue().trouble(), store.catalogue().findings()),
            (None, Vec::new()),
            "{what}"
        );
        assert!(store.catalogue().by_id(GIVEN).is_none(), "{what}");
        let next = store.allocate_id();
        assert!((257..1000).contains(&next.0), "{what}: {next}");
        world.verify(ShardId(0), LOCAL, &what);
        world
            .store
            .as_mut()
            .unwrap()
            .add_shard(ADDED, Box::new(NoOutlet))
            .unwrap();
        if world.is_made {
            world.verify(ADDED, GIVEN, &what);
        }
        let store = world.store.as_mut().unwrap().store();
        assert_eq!(
            (store.catalogue().trouble(), store.catalogue().findings()),
            (None, Vec::new()),
            "{what}"
        );
        world.store.take().unwrap().close();
    }
    assert!(cut_off > calls / 2, "{cut_off} of {calls}");
}
