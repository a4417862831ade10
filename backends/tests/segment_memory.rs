//! What was read of segments does not stay in the process's memory. A process by itself: what is mapped counts for all its threads.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::ControlFlow;

use weir_backends::segment::SegmentBackend;
use weir_engine::{Backend, Direction, LogId, LogOptions, Record, Want};

const BODY: usize = 128 << 10;
const RECORDS: u64 = 2400;

/// Memory of this process that belongs to files, in MiB.
fn mapped() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
    let kib: u64 = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    kib >> 10
}

#[test]
fn memory_does_not_grow_with_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let backend = SegmentBackend::open(folder.path()).unwrap();
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).unwrap();
    let body = vec![b'x'; BODY];
    for seq in 1..=RECORDS {
        let (time, head) = (0, &b"s"[..]);
        let body = &body;
        log.append(&[Record { seq, time, head, body }]).unwrap();
    }
    backend.sync().unwrap();
    let reader = log.reader();
    let before = mapped();

    let (mut bytes, mut most) = (0, 0);
    let mut held = None;
    reader
        .scan(1..=RECORDS, Want::Full, Direction::Forward, &mut |entry| {
            bytes += entry.body.len();
            most = most.max(mapped() - before);
            held.get_or_insert_with(|| entry.to_entry());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(bytes, RECORDS as usize * BODY);
    assert!(most <= 40, "in order: {most} MiB more");
    assert_eq!(held.unwrap().body, body, "whoever holds a record has it");

    most = 0;
    for seq in 1..=RECORDS {
        let entry = reader.get(seq).unwrap().unwrap();
        assert_eq!(entry.body, body);
        most = most.max(mapped() - before);
    }
    assert!(most <= 140, "one by one: {most} MiB more");
}
