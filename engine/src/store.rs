//! A store: all the streams of a directory, on their shards. What a server or an embedding program opens.

mod adding;
mod catalogue;
mod environment;
mod open_index;
mod read_log;
mod renewal;
mod reservation;
mod shards;
mod stats;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Backend, Kv, KvWrite, LogOptions};
use crate::embed::outlet::{FetchOutlet, Fetches};
use crate::error::{Error, Kind, Result};
use crate::finding::{FINDING_PREFIX, Finding, FindingKind};
use crate::scrub::{ScrubOptions, ScrubStatus, ScrubThread};
use crate::shard::Syncs;
use crate::shard::adopt::Adopted;
use crate::shard::emit::Outlet;
use crate::shard::errand::Errands;
use crate::shard::snapshot::{STORE_KEY, StoreSnapshot};
use crate::shard::{Input, QueueLimits, Role, Runner, Shard, ShardHandle};
use crate::stream::BatchLimits;
use crate::stream::settings::BackendKind;
use crate::types::{LogRef, NanoTime, ShardId, StreamId};
use crate::words;

pub use crate::index::ChunkSize;
pub use crate::shard::AsideSizes;
pub use catalogue::{Catalogue, MoveSeen, StreamEntry};
pub(crate) use catalogue::{FIRST_STREAM_ID, SKIPPED_IDS};
pub(crate) use environment::{ClosedLog, Environment, KnownLog, remove_log};
pub(crate) use open_index::Unread;
pub use reservation::{Intent, Reservation, UnderWay};
pub(crate) use shards::Shards;
pub use stats::{Capacity, StreamStats};
pub(crate) use stats::{Pools, Shown};

/// Where the engine gets its time from, in nanoseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> NanoTime + Send + Sync>;

/// Told now and then while a stream is being opened: its name, records of its log read so far, and how many there are.
pub type OpeningProgress = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// Opens a backend when a stream first needs it. It is asked once for each kind.
pub type OpenBackend = Box<dyn Fn(BackendKind) -> Result<Arc<dyn Backend>> + Send + Sync>;

/// The version of what the engine writes: snapshots, commands, packed heads.
pub const FORMAT_VERSION: u32 = 3;
/// The version of a store to which shards were [added](Store::add_shard): programs that know no such shards would take what is theirs for
/// what nobody has.
pub const FORMAT_ADDED: u32 = 4;
/// The lowest version that is read: stores of it are converted when they are opened.
pub const FORMAT_READ: u32 = 1;
/// Shards at most: more threads than that only get in each other's way.
pub const SHARDS_MAX: usize = 64;

/// Shards at most of a new store of which nobody says how many it is to have.
const SHARDS_MAX_DEFAULT: usize = 4;

/// Shards of a new store of which nobody says how many it is to have: one per core, but few, for each has a journal of its own.
pub fn default_shards() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores.clamp(1, SHARDS_MAX_DEFAULT)
}

/// Tells how many bytes are free; `None` if that cannot be told.
pub type Room = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// How a store is run.
pub struct StoreOptions {
    /// Shards of a new store, 1 to [`SHARDS_MAX`]; an existing one keeps its number.
    pub shards: usize,
    /// Where the time comes from: that of the day, which may step either way.
    pub clock: Clock,
    /// Nanoseconds from some moment on, which no change of the time of day touches: by these waits last. `None` if `clock`
    /// never steps.
    pub monotonic: Option<Clock>,
    /// Bytes that a shard's journal grows by between two checkpoints.
    pub checkpoint_bytes: usize,
    /// A random number, from which the ids are made that the engine gives out.
    pub entropy: u64,
    /// How much all streams may hold together.
    pub capacity: Capacity,
    /// What batches are held to.
    pub batches: BatchLimits,
    /// How much may wait for each shard.
    pub queue: QueueLimits,
    /// Bytes of a file of a log or a journal, about.
    pub segment_bytes: u64,
    /// Sequences in a chunk of an index in memory: fewer are for tests.
    pub chunk_size: ChunkSize,
    /// From how many bytes on the body of a message is in its stream's log alone.
    pub aside: AsideSizes,
    /// The backends that have files already. Their logs are compared with the catalogue and keep their ids for themselves, even
    /// where the catalogue has lost every stream that uses the backend.
    pub there: Vec<BackendKind>,
    /// Opens a backend to look at what it holds, beside one that is open: with this, streams can be read whose journal cannot be
    /// opened or written.
    pub read: Option<OpenBackend>,
    /// Tells how many bytes are free where the backends keep theirs, as far as that can be told: no stream's messages go over to
    /// another backend where there is no room for the copy.
    pub room: Option<Room>,
    /// Nothing happens by itself: no message grows too old, no schedule falls due, no consumer is given up or hands out again.
    /// For tools that work on a store whose clients are elsewhere.
    pub still: bool,
    /// Told how far the opening of streams is that takes long.
    pub progress: Option<OpeningProgress>,
    /// How what is stored is read so that damage is found; `None`: only when somebody reads it.
    pub scrub: Option<ScrubOptions>,
}

