//! Streams over each backend against a plain list of messages: random publishes, purges, deletes, times, limits,
//! restarts and crashes. A failure prints the seed; `WEIR_SEED=<n>` runs only that one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use support::{Bench, Handle, Random, Storage};
use weir_engine::stream::{Discard, Purge, Retention, StreamConfig, SubjectPlace, stored_size};
use weir_engine::{Error, NanoTime, SECOND};

const SUBJECTS: [&str; 5] = ["a", "a.b", "a.c", "x.y", "x.y.z"];
const FILTERS: [&str; 6] = ["a", "a.*", "a.>", "x.>", "nothing", ">"];

struct Stored {
    seq: u64,
    time: NanoTime,
    subject: &'static str,
    headers: String,
    payload: Vec<u8>,
}

impl Stored {
    fn size(&self) -> u64 {
        stored_size(
            weir_engine::stream::Storage::File,
            self.subject.len(),
            self.headers.len(),
            self.payload.len(),
        )
    }
}

/// What a publish asks for in its headers.
#[derive(Default)]
struct Asks {
    id: Option<String>,
    last_seq: Option<u64>,
    last_id: Option<String>,
    last_of_subject: Option<u64>,
    rollup: Option<&'static str>,
}

impl Asks {
    fn block(&self) -> String {
        let mut lines = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            lines.push_str(&format!("{name}: {value}\r\n"));
        };
        if let Some(id) = &self.id {
            line("Nats-Msg-Id", id);
        }
        if let Some(seq) = self.last_seq {
            line("Nats-Expected-Last-Sequence", &seq);
        }
        if let Some(id) = &self.last_id {
            line("Nats-Expected-Last-Msg-Id", id);
        }
        if let Some(seq) = self.last_of_subject {
            line("Nats-Expected-Last-Subject-Sequence", &seq);
        }
        if let Some(rollup) = self.rollup {
            line("Nats-Rollup", &rollup);
        }
        match lines.as_str() {
            "" => String::new(),
            _ => format!("NATS/1.0\r\n{lines}\r\n"),
        }
    }
}

/// A stream as one would write it without caring for speed.
struct Model {
    config: StreamConfig,
    messages: Vec<Stored>,
    last: u64,
    /// Whether all was purged since the start: then even a stream that never held anything begins at 1.
    cleared: bool,
    ids: Vec<(String, u64, NanoTime)>,
    last_id: String,
}

impl Model {
    fn new(config: StreamConfig) -> Self {
        Self {
            last: config.first_seq.saturating_sub(1),
            cleared: false,
            config,
            messages: Vec::new(),
            ids: Vec::new(),
            last_id: String::new(),
        }
    }

    fn bytes(&self) -> u64 {
        self.messages.iter().map(Stored::size).sum()
    }

    fn last_of(&self, subject: &str) -> u64 {
        let mut of = self.messages.iter().filter(|m| m.subject == subject);
        of.next_back().map_or(0, |m| m.seq)
    }

    fn count_of(&self, subject: &str) -> u64 {
        let of = self.messages.iter().filter(|m| m.subject == subject);
        of.count() as u64
    }

