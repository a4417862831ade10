//! Subject entries that were read or written lately, within a number of bytes.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::FixedState;

use crate::index::SubjectInfo;

/// What an entry takes beside its key: the entry itself, the hash table's share, and the key's reference count.
const OVERHEAD: usize = 2 * size_of::<(Bytes, SubjectInfo)>() + 32;

/// A cache of two generations: what is used is kept in the young one; when that has half of the bytes, it becomes
/// the old one, and what the old one still had is forgotten. About as good as dropping the least recently used, with
/// no list to maintain.
#[derive(Debug)]
pub(super) struct Cache {
    young: HashMap<Bytes, SubjectInfo, FixedState>,
    old: HashMap<Bytes, SubjectInfo, FixedState>,
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
        if self.bytes > self.limit {
            self.old = std::mem::take(&mut self.young);
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
        *self = Self::new(self.limit * 2);
    }

    /// Bytes in use, about.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.bytes + self.old_bytes
    }
}

#[cfg(test)]
mod tests;
