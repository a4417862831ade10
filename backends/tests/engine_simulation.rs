//! The whole engine on a disk in memory, driven by a seed: power failures, kills, failing calls and a full disk in the
//! middle of a random workload, and a model that knows what was acknowledged.
//!
//! What was acknowledged is there, as it was; what was acknowledged as removed stays away; what failed may be there or
//! not, but whole. `WEIR_SEED` runs one seed, `WEIR_SEEDS` so many.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use support::Random;
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::{Failure, SimulatedDisk};
use weir_engine::conformance::model::Dice;
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::embed::EmbeddedStream;
use weir_engine::store::{OpenBackend, Store, StoreOptions};
use weir_engine::stream::settings::{BackendKind, Defaults};
use weir_engine::stream::{Purge, StreamConfig};
use weir_engine::{SECOND, SEQ_LIMIT, Seq};

const ACCOUNT: &str = "A";
const STREAMS: u64 = 3;
const CONSUMER: &str = "c";

/// Seeds that found something once. Checkpoints run beside the shard, so not each time.
const FOUND: [u64; 3] = [49, 77, 287];

type Body = (String, Vec<u8>);

/// What is known of one stream.
#[derive(Debug, Default)]
struct Expected {
    /// Whether it was acknowledged, and not tried to be deleted since.
    certain: bool,
    /// Messages that are there.
    stored: BTreeMap<Seq, Body>,
    /// Messages that may be there.
    maybe: BTreeMap<Seq, Body>,
    /// Messages that may be there under a sequence that nobody was told.
    tried: Vec<Body>,
    /// The highest sequence that was acknowledged.
    last: Seq,
    /// Acknowledged by the consumer, durably.
    acked: BTreeSet<Seq>,
    consumer: bool,
}

impl Expected {
    /// What may be removed from here on is not certain any more.
    fn doubt(&mut self, which: impl Fn(Seq, &Body) -> bool) {
        let doubtful: Vec<Seq> = self
            .stored
            .iter()
            .filter(|(seq, body)| which(**seq, body))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in doubtful {
            let body = self.stored.remove(&seq).expect("it is there");
            self.maybe.insert(seq, body);
        }
    }

    fn remove(&mut self, which: impl Fn(Seq, &Body) -> bool) {
        self.stored.retain(|seq, body| !which(*seq, body));
        self.maybe.retain(|seq, body| !which(*seq, body));
    }

    /// Everything that is there is known, and everything that must be is there.
    fn verify(&self, stream: &EmbeddedStream, what: &str) {
        let state = stream.state().expect(what);
        let found = stream.messages(">", 1, usize::MAX, usize::MAX).expect(what);
        let mut left: BTreeSet<Seq> = self.stored.keys().copied().collect();
        for message in &found {
            left.remove(&message.seq);
            let body = (
                String::from_utf8_lossy(&message.subject).into_owned(),
                message.payload.to_vec(),
            );
            let known = self.stored.get(&message.seq).or_else(|| self.maybe.get(&message.seq));
            let whole = match known {
                Some(known) => *known == body,
                None => self.tried.contains(&body),
            };
            assert!(whole, "{what}: message {} should not be there, or not so", message.seq);
        }
        assert!(left.is_empty(), "{what}: acknowledged and gone: {left:?}; {state:?}");
        assert_eq!(state.messages, found.len() as u64, "{what}: {state:?}");
        assert!(
            state.last_seq >= self.last,
            "{what}: {state:?}, acknowledged {}",
            self.last
        );
    }
}

struct Simulation {
    random: Random,
    disk: Arc<SimulatedDisk>,
    clock: Arc<AtomicI64>,
    checkpoint_bytes: usize,
    streams: BTreeMap<String, Expected>,
}

