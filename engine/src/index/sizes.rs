//! How large the messages of a chunk are, as limits count it: in no room at all where all are the same, in a byte or two for each
//! where they differ by little.

use super::chunk::Live;
use crate::varint;

/// Positions without a live message for which there may be room, beside as many as there are live messages.
const SPARE: usize = 128;

/// The sizes of the messages of one chunk, by their positions.
#[derive(Debug)]
pub(super) struct Sizes {
    /// None is below.
    base: u64,
    /// Bytes of what each is above it: 1, 2 or 4; 0 where nothing is.
    width: usize,
    places: Places,
    /// What each is above `base`, little-endian.
    values: Vec<u8>,
}

/// Which positions have a value, of a width that is not 0.
#[derive(Debug)]
enum Places {
    /// All from this one on, those too that never had a message.
    From(u16),
    /// These, in order.
    Each(Vec<u16>),
}

impl Sizes {
    /// Of a chunk whose first message is that large.
    pub fn new(size: u64) -> Self {
        Self {
            base: size,
            width: 0,
            places: Places::From(0),
            values: Vec::new(),
        }
    }

    /// How large the live message at a position is; for another position it means nothing.
    pub fn get(&self, at: u16) -> u64 {
        let place = match &self.places {
            _ if self.width == 0 => None,
            Places::From(first) => at.checked_sub(*first).map(usize::from),
            Places::Each(positions) => positions.binary_search(&at).ok(),
        };
        let value = place.and_then(|place| self.values.get(place * self.width..(place + 1) * self.width));
        self.base + value.map_or(0, number)
    }

    /// Adds the size of a message at a position above all before; `live` has those before it.
    pub fn push(&mut self, at: u16, size: u64, live: &Live) {
        if self.width == 0 && size == self.base {
            return;
        }
        let is_within = self.width > 0 && size >= self.base && size - self.base <= largest(self.width);
        let values = self.values.len().checked_div(self.width).unwrap_or(0);
        let place = match &self.places {
            Places::From(first) => at.checked_sub(*first).map_or(0, usize::from),
            Places::Each(_) => values,
        };
        if !is_within || place < values || place > 4 * live.len() as usize + SPARE {
            let mut all = self.of(live);
            all.push((at, size));
            self.lay(&all, true);
            return;
        }
        self.values.resize(place * self.width, 0);
        put(&mut self.values, size - self.base, self.width);
        if let Places::Each(positions) = &mut self.places {
            positions.push(at);
        }
    }

    /// A message was removed; `live` has those that are left. Gives back room if there is much more of it than is needed.
    pub fn removed(&mut self, live: &Live) {
        let (values, live_ones) = (
            self.values.len().checked_div(self.width).unwrap_or(0),
            live.len() as usize,
        );
        let allowed = match self.places {
            Places::From(_) => 4 * live_ones,
            Places::Each(_) => 2 * live_ones,
        };
        if values > allowed + SPARE {
            let all = self.of(live);
            self.lay(&all, true);
        }
    }

