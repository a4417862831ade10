//! What fails for one stream stays with it: the other streams of its shard go on, a start starts, and the stream comes
//! back by itself when the cause is gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use support::between::{Change, Rules, under};
use support::{ACCOUNT, Bench, Handle, Storage, Told};
use weir_engine::consumer::ConsumerConfig;
use weir_engine::stream::{Purge, StreamConfig};
#[cfg(feature = "rocksdb")]
use weir_engine::{Backend, Kv, KvWrite};
use weir_engine::{Error, Kind, Log, LogId, Result, SECOND, SEQ_LIMIT, ShardId};

/// What a log does instead of what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every write fails, and the log is poisoned.
    Write,
    /// Opening it finds that an earlier write of the whole backend failed for good.
    #[cfg(feature = "rocksdb")]
    Poison,
    /// Every write panics.
    Panic,
    /// It cannot be opened.
    Open,
    /// There is no room for records, nor for more of the journal.
    Full,
}

/// Some logs fail.
#[derive(Default)]
struct Faulty(Mutex<HashMap<LogId, Fault>>, AtomicUsize);

impl Faulty {
    /// How many writes found no room.
    fn refused(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl Rules for Faulty {
    fn open(&self, id: LogId) -> Result<()> {
        match self.0.lock().get(&id) {
            Some(Fault::Open) => Err(Error::io("opening a log", "too many open files")),
            #[cfg(feature = "rocksdb")]
            Some(Fault::Poison) => Err(Error::new(Kind::Poisoned, "an earlier write failed")),
            _ => Ok(()),
        }
    }

    fn change(&self, id: LogId, broken: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        let fault = self.0.lock().get(&id).copied();
        let full = || Err(Error::new(Kind::Full, "no space left on device"));
        match (change, fault) {
            (Change::Write(_), _) if *broken => Err(Error::new(Kind::Poisoned, "an earlier write failed")),
            (Change::Write(_), Some(Fault::Write)) => {
                *broken = true;
                Err(Error::io("writing", "a bad sector"))
            }
            (Change::Write(_), Some(Fault::Panic)) => panic!("a bug of the test's own"),
            (Change::Write(what), Some(Fault::Full)) if !what.append.is_empty() && id.0 >= 256 => {
                self.1.fetch_add(1, Ordering::Relaxed);
                full()
            }
            (Change::Reserve(_), Some(Fault::Full)) => full(),
            _ => change.on(log),
        }
    }
}

struct Scene {
    bench: Bench,
    faults: Arc<Faulty>,
    told: Receiver<String>,
}

impl Scene {
    /// One shard, with the streams S and T, a message in each.
    fn new() -> (Self, Handle, Handle) {
        let (sender, told) = channel();
        let mut bench = Bench::with_outlet(Storage::Segment, move || Box::new(Told(sender.clone())));
        let faults = Arc::<Faulty>::default();
        let shared = faults.clone();
        bench.wrap = Some(Arc::new(move |inner| under(inner, shared.clone())));
        bench.open();
        let (s, t) = (bench.create(&config("S")), bench.create(&config("T")));
        for stream in [&s, &t] {
            stream.publish("a", "", b"one").unwrap();
        }
        (Self { bench, faults, told }, s, t)
    }

    fn set(&self, id: LogId, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.faults.0.lock().insert(id, fault),
            None => self.faults.0.lock().remove(&id),
        };
    }

    /// Waits for what a shard says of a stream.
    fn wait(&self, what: &str) {
        while self.told.recv().unwrap() != what {}
    }

    fn offline(&self, name: &str) -> Option<Arc<str>> {
        self.bench.store().catalogue().get(ACCOUNT, name)?.offline.clone()
    }
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![">".into()],
        ..StreamConfig::default()
    }
}

fn last(stream: &Handle) -> u64 {
    stream
        .call(|shard, id| Ok(shard.stream(id)?.state()?.last_seq))
        .unwrap()
}