impl StoreOptions {
    /// Two shards, a checkpoint every 64 MiB, no bound on what is stored, nats-server's on what waits, and ids that depend
    /// on the time alone.
    pub fn new(clock: Clock) -> Self {
        Self {
            shards: 2,
            clock,
            monotonic: None,
            checkpoint_bytes: 64 << 20,
            entropy: 0,
            capacity: Capacity::default(),
            batches: BatchLimits::default(),
            queue: QueueLimits::default(),
            segment_bytes: LogOptions::default().segment_bytes,
            chunk_size: ChunkSize::default(),
            aside: AsideSizes::default(),
            there: Vec::new(),
            read: None,
            room: None,
            still: false,
            progress: None,
            scrub: None,
        }
    }
}

/// Says, when it is dropped by a panic, that a shard does not serve any more: otherwise it would only look busy.
struct Trouble {
    catalogue: Arc<Catalogue>,
    number: ShardId,
}

impl Drop for Trouble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = format!(
                "storage thread {} has ended by a fault of its own: restart the server",
                self.number
            );
            tracing::error!("{why}");
            self.catalogue.set_trouble(self.number, Some(why));
        }
    }
}

/// All the streams of a directory. Closing it writes a last checkpoint; without that, the next opening applies the
/// journal instead.
pub struct Store {
    shards: Arc<Shards>,
    /// Held while one comes or goes.
    threads: Mutex<BTreeMap<ShardId, JoinHandle<()>>>,
    queue: QueueLimits,
    catalogue: Arc<Catalogue>,
    /// Of each shard, if the store is an embedded one.
    fetches: BTreeMap<ShardId, Arc<Fetches>>,
    scrubber: Mutex<Option<ScrubThread>>,
    scrubbed: Option<Arc<Mutex<ScrubStatus>>>,
    syncs: Arc<Syncs>,
    /// How much all streams may be promised together.
    capacity: Capacity,
    /// As long as any shard has it: the store is let go of with the last of them.
    env: Weak<Environment>,
}

/// What is to run, of each shard.
pub(crate) type Runners = BTreeMap<ShardId, Runner>;

impl Store {
    /// Opens a store and starts its shards. `outlet` makes the way out for each shard.
    ///
    /// # Errors
    /// If a backend cannot be opened, or holds what this version does not understand.
    pub fn open(
        open: OpenBackend,
        options: StoreOptions,
        outlet: impl FnMut(ShardId) -> Box<dyn Outlet>,
    ) -> Result<Self> {
        let scrub = options.scrub.filter(|_| !options.still);
        let (mut store, runners, env) = Self::prepare(open, options, outlet, Errands::default(), Role::Alone)?;
        for (number, runner) in runners {
            let thread = spawn(number, runner, &store.catalogue)?;
            store.threads.lock().insert(number, thread);
        }
        if let Some(scrub) = scrub {
            let status = Arc::default();
            let thread = ScrubThread::start(env, Arc::clone(&store.shards), scrub, Arc::clone(&status))?;
            *store.scrubber.lock() = Some(thread);
            store.scrubbed = Some(status);
        }
        Ok(store)
    }

