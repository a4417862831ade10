//! A tree made at once of subjects that are in order: each node is made when all below it is known, and just as large as it must be.

use super::bytes::ShortBytes;
use super::children::{Child, Inner, Leaf};

/// A node that may get more children.
struct Open<V> {
    /// Bytes that all subjects below have in common.
    depth: usize,
    keys: Vec<u8>,
    has_end: bool,
    children: Vec<Child<V>>,
}

impl<V> Open<V> {
    /// The node, as what stands in a slot `from` bytes down the subjects below it, of which `below` is one.
    fn close(mut self, below: &[u8], from: usize, unused: &mut Vec<(Vec<u8>, Vec<Child<V>>)>) -> Child<V> {
        let prefix = &below[from..self.depth];
        let inner = Inner {
            bytes: ShortBytes::concat(&[prefix, &self.keys]),
            prefix_len: prefix.len() as u32,
            has_end: self.has_end,
            // As many as there are.
            children: self.children.drain(..).collect(),
        };
        self.keys.clear();
        unused.push((self.keys, self.children));
        Child::Inner(Box::new(inner))
    }

    fn add_leaf(&mut self, subject: &[u8], value: V) {
        match subject.get(self.depth) {
            Some(&key) => self.keys.push(key),
            None => self.has_end = true,
        }
        let rest = subject.get(self.depth + 1..).unwrap_or_default();
        self.children.push(Child::Leaf(Leaf {
            suffix: ShortBytes::new(rest),
            value,
        }));
    }
}

/// Nodes on the way to the latest subject, from the root on.
pub(super) struct Builder<'a, V> {
    open: Vec<Open<V>>,
    /// The latest subject, which no node has yet.
    latest: Option<(&'a [u8], V)>,
    /// Room of nodes that are closed.
    unused: Vec<(Vec<u8>, Vec<Child<V>>)>,
}

impl<'a, V> Builder<'a, V> {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            latest: None,
            unused: Vec::new(),
        }
    }

    /// Adds a subject above all before; answers whether it is above them, and does nothing if it is not.
    pub(super) fn add(&mut self, subject: &'a [u8], value: V) -> bool {
        if let Some((before, _)) = &self.latest {
            if *before >= subject {
                return false;
            }
            let common = before.iter().zip(subject).take_while(|(a, b)| a == b).count();
            self.part_at(common);
        }
        self.latest = Some((subject, value));
        true
    }

    /// The next subject has only the first `common` bytes in common with the latest one.
    fn part_at(&mut self, common: usize) {
        let Some((subject, value)) = self.latest.take() else {
            return;
        };
        if self.open.last().is_none_or(|top| top.depth < common) {
            self.push(common);
        }
        if let Some(top) = self.open.last_mut() {
            top.add_leaf(subject, value);
        }
        while let Some(top) = self.open.pop_if(|top| top.depth > common) {
            if self.open.last().is_none_or(|below| below.depth < common) {
                self.push(common);
            }
            if let Some(above) = self.open.last_mut() {
                above.keys.push(subject[above.depth]);
                let child = top.close(subject, above.depth + 1, &mut self.unused);
                above.children.push(child);
            }
        }
    }

    fn push(&mut self, depth: usize) {
        let (keys, children) = self.unused.pop().unwrap_or_default();
        self.open.push(Open {
            depth,
            keys,
            has_end: false,
            children,
        });
    }

    /// The root of it all.
    pub(super) fn finish(mut self) -> Child<V> {
        let Some((subject, value)) = self.latest.take() else {
            return Child::Empty;
        };
        let Some(mut top) = self.open.pop() else {
            return Child::Leaf(Leaf {
                suffix: ShortBytes::new(subject),
                value,
            });
        };
        top.add_leaf(subject, value);
        while let Some(mut above) = self.open.pop() {
            above.keys.push(subject[above.depth]);
            let child = top.close(subject, above.depth + 1, &mut self.unused);
            above.children.push(child);
            top = above;
        }
        top.close(subject, 0, &mut self.unused)
    }
}
