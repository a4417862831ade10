//! What is promised across crashes and failing disks: what was acknowledged is there, what is there is whole, ids are
//! never used again, and a shard whose storage failed goes on once it can.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::between::{Change, Rules, under};
use support::{ACCOUNT, Bench, Handle, Random, Storage};
use weir_engine::shard::holes::{covered_key, covered_of};
use weir_engine::stream::{Purge, StreamConfig};
use weir_engine::{Backend, Error, Kind, Kv, KvWrite, Log, LogId, LogOptions, Result, SECOND, ShardId};

/// When a write or a sync fails: the next one once the count is used up. Writes that fail may still have happened.
#[derive(Default)]
struct Faults {
    left: AtomicI64,
    armed: AtomicBool,
    /// Whether the write that fails is carried out all the same.
    carried_out: AtomicBool,
    /// Whether every sync of the backend fails, too, until it is opened anew.
    lasting: AtomicBool,
    /// So many records of a write that fails are written all the same.
    torn: AtomicI64,
    /// The longest value that the key-value space takes, in bytes; 0 for the backend's own bound.
    value_max: AtomicUsize,
}

impl Faults {
    fn arm(&self, after: i64, carried_out: bool, lasting: bool) {
        self.carried_out.store(carried_out, Ordering::SeqCst);
        self.lasting.store(lasting, Ordering::SeqCst);
        self.left.store(after, Ordering::SeqCst);
        self.armed.store(true, Ordering::SeqCst);
    }

    fn disarm(&self) -> bool {
        self.armed.swap(false, Ordering::SeqCst)
    }

    /// Whether this one is to fail.
    fn strikes(&self) -> bool {
        self.armed.load(Ordering::SeqCst) && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 && self.disarm()
    }

    fn guard(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        if !self.strikes() {
            return act();
        }
        if self.carried_out.load(Ordering::SeqCst) {
            act()?;
        }
        Err(Error::io("writing", "no space left on device (injected)"))
    }
}

/// Writes and syncs fail when told to. After a failed sync the backend refuses everything, as the trait has it, if the fault
/// is a lasting one.
struct Faulty {
    faults: Arc<Faults>,
    poison: AtomicBool,
}

impl Faulty {
    fn check(&self) -> Result<()> {
        match self.poison.load(Ordering::SeqCst) {
            true => Err(poisoned()),
            false => Ok(()),
        }
    }

    fn sync_failed(&self) {
        if self.faults.lasting.load(Ordering::SeqCst) {
            self.poison.store(true, Ordering::SeqCst);
        }
    }
}

fn poisoned() -> Error {
    Error::new(Kind::Poisoned, "an earlier sync failed (injected)")
}

impl Rules for Faulty {
    fn open(&self, _: LogId) -> Result<()> {
        self.check()
    }

    fn change(&self, _: LogId, broken: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        let torn = usize::try_from(self.faults.torn.load(Ordering::SeqCst)).unwrap_or(0);
        match change {
            Change::Reserve(_) => return change.on(log),
            Change::Write(what) if torn > 0 && self.faults.armed.load(Ordering::SeqCst) => {
                log.append(&what.append[..torn.min(what.append.len())])?;
            }
            _ => {}
        }
        if *broken {
            return Err(poisoned());
        }
        self.check()?;
        let result = self.faults.guard(|| change.on(log));
        if result.is_err() {
            *broken = true;
            if matches!(change, Change::Sync) {
                self.sync_failed();
            }
        }
        result
    }

    fn put_all(&self, kv: &dyn Kv, writes: &[KvWrite]) -> Result<()> {
        let max = self.faults.value_max.load(Ordering::SeqCst);
        let longest = writes
            .iter()
            .filter_map(|(_, value)| value.as_ref())
            .map(|value| value.len());
        if max > 0 && longest.max() > Some(max) {
            return Err(Error::invalid("a value that is too long"));
        }
        self.faults.guard(|| kv.put_all(writes))
    }

    fn sync(&self, backend: &dyn Backend) -> Result<()> {
        self.check()?;
        let result = self.faults.guard(|| backend.sync());
        if result.is_err() {
            self.sync_failed();
        }
        result
    }
}

/// A bench whose backends fail when told to.
fn faulty(storage: Storage) -> (Bench, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let mut bench = Bench::new(storage);
    let told = faults.clone();
    bench.wrap = Some(Arc::new(move |inner| {
        let rules = Faulty {
            faults: told.clone(),
            poison: AtomicBool::new(false),
        };
        under(inner, Arc::new(rules))
    }));
    (bench, faults)
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![">".into()],
        ..StreamConfig::default()
    }
}

