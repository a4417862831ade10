//! The index in the backend: an entry for each subject, and for each message that is neither the first nor the last
//! of its subject an inner posting. So a subject of one or two messages is one small entry, and the next message of
//! a subject is one seek. What is live is asked of the log itself.
//!
//! Everything changed during a turn lies in an overlay until the log's batch carries it to the backend, so answers
//! are right at once, memory is bounded by the turns in flight and the cache, and index and log cannot disagree: a turn's
//! batch has what the turn made of the index, whatever later ones make of it meanwhile.

mod cache;
mod endings;
mod filling;
mod keys;
mod overlay;
mod queries;
mod read;
mod tallying;
mod unreadable;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::chunk_of;
use super::digest::{Digest, hash};
use super::tally::Tallies;
use super::{Records, SubjectInfo};
use crate::backend::{Direction, Kv, KvWrite, LogReader, Want};
use crate::error::{Error, Result};
use crate::stream::messages::TurnNumber;
use crate::types::{LogId, NanoTime, Seq};
use cache::Cache;
pub(crate) use filling::fill;
use keys::{Keys, Totals};
use overlay::Overlay;
use unreadable::Unreadable;

/// Keys of older epochs that are deleted in one turn, at most.
const SWEEP: usize = 512;

/// Turns that can be written and are not, at most, before they become one.
const JOINED: usize = 16;

/// Subjects that are let go of at once while nothing else is to be done.
const LET_GO: usize = 16_384;

/// Messages after which an index that is built from the log writes what it has.
const BUILD_STEP: usize = 4096;

/// See [`Index`](super::Index), whose methods these are.
pub struct Paged {
    kv: Arc<dyn Kv>,
    reader: Arc<dyn LogReader>,
    records: Records,
    keys: Keys,
    totals: Totals,
    /// Whether the totals changed in the turn under way.
    changed: bool,
    cache: Box<Cache>,
    overlay: Overlay,
    /// What was added and is not in the log yet.
    added: BTreeMap<Seq, Box<[u8]>>,
    /// What was removed and may still be in the log, above the first live sequence.
    removed: BTreeSet<Seq>,
    /// What the turn under way removed of that.
    removed_now: Vec<Seq>,
    /// The turns that are over and not written.
    staged: VecDeque<Staged>,
    /// Messages that the log cannot show.
    unreadable: RefCell<Box<Unreadable>>,
    /// Live messages per chunk.
    chunks: BTreeMap<u64, u32>,
    changed_chunks: BTreeSet<u64>,
    /// Where to go on deleting what older epochs left behind.
    sweep: Option<Vec<u8>>,
    /// Counts removals, for what is remembered of live messages.
    removals: u64,
    /// The first ending, once looked up.
    first_ending: Option<Option<(NanoTime, Seq)>>,
    /// No ending is before this.
    endings_from: (NanoTime, Seq),
    /// Counts that are under way.
    pub(super) tallies: Tallies,
}

/// What a turn that is over changed.
struct Staged {
    turn: TurnNumber,
    /// With the totals as they were then.
    writes: Vec<KvWrite>,
    /// Nothing above was added.
    last: Seq,
    removed: Vec<Seq>,
}

impl fmt::Debug for Paged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged")
            .field("totals", &self.totals)
            .field("pending", &self.overlay.len())
            .finish_non_exhaustive()
    }
}

impl Paged {
    /// See [`Index::paged`](super::Index::paged).
    pub fn open(
        kv: Arc<dyn Kv>,
        log: LogId,
        reader: Arc<dyn LogReader>,
        records: Records,
        cache_bytes: usize,
    ) -> Result<Self> {
        let meta = Keys::new(log, 0).prefix();
        let found = kv.get(&meta)?.map(|value| Totals::decode(&meta, &value)).transpose()?;
        let totals = found.unwrap_or_default();
        let mut index = Self {
            kv,
            reader,
            records,
            keys: Keys::new(log, totals.epoch),
            totals,
            changed: false,
            cache: Box::new(Cache::new(cache_bytes)),
            overlay: Overlay::default(),
            added: BTreeMap::new(),
            removed: BTreeSet::new(),
            removed_now: Vec::new(),
            staged: VecDeque::new(),
            unreadable: RefCell::default(),
            chunks: BTreeMap::new(),
            changed_chunks: BTreeSet::new(),
            sweep: (totals.oldest < totals.epoch).then(|| Keys::new(log, totals.oldest).epoch()),
            removals: 0,
            first_ending: None,
            endings_from: (0, 0),
            tallies: Tallies::default(),
        };
        let extent = index.reader.extent();
        if totals.building || (extent.last >= totals.next && extent.count > 0) {
            index.build()?;
        } else {
            index.load_chunks()?;
        }
        Ok(index)
    }