    /// The sequence and whether it is a duplicate, or the code and text of the refusal.
    fn publish(
        &mut self,
        now: NanoTime,
        subject: &'static str,
        asks: &Asks,
        payload: &[u8],
    ) -> Result<(u64, bool), (u16, String)> {
        let headers = asks.block();
        let len = (headers.len() + payload.len()) as i64;
        if self.config.max_msg_size >= 0 && len > self.config.max_msg_size {
            return Err((10054, "message size exceeds maximum allowed".into()));
        }
        let last = self.last_of(subject);
        if asks.last_of_subject.is_some_and(|seq| seq != last) {
            return Err((10071, format!("wrong last sequence: {last}")));
        }
        if asks.last_seq.is_some_and(|seq| seq != self.last) {
            return Err((10071, format!("wrong last sequence: {}", self.last)));
        }
        let window = self.config.duplicate_window;
        self.ids.retain(|(_, _, time)| time + window > now);
        if let Some(id) = &asks.id
            && let Some((_, seq, _)) = self.ids.iter().find(|(known, _, _)| known == id)
        {
            return Ok((*seq, true));
        }
        if asks.last_id.as_ref().is_some_and(|id| *id != self.last_id) {
            return Err((10070, format!("wrong last msg ID: {}", self.last_id)));
        }
        if asks.rollup.is_some() && !self.config.allow_rollup_hdrs {
            return Err((10111, "rollup not permitted".into()));
        }
        let message = Stored {
            seq: self.last + 1,
            time: now,
            subject,
            headers,
            payload: payload.to_vec(),
        };
        self.refuse_if_full(&message)?;
        self.last += 1;
        if let Some(id) = &asks.id
            && window > 0
        {
            self.ids.push((id.clone(), self.last, now));
        }
        self.last_id = asks.id.clone().unwrap_or_default();
        if self.config.retention == Retention::Interest {
            return Ok((self.last, false));
        }
        self.messages.push(message);
        let seq = self.last;
        // First the limits, as nats-server 2.15.1: what is over them goes even if the rollup would have made room.
        self.enforce();
        match asks.rollup {
            Some("sub") => self.messages.retain(|m| m.subject != subject || m.seq == seq),
            Some(_) => self.messages.retain(|m| m.seq == seq),
            None => {}
        }
        Ok((seq, false))
    }

    fn refuse_if_full(&self, message: &Stored) -> Result<(), (u16, String)> {
        let config = &self.config;
        if config.discard != Discard::New {
            return Ok(());
        }
        let full = |what: &str| Err((10077, format!("maximum {what} exceeded")));
        let (per_subject, held) = (config.max_msgs_per_subject, self.count_of(message.subject));
        let replaces = per_subject > 0 && held >= per_subject as u64;
        if replaces && config.discard_new_per_subject {
            return full("messages per subject");
        }
        let others = self.messages.len() as u64 - u64::from(replaces);
        if config.max_msgs > 0 && others >= config.max_msgs as u64 {
            return full("messages");
        }
        if config.max_bytes > 0 && self.bytes() + message.size() > config.max_bytes as u64 {
            let mut of = self.messages.iter().filter(|m| m.subject == message.subject);
            let room = of.next().filter(|_| replaces).map_or(0, Stored::size);
            if room < message.size() {
                return full("bytes");
            }
        }
        Ok(())
    }

    fn enforce(&mut self) {
        let per_subject = self.config.max_msgs_per_subject;
        if per_subject > 0 {
            for subject in SUBJECTS {
                while self.count_of(subject) > per_subject as u64 {
                    let at = self.messages.iter().position(|m| m.subject == subject);
                    self.messages.remove(at.unwrap());
                }
            }
        }
        let (msgs, bytes) = (self.config.max_msgs, self.config.max_bytes);
        while self.config.discard == Discard::Old
            && ((msgs > 0 && self.messages.len() as i64 > msgs) || (bytes > 0 && self.bytes() as i64 > bytes))
        {
            self.messages.remove(0);
        }
    }

    fn expire(&mut self, now: NanoTime) {
        let age = self.config.max_age;
        if age > 0 {
            self.messages.retain(|m| m.time + age > now);
        }
    }

    fn purge(&mut self, purge: &Purge) -> u64 {
        let before = self.messages.len();
        let everything = purge.filter.is_empty() || purge.filter == ">";
        let matching: Vec<u64> = self
            .messages
            .iter()
            .filter(|m| everything || weir_matches(&purge.filter, m.subject))
            .map(|m| m.seq)
            .collect();
        let gone = matching.len().saturating_sub(purge.keep as usize);
        let gone: Vec<u64> = matching[..gone]
            .iter()
            .copied()
            .filter(|seq| purge.seq == 0 || *seq < purge.seq)
            .collect();
        self.messages.retain(|m| !gone.contains(&m.seq));
        if everything && purge.keep == 0 && purge.seq > self.last {
            self.last = purge.seq - 1;
        }
        self.cleared |= everything && purge.keep == 0 && purge.seq == 0;
        (before - self.messages.len()) as u64
    }