/// How long a shard may take to open again: far longer than it does, on a machine that is at other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// All messages; asked again while the shard has no storage, which a checkpoint that failed may have told it.
fn live(stream: &Handle) -> BTreeMap<u64, Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let all = stream.call(|shard, id| {
            let stream = shard.stream(id).expect("the stream");
            let last = stream.state()?.last_seq;
            let mut all = BTreeMap::new();
            for seq in 1..=last {
                if let Some(m) = stream.message(seq)? {
                    all.insert(seq, m.payload.to_vec());
                }
            }
            Ok(all)
        });
        if let Ok(all) = all {
            return all;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the stream cannot be read");
}

/// Asks until the shard has its storage again.
fn wait_until_open(bench: &Bench, name: &str) -> Handle {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        // Answered only when the shard has come to an end with what failed before.
        let stream = bench.find(name);
        let answers = |stream: &Handle| stream.call(|shard, id| Ok(shard.stream(id).is_ok()));
        let is_there = stream.as_ref().is_some_and(|stream| answers(stream).unwrap_or(false));
        match (stream, bench.store().catalogue().get(ACCOUNT, name)) {
            // It is tried again after a while.
            (_, Some(entry)) if entry.offline.is_some() => bench.skip(8 * SECOND),
            (Some(stream), _) if is_there => return stream,
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the shard did not open again");
}

/// Publishes, deletes and purges while writes and syncs fail now and then: what was answered is there, what was
/// refused may be there whole or not at all.
fn survive_faults(storage: Storage, seed: u64) {
    let mut random = Random(seed);
    let (mut bench, faults) = faulty(storage);
    bench.checkpoint_bytes = *random.pick(&[100, 3000]);
    bench.shards = 2;
    bench.open();
    bench.create(&config("S"));
    bench.create(&config("other"));
    let mut stream = bench.find("S").expect("the stream");
    let mut sure: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    // What may have happened: a payload whose publisher got an error, a sequence whose removal did.
    let mut perhaps: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut doubtful: BTreeSet<u64> = BTreeSet::new();
    for step in 0..120_u64 {
        if random.one_in(12) {
            let (carried_out, lasting) = (random.one_in(2), random.one_in(6));
            faults.arm(random.below(8) as i64, carried_out, lasting);
        }
        let failed = match random.below(10) {
            0..7 => {
                let payload = format!("message {step} {}", random.next()).into_bytes();
                match stream.publish("a", "", &payload) {
                    Ok((seq, _)) => {
                        assert!(sure.insert(seq, payload).is_none(), "sequence {seq} again");
                        false
                    }
                    Err(_) => perhaps.insert(payload),
                }
            }
            7 if !sure.is_empty() => {
                let seqs: Vec<u64> = sure.keys().copied().collect();
                let seq = *random.pick(&seqs);
                let gone = stream.call(move |shard, id| shard.delete_message(id, seq, false));
                sure.remove(&seq);
                gone.is_err() && doubtful.insert(seq)
            }
            8 if random.one_in(4) => {
                let purge = Purge {
                    keep: 3,
                    ..Purge::default()
                };
                let gone = stream.call(move |shard, id| shard.purge(id, &purge));
                // Which of those in doubt count among the three is not known here.
                match gone {
                    Ok(_) => sure.retain(|seq, _| live(&stream).contains_key(seq)),
                    Err(_) => doubtful.extend(std::mem::take(&mut sure).into_keys()),
                }
                gone.is_err()
            }
            _ => {
                faults.disarm();
                match random.below(4) {
                    0 => {
                        bench.close();
                        bench.open();
                    }
                    1 => {
                        bench.kill();
                        bench.open();
                    }
                    _ => {}
                }
                stream = wait_until_open(&bench, "S");
                let found = live(&stream);
                assert_eq!(bench.store().findings(), []);
                for (seq, payload) in &sure {
                    assert_eq!(found.get(seq), Some(payload), "message {seq} was acknowledged");
                }
                for (seq, payload) in found {
                    let known = sure.contains_key(&seq) || doubtful.contains(&seq);
                    assert!(known || perhaps.contains(&payload), "message {seq} came from nowhere");
                }
                false
            }
        };
        if failed {
            faults.disarm();
            stream = wait_until_open(&bench, "S");
        }
    }
}

/// The message that is number `number` of the atomic batch `id`, perhaps its last.
fn batched(stream: &Handle, id: &str, number: u64, last: bool) -> Result<u64> {
    let commit = if last { "Nats-Batch-Commit: 1\r\n" } else { "" };
    let headers = format!("NATS/1.0\r\nNats-Batch-Id: {id}\r\nNats-Batch-Sequence: {number}\r\n{commit}\r\n");
    Ok(stream.publish("a", &headers, b"x")?.0)
}

/// Whatever part of an atomic batch's commands a crash leaves in the journal, the batch is there whole or not at all,
/// and the messages after it are not taken for its rest.
#[test]
fn an_atomic_batch_cut_short_is_not_there() {
    for storage in [Storage::Segment, Storage::Persistent] {
        for torn in 1..=7 {
            let (mut bench, faults) = faulty(storage);
            bench.open();
            let stream = bench.create(&StreamConfig {
                allow_atomic: true,
                ..config("S")
            });
            stream.publish("a", "", b"before").unwrap();
            for number in 1..5 {
                assert_eq!(batched(&stream, "b", number, false).unwrap(), 0);
            }
            assert_eq!(live(&stream).len(), 1, "nothing is stored before the commit");
            faults.torn.store(torn, Ordering::SeqCst);
            faults.arm(0, false, false);
            batched(&stream, "b", 5, true).unwrap_err();
            faults.torn.store(0, Ordering::SeqCst);
            // One record says that the next five belong together.
            let whole = torn >= 6;
            let stream = wait_until_open(&bench, "S");
            assert_eq!(live(&stream).len(), if whole { 6 } else { 1 }, "{torn} records written");
            stream.publish("a", "", b"after").unwrap();
            let left = live(&stream);
            bench.kill();
            bench.open();
            assert_eq!(live(&wait_until_open(&bench, "S")), left, "{torn} records written");
            assert_eq!(bench.store().findings(), [], "{torn} records written");
        }
    }
}

fn survive_many_faults(storage: Storage, seeds: u64) {
    if let Some(seed) = std::env::var("WEIR_SEED").ok().and_then(|s| s.parse().ok()) {
        return survive_faults(storage, seed);
    }
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| survive_faults(storage, seed));
        if let Err(panic) = outcome {
            eprintln!("{storage:?} fails with WEIR_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_writes_fail() {
    survive_many_faults(Storage::Persistent, 16);
}

#[test]
fn nothing_acknowledged_is_lost_when_writes_of_segments_fail() {
    survive_many_faults(Storage::Segment, 4);
}

/// Streams made and deleted across crashes: the right ones are there, and no log id is used twice.
#[test]
fn ids_are_never_used_again() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut bench = Bench::new(Storage::Persistent);
        bench.checkpoint_bytes = *random.pick(&[1, 500, 1 << 20]);
        bench.shards = 2;
        bench.open();
        let mut used = BTreeSet::new();
        let mut streams: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..60 {
            let name = format!("s{}", random.below(4));
            match (random.below(5), bench.find(&name)) {
                (0..3, None) => {
                    let stream = bench.create(&config(&name));
                    assert!(used.insert(stream.id), "id {} again", stream.id);
                    streams.insert(name, 0);
                }
                (0..3, Some(stream)) => {
                    let count = streams.get_mut(&name).expect("the model has it");
                    *count += 1;
                    let ack = stream.publish("a", "", b"x").expect("an ack");
                    assert_eq!(ack, (*count, false));
                }
                (3, Some(stream)) => {
                    let gone = stream.call(|shard, id| shard.delete_stream(id));
                    gone.expect("the stream goes");
                    streams.remove(&name);
                }
                (4, _) => {
                    match random.one_in(2) {
                        true => bench.close(),
                        false => bench.kill(),
                    }
                    bench.open();
                }
                _ => {}
            }
            assert_eq!(bench.store().findings(), [], "seed {seed}");
            let there = bench.store().catalogue().all();
            let names: Vec<String> = there.iter().map(|entry| entry.name.to_string()).collect();
            assert_eq!(names, streams.keys().cloned().collect::<Vec<_>>(), "seed {seed}");
            for (name, count) in &streams {
                let stream = bench.find(name).expect("the stream");
                assert_eq!(live(&stream).len() as u64, *count, "seed {seed}, {name}");
            }
        }
    }
}

