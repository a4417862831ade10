//! Streams that come into a store from backups of nats-server and from lines of JSON, without a server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};
use weir_backends::root::StoreDir;
use weir_backup::lines;
use weir_compaction::import::{Imported, Options, Wanted, import};
use weir_compaction::{Error, Result};
use weir_engine::json::format_time;
use weir_engine::stream::settings::BackendKind;
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{NanoTime, SECOND, Store, StoreOptions};

const KINDS: &[BackendKind] = &[
    BackendKind::Segment,
    #[cfg(feature = "rocksdb")]
    BackendKind::RocksDb,
];

/// Of one stream in nats-server 2.15, 2.10.26 and 2.14.6: what the first tells of it, and the backup.
const FIXTURES: [(&str, &str, &[u8]); 3] = [
    (
        "orders",
        include_str!("../../tests/fixtures/orders.json"),
        include_bytes!("../../tests/fixtures/orders.s2"),
    ),
    (
        "2.10",
        include_str!("../../tests/fixtures/old-2.10.json"),
        include_bytes!("../../tests/fixtures/old-2.10.s2"),
    ),
    (
        "2.14",
        include_str!("../../tests/fixtures/old-2.14.json"),
        include_bytes!("../../tests/fixtures/old-2.14.s2"),
    ),
];

/// Long after the backups were made.
const NOW: NanoTime = 1_900_000_000 * SECOND;

/// A folder with a store and sources in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// A backup as `nats stream backup` leaves it.
    fn backup(&self, number: usize) -> (PathBuf, Value) {
        let (name, described, data) = FIXTURES[number];
        let folder = self.0.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let described: Value = serde_json::from_str(described).unwrap();
        let told = described.get("told").unwrap_or(&described["state"]);
        let description = json!({"config": described["config"], "state": told});
        fs::write(folder.join("backup.json"), description.to_string()).unwrap();
        fs::write(folder.join("stream.tar.s2"), data).unwrap();
        (folder, described)
    }

    fn import(&self, source: &Path, options: &Options) -> Result<Imported> {
        import(&self.store(), source, options, &mut |progress| {
            assert!(progress.done <= progress.of, "{progress:?}");
        })
    }

    fn open(&self) -> Store {
        let dir = StoreDir::new(self.store());
        let options = StoreOptions {
            there: dir.there(),
            ..StoreOptions::new(Arc::new(|| NOW))
        };
        Store::embedded(dir.opener(), options).unwrap()
    }

    /// The streams' names, and how many logs there are on disk.
    fn holds(&self) -> (Vec<String>, usize) {
        let store = self.open();
        let names = store
            .catalogue()
            .all()
            .iter()
            .map(|entry| entry.name.to_string())
            .collect();
        store.close();
        let backend = StoreDir::new(self.store())
            .open_read_only(BackendKind::Segment)
            .unwrap();
        let logs = backend.list().unwrap().into_iter().filter(|id| id.0 >= 256).count();
        (names, logs)
    }
}

fn on(kind: BackendKind) -> Options {
    Options {
        wanted: Wanted {
            backend: Some(kind),
            ..Wanted::default()
        },
        ..Options::default()
    }
}

fn messages_of(store: &Store, account: &str, name: &str) -> Vec<Message> {
    let stream = store.stream(account, name).unwrap();
    stream.messages("", 0, usize::MAX, usize::MAX).unwrap()
}

#[test]
fn backups_of_nats_server_come_in_as_they_were() {
    for &kind in KINDS {
        for (number, consumer) in [(0, [4, 113, 1, 108, 2]), (1, [5, 76, 1, 51, 3]), (2, [5, 76, 1, 51, 3])] {
            let bench = Bench::new();
            let (folder, described) = bench.backup(number);
            let imported = bench.import(&folder, &on(kind)).unwrap();
            let name = described["config"]["name"].as_str().unwrap();
            assert_eq!(
                (&*imported.stream, &*imported.account, imported.backend),
                (name, "$G", kind)
            );
            assert_eq!(imported.consumers, ["worker"]);
            assert!(imported.new_store);
            let (store, told) = (bench.open(), &described["state"]);
            let state = store.stream("$G", name).unwrap().state().unwrap();
            let seen = json!({
                "messages": state.messages, "bytes": state.bytes, "first_seq": state.first_seq,
                "first_ts": format_time(state.first_time), "last_seq": state.last_seq,
                "last_ts": format_time(state.last_time), "num_subjects": state.num_subjects,
                "num_deleted": state.num_deleted,
            });
            for (field, value) in seen.as_object().unwrap() {
                assert_eq!(value, &told[field], "{kind}, {}: {field}", FIXTURES[number].0);
            }
            assert_eq!(messages_of(&store, "$G", name).len() as u64, state.messages);
            let stream = store.stream("$G", name).unwrap();
            let info = stream.call(|shard, id| shard.consumer_info(id, "worker")).unwrap();
            let seen = [
                info.delivered.consumer,
                info.delivered.stream,
                info.ack_floor.consumer,
                info.ack_floor.stream,
                info.num_ack_pending,
            ];
            assert_eq!(seen, consumer, "{kind}, {}", FIXTURES[number].0);
            // It is a stream like any other.
            let subject = if number == 0 { "orders.x" } else { "old.x" };
            assert_eq!(stream.publish(subject, "", b"next").unwrap().seq, state.last_seq + 1);
        }
    }
}

