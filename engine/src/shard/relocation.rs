//! A stream's messages go over to another backend while the stream goes on: it is told to by its metadata (`weir.backend`).
//!
//! A thread beside the shard copies the log, record by record, and removes from the copy what the stream removes meanwhile. When it
//! has all but the newest few, the shard copies these between two turns, and from then on the stream reads and writes the copy.
//! No record of the journal tells of that: until the next checkpoint, which is begun at once, the catalogue names the old log, and that
//! and the journal still have everything. With the checkpoint the copy is on disk, the catalogue names it, and the old log goes. So
//! a crash leaves the one or the other whole; what is left of the other is removed by a start, which finds it by a note.
//!
//! Where nothing happens by itself, in a tool, a copy with a paged index is made without that: it is written at the end, all at once,
//! from the index of the stream.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Direction, Kv, KvWrite, Log, LogChange, LogReader, Want};
use crate::error::{Error, Kind, Result};
use crate::index::{Index, fill_paged};
use crate::shard::errand::Errand;
use crate::shard::load;
use crate::shard::offline::contained;
use crate::shard::{Input, Shard, ShardHandle};
use crate::store::{Environment, KnownLog, MoveSeen};
use crate::stream::messages::{Identity, Messages};
use crate::stream::settings::{BackendKind, IndexKind, Settings};
use crate::types::{Entry, NanoTime, Nanos, Record, SECOND, Seq, ShardId, StreamId};

/// The prefix of the keys that note which backends may have a log of a stream. The value is the shard's number and the storage that
/// the stream had and is to have.
const RELOCATING_PREFIX: &[u8] = b"relocating/";
/// Records that are copied at a time.
const SLICE_RECORDS: usize = 512;
/// Bytes that are copied at a time, give or take one record.
const SLICE_BYTES: usize = 512 << 10;
/// Bytes a second that the thread that copies goes through, at most: publishers need the disk and the processors, too.
const RATE: u64 = 64 << 20;
/// How long it rests after each slice where the stream grows faster than that, and where records are many and small.
const REST: Duration = Duration::from_millis(2);
/// After how many slices it looks whether the stream grows faster.
const LOOK_EVERY: u32 = 64;
/// Records that may be missing when the thread that copies says that it is done.
const LAST_RECORDS: u64 = 256;
/// How often it may go on although so few are missing: until it has come to the end, as it was when the slice began.
const LAST_TRIES: u32 = 16;
/// Slices that the shard copies itself, at most, between two turns.
const LAST_SLICES: usize = 4;
/// Removals that wait to be done in the copy. If they become more the copy begins anew.
const GONE_MAX: usize = 1 << 20;
/// Bytes that stay free, at least, when a copy is made: what comes meanwhile and the checkpoint behind it need room, too.
const ROOM_LEFT: u64 = 64 << 20;
/// Messages that a copy lacks and that are told of one by one.
const MISSING_MAX: usize = 1000;
/// Of how many sequences together [`Index::counts`](crate::index::Index::counts) tells: 2 to this power.
const COUNTED_POWER: u32 = 16;
/// Messages that are put in the order of their subjects at a time, for an index that is written all at once: 2 MiB.
const INDEXED_AT_ONCE: u64 = 128 << 10;
/// How long a stream stays where it is after its move failed.
const RETRY_AFTER: Nanos = 60 * SECOND;

/// What a stream removed, for the copy of its log.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// Sequences, and whether their bytes are overwritten.
    seqs: Vec<(Seq, bool)>,
    /// Everything below this.
    below: Seq,
    /// Whether there were too many.
    overflowed: bool,
}

impl Gone {
    /// The log removed these, and all below a sequence.
    pub fn add(&mut self, seqs: &[Seq], overwrite: bool, below: Seq) {
        self.below = self.below.max(below);
        match self.seqs.len() + seqs.len() > GONE_MAX {
            true => self.overflowed = true,
            false => self.seqs.extend(seqs.iter().map(|seq| (*seq, overwrite))),
        }
    }
}

