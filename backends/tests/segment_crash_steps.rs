//! The process ends in the middle of each single call to the disk, one after the other, while a log begins a segment, is
//! rewritten, has records erased and overwritten, is trimmed, truncated, opened; and while the key-value space is
//! rewritten. With what it wrote on disk, and with the power gone as well.
//!
//! What was synced is there, what was removed and synced stays away, no end goes back.
//! `WEIR_POWER_CUTS` sets how many ways the power fails at each call; without it, it fails in one way at every few calls.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::{Failure, SimulatedDisk};
use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Direction, Log, LogChange, LogId, LogOptions, Record, Result, Seq, Want};

const STORE: &str = "/store";
const ID: LogId = LogId(0x300);

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 1200,
        label: Bytes::from_static(b"label"),
        ..LogOptions::default()
    }
}

fn body(seq: Seq) -> Vec<u8> {
    format!("body {seq} ").repeat(4 + seq as usize % 5).into_bytes()
}

/// A value that is durable, and one that may be there instead.
type Value = (Vec<u8>, Option<Vec<u8>>);

/// What is known of the log.
#[derive(Clone, Debug, Default)]
struct Model {
    /// For each sequence, whether it must be there (`true`) or may be.
    records: BTreeMap<Seq, bool>,
    first: Seq,
    last: Seq,
    keys: BTreeMap<Vec<u8>, Value>,
}

impl Model {
    fn append(&mut self, log: &mut dyn Log, count: u64) -> Result<()> {
        for _ in 0..count {
            let seq = log.reader().extent().last + 1;
            self.records.insert(seq, false);
            let body = body(seq);
            let record = Record {
                seq,
                time: seq as i64,
                head: b"head",
                body: &body,
            };
            log.append(&[record])?;
            log.sync()?;
            self.records.insert(seq, true);
            self.last = seq;
        }
        Ok(())
    }

    /// What goes may be gone once it is begun, and is when it is synced.
    fn remove(
        &mut self,
        log: &mut dyn Log,
        goes: impl Fn(Seq) -> bool,
        work: impl FnOnce(&mut dyn Log) -> Result<()>,
    ) -> Result<()> {
        for (_, certain) in self.records.iter_mut().filter(|(seq, _)| goes(**seq)) {
            *certain = false;
        }
        work(log)?;
        log.sync()?;
        self.records.retain(|seq, _| !goes(*seq));
        Ok(())
    }

    fn put(&mut self, backend: &SegmentBackend, key: &[u8], value: Vec<u8>) -> Result<()> {
        let entry = self.keys.entry(key.to_vec()).or_default();
        entry.1 = Some(value.clone());
        let written = (Bytes::copy_from_slice(key), Some(value.clone().into()));
        backend.kv().put_all(&[written])?;
        backend.sync()?;
        *entry = (value, None);
        Ok(())
    }

    fn verify(&self, backend: &SegmentBackend, log: &dyn Log, what: &str) {
        let reader = log.reader();
        let extent = reader.extent();
        let mut found = Vec::new();
        let scan = reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
            assert_eq!(entry.body, body(entry.seq), "{what}: record {}", entry.seq);
            found.push(entry.seq);
            ControlFlow::Continue(())
        });
        scan.unwrap();
        for seq in &found {
            assert!(self.records.contains_key(seq), "{what}: {seq} should be gone");
        }
        for (seq, _) in self.records.iter().filter(|(_, certain)| **certain) {
            assert!(found.contains(seq), "{what}: {seq} is lost, of {found:?}");
        }
        assert!(extent.last >= self.last, "{what}: {extent:?} ends before {}", self.last);
        assert!(
            found.is_empty() || extent.first >= self.first,
            "{what}: {extent:?} begins before {}",
            self.first
        );
        for (key, (durable, other)) in &self.keys {
            let value = backend.kv().get(key).unwrap().unwrap_or_default();
            let known = value == durable || other.as_ref().is_some_and(|other| value == other);
            assert!(known, "{what}: key {key:?} has {} other bytes", value.len());
        }
    }
}

type Step = fn(&SegmentBackend, &mut dyn Log, &mut Model) -> Result<()>;

