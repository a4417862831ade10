//! The writer of a log on RocksDB: one write batch for each of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use rocksdb::WriteBatch;
use weir_engine::{
    Compression, Error, Extent, Kind, Log, LogChange, LogId, LogOptions, LogReader, Recoder, Record, Result, Seq,
    Upkeep,
};

use super::keys::{self, Head, Meta};
use super::moving::{Gather, Moved, Mover, Moving};
use super::reader::{RocksReader, walk};
use super::store::{FEW, Shared};
use super::tidy::{Gone, Tidying};
use crate::rules;

/// Records to erase are looked up one by one where so many sequences or more lie between two of them.
const SPARSE: u64 = 8;

/// Records whose bodies move to another family at a time.
const MOVED_RECORDS: usize = 1024;
/// Bytes of such records, give or take one.
const MOVED_BYTES: u64 = 1 << 20;

/// Known damage is remembered for so many sequences of a log at most.
const DAMAGE_MAX: usize = 10_000;

/// Damaged records of a log each of which has a line in the program's log.
const DAMAGE_LINES: usize = 64;

/// What a log, its readers and the backend share.
pub(super) struct State {
    pub shared: Arc<Shared>,
    pub id: LogId,
    pub place: u64,
    pub open: AtomicBool,
    /// Whether the last holder of this deletes the records.
    pub removed: AtomicBool,
    pub now: RwLock<Now>,
    damaged: RwLock<BTreeSet<Seq>>,
    /// The sequences whose heads lie in blocks that cannot be read, by the first of each, with the last.
    blocks: RwLock<BTreeMap<Seq, Seq>>,
    /// Ranges of sequences that a repair could not find, as far as nothing was removed above them since.
    lost: RwLock<Vec<(Seq, Seq)>>,
    /// Whether anything is damaged, for readers that ask often.
    any_damage: AtomicBool,
}

/// What a log holds now.
#[derive(Clone, Copy, Default)]
pub(super) struct Now {
    /// As it stands in the catalogue, but with the exact first sequence.
    pub meta: Meta,
    /// What files held when last asked, and what was written since.
    pub disk_bytes: u64,
}

impl State {
    pub fn open(shared: &Arc<Shared>, id: LogId, meta: Meta) -> Result<Self> {
        let state = Self {
            shared: Arc::clone(shared),
            id,
            place: meta.place,
            open: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            now: RwLock::new(Now {
                meta,
                disk_bytes: shared.disk_bytes(meta.place, meta.families)?,
            }),
            damaged: RwLock::default(),
            blocks: RwLock::default(),
            lost: RwLock::new(shared.lost(id, meta.first)?),
            any_damage: AtomicBool::new(false),
        };
        let first = state.next_live(&meta, meta.first)?;
        state.now.write().meta.first = first;
        Ok(state)
    }

    /// Has all on disk, and asks how much of it that is.
    pub fn sync(&self) -> Result<()> {
        self.shared.sync()?;
        let families = self.now.read().meta.families;
        let disk_bytes = self.shared.disk_bytes(self.place, families)?;
        self.now.write().disk_bytes = disk_bytes;
        Ok(())
    }

    pub fn extent(&self) -> Extent {
        let now = *self.now.read();
        Extent {
            first: now.meta.first,
            last: now.meta.last,
            count: now.meta.count,
            bytes: now.meta.bytes,
            disk_bytes: now.disk_bytes,
            damaged: self.damaged.read().len() as u64,
        }
    }

    /// Remembers damage and makes the error for it, for the reader to tell.
    pub fn found_damage(&self, seq: Seq, what: &str) -> Error {
        self.remember(seq, what).0
    }

    /// Remembers damage that a scan passes over without a word, and tells of it, once for each sequence; of very many each time that they are
    /// twice as many.
    pub fn passed_over(&self, seq: Seq, what: &str) {
        match self.remember(seq, what) {
            (error, Some(count)) if count < DAMAGE_LINES => tracing::error!("{error}"),
            (error, Some(count)) if count.is_power_of_two() => {
                tracing::error!("{error}; {count} records of it are damaged, and not each has a line here any more");
            }
            _ => {}
        }
    }

