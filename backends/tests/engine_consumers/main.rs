//! Consumers against a model: what is delivered, how often, what is pending, where the floor is, and what retention
//! removes; with acknowledgements of every kind, waits that run out, restarts and crashes. A failure prints the seed;
//! `WEIR_SEED=<n>` runs only that one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod single;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use support::{Bench, Handle, Inbox, Random, Storage};
use weir_engine::consumer::{
    Ack, AckKind, AckPolicy, ConsumerConfig, ConsumerInfo, ConsumerSnapshot, DeliverPolicy, PullRequest,
};
use weir_engine::shard::Input;
use weir_engine::shard::emit::{Emit, Outlet};
use weir_engine::stream::{Purge, Retention, StreamConfig, StreamState};
use weir_engine::{NanoTime, Nanos, SECOND};

const SUBJECTS: [&str; 4] = ["a.1", "a.2", "b.1", "b.2"];

/// A message sent and not acknowledged.
#[derive(Clone, Debug)]
struct Sent {
    consumer_seq: u64,
    times: u64,
    /// `None` while it waits to be sent again.
    deadline: Option<NanoTime>,
}

struct Consumer {
    config: ConsumerConfig,
    next: u64,
    initial: Vec<u64>,
    pending: BTreeMap<u64, Sent>,
    /// Sent as often as they may be.
    given_up: BTreeSet<u64>,
    wanted: u64,
    delivered: (u64, u64),
    floor: (u64, u64),
    /// It has been through a restart, which forgets how far it had looked in vain.
    restarted: bool,
    /// It was purged after that, or having filters: how far it had looked, and where it stands, is not known any more.
    vague: bool,
}

/// What a delivery has to look like: stream sequence, consumer sequence, times sent, messages still to come.
type Expected = (u64, u64, u64, u64);

struct Model {
    retention: Retention,
    messages: BTreeMap<u64, &'static str>,
    last: u64,
    consumers: Vec<Consumer>,
}

fn wants(config: &ConsumerConfig, subject: &str) -> bool {
    let filters = config.filters();
    let matches = |filter: &&str| weir_subject_matches(filter, subject);
    filters.is_empty() || filters.iter().any(matches)
}

fn weir_subject_matches(filter: &str, subject: &str) -> bool {
    filter == subject || filter.strip_suffix('>').is_some_and(|p| subject.starts_with(p))
}

impl Consumer {
    fn count_pending(&self, messages: &BTreeMap<u64, &'static str>) -> u64 {
        let later = messages.range(self.next..);
        let later = later.filter(|(_, subject)| wants(&self.config, subject));
        let initial = self.initial.iter().filter(|seq| messages.contains_key(seq));
        (later.count() + initial.count()) as u64
    }

    fn wait(&self, times: u64) -> Nanos {
        match self.config.backoff.as_slice() {
            [] => self.config.ack_wait,
            waits => waits[(times as usize - 1).min(waits.len() - 1)],
        }
    }

    fn forget(&mut self, seq: u64) -> bool {
        let given_up = self.given_up.remove(&seq);
        let Some(acked) = self.pending.remove(&seq) else {
            return given_up;
        };
        if self.pending.is_empty() {
            self.floor = self.delivered;
        } else if acked.consumer_seq == self.floor.0 + 1 {
            let later = self.pending.range(seq + 1..).next();
            self.floor = match later {
                Some((next, sent)) => (sent.consumer_seq - 1, next - 1),
                None => (acked.consumer_seq, seq),
            };
        }
        true
    }

    /// All up to one are acknowledged together.
    fn forget_up_to(&mut self, seq: u64) -> Vec<u64> {
        let mut done: Vec<u64> = self.pending.range(..=seq).map(|(seq, _)| *seq).collect();
        if let Some(last) = done.last() {
            let number = done.iter().map(|seq| self.pending[seq].consumer_seq).max();
            self.floor = (self.floor.0.max(number.unwrap()), self.floor.1.max(*last));
        }
        for seq in &done {
            self.pending.remove(seq);
        }
        done.extend(self.given_up.extract_if(..=seq, |_| true));
        done
    }

