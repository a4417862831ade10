//! Space comes back, and few files are open.

use weir_engine::{Backend, LogId, LogOptions, Seq};

use super::super::SegmentBackend;
use super::super::format::Identity;
use super::super::seal::Footer;
use super::{ID, append, open, segment_files, shown};

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        ..LogOptions::default()
    }
}

#[test]
fn trimmed_segments_are_unlinked_and_preallocated_ones_used_again() {
    for preallocate in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { preallocate, ..small() };
        let (_backend, mut log, _) = open(dir.path(), &options);
        let reader = log.reader();
        let held = {
            append(&mut *log, [1]);
            reader.get(1).unwrap().unwrap()
        };
        for round in 0..60u64 {
            append(&mut *log, round * 50 + 2..round * 50 + 52);
            log.sync().unwrap();
            log.trim(round * 50 + 40).unwrap();
            log.sync().unwrap();
        }
        log.maintain(1 << 20).unwrap();
        assert!(segment_files(dir.path()).len() <= 3, "{:?}", segment_files(dir.path()));
        assert!(reader.extent().disk_bytes <= 3 * (16 << 10));
        assert_eq!(&held.body[..], &super::content(1).1[..], "held bytes stay as they were");
        let last = 59 * 50 + 51;
        assert_eq!(shown(&*reader), (59 * 50 + 40..=last).collect::<Vec<Seq>>());
    }
}

#[test]
fn mostly_erased_segments_are_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let live: Vec<Seq> = (1..=3000).filter(|seq| seq % 10 == 0).collect();
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        for batch in 0..60u64 {
            append(&mut *log, batch * 50 + 1..=batch * 50 + 50);
        }
        let dead: Vec<Seq> = (1..=3000).filter(|seq| seq % 10 != 0).collect();
        for chunk in dead.chunks(300) {
            log.erase(chunk).unwrap();
        }
        log.sync().unwrap();
        let before = log.reader().extent();
        while log.maintain(8 << 10).unwrap() {}
        let after = log.reader().extent();
        assert!(after.disk_bytes * 3 < before.disk_bytes, "{before:?} {after:?}");
        assert_eq!((after.count, after.bytes), (before.count, before.bytes));
        assert_eq!(shown(&*log.reader()), live);
        log.sync().unwrap();
    }
    let (_backend, log, report) = open(dir.path(), &small());
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(shown(&*log.reader()), live);
}

/// Of what is gone from all segments nothing needs to say that it was erased.
#[test]
fn compacting_leaves_no_erasure_of_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let live: Vec<Seq> = (1..=3000).filter(|seq| seq % 2 == 0).collect();
    let erased = || -> u32 {
        let tombs = segment_files(dir.path()).into_iter().map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (_, identity) = Identity::parse_name(ID, name).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            Footer::decode(&bytes, identity).map_or(0, |footer| footer.tombs_len)
        });
        tombs.sum()
    };
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        for batch in 0..60u64 {
            append(&mut *log, batch * 50 + 1..=batch * 50 + 50);
        }
        let dead: Vec<Seq> = (1..=3000).filter(|seq| seq % 2 != 0).collect();
        for chunk in dead.chunks(300) {
            log.erase(chunk).unwrap();
        }
        // So that the erasures are in segments that are written anew as well.
        append(&mut *log, 3001..=3300);
        assert!(erased() > 0);
        log.compact(None, &mut |_, _| {}).unwrap();
        log.sync().unwrap();
        assert_eq!(erased(), 0);
    }
    let (_backend, log, report) = open(dir.path(), &small());
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(shown(&*log.reader()), [live, (3001..=3300).collect()].concat());
}

fn logs_dir(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("logs")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_removed_log_goes_at_once_and_its_files_later() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, mut log, _) = open(dir.path(), &small());
    append(&mut *log, 1..=2000);
    let reader = log.reader();
    drop(log);
    backend.remove(ID).unwrap();
    assert_eq!(backend.list().unwrap(), []);
    assert_eq!(shown(&*reader).len(), 2000, "readers go on");
    // The same id again, whether or not the files of the first have gone.
    let (mut log, recovery) = backend.open(ID, &small()).unwrap();
    assert!(recovery.created);
    append(&mut *log, 1..=3);
    drop(log);
    backend.remove(ID).unwrap();
    drop(backend);
    // A crash may leave any of it; what is not ours stays.
    let leave = [
        "0000000000001234.7.removed",
        "0000000000000099.removed",
        "notes.removed",
        "0000000000001234.x.removed",
    ];
    for name in leave {
        let left = dir.path().join("logs").join(name);
        let _ = std::fs::remove_dir_all(&left);
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("a.seg"), "x").unwrap();
    }
    // On one thread, so that it is done when the store is open.
    let files = std::sync::Arc::new(super::faulty::FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files).unwrap();
    assert_eq!(logs_dir(dir.path()), [leave[3], leave[2]]);
    assert_eq!(backend.list().unwrap(), []);
}