/// What one who waits for a move hears of it. After [`MoveStep::Over`] nothing more comes; if the sender is dropped without it, the
/// storage failed, or the stream went offline.
#[derive(Clone, Debug)]
pub(crate) enum MoveStep {
    /// So many messages of so many are copied; the second number changes while the stream goes on.
    Copied(u64, u64),
    /// The stream goes on with the copy, or why it does not.
    Over(Result<()>),
}

/// Who waits for the move of which stream.
type Watchers = Arc<Mutex<BTreeMap<StreamId, Sender<MoveStep>>>>;

/// The moves of a shard's streams.
#[derive(Default)]
pub(super) struct Relocations {
    /// Streams that are to be elsewhere, and since when it may be tried.
    due: BTreeMap<StreamId, NanoTime>,
    running: Option<Running>,
    /// Logs that streams have left, and which the catalogue may still name.
    left: Vec<(StreamId, Settings)>,
    watchers: Watchers,
}

/// What the shard and the thread that copies tell each other.
#[derive(Default)]
struct Signs {
    /// The thread is to stop.
    stop: AtomicBool,
    /// It has come to its end: waiting for it takes no time.
    over: AtomicBool,
}

/// A move under way.
struct Running {
    id: StreamId,
    to: Settings,
    signs: Arc<Signs>,
    errand: Option<Errand<Result<Box<Copy>>>>,
    /// The copy, once it has all but the newest messages.
    copy: Option<Box<Copy>>,
}

impl Relocations {
    /// When the next is to be tried.
    pub fn next_try(&self) -> Option<NanoTime> {
        match &self.running {
            Some(running) => running.copy.is_some().then_some(NanoTime::MIN),
            None => self.due.values().min().copied(),
        }
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        for due in self.due.values_mut() {
            *due = due.saturating_add(step);
        }
    }

    /// A stream is to be elsewhere.
    pub fn wanted(&mut self, id: StreamId) {
        self.due.insert(id, NanoTime::MIN);
    }

    /// Whether the catalogue may still name another log of a stream than that which it has.
    pub fn has_left(&self, id: StreamId) -> bool {
        self.left.iter().any(|(left, _)| *left == id)
    }

    /// Somebody waits for the move of a stream.
    pub fn watch(&mut self, id: StreamId, watcher: Sender<MoveStep>) {
        self.watchers.lock().insert(id, watcher);
    }

    /// The move of a stream is over: who waits is told.
    fn over(&self, id: StreamId, outcome: Result<()>) {
        if let Some(watcher) = self.watchers.lock().remove(&id) {
            // One that does not wait any more needs no telling.
            let _ = watcher.send(MoveStep::Over(outcome));
        }
    }

    /// Nobody is told of any move any more.
    pub fn unwatch_all(&mut self) {
        self.watchers.lock().clear();
    }

    /// Stops the one that is under way, if there is one; its copy is removed by the next start, or when it is begun anew.
    pub fn stop(&mut self) -> Option<(StreamId, Settings)> {
        let mut running = self.running.take()?;
        running.signs.stop.store(true, Ordering::Relaxed);
        if let Some(errand) = running.errand.take() {
            drop(errand.wait());
        }
        self.watchers.lock().remove(&running.id);
        Some((running.id, running.to))
    }

    /// Stops that of a stream.
    pub fn stop_for(&mut self, id: StreamId) -> Option<Settings> {
        match self.running.as_ref().is_some_and(|running| running.id == id) {
            true => self.stop().map(|(_, to)| to),
            false => None,
        }
    }

    /// A stream is deleted: answers where else it has logs.
    pub fn forget(&mut self, id: StreamId) -> Vec<(StreamId, Settings)> {
        self.due.remove(&id);
        self.watchers.lock().remove(&id);
        let copy = self.stop_for(id).map(|to| (id, to));
        copy.into_iter()
            .chain(self.left.extract_if(.., |(of, _)| *of == id))
            .collect()
    }
}

/// What a copy is made in.
enum Target {
    /// The log with its index.
    Indexed(Box<Messages>),
    /// The log alone, and whose it is.
    Bare(Box<dyn Log>, Box<Identity>),
}

