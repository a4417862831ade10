//! Files are closed only when nothing can be lost by it, and too many open files cost one request.

use std::path::PathBuf;
use std::sync::Arc;

use weir_engine::{Backend, Kind, Log, LogId, LogOptions};

use super::super::SegmentBackend;
use super::faulty::FaultyFiles;
use super::{append, shown, try_append};

fn few(dir: &std::path::Path, count: usize) -> (SegmentBackend, Arc<FaultyFiles>) {
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir, files.clone()).unwrap();
    backend.hold_open(count);
    (backend, files)
}

fn logs(backend: &SegmentBackend, count: u64) -> Vec<Box<dyn Log>> {
    let open = |id| backend.open(LogId(id), &LogOptions::default()).unwrap().0;
    (1..=count).map(open).collect()
}

fn open_segments(dir: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
        .filter(|path| path.starts_with(dir) && path.extension().is_some_and(|e| e == "seg"))
        .collect()
}

fn mapped_segments(dir: &std::path::Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let dir = dir.to_str().unwrap();
    maps.lines()
        .filter(|line| line.contains(dir) && line.ends_with(".seg"))
        .count()
}

fn segment_of(dir: &std::path::Path, id: u64) -> PathBuf {
    let log = dir.join("logs").join(LogId(id).to_string());
    std::fs::read_dir(log).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_file_that_was_written_to_is_not_closed_before_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, files) = few(dir.path(), 8);
    let mut logs = logs(&backend, 30);
    // Some that are synced, which may be closed, and more that are not.
    for log in &mut logs[..6] {
        append(&mut **log, 1..=2);
        log.sync().unwrap();
    }
    files.take_synced();
    for log in &mut logs[6..10] {
        append(&mut **log, 1..=2);
    }
    let open = open_segments(dir.path());
    for id in 7..=10 {
        let path = segment_of(dir.path(), id);
        assert!(open.contains(&path), "{id} was closed before it was synced");
    }
    assert_eq!(files.take_synced(), [] as [PathBuf; 0], "there were others to close");
    for log in &mut logs[10..] {
        append(&mut **log, 1..=2);
    }
    let (open, synced) = (open_segments(dir.path()), files.take_synced());
    assert!(open.len() <= 9, "{open:?}");
    for id in 7..=30 {
        let path = segment_of(dir.path(), id);
        assert!(
            open.contains(&path) || synced.contains(&path),
            "{id} was closed and not synced"
        );
    }
    backend.sync().unwrap();
    assert_eq!(shown(&*logs[29].reader()), [1, 2]);
}

#[test]
fn an_error_of_writing_back_a_file_that_had_to_be_closed_is_told_by_the_next_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, files) = few(dir.path(), 8);
    let mut logs = logs(&backend, 9);
    for log in &mut logs[..8] {
        append(&mut **log, 1..=2);
    }
    // Making the ninth file closes the first, which is synced for that after two calls, to make and to write.
    files.fail_at(3, false);
    append(&mut *logs[8], 1..=2);
    assert!(files.calls() > 2);
    assert_eq!(backend.sync().unwrap_err().kind, Kind::Io);
    assert_eq!(backend.sync().unwrap_err().kind, Kind::Poisoned);
}

#[test]
fn what_is_let_go_of_is_no_longer_mapped_and_can_be_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, _files) = few(dir.path(), 64);
    let options = LogOptions {
        segment_bytes: 8192,
        ..LogOptions::default()
    };
    let (mut log, _) = backend.open(LogId(1), &options).unwrap();
    for seq in 1..=500 {
        append(&mut *log, [seq]);
    }
    let reader = log.reader();
    let all: Vec<u64> = (1..=500).collect();
    assert_eq!(shown(&*reader), all);
    let held = reader.get(7).unwrap().unwrap();
    assert!(mapped_segments(dir.path()) > 2);
    reader.let_go();
    // That of which somebody holds bytes stays.
    assert!(mapped_segments(dir.path()) <= 1);
    assert_eq!(held, reader.get(7).unwrap().unwrap());
    append(&mut *log, [501]);
    assert_eq!(shown(&*reader).len(), 501);
}

#[test]
fn journals_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, _files) = few(dir.path(), 4);
    let options = LogOptions {
        preallocate: true,
        segment_bytes: 8192,
        ..LogOptions::default()
    };
    let (mut journal, _) = backend.open(LogId(100), &options).unwrap();
    append(&mut *journal, [1]);
    journal.sync().unwrap();
    let mut logs = logs(&backend, 20);
    for log in &mut logs {
        append(&mut **log, 1..=2);
        log.sync().unwrap();
    }
    assert!(open_segments(dir.path()).contains(&segment_of(dir.path(), 100)));
}

#[test]
fn too_many_open_files_cost_one_request_and_not_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, files) = few(dir.path(), 4);
    let mut logs = logs(&backend, 8);
    for log in &mut logs {
        append(&mut **log, 1..=2);
        log.sync().unwrap();
    }
    // Once: others are closed, and it goes on.
    files.refuse_to_open(1);
    append(&mut *logs[0], 3..=4);
    // For longer: that write is refused, and nothing else.
    files.refuse_to_open(2);
    let refused = try_append(&mut *logs[1], 3..=4).unwrap_err();
    assert_eq!(refused.kind, Kind::Busy, "{refused}");
    assert!(refused.message.contains("too many files are open"), "{refused}");
    files.refuse_to_open(2);
    let reader = logs[2].reader();
    assert_eq!(reader.get(1).unwrap_err().kind, Kind::Busy);
    append(&mut *logs[1], 3..=4);
    for log in &mut logs[..2] {
        log.sync().unwrap();
        assert_eq!(shown(&*log.reader()), [1, 2, 3, 4]);
    }
    assert_eq!(shown(&*reader), [1, 2]);
    // A log that needs a new segment for it.
    let (mut log, _) = backend.open(LogId(50), &LogOptions::default()).unwrap();
    files.refuse_to_open(2);
    assert_eq!(try_append(&mut *log, [1]).unwrap_err().kind, Kind::Busy);
    append(&mut *log, [1]);
    backend.sync().unwrap();
    assert_eq!(shown(&*log.reader()), [1]);
}

/// A panic in the middle left the log marked as open, and it could not be opened any more.
#[test]
fn a_log_whose_opening_panicked_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, files) = few(dir.path(), 8);
    append(&mut *logs(&backend, 1)[0], 1..=3);
    for call in 1.. {
        files.panic_at(call);
        let open = std::panic::AssertUnwindSafe(|| backend.open(LogId(1), &LogOptions::default()).map(drop));
        let opened = std::panic::catch_unwind(open);
        files.fail_at(0, false);
        let (log, _) = backend.open(LogId(1), &LogOptions::default()).unwrap();
        assert_eq!(shown(&*log.reader()), [1, 2, 3], "call {call}");
        if opened.is_ok() {
            break;
        }
    }
}
