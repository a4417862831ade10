//! What the backends themselves cost: appending batches, reading at random, scanning heads and bodies.
//!
//! `cargo bench -p weir-bench --bench backends`; with `--features rocksdb` RocksDB takes part. Nothing is synced: what a
//! sync costs is the disk's affair, and `engine.rs` and `weir-load` measure it.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench that fails panics")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use weir_backends::root::StoreDir;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Backend, Direction, Log, LogId, LogOptions, Record, Seq, Want};

const KINDS: &[BackendKind] = &[
    BackendKind::Memory,
    BackendKind::Segment,
    #[cfg(feature = "rocksdb")]
    BackendKind::RocksDb,
];
const HEAD: &[u8] = b"\0orders.eu.berlin.4711";
const BODIES: [usize; 2] = [128, 4096];
/// Bytes that a log of the append benches grows to before it is emptied.
const APPEND_MAX: u64 = 64 << 20;
/// Records in the log that is read.
const READ_RECORDS: u64 = 100_000;
/// Records that one turn of the random reads asks for.
const READS: usize = 64;

/// A log in a folder of its own.
struct Fixture {
    log: Box<dyn Log>,
    _backend: Arc<dyn Backend>,
    _folder: TempDir,
    next: Seq,
}

impl Fixture {
    fn new(kind: BackendKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = StoreDir::new(folder.path()).open(kind).unwrap();
        let (log, _) = backend.open(LogId(256), &LogOptions::default()).unwrap();
        Self {
            log,
            _backend: backend,
            _folder: folder,
            next: 1,
        }
    }

    fn append(&mut self, count: u64, body: &[u8]) {
        let records: Vec<Record<'_>> = (self.next..self.next + count)
            .map(|seq| Record {
                seq,
                time: seq as i64,
                head: HEAD,
                body,
            })
            .collect();
        self.log.append(&records).unwrap();
        self.next += count;
    }

    /// Empties the log when it holds too much, so that a bench takes neither the disk nor the memory.
    fn bound(&mut self) {
        if self.log.reader().extent().bytes > APPEND_MAX {
            self.log.trim(self.next).unwrap();
            while self.log.maintain(u64::MAX).unwrap() {}
        }
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for &kind in KINDS {
        for body_len in BODIES {
            for batch in [1, 64] {
                let mut fixture = Fixture::new(kind);
                let body = vec![b'x'; body_len];
                group.throughput(Throughput::Elements(batch));
                let id = BenchmarkId::new(kind.to_string(), format!("{batch}x{body_len}"));
                group.bench_function(id, |b| {
                    b.iter_custom(|turns| {
                        let mut spent = std::time::Duration::ZERO;
                        for _ in 0..turns {
                            let began = std::time::Instant::now();
                            fixture.append(batch, &body);
                            spent += began.elapsed();
                            fixture.bound();
                        }
                        spent
                    });
                });
            }
        }
    }
    group.finish();
}

fn filled(kind: BackendKind, body_len: usize) -> Fixture {
    let mut fixture = Fixture::new(kind);
    let body = vec![b'x'; body_len];
    while fixture.next <= READ_RECORDS {
        fixture.append(1_000, &body);
    }
    fixture
}

/// A walk over all records that is neither in order nor the same each time.
fn scattered(turn: u64) -> impl Iterator<Item = Seq> {
    // An odd number near the golden ratio of 2^64: every step lands far from the one before.
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    (0..READS as u64).map(move |i| {
        let mixed = (turn * READS as u64 + i).wrapping_mul(step);
        1 + (mixed >> 32) % READ_RECORDS
    })
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    for &kind in KINDS {
        for body_len in BODIES {
            let fixture = filled(kind, body_len);
            let reader = fixture.log.reader();

            group.throughput(Throughput::Elements(READS as u64));
            let id = BenchmarkId::new(kind.to_string(), format!("get/{body_len}"));
            group.bench_function(id, |b| {
                let mut turn = 0;
                b.iter_batched(
                    || {
                        turn += 1;
                        scattered(turn).collect::<Vec<Seq>>()
                    },
                    |seqs| {
                        for seq in seqs {
                            black_box(reader.get(seq).unwrap().unwrap());
                        }
                    },
                    BatchSize::SmallInput,
                );
            });

            group.throughput(Throughput::Elements(READ_RECORDS));
            for (name, want) in [("heads", Want::Heads), ("full", Want::Full)] {
                let id = BenchmarkId::new(kind.to_string(), format!("scan_{name}/{body_len}"));
                group.bench_function(id, |b| {
                    b.iter(|| {
                        let mut seen = 0;
                        let mut visit = |record: weir_engine::EntryRef<'_>| {
                            seen += 1;
                            black_box((record.head, record.body));
                            ControlFlow::Continue(())
                        };
                        let all = 1..=Seq::MAX;
                        reader.scan(all, want, Direction::Forward, &mut visit).unwrap();
                        assert_eq!(seen, READ_RECORDS);
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
