//! 65,536 sequences of a stream: which of them are live, and of which subjects.

use super::bits::Bits;
use super::postings::Postings;
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
}

/// The live positions. A bitmap only where there are gaps.
#[derive(Debug)]
enum Live {
    /// All from the first to the second; none if they are in the wrong order.
    Range(u16, u16),
    Bits(Bits),
}

impl Chunk {
    /// A chunk with one live position.
    pub fn new(at: u16, id: u32) -> Self {
        let mut postings = Postings::default();
        postings.push(id, at);
        Self {
            live: Live::Range(at, at),
            postings,
            endings: Endings::default(),
        }
    }

    /// A chunk of which all is known: the positions of its postings, which are no more than `count`, from `first` to `last`.
    pub fn of(postings: Postings, endings: Endings, (first, last): (u16, u16), count: u32) -> Self {
        let live = match u32::from(last - first) + 1 == count {
            true => Live::Range(first, last),
            false => {
                let mut bits = Bits::new();
                postings.collect_all(&mut bits);
                Live::Bits(bits)
            }
        };
        Self {
            live,
            postings,
            endings,
        }
    }

    /// Adds a position above all before.
    pub fn push(&mut self, at: u16, id: u32) {
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
        self.postings.push(id, at);
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
        true
    }

    /// How many positions are live.
    pub fn len(&self) -> u32 {
        match &self.live {
            Live::Range(first, last) => (u32::from(*last) + 1).saturating_sub(u32::from(*first)),
            Live::Bits(bits) => bits.len(),
        }
    }

    /// Whether the position is live.
    pub fn contains(&self, at: u16) -> bool {
        match &self.live {
            Live::Range(first, last) => (*first..=*last).contains(&at),
            Live::Bits(bits) => bits.contains(at),
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
