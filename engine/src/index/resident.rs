//! The index in memory: all subjects, and postings by chunk. When a stream opens, it is taken from
//! what is kept of it beside the log, and built from the log's heads from there on, or altogether.

mod backwards;
mod counting;
mod forwards;
mod here;
mod inner;
mod keeping;
mod loading;
mod slices;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use bytes::Bytes;

use super::chunk::{Added, Chunk, ChunkSize, chunk_of};
use super::digest::{Digest, hash};
use super::filters::Filters;
use super::subjects::Subjects;
use super::tally::Tallies;
use super::{Census, SubjectInfo, SubjectPlace};
use crate::error::{Error, Result};
use crate::types::{NanoTime, Seq};
use here::Here;
pub use keeping::Drafts;
use keeping::Keeping;
pub use loading::{Loaded, Sample};

/// So many of the latest additions are remembered with their subject, for cursors that are nearly caught up.
const RECENT: usize = 1024;

/// What became of that which was kept of an index, when its log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeptUse {
    /// Nobody looked at it: nothing is kept of such an index, or the log is damaged.
    #[default]
    Unused,
    /// There was nothing in it.
    Empty,
    /// The index was taken from it; from all of it, or from what comes before a place where it is cut short or damaged.
    Used {
        /// From all of it.
        whole: bool,
    },
    /// It is of an earlier version of this program.
    Earlier,
    /// It is not what is to be kept of the index of this log.
    Unfit,
}

/// See [`Index`](super::Index), whose methods these are.
#[derive(Debug, Default)]
pub struct Resident {
    size: ChunkSize,
    subjects: Subjects,
    chunks: BTreeMap<u64, Chunk>,
    len: u64,
    /// Of the live sequences, as [`Census`](super::Census) has it.
    sum: u64,
    /// No sequence below may be added any more.
    next: Seq,
    recent: VecDeque<(Seq, u32)>,
    /// When messages with a life of their own end, and which.
    endings: BTreeSet<(NanoTime, Seq)>,
    /// Counts that are under way.
    pub(super) tallies: Tallies,
    /// What of it is kept beside the log, if anything is.
    keeping: Option<Keeping>,
    /// The subjects of the messages where some are being removed.
    here: Here,
    /// How it came about.
    pub(crate) kept_use: KeptUse,
}

/// What is left of an index that was cleared: nothing but memory.
pub struct Litter {
    pieces: usize,
    _dropped: Box<dyn Send>,
}

impl Litter {
    /// About how many pieces of memory it is made of.
    pub fn pieces(&self) -> usize {
        self.pieces
    }
}

impl Resident {
    /// One without messages.
    pub fn of_size(size: ChunkSize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Notes when a message ends.
    pub fn add_ending(&mut self, at: NanoTime, seq: Seq) {
        self.endings.insert((at, seq));
        let position = self.size.position(seq);
        if let Some(chunk) = self.chunks.get_mut(&self.size.of(seq)) {
            chunk.endings.push(position, at);
        }
    }

    /// Forgets when a message ends.
    pub fn remove_ending(&mut self, at: NanoTime, seq: Seq) {
        self.endings.remove(&(at, seq));
    }

    /// The message that ends first.
    pub fn first_ending(&self) -> Option<(NanoTime, Seq)> {
        self.endings.first().copied()
    }

    /// The messages that end first, up to that time; `most` at most.
    pub fn endings(&self, until: NanoTime, most: usize) -> Vec<(NanoTime, Seq)> {
        let due = self.endings.iter().take_while(|(at, _)| *at <= until);
        due.take(most).copied().collect()
    }

    /// Adds a message above all before.
    pub fn add(&mut self, seq: Seq, subject: &[u8], size: u64, time: NanoTime) -> Result<()> {
        if seq < self.next || seq == 0 || seq == Seq::MAX {
            return Err(Error::invalid(format!(
                "sequence {seq} is not above {}",
                self.next.saturating_sub(1)
            )));
        }
        let before = match self.tallies.is_empty() {
            true => None,
            false => self.subject(subject),
        };
        let id = self
            .subjects
            .add(subject, seq)
            .ok_or_else(|| Error::invalid(format!("a subject of {} bytes", subject.len())))?;
        let (number, at) = (self.size.of(seq), self.size.position(seq));
        let digest = Digest::of(seq, hash(subject), size);
        let message = Added { id, size, time, digest };
        match self.chunks.last_entry() {
            Some(mut last) if *last.key() == number => {
                let chunk = last.get_mut();
                chunk.push(at, message);
                self.here.added(number, at, id, chunk.len());
            }
            last => {
                if let Some(mut last) = last {
                    last.get_mut().seal();
                }
                self.chunks.insert(number, Chunk::new(at, message));
            }
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, id));
        self.len += 1;
        self.sum = self.sum.wrapping_add(seq);
        self.next = seq + 1;
        self.tallies.added(seq, subject, before);
        Ok(())
    }