    /// The error, and the number of it if it is the first of that sequence.
    fn remember(&self, seq: Seq, what: &str) -> (Error, Option<usize>) {
        let error = Error::damaged(format!(
            "rocksdb: log {} (place {}), sequence {seq}: {what}; it is kept and not served",
            self.id, self.place
        ));
        let mut damaged = self.damaged.write();
        self.any_damage.store(true, Ordering::Release);
        let new = damaged.len() < DAMAGE_MAX && damaged.insert(seq);
        (error, new.then_some(damaged.len()))
    }

    /// What a repair could not find.
    pub fn lost(&self) -> Vec<(Seq, Seq)> {
        self.lost.read().clone()
    }

    /// What was removed is no loss any more.
    fn keep_lost(&self, first: Seq, last: Seq) {
        let mut lost = self.lost.write();
        if !lost.is_empty() {
            *lost = clip_lost(std::mem::take(&mut *lost), first, last);
        }
    }

    /// Remembers that the heads of these sequences lie in a block that cannot be read.
    pub fn found_bad_block(&self, first: Seq, last: Seq) {
        let mut blocks = self.blocks.write();
        let known = blocks.range(..=first).next_back().is_some_and(|(_, end)| *end >= last);
        if !known && blocks.len() < DAMAGE_MAX {
            blocks.insert(first, last);
        }
    }

    /// The damage that touches a range.
    pub fn damage_within(&self, range: RangeInclusive<Seq>) -> Vec<(Seq, Seq)> {
        if !self.any_damage.load(Ordering::Acquire) || range.is_empty() {
            return Vec::new();
        }
        let (first, last) = range.into_inner();
        let single = self.damaged.read();
        let blocks = self.blocks.read();
        let touching = blocks.range(..=last).filter(|(_, end)| **end >= first);
        let mut all: Vec<(Seq, Seq)> = touching.map(|(begin, end)| (*begin, *end)).collect();
        let in_block = |seq: Seq| blocks.range(..=seq).next_back().is_some_and(|(_, end)| *end >= seq);
        let alone = single.range(first..=last).filter(|seq| !in_block(**seq));
        all.extend(alone.map(|seq| (*seq, *seq)));
        all.sort_unstable();
        all
    }

    /// The first live sequence at or above `from`, or the first whose head cannot be read, for it may be live: a log that began behind
    /// it would not know of it any more. One above the last if there is neither.
    fn next_live(&self, meta: &Meta, from: Seq) -> Result<Seq> {
        let mut found = None;
        if meta.count > 0 {
            walk(self, from, meta.last, &mut |seq, _| {
                found = Some(seq);
                false
            })?;
        }
        let found = found.unwrap_or(meta.last.saturating_add(1));
        for (low, high) in self.damage_within(from..=found.saturating_sub(1)) {
            for seq in low.max(from)..=high.min(found.saturating_sub(1)) {
                if self.is_unreadable(seq)? {
                    return Ok(seq);
                }
            }
        }
        Ok(found)
    }

    /// Whether the block is damaged in which the head of that sequence would be.
    fn is_unreadable(&self, seq: Seq) -> Result<bool> {
        let key = keys::record(self.place, seq);
        match self.shared.db.get_pinned_cf(self.shared.heads()?, key) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == rocksdb::ErrorKind::Corruption => Ok(true),
            Err(error) => Err(super::store::failed("reading a head", &error)),
        }
    }
}

/// Of ranges, in order, what is within others.
pub(super) fn clip_lost(ranges: Vec<(Seq, Seq)>, first: Seq, last: Seq) -> Vec<(Seq, Seq)> {
    let clipped = ranges.into_iter().map(|(low, high)| (low.max(first), high.min(last)));
    clipped.filter(|(low, high)| low <= high).collect()
}

impl Drop for State {
    fn drop(&mut self) {
        if self.removed.load(Ordering::Acquire)
            && let Err(error) = self.shared.delete_place(self.place)
        {
            // The catalogue remembers it: the next opening of the store tries again.
            tracing::warn!("deleting the records of removed log {}: {error}", self.id);
        }
    }
}

