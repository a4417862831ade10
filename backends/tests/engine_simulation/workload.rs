//! What clients do: drawn by the dice, and told to the oracle before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use weir_backends::segment::disk::Failure;
use weir_engine::backend::Compression;
use weir_engine::conformance::model::Dice;
use weir_engine::consumer::validate::{self, Action};
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, DeliverPolicy, PullRequest};
use weir_engine::shard::Input;
use weir_engine::stream::settings::{Defaults, Durability};
use weir_engine::stream::validate::{Rules, ServerLimits, validate_new, validate_update};
use weir_engine::stream::{Discard, Purge, Retention, Storage, StreamConfig};
use weir_engine::{MILLISECOND, Result, SECOND, SEQ_LIMIT, Seq, ShardId, StreamId};

use crate::oracle::{Body, Is, Known, Takes};
use crate::replicas::Replicas;
use crate::support::{ACCOUNT, Random};
use crate::world::{Said, World, any_seq, is_refusal};

mod outcome;

const STREAMS: u64 = 4;
const CONSUMERS: u64 = 2;
/// Tokens behind the name of a stream in its subjects.
const TOKENS: [&str; 5] = ["a", "b", "a.x", "b.y.z", "c"];

/// Something that was asked, and has no answer yet.
#[derive(Debug)]
enum Asked {
    Publish(StreamId),
    /// All orders of the batch, asked with its last.
    Batch(StreamId, Vec<u64>),
    Create(StreamId),
    Delete(StreamId),
    Update(StreamId, Box<StreamConfig>, weir_engine::stream::settings::Settings),
    Removal(StreamId),
    CreateConsumer(StreamId, String),
    DeleteConsumer(StreamId, String),
    BendConsumer(StreamId, String),
    Ack(StreamId, String, Seq),
    Look(StreamId, bool),
}

pub struct Simulation {
    pub seed: u64,
    pub random: Random,
    pub world: World,
    pub streams: BTreeMap<StreamId, Known>,
    /// The stream that has a name, or had it last.
    names: BTreeMap<String, StreamId>,
    asked: BTreeMap<u64, Asked>,
    next: u64,
    /// Ids of streams that were made for certain, and the shards of those: none is used again.
    used: BTreeMap<StreamId, ShardId>,
    /// Shards whose journals were damaged: streams may be missing, or be there again.
    pub rotten: BTreeSet<ShardId>,
    /// Whether they were closed as they should be.
    pub closed_before: bool,
    /// Answers of each kind: done, refused, failed.
    pub answers: [u64; 3],
    /// What happened, for a failure to be understood by.
    pub phase: String,
}

impl Simulation {
    pub fn new(seed: u64, random: Random, world: World) -> Self {
        Self {
            seed,
            random,
            world,
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            asked: BTreeMap::new(),
            next: 1,
            used: BTreeMap::new(),
            rotten: BTreeSet::new(),
            closed_before: false,
            answers: [0; 3],
            phase: String::new(),
        }
    }

