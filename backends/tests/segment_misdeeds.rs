//! A disk that does something wrong and does not say so: a write that never comes to it, or to another place, or to another
//! file; a file that is read as it was. Each at every write, or at every time that a file is read, of a small workload.
//!
//! Nothing is served that was not written under that number to that log; what is not served is told. The key-value space,
//! of which there are two copies, loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::{Misdeed, SimulatedDisk};
use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Direction, Kind, Log, LogId, LogOptions, Record, Result, Seq, Want};

const STORE: &str = "/store";
const LOGS: [LogId; 2] = [LogId(0x300), LogId(0x301)];

fn options(log: LogId) -> LogOptions {
    LogOptions {
        segment_bytes: 1500,
        // As a journal and as a stream's log.
        preallocate: log == LOGS[1],
        ..LogOptions::default()
    }
}

/// Of the same length in both logs, so that one could be taken for the other.
fn body(log: LogId, seq: Seq) -> Vec<u8> {
    format!("log {} record {seq:4} ", log.0).repeat(4).into_bytes()
}

/// A store, its logs, and what opening them told.
type Opened = (SegmentBackend, Vec<Box<dyn Log>>, Vec<String>);

fn open(disk: &Arc<SimulatedDisk>) -> Result<Opened> {
    let backend = SegmentBackend::open_on(disk, Path::new(STORE))?;
    let mut told = backend.kv_damage();
    let mut logs = Vec::new();
    for id in LOGS {
        let (log, found) = backend.open(id, &options(id))?;
        told.extend(found.damage);
        logs.push(log);
    }
    Ok((backend, logs, told))
}

fn append(log: &mut dyn Log, id: LogId) -> Result<Seq> {
    let seq = log.reader().extent().last + 1;
    log.append(&[Record {
        seq,
        time: seq as i64,
        head: b"head",
        body: &body(id, seq),
    }])?;
    log.sync()?;
    Ok(seq)
}

/// Records of both logs in turn, and a key; each is synced before the next.
fn work(backend: &SegmentBackend, logs: &mut [Box<dyn Log>], rounds: u64) -> Result<()> {
    for round in 0..rounds {
        for (log, id) in logs.iter_mut().zip(LOGS) {
            append(&mut **log, id)?;
        }
        let value = Bytes::from(vec![round as u8; 20]);
        backend
            .kv()
            .put_all(&[(Bytes::from(vec![b'k', round as u8]), Some(value))])?;
        backend.sync()?;
    }
    Ok(())
}

const ROUNDS: u64 = 20;

/// What is read of a log, each record as it was written; and whether reading told of damage.
fn read(log: &dyn Log, id: LogId, last: Seq, what: &str) -> (Vec<Seq>, bool) {
    let reader = log.reader();
    let mut found = Vec::new();
    let scanned = reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
        assert_eq!(
            entry.body,
            body(id, entry.seq),
            "{what}: log {id}, record {}",
            entry.seq
        );
        found.push(entry.seq);
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    let mut damaged = false;
    for seq in 1..=last {
        match reader.get(seq) {
            Ok(Some(entry)) => assert_eq!(entry.body, body(id, seq), "{what}: log {id}, record {seq}"),
            Ok(None) => {}
            Err(error) => {
                assert_eq!(error.kind, Kind::Damaged, "{what}: {error}");
                damaged = true;
            }
        }
    }
    (found, damaged)
}

/// Runs the workload with something going wrong at the `n`-th write; answers whether it did not come to that.
fn writes(misdeed: Misdeed, n: u64, found_out: &mut u64) -> bool {
    let what = format!("{misdeed:?} at write {n}");
    let disk = Arc::new(SimulatedDisk::new(n));
    {
        let (backend, mut logs, _) = open(&disk).unwrap();
        work(&backend, &mut logs, 4).unwrap();
        disk.misbehave_at(n, misdeed);
        work(&backend, &mut logs, ROUNDS).unwrap();
    }
    let over = disk.misbehaves();
    // All was synced: only what went wrong is missing.
    disk.lose_power(&mut Dice::new(n));
    disk.boot();
    let (backend, logs, mut told) = open(&disk).unwrap();
    let last = ROUNDS + 4;
    let mut missing = Vec::new();
    for (log, id) in logs.iter().zip(LOGS) {
        let (found, damaged) = read(&**log, id, last, &what);
        if damaged {
            told.push("reading".into());
        }
        missing.extend((1..=last).filter(|seq| !found.contains(seq)).map(|seq| (id, seq)));
    }
    // What was written last may be gone like a write that was never finished: nothing later says that it was.
    missing.retain(|(_, seq)| *seq != last);
    assert!(
        missing.is_empty() || !told.is_empty(),
        "{what}: {missing:?} are missing, and nothing is told"
    );
    for round in 0..ROUNDS {
        let value = backend.kv().get(&[b'k', round as u8]).unwrap();
        assert_eq!(
            value.as_deref(),
            Some(&[round as u8; 20][..]),
            "{what}: key {round}; {told:?}"
        );
    }
    *found_out += u64::from(!told.is_empty());
    over
}

#[test]
fn writes_that_go_wrong_are_found_out() {
    for misdeed in [
        Misdeed::Lost,
        Misdeed::Misplaced(8),
        Misdeed::Misplaced(512),
        Misdeed::Misplaced(4096),
        Misdeed::Misdirected,
    ] {
        let mut found_out = 0;
        let tried = (1..).take_while(|n| !writes(misdeed, *n, &mut found_out)).count();
        eprintln!("{misdeed:?}: at {tried} writes, told of {found_out}");
        assert!(found_out > 0, "{misdeed:?} is never found out: does it happen?");
    }
}

#[test]
fn a_file_that_is_read_as_it_was_is_found_out() {
    let disk = Arc::new(SimulatedDisk::new(1));
    {
        let (backend, mut logs, _) = open(&disk).unwrap();
        work(&backend, &mut logs, ROUNDS).unwrap();
    }
    disk.kill();
    let mut tried = 0;
    for n in 1.. {
        let what = format!("stale at reading {n}");
        let stale = Arc::new(disk.copy());
        stale.boot();
        stale.misbehave_at(n, Misdeed::Stale);
        let (_backend, logs, mut told) = open(&stale).unwrap();
        let mut within = Vec::new();
        for (log, id) in logs.iter().zip(LOGS) {
            let (found, damaged) = read(&**log, id, ROUNDS, &what);
            if damaged {
                told.push("reading".into());
            }
            let end = found.last().copied().unwrap_or(0);
            within.extend((1..end).filter(|seq| !found.contains(seq)));
        }
        // A log that is read as it was before its last writes looks as it did then: the engine, which knows how far it came,
        // tells of that.
        assert!(
            within.is_empty() || !told.is_empty(),
            "{what}: {within:?} are missing, and nothing is told"
        );
        if stale.misbehaves() {
            break;
        }
        tried += 1;
    }
    eprintln!("stale at {tried} readings");
    assert!(tried > 0);
}