/// The code that a request was refused with.
fn code<T: std::fmt::Debug>(result: Result<T>) -> u16 {
    result.unwrap_err().rejection.unwrap().code
}

const OFFLINE: u16 = 10194;

#[test]
fn a_log_that_cannot_be_written_takes_its_stream_offline_alone_and_loses_nothing() {
    let (scene, s, t) = Scene::new();
    scene.set(s.id.log(), Some(Fault::Write));
    // The journal has it.
    assert_eq!(s.publish("a", "", b"two").unwrap().0, 2);
    scene.wait("S offline");
    assert!(scene.offline("S").unwrap().contains("bad sector"));
    assert!(scene.bench.store().catalogue().trouble().unwrap().contains("stream S"));
    assert_eq!(code(s.publish("a", "", b"refused")), OFFLINE);
    assert_eq!(last(&s), 2, "it can be read");
    assert_eq!(&s.message(2).unwrap().payload[..], b"two");
    assert_eq!(t.publish("a", "", b"two").unwrap().0, 2, "its neighbour goes on");
    scene.set(s.id.log(), None);
    scene.bench.advance(2 * SECOND);
    scene.wait("S online");
    assert_eq!(scene.offline("S"), None);
    assert_eq!(scene.bench.store().catalogue().trouble(), None);
    assert_eq!(s.publish("a", "", b"three").unwrap().0, 3);
    assert_eq!(&s.message(2).unwrap().payload[..], b"two");
}

/// What is told of the consumer C of a stream, and where it stands.
fn told_of_c(stream: &Handle) -> Result<(u64, bool)> {
    stream.call(|shard, id| {
        assert_eq!(shard.stream(id)?.consumer_names().len(), 1);
        let info = shard.consumer_info(id, "C")?;
        Ok((info.num_pending, shard.consumer_standing(id, "C").is_ok()))
    })
}

fn create_c(stream: &Handle) {
    let consumer = ConsumerConfig {
        name: "C".into(),
        durable_name: "C".into(),
        ..ConsumerConfig::default()
    };
    stream.call(|shard, id| shard.create_consumer(id, consumer)).unwrap();
}

/// Before, `CONSUMER.INFO` was refused, and `CONSUMER.LIST` left out those that `CONSUMER.NAMES` has.
#[test]
fn what_memory_has_of_the_consumers_of_an_offline_stream_is_told() {
    let (scene, s, _) = Scene::new();
    create_c(&s);
    scene.set(s.id.log(), Some(Fault::Write));
    s.publish("a", "", b"two").unwrap();
    scene.wait("S offline");
    assert_eq!(told_of_c(&s).unwrap(), (2, true));
    assert_eq!(code(s.call(|shard, id| shard.consumer_info(id, "D"))), 10014);
    assert_eq!(code(s.call(|shard, id| shard.delete_consumer(id, "C"))), OFFLINE);
    scene.set(s.id.log(), None);
    scene.bench.advance(2 * SECOND);
    scene.wait("S online");
    assert_eq!(told_of_c(&s).unwrap(), (2, true));
}

#[test]
fn a_checkpoint_keeps_the_journal_that_an_offline_stream_needs() {
    let (mut scene, s, t) = Scene::new();
    scene.set(s.id.log(), Some(Fault::Write));
    s.publish("a", "", b"two").unwrap();
    scene.wait("S offline");
    t.publish("a", "", b"two").unwrap();
    scene.bench.close();
    scene.set(s.id.log(), None);
    scene.bench.open();
    let s = scene.bench.find("S").unwrap();
    assert_eq!(&s.message(2).unwrap().payload[..], b"two");
    assert_eq!(last(&scene.bench.find("T").unwrap()), 2);
}

