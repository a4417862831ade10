//! Stores as earlier versions of Weir left them, kept as fixtures, are opened with all that is in them.
//!
//! To write those of a new format version: `cargo test -p weir-backends --no-default-features --test formats -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use support::fixture::{pack, unpack};
use weir_backends::root::StoreDir;
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::shard::label::LogLabel;
use weir_engine::shard::snapshot::STORE_KEY;
use weir_engine::store::FORMAT_VERSION;
use weir_engine::stream::settings::{BackendKind, Defaults};
use weir_engine::stream::{Purge, Retention, StreamConfig};
use weir_engine::{LogId, SECOND, Seq, Store, StoreOptions};

const NOW: Duration = Duration::ZERO;
const START: i64 = 1_700_000_000 * SECOND;

fn open(folder: &Path) -> Store {
    let clock = Arc::new(AtomicI64::new(START));
    let options = StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)));
    Store::embedded(StoreDir::new(folder).opener(), options).unwrap()
}

fn config(name: &str, retention: Retention) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{}.>", name.to_lowercase())],
        retention,
        ..StreamConfig::default()
    }
}

fn worker() -> ConsumerConfig {
    ConsumerConfig {
        durable_name: "worker".into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30 * SECOND,
        ..ConsumerConfig::default()
    }
}

/// Half of what the fixtures hold: what a clean stop leaves in a checkpoint.
fn fill(store: &Store) {
    let defaults = Defaults::default();
    let gone = store
        .create_stream("A", config("GONE", Retention::Limits), &defaults)
        .unwrap();
    let orders = store
        .create_stream("A", config("ORDERS", Retention::Limits), &defaults)
        .unwrap();
    let other = store
        .create_stream("B", config("ORDERS", Retention::Limits), &defaults)
        .unwrap();
    let work = store
        .create_stream("A", config("WORK", Retention::WorkQueue), &defaults)
        .unwrap();
    for n in 1..=20 {
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: m{n}\r\n\r\n");
        let payload = format!("order {n}");
        orders
            .publish(&format!("orders.{n}"), &headers, payload.as_bytes())
            .unwrap();
        work.publish("work.now", "", payload.as_bytes()).unwrap();
    }
    other.publish("orders.b", "", b"of B").unwrap();
    orders.call(|shard, id| shard.delete_message(id, 5, false)).unwrap();
    let filter = Purge {
        filter: "orders.7".into(),
        ..Purge::default()
    };
    orders.purge(filter).unwrap();
    orders.create_consumer(worker()).unwrap();
    work.create_consumer(worker()).unwrap();
    for stream in [&orders, &work] {
        let messages = stream.fetch("worker", 6, NOW).unwrap();
        for message in &messages[..4] {
            message.ack().unwrap();
        }
    }
    gone.delete().unwrap();
}

/// The other half: what only the journal has of a store that was killed.
fn fill_more(store: &Store) {
    let orders = store.stream("A", "ORDERS").unwrap();
    orders.publish("orders.21", "", b"order 21").unwrap();
    let defaults = Defaults::default();
    let late = store
        .create_stream("A", config("LATE", Retention::Limits), &defaults)
        .unwrap();
    late.publish("late.1", "", b"late").unwrap();
    // The journal refers to it.
    late.publish("late.2", "", &[7; LARGE]).unwrap();
    late.create_consumer(worker()).unwrap();
    for message in late.fetch("worker", 1, NOW).unwrap() {
        message.ack().unwrap();
    }
    // A restore that the kill broke off.
    let settings = store.catalogue().get("A", "LATE").unwrap().settings;
    let id = store.allocate_id();
    let begin = late
        .call(move |shard, _| shard.begin_restore(id, &"A".into(), config("RESTORED", Retention::Limits), settings, 1));
    begin.unwrap();
}

