//! A store with a bit of everything in it, used as an embedding program uses one.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use weir_backends::root::StoreDir;
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, PullRequest};
use weir_engine::shard::emit::{Delivery, Emit, Outlet};
use weir_engine::shard::{InTurn, Input};
use weir_engine::stream::settings::{Defaults, Settings};
use weir_engine::stream::{Purge, Retention, Storage, StreamConfig, StreamState};
use weir_engine::{LogOptions, MILLISECOND, NanoTime, Result, SECOND, Store, StoreOptions, StreamId};

const ACCOUNT: &str = "$G";
const EPOCH: NanoTime = 1_700_000_000 * SECOND;

/// Everybody listens; what is delivered can be acknowledged.
struct Clients(Sender<Delivery>);

impl Outlet for Clients {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        if let Emit::Deliver(delivery) = emit {
            self.0.send(delivery).unwrap();
        }
    }

    fn flush(&mut self) {}
}

pub struct Fixture {
    folder: PathBuf,
    backend: &'static str,
    paged: bool,
    segment_bytes: u64,
    store: Option<Store>,
    clock: Arc<AtomicI64>,
    deliveries: Receiver<Delivery>,
    sender: Sender<Delivery>,
    logs: BTreeMap<String, StreamId>,
    states: BTreeMap<String, StreamState>,
    consumers: BTreeMap<String, BTreeMap<String, ConsumerInfo>>,
}

impl Fixture {
    /// An empty store.
    pub fn new(folder: &Path, backend: &'static str) -> Self {
        Self::with_segments(folder, backend, LogOptions::default().segment_bytes)
    }

    /// An empty store whose files are begun anew at so many bytes.
    pub fn with_segments(folder: &Path, backend: &'static str, segment_bytes: u64) -> Self {
        let (sender, deliveries) = channel();
        let mut fixture = Self {
            folder: folder.to_path_buf(),
            backend,
            paged: false,
            segment_bytes,
            store: None,
            clock: Arc::new(AtomicI64::new(EPOCH)),
            deliveries,
            sender,
            logs: BTreeMap::new(),
            states: BTreeMap::new(),
            consumers: BTreeMap::new(),
        };
        fixture.open();
        fixture
    }

    fn open(&mut self) {
        let clock = self.clock.clone();
        let mut options = StoreOptions::new(Arc::new(move || clock.fetch_add(MILLISECOND, Ordering::Relaxed)));
        options.segment_bytes = self.segment_bytes;
        let opener = StoreDir::new(&self.folder).opener();
        let sender = &self.sender;
        let store = Store::open(opener, options, |_| Box::new(Clients(sender.clone())));
        self.store = Some(store.unwrap());
    }