#[test]
fn a_start_with_a_stream_that_cannot_be_opened_starts() {
    for clean in [true, false] {
        let (mut scene, s, _) = Scene::new();
        match clean {
            true => scene.bench.close(),
            false => scene.bench.kill(),
        }
        scene.set(s.id.log(), Some(Fault::Open));
        scene.bench.open();
        assert!(scene.offline("S").unwrap().contains("too many open files"));
        let s = scene.bench.find("S").unwrap();
        assert_eq!(code(s.publish("a", "", b"refused")), OFFLINE);
        assert_eq!(code(s.call(|shard, id| shard.stream(id)?.state())), OFFLINE);
        let t = scene.bench.find("T").unwrap();
        assert_eq!(t.publish("a", "", b"two").unwrap().0, 2);
        // A second one while it is offline changes nothing.
        scene.bench.close();
        scene.bench.open();
        assert!(scene.offline("S").is_some());
        scene.set(s.id.log(), None);
        scene.bench.advance(2 * SECOND);
        scene.wait("S online");
        let s = scene.bench.find("S").unwrap();
        assert_eq!(&s.message(1).unwrap().payload[..], b"one");
        assert_eq!(s.publish("a", "", b"two").unwrap().0, 2);
    }
}

#[test]
fn an_offline_stream_can_be_deleted() {
    let (mut scene, s, _) = Scene::new();
    scene.bench.kill();
    scene.set(s.id.log(), Some(Fault::Open));
    scene.bench.open();
    let s = scene.bench.find("S").unwrap();
    s.call(|shard, id| shard.delete_stream(id)).unwrap();
    assert!(scene.bench.find("S").is_none());
    scene.set(s.id.log(), None);
    for _ in 0..2 {
        scene.bench.kill();
        scene.bench.open();
        assert!(scene.bench.find("S").is_none());
        assert!(scene.bench.find("T").is_some());
    }
}

/// Before, the journal took it, the log refused it, and neither the shard nor the server ever started again.
#[test]
fn a_command_that_cannot_be_carried_out_stops_its_stream_only() {
    let (mut scene, _, _) = Scene::new();
    // As a store has it that an earlier version wrote: now such a configuration is refused.
    scene.bench.create(&StreamConfig {
        first_seq: u64::MAX,
        ..config("U")
    });
    for round in 2..5 {
        for name in ["S", "T"] {
            let stream = scene.bench.find(name).unwrap();
            assert_eq!(stream.publish("a", "", b"x").unwrap().0, round);
        }
        match round % 2 {
            0 => scene.bench.kill(),
            _ => scene.bench.close(),
        }
        scene.bench.open();
    }
}

#[test]
fn sequences_at_the_end_of_their_type_are_refused() {
    let (_scene, s, _) = Scene::new();
    for seq in [u64::MAX, u64::MAX - 1, SEQ_LIMIT + 1] {
        let purge = Purge {
            seq,
            ..Purge::default()
        };
        assert_eq!(code(s.call(move |shard, id| shard.purge(id, &purge))), 10110);
    }
    let purge = Purge {
        seq: SEQ_LIMIT,
        ..Purge::default()
    };
    s.call(move |shard, id| shard.purge(id, &purge)).unwrap();
    assert_eq!(s.publish("a", "", b"x").unwrap().0, SEQ_LIMIT);
    assert_eq!(s.publish("a", "", b"x").unwrap().0, SEQ_LIMIT + 1);
}

#[test]
fn a_panic_is_an_error_of_its_turn() {
    let (scene, s, t) = Scene::new();
    scene.set(s.id.log(), Some(Fault::Panic));
    let error = s.publish("a", "", b"two").unwrap_err();
    assert!(error.message.contains("a bug of the test's own"), "{error}");
    scene.set(s.id.log(), None);
    // The shard opens anew; what the journal had is there.
    while t.publish("a", "", b"two").is_err() {
        std::thread::yield_now();
    }
    // The panic may have come once more while the shard was opened.
    while s.call(|shard, id| shard.stream(id).map(drop)).is_err() {
        scene.bench.advance(2 * SECOND);
    }
    assert_eq!(&s.message(2).unwrap().payload[..], b"two");
}

