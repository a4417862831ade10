//! The disk is full: what needs room is refused and changes nothing, and goes on when there is room again.

use std::sync::Arc;

use weir_engine::{Backend, Kind, LogOptions, Seq};

use super::super::SegmentBackend;
use super::faulty::FaultyFiles;
use super::{ID, append, open, shown, try_append};

fn fills_up(options: &LogOptions) {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    let (mut log, _) = backend.open(ID, options).unwrap();
    let reader = log.reader();
    let mut last = 0;
    // At every place in a segment, and where a new one is begun.
    for round in 0..40u64 {
        let before: Vec<Seq> = shown(&*reader);
        files.fill_up(true);
        let mut refused = 0;
        for _ in 0..12 {
            // A batch longer than the one that takes its place.
            match try_append(&mut *log, last + 1..last + 9) {
                Ok(()) => last += 8,
                Err(error) => {
                    assert_eq!(error.kind, Kind::Full, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "round {round}");
        assert_eq!(&shown(&*reader)[..before.len()], before);
        files.fill_up(false);
        append(&mut *log, last + 1..last + 2 + round % 3);
        last += 1 + round % 3;
        if round % 4 == 0 {
            log.sync().unwrap();
        }
    }
    log.erase(&(1..last).filter(|seq| seq % 9 != 0).collect::<Vec<Seq>>())
        .unwrap();
    log.sync().unwrap();
    files.fill_up(true);
    match log.maintain(u64::MAX) {
        Ok(_) => assert!(options.preallocate, "a rewrite needs room"),
        Err(error) => assert_eq!(error.kind, Kind::Full, "{error}"),
    }
    files.fill_up(false);
    while log.maintain(u64::MAX).unwrap() {}
    append(&mut *log, [last + 1]);
    log.sync().unwrap();
    let expected = shown(&*reader);
    let left_over = std::fs::read_dir(dir.path().join("logs").join(ID.to_string())).unwrap();
    let tmp = left_over.filter(|e| {
        e.as_ref()
            .is_ok_and(|e| e.path().extension().is_some_and(|e| e == "tmp"))
    });
    assert_eq!(tmp.count(), 0);
    drop((log, backend));
    let (_backend, log, report) = open(dir.path(), options);
    assert!(report.damage.is_empty() && report.torn_bytes == 0, "{report:?}");
    assert_eq!(shown(&*log.reader()), expected);
}

#[test]
fn growing_files() {
    fills_up(&LogOptions {
        segment_bytes: 6000,
        ..LogOptions::default()
    });
}

#[test]
fn preallocated_files() {
    fills_up(&LogOptions {
        segment_bytes: 6000,
        preallocate: true,
        ..LogOptions::default()
    });
}

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        ..LogOptions::default()
    }
}

/// A full disk: records are refused and nothing is lost, what removes goes on, and writing goes on when there is room.
#[test]
fn a_full_disk_refuses_records_and_takes_removals() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    let (mut log, _) = backend.open(ID, &small()).unwrap();
    append(&mut *log, 1..=50);
    files.fill_up(true);
    // What was reserved ahead takes some more, and then nothing.
    let mut last = 50;
    let refused = loop {
        match try_append(&mut *log, last + 1..=last + 1) {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind, Kind::Full, "{refused}");
    let refused = try_append(&mut *log, last + 1..=last + 1).unwrap_err();
    assert_eq!(refused.kind, Kind::Full, "{refused}");
    log.erase(&[2, 4]).unwrap();
    log.trim(2).unwrap();
    log.sync().unwrap();
    let live: Vec<Seq> = (3..=last).filter(|seq| *seq != 4).collect();
    assert_eq!(shown(&*log.reader()), live);
    files.fill_up(false);
    append(&mut *log, last + 1..=last + 60);
    let live: Vec<Seq> = (3..=last + 60).filter(|seq| *seq != 4).collect();
    assert_eq!(shown(&*log.reader()), live);
    drop(log);
    let (log, recovery) = backend.open(ID, &small()).unwrap();
    assert_eq!((recovery.damage, recovery.torn_bytes), (Vec::new(), 0));
    assert_eq!(shown(&*log.reader()), live);
}

/// A journal keeps room for what it is promised and some more.
#[test]
fn a_journal_keeps_room() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    let options = LogOptions {
        preallocate: true,
        ..small()
    };
    let (mut log, _) = backend.open(ID, &options).unwrap();
    log.reserve(1000).unwrap();
    append(&mut *log, 1..=10);
    files.fill_up(true);
    // The spare is there.
    log.reserve(1000).unwrap();
    let mut last = 10;
    let mut noticed = 0;
    while try_append(&mut *log, last + 1..=last + 1).is_ok() {
        last += 1;
        match log.reserve(1000) {
            Ok(()) => noticed = last,
            Err(error) => assert_eq!(error.kind, Kind::Full, "{error}"),
        }
    }
    assert!(noticed < last, "it says so before there is nothing left");
    files.fill_up(false);
    log.reserve(1000).unwrap();
    append(&mut *log, last + 1..=last + 10);
    assert_eq!(shown(&*log.reader()), (1..=last + 10).collect::<Vec<Seq>>());
}