pub(super) struct RocksLog {
    state: Arc<State>,
    /// The family that takes new bodies.
    family: u8,
    /// What was deleted, and is not compacted away yet.
    gone: Gone,
    /// Bodies that move to that family.
    moving: Option<Moving>,
    /// Who compresses records, where that is somebody above.
    recoder: Option<Arc<dyn Recoder>>,
    /// Used again for each head.
    value: Vec<u8>,
}

/// What a deletion takes from a log.
#[derive(Default)]
struct Taken {
    count: u64,
    bytes: u64,
}

impl Taken {
    fn from(&self, meta: &mut Meta) {
        meta.count = meta.count.saturating_sub(self.count);
        meta.bytes = meta.bytes.saturating_sub(self.bytes);
    }
}

impl RocksLog {
    pub fn new(state: Arc<State>, options: &LogOptions) -> Self {
        Self {
            gone: Gone::in_log(&state),
            state,
            family: keys::family(options.compression),
            moving: None,
            recoder: None,
            value: Vec::new(),
        }
    }

    /// Damage is passed over where a write has to read first; any other failure to read poisons, as a write's does.
    fn or_poison<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.state.shared.poison(error))
    }

    /// Adds a record to the batch.
    fn put(&mut self, out: &mut WriteBatch, (record, counts): (&Record<'_>, u32), meta: &mut Meta) -> Result<()> {
        let key = keys::record(self.state.place, record.seq);
        Head::encode(&key, (record, counts), self.family, &mut self.value);
        out.put_cf(self.state.shared.heads()?, key, &self.value);
        if !record.body.is_empty() {
            out.put_cf(self.state.shared.bodies(self.family)?, key, record.body);
            meta.families |= 1 << self.family;
        }
        meta.count += 1;
        meta.bytes += record.head.len() as u64 + u64::from(counts);
        Ok(())
    }

    /// Adds the deletion of records, as far as they are there, to the batch. The sequences are in order.
    fn erase_all(&self, out: &mut WriteBatch, seqs: &[Seq], meta: &mut Meta) -> Result<()> {
        let (Some(low), Some(high)) = (seqs.first(), seqs.last()) else {
            return Ok(());
        };
        if seqs.len() <= FEW || (high - low) / SPARSE > seqs.len() as u64 {
            return seqs.iter().try_for_each(|seq| self.erase(out, *seq, meta));
        }
        // Reading on is cheaper than looking up each.
        let mut found = Vec::with_capacity(seqs.len());
        let mut wanted = seqs.iter().peekable();
        walk(&self.state, *low, *high, &mut |seq, head| {
            while wanted.next_if(|next| **next < seq).is_some() {}
            if wanted.next_if(|next| **next == seq).is_some() {
                found.push((seq, head.family, head.body_len, head.bytes()));
            }
            true
        })?;
        for run in found.chunk_by(|before, next| before.0 + 1 == next.0) {
            let (first, last) = (run[0].0, run[run.len() - 1].0);
            if run.len() > FEW {
                self.delete_range(out, first, last, meta)?;
            }
            for (seq, family, body_len, bytes) in run {
                if run.len() <= FEW {
                    self.delete_one(out, *seq, *family, *body_len)?;
                }
                let taken = Taken {
                    count: 1,
                    bytes: *bytes,
                };
                taken.from(meta);
            }
        }
        // Those that were passed over are not there, or damaged.
        let mut found = found.iter().map(|(seq, ..)| *seq).peekable();
        for seq in seqs {
            if found.next_if_eq(seq).is_none() {
                self.erase(out, *seq, meta)?;
            }
        }
        Ok(())
    }

    /// Adds the deletion of one record, if it is there, to the batch.
    fn erase(&self, out: &mut WriteBatch, seq: Seq, meta: &mut Meta) -> Result<()> {
        let shared = &self.state.shared;
        let key = keys::record(self.state.place, seq);
        let value = match shared.db.get_pinned_cf(shared.heads()?, key) {
            Ok(Some(value)) => Some(value),
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == rocksdb::ErrorKind::Corruption => None,
            Err(error) => return Err(super::store::failed("reading a head", &error)),
        };
        match value.as_deref().and_then(|value| Head::decode(&key, value)) {
            Some((head, true)) => {
                self.delete_one(out, seq, head.family, head.body_len)?;
                let taken = Taken {
                    count: 1,
                    bytes: head.bytes(),
                };
                taken.from(meta);
            }
            // It is not known how long it was, or where its body is.
            _ => {
                out.delete_cf(shared.heads()?, key);
                for family in shared.bodies_of(meta.families) {
                    out.delete_cf(shared.bodies(family)?, key);
                }
                let taken = Taken {
                    count: 1,
                    bytes: meta.bytes / meta.count.max(1),
                };
                taken.from(meta);
            }
        }
        Ok(())
    }

    fn delete_one(&self, out: &mut WriteBatch, seq: Seq, family: u8, body_len: u32) -> Result<()> {
        let key = keys::record(self.state.place, seq);
        let shared = &self.state.shared;
        out.delete_cf(shared.heads()?, key);
        if family == keys::NO_FAMILY {
            for family in shared.bodies_of(0xff) {
                out.delete_cf(shared.bodies(family)?, key);
            }
        } else if body_len > 0 {
            out.delete_cf(shared.bodies(family)?, key);
        }
        Ok(())
    }

    /// Adds the deletion of everything from `low` to `high` to the batch; `all` when that is all the log holds.
    /// `meta` is what the log holds before the batch.
    fn delete_span(&self, out: &mut WriteBatch, (low, high): (Seq, Seq), meta: &Meta, all: bool) -> Result<Taken> {
        // Whichever part has fewer sequences is read: what goes, or what stays.
        let width = high - low;
        let stays = match low == meta.first {
            true => (high.saturating_add(1), meta.last),
            false => (meta.first, low - 1),
        };
        let read_rest = stays.1.saturating_sub(stays.0) < width && meta.count > FEW as u64;
        if all && meta.count > FEW as u64 {
            self.delete_range(out, low, high, meta)?;
            return Ok(Taken {
                count: meta.count,
                bytes: meta.bytes,
            });
        }
        let mut taken = Taken::default();
        let mut few = Vec::new();
        let (from, to) = if read_rest { stays } else { (low, high) };
        walk(&self.state, from, to, &mut |seq, head| {
            taken.count += 1;
            taken.bytes += head.bytes();
            if few.len() <= FEW {
                few.push((seq, head.family, head.body_len));
            }
            true
        })?;
        if read_rest {
            self.delete_range(out, low, high, meta)?;
            return Ok(Taken {
                count: meta.count.saturating_sub(taken.count),
                bytes: meta.bytes.saturating_sub(taken.bytes),
            });
        }
        if few.len() > FEW {
            self.delete_range(out, low, high, meta)?;
            return Ok(taken);
        }
        for (seq, family, body_len) in few {
            self.delete_one(out, seq, family, body_len)?;
        }
        Ok(match all {
            true => Taken {
                count: meta.count,
                bytes: meta.bytes,
            },
            false => taken,
        })
    }

    fn delete_range(&self, out: &mut WriteBatch, low: Seq, high: Seq, meta: &Meta) -> Result<()> {
        let shared = &self.state.shared;
        shared.delete_range(out, self.state.place, low, high.saturating_add(1), meta.families)
    }

    fn mover(&self) -> Mover {
        Mover {
            family: self.family,
            recoder: self.recoder.clone(),
        }
    }

    /// Moves the bodies of other families to the one that takes new bodies, some at a time. Those that are damaged stay.
    fn move_bodies(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let state = Arc::clone(&self.state);
        let reader = RocksReader { state: state.clone() };
        let before = state.now.read().meta;
        let (mut next, mut done) = (before.first, 0);
        while next <= before.last {
            let mut found: Vec<(Seq, u8, u32)> = Vec::new();
            let (mover, mut bytes, from) = (self.mover(), 0, next);
            next = before.last.saturating_add(1);
            walk(&state, from, before.last, &mut |seq, head| {
                done += head.bytes();
                if mover.may_move(head) {
                    bytes += head.bytes();
                    found.push((seq, head.family, head.body_len));
                }
                let is_more = found.len() < MOVED_RECORDS && bytes < MOVED_BYTES;
                if !is_more {
                    next = seq + 1;
                }
                is_more
            })?;
            let mut entries = Vec::new();
            for (seq, old, counts) in found {
                entries.extend(mover.read(&reader, seq, old, counts)?);
            }
            self.move_all(&entries)?;
            progress(done.min(before.bytes), before.bytes);
        }
        Ok(())
    }

    /// Writes bodies to the family that takes new ones, and deletes them from those that they are in. The records are there.
    fn move_all(&mut self, entries: &[Moved]) -> Result<()> {
        let state = Arc::clone(&self.state);
        let mut out = WriteBatch::default();
        let mut meta = state.now.read().meta;
        for Moved { entry, counts, old } in entries {
            let record = Record {
                seq: entry.seq,
                time: entry.time,
                head: &entry.head,
                body: &entry.body,
            };
            let Meta { count, bytes, .. } = meta;
            self.put(&mut out, (&record, *counts), &mut meta)?;
            // It was there before.
            (meta.count, meta.bytes) = (count, bytes);
            if *old != self.family {
                out.delete_cf(state.shared.bodies(*old)?, keys::record(state.place, entry.seq));
            }
        }
        self.commit(out, meta, 0)
    }

    /// Moves what was read to be moved and is there still, and answers what is to be read next; when all has moved, its
    /// place is compacted.
    fn go_on_moving(&mut self) -> Result<Option<Gather>> {
        let Some(mut moving) = self.moving.take() else {
            return Ok(None);
        };
        if let Some(gathered) = moving.gathered() {
            let mut there = Vec::with_capacity(gathered.entries.len());
            for moved in gathered.entries {
                if self.family_of(moved.entry.seq)? == Some(moved.old) {
                    self.gone.add(moved.entry.body.len() as u64);
                    there.push(moved);
                }
            }
            self.move_all(&there)?;
            moving.came_to(gathered.next);
        }
        if moving.range().is_empty() {
            return Ok(None);
        }
        let work = moving.gather(self.state.clone(), self.mover());
        self.moving = Some(moving);
        Ok(Some(work))
    }

    /// The family that has the body of a record; `None` if there is no such record, or its head is damaged.
    fn family_of(&self, seq: Seq) -> Result<Option<u8>> {
        let mut family = None;
        let meta = self.state.now.read().meta;
        if meta.first <= seq && seq <= meta.last {
            walk(&self.state, seq, seq, &mut |_, head| {
                family = Some(head.family);
                false
            })?;
        }
        Ok(family)
    }

    /// Writes the batch with what the log then holds, and lets readers see it.
    fn commit(&mut self, mut out: WriteBatch, mut meta: Meta, written: u64) -> Result<()> {
        if meta.count == 0 {
            meta.bytes = 0;
            meta.first = meta.last.saturating_add(1);
        }
        let key = keys::named(keys::PREFIX_LOG, self.state.id.0);
        out.put(key, meta.encode(&key));
        let shared = &self.state.shared;
        if let Err(error) = shared.write(out) {
            if error.kind == Kind::Full && meta.count == 0 {
                shared.drop_files(self.state.place, meta.families);
            }
            return Err(error);
        }
        self.state.keep_lost(meta.first, Seq::MAX);
        let mut now = self.state.now.write();
        self.gone.add((now.meta.bytes + written).saturating_sub(meta.bytes));
        now.meta = meta;
        now.disk_bytes += written;
        Ok(())
    }
}