/// 10054, before the journal has anything of it.
#[test]
fn messages_that_no_record_can_hold_are_refused() {
    let (scene, s, t) = Scene::new();
    let long = "x".repeat(66_000);
    assert_eq!(code(s.publish(&long, "", b"")), 10054);
    let large = vec![0; 129 << 20];
    assert_eq!(code(s.publish("a", "", &large)), 10054);
    assert_eq!((last(&s), last(&t)), (1, 1));
    assert_eq!(scene.offline("S"), None);
}

/// The journal of the only shard.
const JOURNAL: LogId = LogId(1);

#[test]
fn while_the_disk_is_full_only_publishers_are_refused() {
    let (scene, s, t) = Scene::new();
    s.publish("a", "", b"two").unwrap();
    scene.set(JOURNAL, Some(Fault::Full));
    for stream in [&s, &t] {
        let error = stream.publish("a", "", b"refused").unwrap_err();
        assert!(
            error.kind == Kind::Full && error.message.contains("disk is full"),
            "{error}"
        );
    }
    assert!(
        scene
            .bench
            .store()
            .catalogue()
            .trouble()
            .unwrap()
            .contains("disk is full")
    );
    assert_eq!(&s.message(2).unwrap().payload[..], b"two");
    assert!(s.call(|shard, id| shard.delete_message(id, 1, false)).unwrap());
    s.call(|shard, id| {
        shard.create_consumer(
            id,
            ConsumerConfig {
                name: "c".into(),
                ..ConsumerConfig::default()
            },
        )
    })
    .unwrap();
    assert_eq!(
        t.call(|shard, id| shard.purge(id, &Purge::default())).unwrap().count(),
        1
    );
    scene.set(JOURNAL, None);
    scene.bench.advance(2 * SECOND);
    assert_eq!(scene.bench.store().catalogue().trouble(), None);
    assert_eq!(s.publish("a", "", b"three").unwrap().0, 3);
    assert_eq!(t.publish("a", "", b"two").unwrap().0, 2);
}

#[test]
fn what_the_journal_has_is_kept_there_until_the_log_has_room_for_it() {
    for clean in [true, false] {
        let (mut scene, s, t) = Scene::new();
        scene.bench.close();
        scene.bench.open();
        let [s, t] = [s, t].map(|stream| Handle {
            shard: scene.bench.store().shard(ShardId(0)),
            ..stream
        });
        scene.set(s.id.log(), Some(Fault::Full));
        assert_eq!(s.publish("a", "", b"two").unwrap().0, 2, "the journal has it");
        assert_eq!(&s.message(2).unwrap().payload[..], b"two");
        // Its log alone is full, perhaps on a disk of its own: others go on.
        for _ in 0..3 {
            assert_eq!(s.publish("a", "", b"refused").unwrap_err().kind, Kind::Full);
            t.publish("a", "", b"more").unwrap();
        }
        let health = scene.bench.store().catalogue().trouble().unwrap();
        assert!(health.contains("stream S: the disk is full"), "{health}");
        assert_eq!(scene.faults.refused(), 1, "it is not asked again for each publish");
        match clean {
            true => scene.bench.close(),
            false => scene.bench.kill(),
        }
        scene.set(s.id.log(), None);
        scene.bench.open();
        assert_eq!(scene.bench.store().catalogue().trouble(), None);
        let (s, t) = (scene.bench.find("S").unwrap(), scene.bench.find("T").unwrap());
        assert_eq!(&s.message(2).unwrap().payload[..], b"two");
        assert_eq!(last(&t), 4);
        assert_eq!(s.publish("a", "", b"three").unwrap().0, 3);
    }
}

