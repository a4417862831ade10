//! What is no file may stand in the place of one: the start does not wait for it, and says where it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use rustix::fs::{FileType, Mode};
use support::{ACCOUNT, Bench, Handle, Storage, Told};
use weir_backends::segment::SegmentBackend;
use weir_engine::stream::StreamConfig;
use weir_engine::{Backend, LogOptions, SECOND, ShardId};

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
        // Not by a program: while that begins it holds the locks of all stores of this process.
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).unwrap();
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

/// Before, the whole store did not open.
#[test]
fn in_the_place_of_a_file_of_a_journal_it_takes_the_streams_of_that_shard_offline() {
    for (storage, killed) in [
        (Storage::Segment, false),
        (Storage::Segment, true),
        // After a kill, of a new stream there only the journal tells.
        #[cfg(feature = "rocksdb")]
        (Storage::Rocks, false),
    ] {
        for (what, make) in OTHERS {
            let (sender, told) = channel();
            let mut bench = Bench::with_outlet(storage, move || Box::new(Told(sender.clone())));
            bench.shards = 2;
            bench.open();
            // B and D belong to the other shard than A and C.
            let shards = ["A", "B", "C", "D"].map(|name| bench.store().shard_for(ACCOUNT, name));
            let other = ShardId(1 - shards[0].0);
            assert_eq!(shards, [shards[0], other, shards[0], other]);
            for name in ["A", "B"] {
                let stream = bench.create(&config(name));
                for payload in [&b"1"[..], b"2"] {
                    stream.publish(&format!("{name}.x"), "", payload).unwrap();
                }
            }
            match killed {
                true => bench.kill(),
                false => bench.close(),
            }
            let journal = bench.logs_folder().join(shards[0].journal().to_string());
            let path = file(&journal, ".seg");
            let away = path.with_extension("away");
            std::fs::rename(&path, &away).unwrap();
            let bytes = std::fs::read(&away).unwrap();
            make(&path);
            bench.open();

            let catalogue = bench.store().catalogue().clone();
            let entry = catalogue.get(ACCOUNT, "A").expect("the stream is known");
            let why = entry.offline.clone().expect("the stream is offline");
            assert!(why.contains(&*path.to_string_lossy()) && why.contains(what), "{why}");
            assert!(catalogue.trouble().unwrap().contains(&*why));
            assert_eq!(bench.store().findings(), [], "nothing is known to be lost");
            let a = bench.find("A").unwrap();
            let refused = a.publish("A.x", "", b"refused").unwrap_err();
            assert!(refused.message.contains(&*path.to_string_lossy()), "{refused}");
            assert!(a.call(|shard, id| shard.delete_stream(id)).is_err());
            // All is in the log.
            assert_eq!(&a.message(2).unwrap().payload[..], b"2");
            let c = config("C");
            let (settings, id) = (bench.settings(&c), bench.store().allocate_id());
            let made = a.call(move |shard, _| shard.create_stream(id, &ACCOUNT.into(), c, settings));
            assert!(made.is_err(), "nothing new is put there");
            // The other shard goes on, and its checkpoints cost nothing of this one.
            let b = bench.find("B").unwrap();
            assert_eq!(b.publish("B.x", "", b"3").unwrap(), (3, false));
            assert_eq!(bench.create(&config("D")).publish("D.x", "", b"1").unwrap(), (1, false));
            bench.close();
            bench.open();
            assert_eq!(std::fs::read(&away).unwrap(), bytes, "nothing was done to it");
            match path.symlink_metadata().unwrap().is_dir() {
                true => std::fs::remove_dir(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
            std::fs::rename(&away, &path).unwrap();
            bench.advance(20 * SECOND);
            while told.recv().unwrap() != "A online" {}
            let catalogue = bench.store().catalogue().clone();
            assert_eq!(catalogue.get(ACCOUNT, "A").unwrap().offline, None);
            assert_eq!(catalogue.trouble(), None);
            let a = bench.find("A").unwrap();
            assert_eq!(&a.message(2).unwrap().payload[..], b"2");
            assert_eq!(a.publish("A.x", "", b"3").unwrap(), (3, false));
            assert_eq!(bench.create(&config("C")).publish("C.x", "", b"1").unwrap(), (1, false));
            for _ in 0..2 {
                bench.kill();
                bench.open();
                assert_eq!(bench.store().findings(), []);
                for (name, last) in [("A", 3), ("B", 3), ("C", 1), ("D", 1)] {
                    let stream = bench.find(name).unwrap();
                    assert!(stream.message(last).is_some(), "{name}");
                }
            }
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

/// Inspections said that there was no log.
#[test]
fn in_the_place_of_the_directory_of_a_log_it_is_said_what_it_is() {
    let (mut bench, first) = two();
    let dir = bench.logs_folder().join(first.id.to_string());
    let away = bench.logs_folder().join("away");
    std::fs::rename(&dir, &away).unwrap();
    let others = OTHERS.iter().filter(|(what, _)| *what != "a directory");
    let file: (&str, fn(&Path)) = ("a file", |path| std::fs::write(path, "x").unwrap());
    for (what, make) in others.copied().chain([file]) {
        make(&dir);
        bench.open();
        let why = bench.store().catalogue().get(ACCOUNT, "A").unwrap().offline.clone();
        let why = why.expect("the stream is offline");
        assert!(
            why.contains("in the place of the directory") && why.contains(what),
            "{why}"
        );
        bench.close();
        let root = SegmentBackend::open_read_only(&bench.segment_folder()).unwrap();
        let looked = root.open(first.id.log(), &LogOptions::default()).err().unwrap();
        assert!(why.starts_with(&looked.message), "{looked}");
        std::fs::remove_file(&dir).unwrap();
    }
    std::fs::rename(&away, &dir).unwrap();
    bench.open();
    assert_eq!(bench.find("A").unwrap().publish("A.x", "", b"2").unwrap(), (2, false));
    bench.close();
}
