//! A set of positions within one chunk, as a bitmap of 8 KiB.

const WORDS: usize = 1024;

/// A set of `u16`. Its bounds are kept loosely, so that finding the first of a set that is eaten from the front does
/// not begin at zero each time.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Box<[u64; WORDS]>,
    count: u32,
    /// No member lies below.
    low: u16,
    /// No member lies above.
    high: u16,
}

impl Bits {
    /// The empty set.
    pub fn new() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            count: 0,
            low: u16::MAX,
            high: 0,
        }
    }

    /// All from `first` to `last`, both included.
    pub fn range(first: u16, last: u16) -> Self {
        let mut bits = Self::new();
        for at in first..=last {
            bits.insert(at);
        }
        bits
    }

    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn contains(&self, at: u16) -> bool {
        self.words[usize::from(at >> 6)] >> (at & 63) & 1 == 1
    }

    /// Adds one; answers whether it was new.
    pub fn insert(&mut self, at: u16) -> bool {
        let word = &mut self.words[usize::from(at >> 6)];
        let bit = 1 << (at & 63);
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.count += 1;
        self.low = self.low.min(at);
        self.high = self.high.max(at);
        true
    }

    /// Takes one out; answers whether it was there.
    pub fn remove(&mut self, at: u16) -> bool {
        let word = &mut self.words[usize::from(at >> 6)];
        let bit = 1 << (at & 63);
        if *word & bit == 0 {
            return false;
        }
        *word &= !bit;
        self.count -= 1;
        if self.count == 0 {
            (self.low, self.high) = (u16::MAX, 0);
        } else if at == self.low {
            self.low = self.next(at).unwrap_or(u16::MAX);
        } else if at == self.high {
            self.high = self.prev(at).unwrap_or(0);
        }
        true
    }

    /// The lowest member from `from` on.
    pub fn next(&self, from: u16) -> Option<u16> {
        let from = from.max(self.low);
        if self.count == 0 || from > self.high {
            return None;
        }
        let mut index = from >> 6;
        let mut word = self.words[usize::from(index)] & (u64::MAX << (from & 63));
        while word == 0 {
            if index == self.high >> 6 {
                return None;
            }
            index += 1;
            word = self.words[usize::from(index)];
        }
        Some(index << 6 | word.trailing_zeros() as u16)
    }

    /// The highest member up to `from`.
    pub fn prev(&self, from: u16) -> Option<u16> {
        let from = from.min(self.high);
        if self.count == 0 || from < self.low {
            return None;
        }
        let mut index = from >> 6;
        let mut word = self.words[usize::from(index)] & (u64::MAX >> (63 - (from & 63)));
        while word == 0 {
            if index == self.low >> 6 {
                return None;
            }
            index -= 1;
            word = self.words[usize::from(index)];
        }
        Some(index << 6 | (63 - word.leading_zeros() as u16))
    }

    /// How many members lie at `from` or above.
    pub fn count_from(&self, from: u16) -> u32 {
        if from <= self.low {
            return self.count;
        }
        if from > self.high {
            return 0;
        }
        let index = usize::from(from >> 6);
        let edge = (self.words[index] & (u64::MAX << (from & 63))).count_ones();
        let whole: u32 = self.words[index + 1..=usize::from(self.high >> 6)]
            .iter()
            .map(|word| word.count_ones())
            .sum();
        edge + whole
    }

    /// Calls with each member, from low to high.
    pub fn for_each(&self, mut visit: impl FnMut(u16)) {
        for (index, &word) in self.words.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                visit((index << 6) as u16 | rest.trailing_zeros() as u16);
                rest &= rest - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
