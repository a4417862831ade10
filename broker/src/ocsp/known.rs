//! What was said of certificates of clients, remembered: no more than [`OCSP_KNOWN_MAX`] of them, in memory.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::answer::{Answer, Status};
use crate::conf::options::OcspPeer;
use crate::limits::OCSP_KNOWN_MAX;

/// What was said of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub status: Status,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
}

impl Said {
    pub fn of(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            this_update: answer.this_update,
            next_update: answer.next_update,
        }
    }

    /// Whether it counts, by these rules.
    pub fn counts_at(&self, now: Timestamp, rules: &OcspPeer) -> bool {
        let length = |time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let skew = length(rules.skew);
        let until = self
            .next_update
            .or_else(|| self.this_update.saturating_add(length(rules.unsaid)).ok());
        let is_over = until.is_some_and(|until| now.duration_since(until) > skew);
        !is_over && self.this_update.duration_since(now) <= skew
    }
}

/// How often it was of use, and what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub good: usize,
    pub revoked: usize,
    pub unknown: usize,
}

/// By the digest of the certificate.
#[derive(Default)]
pub(super) struct Known {
    said: HashMap<String, Said>,
    /// In the order in which they came.
    order: VecDeque<String>,
    counts: Counts,
}

impl Known {
    /// What was said last, whether it counts or not: that one was revoked is not forgotten because nobody can be asked.
    pub fn get(&self, digest: &str) -> Option<Said> {
        self.said.get(digest).copied()
    }

    pub fn count(&mut self, hit: bool) {
        match hit {
            true => self.counts.hits += 1,
            false => self.counts.misses += 1,
        }
    }

    pub fn put(&mut self, digest: &str, said: Said) {
        match self.said.insert(digest.to_owned(), said) {
            Some(before) => *self.counted(before.status) -= 1,
            None => self.order.push_back(digest.to_owned()),
        }
        *self.counted(said.status) += 1;
        while self.order.len() > OCSP_KNOWN_MAX {
            let first = self.order.pop_front().and_then(|first| self.said.remove(&first));
            if let Some(first) = first {
                *self.counted(first.status) -= 1;
            }
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn counted(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Good => &mut self.counts.good,
            Status::Revoked => &mut self.counts.revoked,
            Status::Unknown => &mut self.counts.unknown,
        }
    }
}
