//! Flipped bits cost the record that they are in, and nothing else; torn writes cost the batch that was not finished.

use std::fs;

use weir_engine::{Backend, LogOptions, Seq};

use super::super::SegmentBackend;
use super::{Got, ID, append, got, open, segment_files, shown};

/// Two segments, the first sealed, with an erasure and a trim; everything synced and closed in order.
fn make(dir: &std::path::Path, options: &LogOptions) -> Vec<Seq> {
    let (_backend, mut log, _) = open(dir, options);
    for batch in 0..4 {
        append(&mut *log, batch * 4 + 1..=batch * 4 + 4);
        log.sync().unwrap();
    }
    log.erase(&[3, 10]).unwrap();
    log.trim(2).unwrap();
    append(&mut *log, [17, 18]);
    log.sync().unwrap();
    (2..=18).filter(|seq| ![3, 10].contains(seq)).collect()
}

/// Flips one bit of each byte of each file in turn. `lossless` are bytes whose damage may cost no record at all.
fn flip_everywhere(options: &LogOptions) {
    let dir = tempfile::tempdir().unwrap();
    let live = make(dir.path(), options);
    for path in segment_files(dir.path()) {
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let backend = SegmentBackend::open_read_only(dir.path()).unwrap();
            let where_ = format!("byte {at} of {}", path.display());
            let (log, report) = match backend.open(ID, options) {
                Ok(opened) => opened,
                Err(error) => panic!("{where_}: {error}"),
            };
            let reader = log.reader();
            let seen = shown(&*reader);
            let lost: Vec<Seq> = live.iter().copied().filter(|s| !seen.contains(s)).collect();
            let extra: Vec<Seq> = seen.iter().copied().filter(|s| !live.contains(s)).collect();
            assert!(lost.len() <= 1, "{where_}: lost {lost:?}: {report:?}");
            assert!(extra.is_empty(), "{where_}: {extra:?} came back: {report:?}");
            for seq in &live {
                let expected = if lost.contains(seq) { Got::Damaged } else { Got::Right };
                assert_eq!(got(&*reader, *seq), expected, "{where_}: record {seq}: {report:?}");
            }
            for seq in [1, 3, 10, 19] {
                assert_ne!(got(&*reader, seq), Got::Right, "{where_}: record {seq}");
            }
            let extent = reader.extent();
            assert_eq!(extent.last, 18, "{where_}");
            assert!(lost.is_empty() || extent.damaged == 1, "{where_}: {extent:?}");
            assert_eq!(fs::read(&path).unwrap(), bad, "{where_}: reading wrote");
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn one_flipped_bit_anywhere_costs_one_record_at_most() {
    flip_everywhere(&LogOptions::default());
}

#[test]
fn one_flipped_bit_anywhere_in_sealed_segments() {
    flip_everywhere(&LogOptions {
        segment_bytes: 900,
        ..LogOptions::default()
    });
}

#[test]
fn opening_for_writing_keeps_what_is_behind_damage() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    let live = make(dir.path(), &options);
    let path = segment_files(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    // Not in the mark that closing left at the end: without that it is an unfinished write like any other.
    for at in (128..good.len() - 56).step_by(13) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        for _ in 0..2 {
            let (_backend, mut log, report) = open(dir.path(), &options);
            assert_eq!(report.torn_bytes, 0, "byte {at}: {report:?}");
            let seen = shown(&*log.reader());
            assert!(seen.len() + 1 >= live.len(), "byte {at}: {seen:?} {report:?}");
            let next = log.reader().extent().last + 1;
            append(&mut *log, [next]);
            log.sync().unwrap();
        }
        let (_backend, log, _) = open(dir.path(), &options);
        let seen = shown(&*log.reader());
        assert!(seen.len() + 1 >= live.len() + 2, "byte {at}: {seen:?}");
        assert_eq!(seen.last(), Some(&20), "byte {at}");
        // Only what was damaged differs in what was there before.
        let now = fs::read(&path).unwrap();
        assert_eq!(&now[..bad.len()], &bad[..], "byte {at}");
    }
}

#[test]
fn a_torn_last_batch_is_cut_whole_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    {
        let (backend, mut log, _) = open(dir.path(), &options);
        append(&mut *log, 1..=3);
        log.sync().unwrap();
        append(&mut *log, 4..=6);
        drop(log);
        drop(backend);
    }
    let path = segment_files(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let first_batch_end = 128 + 56 + (1..=3).map(frame_len).sum::<usize>();
    for len in first_batch_end..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (backend, mut log, report) = open(dir.path(), &options);
        let expected: Vec<Seq> = if len == whole.len() {
            (1..=6).collect()
        } else {
            (1..=3).collect()
        };
        assert_eq!(shown(&*log.reader()), expected, "{len} bytes");
        assert!(report.damage.is_empty(), "{len} bytes: {report:?}");
        if len > first_batch_end && len < whole.len() {
            assert_ne!(report.torn_bytes, 0, "{len} bytes");
        }
        // What is written next must not mix with what was cut.
        let next = expected.last().unwrap() + 1;
        append(&mut *log, [next]);
        log.sync().unwrap();
        drop(log);
        drop(backend);
        let (_backend, log, report) = open(dir.path(), &options);
        assert!(
            report.damage.is_empty() && report.torn_bytes == 0,
            "{len} bytes: {report:?}"
        );
        let expected: Vec<Seq> = expected.into_iter().chain([next]).collect();
        assert_eq!(shown(&*log.reader()), expected, "{len} bytes");
    }
}

