//! Retention is exact: streams that keep by interest, and work queues, keep a message precisely as long as somebody needs
//! it, whatever happens to the consumers; and in the end nothing is stuck and nothing lost. A failure prints the seed;
//! `WEIR_SEED=<n>` runs only that one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use support::{Bench, Handle, Inbox, Random, Storage};
use weir_engine::SECOND;
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, DeliverPolicy, PullRequest};
use weir_engine::shard::Input;
use weir_engine::stream::{Purge, Retention, StreamConfig};

const SUBJECTS: [&str; 4] = ["a.1", "a.2", "b.1", "b.2"];
const FILTERS: [&[&str]; 6] = [&[], &["a.>"], &["b.>"], &["a.1"], &["a.2", "b.1"], &["b.2"]];
/// The filters of consumers of a work queue, of which no two may want the same.
const PARTS: [&[&str]; 4] = [&["a.1"], &["a.2"], &["b.1"], &["b.2"]];
const ACK_WAIT: i64 = 5 * SECOND;

/// One consumer, by what it still owes.
struct Reader {
    config: ConsumerConfig,
    /// Sequences that it wants and that were not acknowledged, sent or not.
    owed: BTreeSet<u64>,
    /// Of those, the ones that were sent.
    sent: BTreeSet<u64>,
    /// Sent before it was given other filters: not owed, but sent again for as long as they are there.
    former: BTreeSet<u64>,
}

impl Reader {
    fn wants(&self, subject: &str) -> bool {
        let filters = self.config.filters();
        let matches = |filter: &&str| {
            *filter == subject
                || filter
                    .strip_suffix('>')
                    .is_some_and(|prefix| subject.starts_with(prefix))
        };
        filters.is_empty() || filters.iter().any(matches)
    }
}

/// A stream that is read, and a plain account of who needs what.
struct World {
    bench: Bench,
    stream: Handle,
    inbox: Inbox,
    retention: Retention,
    live: BTreeMap<u64, &'static str>,
    last: u64,
    readers: BTreeMap<String, Reader>,
    made: u64,
}

impl World {
    fn new(storage: Storage, random: &mut Random) -> Self {
        let inbox = Inbox::default();
        let outlet = inbox.clone();
        let mut bench = Bench::with_outlet(storage, move || Box::new(outlet.clone()));
        bench.checkpoint_bytes = *random.pick(&[64, 2000, 64 << 20]);
        bench.open();
        bench.begin_twin();
        let retention = *random.pick(&[Retention::WorkQueue, Retention::Interest, Retention::Interest]);
        let stream = bench.create(&StreamConfig {
            name: "S".into(),
            subjects: vec![">".into()],
            retention,
            ..StreamConfig::default()
        });
        Self {
            bench,
            stream,
            inbox,
            retention,
            live: BTreeMap::new(),
            last: 0,
            readers: BTreeMap::new(),
            made: 0,
        }
    }

