//! What is deleted is given back, and what is there stays the same, however it is compressed.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Fixture, copy_folder, snapshot_of_files};
use weir_compaction::compact::{Options, compact};
use weir_compaction::diff::{self, diff};
use weir_compaction::verify::{self, verify};
use weir_engine::Compression;

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

fn is_whole_and_same(store: &Path, before: &Path) {
    let report = verify(store, &verify::Options::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(report.found.is_empty(), "{}", report.to_text());
    let report = diff(before, store, &diff::Options::default(), None).unwrap();
    assert!(!report.is_different(), "{}", report.to_text());
}

/// The bytes of the files that streams are in.
fn stream_bytes(fixture: &Fixture, store: &Path) -> u64 {
    let log = format!("logs/{}", fixture.log("MUCH"));
    let place = if fixture.backend() == "segment" {
        &*log
    } else {
        "rocksdb"
    };
    let files = snapshot_of_files(store).into_iter();
    let of_it = files.filter(|(path, _)| path.to_string_lossy().contains(place) && !path.ends_with("rocksdb/ROOM"));
    of_it.map(|(_, bytes)| bytes.len() as u64).sum()
}

fn gives_back(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::with_segments(folder.path(), backend, 1 << 20);
    fixture.work_much(10_000, 300);
    fixture.reopen();
    fixture.close();
    let before = stream_bytes(&fixture, folder.path());
    fixture.reopen();
    // Nine of ten, all over.
    fixture.delete("MUCH", (1..=10_000).filter(|seq| seq % 10 != 0));
    fixture.close();
    let original = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), original.path());
    let report = compact(folder.path(), &Options::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(report.is_done(), "{}", report.to_text());
    let after = stream_bytes(&fixture, folder.path());
    assert!(after * 5 < before, "{before} before, {after} now");
    // The journals, whose files say nothing of what was given back, are told apart.
    let of_journal = |path: &Path| path.to_string_lossy().contains("/logs/00000000000000");
    let files = snapshot_of_files(folder.path()).into_iter();
    let (journals, others): (Vec<_>, Vec<_>) = files.partition(|(path, _)| of_journal(path));
    let bytes = |files: Vec<(_, Vec<u8>)>| files.iter().map(|(_, raw)| raw.len() as u64).sum::<u64>();
    assert_eq!(report.after.journals, bytes(journals));
    assert_eq!(report.after.streams, bytes(others));
    assert_eq!(report.disk_after, report.after.all());
    assert!(report.to_text().contains("; the journals "), "{}", report.to_text());
    is_whole_and_same(folder.path(), original.path());
    // Again there is nothing to do, and a server goes on.
    let again = compact(folder.path(), &Options::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(again.is_done());
    is_whole_and_same(folder.path(), original.path());
    fixture.reopen();
    fixture.delete("MUCH", 20..50);
    fixture.close();
    let report = verify(folder.path(), &verify::Options::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(report.found.is_empty(), "{}", report.to_text());
}

#[test]
fn what_is_deleted_is_given_back_on_segment() {
    gives_back("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn what_is_deleted_is_given_back_on_rocksdb() {
    gives_back("rocksdb");
}

/// The higher the level, the smaller; and it is that of new messages.
#[test]
fn a_level_of_zstd_is_the_stream_s() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::with_segments(folder.path(), "segment", 1 << 20);
    fixture.work();
    fixture.work_text(300, 500);
    fixture.close();
    let original = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), original.path());
    let store = folder.path().to_str().unwrap();
    let sizes = ["zstd:1", "zstd:19"].map(|level| {
        let (code, text) = weir(&["compact", store, "--compression", level]);
        assert_eq!(code, Some(0), "{text}");
        is_whole_and_same(folder.path(), original.path());
        let (_, text) = weir(&["inspect", store]);
        assert!(text.contains(level), "{text}");
        stream_bytes(&fixture, folder.path())
    });
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    assert_eq!(weir(&["compact", store, "--compression", "zstd:23"]).0, Some(1));
    fixture.reopen();
    fixture.work_more();
    fixture.close();
    assert_eq!(weir(&["verify", store]).0, Some(0));
}

