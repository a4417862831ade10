//! An index as it was kept beside the log, less what is gone since.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use weir_subject::SubjectTree;

use crate::error::Result;
use crate::index::bits::Bits;
use crate::index::chunk::{Chunk, ChunkSize, Endings};
use crate::index::kept::Frame;
use crate::index::postings::Postings;
use crate::index::resident::Resident;
use crate::index::subjects::Subjects;
use crate::index::times::Times;
use crate::types::{NanoTime, Seq};
use crate::varint;

/// What a subject is marked with that a frame names.
const MARK: u32 = 1;
/// With as many subjects as this, the tree of them is made beside the rest, if that may be.
const MANY: usize = 1 << 14;

/// Asked for the ranges of live sequences of a log, in order, within a range.
pub type LiveRanges<'a> = &'a mut dyn FnMut(Seq, Seq, &mut Vec<(Seq, Seq)>) -> Result<()>;

/// An index that was loaded.
pub struct Loaded {
    /// It has all that the log has below `end`.
    pub index: Resident,
    /// From here on the log must be gone through.
    pub end: Seq,
    /// The highest live message whose time is known: see [`Sample`]. 0 if there is none.
    pub proven: Seq,
    samples: Vec<Known>,
}

/// What is known of a message: see [`Loaded::samples`].
struct Known {
    seq: Seq,
    /// The id of its subject, if that was looked for.
    id: Option<u32>,
    times: RangeInclusive<NanoTime>,
}

/// What the log must have, where this is the index of it.
#[derive(Debug)]
pub struct Sample<'a> {
    /// A live message.
    pub seq: Seq,
    /// Its subject, where that is known.
    pub subject: Option<&'a [u8]>,
    /// Its size, as limits count it.
    pub size: u64,
    /// When it came: one time, or between two.
    pub times: RangeInclusive<NanoTime>,
}

impl Loaded {
    /// The messages that may be looked at in the log to see that this is the index of it: of each chunk the first, the last, and the
    /// highest whose time is known, to the nanosecond, which no other log has at that place. Where none of these is left, the first
    /// and the last of the chunk came between two times that are known. A copy of the store that went other ways has other times from
    /// there on: up to [`Loaded::proven`] the index is that of the log if that message's time is; all behind it has to be compared.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.samples.iter().map(|known| Sample {
            seq: known.seq,
            subject: known.id.map(|id| self.index.subjects.name(id)),
            size: self.index.size_at(known.seq).unwrap_or(0),
            times: known.times.clone(),
        })
    }
}