    /// Lets go of what nobody needs; `seqs` are those about which something changed.
    fn release(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            let needed = self.readers.values().any(|reader| reader.owed.contains(&seq));
            if self.retention == Retention::WorkQueue || !needed {
                self.forget(seq);
            }
        }
    }

    fn forget(&mut self, seq: u64) {
        self.live.remove(&seq);
        for reader in self.readers.values_mut() {
            reader.owed.remove(&seq);
            reader.sent.remove(&seq);
        }
    }

    fn publish(&mut self, subject: &'static str) {
        self.last += 1;
        let seq = self.last;
        assert_eq!(self.stream.publish(subject, "", b"x").expect("an ack"), (seq, false));
        let mut wanted = false;
        for reader in self.readers.values_mut().filter(|reader| reader.wants(subject)) {
            reader.owed.insert(seq);
            wanted = true;
        }
        if wanted || self.retention == Retention::WorkQueue {
            self.live.insert(seq, subject);
        }
    }

    fn create(&mut self, random: &mut Random) {
        let queue = self.retention == Retention::WorkQueue;
        let filters = match queue {
            false => *random.pick(&FILTERS),
            true => {
                let free = PARTS.iter().find(|part| {
                    let taken = |reader: &Reader| reader.config.filter_subjects == **part;
                    !self.readers.values().any(taken)
                });
                let Some(free) = free else { return };
                free
            }
        };
        self.made += 1;
        let name = format!("c{}", self.made);
        let config = ConsumerConfig {
            durable_name: name.clone(),
            name: name.clone(),
            deliver_policy: match queue || random.one_in(2) {
                true => DeliverPolicy::All,
                false => DeliverPolicy::New,
            },
            ack_policy: match queue || !random.one_in(4) {
                true => AckPolicy::Explicit,
                false => *random.pick(&[AckPolicy::All, AckPolicy::None]),
            },
            ack_wait: ACK_WAIT,
            max_deliver: *random.pick(&[-1, -1, 2]),
            max_ack_pending: 1000,
            max_waiting: 1000,
            filter_subjects: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            ..ConsumerConfig::default()
        };
        let mut reader = Reader {
            config: config.clone(),
            owed: BTreeSet::new(),
            sent: BTreeSet::new(),
            former: BTreeSet::new(),
        };
        if config.deliver_policy == DeliverPolicy::All {
            let wanted = self.live.iter().filter(|(_, subject)| reader.wants(subject));
            reader.owed = wanted.map(|(seq, _)| *seq).collect();
        }
        let made = self.stream.call(move |shard, id| shard.create_consumer(id, config));
        made.expect("a consumer");
        self.readers.insert(name, reader);
    }

    fn delete(&mut self, name: &str) {
        let gone = name.to_owned();
        let deleted = self.stream.call(move |shard, id| shard.delete_consumer(id, &gone));
        deleted.expect("a consumer that is there");
        let reader = self.readers.remove(name).expect("known");
        if self.retention == Retention::Interest {
            self.release(reader.owed);
        }
    }

    /// Gives a consumer other filters: what it wants no more it does not owe, unless it was sent.
    fn refilter(&mut self, name: &str, random: &mut Random) {
        let filters = *random.pick(&FILTERS);
        let reader = self.readers.get_mut(name).expect("known");
        let before = reader.config.clone();
        let wanted: Vec<bool> = SUBJECTS.iter().map(|subject| reader.wants(subject)).collect();
        reader.config.filter_subjects = filters.iter().map(|filter| (*filter).to_owned()).collect();
        // Only ever fewer: what others wanted and this one did not may be gone or not.
        if SUBJECTS
            .iter()
            .zip(wanted)
            .any(|(subject, before)| reader.wants(subject) && !before)
        {
            reader.config = before;
            return;
        }
        let config = reader.config.clone();
        let live = &self.live;
        let unwanted: Vec<u64> = reader
            .owed
            .iter()
            .copied()
            .filter(|seq| !reader.wants(live[seq]))
            .collect();
        for seq in &unwanted {
            reader.owed.remove(seq);
            if reader.sent.remove(seq) {
                reader.former.insert(*seq);
            }
        }
        let name = name.to_owned();
        let changed = self
            .stream
            .call(move |shard, id| shard.update_consumer(id, &name, config));
        changed.expect("a consumer that is there");
        self.release(unwanted);
    }

    fn pull(&mut self, name: &str, batch: u64) {
        let input = Input::Pull {
            stream: self.stream.id,
            consumer: Bytes::copy_from_slice(name.as_bytes()),
            request: PullRequest {
                batch,
                no_wait: true,
                ..PullRequest::default()
            },
            reply: Bytes::from_static(b"inbox"),
        };
        assert!(self.stream.shard.submit(vec![input]).is_ok());
        self.settle();
    }

    /// Takes up what was delivered.
    fn settle(&mut self) {
        self.stream.settle(3);
        let got = std::mem::take(&mut *self.inbox.0.lock());
        for delivery in got {
            let seq = delivery.message.seq;
            let name = &*delivery.consumer.consumer;
            let Some(reader) = self.readers.get_mut(name) else {
                continue;
            };
            if reader.former.contains(&seq) {
                continue;
            }
            assert!(
                reader.owed.contains(&seq),
                "{name} is sent {seq}, which it does not want"
            );
            match reader.config.ack_policy {
                AckPolicy::None => {
                    reader.owed.remove(&seq);
                    self.release([seq]);
                }
                _ => {
                    reader.sent.insert(seq);
                }
            }
        }
    }

    fn ack(&mut self, name: &str, seq: u64, kind: AckKind) {
        let ack = Ack {
            stream_seq: seq,
            consumer_seq: 0,
            deliveries: 1,
            kind: kind.clone(),
            reply: Bytes::new(),
        };
        let input = Input::Ack {
            stream: self.stream.id,
            consumer: Bytes::copy_from_slice(name.as_bytes()),
            ack,
        };
        assert!(self.stream.shard.submit(vec![input]).is_ok());
        let reader = self.readers.get_mut(name).expect("known");
        let mut done = Vec::new();
        if matches!(kind, AckKind::Ack | AckKind::Term(_)) && reader.sent.contains(&seq) {
            match reader.config.ack_policy {
                AckPolicy::All => done.extend(reader.sent.range(..=seq)),
                _ => done.push(seq),
            }
        }
        for seq in &done {
            reader.sent.remove(seq);
            reader.owed.remove(seq);
        }
        self.release(done);
        self.settle();
    }

    fn purge(&mut self, filter: &str) {
        let purge = Purge {
            filter: filter.to_owned(),
            ..Purge::default()
        };
        self.stream
            .call(move |shard, id| shard.purge(id, &purge))
            .expect("a purge");
        let prefix = filter.trim_end_matches('>');
        let gone = self.live.iter().filter(|(_, subject)| subject.starts_with(prefix));
        for seq in gone.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.forget(seq);
        }
    }

    fn restart(&mut self, random: &mut Random) {
        self.bench.end_somehow(random);
        self.stream = self.bench.find("S").expect("the stream is there again");
    }

    fn check(&self) {
        let last = self.last;
        let live = self.stream.call(move |shard, id| {
            let stream = shard.stream(id).expect("the stream");
            let mut live = Vec::new();
            for seq in 1..=last {
                live.extend(stream.message(seq)?.map(|message| message.seq));
            }
            Ok(live)
        });
        assert_eq!(
            live.expect("it can be read"),
            self.live.keys().copied().collect::<Vec<_>>()
        );
    }

    fn any(&self, random: &mut Random) -> Option<String> {
        let names: Vec<&String> = self.readers.keys().collect();
        (!names.is_empty()).then(|| (*random.pick(&names)).clone())
    }

    /// Everybody reads all there is and acknowledges it; what was given up is acknowledged late.
    fn finish(&mut self) {
        self.bench.advance(2 * ACK_WAIT);
        for name in self.readers.keys().cloned().collect::<Vec<_>>() {
            self.pull(&name, 10_000);
            for seq in self.readers[&name].owed.clone() {
                assert!(
                    self.readers[&name].sent.contains(&seq),
                    "{name} was never sent {seq}: lost"
                );
                self.ack(&name, seq, AckKind::Ack);
            }
        }
        self.check();
        let unclaimed = |subject: &str| !self.readers.values().any(|reader| reader.wants(subject));
        let stuck: Vec<_> = self.live.iter().filter(|(_, subject)| !unclaimed(subject)).collect();
        assert!(stuck.is_empty(), "nobody needs {stuck:?}");
    }
}