impl Target {
    fn id(&self) -> StreamId {
        match self {
            Self::Indexed(messages) => messages.id,
            Self::Bare(_, who) => who.id,
        }
    }

    fn backend(&self) -> BackendKind {
        match self {
            Self::Indexed(messages) => messages.settings.backend,
            Self::Bare(_, who) => who.settings.backend,
        }
    }

    /// Messages that it has.
    fn len(&self) -> u64 {
        match self {
            Self::Indexed(messages) => messages.index.len(),
            Self::Bare(log, _) => log.reader().extent().count,
        }
    }

    /// Adds records, and removes what went away.
    fn add(&mut self, entries: Vec<Entry>, gone: Gone) -> Result<()> {
        match self {
            Self::Indexed(messages) => add(messages, entries, gone),
            Self::Bare(log, _) => append(log.as_mut(), &entries, &gone),
        }
    }

    /// With an index, which is taken from that of the stream.
    fn indexed(self, env: &Environment, stream: &Messages) -> Result<Messages> {
        let (log, who) = match self {
            Self::Indexed(messages) => return Ok(*messages),
            Self::Bare(log, who) => (log, who),
        };
        let count = log.reader().extent().count;
        drop(log);
        // A copy that lacks something has its index built from its log: it is told what.
        if let Index::Resident(index) = &stream.index
            && index.len() == count
        {
            let kv = env.backend(who.settings.backend)?.kv();
            fill_paged(kv.as_ref(), who.id.log(), index, INDEXED_AT_ONCE)?;
        }
        let there = KnownLog {
            existing: true,
            ..KnownLog::default()
        };
        Ok(env.open_stream(*who, 0, None, there)?.into_messages())
    }
}

fn add(messages: &mut Messages, entries: Vec<Entry>, gone: Gone) -> Result<()> {
    for entry in entries {
        messages.put(entry.seq, entry.time, entry.head, entry.body)?;
    }
    for (seq, overwrite) in gone.seqs {
        match overwrite {
            true => messages.remove_securely(seq)?,
            false => messages.remove(seq)?,
        };
    }
    let mut below = messages.index.first().filter(|first| *first < gone.below);
    while let Some(seq) = below {
        messages.remove(seq)?;
        below = messages.index.first().filter(|first| *first < gone.below);
    }
    messages.write(false)
}

fn append(log: &mut dyn Log, entries: &[Entry], gone: &Gone) -> Result<()> {
    let records = entries.iter().map(|entry| Record {
        seq: entry.seq,
        time: entry.time,
        head: &entry.head,
        body: &entry.body,
    });
    let records: Vec<Record<'_>> = records.collect();
    let erase: Vec<Seq> = gone.seqs.iter().map(|(seq, _)| *seq).collect();
    log.write(&LogChange {
        append: &records,
        erase: &erase,
        overwrite: gone.seqs.iter().any(|(_, overwrite)| *overwrite),
        trim: (gone.below > 0).then_some(gone.below),
        ..LogChange::default()
    })
}

/// A copy of a log.
struct Copy {
    env: Arc<Environment>,
    /// How often a backend without journals had been let go of when it began.
    discards: u64,
    shard: ShardId,
    from: Settings,
    /// As whose log it is made; taken when that is done.
    who: Option<Identity>,
    source: Arc<dyn LogReader>,
    gone: Arc<Mutex<Gone>>,
    signs: Arc<Signs>,
    target: Option<Target>,
    /// The next sequence to copy.
    next: Seq,
    pace: Pace,
    /// How often few records were missing, and some of them had been there before the slice.
    tries: u32,
    watchers: Watchers,
}

/// How fast a thread copies.
#[derive(Default)]
struct Pace {
    /// Nanoseconds to rest for after the last slice.
    rest: Arc<AtomicU64>,
    slices: u32,
    /// Records that were missing when it was looked last, and whether they have not become fewer since the time before.
    missing: u64,
    hurries: bool,
}

