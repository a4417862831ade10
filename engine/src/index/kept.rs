//! What is kept of a chunk beside the log: which subjects stood where when it was written, so that opening need not read the heads.
//! What was removed since the log says.
//!
//! ```text
//! version 3, power of the chunk's size (a byte each), digest of the messages (64 bits)
//! chunk, positions, first, last, subjects, bytes of the subjects, endings, bytes of the sizes, times, bytes of the names (varints)
//! subjects: for each, by id: varint of (id - id before) * 2, + 1 and the number of its positions behind it if that is not one
//! positions: of each subject in turn, 16 bits each
//! endings: position (16 bits), time (64 bits)
//! sizes: the base (varint), bytes of each (a byte: 0, 1, 2 or 4); if not 0: a byte, then if that is 0 the first position (16 bits),
//!     if it is 1 the number of positions (varint) and these (16 bits each); then what each is above the base
//! times: position (16 bits), time (64 bits); of every 1,024th that there ever was, and of the last one
//! names: id, length (varints), the name; in the order of the names
//! ```
//! A frame of version 2 has no digest. Numbers are little-endian. Positions that have a size need not be live any more. A name holds for its id until another frame has another one for it.

use bytes::Bytes;

use crate::backend::KeepStep;
use crate::index::digest::Digest;
use crate::index::sizes::Sizes;
use crate::index::times::Times;
use crate::types::NanoTime;
use crate::varint;

/// The version that is written.
const VERSION: u8 = 3;
/// The version that is read as well, and lacks the digest.
const WITHOUT_DIGEST: u8 = 2;
/// Bytes of a position and a time.
const TIMED: usize = 10;

/// A step of keeping, as far as the shard has to do it.
#[derive(Debug)]
pub enum DraftStep {
    /// See [`KeepStep::Begin`].
    Begin,
    /// See [`KeepStep::Frame`].
    Frame(Box<Draft>),
    /// See [`KeepStep::Complete`].
    Complete,
}

/// What is to be kept of a chunk; the names are not in order yet.
#[derive(Debug, Default)]
pub struct Draft {
    power: u8,
    digest: Digest,
    chunk: u64,
    first: u16,
    last: u16,
    subjects: u64,
    before: u32,
    entries: Vec<u8>,
    positions: Vec<u8>,
    endings: Vec<u8>,
    sizes: Vec<u8>,
    times: Vec<u8>,
    names: Vec<(u32, u32, u32)>,
    letters: Vec<u8>,
}

impl DraftStep {
    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Begin | Self::Complete => 0,
            Self::Frame(draft) => {
                let names = draft.names.len() * size_of::<(u32, u32, u32)>() + draft.letters.len();
                let each = draft.endings.len() + draft.sizes.len() + draft.times.len();
                draft.entries.len() + draft.positions.len() + each + names
            }
        }
    }

    /// The step as the backend takes it.
    pub fn finish(self) -> KeepStep {
        match self {
            Self::Begin => KeepStep::Begin,
            Self::Frame(draft) => KeepStep::Frame(draft.finish()),
            Self::Complete => KeepStep::Complete,
        }
    }
}

impl Draft {
    /// Of a chunk with positions from the first to the last, of a size of 2 to that power, whose messages add up to that digest.
    pub(super) fn of(power: u8, chunk: u64, (first, last): (u16, u16), digest: Digest) -> Self {
        Self {
            power,
            digest,
            chunk,
            first,
            last,
            ..Self::default()
        }
    }

    /// Adds a subject whose id is above all before.
    pub(super) fn subject(&mut self, id: u32, positions: &[u16]) {
        let delta = u64::from(id - self.before) << 1;
        self.before = id;
        self.subjects += 1;
        match positions.len() {
            1 => varint::put(&mut self.entries, delta),
            count => {
                varint::put(&mut self.entries, delta | 1);
                varint::put(&mut self.entries, count as u64);
            }
        }
        for at in positions {
            self.positions.extend_from_slice(&at.to_le_bytes());
        }
    }

    /// Names a subject.
    pub(super) fn name(&mut self, id: u32, name: &[u8]) {
        self.names.push((id, self.letters.len() as u32, name.len() as u32));
        self.letters.extend_from_slice(name);
    }

    /// Adds the ending of a message.
    pub(super) fn ending(&mut self, position: u16, at: NanoTime) {
        put_timed(&mut self.endings, (position, at));
    }

    /// Adds the sizes.
    pub(super) fn sizes(&mut self, sizes: &Sizes) {
        sizes.write(&mut self.sizes);
    }

    /// Adds the times that are known.
    pub(super) fn times(&mut self, times: &Times) {
        times.all().for_each(|time| put_timed(&mut self.times, time));
    }