#[test]
fn another_name_another_account_another_configuration() {
    let bench = Bench::new();
    for number in [0, 1] {
        let (folder, described) = bench.backup(number);
        let mut config = described["config"].clone();
        config["max_msgs"] = json!(5);
        let instead = bench.0.path().join("config.json");
        fs::write(&instead, config.to_string()).unwrap();
        let options = Options {
            account: "SALES".into(),
            wanted: Wanted {
                name: Some(format!("COPY{number}")),
                ..Wanted::default()
            },
            config: Some(instead),
        };
        let imported = bench.import(&folder, &options).unwrap();
        assert_eq!(
            (&*imported.account, &*imported.stream),
            ("SALES", &*format!("COPY{number}"))
        );
        assert_eq!(imported.new_store, number == 0);
        let store = bench.open();
        assert_eq!(messages_of(&store, "SALES", &format!("COPY{number}")).len(), 5);
        assert!(store.catalogue().get("$G", "ORDERS").is_none());
    }
    // The archive alone tells everything but the configuration.
    let (folder, described) = bench.backup(0);
    let archive = folder.join("stream.tar.s2");
    let refused = bench.import(&archive, &Options::default()).unwrap_err();
    assert!(matches!(refused, Error::NoConfig { .. }), "{refused}");
    let config = bench.0.path().join("config.json");
    fs::write(&config, described["config"].to_string()).unwrap();
    let options = Options {
        config: Some(config),
        ..Options::default()
    };
    assert_eq!(bench.import(&archive, &options).unwrap().messages, 18);
}

#[test]
fn what_is_refused_leaves_the_store_as_it_was() {
    let bench = Bench::new();
    let (folder, described) = bench.backup(0);
    bench.import(&folder, &Options::default()).unwrap();
    let before = (vec!["ORDERS".to_owned()], 1);
    assert_eq!(bench.holds(), before);

    let taken = bench.import(&folder, &Options::default()).unwrap_err();
    assert!(taken.to_string().contains("--name"), "{taken}");
    let renamed = Options {
        wanted: Wanted {
            name: Some("OTHER".into()),
            ..Wanted::default()
        },
        ..Options::default()
    };
    let overlap = bench.import(&folder, &renamed).unwrap_err().to_string();
    assert!(
        overlap.contains("subjects overlap with an existing stream: ORDERS"),
        "{overlap}"
    );

    let elsewhere = Options {
        account: "B".into(),
        ..Options::default()
    };
    let archive = folder.join("stream.tar.s2");
    let data = fs::read(&archive).unwrap();
    let mut flipped = data.clone();
    flipped[data.len() / 2] ^= 0x10;
    for bad in [&data[..data.len() - 40], &flipped, &data[..9], b""] {
        fs::write(&archive, bad).unwrap();
        let damaged = bench.import(&folder, &elsewhere).unwrap_err();
        assert!(damaged.is_damage(), "{damaged}");
        assert!(damaged.to_string().contains("stream.tar.s2: "), "{damaged}");
        // What was made for it goes, and nothing else.
        let new = bench.0.path().join("new/store");
        import(&new, &folder, &elsewhere, &mut |_| {}).unwrap_err();
        assert!(!bench.0.path().join("new").exists());
        fs::create_dir_all(&new).unwrap();
        import(&new, &folder, &elsewhere, &mut |_| {}).unwrap_err();
        assert_eq!(fs::read_dir(&new).unwrap().count(), 0);
        fs::remove_dir_all(bench.0.path().join("new")).unwrap();
    }
    fs::write(&archive, &data).unwrap();
    let mut full = json!({"config": described["config"], "state": {}});
    full["config"]["max_bytes"] = json!(1000);
    full["config"]["discard"] = json!("new");
    fs::write(folder.join("backup.json"), full.to_string()).unwrap();
    let refused = bench.import(&folder, &elsewhere).unwrap_err();
    assert!(
        refused.to_string().contains("maximum bytes exceeded") && !refused.is_damage(),
        "{refused}"
    );
    full["config"]["storage"] = json!("memory");
    fs::write(folder.join("backup.json"), full.to_string()).unwrap();
    let memory = bench.import(&folder, &elsewhere).unwrap_err();
    assert!(memory.to_string().contains("--backend"), "{memory}");

    let nothing = bench.import(bench.0.path(), &elsewhere).unwrap_err();
    assert!(matches!(nothing, Error::NotASource { .. }), "{nothing}");
    let store = bench.open();
    let in_use = bench.import(&bench.backup(0).0, &elsewhere).unwrap_err();
    assert!(matches!(in_use, Error::InUse(_)), "{in_use}");
    store.close();
    assert_eq!(bench.holds(), before);
    // A folder with something else in the place of a store.
    fs::create_dir_all(bench.0.path().join("else/weir")).unwrap();
    let (source, options) = (bench.backup(0).0, Options::default());
    let no_store = import(&bench.0.path().join("else"), &source, &options, &mut |_| {}).unwrap_err();
    assert!(matches!(no_store, Error::NotAStore { .. }), "{no_store}");
}

