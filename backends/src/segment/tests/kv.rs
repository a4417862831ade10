//! The key-value files: torn writes, damage in one copy and in both, rewriting, files of version 1.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Kind, KvWrite};

use super::super::SegmentBackend;
use super::super::disk::{Failure, SimulatedDisk};
use super::super::files::Files;
use super::faulty::FaultyFiles;

/// Opens a store without a real sync.
fn open(dir: &Path) -> SegmentBackend {
    SegmentBackend::open_with(dir, Arc::new(FaultyFiles::default())).unwrap()
}

fn pairs(backend: &SegmentBackend) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    backend
        .kv()
        .scan(b"", None, &mut |key, value| {
            found.insert(
                String::from_utf8(key.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            );
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn put(backend: &SegmentBackend, key: &str, value: &str) {
    let pair = (Bytes::from(key.to_owned()), Some(Bytes::from(value.to_owned())));
    backend.kv().put_all(&[pair]).unwrap();
}

fn write(n: u64) -> Vec<KvWrite> {
    let key = |name: &str| Bytes::from(format!("{name}{n}"));
    vec![
        (key("a"), Some(Bytes::from(format!("value {n}")))),
        (key("b"), Some(Bytes::from("x".repeat(n as usize * 3)))),
        (Bytes::from(format!("a{}", n - 1)), None),
    ]
}

fn after(n: u64) -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    for i in 1..=n {
        expected.insert(format!("b{i}"), "x".repeat(i as usize * 3));
    }
    if n > 0 {
        expected.insert(format!("a{n}"), format!("value {n}"));
    }
    expected
}

/// The files of one copy; those that count end with `.kv`.
fn files(dir: &Path, copy: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(copy)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The one file of each copy that counts.
fn current(dir: &Path) -> [PathBuf; 2] {
    ["kv", "kv2"].map(|copy| {
        let mut files = files(dir, copy);
        files.retain(|path| path.extension().is_some_and(|end| end == "kv"));
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    })
}

fn kept(dir: &Path, why: &str) -> Vec<Vec<u8>> {
    let all = ["kv", "kv2"].map(|copy| files(dir, copy)).concat();
    let kept = all.iter().filter(|path| path.to_string_lossy().contains(why));
    kept.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn a_torn_write_is_cut_whole_at_every_length() {
    for both in [false, true] {
        let made = tempfile::tempdir().unwrap();
        let synced_len = {
            let backend = open(made.path());
            backend.kv().put_all(&write(1)).unwrap();
            backend.kv().put_all(&write(2)).unwrap();
            backend.sync().unwrap();
            let len = fs::metadata(&current(made.path())[0]).unwrap().len() as usize;
            backend.kv().put_all(&write(3)).unwrap();
            len
        };
        let whole = current(made.path()).map(|path| fs::read(path).unwrap());
        assert_eq!(whole[0], whole[1]);
        // The last bytes are padding: without them the write is whole.
        let payload_end = whole[0].len() - 7;
        for len in synced_len..=whole[0].len() {
            let dir = tempfile::tempdir().unwrap();
            drop(open(dir.path()));
            for (at, folder) in ["kv", "kv2"].into_iter().enumerate() {
                let cut = if at == 1 || both { len } else { whole[at].len() };
                fs::write(dir.path().join(folder).join("0000000000000001.kv"), &whole[at][..cut]).unwrap();
            }
            let expected = {
                let backend = open(dir.path());
                let found = pairs(&backend);
                if both && len < payload_end {
                    assert_eq!(found, after(2), "{len} bytes");
                } else if both {
                    assert!(found == after(2) || found == after(3), "{len} bytes");
                } else {
                    assert_eq!(found, after(3), "{len} bytes");
                }
                assert!(backend.kv_damage().is_empty(), "{len} bytes: {:?}", backend.kv_damage());
                put(&backend, "new", "1");
                pairs(&backend)
            };
            let backend = open(dir.path());
            assert_eq!(pairs(&backend), expected, "{len} bytes");
            assert!(backend.kv_damage().is_empty(), "{len} bytes: {:?}", backend.kv_damage());
            let [one, two] = current(dir.path()).map(|path| fs::read(path).unwrap());
            assert_eq!(one, two);
        }
    }
}

/// Four writes, each synced, and a clean stop. Answers where each ends in the file.
fn four_writes(dir: &Path) -> Vec<usize> {
    let mut ends = Vec::new();
    let backend = open(dir);
    for n in 1..=4u64 {
        put(&backend, &format!("k{n}"), "value");
        ends.push(fs::metadata(&current(dir)[0]).unwrap().len() as usize);
        backend.sync().unwrap();
    }
    ends
}

#[test]
fn a_flipped_bit_in_one_copy_costs_nothing_and_is_told() {
    let made = tempfile::tempdir().unwrap();
    let ends = four_writes(made.path());
    let good = fs::read(&current(made.path())[0]).unwrap();
    for at in 0..good.len() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let (ours, theirs) = if at % 2 == 0 { ("kv", "kv2") } else { ("kv2", "kv") };
        fs::write(dir.path().join(ours).join("0000000000000001.kv"), &bad).unwrap();
        fs::write(dir.path().join(theirs).join("0000000000000001.kv"), &good).unwrap();
        for round in 0..2 {
            let backend = open(dir.path());
            assert_eq!(pairs(&backend).len(), 4, "byte {at}");
            assert!(backend.lost().is_empty(), "byte {at}: {:?}", backend.lost());
            let told = backend.kv_damage();
            // Behind the last write there is only a mark, which is not durable itself.
            assert_eq!(
                told.len(),
                usize::from(round == 0 && at < ends[3]),
                "byte {at}: {told:?}"
            );
        }
        let [one, two] = current(dir.path()).map(|path| fs::read(path).unwrap());
        assert_eq!(one, two, "byte {at}");
        assert_eq!(
            [kept(dir.path(), "damaged"), kept(dir.path(), "torn")].concat(),
            [bad],
            "byte {at}"
        );
    }
}

#[test]
fn a_flipped_bit_in_both_copies_costs_one_write_and_is_told() {
    let made = tempfile::tempdir().unwrap();
    let ends = four_writes(made.path());
    let good = fs::read(&current(made.path())[0]).unwrap();
    for at in 0..ends[3] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        for folder in ["kv", "kv2"] {
            fs::write(dir.path().join(folder).join("0000000000000001.kv"), &bad).unwrap();
        }
        let backend = open(dir.path());
        let lost: Vec<usize> = (1..=4)
            .filter(|n| !pairs(&backend).contains_key(&format!("k{n}")))
            .collect();
        assert!(
            lost.len() <= 1 && pairs(&backend).len() + lost.len() == 4,
            "byte {at}: {lost:?}"
        );
        assert_eq!(
            lost.is_empty(),
            backend.lost().is_empty(),
            "byte {at}: {:?}",
            backend.lost()
        );
        if let Some(n) = lost.first() {
            let begin = n.checked_sub(2).map_or(32, |before| ends[before]);
            assert!((begin..ends[n - 1]).contains(&at), "byte {at} cost write {n}");
        }
        // Header and padding carry nothing.
        assert!(!backend.kv_damage().is_empty(), "byte {at} was not told");
        put(&backend, "more", "1");
        drop(backend);
        assert_eq!(kept(dir.path(), "damaged"), [bad.clone(), bad], "byte {at}");
        let backend = open(dir.path());
        assert!(backend.kv_damage().is_empty(), "byte {at}");
        assert_eq!(pairs(&backend).len(), 5 - lost.len());
    }
}

#[test]
fn a_copy_that_is_gone_is_made_again() {
    for gone in ["kv", "kv2"] {
        let dir = tempfile::tempdir().unwrap();
        four_writes(dir.path());
        fs::remove_dir_all(dir.path().join(gone)).unwrap();
        let read_only = SegmentBackend::open_read_only(dir.path()).unwrap();
        assert_eq!(pairs(&read_only).len(), 4);
        drop(read_only);
        let backend = open(dir.path());
        assert_eq!(pairs(&backend).len(), 4);
        assert_eq!(backend.kv_damage().len(), 1);
        let [one, two] = current(dir.path()).map(|path| fs::read(path).unwrap());
        assert_eq!(one, two);
    }
}

#[test]
fn what_is_out_of_date_goes() {
    let dir = tempfile::tempdir().unwrap();
    {
        let backend = open(dir.path());
        for n in 0..400u64 {
            put(&backend, &format!("k{}", n % 7), &"v".repeat(700));
        }
        backend.sync().unwrap();
    }
    for path in current(dir.path()) {
        assert!(fs::metadata(&path).unwrap().len() < 50_000);
    }
    let found = pairs(&open(dir.path()));
    assert_eq!(found.len(), 7);
    assert!(found.values().all(|v| v.len() == 700));
}

/// Enough to rewrite the files once. Answers how many writes were carried out, and how many of them were synced.
fn rewriting(backend: &SegmentBackend) -> (u64, u64) {
    let (mut done, mut synced) = (0, 0);
    for n in 1..=14u64 {
        let value = Bytes::from(format!("{n} ").repeat(1500));
        let writes = [
            (Bytes::from("big"), Some(value)),
            (Bytes::from("n"), Some(Bytes::from(n.to_string()))),
        ];
        if backend.kv().put_all(&writes).is_err() {
            break;
        }
        done = n;
        if n % 3 == 0 {
            if backend.sync().is_err() {
                break;
            }
            synced = n;
        }
    }
    (done, synced)
}

fn number(backend: &SegmentBackend) -> u64 {
    let pairs = pairs(backend);
    let n = pairs.get("n").map_or(0, |n| n.parse().unwrap());
    if n > 0 {
        assert!(pairs["big"].starts_with(&format!("{n} ")), "one batch, whole");
    }
    n
}

#[test]
fn no_failing_call_loses_what_was_synced() {
    for sticky in [false, true] {
        for n in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let files = Arc::new(FaultyFiles::default());
            files.fail_at(n, sticky);
            let opened = SegmentBackend::open_with(dir.path(), files.clone());
            let (done, synced) = opened.as_ref().map_or((0, 0), rewriting);
            drop(opened);
            if done == 14 && files.calls() < n {
                assert!(n > 60, "only {n} calls");
                break;
            }
            let backend = open(dir.path());
            let found = number(&backend);
            assert!(
                (synced..=done + 1).contains(&found),
                "call {n}: {found}, {synced} to {done}"
            );
            assert!(backend.kv_damage().is_empty(), "call {n}: {:?}", backend.kv_damage());
        }
    }
}

#[test]
fn no_power_failure_loses_what_was_synced() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut least = 0;
        for round in 0..4 {
            let files = Arc::new(FaultyFiles::default());
            let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
            let found = number(&backend);
            assert!(
                found >= least,
                "seed {seed}, round {round}: {found}, {least} was synced"
            );
            assert!(
                backend.kv_damage().is_empty(),
                "seed {seed}, round {round}: {:?}",
                backend.kv_damage()
            );
            least = 0;
            let mut n = found;
            for _ in 0..dice.below(12) {
                n += 1;
                let writes = [
                    (
                        Bytes::from("big"),
                        Some(Bytes::from(format!("{n} ").repeat(1 + dice.below(1500) as usize))),
                    ),
                    (Bytes::from("n"), Some(Bytes::from(n.to_string()))),
                ];
                backend.kv().put_all(&writes).unwrap();
                if dice.below(4) == 0 {
                    backend.sync().unwrap();
                    least = n;
                }
            }
            drop(backend);
            files.lose_power(&mut dice);
        }
    }
}