/// What is done, and of how many calls one is tried where not all are.
const STEPS: [(&str, usize, Step); 7] = [
    ("segments are begun", 3, |_, log, model| model.append(log, 12)),
    ("the log is rewritten", 1, |backend, log, _| {
        while log.maintain(u64::MAX)? {}
        backend.sync()
    }),
    ("records are erased and overwritten", 2, |_, log, model| {
        model.remove(
            log,
            |seq| seq % 3 == 0,
            |log| {
                let erase: Vec<Seq> = (1..=log.reader().extent().last).filter(|seq| seq % 3 == 0).collect();
                log.write(&LogChange {
                    erase: &erase,
                    overwrite: true,
                    ..LogChange::default()
                })
            },
        )?;
        model.append(log, 1)?;
        log.maintain(u64::MAX).map(drop)
    }),
    ("the log is trimmed", 2, |backend, log, model| {
        let at = log.reader().extent().last - 3;
        model.remove(log, |seq| seq < at, |log| log.trim(at))?;
        model.first = at;
        model.append(log, 3)?;
        while log.maintain(u64::MAX)? {}
        backend.sync()
    }),
    ("everything is trimmed", 2, |_, log, model| {
        let at = log.reader().extent().last + 10;
        model.remove(log, |seq| seq < at, |log| log.trim(at))?;
        (model.first, model.last) = (at, at - 1);
        model.append(log, 3)?;
        log.maintain(u64::MAX).map(drop)
    }),
    ("the log is truncated", 2, |_, log, model| {
        let to = log.reader().extent().last - 5;
        // The end goes back here, as it was asked to.
        model.last = to;
        model.remove(log, |seq| seq > to, |log| log.truncate(to))?;
        // What is written under those numbers again says the same.
        model.append(log, 2)
    }),
    ("the key-value space is rewritten", 30, |backend, _, model| {
        for round in 0..6 {
            model.put(backend, b"large", vec![round; 300 << 10])?;
            model.put(backend, b"small", vec![round; 10])?;
        }
        Ok(())
    }),
];

fn open(disk: &Arc<SimulatedDisk>) -> Result<(SegmentBackend, Box<dyn Log>)> {
    let backend = SegmentBackend::open_on(disk, Path::new(STORE))?;
    let (log, found) = backend.open(ID, &options())?;
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    assert!(backend.kv_damage().is_empty(), "{:?}", backend.kv_damage());
    Ok((backend, log))
}

/// A log of some segments, of which records were removed, and some keys.
fn begin() -> (SimulatedDisk, Model) {
    let disk = Arc::new(SimulatedDisk::new(1));
    let mut model = Model::default();
    {
        let (backend, mut log) = open(&disk).unwrap();
        let log = &mut *log;
        model.append(log, 30).unwrap();
        let gone = |seq: Seq| seq % 5 < 3 && seq > 6;
        let erase: Vec<Seq> = (1..=30).filter(|seq| gone(*seq)).collect();
        model.remove(log, gone, |log| log.erase(&erase)).unwrap();
        model.remove(log, |seq| seq < 4, |log| log.trim(4)).unwrap();
        model.first = 4;
        model.append(log, 6).unwrap();
        model.put(&backend, b"small", b"first".to_vec()).unwrap();
        backend.sync().unwrap();
    }
    disk.kill();
    (disk.copy(), model)
}

#[test]
fn a_crash_at_each_call_of_each_step_loses_nothing() {
    let all = std::env::var("WEIR_POWER_CUTS").ok();
    let cuts: u64 = all.as_ref().map_or(1, |text| text.parse().unwrap());
    let (template, before) = begin();
    let mut crashes = 0;
    for (name, calls, step) in STEPS {
        let every = if all.is_some() { 1 } else { calls };
        for n in (1..).step_by(every) {
            let mut whole = false;
            for way in 0..=cuts {
                let disk = Arc::new(template.copy());
                disk.boot();
                let mut model = before.clone();
                {
                    let (backend, mut log) = open(&disk).unwrap();
                    disk.end_at(n);
                    whole = step(&backend, &mut *log, &mut model).is_ok() && !disk.is_halted();
                }
                match way {
                    0 => disk.kill(),
                    way => disk.lose_power(&mut Dice::new(n * 1000 + way)),
                }
                let what = format!("while {name}, call {n}, way {way}");
                crashes += 1 + open_with_crashes(&disk, &model, &what, n, whole);
            }
            if whole {
                break;
            }
        }
    }
    eprintln!("{crashes} crashes");
}

/// Opens what a crash left, which a crash in the middle of that, at its `n`-th call, does not change. Answers how many there
/// were.
fn open_with_crashes(disk: &SimulatedDisk, model: &Model, what: &str, n: u64, last: bool) -> u64 {
    let again = Arc::new(disk.copy());
    again.boot();
    again.end_at(1 + n % 40);
    let opened =
        SegmentBackend::open_on(&again, Path::new(STORE)).and_then(|backend| backend.open(ID, &options()).map(drop));
    let crashed = again.is_halted();
    assert!(crashed || opened.is_ok(), "{what}: {opened:?}");
    again.kill();
    let disks = [Arc::new(disk.copy()), again];
    for disk in disks {
        disk.boot();
        let (backend, mut log) = open(&disk).unwrap();
        model.verify(&backend, &*log, what);
        // It goes on from there, and closes and opens.
        let mut model = model.clone();
        if last || n.is_multiple_of(7) {
            let there = log.reader().extent().last;
            model.records.retain(|seq, _| *seq <= there);
            model.append(&mut *log, 2).unwrap();
            drop((backend, log));
            disk.kill();
            disk.boot();
            let (backend, log) = open(&disk).unwrap();
            model.verify(&backend, &*log, what);
        }
    }
    u64::from(crashed)
}

