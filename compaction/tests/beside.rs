//! With `--out` a store is only read; what comes of it is elsewhere, and has its name when all of it is done.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Fixture, snapshot_of_files};
use weir_backends::root::StoreDir;
use weir_compaction::diff::{self, diff};
use weir_compaction::verify::{self, verify};
use weir_engine::shard::snapshot::stream_key;
use weir_engine::stream::settings::BackendKind;

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

fn filled(folder: &Path) -> Fixture {
    let mut fixture = Fixture::new(folder, "segment");
    fixture.work();
    fixture.note();
    fixture.close();
    fixture
}

fn is_whole_and_same(store: &Path, before: &Path) {
    let report = verify(store, &verify::Options::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(report.found.is_empty(), "{}", report.to_text());
    let report = diff(before, store, &diff::Options::default(), None).unwrap();
    assert!(!report.is_different(), "{}", report.to_text());
}

#[test]
fn what_a_tool_makes_elsewhere_is_whole_and_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    filled(&store);
    let files = snapshot_of_files(&store);
    let [from, out] = [&store, &folder.path().join("new")].map(|path| path.to_str().unwrap().to_owned());
    let commands: &[&[&str]] = &[
        &["compact", &from, "--compression", "zstd", "--out", &out],
        #[cfg(feature = "rocksdb")]
        &["convert", &from, "--to", "rocksdb", "--out", &out],
        &["repair", &from, "--out", &out],
    ];
    for command in commands {
        // An empty folder may be there, and what an earlier run left.
        fs::create_dir(&out).unwrap();
        let left = folder.path().join("new.unfinished");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("UNFINISHED"), "").unwrap();
        fs::write(left.join("half"), "of something").unwrap();
        let (code, text) = weir(command);
        assert_eq!(code, Some(0), "{text}");
        assert!(!text.contains("unfinished"), "{text}");
        is_whole_and_same(Path::new(&out), &store);
        assert_eq!(snapshot_of_files(&store), files);
        assert!(!left.exists());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing but the store");
        // Never over something.
        let made = snapshot_of_files(Path::new(&out));
        let (code, text) = weir(command);
        assert!(code == Some(1) && text.contains("not empty"), "{text}");
        assert_eq!(snapshot_of_files(Path::new(&out)), made);
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn what_is_not_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    filled(&store);
    let from = store.to_str().unwrap();
    let out = folder.path().join("new");
    let theirs = folder.path().join("new.unfinished/theirs");
    fs::create_dir(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    let (code, text) = weir(&["compact", from, "--out", out.to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("new.unfinished is there"), "{text}");
    assert!(theirs.exists() && !out.exists());
    fs::remove_dir_all(theirs.parent().unwrap()).unwrap();
    // What fails leaves nothing.
    let out = folder.path().join("other");
    let (code, text) = weir(&["compact", from, "--stream", "NOPE", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["store"]);
}

#[test]
fn nothing_is_made_in_the_store_that_it_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    filled(&store);
    let from = store.to_str().unwrap();
    let before = snapshot_of_files(&store);
    for inside in ["new", "weir/new", "weir/segment/logs/new", "not/there/yet"] {
        let inside = store.join(inside);
        let out = inside.to_str().unwrap();
        for command in [
            &["compact", from, "--out", out][..],
            &["convert", from, "--to", "segment", "--out", out],
            &["repair", from, "--out", out],
        ] {
            let (code, text) = weir(command);
            assert!(
                code == Some(1) && text.contains("is in the store's own folder"),
                "{command:?}: {text}"
            );
        }
    }
    let out = store.join("weir/backup");
    let (code, text) = weir(&["export", from, "--stream", "ORDERS", out.to_str().unwrap()]);
    assert!(
        code == Some(1) && text.contains("is in the store's own folder"),
        "{text}"
    );
    assert_eq!(snapshot_of_files(&store), before);
    // Folders too.
    assert!(!store.join("not").exists());
}

/// As a kill leaves it.
#[test]
fn what_a_kill_leaves_says_what_to_do_and_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    filled(&store);
    let [from, out, left] = [
        &store,
        &folder.path().join("new"),
        &folder.path().join("new.unfinished"),
    ]
    .map(|path| path.to_str().unwrap().to_owned());
    // A part of the copy is there.
    let part = Path::new(&left).join("weir/segment/logs");
    fs::create_dir_all(&part).unwrap();
    fs::create_dir_all(Path::new(&left).join("weir/segment/kv")).unwrap();
    fs::write(Path::new(&left).join("UNFINISHED"), "").unwrap();
    for command in [
        &["inspect", &left][..],
        &["verify", &left],
        &["repair", &left],
        &["compact", &left],
        &["import", &left, "nothing"],
    ] {
        let (code, text) = weir(command);
        let is_told = text.contains("run that command again, which begins anew, or remove the folder");
        // What is to be imported is looked at first.
        assert!(
            code == Some(1) && (is_told || command[0] == "import"),
            "{command:?}: {text}"
        );
    }
    let (code, text) = weir(&["compact", &from, "--out", &out]);
    assert_eq!(code, Some(0), "{text}");
    is_whole_and_same(Path::new(&out), &store);
    assert!(!Path::new(&left).exists());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing but the store");
}

#[test]
fn a_store_that_is_repaired_elsewhere_is_damaged_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let fixture = filled(&store);
    {
        let root = StoreDir::new(&store).open(BackendKind::Segment).unwrap();
        root.kv().put_all(&[(stream_key(fixture.log("ORDERS")), None)]).unwrap();
        root.sync().unwrap();
    }
    let files = snapshot_of_files(&store);
    let out = folder.path().join("new");
    let (code, text) = weir(&["repair", store.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("becomes stream ORDERS again") && text.contains("new/weir/quarantine/"),
        "{text}"
    );
    assert_eq!(snapshot_of_files(&store), files);
    let quarantine = fs::read_dir(out.join("weir/quarantine"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let reason = fs::read_to_string(quarantine.path().join("REASON.txt")).unwrap();
    assert!(
        reason.contains("new/weir/segment/kv") && !reason.contains("unfinished"),
        "{reason}"
    );
    let (code, text) = weir(&["dump", out.to_str().unwrap(), "--stream", "ORDERS", "--json"]);
    assert_eq!(
        (code, text.lines().count() as u64),
        (Some(0), fixture.state("ORDERS").messages),
        "{text}"
    );
}
