//! What an inspection says of a store is what the store said of itself, whether it was closed or killed.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::{Fixture, copy_folder, snapshot_of_files};
use weir_backends::root::StoreDir;
use weir_compaction::Error;
use weir_compaction::inspect::{CatalogueStream, KnownFrom, Options, Report, catalogue, inspect};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::Defaults;
use weir_engine::{Store, StoreOptions};

/// What the tests compare, from the store's own mouth and from the report.
fn assert_same(fixture: &Fixture, report: &Report) {
    let names: Vec<&str> = report.streams.iter().map(|s| &*s.name).collect();
    assert_eq!(names, fixture.names(), "memory streams and deleted ones are not shown");
    for stream in &report.streams {
        let state = fixture.state(&stream.name);
        let name = &stream.name;
        assert!(stream.readable, "{name}");
        assert_eq!(stream.account, "$G");
        assert_eq!(stream.backend, fixture.backend(), "{name}");
        assert_eq!(stream.messages, state.messages, "messages of {name}");
        assert_eq!(stream.bytes, state.bytes, "bytes of {name}");
        assert_eq!(stream.first_seq, state.first_seq, "first of {name}");
        assert_eq!(stream.last_seq, state.last_seq, "last of {name}");
        assert_eq!(stream.first_time, state.first_time, "first time of {name}");
        assert_eq!(stream.last_time, state.last_time, "last time of {name}");
        assert_eq!(stream.subjects, state.num_subjects, "subjects of {name}");
        assert_eq!(stream.damaged, 0);
        let consumers: Vec<_> = stream.consumers.iter().map(|c| c.name.clone()).collect();
        assert_eq!(consumers, fixture.consumer_names(name));
        for consumer in &stream.consumers {
            let info = fixture.consumer(name, &consumer.name);
            let who = format!("{name} {}", consumer.name);
            assert_eq!(consumer.delivered.consumer_seq, info.delivered.consumer, "{who}");
            assert_eq!(consumer.delivered.stream_seq, info.delivered.stream, "{who}");
            assert_eq!(consumer.ack_floor.consumer_seq, info.ack_floor.consumer, "{who}");
            assert_eq!(consumer.ack_floor.stream_seq, info.ack_floor.stream, "{who}");
            assert_eq!(consumer.ack_pending, info.num_ack_pending, "{who}");
            assert_eq!(consumer.redelivered, info.num_redelivered, "{who}");
            assert_eq!(consumer.durable, info.config.is_durable(), "{who}");
            assert_eq!(consumer.deliver_subject.is_some(), info.config.is_push(), "{who}");
        }
    }
}

fn look(path: &Path) -> Report {
    inspect(path, &Options::default()).unwrap()
}

fn closed(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), backend);
    fixture.work();
    fixture.note();
    fixture.close();
    let before = snapshot_of_files(folder.path());
    let report = look(folder.path());
    assert_eq!(snapshot_of_files(folder.path()), before, "looking changes nothing");
    assert_same(&fixture, &report);
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(!report.has_journal_tail);
    assert!(report.streams.iter().all(|s| s.journal_tail.commands == 0));
    assert_eq!((report.format_version, report.shards), (Some(3), 2));
    assert_eq!(report.journals.len(), 2);
    assert_eq!(
        report,
        look(&folder.path().join("weir")),
        "the folder weir will do as well"
    );
}

fn killed(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), backend);
    // Part of it lies behind a checkpoint, part only in the journal.
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    let before = snapshot_of_files(killed.path());
    let report = look(killed.path());
    assert_eq!(snapshot_of_files(killed.path()), before, "looking changes nothing");
    assert_same(&fixture, &report);
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.has_journal_tail);
    let orders = report.streams.iter().find(|s| s.name == "ORDERS").unwrap();
    let tail = orders.journal_tail;
    assert_eq!(tail.publishes, 40);
    // RocksDB has no log of its own: what is not flushed is in the journal alone.
    assert_eq!(tail.unwritten, if backend == "rocksdb" { 40 } else { 0 });
    assert!(
        tail.removals > 0 && tail.progress > 0 && tail.configuration > 0,
        "{tail:?}"
    );
    assert!(report.to_text().contains("was not closed"));
    fixture.close();
}

