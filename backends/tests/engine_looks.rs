//! Looking into a shard beside its thread: what is found is committed, nothing that was handed over before is missing, and whoever
//! looks stands in nobody's way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use support::between::{Change, Rules, under};
use support::{Bench, Handle, Storage, Told};
use weir_engine::shard::Input;
use weir_engine::shard::emit::Ticket;
use weir_engine::stream::{AtHand, Purge, Search, Sight, StreamConfig};
use weir_engine::{Error, Log, LogId, Result, SyncBeside};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![">".into()],
        ..StreamConfig::default()
    }
}

fn publish(stream: &Handle, payload: &str, ticket: Ticket) {
    let input = Input::Publish {
        stream: stream.id,
        subject: Bytes::from_static(b"a"),
        headers_len: 0,
        body: Bytes::copy_from_slice(payload.as_bytes()),
        ticket,
    };
    assert!(stream.shard.submit(vec![input]).is_ok());
}

/// A look at the newest message of `a`: its payload, or `None` inside if there is none.
fn newest(stream: &Handle) -> Option<Option<String>> {
    newest_of(stream, b"a")
}

fn newest_of(stream: &Handle, subject: &[u8]) -> Option<Option<String>> {
    let mut search = Search::newest(subject);
    let look = stream.shard.look(|shard| shard.sight(stream.id, &mut search, &mut 8));
    Some(match look? {
        Sight::Message(message) => Some(message.payload),
        Sight::InLog(unread) => match unread.read_at_hand() {
            AtHand::Message(message) => Some(message.payload),
            AtHand::Unread | AtHand::Odd => return None,
        },
        Sight::Nothing => None,
    })
    .map(|payload| payload.map(|payload| String::from_utf8(payload.to_vec()).unwrap()))
}

/// The same once the shard's thread sleeps.
fn newest_at_rest(stream: &Handle) -> Option<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = newest(stream) {
            return found;
        }
        assert!(Instant::now() < end, "nobody is let in");
        std::thread::yield_now();
    }
}

fn on_each_storage(test: impl Fn(Storage)) {
    for storage in [Storage::Memory, Storage::Segment] {
        test(storage);
    }
}

#[test]
fn what_was_handed_over_is_found_or_the_shard_is_to_be_asked() {
    on_each_storage(|storage| {
        let mut bench = Bench::new(storage);
        bench.open();
        let stream = bench.create(&config("S"));
        assert_eq!(newest_at_rest(&stream), None);
        for number in 0..2000 {
            let payload = number.to_string();
            publish(&stream, &payload, Ticket::None);
            if let Some(found) = newest(&stream) {
                assert_eq!(found, Some(payload), "a message of before");
            }
            if number % 64 == 0 {
                assert_eq!(newest_at_rest(&stream), Some(number.to_string()));
            }
        }
        stream.call(|shard, id| shard.purge(id, &Purge::default())).unwrap();
        assert_eq!(newest_at_rest(&stream), None);
    });
}

/// Holds up the sync of a journal, once it is told to.
struct Gate(Arc<Shut>);

struct Shut {
    is_shut: AtomicBool,
    arrived: Mutex<Sender<()>>,
    opened: Mutex<Receiver<()>>,
}

impl Shut {
    fn pass(&self, id: LogId) {
        if id.0 < 256 && self.is_shut.swap(false, Ordering::Relaxed) {
            self.arrived.lock().send(()).unwrap();
            self.opened.lock().recv().unwrap();
        }
    }
}

impl Rules for Gate {
    fn change(&self, id: LogId, _: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        if matches!(change, Change::Sync) {
            self.0.pass(id);
        }
        change.on(log)
    }

    fn sync_beside(&self, id: LogId, sync: SyncBeside) -> Option<SyncBeside> {
        let shut = self.0.clone();
        Some(Arc::new(move || {
            shut.pass(id);
            sync()
        }))
    }
}

/// A store with such a gate, which is open.
fn gated() -> (Bench, Arc<Shut>, Receiver<()>, Sender<()>) {
    let ((arrives, has_arrived), (open, opened)) = (channel(), channel());
    let shut = Arc::new(Shut {
        is_shut: AtomicBool::new(false),
        arrived: Mutex::new(arrives),
        opened: Mutex::new(opened),
    });
    let gate = Arc::new(Gate(shut.clone()));
    let mut bench = Bench::new(Storage::Segment);
    bench.wrap = Some(Arc::new(move |inner| under(inner, gate.clone())));
    bench.open();
    (bench, shut, has_arrived, open)
}

