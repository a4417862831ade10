//! A store: all the streams of a directory, on their shards. What a server or an embedding program opens.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::backend::{Backend, KvWrite, Log, LogChange, LogOptions, LogReader};
use crate::embed::outlet::{FetchOutlet, Fetches};
use crate::error::{Error, Kind, Result};
use crate::finding::{FINDING_PREFIX, FINDINGS_MAX, Finding, FindingKind};
use crate::index::{Index, Records};
use crate::shard::emit::Outlet;
use crate::shard::errand::Errands;
use crate::shard::holes::covered_key;
use crate::shard::label::LogLabel;
use crate::shard::snapshot::{LAST_ID_KEY, STORE_KEY, StoreSnapshot};
use crate::shard::{Input, QueueLimits, Runner, Shard, ShardHandle};
use crate::stream::message::{has_life, life_in};
use crate::stream::messages::{Identity, Messages};
use crate::stream::settings::{BackendKind, IndexKind, Settings};
use crate::stream::{BatchLimits, Storage, Stream, StreamConfig, subject_of};
use crate::types::{LogId, NUMBER_MAX, NanoTime, Seq};
use crate::words;

/// Where the engine gets its time from, in nanoseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> NanoTime + Send + Sync>;

/// Opens a backend when a stream first needs it. It is asked once for each kind.
pub type OpenBackend = Box<dyn Fn(BackendKind) -> Result<Arc<dyn Backend>> + Send + Sync>;

/// The version of what the engine writes: snapshots, commands, packed heads.
pub const FORMAT_VERSION: u32 = 2;
/// The lowest version that is read: stores of it are converted when they are opened.
pub const FORMAT_READ: u32 = 1;
/// The first log id that is not a journal's.
pub(crate) const FIRST_STREAM_ID: u64 = 256;
/// Memory for the subjects of one paged index.
const PAGED_CACHE_BYTES: usize = 8 << 20;
/// Offline streams, and findings, that one text of health names; of more than these only the number is told.
const TROUBLES_NAMED: usize = 3;
/// Bytes that it says of each.
const TROUBLE_BYTES: usize = 512;
/// Shards at most: more threads than that only get in each other's way.
pub const SHARDS_MAX: usize = 64;

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
}

/// How much all streams of a store may hold together, in bytes as their own limits count them. Publishes beyond are
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Those in memory.
    pub memory: u64,
    /// Those on disk.
    pub file: u64,
}

impl Default for Capacity {
    /// No bound.
    fn default() -> Self {
        Self {
            memory: u64::MAX,
            file: u64::MAX,
        }
    }
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
        }
    }
}

/// What streams of one kind of storage hold together, and may hold.
#[derive(Debug)]
struct Pool {
    used: AtomicU64,
    limit: u64,
}

/// The pools of a store.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    memory: Arc<Pool>,
    file: Arc<Pool>,
}

impl Pools {
    fn new(capacity: Capacity) -> Self {
        let pool = |limit| {
            Arc::new(Pool {
                used: AtomicU64::new(0),
                limit,
            })
        };
        Self {
            memory: pool(capacity.memory),
            file: pool(capacity.file),
        }
    }

    /// For a stream that holds nothing yet.
    pub fn stats(&self, storage: Storage) -> Arc<StreamStats> {
        Arc::new(StreamStats {
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            consumers: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            pool: Arc::clone(match storage {
                Storage::Memory => &self.memory,
                Storage::File => &self.file,
            }),
        })
    }
}

/// What a stream holds, as of its last turn; readable from any thread.
#[derive(Debug)]
pub struct StreamStats {
    messages: AtomicU64,
    bytes: AtomicU64,
    consumers: AtomicU64,
    lost: AtomicU64,
    pool: Arc<Pool>,
}

impl Drop for StreamStats {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl StreamStats {
    /// Messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes, as the stream's limits count them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Consumers.
    pub fn consumers(&self) -> u64 {
        self.consumers.load(Ordering::Relaxed)
    }

