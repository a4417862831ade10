//! Streams that leave a closed store, and are the same when they come back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use weir_backends::root::StoreDir;
use weir_compaction::export::{Exported, Format, Options, export};
use weir_compaction::{Error, Result, import};
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::embed::EmbeddedStream;
use weir_engine::stream::settings::{BackendKind, Defaults};
use weir_engine::stream::{Message, StreamConfig, StreamState};
use weir_engine::{NanoTime, SECOND, Store, StoreOptions};

const KINDS: &[BackendKind] = &[
    BackendKind::Segment,
    #[cfg(feature = "rocksdb")]
    BackendKind::RocksDb,
];
const FORMATS: [Format; 2] = [Format::Backup, Format::Jsonl];
const NOW: NanoTime = 1_700_000_000 * SECOND;

/// A folder with stores and exports in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn export(&self, out: &str, format: Format) -> Result<Exported> {
        let options = Options {
            stream: "S".into(),
            format,
            ..Options::default()
        };
        export(&self.at("store"), &self.at(out), &options, None)
    }

    fn import(&self, store: &str, source: &str, kind: BackendKind) -> import::Imported {
        let options = import::Options {
            wanted: import::Wanted {
                backend: Some(kind),
                ..import::Wanted::default()
            },
            ..import::Options::default()
        };
        import::import(&self.at(store), &self.at(source), &options, &mut |_| {}).unwrap()
    }
}

fn open(path: &Path) -> Store {
    let dir = StoreDir::new(path);
    let options = StoreOptions {
        there: dir.there(),
        ..StoreOptions::new(Arc::new(|| NOW))
    };
    Store::embedded(dir.opener(), options).unwrap()
}

/// A stream with gaps, headers, and a consumer in the middle of its work, in part only in the journal.
fn fill(path: &Path, kind: BackendKind) {
    let store = open(path);
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        first_seq: 100,
        metadata: [("weir.backend".to_owned(), kind.to_string())].into(),
        ..StreamConfig::default()
    };
    let stream = store.create_stream("$G", config, &Defaults::default()).unwrap();
    let publish = |stream: &EmbeddedStream, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let headers = match number % 3 {
                0 => format!("NATS/1.0\r\nNats-Msg-Id: {number}\r\n\r\n"),
                _ => String::new(),
            };
            let payload = format!("the message with number {number}").repeat(number as usize);
            stream
                .publish(&format!("s.{}", number % 7), &headers, payload.as_bytes())
                .unwrap();
        }
    };
    publish(&stream, 0..40);
    stream
        .create_consumer(ConsumerConfig {
            durable_name: "worker".into(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: 3600 * SECOND,
            ..ConsumerConfig::default()
        })
        .unwrap();
    store.close();
    let store = open(path);
    let stream = store.stream("$G", "S").unwrap();
    publish(&stream, 40..60);
    for gone in [100, 117, 141] {
        stream
            .call(move |shard, id| shard.delete_message(id, gone, false))
            .unwrap();
    }
    for message in stream.fetch("worker", 9, std::time::Duration::ZERO).unwrap() {
        if message.message.seq % 4 != 0 {
            message.ack().unwrap();
        }
    }
    store.abandon();
}

/// All that can be told apart from outside.
fn look(path: &Path) -> (StreamState, Vec<Message>, String) {
    let store = open(path);
    let stream = store.stream("$G", "S").unwrap();
    let messages = stream.messages("", 0, usize::MAX, usize::MAX).unwrap();
    let info = stream.call(|shard, id| shard.consumer_info(id, "worker")).unwrap();
    let consumer = format!(
        "{:?} {:?} {} {} {}",
        info.delivered, info.ack_floor, info.num_ack_pending, info.num_redelivered, info.num_pending
    );
    (stream.state().unwrap(), messages, consumer)
}

