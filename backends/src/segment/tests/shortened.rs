//! A file that is made shorter, or a page that cannot be read: the records there are damaged, and the process lives.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use weir_engine::{Backend, LogOptions, LogReader, Record, Seq};

use super::super::SegmentBackend;
use super::faulty::FaultyFiles;
use super::{Got, ID, append, got, open, segment_files, shown};

const LAST: Seq = 3000;

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions {
        segment_bytes,
        ..LogOptions::default()
    }
}

fn fill(log: &mut dyn weir_engine::Log) {
    for batch in 0..LAST / 50 {
        append(log, batch * 50 + 1..=batch * 50 + 50);
    }
    log.sync().unwrap();
}

fn shorten(path: &Path, len: u64) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

/// Every sequence is right or damaged, none is silently gone; answers the damaged ones.
fn damaged(reader: &dyn LogReader) -> Vec<Seq> {
    let mut found = Vec::new();
    for seq in 1..=LAST {
        match got(reader, seq) {
            Got::Right => {}
            Got::Damaged => found.push(seq),
            Got::Nothing => panic!("record {seq} is silently gone"),
        }
    }
    let seen = shown(reader);
    assert_eq!(
        seen.iter().filter(|seq| **seq <= LAST).count() + found.len(),
        LAST as usize
    );
    found
}

#[test]
fn under_an_open_log_that_grows() {
    let dir = tempfile::tempdir().unwrap();
    let (_backend, mut log, _) = open(dir.path(), &options(16 << 20));
    fill(&mut *log);
    let reader = log.reader();
    assert_eq!(damaged(&*reader), [] as [Seq; 0]);
    let path = segment_files(dir.path()).remove(0);
    let held = reader.get(LAST).unwrap().unwrap();
    shorten(&path, fs::metadata(&path).unwrap().len() / 2);
    let lost = damaged(&*reader);
    assert!(lost.len() > 1000 && lost.len() < 2000, "{} are damaged", lost.len());
    assert_eq!(lost.last(), Some(&LAST));
    assert!(reader.extent().damaged > 0);
    // Bytes that somebody holds are zeros now, which is no crash.
    assert!(held.body.iter().all(|byte| *byte == 0));
    // It goes on behind what is lost.
    append(&mut *log, [LAST + 1]);
    log.sync().unwrap();
    assert_eq!(got(&*reader, LAST + 1), Got::Right);
    log.erase(&[LAST]).unwrap();
    log.trim(10).unwrap();
    assert_eq!(got(&*reader, LAST), Got::Nothing);
}

#[test]
fn under_an_open_log_where_the_table_is_lost_too() {
    let dir = tempfile::tempdir().unwrap();
    let (_backend, mut log, _) = open(dir.path(), &options(64 << 10));
    fill(&mut *log);
    let reader = log.reader();
    assert_eq!(damaged(&*reader), [] as [Seq; 0]);
    let files = segment_files(dir.path());
    assert!(files.len() > 2);
    shorten(&files[0], 20_000);
    let lost = damaged(&*reader);
    assert!(lost.len() > 100 && lost.len() < 1000, "{} are damaged", lost.len());
    // One that nothing has read the table of yet.
    let (backend, log2) = {
        drop((log, _backend));
        let backend = SegmentBackend::open(dir.path()).unwrap();
        let (log, _) = backend.open(ID, &options(64 << 10)).unwrap();
        (backend, log)
    };
    shorten(&files[1], 20_000);
    let more = damaged(&*log2.reader());
    assert!(more.len() > lost.len(), "{} are damaged", more.len());
    drop(backend);
}

#[test]
fn before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &options(64 << 10));
        fill(&mut *log);
    }
    let files = segment_files(dir.path());
    for len in [20_000, 4096, 60, 0] {
        shorten(&files[1], len);
        let (_backend, mut log, report) = open(dir.path(), &options(64 << 10));
        assert!(!report.damage.is_empty(), "{len}: {report:?}");
        assert_eq!(report.torn_bytes, 0, "{len}: {report:?}");
        let lost = damaged(&*log.reader());
        assert!(
            lost.len() > 100 && lost.len() < 1000,
            "{len}: {} are damaged",
            lost.len()
        );
        let next = log.reader().extent().last + 1;
        append(&mut *log, [next]);
        log.sync().unwrap();
    }
}

#[test]
fn while_it_is_opened() {
    for preallocate in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions {
            preallocate,
            ..options(1 << 20)
        };
        {
            let (_backend, mut log, _) = open(dir.path(), &options);
            fill(&mut *log);
        }
        let path = segment_files(dir.path()).remove(0);
        let files = Arc::new(FaultyFiles::default());
        files.shorten_when_mapped(&path, 100_000);
        let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
        let (mut log, report) = backend.open(ID, &options).unwrap();
        assert!(!report.damage.is_empty(), "{report:?}");
        assert_eq!(report.torn_bytes, 0, "{report:?}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 100_000, "opening wrote to it");
        let reader = log.reader();
        assert_eq!(got(&*reader, 1), Got::Right);
        let last = reader.extent().last;
        assert!(last > 800, "{last}");
        append(&mut *log, [last + 1]);
        log.sync().unwrap();
        assert_eq!(got(&*reader, last + 1), Got::Right);
        drop((log, backend));
        let (_backend, log, _) = open(dir.path(), &options);
        assert_eq!(got(&*log.reader(), 1), Got::Right);
        assert_eq!(got(&*log.reader(), last + 1), Got::Right);
    }
}

/// The head of the last record is there, and says how long it was: what is written afterwards is not taken for the rest.
#[test]
fn within_a_long_record_that_others_follow() {
    let long = vec![b'x'; 2000];
    for len in (128..2 * 2000).step_by(99) {
        let dir = tempfile::tempdir().unwrap();
        let mut known = LogOptions::default();
        {
            let (_backend, mut log, _) = open(dir.path(), &known);
            for seq in 1..=2 {
                let record = Record {
                    seq,
                    time: 0,
                    head: b"",
                    body: &long,
                };
                log.append(&[record]).unwrap();
            }
            log.sync().unwrap();
            known.synced = log.last_change();
        }
        shorten(&segment_files(dir.path())[0], len);
        for next in 3..=8 {
            let (_backend, mut log, report) = open(dir.path(), &known);
            assert!(!report.damage.is_empty(), "{len}: {report:?}");
            for seq in 3..next {
                assert_eq!(got(&*log.reader(), seq), Got::Right, "{len}: {report:?}");
            }
            append(&mut *log, [next]);
            log.sync().unwrap();
        }
    }
}
