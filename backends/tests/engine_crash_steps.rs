//! The process ends before or after each single thing that a store asks of its backends, one after the other: while it
//! stores, purges, deletes, writes checkpoints and indexes, restores, closes.
//!
//! What was acknowledged is there, what was acknowledged as removed does not come back, no end goes back, and another
//! stream does not notice. `WEIR_CRASH_STEPS=all` tries each; without it, every few.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use support::between::{Rules, under};
use support::{ACCOUNT, Bench, Handle, Storage};
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::stream::{Message, Purge, StreamConfig};
use weir_engine::{Error, Result, Seq};

/// When the process ends.
#[derive(Default)]
struct End {
    /// What was asked of backends so far.
    asked: AtomicU64,
    /// It ends at this; 0 for never.
    at: AtomicU64,
    /// Whether what it ends at is still done.
    after: AtomicBool,
}

impl Rules for End {
    /// Does something, unless the process is gone, or goes now.
    fn ask<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let gone = || Err(Error::io("nothing", "the process is gone"));
        let (asked, at) = (
            self.asked.fetch_add(1, Ordering::SeqCst) + 1,
            self.at.load(Ordering::SeqCst),
        );
        if at == 0 || asked < at {
            return work();
        }
        if asked == at && self.after.load(Ordering::SeqCst) {
            work()?;
        }
        gone()
    }
}

impl End {
    fn is_gone(&self) -> bool {
        let at = self.at.load(Ordering::SeqCst);
        at > 0 && self.asked.load(Ordering::SeqCst) >= at
    }
}

type Body = (String, Vec<u8>);

/// What is known of the stream.
#[derive(Default)]
struct Model {
    /// What each sequence holds, and whether it must be there or may be.
    messages: BTreeMap<Seq, (Body, bool)>,
    first: Seq,
    last: Seq,
    /// How many messages the stream keeps; 0 for all.
    limit: u64,
}

impl Model {
    fn publish(&mut self, stream: &Handle, count: u64) {
        for number in 0..count {
            // Nobody else publishes, so that one which is not acknowledged has the next sequence, or any after it.
            let body = (
                format!("s.{}", number % 4),
                format!("{}-{number}", self.last).into_bytes(),
            );
            match stream.publish(&body.0, "", &body.1) {
                Ok((seq, _)) => {
                    assert!(seq > self.last, "{seq} after {}", self.last);
                    self.last = seq;
                    self.messages.insert(seq, (body, true));
                    self.limit();
                }
                Err(_) => {
                    // It may be there, and have taken another's place.
                    self.messages.entry(self.last + 1).or_insert((body, false));
                    self.last += 1;
                    self.limit();
                    self.last -= 1;
                    return;
                }
            }
        }
    }

    /// What is above the limit may be gone.
    fn limit(&mut self) {
        if self.limit > 0 {
            let end = (self.last + 1).saturating_sub(self.limit);
            for (_, (_, certain)) in self.messages.range_mut(..end) {
                *certain = false;
            }
        }
    }

    fn remove<R>(&mut self, goes: impl Fn(Seq, &str) -> bool, work: impl FnOnce() -> Result<R>) {
        for (_, (_, certain)) in self.messages.iter_mut().filter(|(seq, (body, _))| goes(**seq, &body.0)) {
            *certain = false;
        }
        if work().is_ok() {
            self.messages.retain(|seq, (body, _)| !goes(*seq, &body.0));
        }
    }

    fn verify(&self, stream: &Handle, what: &str) {
        let state = stream.call(|shard, id| shard.stream(id)?.state());
        let state = state.unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut found = 0;
        for seq in 1..=state.last_seq {
            let Some(message) = stream.message(seq) else {
                let certain = self.messages.get(&seq).is_some_and(|(_, certain)| *certain);
                assert!(!certain, "{what}: {seq} is lost: {state:?}");
                continue;
            };
            found += 1;
            let body = (
                String::from_utf8_lossy(&message.subject).into_owned(),
                message.payload.to_vec(),
            );
            let known = self.messages.get(&seq).map(|(known, _)| known);
            assert_eq!(known, Some(&body), "{what}: {seq} should not be there, or not so");
        }
        assert_eq!(state.messages, found, "{what}: {state:?}");
        assert!(
            state.last_seq >= self.last,
            "{what}: {state:?}, acknowledged {}",
            self.last
        );
        assert!(
            found == 0 || state.first_seq >= self.first,
            "{what}: {state:?}, began at {}",
            self.first
        );
    }
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{}.>", name.to_lowercase())],
        ..StreamConfig::default()
    }
}

/// What is done to a store: what it does to the stream is noted.
type Step = fn(&mut Bench, &Handle, &mut Model);

