//! The power fails at any moment, or the process is killed, or a call fails: each log is a prefix of its batches, at
//! least up to the last sync, and so is the key-value space. Names that were not synced may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Compression, Log, LogChange, LogId, LogOptions, Lost, Recovery, Result, Seq, Upkeep};

use super::super::SegmentBackend;
use super::super::disk::{Failure, SimulatedDisk};
use super::{content, shown, try_append};

const STORE: &str = "/store";

/// Seeds that found something once.
const GROWING: [u64; 5] = [32, 79, 110, 381, 617];
const PREALLOCATED: [u64; 5] = [10, 17, 69, 229, 1254];

fn options(preallocate: bool) -> LogOptions {
    LogOptions {
        segment_bytes: 6000,
        preallocate,
        ..LogOptions::default()
    }
}

/// What something may be after a power failure: each state since the last sync, that one first and the newest last.
struct History<T>(Vec<T>);

impl<T: Clone + PartialEq + std::fmt::Debug> History<T> {
    fn now(&self) -> &T {
        &self.0[self.0.len() - 1]
    }

    fn becomes(&mut self, state: T) {
        self.0.push(state);
    }

    fn synced(&mut self) {
        let now = self.0.len() - 1;
        self.0.drain(..now);
    }

    /// It was found so, which it may be; `lost` says whether what was not synced may be gone.
    fn found(&mut self, state: T, lost: bool, what: &str) {
        let possible = if lost { &self.0[..] } else { &self.0[self.0.len() - 1..] };
        assert!(possible.contains(&state), "{what}: {state:?} is none of {possible:?}");
        *self = Self(vec![state]);
    }
}

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the store may hold.
struct Expected {
    logs: Vec<History<Vec<Seq>>>,
    keys: History<Keys>,
}

impl Expected {
    fn synced(&mut self) {
        self.logs.iter_mut().for_each(History::synced);
        self.keys.synced();
    }
}

fn keys(backend: &SegmentBackend) -> Keys {
    let mut found = Keys::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.insert(key.to_vec(), value.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    backend.kv().scan(b"", None, &mut visit).unwrap();
    found
}

/// How logs are rewritten.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rewrites {
    /// What is mostly removed, in one go.
    Some,
    /// All, and compressed otherwise.
    All,
    /// What is mostly removed, in pieces between which the log goes on.
    Beside,
}

/// A log, and the work that is done beside it.
struct Tended {
    log: Box<dyn Log>,
    work: Option<Box<dyn Upkeep>>,
}

impl Tended {
    /// The next piece, at times; or what was begun is broken off.
    fn tend(&mut self, dice: &mut Dice) -> Result<()> {
        match &mut self.work {
            None => self.work = self.log.upkeep()?,
            Some(_) if dice.below(20) == 0 => self.work = None,
            Some(work) => {
                if work.step()?.over {
                    self.work = None;
                }
            }
        }
        Ok(())
    }
}

/// One operation. What it changes is expected before it is tried, for one that fails may have been carried out.
fn step(
    dice: &mut Dice,
    backend: &SegmentBackend,
    logs: &mut [Tended],
    expected: &mut Expected,
    rewrites: Rewrites,
) -> Result<()> {
    let which = dice.below(logs.len() as u64) as usize;
    if rewrites == Rewrites::Beside && dice.below(2) == 0 {
        return logs[which].tend(dice);
    }
    let log = &mut logs[which].log;
    let history = &mut expected.logs[which];
    let last = log.reader().extent().last;
    let mut now = history.now().clone();
    match dice.below(12) {
        0 => {
            log.sync()?;
            history.synced();
        }
        1 => {
            backend.sync()?;
            expected.synced();
        }
        2 if !now.is_empty() => {
            let at = now[dice.below(now.len() as u64) as usize];
            now.retain(|seq| *seq >= at);
            history.becomes(now);
            log.trim(at)?;
        }
        3 | 4 => {
            let mut erase: Vec<Seq> = now.clone();
            erase.retain(|_| dice.below(4) == 0);
            let add = last + 1 + dice.below(2);
            now.push(add);
            history.becomes(now.clone());
            try_append(&mut **log, [add])?;
            now.retain(|seq| !erase.contains(seq));
            history.becomes(now);
            log.write(&LogChange {
                erase: &erase,
                overwrite: dice.below(4) == 0,
                ..LogChange::default()
            })?;
        }
        5 if dice.below(3) == 0 => match rewrites {
            Rewrites::Beside => {}
            Rewrites::Some => drop(log.maintain(u64::MAX)?),
            Rewrites::All => {
                let all = [
                    None,
                    Some(Compression::None),
                    Some(Compression::Lz4),
                    Some(Compression::Zstd),
                ];
                log.compact(all[dice.below(4) as usize], &mut |_, _| {})?;
            }
        },
        6 if dice.below(3) == 0 && !now.is_empty() => {
            // Truncating syncs, if there is anything to truncate.
            let to = now[dice.below(now.len() as u64) as usize];
            now.retain(|seq| *seq <= to);
            history.becomes(now);
            log.truncate(to)?;
            if to < last {
                history.synced();
            }
        }
        7 | 8 => {
            let mut next = expected.keys.now().clone();
            let key = vec![b'k', dice.below(20) as u8];
            let value = (dice.below(3) > 0).then(|| vec![dice.below(256) as u8; dice.below(300) as usize]);
            match &value {
                Some(value) => next.insert(key.clone(), value.clone()),
                None => next.remove(&key),
            };
            expected.keys.becomes(next);
            backend.kv().put_all(&[(Bytes::from(key), value.map(Bytes::from))])?;
        }
        _ => {
            let add: Vec<Seq> = (last + 1..last + 2 + dice.below(12)).collect();
            now.extend(&add);
            history.becomes(now);
            try_append(&mut **log, add)?;
        }
    }
    Ok(())
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Killed,
    Power,
}