    fn first(&self) -> u64 {
        match self.messages.first() {
            Some(message) => message.seq,
            None if self.last == 0 && !self.cleared => self.config.first_seq.min(1),
            None => self.last + 1,
        }
    }
}

/// Whether a filter matches a subject, by the rules of NATS.
fn weir_matches(filter: &str, subject: &str) -> bool {
    let (mut wanted, mut have) = (filter.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), have.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(want), Some(token)) if want == "*" || want == token => {}
            _ => return false,
        }
    }
}

fn random_config(random: &mut Random) -> StreamConfig {
    let mut config = StreamConfig {
        name: "S".into(),
        subjects: vec![">".into()],
        retention: *random.pick(&[
            Retention::Limits,
            Retention::Limits,
            Retention::Limits,
            Retention::WorkQueue,
            Retention::Interest,
        ]),
        allow_rollup_hdrs: !random.one_in(3),
        first_seq: *random.pick(&[0, 0, 1, 50]),
        duplicate_window: *random.pick(&[0, 5 * SECOND, 60 * SECOND]),
        ..StreamConfig::default()
    };
    let durability = *random.pick(&["sync", "os", "interval:100ms"]);
    config.metadata.insert("weir.durability".into(), durability.into());
    random_limits(random, &mut config);
    config
}

fn random_limits(random: &mut Random, config: &mut StreamConfig) {
    config.max_msgs = *random.pick(&[-1, -1, 1, 7, 20]);
    config.max_bytes = *random.pick(&[-1, -1, 400, 1500]);
    config.max_age = *random.pick(&[0, 0, 3 * SECOND, 20 * SECOND]);
    config.max_msgs_per_subject = *random.pick(&[-1, -1, 1, 4]);
    config.max_msg_size = *random.pick(&[-1, -1, 60]);
    config.discard = *random.pick(&[Discard::Old, Discard::Old, Discard::New]);
    config.discard_new_per_subject =
        config.discard == Discard::New && config.max_msgs_per_subject > 0 && random.one_in(2);
}

fn random_asks(random: &mut Random, model: &Model, subject: &str) -> Asks {
    let mut asks = Asks::default();
    if random.one_in(3) {
        asks.id = Some(format!("id{}", random.below(12)));
    }
    if random.one_in(8) {
        asks.last_seq = Some(model.last - random.below(2).min(model.last));
    }
    if random.one_in(12) {
        asks.last_id = Some(match random.below(3) {
            0 => "other".into(),
            _ => model.last_id.clone(),
        });
    }
    if random.one_in(8) {
        asks.last_of_subject = Some(match random.below(3) {
            0 => random.below(9),
            _ => model.last_of(subject),
        });
    }
    if random.one_in(15) {
        asks.rollup = Some(*random.pick(&["sub", "all"]));
    }
    asks
}

fn refusal(error: &Error) -> (u16, String) {
    let rejection = error.rejection.as_ref();
    let rejection = rejection.unwrap_or_else(|| panic!("not a refusal: {error}"));
    (rejection.code, rejection.text.to_string())
}

