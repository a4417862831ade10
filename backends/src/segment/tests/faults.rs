//! The n-th call to the file system fails, for every n: nothing is acknowledged wrongly, nothing synced is lost.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Error, Kind, LogOptions, Seq};

use super::super::SegmentBackend;
use super::super::disk::{Failure, SimulatedDisk};
use super::faulty::FaultyFiles;
use super::{ID, shown, try_append};

/// What a run was told.
#[derive(Default)]
struct Told {
    /// The highest sequence that a successful sync covered.
    synced: Seq,
    /// The highest sequence that was tried.
    tried: Seq,
    /// The highest sequence that an erasure or trim that was tried removes.
    removed: Seq,
    key_synced: bool,
}

/// Appends, erases, trims, rolls segments, rewrites them and puts keys.
fn work(backend: &SegmentBackend, options: &LogOptions, told: &mut Told) -> Result<(), Error> {
    let (mut log, _) = backend.open(ID, options)?;
    for round in 0..6u64 {
        let first = round * 8 + 1;
        told.tried = first + 7;
        try_append(&mut *log, first..first + 8)?;
        if round == 1 {
            backend.kv().put_all(&[(Bytes::from("k"), Some(Bytes::from("v")))])?;
        }
        if round % 2 == 0 {
            log.sync()?;
            told.synced = told.tried;
        } else {
            backend.sync()?;
            told.synced = told.tried;
            told.key_synced = true;
        }
        if round == 3 {
            told.removed = 20;
            log.trim(5)?;
            log.erase(&(5..=20).collect::<Vec<_>>())?;
            log.maintain(u64::MAX)?;
        }
    }
    Ok(())
}

/// Whatever fails: reads and lists too. `power` says whether the power fails afterwards as well.
fn every_call_fails(options: &LogOptions, failure: Failure, sticky: bool, power: bool) {
    let store = Path::new("/store");
    let mut n = 1;
    loop {
        let mut dice = Dice::new(n);
        let disk = Arc::new(SimulatedDisk::new(n));
        disk.fail_at(n, failure, sticky);
        let mut told = Told::default();
        let failed = match SegmentBackend::open_on(&disk, store) {
            Err(error) => Err(error),
            Ok(backend) => {
                let result = work(&backend, options, &mut told);
                if let Err(error) = &result {
                    let expected = [Kind::Io, Kind::Poisoned, Kind::Full].contains(&error.kind);
                    assert!(expected, "call {n}: {error:?}");
                }
                result
            }
        };
        if failed.is_ok() && disk.calls() < n {
            assert!(n > 40, "only {n} calls: the test tests nothing");
            return;
        }
        match power {
            true => disk.lose_power(&mut dice),
            false => disk.kill(),
        }
        disk.boot();
        let backend = SegmentBackend::open_on(&disk, store).unwrap();
        let (mut log, report) = backend.open(ID, options).unwrap();
        assert!(report.damage.is_empty(), "call {n}: {report:?}");
        let reader = log.reader();
        let seen = shown(&*reader);
        for seq in told.removed + 1..=told.synced {
            assert!(seen.contains(&seq), "call {n}: {seq} was synced; there are {seen:?}");
        }
        let extent = reader.extent();
        assert!(
            extent.last >= told.synced && extent.last <= told.tried,
            "call {n}: {extent:?}"
        );
        assert_eq!(extent.count, seen.len() as u64, "call {n}");
        if told.key_synced {
            assert_eq!(backend.kv().get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
        }
        // It works again.
        let next = extent.last + 1;
        try_append(&mut *log, [next]).unwrap();
        log.sync().unwrap();
        assert!(shown(&*reader).contains(&next), "call {n}");
        n += 1;
    }
}

#[test]
fn once() {
    every_call_fails(&small(false), Failure::Io, false, false);
    every_call_fails(&small(false), Failure::Full, false, true);
}

#[test]
fn from_then_on() {
    every_call_fails(&small(false), Failure::Io, true, true);
    every_call_fails(&small(false), Failure::Full, true, false);
}

#[test]
fn preallocated() {
    every_call_fails(&small(true), Failure::Io, false, true);
    every_call_fails(&small(true), Failure::Full, true, true);
}

fn small(preallocate: bool) -> LogOptions {
    LogOptions {
        segment_bytes: 1500,
        preallocate,
        ..LogOptions::default()
    }
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    try_append(&mut *log, [1]).unwrap();
    files.fail_at(1, false);
    assert_eq!(backend.sync().unwrap_err().kind, Kind::Io);
    assert_eq!(backend.sync().unwrap_err().kind, Kind::Poisoned);
    assert_eq!(log.sync().unwrap_err().kind, Kind::Poisoned);
    assert_eq!(try_append(&mut *log, [2]).unwrap_err().kind, Kind::Poisoned);
    assert_eq!(files.calls(), 1, "nothing went to the disk after the failure");
    assert_eq!(shown(&*log.reader()), [1], "what is there can still be read");
}