impl Resident {
    /// Takes up what was kept, where the backend says that it is; `None` if that does not fit the log whose live sequences are asked
    /// for, up to `last`, or makes no sense. With `beside`, another thread does a part of it.
    ///
    /// # Errors
    /// If the log cannot be asked.
    pub fn load(
        size: ChunkSize,
        (token, frames): (u64, Vec<Bytes>),
        last: Seq,
        live: LiveRanges<'_>,
        beside: bool,
    ) -> Result<Option<Loaded>> {
        // The others are let go of one by one, as they are taken up: together they are a good part of what the index takes.
        let named: Vec<Bytes> = frames.iter().filter(|raw| has_names(raw)).cloned().collect();
        let Some(names) = names_of(&named) else {
            return Ok(None);
        };
        let Some(Frames {
            chunk,
            last: highest,
            positions,
        }) = check(size, &frames)
        else {
            return Ok(None);
        };
        // What reaches above the log is of another one, or of this one before it was put back to what it was once.
        let is_within = chunk < size.of(Seq::MAX) && size.seq(chunk, highest) <= last;
        if !is_within {
            return Ok(None);
        }
        let end = size.seq(chunk + 1, 0);
        let Some(subjects) = Subjects::of_names(&names, MARK) else {
            return Ok(None);
        };
        let mut loading = Loading {
            size,
            index: Self {
                size,
                subjects,
                ..Self::default()
            },
            next: 0,
            endings: Vec::new(),
            samples: Vec::with_capacity(3 * frames.len()),
            proven: 0,
            ranges: Vec::new(),
            positions: Vec::new(),
        };
        let all = |loading: &mut Loading| -> Result<bool> {
            for raw in frames {
                let Some(frame) = Frame::read(&raw) else {
                    return Ok(false);
                };
                if !loading.take(&frame, live)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let (done, tree) = std::thread::scope(|scope| {
            let names = &names;
            let thread = match beside && names.len() >= MANY {
                true => {
                    let thread = std::thread::Builder::new().name("weir-subjects".to_owned());
                    // Where no thread can be had, it is done here.
                    thread.spawn_scoped(scope, move || tree_of(names)).ok()
                }
                false => None,
            };
            let done = all(&mut loading);
            let tree = match thread {
                Some(thread) => thread.join().ok(),
                None => Some(tree_of(names)),
            };
            (done, tree)
        });
        let Loading {
            mut index,
            endings,
            samples,
            proven,
            ..
        } = loading;
        let is_whole = done? && tree.is_some_and(|(tree, twins)| index.subjects.complete(tree, &twins));
        if !is_whole {
            return Ok(None);
        }
        index.endings = BTreeSet::from_iter(endings);
        index.next = index.last_live().map_or(0, |last| last + 1);
        index.keep_on(token, chunk + 1, positions);
        Ok(Some(Loaded {
            index,
            end,
            proven,
            samples,
        }))
    }
}

/// What frames say together: the last one's chunk and highest position, and how many positions all have.
struct Frames {
    chunk: u64,
    last: u16,
    positions: u64,
}

/// What the frames say; `None` if there is none, or any makes no sense.
fn check(size: ChunkSize, raw: &[Bytes]) -> Option<Frames> {
    let mut all: Option<Frames> = None;
    for raw in raw {
        let frame = Frame::read(raw)?;
        let follows = all.as_ref().is_none_or(|before| before.chunk < frame.chunk);
        if frame.power != size.power() || !follows || u64::from(frame.last) >= size.len() {
            return None;
        }
        all = Some(Frames {
            chunk: frame.chunk,
            last: frame.last,
            positions: all.map_or(0, |before| before.positions) + u64::from(frame.count),
        });
    }
    all
}

fn has_names(raw: &[u8]) -> bool {
    Frame::read(raw).is_some_and(|frame| frame.names().next().is_some())
}

/// The names by their ids. `None` if any makes no sense.
fn names_of(raw: &[Bytes]) -> Option<Vec<Option<&[u8]>>> {
    let mut names: Vec<Option<&[u8]>> = Vec::new();
    let mut named = 0;
    for raw in raw {
        for name in Frame::read(raw)?.names() {
            let (id, name) = name?;
            named += 1;
            let id = id as usize;
            if id >= names.len() {
                names.try_reserve((id + 1 - names.len()).max(named)).ok()?;
                names.resize(id + 1, None);
            }
            // What is named last counts: an id is used again once its subject is gone.
            names[id] = Some(name);
        }
    }
    Some(names)
}

/// The tree of the names; and the ids that are not in it, because another has the same name: all but one of these are gone.
fn tree_of(names: &[Option<&[u8]>]) -> (SubjectTree<u32>, Vec<u32>) {
    let name = |id: u32| names.get(id as usize).copied().flatten().unwrap_or_default();
    let mut sorted: Vec<u32> = Vec::with_capacity(names.len());
    sorted.extend((0u32..).zip(names).filter_map(|(id, name)| name.map(|_| id)));
    // Each frame has them in order, and ids are mostly given in order: there are long runs to be merged.
    sorted.sort_by(|&one, &other| name(one).cmp(name(other)));
    let mut twins = Vec::new();
    // Of those that are the same the lowest id is first, as the sort is stable.
    sorted.dedup_by(|this, before| {
        let is_twin = name(*this) == name(*before);
        if is_twin {
            twins.push(*this);
        }
        is_twin
    });
    (
        SubjectTree::of_sorted(sorted.into_iter().map(|id| (name(id), id))),
        twins,
    )
}

/// An index that is being loaded.
struct Loading {
    size: ChunkSize,
    index: Resident,
    /// What lies below is done.
    next: Seq,
    endings: Vec<(NanoTime, Seq)>,
    samples: Vec<Known>,
    proven: Seq,
    ranges: Vec<(Seq, Seq)>,
    positions: Vec<u16>,
}

impl Loading {
    /// Takes up a chunk. Answers `false` if it does not fit the log.
    fn take(&mut self, frame: &Frame<'_>, live: LiveRanges<'_>) -> Result<bool> {
        let size = self.size;
        let (begin, end) = (size.seq(frame.chunk, 0), size.seq(frame.chunk, (size.len() - 1) as u16));
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.clear();
        live(self.next, end, &mut ranges)?;
        self.next = end + 1;
        let fits = match (ranges.first(), ranges.last()) {
            (Some(&(first, _)), Some(&(_, last))) => {
                first >= begin && self.take_live(frame, &ranges, (size.position(first), size.position(last)))
            }
            // All of it is gone.
            _ => true,
        };
        self.ranges = ranges;
        Ok(fits)
    }

    /// Takes up what is live of a chunk, which is something, from the first position to the last one.
    fn take_live(&mut self, frame: &Frame<'_>, ranges: &[(Seq, Seq)], (first, last): (u16, u16)) -> bool {
        let size = self.size;
        let count: u64 = ranges.iter().map(|(low, high)| high - low + 1).sum();
        let Ok(count) = u32::try_from(count) else { return false };
        // As when it was written: nothing has to be looked up.
        let is_same = count == frame.count && (first, last) == (frame.first, frame.last);
        let filter = match is_same && ranges.len() == 1 {
            true => None,
            false => {
                let mut bits = Bits::new();
                for &(low, high) in ranges {
                    for at in size.position(low)..=size.position(high) {
                        bits.insert(at);
                    }
                }
                Some(bits)
            }
        };
        let mut postings = Postings::sealed(frame.subjects);
        let found = self.take_subjects(frame, filter.as_ref(), (first, last), &mut postings);
        let Some((_, ids)) = found.filter(|(found, _)| *found == count) else {
            return false;
        };
        if filter.is_some() {
            postings.seal();
        }
        let mut endings = Endings::default();
        for (position, at) in frame.endings() {
            if filter.as_ref().is_none_or(|filter| filter.contains(position)) {
                endings.push(position, at);
                self.endings.push((at, size.seq(frame.chunk, position)));
            }
        }
        self.index.len += u64::from(count);
        let times = Times::of(frame.times());
        if times.first().is_none() || !times.all().is_sorted_by(|before, after| before.0 < after.0) {
            return false;
        }
        let Some(chunk) = Chunk::of(postings, endings, (frame.sizes, times), (first, last), count) else {
            return false;
        };
        self.sample(frame.chunk, &chunk, [(first, ids.0), (last, ids.1)]);
        self.index.chunks.insert(frame.chunk, chunk);
        true
    }

    /// Notes what of a chunk can be compared with the log; of its first and its last message the ids of the subjects are known.
    fn sample(&mut self, number: u64, chunk: &Chunk, ends: [(u16, u32); 2]) {
        let known = chunk.times.all().rev().find(|(at, _)| chunk.contains(*at));
        if let Some((at, _)) = known {
            self.proven = self.size.seq(number, at);
        }
        for (at, id) in ends {
            let times = match known {
                Some((position, time)) if position == at => time..=time,
                Some(_) => NanoTime::MIN..=NanoTime::MAX,
                None => chunk.times.at(at),
            };
            let seq = self.size.seq(number, at);
            self.samples.push(Known {
                seq,
                id: Some(id),
                times,
            });
        }
        if let Some((at, time)) = known.filter(|(at, _)| ends.iter().all(|(end, _)| end != at)) {
            self.samples.push(Known {
                seq: self.size.seq(number, at),
                id: None,
                times: time..=time,
            });
        }
    }

    /// Takes up those positions of all subjects of a chunk that a filter has. Answers how many, and the subjects of the first and
    /// the last one; `None` if they make no sense.
    fn take_subjects(
        &mut self,
        frame: &Frame<'_>,
        filter: Option<&Bits>,
        (first, last): (u16, u16),
        postings: &mut Postings,
    ) -> Option<(u32, (u32, u32))> {
        let size = self.size;
        let (mut entries, mut positions) = (frame.entries, frame.positions);
        let (mut id, mut found) = (0u32, 0u32);
        let mut ends = (None, None);
        for nth in 0..frame.subjects {
            let entry = take_number(&mut entries)?;
            let delta = u32::try_from(entry >> 1).ok()?;
            if delta == 0 && nth > 0 {
                return None;
            }
            id = id.checked_add(delta)?;
            let several = match entry & 1 {
                0 => 1,
                _ => usize::try_from(take_number(&mut entries)?).ok()?,
            };
            let (low, high) = if several == 1 {
                let (raw, rest) = positions.split_first_chunk::<2>()?;
                positions = rest;
                let at = u16::from_le_bytes(*raw);
                if filter.is_some_and(|filter| !filter.contains(at)) {
                    continue;
                }
                postings.push_one(id, at);
                found += 1;
                self.index
                    .subjects
                    .found(id, 1, (size.seq(frame.chunk, at), size.seq(frame.chunk, at)))?;
                (at, at)
            } else {
                let (raw, rest) = positions.split_at_checked(several.checked_mul(2)?)?;
                positions = rest;
                let all = raw.chunks_exact(2).map(|raw| u16::from_le_bytes([raw[0], raw[1]]));
                self.positions.clear();
                match filter {
                    Some(filter) => self.positions.extend(all.filter(|at| filter.contains(*at))),
                    None => self.positions.extend(all),
                }
                let (Some(&low), Some(&high)) = (self.positions.first(), self.positions.last()) else {
                    continue;
                };
                if !self.positions.is_sorted_by(|a, b| a < b) {
                    return None;
                }
                postings.push_list(id, &self.positions);
                let count = self.positions.len() as u32;
                found += count;
                let ends = (size.seq(frame.chunk, low), size.seq(frame.chunk, high));
                self.index.subjects.found(id, u64::from(count), ends)?;
                (low, high)
            };
            if low == first {
                ends.0 = Some(id);
            }
            if high == last {
                ends.1 = Some(id);
            }
        }
        let ends = (ends.0?, ends.1?);
        (entries.is_empty() && positions.is_empty()).then_some((found, ends))
    }
}

/// As [`varint::take`], quick for the many numbers of one byte.
#[inline]
fn take_number(from: &mut &[u8]) -> Option<u64> {
    match from.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *from = rest;
            Some(u64::from(byte))
        }
        _ => varint::take(from),
    }
}
