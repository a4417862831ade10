//! What the conformance suite cannot see from outside: damage, a crash, reading beside a writer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use weir_engine::{Compression, Direction, Kind, LogChange, LogReader, Record, Seq, Want};

use super::*;

const BODY: &[u8] = b"a body of some length";

fn open(folder: &Path) -> RocksBackend {
    RocksBackend::open(folder, &RocksOptions::default()).expect("the store opens")
}

fn fill(log: &mut dyn Log, seqs: impl Iterator<Item = Seq>) {
    for seq in seqs {
        let record = Record {
            seq,
            time: 7,
            head: b"head",
            body: BODY,
        };
        let key = Bytes::copy_from_slice(&seq.to_be_bytes());
        log.write(&LogChange {
            append: &[record],
            kv: &[(key, Some(Bytes::from_static(b"seen")))],
            ..LogChange::default()
        })
        .expect("the batch is written");
    }
}

fn seqs(reader: &dyn LogReader, want: Want, direction: Direction) -> Vec<Seq> {
    let mut found = Vec::new();
    reader
        .scan(0..=Seq::MAX, want, direction, &mut |entry| {
            found.push(entry.seq);
            ControlFlow::Continue(())
        })
        .expect("the scan runs");
    found
}

/// Replaces stored bytes behind the backend's back.
fn spoil(backend: &RocksBackend, family: &str, place: u64, seq: Seq) {
    let db = &backend.shared.db;
    let cf = db.cf_handle(family).expect("the family is there");
    let key = keys::record(place, seq);
    let mut value = db.get_cf(cf, key).expect("readable").expect("there");
    let middle = value.len() / 2;
    value[middle] ^= 0x10;
    let mut options = rocksdb::WriteOptions::default();
    options.disable_wal(true);
    db.put_cf_opt(cf, key, value, &options).expect("written");
}

#[test]
fn damage_costs_the_damaged_records_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    fill(&mut *log, 1..=10);
    spoil(&backend, keys::BODIES[0], 1, 4);
    spoil(&backend, keys::HEADS, 1, 7);
    let reader = log.reader();
    for seq in [4, 7] {
        let error = reader.get(seq).expect_err("a damaged record is not served");
        assert_eq!(error.kind, Kind::Damaged, "{error}");
        assert!(error.message.contains(&format!("sequence {seq}")), "{error}");
    }
    let intact = [1, 2, 3, 5, 6, 8, 9, 10];
    assert_eq!(seqs(&*reader, Want::Full, Direction::Forward), intact);
    let mut back = seqs(&*reader, Want::Full, Direction::Backward);
    back.reverse();
    assert_eq!(back, intact);
    // Heads are not told that a body is damaged: it is not read.
    assert_eq!(
        seqs(&*reader, Want::Heads, Direction::Forward),
        [1, 2, 3, 4, 5, 6, 8, 9, 10]
    );
    assert_eq!(reader.extent().damaged, 2);
    assert_eq!(reader.damaged(0..=Seq::MAX), [(4, 4), (7, 7)]);
    assert_eq!(reader.damaged(5..=6), []);
    // The log can still be written, and the damage removed.
    log.erase(&[4, 7]).expect("erased");
    log.trim(3).expect("trimmed");
    fill(&mut *log, 11..=11);
    assert_eq!(seqs(&*reader, Want::Full, Direction::Forward), [3, 5, 6, 8, 9, 10, 11]);
    assert_eq!(reader.extent().count, 7);
}