fn one(seed: u64, preallocate: bool, rewrites: Rewrites) {
    let mut dice = Dice::new(seed);
    let disk = Arc::new(SimulatedDisk::new(seed));
    let ids = [LogId(1), LogId(2)];
    let mut expected = Expected {
        logs: ids.iter().map(|_| History(vec![Vec::new()])).collect(),
        keys: History(vec![Keys::new()]),
    };
    let mut ended = End::Closed;
    let mut failed = false;
    for round in 0..6 {
        let what = format!("seed {seed}, round {round} after {ended:?}");
        let lost = ended == End::Power || failed;
        disk.boot();
        let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
        let mut logs = Vec::new();
        for (id, history) in ids.iter().zip(&mut expected.logs) {
            let (log, report) = backend.open(*id, &options(preallocate)).unwrap();
            let seen = shown(&*log.reader());
            let extent = log.reader().extent();
            assert_eq!(extent.count, seen.len() as u64, "{what}");
            let sizes = seen.iter().map(|seq| content(*seq));
            let bytes: usize = sizes.map(|(head, body)| head.len() + body.len()).sum();
            assert_eq!(extent.bytes, bytes as u64, "{what}: {report:?}");
            history.found(seen, lost, &format!("{what}, log {id}, {report:?}"));
            assert!(report.damage.is_empty(), "{what}: {report:?}");
            logs.push(Tended { log, work: None });
        }
        expected.keys.found(keys(&backend), lost, &what);
        assert!(backend.kv_damage().is_empty(), "{what}: {:?}", backend.kv_damage());
        // What is there may not be durable yet.
        backend.sync().unwrap();
        failed = false;
        if dice.below(3) == 0 {
            let failure = [Failure::Io, Failure::Full][dice.below(2) as usize];
            disk.fail_at(1 + dice.below(60), failure, dice.below(2) == 0);
        }
        for _ in 0..dice.below(40) {
            if step(&mut dice, &backend, &mut logs, &mut expected, rewrites).is_err() {
                failed = true;
                break;
            }
        }
        ended = [End::Closed, End::Killed, End::Power, End::Power][dice.below(4) as usize];
        // A process that is killed closes nothing.
        match ended {
            End::Closed => {}
            End::Killed => disk.kill(),
            End::Power => disk.lose_power(&mut dice),
        }
        // The work before the log, as for an owner that stops.
        logs.iter_mut().for_each(|tended| tended.work = None);
        drop(logs);
        drop(backend);
        disk.kill();
    }
}

/// Both files of a log are written, nothing is synced, and the power cut spares the name of the second one only: what
/// stands there is not a log that begins in the middle.
#[test]
fn a_log_does_not_begin_behind_a_file_that_lost_its_name() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let id = LogId(1);
    let open = || {
        disk.boot();
        SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap()
    };
    let backend = open();
    let (mut log, _) = backend.open(id, &options(false)).unwrap();
    let folder = Path::new(STORE).join("logs").join(id.to_string());
    let mut seq = 0;
    while disk.files(&folder).len() < 2 {
        seq += 1;
        try_append(&mut *log, [seq]).unwrap();
    }
    let files = disk.files(&folder);
    disk.kill();
    drop((log, backend));
    disk.erase(&files[0]).unwrap();
    let backend = open();
    let (log, report) = backend.open(id, &options(false)).unwrap();
    assert_eq!(shown(&*log.reader()), Vec::<Seq>::new(), "{report:?}");
    assert!(report.damage.is_empty() && report.torn_bytes > 0, "{report:?}");
}

