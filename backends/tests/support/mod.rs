//! What the tests of the engine over real backends share: random choices that a seed repeats, a clock that stands
//! still, and stores that can be closed, killed and opened again.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

pub mod between;
pub mod fixture;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use parking_lot::Mutex;
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_engine::shard::emit::{Delivery, Emit, Event, NoOutlet, Outlet};
use weir_engine::shard::{InTurn, ShardHandle};
use weir_engine::stepped::Twin;
use weir_engine::store::{Capacity, ChunkSize, OpenBackend, OpeningProgress, Store, StoreOptions};
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{BatchLimits, Message, StreamConfig};
use weir_engine::{Backend, LogId, LogOptions, NanoTime, Nanos, Result, Seq, StreamId};

pub const ACCOUNT: &str = "A";

/// Random choices (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// Runs many seeds, `WEIR_SEEDS` if that is set, or the one that `WEIR_SEED` names; a failing one is named.
pub fn run_seeds(storage: Storage, seeds: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name| std::env::var(name).ok().and_then(|number: String| number.parse().ok());
    if let Some(seed) = number("WEIR_SEED") {
        return run(seed);
    }
    for seed in 0..number("WEIR_SEEDS").unwrap_or(seeds) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = outcome {
            eprintln!("{storage:?} fails with WEIR_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Where the messages of the tested streams lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Not journaled: gone after a restart.
    Memory,
    /// Segment files.
    Segment,
    /// The memory backend in the place of the segment backend: journaled, and it outlives the store.
    Persistent,
    /// RocksDB, the journal in segment files.
    #[cfg(feature = "rocksdb")]
    Rocks,
}

impl Storage {
    pub fn survives(self) -> bool {
        self != Self::Memory
    }

    fn kind(self) -> BackendKind {
        match self {
            Self::Memory => BackendKind::Memory,
            Self::Segment | Self::Persistent => BackendKind::Segment,
            #[cfg(feature = "rocksdb")]
            Self::Rocks => BackendKind::RocksDb,
        }
    }
}

/// Puts something between the engine and a backend.
pub type Wrap = Arc<dyn Fn(Arc<dyn Backend>) -> Arc<dyn Backend> + Send + Sync>;

/// A twin that has not taken over, and where all of it lies.
type BesideTwin = (Arc<Mutex<Option<Twin>>>, Arc<MemoryBackend>);

/// A store that is opened again and again.
pub struct Bench {
    folder: tempfile::TempDir,
    storage: Storage,
    persistent: Arc<MemoryBackend>,
    /// The time of the day, and by how much it has stepped.
    clock: Arc<Mutex<(NanoTime, Nanos)>>,
    pub checkpoint_bytes: usize,
    pub shards: usize,
    pub segment_bytes: u64,
    pub chunk_size: ChunkSize,
    pub progress: Option<OpeningProgress>,
    pub capacity: Capacity,
    pub batches: BatchLimits,
    pub wrap: Option<Wrap>,
    outlet: Box<dyn Fn() -> Box<dyn Outlet>>,
    store: Option<Store>,
    /// Told what the journals say, and must be the same: looked at when time passes, and before the store ends.
    twin: Option<BesideTwin>,
    has_twin: bool,
}

/// Turns after which one must have done nothing.
const AT_REST: usize = 100_000;

impl Bench {
    pub fn new(storage: Storage) -> Self {
        Self::with_outlet(storage, || Box::new(NoOutlet))
    }

    pub fn with_outlet(storage: Storage, outlet: impl Fn() -> Box<dyn Outlet> + 'static) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            storage,
            persistent: Arc::new(MemoryBackend::new()),
            clock: Arc::new(Mutex::new((1_700_000_000_000_000_000, 0))),
            checkpoint_bytes: 64 << 20,
            shards: 1,
            segment_bytes: LogOptions::default().segment_bytes,
            chunk_size: ChunkSize::default(),
            progress: None,
            capacity: Capacity::default(),
            batches: BatchLimits::default(),
            wrap: None,
            outlet: Box::new(outlet),
            store: None,
            twin: None,
            has_twin: false,
        }
    }

    pub fn open(&mut self) {
        let store = self.try_open().expect("the store opens");
        self.store = Some(store);
        if self.has_twin {
            self.begin_twin();
        }
    }

    /// From now on, and after each opening, there is a [`Twin`], if the streams are journaled.
    pub fn begin_twin(&mut self) {
        self.has_twin = self.storage.survives();
        if !self.has_twin || self.store.is_none() {
            return;
        }
        let backend = Arc::new(MemoryBackend::new());
        let lies_in = backend.clone();
        let open: OpenBackend = Box::new(move |_| Ok(lies_in.clone() as Arc<dyn Backend>));
        let clock = self.clock.clone();
        let options = StoreOptions {
            shards: self.store().local_shards(),
            chunk_size: self.chunk_size,
            ..StoreOptions::new(Arc::new(move || clock.lock().0))
        };
        let twin = Twin::new(open, options);
        self.twin = Some((Arc::new(Mutex::new(Some(twin))), backend));
        self.check_twin("at the opening");
    }

    /// From now on there is none: what comes now the journal does not tell.
    pub fn end_twin(&mut self) {
        (self.has_twin, self.twin) = (false, None);
    }

    /// The twin takes what the journals have more, and must be the same; nothing if there is none.
    pub fn check_twin(&self, what: &str) {
        let (Some((twin, _)), Some(store)) = (&self.twin, &self.store) else {
            return;
        };
        for number in store.shards() {
            let visit = || {
                let twin = twin.clone();
                let told = store.shard(number).call_blocking(move |shard| {
                    let mut twin = twin.lock();
                    let twin = twin.as_mut().expect("it has not taken over");
                    twin.visit(shard, true)
                });
                told.expect("what can be compared")
            };
            let told = (0..AT_REST)
                .find_map(|_| visit())
                .expect("a turn that has done nothing");
            assert!(told.is_empty(), "{what}: the twin is another:\n{}", told.join("\n"));
        }
    }

    /// Ends the store in an orderly way, as a killed process would, or so that its twin takes over, and opens it again.
    pub fn end_somehow(&mut self, random: &mut Random) {
        match random.below(3) {
            2 if self.can_fail_over() => return self.fail_over(),
            0 => self.close(),
            _ => self.kill(),
        }
        self.open();
    }

    /// Whether there is a twin whose store goes on as one of these.
    pub fn can_fail_over(&self) -> bool {
        self.twin.is_some() && matches!(self.storage, Storage::Persistent | Storage::Segment)
    }

    /// Stops the store as a killed process would; its twin takes over, as a store that survives.
    pub fn fail_over(&mut self) {
        self.check_twin("before it takes over");
        let (twin, backend) = self.twin.take().expect("there is a twin");
        self.store.take().expect("the store is open").abandon();
        let twin = twin.lock().take().expect("it has not taken over");
        twin.hand_over().expect("it hands over");
        (self.persistent, self.storage) = (backend, Storage::Persistent);
        self.open();
    }

    pub fn try_open(&self) -> Result<Store> {
        let folder = self.folder.path().to_owned();
        let (persistent, storage) = (self.persistent.clone(), self.storage);
        let wrap = self.wrap.clone();
        let open: OpenBackend = Box::new(move |kind| {
            let backend = backend(kind, storage, &folder, &persistent)?;
            Ok(match &wrap {
                Some(wrap) => wrap(backend),
                None => backend,
            })
        });
        let (folder, persistent) = (self.folder.path().to_owned(), self.persistent.clone());
        let read: OpenBackend = Box::new(move |kind| read_only(kind, storage, &folder, &persistent));
        let (clock, steady) = (self.clock.clone(), self.clock.clone());
        let options = StoreOptions {
            shards: self.shards,
            segment_bytes: self.segment_bytes,
            chunk_size: self.chunk_size,
            progress: self.progress.clone(),
            checkpoint_bytes: self.checkpoint_bytes,
            there: self.there(),
            capacity: self.capacity,
            batches: self.batches,
            read: Some(read),
            monotonic: Some(Arc::new(move || {
                let (day, stepped) = *steady.lock();
                day - stepped
            })),
            ..StoreOptions::new(Arc::new(move || clock.lock().0))
        };
        Store::open(open, options, |_| (self.outlet)())
    }

    /// RocksDB, if a stream ever asked for it.
    fn there(&self) -> Vec<BackendKind> {
        let used = self.folder.path().join("rocksdb").is_dir();
        used.then_some(BackendKind::RocksDb).into_iter().collect()
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open")
    }

    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    pub fn close(&mut self) {
        self.check_twin("before it is closed");
        self.twin = None;
        self.store.take().expect("the store is open").close();
    }

    /// Stops the store as a killed process would.
    pub fn kill(&mut self) {
        self.check_twin("before it is killed");
        self.twin = None;
        self.store.take().expect("the store is open").abandon();
    }

    /// The folder of the segment backend.
    pub fn segment_folder(&self) -> PathBuf {
        self.folder.path().join("segment")
    }

    /// The folder of its logs.
    pub fn logs_folder(&self) -> PathBuf {
        self.segment_folder().join("logs")
    }

    /// The backend of the journals and the catalogue, while the store is closed.
    pub fn root(&self) -> Arc<dyn Backend> {
        let opened = backend(BackendKind::Segment, self.storage, self.folder.path(), &self.persistent);
        opened.expect("the backend opens")
    }

    /// The logs that the backend of the journals has.
    pub fn logs(&self) -> Vec<LogId> {
        match self.storage {
            Storage::Persistent => self.persistent.list().expect("a list"),
            _ => {
                let folder = self.folder.path().join("segment");
                let backend = SegmentBackend::open_read_only(&folder).expect("the backend opens");
                backend.list().expect("a list")
            }
        }
    }

    pub fn now(&self) -> NanoTime {
        self.clock.lock().0
    }

    /// Lets time pass while the store is closed.
    pub fn skip(&self, nanos: Nanos) {
        self.clock.lock().0 += nanos;
    }

    /// Sets the time of the day, while no time passes.
    pub fn step(&self, nanos: Nanos) {
        let mut clock = self.clock.lock();
        clock.0 += nanos;
        clock.1 += nanos;
    }

    /// Lets time pass, and what is due happen.
    pub fn advance(&self, nanos: Nanos) {
        self.skip(nanos);
        for number in self.store().shards() {
            let done = self.store().shard(number).call_blocking(|_| Ok(()));
            done.expect("the shard answers");
        }
        self.check_twin("when time has passed");
    }

    pub fn settings(&self, config: &StreamConfig) -> Settings {
        let settings = Settings::of(config, &Defaults::default()).expect("settings make sense");
        Settings {
            backend: self.storage.kind(),
            #[cfg(feature = "rocksdb")]
            index: match self.storage {
                Storage::Rocks => weir_engine::stream::settings::IndexKind::Paged,
                _ => settings.index,
            },
            ..settings
        }
    }

    pub fn create(&self, config: &StreamConfig) -> Handle {
        let store = self.store();
        let shard = store.shard(store.shard_for(ACCOUNT, &config.name));
        let id = store.allocate_id();
        let (config, settings) = (config.clone(), self.settings(config));
        let created = shard.call_blocking(move |shard| shard.create_stream(id, &ACCOUNT.into(), config, settings));
        let id = created.expect("the stream is made");
        Handle { shard, id }
    }

    /// The way to a stream that exists.
    pub fn find(&self, name: &str) -> Option<Handle> {
        let entry = self.store().catalogue().get(ACCOUNT, name)?;
        Some(Handle {
            shard: self.store().shard(entry.shard),
            id: entry.id,
        })
    }
}

fn backend(
    kind: BackendKind,
    storage: Storage,
    folder: &Path,
    persistent: &Arc<MemoryBackend>,
) -> Result<Arc<dyn Backend>> {
    Ok(match kind {
        BackendKind::Memory => Arc::new(MemoryBackend::new()),
        BackendKind::Segment if storage == Storage::Persistent => persistent.clone(),
        BackendKind::Segment => Arc::new(SegmentBackend::open(&folder.join("segment"))?),
        #[cfg(feature = "rocksdb")]
        BackendKind::RocksDb => Arc::new(weir_backends::rocks::RocksBackend::open(
            &folder.join("rocksdb"),
            &weir_backends::rocks::RocksOptions::default(),
        )?),
        #[cfg(not(feature = "rocksdb"))]
        BackendKind::RocksDb => {
            return Err(weir_engine::Error::unsupported("built without rocksdb"));
        }
    })
}

fn read_only(
    kind: BackendKind,
    storage: Storage,
    folder: &Path,
    persistent: &Arc<MemoryBackend>,
) -> Result<Arc<dyn Backend>> {
    Ok(match kind {
        BackendKind::Segment if storage != Storage::Persistent => {
            Arc::new(SegmentBackend::open_read_only(&folder.join("segment"))?)
        }
        #[cfg(feature = "rocksdb")]
        BackendKind::RocksDb => Arc::new(weir_backends::rocks::RocksBackend::open_read_only(
            &folder.join("rocksdb"),
            &weir_backends::rocks::RocksOptions::default(),
        )?),
        _ => backend(kind, storage, folder, persistent)?,
    })
}

/// One stream, asked from outside its shard.
#[derive(Clone)]
pub struct Handle {
    pub shard: ShardHandle,
    pub id: StreamId,
}

impl Handle {
    pub fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut InTurn<'_, '_>, StreamId) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let id = self.id;
        self.shard.call_blocking(move |shard| work(shard, id))
    }

    /// Has so many turns done, and as many again for as long as something is read from the disk for consumers.
    pub fn settle(&self, turns: usize) {
        let mut quiet = 0;
        for _ in 0..turns {
            self.call(|_, _| Ok(())).unwrap();
        }
        // What the turn of one question begins to read, the next one sees; and its messages are out before the one after that.
        while quiet < 3 {
            match self.call(|shard, _| Ok(shard.is_reading())).unwrap() {
                true => quiet = 0,
                false => quiet += 1,
            }
        }
    }

    pub fn publish(&self, subject: &str, headers: &str, payload: &[u8]) -> Result<(u64, bool)> {
        let subject = Bytes::copy_from_slice(subject.as_bytes());
        let body = Bytes::from([headers.as_bytes(), payload].concat());
        let headers_len = headers.len();
        self.call(move |shard, id| {
            let ack = shard.publish(id, subject, headers_len, body)?;
            Ok((ack.seq, ack.duplicate))
        })
    }

    pub fn message(&self, seq: u64) -> Option<Message> {
        let found = self.call(move |shard, id| shard.stream(id).expect("the stream").message(seq));
        found.expect("messages can be read")
    }
}

/// Hands on which streams go offline, and which come back.
pub struct Told(pub Sender<String>);

impl Outlet for Told {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        false
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        false
    }

    fn emit(&mut self, emit: Emit) {
        // The receiver may be gone with its test.
        let _ = match emit {
            Emit::Event(Event::StreamOffline { stream, .. }) => self.0.send(format!("{stream} offline")),
            Emit::Event(Event::StreamOnline { stream, .. }) => self.0.send(format!("{stream} online")),
            _ => Ok(()),
        };
    }

    fn flush(&mut self) {}
}

/// Keeps what is delivered; everybody listens.
#[derive(Clone, Default)]
pub struct Inbox(pub Arc<Mutex<Vec<Delivery>>>);

impl Inbox {
    /// The sequences of what came since this was last asked.
    pub fn take(&self) -> Vec<Seq> {
        let came = std::mem::take(&mut *self.0.lock());
        came.iter().map(|delivery| delivery.message.seq).collect()
    }
}

impl Outlet for Inbox {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        if let Emit::Deliver(delivery) = emit {
            self.0.lock().push(delivery);
        }
    }

    fn flush(&mut self) {}
}
