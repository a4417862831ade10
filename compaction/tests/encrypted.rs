//! The tools on a store that is encrypted: what is whole is found whole, and what somebody put in another's place is damaged, whatever its
//! checksums say.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use weir_backends::encrypted::Cipher;
use weir_backends::root::{StoreDir, StoreKey};
use weir_backends::segment::SegmentBackend;
use weir_compaction::dump::{Options as DumpOptions, Shown, dump};
use weir_compaction::verify::{Options, Report, verify};
use weir_compaction::{Error, key};
use weir_engine::embed::GLOBAL_ACCOUNT;
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::Defaults;
use weir_engine::{Backend, Direction, Entry, LogId, LogOptions, Record, Seq, Store, StoreOptions, Want};

const KEY: &str = "a key for these tests";
const MESSAGES: u64 = 20;

fn check(path: &Path) -> Result<Report, Error> {
    verify(path, &Options::default(), None, &mut |_, _, _| {})
}

fn fill(path: &Path, backend: &str) {
    let dir = StoreDir::new(path).encrypted(&[StoreKey::new(KEY)], Cipher::Aes);
    fill_in(dir.unwrap(), backend);
}

fn fill_in(dir: StoreDir, backend: &str) {
    let encrypted = dir.is_encrypted();
    let store = Store::embedded(dir.opener(), StoreOptions::new(Arc::new(|| 1_000))).unwrap();
    let config = StreamConfig {
        name: "S".to_owned(),
        subjects: vec!["s.*".to_owned()],
        metadata: BTreeMap::from([("weir.backend".to_owned(), backend.to_owned())]),
        ..StreamConfig::default()
    };
    let defaults = Defaults {
        encrypted,
        ..Defaults::default()
    };
    let stream = store.create_stream(GLOBAL_ACCOUNT, config, &defaults).unwrap();
    for n in 1..=MESSAGES {
        stream
            .publish(&format!("s.{n}"), "", format!("number {n:03}").as_bytes())
            .unwrap();
    }
    store.close();
}

/// Puts two records of a log in each other's place, as they lie there: whoever can write to the disk can do that.
fn exchange(backend: &dyn Backend, one: Seq, other: Seq) {
    let id = backend
        .list()
        .unwrap()
        .into_iter()
        .find(|id| *id >= LogId(256))
        .unwrap();
    let (mut log, _) = backend.open(id, &LogOptions::default()).unwrap();
    let mut entries: Vec<Entry> = Vec::new();
    log.reader()
        .scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
            entries.push(entry.to_entry());
            ControlFlow::Continue(())
        })
        .unwrap();
    entries.swap(one as usize - 1, other as usize - 1);
    log.truncate(0).unwrap();
    for (entry, seq) in entries.iter().zip(1..) {
        log.append(&[Record {
            seq,
            time: entry.time,
            head: &entry.head,
            body: &entry.body,
        }])
        .unwrap();
    }
    backend.sync().unwrap();
}

