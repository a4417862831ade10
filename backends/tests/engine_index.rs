//! An index that is gone, behind, or of another time is made again from the log at the start; a stream is then as it was.
//! `WEIR_STORE_MB` (2) sets how much a stream holds, and how long its start takes is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![cfg(feature = "rocksdb")]

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use support::{Bench, Handle, Storage};
use weir_engine::stream::{StreamConfig, StreamState};
use weir_engine::{Backend, KvWrite};

/// Bytes of a message.
const BODY: usize = 4000;
const SUBJECTS: u64 = 50;

/// What all keys of paged indexes begin with.
const INDEX: &[u8] = b"I";

fn fill(stream: &Handle, messages: u64) {
    let body = Bytes::from(vec![b'x'; BODY]);
    let mut at = 0;
    while at < messages {
        let (from, to, body) = (at, (at + 500).min(messages), body.clone());
        stream
            .call(move |shard, id| {
                for number in from..to {
                    shard.publish(id, format!("s.{}", number % SUBJECTS).into(), 0, body.clone())?;
                }
                Ok(())
            })
            .unwrap();
        at = to;
    }
}

/// What a stream answers of what it has.
fn look(stream: &Handle) -> (StreamState, Vec<Option<u64>>, Vec<Option<u64>>) {
    stream
        .call(|shard, id| {
            let stream = shard.stream(id)?;
            let mut lasts = Vec::new();
            for subject in 0..SUBJECTS {
                let found = stream.last_message(format!("s.{subject}").as_bytes())?;
                lasts.push(found.map(|message| message.seq));
            }
            let mut nexts = Vec::new();
            for from in (0..2000).step_by(97) {
                nexts.push(stream.next_message(b"s.*", from)?.map(|message| message.seq));
            }
            Ok((stream.state()?, lasts, nexts))
        })
        .unwrap()
}

#[test]
fn an_index_that_is_gone_or_behind_is_made_again() {
    let megabytes: u64 = std::env::var("WEIR_STORE_MB").map_or(2, |text| text.parse().unwrap());
    let messages = (megabytes << 20) / BODY as u64;
    let rocks: Arc<Mutex<Option<Arc<dyn Backend>>>> = Arc::default();
    let mut bench = Bench::new(Storage::Rocks);
    bench.wrap = Some(Arc::new({
        let rocks = rocks.clone();
        move |inner: Arc<dyn Backend>| {
            if inner.name() == "rocksdb" {
                *rocks.lock() = Some(inner.clone());
            }
            inner
        }
    }));
    bench.open();
    let stream = bench.create(&StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        ..StreamConfig::default()
    });
    fill(&stream, messages / 2);
    let pairs = |rocks: &Mutex<Option<Arc<dyn Backend>>>| {
        let kv = rocks.lock().as_ref().expect("rocksdb is open").kv();
        let mut pairs: Vec<KvWrite> = Vec::new();
        kv.scan(INDEX, None, &mut |key, value| {
            pairs.push((Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value))));
            ControlFlow::Continue(())
        })
        .unwrap();
        pairs
    };
    let earlier = pairs(&rocks);
    assert!(!earlier.is_empty(), "there is an index");
    fill(&stream, messages / 2);
    for seq in [3, 10, 11, messages] {
        stream
            .call(move |shard, id| shard.delete_message(id, seq, false))
            .unwrap();
    }
    let before = look(&stream);
    type Harm = fn(&dyn Backend, &[KvWrite]);
    let harms: [(&str, Harm); 4] = [
        ("nothing", |_, _| {}),
        ("it is gone", |backend, _| backend.kv().remove_prefix(INDEX).unwrap()),
        ("it is that of an earlier time", |backend, earlier| {
            backend.kv().remove_prefix(INDEX).unwrap();
            backend.kv().put_all(earlier).unwrap();
        }),
        ("its totals are those of an earlier time", |backend, earlier| {
            backend.kv().put_all(&earlier[..1]).unwrap();
        }),
    ];
    for (what, harm) in harms {
        // The engine has closed it; what it has in RocksDB has not gone with it.
        bench.close();
        let backend = rocks.lock().take().expect("rocksdb is open");
        harm(backend.as_ref(), &earlier);
        backend.sync().unwrap();
        drop(backend);
        let began = Instant::now();
        bench.open();
        let stream = bench.find("S").expect("the stream is there");
        let after = look(&stream);
        eprintln!("{what}: a start with {messages} messages takes {:.2?}", began.elapsed());
        assert_eq!(after, before, "{what}");
        assert_eq!(bench.store().catalogue().offline(), 0, "{what}");
    }
}
