//! What the catalogue promises: which logs belong to which streams is never mistaken, whatever a crash left.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::PathBuf;

use support::{ACCOUNT, Bench, Storage};
use weir_engine::finding::FindingKind;
use weir_engine::shard::snapshot::stream_key;
use weir_engine::stream::StreamConfig;
use weir_engine::{Kind, LogId, ShardId, StreamId};

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

/// A name of a stream that belongs to that shard.
fn name_on(bench: &Bench, shard: ShardId) -> String {
    let names = (0..).map(|n| format!("s{n}"));
    let store = bench.store();
    let mut on = names.filter(|name| store.shard_for(ACCOUNT, name) == shard);
    on.next().expect("there is no end of names")
}

#[test]
fn a_restore_that_breaks_off_takes_no_other_log_with_it() {
    for (storage, ours, theirs) in [
        (Storage::Persistent, ShardId(0), ShardId(1)),
        (Storage::Segment, ShardId(0), ShardId(1)),
        (Storage::Segment, ShardId(1), ShardId(0)),
    ] {
        let mut bench = Bench::new(storage);
        bench.shards = 2;
        bench.open();
        let (kept, restored) = (name_on(&bench, theirs), name_on(&bench, ours));
        let stream = bench.create(&config(&kept));
        assert_eq!(stream.id, StreamId(256));
        for _ in 0..10 {
            stream.publish(&format!("{kept}.a"), "", b"acknowledged").unwrap();
        }
        // From here on only its log has them.
        bench.close();
        bench.open();
        // The log of the restore, 0x256, prints as the first stream's number does in decimal.
        let id = std::iter::repeat_with(|| bench.store().allocate_id())
            .find(|id| *id == StreamId(0x256))
            .expect("ids go up by one");
        let config = config(&restored);
        let settings = bench.settings(&config);
        let shard = bench.store().shard(ours);
        let begin = shard.call_blocking(move |shard| shard.begin_restore(id, &ACCOUNT.into(), config, settings, 1));
        begin.unwrap();
        bench.kill();
        for _ in 0..2 {
            bench.open();
            let stream = bench.find(&kept).expect("the other stream");
            assert_eq!(stream.message(10).expect("a message").payload, "acknowledged");
            assert!(bench.find(&restored).is_none());
            assert_eq!(bench.logs(), [LogId(1), LogId(2), LogId(256)], "{storage:?}");
            assert!(bench.store().allocate_id() > id);
            bench.kill();
        }
    }
}

/// A bench with a stream `kept` and a stream `other`, each with ten messages that a checkpoint covers; closed.
fn two_streams(storage: Storage) -> (Bench, StreamId, StreamId) {
    let mut bench = Bench::new(storage);
    bench.shards = 2;
    bench.open();
    let ids = ["kept", "other"].map(|name| {
        let stream = bench.create(&config(name));
        for _ in 0..10 {
            stream.publish(&format!("{name}.a"), "", b"acknowledged").unwrap();
        }
        stream.id
    });
    bench.close();
    (bench, ids[0], ids[1])
}

fn offline(bench: &Bench, name: &str) -> Option<String> {
    let entry = bench
        .store()
        .catalogue()
        .get(ACCOUNT, name)
        .expect("the stream is in the catalogue");
    entry.offline.as_ref().map(ToString::to_string)
}

#[test]
fn a_stream_whose_log_is_missing_is_offline_and_says_why() {
    let (mut bench, kept, other) = two_streams(Storage::Segment);
    let folder = bench.logs_folder();
    let (there, away) = (folder.join(other.to_string()), bench.logs_folder().join("away"));
    fs::rename(&there, &away).unwrap();
    for _ in 0..2 {
        bench.open();
        let why = offline(&bench, "other").expect("it is offline");
        let remedy = format!("{other} is missing; put back what is missing or damaged (with the server stopped");
        assert!(why.contains(&remedy), "{why}");
        let trouble = bench.store().catalogue().trouble().expect("health says so");
        assert!(trouble.contains("other"), "{trouble}");
        let refused = bench.find("other").unwrap().publish("other.a", "", b"new").unwrap_err();
        assert_eq!(refused.kind, Kind::Rejected);
        // The other one is as it was, and no log was made in the place of the one that is missing.
        assert_eq!(bench.find("kept").unwrap().message(10).unwrap().payload, "acknowledged");
        assert!(!there.exists());
        bench.close();
    }
    fs::rename(&away, &there).unwrap();
    bench.open();
    assert_eq!(offline(&bench, "other"), None);
    assert_eq!(
        bench.find("other").unwrap().message(10).unwrap().payload,
        "acknowledged"
    );
    assert_eq!(bench.store().catalogue().trouble(), None);
    assert_eq!(bench.find("kept").unwrap().id, kept);
}