#[test]
fn a_damaged_block_is_told_with_all_that_lies_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    fill(&mut *log, 1..=1_000);
    log.sync().expect("synced");
    let files = backend.shared.db.live_files().expect("files");
    let heads = files.iter().find(|file| file.column_family_name == keys::HEADS);
    let path = folder
        .path()
        .join(heads.expect("a file of heads").name.trim_start_matches('/'));
    drop(log);
    drop(backend);
    let file = std::fs::File::options().read(true).write(true).open(&path);
    let file = file.expect("the file opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5_000).expect("read");
    file.write_all_at(&[byte[0] ^ 1], 5_000).expect("written");
    drop(file);
    for direction in [Direction::Forward, Direction::Backward] {
        let backend = open(folder.path());
        let (log, _) = backend.open(LogId(1), &LogOptions::default()).expect("the log");
        let reader = log.reader();
        let there: BTreeSet<Seq> = seqs(&*reader, Want::Heads, direction).into_iter().collect();
        let lost: Vec<Seq> = (1..=1_000).filter(|seq| !there.contains(seq)).collect();
        let (first, last) = (lost[0], lost[lost.len() - 1]);
        assert_eq!(lost.len() as u64, last - first + 1, "one block: {first} to {last}");
        assert_eq!(reader.damaged(0..=Seq::MAX), [(first, last)], "{direction:?}");
        assert_eq!(reader.damaged(last..=last), [(first, last)]);
        assert_eq!(reader.damaged(last + 1..=Seq::MAX), []);
        assert_eq!(reader.damaged(0..=first - 1), []);
    }
}

/// What is known of a log is known twice; a store of a version that knew it once learns it, and a log that goes is forgotten.
#[test]
fn logs_are_noted_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut backend = open(folder.path());
    let options = LogOptions {
        label: Bytes::from_static(b"its label"),
        ..LogOptions::default()
    };
    let named = |backend: &RocksBackend| names::all(&backend.shared).expect("read");
    let (log, _) = backend.open(LogId(7), &options).expect("a log");
    let both = names::Named {
        place: 1,
        label: b"its label".to_vec(),
    };
    assert_eq!(named(&backend), BTreeMap::from([(LogId(7), both.clone())]));
    drop(log);
    Arc::get_mut(&mut backend.shared)
        .expect("alone")
        .db
        .drop_cf(keys::NAMES)
        .expect("dropped");
    drop(backend);
    let backend = open(folder.path());
    assert_eq!(named(&backend), BTreeMap::new());
    let (log, _) = backend.open(LogId(7), &LogOptions::default()).expect("the log");
    assert_eq!(named(&backend), BTreeMap::from([(LogId(7), both)]));
    drop(log);
    backend.remove(LogId(7)).expect("removed");
    assert_eq!(named(&backend), BTreeMap::new());
}

#[test]
fn a_record_in_the_place_of_another_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    fill(&mut *log, 1..=3);
    let db = &backend.shared.db;
    let heads = db.cf_handle(keys::HEADS).expect("heads");
    let other = db.get_cf(heads, keys::record(1, 2)).expect("readable").expect("there");
    let mut options = rocksdb::WriteOptions::default();
    options.disable_wal(true);
    db.put_cf_opt(heads, keys::record(1, 3), other, &options)
        .expect("written");
    let error = log.reader().get(3).expect_err("not the record that was written there");
    assert_eq!(error.kind, Kind::Damaged);
}

/// The folder of a process that writes until it is killed.
const KILLED_WRITER: &str = "WEIR_KILLED_WRITER";

/// Fills a log for ever, and says on standard output what it wrote and synced.
fn write_until_killed(folder: &Path) {
    // So small that RocksDB flushes by itself, at moments of its own choosing.
    let options = RocksOptions {
        write_buffer_bytes: 256 << 10,
        ..RocksOptions::default()
    };
    let backend = RocksBackend::open(folder, &options).expect("the store opens");
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    for round in 1u64.. {
        let written = round * 500;
        fill(&mut *log, written - 499..=written);
        println!("\nwritten {written}");
        if round % 7 == 0 {
            backend.sync().expect("synced");
            println!("\nsynced {written}");
        }
    }
}

/// Lets a process write until so much is written, kills it, and says what it had synced.
fn kill_a_writer(folder: &Path, enough: Seq) -> Seq {
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "rocks::tests::a_crash_leaves_all_families_at_the_same_batch",
            "--nocapture",
        ])
        .env(KILLED_WRITER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a writer");
    let said = BufReader::new(writer.stdout.take().expect("piped"));
    let mut synced = 0;
    let mut written = 0;
    for line in said.lines() {
        match line.expect("readable").split_once(' ') {
            Some(("synced", seq)) => synced = seq.parse().expect("a sequence"),
            Some(("written", seq)) => written = seq.parse().expect("a sequence"),
            _ => {}
        }
        if written >= enough {
            break;
        }
    }
    writer.kill().expect("killed");
    writer.wait().expect("gone");
    assert!(written >= enough, "the writer ended by itself at {written}");
    synced
}