#[test]
fn what_is_exported_comes_back_as_it_was() {
    for &kind in KINDS {
        let bench = Bench::new();
        fill(&bench.at("store"), kind);
        for format in FORMATS {
            let out = format!("{format:?}");
            let exported = bench.export(&out, format).unwrap();
            assert_eq!(
                (exported.messages, exported.first_seq, exported.last_seq),
                (57, 101, 159)
            );
            assert_eq!(exported.consumers, ["worker"]);
            assert!(!exported.is_damaged());
            let again = bench.export(&out, format).unwrap_err();
            assert!(again.to_string().contains("nothing is written over"), "{again}");
            for &into in KINDS {
                let copy = format!("{format:?} on {into}");
                let imported = bench.import(&copy, &out, into);
                assert_eq!((imported.messages, imported.backend), (57, into));
            }
        }
        let before = look(&bench.at("store"));
        assert_eq!(before.1.len(), 57);
        for format in FORMATS {
            for &into in KINDS {
                let after = look(&bench.at(&format!("{format:?} on {into}")));
                assert_eq!(after, before, "{kind} to {format:?} to {into}");
            }
        }
    }
}

#[test]
fn a_damaged_message_is_named_and_is_a_gap() {
    let bench = Bench::new();
    fill(&bench.at("store"), BackendKind::Segment);
    let mut flipped = 0;
    for entry in fs::read_dir(bench.at("store/weir/segment/logs/0000000000000100")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let says = b"the message with number 20";
        if let Some(at) = bytes.windows(says.len()).position(|bytes| bytes == says) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
    for format in FORMATS {
        let out = format!("{format:?}");
        let exported = bench.export(&out, format).unwrap();
        assert_eq!((exported.messages, &exported.damaged[..]), (56, &[(120, 120)][..]));
        assert!(exported.is_damaged());
        assert_eq!(
            bench.import(&out.to_lowercase(), &out, BackendKind::Segment).messages,
            56
        );
    }
    let done = weir(&[&bench.at("store"), Path::new("--stream=S"), &bench.at("by hand")]);
    assert_eq!(done.status.code(), Some(2));
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(
        told.contains("1 message damaged, and gaps in what was exported: 120."),
        "{told}"
    );
}

#[test]
fn what_cannot_be_exported_leaves_nothing() {
    let bench = Bench::new();
    fill(&bench.at("store"), BackendKind::Segment);
    let options = Options {
        stream: "T".into(),
        ..Options::default()
    };
    let none = export(&bench.at("store"), &bench.at("out"), &options, None).unwrap_err();
    assert!(matches!(none, Error::NoSuchStream { .. }), "{none}");
    let store = open(&bench.at("store"));
    let in_use = bench.export("out", Format::Backup).unwrap_err();
    assert!(matches!(in_use, Error::InUse(_)), "{in_use}");
    let other = StreamConfig {
        name: "S".into(),
        ..StreamConfig::default()
    };
    store.create_stream("B", other, &Defaults::default()).unwrap();
    store.close();
    let which = bench.export("out", Format::Backup).unwrap_err();
    assert!(which.to_string().contains("the accounts $G, B each have"), "{which}");
    assert!(!bench.at("out").exists());
    fs::write(bench.at("file"), "something").unwrap();
    let options = Options {
        stream: "S".into(),
        account: Some("B".into()),
        ..Options::default()
    };
    let in_the_way = export(&bench.at("store"), &bench.at("file"), &options, None).unwrap_err();
    assert!(matches!(in_the_way, Error::Output { .. }), "{in_the_way}");
    assert_eq!(fs::read(bench.at("file")).unwrap(), b"something");
}

fn weir(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("export").args(arguments).output().unwrap()
}

#[test]
fn the_command_writes_lines_to_the_standard_output() {
    let bench = Bench::new();
    fill(&bench.at("store"), BackendKind::Segment);
    let store = bench.at("store");
    let lines = [
        &store,
        Path::new("--stream=S"),
        Path::new("--format=jsonl"),
        Path::new("-"),
    ];
    let done = weir(&lines);
    assert_eq!(done.status.code(), Some(0));
    let lines: Vec<Value> = String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 59);
    assert_eq!(
        (&lines[0]["config"]["name"], &lines[0]["state"]["messages"]),
        (&"S".into(), &57.into())
    );
    assert_eq!((&lines[1]["seq"], &lines[1]["subject"]), (&101.into(), &"s.1".into()));
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(
        told,
        "Exported S of account $G: 57 messages, sequences 101 to 159, 1 consumer: worker.\n"
    );
    let none = weir(&[&store, Path::new("--stream=T"), &bench.at("out")]);
    assert_eq!(none.status.code(), Some(1));
}