impl Log for RocksLog {
    fn write(&mut self, change: &LogChange<'_>) -> Result<()> {
        let state = Arc::clone(&self.state);
        state.shared.check_writable()?;
        let old = state.now.read().meta;
        rules::check(state.id, old.last, change)?;
        let mut out = WriteBatch::default();
        let mut meta = old;

        // What the trim takes is left to it, and what the change itself removes is never written.
        let trim = change.trim.unwrap_or(0);
        let mut erase: Vec<Seq> = change.erase.iter().copied().filter(|s| *s >= trim).collect();
        erase.sort_unstable();
        erase.dedup();

        if trim > old.first && old.count > 0 {
            let span = (old.first, (trim - 1).min(old.last));
            let taken = self.delete_span(&mut out, span, &old, trim > old.last);
            self.or_poison(taken)?.from(&mut meta);
        }
        let there = &erase[erase.partition_point(|seq| *seq < old.first)..];
        let there = &there[..there.partition_point(|seq| *seq <= old.last)];
        let erased = self.erase_all(&mut out, there, &mut meta);
        self.or_poison(erased)?;
        let kept_before = meta.count;
        let mut written = 0;
        let mut first_new = None;
        for (record, counts) in change.records() {
            if record.seq >= trim && erase.binary_search(&record.seq).is_err() {
                self.put(&mut out, (record, counts), &mut meta)?;
                written += (record.head.len() + record.body.len()) as u64;
                first_new.get_or_insert(record.seq);
            }
        }
        if let Some(record) = change.append.last() {
            meta.last = record.seq;
        }
        meta.last = meta.last.max(trim.saturating_sub(1));
        meta.first = match (kept_before, first_new) {
            (0, Some(seq)) => seq,
            _ => old.first.max(trim),
        };
        state.shared.add_kv(&mut out, change.kv)?;
        self.commit(out, meta, written)?;

        let first_gone = meta.first != old.first || erase.binary_search(&old.first).is_ok();
        if kept_before > 0 && first_gone {
            let first = state.next_live(&meta, meta.first);
            state.now.write().meta.first = self.or_poison(first)?;
        }
        if change.overwrite
            && let (Some(low), Some(high)) = (erase.first(), erase.last())
        {
            self.gone.note_overwrite(*low, *high);
        }
        Ok(())
    }

