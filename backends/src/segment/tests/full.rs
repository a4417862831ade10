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