#[test]
fn a_crash_leaves_all_families_at_the_same_batch() {
    if let Some(folder) = std::env::var_os(KILLED_WRITER) {
        return write_until_killed(Path::new(&folder));
    }
    for rounds in [4, 8, 12, 16, 20] {
        let folder = tempfile::tempdir().expect("a folder");
        let synced = kill_a_writer(folder.path(), rounds * 500);
        let after = open(folder.path());
        if synced == 0 && after.list().expect("listed").is_empty() {
            continue;
        }
        let (log, _) = after.open(LogId(1), &LogOptions::default()).expect("the log opens");
        let last = log.reader().extent().last;
        assert!(last >= synced, "{last}, and {synced} were synced");
        let expected: Vec<Seq> = (1..=last).collect();
        assert_eq!(seqs(&*log.reader(), Want::Full, Direction::Forward), expected);
        assert_eq!(log.reader().extent().count, last);
        let mut keys = 0;
        after
            .kv()
            .scan(b"", None, &mut |_, _| {
                keys += 1;
                ControlFlow::Continue(())
            })
            .expect("scanned");
        assert_eq!(keys, last, "keys that were written with the records");
    }
}

#[test]
fn reading_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    fill(&mut *log, 1..=5);
    log.sync().expect("synced");
    assert!(
        RocksBackend::open(folder.path(), &RocksOptions::default()).is_err(),
        "a second writer of the store"
    );
    let view = RocksBackend::open_read_only(folder.path(), &RocksOptions::default()).expect("a view");
    let (mut seen, _) = view.open(LogId(1), &LogOptions::default()).expect("the log");
    assert_eq!(seqs(&*seen.reader(), Want::Full, Direction::Forward), [1, 2, 3, 4, 5]);
    for refused in [seen.trim(3), view.sync(), view.remove(LogId(1))] {
        assert!(refused.is_err(), "a write of a view");
    }
    assert!(
        view.open(LogId(2), &LogOptions::default()).is_err(),
        "a new log in a view"
    );
    let missing = tempfile::tempdir().expect("a folder");
    assert!(RocksBackend::open_read_only(missing.path(), &RocksOptions::default()).is_err());
}

/// What is in a folder, by name, but for the file that RocksDB logs into.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a file"))
        })
        .filter(|(name, _)| !name.starts_with("LOG"))
        .collect()
}

/// RocksDB alone opened some of these empty and deleted the files, and waited for ever with others.
#[test]
fn a_flipped_bit_in_what_names_the_files_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    for id in 1..=3 {
        let (mut log, _) = backend.open(LogId(id), &LogOptions::default()).expect("a log");
        fill(&mut *log, 1..=5);
        backend.sync().expect("synced");
    }
    drop(backend);
    let before = contents(folder.path());
    let mut names = before.keys().filter(|name| name.starts_with("MANIFEST"));
    let manifest = names.next().expect("a manifest").clone();
    assert!(names.next().is_none());
    let mut refused = 0;
    for name in ["CURRENT", &manifest] {
        let path = folder.path().join(name);
        let bytes = &before[name];
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
        let set = |at: usize, byte: u8| file.write_all_at(&[byte], at as u64).expect("written");
        for (at, byte) in bytes.iter().copied().enumerate() {
            set(at, byte ^ 1 << (at % 8));
            let error = RocksBackend::open(folder.path(), &RocksOptions::default()).err();
            let error = error.expect("not opened");
            assert_eq!(error.kind, Kind::Damaged, "{name}, byte {at}: {error}");
            assert!(error.message.contains("MANIFEST-") || error.message.contains("CURRENT"));
            assert!(error.message.contains("nothing of it was changed"), "{error}");
            set(at, byte);
            refused += 1;
        }
    }
    assert!(refused > 1_000, "{refused}");
    assert_eq!(contents(folder.path()), before);
    // All of it is there.
    let backend = open(folder.path());
    for id in 1..=3 {
        let (log, _) = backend.open(LogId(id), &LogOptions::default()).expect("the log");
        assert_eq!(seqs(&*log.reader(), Want::Full, Direction::Forward), [1, 2, 3, 4, 5]);
    }
}