    pub fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close();
        }
    }

    /// Closes and opens, so that all before lies behind a checkpoint.
    pub fn reopen(&mut self) {
        self.close();
        self.open();
    }

    /// Opens the store in another folder, which is a copy of what this one was.
    pub fn move_to(&mut self, folder: &Path) {
        self.close();
        self.folder = folder.to_path_buf();
        self.open();
    }

    /// Streams that are made from now on say that their index is paged.
    pub fn page_indexes(&mut self) {
        self.paged = true;
    }

    pub fn backend(&self) -> &'static str {
        self.backend
    }

    pub fn log(&self, stream: &str) -> StreamId {
        self.logs[stream]
    }

    fn on<R: Send + 'static>(
        &self,
        stream: &str,
        work: impl FnOnce(&mut InTurn<'_, '_>, StreamId) -> Result<R> + Send + 'static,
    ) -> R {
        let store = self.store.as_ref().unwrap();
        let id = self.logs[stream];
        let shard = store.shard(store.shard_for(ACCOUNT, stream));
        shard.call_blocking(move |shard| work(shard, id)).unwrap()
    }

    fn send(&self, stream: &str, input: Input) {
        let store = self.store.as_ref().unwrap();
        let shard = store.shard(store.shard_for(ACCOUNT, stream));
        assert!(shard.submit(vec![input]).is_ok());
        // What a turn delivers leaves it after its calls: one turn more, and it is out.
        for _ in 0..2 {
            self.on(stream, |_, _| Ok(()));
        }
    }

    fn config(&self, name: &str, subject: &str) -> StreamConfig {
        let mut metadata = BTreeMap::from([("weir.backend".to_owned(), self.backend.to_owned())]);
        if self.paged {
            metadata.insert("weir.index".to_owned(), "paged".to_owned());
        }
        StreamConfig {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            max_msgs: -1,
            max_bytes: -1,
            max_msgs_per_subject: -1,
            max_msg_size: -1,
            max_consumers: -1,
            metadata,
            ..StreamConfig::default()
        }
    }

    fn create(&mut self, config: StreamConfig) {
        let settings = Settings::of(&config, &Defaults::default()).unwrap();
        let id = self.store.as_ref().unwrap().allocate_id();
        let name = config.name.clone();
        self.logs.insert(name.clone(), id);
        self.on(&name, move |shard, id| {
            shard.create_stream(id, &ACCOUNT.into(), config, settings)
        });
    }

    fn publish(&self, stream: &str, subject: &str, headers: &str, payload: &str) {
        let body = format!("{headers}{payload}");
        let (subject, headers_len) = (subject.to_owned(), headers.len());
        self.on(stream, move |shard, id| {
            shard.publish(id, subject.into(), headers_len, body.into())
        });
    }

    fn orders(&self, count: usize) {
        for i in 0..count {
            let subject = ["orders.a", "orders.a", "orders.a", "orders.b", "orders.b", "orders.c"];
            let headers = match i % 4 {
                0 => "NATS/1.0\r\nA: b\r\n\r\n",
                _ => "",
            };
            self.publish("ORDERS", subject[i % 6], headers, &"x".repeat(i));
        }
    }

    fn add_consumer(&self, stream: &str, config: ConsumerConfig) {
        self.on(stream, move |shard, id| shard.create_consumer(id, config).map(|_| ()));
    }

    fn puller(name: &str) -> ConsumerConfig {
        ConsumerConfig {
            durable_name: name.to_owned(),
            name: name.to_owned(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: 3_600 * SECOND,
            max_deliver: -1,
            max_waiting: 512,
            max_ack_pending: 1_000,
            ..ConsumerConfig::default()
        }
    }

    /// Pulls messages and does with them what `kinds` say, in turn; the rest is left unanswered.
    fn pull(&self, stream: &str, consumer: &str, batch: u64, kinds: &[AckKind]) {
        while self.deliveries.try_recv().is_ok() {}
        let id = self.logs[stream];
        let pull = Input::Pull {
            stream: id,
            consumer: consumer.to_owned().into(),
            request: PullRequest {
                batch,
                no_wait: true,
                ..PullRequest::default()
            },
            reply: "inbox".into(),
        };
        self.send(stream, pull);
        // What lies on the disk only comes when it was read.
        let next = |_| self.deliveries.recv_timeout(Duration::from_secs(60)).ok();
        let got: Vec<Delivery> = (0..batch).map_while(next).collect();
        assert_eq!(got.len() as u64, batch, "messages for {consumer}");
        for (delivery, kind) in got.iter().zip(kinds) {
            let ack = Ack {
                stream_seq: delivery.message.seq,
                consumer_seq: delivery.consumer_seq,
                deliveries: delivery.deliveries,
                kind: kind.clone(),
                reply: "".into(),
            };
            let input = Input::Ack {
                stream: id,
                consumer: consumer.to_owned().into(),
                ack,
            };
            self.send(stream, input);
        }
    }

    /// Fills an empty store.
    pub fn work(&mut self) {
        self.create(self.config("ORDERS", "orders.>"));
        self.orders(60);
        self.publish("ORDERS", "orders.once-only", "", "rare");
        assert!(self.on("ORDERS", |shard, id| shard.delete_message(id, 8, false)));
        let purge = Purge {
            filter: "orders.c".to_owned(),
            keep: 3,
            ..Purge::default()
        };
        assert_eq!(self.on("ORDERS", move |shard, id| shard.purge(id, &purge)).count(), 7);
        self.add_consumer("ORDERS", Self::puller("workers"));
        self.add_consumer(
            "ORDERS",
            ConsumerConfig {
                name: "mail".to_owned(),
                deliver_subject: "mail.inbox".to_owned(),
                filter_subject: "orders.b".to_owned(),
                inactive_threshold: 3_600 * SECOND,
                ..ConsumerConfig::default()
            },
        );
        self.add_consumer(
            "ORDERS",
            ConsumerConfig {
                deliver_policy: DeliverPolicy::New,
                ..Self::puller("news")
            },
        );
        use AckKind::{Ack, Nak, Progress};
        self.pull("ORDERS", "workers", 10, &[Ack, Ack, Progress, Ack, Nak(0)]);
        self.pull("ORDERS", "workers", 3, &[]);

        self.create(StreamConfig {
            retention: Retention::WorkQueue,
            ..self.config("JOBS", "jobs.*")
        });
        self.add_consumer("JOBS", Self::puller("crew"));
        for i in 0..20 {
            self.publish("JOBS", &format!("jobs.{i}"), "", "work");
        }
        self.pull("JOBS", "crew", 8, &[Ack, Ack, Progress, Ack]);

        self.create(self.config("EMPTY", "empty"));
        self.create(StreamConfig {
            first_seq: 1_000,
            ..self.config("LATER", "later")
        });
        self.create(self.config("PURGED", "purged"));
        self.publish("PURGED", "purged", "", "1");
        self.on("PURGED", |shard, id| shard.purge(id, &Purge::default()));
        self.create(self.config("GONE", "gone"));
        self.publish("GONE", "gone", "", "1");
        self.on("GONE", |shard, id| shard.delete_stream(id));
        self.create(StreamConfig {
            storage: Storage::Memory,
            metadata: BTreeMap::new(),
            ..self.config("VOLATILE", "volatile")
        });
        self.publish("VOLATILE", "volatile", "", "1");
    }

    /// Adds streams whose messages mean something to the engine: lives, counters, schedules, message ids.
    pub fn work_with_headers(&mut self) {
        self.create(StreamConfig {
            allow_msg_ttl: true,
            allow_msg_schedules: true,
            allow_rollup_hdrs: true,
            duplicate_window: 3_600 * SECOND,
            ..self.config("LIVES", "lives.>")
        });
        for n in 0..30 {
            let headers = match n % 3 {
                0 => format!("NATS/1.0\r\nNats-TTL: {}s\r\n\r\n", 1000 + n),
                1 => format!("NATS/1.0\r\nNats-Msg-Id: id-{n}\r\n\r\n"),
                _ => String::new(),
            };
            self.publish("LIVES", &format!("lives.{}", n % 4), &headers, "a life");
        }
        let schedule =
            "NATS/1.0\r\nNats-Schedule: @at 2099-01-01T00:00:00Z\r\nNats-Schedule-Target: lives.later\r\n\r\n";
        self.publish("LIVES", "lives.schedule", schedule, "then");
        assert!(self.on("LIVES", |shard, id| shard.delete_message(id, 7, true)));
        self.create(StreamConfig {
            allow_msg_counter: true,
            allow_direct: true,
            ..self.config("COUNTS", "counts.>")
        });
        for n in 0..20 {
            let headers = format!("NATS/1.0\r\nNats-Incr: +{n}\r\n\r\n");
            self.publish("COUNTS", &format!("counts.{}", n % 3), &headers, "");
        }
    }

    /// Whether a message id of [`work_with_headers`](Self::work_with_headers) is remembered.
    pub fn is_duplicate(&self, n: u64) -> bool {
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: id-{n}\r\n\r\n");
        let (headers_len, subject) = (headers.len(), format!("lives.{}", n % 4));
        let ack = self.on("LIVES", move |shard, id| {
            shard.publish(id, subject.into(), headers_len, headers.into())
        });
        ack.duplicate
    }

    /// The next message of a counter is one more than the newest: what that says.
    pub fn count_on(&self) -> String {
        let headers = "NATS/1.0\r\nNats-Incr: +1\r\n\r\n";
        self.publish("COUNTS", "counts.0", headers, "");
        self.on("COUNTS", |shard, id| {
            let message = shard.stream(id)?.last_message(b"counts.0")?.unwrap();
            Ok(String::from_utf8(message.payload.to_vec()).unwrap())
        })
    }

    /// Adds a stream of so many messages; each has so many bytes that do not compress well.
    pub fn work_much(&mut self, count: u64, bytes: usize) {
        let mut noise = 1_u64;
        self.fill(count, move |_| {
            let next = |_| {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (noise >> 56) as u8
            };
            (0..bytes).map(next).collect()
        });
    }

    /// As [`work_much`](Self::work_much), with bytes that compress well.
    pub fn work_monotone(&mut self, count: u64, bytes: usize) {
        self.fill(count, |n| format!("{n} ").repeat(bytes).into_bytes()[..bytes].to_vec());
    }

    /// Adds a stream of messages as people write them: words that come again, in no order.
    pub fn work_text(&mut self, count: u64, words: usize) {
        let mut state = 1u64;
        self.fill(count, |_| {
            let mut text = String::new();
            for _ in 0..words {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text += &format!("word{} ", (state >> 40) % 300);
            }
            text.into_bytes()
        });
    }

    fn fill(&mut self, count: u64, mut body: impl FnMut(u64) -> Vec<u8>) {
        /// Messages that are stored in one turn.
        const TURN: u64 = 200;
        self.create(self.config("MUCH", "much.>"));
        for from in (0..count).step_by(TURN as usize) {
            let bodies: Vec<Vec<u8>> = (from..count.min(from + TURN)).map(&mut body).collect();
            self.on("MUCH", move |shard, id| {
                let mut bodies = (from..).zip(bodies);
                bodies.try_for_each(|(n, body)| {
                    let subject = format!("much.{}", n % 100).into();
                    shard.publish(id, subject, 0, body.into()).map(drop)
                })
            });
        }
    }

    /// Adds a stream of so many small messages of 50 subjects; each thousandth lives for a thousand seconds.
    pub fn work_lives(&mut self, count: u64) {
        const TURN: u64 = 1000;
        self.create(StreamConfig {
            allow_msg_ttl: true,
            ..self.config("MANY", "many.*")
        });
        for from in (0..count).step_by(TURN as usize) {
            self.on("MANY", move |shard, id| {
                (from..count.min(from + TURN)).try_for_each(|n| {
                    let headers = match n % 1000 {
                        0 => "NATS/1.0\r\nNats-TTL: 1000s\r\n\r\n",
                        _ => "",
                    };
                    let subject = format!("many.{:02}", n % 50).into();
                    shard.publish(id, subject, headers.len(), headers.into()).map(drop)
                })
            });
        }
    }

    /// Lets time pass.
    pub fn skip(&self, nanos: NanoTime) {
        self.clock.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Deletes messages of a stream.
    pub fn delete(&self, stream: &str, seqs: impl Iterator<Item = u64> + Send + 'static) {
        self.on(stream, move |shard, id| {
            seqs.map(|seq| shard.delete_message(id, seq, false))
                .try_for_each(|deleted| deleted.map(drop))
        });
    }

    /// Adds a stream whose journal is that of another one.
    pub fn create_beside(&mut self, stream: &str) -> String {
        let store = self.store.as_ref().unwrap();
        let shard = store.shard_for(ACCOUNT, stream);
        let names = (0..).map(|n| format!("BESIDE-{n}"));
        let name = names
            .into_iter()
            .find(|name| store.shard_for(ACCOUNT, name) == shard)
            .unwrap();
        self.create(self.config(&name, "beside"));
        name
    }

    /// As [`create_beside`](Self::create_beside), on another backend.
    #[allow(dead_code, reason = "not every test has two backends")]
    pub fn create_beside_on(&mut self, stream: &str, backend: &'static str) -> String {
        let before = std::mem::replace(&mut self.backend, backend);
        let name = self.create_beside(stream);
        self.backend = before;
        name
    }

    /// Adds a stream MUCH and a consumer of it that pulls.
    pub fn create_pulled(&mut self, consumer: &str) {
        self.create(self.config("MUCH", "much.>"));
        self.add_consumer("MUCH", Self::puller(consumer));
    }

    /// Publishes a message of so many bytes.
    pub fn publish_bytes(&self, stream: &str, subject: &str, bytes: usize) {
        self.publish(stream, subject, "", &"b".repeat(bytes));
    }

    /// A consumer is sent the next messages, and acknowledges none.
    pub fn send_next(&self, stream: &str, consumer: &str, count: u64) {
        self.pull(stream, consumer, count, &[]);
    }

    /// Purges all messages of a stream below a sequence.
    pub fn purge_below(&self, stream: &str, seq: u64) {
        let front = Purge {
            seq,
            ..Purge::default()
        };
        self.on(stream, move |shard, id| shard.purge(id, &front));
    }

    /// Changes a store that [`work`](Self::work) filled and that was opened again.
    pub fn work_more(&mut self) {
        self.orders(40);
        assert!(self.on("ORDERS", |shard, id| shard.delete_message(id, 9, false)));
        // One that the consumer waits for, and one that came after the checkpoint.
        assert!(self.on("ORDERS", |shard, id| shard.delete_message(id, 10, false)));
        assert!(self.on("ORDERS", |shard, id| shard.delete_message(id, 70, false)));
        use AckKind::{Ack, Nak, Progress};
        self.pull("ORDERS", "workers", 6, &[Ack, Nak(0), Progress, Ack]);
        self.pull("ORDERS", "workers", 1, &[Ack]);
        self.pull("ORDERS", "news", 5, &[Progress, Ack, Ack]);
        self.add_consumer("ORDERS", Self::puller("late"));
        self.pull("ORDERS", "late", 2, &[Ack]);
        self.on("ORDERS", |shard, id| shard.delete_consumer(id, "mail"));
        self.on("ORDERS", |shard, id| {
            let config = ConsumerConfig {
                description: "new".to_owned(),
                ..Self::puller("news")
            };
            shard.update_consumer(id, "news", config).map(|_| ())
        });
        let front = Purge {
            seq: 5,
            ..Purge::default()
        };
        self.on("ORDERS", move |shard, id| shard.purge(id, &front));
        self.pull("JOBS", "crew", 4, &[Ack, Ack, Ack, Ack]);
        self.on("PURGED", |shard, id| {
            let purge = Purge {
                seq: 50,
                ..Purge::default()
            };
            shard.purge(id, &purge)
        });
        self.publish("PURGED", "purged", "", "again");
        self.publish("LATER", "later", "", "first");
        self.create(self.config("NEWER", "newer"));
        self.publish("NEWER", "newer", "", "1");
        self.on("EMPTY", |shard, id| shard.delete_stream(id));
    }

    /// Asks the store for all that it knows.
    pub fn note(&mut self) {
        let entries = self.store.as_ref().unwrap().catalogue().all();
        for entry in entries.iter().filter(|entry| entry.settings.is_journaled()) {
            let (state, consumers) = self.on(&entry.name, |shard, id| {
                let now = shard.now();
                let stream = shard.stream(id).unwrap();
                let infos: BTreeMap<String, ConsumerInfo> = stream
                    .consumer_names()
                    .iter()
                    .map(|name| (name.to_string(), stream.consumer_info(name, now).unwrap()))
                    .collect();
                Ok((stream.state()?, infos))
            });
            self.states.insert(entry.name.to_string(), state);
            self.consumers.insert(entry.name.to_string(), consumers);
        }
    }

    pub fn names(&self) -> Vec<&str> {
        self.states.keys().map(String::as_str).collect()
    }

    pub fn state(&self, stream: &str) -> StreamState {
        self.states[stream]
    }

    pub fn consumer_names(&self, stream: &str) -> Vec<String> {
        self.consumers[stream].keys().cloned().collect()
    }

    pub fn consumer(&self, stream: &str, consumer: &str) -> &ConsumerInfo {
        &self.consumers[stream][consumer]
    }

    /// After [`work`](Self::work): 30 and 20, and one of the former was deleted.
    pub fn expected_top_subjects(&self) -> Vec<(&'static str, u64)> {
        vec![("orders.a", 29), ("orders.b", 20)]
    }

    /// What stands in the head of one live message, and nowhere else.
    pub fn a_live_subject(&self) -> &'static [u8] {
        b"orders.once-only"
    }
}