/// Two files, the second begun when the first was full and had its footer; of the last batch of the first only the footer
/// reaches the disk. The footer tells of a record that is not there, and is not believed later either.
#[test]
fn a_footer_without_its_records_is_never_believed() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let id = LogId(1);
    let folder = Path::new(STORE).join("logs").join(id.to_string());
    let open = || boot(&disk, id);
    let (backend, mut log, _) = open();
    let (mut seq, mut ends) = (0, Vec::new());
    while disk.files(&folder).len() < 2 {
        let files = disk.contents(&folder);
        ends.push(
            files
                .values()
                .next()
                .map_or(0, |file| file.iter().rposition(|byte| *byte != 0).unwrap()),
        );
        seq += 1;
        try_append(&mut *log, [seq]).unwrap();
    }
    disk.kill();
    drop((backend, log));
    // The last batch of the first file is zeros now.
    let first = disk.files(&folder)[0].clone();
    let whole = disk.contents(&folder)[&first].clone();
    let [.., from, to] = ends[..] else {
        panic!("several batches")
    };
    for (byte, content) in whole.iter().enumerate().take(to + 1).skip(from + 1) {
        let bits = (0..8).filter(|bit| content & (1 << bit) != 0);
        bits.for_each(|bit| disk.flip(&first, byte, bit).unwrap());
    }
    let (backend, mut log, report) = open();
    let found = shown(&*log.reader());
    assert_eq!(found, (1..seq - 1).collect::<Vec<_>>(), "{report:?}");
    // The same numbers are given again, and are durable.
    for again in seq - 1..seq + 3 {
        try_append(&mut *log, [again]).unwrap();
        backend.sync().unwrap();
    }
    drop((backend, log));
    disk.kill();
    let (_backend, log, report) = open();
    let found = shown(&*log.reader());
    assert_eq!(found, (1..seq + 3).collect::<Vec<_>>(), "{report:?}");
    let sizes = found.iter().map(|seq| content(*seq));
    let bytes: usize = sizes.map(|(head, body)| head.len() + body.len()).sum();
    assert_eq!(log.reader().extent().bytes, bytes as u64, "{report:?}");
}

/// A segment is rewritten, and the sync of its new name fails; the log is opened again, which removes the old one, and the
/// power fails: one of the two is there. Seed 1016366 of the engine's simulation.
#[test]
fn a_rewritten_segment_is_removed_only_once_the_new_name_is_on_disk() {
    let id = LogId(1);
    for (n, dice) in (1..20).flat_map(|n| (0..12).map(move |dice| (n, dice))) {
        let disk = Arc::new(SimulatedDisk::new(dice));
        let open = || boot(&disk, id);
        let (backend, mut log, _) = open();
        for seq in 1..200 {
            try_append(&mut *log, [seq]).unwrap();
        }
        let gone: Vec<Seq> = (1..150).filter(|seq| seq % 8 != 0).collect();
        log.erase(&gone).unwrap();
        backend.sync().unwrap();
        let live = shown(&*log.reader());
        disk.fail_at(n, Failure::Io, false);
        let _ = match dice % 2 {
            0 => log.maintain(u64::MAX).map(drop),
            _ => log.compact(Some(Compression::Zstd), &mut |_, _| {}),
        };
        disk.fail_at(0, Failure::Io, false);
        // The same process opens it anew.
        drop((log, backend));
        let (backend, log, _) = open();
        assert_eq!(shown(&*log.reader()), live, "call {n} failed");
        disk.lose_power(&mut Dice::new(dice));
        drop((log, backend));
        let (_backend, log, report) = open();
        assert_eq!(shown(&*log.reader()), live, "call {n} failed, {report:?}");
    }
}

/// A process that opens the log on a disk.
fn boot(disk: &Arc<SimulatedDisk>, id: LogId) -> (SegmentBackend, Box<dyn Log>, Recovery) {
    disk.boot();
    let backend = SegmentBackend::open_on(disk, Path::new(STORE)).unwrap();
    let (log, report) = backend.open(id, &options(false)).unwrap();
    (backend, log, report)
}