/// The body of a message that is in its log alone, and did not come to the disk: nobody was answered, and a start gives it up.
#[test]
fn a_turn_that_will_be_given_up_is_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(Arc::new(|| 1_700_000_100_000_000_000));
    let store = Store::embedded(StoreDir::new(folder.path()).opener(), options).unwrap();
    // Nothing is synced that could not be given up any more.
    let config = StreamConfig {
        name: "S".to_owned(),
        subjects: vec!["s.*".to_owned()],
        metadata: BTreeMap::from([("weir.durability".to_owned(), "os".to_owned())]),
        ..StreamConfig::default()
    };
    let stream = store.create_stream("$G", config, &Defaults::default()).unwrap();
    stream.publish("s.small", "", b"x").unwrap();
    stream.publish("s.large", "", &vec![b'y'; 512 << 10]).unwrap();
    let looked_at = |is_cut: bool| {
        let killed = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), killed.path());
        let logs = fs::read_dir(killed.path().join("weir/segment/logs")).unwrap();
        let mut files = logs.flat_map(|log| fs::read_dir(log.unwrap().path()).unwrap());
        // The one that has the body.
        let found = files.find_map(|file| {
            let file = file.unwrap().path();
            let bytes = fs::read(&file).unwrap();
            let at = bytes.windows(64).position(|window| window == [b'y'; 64])?;
            Some((file, at))
        });
        let (file, at) = found.unwrap();
        if is_cut {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(at as u64)
                .unwrap();
        }
        let report = look(killed.path());
        let stream = &report.streams[0];
        let tail = stream.journal_tail;
        (stream.last_seq, tail.publishes, tail.unwritten)
    };
    assert_eq!(looked_at(false), (2, 2, 0));
    assert_eq!(looked_at(true), (1, 1, 0));
    drop(stream);
    store.close();
}

#[test]
fn a_closed_store_on_segment() {
    closed("segment");
}

#[test]
fn a_killed_store_on_segment() {
    killed("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_closed_store_on_rocksdb() {
    closed("rocksdb");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_killed_store_on_rocksdb() {
    killed("rocksdb");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_store_on_rocksdb_killed_before_anything_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "rocksdb");
    fixture.work();
    fixture.note();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    let report = look(killed.path());
    assert_eq!(report.problems, Vec::<String>::new());
    assert_same(&fixture, &report);
    fixture.close();
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_rocksdb_that_compacts_nothing_for_damage_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "rocksdb");
    fixture.work();
    fixture.close();
    let path = folder.path().join("weir/rocksdb/DAMAGED");
    std::fs::write(&path, "block checksum mismatch in 000009.sst\n").unwrap();
    let report = look(folder.path());
    let [problem] = &report.problems[..] else {
        panic!("{:?}", report.problems);
    };
    assert!(
        problem.contains("000009.sst") && problem.contains(&*path.to_string_lossy()),
        "{problem}"
    );
}

#[test]
fn what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let options = Options {
        stream: Some("ORDERS".to_owned()),
        top_subjects: Some(2),
        ..Options::default()
    };
    let report = inspect(folder.path(), &options).unwrap();
    assert_eq!(report.streams.len(), 1);
    let subjects = report.streams[0].top_subjects.as_ref().unwrap();
    let subjects: Vec<_> = subjects.iter().map(|s| (&*s.subject, s.messages)).collect();
    assert_eq!(subjects, fixture.expected_top_subjects());
    let options = Options {
        stream: Some("NOPE".to_owned()),
        ..options
    };
    let error = inspect(folder.path(), &options).unwrap_err();
    assert!(matches!(error, Error::NoSuchStream { .. }));
    assert!(error.to_string().contains("ORDERS"), "{error}");
}

#[test]
fn a_server_on_the_store_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    let error = inspect(folder.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    assert!(error.to_string().contains("stop it, or wait"), "{error}");
    fixture.close();
    look(folder.path());
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    fs::create_dir_all(folder.path().join("weir/segment")).unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("missing")] {
        let error = inspect(&path, &Options::default()).unwrap_err();
        assert!(matches!(error, Error::NotAStore { .. }), "{error}");
        assert!(error.to_string().contains("segment/logs"), "{error}");
    }
    assert!(
        fs::read_dir(folder.path().join("weir/segment"))
            .unwrap()
            .next()
            .is_none()
    );
}