fn run(storage: Storage, seed: u64, steps: usize) {
    let random = &mut Random(seed);
    let mut world = World::new(storage, random);
    for _ in 0..steps {
        let name = world.any(random);
        match (random.below(100), name) {
            (0..35, _) => {
                let subject: &'static str = random.pick::<&'static str>(&SUBJECTS);
                world.publish(subject);
            }
            (35..42, _) if world.readers.len() < 4 => world.create(random),
            (42..45, Some(name)) => world.delete(&name),
            (45..47, Some(name)) if world.retention == Retention::Interest => world.refilter(&name, random),
            (47..65, Some(name)) => world.pull(&name, random.below(6) + 1),
            (65..88, Some(name)) => {
                let sent: Vec<u64> = world.readers[&name].sent.iter().copied().collect();
                let seq = match sent.is_empty() {
                    true => random.below(world.last + 2),
                    false => *random.pick(&sent),
                };
                let kind = match random.below(8) {
                    0 => AckKind::Nak(0),
                    1 => AckKind::Nak(SECOND),
                    2 => AckKind::Term(String::new()),
                    3 => AckKind::Progress,
                    _ => AckKind::Ack,
                };
                world.ack(&name, seq, kind);
            }
            (88..93, _) => {
                world.bench.advance(random.below(2 * ACK_WAIT as u64) as i64 + 1);
                world.settle();
            }
            (93, _) => world.purge(random.pick::<&str>(&["", "a.>", "b.>"])),
            (94, _) => {
                let seq = random.below(world.last + 1);
                let gone = world.stream.call(move |shard, id| shard.delete_message(id, seq, false));
                gone.expect("a delete");
                world.forget(seq);
            }
            (95..97, _) if storage.survives() => world.restart(random),
            _ => {}
        }
        if random.one_in(4) {
            world.check();
        }
    }
    world.check();
    world.finish();
}

#[test]
fn memory_streams_keep_what_is_needed() {
    support::run_seeds(Storage::Memory, 60, |seed| run(Storage::Memory, seed, 250));
}

#[test]
fn journaled_streams_keep_what_is_needed() {
    support::run_seeds(Storage::Persistent, 80, |seed| run(Storage::Persistent, seed, 250));
}

#[test]
fn segment_streams_keep_what_is_needed() {
    support::run_seeds(Storage::Segment, 10, |seed| run(Storage::Segment, seed, 150));
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_streams_keep_what_is_needed() {
    support::run_seeds(Storage::Rocks, 5, |seed| run(Storage::Rocks, seed, 150));
}