/// A file as version 1 wrote it: one copy, and no mark behind the last batch.
fn version_1(dir: &Path, good: &[u8], end: usize) -> PathBuf {
    let mut old = good[..end].to_vec();
    old[8] = 1;
    let crc = crc32c::crc32c(&old[..28]);
    old[28..32].copy_from_slice(&crc.to_le_bytes());
    drop(open(dir));
    let path = dir.join("kv").join("0000000000000001.kv");
    fs::write(&path, &old).unwrap();
    path
}

#[test]
fn a_file_of_version_1_becomes_two() {
    let made = tempfile::tempdir().unwrap();
    let ends = four_writes(made.path());
    let good = fs::read(&current(made.path())[0]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let old = version_1(dir.path(), &good, ends[3]);
    let read_only = SegmentBackend::open_read_only(dir.path()).unwrap();
    assert_eq!(pairs(&read_only).len(), 4);
    drop(read_only);
    let backend = open(dir.path());
    assert_eq!(pairs(&backend).len(), 4);
    assert!(backend.kv_damage().is_empty(), "{:?}", backend.kv_damage());
    assert!(!old.exists());
    drop(backend);
    let [one, two] = current(dir.path()).map(|path| fs::read(path).unwrap());
    assert_eq!(one, two);
    assert_eq!(pairs(&open(dir.path())).len(), 4);
}

#[test]
fn what_is_damaged_in_a_file_of_version_1_is_kept_and_told() {
    let made = tempfile::tempdir().unwrap();
    let ends = four_writes(made.path());
    let good = fs::read(&current(made.path())[0]).unwrap();
    // In the second write, and in the last one, for which no mark was written then.
    for (at, lost) in [(ends[0] + 45, "k2"), (ends[3] - 12, "k4")] {
        let dir = tempfile::tempdir().unwrap();
        let old = version_1(dir.path(), &good, ends[3]);
        let mut bad = fs::read(&old).unwrap();
        bad[at] ^= 4;
        fs::write(&old, &bad).unwrap();
        let backend = open(dir.path());
        let found = pairs(&backend);
        assert_eq!((found.len(), found.contains_key(lost)), (3, false));
        assert_eq!(backend.lost().len(), 1, "{:?}", backend.lost());
        assert_eq!(kept(dir.path(), "damaged"), [bad]);
    }
}

/// The disk may fail to read one copy as long as the other is whole.
#[test]
fn a_copy_that_cannot_be_read_keeps_no_store_from_opening() {
    let store = Path::new("/store");
    let disk = Arc::new(SimulatedDisk::new(1));
    let backend = SegmentBackend::open_on(&disk, store).unwrap();
    put(&backend, "a", "1");
    put(&backend, "b", "2");
    let expected = pairs(&backend);
    drop(backend);
    let mut n = 1;
    loop {
        disk.fail_at(n, Failure::Io, false);
        drop(SegmentBackend::open_on(&disk, store));
        if disk.calls() < n {
            break;
        }
        disk.fail_at(0, Failure::Io, false);
        assert_eq!(
            pairs(&SegmentBackend::open_on(&disk, store).unwrap()),
            expected,
            "call {n}"
        );
        n += 1;
    }
    disk.fail_at(0, Failure::Io, false);
    let aside = files_below(&disk, store)
        .iter()
        .filter(|path| path.to_string_lossy().contains(".kv.unread-"))
        .count();
    assert_eq!(aside, 2, "one for each copy");
}

fn files_below(disk: &SimulatedDisk, dir: &Path) -> Vec<PathBuf> {
    let inside = disk.list(dir).unwrap().into_iter();
    inside
        .flat_map(|path| match disk.is_dir(&path) {
            true => files_below(disk, &path),
            false => vec![path],
        })
        .collect()
}

fn is_full(backend: &SegmentBackend) {
    let refused = backend.kv().put_all(&write(1)).unwrap_err();
    assert_eq!(refused.kind, Kind::Full, "{refused}");
}

/// What there is of a write without room takes room itself, and the next start would find it.
#[test]
fn a_write_without_room_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(FaultyFiles::default());
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    put(&backend, "a", "1");
    let before = current(dir.path()).map(|path| fs::read(path).unwrap());
    files.fill_up(true);
    is_full(&backend);
    assert_eq!(current(dir.path()).map(|path| fs::read(path).unwrap()), before);
    files.fill_up(false);
    put(&backend, "b", "2");
    drop(backend);
    assert_eq!(pairs(&open(dir.path())).len(), 2);
}