    /// Those are gone by a purge, which takes its place up to `start`.
    fn purged(&mut self, start: u64, gone: &BTreeSet<u64>) {
        self.vague |= self.restarted || !self.config.filters().is_empty();
        self.next = self.next.max(start);
        self.initial.retain(|seq| !gone.contains(seq));
        if self.floor.1 < start {
            self.floor.1 = start - 1;
            for seq in gone {
                self.given_up.remove(seq);
                if let Some(sent) = self.pending.remove(seq) {
                    self.floor.0 = self.floor.0.max(sent.consumer_seq);
                }
            }
        } else {
            for &seq in gone {
                self.forget(seq);
            }
        }
        self.delivered.1 = self.next - 1;
        if self.pending.is_empty() {
            self.floor = self.delivered;
        }
    }

    /// Those that are to be sent again as soon as somebody asks.
    fn waiting_again(&self) -> impl Iterator<Item = u64> {
        let waiting = self.pending.iter().filter(|(_, sent)| sent.deadline.is_none());
        waiting.map(|(seq, _)| *seq)
    }

    fn give_up_exhausted_but(&mut self, others: &[u64]) {
        let limit = self.config.max_deliver;
        let exhausted = |seq: &u64| limit > 0 && self.pending[seq].times >= limit as u64 && !others.contains(seq);
        let exhausted: Vec<u64> = self.waiting_again().filter(exhausted).collect();
        for seq in exhausted {
            self.give_up(seq);
        }
    }

    fn give_up_exhausted(&mut self) {
        self.give_up_exhausted_but(&[]);
    }

    fn give_up(&mut self, seq: u64) {
        self.pending.remove(&seq);
        self.given_up.insert(seq);
    }

    fn needs(&self, seq: u64) -> bool {
        let sent = self.pending.contains_key(&seq) || self.given_up.contains(&seq);
        sent || seq >= self.next || self.initial.contains(&seq)
    }

    /// Sends what can be sent; answers that, and what nobody need acknowledge.
    fn deliver(
        &mut self,
        now: NanoTime,
        messages: &BTreeMap<u64, &'static str>,
        last: u64,
    ) -> (Vec<Expected>, Vec<u64>) {
        let (mut sent, mut done) = (Vec::new(), Vec::new());
        while self.wanted > 0 {
            let again = self.pending.iter().find(|(_, s)| s.deadline.is_none());
            if let Some((&seq, before)) = again {
                let times = before.times + 1;
                let limit = self.config.max_deliver;
                if limit > 0 && times > limit as u64 {
                    self.give_up(seq);
                    continue;
                }
                self.delivered.0 += 1;
                let deadline = Some(now + self.wait(times));
                let entry = self.pending.get_mut(&seq).unwrap();
                (entry.times, entry.deadline) = (times, deadline);
                let left = self.count_pending(messages);
                sent.push((seq, self.delivered.0, times, left));
            } else {
                let limit = self.config.max_ack_pending;
                let none = self.config.ack_policy == AckPolicy::None;
                if !none && limit > 0 && self.pending.len() as i64 >= limit {
                    break;
                }
                self.initial.retain(|seq| messages.contains_key(seq));
                let mut later = messages.range(self.next..);
                let seq = match self.initial.first() {
                    Some(&seq) => {
                        self.initial.remove(0);
                        seq
                    }
                    None => match later.find(|(_, subject)| wants(&self.config, subject)) {
                        Some((&seq, _)) => {
                            self.next = seq + 1;
                            seq
                        }
                        None => {
                            self.next = self.next.max(last + 1);
                            break;
                        }
                    },
                };
                self.delivered = (self.delivered.0 + 1, self.delivered.1.max(seq));
                sent.push((seq, self.delivered.0, 1, self.count_pending(messages)));
                if none {
                    self.floor = self.delivered;
                    done.push(seq);
                } else {
                    let deadline = Some(now + self.wait(1));
                    let (consumer_seq, times) = (self.delivered.0, 1);
                    self.pending.insert(
                        seq,
                        Sent {
                            consumer_seq,
                            times,
                            deadline,
                        },
                    );
                }
            }
            self.wanted -= 1;
        }
        (sent, done)
    }
}