impl Simulation {
    fn open(&self) -> Store {
        self.disk.boot();
        let disk = self.disk.clone();
        let open: OpenBackend = Box::new(move |kind| match kind {
            BackendKind::Segment => Ok(Arc::new(SegmentBackend::open_on(&disk, Path::new("/store"))?)),
            _ => Ok(Arc::new(MemoryBackend::new())),
        });
        let clock = self.clock.clone();
        let options = StoreOptions {
            shards: 1,
            checkpoint_bytes: self.checkpoint_bytes,
            ..StoreOptions::new(Arc::new(move || clock.load(Ordering::SeqCst)))
        };
        Store::embedded(open, options).expect("the store opens")
    }

    fn verify(&mut self, store: &Store, what: &str) {
        assert_eq!(store.catalogue().offline(), 0, "{what}: a stream is offline");
        assert!(store.findings().is_empty(), "{what}: {:?}", store.findings());
        for entry in store.catalogue().list(ACCOUNT) {
            assert!(
                self.streams.contains_key(&*entry.name),
                "{what}: {} came back",
                entry.name
            );
        }
        self.streams.retain(|name, expected| match store.stream(ACCOUNT, name) {
            Ok(stream) => {
                expected.verify(&stream, &format!("{what}, {name}"));
                true
            }
            Err(error) => {
                assert!(!expected.certain, "{what}: {name} was acknowledged: {error}");
                false
            }
        });
    }

    fn publish(&mut self, name: &str, stream: &EmbeddedStream) {
        let random = &mut self.random;
        let subject = match random.below(12) {
            0 => format!("{name}.{}", "x".repeat(20_000)),
            n => format!("{name}.{}", n % 4),
        };
        let len = [0, 3, 50, 900, 9_000][random.below(5) as usize];
        let payload: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let body = (subject, payload);
        let expected = self.streams.get_mut(name).expect("it is known");
        match stream.publish(&body.0, "", &body.1) {
            Ok(ack) => {
                assert!(ack.seq > expected.last, "{name}: {} after {}", ack.seq, expected.last);
                expected.last = ack.seq;
                expected.stored.insert(ack.seq, body);
            }
            Err(_) => expected.tried.push(body),
        }
    }

    fn purge(&mut self, name: &str, stream: &EmbeddedStream) {
        let random = &mut self.random;
        let expected = self.streams.get_mut(name).expect("it is known");
        let subject = format!("{name}.{}", random.below(4));
        let filter = [String::new(), subject, format!("{name}.*"), "nobody.>".into()][random.below(4) as usize].clone();
        let seq = match random.below(4) {
            0 => expected.last.saturating_sub(random.below(5)),
            1 => SEQ_LIMIT + random.below(3),
            2 => u64::MAX - random.below(3),
            _ => 0,
        };
        let matched = |body: &Body| match &filter[..] {
            "" => true,
            "nobody.>" => false,
            filter if filter.ends_with('*') => true,
            filter => filter == body.0,
        };
        let which = |at: Seq, body: &Body| matched(body) && (seq == 0 || at < seq);
        let purge = Purge {
            filter: filter.clone(),
            seq,
            keep: 0,
        };
        match stream.purge(purge) {
            Ok(_) => expected.remove(which),
            Err(_) => expected.doubt(which),
        }
        // Whatever came of it; a purge beyond the end moves the end.
        if let Ok(state) = stream.state() {
            assert!(state.last_seq >= expected.last, "{name}: {state:?}");
        }
    }

    fn consume(&mut self, name: &str, stream: &EmbeddedStream) {
        let expected = self.streams.get_mut(name).expect("it is known");
        if !expected.consumer {
            let config = ConsumerConfig {
                durable_name: CONSUMER.into(),
                ack_policy: AckPolicy::Explicit,
                ..ConsumerConfig::default()
            };
            expected.consumer = stream.create_consumer(config).is_ok();
            return;
        }
        for message in stream.fetch(CONSUMER, 3, Duration::ZERO).unwrap_or_default() {
            let seq = message.message.seq;
            assert!(
                !expected.acked.contains(&seq),
                "{name}: {seq} was acknowledged and comes again"
            );
            if self.random.one_in(2) && message.ack().is_ok() {
                expected.acked.insert(seq);
            }
        }
    }