/// Copies a folder while it is in use: what a kill leaves behind. What is removed or renamed meanwhile, as the files of
/// deleted streams are in the background, is left out.
pub fn copy_folder(from: &Path, to: &Path) {
    let there = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        other => other.unwrap(),
    };
    there(fs::read_dir(from).and_then(|entries| {
        fs::create_dir_all(to)?;
        for entry in entries {
            let entry = entry?;
            let target = to.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => copy_folder(&entry.path(), &target),
                kind => there(kind.and_then(|_| fs::copy(entry.path(), target).map(drop))),
            }
        }
        Ok(())
    }));
}

/// As a crash would leave it: a copy of a folder that a store is at work in, made while nothing there changed. RocksDB compacts when it
/// likes, and a copy of its files from before and after is none that a crash could leave.
pub fn copy_live(from: &Path, to: &Path) {
    for _ in 0..1000 {
        let before = shape(from);
        copy_folder(from, to);
        if shape(from) == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
    panic!("{} does not come to rest", from.display());
}

/// Every file below a folder that is there now, with its size and its last change.
fn shape(folder: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        match found.is_dir() {
            true => files.extend(shape(&entry.path())),
            false => drop(files.insert(entry.path(), (found.len(), found.modified().unwrap()))),
        }
    }
    files
}

/// Every file below a folder, with its bytes.
pub fn snapshot_of_files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(snapshot_of_files(&entry.path())),
            false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}
