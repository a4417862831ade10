//! The nodes of a [`SubjectTree`](super::SubjectTree), and how they split and join.

use super::bytes::ShortBytes;

/// What stands in a slot: in the root, or in a node's children.
#[derive(Default)]
pub(super) enum Child<V> {
    /// Only as the root of an empty tree, and for a moment while a slot is rebuilt.
    #[default]
    Empty,
    Leaf(Leaf<V>),
    Inner(Box<Inner<V>>),
}

/// The end of one subject.
pub(super) struct Leaf<V> {
    /// What is left of the subject here.
    pub(super) suffix: ShortBytes,
    pub(super) value: V,
}

/// Where subjects part: two children at least.
pub(super) struct Inner<V> {
    /// First the bytes that all subjects below have in common here, then one byte for each child but the end.
    pub(super) bytes: ShortBytes,
    pub(super) prefix_len: u32,
    /// If a subject ends behind the prefix. It is the first child then, a leaf without suffix and without a byte.
    pub(super) has_end: bool,
    /// Sorted by their bytes.
    pub(super) children: Vec<Child<V>>,
}

impl<V> Child<V> {
    fn leaf(suffix: &[u8], value: V) -> Self {
        Self::Leaf(Leaf {
            suffix: ShortBytes::new(suffix),
            value,
        })
    }

    /// Adds the subject that has `rest` left in this slot, where it is known to be missing.
    pub(super) fn attach(&mut self, rest: &[u8], value: V) -> &mut V {
        if matches!(self, Self::Empty) {
            *self = Self::leaf(rest, value);
            return self.leaf_value();
        }
        let have = match self {
            Self::Empty => &[],
            Self::Leaf(leaf) => leaf.suffix.as_slice(),
            Self::Inner(inner) => inner.prefix(),
        };
        let common = have.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if let Self::Inner(inner) = self
            && common == inner.prefix().len()
        {
            // Looked at again, so that the borrow of this branch is the one that is returned.
        } else {
            self.split(common);
        }
        let index = match self {
            Self::Inner(inner) => inner.add(&rest[common..], value),
            Self::Empty | Self::Leaf(_) => 0,
        };
        match self {
            Self::Inner(inner) => inner.children[index].leaf_value(),
            Self::Empty | Self::Leaf(_) => self.leaf_value(),
        }
    }

    /// Puts a node above this one that keeps the first `common` bytes of its string. It has this one as its only
    /// child, so the caller adds another.
    fn split(&mut self, common: usize) {
        let (prefix, key, below) = match std::mem::take(self) {
            Self::Empty => return,
            Self::Leaf(leaf) => {
                let (prefix, rest) = leaf.suffix.as_slice().split_at(common);
                let suffix = ShortBytes::new(rest.get(1..).unwrap_or_default());
                (
                    ShortBytes::new(prefix),
                    rest.first().copied(),
                    Self::Leaf(Leaf {
                        suffix,
                        value: leaf.value,
                    }),
                )
            }
            Self::Inner(mut inner) => {
                let (prefix, rest) = inner.prefix().split_at(common);
                let (prefix, key) = (ShortBytes::new(prefix), rest.first().copied());
                inner.set_prefix(&[&inner.prefix()[(common + 1).min(inner.prefix().len())..]].concat());
                (prefix, key, Self::Inner(inner))
            }
        };
        let prefix_len = prefix.as_slice().len() as u32;
        let mut bytes = prefix;
        if let Some(key) = key {
            bytes.insert(prefix_len as usize, key);
        }
        let mut children = Vec::with_capacity(2);
        children.push(below);
        *self = Self::Inner(Box::new(Inner {
            bytes,
            prefix_len,
            has_end: key.is_none(),
            children,
        }));
    }

    /// If only one child is left, becomes that child, with the bytes on the way to it put in front.
    fn join(&mut self) {
        let Self::Inner(inner) = self else { return };
        if inner.children.len() > 1 {
            return;
        }
        let Some(only) = inner.children.pop() else {
            return;
        };
        // The prefix, and the only child's byte if it has one: all that is left of the string.
        let above = inner.bytes.as_slice();
        *self = match only {
            Self::Empty => Self::Empty,
            Self::Leaf(Leaf { suffix, value }) => Self::Leaf(Leaf {
                suffix: ShortBytes::concat(&[above, suffix.as_slice()]),
                value,
            }),
            Self::Inner(mut below) => {
                below.set_prefix(&[above, below.prefix()].concat());
                Self::Inner(below)
            }
        };
    }