/// RocksDB waits for ever in the place of each of them.
#[test]
fn a_pipe_in_the_place_of_a_file_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    for name in contents(folder.path()).into_keys().filter(|name| name != "LOCK") {
        let (path, away) = (folder.path().join(&name), folder.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let error = RocksBackend::open(folder.path(), &RocksOptions::default())
            .err()
            .unwrap();
        assert_eq!(error.kind, Kind::Damaged, "{name}: {error}");
        assert!(error.message.contains(&*path.to_string_lossy()), "{error}");
        std::fs::rename(&away, &path).unwrap();
    }
    drop(open(folder.path()));
}

#[test]
fn a_manifest_that_is_cut_off_or_lost_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    fill(&mut *log, 1..=5);
    log.sync().expect("synced");
    drop((log, backend));
    let before = contents(folder.path());
    let manifest = before.keys().find(|name| name.starts_with("MANIFEST")).expect("one");
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(folder.path().join("CURRENT")).expect("removed"),
        &|| std::fs::remove_file(folder.path().join(manifest)).expect("removed"),
        &|| {
            let bytes = &before[manifest];
            std::fs::write(folder.path().join(manifest), &bytes[..bytes.len() - 1]).expect("written");
        },
        &|| std::fs::write(folder.path().join(manifest), []).expect("written"),
    ];
    for spoil in spoil {
        spoil();
        let damaged = contents(folder.path());
        let error = RocksBackend::open(folder.path(), &RocksOptions::default()).err();
        assert_eq!(error.expect("not opened").kind, Kind::Damaged);
        assert_eq!(contents(folder.path()), damaged);
        for name in ["CURRENT", manifest] {
            std::fs::write(folder.path().join(name), &before[name]).expect("written");
        }
    }
    // An older store has no such note: what there is must do.
    let copy = tempfile::tempdir().expect("a folder");
    for (name, bytes) in before.iter().filter(|(name, _)| *name != "SYNCED") {
        std::fs::write(copy.path().join(name), bytes).expect("written");
    }
    drop(open(copy.path()));
    // What a crash left of a write that was never synced is no damage.
    let mut torn = before[manifest].clone();
    torn.extend([0x11, 0x22, 0x33, 0x44, 0x60, 0, 1, 0x77]);
    std::fs::write(folder.path().join(manifest), torn).expect("written");
    let backend = open(folder.path());
    let (log, _) = backend.open(LogId(1), &LogOptions::default()).expect("the log");
    assert_eq!(log.reader().extent().count, 5);
}

/// RocksDB opens what the older one names, and deletes the tables and the manifest that came later.
#[test]
fn an_older_manifest_that_current_names_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let states = [1, 2].map(|id| {
        let backend = open(folder.path());
        let (mut log, _) = backend.open(LogId(id), &LogOptions::default()).expect("a log");
        fill(&mut *log, 1..=5);
        backend.sync().expect("synced");
        drop((log, backend));
        contents(folder.path())
    });
    let manifest = |state: &BTreeMap<String, Vec<u8>>| {
        let name = state.keys().find(|name| name.starts_with("MANIFEST"));
        name.expect("a manifest").clone()
    };
    let (older, younger) = (manifest(&states[0]), manifest(&states[1]));
    let put = |name: &str, state: &BTreeMap<String, Vec<u8>>| {
        std::fs::write(folder.path().join(name), &state[name]).expect("written");
    };
    put(&older, &states[0]);
    put("CURRENT", &states[0]);
    let damaged = contents(folder.path());
    for open in [RocksBackend::open, RocksBackend::open_read_only] {
        let error = open(folder.path(), &RocksOptions::default()).err().expect("not opened");
        assert_eq!(error.kind, Kind::Damaged);
        assert!(
            error.message.contains(&older) && error.message.contains(&younger),
            "{error}"
        );
        assert_eq!(contents(folder.path()), damaged);
    }
    // The other way round it is what a crash leaves of a manifest that was made and not noted yet.
    put("CURRENT", &states[1]);
    put("SYNCED", &states[0]);
    let backend = open(folder.path());
    for id in 1..=2 {
        let (log, _) = backend.open(LogId(id), &LogOptions::default()).expect("the log");
        assert_eq!(seqs(&*log.reader(), Want::Full, Direction::Forward), [1, 2, 3, 4, 5]);
    }
}

