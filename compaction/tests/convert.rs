//! A stream that went over to another backend is the same to the last header; what cannot go over stays whole where it was.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;
use std::process::Command;

use support::Fixture;
use weir_compaction::convert::{Options, Outcome, convert};
use weir_engine::stream::settings::BackendKind;

fn to(backend: BackendKind) -> Options {
    Options {
        to: backend,
        stream: None,
        account: None,
    }
}

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

#[test]
fn a_store_that_somebody_has_open_and_wrong_arguments_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = path(folder.path());
    assert_eq!(weir(&["convert", store, "--to", "segment"]).0, Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    let (code, text) = weir(&["convert", store, "--to", "segment"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("open"), "{text}");
    fixture.close();
    assert_eq!(weir(&["convert", store, "--to", "memory"]).0, Some(1));
    assert_eq!(
        weir(&["convert", store, "--to", "segment", "--stream", "NOPE"]).0,
        Some(1)
    );
    assert_eq!(
        weir(&["convert", store, "--to", "segment", "--account", "NOPE"]).0,
        Some(1)
    );
    let (code, text) = weir(&["convert", store, "--to", "segment", "--stream", "ORDERS"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("in segment already"), "{text}");
    if cfg!(not(feature = "rocksdb")) {
        let (code, text) = weir(&["convert", store, "--to", "rocksdb"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("without"), "{text}");
    }
    let report = convert(folder.path(), &to(BackendKind::Segment), None).unwrap();
    assert!(report.streams.iter().all(|stream| stream.outcome == Outcome::Already));
}

#[cfg(feature = "rocksdb")]
mod to_rocksdb {
    use std::fs;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;
    use support::copy_folder;
    use weir_compaction::convert::Report;
    use weir_compaction::diff::{self, diff};
    use weir_compaction::verify::{self, verify};

    fn outcomes(report: &Report) -> Vec<(&str, Outcome)> {
        let streams = report.streams.iter();
        streams.map(|stream| (&*stream.name, stream.outcome)).collect()
    }

    fn is_whole(folder: &Path) {
        let report = verify(folder, &verify::Options::default(), None, &mut |_, _, _| {}).unwrap();
        assert!(report.found.is_empty(), "{}", report.to_text());
    }

    fn is_same(a: &Path, b: &Path) {
        let report = diff(a, b, &diff::Options::default(), None).unwrap();
        assert!(!report.is_different(), "{}", report.to_text());
    }

    #[test]
    fn a_store_goes_over_and_back_and_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(folder.path(), "segment");
        fixture.work();
        fixture.work_with_headers();
        fixture.reopen();
        fixture.work_more();
        // What is in the journal alone goes over as well.
        let killed = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), killed.path());
        fixture.close();
        let before = tempfile::tempdir().unwrap();
        copy_folder(killed.path(), before.path());
        let streams = ["COUNTS", "JOBS", "LATER", "LIVES", "NEWER", "ORDERS", "PURGED"];
        for backend in [BackendKind::RocksDb, BackendKind::Segment, BackendKind::RocksDb] {
            let report = convert(killed.path(), &to(backend), None).unwrap();
            assert_eq!(outcomes(&report), streams.map(|name| (name, Outcome::Moved)));
            assert!(report.is_done());
            is_whole(killed.path());
            is_same(before.path(), killed.path());
            let again = convert(killed.path(), &to(backend), None).unwrap();
            assert_eq!(outcomes(&again), streams.map(|name| (name, Outcome::Already)));
        }
        // What the engine remembers of messages is there, too.
        fixture.move_to(killed.path());
        assert!(fixture.is_duplicate(4));
        assert!(!fixture.is_duplicate(400));
        assert_eq!(fixture.count_on(), "{\"val\":\"64\"}");
        fixture.close();
        is_whole(killed.path());
    }

    #[test]
    fn a_stream_with_a_paged_index_can_come_to_segment() {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(folder.path(), "rocksdb");
        fixture.page_indexes();
        fixture.work();
        fixture.close();
        let before = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), before.path());
        let only = Options {
            stream: Some("ORDERS".to_owned()),
            ..to(BackendKind::Segment)
        };
        let report = convert(folder.path(), &only, None).unwrap();
        assert_eq!(outcomes(&report), [("ORDERS", Outcome::Moved)]);
        assert_eq!(report.streams[0].messages, 53);
        is_whole(folder.path());
        is_same(before.path(), folder.path());
    }

    /// A file system in memory, for as long as it is held.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        /// `None` where that is not allowed.
        fn of(size: &str) -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(folder.path())
                .status();
            mounted.is_ok_and(|status| status.success()).then(|| Self(folder))
        }

        /// Takes all room that is left.
        fn fill(&self) {
            use std::io::Write;
            let mut file = fs::File::create(self.0.path().join("filler")).unwrap();
            while file.write_all(&[7; 4096]).is_ok() {}
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }

    /// Before, it ended with 2, as though something were damaged, and each run left the catalogue longer.
    #[test]
    fn on_a_full_disk_it_is_not_done_and_nothing_is_damaged() {
        let made = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(made.path(), "rocksdb");
        fixture.work();
        fixture.close();
        let Some(disk) = Mounted::of("64m") else {
            println!("skipped: no file system can be mounted here");
            return;
        };
        let store = disk.0.path().join("store");
        copy_folder(made.path(), &store);
        let catalogue = || -> u64 {
            let files = fs::read_dir(store.join("weir/segment/kv")).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
        };
        disk.fill();
        for is_room_kept in [true, false] {
            if !is_room_kept {
                let _ = fs::remove_file(store.join("weir/rocksdb/ROOM"));
                disk.fill();
            }
            for command in [&["convert", "--to", "segment"][..], &["compact"]] {
                let before = catalogue();
                let (code, text) = weir(&[&command[..1], &[path(&store)], &command[1..]].concat());
                // With that room RocksDB is opened, and there may be nothing to write.
                let is_done = is_room_kept && command == ["compact"] && code == Some(0);
                assert!(code == Some(1) || is_done, "{command:?} {code:?}: {text}");
                assert!(
                    catalogue() <= before.max(8 << 10),
                    "{command:?}: {before}, now {}",
                    catalogue()
                );
            }
        }
        is_whole(&store);
        fs::remove_file(disk.0.path().join("filler")).unwrap();
        is_same(&store, made.path());
    }

    #[test]
    fn a_stream_with_a_damaged_message_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(folder.path(), "segment");
        fixture.work();
        fixture.close();
        let log = folder
            .path()
            .join(format!("weir/segment/logs/{}", fixture.log("ORDERS")));
        for entry in fs::read_dir(log).unwrap() {
            let file = entry.unwrap().path();
            let mut raw = fs::read(&file).unwrap();
            if let Some(at) = raw.windows(4).position(|bytes| bytes == b"rare") {
                raw[at] ^= 1;
                fs::write(&file, raw).unwrap();
            }
        }
        let before = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), before.path());
        let store = path(folder.path());
        let (code, text) = weir(&["convert", store, "--to", "rocksdb"]);
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains("ORDERS of $G is in segment as before: 1 message cannot be read, the first is 61"),
            "{text}"
        );
        assert!(
            text.contains("JOBS of $G: 17 messages went over from segment to rocksdb."),
            "{text}"
        );
        let (code, text) = weir(&["inspect", store, "--stream", "ORDERS", "--json"]);
        assert_ne!(code, Some(1));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["streams"][0]["backend"], "segment", "{text}");
        // What there was of the copy is gone, without a compaction.
        let tables = fs::read_dir(folder.path().join("weir/rocksdb")).unwrap();
        for table in tables.map(|entry| entry.unwrap().path()) {
            let raw = fs::read(&table).unwrap();
            let is_there = raw.windows(16).any(|bytes| bytes == b"orders.once-only");
            assert!(!is_there, "{}", table.display());
        }
        // Nothing asks for the move any more.
        assert!(!text.contains("rocksdb"), "{text}");
        // All of the log's records are there as before.
        let report = diff(
            before.path(),
            folder.path(),
            &diff::Options {
                stream: Some("ORDERS".into()),
            },
            None,
        )
        .unwrap();
        let orders = &report.streams[0];
        assert_eq!(
            (orders.same, orders.damaged, orders.only_in_a),
            (52, 1, 0),
            "{}",
            report.to_text()
        );
    }

    /// The program is killed at moments all over a move.
    #[test]
    fn whatever_kills_it_leaves_the_stream_whole_and_the_next_run_moves_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(folder.path(), "segment");
        fixture.work_much(6000, 200);
        fixture.close();
        let begin = |store: &Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
            command
                .args(["convert", path(store), "--to", "rocksdb"])
                .stdout(Stdio::null());
            command.spawn().unwrap()
        };
        let copy = || {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            copy
        };
        let began = Instant::now();
        assert!(begin(copy().path()).wait().unwrap().success());
        let took = began.elapsed();
        let mut killed = 0;
        for case in 0..10 {
            let store = copy();
            let mut running = begin(store.path());
            // Any moment will do.
            std::thread::sleep(took.mul_f64(f64::from(case) / 10.0) + Duration::from_millis(1));
            running.kill().unwrap();
            killed += u32::from(!running.wait().unwrap().success());
            let report = convert(store.path(), &to(BackendKind::RocksDb), None).unwrap();
            assert!(report.is_done(), "{}", report.to_text());
            is_whole(store.path());
            is_same(folder.path(), store.path());
            let logs = fs::read_dir(store.path().join("weir/segment/logs")).unwrap();
            // Those of journals have lower ids.
            let first = fixture.log("MUCH").to_string();
            let left = logs.filter(|log| *log.as_ref().unwrap().file_name().to_string_lossy() >= *first);
            assert_eq!(left.count(), 0, "logs are left in the backend that streams have left");
        }
        // On a very slow machine some end before.
        assert!(killed > 0);
    }
}