/// What the process that was killed had erased and not synced, the next one overwrites: only after the erasure is on disk, or the
/// power takes the erasure alone, and the record is damaged.
#[test]
fn what_is_overwritten_at_opening_is_erased_on_disk_before() {
    let erase: &[Seq] = &[31, 33];
    let (template, before) = begin();
    let mut cuts = 0;
    for n in 1.. {
        let disk = Arc::new(template.copy());
        disk.boot();
        let (backend, mut log) = open(&disk).unwrap();
        disk.end_at(n);
        let erased = log.write(&LogChange {
            erase,
            overwrite: true,
            ..LogChange::default()
        });
        let whole = erased.is_ok();
        drop((log, backend));
        disk.kill();
        let mut model = before.clone();
        model.records.retain(|seq, _| !whole || !erase.contains(seq));
        for seq in erase {
            model.records.entry(*seq).and_modify(|certain| *certain = false);
        }
        for (m, way) in (1..40).flat_map(|m| (0..8).map(move |way| (m, way))) {
            let disk = Arc::new(disk.copy());
            disk.boot();
            disk.end_at(m);
            let opened =
                SegmentBackend::open_on(&disk, Path::new(STORE)).and_then(|backend| backend.open(ID, &options()));
            let halted = disk.is_halted();
            assert!(halted || opened.is_ok(), "call {n}, then {m}: {:?}", opened.err());
            disk.lose_power(&mut Dice::new(n * 1000 + m * 10 + way));
            drop(opened);
            disk.boot();
            let (backend, log) = open(&disk).unwrap();
            model.verify(&backend, &*log, &format!("call {n}, then {m}"));
            let lost = log.reader().lost();
            assert!(lost.is_empty(), "call {n}, then {m}: {lost:?}");
            cuts += 1;
            if !halted && way == 7 {
                break;
            }
        }
        if whole {
            break;
        }
    }
    eprintln!("{cuts} power cuts");
}

/// Seed 5075646 of the engine's simulation: a new file had its header, its first batch could not be written, and the sync failed,
/// after which the header looked written and was not on disk. What the next opening wrote and synced behind it was lost with the
/// power.
#[test]
fn a_header_whose_sync_failed_is_written_again_before_what_follows_counts() {
    let mut begun = 0;
    for preallocate in [false, true] {
        let options = LogOptions {
            preallocate,
            ..options()
        };
        let folder = Path::new(STORE).join("logs").join(ID.to_string());
        for (count, n) in (1..20).flat_map(|count| (1..8).map(move |n| (count, n))) {
            let what = format!("record {count}, call {n}, preallocate {preallocate}");
            let disk = Arc::new(SimulatedDisk::new(n));
            let open = |disk: &Arc<SimulatedDisk>| {
                disk.boot();
                let backend = SegmentBackend::open_on(disk, Path::new(STORE)).unwrap();
                let (log, _) = backend.open(ID, &options).unwrap();
                (backend, log)
            };
            let (backend, mut log) = open(&disk);
            let mut model = Model::default();
            model.append(&mut *log, count).unwrap();
            let files = disk.files(&folder).len();
            disk.fail_at(n, Failure::Io, true);
            if model.append(&mut *log, 1).is_ok() {
                continue;
            }
            // As a checkpoint of another log would.
            let _ = backend.sync();
            drop((log, backend));
            disk.fail_at(0, Failure::Io, false);
            begun += u64::from(disk.files(&folder).len() > files);
            let (backend, mut log) = open(&disk);
            model.append(&mut *log, 1).unwrap();
            disk.lose_power(&mut Dice::new(n));
            drop((log, backend));
            let (backend, log) = open(&disk);
            model.verify(&backend, &*log, &what);
        }
    }
    assert!(begun > 0, "no file was begun in vain");
}