    fn truncate(&mut self, last: Seq) -> Result<()> {
        self.state.shared.check_writable()?;
        let old = self.state.now.read().meta;
        if last >= old.last {
            return Ok(());
        }
        let mut out = WriteBatch::default();
        let mut meta = Meta { last, ..old };
        if old.count > 0 {
            let low = (last + 1).max(old.first);
            let taken = self.delete_span(&mut out, (low, old.last), &old, low == old.first);
            self.or_poison(taken)?.from(&mut meta);
        }
        // Others may have these sequences then.
        let lost = self.state.lost();
        let kept = clip_lost(lost.clone(), 0, last);
        if kept != lost {
            let key = keys::named(keys::PREFIX_LOST, self.state.id.0);
            out.put(key, keys::encode_lost(&key, &kept));
        }
        self.commit(out, meta, 0)?;
        self.state.keep_lost(0, last);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let state = &self.state;
        state.sync()
    }

    /// RocksDB compacts by itself, but nothing says when: what was erased to be overwritten is compacted away at once, and the
    /// whole log once more was deleted than is left.
    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        if let Some(work) = self.go_on_moving()? {
            return Ok(Some(Box::new(work)));
        }
        let Some((low, high, done)) = self.gone.next(&self.state) else {
            return Ok(None);
        };
        if let Some(why) = &self.state.shared.impaired {
            tracing::warn!("log {}: what was deleted stays on disk: {why}", self.state.id);
            self.gone.forget();
            return Ok(None);
        }
        Ok(Some(Box::new(Tidying::new(self.state.clone(), (low, high), done))))
    }

    /// Bodies that are compressed otherwise move to the family that is compressed like this; then the log's range is rewritten.
    fn compact(&mut self, compression: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.state.shared.check_compacts()?;
        if let Some(compression) = compression {
            self.family = keys::family(compression);
            self.moving = None;
            self.move_bodies(progress)?;
        }
        self.sync()?;
        let families = self.state.now.read().meta.families;
        self.state.shared.compact_range(families, Some(self.state.place))?;
        // What went wrong meanwhile is told by the next write.
        self.sync()
    }

    fn recompress(&mut self, compression: Compression, range: RangeInclusive<Seq>) {
        self.family = keys::family(compression);
        self.moving = Moving::of(range);
    }

    fn recompressing(&self) -> Option<RangeInclusive<Seq>> {
        self.moving.as_ref().map(Moving::range)
    }

    fn recode_by(&mut self, recoder: Arc<dyn Recoder>) {
        self.recoder = Some(recoder);
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(RocksReader {
            state: Arc::clone(&self.state),
        })
    }
}

impl Drop for RocksLog {
    fn drop(&mut self) {
        self.state.open.store(false, Ordering::Release);
    }
}