#[test]
fn what_is_not_committed_is_not_seen() {
    let (bench, gate, has_arrived, open) = gated();
    let stream = bench.create(&config("S"));
    stream.publish("a", "", b"old").unwrap();
    for round in 0..20 {
        let before = newest_at_rest(&stream);
        gate.is_shut.store(true, Ordering::Relaxed);
        let ((stored, is_stored), new) = (channel(), format!("new {round}"));
        let told = move |result: Result<_>| stored.send(result.map(drop)).unwrap();
        publish(&stream, &new, Ticket::Call(Box::new(told)));
        has_arrived.recv().unwrap();
        let found = newest(&stream);
        assert!(found.is_none() || found == Some(before), "{found:?} is not synced");
        open.send(()).unwrap();
        is_stored.recv().unwrap().unwrap();
        assert_eq!(newest_at_rest(&stream), Some(new));
    }
}

/// Two turns are in flight, as long as the sync of the first does not end. What they did is not seen, and all else is.
#[test]
fn what_turns_in_flight_left_alone_is_seen() {
    let (bench, gate, has_arrived, open) = gated();
    let [grown, other] = ["G", "O"].map(|name| bench.create(&config(name)));
    let full = bench.create(&StreamConfig {
        max_msgs: 2,
        ..config("F")
    });
    for stream in [&grown, &other, &full] {
        stream.publish("b", "", b"old b").unwrap();
        stream.publish("a", "", b"old").unwrap();
    }
    let ((begins, has_begun), (end, ended)) = (channel(), channel::<()>());
    std::thread::scope(|scope| {
        let turn = scope.spawn(|| {
            other.call(move |_, _| {
                begins.send(()).unwrap();
                ended.recv().map_err(|_| Error::invalid("nobody waits"))
            })
        });
        has_begun.recv().unwrap();
        // As many as a turn takes, and so many behind them that this one flies.
        let [first, second] = [(&grown, 16 << 10), (&full, 100)].map(|(stream, count)| {
            let new = |_| Input::Publish {
                stream: stream.id,
                subject: Bytes::from_static(b"a"),
                headers_len: 0,
                body: Bytes::from_static(b"new"),
                ticket: Ticket::None,
            };
            (0..count).map(new).collect()
        });
        assert!(grown.shard.submit(first).is_ok() && full.shard.submit(second).is_ok());
        gate.is_shut.store(true, Ordering::Relaxed);
        end.send(()).unwrap();
        turn.join().unwrap().unwrap();
    });
    has_arrived.recv().unwrap();
    assert_eq!(newest_at_rest(&other), Some("old".into()));
    // Nothing of the second turn was there yet, perhaps.
    let until = Instant::now() + PATIENCE;
    while newest_of(&full, b"b").is_some() {
        assert!(Instant::now() < until, "what is in flight is seen");
        std::thread::yield_now();
    }
    assert_eq!(newest_of(&full, b"a"), None);
    assert_eq!(newest_of(&grown, b"a"), None);
    assert_eq!(newest_of(&grown, b"b").flatten().as_deref(), Some("old b"));
    open.send(()).unwrap();
    assert_eq!(newest_at_rest(&grown), Some("new".into()));
    assert_eq!(newest_of(&other, b"b").flatten().as_deref(), Some("old b"));
}

#[test]
fn many_who_look_hold_nobody_up() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config("S"));
    stream.publish("a", "", b"first").unwrap();
    let (is_over, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    looks.fetch_add(usize::from(newest(&stream).is_some()), Ordering::Relaxed);
                }
            });
        }
        for number in 0..200_u64 {
            let stored = stream.publish("a", "", b"next");
            assert_eq!(stored.unwrap().0, number + 2);
        }
        let end = Instant::now() + PATIENCE;
        while looks.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < end, "nobody is let in");
            std::thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_panic_of_one_who_looks_has_the_shard_opened_anew() {
    on_each_storage(|storage| {
        let mut bench = Bench::new(storage);
        bench.open();
        let stream = bench.create(&config("S"));
        stream.publish("a", "", b"one").unwrap();
        newest_at_rest(&stream);
        let end = Instant::now() + PATIENCE;
        let panicked = AtomicBool::new(false);
        while !panicked.load(Ordering::Relaxed) {
            assert!(Instant::now() < end, "nobody is let in");
            let look = || {
                stream.shard.look(|_| -> Option<()> {
                    panicked.store(true, Ordering::Relaxed);
                    panic!("a bug of the test's own")
                })
            };
            let looked = std::panic::catch_unwind(AssertUnwindSafe(look));
            assert_eq!(looked.ok(), Some(None), "it goes no further");
        }
        assert_eq!(newest(&stream), None, "it may not be whole");
        let asked = stream.call(|shard, id| shard.stream(id)?.message(1));
        let why = asked.unwrap_err().to_string();
        assert!(why.contains("a bug of the test's own"), "{why}");
        assert_eq!(newest_at_rest(&stream), Some("one".to_owned()));
        assert_eq!(stream.publish("a", "", b"two").unwrap().0, 2);
        assert_eq!(newest_at_rest(&stream), Some("two".to_owned()));
    });
}

