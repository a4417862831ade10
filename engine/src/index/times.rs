//! When some of the messages of a chunk came: enough to find one by its time with few looks at the log, and to tell one log from
//! another.

use std::ops::RangeInclusive;

use crate::types::NanoTime;

/// Of so many messages the time of one is kept.
const EVERY: u32 = 1024;

/// The times of every 1,024th message that was added to a chunk, from the first on, and of the last one. They may be gone by now.
#[derive(Debug, Default)]
pub(super) struct Times {
    positions: Vec<u16>,
    times: Vec<NanoTime>,
    last: Option<(u16, NanoTime)>,
    added: u32,
}

impl Times {
    /// Of what [`Times::all`] answered.
    pub fn of(all: impl Iterator<Item = (u16, NanoTime)>) -> Self {
        let (positions, times): (Vec<u16>, Vec<NanoTime>) = all.unzip();
        Self {
            last: positions.last().copied().zip(times.last().copied()),
            // Should anything come yet: after that the next one is taken.
            added: positions.len() as u32 * EVERY,
            positions,
            times,
        }
    }

    /// Adds that of a message above all before.
    pub fn push(&mut self, at: u16, time: NanoTime) {
        if self.added.is_multiple_of(EVERY) {
            self.positions.push(at);
            self.times.push(time);
        }
        self.added += 1;
        self.last = Some((at, time));
    }

    /// Nothing is added any more.
    pub fn seal(&mut self) {
        self.positions.shrink_to_fit();
        self.times.shrink_to_fit();
    }

    /// All that are known, in order, with their positions.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (u16, NanoTime)> {
        let sampled = self.positions.iter().copied().zip(self.times.iter().copied());
        let last = self.last.filter(|(at, _)| self.positions.last() != Some(at));
        sampled.chain(last)
    }

    /// The first one.
    pub fn first(&self) -> Option<(u16, NanoTime)> {
        self.positions.first().copied().zip(self.times.first().copied())
    }

    /// The times between which the message at a position came, as far as they are known.
    pub fn at(&self, at: u16) -> RangeInclusive<NanoTime> {
        let before = self.all().take_while(|(position, _)| *position <= at).last();
        let after = self.all().find(|(position, _)| *position >= at);
        let time = |sample: Option<(u16, NanoTime)>, other| sample.map_or(other, |(_, time)| time);
        time(before, NanoTime::MIN)..=time(after, NanoTime::MAX)
    }

    /// The positions of the last one that is below a time, and of the first one that is not.
    pub fn around(&self, time: NanoTime) -> (Option<u16>, Option<u16>) {
        let place = self.times.partition_point(|sample| *sample < time);
        let (mut below, mut above) = (
            place.checked_sub(1).map(|place| self.positions[place]),
            self.positions.get(place).copied(),
        );
        if let (Some((at, last)), None) = (self.last, above) {
            match last < time {
                true => below = Some(at),
                false => above = Some(at),
            }
        }
        (below, above)
    }
}

#[cfg(test)]
mod tests;
