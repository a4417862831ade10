//! The index in memory: all subjects, and postings by chunk. It is rebuilt from the log's heads when a stream opens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use bytes::Bytes;

use super::SubjectInfo;
use super::bits::Bits;
use super::chunk::{Chunk, chunk_of, position_of, seq_at};
use super::cursor::{Cursor, Page};
use super::filters::Filters;
use super::subjects::Subjects;
use crate::error::{Error, Result};
use crate::types::{NanoTime, Seq};

/// Up to so many matching subjects are asked one by one; with more, the matches of a chunk are gathered in a bitmap.
const FEW: usize = 4;

/// So many of the latest additions are remembered with their subject, for cursors that are nearly caught up.
const RECENT: usize = 1024;

/// In a chunk of no more subjects than this, each is tested against the filters.
const SMALL_CHUNK: usize = 256;

/// The subjects that a backwards search asks one by one.
const FEW_BACKWARDS: usize = 64;

/// The subjects whose last messages a backwards search looks at before it tries the nearest chunk.
const MANY_BACKWARDS: usize = 8192;

/// See [`Index`](super::Index), whose methods these are.
#[derive(Debug, Default)]
pub struct Resident {
    subjects: Subjects,
    chunks: BTreeMap<u64, Chunk>,
    len: u64,
    /// No sequence below may be added any more.
    next: Seq,
    recent: VecDeque<(Seq, u32)>,
    /// When messages with a life of their own end, and which.
    endings: BTreeSet<(NanoTime, Seq)>,
}

impl Resident {
    /// Notes when a message ends.
    pub fn add_ending(&mut self, at: NanoTime, seq: Seq) {
        self.endings.insert((at, seq));
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
    pub fn add(&mut self, seq: Seq, subject: &[u8]) -> Result<()> {
        if seq < self.next || seq == 0 || seq == Seq::MAX {
            return Err(Error::invalid(format!(
                "sequence {seq} is not above {}",
                self.next.saturating_sub(1)
            )));
        }
        let id = self
            .subjects
            .add(subject, seq)
            .ok_or_else(|| Error::invalid(format!("a subject of {} bytes", subject.len())))?;
        let (number, at) = (chunk_of(seq), position_of(seq));
        match self.chunks.last_entry() {
            Some(mut last) if *last.key() == number => last.get_mut().push(at, id),
            last => {
                if let Some(mut last) = last {
                    last.get_mut().postings.seal();
                }
                self.chunks.insert(number, Chunk::new(at, id));
            }
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, id));
        self.len += 1;
        self.next = seq + 1;
        Ok(())
    }

    /// Removes a live message of that subject.
    pub fn remove(&mut self, seq: Seq, subject: &[u8]) -> Result<()> {
        let number = chunk_of(seq);
        let removed = self
            .subjects
            .id(subject)
            .and_then(|id| Some((id, self.chunks.get_mut(&number)?)))
            .and_then(|(id, chunk)| chunk.remove(position_of(seq), id).then(|| (id, chunk.len() == 0)));
        let Some((id, emptied)) = removed else {
            let subject = String::from_utf8_lossy(subject);
            return Err(Error::invalid(format!(
                "no live message {seq} of subject {subject:?} to remove"
            )));
        };
        if emptied {
            self.chunks.remove(&number);
        }
        self.len -= 1;
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
        Ok(())
    }

    /// Removes everything.
    pub fn clear(&mut self, next: Seq) {
        let mut subjects = std::mem::take(&mut self.subjects);
        subjects.clear();
        *self = Self {
            subjects,
            next: next.max(self.next),
            ..Self::default()
        };
    }

    /// Whether that message is live.
    pub fn is_live(&self, seq: Seq) -> bool {
        self.chunks
            .get(&chunk_of(seq))
            .is_some_and(|chunk| chunk.contains(position_of(seq)))
    }

    /// Live messages.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Distinct subjects of live messages.
    pub fn subjects(&self) -> u64 {
        self.subjects.len() as u64
    }