/// The stream was offline until there was room, and could not be purged to make some.
#[test]
fn a_start_on_a_disk_that_is_still_full_goes_on_as_before_it() {
    for purged in [true, false] {
        let (mut scene, s, _) = Scene::new();
        scene.bench.close();
        scene.bench.open();
        let s = scene.bench.find("S").unwrap_or(s);
        scene.set(s.id.log(), Some(Fault::Full));
        assert_eq!(s.publish("a", "", b"two").unwrap().0, 2, "the journal has it");
        scene.set(JOURNAL, Some(Fault::Full));
        scene.bench.kill();
        scene.bench.open();
        assert_eq!(scene.offline("S"), None);
        let (s, t) = (scene.bench.find("S").unwrap(), scene.bench.find("T").unwrap());
        assert_eq!(&s.message(1).unwrap().payload[..], b"one");
        assert_eq!(&s.message(2).unwrap().payload[..], b"two");
        for stream in [&s, &t] {
            assert_eq!(stream.publish("a", "", b"refused").unwrap_err().kind, Kind::Full);
        }
        let trouble = scene.bench.store().catalogue().trouble().unwrap();
        assert!(trouble.contains("disk is full"), "{trouble}");
        assert!(s.call(|shard, id| shard.delete_message(id, 1, false)).unwrap());
        if purged {
            assert_eq!(
                s.call(|shard, id| shard.purge(id, &Purge::default())).unwrap().count(),
                1
            );
            // What it held and the log did not have yet needs no room any more.
            scene.set(JOURNAL, None);
            scene.bench.advance(2 * SECOND);
            assert_eq!(scene.bench.store().catalogue().trouble(), None);
        }
        scene.set(s.id.log(), None);
        scene.set(JOURNAL, None);
        scene.bench.advance(2 * SECOND);
        assert_eq!(s.publish("a", "", b"three").unwrap().0, 3);
        scene.bench.kill();
        scene.bench.open();
        let s = scene.bench.find("S").unwrap();
        assert!(s.message(1).is_none());
        assert_eq!(s.message(2).is_none(), purged);
        assert_eq!(&s.message(3).unwrap().payload[..], b"three");
    }
}

/// RocksDB takes no writes any more when it comes upon a damaged block in the background. When that was sooner than the
/// journal was replayed, the server did not start.
#[cfg(feature = "rocksdb")]
#[test]
fn a_rocksdb_that_takes_no_writes_keeps_no_store_from_starting() {
    let (sender, told) = channel();
    let mut bench = Bench::with_outlet(Storage::Rocks, move || Box::new(Told(sender.clone())));
    let faults = Arc::<Faulty>::default();
    let shared = faults.clone();
    bench.wrap = Some(Arc::new(move |inner| under(inner, shared.clone())));
    bench.open();
    let r = bench.create(&config("R"));
    create_on_segments(&bench, "S");
    for seq in 1..=2 {
        assert_eq!(r.publish("a", "", b"message").unwrap().0, seq);
    }
    bench.kill();
    faults.0.lock().insert(r.id.log(), Fault::Poison);
    bench.open();
    assert_eq!(code(bench.find("R").unwrap().publish("a", "", b"refused")), OFFLINE);
    assert_eq!(bench.find("S").unwrap().publish("a", "", b"more").unwrap().0, 2);
    faults.0.lock().clear();
    bench.advance(2 * SECOND);
    while told.recv().unwrap() != "R online" {}
    let r = bench.find("R").unwrap();
    assert_eq!(&r.message(2).unwrap().payload[..], b"message");
    assert_eq!(r.publish("a", "", b"more").unwrap().0, 3);
}

/// Makes a stream on the segment backend, with a message in it.
#[cfg(feature = "rocksdb")]
fn create_on_segments(bench: &Bench, name: &str) {
    use weir_engine::stream::settings::{BackendKind, Defaults, Settings};

    let config = config(name);
    let settings = Settings {
        backend: BackendKind::Segment,
        ..Settings::of(&config, &Defaults::default()).unwrap()
    };
    let id = bench.store().allocate_id();
    let shard = bench.store().shard(ShardId(0));
    shard
        .call_blocking(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings))
        .unwrap();
    bench.find(name).unwrap().publish("a", "", b"one").unwrap();
}

