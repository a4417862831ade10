//! A record that was overwritten stays removed, and is counted so, where the erasure that said it is lost.

use std::fs;
use std::path::Path;

use weir_engine::{Backend, LogChange, LogOptions, Recovery, Seq};

use super::super::SegmentBackend;
use super::{ID, append, open, segment_files, shown};

/// What is erased.
const ERASED: [Seq; 3] = [2, 3, 17];

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 1500,
        ..LogOptions::default()
    }
}

/// Makes a log of several files, overwrites some records behind so many batches of four, and takes away the end of the file that tells
/// of it. Answers what it has lost with that.
fn without_its_erasure(dir: &Path, batches: u64) -> Vec<Seq> {
    let (backend, mut log, _) = open(dir, &small());
    (0..batches).for_each(|batch| append(&mut *log, batch * 4 + 1..=batch * 4 + 4));
    let file = segment_files(dir).pop().unwrap();
    let before = fs::metadata(&file).unwrap().len();
    let change = LogChange {
        erase: &ERASED,
        overwrite: true,
        ..LogChange::default()
    };
    log.write(&change).unwrap();
    (batches..30).for_each(|batch| append(&mut *log, batch * 4 + 1..=batch * 4 + 4));
    log.sync().unwrap();
    let there = shown(&*log.reader());
    drop((log, backend));
    let cut = fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(before).unwrap();
    let (seen, _) = look(dir);
    assert!(seen.iter().all(|seq| there.contains(seq)), "nothing is there again");
    there.into_iter().filter(|seq| !seen.contains(seq)).collect()
}

/// What whoever only reads finds.
fn look(dir: &Path) -> (Vec<Seq>, Recovery) {
    let backend = SegmentBackend::open_read_only(dir).unwrap();
    let (log, report) = backend.open(ID, &small()).unwrap();
    (shown(&*log.reader()), report)
}

/// Each start found more records than the newest write counted, and told of it as of something new: whoever read them had counted those
/// as removed that the next opening did not know to be overwritten.
#[test]
fn what_was_overwritten_is_not_found_more_again_by_each_opening() {
    let (mut ended_the_file, mut goes_on) = (0, 0);
    for batches in 6..20 {
        let dir = tempfile::tempdir().unwrap();
        match without_its_erasure(dir.path(), batches).is_empty() {
            true => ended_the_file += 1,
            false => goes_on += 1,
        }
        let mut told = Vec::new();
        for round in 0..4 {
            let (_backend, mut log, report) = open(dir.path(), &small());
            assert_eq!(
                (report.revived, report.surplus),
                (None, 0),
                "{batches} batches, round {round}"
            );
            told.push(report.damage);
            // Somebody looks at all, and then it is written to.
            let seen = shown(&*log.reader());
            assert!(ERASED.iter().all(|seq| !seen.contains(seq)), "{seen:?}");
            assert_eq!(log.reader().extent().count, seen.len() as u64);
            if round != 2 {
                append(&mut *log, [200 + round]);
                log.sync().unwrap();
            }
        }
        assert!(told[1..].iter().all(|lines| *lines == told[1]), "{told:?}");
        let (_, report) = look(dir.path());
        assert_eq!((report.revived, report.surplus), (None, 0), "{batches} batches");
    }
    assert!(ended_the_file > 0 && goes_on > 0, "{ended_the_file} {goes_on}");
}

/// What tells of it is written anew, and goes only when what was overwritten is no longer there.
#[test]
fn what_was_overwritten_is_counted_right_when_files_are_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    without_its_erasure(dir.path(), 12);
    for round in 0..3 {
        let (_backend, mut log, report) = open(dir.path(), &small());
        assert_eq!((report.revived, report.surplus), (None, 0), "round {round}");
        shown(&*log.reader());
        append(&mut *log, [200 + 2 * round]);
        let erase: Vec<Seq> = (30..120).filter(|seq| seq % 4 != round).collect();
        log.erase(&erase).unwrap();
        log.sync().unwrap();
        while log.maintain(u64::MAX).unwrap() {}
        append(&mut *log, [201 + 2 * round]);
        log.sync().unwrap();
    }
    let (seen, report) = look(dir.path());
    assert_eq!((report.revived, report.surplus), (None, 0));
    assert!(ERASED.iter().all(|seq| !seen.contains(seq)), "{seen:?}");
}