    /// The first live message.
    pub fn first(&self) -> Option<Seq> {
        self.chunks
            .first_key_value()
            .and_then(|(&number, chunk)| Some(seq_at(number, chunk.next(0)?)))
    }

    /// The last live message.
    pub fn last_live(&self) -> Option<Seq> {
        self.chunks
            .last_key_value()
            .and_then(|(&number, chunk)| Some(seq_at(number, chunk.prev(u16::MAX)?)))
    }

    /// The first live message from `from` on.
    pub fn next_live(&self, from: Seq) -> Option<Seq> {
        self.upwards(from)
            .find_map(|(number, chunk, at)| Some(seq_at(number, chunk.next(at)?)))
    }

    /// The last live message up to `from`.
    pub fn prev_live(&self, from: Seq) -> Option<Seq> {
        self.downwards(from)
            .find_map(|(number, chunk, at)| Some(seq_at(number, chunk.prev(at)?)))
    }

    /// What is known of one subject.
    pub fn subject(&mut self, subject: &[u8]) -> Option<SubjectInfo> {
        let id = self.subjects.id(subject)?;
        Some(self.info(id))
    }

    /// The subject of a live message.
    pub fn subject_at(&self, seq: Seq) -> Option<Bytes> {
        let (chunk, at) = (self.chunks.get(&chunk_of(seq))?, position_of(seq));
        let mut here = chunk.postings.ids_from(at);
        let (id, _) = here.find(|(_, position)| *position == at)?;
        Some(Bytes::copy_from_slice(self.subjects.name(id)))
    }

    /// The first live message from `from` on that the cursor's filters match.
    pub fn next_match(&mut self, cursor: &mut Cursor, from: Seq) -> Option<Seq> {
        if cursor.filters().is_empty() {
            return self.next_live(from);
        }
        let (first, last) = (self.first()?, self.last_live()?);
        let from = from.max(first);
        if from > last {
            return None;
        }
        // While a page covers the place, it answers without looking at any subject.
        if cursor.page.as_ref().is_some_and(|page| page.chunk == chunk_of(from)) {
            return self.next_in_pages(cursor, from);
        }
        self.refresh(cursor);
        match &cursor.few.ids {
            Some(ids) => ids.iter().filter_map(|&id| self.next_of(id, from)).min(),
            None => self.next_in_pages(cursor, from),
        }
    }

    /// The last live message up to `from` that any of the filters matches; no filter matches everything.
    pub fn prev_match(&self, filters: &[Bytes], from: Seq) -> Option<Seq> {
        let filters = Filters::of(filters);
        if filters.is_empty() {
            return self.prev_live(from);
        }
        if let Some(ids) = self.subjects.matching_up_to(&filters, FEW_BACKWARDS) {
            let mut best = None;
            for id in ids {
                // Only what lies above the best so far can be better.
                best = best.max(self.prev_of(id, from, best.map_or(0, |seq: Seq| seq + 1)));
            }
            return best;
        }
        for &(seq, id) in self.recent.iter().rev().filter(|(seq, _)| *seq <= from) {
            // The id of a message that is gone may have another meaning by now.
            if self.is_live(seq) && self.subjects.is_match(id, &filters) {
                return Some(seq);
            }
        }
        let from = match self.recent.front() {
            Some(&(oldest, _)) => from.min(oldest.saturating_sub(1)),
            None => from,
        };
        if let Some(found) = self.prev_by_subjects(&filters, from, MANY_BACKWARDS) {
            return found;
        }
        // Among so many subjects a match is probably near; if not, the subjects know.
        let nearest = self
            .downwards(from)
            .next()
            .and_then(|near| self.prev_in_chunk(near, &filters));
        if nearest.is_some() {
            return nearest;
        }
        if let Some(found) = self.prev_by_subjects(&filters, from, usize::MAX) {
            return found;
        }
        self.downwards(from)
            .find_map(|chunk| self.prev_in_chunk(chunk, &filters))
    }

