//! Subject entries that were read or written lately, within a number of bytes.

use std::collections::{HashMap, hash_map};

use bytes::Bytes;
use foldhash::fast::FixedState;

use crate::index::SubjectInfo;

/// What an entry takes beside its key: the entry itself, the hash table's share, and the key's reference count.
const OVERHEAD: usize = 2 * size_of::<(Bytes, SubjectInfo)>() + 32;

/// Forgotten entries that are let go of with each that comes in: they are gone before there are more of them.
const LET_GO: usize = 4;

/// A cache of two generations: what is used is kept in the young one; when that has half of the bytes, it becomes
/// the old one, and what the old one still had is forgotten. About as good as dropping the least recently used, with
/// no list to maintain.
#[derive(Debug)]
pub(super) struct Cache {
    young: HashMap<Bytes, SubjectInfo, FixedState>,
    old: HashMap<Bytes, SubjectInfo, FixedState>,
    /// What is forgotten, and let go of some at a time: to free a hundred thousand keys takes milliseconds.
    forgotten: Vec<hash_map::IntoIter<Bytes, SubjectInfo>>,
    /// Bytes of the young generation, and how many it may have.
    bytes: usize,
    limit: usize,
    old_bytes: usize,
}

impl Cache {
    /// An empty cache of about so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            forgotten: Vec::new(),
            bytes: 0,
            limit: bytes / 2,
            old_bytes: 0,
        }
    }

    pub fn get(&mut self, key: &[u8]) -> Option<SubjectInfo> {
        if let Some(&info) = self.young.get(key) {
            return Some(info);
        }
        let (key, info) = self.old.remove_entry(key)?;
        self.old_bytes = self.old_bytes.saturating_sub(key.len() + OVERHEAD);
        self.put(key, info);
        Some(info)
    }

    pub fn put(&mut self, key: Bytes, info: SubjectInfo) {
        let cost = key.len() + OVERHEAD;
        if self.young.insert(key, info).is_none() {
            self.bytes += cost;
        }
        self.let_go(LET_GO);
        if self.bytes > self.limit {
            let young = std::mem::take(&mut self.young);
            self.forget(|cache| std::mem::replace(&mut cache.old, young));
            self.old_bytes = std::mem::take(&mut self.bytes);
        }
    }

    pub fn remove(&mut self, key: &[u8]) {
        if let Some((key, _)) = self.young.remove_entry(key) {
            self.bytes = self.bytes.saturating_sub(key.len() + OVERHEAD);
        }
        if let Some((key, _)) = self.old.remove_entry(key) {
            self.old_bytes = self.old_bytes.saturating_sub(key.len() + OVERHEAD);
        }
    }

    pub fn clear(&mut self) {
        self.forget(|cache| std::mem::take(&mut cache.young));
        self.forget(|cache| std::mem::take(&mut cache.old));
        (self.bytes, self.old_bytes) = (0, 0);
    }

    fn forget(&mut self, take: impl FnOnce(&mut Self) -> HashMap<Bytes, SubjectInfo, FixedState>) {
        let entries = take(self);
        if !entries.is_empty() {
            self.forgotten.push(entries.into_iter());
        }
    }

    /// Lets go of some of what is forgotten.
    pub fn let_go(&mut self, most: usize) {
        if let Some(entries) = self.forgotten.last_mut() {
            entries.by_ref().take(most).for_each(drop);
            if entries.len() == 0 {
                self.forgotten.pop();
            }
        }
    }

    /// Entries that are forgotten, and still to be let go of.
    #[cfg(test)]
    pub fn forgotten(&self) -> usize {
        self.forgotten.iter().map(ExactSizeIterator::len).sum()
    }

    /// Bytes in use, about.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.bytes + self.old_bytes
    }
}

#[cfg(test)]
mod tests;