/// A number of seeds, or the one that the environment variable `WEIR_SEED` names, or as many as `WEIR_SEEDS` says.
fn seeds(found: &[u64], preallocate: bool) {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("WEIR_SEED") {
        return one(seed, preallocate, Rewrites::Some);
    }
    let count = number("WEIR_SEEDS").unwrap_or(250);
    (0..count)
        .chain(found.iter().copied().filter(|seed| *seed >= count))
        .for_each(|seed| one(seed, preallocate, Rewrites::Some));
}

#[test]
fn growing_files() {
    seeds(&GROWING, false);
}

#[test]
fn growing_files_that_are_compacted() {
    (0..250).for_each(|seed| one(seed, false, Rewrites::All));
}

#[test]
fn logs_go_on_while_they_are_rewritten() {
    let seeds = std::env::var("WEIR_POWER_CUTS").map_or(400, |text| text.parse().unwrap());
    (0..seeds).for_each(|seed| one(seed, false, Rewrites::Beside));
}

#[test]
fn preallocated_files() {
    seeds(&PREALLOCATED, true);
}

/// Damages one file of a store that was closed in order.
fn rot(seed: u64) {
    let mut dice = Dice::new(seed);
    let disk = Arc::new(SimulatedDisk::new(seed));
    let ids = [LogId(1), LogId(2)];
    let folder = |id: LogId| Path::new(STORE).join("logs").join(id.to_string());
    let write = |dice: &mut Dice| {
        let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
        let mut live = Vec::new();
        for id in ids {
            let (mut log, _) = backend.open(id, &options(id.0 == 1)).unwrap();
            for _ in 0..10 + dice.below(20) {
                let last = log.reader().extent().last;
                try_append(&mut *log, last + 1..last + 2 + dice.below(8)).unwrap();
                if dice.below(4) == 0 {
                    log.erase(&[1 + dice.below(last + 1)]).unwrap();
                }
                if dice.below(3) == 0 {
                    log.sync().unwrap();
                }
            }
            // Closing a log that is synced says so at its end: from then on what is broken is damage.
            log.sync().unwrap();
            live.push(shown(&*log.reader()));
        }
        backend.sync().unwrap();
        live
    };
    write(&mut dice);
    let earlier = disk.contents(Path::new(STORE));
    let live = write(&mut dice);
    let whole = disk.contents(Path::new(STORE));
    let files = disk.files(&folder(ids[1]));
    let path = &files[dice.below(files.len() as u64) as usize];
    let len = whole[path].len();
    let kind = dice.below(4);
    match kind {
        0 => disk
            .flip(path, dice.below(len as u64) as usize, dice.below(8) as u8)
            .unwrap(),
        1 => disk.cut(path, dice.below(len as u64) as usize).unwrap(),
        2 => disk.roll_back(path, &earlier).unwrap(),
        _ => disk.erase(path).unwrap(),
    }
    let what = format!("seed {seed}, damage {kind} of {}", path.display());
    let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
    let (other, report) = backend.open(ids[0], &options(true)).unwrap();
    assert!(report.damage.is_empty(), "{what}: {report:?}");
    assert_eq!(shown(&*other.reader()), live[0], "{what}: the other log");
    drop(other);
    let (mut log, report) = backend.open(ids[1], &options(false)).unwrap();
    let reader = log.reader();
    let seen = shown(&*reader);
    let lost = live[1].iter().filter(|seq| !seen.contains(seq)).count();
    if kind == 0 {
        assert!(lost <= 1, "{what}: {lost} are lost: {report:?}");
        assert!(
            seen.iter().all(|seq| live[1].contains(seq)),
            "{what}: some came back: {report:?}"
        );
    }
    // It goes on, and is found so again.
    let next = reader.extent().last + 1;
    try_append(&mut *log, [next]).unwrap();
    log.sync().unwrap();
    drop((reader, log, backend));
    let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
    let (log, report) = backend.open(ids[1], &options(false)).unwrap();
    let again = shown(&*log.reader());
    let expected: Vec<Seq> = seen.into_iter().chain([next]).collect();
    assert_eq!(again, expected, "{what}, opened again: {report:?}");
}

