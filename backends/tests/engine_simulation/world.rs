//! A store that runs on one thread, on a disk in memory and by a clock that somebody turns, and all that it answered, in
//! order.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use weir_backends::encrypted::{Cipher, EncryptedBackend, KEY_LEN, SESSION_LEN, Vault};
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::consumer::ConsumerInfo;
use weir_engine::shard::emit::{Delivery, Emit, Outlet, PubAck, Ticket};
use weir_engine::shard::{InTurn, Input, ShardHandle};
use weir_engine::stepped::{SteppedStore, Twin};
use weir_engine::store::{AsideSizes, ChunkSize, OpenBackend, StoreOptions};
use weir_engine::stream::settings::BackendKind;
use weir_engine::stream::{Message, StreamState};
use weir_engine::{Backend, NanoTime, Nanos, Result, SECOND, Seq, ShardId, StreamId};

use crate::replicas::Replicas;
use crate::support::Random;

/// Steps in which everything that has begun must come to its end.
const QUIET_AFTER: usize = 5_000;
/// How long a stream waits with what it does by itself, when that failed.
const STUMBLE_PAUSE: Nanos = SECOND;
/// How long after its trouble is over everything must be well again.
const HEALED_AFTER: Nanos = 300 * SECOND;

/// What the store says.
#[derive(Debug)]
pub enum Said {
    /// The answer to a publish.
    Published(Result<PubAck>),
    /// The answer to anything else.
    Done(Result<()>),
    /// What there is of a stream.
    Looked(Result<Box<Look>>),
    /// A message for a consumer.
    Delivered(Box<Delivery>),
    /// An acknowledgement was heard.
    Heard,
}

/// A stream, looked at from all sides.
#[derive(Debug)]
pub struct Look {
    pub state: StreamState,
    pub messages: Vec<Message>,
    pub consumers: Vec<ConsumerInfo>,
    /// What it says that it has lost.
    pub lost: u64,
}

/// What was said, to which request, and when.
#[derive(Clone)]
pub struct Log {
    said: Arc<Mutex<Vec<(u64, NanoTime, Said)>>>,
    clock: Arc<AtomicI64>,
}

impl Log {
    fn add(&self, number: u64, said: Said) {
        let now = self.clock.load(Ordering::Relaxed);
        self.said.lock().push((number, now, said));
    }
}

/// Where the store lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// All of it on the disk in memory.
    Disk,
    /// The same, encrypted.
    Encrypted,
    /// In the memory backend, which outlives the process.
    Memory,
    /// The messages in RocksDB, journals and catalogue on the disk in memory.
    #[cfg(feature = "rocksdb")]
    Rocks,
}

/// How the store is made in this run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub ground: Ground,
    pub shards: usize,
    pub checkpoint_bytes: usize,
    pub segment_bytes: u64,
    /// Sequences in a chunk of an index: with few, much of it is kept beside the logs.
    pub chunk_size: ChunkSize,
    pub aside: AsideSizes,
    /// Whether shards go on while their journals are synced.
    pub hurries: bool,
}

pub struct World {
    pub disk: Arc<SimulatedDisk>,
    shape: Shape,
    clock: Arc<AtomicI64>,
    store: Option<SteppedStore>,
    twin: Option<Twin>,
    /// Instead of the store: replicas, each at home on a disk of its own.
    pub group: Option<Replicas>,
    persistent: Arc<MemoryBackend>,
    #[cfg(feature = "rocksdb")]
    folder: Option<tempfile::TempDir>,
    /// What was opened last: held by nobody but the store, or it could not be opened anew.
    segment: Arc<Mutex<Weak<SegmentBackend>>>,
    log: Log,
    /// Of all that was answered.
    digest: u64,
    /// Turns and other steps.
    pub steps: u64,
    /// How many calls had failed when everything was brought to its end last.
    settled_after: u64,
    /// How often a backend was opened.
    openings: Arc<AtomicU64>,
}

/// What encrypts, over a backend that is opened once more: now with this cipher, now with that.
fn encrypted(backend: Arc<dyn Backend>, opening: u64) -> Result<Arc<dyn Backend>> {
    let mut session = [0; SESSION_LEN];
    session[..8].copy_from_slice(&opening.to_le_bytes());
    let cipher = match opening % 2 {
        0 => Cipher::ChaCha,
        _ => Cipher::Aes,
    };
    let vault = Vault::new(&[1; KEY_LEN], cipher, session)?;
    Ok(Arc::new(EncryptedBackend::new(backend, Arc::new(vault))))
}