fn told(backend: &'static str, raw: impl Fn(&Path) -> Arc<dyn Backend>) {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), backend);
    key::add(StoreKey::new(KEY));
    let whole = check(folder.path()).unwrap();
    assert_eq!((whole.found.len(), whole.streams[0].messages), (0, MESSAGES));

    exchange(&*raw(&folder.path().join("weir").join(backend)), 7, 12);
    let report = check(folder.path()).unwrap();
    assert!(report.is_damaged());
    let lost: Vec<(Seq, Seq)> = report.found.iter().flat_map(|found| found.lost.clone()).collect();
    assert!(
        lost.contains(&(7, 7)) && lost.contains(&(12, 12)) && lost.len() == 2,
        "{:?}",
        report.found
    );
    let mut shown = Vec::new();
    dump(folder.path(), &DumpOptions::of("S"), None, &mut |message| {
        if let Shown::Message(message) = message {
            shown.push(message.seq);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(shown.len() as u64, MESSAGES - 2);
}

#[test]
fn what_is_in_anothers_place_is_told_on_segments() {
    told("segment", |folder| Arc::new(SegmentBackend::open(folder).unwrap()));
}

#[cfg(feature = "rocksdb")]
#[test]
fn what_is_in_anothers_place_is_told_on_rocksdb() {
    use weir_backends::rocks::{RocksBackend, RocksOptions};
    told("rocksdb", |folder| {
        Arc::new(RocksBackend::open(folder, &RocksOptions::default()).unwrap())
    });
}

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A key is all of its file but one end of a line, however long; and a file that holds none is no damage of the store.
#[test]
fn a_key_is_what_its_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let long = "a long key ".repeat(10_000);
    for (content, key) in [
        ("a key", "a key"),
        ("a key\n", "a key"),
        ("a key\r\n", "a key"),
        ("a key\r", "a key\r"),
        ("a key\n\n", "a key\n"),
        ("a key \n", "a key "),
        (&long, &long),
    ] {
        std::fs::write(&file, content).unwrap();
        assert!(key::read(&file).unwrap() == StoreKey::new(key), "{content:?}");
    }
    for content in [&b""[..], b"\n", b"\r\n", b"\xff\xfe"] {
        std::fs::write(&file, content).unwrap();
        let (code, told) = weir(&["verify", "/nowhere", "--key-file", file.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{content:?}: {told}");
    }
}

/// A key that does not open the store is told of the store, before anything is copied.
#[test]
fn a_copy_is_not_begun_with_a_key_that_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("store"), folder.path().join("key"));
    fill(&store, "segment");
    std::fs::write(&file, "another key").unwrap();
    let store = store.to_str().unwrap();
    for command in [&["compact"][..], &["convert", "--to", "segment"], &["repair"]] {
        let out = folder.path().join("out");
        let paths = [
            store,
            "--out",
            out.to_str().unwrap(),
            "--key-file",
            file.to_str().unwrap(),
        ];
        let (code, told) = weir(&[command, &paths].concat());
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("is encrypted with another key"), "{told}");
        assert!(told.contains(store) && !told.contains("unfinished"), "{told}");
        assert!(!out.exists() && !folder.path().join("out.unfinished").exists());
    }
}

fn told_by(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

/// One copy of the store's key is all that stands between the store and its loss: that it is the last is told, and mended.
#[test]
fn a_copy_of_the_key_that_is_gone_is_told_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("store"), folder.path().join("key"));
    fill(&path, "segment");
    std::fs::write(&file, KEY).unwrap();
    let (store, file) = (path.to_str().unwrap(), file.to_str().unwrap());
    let run = |command: &[&str]| told_by(&[command, &[store, "--key-file", file]].concat());
    let copies = ["store.key", "store.copy.key"].map(|name| path.join("weir/keys").join(name));
    let whole = std::fs::read(&copies[0]).unwrap();
    let garbage = [7; 84];
    for (copy, left, why) in [(0, None, "is missing"), (1, Some(&garbage[..]), "is damaged")] {
        let copy = &copies[copy];
        match left {
            None => std::fs::remove_file(copy).unwrap(),
            Some(left) => std::fs::write(copy, left).unwrap(),
        }
        let why = format!("a copy of the store's key {why}");
        for command in [&["verify"][..], &["inspect"], &["repair", "--dry-run"]] {
            let (code, told) = run(command);
            assert_eq!(code, Some(2), "{command:?}: {told}");
            assert!(
                told.contains(&why) && told.contains(copy.to_str().unwrap()),
                "{command:?}: {told}"
            );
            assert_eq!(std::fs::read(copy).ok().as_deref(), left, "{command:?} changes nothing");
        }
        let (code, told) = run(&["verify", "--stream", "S"]);
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("Elsewhere in the store 1 thing is wrong"), "{told}");
        let (_, told) = run(&["verify", "--json"]);
        assert!(told.contains(r#""what": "key""#) && told.contains(&why), "{told}");

        let (code, told) = run(&["repair", "--json"]);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains(r#""doing": "key""#) && told.contains(r#""outcome": "done""#),
            "{told}"
        );
        for copy in &copies {
            assert_eq!(std::fs::read(copy).unwrap(), whole);
        }
        let (code, told) = run(&["verify"]);
        assert_eq!(code, Some(0), "{told}");
        let (_, told) = run(&["repair"]);
        assert!(told.contains("There is nothing to repair"), "{told}");
    }
    let kept: Vec<_> = std::fs::read_dir(path.join("weir/quarantine")).unwrap().collect();
    // What lay there is kept; in the place of a file that is missing there was nothing.
    assert_eq!(kept.len(), 1);
}

/// The only whole copy is another store's, which the same owner has: it does not go into the other's place.
#[test]
fn the_key_of_another_store_is_not_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["store", "other"].map(|name| folder.path().join(name));
    fill(&path, "segment");
    fill(&other, "segment");
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    std::fs::copy(other.join("weir/keys/store.key"), path.join("weir/keys/store.key")).unwrap();
    let copy = path.join("weir/keys/store.copy.key");
    std::fs::write(&copy, "garbage").unwrap();
    let (code, told) = told_by(&["repair", path.to_str().unwrap(), "--key-file", file.to_str().unwrap()]);
    assert_ne!(code, Some(0), "{told}");
    assert_eq!(std::fs::read(&copy).unwrap(), b"garbage", "{told}");
}