/// A log whose writes fail while it is told to.
#[derive(Default)]
struct Failing(AtomicBool);

impl Rules for Failing {
    fn change(&self, id: LogId, _: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        if id.0 >= 256 && matches!(change, Change::Write(_)) && self.0.load(Ordering::Relaxed) {
            return Err(Error::io("writing", "a bad sector"));
        }
        change.on(log)
    }
}

#[test]
fn of_a_stream_that_is_offline_or_gone_the_shard_tells() {
    let (sender, told) = channel();
    let failing = Arc::<Failing>::default();
    let mut bench = Bench::with_outlet(Storage::Segment, move || Box::new(Told(sender.clone())));
    let shared = failing.clone();
    bench.wrap = Some(Arc::new(move |inner| under(inner, shared.clone())));
    bench.open();
    let (s, t) = (bench.create(&config("S")), bench.create(&config("T")));
    s.publish("a", "", b"one").unwrap();
    t.publish("a", "", b"other").unwrap();
    assert_eq!(newest_at_rest(&s), Some("one".to_owned()));
    failing.0.store(true, Ordering::Relaxed);
    // The journal has it.
    s.publish("a", "", b"two").unwrap();
    while told.recv().unwrap() != "S offline" {}
    assert_eq!(newest_at_rest(&t), Some("other".to_owned()));
    assert_eq!(newest(&s), None);
    failing.0.store(false, Ordering::Relaxed);
    bench.skip(3_600_000_000_000);
    s.settle(1);
    while told.recv().unwrap() != "S online" {}
    assert_eq!(newest_at_rest(&s), Some("two".to_owned()));
    s.call(|shard, id| shard.delete_stream(id)).unwrap();
    assert_eq!(newest_at_rest(&t), Some("other".to_owned()));
    assert_eq!(newest(&s), None);
    assert!(s.call(|shard, id| shard.stream(id).map(drop)).is_err());
    bench.close();
    assert_eq!(newest(&t), None, "the store is closed");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_stream_that_goes_over_to_another_backend_is_looked_into_all_the_while() {
    use weir_engine::stream::settings::BackendKind;

    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config("S"));
    for number in 0..2000 {
        publish(&stream, &number.to_string(), Ticket::None);
    }
    let (is_over, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut before = 0;
            while !is_over.load(Ordering::Relaxed) {
                if let Some(found) = newest(&stream) {
                    let number: u64 = found.expect("a message").parse().unwrap();
                    assert!(number >= before, "{number} after {before}");
                    before = number;
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // While it has nothing to do. How often it is looked into during the move depends on who gets the processors.
        let end = Instant::now() + PATIENCE;
        while looks.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < end, "nobody looks");
            std::thread::yield_now();
        }
        let mut wanted = config("S");
        for (key, value) in [("weir.backend", "rocksdb"), ("weir.index", "resident")] {
            wanted.metadata.insert(key.into(), value.into());
        }
        let settings = bench.settings(&config("S"));
        let moves = stream.call(move |shard, id| shard.update_stream(id, wanted, settings));
        moves.unwrap();
        let end = Instant::now() + PATIENCE;
        for number in 2000_u64.. {
            publish(&stream, &number.to_string(), Ticket::None);
            let backend = stream.call(|shard, id| Ok(shard.stream(id)?.settings().backend));
            if backend.unwrap() == BackendKind::RocksDb {
                publish(&stream, "1000000", Ticket::None);
                break;
            }
            assert!(Instant::now() < end, "it does not go over");
        }
        assert_eq!(newest_at_rest(&stream), Some("1000000".to_owned()));
        is_over.store(true, Ordering::Relaxed);
    });
}