/// A turn waits while a journal sees to its room: a young one makes a little more than it has, not a file of full size.
#[test]
fn a_young_journal_makes_no_long_file_while_a_turn_waits() {
    let dir = tempfile::tempdir().unwrap();
    let backend = SegmentBackend::open_with(dir.path(), Arc::new(FaultyFiles::default())).unwrap();
    let options = LogOptions {
        preallocate: true,
        segment_bytes: 16 << 20,
        ..LogOptions::default()
    };
    let (mut log, _) = backend.open(ID, &options).unwrap();
    let spares = || -> Vec<u64> {
        let names = std::fs::read_dir(dir.path().join("logs").join(ID.to_string())).unwrap();
        let names = names.map(|entry| entry.unwrap().path());
        let spares = names.filter(|path| path.extension().is_some_and(|end| end == "spare"));
        spares.map(|path| path.metadata().unwrap().len()).collect()
    };
    log.reserve(1000).unwrap();
    append(&mut *log, 1..=10);
    assert!(spares().is_empty());
    log.reserve(250 << 10).unwrap();
    assert_eq!(spares(), [1 << 20]);
    // What is there will do.
    log.reserve(260 << 10).unwrap();
    assert_eq!(spares(), [1 << 20]);
    log.reserve(3 << 20).unwrap();
    let mut both = spares();
    both.sort_unstable();
    assert!(both.len() == 2 && both[1] > 3 << 20 && both[1] < 4 << 20, "{both:?}");
    drop(log);
    assert!(
        spares().is_empty(),
        "they take room, and nobody writes to the log any more"
    );
}

/// A turn whose calls ask for room one after the other, 10,000 of them, had a file made for each.
#[test]
fn room_that_is_asked_for_little_by_little_takes_few_files() {
    let dir = tempfile::tempdir().unwrap();
    let backend = SegmentBackend::open_with(dir.path(), Arc::new(FaultyFiles::default())).unwrap();
    let options = LogOptions {
        preallocate: true,
        segment_bytes: 256 << 10,
        ..LogOptions::default()
    };
    let (mut log, _) = backend.open(ID, &options).unwrap();
    (1..1000).for_each(|n| log.reserve(n * 4000).unwrap());
    let names = std::fs::read_dir(dir.path().join("logs").join(ID.to_string())).unwrap();
    let spares = names.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|end| end == "spare")
    });
    assert!(spares.count() < 8);
}

/// A stream that is purged on a full disk gives its room back, also where all of it was in the file that is written: the room which that
/// keeps for removals is enough for the next one. Before, only what was written later ended it, and there was no room for that.
#[test]
fn a_purge_on_a_full_disk_gives_the_newest_file_back() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    for n in 0..20 {
        append(&mut *log, n * 1000 + 1..=n * 1000 + 1000);
    }
    let before = log.reader().extent().disk_bytes;
    assert!(before > 1 << 20, "{before}");
    files.fill_to_the_brim();
    log.trim(20_001).unwrap();
    log.sync().unwrap();
    while log.maintain(u64::MAX).unwrap() {}
    assert_eq!(log.reader().extent().count, 0);
    let after = log.reader().extent().disk_bytes;
    assert!(after * 4 < before, "{after} of {before}");
    files.fill_up(false);
    append(&mut *log, [20_001]);
    assert_eq!(shown(&*log.reader()), [20_001]);
    drop((log, backend));
    let (_backend, log, report) = open(dir.path(), &LogOptions::default());
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(shown(&*log.reader()), [20_001]);
}

/// A journal's next file is some times longer than the one before. Where there is no room for that, a shorter one will do: before,
/// publishers were refused with 11 MiB free.
#[test]
fn a_journal_takes_what_room_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    let options = LogOptions {
        preallocate: true,
        segment_bytes: 16 << 20,
        ..LogOptions::default()
    };
    let (mut log, _) = backend.open(ID, &options).unwrap();
    append(&mut *log, 1..=10);
    files.fill_up_to(800 << 10);
    log.reserve(600 << 10).unwrap();
    let refused = log.reserve(900 << 10).unwrap_err();
    assert_eq!(refused.kind, Kind::Full, "{refused}");
}