/// Notes when RocksDB is synced, and when the catalogue forgets a stream.
#[cfg(feature = "rocksdb")]
#[derive(Default)]
struct Noted(Mutex<Vec<&'static str>>);

#[cfg(feature = "rocksdb")]
impl Rules for Noted {
    fn put_all(&self, kv: &dyn Kv, writes: &[KvWrite]) -> Result<()> {
        if writes
            .iter()
            .any(|(key, value)| key.starts_with(b"stream/") && value.is_none())
        {
            self.0.lock().push("forgotten");
        }
        kv.put_all(writes)
    }

    fn sync(&self, backend: &dyn Backend) -> Result<()> {
        if backend.name() == "rocksdb" {
            self.0.lock().push("synced");
        }
        backend.sync()
    }
}

/// Before, its log was back after a kill and the stream offline, for RocksDB has no journal of its own.
#[cfg(feature = "rocksdb")]
#[test]
fn a_deleted_stream_is_forgotten_only_once_its_backend_is_synced() {
    let mut bench = Bench::new(Storage::Rocks);
    let noted = Arc::<Noted>::default();
    let between = noted.clone();
    bench.wrap = Some(Arc::new(move |inner| under(inner, between.clone())));
    bench.open();
    bench.create(&config("R")).publish("a", "", b"one").unwrap();
    bench.close();
    bench.open();
    let r = bench.find("R").unwrap();
    noted.0.lock().clear();
    r.call(|shard, id| shard.delete_stream(id)).unwrap();
    bench.close();
    assert_eq!(noted.0.lock()[..], ["synced", "forgotten"]);
}

/// Before, a flipped bit in one of RocksDB's own files kept the server from starting.
#[cfg(feature = "rocksdb")]
#[test]
fn a_rocksdb_that_cannot_be_opened_takes_its_streams_offline_and_no_others() {
    let (sender, told) = channel();
    let mut bench = Bench::with_outlet(Storage::Rocks, move || Box::new(Told(sender.clone())));
    bench.open();
    bench.create(&config("R")).publish("a", "", b"one").unwrap();
    create_on_segments(&bench, "S");
    let folder = bench.segment_folder().with_file_name("rocksdb");
    for (round, name) in (2..).zip(["MANIFEST-", "CURRENT"]) {
        bench.close();
        let mut entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let path = entries
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(name))
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut spoiled = whole.clone();
        spoiled[whole.len() / 2] ^= 0x10;
        std::fs::write(&path, &spoiled).unwrap();
        bench.open();
        let offline = |bench: &Bench| bench.store().catalogue().get(ACCOUNT, "R").unwrap().offline.clone();
        let why = offline(&bench).unwrap();
        assert!(why.contains(name) && why.contains("weir repair"), "{why}");
        assert!(bench.store().catalogue().trouble().unwrap().contains("stream R"));
        assert_eq!(code(bench.find("R").unwrap().publish("a", "", b"refused")), OFFLINE);
        let s = bench.find("S").unwrap();
        assert_eq!(s.publish("a", "", b"more").unwrap().0, round, "its neighbour goes on");
        assert_eq!(std::fs::read(&path).unwrap(), spoiled);
        // A copy comes back, and the stream with it.
        std::fs::write(&path, whole).unwrap();
        bench.advance(2 * SECOND);
        while told.recv().unwrap() != "R online" {}
        assert_eq!(offline(&bench), None);
        let r = bench.find("R").unwrap();
        assert_eq!(&r.message(1).unwrap().payload[..], b"one");
        assert_eq!(r.publish("a", "", b"more").unwrap().0, round);
    }
    // The journal alone has what was written last.
    bench.kill();
    bench.open();
    assert_eq!(last(&bench.find("R").unwrap()), 3);
}

/// Flips a bit in the middle of RocksDB's largest file of tables.
#[cfg(feature = "rocksdb")]
fn spoil_table(folder: &std::path::Path) {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    let path = tables.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
}

