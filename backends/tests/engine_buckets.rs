//! Key-value buckets and object stores: what they do, and that they look on the wire as NATS clients expect it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::io::Read;

use support::{ACCOUNT, Bench, Random, Storage};
use weir_engine::kv::{Bucket, BucketConfig, Operation};
use weir_engine::object::{CHUNK_BYTES, ObjectInfo, ObjectStore, ObjectStoreConfig};
use weir_engine::{Error, Kind, SECOND};

fn code(error: &Error) -> u16 {
    error.rejection.as_ref().map_or(0, |rejection| rejection.code)
}

#[test]
fn a_key_has_values_revisions_and_a_history() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let config = BucketConfig {
        history: 3,
        ..BucketConfig::new("prices")
    };
    let bucket = Bucket::create(bench.store(), ACCOUNT, &config).unwrap();
    let taken = Bucket::create(bench.store(), ACCOUNT, &config).err().unwrap();
    assert_eq!(code(&taken), 10058);
    assert_eq!(bucket.get("apple").unwrap(), None);
    assert_eq!(bucket.create_key("apple", b"1").unwrap(), 1);
    assert_eq!(code(&bucket.create_key("apple", b"2").unwrap_err()), 10071);
    assert_eq!(bucket.update("apple", b"2", 1).unwrap(), 2);
    assert_eq!(code(&bucket.update("apple", b"3", 1).unwrap_err()), 10071);
    bucket.put("pear/big", b"9").unwrap();
    bucket.delete("apple").unwrap();
    assert_eq!(bucket.get("apple").unwrap(), None);
    assert_eq!(bucket.keys().unwrap(), ["pear/big"]);
    // Deleted is as good as never there.
    assert_eq!(bucket.create_key("apple", b"5").unwrap(), 5);
    let history = bucket.history("apple").unwrap();
    let seen: Vec<_> = history
        .iter()
        .map(|e| (e.revision, &e.value[..], e.operation))
        .collect();
    assert_eq!(
        seen,
        [
            (2, &b"2"[..], Operation::Put),
            (4, b"", Operation::Delete),
            (5, b"5", Operation::Put)
        ]
    );
    assert_eq!(bucket.get_revision("apple", 2).unwrap().unwrap().value, "2");
    assert_eq!(bucket.get_revision("apple", 3).unwrap(), None);
    assert_eq!(bucket.changes(">", 4, 10).unwrap().len(), 2);
    bucket.purge("apple").unwrap();
    let history = bucket.history("apple").unwrap();
    assert_eq!((history.len(), history[0].operation), (1, Operation::Purge));
    for key in ["", ".a", "a.", "a b", "a*", "a..b", ">"] {
        assert_eq!(bucket.put(key, b"").unwrap_err().kind, Kind::Invalid, "{key:?}");
    }
    assert!(Bucket::open(bench.store(), ACCOUNT, "none").is_err());
    let config = BucketConfig {
        history: 65,
        ..BucketConfig::new("x")
    };
    assert!(Bucket::create(bench.store(), ACCOUNT, &config).is_err());
}