impl Model {
    fn create(&mut self, config: ConsumerConfig) {
        let first = match self.messages.first_key_value() {
            Some((&first, _)) => first,
            None => self.last + 1,
        };
        let matching = |(_, subject): &(&u64, &&'static str)| wants(&config, subject);
        let mut initial = Vec::new();
        let next = match config.deliver_policy {
            DeliverPolicy::All => first,
            DeliverPolicy::New => self.last + 1,
            DeliverPolicy::Last => {
                let last = self.messages.iter().rfind(matching);
                let none = if config.filters().is_empty() {
                    self.last + 1
                } else {
                    first
                };
                last.map_or(none, |(&seq, _)| seq)
            }
            DeliverPolicy::ByStartSequence => config.opt_start_seq.max(first),
            _ => {
                let mut lasts = BTreeMap::new();
                for (&seq, &subject) in self.messages.iter().filter(matching) {
                    lasts.insert(subject, seq);
                }
                initial = lasts.into_values().collect::<Vec<_>>();
                initial.sort_unstable();
                match initial.is_empty() {
                    true => self.last.max(first),
                    false => self.last + 1,
                }
            }
        };
        let before = initial.first().copied().unwrap_or(next) - 1;
        self.consumers.push(Consumer {
            config,
            next,
            initial,
            pending: BTreeMap::new(),
            given_up: BTreeSet::new(),
            wanted: 0,
            delivered: (0, before),
            floor: (0, before),
            restarted: false,
            vague: false,
        });
    }

    fn remove(&mut self, seq: u64) {
        self.messages.remove(&seq);
        for consumer in &mut self.consumers {
            consumer.forget(seq);
        }
    }

    /// All messages that a filter matches are gone, by a purge: the consumers' places move up with it.
    fn purge(&mut self, filter: &str, gone: &BTreeSet<u64>) {
        self.messages.retain(|seq, _| !gone.contains(seq));
        let first = self.messages.keys().next().copied().unwrap_or(self.last + 1);
        for consumer in &mut self.consumers {
            let filters = consumer.config.filters();
            // Filters here are whole subjects, or everything below one token.
            let within = |own: &&str| filter.is_empty() || weir_subject_matches(filter, own);
            let start = match () {
                () if filter.is_empty() || !filters.is_empty() && filters.iter().all(within) => self.last + 1,
                () if filters.is_empty()
                    || filters.iter().any(within)
                    || filters.iter().any(|own| weir_subject_matches(own, filter)) =>
                {
                    first
                }
                () => continue,
            };
            consumer.purged(start, gone);
        }
    }

    /// These are done with for one consumer.
    fn release(&mut self, seqs: &[u64]) {
        for &seq in seqs {
            let Some(&subject) = self.messages.get(&seq) else {
                continue;
            };
            let mut others = self.consumers.iter();
            let needed = others.any(|c| wants(&c.config, subject) && c.needs(seq));
            match self.retention {
                Retention::Limits => {}
                Retention::Interest if needed => {}
                _ => self.remove(seq),
            }
        }
    }

    fn publish(&mut self, subject: &'static str) -> u64 {
        self.last += 1;
        let wanted = self.consumers.iter().any(|c| wants(&c.config, subject));
        if self.retention != Retention::Interest || wanted {
            self.messages.insert(self.last, subject);
        }
        self.last
    }

    fn ack(&mut self, at: usize, now: NanoTime, seq: u64, kind: &AckKind) {
        let consumer = &mut self.consumers[at];
        let mut done = Vec::new();
        // One that it has done with already goes if nobody needs it, as after a reset.
        let wanted = self
            .messages
            .get(&seq)
            .is_some_and(|subject| wants(&consumer.config, subject));
        let past = match consumer.initial.is_empty() {
            true => seq < consumer.next,
            false => seq <= consumer.delivered.1,
        };
        let known = consumer.pending.contains_key(&seq) || consumer.given_up.contains(&seq);
        let stale = wanted
            && past
            && !known
            && consumer.config.ack_policy == AckPolicy::Explicit
            && matches!(kind, AckKind::Ack | AckKind::Term(_))
            && !self.consumers.iter().any(|other| {
                let subject = self.messages[&seq];
                wants(&other.config, subject) && other.needs(seq)
            });
        if stale && self.retention != Retention::Limits {
            self.remove(seq);
            return;
        }
        let consumer = &mut self.consumers[at];
        match kind {
            AckKind::Ack | AckKind::Term(_) if seq <= consumer.delivered.1 => {
                done = match consumer.config.ack_policy {
                    AckPolicy::None => Vec::new(),
                    AckPolicy::All => consumer.forget_up_to(seq),
                    _ => Some(seq).into_iter().filter(|seq| consumer.forget(*seq)).collect(),
                };
            }
            AckKind::Ack | AckKind::Term(_) => {}
            AckKind::Nak(delay) => {
                if let Some(sent) = consumer.pending.get_mut(&seq) {
                    sent.deadline = (*delay > 0).then_some(now + delay);
                }
            }
            _ => {
                let times = consumer.pending.get(&seq).map_or(1, |sent| sent.times);
                let wait = consumer.wait(times);
                if let Some(sent) = consumer.pending.get_mut(&seq) {
                    sent.deadline = Some(now + wait);
                }
            }
        }
        self.release(&done);
    }

    fn expire(&mut self, now: NanoTime) {
        for consumer in &mut self.consumers {
            let waiting: Vec<u64> = consumer.waiting_again().collect();
            for sent in consumer.pending.values_mut() {
                if sent.deadline.is_some_and(|deadline| deadline <= now) {
                    sent.deadline = None;
                }
            }
            // Whoever was to be sent again before is looked at when there is a request.
            consumer.give_up_exhausted_but(&waiting);
        }
    }

    /// All that consumers can be sent now.
    fn deliver(&mut self, now: NanoTime) -> Vec<Vec<Expected>> {
        let mut all = Vec::new();
        for at in 0..self.consumers.len() {
            let (sent, done) = self.consumers[at].deliver(now, &self.messages, self.last);
            all.push(sent);
            self.release(&done);
        }
        all
    }
}

fn name(at: usize) -> String {
    format!("c{at}")
}

fn random_consumer(random: &mut Random, at: usize, retention: Retention) -> ConsumerConfig {
    let filters: &[&[&str]] = match (retention, at) {
        (Retention::WorkQueue, 0) => &[&["a.>"]],
        (Retention::WorkQueue, _) => &[&["b.>"]],
        _ => &[&[], &["a.>"], &["b.1"], &["a.1", "b.>"]],
    };
    let policies: &[DeliverPolicy] = match retention {
        Retention::WorkQueue => &[DeliverPolicy::All],
        _ => &[
            DeliverPolicy::All,
            DeliverPolicy::New,
            DeliverPolicy::Last,
            DeliverPolicy::LastPerSubject,
            DeliverPolicy::ByStartSequence,
        ],
    };
    let deliver_policy = *random.pick(policies);
    let ack_policies: &[AckPolicy] = match retention {
        Retention::WorkQueue => &[AckPolicy::Explicit],
        _ => &[
            AckPolicy::Explicit,
            AckPolicy::Explicit,
            AckPolicy::All,
            AckPolicy::None,
        ],
    };
    let backoff: &[&[Nanos]] = &[&[], &[], &[SECOND, 4 * SECOND]];
    ConsumerConfig {
        durable_name: name(at),
        name: name(at),
        deliver_policy,
        opt_start_seq: match deliver_policy {
            DeliverPolicy::ByStartSequence => random.below(40) + 1,
            _ => 0,
        },
        ack_policy: *random.pick(ack_policies),
        ack_wait: 3 * SECOND,
        max_deliver: *random.pick(&[-1, -1, 3]),
        backoff: random.pick(backoff).to_vec(),
        filter_subjects: random.pick(filters).iter().map(|f| (*f).into()).collect(),
        max_ack_pending: *random.pick(&[-1, 2, 10]),
        max_waiting: 1000,
        ..ConsumerConfig::default()
    }
}

/// Waits until what was handed over before has been done and sent.
fn settle(stream: &Handle) {
    stream.settle(2);
}

fn check(stream: &Handle, model: &Model, now: NanoTime) {
    type Seen = (Vec<u64>, u64, Vec<Option<ConsumerInfo>>);
    let (live, last, infos): Seen = stream
        .call(move |shard, id| {
            let stream = shard.stream(id).expect("the stream");
            let last = stream.state()?.last_seq;
            let mut live = Vec::new();
            for seq in 1..=last {
                live.extend(stream.message(seq)?.map(|m| m.seq));
            }
            let infos = (0..2).map(|at| stream.consumer_info(&name(at), now));
            Ok((live, last, infos.collect()))
        })
        .expect("the stream can be read");
    assert_eq!(live, model.messages.keys().copied().collect::<Vec<_>>());
    assert_eq!(last, model.last);
    for (at, consumer) in model.consumers.iter().enumerate() {
        let info = infos[at].as_ref().expect("the consumer is there");
        let again = consumer.pending.values().filter(|sent| sent.times > 1).count() + consumer.given_up.len();
        assert_eq!(
            (info.num_pending, info.num_ack_pending, info.num_redelivered),
            (
                consumer.count_pending(&model.messages),
                consumer.pending.len() as u64,
                again as u64
            ),
            "{}: pending, ack pending, redelivered",
            name(at)
        );
        if consumer.delivered.0 > 0 {
            let known = |(consumer_seq, seq): (u64, u64)| (consumer_seq, Some(seq).filter(|_| !consumer.vague));
            let delivered = (info.delivered.consumer, info.delivered.stream);
            assert_eq!(known(delivered), known(consumer.delivered));
            let floor = (info.ack_floor.consumer, info.ack_floor.stream);
            assert_eq!(known(floor), known(consumer.floor), "{}: floor", name(at));
        }
    }
}

/// All that outlives a restart: what the stream holds, and of each consumer what a checkpoint keeps, but for how far it
/// has looked for messages in vain: that is not journaled, it looks again. Messages that were sent as often as they may be
/// are given up by the first turn behind an opening that sees their time over, which may come before it is asked here.
fn twin(stream: &Handle) -> (StreamState, Vec<ConsumerSnapshot>) {
    let kept = stream.call(|shard, id| {
        let stream = shard.stream(id).expect("the stream");
        let mut consumers = stream.consumer_backups();
        for consumer in &mut consumers {
            consumer.next = 0;
            let limit = u64::try_from(consumer.config.max_deliver).unwrap_or(u64::MAX);
            let times = consumer.deliveries.iter().copied().collect::<BTreeMap<_, _>>();
            let times = |seq: &u64| times.get(seq).copied().unwrap_or(1);
            consumer.pending.retain(|(seq, ..)| times(seq) < limit);
        }
        Ok((stream.state()?, consumers))
    });
    kept.expect("an answer")
}

/// What came in is what the model sends.
fn check_deliveries(inbox: &Inbox, model: &mut Model, now: NanoTime) {
    let expected = model.deliver(now);
    let got = std::mem::take(&mut *inbox.0.lock());
    for (at, expected) in expected.into_iter().enumerate() {
        let name = name(at);
        let mut seen = Vec::new();
        for delivery in got.iter().filter(|d| *d.consumer.consumer == *name) {
            let seq = delivery.message.seq;
            assert_eq!(delivery.message.payload, format!("payload {seq}"));
            seen.push((seq, delivery.consumer_seq, delivery.deliveries, delivery.pending));
        }
        // The counts of what is to come shrink within a turn when several consumers share a stream.
        let strip = |list: &[Expected]| -> Vec<_> {
            list.iter()
                .map(|(seq, number, times, _)| (*seq, *number, *times))
                .collect()
        };
        assert_eq!(strip(&seen), strip(&expected), "{name}: deliveries");
        assert_eq!(
            seen.last().map(|d| d.3),
            expected.last().map(|d| d.3),
            "{name}: messages still to come"
        );
    }
}

fn run(storage: Storage, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let inbox = Inbox::default();
    let outlet = inbox.clone();
    let mut bench = Bench::with_outlet(storage, move || Box::new(outlet.clone()));
    bench.checkpoint_bytes = *random.pick(&[64, 2000, 64 << 20]);
    bench.open();
    bench.begin_twin();
    let retention = *random.pick(&[Retention::Limits, Retention::WorkQueue, Retention::Interest]);
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec![">".into()],
        retention,
        ..StreamConfig::default()
    };
    let mut stream = bench.create(&config);
    let mut model = Model {
        retention,
        messages: BTreeMap::new(),
        last: 0,
        consumers: Vec::new(),
    };
    for step in 0..steps {
        if model.consumers.len() < 2 && random.one_in(15) {
            let at = model.consumers.len();
            let config = random_consumer(&mut random, at, retention);
            model.create(config.clone());
            let made = stream.call(move |shard, id| shard.create_consumer(id, config));
            made.expect("a consumer");
            check(&stream, &model, bench.now());
        }
        match random.below(100) {
            0..45 => {
                let subject = *random.pick(&SUBJECTS);
                let seq = model.publish(subject);
                let payload = format!("payload {seq}");
                let got = stream.publish(subject, "", payload.as_bytes());
                assert_eq!(got.expect("an ack"), (seq, false));
            }
            45..60 if !model.consumers.is_empty() => {
                let at = random.below(model.consumers.len() as u64) as usize;
                let batch = random.below(6) + 1;
                model.consumers[at].wanted += batch;
                let input = Input::Pull {
                    stream: stream.id,
                    consumer: name(at).into(),
                    request: PullRequest {
                        batch,
                        ..PullRequest::default()
                    },
                    reply: Bytes::from_static(b"inbox"),
                };
                assert!(stream.shard.submit(vec![input]).is_ok());
            }
            60..85 if !model.consumers.is_empty() => {
                let at = random.below(model.consumers.len() as u64) as usize;
                let pending: Vec<u64> = model.consumers[at].pending.keys().copied().collect();
                let seq = match pending.is_empty() || random.one_in(8) {
                    true => random.below(model.last + 2),
                    false => *random.pick(&pending),
                };
                let kind = match random.below(10) {
                    0 => AckKind::Nak(0),
                    1 => AckKind::Nak(2 * SECOND),
                    2 => AckKind::Progress,
                    3 => AckKind::Term("no".into()),
                    _ => AckKind::Ack,
                };
                model.ack(at, bench.now(), seq, &kind);
                let ack = Ack {
                    stream_seq: seq,
                    consumer_seq: 0,
                    deliveries: 1,
                    kind,
                    reply: Bytes::new(),
                };
                let input = Input::Ack {
                    stream: stream.id,
                    consumer: name(at).into(),
                    ack,
                };
                assert!(stream.shard.submit(vec![input]).is_ok());
            }
            85..92 => {
                bench.advance(random.below(3000) as i64 * 1_000_000 + 1);
                model.expire(bench.now());
            }
            92..95 => {
                let seq = random.below(model.last + 1);
                model.remove(seq);
                let gone = stream.call(move |shard, id| shard.delete_message(id, seq, false));
                gone.expect("a delete");
            }
            95 => {
                let purge = Purge {
                    filter: (*random.pick(&["", "a.1", "b.>"])).into(),
                    ..Purge::default()
                };
                let all = purge.filter.is_empty();
                let gone: BTreeSet<u64> = model
                    .messages
                    .iter()
                    .filter(|(_, s)| all || weir_subject_matches(&purge.filter, s))
                    .map(|(seq, _)| *seq)
                    .collect();
                model.purge(&purge.filter, &gone);
                stream.call(move |shard, id| shard.purge(id, &purge)).expect("a purge");
            }
            _ if storage.survives() && random.one_in(2) => {
                let before = twin(&stream);
                bench.end_somehow(&mut random);
                stream = bench.find("S").expect("the stream is there again");
                // After a kill the journal has said all of it.
                assert_eq!(twin(&stream), before, "after a restart");
                // Requests are gone, and what was sent is sent again once its time is over.
                for consumer in &mut model.consumers {
                    consumer.wanted = 0;
                    consumer.restarted = true;
                    consumer.give_up_exhausted();
                }
                check(&stream, &model, bench.now());
                bench.advance(10 * SECOND);
                model.expire(bench.now());
            }
            _ => {}
        }
        settle(&stream);
        check_deliveries(&inbox, &mut model, bench.now());
        if random.one_in(3) {
            check(&stream, &model, bench.now());
        }
        let _ = step;
    }
    check(&stream, &model, bench.now());
}

fn run_all(storage: Storage, seeds: u64, steps: usize) {
    support::run_seeds(storage, seeds, |seed| run(storage, seed, steps));
}

#[test]
fn consumers_of_memory_streams_agree_with_the_model() {
    run_all(Storage::Memory, 60, 250);
}

#[test]
fn consumers_of_journaled_streams_agree_with_the_model() {
    run_all(Storage::Persistent, 100, 250);
}

#[test]
fn consumers_of_segment_streams_agree_with_the_model() {
    run_all(Storage::Segment, 10, 150);
}

#[cfg(feature = "rocksdb")]
#[test]
fn consumers_of_rocksdb_streams_agree_with_the_model() {
    run_all(Storage::Rocks, 5, 150);
}