/// A store whose copies are as a test makes them is opened on a full disk twice, and then there is room. It must come out as if there
/// had been room at once.
fn opens_on_a_full_disk(make: &dyn Fn(&Path), what: &str) {
    let roomy = tempfile::tempdir().unwrap();
    make(roomy.path());
    let expected = {
        let backend = open(roomy.path());
        (
            pairs(&backend),
            backend.kv_damage().to_vec().len(),
            backend.lost().len(),
        )
    };
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let files = Arc::new(FaultyFiles::default());
    files.fill_up(true);
    let names = |dir: &Path| ["kv", "kv2"].map(|copy| files_of(dir, copy)).concat();
    let before = names(dir.path());
    for round in 0..2 {
        let backend =
            SegmentBackend::open_with(dir.path(), files.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = (pairs(&backend), backend.kv_damage().len(), backend.lost().len());
        assert_eq!(found, expected, "{what}, round {round}");
        is_full(&backend);
        backend.sync().unwrap();
        assert_eq!(names(dir.path()), before, "{what}: what was tried is left");
    }
    let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
    is_full(&backend);
    files.fill_up(false);
    put(&backend, "new", "1");
    backend.sync().unwrap();
    put(&backend, "newer", "2");
    drop(backend);
    let backend = open(dir.path());
    let mut all = expected.0;
    all.extend([("new".to_owned(), "1".to_owned()), ("newer".to_owned(), "2".to_owned())]);
    assert_eq!(pairs(&backend), all, "{what}");
    assert!(backend.kv_damage().is_empty(), "{what}: {:?}", backend.kv_damage());
    let [one, two] = current(dir.path()).map(|path| fs::read(path).unwrap());
    assert_eq!(one, two, "{what}");
    for why in ["damaged", "torn"] {
        assert_eq!(kept(dir.path(), why), kept(roomy.path(), why), "{what}: {why}");
    }
}

fn files_of(dir: &Path, copy: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let named = |path: PathBuf| (path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
    files(dir, copy).into_iter().map(named).collect()
}

/// Before, the start was refused.
#[test]
fn a_start_on_a_full_disk_needs_no_room() {
    let made = tempfile::tempdir().unwrap();
    let ends = four_writes(made.path());
    let good = fs::read(&current(made.path())[0]).unwrap();
    let with = |dir: &Path, copies: [Option<&[u8]>; 2]| {
        for (folder, content) in ["kv", "kv2"].into_iter().zip(copies) {
            fs::create_dir_all(dir.join(folder)).unwrap();
            if let Some(content) = content {
                fs::write(dir.join(folder).join("0000000000000001.kv"), content).unwrap();
            }
        }
    };
    for at in (ends[2]..good.len()).step_by(5) {
        let part = &good[..at];
        opens_on_a_full_disk(
            &|dir| with(dir, [Some(&good), Some(part)]),
            &format!("the second to {at}"),
        );
        opens_on_a_full_disk(
            &|dir| with(dir, [Some(part), Some(&good)]),
            &format!("the first to {at}"),
        );
        // What was written of a batch, and then the process was killed.
        let torn = [&good, &good[ends[2]..at]].concat();
        opens_on_a_full_disk(&|dir| with(dir, [Some(&torn), Some(&good)]), &format!("torn at {at}"));
        opens_on_a_full_disk(
            &|dir| with(dir, [Some(&torn), Some(part)]),
            &format!("torn and short at {at}"),
        );
    }
    let mut bad = good.clone();
    bad[ends[1] + 4] ^= 1;
    opens_on_a_full_disk(&|dir| with(dir, [Some(&bad), Some(&good)]), "one is damaged");
    opens_on_a_full_disk(&|dir| with(dir, [Some(&good), Some(&bad)]), "the other is damaged");
    opens_on_a_full_disk(&|dir| with(dir, [Some(&bad), Some(&bad)]), "both are damaged");
    opens_on_a_full_disk(&|dir| with(dir, [None, Some(&good)]), "one is gone");
    opens_on_a_full_disk(&|dir| with(dir, [Some(&good), None]), "the other is gone");
    opens_on_a_full_disk(&|dir| drop(version_1(dir, &good, ends[3])), "one of version 1");
    let worse = |dir: &Path| {
        let path = version_1(dir, &good, ends[3]);
        let mut bad = fs::read(&path).unwrap();
        bad[ends[0] + 45] ^= 4;
        fs::write(&path, bad).unwrap();
    };
    opens_on_a_full_disk(&worse, "one of version 1, damaged");
}