    /// Packs them; for a chunk to which nothing is added any more.
    pub fn seal(&mut self, live: &Live) {
        if self.width > 0 {
            let all = self.of(live);
            self.lay(&all, false);
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let positions = match &self.places {
            Places::From(_) => 0,
            Places::Each(positions) => 2 * positions.capacity(),
        };
        self.values.capacity() + positions
    }

    /// All live positions, and their sizes.
    fn of(&self, live: &Live) -> Vec<(u16, u64)> {
        let mut all = Vec::with_capacity(live.len() as usize + 1);
        live.for_each(|at| all.push((at, self.get(at))));
        all
    }

    /// Keeps these, and no others. Where more may come, sizes that are somewhat smaller or larger are to fit as well.
    fn lay(&mut self, all: &[(u16, u64)], grows: bool) {
        let (Some(&(first, _)), Some(&(last, _))) = (all.first(), all.last()) else {
            (self.width, self.values) = (0, Vec::new());
            return;
        };
        let sizes = || all.iter().map(|(_, size)| *size);
        let (low, high) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
        self.width = match high - low {
            0 => 0,
            spread => *[1, 2].iter().find(|width| spread <= largest(**width)).unwrap_or(&4),
        };
        let slack = match grows && self.width > 0 {
            true => largest(self.width).saturating_sub(high - low) / 2,
            false => 0,
        };
        self.base = low.saturating_sub(slack);
        self.values = Vec::new();
        if self.width == 0 {
            self.places = Places::From(first);
            return;
        }
        let span = usize::from(last - first) + 1;
        if span <= 2 * all.len() + SPARE {
            self.places = Places::From(first);
            self.values.reserve_exact(span * self.width);
            for &(at, size) in all {
                self.values.resize(usize::from(at - first) * self.width, 0);
                put(&mut self.values, size - self.base, self.width);
            }
        } else {
            self.places = Places::Each(all.iter().map(|(at, _)| *at).collect());
            self.values.reserve_exact(all.len() * self.width);
            for &(_, size) in all {
                put(&mut self.values, size - self.base, self.width);
            }
        }
    }

    /// Appends them as bytes, for [`Sizes::read`].
    pub fn write(&self, out: &mut Vec<u8>) {
        varint::put(out, self.base);
        out.push(self.width as u8);
        if self.width == 0 {
            return;
        }
        match &self.places {
            Places::From(first) => {
                out.push(0);
                out.extend_from_slice(&first.to_le_bytes());
            }
            Places::Each(positions) => {
                out.push(1);
                varint::put(out, positions.len() as u64);
                positions.iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
            }
        }
        out.extend_from_slice(&self.values);
    }

    /// Of the bytes that [`Sizes::write`] made, of a chunk with these live messages. `None` if they make no sense, or lack one.
    pub fn read(mut raw: &[u8], live: &Live) -> Option<Self> {
        let base = varint::take(&mut raw).filter(|base| *base <= u64::from(u32::MAX))?;
        let (&width, rest) = raw.split_first()?;
        let width = usize::from(width);
        if width == 0 {
            return rest.is_empty().then_some(Self::new(base));
        }
        let (&form, mut rest) = rest.split_first()?;
        let places = match form {
            0 => {
                let (first, behind) = rest.split_first_chunk::<2>()?;
                rest = behind;
                Places::From(u16::from_le_bytes(*first))
            }
            1 => {
                let count = usize::try_from(varint::take(&mut rest)?).ok()?;
                let (positions, behind) = rest.split_at_checked(count.checked_mul(2)?)?;
                rest = behind;
                let positions = positions.chunks_exact(2).map(|at| u16::from_le_bytes([at[0], at[1]]));
                Places::Each(positions.collect())
            }
            _ => return None,
        };
        let mut is_whole = [1, 2, 4].contains(&width) && rest.len().is_multiple_of(width);
        let count = rest.len().checked_div(width).unwrap_or(0);
        match &places {
            Places::From(first) => {
                let end = usize::from(*first) + count;
                is_whole &= live
                    .ends()
                    .is_none_or(|(low, high)| *first <= low && usize::from(high) < end);
            }
            Places::Each(positions) => {
                is_whole &= positions.len() == count && positions.is_sorted_by(|a, b| a < b);
                live.for_each(|at| is_whole &= positions.binary_search(&at).is_ok());
            }
        }
        let mut sizes = Self {
            base,
            width,
            places,
            values: is_whole.then(|| rest.to_vec())?,
        };
        sizes.removed(live);
        Some(sizes)
    }
}

/// The largest number of so many bytes.
fn largest(width: usize) -> u64 {
    (1 << (8 * width)) - 1
}

fn number(raw: &[u8]) -> u64 {
    match *raw {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        _ => 0,
    }
}

/// Appends a number in so many bytes; the largest that fits if it does not, which no size of a record is.
fn put(values: &mut Vec<u8>, number: u64, width: usize) {
    let number = number.min(largest(width)).to_le_bytes();
    values.extend_from_slice(&number[..width]);
}

#[cfg(test)]
mod tests;