    /// Messages that it has lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lost(&self, messages: u64) {
        self.lost.store(messages, Ordering::Relaxed);
    }

    /// Whether all streams on the same kind of storage hold more than they may, as of their last turns.
    pub(crate) fn is_beyond_capacity(&self) -> bool {
        self.pool.used.load(Ordering::Relaxed) > self.pool.limit
    }

    pub(crate) fn set(&self, messages: u64, bytes: u64, consumers: u64) {
        self.messages.store(messages, Ordering::Relaxed);
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if before != bytes {
            // Wraps round where it became less.
            self.pool.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        }
        self.consumers.store(consumers, Ordering::Relaxed);
    }
}

/// A stream as the catalogue has it.
#[derive(Clone, Debug)]
pub struct StreamEntry {
    /// Its log.
    pub id: LogId,
    /// The shard it belongs to.
    pub shard: usize,
    /// Its account.
    pub account: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its configuration.
    pub config: StreamConfig,
    /// Its storage.
    pub settings: Settings,
    /// When it was made.
    pub created: NanoTime,
    /// What it holds.
    pub stats: Arc<StreamStats>,
    /// Why it is offline, if it is: then it can be read at most.
    pub offline: Option<Arc<str>>,
}

impl StreamEntry {
    pub(crate) fn of(stream: &Stream, shard: usize) -> Self {
        Self {
            id: stream.id(),
            shard,
            account: stream.account().clone(),
            name: stream.name().clone(),
            config: stream.config().clone(),
            settings: stream.messages.settings,
            created: stream.created(),
            stats: stream.stats.clone(),
            offline: None,
        }
    }
}

type AccountAndName = (Arc<str>, Arc<str>);

/// All streams by account and name.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Held while the highest id is noted.
    noting: Mutex<()>,
    streams: RwLock<BTreeMap<AccountAndName, Arc<StreamEntry>>>,
    last_id: AtomicU64,
    /// Why a shard does not serve now, by its number.
    trouble: RwLock<BTreeMap<usize, String>>,
    findings: RwLock<BTreeMap<String, Finding>>,
    /// Findings that are settled, and whether this start found them again.
    settled: Mutex<BTreeMap<String, bool>>,
}

/// The first few of such things, each cut to a length, and how many more there are; `None` if there are none.
fn name_some(all: &[String], kind: &str) -> Option<String> {
    let named = all
        .iter()
        .take(TROUBLES_NAMED)
        .map(|text| words::cut(text, TROUBLE_BYTES));
    let mut text = named.collect::<Vec<_>>().join("; ");
    let more = all.len().saturating_sub(TROUBLES_NAMED);
    if more > 0 {
        text += &format!("; and {more} more {}", words::plural(more as u64, kind));
    }
    (!all.is_empty()).then_some(text)
}

/// Says, when it is dropped by a panic, that a shard does not serve any more: otherwise it would only look busy.
struct Trouble {
    catalogue: Arc<Catalogue>,
    number: usize,
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

impl Catalogue {
    /// The stream of that name.
    pub fn get(&self, account: &str, name: &str) -> Option<Arc<StreamEntry>> {
        self.streams.read().get(&(Arc::from(account), Arc::from(name))).cloned()
    }

    /// The streams of an account, by name.
    pub fn list(&self, account: &str) -> Vec<Arc<StreamEntry>> {
        let streams = self.streams.read();
        let own = streams.values().filter(|entry| &*entry.account == account);
        own.cloned().collect()
    }

    /// All streams, by account and name.
    pub fn all(&self) -> Vec<Arc<StreamEntry>> {
        self.streams.read().values().cloned().collect()
    }