/// Everything that can be seen of the stream is as in the model.
fn check(stream: &Handle, model: &Model) {
    // What lies on a disk alone is read beside the shard, and what is too old of it goes in the turn after that.
    stream.settle(1);
    type Seen = (
        weir_engine::stream::StreamState,
        Vec<Bytes>,
        Vec<(String, u64)>,
        Vec<u64>,
    );
    let (state, messages, subjects, deleted): Seen = stream
        .call(|shard, id| {
            let stream = shard.stream(id).expect("the stream");
            let state = stream.state()?;
            let mut messages = Vec::new();
            for seq in state.first_seq.saturating_sub(2)..=state.last_seq + 1 {
                if let Some(m) = stream.message(seq)? {
                    assert_eq!(m.seq, seq);
                    let fields = [
                        &seq.to_le_bytes()[..],
                        &m.time.to_le_bytes(),
                        &m.subject,
                        b"|",
                        &m.headers,
                        b"|",
                        &m.payload,
                    ];
                    messages.push(fields.concat().into());
                }
            }
            let mut subjects = Vec::new();
            let mut place = Some(SubjectPlace::default());
            while let Some(from) = place.take() {
                let some;
                (some, place) = stream.subjects(b">", &from, 3)?;
                let text = |subject: &Bytes| String::from_utf8_lossy(subject).into_owned();
                subjects.extend(some.iter().map(|(subject, count)| (text(subject), *count)));
            }
            let (mut deleted, mut from) = (Vec::new(), Some(0));
            while let Some(at) = from {
                let (some, next) = stream.deleted(at, 3)?;
                deleted.extend(some);
                from = next;
            }
            Ok((state, messages, subjects, deleted))
        })
        .expect("the stream can be read");
    let expected: Vec<Bytes> = model
        .messages
        .iter()
        .map(|m| {
            let fields = [
                &m.seq.to_le_bytes()[..],
                &m.time.to_le_bytes(),
                m.subject.as_bytes(),
                b"|",
                m.headers.as_bytes(),
                b"|",
                &m.payload,
            ];
            fields.concat().into()
        })
        .collect();
    assert_eq!(
        (state.messages, state.bytes, state.first_seq, state.last_seq),
        (model.messages.len() as u64, model.bytes(), model.first(), model.last),
        "messages, bytes, first, last"
    );
    assert_eq!(messages, expected, "messages");
    assert_eq!(state.first_time, model.messages.first().map(|m| m.time));
    let mut counts = BTreeMap::new();
    for message in &model.messages {
        *counts.entry(message.subject.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(subjects, counts.into_iter().collect::<Vec<_>>());
    let live: Vec<u64> = model.messages.iter().map(|m| m.seq).collect();
    let holes: Vec<u64> = match live.first() {
        Some(&first) => (first..=model.last).filter(|s| !live.contains(s)).collect(),
        None => Vec::new(),
    };
    assert_eq!(deleted, holes, "deleted");
    assert_eq!(state.num_deleted, holes.len() as u64);
}

/// Searches by subject and time.
fn check_searches(stream: &Handle, model: &Model, random: &mut Random) {
    let filter = *random.pick(&FILTERS);
    let from = random.below(model.last + 2);
    let time = match model.messages.is_empty() {
        true => 0,
        false => {
            let at = random.below(model.messages.len() as u64) as usize;
            model.messages[at].time + random.below(3) as i64 - 1
        }
    };
    let (next, last, count, at) = stream
        .call(move |shard, id| {
            let stream = shard.stream(id).expect("the stream");
            let filters = [Bytes::from_static(filter.as_bytes())];
            Ok((
                stream.next_message(filter.as_bytes(), from)?.map(|m| m.seq),
                stream.last_message(filter.as_bytes())?.map(|m| m.seq),
                stream.count_from(&filters, from)?,
                stream.seq_at(time)?,
            ))
        })
        .expect("the stream can be read");
    let matching: Vec<u64> = model
        .messages
        .iter()
        .filter(|m| weir_matches(filter, m.subject))
        .map(|m| m.seq)
        .collect();
    assert_eq!(next, matching.iter().copied().find(|seq| *seq >= from));
    assert_eq!(last, matching.last().copied());
    assert_eq!(count, matching.iter().filter(|seq| **seq >= from).count() as u64);
    // Any sequence in the gap before the message means the same.
    let expected = model.messages.iter().find(|m| m.time >= time);
    let reached = model.messages.iter().find(|m| m.seq >= at);
    assert_eq!(reached.map(|m| m.seq), expected.map(|m| m.seq), "seq_at");
}

fn run(storage: Storage, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut bench = Bench::new(storage);
    bench.checkpoint_bytes = *random.pick(&[64, 1000, 20_000, 64 << 20]);
    bench.open();
    bench.begin_twin();
    let config = random_config(&mut random);
    let mut stream = bench.create(&config);
    let mut model = Model::new(config);
    for step in 0..steps {
        let what = random.below(100);
        match what {
            0..70 => {
                let subject = *random.pick(&SUBJECTS);
                let asks = random_asks(&mut random, &model, subject);
                let payload = vec![b'a' + (step % 26) as u8; random.below(80) as usize];
                let expected = model.publish(bench.now(), subject, &asks, &payload);
                let got = stream.publish(subject, &asks.block(), &payload);
                assert_eq!(got.map_err(|error| refusal(&error)), expected, "step {step}");
            }
            70..76 => {
                let mut purge = Purge::default();
                if random.one_in(2) {
                    purge.filter = (*random.pick(&FILTERS)).to_owned();
                }
                match random.below(3) {
                    0 => purge.seq = random.below(model.last + 5),
                    1 => purge.keep = random.below(6),
                    _ => {}
                }
                let expected = model.purge(&purge);
                let got = stream.call(move |shard, id| shard.purge(id, &purge));
                assert_eq!(got.expect("a purge").count(), expected, "step {step}");
            }
            76..84 => {
                let seq = random.below(model.last + 2);
                let secure = random.one_in(2);
                let expected = model.messages.iter().any(|m| m.seq == seq);
                model.messages.retain(|m| m.seq != seq);
                let got = stream.call(move |shard, id| shard.delete_message(id, seq, secure));
                assert_eq!(got.expect("a delete"), expected, "step {step}");
            }
            84..92 => {
                bench.advance(random.below(4) as i64 * SECOND + 1);
                model.expire(bench.now());
            }
            92..94 => {
                random_limits(&mut random, &mut model.config);
                let config = model.config.clone();
                let settings = bench.settings(&config);
                let done = stream.call(move |shard, id| shard.update_stream(id, config, settings));
                done.expect("an update");
                model.enforce();
                model.expire(bench.now());
            }
            _ if storage.survives() && random.one_in(2) => {
                bench.end_somehow(&mut random);
                model.cleared = false;
                stream = bench.find("S").expect("the stream is there again");
            }
            _ => check_searches(&stream, &model, &mut random),
        }
        if random.one_in(4) || what >= 70 {
            check(&stream, &model);
            bench.check_twin("within a run");
        }
    }
    check(&stream, &model);
}

fn run_all(storage: Storage, seeds: u64, steps: usize) {
    support::run_seeds(storage, seeds, |seed| run(storage, seed, steps));
}

#[test]
fn memory_streams_agree_with_the_model() {
    run_all(Storage::Memory, 60, 300);
}

#[test]
fn journaled_streams_agree_with_the_model() {
    run_all(Storage::Persistent, 80, 300);
}

#[test]
fn segment_streams_agree_with_the_model() {
    run_all(Storage::Segment, 12, 200);
}

#[cfg(feature = "rocksdb")]
#[test]
fn rocksdb_streams_agree_with_the_model() {
    run_all(Storage::Rocks, 6, 200);
}

/// A message on a subject with wildcards, which any client may publish to, replaces all that these match.
#[test]
fn a_rollup_on_wildcards_takes_all_that_match() {
    for storage in [Storage::Memory, Storage::Segment] {
        let mut bench = Bench::new(storage);
        bench.open();
        bench.begin_twin();
        let stream = bench.create(&StreamConfig {
            name: "S".into(),
            subjects: vec![">".into()],
            allow_rollup_hdrs: true,
            ..StreamConfig::default()
        });
        for subject in ["a.1", "a.2", "b.1", "a.2.x"] {
            stream.publish(subject, "", b"x").unwrap();
        }
        stream
            .publish("a.*", "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n", b"x")
            .unwrap();
        let left: Vec<u64> = (1..=5).filter(|seq| stream.message(*seq).is_some()).collect();
        assert_eq!(left, [3, 4, 5], "{storage:?}");
    }
}