const STEPS: [(&str, Step); 8] = [
    ("messages are stored", |_, stream, model| model.publish(stream, 6)),
    ("a subject is purged", |_, stream, model| {
        let purge = Purge {
            filter: "s.1".into(),
            ..Purge::default()
        };
        model.remove(
            |_, subject| subject == "s.1",
            || stream.call(move |shard, id| shard.purge(id, &purge)),
        );
        model.publish(stream, 1);
    }),
    ("all is purged", |_, stream, model| {
        let last = model.last;
        model.remove(
            |seq, _| seq <= last,
            || stream.call(|shard, id| shard.purge(id, &Purge::default())),
        );
        if model.messages.is_empty() {
            model.first = last + 1;
        }
        model.publish(stream, 1);
    }),
    ("messages are deleted", |_, stream, model| {
        for seq in [2, 5, 9] {
            let secure = seq == 5;
            model.remove(
                |at, _| at == seq,
                || stream.call(move |shard, id| shard.delete_message(id, seq, secure)),
            );
        }
        model.publish(stream, 1);
    }),
    ("a limit becomes tighter", |bench, stream, model| {
        let config = StreamConfig {
            max_msgs: 4,
            ..config("S")
        };
        let settings = bench.settings(&config);
        model.limit = 4;
        model.limit();
        let _ = stream.call(move |shard, id| shard.update_stream(id, config, settings));
        model.publish(stream, 2);
    }),
    ("consumers come and go", |_, stream, model| {
        for name in ["c", "d"] {
            let config = ConsumerConfig {
                name: name.into(),
                durable_name: name.into(),
                ack_policy: AckPolicy::Explicit,
                ..ConsumerConfig::default()
            };
            let _ = stream.call(move |shard, id| shard.create_consumer(id, config));
            model.publish(stream, 1);
        }
        let _ = stream.call(|shard, id| shard.delete_consumer(id, "c"));
    }),
    ("a backup is restored beside it", |bench, stream, model| {
        let (id, config) = (bench.store().allocate_id(), config("R"));
        let settings = bench.settings(&config);
        let messages: Vec<Message> = (1..=20)
            .map(|seq| Message {
                seq,
                time: 1,
                subject: Bytes::from_static(b"r.1"),
                headers: Bytes::new(),
                payload: Bytes::from_static(b"restored"),
            })
            .collect();
        let _ = stream
            .call(move |shard, _| shard.begin_restore(id, &ACCOUNT.into(), config, settings, 1))
            .and_then(|()| stream.call(move |shard, _| shard.restore_messages(id, messages, false)))
            .and_then(|_| stream.call(move |shard, _| shard.restore_backend(id))?.sync())
            .and_then(|()| stream.call(move |shard, _| shard.finish_restore(id, 20, None, Vec::new())))
            .and_then(|()| stream.call(move |shard, _| shard.end_restore(id)));
        model.publish(stream, 1);
    }),
    ("the store closes", |bench, _, _| bench.close()),
];

/// One step, in the middle of which the process ends; answers whether it did not come to that.
fn run(storage: Storage, step: (&str, Step), n: u64, after: bool) -> bool {
    let what = format!(
        "{storage:?}, {}, {} {n}",
        step.0,
        if after { "after" } else { "before" }
    );
    let end = Arc::new(End::default());
    let mut bench = Bench::new(storage);
    bench.wrap = Some(Arc::new({
        let end = end.clone();
        move |inner| under(inner, end.clone())
    }));
    bench.open();
    let (stream, other) = (bench.create(&config("S")), bench.create(&config("O")));
    let mut model = Model::default();
    model.publish(&stream, 6);
    other.publish("o.1", "", b"other").unwrap();
    // Checkpoints come within the step as well.
    bench.checkpoint_bytes = 300;
    bench.close();
    bench.open();
    let find = |bench: &Bench, name: &str| bench.find(name).unwrap_or_else(|| panic!("{what}: {name} is gone"));
    let stream = find(&bench, "S");
    model.publish(&stream, 6);
    model.first = 1;
    end.after.store(after, Ordering::SeqCst);
    end.at.store(end.asked.load(Ordering::SeqCst) + n, Ordering::SeqCst);
    (step.1)(&mut bench, &stream, &mut model);
    let gone = end.is_gone();
    if bench.is_open() {
        bench.kill();
    }
    end.at.store(0, Ordering::SeqCst);
    for round in ["opened", "opened again"] {
        bench.open();
        let what = format!("{what}, {round}");
        let store = bench.store();
        assert_eq!(
            store.catalogue().offline(),
            0,
            "{what}: {:?}",
            store.catalogue().trouble()
        );
        assert!(store.findings().is_empty(), "{what}: {:?}", store.findings());
        model.verify(&find(&bench, "S"), &what);
        let other = find(&bench, "O").message(1);
        assert_eq!(
            other.as_ref().map(|message| &message.payload[..]),
            Some(&b"other"[..]),
            "{what}"
        );
        if let Some(restored) = bench.find("R") {
            // All of it or nothing.
            let state = restored.call(|shard, id| shard.stream(id)?.state()).unwrap();
            assert_eq!(state.messages, 20, "{what}");
        }
        model.publish(&find(&bench, "S"), 1);
        bench.close();
    }
    !gone
}

fn each(storage: Storage) {
    let all = std::env::var("WEIR_CRASH_STEPS").is_ok_and(|all| all == "all");
    let every = if all { 1 } else { 13 };
    let crashes = AtomicUsize::new(0);
    let crashes = &crashes;
    // Beside each other: a store without storage waits for it most of the time.
    std::thread::scope(|scope| {
        for (number, step) in STEPS.into_iter().enumerate() {
            scope.spawn(move || {
                for n in (1 + number as u64 % every..).step_by(every as usize) {
                    let whole = [false, true].map(|after| run(storage, step, n, after));
                    crashes.fetch_add(whole.iter().filter(|whole| !**whole).count(), Ordering::SeqCst);
                    if whole == [true; 2] {
                        break;
                    }
                }
            });
        }
    });
    eprintln!("{storage:?}: {} crashes", crashes.load(Ordering::SeqCst));
}

#[test]
fn nothing_is_lost_in_memory_that_outlives_the_store() {
    each(Storage::Persistent);
}

#[test]
fn nothing_is_lost_on_segment() {
    each(Storage::Segment);
}

#[cfg(feature = "rocksdb")]
#[test]
fn nothing_is_lost_on_rocksdb() {
    each(Storage::Rocks);
}