    /// The value of a slot that is known to hold a leaf.
    fn leaf_value(&mut self) -> &mut V {
        match self {
            Self::Leaf(leaf) => &mut leaf.value,
            Self::Empty | Self::Inner(_) => unreachable!("a leaf was put here just before"),
        }
    }
}

impl<V> Inner<V> {
    pub(super) fn prefix(&self) -> &[u8] {
        &self.bytes.as_slice()[..self.prefix_len as usize]
    }

    /// The bytes that lead to the children behind the end, in order.
    pub(super) fn keys(&self) -> &[u8] {
        &self.bytes.as_slice()[self.prefix_len as usize..]
    }

    /// The leaf of the subject that ends behind the prefix.
    pub(super) fn end(&self) -> Option<&Child<V>> {
        self.children.first().filter(|_| self.has_end)
    }

    /// The children with their bytes; the end has none.
    pub(super) fn child(&self, index: usize) -> Option<(Option<u8>, &Child<V>)> {
        let key = index
            .checked_sub(usize::from(self.has_end))
            .and_then(|at| self.keys().get(at).copied());
        Some((key, self.children.get(index)?))
    }

    /// The index of the child behind `key`.
    pub(super) fn find(&self, key: u8) -> Option<usize> {
        self.keys()
            .iter()
            .position(|&have| have == key)
            .map(|at| at + usize::from(self.has_end))
    }

    /// To which child the subject with `rest` left goes on, and how many bytes that uses up.
    pub(super) fn route(&self, rest: &[u8]) -> Option<(usize, usize)> {
        let below = rest.strip_prefix(self.prefix())?;
        match below.first() {
            None => self.has_end.then_some((0, rest.len())),
            Some(&key) => Some((self.find(key)?, self.prefix().len() + 1)),
        }
    }

    fn set_prefix(&mut self, prefix: &[u8]) {
        self.bytes = ShortBytes::concat(&[prefix, self.keys()]);
        self.prefix_len = prefix.len() as u32;
    }

    /// Adds a leaf for what is left behind the prefix. Returns its index.
    fn add(&mut self, rest: &[u8], value: V) -> usize {
        if self.children.len() == self.children.capacity() {
            self.children.reserve_exact(1 + self.children.len() / 8);
        }
        let index = match rest.first() {
            None => {
                self.has_end = true;
                0
            }
            Some(&key) => {
                let at = self.keys().partition_point(|&have| have < key);
                self.bytes.insert(self.prefix_len as usize + at, key);
                at + usize::from(self.has_end)
            }
        };
        self.children
            .insert(index, Child::leaf(rest.get(1..).unwrap_or_default(), value));
        index
    }

    /// Takes out the child at `index`.
    fn take(&mut self, index: usize) -> Child<V> {
        if index == 0 && self.has_end {
            self.has_end = false;
        } else {
            self.bytes
                .remove(self.prefix_len as usize + index - usize::from(self.has_end));
        }
        let child = self.children.remove(index);
        if self.children.capacity() > 4 && self.children.len() * 2 < self.children.capacity() {
            self.children.shrink_to(self.children.len() + self.children.len() / 8);
        }
        child
    }
}

/// Removes the subject with `rest` left below the slot `at`.
pub(super) fn remove<V>(mut at: &mut Child<V>, mut rest: &[u8]) -> Option<V> {
    let is_it = |child: &Child<V>, rest: &[u8]| matches!(child, Child::Leaf(leaf) if leaf.suffix.as_slice() == rest);
    if is_it(at, rest) {
        let Child::Leaf(leaf) = std::mem::take(at) else {
            return None;
        };
        return Some(leaf.value);
    }
    loop {
        let Child::Inner(inner) = &mut *at else {
            return None;
        };
        let (index, used) = inner.route(rest)?;
        rest = &rest[used..];
        if is_it(&inner.children[index], rest) {
            let Child::Leaf(leaf) = inner.take(index) else {
                return None;
            };
            at.join();
            return Some(leaf.value);
        }
        let Child::Inner(inner) = at else { return None };
        at = &mut inner.children[index];
    }
}

#[cfg(test)]
mod tests;