/// Flips a bit of a file and cuts the end of the same file off, of a store that was closed or killed after a sync. Who
/// knows up to where the log was synced loses what is damaged and what is cut off, and is told of exactly that.
fn rot_twice(seed: u64) {
    let mut dice = Dice::new(seed);
    let disk = Arc::new(SimulatedDisk::new(seed));
    let id = LogId(2);
    let folder = Path::new(STORE).join("logs").join(id.to_string());
    let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
    let (mut log, _) = backend.open(id, &options(false)).unwrap();
    let mut erased = Vec::new();
    for _ in 0..5 + dice.below(40) {
        let last = log.reader().extent().last;
        try_append(&mut *log, last + 1..last + 2 + dice.below(8)).unwrap();
        if dice.below(4) == 0 {
            erased.push(1 + dice.below(last + 1));
            log.erase(&erased[erased.len() - 1..]).unwrap();
        }
        // Seldom, or the marks of later batches say nearly all.
        if dice.below(12) == 0 {
            log.sync().unwrap();
        }
    }
    backend.sync().unwrap();
    let synced = log.last_change();
    let last = log.reader().extent().last;
    if dice.below(2) == 0 {
        disk.kill();
    }
    drop((log, backend));
    disk.kill();
    disk.boot();
    let files = disk.files(&folder);
    let segments: Vec<_> = files.iter().filter(|path| path.extension().is_some()).collect();
    let path = segments[dice.below(segments.len() as u64) as usize];
    let len = disk.contents(&folder)[path].len();
    let cut = 1 + dice.below(len as u64 - 1) as usize;
    disk.cut(path, cut).unwrap();
    let known = LogOptions {
        synced,
        ..options(false)
    };
    // What is behind the cut is gone. What erased a record may be gone as well, and then the record is back.
    let mut left = Vec::new();
    // Twice: the first fills up a record of which nothing but padding is gone.
    for _ in 0..2 {
        let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
        let (log, _) = backend.open(id, &known).unwrap();
        left = shown(&*log.reader());
        disk.kill();
        drop((log, backend));
        disk.boot();
    }
    let at = dice.below(cut as u64) as usize;
    disk.flip(path, at, dice.below(8) as u8).unwrap();
    let what = format!("seed {seed}, {} cut at {cut} and bit flipped at {at}", path.display());
    let mut told: Option<Vec<Lost>> = None;
    let mut named: BTreeSet<Seq> = BTreeSet::new();
    for round in 0..3 {
        let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).unwrap();
        let (mut log, report) = backend.open(id, &known).unwrap();
        let reader = log.reader();
        // Of the mark that closing the log wrote there may be a part; nobody was answered for that.
        assert!(report.torn_bytes < 56, "{what}: {report:?}");
        let seen = shown(&*reader);
        let lost = reader.lost();
        let is_lost = |seq: Seq| lost.iter().any(|lost| lost.first <= seq && seq <= lost.last);
        let old: Vec<Seq> = seen.iter().copied().filter(|seq| *seq <= last).collect();
        let more = left.iter().filter(|seq| !old.contains(seq)).count();
        assert!(
            more <= 1,
            "{what}, round {round}: {more} are lost with the flipped bit: {report:?}"
        );
        // One copy of an erasure may be behind the cut, and the other have the flipped bit.
        let back = old.iter().find(|seq| !left.contains(seq) && !erased.contains(seq));
        assert_eq!(back, None, "{what}: came back: {report:?}");
        // Where the log ends too early, its owner knows what is missing, and notes it as everything that is lost.
        let ends_at = reader.extent().last;
        named.extend((1..=last).filter(|seq| is_lost(*seq) || *seq > ends_at));
        let wrong = named.iter().find(|seq| old.contains(seq));
        assert_eq!(wrong, None, "{what}: is there, and said to be lost: {lost:?}");
        let silent = (1..=last).find(|seq| !named.contains(seq) && !old.contains(seq) && !erased.contains(seq));
        assert_eq!(silent, None, "{what}: is not said to be lost: {lost:?} {report:?}");
        // From the first record behind it on, it is known where what is missing ends.
        if let Some(told) = &told {
            assert_eq!(&lost, told, "{what}, opened again: {report:?}");
        }
        told = (round > 0).then_some(lost);
        let next = last.max(reader.extent().last) + 1;
        try_append(&mut *log, [next]).unwrap();
        log.sync().unwrap();
        drop((log, backend));
    }
}

#[test]
fn a_file_with_a_flipped_bit_and_without_its_end() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("WEIR_SEED") {
        Some(seed) => rot_twice(seed),
        None => (0..number("WEIR_SEEDS").unwrap_or(300)).for_each(rot_twice),
    }
}

#[test]
fn files_that_rot_are_cut_rolled_back_or_gone() {
    match std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => rot(seed),
        None => (0..300).for_each(rot),
    }
}