/// Before, RocksDB took no writes any more, its streams stayed offline, and each try to open one opened all of the shard anew.
#[cfg(feature = "rocksdb")]
#[test]
fn a_damaged_table_that_a_compaction_meets_costs_its_records_and_no_other_stream() {
    let (sender, told) = channel();
    let mut bench = Bench::with_outlet(Storage::Rocks, move || Box::new(Told(sender.clone())));
    bench.shards = 2;
    bench.checkpoint_bytes = 20_000;
    bench.open();
    // R and S share a shard, Q is on the other.
    let shards = ["R", "Q", "S1"].map(|name| bench.store().shard_for(ACCOUNT, name));
    assert_eq!(shards, [shards[0], ShardId(1 - shards[0].0), shards[0]]);
    let (r, q) = (bench.create(&config("R")), bench.create(&config("Q")));
    create_on_segments(&bench, "S1");
    let body = |seq: u64| [&seq.to_le_bytes()[..], &[7; 1000]].concat();
    for seq in 1..=40 {
        assert_eq!(r.publish("a", "", &body(seq)).unwrap().0, seq);
    }
    q.publish("a", "", b"one").unwrap();
    bench.close();
    let folder = bench.segment_folder().with_file_name("rocksdb");
    spoil_table(&folder);
    bench.open();
    let [r, q, s] = ["R", "Q", "S1"].map(|name| bench.find(name).unwrap());
    // It is in memory, and gone as soon as the shard is opened anew.
    let consumer = ConsumerConfig {
        name: "c".into(),
        mem_storage: true,
        ..ConsumerConfig::default()
    };
    s.call(|shard, id| shard.create_consumer(id, consumer)).unwrap();
    let (mut last, mut of_s) = (40, 1);
    let mut publish = |stop: bool| {
        // A compaction has its time: it takes only that of processors which nobody else wants.
        for _ in 0..if stop { 20_000 } else { 100 } {
            of_s += 1;
            assert_eq!(s.publish("a", "", b"more").unwrap().0, of_s);
            match r.publish("a", "", &body(last + 1)) {
                Ok((seq, _)) => {
                    last += 1;
                    assert_eq!(seq, last);
                }
                Err(error) if stop => return (last, error),
                Err(error) => panic!("{last}: {error}"),
            }
            if last % 25 == 0 {
                // Only what overlaps is compacted by reading it. In the middle lies what is damaged.
                let gone = if last / 25 <= 10 {
                    last / 25
                } else {
                    (20 + last / 25).min(40)
                };
                let _ = r.call(move |shard, id| shard.delete_message(id, gone, false));
            }
        }
        (last, Error::io("publishing", "nothing failed"))
    };
    let (before, refused) = publish(true);
    assert_eq!(
        refused.rejection.as_ref().map(|rejection| rejection.code),
        Some(OFFLINE),
        "{refused}"
    );
    assert!(refused.message.contains("mismatch"), "{refused}");
    assert_eq!(self::last(&r), before, "it can be read");
    assert_eq!(&r.message(before).unwrap().payload[..], body(before));
    while told.recv().unwrap() != "R offline" {}
    // The other shard lets go of it in a turn of its own.
    while told.recv_timeout(std::time::Duration::from_millis(100)) != Ok("R online".into()) {
        bench.advance(2 * SECOND);
    }
    let (after, _) = publish(false);
    assert_eq!(after, before + 100);
    while q.publish("a", "", b"more").is_err() {
        bench.advance(2 * SECOND);
    }
    let trouble = bench.store().catalogue().trouble().unwrap();
    assert!(
        trouble.contains("RocksDB compacts nothing") && trouble.contains("DAMAGED"),
        "{trouble}"
    );
    assert!(s.call(|shard, id| shard.consumer_info(id, "c")).is_ok());
    bench.kill();
    bench.open();
    assert!(
        bench
            .store()
            .catalogue()
            .trouble()
            .unwrap()
            .contains("compacts nothing")
    );
    let r = bench.find("R").unwrap();
    let lost = (1..=after).filter(|seq| {
        let seq = *seq;
        let found = r.call(move |shard, id| shard.stream(id)?.message(seq));
        found.is_err()
    });
    assert!((1..=10).contains(&lost.count()), "those in one block");
    assert_eq!(r.publish("a", "", b"more").unwrap().0, after + 1);
}

