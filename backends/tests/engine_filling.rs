//! Streams that are filled from elsewhere: nobody sees them before they are whole, and nothing is left of those that are not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use support::between::{Rules, under};
use weir_backends::root::StoreDir;
use weir_engine::embed::{Filling, GLOBAL_ACCOUNT};
use weir_engine::stream::settings::{BackendKind, Defaults};
use weir_engine::stream::{Message, StreamConfig, StreamSource};
use weir_engine::{Backend, Error, LogId, NanoTime, Result, SECOND, Seq, Store, StoreOptions};

const START: NanoTime = 1_700_000_000 * SECOND;

const KINDS: &[BackendKind] = &[
    BackendKind::Segment,
    #[cfg(feature = "rocksdb")]
    BackendKind::RocksDb,
];

/// A folder, and a clock that stands still.
struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    kind: BackendKind,
}

impl Bench {
    fn new(kind: BackendKind) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(AtomicI64::new(START)),
            kind,
        }
    }

    fn open(&self, still: bool) -> Store {
        let (dir, clock) = (StoreDir::new(self.folder.path()), self.clock.clone());
        let options = StoreOptions {
            there: dir.there(),
            still,
            ..StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)))
        };
        Store::embedded(dir.opener(), options).unwrap()
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            backend: self.kind,
            ..Defaults::default()
        }
    }

    fn begin(&self, store: &Store, config: StreamConfig) -> Result<Filling> {
        let origin = store.origin(GLOBAL_ACCOUNT, config, &self.defaults())?;
        store.fill(origin, 5)
    }

    /// The logs of streams that are on disk, while the store is closed.
    fn logs(&self) -> Vec<LogId> {
        let backend = StoreDir::new(self.folder.path()).open_read_only(self.kind).unwrap();
        let mut all = backend.list().unwrap();
        // Journals have the ids below.
        all.retain(|id| id.0 >= 256);
        all
    }
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

fn message(seq: Seq) -> Message {
    Message {
        seq,
        time: START - 100 * SECOND + seq as i64,
        subject: "S.a".into(),
        headers: "NATS/1.0\r\nA: b\r\n\r\n".into(),
        payload: format!("message {seq}").into(),
    }
}

#[test]
fn it_is_there_when_it_is_whole_and_after_a_crash() {
    for &kind in KINDS {
        let bench = Bench::new(kind);
        let store = bench.open(false);
        let mut origin = store.origin(GLOBAL_ACCOUNT, config("S"), &bench.defaults()).unwrap();
        origin.created = Some(START - 1000 * SECOND);
        let mut filling = store.fill(origin, 5).unwrap();
        filling.push([6, 7, 9].map(message).into(), true).unwrap();
        assert!(store.catalogue().all().is_empty(), "nobody sees it");
        filling.remove(vec![7, 8]).unwrap();
        let stream = filling.finish(20, Some(START - SECOND), Vec::new()).unwrap();
        assert_eq!(stream.messages("", 0, 10, 1 << 20).unwrap(), [6, 9].map(message));
        store.abandon();

        let store = bench.open(false);
        let stream = store.stream(GLOBAL_ACCOUNT, "S").unwrap();
        let entry = store.catalogue().get(GLOBAL_ACCOUNT, "S").unwrap();
        assert_eq!(entry.created, START - 1000 * SECOND);
        assert_eq!(stream.messages("", 0, 10, 1 << 20).unwrap(), [6, 9].map(message));
        let state = stream.state().unwrap();
        assert_eq!(
            (state.first_seq, state.last_seq, state.last_time),
            (6, 20, Some(START - SECOND))
        );
        assert_eq!(stream.publish("S.b", "", b"next").unwrap().seq, 21);
    }
}

#[test]
fn one_that_is_given_up_or_killed_leaves_nothing() {
    for &kind in KINDS {
        let bench = Bench::new(kind);
        let store = bench.open(false);
        let mut filling = bench.begin(&store, config("S")).unwrap();
        filling.push(vec![message(6)], false).unwrap();
        let refused = filling.push(vec![message(6)], false).unwrap_err();
        assert!(refused.to_string().contains("out of order"), "{refused}");
        drop(filling);
        store.close();
        assert_eq!(bench.logs(), [], "{kind}: given up");

        let store = bench.open(false);
        let mut filling = bench.begin(&store, config("S")).unwrap();
        filling.push(vec![message(6)], false).unwrap();
        store.abandon();
        // The process is gone, and asks nobody to clean up.
        std::mem::forget(filling);
        assert_eq!(bench.logs().len(), 1, "{kind}: killed");
        let store = bench.open(false);
        assert!(store.catalogue().all().is_empty());
        store.close();
        assert_eq!(bench.logs(), [], "{kind}: opened again");
    }
}