/// A store that has lost messages is not encrypted without a word of them, and how it can be is told. `counts`: a server has the message
/// that is hit as one that is there, and deletes it.
fn what_is_lost_is_named(needle: &[u8], counts: bool) {
    let folder = tempfile::tempdir().unwrap();
    let [path, out, lines, file] = ["store", "out", "lines", "key"].map(|name| folder.path().join(name));
    fill_in(StoreDir::new(&path), "segment");
    std::fs::write(&file, KEY).unwrap();
    let log = path.join("weir/segment/logs/0000000000000100");
    let files = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let log = files.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(&log, bytes).unwrap();
    let [store, copy, lines, file] = [&path, &out, &lines, &file].map(|path| path.to_str().unwrap());
    let well = |args: &[&str]| {
        let (code, told) = told_by(args);
        assert_eq!(code, Some(0), "{args:?}: {told}");
        told
    };
    well(&["repair", store]);
    let told = well(&["verify", store]);
    assert!(told.contains("Wrong, and settled"), "{told}");
    let encrypt = ["encrypt", store, "--out", copy, "--key-file", file];
    let (code, told) = told_by(&encrypt);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("messages of stream S in account $G cannot be read"),
        "{told}"
    );
    assert!(
        told.contains("sequence 7;") && told.contains("rmm") && told.contains("weir export"),
        "{told}"
    );

    let opened = Store::embedded(StoreDir::new(&path).opener(), StoreOptions::new(Arc::new(|| 1_000))).unwrap();
    let stream = opened.stream(GLOBAL_ACCOUNT, "S").unwrap();
    let deleted = stream.call(|shard, id| shard.delete_message(id, 7, false)).unwrap();
    assert_eq!(deleted, counts);
    opened.close();
    drop((stream, opened));
    if counts {
        well(&encrypt);
    } else {
        well(&["export", store, "--stream", "S", "--format", "jsonl", lines]);
        well(&["import", copy, lines, "--key-file", file]);
    }
    let told = well(&["verify", copy, "--key-file", file]);
    assert!(told.contains("19 messages, sequences 1 to 20"), "{told}");
}

#[test]
fn a_damaged_body_is_named_where_a_store_is_to_be_encrypted() {
    what_is_lost_is_named(b"number 007", true);
}

#[test]
fn a_damaged_head_is_named_where_a_store_is_to_be_encrypted() {
    what_is_lost_is_named(b"s.7", false);
}

/// A shard that no stream is on has a journal without records: in the copy, too, and it is not told as one that is missing.
#[test]
fn a_copy_of_a_whole_store_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [path, out, file] = ["store", "out", "key"].map(|name| folder.path().join(name));
    fill_in(StoreDir::new(&path), "segment");
    std::fs::write(&file, KEY).unwrap();
    let [store, copy, file] = [&path, &out, &file].map(|path| path.to_str().unwrap());
    let (code, told) = told_by(&["encrypt", store, "--out", copy, "--key-file", file]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = told_by(&["verify", copy, "--key-file", file]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("Nothing is wrong."), "{told}");
}
