//! What the shards of a store share: its backends, its clock, its catalogue; and how they open the log of a stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Backend, KvWrite, Log, LogChange, LogOptions, LogReader, Upkeep};
use crate::error::{Error, Kind, Result};
use crate::finding::{FINDING_PREFIX, Finding};
use crate::index::ChunkSize;
use crate::shard::errand::Errands;
use crate::shard::fetching::Readers;
use crate::shard::label::LogLabel;
use crate::shard::{AsideSizes, Syncs};
use crate::store::open_index::Opening;
use crate::store::read_log::ReadLog;
use crate::store::renewal::Renewal;
use crate::store::{Catalogue, Clock, OpenBackend, OpeningProgress, Pools, Room, StoreOptions};
use crate::stream::Stream;
use crate::stream::messages::{Identity, Messages};
use crate::stream::settings::{BackendKind, IndexKind, Settings};
use crate::types::{LogId, NanoTime, Seq};

/// What the shards of a store share.
pub(crate) struct Environment {
    open: Arc<OpenBackend>,
    /// Opens backends to look at what they hold.
    read: Option<Arc<OpenBackend>>,
    /// How all is opened only to be read, if it is: nothing is written then.
    reading: Option<Reading>,
    opened: Mutex<HashMap<BackendKind, Arc<dyn Backend>>>,
    /// Held while one is being opened.
    opening: Mutex<()>,
    /// How often the backends had to be opened anew.
    generation: AtomicU64,
    /// Of those without journals, how often each alone had to be.
    renewals: Mutex<HashMap<BackendKind, Renewal>>,
    /// How often any of them had to be.
    discards: AtomicU64,
    pub catalogue: Arc<Catalogue>,
    pub clock: Clock,
    pub monotonic: Option<Clock>,
    pub checkpoint_bytes: usize,
    pub batches: crate::stream::OpenBatches,
    pub pools: Pools,
    pub entropy: u64,
    pub still: bool,
    pub segment_bytes: u64,
    pub chunk_size: ChunkSize,
    pub aside: AsideSizes,
    pub errands: Errands,
    /// How long syncing the journals takes.
    pub syncs: Arc<Syncs>,
    /// Who reads what a disk has to be waited for.
    pub readers: Readers,
    /// How many bytes are free for the backends.
    pub room: Option<Room>,
    progress: Option<OpeningProgress>,
    /// Findings that the root had no room for.
    unkept: Mutex<Vec<KvWrite>>,
}

/// A way of opening a store that writes nothing.
struct Reading {
    /// What writes are refused with.
    why: Arc<str>,
    /// Whether a server or a program runs on the store, and this shares its catalogue. If not, this is an
    /// [`Image`](crate::image::Image): it tells what it finds in a catalogue of its own, and decides nothing.
    beside: bool,
}

/// What is known of a stream's log before it is opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownLog {
    /// Whether it must be there.
    pub existing: bool,
    /// Up to which change it was synced.
    pub synced: u64,
    /// What was found gone with files of it.
    pub gone: Vec<(Seq, Seq)>,
}

impl Environment {
    /// With nothing opened yet.
    pub fn new(open: OpenBackend, options: StoreOptions, errands: Errands) -> Arc<Self> {
        Self::opened_with(open, options, errands, None)
    }

    /// That of an image.
    pub fn of_image(read: OpenBackend, clock: Clock, progress: Option<OpeningProgress>) -> Arc<Self> {
        let reading = Reading {
            why: "a store that is only looked at is not written".into(),
            beside: false,
        };
        let options = StoreOptions {
            progress,
            still: true,
            ..StoreOptions::new(clock)
        };
        Self::opened_with(read, options, Errands::default(), Some(reading))
    }

    fn opened_with(open: OpenBackend, options: StoreOptions, errands: Errands, reading: Option<Reading>) -> Arc<Self> {
        Arc::new(Self {
            open: Arc::new(open),
            read: options.read.map(Arc::new),
            reading,
            opened: Mutex::default(),
            opening: Mutex::default(),
            generation: AtomicU64::new(0),
            renewals: Mutex::default(),
            discards: AtomicU64::new(0),
            catalogue: Arc::default(),
            monotonic: options.monotonic,
            clock: options.clock,
            checkpoint_bytes: options.checkpoint_bytes,
            batches: crate::stream::OpenBatches::new(options.batches),
            pools: Pools::new(options.capacity),
            entropy: options.entropy,
            still: options.still,
            segment_bytes: options.segment_bytes,
            chunk_size: options.chunk_size,
            aside: options.aside,
            errands,
            syncs: Arc::default(),
            readers: Readers::default(),
            room: options.room,
            progress: options.progress,
            unkept: Mutex::default(),
        })
    }

    /// The same, for reading only; `None` if the backends cannot be opened so.
    pub fn to_read(&self, why: &Arc<str>) -> Option<Arc<Self>> {
        self.to_read_with(why, HashMap::new())
    }