fn compresses(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::with_segments(folder.path(), backend, 64 << 10);
    fixture.work();
    fixture.work_monotone(2_000, 400);
    fixture.close();
    let original = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), original.path());
    let plain = stream_bytes(&fixture, folder.path());
    for compression in [Compression::Zstd, Compression::Lz4, Compression::None] {
        let options = Options {
            compression: Some(compression),
            ..Options::default()
        };
        let report = compact(folder.path(), &options, None, &mut |_, _, _| {}).unwrap();
        assert!(report.is_done(), "{}", report.to_text());
        let bytes = stream_bytes(&fixture, folder.path());
        match compression {
            Compression::None => assert!(bytes * 10 > plain * 8, "{bytes} of {plain}"),
            _ => assert!(bytes * 2 < plain, "{bytes} of {plain}"),
        }
        is_whole_and_same(folder.path(), original.path());
    }
    fixture.reopen();
    fixture.work_more();
    fixture.close();
}

#[test]
fn messages_are_compressed_otherwise_on_segment() {
    compresses("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn messages_are_compressed_otherwise_on_rocksdb() {
    compresses("rocksdb");
}

#[test]
fn a_store_that_somebody_has_open_is_refused_and_a_damaged_message_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    assert_eq!(weir(&["compact", store]).0, Some(1));
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    assert_eq!(weir(&["compact", store]).0, Some(1));
    fixture.close();
    assert_eq!(weir(&["compact", store, "--stream", "NOPE"]).0, Some(1));
    assert_eq!(weir(&["compact", store, "--compression", "gzip"]).0, Some(1));
    for (path, mut raw) in snapshot_of_files(folder.path()) {
        let is_log = path
            .to_string_lossy()
            .contains(&format!("logs/{}", fixture.log("ORDERS")));
        if let Some(at) = raw.windows(4).position(|bytes| bytes == b"rare").filter(|_| is_log) {
            raw[at] ^= 1;
            std::fs::write(path, raw).unwrap();
        }
    }
    let original = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), original.path());
    let (code, text) = weir(&["compact", store, "--compression", "lz4"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("1 file with damage in it is left as before"), "{text}");
    let report = diff(original.path(), folder.path(), &diff::Options::default(), None).unwrap();
    let orders = report.streams.iter().find(|stream| stream.name == "ORDERS").unwrap();
    assert_eq!((orders.same, orders.damaged), (52, 1), "{}", report.to_text());
}

/// The program is killed at moments all over its work.
#[test]
fn whatever_kills_it_leaves_everything_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::with_segments(folder.path(), "segment", 128 << 10);
    fixture.work_much(5_000, 200);
    fixture.delete("MUCH", (1..=5_000).filter(|seq| seq % 3 != 0));
    fixture.close();
    let begin = |store: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["compact", store.to_str().unwrap(), "--compression", "zstd"]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let copy = || {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        copy
    };
    let began = Instant::now();
    assert!(begin(copy().path()).wait().unwrap().success());
    let took = began.elapsed();
    for case in 0..4 {
        let store = copy();
        let mut running = begin(store.path());
        // Any moment will do.
        std::thread::sleep(took.mul_f64(f64::from(case) / 4.0) + Duration::from_millis(1));
        running.kill().unwrap();
        running.wait().unwrap();
        let report = diff(folder.path(), store.path(), &diff::Options::default(), None).unwrap();
        assert!(!report.is_different(), "{}", report.to_text());
        let report = compact(store.path(), &Options::default(), None, &mut |_, _, _| {}).unwrap();
        assert!(report.is_done(), "{}", report.to_text());
        is_whole_and_same(store.path(), folder.path());
    }
}
