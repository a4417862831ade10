//! The frames that are kept beside a log: what comes back of them, and that nothing that happens to them touches the log.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, KeepStep, LogOptions};

use super::super::SegmentBackend;
use super::super::disk::{Failure, SimulatedDisk};
use super::{ID, append, open, shown};

fn frames(range: std::ops::Range<u8>) -> Vec<Bytes> {
    range.map(|n| vec![n; 10 + usize::from(n)].into()).collect()
}

fn steps(range: std::ops::Range<u8>) -> Vec<KeepStep> {
    frames(range).into_iter().map(KeepStep::Frame).collect()
}

fn anew(range: std::ops::Range<u8>) -> Vec<KeepStep> {
    [&[KeepStep::Begin][..], &steps(range), &[KeepStep::Complete]].concat()
}

#[test]
fn frames_come_back_until_the_log_is_truncated_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    let (backend, log, _) = open(dir.path(), &options);
    let kept = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!((kept.frames.len(), kept.open), (0, false));
    assert!(
        backend.keep_index(ID, kept.token, &steps(0..1)).is_err(),
        "there is no list yet"
    );
    backend.keep_index(ID, kept.token, &anew(0..3)).unwrap();
    backend.keep_index(ID, kept.token, &steps(3..5)).unwrap();
    let now = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!((now.frames, now.open), (frames(0..5), true));
    assert!(
        backend.keep_index(ID, kept.token, &steps(5..6)).is_err(),
        "the list was asked for since"
    );
    drop((log, backend));

    let (backend, mut log, _) = open(dir.path(), &options);
    let kept = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!((&kept.frames, kept.open), (&frames(0..5), true));
    backend.keep_index(ID, kept.token, &steps(5..6)).unwrap();
    // One that is not complete is none.
    let begun = [vec![KeepStep::Begin], steps(7..9)].concat();
    backend.keep_index(ID, kept.token, &begun).unwrap();
    let kept = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!(kept.frames, frames(0..6));
    let token = kept.token;
    backend.keep_index(ID, token, &anew(9..11)).unwrap();
    backend.keep_index(ID, token, &steps(11..12)).unwrap();
    let kept = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!((kept.frames, kept.open), (frames(9..12), true));

    append(&mut *log, 1..4);
    drop((log, backend));
    {
        let backend = SegmentBackend::open_read_only(dir.path()).unwrap();
        let (log, _) = backend.open(ID, &options).unwrap();
        // As an image does, which holds readers alone.
        let reader = log.reader();
        drop(log);
        let kept = backend.kept_index(ID).unwrap().unwrap();
        assert_eq!((kept.frames, shown(&*reader)), (frames(9..12), vec![1, 2, 3]));
    }

    let (backend, mut log, _) = open(dir.path(), &options);
    log.truncate(2).unwrap();
    let kept = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!((kept.frames.len(), kept.open), (0, false));
    backend.keep_index(ID, kept.token, &anew(0..2)).unwrap();
    drop(log);
    assert!(
        backend.keep_index(ID, kept.token, &steps(2..3)).is_err(),
        "the log is closed"
    );
    backend.remove(ID).unwrap();
    let (_log, _) = backend.open(ID, &options).unwrap();
    assert_eq!(backend.kept_index(ID).unwrap().unwrap().frames.len(), 0);
}

#[test]
fn a_store_that_is_only_read_keeps_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, log, _) = open(dir.path(), &LogOptions::default());
    let token = backend.kept_index(ID).unwrap().unwrap().token;
    backend.keep_index(ID, token, &anew(0..3)).unwrap();
    drop((log, backend));
    let backend = SegmentBackend::open_read_only(dir.path()).unwrap();
    let (_log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    let kept = backend.kept_index(ID).unwrap().unwrap();
    assert_eq!(kept.frames, frames(0..3));
    assert!(backend.keep_index(ID, kept.token, &anew(0..1)).is_err());
    assert!(backend.forget_index(ID).is_err());
    assert_eq!(backend.kept_index(ID).unwrap().unwrap().frames, frames(0..3));
}