#[test]
fn the_log_of_another_stream_is_not_taken() {
    let (mut bench, kept, _) = two_streams(Storage::Persistent);
    // As if the catalogue were that of another time.
    let kv = bench.root().kv();
    let entry = kv.get(&stream_key(kept)).unwrap().unwrap();
    let entry = String::from_utf8(entry.to_vec()).unwrap();
    let wrong = entry.replace(r#""name":"kept""#, r#""name":"wrong""#);
    assert_ne!(wrong, entry);
    kv.put_all(&[(stream_key(kept), Some(wrong.into()))]).unwrap();
    bench.open();
    let why = offline(&bench, "wrong").expect("it is offline");
    assert!(why.contains("belongs to stream kept"), "{why}");
}

#[test]
fn a_log_that_the_catalogue_has_lost_is_kept_and_its_stream_named() {
    for storage in [Storage::Segment, Storage::Persistent] {
        let (mut bench, kept, other) = two_streams(storage);
        {
            let root = bench.root();
            let gone = [(stream_key(other), None), (bytes::Bytes::from("last-id"), None)];
            root.kv().put_all(&gone).unwrap();
            root.sync().unwrap();
        }
        for round in 0..2 {
            bench.open();
            let findings = bench.store().findings();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].kind, FindingKind::Orphan);
            assert_eq!(findings[0].concerned[0].stream, "other");
            let why = offline(&bench, "other").expect("it is there, and offline");
            assert!(why.contains("catalogue is lost"), "{why}");
            assert_eq!(bench.find("kept").unwrap().id, kept);
            // A new stream gets neither the log nor its number.
            let new = bench.create(&config(&format!("new{round}")));
            assert!(new.id > other, "{} after {other}", new.id);
            assert!(new.message(1).is_none());
            bench.close();
            assert!(bench.logs().contains(&other.log()));
        }
        // Deleting it is for the user to say.
        bench.open();
        let stream = bench.find("other").unwrap();
        stream.call(|shard, id| shard.delete_stream(id)).unwrap();
        bench.close();
        assert!(!bench.logs().contains(&other.log()));
        bench.open();
        assert!(bench.store().findings().is_empty());
        assert_eq!(bench.store().catalogue().trouble(), None);
    }
}

/// RocksDB was only opened for a stream that the catalogue has: its streams were gone with their entries, nothing told, and
/// their ids could be given to others.
#[cfg(feature = "rocksdb")]
#[test]
fn the_logs_of_a_backend_of_which_the_catalogue_has_no_stream_are_found() {
    let (mut bench, kept, other) = two_streams(Storage::Rocks);
    {
        let root = bench.root();
        let last_id = bytes::Bytes::from("last-id");
        let gone = [stream_key(kept), stream_key(other), last_id].map(|key| (key, None));
        root.kv().put_all(&gone).unwrap();
        root.sync().unwrap();
    }
    for round in 0..2 {
        bench.open();
        for name in ["kept", "other"] {
            let why = offline(&bench, name).expect("it is there, and offline");
            assert!(why.contains("catalogue is lost"), "{why}");
        }
        assert_eq!(bench.store().findings().len(), 2);
        assert!(bench.create(&config(&format!("new{round}"))).id > other);
        bench.close();
    }
}

/// The last bytes of a key-value file that are not zero, less those of the mark behind the last batch.
fn damage_last_batch(path: &PathBuf) {
    let mut raw = fs::read(path).unwrap();
    let marks = raw.windows(4).filter(|bytes| bytes == b"WKvB").count();
    assert!(marks > 2, "{marks} batches");
    let begins: Vec<usize> = (0..raw.len() - 4).filter(|at| &raw[*at..at + 4] == b"WKvB").collect();
    // The last one with writes in it.
    let last = begins
        .iter()
        .rev()
        .find(|at| raw[**at + 12] > 0)
        .expect("a batch with writes");
    raw[last + 50] ^= 1;
    fs::write(path, raw).unwrap();
}

#[test]
fn a_flipped_bit_in_the_catalogue_costs_nothing_and_in_both_copies_no_message() {
    for both in [false, true] {
        let (mut bench, kept, other) = two_streams(Storage::Segment);
        let files: Vec<PathBuf> = ["kv", "kv2"]
            .iter()
            .take(1 + usize::from(both))
            .map(|folder| bench.segment_folder().join(folder).join("0000000000000001.kv"))
            .collect();
        files.iter().for_each(damage_last_batch);
        for _ in 0..2 {
            bench.open();
            assert_eq!(bench.find("kept").map(|stream| stream.id), Some(kept));
            assert_eq!(bench.find("other").map(|stream| stream.id), Some(other));
            let findings = bench.store().findings();
            assert_eq!(
                findings.iter().any(|f| f.kind == FindingKind::Catalogue),
                both,
                "{findings:?}"
            );
            assert_eq!(bench.store().catalogue().trouble().is_some(), both);
            // Streams whose entries were in the last batch are there, as their logs say.
            assert_eq!(
                ["kept", "other"].iter().any(|name| offline(&bench, name).is_some()),
                both
            );
            assert!(bench.store().allocate_id() > other);
            bench.close();
            let logs = bench.logs();
            assert!(logs.contains(&kept.log()) && logs.contains(&other.log()));
        }
    }
}

#[test]
fn an_entry_that_makes_no_sense_costs_its_stream_only() {
    let (mut bench, kept, other) = two_streams(Storage::Persistent);
    let key = stream_key(other);
    bench.root().kv().put_all(&[(key.clone(), Some("{".into()))]).unwrap();
    for _ in 0..2 {
        bench.open();
        assert_eq!(bench.find("kept").map(|stream| stream.id), Some(kept));
        assert_eq!(bench.find("kept").unwrap().message(10).unwrap().payload, "acknowledged");
        assert!(offline(&bench, "other").is_some());
        let kinds: Vec<FindingKind> = bench.store().findings().iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::Catalogue, FindingKind::Orphan]);
        bench.close();
        assert_eq!(bench.root().kv().get(&key).unwrap().as_deref(), Some(&b"{"[..]));
        assert!(bench.logs().contains(&other.log()));
    }
}