/// One opening of a RocksDB that fails for good at its first write, for as long as it is to.
#[cfg(feature = "rocksdb")]
struct Dying {
    fails: Arc<std::sync::atomic::AtomicBool>,
    dead: std::sync::atomic::AtomicBool,
}

#[cfg(feature = "rocksdb")]
impl Rules for Dying {
    fn open(&self, _: LogId) -> Result<()> {
        match self.dead.load(Ordering::SeqCst) {
            true => Err(Error::new(Kind::Poisoned, "an earlier write failed")),
            false => Ok(()),
        }
    }

    fn change(&self, id: LogId, _: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        self.open(id)?;
        if self.fails.load(Ordering::SeqCst) && matches!(change, Change::Write(_)) {
            self.dead.store(true, Ordering::SeqCst);
            return Err(Error::io("writing", "a bad sector"));
        }
        change.on(log)
    }
}

/// Before, each try opened the streams of all shards anew, once a second.
#[cfg(feature = "rocksdb")]
#[test]
fn a_rocksdb_that_fails_again_and_again_is_opened_anew_ever_more_rarely_and_alone() {
    let (sender, told) = channel();
    let mut bench = Bench::with_outlet(Storage::Rocks, move || Box::new(Told(sender.clone())));
    bench.shards = 2;
    let openings = Arc::new(AtomicUsize::new(0));
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (counted, failing) = (openings.clone(), fails.clone());
    bench.wrap = Some(Arc::new(move |inner| {
        if inner.name() != "rocksdb" {
            return inner;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let (fails, dead) = (failing.clone(), Default::default());
        under(inner, Arc::new(Dying { fails, dead }))
    }));
    bench.open();
    let (r, q) = (bench.create(&config("R")), bench.create(&config("Q")));
    create_on_segments(&bench, "S1");
    let s = bench.find("S1").unwrap();
    // It is in memory, and gone as soon as the shard is opened anew.
    let consumer = ConsumerConfig {
        name: "c".into(),
        mem_storage: true,
        ..ConsumerConfig::default()
    };
    s.call(|shard, id| shard.create_consumer(id, consumer)).unwrap();
    create_c(&r);
    for stream in [&r, &q] {
        stream.publish("a", "", b"one").unwrap();
    }
    let before = openings.load(Ordering::SeqCst);
    fails.store(true, Ordering::SeqCst);
    assert_eq!(r.publish("a", "", b"two").unwrap().0, 2, "the journal has it");
    while told.recv().unwrap() != "R offline" {}
    assert_eq!(&r.message(2).unwrap().payload[..], b"two", "it can be read");
    assert_eq!(told_of_c(&r).unwrap(), (2, true));
    for second in 2..102 {
        bench.advance(SECOND);
        assert_eq!(s.publish("a", "", b"more").unwrap().0, second);
    }
    // After 1, 2, 4, 8, 16 and 32 seconds, and then once in 60.
    while openings.load(Ordering::SeqCst) == before {
        // The first of these was begun: its thread comes to it.
        s.call(|_, _| Ok(())).unwrap();
    }
    let opened = openings.load(Ordering::SeqCst) - before;
    assert!((1..=8).contains(&opened), "{opened} times in 100 seconds");
    fails.store(false, Ordering::SeqCst);
    for stream in [&r, &q] {
        while stream.publish("a", "", b"more").is_err() {
            bench.advance(SECOND);
        }
    }
    assert_eq!(&r.message(2).unwrap().payload[..], b"two");
    assert_eq!(&q.message(1).unwrap().payload[..], b"one");
    assert!(s.call(|shard, id| shard.consumer_info(id, "c")).is_ok());
}