impl Pace {
    /// A slice of so many bytes was copied, and so many records are missing.
    fn copied(&mut self, bytes: usize, missing: u64) {
        if self.slices.is_multiple_of(LOOK_EVERY) {
            self.hurries = self.slices > 0 && missing >= self.missing;
            self.missing = missing;
        }
        self.slices = self.slices.wrapping_add(1);
        let rest = match self.hurries {
            true => REST,
            false => REST.max(Duration::from_nanos(bytes as u64 * 1_000_000_000 / RATE)),
        };
        self.rest
            .store(u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Copy {
    /// Does the next piece; answers whether it has all but the newest records.
    fn step(&mut self) -> Result<bool> {
        if self.signs.stop.load(Ordering::Relaxed) {
            return Err(Error::closed("the move was stopped"));
        }
        if let Some(who) = self.who.take() {
            self.begin(who)?;
            return Ok(false);
        }
        let last = self.source.extent().last;
        let bytes = self.go_on()?;
        self.pace.copied(bytes, self.missing());
        self.tell();
        if self.missing() >= LAST_RECORDS {
            self.tries = 0;
            return Ok(false);
        }
        // What is missing is copied by the shard, while publishers wait: as little as can be.
        self.tries += 1;
        Ok(self.next > last || self.tries > LAST_TRIES)
    }

    /// Records that the stream has and the copy does not, about.
    fn missing(&self) -> u64 {
        self.source.extent().last.saturating_add(1).saturating_sub(self.next)
    }

    /// Tells who waits how far it is.
    fn tell(&self) {
        let Some(target) = &self.target else { return };
        let (done, of) = (target.len(), self.source.extent().count);
        let seen = MoveSeen {
            done,
            of,
            ..MoveSeen::default()
        };
        self.env.catalogue.set_moving(target.id(), Some(seen));
        if let Some(watcher) = self.watchers.lock().get(&target.id()) {
            let step = MoveStep::Copied(done, of);
            // One that does not wait any more needs no telling.
            let _ = watcher.send(step);
        }
    }

    /// Copies what is missing, on the shard's thread; answers whether that was little enough.
    fn catch_up(&mut self) -> Result<bool> {
        for _ in 0..LAST_SLICES {
            self.go_on()?;
            if self.next > self.source.extent().last {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin(&mut self, who: Identity) -> Result<()> {
        let root = self.env.backend(BackendKind::Segment)?;
        root.kv()
            .put_all(&[note(who.id, self.shard, &self.from, &who.settings)])?;
        // It must outlast the log that it is about.
        root.sync()?;
        let backend = self.env.backend(who.settings.backend)?;
        if backend.list()?.contains(&who.id.log()) {
            // Of an earlier attempt.
            crate::store::remove_log(backend.as_ref(), who.id.log(), &who.settings)?;
        }
        let is_paged = who.settings.index == IndexKind::Paged && backend.atomic_kv();
        self.target = Some(match self.env.still && is_paged {
            true => Target::Bare(self.env.new_log(&who)?, Box::new(who)),
            false => {
                let stream = self.env.open_stream(who, 0, None, KnownLog::default())?;
                Target::Indexed(Box::new(stream.into_messages()))
            }
        });
        Ok(())
    }

    /// Copies a slice, and removes what went away; answers how many bytes it had.
    fn go_on(&mut self) -> Result<usize> {
        let Some(target) = &mut self.target else {
            return Err(Error::closed("the copy was not begun"));
        };
        let last = self.source.extent().last;
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = last.saturating_add(1).max(self.next);
        if self.next <= last {
            self.source
                .scan(self.next..=last, Want::Full, Direction::Forward, &mut |entry| {
                    bytes += entry.head.len() + entry.body.len();
                    entries.push(entry.to_entry());
                    if entries.len() < SLICE_RECORDS && bytes < SLICE_BYTES {
                        return ControlFlow::Continue(());
                    }
                    next = entry.seq + 1;
                    ControlFlow::Break(())
                })?;
        }
        self.next = next;
        // Only now: what was removed while the slice was read may be in it.
        let gone = std::mem::take(&mut *self.gone.lock());
        if gone.overflowed {
            return Err(Error::new(
                Kind::Busy,
                "more was removed meanwhile than the copy could follow",
            ));
        }
        target.add(entries, gone)?;
        Ok(bytes)
    }
}

/// Whether there is room for a copy of a log: a full disk would keep all publishers of the store waiting, and not the copy alone.
fn has_room(env: &Environment, log: &dyn LogReader) -> Result<()> {
    let Some(free) = env.room.as_ref().and_then(|room| room()) else {
        return Ok(());
    };
    let extent = log.extent();
    // What is compressed takes less, and files are made larger than what is in them.
    let needed = extent.bytes.min(extent.disk_bytes).saturating_add(ROOM_LEFT);
    match needed > free {
        true => Err(Error::new(
            Kind::Full,
            format!(
                "the disk has too little room for a copy: {} MiB are free, and {} MiB are needed, of which {} MiB stay free",
                free >> 20,
                needed.div_ceil(1 << 20),
                ROOM_LEFT >> 20
            ),
        )),
        false => Ok(()),
    }
}

fn stays() -> Error {
    Error::closed("it is to stay where it is")
}

fn key(id: StreamId) -> Bytes {
    [RELOCATING_PREFIX, id.to_string().as_bytes()].concat().into()
}

fn note(id: StreamId, shard: ShardId, from: &Settings, to: &Settings) -> KvWrite {
    (key(id), Some(crate::json::to_json(&(shard, from, to))))
}

impl Shard {
    /// Notes which streams are not where they are to be.
    pub(super) fn find_misplaced(&mut self) {
        let streams = self.streams.values();
        let misplaced = streams.filter(|stream| stream.wanted_settings().is_some());
        let ids: Vec<StreamId> = misplaced.map(|stream| stream.id()).collect();
        ids.into_iter().for_each(|id| self.relocations.wanted(id));
    }

    /// Begins a move, or brings one to its end; the turn was committed.
    pub(super) fn relocate(&mut self, now: NanoTime, handle: &ShardHandle) {
        if self.suspended.is_some() {
            return;
        }
        if self.relocations.running.is_none() {
            self.begin_relocation(now, handle);
            return;
        }
        let is_ready = |running: &Running| running.copy.is_some();
        if let Some(running) = self.relocations.running.take_if(|running| is_ready(running)) {
            self.end_relocation(running, now, handle);
        }
    }

    fn begin_relocation(&mut self, now: NanoTime, handle: &ShardHandle) {
        let due = self.relocations.due.iter().find(|(_, due)| **due <= now);
        let Some(id) = due.map(|(id, _)| *id) else { return };
        let Some(stream) = self.streams.get_mut(&id) else {
            // One that is offline is found again when it was opened anew.
            self.relocations.due.remove(&id);
            self.relocations.watchers.lock().remove(&id);
            return;
        };
        let Some(to) = stream.wanted_settings() else {
            self.relocations.due.remove(&id);
            self.relocations.over(id, Err(stays()));
            return;
        };
        // The log that it left last is the one that the catalogue names, until a checkpoint was written.
        if stream.messages.is_dirty() || self.relocations.has_left(id) {
            self.relocations.due.insert(id, now.saturating_add(SECOND));
            return;
        }
        self.relocations.due.remove(&id);
        if let Err(error) = has_room(&self.env, stream.messages.reader().as_ref()) {
            self.relocation_failed(id, &to, &error, now);
            return;
        }
        let messages = &mut stream.messages;
        let gone = Arc::new(Mutex::new(Gone::default()));
        messages.copying = Some(gone.clone());
        let signs = Arc::new(Signs::default());
        let copy = Box::new(Copy {
            env: self.env.clone(),
            discards: self.env.discards(),
            shard: self.number,
            from: messages.settings,
            who: Some(Identity {
                id,
                account: messages.account.clone(),
                name: messages.name.clone(),
                config: messages.config.clone(),
                settings: to,
                created: messages.created,
            }),
            source: messages.reader().clone(),
            gone,
            signs: signs.clone(),
            target: None,
            next: 0,
            pace: Pace::default(),
            tries: 0,
            watchers: self.relocations.watchers.clone(),
        });
        tracing::info!(
            account = %messages.account, stream = %messages.name,
            "its messages go over from {} to {}", messages.settings.backend, to.backend
        );
        self.run_beside(id, to, signs, copy, now, handle);
    }

    /// Lets a copy go on beside the shard; a move that cannot have a thread has failed.
    fn run_beside(
        &mut self,
        id: StreamId,
        to: Settings,
        signs: Arc<Signs>,
        copy: Box<Copy>,
        now: NanoTime,
        handle: &ShardHandle,
    ) {
        match self.copy_beside(copy, handle) {
            Ok(errand) => {
                self.relocations.running = Some(Running {
                    id,
                    to,
                    signs,
                    errand: Some(errand),
                    copy: None,
                });
            }
            Err(error) => self.relocation_failed(id, &to, &error, now),
        }
    }

    fn copy_beside(&self, copy: Box<Copy>, handle: &ShardHandle) -> Result<Errand<Result<Box<Copy>>>> {
        let handle = handle.clone();
        let signs = copy.signs.clone();
        let rest = copy.pace.rest.clone();
        signs.over.store(false, Ordering::Relaxed);
        let mut copy = Some(copy);
        let work = move || {
            let step = contained(|| match &mut copy {
                Some(copy) => copy.step(),
                None => Err(Error::closed("the copy is over")),
            });
            let result = match step {
                Ok(false) => return None,
                Ok(true) => copy.take().ok_or_else(|| Error::closed("the copy is over")),
                Err(error) => {
                    // Its log is closed before anybody is told.
                    copy = None;
                    Err(error)
                }
            };
            signs.over.store(true, Ordering::Release);
            // A shard that is gone needs no telling.
            let _ = handle.send(vec![Input::Relocated]);
            Some(result)
        };
        let name = format!("weir-relocate-{}", self.number);
        // Where nothing happens by itself nobody else needs the disk.
        let still = self.env.still;
        let rest = move || match still {
            true => Duration::ZERO,
            false => Duration::from_nanos(rest.load(Ordering::Relaxed)),
        };
        let begun = self.env.errands.begin_paced(name, Box::new(work), rest);
        begun.map_err(|error| Error::io("starting a thread to move a stream", error))
    }

    /// The copy has all but the newest messages, or failed.
    pub(super) fn relocated(&mut self, now: NanoTime) {
        // One that was stopped has told as well, and another may be under way.
        let is_over = |running: &&mut Running| running.signs.over.load(Ordering::Acquire);
        let Some(running) = self.relocations.running.as_mut().filter(is_over) else {
            return;
        };
        let Some(errand) = running.errand.take() else { return };
        let outcome = errand
            .wait()
            .unwrap_or_else(|| Err(Error::closed("the thread that moved it panicked")));
        match outcome {
            Ok(copy) => running.copy = Some(copy),
            Err(error) => {
                let (id, to) = (running.id, running.to);
                self.relocations.running = None;
                self.relocation_failed(id, &to, &error, now);
            }
        }
    }

    /// Copies what is left, and has the stream go on with the copy. The turn was committed.
    fn end_relocation(&mut self, running: Running, now: NanoTime, handle: &ShardHandle) {
        let Running {
            id, to, signs, copy, ..
        } = running;
        let Some(mut copy) = copy else { return };
        let Some(stream) = self.streams.get_mut(&id) else {
            self.relocations.watchers.lock().remove(&id);
            return;
        };
        if stream.messages.is_dirty() {
            // Its log has no room just now.
            drop(copy);
            let error = Error::new(Kind::Full, "its log has no room for what it holds");
            self.relocation_failed(id, &to, &error, now);
            return;
        }
        let caught_up = contained(|| copy.catch_up());
        if matches!(caught_up, Ok(false)) {
            self.run_beside(id, to, signs, copy, now, handle);
            return;
        }
        // Its log is about to be let go of.
        self.tending.stop_for(id);
        let discards = self.env.discards();
        // Of the log that it leaves, nobody could sync what the journal refers to.
        let synced = self.sync_asides();
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let ended = synced
            .and(caught_up)
            .and_then(|_| contained(|| finish(&mut copy, stream, discards, now)));
        drop(copy);
        match ended {
            Ok(left) => {
                tracing::info!(account = %stream.account(), stream = %stream.name(), "its messages are in {} now", to.backend);
                self.env.catalogue.insert(stream, self.number);
                self.relocations.left.push((id, left));
                self.touch(id);
                // Until then a start would find it where it was.
                self.checkpoint.grown(self.env.checkpoint_bytes);
                self.env.catalogue.set_moving(id, None);
                self.relocations.over(id, Ok(()));
            }
            Err(error) => self.relocation_failed(id, &to, &error, now),
        }
    }

    /// The stream stays where it is, and what there is of the copy goes.
    fn relocation_failed(&mut self, id: StreamId, to: &Settings, error: &Error, now: NanoTime) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.messages.copying = None;
            if error.kind != Kind::Closed {
                tracing::error!(account = %stream.account(), stream = %stream.name(), "its messages do not go over to {}: {error}", to.backend);
            }
            let why = (error.kind != Kind::Closed).then(|| error.message.clone());
            let seen = why.map(|why| MoveSeen {
                why: Some(why),
                damaged: error.kind == Kind::Damaged,
                ..MoveSeen::default()
            });
            self.env.catalogue.set_moving(id, seen);
            // Of damage nothing comes right by itself, and what was met of it is told of with the next turn.
            if error.kind == Kind::Damaged {
                self.touch(id);
            } else {
                self.relocations.due.insert(id, now.saturating_add(RETRY_AFTER));
            }
        }
        if let Err(error) = self.remove_copy(id, to) {
            tracing::warn!(log = %id, "what there is of the copy goes later: {error}");
        }
        self.relocations.over(id, Err(error.clone()));
    }

    fn remove_copy(&self, id: StreamId, settings: &Settings) -> Result<()> {
        let backend = self.env.backend(settings.backend)?;
        match backend.list()?.contains(&id.log()) {
            true => crate::store::remove_log(backend.as_ref(), id.log(), settings),
            false => Ok(()),
        }
    }

    /// Stops a move because the shard or a backend is opened anew, or the stream goes offline.
    pub(super) fn stop_relocation(&mut self) {
        if let Some((id, _)) = self.relocations.stop() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.messages.copying = None;
            }
            self.relocations.wanted(id);
        }
    }

    /// A checkpoint was written: logs go that streams have left, where the catalogue says so by now.
    pub(super) fn remove_left(&mut self) {
        let mut left = std::mem::take(&mut self.relocations.left);
        left.retain(|(id, settings)| {
            let Some(stream) = self.streams.get(id) else {
                // Offline, it may be opened anew as the catalogue has it.
                return true;
            };
            let current = stream.messages.settings.backend;
            let saved = load::saved(&self.env, *id).ok().flatten();
            if current == settings.backend {
                return false;
            }
            if saved.is_none_or(|saved| saved.settings.backend != current) {
                return true;
            }
            let removed = self
                .remove_copy(*id, settings)
                .and_then(|()| self.root_kv()?.put_all(&[(key(*id), None)]));
            if let Err(error) = removed {
                tracing::warn!(log = %id, "the log that a stream has left goes with the next start: {error}");
            }
            false
        });
        self.relocations.left.extend(left);
    }

    /// Removes what moves left that were broken off: of each stream the log that it does not have.
    ///
    /// # Errors
    /// If the catalogue cannot be read, written or synced.
    pub(super) fn remove_broken_off(&mut self) -> Result<()> {
        let kv = self.root_kv()?;
        let mut forgotten = Vec::new();
        let notes = self.notes(kv.as_ref())?;
        if !notes.is_empty() {
            // What names the log that stays may be of a process that ended before it had synced that: with the power it would go, and the
            // other log be named again.
            self.env.backend(BackendKind::Segment)?.sync()?;
        }
        for (id, from, to) in notes {
            let current = match (self.streams.get(&id), self.env.catalogue.by_id(id)) {
                (Some(stream), _) => Some(stream.messages.settings.backend),
                // How it will be opened is not known.
                (None, Some(_)) => continue,
                (None, None) if self.env.catalogue.has_loss() => continue,
                (None, None) => None,
            };
            let others = [from, to];
            let mut others = others.iter().filter(|settings| current != Some(settings.backend));
            match others.try_for_each(|settings| self.remove_copy(id, settings)) {
                Ok(()) => forgotten.push((key(id), None)),
                Err(error) => tracing::error!(log = %id, "what a move left goes later: {error}"),
            }
        }
        match forgotten.is_empty() {
            true => Ok(()),
            false => match kv.put_all(&forgotten) {
                // A later start finds them once more, and nothing to remove.
                Err(error) if error.kind == Kind::Full => Ok(()),
                forgotten => forgotten,
            },
        }
    }

    /// The notes of this shard.
    fn notes(&self, kv: &dyn Kv) -> Result<Vec<(StreamId, Settings, Settings)>> {
        let mut notes = Vec::new();
        kv.scan(RELOCATING_PREFIX, None, &mut |name, value| {
            let id = std::str::from_utf8(&name[RELOCATING_PREFIX.len()..]).ok();
            let id = id.and_then(|id| id.parse::<StreamId>().ok());
            match (id, crate::json::from_json::<(ShardId, Settings, Settings)>(value)) {
                (Some(id), Ok((shard, from, to))) if shard == self.number => notes.push((id, from, to)),
                (Some(_), Ok(_)) => {}
                _ => tracing::error!(key = ?Bytes::copy_from_slice(name), "is no note of a move, and is left as it is"),
            }
            ControlFlow::Continue(())
        })?;
        Ok(notes)
    }
}

/// Copies the newest messages and has the stream go on with the copy; answers what it leaves.
fn finish(copy: &mut Copy, stream: &mut crate::stream::Stream, discards: u64, now: NanoTime) -> Result<Settings> {
    if copy.discards != discards {
        return Err(Error::closed("a backend is opened anew"));
    }
    let Some(target) = copy.target.take() else {
        return Err(Error::closed("the copy was not begun"));
    };
    let left = stream.messages.settings;
    if stream
        .wanted_settings()
        .is_none_or(|wanted| wanted.backend != target.backend())
    {
        return Err(stays());
    }
    // The old log goes: what cannot be read of it would go as well.
    let messages = &stream.messages;
    let mut target = target.indexed(&copy.env, messages)?;
    if messages.index.len() != target.index.len() {
        let (count, missing) = missing(messages, &target)?;
        let first = missing.first().copied().unwrap_or_default();
        for seq in missing {
            // Reading it is what tells of it; the copy passed over it.
            messages.meet(seq)?;
        }
        return Err(Error::damaged(format!(
            "{} cannot be read, the first is {first}: once they are deleted, an update of the stream moves it",
            crate::words::count(count, "message")
        )));
    }
    target.raise_last(messages.last(), messages.last_time().unwrap_or(now));
    target.write(false)?;
    stream.go_over(target);
    Ok(left)
}

/// How many messages a copy lacks, and which, up to [`MISSING_MAX`]. Only where it has not as many as the stream they are looked at one by
/// one.
fn missing(messages: &Messages, target: &Messages) -> Result<(u64, Vec<Seq>)> {
    let (mut count, mut which) = (0, Vec::new());
    let there = target.index.counts();
    for (number, held) in messages.index.counts() {
        if there.get(&number) == Some(&held) {
            continue;
        }
        let low = number << COUNTED_POWER;
        let high = low | ((1 << COUNTED_POWER) - 1);
        let mut copied = Vec::new();
        target.index.each_live(low, high, &mut |seq| copied.push(seq))?;
        let mut copied = copied.into_iter().peekable();
        messages.index.each_live(low, high, &mut |seq| {
            while copied.next_if(|there| *there < seq).is_some() {}
            if copied.peek() != Some(&seq) {
                count += 1;
                if which.len() < MISSING_MAX {
                    which.push(seq);
                }
            }
        })?;
    }
    Ok((count, which))
}