    /// What is wrong with the store: shards whose storage failed and could not be opened anew yet, streams that are
    /// offline, losses that are not settled. Of each kind the first few are named, and how many more there are.
    pub fn trouble(&self) -> Option<String> {
        let shards: Vec<String> = self.trouble.read().values().cloned().collect();
        let streams: Vec<String> = self
            .streams
            .read()
            .values()
            .filter_map(|entry| {
                let why = entry.offline.as_ref()?;
                let (name, account) = (&entry.name, &entry.account);
                Some(format!("stream {name} of account {account} is offline: {why}"))
            })
            .collect();
        let findings = self.findings.read();
        let losses = findings.values().filter(|finding| finding.is_loss());
        let losses: Vec<String> = losses.map(ToString::to_string).collect();
        let told: Vec<String> = [
            (shards, "storage thread"),
            (streams, "offline stream"),
            (losses, "finding"),
        ]
        .into_iter()
        .filter_map(|(all, kind)| name_some(&all, kind))
        .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// How many streams are offline.
    pub fn offline(&self) -> usize {
        let streams = self.streams.read();
        streams.values().filter(|entry| entry.offline.is_some()).count()
    }

    /// Messages that the streams are known to have lost, as of their last turns: for a metric.
    pub fn lost(&self) -> u64 {
        let streams = self.streams.read();
        let lost = streams.values().map(|entry| entry.stats.lost());
        lost.fold(0, u64::saturating_add)
    }

    pub(crate) fn set_trouble(&self, shard: usize, why: Option<String>) {
        match why {
            Some(why) => self.trouble.write().insert(shard, why),
            None => self.trouble.write().remove(&shard),
        };
    }

    pub(crate) fn insert(&self, stream: &Stream, shard: usize) {
        self.put(StreamEntry::of(stream, shard));
    }

    /// What was found wrong with the store's own bookkeeping and is not settled, up to
    /// [`FINDINGS_MAX`](crate::finding::FINDINGS_MAX).
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.read().values().take(FINDINGS_MAX).cloned().collect()
    }

    /// How many findings there are: for a metric.
    pub fn finding_count(&self) -> usize {
        self.findings.read().len()
    }

    /// Whether a finding was made before. One that is settled is not told again.
    pub(crate) fn has_finding(&self, key: &str) -> bool {
        if let Some(found) = self.settled.lock().get_mut(key) {
            *found = true;
            return true;
        }
        self.findings.read().contains_key(key)
    }

    /// Whether something is lost and not settled.
    pub(crate) fn has_loss(&self) -> bool {
        self.findings.read().values().any(Finding::is_loss)
    }

    /// Whether something is lost and not settled that a shard's journal may tell more of.
    pub(crate) fn is_journal_open(&self, shard: usize) -> bool {
        let findings = self.findings.read();
        findings
            .values()
            .any(|finding| finding.is_loss() && finding.shard.is_none_or(|of| of == shard))
    }

    pub(crate) fn add_finding(&self, key: &str, finding: Finding) {
        self.findings.write().insert(key.to_owned(), finding);
    }

    pub(crate) fn put(&self, entry: StreamEntry) {
        self.seen(entry.id);
        let key = (entry.account.clone(), entry.name.clone());
        self.streams.write().insert(key, Arc::new(entry));
    }

    pub(crate) fn remove(&self, account: &Arc<str>, name: &Arc<str>, id: LogId) {
        let key = (account.clone(), name.clone());
        let mut streams = self.streams.write();
        if streams.get(&key).is_some_and(|entry| entry.id == id) {
            streams.remove(&key);
        }
    }

    /// An id was used: it is never given out again.
    pub(crate) fn seen(&self, id: LogId) {
        // An id that nothing counts up to is damage, and there must be ids left.
        if id.0 <= NUMBER_MAX {
            self.last_id.fetch_max(id.0, Ordering::Relaxed);
        }
    }

    /// The stream with that log.
    pub fn by_id(&self, id: LogId) -> Option<Arc<StreamEntry>> {
        let streams = self.streams.read();
        streams.values().find(|entry| entry.id == id).cloned()
    }

    /// Writes a note of the highest id ever given out. One shard at a time: a note that was made earlier must not be
    /// written over a later one, or an id would be given out again.
    pub(crate) fn note_last_id<R>(&self, write: impl FnOnce(KvWrite) -> R) -> R {
        let _alone = self.noting.lock();
        write(self.last_id_write())
    }

