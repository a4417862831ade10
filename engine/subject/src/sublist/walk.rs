//! Finding what matches in a [`Sublist`]: along one subject, or all that a filter has in common with others.

use smallvec::SmallVec;

use super::edges::token_hash;
use super::{NIL, ROOT, Sublist, TOKENS_ON_STACK};
use crate::name::{REST, STAR, tokens};

/// A token of the subject asked for, hashed once however many branches look for it.
struct Asked<'a> {
    token: &'a [u8],
    hash: u64,
}

impl<T> Sublist<T> {
    /// Splits and hashes `subject`; `None` if a token is empty.
    fn ask<'a>(&self, subject: &'a [u8]) -> Option<SmallVec<[Asked<'a>; TOKENS_ON_STACK]>> {
        let mut asked = SmallVec::new();
        for token in tokens(subject) {
            if token.is_empty() {
                return None;
            }
            asked.push(Asked {
                token,
                hash: token_hash(&self.hasher, token),
            });
        }
        Some(asked)
    }

    /// Calls `found` with each chain of values that matches, until it says no. Returns how many tokens from the first on
    /// were looked for: whatever the others are, as long as there are as many, the outcome is the same.
    #[inline]
    pub(super) fn walk(&self, literal: &[u8], mut found: impl FnMut(u32) -> bool) -> usize {
        let mut decided = 0;
        if self.len == 0 {
            return decided;
        }
        let Some(asked) = self.ask(literal) else {
            return decided;
        };
        let mut later: SmallVec<[(u32, usize); TOKENS_ON_STACK]> = SmallVec::new();
        later.push((ROOT, 0));
        while let Some((mut at, mut depth)) = later.pop() {
            while at != NIL {
                let node = &self.nodes[at as usize];
                let Some(next) = asked.get(depth) else {
                    if node.head != NIL && !found(node.head) {
                        return decided;
                    }
                    break;
                };
                if node.rest != NIL && !found(self.nodes[node.rest as usize].head) {
                    return decided;
                }
                depth += 1;
                let child = if node.first_child == NIL {
                    NIL
                } else {
                    decided = decided.max(depth);
                    self.child(at, next.token, next.hash)
                };
                if node.star != NIL && child != NIL {
                    later.push((node.star, depth));
                }
                at = if child == NIL { node.star } else { child };
            }
        }
        decided
    }

    /// As `walk`, for the filters that include `filter`, which may have wildcards itself.
    pub(super) fn walk_covering(&self, filter: &[u8], mut found: impl FnMut(u32) -> bool) -> bool {
        let Some(asked) = self.ask(filter) else {
            return true;
        };
        let mut later: SmallVec<[(u32, usize); TOKENS_ON_STACK]> = SmallVec::new();
        later.push((ROOT, 0));
        while let Some((at, depth)) = later.pop() {
            let node = &self.nodes[at as usize];
            let Some(next) = asked.get(depth) else {
                if node.head != NIL && !found(node.head) {
                    return false;
                }
                continue;
            };
            if node.rest != NIL && !found(self.nodes[node.rest as usize].head) {
                return false;
            }
            if next.token == [REST] && depth + 1 == asked.len() {
                // Only another of its kind includes it.
                continue;
            }
            if node.star != NIL {
                later.push((node.star, depth + 1));
            }
            if next.token != [STAR] {
                match self.child(at, next.token, next.hash) {
                    NIL => {}
                    child => later.push((child, depth + 1)),
                }
            }
        }
        true
    }

    /// As `walk`, for a filter that may have wildcards itself.
    /// Says no as well when `steps` are used up.
    pub(super) fn walk_overlapping(&self, filter: &[u8], steps: &mut u64, mut found: impl FnMut(u32) -> bool) -> bool {
        let Some(asked) = self.ask(filter) else {
            return true;
        };
        // Below a `>` of the question everything counts; that is marked by a depth of its own.
        const ALL: usize = usize::MAX;
        let mut later: SmallVec<[(u32, usize); TOKENS_ON_STACK]> = SmallVec::new();
        later.push((ROOT, 0));
        while let Some((at, depth)) = later.pop() {
            let Some(left) = steps.checked_sub(1) else {
                return false;
            };
            *steps = left;
            let node = &self.nodes[at as usize];
            if (depth == asked.len() || depth == ALL) && node.head != NIL && !found(node.head) {
                return false;
            }
            let (every, below) = match asked.get(depth).map(|next| next.token) {
                None if depth == ALL => (true, ALL),
                None => continue,
                Some([REST]) if depth + 1 == asked.len() => (true, ALL),
                Some(token) => (token == [STAR], depth + 1),
            };
            if node.rest != NIL && !found(self.nodes[node.rest as usize].head) {
                return false;
            }
            if node.star != NIL {
                later.push((node.star, below));
            }
            if every {
                let mut child = node.first_child;
                while child != NIL {
                    later.push((child, below));
                    child = self.nodes[child as usize].next_sibling;
                }
            } else if let Some(next) = asked.get(depth) {
                match self.child(at, next.token, next.hash) {
                    NIL => {}
                    child => later.push((child, below)),
                }
            }
        }
        true
    }

    /// Calls `out` with the values of the chain that begins at `head`.
    pub(super) fn chain(&self, head: u32, out: &mut impl FnMut(&T)) {
        let mut at = head;
        while at != NIL {
            let entry = &self.entries[at as usize];
            if let Some(value) = &entry.value {
                out(value);
            }
            at = entry.next;
        }
    }
}
