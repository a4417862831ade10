//! Where in a chunk each subject stands: subject id to sorted positions.

use super::bits::Bits;
use super::slots::{Slot, Slots};

/// From this many positions of one subject in one chunk on, a bitmap is smaller than the list.
const LIST_MAX: usize = 4096;
/// A bitmap that has shrunk to this many becomes a list again; well below, so that nothing flaps.
const LIST_AGAIN: u32 = 2048;

/// Three positions or more.
#[derive(Clone, Debug)]
enum Many {
    List(Vec<u16>),
    Bits(Bits),
}

/// The postings of one chunk.
#[derive(Debug, Default)]
pub(super) struct Postings {
    slots: Slots,
    many: Vec<Many>,
    /// Places of `many` that are not used.
    free: Vec<u16>,
}

impl Postings {
    /// Adds a position above all that the subject has here.
    pub fn push(&mut self, id: u32, at: u16) {
        let Some(slot) = self.slots.get_or_insert(id, Slot::one(at)) else {
            return;
        };
        match slot.place() {
            None if slot.0 == slot.1 => slot.1 = at,
            None => {
                let list = Many::List(vec![slot.0, slot.1, at]);
                let place = match self.free.pop() {
                    Some(place) => {
                        self.many[usize::from(place)] = list;
                        place
                    }
                    None => {
                        self.many.push(list);
                        (self.many.len() - 1) as u16
                    }
                };
                *slot = Slot::many(place);
            }
            Some(place) => match &mut self.many[place] {
                Many::List(list) if list.len() >= LIST_MAX => {
                    let mut bits = Bits::new();
                    for &position in list.iter() {
                        bits.insert(position);
                    }
                    bits.insert(at);
                    self.many[place] = Many::Bits(bits);
                }
                Many::List(list) => list.push(at),
                Many::Bits(bits) => {
                    bits.insert(at);
                }
            },
        }
    }

    /// Takes a position out; answers whether it was there.
    pub fn remove(&mut self, id: u32, at: u16) -> bool {
        let Some(slot) = self.slots.get_mut(id) else {
            return false;
        };
        let Some(place) = slot.place() else {
            match *slot {
                Slot(a, b) if a == at && b == at => {
                    self.slots.remove(id);
                }
                Slot(a, b) if a == at => *slot = Slot::one(b),
                Slot(a, b) if b == at => *slot = Slot::one(a),
                _ => return false,
            }
            return true;
        };
        match &mut self.many[place] {
            Many::List(list) => {
                let Ok(index) = list.binary_search(&at) else {
                    return false;
                };
                list.remove(index);
                if let [a, b] = list[..] {
                    *slot = Slot(a, b);
                    self.many[place] = Many::List(Vec::new());
                    self.free.push(place as u16);
                } else if list.capacity() > 64 && list.len() < list.capacity() / 4 {
                    list.shrink_to(list.len() * 2);
                }
            }
            Many::Bits(bits) => {
                if !bits.remove(at) {
                    return false;
                }
                if bits.len() <= LIST_AGAIN {
                    let mut list = Vec::with_capacity(bits.len() as usize);
                    bits.for_each(|position| list.push(position));
                    self.many[place] = Many::List(list);
                }
            }
        }
        true
    }

    /// The subject's lowest position from `from` on.
    pub fn next(&self, id: u32, from: u16) -> Option<u16> {
        self.next_in(self.slots.get(id)?, from)
    }

    /// The subject's highest position up to `from`.
    pub fn prev(&self, id: u32, from: u16) -> Option<u16> {
        self.prev_in(self.slots.get(id)?, from)
    }

    /// How many positions the subject has at `from` or above.
    pub fn count_from(&self, id: u32, from: u16) -> u32 {
        self.slots.get(id).map_or(0, |slot| self.count_in(slot, from))
    }

    /// How many subjects stand in this chunk.
    pub fn subjects(&self) -> usize {
        self.slots.len()
    }

