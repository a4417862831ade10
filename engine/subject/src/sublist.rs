//! The interest graph: filters to values, asked with every message who wants it.
//!
//! A trie of tokens, laid out flat. All nodes live in one vector, 64 bytes each; one hash table for the whole trie
//! leads from (parent, token) to the child, so a level with two tokens costs as little as it should and one with
//! 100,000 is still one probe. `*` and `>` children hang on their parent directly. Values live in a second vector
//! and are chained per node, which makes removal by key O(depth) whatever the fan-out.

mod edges;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::name::{REST, SEPARATOR, STAR, has_whole_tokens, is_valid_subject, tokens};
use edges::{Edges, edge_hash, token_hash};

/// No node, no entry.
const NIL: u32 = u32::MAX;
const ROOT: u32 = 0;

/// Tokens of a subject that are looked at without allocating; deeper subjects cost one allocation.
const TOKENS_ON_STACK: usize = 16;

/// Filters and what belongs to them. See the [crate] example.
///
/// One filter may have any number of values. Reading takes `&self` and has no interior mutability: share it as any
/// other data. A caller that keeps results of [`matches`](Self::matches) drops them when
/// [`generation`](Self::generation) has moved.
pub struct Sublist<T> {
    nodes: Vec<Node>,
    free_node: u32,
    entries: Vec<Entry<T>>,
    free_entry: u32,
    edges: Edges,
    hasher: FixedState,
    len: usize,
    generation: u64,
}

/// Names one inserted value until it is removed. A key that was used up is refused (for 2^32 changes at least).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubKey {
    entry: u32,
    stamp: u32,
}

/// Why a filter was not inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SublistError {
    /// The filter is not a well-formed subject.
    InvalidFilter,
    /// There are as many tokens or values as 32 bits can number.
    Full,
}

impl fmt::Display for SublistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidFilter => "the filter is not a valid subject",
            Self::Full => "the subscription list is full",
        })
    }
}

impl std::error::Error for SublistError {}

/// One token of some filters. The numbers are places in `nodes`, `head` is one in `entries`.
struct Node {
    /// 22 bytes inline fill the room that the type has anyway. `*` and `>` are always wildcards here.
    token: SmallVec<[u8; 22]>,
    /// The next free node, when this one is free.
    parent: u32,
    /// Children with literal tokens, as a doubly linked list; asked by token they are found through `edges`.
    first_child: u32,
    next_sibling: u32,
    prev_sibling: u32,
    star: u32,
    rest: u32,
    /// Values of the filter that ends here, oldest first.
    head: u32,
}

/// One value; `None` when free, with `next` the next free one.
struct Entry<T> {
    value: Option<T>,
    node: u32,
    next: u32,
    /// The one before; the head's is the tail, so that appending needs no search.
    prev: u32,
    stamp: u32,
}

