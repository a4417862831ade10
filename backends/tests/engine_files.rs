//! What is no file may stand in the place of one: the start does not wait for it, and says where it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{ACCOUNT, Bench, Handle, Storage};
use weir_engine::stream::StreamConfig;

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

/// A store with two streams of a message each, closed.
fn two() -> (Bench, Handle) {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let first = bench.create(&config("A"));
    first.publish("A.x", "", b"1").unwrap();
    bench.create(&config("B")).publish("B.x", "", b"1").unwrap();
    bench.close();
    (bench, first)
}

type Make = fn(&Path);

/// What may stand in the place of a file.
const OTHERS: [(&str, Make); 3] = [
    ("a pipe", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a directory", |path| std::fs::create_dir(path).unwrap()),
    ("a symbolic link", |path| {
        std::os::unix::fs::symlink(path.with_extension("away"), path).unwrap();
    }),
];

fn file(folder: &Path, ends_with: &str) -> PathBuf {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = all.filter(|path| path.to_string_lossy().ends_with(ends_with));
    found.next().expect("the file is there")
}

#[test]
fn in_the_place_of_a_file_of_a_log_it_takes_that_stream_offline() {
    for name in ["label", ".seg"] {
        for (what, make) in OTHERS {
            let (mut bench, first) = two();
            let folder = bench.logs_folder().join(first.id.to_string());
            let path = file(&folder, name);
            let away = path.with_extension("away");
            std::fs::rename(&path, &away).unwrap();
            make(&path);
            bench.open();
            let why = bench.store().catalogue().get(ACCOUNT, "A").unwrap().offline.clone();
            let why = why.expect("the stream is offline");
            assert!(why.contains(&*path.to_string_lossy()), "{why}");
            assert!(why.contains(what), "{what}: {why}");
            let other = bench.find("B").unwrap();
            assert_eq!(other.publish("B.x", "", b"2").unwrap(), (2, false), "{what}");
            bench.close();
            // Nothing was done to it, and once the file is back so is the stream.
            match path.symlink_metadata().unwrap().is_dir() {
                true => std::fs::remove_dir(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
            std::fs::rename(&away, &path).unwrap();
            bench.open();
            assert_eq!(
                bench.find("A").unwrap().publish("A.x", "", b"2").unwrap(),
                (2, false),
                "{what}"
            );
            bench.close();
        }
    }
}

#[test]
fn in_the_place_of_one_copy_of_the_catalogue_it_costs_nothing() {
    for copy in ["kv", "kv2"] {
        for (_, make) in OTHERS {
            let (mut bench, _) = two();
            let path = file(&bench.segment_folder().join(copy), ".kv");
            std::fs::remove_file(&path).unwrap();
            make(&path);
            for seq in 2..4 {
                bench.open();
                for name in ["A", "B"] {
                    let stream = bench.find(name).unwrap();
                    assert_eq!(stream.publish(&format!("{name}.x"), "", b"2").unwrap(), (seq, false));
                }
                bench.close();
            }
            assert!(path.symlink_metadata().unwrap().is_file());
        }
    }
}
