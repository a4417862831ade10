//! Messages of a consumer, each with what is known of it, and all of that added up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Deref;

use crate::index::Digest;
use crate::types::Seq;

/// What of a value counts for the sum.
pub(super) trait Counts {
    fn counts(&self) -> u64;
}

impl Counts for u64 {
    fn counts(&self) -> u64 {
        *self
    }
}

/// A map that is read as any other, and changed so that the sum stays right.
#[derive(Clone, Debug)]
pub(super) struct Summed<V> {
    map: BTreeMap<Seq, V>,
    sum: Digest,
}

impl<V> Default for Summed<V> {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
            sum: Digest::default(),
        }
    }
}

impl<V> Deref for Summed<V> {
    type Target = BTreeMap<Seq, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<V: Counts> FromIterator<(Seq, V)> for Summed<V> {
    fn from_iter<I: IntoIterator<Item = (Seq, V)>>(iter: I) -> Self {
        let map: BTreeMap<Seq, V> = iter.into_iter().collect();
        let mut sum = Digest::default();
        map.iter().for_each(|(&seq, value)| sum.include(term(seq, value)));
        Self { map, sum }
    }
}

impl<V: Counts> Summed<V> {
    /// The sum of all, in whatever order they came.
    pub fn sum(&self) -> Digest {
        self.sum
    }

    /// Takes out a message.
    pub fn remove(&mut self, seq: &Seq) -> Option<V> {
        let value = self.map.remove(seq)?;
        self.sum.leave_out(term(*seq, &value));
        Some(value)
    }

    /// Takes out all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Changes what is known of a message; of one that is not there nothing.
    pub fn change<R>(&mut self, seq: Seq, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let value = self.map.get_mut(&seq)?;
        self.sum.leave_out(term(seq, value));
        let result = change(value);
        self.sum.include(term(seq, value));
        Some(result)
    }

    /// Changes what is known of a message; of one that is not there, this is known before.
    pub fn change_or<R>(&mut self, seq: Seq, unknown: V, change: impl FnOnce(&mut V) -> R) -> R {
        let value = match self.map.entry(seq) {
            Entry::Vacant(vacant) => vacant.insert(unknown),
            Entry::Occupied(occupied) => {
                let value = occupied.into_mut();
                self.sum.leave_out(term(seq, value));
                value
            }
        };
        let result = change(value);
        self.sum.include(term(seq, value));
        result
    }

    /// Changes what is known of each.
    pub fn change_all(&mut self, mut change: impl FnMut(Seq, &mut V)) {
        let mut sum = Digest::default();
        for (&seq, value) in &mut self.map {
            change(seq, value);
            sum.include(term(seq, value));
        }
        self.sum = sum;
    }
}

fn term(seq: Seq, value: &impl Counts) -> Digest {
    Digest::of(seq, value.counts(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_what_is_there_however_it_came_about() {
        let mut map: Summed<u64> = Summed::default();
        let empty = map.sum();
        for seq in [3, 9, 4, 3] {
            map.change_or(seq, 1, |count| *count += 1);
        }
        assert_eq!(map.get(&3), Some(&3));
        assert_eq!(
            map.sum(),
            [(9, 2), (4, 2), (3, 3)].into_iter().collect::<Summed<u64>>().sum()
        );
        map.change(9, |count| *count = 7);
        assert_eq!(map.change(8, |_| ()), None);
        map.remove(&4);
        assert_eq!(map.remove(&4), None);
        map.change_all(|seq, count| *count += seq);
        let same: Summed<u64> = [(3, 6), (9, 16)].into_iter().collect();
        assert_eq!(map.sum(), same.sum());
        assert_ne!(map.sum(), [(3, 16), (9, 6)].into_iter().collect::<Summed<u64>>().sum());
        map.clear();
        assert!(map.is_empty());
        assert_eq!(map.sum(), empty);
    }
}