    fn last_id_write(&self) -> KvWrite {
        let last = self.last_id.load(Ordering::Relaxed).to_le_bytes();
        (Bytes::from_static(LAST_ID_KEY), Some(Bytes::copy_from_slice(&last)))
    }

    fn allocate(&self) -> LogId {
        self.last_id.fetch_max(FIRST_STREAM_ID - 1, Ordering::Relaxed);
        LogId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What the shards of a store share.
pub(crate) struct Environment {
    open: OpenBackend,
    opened: Mutex<HashMap<BackendKind, Arc<dyn Backend>>>,
    /// How often the backends had to be opened anew.
    generation: AtomicU64,
    /// Whether the store is being opened for the first time.
    starting: AtomicBool,
    pub catalogue: Arc<Catalogue>,
    pub clock: Clock,
    pub monotonic: Option<Clock>,
    pub checkpoint_bytes: usize,
    pub batches: crate::stream::OpenBatches,
    pub pools: Pools,
    pub entropy: u64,
    pub segment_bytes: u64,
    pub errands: Errands,
}

/// What is known of a stream's log before it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownLog {
    /// Whether it must be there.
    pub existing: bool,
    /// Up to which change it was synced.
    pub synced: u64,
}

impl Environment {
    /// With nothing opened yet.
    pub fn new(open: OpenBackend, options: StoreOptions, errands: Errands) -> Arc<Self> {
        Arc::new(Self {
            open,
            opened: Mutex::default(),
            generation: AtomicU64::new(0),
            starting: AtomicBool::new(true),
            catalogue: Arc::default(),
            monotonic: options.monotonic,
            clock: options.clock,
            checkpoint_bytes: options.checkpoint_bytes,
            batches: crate::stream::OpenBatches::new(options.batches),
            pools: Pools::new(options.capacity),
            entropy: options.entropy,
            segment_bytes: options.segment_bytes,
            errands,
        })
    }

    /// A backend, opened if it was not yet.
    pub fn backend(&self, kind: BackendKind) -> Result<Arc<dyn Backend>> {
        let mut opened = self.opened.lock();
        if let Some(backend) = opened.get(&kind) {
            return Ok(backend.clone());
        }
        let backend = (self.open)(kind)?;
        // Whatever the catalogue has lost: a log that is there has its id for itself.
        for id in backend.list()? {
            self.catalogue.seen(id);
        }
        opened.insert(kind, backend.clone());
        Ok(backend)
    }

    /// The backends that were opened so far.
    pub fn opened(&self) -> Vec<(BackendKind, Arc<dyn Backend>)> {
        let opened = self.opened.lock();
        let mut all: Vec<_> = opened.iter().map(|(kind, backend)| (*kind, backend.clone())).collect();
        all.sort_by_key(|(kind, _)| *kind);
        all
    }

    /// Tells of a finding, and keeps it for the next start; durable with the root's next sync.
    pub fn keep_finding(&self, key: &str, finding: Finding) -> Result<()> {
        let name: Bytes = [FINDING_PREFIX, key.as_bytes()].concat().into();
        let json = crate::json::to_json(&finding);
        self.backend(BackendKind::Segment)?
            .kv()
            .put_all(&[(name, Some(json))])?;
        self.catalogue.add_finding(key, finding);
        Ok(())
    }

    /// Whether opening goes on without the streams of a backend that failed for good: at a start, where those with the journals
    /// are not among them. The streams are offline, and trying to open them again finds out that the backend must be opened
    /// anew.
    pub fn goes_without(&self, kind: BackendKind) -> bool {
        kind != BackendKind::Segment && self.starting.load(Ordering::Acquire)
    }

    /// How often the backends had to be opened anew: a shard that works with an older opening has to follow.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Lets go of the backends that keep anything on disk, because one of them failed for good; the first shard to
    /// find that out does it for all. Each can be opened anew once every shard has let go of its logs.
    pub fn discard_backends(&self, generation: u64) {
        let next = generation + 1;
        let first = self
            .generation
            .compare_exchange(generation, next, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.opened.lock().retain(|kind, _| *kind == BackendKind::Memory);
        }
    }