    /// Opens a store whose shards are for the caller to run.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn prepare(
        open: OpenBackend,
        options: StoreOptions,
        mut outlet: impl FnMut(ShardId) -> Box<dyn Outlet>,
        errands: Errands,
        role: Role,
    ) -> Result<(Self, Runners, Arc<Environment>)> {
        if !(1..=SHARDS_MAX).contains(&options.shards) {
            return Err(Error::invalid(format!(
                "{} shards: allowed are 1 to {SHARDS_MAX}",
                options.shards
            )));
        }
        let (wished, queue, there) = (options.shards, options.queue, options.there.clone());
        let capacity = options.capacity;
        let env = Environment::new(open, options, errands);
        let catalogue = env.catalogue.clone();
        for kind in there {
            // What it keeps is offline then, each stream that the catalogue knows with the reason.
            if let Err(error) = env.backend(kind) {
                tracing::warn!("whether {kind} has logs that the catalogue does not is not known: {error}");
            }
        }
        let now = (env.clock)();
        let local = local_shards(shard_count(&env, wished)?);
        take_findings(&env, now)?;
        let mut opened = open_shards(&local, &env, role, now)?;
        catalogue.skip_hidden_ids();
        if !opened.values().any(Shard::is_suspended) {
            forget_settled(&env)?;
        }
        let mut serving = opened.values_mut().filter(|shard| !shard.is_suspended());
        serving.try_for_each(Shard::drop_unfinished)?;
        crate::orphans::look_for_orphans(&env, &mut opened, now)?;
        let mut shards = Vec::new();
        let mut runners = Runners::new();
        for (number, shard) in opened {
            let (handle, inbox, load) = ShardHandle::new(queue);
            let runner = Runner::new(shard, handle.clone(), inbox, load, outlet(number));
            runners.insert(number, runner);
            shards.push((number, handle));
        }
        let store = Self {
            shards: Arc::new(Shards::new(shards)),
            threads: Mutex::default(),
            queue,
            catalogue,
            fetches: BTreeMap::new(),
            scrubber: Mutex::default(),
            scrubbed: None,
            syncs: Arc::clone(&env.syncs),
            capacity,
            env: Arc::downgrade(&env),
        };
        Ok((store, runners, env))
    }

    /// Opens a store for a program that has no clients: nothing is delivered to subjects, consumers' messages are
    /// [fetched](crate::embed::EmbeddedStream::fetch).
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn embedded(open: OpenBackend, options: StoreOptions) -> Result<Self> {
        let mut fetches = BTreeMap::new();
        let mut store = Self::open(open, options, |shard| {
            let own = Arc::new(Fetches::default());
            fetches.insert(shard, own.clone());
            Box::new(FetchOutlet(own))
        })?;
        store.fetches = fetches;
        Ok(store)
    }

    /// The streams.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The way to a shard. One that is not there is as one that has ended.
    pub fn shard(&self, id: ShardId) -> ShardHandle {
        self.shards.get(id)
    }

    /// The open fetches of a shard; `None` if the store was opened with an outlet of its own.
    pub(crate) fn fetches(&self, shard: ShardId) -> Option<Arc<Fetches>> {
        self.fetches.get(&shard).cloned()
    }

    /// The shard that a new stream of that name is to belong to. Where one is that exists its [entry](StreamEntry::shard) says.
    pub fn shard_for(&self, account: &str, name: &str) -> ShardId {
        shard_for(account, name, self.shards.local())
    }

    /// What was found wrong with the store's own bookkeeping, at this start or before, and not settled yet; up to
    /// [`FINDINGS_MAX`](crate::finding::FINDINGS_MAX).
    pub fn findings(&self) -> Vec<Finding> {
        self.catalogue.findings()
    }

    /// How much all streams may hold, and be promised, together.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// How long syncing the journals took; counted where [`StoreOptions::monotonic`] is given.
    pub fn syncs(&self) -> &Arc<Syncs> {
        &self.syncs
    }

    /// How far the scrubber is; `None` if there is none.
    pub fn scrubbed(&self) -> Option<ScrubStatus> {
        self.scrubbed.as_ref().map(|status| status.lock().clone())
    }

    /// Opens a backend that a stream is going to need, if it is not open yet: from a thread that may wait, for else a shard does it.
    ///
    /// # Errors
    /// If it cannot be opened, or the store is closed; the shard that then needs it fails in the same way.
    pub fn open_backend(&self, kind: BackendKind) -> Result<()> {
        let env = self.env.upgrade();
        let env = env.ok_or_else(|| Error::closed("the store is closed"))?;
        env.backend(kind).map(drop)
    }

    /// An id for a new stream.
    pub fn allocate_id(&self) -> StreamId {
        self.catalogue.allocate()
    }

    /// The shards that are there, in order.
    pub fn shards(&self) -> Vec<ShardId> {
        self.shards.ids()
    }

    /// The ways to the shards, for who has no store.
    #[cfg(feature = "conformance")]
    pub(crate) fn ways(&self) -> Arc<Shards> {
        Arc::clone(&self.shards)
    }

    /// How many of them the store was opened with.
    pub fn local_shards(&self) -> usize {
        self.shards.local()
    }

    /// Makes a stream of a log that no stream has, which its label says to be that of stream `name` of an account: see
    /// [`InTurn::adopt`](crate::shard::InTurn::adopt). Waits, as the functions of an embedded store do.
    ///
    /// # Errors
    /// As there.
    pub fn adopt(&self, log: LogRef, account: &str, name: &str) -> Result<Adopted> {
        let shard = self.shard(self.shard_for(account, name));
        shard.call_blocking(move |shard| shard.adopt(log))
    }

    /// Writes a last checkpoint and stops the shards. Whatever is asked of them later is answered as closed.
    pub fn close(&self) {
        self.stop(|| Input::Close);
    }

    /// Stops the shards without a last checkpoint, as if the process had been killed: the next opening applies the
    /// journal. For tests of that, and for programs that have to be gone at once.
    pub fn abandon(self) {
        self.stop(|| Input::Abandon);
    }

    fn stop(&self, how: impl Fn() -> Input) {
        let scrubber = self.scrubber.lock().take();
        if let Some(scrubber) = scrubber {
            scrubber.stop();
        }
        // None comes any more: with the last of them what they share is gone.
        let mut threads = self.threads.lock();
        for shard in self.shards.ids() {
            // A shard that stopped by itself needs no telling.
            let _ = self.shard(shard).send(vec![how()]);
        }
        for (_, thread) in std::mem::take(&mut *threads) {
            if thread.join().is_err() {
                tracing::error!("a shard's thread panicked");
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Has a thread run a shard.
fn spawn(number: ShardId, runner: Runner, catalogue: &Arc<Catalogue>) -> Result<JoinHandle<()>> {
    let catalogue = Arc::clone(catalogue);
    std::thread::Builder::new()
        .name(format!("weir-shard-{number}"))
        .spawn(move || {
            let _trouble = Trouble { catalogue, number };
            runner.run();
        })
        .map_err(|error| Error::io("starting a shard's thread", error))
}

/// Opens the shards, side by side: each reads the logs of its streams.
fn open_shards(
    which: &[ShardId],
    env: &Arc<Environment>,
    role: Role,
    now: NanoTime,
) -> Result<BTreeMap<ShardId, Shard>> {
    let open = |id| Ok((id, Shard::open_or_suspend(id, env, role, now)?));
    if which.len() == 1 || env.errands.are_stepped() {
        return which.iter().copied().map(open).collect();
    }
    std::thread::scope(|scope| {
        let begun: Vec<_> = which.iter().map(|id| scope.spawn(move || open(*id))).collect();
        let opened = begun.into_iter().map(|thread| {
            let panicked = || Err(Error::closed("opening a shard panicked"));
            thread.join().unwrap_or_else(|_| panicked())
        });
        opened.collect()
    })
}

/// The ids of so many shards that a store is opened with.
pub(crate) fn local_shards(count: usize) -> Vec<ShardId> {
    (0..count.clamp(1, SHARDS_MAX) as u32).map(ShardId).collect()
}

/// The shard, of so many, that a new stream of that name is to belong to.
pub(crate) fn shard_for(account: &str, name: &str, shards: usize) -> ShardId {
    // FNV-1a: the same in every process, so that a stream made anew comes to the same shard.
    let hash = account
        .bytes()
        .chain([0])
        .chain(name.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    ShardId((hash % shards.max(1) as u64) as u32)
}

/// Takes up the findings that are not settled, and keeps what opening the catalogue found lost.
pub(crate) fn take_findings(env: &Environment, now: NanoTime) -> Result<()> {
    let root = env.backend(BackendKind::Segment)?;
    let kv = root.kv();
    let mut before = Vec::new();
    kv.scan(FINDING_PREFIX, None, &mut |key, value| {
        let key = String::from_utf8_lossy(&key[FINDING_PREFIX.len()..]).into_owned();
        match crate::json::from_json::<Finding>(value) {
            Ok(finding) => before.push((key, finding)),
            Err(error) => tracing::error!(key, "a finding that was kept: {error}"),
        }
        ControlFlow::Continue(())
    })?;
    for (key, finding) in before {
        if finding.settled {
            // What it tells of may be found again when its shard is added again.
            let is_found = !finding.is_local();
            env.catalogue.settled.lock().insert(key, is_found);
            continue;
        }
        tracing::warn!("not settled yet: {finding}");
        env.catalogue.add_finding(&key, finding);
    }
    let lost = root.lost();
    for (n, line) in lost.iter().enumerate() {
        let text = format!(
            "part of the catalogue is lost: {line}. What streams and consumers were told since an earlier checkpoint may be missing"
        );
        let finding = Finding::new(FindingKind::Catalogue, text, now);
        env.keep_finding(&format!("catalogue-{now:020}-{n}"), finding)?;
    }
    if !lost.is_empty() && !env.is_reading() {
        root.sync()?;
    }
    Ok(())
}

/// Forgets findings that are settled and were not found again: checkpoints have come over what they told of.
fn forget_settled(env: &Environment) -> Result<()> {
    let mut settled = env.catalogue.settled.lock();
    let over: Vec<KvWrite> = settled
        .iter()
        .filter(|(_, found)| !**found)
        .map(|(key, _)| ([FINDING_PREFIX, key.as_bytes()].concat().into(), None))
        .collect();
    settled.retain(|_, found| *found);
    match over.is_empty() {
        true => Ok(()),
        false => match env.backend(BackendKind::Segment)?.kv().put_all(&over) {
            // A later start forgets them.
            Err(error) if error.kind == Kind::Full => Ok(()),
            forgotten => forgotten,
        },
    }
}

/// Refuses a store, of which this is the segment backend, whose record of itself a start would refuse. Writes nothing.
///
/// # Errors
/// As [`Store::open`].
pub fn check(root: &dyn Backend) -> Result<()> {
    read_store(root.kv().as_ref()).map(drop)
}

/// What the store says of itself; `None` if it is new.
///
/// # Errors
/// If it makes no sense, or is of a version that is not read.
pub(crate) fn read_store(kv: &dyn Kv) -> Result<Option<StoreSnapshot>> {
    let Some(json) = kv.get(STORE_KEY)? else {
        return Ok(None);
    };
    let snapshot: StoreSnapshot = crate::json::from_json(&json)?;
    if !(FORMAT_READ..=FORMAT_ADDED).contains(&snapshot.version) {
        return Err(Error::unsupported(format!(
            "the store has format version {}, this program reads {FORMAT_READ} to {FORMAT_ADDED}: use the version of Weir that wrote it",
            snapshot.version
        )));
    }
    Ok(Some(snapshot))
}

/// How many shards the store has; a new one gets as many as wished.
fn shard_count(env: &Environment, wished: usize) -> Result<usize> {
    let root = env.backend(BackendKind::Segment)?;
    let kv = root.kv();
    if let Some(snapshot) = read_store(kv.as_ref())? {
        if snapshot.version < FORMAT_VERSION {
            // What version 2 has more is made where it is missing: labels when logs are opened, the rest by checkpoints. Version 3 has
            // references to bodies in journals, from now on.
            write_store(root.as_ref(), snapshot.clone())?;
            tracing::info!(from = snapshot.version, to = FORMAT_VERSION, "the store was converted");
        }
        if snapshot.shards != wished {
            tracing::info!(
                "the store has {} and keeps them",
                words::count(snapshot.shards as u64, "shard")
            );
        }
        return Ok(snapshot.shards.clamp(1, SHARDS_MAX));
    }
    let snapshot = StoreSnapshot {
        shards: wished,
        ..StoreSnapshot::default()
    };
    write_store(root.as_ref(), snapshot)?;
    Ok(wished)
}

/// Writes what the store says of itself, with the version that it has by that.
fn write_store(root: &dyn Backend, snapshot: StoreSnapshot) -> Result<()> {
    let version = match snapshot.added.is_empty() {
        true => FORMAT_VERSION,
        false => FORMAT_ADDED,
    };
    let json = crate::json::to_json(&StoreSnapshot { version, ..snapshot });
    root.kv().put_all(&[(Bytes::from_static(STORE_KEY), Some(json))])?;
    root.sync()
}