#[derive(Clone)]
pub struct Way(Log);

impl Outlet for Way {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        false
    }

    fn emit(&mut self, emit: Emit) {
        match emit {
            Emit::Deliver(delivery) => self.0.add(0, Said::Delivered(Box::new(delivery))),
            Emit::AckReply { to, .. } => self.0.add(number_in(&to), Said::Heard),
            _ => {}
        }
    }

    fn flush(&mut self) {}
}

/// The number at the end of a subject.
fn number_in(subject: &Bytes) -> u64 {
    let digits = subject.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    String::from_utf8_lossy(digits).parse().expect("a number of ours")
}

impl World {
    pub fn new(seed: u64, shape: Shape) -> Self {
        let disk = Arc::new(SimulatedDisk::new(seed));
        disk.leave_background();
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000_000_000));
        Self {
            disk,
            shape,
            log: Log {
                said: Arc::default(),
                clock: clock.clone(),
            },
            clock,
            store: None,
            twin: None,
            group: None,
            persistent: Arc::new(MemoryBackend::new()),
            #[cfg(feature = "rocksdb")]
            folder: None,
            segment: Arc::default(),
            digest: 0,
            steps: 0,
            settled_after: 0,
            openings: Arc::default(),
        }
    }

    #[cfg(feature = "rocksdb")]
    pub fn ground(&self) -> Ground {
        self.shape.ground
    }

    /// Whether answers may come later than their turns.
    pub fn hurries(&self) -> bool {
        self.shape.hurries
    }

    pub fn now(&self) -> NanoTime {
        self.clock.load(Ordering::Relaxed)
    }

    pub fn pass(&self, nanos: Nanos) {
        self.clock.fetch_add(nanos, Ordering::Relaxed);
        if self.disk.is_told() {
            eprintln!("-- it is {}", self.now());
        }
    }

    /// Opens the store.
    pub fn open(&mut self) -> Result<()> {
        self.disk.boot();
        let (disk, segment, ground) = (self.disk.clone(), self.segment.clone(), self.shape.ground);
        let (persistent, openings) = (self.persistent.clone(), self.openings.clone());
        #[cfg(feature = "rocksdb")]
        let rocks = {
            let folder = self
                .folder
                .get_or_insert_with(|| tempfile::tempdir().expect("a temporary folder"));
            folder.path().to_owned()
        };
        let open: OpenBackend = Box::new(move |kind| match kind {
            BackendKind::Segment if ground == Ground::Memory => Ok(persistent.clone() as Arc<dyn Backend>),
            BackendKind::Segment => {
                let backend = Arc::new(SegmentBackend::open_on(&disk, Path::new("/store"))?);
                *segment.lock() = Arc::downgrade(&backend);
                match ground {
                    Ground::Encrypted => encrypted(backend, openings.fetch_add(1, Ordering::Relaxed)),
                    _ => Ok(backend),
                }
            }
            #[cfg(feature = "rocksdb")]
            BackendKind::RocksDb => Ok(Arc::new(weir_backends::rocks::RocksBackend::open(
                &rocks,
                &Default::default(),
            )?)),
            _ => Ok(Arc::new(MemoryBackend::new()) as Arc<dyn Backend>),
        });
        let mut store = SteppedStore::open(open, self.options(), |_| Box::new(Way(self.log.clone())))?;
        if self.shape.hurries {
            store.hurry();
        }
        self.store = Some(store);
        Ok(())
    }

    fn options(&self) -> StoreOptions {
        self.maker()()
    }

    /// What makes the options of a store.
    pub fn maker(&self) -> impl Fn() -> StoreOptions + 'static {
        let (clock, shape) = (self.clock.clone(), self.shape);
        move || {
            let clock = clock.clone();
            StoreOptions {
                shards: shape.shards,
                checkpoint_bytes: shape.checkpoint_bytes,
                segment_bytes: shape.segment_bytes,
                chunk_size: shape.chunk_size,
                aside: shape.aside,
                entropy: 1,
                ..StoreOptions::new(Arc::new(move || clock.load(Ordering::Relaxed)))
            }
        }
    }

    /// The way out of a shard.
    pub fn way(&self) -> Way {
        Way(self.log.clone())
    }

    /// From now on a twin is told what the journals say; it lies in memory.
    pub fn begin_twin(&mut self) {
        let options = self.options();
        let store = self.store.as_mut().expect("the store is open");
        let open: OpenBackend = Box::new(|_| Ok(Arc::new(MemoryBackend::new()) as Arc<dyn Backend>));
        self.disk.observe(true);
        self.twin = Some(Twin::of(store, open, options).expect("a twin"));
        self.disk.observe(false);
    }

    /// The twin takes what the last turn said.
    fn twin_follows(&mut self) {
        if let (Some(twin), Some(store)) = (&mut self.twin, &mut self.store)
            && !self.disk.is_halted()
        {
            self.disk.observe(true);
            twin.follow(store).expect("the twin follows");
            self.disk.observe(false);
        }
    }

    /// Compares the twin with what it is a twin of; `whole` with each message.
    pub fn check_twin(&mut self, whole: bool, what: &str) {
        if let (Some(twin), Some(store)) = (&mut self.twin, &mut self.store)
            && !self.disk.is_halted()
        {
            self.disk.observe(true);
            twin.follow(store).expect("the twin follows");
            let told = twin.differences(store, whole).expect("what can be compared");
            self.disk.observe(false);
            assert!(told.is_empty(), "{what}: the twin is another:\n{}", told.join("\n"));
        }
    }

    pub fn store(&self) -> &SteppedStore {
        let leader = self.group.as_ref().map(Replicas::leader);
        leader.or(self.store.as_ref()).expect("the store is open")
    }

    /// Closes the store as it should be.
    pub fn close(&mut self) {
        self.twin = None;
        self.store.take().expect("the store is open").close();
    }

    /// The process is gone.
    pub fn kill(&mut self) {
        self.twin = None;
        self.disk.kill();
        self.store = None;
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shape.shards as u32).map(ShardId)
    }

    fn handle(&self, shard: ShardId) -> ShardHandle {
        self.store().store().shard(shard)
    }

    /// Hands over an input.
    pub fn submit(&self, shard: ShardId, input: Input) {
        let taken = self.handle(shard).submit(vec![input]);
        assert!(taken.is_ok(), "shard {shard} took it");
    }

    /// Where the answer to a publish goes.
    pub fn ticket(&self, number: u64) -> Ticket {
        let log = self.log.clone();
        Ticket::Call(Box::new(move |result| {
            log.add(number, Said::Published(result));
        }))
    }

    /// Has something done on a shard.
    pub fn ask<R: Send + 'static>(
        &self,
        shard: ShardId,
        number: u64,
        work: impl FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
    ) {
        let log = self.log.clone();
        self.handle(shard).call(work, move |result| {
            log.add(number, Said::Done(result.map(|_| ())));
        });
    }

    /// Looks at a stream.
    pub fn look(&self, shard: ShardId, number: u64, id: StreamId) {
        let log = self.log.clone();
        let work = move |shard: &mut InTurn<'_, '_>| {
            let now = shard.now();
            let stream = shard.stream(id)?;
            let (mut messages, mut next) = (Vec::new(), 0);
            while let Some(message) = stream.next_message(b">", next)? {
                next = message.seq + 1;
                messages.push(message);
            }
            let names = stream.consumer_names();
            Ok(Box::new(Look {
                state: stream.state()?,
                messages,
                consumers: names
                    .iter()
                    .filter_map(|name| stream.consumer_info(name, now))
                    .collect(),
                lost: stream.ledger().messages(),
            }))
        };
        self.handle(shard)
            .call(work, move |result| log.add(number, Said::Looked(result)));
    }

    /// What was said since this was asked last.
    pub fn said(&mut self) -> Vec<(u64, NanoTime, Said)> {
        let said = std::mem::take(&mut *self.log.said.lock());
        for (number, _, said) in &said {
            let words: [u64; 3] = match said {
                Said::Published(Ok(ack)) => [1, ack.seq, u64::from(ack.duplicate)],
                Said::Published(Err(error)) | Said::Done(Err(error)) | Said::Looked(Err(error)) => {
                    let code = error
                        .rejection
                        .as_ref()
                        .map_or(0, |rejection| u64::from(rejection.code));
                    [2, sum(error.message.as_bytes()), code]
                }
                Said::Done(Ok(())) => [3, 0, 0],
                Said::Looked(Ok(look)) => [4, look.state.bytes, look.state.last_seq],
                Said::Delivered(delivery) => [
                    sum(delivery.consumer.consumer.as_bytes()) ^ delivery.deliveries,
                    delivery.message.seq,
                    delivery.consumer_seq ^ (delivery.pending << 32),
                ],
                Said::Heard => [5, 0, 0],
            };
            for word in [*number].into_iter().chain(words) {
                self.digest = (self.digest.rotate_left(17) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
            let bug = match said {
                Said::Published(Err(error)) | Said::Done(Err(error)) | Said::Looked(Err(error)) => {
                    error.message.contains("a bug in the server")
                }
                _ => false,
            };
            assert!(!bug, "a panic in the engine: {said:?}");
        }
        said
    }

    /// A number that is the same for two runs that did the same.
    pub fn digest(&self) -> [u64; 4] {
        [self.disk.digest(), self.digest, self.now().unsigned_abs(), self.steps]
    }

    /// One turn of a shard.
    pub fn turn(&mut self, shard: ShardId) {
        self.steps += 1;
        if let Some(group) = &mut self.group {
            return group.turn(shard);
        }
        self.store.as_mut().expect("the store is open").turn(shard);
        self.twin_follows();
    }

    /// One step of something: a turn of a shard, a part of a checkpoint, a file in the background.
    pub fn step(&mut self, random: &mut Random) {
        self.steps += 1;
        let shards = self.shape.shards;
        match random.below(8) {
            0..4 => self.turn(ShardId(random.below(shards as u64) as u32)),
            4..7 if self.group.is_some() => {
                if let Some(group) = &mut self.group {
                    group.errand();
                }
            }
            4..7 => {
                let errands = self.store().errands() as u64;
                if errands > 0 {
                    self.store().step_errand(random.below(errands) as usize);
                }
            }
            _ => self.background(),
        }
    }

    fn background(&self) {
        let segment = self.segment.lock().upgrade();
        if let Some(segment) = segment {
            segment.step_background();
        }
    }

    /// Lets everything that has begun come to its end, in an order that the dice choose, and time pass until nothing is
    /// broken or offline any more, nor waits because something failed.
    pub fn settle(&mut self, random: &mut Random) {
        let deadline = self.now() + HEALED_AFTER;
        let injected = self.disk.injected();
        if injected.io + injected.full > self.settled_after {
            self.settled_after = injected.io + injected.full;
            // For that long a stream may leave what it does by itself, such as what is too old, if that failed.
            self.turn_all();
            self.pass(STUMBLE_PAUSE);
        }
        for _ in 0..QUIET_AFTER {
            for _ in 0..4 {
                self.step(random);
            }
            for shard in self.shards() {
                self.turn(shard);
            }
            if let Some(group) = &mut self.group {
                group.calm_down();
                if group.is_under_way() {
                    continue;
                }
            }
            let store = self.store();
            let busy = |shard| store.is_busy(shard) || store.is_broken(shard);
            let is_quiet = store.errands() == 0 && !self.shards().any(busy);
            if self.disk.is_halted() {
                return;
            }
            if is_quiet && store.store().catalogue().offline() == 0 {
                return;
            }
            if is_quiet || self.shards().any(|shard| store.is_broken(shard)) {
                if self.now() > deadline {
                    return;
                }
                self.pass(SECOND);
            }
        }
        panic!("it never becomes quiet: {} errands", self.store().errands());
    }

    /// Takes all that waits, without a step of what is beside the shards.
    pub fn turn_all(&mut self) {
        for shard in self.shards() {
            self.turn(shard);
        }
    }

    /// Whether the process ended in the middle of something.
    pub fn is_over(&self) -> bool {
        self.disk.is_halted()
    }
}

/// Whether an error says for certain that nothing was done.
pub fn is_refusal(error: &weir_engine::Error) -> bool {
    // This code also stands for a failed write.
    const STORE_FAILED: u16 = 10077;
    match &error.rejection {
        Some(rejection) => rejection.code != STORE_FAILED || rejection.text.contains("exceeded"),
        None => false,
    }
}

pub fn sum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A sequence at an edge, or a plain one.
pub fn any_seq(random: &mut Random, plain: Seq) -> Seq {
    match random.below(16) {
        0 => u64::MAX - random.below(3),
        1 => weir_engine::SEQ_LIMIT - 1 + random.below(3),
        2 => i64::MAX as u64 - 1 + random.below(3),
        3 => 0,
        _ => plain,
    }
}
