//! Waking whoever waits for somebody to listen on a subject.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Who waits: a stream's number and a consumer's name, or whatever else is one of a kind.
pub type WatchKey = (u64, Box<str>);

/// What is called. It runs on the thread that subscribes or unsubscribes, so it must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

type Watch = (WatchKey, Wake);

/// Subjects and who waits for interest in them.
#[derive(Default)]
pub(super) struct Watches {
    /// So that the usual case, no watch at all, costs no lock.
    count: AtomicUsize,
    by_subject: Mutex<HashMap<Box<[u8]>, Vec<Watch>>>,
}

impl Watches {
    /// Adds a watch, in place of an older one with the same subject and key.
    pub fn add(&self, subject: &[u8], key: WatchKey, wake: Wake) {
        let mut by_subject = self.by_subject.lock();
        let list = by_subject.entry(subject.into()).or_default();
        match list.iter_mut().find(|(found, _)| *found == key) {
            Some(old) => old.1 = wake,
            None => {
                list.push((key, wake));
                self.count.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Takes a watch out, if it is there.
    pub fn remove(&self, subject: &[u8], key: &WatchKey) {
        let mut by_subject = self.by_subject.lock();
        let Some(list) = by_subject.get_mut(subject) else {
            return;
        };
        let before = list.len();
        list.retain(|(found, _)| found != key);
        self.count.fetch_sub(before - list.len(), Ordering::Release);
        if list.is_empty() {
            by_subject.remove(subject);
        }
    }

    /// A subscription to `filter` has come or gone.
    pub fn changed(&self, filter: &[u8]) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        // Called without the lock: what they do is not ours to know.
        for wake in self.concerned(filter) {
            wake();
        }
    }

    fn concerned(&self, filter: &[u8]) -> Vec<Wake> {
        let by_subject = self.by_subject.lock();
        let wakes = |list: &Vec<Watch>| list.iter().map(|(_, wake)| Arc::clone(wake)).collect::<Vec<_>>();
        if !weir_subject::has_wildcard(filter) {
            return by_subject.get(filter).map(wakes).unwrap_or_default();
        }
        let matching = by_subject
            .iter()
            .filter(|(subject, _)| weir_subject::matches(filter, subject));
        matching.flat_map(|(_, list)| wakes(list)).collect()
    }
}

#[cfg(test)]
mod tests;