/// A message id is refused within its window and taken after it, whatever happened in between.
#[test]
fn the_duplicate_window_outlives_the_store() {
    const WINDOW: i64 = 10 * SECOND;
    for storage in [Storage::Persistent, Storage::Segment] {
        for seed in 0..8 {
            let mut random = Random(seed);
            let mut bench = Bench::new(storage);
            bench.checkpoint_bytes = *random.pick(&[1, 2000, 1 << 20]);
            bench.open();
            let mut stream = bench.create(&StreamConfig {
                duplicate_window: WINDOW,
                ..config("S")
            });
            let mut seen: BTreeMap<String, (u64, i64)> = BTreeMap::new();
            for step in 0..100 {
                match random.below(8) {
                    0 => bench.advance(random.below(5) as i64 * SECOND),
                    1 if random.one_in(2) => {
                        match random.one_in(2) {
                            true => bench.close(),
                            false => bench.kill(),
                        }
                        bench.open();
                        stream = bench.find("S").expect("the stream");
                    }
                    _ => {
                        let id = format!("m{}", random.below(6));
                        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
                        let now = bench.now();
                        let known = seen.get(&id).filter(|(_, time)| time + WINDOW > now);
                        let known = known.copied();
                        let (seq, duplicate) = stream.publish("a", &headers, b"").expect("an ack");
                        assert_eq!(duplicate, known.is_some(), "seed {seed} step {step} {id}");
                        match known {
                            Some((first, _)) => assert_eq!(seq, first),
                            None => {
                                seen.insert(id, (seq, now));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A backend that failed for good is opened anew once all shards have let go of it, without anybody's help.
#[test]
fn a_failed_sync_of_the_whole_backend_heals() {
    let (mut bench, faults) = faulty(Storage::Segment);
    bench.shards = 4;
    bench.open();
    for name in ["S", "T", "U", "V"] {
        bench.create(&config(name));
    }
    let stream = bench.find("S").expect("the stream");
    stream.publish("a", "", b"one").expect("an ack");
    // The first fault is the journal's write, the second its sync.
    faults.arm(1, true, true);
    assert!(stream.publish("a", "", b"two").is_err());
    for name in ["S", "T", "U", "V"] {
        let stream = wait_until_open(&bench, name);
        stream.publish("a", "", b"three").expect("an ack");
    }
    assert_eq!(live(&bench.find("S").expect("the stream"))[&1], b"one");
}

/// A window of message ids that is longer than any value may be is kept all the same, over a stop and a kill.
#[test]
fn a_long_duplicate_window_is_no_trouble_for_checkpoints() {
    const IDS: u64 = 20_000;
    let (mut bench, faults) = faulty(Storage::Persistent);
    faults.value_max.store(400 << 10, Ordering::SeqCst);
    bench.open();
    bench.create(&StreamConfig {
        duplicate_window: 3600 * SECOND,
        ..config("S")
    });
    // Whether it was there already, of each of these ids.
    let publish = |bench: &Bench, from: u64, to: u64| {
        let stream = bench.find("S").expect("the stream");
        let known = stream.call(move |shard, id| {
            let publish = |n| {
                let headers = format!("NATS/1.0\r\nNats-Msg-Id: the id of a message, as long as many are, {n}\r\n\r\n");
                shard.publish(id, "a".into(), headers.len(), headers.into())
            };
            let acks: Vec<_> = (from..to).map(publish).collect::<Result<_>>()?;
            Ok(acks.iter().filter(|ack| ack.duplicate).count() as u64)
        });
        known.expect("acks")
    };
    assert_eq!(publish(&bench, 0, IDS), 0);
    bench.close();
    // Bytes of ids that checkpoints hold, and the first record that the journal still has.
    let held = |bench: &Bench| {
        let root = bench.root();
        let mut ids = 0;
        let count = &mut |_: &[u8], value: &[u8]| {
            ids += value.len();
            std::ops::ControlFlow::Continue(())
        };
        root.kv().scan(b"dedup/", None, count).expect("keys");
        let (journal, _) = root
            .open(ShardId(0).journal(), &LogOptions::default())
            .expect("the journal");
        (ids as u64, journal.reader().extent().first)
    };
    let (ids, journal) = held(&bench);
    assert!(ids > IDS * 40, "{ids} bytes of ids are in checkpoints");
    assert!(journal > IDS, "the journal is free, {journal}");
    for round in 1..4 {
        bench.open();
        assert_eq!(publish(&bench, 0, IDS), IDS, "round {round}");
        assert_eq!(publish(&bench, IDS * round, IDS * round + 50), 0);
        match round {
            1 => bench.kill(),
            _ => bench.close(),
        }
    }
    // They go when they are too old.
    bench.skip(3601 * SECOND);
    bench.open();
    assert_eq!(publish(&bench, 0, 10), 0);
    bench.close();
    let (ids, _) = held(&bench);
    assert!(ids < 2000, "{ids} bytes of ids are left");
}

/// A process that is killed before it has written what a checkpoint takes, again and again, applied more at each start.
#[test]
fn what_a_start_applies_counts_for_the_next_checkpoint() {
    const EACH: u64 = 100;
    let mut bench = Bench::new(Storage::Persistent);
    bench.checkpoint_bytes = 100_000;
    bench.open();
    bench.create(&config("S"));
    for _ in 0..10 {
        let stream = bench.find("S").expect("the stream");
        for _ in 0..EACH {
            stream.publish("a", "", &[7; 200]).expect("an ack");
        }
        bench.kill();
        bench.open();
    }
    bench.kill();
    let covered = bench.root().kv().get(&covered_key(ShardId(0))).expect("a value");
    let covered = covered.as_deref().and_then(covered_of).expect("a number");
    assert!(covered >= 6 * EACH, "checkpoints cover {covered} records");
    bench.open();
    assert_eq!(live(&bench.find("S").expect("the stream")).len() as u64, 10 * EACH);
}