    /// Writes something down, if a seed is to be understood.
    pub fn tell(&self, what: &str) {
        if self.world.disk.is_told() {
            eprintln!("-- {what}");
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// One thing that a client does, and some of what happens meanwhile.
    pub fn go_on(&mut self) {
        self.act();
        for _ in 0..self.random.below(4) {
            let mut random = Random(self.random.next());
            self.world.step(&mut random);
        }
        if self.random.one_in(8) {
            let nanos = [1_000_000, 500_000_000, 5_000_000_000][self.random.below(3) as usize];
            self.world.pass(nanos);
        }
        self.listen();
    }

    /// One thing that a client does.
    fn act(&mut self) {
        let name = format!("S{}", self.random.below(STREAMS));
        let Some(id) = self.names.get(&name).copied() else {
            return self.create(&name);
        };
        match self.streams.get(&id).map(|known| known.is) {
            None | Some(Is::Gone) => return self.create(&name),
            Some(_) => {}
        }
        let entry = self.world.store().store().catalogue().get(ACCOUNT, &name);
        if entry.is_none_or(|entry| entry.id != id) || self.streams[&id].damaged {
            return;
        }
        match self.random.below(64) {
            0 => self.delete(id),
            1..=4 => self.purge(id),
            5..=8 => self.remove(id),
            9 | 10 => self.update(id),
            11 | 12 => self.consumer(id),
            13 => self.bend(id),
            14..=21 => self.pull(id),
            22..=31 => self.ack(id),
            32..=34 => self.batch(id),
            _ => {
                for _ in 0..=self.random.below(3) {
                    self.publish(id);
                }
            }
        }
    }

    fn draw_config(&mut self, name: &str) -> StreamConfig {
        let random = &mut self.random;
        let retention = match random.below(6) {
            0 => Retention::Interest,
            1 => Retention::WorkQueue,
            _ => Retention::Limits,
        };
        let mut config = StreamConfig {
            name: name.into(),
            subjects: vec![format!("{name}.>")],
            retention,
            first_seq: [0, 0, 0, 0, 1000, SEQ_LIMIT - 1000, SEQ_LIMIT + 1, u64::MAX][random.below(8) as usize],
            discard: *random.pick(&[Discard::Old, Discard::Old, Discard::New]),
            storage: *random.pick(&[
                Storage::File,
                Storage::File,
                Storage::File,
                Storage::File,
                Storage::Memory,
            ]),
            allow_atomic: random.one_in(2),
            allow_rollup_hdrs: random.one_in(6),
            allow_msg_ttl: random.one_in(4),
            duplicate_window: *random.pick(&[2 * SECOND, 20 * SECOND]),
            ..StreamConfig::default()
        };
        self.draw_limits(&mut config);
        config
    }

    fn draw_limits(&mut self, config: &mut StreamConfig) {
        let random = &mut self.random;
        let mut sometimes = |n: u64, of: &[i64]| if random.one_in(n) { *random.pick(of) } else { -1 };
        config.max_msgs = sometimes(4, &[1, 5, 20, i64::MAX]);
        config.max_bytes = sometimes(6, &[300, 5_000, 50_000, i64::MAX]);
        config.max_msgs_per_subject = sometimes(5, &[1, 3, i64::MAX]);
        config.max_age = sometimes(8, &[SECOND, 30 * SECOND, i64::MAX / 4]).max(0);
        if config.max_age > 0 {
            config.duplicate_window = config.duplicate_window.min(config.max_age);
        }
        config.discard_new_per_subject =
            config.discard == Discard::New && config.max_msgs_per_subject > 0 && self.random.one_in(2);
    }

    fn create(&mut self, name: &str) {
        let config = self.draw_config(name);
        let catalogue = self.world.store().store().catalogue().clone();
        if catalogue.get(ACCOUNT, name).is_some() || self.is_being_made(name) {
            return;
        }
        let rules = Rules {
            limits: ServerLimits::default(),
            defaults: &Defaults::default(),
            find: &|_| None,
            pedantic: false,
        };
        let Ok((config, mut settings)) = validate_new(config, &rules) else {
            return;
        };
        if config.storage == Storage::File {
            let random = &mut self.random;
            settings.durability = match random.below(6) {
                0 => Durability::Interval(100 * MILLISECOND),
                1 => Durability::Os,
                _ => Durability::Sync,
            };
            settings.compression = *random.pick(&[Compression::None, Compression::None, Compression::Lz4]);
            #[cfg(feature = "rocksdb")]
            if self.world.ground() == crate::world::Ground::Rocks && !self.random.one_in(3) {
                settings.backend = weir_engine::stream::settings::BackendKind::RocksDb;
                settings.index = *self.random.pick(&[
                    weir_engine::stream::settings::IndexKind::Paged,
                    weir_engine::stream::settings::IndexKind::Resident,
                ]);
            }
        }
        let store = self.world.store().store();
        let (id, shard) = (store.allocate_id(), store.shard_for(ACCOUNT, name));
        // What was journaled since the last checkpoint may be gone without a word: where nothing is left of a stream, not even
        // the name of its log, its id may come again.
        let forgotten = |shard: &ShardId| {
            let log = Path::new("/store/logs").join(id.to_string());
            self.rotten.contains(shard) && !self.closed_before && self.world.disk.files(&log).is_empty()
        };
        assert!(
            self.used.get(&id).is_none_or(forgotten),
            "{name} gets {id}, which a stream had that was made for certain"
        );
        let number = self.number();
        let known = Known::new(id, shard, config.clone(), settings);
        self.streams.insert(id, known);
        self.names.insert(name.into(), id);
        self.asked.insert(number, Asked::Create(id));
        self.world.ask(shard, number, move |shard| {
            shard.create_stream(id, &ACCOUNT.into(), config, settings)
        });
    }

    fn is_being_made(&self, name: &str) -> bool {
        let id = self.names.get(name);
        let making = |asked: &Asked| matches!(asked, Asked::Create(of) | Asked::Delete(of) if Some(of) == id);
        self.asked.values().any(making)
    }

    fn shard_of(&self, id: StreamId) -> ShardId {
        self.streams[&id].shard
    }

    fn known(&mut self, id: StreamId) -> &mut Known {
        self.streams.get_mut(&id).expect("a stream that is known")
    }

    fn delete(&mut self, id: StreamId) {
        let (number, shard) = (self.number(), self.shard_of(id));
        self.known(id).try_delete(number);
        self.asked.insert(number, Asked::Delete(id));
        self.world.ask(shard, number, move |shard| shard.delete_stream(id));
    }

    fn update(&mut self, id: StreamId) {
        let known = &self.streams[&id];
        let (old, settings, shard) = (known.config.clone(), known.settings, known.shard);
        let mut config = old.clone();
        self.draw_limits(&mut config);
        let rules = Rules {
            limits: ServerLimits::default(),
            defaults: &Defaults::default(),
            find: &|_| None,
            pedantic: false,
        };
        let Ok((config, _)) = validate_update(&old, &settings, config, &rules) else {
            return;
        };
        let number = self.number();
        self.known(id).try_update(&config);
        self.asked
            .insert(number, Asked::Update(id, Box::new(config.clone()), settings));
        self.world
            .ask(shard, number, move |shard| shard.update_stream(id, config, settings));
    }

    fn draw_subject(&mut self, name: &str) -> String {
        let random = &mut self.random;
        match random.below(120) {
            0 => format!("{name}.{}", "x".repeat(20_000)),
            1 => format!("{name}.{}", "y".repeat(66_000)),
            2 => format!("{name}{}", ".t".repeat(300)),
            _ => format!("{name}.{}", random.pick(&TOKENS)),
        }
    }

    fn draw_filter(&mut self, name: &str) -> String {
        let random = &mut self.random;
        match random.below(9) {
            0 => String::new(),
            1 => ">".into(),
            2 => "nobody.>".into(),
            3 => format!("{name}.*"),
            4 => format!("{name}.*.*"),
            5 => format!("*.{}", random.pick(&TOKENS)),
            6 => format!("{name}.b.>"),
            7 => format!("{name}.*.x"),
            _ => format!("{name}.{}", random.pick(&TOKENS)),
        }
    }

    fn draw_body(&mut self, id: StreamId, order: u64) -> Body {
        let known = &self.streams[&id];
        let (name, config, last) = (known.name.clone(), known.config.clone(), known.last);
        let subject = self.draw_subject(&name);
        let random = &mut self.random;
        let mut headers = String::new();
        let mut add = |name: &str, value: String| headers.push_str(&format!("{name}: {value}\r\n"));
        if random.one_in(6) {
            add("Nats-Msg-Id", format!("id{}", random.below(12)));
        }
        if random.one_in(12) {
            let back = random.below(2);
            add(
                "Nats-Expected-Last-Sequence",
                any_seq(random, last.saturating_sub(back)).to_string(),
            );
        } else if random.one_in(16) {
            let back = random.below(4);
            let expected = any_seq(random, last.saturating_sub(back));
            add("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        let mut rollup = None;
        if config.allow_rollup_hdrs && random.one_in(12) {
            rollup = Some(*random.pick(&["sub", "all"]));
            add("Nats-Rollup", rollup.unwrap_or_default().into());
        }
        let mut ttl = None;
        if config.allow_msg_ttl && random.one_in(4) {
            let seconds = 1 + random.below(20);
            ttl = Some(seconds as i64 * SECOND);
            add("Nats-TTL", format!("{seconds}s"));
        }
        if random.one_in(10) {
            add("Other", "x".repeat(random.below(200) as usize));
        }
        if !headers.is_empty() {
            headers = format!("NATS/1.0\r\n{headers}\r\n");
        }
        let len = [8, 11, 60, 900, 9_000][[0, 1, 1, 2, 2, 2, 3, 3, 4, 0][random.below(10) as usize]];
        let mut payload = order.to_le_bytes().to_vec();
        payload.resize(len, random.next() as u8);
        Body {
            subject,
            headers,
            payload,
            rollup,
            ttl,
        }
    }

    fn submit_publish(&mut self, id: StreamId, order: u64, body: Body, batch: Option<String>) {
        let shard = self.shard_of(id);
        let input = Input::Publish {
            stream: id,
            subject: Bytes::copy_from_slice(body.subject.as_bytes()),
            headers_len: body.headers.len(),
            body: [body.headers.as_bytes(), &body.payload].concat().into(),
            ticket: self.world.ticket(order),
        };
        let since = self.world.hurries().then(|| self.world.now());
        self.known(id).try_publish(order, body, batch, since);
        self.world.submit(shard, input);
    }

    fn publish(&mut self, id: StreamId) {
        let order = self.number();
        let body = self.draw_body(id, order);
        self.asked.insert(order, Asked::Publish(id));
        self.submit_publish(id, order, body, None);
    }

    /// An atomic batch; sometimes one that is never ended.
    fn batch(&mut self, id: StreamId) {
        if !self.streams[&id].config.allow_atomic {
            return self.publish(id);
        }
        let count = 1 + self.random.below(4);
        let ends = !self.random.one_in(6);
        let mut orders = Vec::new();
        let batch = format!("batch{}", self.next);
        for n in 1..=count {
            let order = self.number();
            let mut body = self.draw_body(id, order);
            let mut headers = format!("NATS/1.0\r\nNats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {n}\r\n");
            if n == count && ends {
                headers.push_str("Nats-Batch-Commit: 1\r\n");
            }
            body.headers = headers + "\r\n";
            (body.rollup, body.ttl) = (None, None);
            orders.push(order);
            self.submit_publish(id, order, body, Some(batch.clone()));
        }
        if let (true, Some(&last)) = (ends, orders.last()) {
            self.asked.insert(last, Asked::Batch(id, orders));
        }
    }

    fn purge(&mut self, id: StreamId) {
        let known = &self.streams[&id];
        let (name, shard) = (known.name.clone(), known.shard);
        let plain = known.plain_seq(self.random.below(6));
        let filter = self.draw_filter(&name);
        let seq = if self.random.one_in(2) {
            0
        } else {
            any_seq(&mut self.random, plain)
        };
        let keep = match self.random.below(6) {
            0 => any_seq(&mut self.random, 2),
            _ => 0,
        };
        let takes = Takes::Purge {
            filter: if filter == ">" { String::new() } else { filter.clone() },
            below: seq,
            some: keep > 0,
        };
        let purge = Purge { filter, seq, keep };
        self.removal(id, shard, takes, move |shard| shard.purge(id, &purge));
    }

    fn remove(&mut self, id: StreamId) {
        let known = &self.streams[&id];
        let shard = known.shard;
        let plain = known.plain_seq(self.random.below(10));
        let seq = any_seq(&mut self.random, plain);
        let secure = self.random.one_in(3);
        self.removal(id, shard, Takes::One(seq), move |shard| {
            shard.delete_message(id, seq, secure)
        });
    }

    fn removal<R: Send + 'static>(
        &mut self,
        id: StreamId,
        shard: ShardId,
        takes: Takes,
        work: impl FnOnce(&mut weir_engine::shard::InTurn<'_, '_>) -> Result<R> + Send + 'static,
    ) {
        let order = self.number();
        self.known(id).try_removal(order, takes);
        self.asked.insert(order, Asked::Removal(id));
        self.world.ask(shard, order, work);
    }

    fn draw_consumer(&mut self, name: &str, id: StreamId) -> ConsumerConfig {
        let stream = self.streams[&id].name.clone();
        let last = self.streams[&id].last;
        let filter = match self.random.below(2) {
            0 => String::new(),
            _ => self.draw_filter(&stream),
        };
        let random = &mut self.random;
        let deliver_policy = match random.below(8) {
            0 => DeliverPolicy::New,
            1 => DeliverPolicy::LastPerSubject,
            2 => DeliverPolicy::Last,
            3 => DeliverPolicy::ByStartSequence,
            _ => DeliverPolicy::All,
        };
        let opt_start_seq = match deliver_policy {
            DeliverPolicy::ByStartSequence => any_seq(random, last.saturating_sub(3)).max(1),
            _ => 0,
        };
        ConsumerConfig {
            durable_name: name.into(),
            name: name.into(),
            ack_policy: *random.pick(&[
                AckPolicy::Explicit,
                AckPolicy::Explicit,
                AckPolicy::All,
                AckPolicy::None,
            ]),
            deliver_policy,
            opt_start_seq,
            filter_subject: filter,
            ack_wait: *random.pick(&[SECOND, 30 * SECOND]),
            max_deliver: *random.pick(&[-1, -1, 1, 3, i64::MAX]),
            max_ack_pending: *random.pick(&[0, 2, 1000]),
            headers_only: random.one_in(8),
            ..ConsumerConfig::default()
        }
    }

    /// Makes a consumer, or deletes it.
    fn consumer(&mut self, id: StreamId) {
        let name = format!("c{}", self.random.below(CONSUMERS));
        let shard = self.shard_of(id);
        let number = self.number();
        let known = self.streams[&id].consumers.get(&name);
        match known.map(|consumer| consumer.is) {
            Some(Is::There) => {
                if !self.random.one_in(3) {
                    return;
                }
                if let Some(consumer) = self.known(id).consumers.get_mut(&name) {
                    consumer.is = Is::Open;
                }
                self.asked.insert(number, Asked::DeleteConsumer(id, name.clone()));
                self.world
                    .ask(shard, number, move |shard| shard.delete_consumer(id, &name));
            }
            Some(Is::Open) => {}
            Some(Is::Gone) | None => {
                let config = self.draw_consumer(&name, id);
                let stream = self.streams[&id].config.clone();
                let others: Vec<_> = self.streams[&id].consumers.iter().collect();
                let others = others
                    .iter()
                    .filter(|(_, other)| other.is != Is::Gone)
                    .map(|(name, other)| (name.as_str(), &other.config));
                let limits = ServerLimits::default();
                let Ok(config) = validate::validate_new(config, &stream, others, Action::Create, &limits, false) else {
                    return;
                };
                self.known(id).try_consumer(&name, config.clone(), number);
                self.asked.insert(number, Asked::CreateConsumer(id, name));
                self.world
                    .ask(shard, number, move |shard| shard.create_consumer(id, config));
            }
        }
    }

    /// Has a consumer begin anew, or gives it another configuration.
    fn bend(&mut self, id: StreamId) {
        let name = format!("c{}", self.random.below(CONSUMERS));
        let (shard, last) = (self.shard_of(id), self.streams[&id].last);
        let stream = self.streams[&id].name.clone();
        let filter = self.draw_filter(&stream);
        let number = self.number();
        let Some(consumer) = self.known(id).consumers.get_mut(&name) else {
            return;
        };
        if consumer.is != Is::There {
            return;
        }
        consumer.bend();
        let mut config = consumer.config.clone();
        if self.random.one_in(2) {
            let back = self.random.below(5);
            let seq = any_seq(&mut self.random, last.saturating_sub(back));
            self.asked.insert(number, Asked::BendConsumer(id, name.clone()));
            self.world
                .ask(shard, number, move |shard| shard.reset_consumer(id, &name, seq));
            return;
        }
        config.filter_subject = filter;
        config.ack_wait = *self.random.pick(&[SECOND, 30 * SECOND]);
        config.max_ack_pending = *self.random.pick(&[1, 2, 1000]);
        self.asked.insert(number, Asked::BendConsumer(id, name.clone()));
        self.world.ask(shard, number, move |shard| {
            let stream = shard.stream(id)?;
            let others: Vec<_> = stream
                .consumer_configs()
                .filter(|(other, _)| ***other != *name)
                .collect();
            let existing = stream.consumer_configs().find(|(other, _)| ***other == *name);
            let existing = existing.ok_or(weir_engine::reject::CONSUMER_NOT_FOUND)?;
            let existing = validate::Existing {
                config: existing.1,
                bound: false,
            };
            let config = validate::validate_update(
                existing,
                config,
                Action::Update,
                stream.config(),
                others.into_iter().map(|(name, config)| (&**name, config)),
                &ServerLimits::default(),
                false,
            )?;
            shard.update_consumer(id, &name, config)
        });
    }

    fn pull(&mut self, id: StreamId) {
        let name = format!("c{}", self.random.below(CONSUMERS));
        let number = self.number();
        let random = &mut self.random;
        let request = PullRequest {
            batch: match random.below(20) {
                0 => u64::MAX - random.below(2),
                1 => 0,
                _ => 1 + random.below(6),
            },
            expires: *random.pick(&[0, SECOND, 30 * SECOND, i64::MAX]),
            no_wait: random.one_in(2),
            max_bytes: *random.pick(&[0, 0, 0, 100, u64::MAX]),
            ..PullRequest::default()
        };
        let input = Input::Pull {
            stream: id,
            consumer: Bytes::from(name),
            request,
            reply: Bytes::from(format!("_PULL.{number}")),
        };
        self.world.submit(self.shard_of(id), input);
    }

    fn ack(&mut self, id: StreamId) {
        let name = format!("c{}", self.random.below(CONSUMERS));
        let number = self.number();
        let shard = self.shard_of(id);
        let Some(consumer) = self
            .streams
            .get_mut(&id)
            .and_then(|known| known.consumers.get_mut(&name))
        else {
            return;
        };
        if consumer.held.is_empty() {
            return;
        }
        let random = &mut self.random;
        let at = random.below(consumer.held.len() as u64) as usize;
        let (mut seq, consumer_seq, deliveries) = match random.one_in(3) {
            true => consumer.held[at],
            false => consumer.held.remove(at),
        };
        if random.one_in(40) {
            seq = any_seq(random, seq + 1);
        }
        let kind = match random.below(20) {
            0 | 1 => AckKind::Nak(*random.pick(&[0, SECOND, 20 * SECOND, i64::MAX])),
            2 => AckKind::Progress,
            3 => AckKind::Unknown,
            4 => AckKind::Term("enough".into()),
            _ => AckKind::Ack,
        };
        if matches!(kind, AckKind::Ack | AckKind::Term(_)) {
            self.known(id).acknowledge(&name, seq, false);
            self.asked.insert(number, Asked::Ack(id, name.clone(), seq));
        }
        let ack = Ack {
            stream_seq: seq,
            consumer_seq,
            deliveries,
            kind,
            reply: Bytes::from(format!("_ACK.{number}")),
        };
        let input = Input::Ack {
            stream: id,
            consumer: Bytes::from(name),
            ack,
        };
        self.world.submit(shard, input);
    }

    /// Asks for all that a consumer has, and acknowledges it.
    pub fn pull_all(&mut self, id: StreamId, name: &str, acks: bool) {
        for _ in 0..40 {
            let Some(known) = self.streams.get(&id) else { return };
            let (shard, number) = (known.shard, self.number());
            let request = PullRequest {
                batch: 50,
                no_wait: true,
                ..PullRequest::default()
            };
            let input = Input::Pull {
                stream: id,
                consumer: Bytes::copy_from_slice(name.as_bytes()),
                request,
                reply: Bytes::from(format!("_PULL.{number}")),
            };
            self.world.submit(shard, input);
            self.world.turn_all();
            self.listen();
            let consumer = self
                .streams
                .get_mut(&id)
                .and_then(|known| known.consumers.get_mut(name));
            let held = consumer
                .map(|consumer| std::mem::take(&mut consumer.held))
                .unwrap_or_default();
            if held.is_empty() {
                return;
            }
            for (seq, consumer_seq, deliveries) in held.into_iter().filter(|_| acks) {
                let number = self.number();
                self.known(id).acknowledge(name, seq, false);
                self.asked.insert(number, Asked::Ack(id, name.to_owned(), seq));
                let ack = Ack {
                    stream_seq: seq,
                    consumer_seq,
                    deliveries,
                    kind: AckKind::Ack,
                    reply: Bytes::from(format!("_ACK.{number}")),
                };
                let input = Input::Ack {
                    stream: id,
                    consumer: Bytes::copy_from_slice(name.as_bytes()),
                    ack,
                };
                self.world.submit(shard, input);
            }
        }
    }
}