    /// The last match up to `from` by what is known of the matching subjects, `limit` at most; `None` if that does not say
    /// it.
    #[allow(clippy::option_option, reason = "whether there is one, if that is known")]
    fn prev_by_subjects(&self, filters: &Filters, from: Seq, limit: usize) -> Option<Option<Seq>> {
        let mut best = None;
        let (mut looked, mut on_both_sides) = (0, Vec::new());
        let ended = self.subjects.matching(filters, |_, id| {
            let subject = self.subjects.get(id);
            if subject.last <= from {
                best = best.max(Some(subject.last));
            } else if subject.first <= from {
                on_both_sides.push(id);
            }
            looked += 1;
            match looked > limit || on_both_sides.len() > FEW_BACKWARDS {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if ended.is_break() {
            return None;
        }
        for id in on_both_sides {
            best = best.max(self.prev_of(id, from, best.map_or(0, |seq: Seq| seq + 1)));
        }
        Some(best)
    }

    /// The last match in a chunk, up to a position there.
    fn prev_in_chunk(&self, (number, chunk, at): (u64, &Chunk, u16), filters: &Filters) -> Option<Seq> {
        let mut best = None;
        for (id, position) in chunk.postings.ids_up_to(at) {
            if best < Some(position) && self.subjects.is_match(id, filters) {
                best = Some(position);
            }
        }
        Some(seq_at(number, best?))
    }

    /// Live messages from `from` on that any of the filters matches; no filter matches everything.
    pub fn count_from(&self, filters: &[Bytes], from: Seq) -> u64 {
        let filters = Filters::of(filters);
        let below = from <= self.first().unwrap_or(Seq::MAX);
        if filters.is_empty() {
            return if below { self.len } else { self.count_all_from(from) };
        }
        // Most subjects lie wholly on one side, and their totals say it all.
        let mut count = 0;
        let mut on_both_sides = Vec::new();
        let _: ControlFlow<()> = self.subjects.matching(&filters, |_, id| {
            let subject = self.subjects.get(id);
            if subject.first >= from {
                count += subject.count;
            } else if subject.last >= from {
                if below {
                    count += subject.count;
                } else {
                    on_both_sides.push(id);
                }
            }
            ControlFlow::Continue(())
        });
        if on_both_sides.is_empty() {
            count
        } else {
            count + self.count_of_from(&on_both_sides, from)
        }
    }

    /// Visits each subject that any of the filters matches, in the order of their bytes; no filter matches all.
    pub fn last_of_each(&mut self, filters: &[Bytes], visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>) {
        let filters = Filters::of(filters);
        let mut ids = Vec::new();
        if filters.len() <= 1 {
            let filter: &[u8] = filters.first().map_or(b">", |filter| filter);
            return self.last_of_each_after(filter, b"", visit);
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

    /// The same for one filter and the subjects behind `after`.
    pub fn last_of_each_after(
        &mut self,
        filter: &[u8],
        after: &[u8],
        visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>,
    ) {
        let mut stale = Vec::new();
        // One walk in order; a subject whose first message must be looked for is looked up on the way.
        let _: ControlFlow<()> = self.subjects.matching_after(filter, after, |name, id| {
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

    /// Bytes on the heap, about. Walks the chunks, so not for every message.
    pub fn memory(&self) -> usize {
        self.subjects.memory()
            + self.recent.capacity() * size_of::<(Seq, u32)>()
            + self
                .chunks
                .values()
                .map(|chunk| size_of::<Chunk>() + 16 + chunk.memory())
                .sum::<usize>()
    }

    /// The chunks from the one of `from` on, each with the position to begin at.
    fn upwards(&self, from: Seq) -> impl Iterator<Item = (u64, &Chunk, u16)> {
        let start = chunk_of(from);
        self.chunks
            .range(start..)
            .map(move |(&number, chunk)| (number, chunk, if number == start { position_of(from) } else { 0 }))
    }

    /// The chunks from the one of `from` down, each with the position to begin at.
    fn downwards(&self, from: Seq) -> impl Iterator<Item = (u64, &Chunk, u16)> {
        let start = chunk_of(from);
        self.chunks.range(..=start).rev().map(move |(&number, chunk)| {
            (
                number,
                chunk,
                if number == start { position_of(from) } else { u16::MAX },
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
            .find_map(|(number, chunk, at)| Some(seq_at(number, chunk.postings.next(id, at)?)))
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
        let lowest = chunk_of(down_to);
        self.downwards(from)
            .take_while(|&(number, ..)| number >= lowest)
            .find_map(|(number, chunk, at)| Some(seq_at(number, chunk.postings.prev(id, at)?)))
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

    /// Brings the cursor's few subjects up to date. Once there are many, it is left at that.
    fn refresh(&self, cursor: &mut Cursor) {
        let births = self.subjects.births();
        let seen = cursor.few.births.replace(births);
        let Some(newborn) = seen.and_then(|seen| self.subjects.newborn(seen)) else {
            cursor.few.ids = self.subjects.matching_up_to(&cursor.filters, FEW);
            return;
        };
        let Some(ids) = &mut cursor.few.ids else {
            return;
        };
        for id in newborn {
            // An id may be one that had another meaning before.
            ids.retain(|&other| other != id);
            if self.subjects.is_match(id, &cursor.filters) {
                ids.push(id);
            }
        }
        if ids.len() > FEW {
            ids.retain(|&id| self.subjects.get(id).count > 0);
        }
        if ids.len() > FEW {
            cursor.few.ids = None;
        }
    }

    /// The next match from `from` on, chunk by chunk, by the bitmap of each chunk's matches.
    fn next_in_pages(&self, cursor: &mut Cursor, from: Seq) -> Option<Seq> {
        for (number, chunk, at) in self.upwards(from) {
            let Some(end) = chunk.prev(u16::MAX) else {
                continue;
            };
            if cursor.page.as_ref().is_none_or(|page| page.chunk != number) {
                // The bitmap is used again.
                let page = cursor.page.take().filter(|page| page.matches.len() == 0);
                let matches = page.map_or_else(Bits::new, |page| page.matches);
                // What lies before the question is looked through only if someone goes back.
                cursor.page = Some(Page {
                    chunk: number,
                    matches,
                    covered: u32::from(at),
                    begins: at,
                });
            }
            let filters = &cursor.filters;
            let Some(page) = cursor.page.as_mut() else {
                continue;
            };
            if at < page.begins {
                *page = Page {
                    chunk: number,
                    matches: Bits::new(),
                    covered: u32::from(at),
                    begins: at,
                };
            }
            loop {
                let mut place = at;
                while let Some(found) = page.matches.next(place) {
                    if chunk.contains(found) {
                        return Some(seq_at(number, found));
                    }
                    page.matches.remove(found);
                    place = found;
                }
                if page.covered > u32::from(end) {
                    break;
                }
                self.cover(filters, page, number, chunk);
                page.covered = u32::from(end) + 1;
            }
        }
        None
    }

    /// Adds to the page what matches in its chunk at `covered` and above.
    fn cover(&self, filters: &Filters, page: &mut Page, number: u64, chunk: &Chunk) {
        let Ok(covered) = u16::try_from(page.covered) else {
            return;
        };
        let start = seq_at(number, covered);
        if self.recent.front().is_some_and(|&(oldest, _)| oldest <= start) {
            let skip = self.recent.partition_point(|&(seq, _)| seq < start);
            let here = |&&(seq, _): &&(Seq, u32)| chunk_of(seq) == number;
            for &(seq, id) in self.recent.range(skip..).take_while(here) {
                // A subject that is gone leaves only dead messages behind; its id may have another meaning by now.
                if self.subjects.get(id).count > 0 && self.subjects.is_match(id, filters) {
                    page.matches.insert(position_of(seq));
                }
            }
            return;
        }
        // Either all matching subjects are looked for in the chunk, or all subjects of the chunk are tested.
        let here = chunk.postings.subjects();
        let ids = if here > SMALL_CHUNK && self.subjects.len() / 4 <= here {
            self.subjects.matching_up_to(filters, here / 4)
        } else {
            None
        };
        if let Some(ids) = ids {
            for id in ids {
                chunk.postings.collect_from(id, covered, &mut page.matches);
            }
            return;
        }
        for (id, _) in chunk.postings.ids_from(covered) {
            if self.subjects.is_match(id, filters) {
                chunk.postings.collect_from(id, covered, &mut page.matches);
            }
        }
    }

    /// Live messages from `from` on, by the chunks' counts from the nearer end.
    fn count_all_from(&self, from: Seq) -> u64 {
        let edge = chunk_of(from);
        let inside = self
            .chunks
            .get(&edge)
            .map_or(0, |chunk| u64::from(chunk.count_from(position_of(from))));
        if self.is_nearer_the_end(edge) {
            inside
                + self
                    .chunks
                    .range(edge + 1..)
                    .map(|(_, chunk)| u64::from(chunk.len()))
                    .sum::<u64>()
        } else {
            let before: u64 = self
                .chunks
                .range(..=edge)
                .map(|(_, chunk)| u64::from(chunk.len()))
                .sum();
            self.len - before + inside
        }
    }

    /// Messages of these subjects from `from` on.
    fn count_of_from(&self, ids: &[u32], from: Seq) -> u64 {
        let edge = chunk_of(from);
        let mut wanted = Wanted {
            ids,
            set: None,
            bound: self.subjects.ids(),
        };
        let inside = self
            .chunks
            .get(&edge)
            .map_or(0, |chunk| wanted.count_in(chunk, position_of(from)));
        if self.is_nearer_the_end(edge) {
            inside
                + self
                    .chunks
                    .range(edge + 1..)
                    .map(|(_, chunk)| wanted.count_in(chunk, 0))
                    .sum::<u64>()
        } else {
            let total: u64 = ids.iter().map(|&id| self.subjects.get(id).count).sum();
            let before: u64 = self
                .chunks
                .range(..=edge)
                .map(|(_, chunk)| wanted.count_in(chunk, 0))
                .sum();
            total - before + inside
        }
    }

    /// Whether there is less to look at behind that chunk than before it.
    fn is_nearer_the_end(&self, chunk: u64) -> bool {
        let number = |entry: Option<(&u64, &Chunk)>| entry.map_or(0, |(&number, _)| number);
        let first = number(self.chunks.first_key_value());
        let last = number(self.chunks.last_key_value());
        last.saturating_sub(chunk) <= chunk.saturating_sub(first)
    }
}

/// A set of subjects to count in chunk after chunk.
struct Wanted<'a> {
    ids: &'a [u32],
    /// The same as a bitmap, made when a chunk has fewer subjects than are wanted.
    set: Option<Vec<u64>>,
    /// One above the highest id.
    bound: usize,
}

impl Wanted<'_> {
    /// How many of the chunk's positions at `from` or above belong to the set.
    fn count_in(&mut self, chunk: &Chunk, from: u16) -> u64 {
        let postings = &chunk.postings;
        if self.ids.len() <= postings.subjects() {
            return self
                .ids
                .iter()
                .map(|&id| u64::from(postings.count_from(id, from)))
                .sum();
        }
        let set = self.set.get_or_insert_with(|| {
            let mut set = vec![0u64; self.bound.div_ceil(64)];
            for &id in self.ids {
                set[id as usize / 64] |= 1 << (id % 64);
            }
            set
        });
        let is_wanted = |id: &u32| set[*id as usize / 64] >> (id % 64) & 1 == 1;
        postings
            .ids()
            .filter(is_wanted)
            .map(|id| u64::from(postings.count_from(id, from)))
            .sum()
    }
}