#[test]
fn a_journal_begins_small_and_grows_and_its_next_file_is_prepared() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        preallocate: true,
        segment_bytes: 1 << 20,
        ..LogOptions::default()
    };
    let (backend, mut log, _) = open(dir.path(), &options);
    append(&mut *log, [1]);
    log.sync().unwrap();
    let lengths = || -> Vec<u64> {
        let files = segment_files(dir.path());
        files.iter().map(|path| path.metadata().unwrap().len()).collect()
    };
    assert_eq!(lengths(), [256 << 10]);
    let spares = || {
        let log = dir.path().join("logs").join(ID.to_string());
        let names = std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path());
        names.filter(|path| path.to_string_lossy().ends_with(".spare")).count()
    };
    let mut seq = 1;
    while seq < 2000 {
        append(&mut *log, seq + 1..seq + 50);
        seq += 49;
    }
    assert!(lengths().iter().all(|len| *len == 256 << 10), "not full yet");
    while spares() == 0 {
        // The thread that makes it does not depend on this one.
        std::thread::yield_now();
    }
    while segment_files(dir.path()).len() == 1 {
        append(&mut *log, seq + 1..seq + 50);
        seq += 49;
    }
    assert_eq!(lengths(), [256 << 10, 1 << 20]);
    assert_eq!(spares(), 0, "it took the one that was there");
    log.sync().unwrap();
    drop((log, backend));
    let (_backend, log, report) = open(dir.path(), &options);
    assert!(report.damage.is_empty() && report.torn_bytes == 0, "{report:?}");
    assert_eq!(shown(&*log.reader()), (1..=seq).collect::<Vec<Seq>>());
}

#[test]
fn many_small_logs_hold_few_files_open() {
    let dir = tempfile::tempdir().unwrap();
    let backend = SegmentBackend::open(dir.path()).unwrap();
    backend.hold_open(256);
    let mut logs = Vec::new();
    for id in 0..600 {
        let (mut log, _) = backend.open(LogId(id), &LogOptions::default()).unwrap();
        append(&mut *log, 1..=3);
        assert_eq!(shown(&*log.reader()), [1, 2, 3]);
        logs.push(log);
    }
    let open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to.starts_with(dir.path())))
        .count();
    assert!(open <= 260, "{open} files are open");
    for log in &mut logs {
        append(&mut **log, 4..=4);
        assert_eq!(shown(&*log.reader()), [1, 2, 3, 4]);
    }
}

#[test]
fn a_store_opens_once_for_writing_and_also_for_reading() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, mut log, _) = open(dir.path(), &small());
    append(&mut *log, 1..=3);
    assert!(SegmentBackend::open(dir.path()).is_err());
    let looking = SegmentBackend::open_read_only(dir.path()).unwrap();
    let (mut other, _) = looking.open(ID, &small()).unwrap();
    assert_eq!(shown(&*other.reader()), [1, 2, 3]);
    assert!(super::try_append(&mut *other, [4]).is_err());
    drop(log);
    drop(backend);
}

#[test]
fn a_removal_looks_at_the_segments_that_it_touches() {
    let dir = tempfile::tempdir().unwrap();
    let (_backend, mut log, _) = open(
        dir.path(),
        &LogOptions {
            segment_bytes: 1500,
            ..small()
        },
    );
    for round in 0..40u64 {
        append(&mut *log, round * 10 + 1..=round * 10 + 10);
    }
    // Opening does not say which segments are empty: the first trim finds out.
    log.trim(2).unwrap();
    let segments = segment_files(dir.path()).len();
    assert!(segments > 20, "{segments} segments");
    let walks = || super::super::writer::WALKS.get();
    let before = walks();
    for seq in (3..=400).step_by(2) {
        log.erase(&[seq]).unwrap();
    }
    log.trim(4).unwrap();
    assert_eq!(walks(), before, "no segment was emptied");
    assert_eq!(log.reader().extent().first, 4);
    // A limit that holds: a record comes, the oldest one goes.
    let mut live: Vec<Seq> = (4..=400).step_by(2).collect();
    let total = live.len();
    for seq in 401..401 + total as u64 {
        append(&mut *log, [seq]);
        log.erase(&[live.remove(0)]).unwrap();
        live.push(seq);
        assert_eq!(log.reader().extent().first, live[0]);
    }
    assert!(walks() - before <= segments, "{} walks", walks() - before);
    assert_eq!(shown(&*log.reader()), live);
    log.sync().unwrap();
    log.maintain(0).unwrap();
    assert!(
        segment_files(dir.path()).len() < segments * 3 / 2,
        "emptied segments stay"
    );
}
