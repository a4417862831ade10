//! What the catalogue promises: which logs belong to which streams is never mistaken, whatever a crash left.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use support::{ACCOUNT, Bench, Storage};
use weir_engine::LogId;
use weir_engine::stream::StreamConfig;

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

/// A name of a stream that belongs to that shard.
fn name_on(bench: &Bench, shard: usize) -> String {
    let names = (0..).map(|n| format!("s{n}"));
    let store = bench.store();
    let mut on = names.filter(|name| store.shard_for(ACCOUNT, name) == shard);
    on.next().expect("there is no end of names")
}

#[test]
fn a_restore_that_breaks_off_takes_no_other_log_with_it() {
    for (storage, ours, theirs) in [
        (Storage::Persistent, 0, 1),
        (Storage::Segment, 0, 1),
        (Storage::Segment, 1, 0),
    ] {
        let mut bench = Bench::new(storage);
        bench.shards = 2;
        bench.open();
        let (kept, restored) = (name_on(&bench, theirs), name_on(&bench, ours));
        let stream = bench.create(&config(&kept));
        assert_eq!(stream.id, LogId(256));
        for _ in 0..10 {
            stream.publish(&format!("{kept}.a"), "", b"acknowledged").unwrap();
        }
        // From here on only its log has them.
        bench.close();
        bench.open();
        // The log of the restore, 0x256, prints as the first stream's number does in decimal.
        let id = std::iter::repeat_with(|| bench.store().allocate_id())
            .find(|id| *id == LogId(0x256))
            .expect("ids go up by one");
        let config = config(&restored);
        let settings = bench.settings(&config);
        let shard = bench.store().shard(ours).clone();
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