    /// Removes a live message of that subject.
    pub fn remove(&mut self, seq: Seq, subject: &[u8]) -> Result<()> {
        let number = self.size.of(seq);
        let removed = self
            .subjects
            .id(subject)
            .and_then(|id| Some((id, self.chunks.get_mut(&number)?)))
            .and_then(|(id, chunk)| {
                let at = self.size.position(seq);
                let size = chunk.sizes.get(at);
                chunk.remove(at, id).then(|| {
                    chunk.digest.leave_out(Digest::of(seq, hash(subject), size));
                    (id, chunk.len() == 0)
                })
            });
        let Some((id, emptied)) = removed else {
            let subject = String::from_utf8_lossy(subject);
            return Err(Error::invalid(format!(
                "no live message {seq} of subject {subject:?} to remove"
            )));
        };
        if emptied {
            self.chunks.remove(&number);
            self.here.dropped(number);
        }
        self.len -= 1;
        self.sum = self.sum.wrapping_sub(seq);
        let name = subject;
        let subject = self.subjects.get_mut(id);
        subject.count -= 1;
        if subject.count == 0 {
            self.subjects.forget(id);
        } else if seq == subject.first {
            if subject.count == 1 {
                (subject.first, subject.stale) = (subject.last, false);
            } else {
                (subject.first, subject.stale) = (seq + 1, true);
            }
        } else if seq == subject.last {
            let first = subject.first;
            let last = if subject.count == 1 && !subject.stale {
                Some(first)
            } else {
                self.prev_of(id, seq - 1, first)
            };
            // With a message left there is one; `first` keeps the counters in order if that were ever untrue.
            let last = last.unwrap_or(first);
            let subject = self.subjects.get_mut(id);
            subject.last = last;
            if subject.count == 1 {
                (subject.first, subject.stale) = (last, false);
            }
        } else if subject.count == 1 {
            // Not the bound and not the last: the bound is stale, and the one that is left is the last.
            (subject.first, subject.stale) = (subject.last, false);
        }
        if !self.tallies.is_empty() {
            let rest = self.subject(name);
            self.tallies.removed(seq, name, rest);
        }
        Ok(())
    }

    /// Removes everything; answers what is left of it, to be dropped.
    pub fn clear(&mut self, next: Seq) -> Litter {
        let mut subjects = std::mem::take(&mut self.subjects);
        let gone = subjects.clear();
        let mut tallies = std::mem::take(&mut self.tallies);
        tallies.cleared();
        let empty = Self {
            size: self.size,
            keeping: self.keeping.take(),
            subjects,
            tallies,
            next: next.max(self.next),
            ..Self::default()
        };
        let old = std::mem::replace(self, empty);
        Litter {
            pieces: gone.ids() + old.chunks.len() + old.endings.len(),
            _dropped: Box::new((gone, old)),
        }
    }

    /// Whether that message is live.
    pub fn is_live(&self, seq: Seq) -> bool {
        self.chunks
            .get(&self.size.of(seq))
            .is_some_and(|chunk| chunk.contains(self.size.position(seq)))
    }

    /// Live messages.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// How many messages are live, and which.
    pub fn census(&self) -> Census {
        Census {
            count: self.len,
            sum: self.sum,
        }
    }

    /// Distinct subjects of live messages.
    pub fn subjects(&self) -> u64 {
        self.subjects.len() as u64
    }

    /// The first live message.
    pub fn first(&self) -> Option<Seq> {
        self.chunks
            .first_key_value()
            .and_then(|(&number, chunk)| Some(self.size.seq(number, chunk.next(0)?)))
    }

    /// The last live message.
    pub fn last_live(&self) -> Option<Seq> {
        self.chunks
            .last_key_value()
            .and_then(|(&number, chunk)| Some(self.size.seq(number, chunk.prev(u16::MAX)?)))
    }

    /// The first live message from `from` on.
    pub fn next_live(&self, from: Seq) -> Option<Seq> {
        self.upwards(from)
            .find_map(|(number, chunk, at)| Some(self.size.seq(number, chunk.next(at)?)))
    }

    /// Visits the live messages from `from` to `to`, in order.
    pub fn each_live(&self, from: Seq, to: Seq, visit: &mut dyn FnMut(Seq)) {
        if from > to {
            return;
        }
        let (low, high) = (self.size.of(from), self.size.of(to));
        for (&number, chunk) in self.chunks.range(low..=high) {
            let first = if number == low { self.size.position(from) } else { 0 };
            let last = if number == high {
                self.size.position(to)
            } else {
                u16::MAX
            };
            chunk.each_live(first, last, |at| visit(self.size.seq(number, at)));
        }
    }

