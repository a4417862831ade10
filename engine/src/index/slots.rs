//! The table from subject id to [`Slot`] in one chunk: a hash table while the chunk grows, a sorted list after.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

/// The positions of one subject, in eight bytes with its id: most subjects of a large stream stand once or twice in
/// a chunk, and those need nothing on the heap.
///
/// `(a, b)` with `a == b` is one position and `a < b` is two. `(65535, b)` with a smaller `b` says that there are
/// more, at place `b` of a side table (at most 21,845 subjects of a chunk can have three positions). Any other
/// `a > b` is none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub u16, pub u16);

/// Marks a subject that left a sealed table.
const GONE: Slot = Slot(1, 0);

impl Slot {
    /// One position.
    pub fn one(at: u16) -> Self {
        Self(at, at)
    }

    /// Three or more, at that place of the side table.
    pub fn many(place: u16) -> Self {
        Self(u16::MAX, place)
    }

    /// The place of three or more.
    pub fn place(self) -> Option<usize> {
        (self.0 == u16::MAX && self.1 < u16::MAX).then_some(usize::from(self.1))
    }
}

/// Subject ids and their slots.
#[derive(Debug)]
pub(super) enum Slots {
    /// Quick to grow; about 18 bytes a subject.
    Open(HashMap<u32, Slot, FixedState>),
    /// In the order of the ids; 8 bytes a subject, found by interpolation, for ids are spread evenly as a rule.
    Sealed { entries: Vec<(u32, Slot)>, gone: usize },
}

impl Default for Slots {
    fn default() -> Self {
        Self::Open(HashMap::default())
    }
}

impl Slots {
    /// How many subjects there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Open(map) => map.len(),
            Self::Sealed { entries, gone } => entries.len() - gone,
        }
    }

    /// The slot of a subject.
    pub fn get(&self, id: u32) -> Option<Slot> {
        match self {
            Self::Open(map) => map.get(&id).copied(),
            Self::Sealed { entries, .. } => {
                let (_, slot) = entries[find(entries, id)?];
                (slot != GONE).then_some(slot)
            }
        }
    }

    /// The slot of a subject, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Slot> {
        match self {
            Self::Open(map) => map.get_mut(&id),
            Self::Sealed { entries, .. } => {
                let index = find(entries, id)?;
                Some(&mut entries[index].1).filter(|slot| **slot != GONE)
            }
        }
    }

    /// The slot of a subject, or `None` after giving it this one because it had none.
    pub fn get_or_insert(&mut self, id: u32, slot: Slot) -> Option<&mut Slot> {
        if let Self::Sealed { entries, .. } = self {
            let live = entries.iter().copied().filter(|(_, slot)| *slot != GONE);
            *self = Self::Open(live.collect());
        }
        let Self::Open(map) = self else { return None };
        match map.entry(id) {
            Entry::Occupied(occupied) => Some(occupied.into_mut()),
            Entry::Vacant(vacant) => {
                vacant.insert(slot);
                None
            }
        }
    }

    /// Takes a subject out.
    pub fn remove(&mut self, id: u32) {
        match self {
            Self::Open(map) => {
                map.remove(&id);
            }
            Self::Sealed { entries, gone } => {
                if let Some(index) = find(entries, id)
                    && entries[index].1 != GONE
                {
                    entries[index].1 = GONE;
                    *gone += 1;
                    if *gone > entries.len() / 2 {
                        entries.retain(|(_, slot)| *slot != GONE);
                        entries.shrink_to_fit();
                        *gone = 0;
                    }
                }
            }
        }
    }

    /// The subjects, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Slot)> {
        let (open, sealed) = match self {
            Self::Open(map) => (Some(map), None),
            Self::Sealed { entries, .. } => (None, Some(entries)),
        };
        open.into_iter()
            .flatten()
            .map(|(&id, &slot)| (id, slot))
            .chain(sealed.into_iter().flatten().copied().filter(|(_, slot)| *slot != GONE))
    }

    /// Calls with the subjects in the order of their ids.
    pub fn each_in_order(&self, mut visit: impl FnMut(u32, Slot)) {
        match self {
            Self::Sealed { entries, .. } => {
                for &(id, slot) in entries.iter().filter(|(_, slot)| *slot != GONE) {
                    visit(id, slot);
                }
            }
            Self::Open(map) => {
                let mut entries: Vec<(u32, Slot)> = map.iter().map(|(&id, &slot)| (id, slot)).collect();
                entries.sort_unstable_by_key(|&(id, _)| id);
                for (id, slot) in entries {
                    visit(id, slot);
                }
            }
        }
    }

    /// A packed table with room for so many subjects.
    pub fn sealed(subjects: usize) -> Self {
        Self::Sealed {
            entries: Vec::with_capacity(subjects),
            gone: 0,
        }
    }

    /// Adds a subject to a packed table whose ids are all below it.
    pub fn push_sealed(&mut self, id: u32, slot: Slot) {
        if let Self::Sealed { entries, .. } = self {
            debug_assert!(entries.last().is_none_or(|&(last, _)| last < id), "ids come in order");
            entries.push((id, slot));
        }
    }

    /// Packs the table; for a chunk that no longer grows.
    pub fn seal(&mut self) {
        if let Self::Open(map) = self {
            let mut entries: Vec<(u32, Slot)> = std::mem::take(map).into_iter().collect();
            entries.shrink_to_fit();
            entries.sort_unstable_by_key(|&(id, _)| id);
            *self = Self::Sealed { entries, gone: 0 };
        }
    }
}

/// The index of that id in a list sorted by id. Begins where the id would lie if all were spread evenly, and doubles
/// its strides from there.
fn find(entries: &[(u32, Slot)], id: u32) -> Option<usize> {
    let (&(first, _), &(last, _)) = (entries.first()?, entries.last()?);
    if id < first || id > last {
        return None;
    }
    let span = u64::from(last - first).max(1);
    let guess = (u64::from(id - first) * (entries.len() as u64 - 1) / span) as usize;
    let (mut low, mut high) = (guess, guess + 1);
    let mut stride = 8;
    while entries[low].0 > id {
        high = low;
        low = low.saturating_sub(stride);
        stride *= 2;
    }
    stride = 8;
    while high < entries.len() && entries[high].0 <= id {
        low = high;
        high = (high + stride).min(entries.len());
        stride *= 2;
    }
    entries[low..high]
        .binary_search_by_key(&id, |&(id, _)| id)
        .ok()
        .map(|index| low + index)
}

#[cfg(test)]
mod tests;