    /// The subjects' ids, in no order.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().map(|(id, _)| id)
    }

    /// The subjects with a position at `from` or above, each with the lowest such, in no order.
    pub fn ids_from(&self, from: u16) -> impl Iterator<Item = (u32, u16)> {
        self.slots
            .iter()
            .filter_map(move |(id, slot)| Some((id, self.next_in(slot, from)?)))
    }

    /// Whose a position is. Looks at all subjects.
    pub fn id_at(&self, at: u16) -> Option<u32> {
        let mut here = self.ids_from(at);
        here.find(|(_, position)| *position == at).map(|(id, _)| id)
    }

    /// Calls with the positions from `first` to `last`, each with its subject, in no order. Looks at all subjects.
    pub fn each_within(&self, first: u16, last: u16, mut visit: impl FnMut(u32, u16)) {
        for (id, slot) in self.slots.iter() {
            if slot.place().is_none() {
                for at in [slot.0, slot.1] {
                    if (first..=last).contains(&at) {
                        visit(id, at);
                    }
                }
                continue;
            }
            let mut from = first;
            while let Some(at) = self.next_in(slot, from).filter(|at| *at <= last) {
                visit(id, at);
                match at.checked_add(1) {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
    }

    /// The subjects with a position up to `from`, each with the highest such, in no order.
    pub fn ids_up_to(&self, from: u16) -> impl Iterator<Item = (u32, u16)> {
        self.slots
            .iter()
            .filter_map(move |(id, slot)| Some((id, self.prev_in(slot, from)?)))
    }

    /// Adds the subject's positions at `from` and above to `into`.
    pub fn collect_from(&self, id: u32, from: u16, into: &mut Bits) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let Some(place) = slot.place() else {
            for at in [slot.0, slot.1] {
                if at >= from {
                    into.insert(at);
                }
            }
            return;
        };
        match &self.many[place] {
            Many::List(list) => {
                for &at in &list[list.partition_point(|&at| at < from)..] {
                    into.insert(at);
                }
            }
            Many::Bits(bits) => bits.for_each(|at| {
                if at >= from {
                    into.insert(at);
                }
            }),
        }
    }

    /// Adds all positions to `into`.
    pub fn collect_all(&self, into: &mut Bits) {
        self.each_list(|_, positions| {
            for &at in positions {
                into.insert(at);
            }
        });
    }

    /// Calls with each subject and its positions, in the order of the ids; for a chunk that no longer grows.
    pub fn each_list(&self, mut visit: impl FnMut(u32, &[u16])) {
        let mut scratch = Vec::new();
        self.slots.each_in_order(|id, slot| match slot.place() {
            None if slot.0 == slot.1 => visit(id, &[slot.0]),
            None => visit(id, &[slot.0, slot.1]),
            Some(place) => match &self.many[place] {
                Many::List(list) => visit(id, list),
                Many::Bits(bits) => {
                    scratch.clear();
                    bits.for_each(|at| scratch.push(at));
                    visit(id, &scratch);
                }
            },
        });
    }

    /// Postings that grow no longer and hold nothing yet, with room for so many subjects.
    pub fn sealed(subjects: usize) -> Self {
        Self {
            slots: Slots::sealed(subjects),
            ..Self::default()
        }
    }

    /// Adds a subject whose id is above all, with one position.
    pub fn push_one(&mut self, id: u32, at: u16) {
        self.slots.push_sealed(id, Slot::one(at));
    }

    /// Adds a subject whose id is above all, with its positions in order, one at least.
    pub fn push_list(&mut self, id: u32, positions: &[u16]) {
        let slot = match *positions {
            [] => return,
            [at] => Slot::one(at),
            [first, second] => Slot(first, second),
            _ => {
                let many = match positions.len() > LIST_MAX {
                    true => {
                        let mut bits = Bits::new();
                        for &at in positions {
                            bits.insert(at);
                        }
                        Many::Bits(bits)
                    }
                    false => Many::List(positions.to_vec()),
                };
                self.many.push(many);
                Slot::many((self.many.len() - 1) as u16)
            }
        };
        self.slots.push_sealed(id, slot);
    }

    /// Packs what a chunk that no longer grows keeps.
    pub fn seal(&mut self) {
        self.slots.seal();
        self.many.shrink_to_fit();
        for many in &mut self.many {
            if let Many::List(list) = many {
                list.shrink_to_fit();
            }
        }
    }

    fn next_in(&self, slot: Slot, from: u16) -> Option<u16> {
        match slot.place() {
            None => [slot.0, slot.1].into_iter().find(|&at| at >= from),
            Some(place) => match &self.many[place] {
                Many::List(list) => list.get(list.partition_point(|&at| at < from)).copied(),
                Many::Bits(bits) => bits.next(from),
            },
        }
    }

    fn prev_in(&self, slot: Slot, from: u16) -> Option<u16> {
        match slot.place() {
            None => [slot.1, slot.0].into_iter().find(|&at| at <= from),
            Some(place) => match &self.many[place] {
                Many::List(list) => list
                    .partition_point(|&at| at <= from)
                    .checked_sub(1)
                    .map(|index| list[index]),
                Many::Bits(bits) => bits.prev(from),
            },
        }
    }

    fn count_in(&self, slot: Slot, from: u16) -> u32 {
        match slot.place() {
            None if slot.0 == slot.1 => u32::from(slot.0 >= from),
            None => u32::from(slot.0 >= from) + u32::from(slot.1 >= from),
            Some(place) => match &self.many[place] {
                Many::List(list) => (list.len() - list.partition_point(|&at| at < from)) as u32,
                Many::Bits(bits) => bits.count_from(from),
            },
        }
    }
}

#[cfg(test)]
mod tests;