    fn finish(self) -> Bytes {
        let letters = &self.letters;
        let name_of = |&(_, start, len): &(u32, u32, u32)| &letters[start as usize..][..len as usize];
        let mut names = self.names;
        names.sort_unstable_by_key(name_of);
        let mut named = Vec::with_capacity(letters.len() + 4 * names.len());
        for name in &names {
            varint::put(&mut named, u64::from(name.0));
            varint::put(&mut named, u64::from(name.2));
            named.extend_from_slice(name_of(name));
        }
        let parts = [
            &self.entries,
            &self.positions,
            &self.endings,
            &self.sizes,
            &self.times,
            &named,
        ];
        let mut out = Vec::with_capacity(64 + parts.iter().map(|part| part.len()).sum::<usize>());
        out.extend_from_slice(&[VERSION, self.power]);
        out.extend_from_slice(&self.digest.number().to_le_bytes());
        for number in [
            self.chunk,
            self.positions.len() as u64 / 2,
            u64::from(self.first),
            u64::from(self.last),
            self.subjects,
            self.entries.len() as u64,
            (self.endings.len() / TIMED) as u64,
            self.sizes.len() as u64,
            (self.times.len() / TIMED) as u64,
            named.len() as u64,
        ] {
            varint::put(&mut out, number);
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
        Bytes::from(out)
    }
}

/// Whether a frame is of an earlier version, which is not read any more.
pub(crate) fn is_earlier(raw: &[u8]) -> bool {
    raw.first().is_some_and(|version| (1..WITHOUT_DIGEST).contains(version))
}

/// What was kept of a chunk, to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub power: u8,
    /// Of the messages that there were, if it was kept.
    pub digest: Option<Digest>,
    pub chunk: u64,
    /// How many positions there were.
    pub count: u32,
    pub first: u16,
    pub last: u16,
    /// How many subjects.
    pub subjects: usize,
    pub entries: &'a [u8],
    pub positions: &'a [u8],
    endings: &'a [u8],
    /// As [`Sizes::read`] has them.
    pub sizes: &'a [u8],
    times: &'a [u8],
    names: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Of the bytes that [`DraftStep::finish`] made. `None` if they make no sense.
    pub fn read(raw: &'a [u8]) -> Option<Self> {
        let (&[version, power], mut rest) = raw.split_first_chunk::<2>()?;
        let digest = match version {
            VERSION => {
                let (number, behind) = rest.split_first_chunk::<8>()?;
                rest = behind;
                Some(Digest::from_number(u64::from_le_bytes(*number)))
            }
            WITHOUT_DIGEST => None,
            _ => return None,
        };
        let mut numbers = [0; 10];
        for number in &mut numbers {
            *number = varint::take(&mut rest)?;
        }
        let [
            chunk,
            count,
            first,
            last,
            subjects,
            entries,
            endings,
            sizes,
            times,
            names,
        ] = numbers;
        let mut part = |len: u64| {
            let (part, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            rest = behind;
            Some(part)
        };
        let frame = Self {
            power,
            digest,
            chunk,
            count: u32::try_from(count).ok()?,
            first: u16::try_from(first).ok()?,
            last: u16::try_from(last).ok()?,
            subjects: usize::try_from(subjects).ok()?,
            entries: part(entries)?,
            positions: part(count.checked_mul(2)?)?,
            endings: part(endings.checked_mul(TIMED as u64)?)?,
            sizes: part(sizes)?,
            times: part(times.checked_mul(TIMED as u64)?)?,
            names: part(names)?,
        };
        let sound = rest.is_empty()
            && frame.first <= frame.last
            && count <= u64::from(frame.last - frame.first) + 1
            && subjects <= count
            && subjects <= entries;
        sound.then_some(frame)
    }

    /// The names, each with its id; fewer if they make no sense from somewhere on, with `None` at the end then.
    pub fn names(&self) -> impl Iterator<Item = Option<(u32, &'a [u8])>> + use<'a> {
        let mut rest = self.names;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut next = || {
                let id = u32::try_from(varint::take(&mut rest)?).ok()?;
                let len = usize::try_from(varint::take(&mut rest)?).ok()?;
                let (name, behind) = rest.split_at_checked(len)?;
                rest = behind;
                Some((id, name))
            };
            let name = next();
            if name.is_none() {
                rest = &[];
            }
            Some(name)
        })
    }

    /// The endings, each with its position.
    pub fn endings(&self) -> impl Iterator<Item = (u16, NanoTime)> + use<'a> {
        timed(self.endings)
    }

    /// The times that are known, each with its position.
    pub fn times(&self) -> impl Iterator<Item = (u16, NanoTime)> + use<'a> {
        timed(self.times)
    }
}

fn put_timed(out: &mut Vec<u8>, (position, time): (u16, NanoTime)) {
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
}

fn timed(raw: &[u8]) -> impl Iterator<Item = (u16, NanoTime)> + use<'_> {
    raw.chunks_exact(TIMED).filter_map(|raw| {
        let (position, time) = raw.split_first_chunk::<2>()?;
        Some((
            u16::from_le_bytes(*position),
            NanoTime::from_le_bytes(*time.first_chunk()?),
        ))
    })
}
