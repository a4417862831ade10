//! Literal subjects to values, in order, and searched by filter.
//!
//! A radix tree over bytes with compressed paths. Its nodes adapt by being exactly as large as their children are
//! many, rather than in the four sizes of the classic adaptive radix tree: children stand sorted in one vector that
//! grows by an eighth, a leaf stands in that vector itself, and the bytes that lead to the children are searched in
//! one short string. That costs a small move on insertion and buys about half the memory per subject.

mod build;
mod bytes;
mod children;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::ops::ControlFlow;

use children::Child;

/// A map from literal subjects to values, ordered by the bytes of the subject. See the [crate] example.
///
/// Any bytes will do as a subject, also none; whether a subject is well formed is for the caller to have checked.
/// The length of a subject bounds the depth of the tree; no operation recurses.
pub struct SubjectTree<V> {
    root: Child<V>,
    len: usize,
}

impl<V> Default for SubjectTree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for SubjectTree<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let _: ControlFlow<()> = self.for_each(|subject, value| {
            map.entry(&format_args!("{}", subject.escape_ascii()), value);
            ControlFlow::Continue(())
        });
        map.finish()
    }
}

impl<V> Drop for SubjectTree<V> {
    /// Takes the tree apart with a list of its own: a derived drop recurses, as deep as the longest subject.
    fn drop(&mut self) {
        let mut pending = vec![std::mem::take(&mut self.root)];
        while let Some(child) = pending.pop() {
            if let Child::Inner(mut inner) = child {
                pending.extend(
                    inner
                        .children
                        .drain(..)
                        .filter(|child| matches!(child, Child::Inner(_))),
                );
            }
        }
    }
}

impl<V> SubjectTree<V> {
    /// An empty tree, which has allocated nothing.
    pub fn new() -> Self {
        Self {
            root: Child::Empty,
            len: 0,
        }
    }

    /// A tree of subjects that come in the order of their bytes, made several times as fast as by adding them one by one. Of a
    /// subject that is not above the one before it nothing is taken.
    pub fn of_sorted<'a>(subjects: impl IntoIterator<Item = (&'a [u8], V)>) -> Self {
        let mut builder = build::Builder::new();
        let mut len = 0;
        for (subject, value) in subjects {
            len += usize::from(builder.add(subject, value));
        }
        Self {
            root: builder.finish(),
            len,
        }
    }

    /// How many subjects there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no subjects.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The value of `subject`.
    pub fn get(&self, subject: &[u8]) -> Option<&V> {
        let (mut at, mut rest) = (&self.root, subject);
        loop {
            match at {
                Child::Empty => return None,
                Child::Leaf(leaf) => {
                    return (leaf.suffix.as_slice() == rest).then_some(&leaf.value);
                }
                Child::Inner(inner) => {
                    let (index, used) = inner.route(rest)?;
                    (at, rest) = (inner.children.get(index)?, rest.get(used..)?);
                }
            }
        }
    }

    /// The value of `subject`, to be changed.
    pub fn get_mut(&mut self, subject: &[u8]) -> Option<&mut V> {
        match descend(&mut self.root, subject) {
            (Child::Leaf(leaf), rest) if leaf.suffix.as_slice() == rest => Some(&mut leaf.value),
            _ => None,
        }
    }

    /// True if `subject` has a value.
    pub fn contains(&self, subject: &[u8]) -> bool {
        self.get(subject).is_some()
    }

    /// Sets the value of `subject`, and returns the one it had.
    pub fn insert(&mut self, subject: &[u8], value: V) -> Option<V> {
        match descend(&mut self.root, subject) {
            (Child::Leaf(leaf), rest) if leaf.suffix.as_slice() == rest => {
                Some(std::mem::replace(&mut leaf.value, value))
            }
            (slot, rest) => {
                slot.attach(rest, value);
                self.len += 1;
                None
            }
        }
    }

    /// The value of `subject`, which is set to what `make` returns if it has none.
    pub fn get_or_insert_with(&mut self, subject: &[u8], make: impl FnOnce() -> V) -> &mut V {
        let (slot, rest) = descend(&mut self.root, subject);
        let present = matches!(slot, Child::Leaf(leaf) if leaf.suffix.as_slice() == rest);
        if present && let Child::Leaf(leaf) = slot {
            return &mut leaf.value;
        }
        self.len += 1;
        slot.attach(rest, make())
    }

    /// Removes `subject`, and returns its value.
    pub fn remove(&mut self, subject: &[u8]) -> Option<V> {
        let value = children::remove(&mut self.root, subject)?;
        self.len -= 1;
        Some(value)
    }

    /// Calls `visit` with every subject and its value, in order, until it breaks.
    pub fn for_each<B>(&self, visit: impl FnMut(&[u8], &V) -> ControlFlow<B>) -> ControlFlow<B> {
        walk::all(&self.root, visit)
    }

    /// Calls `visit` with every subject that `filter` matches and its value, in order, until it breaks.
    ///
    /// Goes down only where the filter can still match: along its literal tokens there is one way, and a `*` opens
    /// only what lies before the next dot. `filter` is to be well formed; for others the answer means nothing.
    pub fn for_each_match<B>(&self, filter: &[u8], visit: impl FnMut(&[u8], &V) -> ControlFlow<B>) -> ControlFlow<B> {
        walk::matching(&self.root, filter, b"", visit)
    }

    /// The same for the subjects behind `after` in order; what lies before it is passed over, not walked through.
    pub fn for_each_match_after<B>(
        &self,
        filter: &[u8],
        after: &[u8],
        visit: impl FnMut(&[u8], &V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        walk::matching(&self.root, filter, after, visit)
    }

    /// Every subject and its value, in order. Copies each subject; [`for_each`](Self::for_each) does not.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, &V)> {
        walk::Iter::new(&self.root)
    }
}

/// Follows `subject` as far as inner nodes lead. What is returned is the leaf of the subject, or where it belongs;
/// and what is left of the subject there.
fn descend<'tree, 'subject, V>(
    mut at: &'tree mut Child<V>,
    mut rest: &'subject [u8],
) -> (&'tree mut Child<V>, &'subject [u8]) {
    loop {
        let Child::Inner(inner) = &*at else {
            return (at, rest);
        };
        let Some((index, used)) = inner.route(rest) else {
            return (at, rest);
        };
        let Child::Inner(inner) = at else {
            return (at, rest);
        };
        at = &mut inner.children[index];
        rest = &rest[used..];
    }
}
