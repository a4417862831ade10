//! What the engine costs without a network: publishing into an embedded store, from the shard's queue to the answer.
//!
//! `cargo bench -p weir-bench --bench engine`; with `--features rocksdb` RocksDB takes part. Persistent streams have
//! durability `os`, so the journal is written and not synced: the disk is left out.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench that fails panics")]

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_backends::root::StoreDir;
use weir_engine::shard::Input;
use weir_engine::shard::emit::Ticket;
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{StreamConfig, StreamState};
use weir_engine::{Store, StoreOptions, StreamId};

const KINDS: &[BackendKind] = &[
    BackendKind::Memory,
    BackendKind::Segment,
    #[cfg(feature = "rocksdb")]
    BackendKind::RocksDb,
];
const ACCOUNT: &str = "$G";
const STREAM: &str = "BENCH";
const BODIES: [usize; 2] = [128, 4096];
/// Publishes handed over at a time, all answered before the next: one waiting client, and a busy server.
const OUTSTANDING: [u64; 2] = [1, 512];
/// What the stream holds at most, so that a bench takes neither the disk nor the memory.
const STREAM_BYTES: i64 = 64 << 20;

fn open(folder: &std::path::Path) -> Store {
    let clock = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as i64
    };
    let opener = StoreDir::new(folder).opener();
    Store::embedded(opener, StoreOptions::new(Arc::new(clock))).unwrap()
}

fn create(store: &Store, kind: BackendKind) -> StreamId {
    let mut metadata = vec![("weir.backend", kind.to_string())];
    if kind != BackendKind::Memory {
        metadata.push(("weir.durability", "os".to_owned()));
    }
    let config = StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec!["bench.>".to_owned()],
        max_bytes: STREAM_BYTES,
        metadata: metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        ..StreamConfig::default()
    };
    let settings = Settings::of(&config, &Defaults::default()).unwrap();
    let id = store.allocate_id();
    let shard = store.shard(store.shard_for(ACCOUNT, STREAM));
    let create = move |shard: &mut weir_engine::shard::InTurn<'_, '_>| {
        shard.create_stream(id, &ACCOUNT.into(), config, settings)
    };
    shard.call_blocking(create).unwrap();
    id
}

/// A publish that tells when it is answered.
fn input(id: StreamId, subject: &Bytes, body: &Bytes, answered: &Sender<u64>) -> Input {
    let answered = answered.clone();
    Input::Publish {
        stream: id,
        subject: subject.clone(),
        headers_len: 0,
        body: body.clone(),
        ticket: Ticket::Call(Box::new(move |ack| {
            answered.send(ack.unwrap().seq).unwrap();
        })),
    }
}

fn state(store: &Store, id: StreamId) -> StreamState {
    let shard = store.shard(store.shard_for(ACCOUNT, STREAM));
    shard
        .call_blocking(move |shard| shard.stream(id).unwrap().state())
        .unwrap()
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish");
    let subjects: Vec<Bytes> = (0..1_000).map(|i| format!("bench.{i}").into()).collect();
    for &kind in KINDS {
        for body_len in BODIES {
            let body = Bytes::from(vec![b'x'; body_len]);
            for outstanding in OUTSTANDING {
                let folder = tempfile::tempdir().unwrap();
                let store = open(folder.path());
                let id = create(&store, kind);
                let shard = store.shard(store.shard_for(ACCOUNT, STREAM));
                let (answered, answers) = channel();
                let mut sent = 0;
                group.throughput(Throughput::Elements(outstanding));
                let name = format!("{outstanding}x{body_len}");
                group.bench_function(BenchmarkId::new(kind.to_string(), name), |b| {
                    b.iter(|| {
                        let inputs = (sent..sent + outstanding)
                            .map(|i| &subjects[i as usize % subjects.len()])
                            .map(|subject| input(id, subject, &body, &answered))
                            .collect();
                        assert!(shard.submit(inputs).is_ok());
                        for expected in sent + 1..=sent + outstanding {
                            assert_eq!(answers.recv().unwrap(), expected);
                        }
                        sent += outstanding;
                    });
                });
                // Nothing was lost on the way.
                assert_eq!(state(&store, id).last_seq, sent);
                store.close();
            }
        }
    }
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