    /// Reads the counts of the chunks.
    fn load_chunks(&mut self) -> Result<()> {
        let prefix = self.keys.chunks();
        let (mut chunks, mut failed) = (BTreeMap::new(), None);
        self.kv.scan(&prefix, None, &mut |key, value| {
            let count = value.try_into().map(u32::from_le_bytes);
            match (keys::seq_of(key), count) {
                (Some(number), Ok(count)) => {
                    chunks.insert(number, count);
                    ControlFlow::Continue(())
                }
                _ => {
                    failed = Some(keys::damaged(key));
                    ControlFlow::Break(())
                }
            }
        })?;
        self.chunks = chunks;
        failed.map_or(Ok(()), Err)
    }

    /// Builds the index from the heads of the log, for a log that was written without one. Until it is complete the
    /// totals say so, and another start begins again.
    fn build(&mut self) -> Result<()> {
        let last = self.reader.extent().last;
        let oldest = self.totals.oldest;
        self.clear(0)?;
        // Totals that are behind know nothing of what was written under that epoch since.
        self.kv.remove_prefix(&self.keys.epoch())?;
        self.totals = Totals {
            epoch: self.keys.epoch,
            oldest,
            building: true,
            ..Totals::default()
        };
        let mut from = 1;
        while from <= last {
            let mut batch: Vec<(Seq, NanoTime, Box<[u8]>, u64)> = Vec::with_capacity(BUILD_STEP);
            self.reader
                .scan(from..=last, Want::Heads, Direction::Forward, &mut |entry| {
                    let size = (self.records.size_of)(entry.head, entry.body_len as usize);
                    batch.push((entry.seq, entry.time, entry.head.into(), size));
                    if batch.len() == BUILD_STEP {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
            from = match batch.last() {
                Some((seq, ..)) if batch.len() == BUILD_STEP => seq + 1,
                _ => last + 1,
            };
            for (seq, time, head, size) in batch {
                self.add(seq, (self.records.subject_of)(&head), size)?;
                if let Some(at) = (self.records.ending_of)(self.reader.as_ref(), seq, time, &head)? {
                    self.add_ending(at, seq);
                }
            }
            self.totals.building = from <= last || self.lacks_any();
            self.totals.next = self.totals.next.max(from);
            let mut writes = Vec::new();
            self.stage(TurnNumber::MAX);
            self.take_writes(TurnNumber::MAX, &mut writes);
            self.kv.put_all(&writes)?;
            self.written(TurnNumber::MAX);
        }
        if self.totals.building && last == 0 {
            (self.totals.building, self.changed) = (false, true);
        }
        Ok(())
    }

    /// Whether messages are not in it because their heads cannot be read. It is not complete then, and the next start makes it anew, as each
    /// start does with an index in memory: their block may be readable by then.
    fn lacks_any(&self) -> bool {
        let extent = self.reader.extent();
        self.totals.len < extent.count && !self.reader.damaged(extent.first..=extent.last).is_empty()
    }

    /// See [`Index::digest`](super::Index::digest).
    pub fn digest(&self) -> Option<Digest> {
        self.totals.digest
    }

    /// Adds a message above all before.
    pub fn add(&mut self, seq: Seq, subject: &[u8], size: u64) -> Result<()> {
        let next = self.totals.next.max(1);
        if seq < next || seq == Seq::MAX {
            return Err(Error::invalid(format!("sequence {seq} is not above {}", next - 1)));
        }
        let key = self.keys.subject(subject);
        let before = self.entry(&key)?;
        let info = match before {
            None => {
                self.totals.subjects += 1;
                SubjectInfo {
                    count: 1,
                    first: seq,
                    last: seq,
                }
            }
            Some(info) => {
                if info.count > 1 {
                    // It was the last, and now lies between.
                    self.overlay
                        .insert(self.keys.posting(subject, info.last), Some(Bytes::new()));
                }
                SubjectInfo {
                    count: info.count + 1,
                    last: seq,
                    ..info
                }
            }
        };
        self.overlay.insert(key, Some(keys::encode(info)));
        self.added.insert(seq, subject.into());
        *self.chunks.entry(chunk_of(seq)).or_default() += 1;
        self.changed_chunks.insert(chunk_of(seq));
        self.totals.len += 1;
        if let Some(digest) = &mut self.totals.digest {
            digest.include(Digest::of(seq, hash(subject), size));
        }
        self.totals.next = seq + 1;
        self.totals.last = seq;
        if self.totals.first == 0 {
            self.totals.first = seq;
        }
        self.changed = true;
        self.tallies.added(seq, subject, before);
        Ok(())
    }

    /// Removes a live message of that subject, and of that size if it is known.
    pub fn remove(&mut self, seq: Seq, subject: &[u8], size: Option<u64>) -> Result<()> {
        let key = self.keys.subject(subject);
        let absent = || {
            let subject = String::from_utf8_lossy(subject);
            Error::invalid(format!("no live message {seq} of subject {subject:?} to remove"))
        };
        let Some(info) = self.entry(&key)? else {
            return Err(absent());
        };
        let rest = if info.count == 1 {
            if seq != info.first {
                return Err(absent());
            }
            None
        } else if seq == info.first {
            // The first inner posting becomes the first, and is inner no longer.
            let first = self.posting_from(subject, seq + 1)?.unwrap_or(info.last);
            Some(SubjectInfo {
                count: info.count - 1,
                first,
                ..info
            })
        } else if seq == info.last {
            let last = self.posting_up_to(subject, info, seq - 1)?.unwrap_or(info.first);
            Some(SubjectInfo {
                count: info.count - 1,
                last,
                ..info
            })
        } else {
            let posting = self.keys.posting(subject, seq);
            if info.count == 2 || !self.has(&posting)? {
                return Err(absent());
            }
            self.overlay.insert(posting, None);
            Some(SubjectInfo {
                count: info.count - 1,
                ..info
            })
        };
        if let Some(rest) = rest {
            for end in [rest.first, rest.last] {
                if end != info.first && end != info.last {
                    self.overlay.insert(self.keys.posting(subject, end), None);
                }
            }
        } else {
            self.totals.subjects = self.totals.subjects.saturating_sub(1);
        }
        self.overlay.insert(key, rest.map(keys::encode));
        self.tallies.removed(seq, subject, rest);
        self.unreadable.get_mut().gone(seq);
        self.added.remove(&seq);
        // Also of one that the log does not have: it may get it with a turn before this one.
        self.removed.insert(seq);
        self.removed_now.push(seq);
        let number = chunk_of(seq);
        if let Some(count) = self.chunks.get_mut(&number) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.chunks.remove(&number);
            }
        }
        self.changed_chunks.insert(number);
        self.changed = true;
        self.removals += 1;
        self.totals.len = self.totals.len.saturating_sub(1);
        self.totals.digest = self.totals.digest.zip(size).map(|(mut digest, size)| {
            digest.leave_out(Digest::of(seq, hash(subject), size));
            digest
        });
        if self.totals.len == 0 {
            (self.totals.first, self.totals.last) = (0, 0);
            self.totals.digest = Some(Digest::default());
            self.removed.clear();
        } else if seq == self.totals.first {
            self.totals.first = self.next_live(seq + 1)?.unwrap_or(0);
            // What lies below the first needs no mention.
            self.removed = self.removed.split_off(&self.totals.first);
        } else if seq == self.totals.last {
            self.totals.last = self.prev_live(seq - 1)?.unwrap_or(0);
        }
        Ok(())
    }

    /// Removes everything, at the cost of one key: the others are deleted bit by bit in the turns to come.
    pub fn clear(&mut self, next: Seq) -> Result<()> {
        let epoch = self
            .keys
            .epoch
            .checked_add(1)
            .ok_or_else(|| Error::unsupported("the index was cleared 2^32 times"))?;
        self.sweep = Some(
            Keys {
                epoch: self.totals.oldest,
                ..self.keys
            }
            .epoch(),
        );
        self.keys.epoch = epoch;
        self.totals = Totals {
            epoch,
            oldest: self.totals.oldest,
            next: next.max(self.totals.next),
            ..Totals::default()
        };
        self.cache.clear();
        self.overlay.clear();
        self.added.clear();
        self.removed.clear();
        self.removed_now.clear();
        self.unreadable.get_mut().clear();
        self.chunks.clear();
        self.changed_chunks.clear();
        self.changed = true;
        self.removals += 1;
        self.first_ending = Some(None);
        self.endings_from = (0, 0);
        self.tallies.cleared();
        Ok(())
    }

    /// Lets go of some of the memory that it has no use for.
    pub fn idle(&mut self) {
        self.cache.let_go(LET_GO);
    }

    /// The turn of that number is over.
    pub fn stage(&mut self, turn: TurnNumber) {
        self.sweep();
        self.cache.let_go(SWEEP);
        if !self.changed {
            return;
        }
        for number in std::mem::take(&mut self.changed_chunks) {
            let count = self
                .chunks
                .get(&number)
                .map(|count| Bytes::copy_from_slice(&count.to_le_bytes()));
            self.overlay.insert(self.keys.chunk(number), count);
        }
        let mut writes = Vec::new();
        self.overlay.stage(turn, &mut writes);
        writes.push((self.keys.prefix().into(), Some(self.totals.encode())));
        self.staged.push_back(Staged {
            turn,
            writes,
            last: self.totals.next.saturating_sub(1),
            removed: std::mem::take(&mut self.removed_now),
        });
        self.changed = false;
    }

    /// The turns up to that one are written together, whenever that is: of many, each key is kept once.
    pub fn join(&mut self, turn: TurnNumber) {
        let count = self.staged.iter().take_while(|staged| staged.turn <= turn).count();
        if count < JOINED {
            return;
        }
        let joined = self.staged.drain(..count).reduce(|mut all, later| {
            all.writes.extend(later.writes);
            all.removed.extend(later.removed);
            Staged {
                turn: later.turn,
                last: later.last,
                ..all
            }
        });
        if let Some(mut joined) = joined {
            let writes: BTreeMap<Bytes, Option<Bytes>> = joined.writes.into_iter().collect();
            joined.writes = writes.into_iter().collect();
            self.staged.push_front(joined);
        }
    }

    /// Hands out the writes of the turns up to that one.
    pub fn take_writes(&self, turn: TurnNumber, out: &mut Vec<KvWrite>) {
        for staged in self.staged.iter().take_while(|staged| staged.turn <= turn) {
            out.extend_from_slice(&staged.writes);
        }
    }

    /// The turns up to that one were written.
    pub fn written(&mut self, turn: TurnNumber) {
        while let Some(staged) = self.staged.pop_front_if(|staged| staged.turn <= turn) {
            for (key, _) in staged.writes {
                let Some(value) = self.overlay.land(turn, &key) else {
                    continue;
                };
                if !keys::is_subject(&key) {
                    continue;
                }
                match value.map(|value| keys::decode(&key, &value)) {
                    Some(Ok(info)) => self.cache.put(key, info),
                    _ => self.cache.remove(&key),
                }
            }
            for seq in staged.removed {
                self.removed.remove(&seq);
            }
            self.added = self.added.split_off(&(staged.last + 1));
        }
    }

    /// Puts deletions of what older epochs left behind among the writes. Failing to read them can wait: it is room,
    /// not meaning, that is lost.
    fn sweep(&mut self) {
        if !self.staged.is_empty() {
            // A turn that is not written may leave more behind.
            return;
        }
        let Some(from) = self.sweep.take() else {
            return;
        };
        let current = self.keys.epoch();
        let mut old = Vec::new();
        let scanned = self.kv.scan(&self.keys.prefix(), Some(&from), &mut |key, _| {
            if key >= current.as_slice() || old.len() == SWEEP {
                return ControlFlow::Break(());
            }
            old.push(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned {
            tracing::warn!(%error, "what an emptied index left behind could not be read; it is kept for now");
            self.sweep = Some(from);
            return;
        }
        if let (SWEEP, Some(last)) = (old.len(), old.last()) {
            self.sweep = Some(last.to_vec());
        } else {
            self.totals.oldest = self.totals.epoch;
        }
        self.changed = true;
        old.into_iter().for_each(|key| self.overlay.insert(key, None));
    }

    /// The entry of a subject's key.
    fn entry(&mut self, key: &[u8]) -> Result<Option<SubjectInfo>> {
        if let Some(change) = self.overlay.get(key) {
            return change.map(|value| keys::decode(key, value)).transpose();
        }
        if let Some(info) = self.cache.get(key) {
            return Ok(Some(info));
        }
        let Some(value) = self.kv.get(key)? else {
            return Ok(None);
        };
        let info = keys::decode(key, &value)?;
        self.cache.put(Bytes::copy_from_slice(key), info);
        Ok(Some(info))
    }

    /// Whether there is such a key.
    fn has(&self, key: &[u8]) -> Result<bool> {
        match self.overlay.get(key) {
            Some(change) => Ok(change.is_some()),
            None => Ok(self.kv.get(key)?.is_some()),
        }
    }
}

/// Deletes whatever a paged index keeps for that log. For a log that is removed.
pub(crate) fn forget(kv: &dyn Kv, log: LogId) -> Result<()> {
    kv.remove_prefix(&Keys::new(log, 0).prefix())
}