    /// Opens a stream's log and index. `last` is the highest sequence known from elsewhere.
    ///
    /// # Errors
    /// If the log or its index cannot be opened or read.
    pub fn open_stream(&self, who: Identity, last: Seq, last_time: Option<NanoTime>, log: KnownLog) -> Result<Stream> {
        let backend = self.backend(who.settings.backend)?;
        let options = LogOptions {
            compression: who.settings.compression,
            label: LogLabel::pack(&who),
            existing: log.existing,
            synced: log.synced,
            segment_bytes: self.segment_bytes,
            ..LogOptions::default()
        };
        let (log, recovery) = backend.open(who.id, &options)?;
        if let Some(label) = &recovery.label {
            LogLabel::check(label, &who)?;
        }
        if recovery.torn_bytes > 0 {
            tracing::warn!(stream = %who.name, bytes = recovery.torn_bytes, "cut an unfinished write off the log");
        }
        for damage in &recovery.damage {
            tracing::error!(stream = %who.name, "damaged: {damage}");
        }
        let index = open_index(&who, backend.as_ref(), log.as_ref())?;
        let stats = self.pools.stats(who.config.storage);
        let messages = Messages::open(who, log, index, last, last_time)?;
        Ok(Stream::new(messages, &self.batches, stats))
    }
}

/// Removes a log that nobody has open, and what an index keeps for it.
pub(crate) fn remove_log(backend: &dyn Backend, id: LogId, settings: &Settings) -> Result<()> {
    if settings.index == IndexKind::Paged {
        crate::index::forget_paged(backend.kv().as_ref(), id)?;
    }
    backend.remove(id)
}

/// Opens the index that a stream's settings ask for, with what its log holds.
fn open_index(who: &Identity, backend: &dyn Backend, log: &dyn Log) -> Result<Index> {
    let reader = log.reader();
    if who.settings.index == IndexKind::Paged {
        let records = Records { subject_of, ending_of };
        return Index::paged(backend.kv(), who.id, reader, records, PAGED_CACHE_BYTES);
    }
    let mut index = Index::resident();
    let mut outcome = Ok(());
    // Reading bodies has to wait for the end of the scan.
    let mut mortal = Vec::new();
    reader.scan(
        0..=crate::types::Seq::MAX,
        crate::backend::Want::Heads,
        crate::backend::Direction::Forward,
        &mut |entry| {
            outcome = index.add(entry.seq, subject_of(entry.head));
            if has_life(entry.head) {
                mortal.push((entry.seq, entry.time, entry.head.to_vec()));
            }
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        },
    )?;
    outcome?;
    for (seq, time, head) in mortal {
        if let Some(at) = ending_of(reader.as_ref(), seq, time, &head)? {
            index.add_ending(at, seq);
        }
    }
    Ok(index)
}

/// When a stored message ends, if it has a life of its own.
fn ending_of(reader: &dyn LogReader, seq: Seq, time: NanoTime, head: &[u8]) -> Result<Option<NanoTime>> {
    let life = life_in(head, |len| match reader.get(seq)? {
        Some(entry) if len <= entry.body.len() => Ok(entry.body.slice(..len)),
        _ => Ok::<_, Error>(bytes::Bytes::new()),
    });
    match life {
        Ok(life) => Ok(life.end(time)),
        // What cannot be read cannot be removed either.
        Err(error) if error.kind == Kind::Damaged => Ok(None),
        Err(error) => Err(error),
    }
}

/// All the streams of a directory. Closing it writes a last checkpoint; without that, the next opening applies the
/// journal instead.
pub struct Store {
    shards: Vec<ShardHandle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    catalogue: Arc<Catalogue>,
    /// Of each shard, if the store is an embedded one.
    fetches: Vec<Arc<Fetches>>,
}

impl Store {
    /// Opens a store and starts its shards. `outlet` makes the way out for each shard.
    ///
    /// # Errors
    /// If a backend cannot be opened, or holds what this version does not understand.
    pub fn open(
        open: OpenBackend,
        options: StoreOptions,
        outlet: impl FnMut(usize) -> Box<dyn Outlet>,
    ) -> Result<Self> {
        let (store, runners, _) = Self::prepare(open, options, outlet, Errands::default())?;
        for (number, runner) in runners.into_iter().enumerate() {
            let catalogue = store.catalogue.clone();
            let thread = std::thread::Builder::new()
                .name(format!("weir-shard-{number}"))
                .spawn(move || {
                    let _trouble = Trouble { catalogue, number };
                    runner.run();
                })
                .map_err(|error| Error::io("starting a shard's thread", error))?;
            store.threads.lock().push(thread);
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
        mut outlet: impl FnMut(usize) -> Box<dyn Outlet>,
        errands: Errands,
    ) -> Result<(Self, Vec<Runner>, Arc<Environment>)> {
        if !(1..=SHARDS_MAX).contains(&options.shards) {
            return Err(Error::invalid(format!(
                "{} shards: allowed are 1 to {SHARDS_MAX}",
                options.shards
            )));
        }
        let (wished, queue) = (options.shards, options.queue);
        let env = Environment::new(open, options, errands);
        let catalogue = env.catalogue.clone();
        let now = (env.clock)();
        let count = shard_count(&env, wished)?;
        take_findings(&env, now)?;
        let mut opened = (0..count)
            .map(|number| Shard::open(number, env.clone(), now))
            .collect::<Result<Vec<_>>>()?;
        forget_settled(&env)?;
        opened.iter_mut().try_for_each(Shard::drop_unfinished)?;
        crate::orphans::look_for_orphans(&env, &mut opened, now)?;
        env.starting.store(false, Ordering::Release);
        let mut shards = Vec::new();
        let mut runners = Vec::new();
        for (number, shard) in opened.into_iter().enumerate() {
            let (handle, receiver, load) = ShardHandle::new(queue);
            runners.push(Runner::new(shard, handle.clone(), receiver, load, outlet(number)));
            shards.push(handle);
        }
        let store = Self {
            shards,
            threads: Mutex::default(),
            catalogue,
            fetches: Vec::new(),
        };
        Ok((store, runners, env))
    }

    /// Opens a store for a program that has no clients: nothing is delivered to subjects, consumers' messages are
    /// [fetched](crate::embed::EmbeddedStream::fetch).
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn embedded(open: OpenBackend, options: StoreOptions) -> Result<Self> {
        let mut fetches = Vec::new();
        let mut store = Self::open(open, options, |_| {
            let own = Arc::new(Fetches::default());
            fetches.push(own.clone());
            Box::new(FetchOutlet(own))
        })?;
        store.fetches = fetches;
        Ok(store)
    }

    /// The streams.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The way to a shard.
    pub fn shard(&self, number: usize) -> &ShardHandle {
        &self.shards[number % self.shards.len()]
    }

    /// The open fetches of a shard; `None` if the store was opened with an outlet of its own.
    pub(crate) fn fetches(&self, shard: usize) -> Option<Arc<Fetches>> {
        self.fetches.get(shard).cloned()
    }

    /// The shard that a new stream of that name belongs to.
    pub fn shard_for(&self, account: &str, name: &str) -> usize {
        shard_for(account, name, self.shards.len())
    }

    /// What was found wrong with the store's own bookkeeping, at this start or before, and not settled yet; up to
    /// [`FINDINGS_MAX`](crate::finding::FINDINGS_MAX).
    pub fn findings(&self) -> Vec<Finding> {
        self.catalogue.findings()
    }

    /// A log id for a new stream.
    pub fn allocate_id(&self) -> LogId {
        self.catalogue.allocate()
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
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
        for shard in &self.shards {
            // A shard that stopped by itself needs no telling.
            let _ = shard.send(vec![how()]);
        }
        for thread in self.threads.lock().drain(..) {
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

/// The shard, of so many, that a stream of that name belongs to.
pub(crate) fn shard_for(account: &str, name: &str, shards: usize) -> usize {
    // FNV-1a: the same in every process, so that a stream made anew comes to the same shard.
    let hash = account
        .bytes()
        .chain([0])
        .chain(name.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash % shards.max(1) as u64) as usize
}

/// Takes up the findings that are not settled, and keeps what opening the catalogue found lost.
fn take_findings(env: &Environment, now: NanoTime) -> Result<()> {
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
            env.catalogue.settled.lock().insert(key, false);
            continue;
        }
        tracing::warn!("not settled yet: {finding}");
        env.catalogue.add_finding(&key, finding);
    }
    let lost = root.lost();
    for (n, line) in lost.iter().enumerate() {
        let finding = Finding {
            kind: FindingKind::Catalogue,
            found: now,
            shard: None,
            text: format!(
                "part of the catalogue is lost: {line}. What streams and consumers were told since an earlier checkpoint may be missing"
            ),
            concerned: Vec::new(),
            settled: false,
        };
        tracing::error!("{finding}");
        env.keep_finding(&format!("catalogue-{now:020}-{n}"), finding)?;
    }
    if !lost.is_empty() {
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
        false => env.backend(BackendKind::Segment)?.kv().put_all(&over),
    }
}

/// How many shards the store has; a new one gets as many as wished.
fn shard_count(env: &Environment, wished: usize) -> Result<usize> {
    let root = env.backend(BackendKind::Segment)?;
    let kv = root.kv();
    if let Some(json) = kv.get(STORE_KEY)? {
        let snapshot: StoreSnapshot = crate::json::from_json(&json)?;
        if !(FORMAT_READ..=FORMAT_VERSION).contains(&snapshot.version) {
            return Err(Error::unsupported(format!(
                "the store has format version {}, this program reads {FORMAT_READ} to {FORMAT_VERSION}: use the version of Weir that wrote it",
                snapshot.version
            )));
        }
        if snapshot.version != FORMAT_VERSION {
            // What version 2 has more is made where it is missing: labels when logs are opened, the rest by checkpoints.
            let json = crate::json::to_json(&StoreSnapshot {
                version: FORMAT_VERSION,
                ..snapshot
            });
            kv.put_all(&[(Bytes::from_static(STORE_KEY), Some(json))])?;
            root.sync()?;
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
        version: FORMAT_VERSION,
        shards: wished,
    };
    let json = crate::json::to_json(&snapshot);
    let nothing = Bytes::copy_from_slice(&0u64.to_le_bytes());
    let mut writes: Vec<KvWrite> = (0..wished)
        .map(|shard| (covered_key(shard), Some(nothing.clone())))
        .collect();
    writes.push((Bytes::from_static(STORE_KEY), Some(json)));
    kv.put_all(&writes)?;
    root.sync()?;
    Ok(wished)
}

/// What stands in for a log while it is being opened anew.
pub(crate) struct ClosedLog;

impl ClosedLog {
    fn error() -> Error {
        Error::new(Kind::Closed, "the log is closed after an error")
    }
}

impl Log for ClosedLog {
    fn write(&mut self, _: &LogChange<'_>) -> Result<()> {
        Err(Self::error())
    }

    fn truncate(&mut self, _: crate::types::Seq) -> Result<()> {
        Err(Self::error())
    }

    fn sync(&mut self) -> Result<()> {
        Err(Self::error())
    }

    fn maintain(&mut self, _: u64) -> Result<bool> {
        Err(Self::error())
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(Self)
    }
}

impl LogReader for ClosedLog {
    fn extent(&self) -> crate::types::Extent {
        crate::types::Extent::default()
    }

    fn get(&self, _: crate::types::Seq) -> Result<Option<crate::types::Entry>> {
        Err(Self::error())
    }

    fn scan(
        &self,
        _: std::ops::RangeInclusive<crate::types::Seq>,
        _: crate::backend::Want,
        _: crate::backend::Direction,
        _: crate::backend::VisitRecord<'_>,
    ) -> Result<()> {
        Err(Self::error())
    }
}

#[cfg(test)]
mod tests;