impl<T> Default for Sublist<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Sublist<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sublist")
            .field("len", &self.len)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl<T> Sublist<T> {
    /// An empty list, with a fixed hash seed.
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// An empty list that hashes with `seed`. A server that strangers subscribe to picks it at random, so that none
    /// can prepare tokens that collide. Results do not depend on it.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            nodes: vec![Node::new(NIL, &[])],
            free_node: NIL,
            entries: Vec::new(),
            free_entry: NIL,
            edges: Edges::default(),
            hasher: FixedState::with_seed(seed),
            len: 0,
            generation: 0,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Grows with every insertion and removal, and never otherwise.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Moves the generation though nothing was added or removed: what the values mean has changed.
    pub fn touch(&mut self) {
        self.generation += 1;
    }

    /// Adds `value` under `filter`, behind the values it has already.
    ///
    /// # Errors
    /// The list is unchanged if the filter is malformed, or the list full.
    pub fn insert(&mut self, filter: &[u8], value: T) -> Result<SubKey, SublistError> {
        match is_valid_subject(filter) {
            true => self.insert_as_sent(filter, value),
            false => Err(SublistError::InvalidFilter),
        }
    }

    /// The same of a filter that may have white space in its tokens: what a client can subscribe to, if not ask a stream for.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_as_sent(&mut self, filter: &[u8], value: T) -> Result<SubKey, SublistError> {
        if !has_whole_tokens(filter) {
            return Err(SublistError::InvalidFilter);
        }
        // One bound for all the tokens of this filter, checked first, so that nothing is left half done.
        let room = (NIL as usize).saturating_sub(self.nodes.len());
        if room <= crate::token_count(filter) || self.entries.len() >= NIL as usize {
            return Err(SublistError::Full);
        }
        let mut node = ROOT;
        for token in tokens(filter) {
            node = match token {
                [STAR] => match self.nodes[node as usize].star {
                    NIL => self.add_node(node, token),
                    star => star,
                },
                [REST] => match self.nodes[node as usize].rest {
                    NIL => self.add_node(node, token),
                    rest => rest,
                },
                _ => match self.child(node, token, token_hash(&self.hasher, token)) {
                    NIL => self.add_node(node, token),
                    child => child,
                },
            };
        }
        self.generation += 1;
        self.len += 1;
        Ok(self.add_entry(node, value))
    }

    /// Takes out the value that `key` names; `None` if it is gone already.
    pub fn remove(&mut self, key: SubKey) -> Option<T> {
        self.checked(key)?;
        let value = self.take_entry(key.entry);
        self.generation += 1;
        self.len -= 1;
        value
    }

    /// Takes out the oldest value under exactly this `filter` that `wanted` says yes to.
    pub fn remove_where(&mut self, filter: &[u8], mut wanted: impl FnMut(&T) -> bool) -> Option<T> {
        let mut node = ROOT;
        for token in tokens(filter) {
            node = match token {
                [STAR] => self.nodes[node as usize].star,
                [REST] => self.nodes[node as usize].rest,
                _ => self.child(node, token, token_hash(&self.hasher, token)),
            };
            if node == NIL {
                return None;
            }
        }
        let mut at = self.nodes[node as usize].head;
        while at != NIL {
            let entry = &self.entries[at as usize];
            if entry.value.as_ref().is_some_and(&mut wanted) {
                return self.remove(SubKey {
                    entry: at,
                    stamp: entry.stamp,
                });
            }
            at = entry.next;
        }
        None
    }

    /// The value that `key` names.
    pub fn get(&self, key: SubKey) -> Option<&T> {
        self.checked(key)?.value.as_ref()
    }

    /// The value that `key` names, to be changed. Does not move the generation.
    pub fn get_mut(&mut self, key: SubKey) -> Option<&mut T> {
        self.checked(key)?;
        self.entries[key.entry as usize].value.as_mut()
    }

    /// The filter under which `key` was inserted.
    pub fn filter_of(&self, key: SubKey) -> Option<Vec<u8>> {
        let mut at = self.checked(key)?.node;
        let mut path: SmallVec<[u32; TOKENS_ON_STACK]> = SmallVec::new();
        while at != ROOT {
            path.push(at);
            at = self.nodes[at as usize].parent;
        }
        let mut filter = Vec::new();
        for &node in path.iter().rev() {
            if !filter.is_empty() {
                filter.push(SEPARATOR);
            }
            filter.extend_from_slice(&self.nodes[node as usize].token);
        }
        Some(filter)
    }

    /// Calls `out` with every value whose filter matches the subject `literal`, in no particular order except that
    /// values of the same filter come oldest first.
    ///
    /// A subject with an empty token (`a..b`) matches nothing, not even `>`. Wildcards in it are ordinary tokens.
    /// Does not allocate for subjects of up to 16 tokens.
    ///
    /// Returns how many of its tokens, from the first on, decided that: a subject of as many tokens, none empty, that begins
    /// with these matches the same, until the [`generation`](Self::generation) moves.
    pub fn matches(&self, literal: &[u8], out: &mut impl FnMut(&T)) -> usize {
        self.walk(literal, |head| {
            self.chain(head, out);
            true
        })
    }

    /// True if any filter matches the subject `literal`.
    pub fn has_interest(&self, literal: &[u8]) -> bool {
        let mut any = false;
        self.walk(literal, |_| {
            any = true;
            false
        });
        any
    }

    /// Calls `out` with every value whose filter has a subject in common with `filter`, which may have wildcards.
    pub fn overlapping(&self, filter: &[u8], out: &mut impl FnMut(&T)) {
        self.overlapping_within(filter, &mut { u64::MAX }, out);
    }

    /// As [`overlapping`](Self::overlapping), looking at `steps` tokens at most, which are counted down; answers whether
    /// that sufficed. A filter that begins with wildcards may have to look at all others.
    pub fn overlapping_within(&self, filter: &[u8], steps: &mut u64, out: &mut impl FnMut(&T)) -> bool {
        self.walk_overlapping(filter, steps, |head| {
            self.chain(head, out);
            true
        })
    }

    /// True if any filter has a subject in common with `filter`.
    pub fn has_overlap(&self, filter: &[u8]) -> bool {
        !self.walk_overlapping(filter, &mut { u64::MAX }, |_| false)
    }

    /// Calls `out` with every value whose filter matches all that `filter` matches, its own among them.
    pub fn covering(&self, filter: &[u8], out: &mut impl FnMut(&T)) {
        self.walk_covering(filter, |head| {
            self.chain(head, out);
            true
        });
    }

    /// Every value, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (SubKey, &T)> {
        self.entries.iter().zip(0u32..).filter_map(|(entry, at)| {
            let key = SubKey {
                entry: at,
                stamp: entry.stamp,
            };
            entry.value.as_ref().map(|value| (key, value))
        })
    }

    /// The child of `parent` with the literal `token`, or `NIL`.
    fn child(&self, parent: u32, token: &[u8], hash: u64) -> u32 {
        self.edges.find(edge_hash(parent, hash), |node| {
            let node = &self.nodes[node as usize];
            node.parent == parent && node.token[..] == *token
        })
    }

    fn checked(&self, key: SubKey) -> Option<&Entry<T>> {
        self.entries
            .get(key.entry as usize)
            .filter(|entry| entry.stamp == key.stamp && entry.value.is_some())
    }

    /// Adds a child that is known to be missing. The caller has made sure that it can be numbered.
    fn add_node(&mut self, parent: u32, token: &[u8]) -> u32 {
        let mut node = Node::new(parent, token);
        let literal = !matches!(token, [STAR | REST]);
        let first = self.nodes[parent as usize].first_child;
        if literal {
            node.next_sibling = first;
        }
        let at = if self.free_node == NIL {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        } else {
            let at = self.free_node;
            self.free_node = self.nodes[at as usize].parent;
            self.nodes[at as usize] = node;
            at
        };
        match token {
            [STAR] => self.nodes[parent as usize].star = at,
            [REST] => self.nodes[parent as usize].rest = at,
            _ => {
                self.nodes[parent as usize].first_child = at;
                if first != NIL {
                    self.nodes[first as usize].prev_sibling = at;
                }
                self.edges
                    .insert(edge_hash(parent, token_hash(&self.hasher, token)), at);
            }
        }
        at
    }

    /// Removes `at` and then its ancestors, as long as they hold nothing.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes[at as usize].is_bare() {
            let node = std::mem::replace(&mut self.nodes[at as usize], Node::new(self.free_node, &[]));
            self.free_node = at;
            match node.token[..] {
                [STAR] => self.nodes[node.parent as usize].star = NIL,
                [REST] => self.nodes[node.parent as usize].rest = NIL,
                _ => {
                    if node.prev_sibling == NIL {
                        self.nodes[node.parent as usize].first_child = node.next_sibling;
                    } else {
                        self.nodes[node.prev_sibling as usize].next_sibling = node.next_sibling;
                    }
                    if node.next_sibling != NIL {
                        self.nodes[node.next_sibling as usize].prev_sibling = node.prev_sibling;
                    }
                    self.edges
                        .remove(edge_hash(node.parent, token_hash(&self.hasher, &node.token)), at);
                }
            }
            at = node.parent;
        }
        if at == ROOT && self.nodes[ROOT as usize].is_bare() {
            // Nothing is left: give the memory of a busier time back.
            self.nodes = vec![Node::new(NIL, &[])];
            self.free_node = NIL;
            self.entries = Vec::new();
            self.free_entry = NIL;
            self.edges = Edges::default();
        }
    }

    fn add_entry(&mut self, node: u32, value: T) -> SubKey {
        let stamp = self.generation as u32;
        let head = self.nodes[node as usize].head;
        let mut entry = Entry {
            value: Some(value),
            node,
            next: NIL,
            prev: NIL,
            stamp,
        };
        let at = if self.free_entry == NIL {
            self.entries.len() as u32
        } else {
            self.free_entry
        };
        if head == NIL {
            entry.prev = at;
            self.nodes[node as usize].head = at;
        } else {
            let tail = std::mem::replace(&mut self.entries[head as usize].prev, at);
            entry.prev = tail;
            self.entries[tail as usize].next = at;
        }
        if self.free_entry == NIL {
            self.entries.push(entry);
        } else {
            let slot = &mut self.entries[at as usize];
            self.free_entry = slot.next;
            *slot = entry;
        }
        SubKey { entry: at, stamp }
    }

    fn take_entry(&mut self, at: u32) -> Option<T> {
        let free = std::mem::replace(&mut self.free_entry, at);
        let slot = &mut self.entries[at as usize];
        let (node, next, prev) = (slot.node, slot.next, slot.prev);
        let value = slot.value.take();
        slot.next = free;
        let head = self.nodes[node as usize].head;
        if head == at {
            self.nodes[node as usize].head = next;
            if next != NIL {
                self.entries[next as usize].prev = prev;
            }
        } else {
            self.entries[prev as usize].next = next;
            // Without a successor this was the tail, which the head knows.
            let knows = if next == NIL { head } else { next };
            self.entries[knows as usize].prev = prev;
        }
        if self.nodes[node as usize].head == NIL {
            self.prune(node);
        }
        value
    }
}

impl Node {
    fn new(parent: u32, token: &[u8]) -> Self {
        Self {
            token: SmallVec::from_slice(token),
            parent,
            first_child: NIL,
            next_sibling: NIL,
            prev_sibling: NIL,
            star: NIL,
            rest: NIL,
            head: NIL,
        }
    }

    fn is_bare(&self) -> bool {
        self.head == NIL && self.first_child == NIL && self.star == NIL && self.rest == NIL
    }
}