/// Seed 5095430 of the engine's simulation: a new file was begun, and the disk was full when the one before was to be ended, which
/// then took the next write after all. The next opening took the header of the new file for newer than that write, and
/// what it had removed was there again, or what it had stored was not.
#[test]
fn a_file_that_was_begun_in_vain_takes_nothing_back() {
    let mut begun = [0, 0];
    let folder = Path::new(STORE).join("logs").join(ID.to_string());
    for (count, n) in (1..40).flat_map(|count| (1..8).map(move |n| (count, n))) {
        for (way, begun) in begun.iter_mut().enumerate() {
            let what = format!("record {count}, call {n}, way {way}");
            let disk = Arc::new(SimulatedDisk::new(n));
            let (mut backend, mut log) = open(&disk).unwrap();
            let mut model = Model::default();
            model.append(&mut *log, count).unwrap();
            let files = disk.files(&folder).len();
            let large = Record {
                seq: count + 1,
                time: 0,
                head: b"head",
                body: &[0; 900],
            };
            disk.fail_at(n, Failure::Full, false);
            if log.append(&[large]).is_ok() {
                continue;
            }
            let at = count + 1;
            match way {
                0 => model.append(&mut *log, 1).unwrap(),
                _ => {
                    model.remove(&mut *log, |seq| seq < at, |log| log.trim(at)).unwrap();
                    (model.first, model.last) = (at, at - 1);
                }
            }
            *begun += u64::from(disk.files(&folder).len() > files);
            for _ in 0..2 {
                // So that what was synced is known to be.
                drop((log, backend));
                disk.boot();
                (backend, log) = open(&disk).unwrap();
                model.verify(&backend, &*log, &what);
                model.append(&mut *log, 20).unwrap();
            }
        }
    }
    assert!(
        begun.iter().all(|begun| *begun > 0),
        "no file was begun in vain: {begun:?}"
    );
}

/// A journal that a server has closed gives back its files, but for a short one. Wherever that ends, its numbers go on, what was
/// trimmed stays away, and what was not is there.
#[test]
fn a_journal_that_gives_back_its_files_loses_nothing() {
    const LAST: Seq = 40;
    let options = LogOptions {
        preallocate: true,
        segment_bytes: 1 << 20,
        ..options()
    };
    let large = vec![7; 64 << 10];
    let append = |log: &mut dyn Log, seq: Seq| {
        let record = Record {
            seq,
            time: seq as i64,
            head: b"head",
            body: &large,
        };
        log.append(&[record])
    };
    let open = |disk: &Arc<SimulatedDisk>, what: &str| {
        disk.boot();
        let backend = SegmentBackend::open_on(disk, Path::new(STORE)).unwrap();
        let (log, found) = backend.open(ID, &options).unwrap();
        assert!(found.damage.is_empty(), "{what}: {:?}", found.damage);
        (backend, log)
    };
    let live = |log: &dyn Log| {
        let mut seqs = Vec::new();
        let scanned = log
            .reader()
            .scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
                seqs.push(entry.seq);
                ControlFlow::Continue(())
            });
        scanned.unwrap();
        seqs
    };
    let folder = Path::new(STORE).join("logs").join(ID.to_string());
    for first in [LAST + 1, LAST - 2] {
        let template = Arc::new(SimulatedDisk::new(first));
        {
            let (_backend, mut log) = open(&template, "at first");
            (1..=LAST).for_each(|seq| append(&mut *log, seq).unwrap());
            log.sync().unwrap();
            log.trim(first).unwrap();
            log.sync().unwrap();
            let files = template.files(&folder);
            assert!(
                files
                    .iter()
                    .filter(|path| path.extension().is_some_and(|end| end == "seg"))
                    .count()
                    > 2
            );
        }
        template.kill();
        let mut ended = 0;
        for (n, way) in (1..).flat_map(|n| [(n, 0), (n, 1), (n, 2)]) {
            let disk = Arc::new(template.copy());
            let what = format!("first {first}, call {n}, way {way}");
            let (backend, mut log) = open(&disk, &what);
            disk.end_at(n);
            let given_back = log.compact(None, &mut |_, _| {}).is_ok();
            drop((log, backend));
            let whole = given_back && !disk.is_halted();
            match way {
                0 => disk.kill(),
                way => disk.lose_power(&mut Dice::new(n * 1000 + way)),
            }
            let (backend, mut log) = open(&disk, &what);
            let extent = log.reader().extent();
            assert_eq!(extent.last, LAST, "{what}");
            assert_eq!(live(&*log), (first..=LAST).collect::<Vec<_>>(), "{what}");
            if whole {
                // One file, and one more where that is not empty.
                let most = if first > LAST { 256 << 10 } else { 2 << 20 };
                assert!(extent.disk_bytes <= most, "{what}: {extent:?}");
                ended += 1;
            }
            for seq in LAST + 1..LAST + 20 {
                append(&mut *log, seq).unwrap();
            }
            drop((log, backend));
            disk.kill();
            let (_backend, log) = open(&disk, &what);
            assert_eq!(live(&*log), (first..LAST + 20).collect::<Vec<_>>(), "{what}");
            if ended > 2 {
                assert!(n > 5, "it made {n} calls to the disk");
                break;
            }
        }
    }
}