#[test]
fn a_bucket_looks_as_clients_make_it() {
    let mut bench = Bench::new(Storage::Persistent);
    bench.open();
    let config = BucketConfig {
        history: 5,
        max_age: 60 * SECOND,
        ..BucketConfig::new("b")
    };
    let bucket = Bucket::create(bench.store(), ACCOUNT, &config).unwrap();
    let entry = bench.store().catalogue().get(ACCOUNT, "KV_b").unwrap();
    let json = serde_like(&entry.config);
    for part in [
        "subjects: [\"$KV.b.>\"]",
        "max_msgs_per_subject: 5",
        "discard: New",
        "deny_delete: true",
        "allow_rollup_hdrs: true",
        "allow_direct: true",
        "duplicate_window: 60000000000",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    bucket.put("k", b"v").unwrap();
    bucket.delete("k").unwrap();
    bucket.purge("k").unwrap();
    let message = bucket.stream().last_message("$KV.b.k").unwrap().unwrap();
    assert_eq!(
        message.headers,
        "NATS/1.0\r\nKV-Operation: PURGE\r\nNats-Rollup: sub\r\n\r\n"
    );
    assert_eq!(bucket.stream().state().unwrap().messages, 1);
}

fn serde_like(config: &weir_engine::stream::StreamConfig) -> String {
    format!("{config:?}")
}

/// Random changes against a map, with restarts.
#[test]
fn a_bucket_agrees_with_a_map() {
    for storage in [Storage::Persistent, Storage::Segment] {
        let mut random = Random(7);
        let mut bench = Bench::new(storage);
        bench.checkpoint_bytes = 500;
        bench.open();
        let mut bucket = Bucket::create(bench.store(), ACCOUNT, &BucketConfig::new("m")).unwrap();
        let mut map: BTreeMap<String, (Vec<u8>, u64)> = BTreeMap::new();
        for step in 0..300_u32 {
            let key = format!("k.{}", random.below(10));
            let value = step.to_le_bytes().to_vec();
            match random.below(12) {
                0..5 => {
                    let revision = bucket.put(&key, &value).unwrap();
                    map.insert(key, (value, revision));
                }
                5 => {
                    bucket.delete(&key).unwrap();
                    map.remove(&key);
                }
                6 => {
                    bucket.purge(&key).unwrap();
                    map.remove(&key);
                }
                7 => match bucket.create_key(&key, &value) {
                    Ok(revision) => assert!(map.insert(key, (value, revision)).is_none()),
                    Err(error) => {
                        assert_eq!(code(&error), 10071);
                        assert!(map.contains_key(&key));
                    }
                },
                8 if map.contains_key(&key) => {
                    let known = map[&key].1;
                    let revision = bucket.update(&key, &value, known).unwrap();
                    map.insert(key, (value, revision));
                }
                9 if random.one_in(6) => {
                    match random.one_in(2) {
                        true => bench.close(),
                        false => bench.kill(),
                    }
                    bench.open();
                    bucket = Bucket::open(bench.store(), ACCOUNT, "m").unwrap();
                }
                _ => {
                    let got = bucket.get(&key).unwrap();
                    let got = got.map(|entry| (entry.value.to_vec(), entry.revision));
                    assert_eq!(got.as_ref(), map.get(&key));
                }
            }
        }
        assert_eq!(bucket.keys().unwrap(), map.into_keys().collect::<Vec<_>>());
    }
}

#[test]
fn an_object_comes_back_whole() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let objects = ObjectStore::create(bench.store(), ACCOUNT, &ObjectStoreConfig::new("o")).unwrap();
    let content: Vec<u8> = (0..CHUNK_BYTES * 20 + 5).map(|n| (n * 7 + n / 251) as u8).collect();
    let info = objects
        .put(ObjectInfo::named("a file"), "id1", &mut &content[..])
        .unwrap();
    assert_eq!((info.size, info.chunks), (content.len() as u64, 21));
    assert_eq!(info.mtime, Some(bench.now()));
    assert!(info.digest.starts_with("SHA-256="));
    bench.kill();
    bench.open();
    let objects = ObjectStore::open(bench.store(), ACCOUNT, "o").unwrap();
    let mut out = Vec::new();
    assert_eq!(objects.get("a file", &mut out).unwrap(), info);
    assert!(out == content);

    // Its description as clients read it.
    let described = objects.stream().last_message("$O.o.M.YSBmaWxl").unwrap().unwrap();
    assert_eq!(described.headers, "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n");
    let json = String::from_utf8(described.payload.to_vec()).unwrap();
    for part in [
        "\"name\":\"a file\"",
        "\"bucket\":\"o\"",
        "\"nuid\":\"id1\"",
        "\"mtime\":\"0001-01-01T00:00:00Z\"",
        "\"chunks\":21",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    // Put again: the chunks of before go.
    objects
        .put(ObjectInfo::named("a file"), "id2", &mut &b"short"[..])
        .unwrap();
    assert_eq!(objects.stream().state().unwrap().messages, 2);
    assert!(objects.put(ObjectInfo::named("b"), "id2", &mut &b""[..]).is_err());
    assert_eq!(objects.list().unwrap().len(), 1);
    assert!(objects.delete("a file").unwrap());
    assert!(!objects.delete("a file").unwrap());
    assert_eq!(objects.info("a file").unwrap(), None);
    assert_eq!(objects.get("a file", &mut Vec::new()).unwrap_err().kind, Kind::Closed);
    assert!(objects.list().unwrap().is_empty());
}

/// A reader that fails after some bytes.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::Error::other("broken"));
        }
        let count = to.len().min(self.0);
        self.0 -= count;
        to[..count].fill(1);
        Ok(count)
    }
}

#[test]
fn an_object_that_fails_leaves_the_one_before() {
    let mut bench = Bench::new(Storage::Memory);
    bench.open();
    let objects = ObjectStore::create(bench.store(), ACCOUNT, &ObjectStoreConfig::new("o")).unwrap();
    objects.put(ObjectInfo::named("x"), "id1", &mut &b"first"[..]).unwrap();
    let mut broken = Broken(CHUNK_BYTES * 3);
    assert!(objects.put(ObjectInfo::named("x"), "id2", &mut broken).is_err());
    let mut out = Vec::new();
    objects.get("x", &mut out).unwrap();
    assert_eq!(out, b"first");
    assert_eq!(objects.stream().state().unwrap().messages, 2);

    // A chunk that is gone, and one that is another: never passed off as the object.
    let first = objects.stream().messages("$O.o.C.id1", 0, 1, 1).unwrap()[0].seq;
    objects
        .stream()
        .call(move |shard, id| shard.delete_message(id, first, false))
        .unwrap();
    assert_eq!(objects.get("x", &mut Vec::new()).unwrap_err().kind, Kind::Damaged);
    objects.stream().publish("$O.o.C.id1", "", b"fIrst").unwrap();
    assert_eq!(objects.get("x", &mut Vec::new()).unwrap_err().kind, Kind::Damaged);
}