#[test]
fn a_stream_with_sources_knows_how_far_it_came() {
    let bench = Bench::new(BackendKind::Segment);
    let store = bench.open(false);
    let source = StreamSource {
        name: "O".into(),
        ..StreamSource::default()
    };
    let config = StreamConfig {
        sources: vec![source.clone()],
        ..config("S")
    };
    let mut filling = bench.begin(&store, config).unwrap();
    let copied = |seq: Seq, of: Seq| Message {
        headers: format!("NATS/1.0\r\nNats-Stream-Source: O {of} > > a.b\r\n\r\n").into(),
        ..message(seq)
    };
    filling.push(vec![copied(6, 70), copied(7, 71)], false).unwrap();
    filling.finish(7, None, Vec::new()).unwrap();
    store.abandon();
    let store = bench.open(false);
    let stream = store.stream(GLOBAL_ACCOUNT, "S").unwrap();
    let progress = stream.read(move |stream| Ok(stream.progress(&source, "")));
    assert_eq!(progress.unwrap(), Some(71));
}

/// The next sync of a backend fails.
#[derive(Default)]
struct NextSyncFails(AtomicBool);

impl Rules for NextSyncFails {
    fn sync(&self, backend: &dyn Backend) -> Result<()> {
        match self.0.swap(false, Ordering::SeqCst) {
            true => Err(Error::io("syncing", "the disk is on fire")),
            false => backend.sync(),
        }
    }
}

#[test]
fn one_whose_last_step_fails_leaves_nothing() {
    let rules = Arc::new(NextSyncFails::default());
    let mut bench = support::Bench::new(support::Storage::Segment);
    let between = rules.clone();
    bench.wrap = Some(Arc::new(move |backend| under(backend, between.clone())));
    bench.open();
    let store = bench.store();
    let config = config("S");
    let (id, settings) = (store.allocate_id(), bench.settings(&config));
    let shard = store.shard(store.shard_for("A", "S"));
    shard
        .call_blocking(move |shard| {
            shard.begin_restore(id, &"A".into(), config, settings, 5)?;
            shard.restore_messages(id, vec![message(6)], false)
        })
        .unwrap();
    rules.0.store(true, Ordering::SeqCst);
    let finished = shard.call_blocking(move |shard| shard.finish_restore(id, 6, None, Vec::new()));
    assert!(finished.unwrap_err().to_string().contains("on fire"));
    shard.call_blocking(move |shard| shard.end_restore(id)).unwrap();
    assert!(bench.find("S").is_none());
    bench.close();
    assert_eq!(bench.logs().into_iter().filter(|id| id.0 >= 256).count(), 0);
}

#[test]
fn names_and_subjects_that_are_taken_are_refused() {
    let bench = Bench::new(BackendKind::Segment);
    let store = bench.open(false);
    let early = bench.begin(&store, config("S")).unwrap();
    store
        .create_stream(GLOBAL_ACCOUNT, config("S"), &bench.defaults())
        .unwrap();
    let named = bench.begin(&store, config("S")).map(drop).unwrap_err();
    assert_eq!(named.rejection.unwrap().code, 10130);
    let mut other = config("T");
    other.subjects = vec!["S.x".into()];
    let overlap = bench.begin(&store, other).map(drop).unwrap_err();
    assert!(
        overlap
            .to_string()
            .contains("subjects overlap with an existing stream: S"),
        "{overlap}"
    );
    // What was free when it began.
    let late = early.finish(5, None, Vec::new()).map(drop).unwrap_err();
    assert_eq!(late.rejection.unwrap().code, 10130);
    store.close();
    assert_eq!(bench.logs().len(), 1);
}

#[test]
fn in_a_store_that_is_still_nothing_happens_by_itself() {
    let bench = Bench::new(BackendKind::Segment);
    let store = bench.open(false);
    let aging = StreamConfig {
        max_age: 10 * SECOND,
        ..config("S")
    };
    let stream = store.create_stream(GLOBAL_ACCOUNT, aging, &bench.defaults()).unwrap();
    stream.publish("S.a", "", b"old").unwrap();
    store.close();
    bench.clock.fetch_add(60 * SECOND, Ordering::SeqCst);
    for (still, messages) in [(true, 1), (false, 0)] {
        let store = bench.open(still);
        let stream = store.stream(GLOBAL_ACCOUNT, "S").unwrap();
        // What is due happens at the end of a turn, so that the next one sees it.
        stream.state().unwrap();
        assert_eq!(stream.state().unwrap().messages, messages, "still: {still}");
        store.close();
    }
}