/// Whole spans and scattered records, of which some are damaged, whatever the damage makes of their heads.
#[test]
fn many_are_erased_at_once_and_what_is_damaged_goes_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    fill(&mut *log, 1..=1_000);
    log.sync().expect("synced");
    let db = &backend.shared.db;
    let heads = db.cf_handle(keys::HEADS).expect("heads");
    for (seq, at) in [(110, 12), (120, 8), (130, 0), (511, 12), (900, 12)] {
        let key = keys::record(1, seq);
        let mut value = db.get_cf(heads, key).expect("readable").expect("there");
        value[at] ^= 0x40;
        let mut options = rocksdb::WriteOptions::default();
        options.disable_wal(true);
        db.put_cf_opt(heads, key, value, &options).expect("written");
    }
    let gone = |seq: Seq| (101..=300).contains(&seq) || (500..700).contains(&seq) && seq % 2 == 1;
    let erase: Vec<Seq> = (1..=1_000).filter(|seq| gone(*seq)).chain([2_000]).collect();
    log.erase(&erase).expect("erased");
    log.erase(&erase).expect("erased again");
    let stay = |seq: &Seq| !gone(*seq) && *seq != 900;
    let expected: Vec<Seq> = (1..=1_000).filter(stay).collect();
    let reader = log.reader();
    assert_eq!(seqs(&*reader, Want::Full, Direction::Forward), expected);
    // The damaged one that stays is counted.
    assert_eq!(reader.extent().count, expected.len() as u64 + 1);
    log.trim(1_001).expect("trimmed");
    assert_eq!(reader.extent().count, 0);
    for family in [keys::HEADS, keys::BODIES[0]] {
        let cf = db.cf_handle(family).expect("a family");
        let mut iter = db.raw_iterator_cf(cf);
        iter.seek_to_first();
        assert!(!iter.valid(), "{family}");
    }
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a folder").filter_map(Result::ok);
    entries
        .map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
        .sum()
}

#[test]
fn what_is_mostly_deleted_is_compacted_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let backend = open(dir.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("the log opens");
    let bodies: Vec<Vec<u8>> = (1..=3000_u64).map(|seq| seq.to_be_bytes().repeat(1 << 10)).collect();
    for (seq, body) in (1..).zip(&bodies) {
        let record = Record {
            seq,
            time: 1,
            head: b"head",
            body,
        };
        log.append(&[record]).expect("it is written");
    }
    log.sync().expect("it is synced");
    let before = folder_bytes(dir.path());
    let gone: Vec<Seq> = (1..=3000).filter(|seq| seq % 10 != 0).collect();
    gone.chunks(100)
        .for_each(|chunk| log.erase(chunk).expect("they are erased"));
    while log.maintain(u64::MAX).expect("it is tidied") {}
    assert_eq!(log.reader().extent().count, 300);
    // What nobody needs any more waits to be unlinked, for as long as the database is open.
    drop((log, backend));
    let after = folder_bytes(dir.path());
    assert!(after * 5 < before, "{before} bytes, then {after}");
    let backend = open(dir.path());
    let (log, _) = backend.open(LogId(1), &LogOptions::default()).expect("the log opens");
    assert_eq!(log.reader().extent().count, 300);
}