/// A stream as lines.
fn written(messages: &[Message], end: bool) -> Vec<u8> {
    let config = StreamConfig {
        name: "L".into(),
        subjects: vec!["l.>".into()],
        ..StreamConfig::default()
    };
    let state = serde_json::from_value(json!({"first_seq": 3, "last_seq": 20, "last_ts": "2026-01-01T00:00:00Z"}));
    let consumer = json!({
        "config": {"name": "c", "durable_name": "c", "ack_policy": "explicit"},
        "state": {"delivered": {"consumer_seq": 2, "stream_seq": 5}, "ack_floor": {"consumer_seq": 1, "stream_seq": 4},
            "pending": {"5": {"Sequence": 2, "Timestamp": 1_700_000_000_000_000_000_i64}}},
    });
    let consumers = vec![serde_json::from_value(consumer).unwrap()];
    let mut all = lines::Head::new(config, Some(NOW - SECOND), state.unwrap(), consumers).to_line();
    for message in messages {
        lines::put_message(message, &mut all);
    }
    if end {
        all.extend_from_slice(lines::END);
    }
    all
}

#[test]
fn lines_of_json_come_in() {
    let bench = Bench::new();
    let message = |seq: u64| Message {
        seq,
        time: 1_700_000_000 * SECOND + seq as i64,
        subject: "l.a".into(),
        headers: if seq.is_multiple_of(2) {
            "NATS/1.0\r\nA: b\r\n\r\n".into()
        } else {
            "".into()
        },
        payload: vec![b'x'; seq as usize * 1000].into(),
    };
    let messages: Vec<Message> = [4, 5, 9, 17].map(message).into();
    let file = bench.0.path().join("l.jsonl");
    for (number, bad) in [
        written(&messages, false),
        written(&[message(5), message(5)], true),
        written(&[message(2)], true),
        [written(&messages[..2], false), b"what\n".to_vec()].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, bad).unwrap();
        let refused = bench.import(&file, &Options::default()).unwrap_err();
        // Messages out of order are for the store to refuse.
        assert_eq!(refused.is_damage(), number == 0 || number == 3, "{refused}");
        assert_eq!(bench.holds(), (vec![], 0), "{refused}");
    }
    fs::write(&file, written(&messages, true)).unwrap();
    let imported = bench.import(&file, &Options::default()).unwrap();
    assert_eq!((imported.messages, imported.first_seq, imported.last_seq), (4, 4, 20));
    assert_eq!(imported.consumers, ["c"]);
    let store = bench.open();
    assert_eq!(messages_of(&store, "$G", "L"), messages);
    assert_eq!(store.catalogue().get("$G", "L").unwrap().created, NOW - SECOND);
    let stream = store.stream("$G", "L").unwrap();
    let info = stream.call(|shard, id| shard.consumer_info(id, "c")).unwrap();
    assert_eq!(
        (info.delivered.stream, info.num_ack_pending, info.num_pending),
        (5, 1, 2)
    );
}

fn weir(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("import").args(arguments).output().unwrap()
}

#[test]
fn the_command_tells_what_it_did_and_how_it_ended() {
    let bench = Bench::new();
    let (folder, _) = bench.backup(0);
    let store = bench.store();
    let done = weir(&[&store, &folder]);
    let told = String::from_utf8(done.stdout).unwrap();
    assert_eq!(
        told,
        "Made a new store.\nImported ORDERS into account $G, backend segment: 18 messages (4.10 kB), sequences 100 to 119, \
         1 consumer: worker.\n"
    );
    assert_eq!(done.status.code(), Some(0));
    let again = weir(&[&store, &folder]);
    assert_eq!(again.status.code(), Some(1));
    let told = String::from_utf8(again.stderr).unwrap();
    assert!(told.starts_with("weir: the store has a stream ORDERS"), "{told}");
    let other = [
        &store,
        &folder,
        Path::new("--account"),
        Path::new("B"),
        Path::new("--json"),
    ];
    let json = weir(&other);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["account"], &json["messages"]), (&json!("B"), &json!(18)));
    let archive = folder.join("stream.tar.s2");
    let data = fs::read(&archive).unwrap();
    fs::write(&archive, &data[..data.len() / 2]).unwrap();
    let cut = weir(&[&store, &folder, Path::new("--account"), Path::new("C")]);
    assert_eq!(cut.status.code(), Some(2));
    let told = String::from_utf8(cut.stderr).unwrap();
    assert!(
        told.contains("stream.tar.s2: it was cut short; take another copy"),
        "{told}"
    );
}