    fn step(&mut self, store: &Store) {
        let name = format!("S{}", self.random.below(STREAMS));
        let Ok(stream) = store.stream(ACCOUNT, &name) else {
            if !self.streams.contains_key(&name) {
                self.create(store, &name);
            }
            return;
        };
        if !self.streams.contains_key(&name) {
            return;
        }
        match self.random.below(40) {
            0 => {
                let expected = self.streams.get_mut(&name).expect("it is known");
                expected.certain = false;
                if stream.delete().is_ok() {
                    self.streams.remove(&name);
                }
            }
            1..=3 => self.purge(&name, &stream),
            4..=7 => {
                let expected = self.streams.get_mut(&name).expect("it is known");
                let seq = match self.random.below(4) {
                    0 => u64::MAX - self.random.below(2),
                    _ => expected.last.saturating_sub(self.random.below(8)),
                };
                let secure = self.random.one_in(3);
                match stream.call(move |shard, id| shard.delete_message(id, seq, secure)) {
                    Ok(_) => expected.remove(|at, _| at == seq),
                    Err(_) => expected.doubt(|at, _| at == seq),
                }
            }
            8..=13 => self.consume(&name, &stream),
            14 => {
                self.clock
                    .fetch_add(SECOND * self.random.below(100) as i64, Ordering::SeqCst);
            }
            _ => self.publish(&name, &stream),
        }
    }

    fn create(&mut self, store: &Store, name: &str) {
        let config = StreamConfig {
            name: name.into(),
            subjects: vec![format!("{name}.>")],
            first_seq: [0, 0, 0, 1000, SEQ_LIMIT - 1000, SEQ_LIMIT + 1, u64::MAX][self.random.below(7) as usize],
            ..StreamConfig::default()
        };
        let created = store.create_stream(ACCOUNT, config, &Defaults::default());
        let rejected = created.as_ref().is_err_and(|error| error.rejection.is_some());
        if created.is_ok() || !rejected {
            let certain = created.is_ok();
            self.streams.insert(
                name.into(),
                Expected {
                    certain,
                    ..Expected::default()
                },
            );
        }
    }
}

fn one(seed: u64) {
    let mut random = Random(seed);
    let checkpoint_bytes = [2_000, 20_000, 1 << 20][random.below(3) as usize];
    let mut simulation = Simulation {
        disk: Arc::new(SimulatedDisk::new(seed)),
        clock: Arc::new(AtomicI64::new(1_700_000_000_000_000_000)),
        checkpoint_bytes,
        streams: BTreeMap::new(),
        random,
    };
    let mut ended = "made";
    for round in 0..5 {
        let store = simulation.open();
        simulation.verify(&store, &format!("seed {seed}, round {round}, after it was {ended}"));
        if simulation.random.one_in(3) {
            let failure = *simulation.random.pick(&[Failure::Io, Failure::Full]);
            let (at, for_good) = (1 + simulation.random.below(150), simulation.random.one_in(2));
            simulation.disk.fail_at(at, failure, for_good);
        }
        for _ in 0..simulation.random.below(60) {
            simulation.step(&store);
        }
        ended = *simulation.random.pick(&["closed", "killed", "powerless", "powerless"]);
        match ended {
            "closed" => store.close(),
            "killed" => {
                simulation.disk.kill();
                store.abandon();
            }
            _ => {
                simulation.disk.lose_power(&mut Dice::new(simulation.random.next()));
                store.abandon();
            }
        }
        simulation.disk.kill();
    }
}

#[test]
fn what_was_acknowledged_survives() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value: String| value.parse::<u64>().ok())
    };
    if let Some(seed) = number("WEIR_SEED") {
        return one(seed);
    }
    let count = number("WEIR_SEEDS").unwrap_or(12);
    for seed in (0..count).chain(FOUND) {
        if let Err(panic) = std::panic::catch_unwind(|| one(seed)) {
            eprintln!("it fails with WEIR_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
