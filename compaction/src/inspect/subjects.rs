//! Counting messages by subject in 16 bytes a subject, however long the subjects are.
//!
//! Only hashes are kept; the names of the few that are listed are found by reading the heads once more. With 64 bits,
//! two of fifty million subjects are taken for one with a likelihood below one in ten thousand.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::report::SubjectReport;

/// Makes the same hashes in every run, so that the same store gives the same report.
type Fixed = BuildHasherDefault<DefaultHasher>;

fn hash(subject: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

/// Messages by the hash of their subject.
#[derive(Default)]
pub(super) struct Subjects {
    counts: HashMap<u64, u64, Fixed>,
}

impl Subjects {
    /// One more message.
    pub fn add(&mut self, subject: &[u8]) {
        *self.counts.entry(hash(subject)).or_default() += 1;
    }

    /// Distinct subjects.
    pub fn len(&self) -> u64 {
        self.counts.len() as u64
    }

    /// The `top` subjects with the most messages, still without names.
    pub fn naming(&self, top: usize) -> Naming {
        let mut all: Vec<(u64, u64)> = self.counts.iter().map(|(h, count)| (*h, *count)).collect();
        let order = |(hash, count): &(u64, u64)| (Reverse(*count), *hash);
        if top < all.len() {
            all.select_nth_unstable_by_key(top, order);
            all.truncate(top);
        }
        Naming {
            counts: all.into_iter().collect(),
            named: Vec::new(),
        }
    }
}

/// Finds the names of some subjects.
pub(super) struct Naming {
    counts: HashMap<u64, u64, Fixed>,
    named: Vec<SubjectReport>,
}

impl Naming {
    /// Looks whether this is one of them.
    pub fn see(&mut self, subject: &[u8]) {
        if self.counts.is_empty() {
            return;
        }
        if let Some(messages) = self.counts.remove(&hash(subject)) {
            self.named.push(SubjectReport {
                subject: String::from_utf8_lossy(subject).into_owned(),
                messages,
            });
        }
    }

    /// Those that were found, the ones with the most messages first.
    pub fn finish(mut self) -> Vec<SubjectReport> {
        self.named
            .sort_by(|a, b| (b.messages, &a.subject).cmp(&(a.messages, &b.subject)));
        self.named
    }
}

#[cfg(test)]
mod tests;