#[test]
fn bodies_move_to_another_compression_while_records_come_and_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let backend = open(dir.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("the log opens");
    fill(&mut *log, 1..=1000);
    let in_family = |backend: &RocksBackend, family: &str, seq| {
        let cf = backend.shared.db.cf_handle(family).expect("the family is there");
        let found = backend.shared.db.get_cf(cf, keys::record(log_place(backend), seq));
        found.expect("readable").is_some()
    };
    log.recompress(Compression::Zstd, 0..=1000);
    let (mut rounds, mut erased) = (0, BTreeSet::new());
    while let Some(left) = log.recompressing() {
        rounds += 1;
        assert!(rounds < 100, "{left:?}");
        let mut work = log.upkeep().expect("it goes on");
        while let Some(work) = &mut work
            && !work.step().expect("it is read").over
        {}
        // Of what was read and has not moved: one is erased, and is not to come back.
        let gone = (*left.start()).max(1);
        log.erase(&[gone]).expect("it is erased");
        erased.insert(gone);
        fill(&mut *log, 1000 + rounds..=1000 + rounds);
        drop(work);
        if rounds == 1 {
            assert!(in_family(&backend, keys::BODIES[0], 1000));
        }
    }
    assert!(rounds > 5, "{rounds} rounds");
    let all = seqs(log.reader().as_ref(), Want::Full, Direction::Forward);
    let live: Vec<Seq> = (1..=1000 + rounds).filter(|seq| !erased.contains(seq)).collect();
    assert_eq!(all, live);
    for seq in 1..=1000 + rounds {
        assert!(!in_family(&backend, keys::BODIES[0], seq), "body {seq}");
        assert_eq!(
            in_family(&backend, keys::BODIES[2], seq),
            all.contains(&seq),
            "body {seq}"
        );
    }
}

fn log_place(backend: &RocksBackend) -> u64 {
    backend.shared.meta(LogId(1)).expect("readable").expect("the log").place
}

#[test]
fn what_a_fetch_brought_is_at_hand_though_the_range_goes_on() {
    const LARGE: usize = 64 << 10;
    let folder = tempfile::tempdir().expect("a folder");
    let backend = open(folder.path());
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    // Twice what one fetch brings.
    let last = 2 * weir_engine::FETCH_BYTES / LARGE as u64;
    let body = vec![7; LARGE];
    for seq in 1..=last {
        let record = Record {
            seq,
            time: 7,
            head: b"head",
            body: &body,
        };
        log.append(&[record]).expect("the record is written");
    }
    log.sync().expect("synced");
    drop(log);
    drop(backend);
    let backend = open(folder.path());
    let (log, _) = backend.open(LogId(1), &LogOptions::default()).expect("a log");
    let reader = log.reader();
    assert_eq!(reader.at_hand(2..=last), None, "nothing was read yet");
    reader.fetch(2..=last);
    let reach = reader.at_hand(2..=last).expect("the first is there");
    assert!(reach > last / 8 && reach < last, "{reach} of {last}");
}

/// Whether the options that only a string can set are in force.
#[test]
fn new_files_go_to_the_disk_a_piece_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    let files = std::fs::read_dir(folder.path()).expect("the store's files");
    let names = files.map(|entry| entry.expect("a file").path());
    let newest = names
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("OPTIONS-"))
        })
        .max()
        .expect("RocksDB notes its options");
    let options = std::fs::read_to_string(newest).expect("readable");
    assert!(
        options.contains("strict_bytes_per_sync=true") && options.contains("\n  bytes_per_sync=524288"),
        "{options}"
    );
}

/// It helped one start on a full disk: nothing put it back before the next opening, nor made it whole again.
#[test]
fn the_room_for_an_opening_is_put_back_by_a_checkpoint_and_by_a_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let room = folder.path().join(room::ROOM);
    let kept = || std::fs::metadata(&room).map_or(0, |file| file.len());
    let backend = open(folder.path());
    let whole = kept();
    if whole == 0 {
        // A file system that reserves nothing.
        return;
    }
    std::fs::remove_file(&room).expect("as a start on a full disk does");
    backend.sync().expect("synced");
    assert_eq!(kept(), whole, "by a checkpoint");
    std::fs::remove_file(&room).expect("removed");
    drop(backend);
    assert_eq!(kept(), whole, "by a stop");
    // What there was room for then may be less.
    let cut = std::fs::File::options().write(true).open(&room).expect("it is there");
    cut.set_len(whole / 4).expect("shorter");
    drop(open(folder.path()));
    assert_eq!(kept(), whole, "made whole again");
}