/// The largest file of a stream's log.
fn log_file(root: &Path, log: &str) -> PathBuf {
    let folder = root.join("weir/segment/logs").join(log);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn flip(path: &Path, needle: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_message_is_told_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.note();
    fixture.close();
    let orders = look(folder.path())
        .streams
        .into_iter()
        .find(|s| s.name == "ORDERS")
        .unwrap();
    flip(&log_file(folder.path(), &orders.log), fixture.a_live_subject());
    let report = look(folder.path());
    assert!(report.is_damaged());
    let damaged = report.streams.iter().find(|s| s.name == "ORDERS").unwrap();
    assert_eq!(damaged.messages, orders.messages - 1, "{:?}", report.problems);
    assert_eq!(damaged.damaged, 1);
    assert_eq!(damaged.last_seq, orders.last_seq);
    assert_eq!(report.streams.len(), fixture.names().len());
    let output = weir(&["inspect", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    let said = "The log of ORDERS is damaged, or lacks something, at 1 place, with 1 message lost; what is there is kept and not served. \
                `weir verify --stream ORDERS` reads everything";
    assert!(text.contains("Damaged") && text.contains(said), "{text}");
    // Journals take more room than they have records.
    assert!(text.contains("(made at full size, and used again)"), "{text}");
}

/// A whole file is gone: that is one place, and as many messages as were in it.
#[test]
fn messages_of_a_file_that_is_gone_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::with_segments(folder.path(), "segment", 1 << 12);
    fixture.work();
    fixture.note();
    fixture.close();
    let messages = |report: &Report| report.streams.iter().find(|s| s.name == "ORDERS").unwrap().messages;
    let whole = messages(&look(folder.path()));
    let logs = folder.path().join("weir/segment/logs");
    let files = fs::read_dir(logs.join(fixture.log("ORDERS").to_string())).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    files.sort();
    fs::remove_file(&files[1]).unwrap();
    let report = look(folder.path());
    let orders = report.streams.iter().find(|s| s.name == "ORDERS").unwrap();
    let lost = whole - orders.messages;
    assert!(lost > 3, "{lost}");
    // Some that were in it may have been removed before: that the log cannot tell.
    assert!(
        (lost..=lost + 8).contains(&orders.damaged_messages),
        "{lost}: {orders:#?}"
    );
    assert_eq!(orders.lost_unnoted, orders.damaged_messages);
    let output = weir(&["inspect", folder.path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lost = orders.damaged_messages;
    let said = format!("The log of ORDERS is damaged, or lacks something, at 1 place, with {lost} messages lost;");
    assert!(text.contains(&said), "{text}");
    let said = format!("Of ORDERS {lost} messages are lost, and no server has noted that");
    assert!(text.contains(&said), "{text}");
}

#[test]
fn a_damaged_checkpoint_costs_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.note();
    fixture.close();
    {
        // As if another program had written it: whole, with a good checksum, but not ours.
        use weir_engine::stream::settings::BackendKind;
        let store = weir_backends::root::StoreDir::new(folder.path());
        let root = store.open(BackendKind::Segment).unwrap();
        let key = format!("stream/{}", fixture.log("ORDERS"));
        root.kv().put_all(&[(key.into(), Some("{}".into()))]).unwrap();
        root.sync().unwrap();
    }
    let report = look(folder.path());
    // As a server shows it: the stream that its log says it is, offline.
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    assert!(report.problems[0].contains(&fixture.log("ORDERS").to_string()));
    assert_eq!(report.streams.len(), fixture.names().len());
    let orders = report.streams.iter().find(|s| s.name == "ORDERS").unwrap();
    assert!(!orders.readable);
}

#[test]
fn a_log_that_is_gone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let log = fixture.log("ORDERS").to_string();
    fs::remove_dir_all(folder.path().join("weir/segment/logs").join(log)).unwrap();
    let report = look(folder.path());
    let orders = report.streams.iter().find(|s| s.name == "ORDERS").unwrap();
    assert!(!orders.readable);
    assert!(report.problems[0].contains("is missing"), "{:?}", report.problems);
}

fn weir(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap()
}

#[test]
fn the_program_prints_tables_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.note();
    fixture.close();
    let path = folder.path().to_str().unwrap();
    let output = weir(&["inspect", path, "--subjects", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for needle in [
        "ORDERS",
        "segment, sync, resident",
        "workers",
        "orders.",
        "format version 3",
    ] {
        assert!(text.contains(needle), "{needle} in\n{text}");
    }
    assert!(output.stderr.is_empty(), "no bar where there is no terminal");
    let output = weir(&["inspect", path, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let orders = json["streams"].as_array().unwrap();
    let orders = orders.iter().find(|s| s["name"] == "ORDERS").unwrap();
    assert_eq!(orders["messages"], fixture.state("ORDERS").messages);
    assert!(orders["first_time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json["format_version"], 3);

    let output = weir(&["inspect", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not a Weir store"));
    assert!(weir(&["--help"]).status.success());
}

#[test]
fn a_consumer_is_shown_with_what_it_waits_for_and_messages_by_size_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.note();
    fixture.close();
    let options = Options {
        stream: Some("ORDERS".to_owned()),
        consumer: Some("workers".to_owned()),
        histogram: true,
        ..Options::default()
    };
    let report = inspect(folder.path(), &options).unwrap();
    let [consumer] = &report.streams[0].consumers[..] else {
        panic!("{:?}", report.streams);
    };
    let pending = consumer.pending.as_ref().unwrap();
    assert_eq!(pending.len() as u64, consumer.ack_pending);
    assert!(pending.iter().all(|of| of.stream_seq <= consumer.delivered.stream_seq));
    assert!(pending.iter().any(|of| of.deliveries == 2), "{pending:?}");
    assert_eq!(consumer.config.as_ref().unwrap()["durable_name"], "workers");
    let histogram = report.streams[0].histogram.as_ref().unwrap();
    for buckets in [&histogram.sizes, &histogram.ages] {
        let messages: u64 = buckets.iter().map(|bucket| bucket.messages).sum();
        assert_eq!(messages, fixture.state("ORDERS").messages);
    }
    // None has more than 60 bytes, and 20 of headers.
    assert!(
        histogram.sizes[3..].iter().all(|bucket| bucket.messages == 0),
        "{histogram:?}"
    );
    let text = report.to_text();
    assert!(
        text.contains("Sent and not acknowledged") && text.contains("█"),
        "{text}"
    );
    let nobody = Options {
        consumer: Some("nobody".to_owned()),
        ..Options::default()
    };
    let error = inspect(folder.path(), &nobody).unwrap_err();
    assert!(matches!(error, Error::NoSuchConsumer { .. }), "{error}");
    // Nobody who did not ask is shown more than before.
    let json = serde_json::to_string(&look(folder.path())).unwrap();
    assert!(!json.contains("\"pending\"") && !json.contains("histogram"), "{json}");
}

#[test]
fn the_records_of_a_journal_and_the_pieces_of_a_file_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::with_segments(folder.path(), "segment", 1 << 12);
    fixture.work();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    fixture.close();
    let path = killed.path().to_str().unwrap();
    let mut text = String::new();
    for shard in ["0", "1"] {
        let output = weir(&["inspect", path, "--journal", shard, "--limit", "1000"]);
        assert_eq!(output.status.code(), Some(0));
        text += &String::from_utf8(output.stdout).unwrap();
    }
    for needle in [
        "ORDERS: message 61 stored: orders.once-only, 4 bytes (no checkpoint has it)",
        "ORDERS: all below 1 and message 8 removed",
        "JOBS: consumer made",
        "stream deleted",
    ] {
        assert!(text.contains(needle), "{needle} in\n{text}");
    }
    let output = weir(&["inspect", path, "--journal", "0", "--limit", "2", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(weir(&["inspect", path, "--journal", "7"]).status.code(), Some(1));
    let shard = text
        .lines()
        .position(|line| line.contains("JOBS: consumer made"))
        .unwrap();
    let second = text
        .lines()
        .skip(1)
        .position(|line| line.starts_with("Journal of shard 1"))
        .unwrap();
    let shard = if shard > second { "1" } else { "0" };
    let of_jobs = [
        "inspect",
        path,
        "--journal",
        shard,
        "--stream",
        "JOBS",
        "--limit",
        "1000",
        "--json",
    ];
    let output = weir(&of_jobs);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["stream"])
        .collect();
    assert!(
        streams.len() > 20 && streams.iter().all(|stream| **stream == "JOBS"),
        "{streams:?}"
    );
    let output = weir(&["inspect", path, "--journal", "0", "--stream", "NOTHING"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("NOTHING"));

    let logs = folder
        .path()
        .join("weir/segment/logs")
        .join(fixture.log("ORDERS").to_string());
    let mut files: Vec<_> = fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    files.sort();
    let pieces = |file: &Path, code: i32| {
        let output = weir(&["inspect", path, "--segment", file.to_str().unwrap(), "--limit", "1000"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = pieces(&files[0], 0);
    assert!(text.lines().next().unwrap().contains("header"), "{text}");
    assert!(text.contains("record      1 2023-11-14T22:13:20"), "{text}");
    assert!(text.lines().last().unwrap().contains("footer"), "{text}");
    flip(&files[0], b"orders.b");
    let text = pieces(&files[0], 2);
    assert_eq!(text.matches("damaged     up to").count(), 1, "{text}");
    assert_eq!(
        weir(&["inspect", path, "--segment", "/etc/hostname"]).status.code(),
        Some(1)
    );
}

/// A store that was closed has a journal without a record, and files all the same: what they are for is said.
#[test]
fn a_journal_without_records_says_what_its_files_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let path = folder.path().to_str().unwrap();
    let journal = look(folder.path()).journals[0].clone();
    assert!(journal.records == 0 && journal.last > 0, "{journal:?}");
    let output = weir(&["inspect", path, "--journal", "0"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let begin = format!("Journal of shard 0, in {path}/weir/segment/logs/0000000000000001: ");
    assert!(lines[0].starts_with(&begin) && lines[0].contains(" file"), "{text}");
    let (next, last) = (journal.last + 1, journal.last);
    let said = format!(
        "No records; the next is number {next}. Checkpoints have all up to number {last}: a start needs none of these."
    );
    assert_eq!(lines[1], said);
    assert!(lines[2].starts_with("A file is made at full size"), "{text}");
    let output = weir(&["inspect", path, "--journal", "0", "--json"]);
    assert_eq!(output.stdout, b"[]\n");
}

#[test]
fn the_catalogue_is_shown_with_what_the_journal_has_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    fixture.note();
    fixture.close();
    let before = snapshot_of_files(killed.path());
    let report = catalogue(killed.path()).unwrap();
    assert!(snapshot_of_files(killed.path()) == before, "looking changes nothing");
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.copies.len(), 2);
    assert!(report.copies.iter().all(|copy| copy.state == "whole"), "{report:#?}");
    let (gone, there): (Vec<_>, Vec<_>) =
        (report.streams.iter()).partition(|stream| stream.known_from == KnownFrom::Deleted);
    let names = |streams: &[&_]| -> Vec<String> {
        let name = |stream: &&CatalogueStream| stream.name.clone();
        streams.iter().map(name).collect()
    };
    assert_eq!(names(&there), fixture.names());
    assert_eq!(names(&gone), ["EMPTY"], "the journal has deleted it");
    let new = there.iter().find(|stream| stream.name == "NEWER").unwrap();
    assert_eq!(new.known_from, KnownFrom::Journal);
    let full = look(killed.path());
    for (stream, full) in there.into_iter().zip(&full.streams) {
        assert_eq!(stream.journal_tail, full.journal_tail, "{}", stream.name);
        assert_eq!((&stream.log, stream.created), (&full.log, full.created));
        assert!(stream.folder.is_dir() && stream.folder.ends_with(&full.log));
        let consumers = |known| {
            stream
                .consumers
                .iter()
                .filter(move |consumer| consumer.known_from == known)
        };
        let there: Vec<&str> = stream
            .consumers
            .iter()
            .filter(|consumer| consumer.known_from != KnownFrom::Deleted)
            .map(|consumer| &*consumer.name)
            .collect();
        assert_eq!(there, fixture.consumer_names(&stream.name), "{}", stream.name);
        if stream.name == "ORDERS" {
            assert_eq!(stream.known_from, KnownFrom::Catalogue);
            assert!(consumers(KnownFrom::Catalogue).count() > 0, "{stream:#?}");
            assert!(stream.position > 0 && stream.last_seq == 61, "{stream:#?}");
        }
    }
    let streams = report.keys.iter().find(|kind| kind.kind == "stream").unwrap();
    assert!(streams.keys >= 4, "{streams:?}");
    let output = weir(&["inspect", killed.path().to_str().unwrap(), "--catalogue"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for needle in [
        "segment/kv2/",
        ", whole",
        "Above it in the journal",
        "40 messages",
        "workers",
    ] {
        assert!(text.contains(needle), "{needle} in\n{text}");
    }
}

/// Which of the copies is as it should be.
#[test]
fn a_damaged_copy_of_the_catalogue_is_told_from_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let whole = catalogue(folder.path()).unwrap();
    let file = &whole.copies[1].file;
    let mut raw = fs::read(file).unwrap();
    raw[200] ^= 1;
    fs::write(file, &raw).unwrap();
    let report = catalogue(folder.path()).unwrap();
    assert_eq!((report.copies[0].state, report.copies[1].state), ("whole", "damaged"));
    assert!(report.copies[1].good_bytes <= 200);
    assert_eq!((&report.streams, &report.keys), (&whole.streams, &whole.keys));
    fs::remove_file(file).unwrap();
    let path = folder.path().to_str().unwrap();
    let output = weir(&["inspect", path, "--catalogue", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["copies"][0]["state"], "whole");
    assert_eq!(json["copies"][1]["state"], "missing");
}