#[test]
fn whatever_is_damaged_a_beginning_of_the_list_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, log, _) = open(dir.path(), &LogOptions::default());
    let token = backend.kept_index(ID).unwrap().unwrap().token;
    backend.keep_index(ID, token, &anew(0..4)).unwrap();
    let file = super::super::kept::path(&backend_dir(dir.path()));
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        for cut in [false, true] {
            let mut raw = whole.clone();
            match cut {
                true => raw.truncate(at),
                false => raw[at] ^= 1,
            }
            std::fs::write(&file, &raw).unwrap();
            let kept = backend.kept_index(ID).unwrap().unwrap();
            let some = kept.frames.len();
            assert!(some < 4 && kept.frames == frames(0..some as u8), "byte {at}: {some}");
            assert!(!kept.open || (cut && kept_ends(&whole, at)), "byte {at}");
        }
    }
    drop(log);
}

/// Whether a file that is cut there ends with a frame.
fn kept_ends(whole: &[u8], at: usize) -> bool {
    let mut end = 16;
    while end < at {
        end += 16 + u32::from_le_bytes(whole[end + 8..end + 12].try_into().unwrap()) as usize;
    }
    end == at
}

fn backend_dir(store: &Path) -> std::path::PathBuf {
    store.join("logs").join(ID.to_string())
}

/// Keeping fails at its n-th call, for every n, and the process ends or the power fails: the log has all that it had, and a list is
/// the one before or the one after, or a beginning of it.
#[test]
fn whatever_fails_is_no_matter_to_the_log() {
    for failure in [Failure::Io, Failure::Full] {
        for n in 1.. {
            let disk = Arc::new(SimulatedDisk::new(n));
            let store = Path::new("/store");
            let over = {
                let backend = SegmentBackend::open_on(&disk, store).unwrap();
                let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
                append(&mut *log, 1..10);
                log.sync().unwrap();
                let token = backend.kept_index(ID).unwrap().unwrap().token;
                backend.keep_index(ID, token, &anew(0..3)).unwrap();
                disk.fail_at(n, failure, false);
                let added = backend.keep_index(ID, token, &steps(3..5));
                let renewed = backend.keep_index(ID, token, &anew(20..23));
                let over = disk.calls() < n;
                assert!(added.is_err() || renewed.is_err() || over || failure == Failure::Full);
                disk.fail_at(0, failure, false);
                append(&mut *log, 10..20);
                log.sync().unwrap();
                disk.lose_power(&mut Dice::new(n));
                over
            };
            disk.boot();
            let backend = SegmentBackend::open_on(&disk, store).unwrap();
            let (log, report) = backend.open(ID, &LogOptions::default()).unwrap();
            assert_eq!(report.damage, [] as [String; 0], "call {n}");
            assert_eq!(shown(&*log.reader()), (1..20).collect::<Vec<_>>(), "call {n}");
            let kept = backend.kept_index(ID).unwrap().unwrap();
            let some = kept.frames.len();
            let before = some <= 5 && kept.frames == frames(0..some as u8);
            let after = some <= 3 && kept.frames == frames(20..20 + some as u8);
            assert!(before || after, "call {n}: {some} frames");
            if over {
                assert!(n > 5, "there are more calls than {n}");
                break;
            }
        }
    }
}

#[test]
fn ranges_of_live_records_are_those_that_a_scan_finds() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_bytes: 4 << 10,
            ..LogOptions::default()
        };
        let (mut backend, mut log, _) = open(dir.path(), &options);
        let mut last = 0;
        for step in 0..60 {
            match dice.below(6) {
                0..=2 => {
                    last += 1 + [0, 0, 3][dice.below(3) as usize];
                    let end = last + dice.below(20);
                    append(&mut *log, last..=end);
                    last = end;
                }
                3 => {
                    let first = dice.below(last + 1);
                    let gone: Vec<_> = (first..first + dice.below(9)).filter(|_| dice.below(3) > 0).collect();
                    log.erase(&gone).unwrap();
                }
                4 if dice.below(4) == 0 => log.trim(dice.below(last + 2)).unwrap(),
                4 => _ = log.maintain(u64::MAX).unwrap(),
                _ => {
                    log.sync().unwrap();
                    drop((log, backend));
                    (backend, log, _) = open(dir.path(), &options);
                }
            }
            let reader = log.reader();
            let live = shown(&*reader);
            let (low, high) = (dice.below(last + 2), dice.below(last + 2));
            for (low, high) in [(0, u64::MAX), (low, high)] {
                let mut found = Vec::new();
                reader
                    .live(low..=high, &mut |first, last| found.extend(first..=last))
                    .unwrap();
                let expected: Vec<_> = live.iter().copied().filter(|seq| (low..=high).contains(seq)).collect();
                assert_eq!(found, expected, "seed {seed}, step {step}, {low} to {high}");
            }
        }
    }
}