fn check(folder: &Path, version: u32, killed: bool) {
    for round in 0..2 {
        let store = open(folder);
        let names: Vec<(String, String)> = store
            .catalogue()
            .all()
            .iter()
            .map(|entry| (entry.account.to_string(), entry.name.to_string()))
            .collect();
        let mut expected = vec![("A", "ORDERS"), ("A", "WORK"), ("B", "ORDERS")];
        if killed {
            expected.insert(0, ("A", "LATE"));
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, n)| ((*a).to_owned(), (*n).to_owned()))
            .collect();
        assert_eq!(names, expected);
        let orders = store.stream("A", "ORDERS").unwrap();
        let last = if killed { 21 } else { 20 } + round;
        let found: Vec<Seq> = orders
            .messages(">", 1, 100, usize::MAX)
            .unwrap()
            .iter()
            .map(|m| m.seq)
            .collect();
        let expected: Vec<Seq> = (1..=last).filter(|seq| *seq != 5 && *seq != 7).collect();
        assert_eq!(found, expected);
        assert_eq!(orders.message(9).unwrap().unwrap().payload, "order 9");
        let info = orders.consumer_info("worker").unwrap();
        assert_eq!(
            (info.ack_floor.stream, info.delivered.stream, info.num_ack_pending),
            (5, 8, 2)
        );
        let again = orders
            .publish("orders.3", "NATS/1.0\r\nNats-Msg-Id: m3\r\n\r\n", b"")
            .unwrap();
        assert!(again.duplicate && again.seq == 3);
        let work = store.stream("A", "WORK").unwrap();
        assert_eq!(work.state().unwrap().messages, 16);
        let info = work.consumer_info("worker").unwrap();
        assert_eq!((info.num_ack_pending, info.num_pending), (2, 14));
        let other = store.stream("B", "ORDERS").unwrap();
        assert_eq!(other.message(1).unwrap().unwrap().payload, "of B");
        if killed {
            let late = store.stream("A", "LATE").unwrap();
            assert_eq!(late.message(1).unwrap().unwrap().payload, "late");
            let large = late.message(2).unwrap();
            assert_eq!(large.is_some(), version >= 3);
            assert!(large.is_none_or(|large| large.payload == [7; LARGE][..]));
            assert_eq!(late.consumer_info("worker").unwrap().ack_floor.stream, 1);
        }
        // Goes on as any store, and once more in the version that it has now.
        assert_eq!(orders.publish("orders.more", "", b"").unwrap().seq, last + 1);
        match round {
            0 => store.abandon(),
            _ => store.close(),
        }
    }
}

/// Bytes of a body that is in the stream's log alone, from version 3 on.
const LARGE: usize = 300 << 10;

fn fixture(version: u32, how: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}-{how}.zst"))
}

fn opens(version: u32, how: &str) {
    let folder = tempfile::tempdir().unwrap();
    unpack(&fixture(version, how), folder.path());
    check(folder.path(), version, how == "killed");
    // It is one of today's version now, with all that makes it one.
    let root = StoreDir::new(folder.path())
        .open_read_only(BackendKind::Segment)
        .unwrap();
    let store = root.kv().get(STORE_KEY).unwrap().unwrap();
    let store = String::from_utf8(store.to_vec()).unwrap();
    assert!(store.contains(&format!("\"version\":{FORMAT_VERSION}")), "{store}");
    for id in root.list().unwrap() {
        let label = root.label(id).unwrap();
        assert_eq!(label.is_some(), id >= LogId(256), "the label of log {id}");
        if let Some(label) = label {
            assert_eq!(LogLabel::unpack(&label).unwrap().log(), id);
        }
    }
    let copies = ["kv", "kv2"].map(|copy| {
        let files = std::fs::read_dir(folder.path().join("weir/segment").join(copy)).unwrap();
        let files: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert_eq!(files.len(), 1);
        files
    });
    assert_eq!(copies[0], copies[1]);
}

#[test]
fn a_store_of_version_1_that_was_stopped_is_opened() {
    opens(1, "stopped");
}

#[test]
fn a_store_of_version_1_that_was_killed_is_opened() {
    opens(1, "killed");
}

#[test]
fn a_store_of_version_2_that_was_stopped_is_opened() {
    opens(2, "stopped");
}

#[test]
fn a_store_of_version_2_that_was_killed_is_opened() {
    opens(2, "killed");
}

#[test]
fn a_store_of_version_3_that_was_stopped_is_opened() {
    opens(3, "stopped");
}

#[test]
fn a_store_of_version_3_that_was_killed_is_opened() {
    opens(3, "killed");
}

#[test]
#[ignore = "writes the fixtures of the version that this program writes"]
fn write_the_fixtures() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fill(&store);
    store.close();
    pack(folder.path(), &fixture(FORMAT_VERSION, "stopped"));
    let store = open(folder.path());
    fill_more(&store);
    // As it lies there while the store is open, which is how a kill leaves it.
    pack(folder.path(), &fixture(FORMAT_VERSION, "killed"));
}
