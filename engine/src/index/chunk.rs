//! 65,536 sequences of a stream: which of them are live, and of which subjects.

use super::bits::Bits;
use super::digest::Digest;
use super::postings::Postings;
use super::sizes::Sizes;
use super::times::Times;
use crate::types::{NanoTime, Seq};

/// The number of the chunk a sequence belongs to.
pub(super) fn chunk_of(seq: Seq) -> u64 {
    seq >> 16
}

/// The sequence at a place of a chunk.
pub(super) fn seq_at(chunk: u64, position: u16) -> Seq {
    chunk << 16 | u64::from(position)
}

/// How many sequences the chunks of a resident index have: 2 to this power, 16 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize(u8);

impl Default for ChunkSize {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl ChunkSize {
    /// 65,536, as [`chunk_of`] has it.
    pub const WHOLE: Self = Self(16);

    /// Smaller ones, for tests to which many messages are few: 2 to `power`, which is brought between 1 and 16.
    pub fn small(power: u8) -> Self {
        Self(power.clamp(1, 16))
    }

    /// The power of 2.
    pub(super) fn power(self) -> u8 {
        self.0
    }

    /// How many sequences a chunk has.
    pub(super) fn len(self) -> u64 {
        1 << self.0
    }

    /// The number of the chunk a sequence belongs to.
    pub(super) fn of(self, seq: Seq) -> u64 {
        seq >> self.0
    }

    /// The place of a sequence in its chunk.
    pub(super) fn position(self, seq: Seq) -> u16 {
        (seq & (self.len() - 1)) as u16
    }

    /// The sequence at a place of a chunk.
    pub(super) fn seq(self, chunk: u64, position: u16) -> Seq {
        chunk << self.0 | u64::from(position)
    }
}

/// A chunk with at least one live sequence; an empty one is dropped by its owner.
#[derive(Debug)]
pub(super) struct Chunk {
    live: Live,
    /// Which subjects stand where.
    pub postings: Postings,
    /// When its messages end that have a life of their own, those too that are gone.
    pub endings: Endings,
    /// How large they are.
    pub sizes: Sizes,
    /// When some of them came.
    pub times: Times,
    /// All of them, added up.
    pub digest: Digest,
}

/// Endings of messages, by their positions in a chunk.
#[derive(Debug, Default)]
pub(super) struct Endings {
    pub positions: Vec<u16>,
    pub times: Vec<NanoTime>,
}

impl Endings {
    pub fn push(&mut self, position: u16, at: NanoTime) {
        self.positions.push(position);
        self.times.push(at);
    }

    /// When the message at a position ends, if it has a life of its own.
    pub fn get(&self, position: u16) -> Option<NanoTime> {
        let place = self.positions.binary_search(&position).ok()?;
        self.times.get(place).copied()
    }
}

/// The live positions. A bitmap only where there are gaps.
#[derive(Debug)]
pub(super) enum Live {
    /// All from the first to the second; none if they are in the wrong order.
    Range(u16, u16),
    Bits(Bits),
}

impl Live {
    /// How many there are.
    pub fn len(&self) -> u32 {
        match self {
            Self::Range(first, last) => (u32::from(*last) + 1).saturating_sub(u32::from(*first)),
            Self::Bits(bits) => bits.len(),
        }
    }

    /// The first one and the last one.
    pub fn ends(&self) -> Option<(u16, u16)> {
        match self {
            Self::Range(first, last) => (first <= last).then_some((*first, *last)),
            Self::Bits(bits) => Some((bits.next(0)?, bits.prev(u16::MAX)?)),
        }
    }

    /// Calls with each, in order.
    pub fn for_each(&self, visit: impl FnMut(u16)) {
        match self {
            Self::Range(first, last) => (*first..=*last).for_each(visit),
            Self::Bits(bits) => bits.for_each(visit),
        }
    }
}

/// A message that is added to a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    /// Its subject.
    pub id: u32,
    /// Bytes, as limits count them.
    pub size: u64,
    /// When it came.
    pub time: NanoTime,
    /// What it adds to that of its chunk.
    pub digest: Digest,
}

impl Chunk {
    /// A chunk with one live position.
    pub fn new(at: u16, message: Added) -> Self {
        let mut postings = Postings::default();
        postings.push(message.id, at);
        let mut times = Times::default();
        times.push(at, message.time);
        Self {
            live: Live::Range(at, at),
            postings,
            endings: Endings::default(),
            sizes: Sizes::new(message.size),
            times,
            digest: message.digest,
        }
    }