    /// See [`Index::counts`](super::Index::counts).
    pub fn counts(&self) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for (number, chunk) in &self.chunks {
            *counts.entry(chunk_of(self.size.seq(*number, 0))).or_default() += u64::from(chunk.len());
        }
        counts
    }

    /// The last live message up to `from`.
    pub fn prev_live(&self, from: Seq) -> Option<Seq> {
        self.downwards(from)
            .find_map(|(number, chunk, at)| Some(self.size.seq(number, chunk.prev(at)?)))
    }

    /// What is known of one subject.
    pub fn subject(&mut self, subject: &[u8]) -> Option<SubjectInfo> {
        let id = self.subjects.id(subject)?;
        Some(self.info(id))
    }

    /// The last message of a subject.
    pub fn last_of(&self, subject: &[u8]) -> Option<Seq> {
        let id = self.subjects.id(subject)?;
        Some(self.subjects.get(id).last)
    }

    /// The subject of a live message.
    pub fn subject_at(&self, seq: Seq) -> Option<Bytes> {
        let (chunk, at) = (self.chunks.get(&self.size.of(seq))?, self.size.position(seq));
        let id = chunk.postings.id_at(at)?;
        Some(Bytes::copy_from_slice(self.subjects.name(id)))
    }

    /// Whether that message is live, has that subject and that size, and no life of its own unless it may.
    pub fn has(&self, seq: Seq, subject: &[u8], size: u64, mortal: bool) -> bool {
        let at = self.size.position(seq);
        let here = self.subjects.id(subject).zip(self.chunks.get(&self.size.of(seq)));
        here.is_some_and(|(id, chunk)| {
            chunk.contains(at)
                && chunk.postings.next(id, at) == Some(at)
                && chunk.sizes.get(at) == size
                && (mortal || chunk.endings.get(at).is_none())
        })
    }

    /// How large a live message is, as limits count it.
    pub fn size_at(&self, seq: Seq) -> Option<u64> {
        let (chunk, at) = (self.chunks.get(&self.size.of(seq))?, self.size.position(seq));
        chunk.contains(at).then(|| chunk.sizes.get(at))
    }

    /// All messages, added up as they came and went: a step for each chunk.
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.chunks.values().for_each(|chunk| digest.include(chunk.digest));
        digest
    }

    /// All messages, added up anew: what [`Resident::digest`] has to be. Takes as long as there are messages.
    pub fn counted_digest(&self) -> Digest {
        let mut digest = Digest::default();
        let mut hashes = vec![0; self.subjects.ids()];
        self.subjects.each(|id, subject, _| hashes[id as usize] = hash(subject));
        for (&number, chunk) in &self.chunks {
            digest.include(chunk.counted_digest((self.size, number), |id| hashes[id as usize]));
        }
        digest
    }

    /// Calls with each subject and the number of its messages, in no order.
    pub fn each_subject(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        self.subjects.each(|_, subject, messages| visit(subject, messages));
    }

    /// When a live message ends, if it has a life of its own.
    pub fn ending_at(&self, seq: Seq) -> Option<NanoTime> {
        self.chunks
            .get(&self.size.of(seq))?
            .endings
            .get(self.size.position(seq))
    }

    /// See [`Index::around`](super::Index::around).
    pub fn around(&self, time: NanoTime) -> (Seq, Seq) {
        let number = |entry: Option<(&u64, &Chunk)>| entry.map(|(&number, _)| number);
        let (mut low, mut high) = (0, number(self.chunks.last_key_value()).map_or(0, |last| last + 1));
        // The first chunk that begins at that time or later.
        while low < high {
            let middle = low + (high - low) / 2;
            match self.chunks.range(middle..high).next() {
                Some((&number, chunk)) if chunk.times.first().is_some_and(|(_, first)| first < time) => {
                    low = number + 1
                }
                _ => high = middle,
            }
        }
        let after = self.chunks.range(low..).next();
        let mut found = (
            0,
            after.map_or(Seq::MAX, |(&number, chunk)| {
                self.size.seq(number, chunk.times.first().map_or(0, |(at, _)| at))
            }),
        );
        // Those before begin earlier: it lies within the last of them, or it is the first one behind.
        if let Some((&number, chunk)) = self.chunks.range(..low).next_back() {
            let (below, above) = chunk.times.around(time);
            if let Some(at) = below {
                found.0 = self.size.seq(number, at) + 1;
            }
            if let Some(at) = above {
                found.1 = self.size.seq(number, at);
            }
        }
        found
    }

    /// Visits each subject that any of the filters matches, in the order of their bytes; no filter matches all.
    pub fn last_of_each(&mut self, filters: &[Bytes], visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>) {
        let filters = Filters::of(filters);
        let mut ids = Vec::new();
        if filters.len() <= 1 {
            let filter: &[u8] = filters.first().map_or(b">", |filter| filter);
            self.each(filter, visit);
            return;
        }
        let _: ControlFlow<()> = self.subjects.matching(&filters, |_, id| {
            ids.push(id);
            ControlFlow::Continue(())
        });
        ids.sort_unstable_by(|&a, &b| self.subjects.name(a).cmp(self.subjects.name(b)));
        for id in ids {
            let info = self.info(id);
            if visit(self.subjects.name(id), info).is_break() {
                return;
            }
        }
    }

    /// See [`Index::some_of_each`](super::Index::some_of_each).
    pub fn some_of_each(
        &mut self,
        filters: &[Bytes],
        from: &SubjectPlace,
        looks: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>,
    ) -> Option<SubjectPlace> {
        let mut stopped = None;
        let next = self.subjects_from(&Filters::of(filters), &from.0, looks, &mut |subject, _, info| {
            let done = visit(subject, info);
            if done.is_break() {
                stopped = Some(SubjectPlace::behind(subject));
            }
            done
        });
        stopped.or(next.map(SubjectPlace))
    }

    /// Visits each subject that the filter matches, in the order of their bytes.
    fn each(&mut self, filter: &[u8], visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>) {
        let mut stale = Vec::new();
        // One walk in order; a subject whose first message must be looked for is looked up on the way.
        let _: ControlFlow<()> = self.subjects.matching_after(filter, b"", |name, id| {
            let info = self.info_of(id);
            if self.subjects.get(id).stale {
                stale.push((id, info.first));
            }
            visit(name, info)
        });
        for (id, first) in stale {
            let subject = self.subjects.get_mut(id);
            (subject.first, subject.stale) = (first, false);
        }
    }

    /// The chunks from the one of `from` on, each with the position to begin at.
    fn upwards(&self, from: Seq) -> impl Iterator<Item = (u64, &Chunk, u16)> {
        let start = self.size.of(from);
        self.chunks.range(start..).map(move |(&number, chunk)| {
            (
                number,
                chunk,
                if number == start { self.size.position(from) } else { 0 },
            )
        })
    }

    /// The chunks from the one of `from` down, each with the position to begin at.
    fn downwards(&self, from: Seq) -> impl Iterator<Item = (u64, &Chunk, u16)> {
        let start = self.size.of(from);
        self.chunks.range(..=start).rev().map(move |(&number, chunk)| {
            (
                number,
                chunk,
                if number == start {
                    self.size.position(from)
                } else {
                    u16::MAX
                },
            )
        })
    }

    /// The first message of a subject from `from` on. The subject may be gone.
    fn next_of(&self, id: u32, from: Seq) -> Option<Seq> {
        let subject = self.subjects.get(id);
        if subject.count == 0 || subject.last < from {
            return None;
        }
        if subject.first >= from && !subject.stale {
            return Some(subject.first);
        }
        self.upwards(from.max(subject.first))
            .find_map(|(number, chunk, at)| Some(self.size.seq(number, chunk.postings.next(id, at)?)))
    }

    /// The last message of a subject from `from` down to `down_to`.
    fn prev_of(&self, id: u32, from: Seq, down_to: Seq) -> Option<Seq> {
        let subject = self.subjects.get(id);
        let down_to = down_to.max(subject.first);
        if subject.last < down_to {
            return None;
        }
        // While a message is being removed, `last` may be that message already gone from its chunk.
        if subject.last <= from {
            return Some(subject.last);
        }
        let lowest = self.size.of(down_to);
        self.downwards(from)
            .take_while(|&(number, ..)| number >= lowest)
            .find_map(|(number, chunk, at)| Some(self.size.seq(number, chunk.postings.prev(id, at)?)))
            .filter(|&seq| seq >= down_to)
    }

    /// What is known of a live subject, its first message looked for if need be.
    fn info_of(&self, id: u32) -> SubjectInfo {
        let subject = self.subjects.get(id);
        let first = if subject.stale {
            self.next_of(id, subject.first).unwrap_or(subject.last)
        } else {
            subject.first
        };
        SubjectInfo {
            count: subject.count,
            first,
            last: subject.last,
        }
    }

    /// As [`Self::info_of`], and remembers what was found.
    fn info(&mut self, id: u32) -> SubjectInfo {
        let info = self.info_of(id);
        let subject = self.subjects.get_mut(id);
        (subject.first, subject.stale) = (info.first, false);
        info
    }
}
