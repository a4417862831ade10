//! Requests that a client was sent and may answer, although it may not publish there otherwise (`allow_responses`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Rules;
use crate::limits::{REPLIES_MAX, REPLIES_PRUNE};

/// The requests of one connection that are open.
pub(crate) struct Replies {
    rules: Arc<Rules>,
    /// Answers to each at most; `None` is any number.
    max: Option<u64>,
    /// How long each is open; `None` is for ever.
    expires: Option<Duration>,
    /// By reply subject.
    open: HashMap<Box<[u8]>, Open>,
    /// Requests since it was last looked for some that are over.
    since_prune: usize,
}

struct Open {
    since: Instant,
    answers: u64,
}

impl Replies {
    /// For a client with these rules; `None` if they permit no answers.
    pub fn new(rules: &Arc<Rules>) -> Option<Self> {
        let responses = rules.responses()?;
        Some(Self {
            rules: Arc::clone(rules),
            max: responses.max,
            expires: responses.expires,
            open: HashMap::new(),
            since_prune: 0,
        })
    }

    /// A message with this reply subject goes to the client, at this time.
    pub fn asked(&mut self, reply: &[u8], now: Instant) {
        if self.rules.may_publish(reply).0 {
            return;
        }
        let open = Open { since: now, answers: 0 };
        self.open.insert(reply.into(), open);
        self.since_prune += 1;
        if self.since_prune >= REPLIES_PRUNE {
            self.prune(now);
        }
    }

    /// Whether the client may publish this answer; it counts as given.
    pub fn answer(&mut self, subject: &[u8], now: Instant) -> bool {
        let Some(open) = self.open.get_mut(subject) else {
            return false;
        };
        let in_time = self
            .expires
            .is_none_or(|expires| now.duration_since(open.since) <= expires);
        let granted = in_time && self.max.is_none_or(|max| open.answers < max);
        open.answers += 1;
        let last = !granted || self.max.is_some_and(|max| open.answers >= max);
        if last {
            self.open.remove(subject);
        }
        granted
    }

    /// Forgets those that are over, and, where too many are not, the older half of them.
    fn prune(&mut self, now: Instant) {
        self.since_prune = 0;
        if let Some(expires) = self.expires {
            self.open.retain(|_, open| now.duration_since(open.since) <= expires);
        }
        if self.open.len() > REPLIES_MAX {
            let mut times: Vec<Instant> = self.open.values().map(|open| open.since).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.open.retain(|_, open| open.since > median);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.open.len()
    }
}