fn frame_len(seq: Seq) -> usize {
    let (head, body) = super::content(seq);
    (40 + head.len() + body.len()).next_multiple_of(8)
}

#[test]
fn a_record_in_the_wrong_place_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    make(dir.path(), &options);
    let path = segment_files(dir.path()).remove(0);
    let mut raw = fs::read(&path).unwrap();
    // Records 1 and 2 of the first batch have frames of different places; 6 and 1 have the same length.
    let one = 128 + 56;
    let len = frame_len(1);
    let six = 128 + 2 * 56 + (1..=5).map(frame_len).sum::<usize>();
    assert_eq!(frame_len(6), len);
    let copy = raw[one..one + len].to_vec();
    raw[six..six + len].copy_from_slice(&copy);
    fs::write(&path, &raw).unwrap();
    let (_backend, log, report) = open(dir.path(), &options);
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(got(&*log.reader(), 6), Got::Damaged);
    assert_eq!(got(&*log.reader(), 5), Got::Right);
    assert_eq!(got(&*log.reader(), 7), Got::Right);
}

/// A segment is named for the record that it was begun for. Where a power failure took that one, and the next has a lower
/// number, a scan looked for it in the segment that has nothing, and did not find it.
#[test]
fn a_segment_that_lost_its_only_record_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 300,
        ..LogOptions::default()
    };
    let (backend, mut log, _) = open(dir.path(), &options);
    append(&mut *log, [1, 2, 3]);
    log.sync().unwrap();
    append(&mut *log, [9]);
    drop((log, backend));
    let files = segment_files(dir.path());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&files[files.len() - 1])
        .unwrap();
    file.set_len(250).unwrap();
    for _ in 0..2 {
        let (backend, mut log, report) = open(dir.path(), &options);
        assert!(report.damage.is_empty(), "{report:?}");
        let mut expected = shown(&*log.reader());
        let next = log.reader().extent().last + 1;
        append(&mut *log, [next]);
        expected.push(next);
        assert_eq!(shown(&*log.reader()), expected);
        log.sync().unwrap();
        drop((log, backend));
    }
    let (_backend, log, _) = open(dir.path(), &options);
    assert_eq!(shown(&*log.reader()), [1, 2, 3, 4, 5]);
}
