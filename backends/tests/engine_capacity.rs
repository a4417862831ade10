//! What all streams of a store may hold together: nobody gets beyond it, and what goes away makes room, on each kind of
//! storage and after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use support::{Bench, Handle, Storage};
use weir_engine::store::Capacity;
use weir_engine::stream::{self, Purge, StreamConfig};

fn create(bench: &Bench, storage: Storage, name: &str) -> Handle {
    bench.create(&StreamConfig {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        storage: match storage.survives() {
            true => stream::Storage::File,
            false => stream::Storage::Memory,
        },
        ..StreamConfig::default()
    })
}

/// Publishes until it is refused; answers how many were taken.
fn fill(stream: &Handle, subject: &str) -> usize {
    for taken in 0..1000 {
        if let Err(error) = stream.publish(subject, "", &[b'x'; 100]) {
            let rejection = error.rejection.as_ref().expect("a refusal");
            assert_eq!((rejection.code, &*rejection.text), (10023, "insufficient resources"));
            return taken;
        }
    }
    panic!("1000 messages of 100 bytes were taken");
}

fn check(storage: Storage) {
    let mut bench = Bench::new(storage);
    let (here, there) = match storage.survives() {
        true => (0, 5000),
        false => (5000, 0),
    };
    bench.capacity = Capacity {
        memory: here,
        file: there,
    };
    bench.open();
    let (a, b) = (create(&bench, storage, "A"), create(&bench, storage, "B"));
    let taken = fill(&a, "A");
    // At least 100 bytes each, and the one that goes beyond is still taken.
    assert!((20..=51).contains(&taken), "{storage:?}: {taken}");
    assert_eq!(fill(&b, "B"), 0, "{storage:?}");
    if storage.survives() {
        bench.kill();
        bench.open();
        assert_eq!(fill(&bench.find("B").unwrap(), "B"), 0, "{storage:?}");
    }
    let (a, b) = (bench.find("A").unwrap(), bench.find("B").unwrap());
    a.call(|shard, id| shard.purge(id, &Purge::default())).unwrap();
    assert_eq!(fill(&b, "B"), taken, "{storage:?}");
    b.call(|shard, id| shard.delete_stream(id)).unwrap();
    assert_eq!(fill(&a, "A"), taken, "{storage:?}");
}

#[test]
fn memory_streams_share_a_bound() {
    check(Storage::Memory);
}

#[test]
fn segment_streams_share_a_bound() {
    check(Storage::Segment);
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_streams_share_a_bound() {
    check(Storage::Rocks);
}
