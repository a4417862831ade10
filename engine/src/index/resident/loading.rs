//! An index as it was kept beside the log, less what is gone since.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use weir_subject::SubjectTree;

use crate::error::Result;
use crate::index::bits::Bits;
use crate::index::chunk::{Chunk, ChunkSize, Endings};
use crate::index::digest::hash;
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
}

/// A message of which something is known.
struct Known {
    seq: Seq,
    /// The id of its subject, if that was looked for.
    id: Option<u32>,
    times: RangeInclusive<NanoTime>,
}

/// What the log must have, where this is the index of it: of each chunk the first message, the last, and the highest whose time is
/// known, to the nanosecond, which no other log has at that place. Where none of these is left, the first and the last of the chunk came
/// between two times that are known. A copy of the store that went other ways has other times from there on: up to [`Loaded::proven`]
/// the index is that of the log if that message's time is; all behind it has to be compared.
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

/// Asked whether the log has these.
pub type IsOf<'a> = &'a mut dyn FnMut(&[Sample<'_>]) -> Result<bool>;

impl Resident {
    /// Takes up what was kept, where the backend says that it is; `None` if that does not fit the log, which has `count` messages up to
    /// `last` and is asked for their ranges and for [samples](Sample), or makes no sense. With `beside`, another thread does a part of
    /// it.
    ///
    /// # Errors
    /// If the log cannot be asked.
    pub fn load(
        size: ChunkSize,
        (token, frames): (u64, Vec<Bytes>),
        (last, count): (Seq, u64),
        live: LiveRanges<'_>,
        is_of: IsOf<'_>,
        beside: bool,
    ) -> Result<Option<Loaded>> {
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
        let named = names_of(&frames);
        let Some((mut subjects, mut order)) =
            named.and_then(|(names, order)| Some((Subjects::of_names(&names, MARK)?, order)))
        else {
            return Ok(None);
        };
        // Nobody looks at them in the subjects before all is loaded.
        let lent = subjects.lend_names();
        let names = subjects.names_in(&lent);
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
        // One by one they are let go of, as they are taken up: together they are a good part of what the index takes.
        let all = |loading: &mut Loading| -> Result<bool> {
            for raw in frames {
                let Some(frame) = Frame::read(&raw) else {
                    return Ok(false);
                };
                if !loading.take(&frame, live, &names)? {
                    return Ok(false);
                }
            }
            is_of(&loading.samples(&names))
        };
        // Where much is gone, so are subjects: the tree of those that are left takes less time, and less memory.
        let is_mostly_there = count.saturating_mul(4) >= positions.saturating_mul(3);
        let is_beside = beside && is_mostly_there && names.len() >= MANY;
        let (done, tree) = std::thread::scope(|scope| {
            let names = &names;
            let thread = is_beside.then(|| {
                let thread = std::thread::Builder::new().name("weir-subjects".to_owned());
                thread.spawn_scoped(scope, || tree_of(names, std::mem::take(&mut order)))
            });
            let done = all(&mut loading);
            // Where no thread can be had, it is done here.
            let tree = thread.and_then(|thread| thread.ok()?.join().ok());
            (done, tree)
        });
        if !done? {
            return Ok(None);
        }
        let tree = tree.unwrap_or_else(|| {
            let subjects = &loading.index.subjects;
            order.retain(|&id| subjects.get(id).count > 0);
            tree_of(&names, order)
        });
        drop(names);
        let Loading {
            mut index,
            endings,
            proven,
            ..
        } = loading;
        index.subjects.give_names(lent);
        if !index.subjects.complete(tree.0, &tree.1) {
            return Ok(None);
        }
        index.endings = BTreeSet::from_iter(endings);
        index.next = index.last_live().map_or(0, |last| last + 1);
        index.keep_on(token, chunk + 1, positions);
        Ok(Some(Loaded { index, end, proven }))
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

/// The names by their ids, and the ids in the order in which frames name them, some more than once.
type Named<'a> = (Vec<Option<&'a [u8]>>, Vec<u32>);

/// What frames name. `None` if any of it makes no sense.
fn names_of(raw: &[Bytes]) -> Option<Named<'_>> {
    let mut names: Vec<Option<&[u8]>> = Vec::new();
    let mut order = Vec::new();
    for raw in raw {
        for name in Frame::read(raw)?.names() {
            let (number, name) = name?;
            order.push(number);
            let id = number as usize;
            if id >= names.len() {
                names.try_reserve((id + 1 - names.len()).max(order.len())).ok()?;
                names.resize(id + 1, None);
            }
            // What is named last counts: an id is used again once its subject is gone.
            names[id] = Some(name);
        }
    }
    Some((names, order))
}

/// The tree of the names of some ids; and those of them that are not in it, because another has the same name: all but one of these are
/// gone.
fn tree_of(names: &[Option<&[u8]>], mut ids: Vec<u32>) -> (SubjectTree<u32>, Vec<u32>) {
    let name = |id: u32| names.get(id as usize).copied().flatten().unwrap_or_default();
    // Each frame names them in order: there are long runs to be merged.
    ids.sort_by(|&one, &other| name(one).cmp(name(other)));
    let mut twins = Vec::new();
    ids.dedup_by(|this, before| {
        let is_same = name(*this) == name(*before);
        // It may have been named twice.
        if is_same && this != before {
            twins.push(*this);
        }
        is_same
    });
    (SubjectTree::of_sorted(ids.into_iter().map(|id| (name(id), id))), twins)
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
    /// What was noted of messages.
    fn samples<'n>(&self, names: &[Option<&'n [u8]>]) -> Vec<Sample<'n>> {
        let sample = |known: &Known| Sample {
            seq: known.seq,
            subject: known
                .id
                .map(|id| names.get(id as usize).copied().flatten().unwrap_or_default()),
            size: self.index.size_at(known.seq).unwrap_or(0),
            times: known.times.clone(),
        };
        self.samples.iter().map(sample).collect()
    }

    /// Takes up a chunk. Answers `false` if it does not fit the log.
    fn take(&mut self, frame: &Frame<'_>, live: LiveRanges<'_>, names: &[Option<&[u8]>]) -> Result<bool> {
        let size = self.size;
        let (begin, end) = (size.seq(frame.chunk, 0), size.seq(frame.chunk, (size.len() - 1) as u16));
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.clear();
        live(self.next, end, &mut ranges)?;
        self.next = end + 1;
        let fits = match (ranges.first(), ranges.last()) {
            (Some(&(first, _)), Some(&(_, last))) => {
                first >= begin && self.take_live(frame, &ranges, (size.position(first), size.position(last)), names)
            }
            // All of it is gone.
            _ => true,
        };
        self.ranges = ranges;
        Ok(fits)
    }

    /// Takes up what is live of a chunk, which is something, from the first position to the last one.
    fn take_live(
        &mut self,
        frame: &Frame<'_>,
        ranges: &[(Seq, Seq)],
        (first, last): (u16, u16),
        names: &[Option<&[u8]>],
    ) -> bool {
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
        let mut postings = Postings::sealed(frame.subjects.min(count as usize));
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
        for &range in ranges {
            self.index.sum = self.index.sum.wrapping_add(sum_of(range));
        }
        let times = Times::of(frame.times());
        if times.first().is_none() || !times.all().is_sorted_by(|before, after| before.0 < after.0) {
            return false;
        }
        let Some(mut chunk) = Chunk::of(postings, endings, (frame.sizes, times), (first, last), count) else {
            return false;
        };
        chunk.digest = match frame.digest {
            Some(digest) if is_same => digest,
            _ => {
                let name = |id: u32| names.get(id as usize).copied().flatten().unwrap_or_default();
                chunk.counted_digest((size, frame.chunk), |id| hash(name(id)))
            }
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

/// The sum of consecutive sequences, without what goes beyond 64 bits.
fn sum_of((low, high): (Seq, Seq)) -> u64 {
    let [low, high] = [low, high].map(u128::from);
    ((low + high) * (high + 1 - low) / 2) as u64
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