    /// A chunk of which all but the digest is known: the positions of its postings, which are no more than `count`, from `first` to
    /// `last`; `sizes` as [`Sizes::read`] has them. `None` if these make no sense.
    pub fn of(
        postings: Postings,
        endings: Endings,
        (sizes, times): (&[u8], Times),
        (first, last): (u16, u16),
        count: u32,
    ) -> Option<Self> {
        let live = match u32::from(last - first) + 1 == count {
            true => Live::Range(first, last),
            false => {
                let mut bits = Bits::new();
                postings.collect_all(&mut bits);
                Live::Bits(bits)
            }
        };
        Some(Self {
            sizes: Sizes::read(sizes, &live)?,
            live,
            postings,
            endings,
            times,
            digest: Digest::default(),
        })
    }

    /// Adds a position above all before.
    pub fn push(&mut self, at: u16, message: Added) {
        self.sizes.push(at, message.size, &self.live);
        self.times.push(at, message.time);
        match &mut self.live {
            Live::Range(_, last) if last.checked_add(1) == Some(at) => *last = at,
            Live::Range(first, last) => {
                let mut bits = Bits::range(*first, *last);
                bits.insert(at);
                self.live = Live::Bits(bits);
            }
            Live::Bits(bits) => {
                bits.insert(at);
            }
        }
        self.postings.push(message.id, at);
        self.digest.include(message.digest);
    }

    /// Its messages added up anew, as the chunk of that number; `subject` answers the hash of the subject of an id.
    pub fn counted_digest(&self, (size, number): (ChunkSize, u64), mut subject: impl FnMut(u32) -> u64) -> Digest {
        let mut digest = Digest::default();
        self.postings.each_list(|id, positions| {
            let subject = subject(id);
            for &at in positions {
                digest.include(Digest::of(size.seq(number, at), subject, self.sizes.get(at)));
            }
        });
        digest
    }

    /// Packs it: nothing is added any more.
    pub fn seal(&mut self) {
        self.postings.seal();
        self.sizes.seal(&self.live);
        self.times.seal();
    }

    /// Takes out a live position of that subject; answers whether it was there. Afterwards the chunk may be empty.
    pub fn remove(&mut self, at: u16, id: u32) -> bool {
        if !self.postings.remove(id, at) {
            return false;
        }
        match &mut self.live {
            Live::Range(first, last) if first == last => self.live = Live::Range(1, 0),
            Live::Range(first, _) if *first == at => *first += 1,
            Live::Range(_, last) if *last == at => *last -= 1,
            Live::Range(first, last) => {
                let mut bits = Bits::range(*first, *last);
                bits.remove(at);
                self.live = Live::Bits(bits);
            }
            Live::Bits(bits) => {
                bits.remove(at);
            }
        }
        self.sizes.removed(&self.live);
        true
    }

    /// How many positions are live.
    pub fn len(&self) -> u32 {
        self.live.len()
    }

    /// Whether the position is live.
    pub fn contains(&self, at: u16) -> bool {
        match &self.live {
            Live::Range(first, last) => (*first..=*last).contains(&at),
            Live::Bits(bits) => bits.contains(at),
        }
    }

    /// Calls with each live position from the first to the last one, in order.
    pub fn each_live(&self, first: u16, last: u16, mut visit: impl FnMut(u16)) {
        match &self.live {
            Live::Range(low, high) => (first.max(*low)..=last.min(*high)).for_each(visit),
            Live::Bits(bits) => {
                let mut next = bits.next(first);
                while let Some(at) = next.filter(|at| *at <= last) {
                    visit(at);
                    next = at.checked_add(1).and_then(|from| bits.next(from));
                }
            }
        }
    }

    /// The lowest live position from `from` on.
    pub fn next(&self, from: u16) -> Option<u16> {
        match &self.live {
            Live::Range(first, last) => Some(from.max(*first)).filter(|at| at <= last),
            Live::Bits(bits) => bits.next(from),
        }
    }

    /// The highest live position up to `from`.
    pub fn prev(&self, from: u16) -> Option<u16> {
        match &self.live {
            Live::Range(first, last) => Some(from.min(*last)).filter(|at| at >= first),
            Live::Bits(bits) => bits.prev(from),
        }
    }

    /// How many live positions lie at `from` or above.
    pub fn count_from(&self, from: u16) -> u32 {
        match &self.live {
            Live::Range(first, last) => (u32::from(*last) + 1).saturating_sub(u32::from(from.max(*first))),
            Live::Bits(bits) => bits.count_from(from),
        }
    }
}