    /// The same for one backend alone: the others are those that are open.
    pub fn to_read_one(&self, kind: BackendKind, why: &Arc<str>) -> Option<Arc<Self>> {
        let mut opened = self.opened.lock().clone();
        opened.remove(&kind);
        self.to_read_with(why, opened)
    }

    fn to_read_with(&self, why: &Arc<str>, opened: HashMap<BackendKind, Arc<dyn Backend>>) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            open: self.read.clone()?,
            read: None,
            reading: Some(Reading {
                why: why.clone(),
                beside: true,
            }),
            opened: Mutex::new(opened),
            opening: Mutex::default(),
            generation: AtomicU64::new(0),
            renewals: Mutex::default(),
            discards: AtomicU64::new(0),
            catalogue: self.catalogue.clone(),
            clock: self.clock.clone(),
            monotonic: self.monotonic.clone(),
            checkpoint_bytes: self.checkpoint_bytes,
            batches: self.batches.clone(),
            pools: self.pools.clone(),
            entropy: self.entropy,
            still: self.still,
            segment_bytes: self.segment_bytes,
            syncs: self.syncs.clone(),
            chunk_size: self.chunk_size,
            aside: self.aside,
            errands: Errands::default(),
            readers: Readers::default(),
            room: None,
            progress: None,
            unkept: Mutex::default(),
        }))
    }

    /// Whether all is opened only to be read: nothing is written then, and nothing found is kept.
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether this is that of an [`Image`](crate::image::Image).
    pub fn is_image(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| !reading.beside)
    }

    /// A log without records, where all is opened only to be read.
    pub fn no_log(&self) -> Box<dyn Log> {
        let why = self
            .reading
            .as_ref()
            .map_or_else(|| "".into(), |reading| reading.why.clone());
        ReadLog::of_nothing(&why)
    }

    /// A backend, opened if it was not yet.
    pub fn backend(&self, kind: BackendKind) -> Result<Arc<dyn Backend>> {
        let there = || self.opened.lock().get(&kind).cloned();
        if let Some(backend) = there() {
            return Ok(backend);
        }
        // One at a time, and without keeping those waiting who need another.
        let _alone = self.opening.lock();
        if let Some(backend) = there() {
            return Ok(backend);
        }
        let backend = (self.open)(kind)?;
        // Whatever the catalogue has lost: a log that is there has its id for itself.
        for id in backend.list()? {
            self.catalogue.seen(id.stream());
        }
        if !self.is_reading() {
            let impaired = backend.impaired();
            if let Some(why) = &impaired {
                tracing::error!("{why}");
            }
            self.catalogue.set_impaired(kind, impaired);
        }
        self.opened.lock().insert(kind, backend.clone());
        Ok(backend)
    }

    /// The backends that were opened so far.
    pub fn opened(&self) -> Vec<(BackendKind, Arc<dyn Backend>)> {
        let opened = self.opened.lock();
        let mut all: Vec<_> = opened.iter().map(|(kind, backend)| (*kind, backend.clone())).collect();
        all.sort_by_key(|(kind, _)| *kind);
        all
    }

    /// Tells of a finding that was not made before, and keeps it until it is settled; durable with the root's next sync, or with the
    /// next checkpoint that there is room for: a full disk keeps no store from being opened. Where all is only read beside a store that runs, it is left to the opening that keeps it; an image has it in its catalogue alone.
    pub fn keep_finding(&self, key: &str, finding: Finding) -> Result<()> {
        if self.is_reading() && !self.is_image() || self.catalogue.has_finding(key) {
            return Ok(());
        }
        if self.is_image() {
            self.catalogue.add_finding(key, finding);
            return Ok(());
        }
        tracing::error!("{finding}");
        let name: Bytes = [FINDING_PREFIX, key.as_bytes()].concat().into();
        let json = crate::json::to_json(&finding);
        let write = [(name, Some(json))];
        match self.backend(BackendKind::Segment)?.kv().put_all(&write) {
            Err(error) if error.kind == Kind::Full => self.unkept.lock().extend(write),
            kept => kept?,
        }
        self.catalogue.add_finding(key, finding);
        Ok(())
    }

    /// What a finding told of is no more: it is told no longer. Durable as [`keep_finding`](Self::keep_finding) is.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn end_finding(&self, key: &str) -> Result<()> {
        if self.is_reading() && !self.is_image() {
            return Ok(());
        }
        if !self.is_image() {
            tracing::info!(key, "what a finding told of is no more, and so is the finding");
            let name: Bytes = [FINDING_PREFIX, key.as_bytes()].concat().into();
            let write = [(name, None)];
            match self.backend(BackendKind::Segment)?.kv().put_all(&write) {
                Err(error) if error.kind == Kind::Full => self.unkept.lock().extend(write),
                ended => ended?,
            }
        }
        self.catalogue.forget_finding(key);
        Ok(())
    }

    /// Keeps the findings that there was no room for when they were made.
    ///
    /// # Errors
    /// If they cannot be written: they are kept for the next time.
    pub fn keep_findings_left(&self) -> Result<()> {
        let mut unkept = self.unkept.lock();
        if !unkept.is_empty() {
            self.backend(BackendKind::Segment)?.kv().put_all(&unkept)?;
            unkept.clear();
        }
        Ok(())
    }

    /// Syncs a journal, and counts how long that takes.
    pub fn timed(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        let began = self.monotonic.as_ref().map(|clock| clock());
        sync()?;
        if let (Some(clock), Some(began)) = (&self.monotonic, began) {
            self.syncs.count(clock().saturating_sub(began));
        }
        Ok(())
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

    /// How often a backend without journals had to be opened anew: what shards hold of one before that they have to let go of.
    pub fn discards(&self) -> u64 {
        self.discards.load(Ordering::Acquire)
    }

    /// A backend without journals failed for good: lets go of it, so that it can be opened anew once every shard has let go of
    /// what it holds of it; or not yet, if that was done a short while ago and did not help. `discards` is how often that was
    /// done when the backend was found to have failed.
    pub fn discard(&self, kind: BackendKind, discards: u64, now: NanoTime) {
        let mut renewals = self.renewals.lock();
        if self.discards() == discards && renewals.entry(kind).or_default().begin(now) {
            tracing::warn!("{kind} is opened anew");
            self.opened.lock().remove(&kind);
            self.discards.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn log_options(&self, who: &Identity, log: KnownLog) -> LogOptions {
        LogOptions {
            compression: who.settings.compression,
            label: LogLabel::pack(who),
            existing: log.existing,
            synced: log.synced,
            gone: log.gone,
            segment_bytes: self.segment_bytes,
            ..LogOptions::default()
        }
    }

    /// Makes the log of a stream, and no index of it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new_log(&self, who: &Identity) -> Result<Box<dyn Log>> {
        let options = self.log_options(who, KnownLog::default());
        let (log, _) = self.backend(who.settings.backend)?.open(who.id.log(), &options)?;
        Ok(log)
    }

    /// Opens a stream's log and index. `last` is the highest sequence known from elsewhere.
    ///
    /// # Errors
    /// If the log or its index cannot be opened or read.
    pub fn open_stream(&self, who: Identity, last: Seq, last_time: Option<NanoTime>, log: KnownLog) -> Result<Stream> {
        let backend = self.backend(who.settings.backend)?;
        let existing = log.existing;
        let opened = backend.open(who.id.log(), &self.log_options(&who, log));
        let (log, recovery) = match &self.reading {
            Some(reading) => ReadLog::of(opened, existing, &reading.why)?,
            None => opened?,
        };
        if let Some(label) = &recovery.label {
            LogLabel::check(label, &who)?;
        }
        if recovery.torn_bytes > 0 && !self.is_reading() {
            tracing::warn!(stream = %who.name, bytes = recovery.torn_bytes, "cut an unfinished write off the log");
        }
        for damage in &recovery.damage {
            tracing::error!(stream = %who.name, "damaged: {damage}");
        }
        let opening = Opening {
            who: &who,
            backend: backend.as_ref(),
            log: log.as_ref(),
            recovery: &recovery,
            reading: self.is_reading(),
            beside: !self.errands.are_stepped(),
            chunk_size: self.chunk_size,
            progress: self.progress.as_ref(),
        };
        let index = opening.index()?;
        let unread = opening.unread(&index)?;
        let stats = self.pools.stats(&who.account, who.config.storage);
        let reader = log.reader();
        let mut messages = Messages::open(who, log, index, last, last_time)?;
        messages.lack(unread);
        messages.revived = recovery.revived;
        messages.surplus = recovery.surplus;
        messages.absent = recovery.absent;
        if self.is_image() {
            messages.places = recovery.damage;
            messages.torn_bytes = recovery.torn_bytes;
        }
        // Samples were looked at all over the log, and each took its surroundings along.
        reader.let_go();
        Ok(Stream::new(messages, &self.batches, stats))
    }
}

/// Removes a log that nobody has open, and what an index keeps for it.
pub(crate) fn remove_log(backend: &dyn Backend, id: LogId, settings: &Settings) -> Result<()> {
    if settings.index != IndexKind::Paged {
        return backend.remove(id);
    }
    let forget = || crate::index::forget_paged(backend.kv().as_ref(), id);
    match forget() {
        // The backend may make room of what the log has.
        Err(error) if error.kind == Kind::Full => {
            backend.remove(id)?;
            forget()
        }
        forgotten => {
            forgotten?;
            backend.remove(id)
        }
    }
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

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
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
