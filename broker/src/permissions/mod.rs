//! What a user may publish and subscribe to, as it is looked up: filters that allow, filters that deny, and which requests may
//! be answered.
//!
//! Whoever has no rules may do everything and costs nothing. A verdict about a subject goes with the match of that subject in the
//! sender's cache (`routing`), and what a subscription must not hear is left out of the match.

mod replies;

use smallvec::SmallVec;
use weir_subject::Sublist;

pub(crate) use replies::Replies;

use crate::conf::options::{Permissions, Responses, Subjects};

/// The permissions of a user, shared by all its connections.
pub struct Rules {
    publish: Lists,
    subscribe: Lists,
    responses: Option<Responses>,
    /// As they stand in the configuration, to be told.
    told: Permissions,
}

/// Filters, each with the queue that it is about.
#[derive(Default)]
struct Lists {
    /// `None`: everything is allowed.
    allow: Option<Filters>,
    /// `None`: nothing is denied.
    deny: Option<Filters>,
}

type Filters = Sublist<Option<Box<[u8]>>>;

impl Rules {
    /// Makes them out of what the configuration says.
    #[must_use]
    pub fn new(permissions: &Permissions) -> Self {
        Self {
            publish: Lists::new(&permissions.publish),
            subscribe: Lists::new(&permissions.subscribe),
            responses: permissions.responses,
            told: permissions.clone(),
        }
    }

    /// As the configuration has them.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.told
    }

    /// Which requests may be answered beside what may be published; `None`: none.
    pub(crate) fn responses(&self) -> Option<Responses> {
        self.responses
    }

    /// Whether a message may be published to `subject`; and how many of its tokens, from the first on, decided that.
    pub(crate) fn may_publish(&self, subject: &[u8]) -> (bool, usize) {
        let mut decided = 0;
        if let Some(allow) = &self.publish.allow {
            let mut any = false;
            decided = allow.matches(subject, &mut |_| any = true);
            if !any {
                return (false, decided);
            }
        }
        let Some(deny) = &self.publish.deny else {
            return (true, decided);
        };
        let mut any = false;
        decided = deny.matches(subject, &mut |_| any = true).max(decided);
        (!any, decided)
    }

    /// Whether a client may subscribe to `filter`, in `queue` or in none: what covers it must allow it, and nothing that covers
    /// it deny it. What only a part of it is denied by is sorted out message by message: see [`denies`](Self::denies).
    pub(crate) fn may_subscribe(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        if let Some(allow) = &self.subscribe.allow {
            let found = Found::covering(allow, filter);
            // Where queues are named for this subject, they are those that may be.
            let allowed = match queue {
                Some(queue) if !found.queues.is_empty() => found.has_queue(queue),
                _ => found.plain,
            };
            if !allowed {
                return false;
            }
        }
        let Some(deny) = &self.subscribe.deny else {
            return true;
        };
        // As nats-server looks for it: as though it were a subject. That finds what covers it, and for `a.>` also `a.*`.
        let found = Found::matching(deny, filter);
        !found.plain && queue.is_none_or(|queue| !found.has_queue(queue))
    }

    /// Whether a subscription that was permitted may match what is denied.
    pub(crate) fn must_watch(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        let watched = queue.is_some() || weir_subject::has_wildcard(filter);
        watched
            && self
                .subscribe
                .deny
                .as_ref()
                .is_some_and(|deny| deny.has_overlap(filter))
    }

    /// Whether a message on `subject` must not be heard by a subscription in `queue`; and how many tokens decided that.
    pub(crate) fn denies(&self, subject: &[u8], queue: Option<&[u8]>) -> (bool, usize) {
        let Some(deny) = &self.subscribe.deny else {
            return (false, 0);
        };
        let mut denied = false;
        let decided = deny.matches(subject, &mut |of: &Option<Box<[u8]>>| {
            denied |= match (of, queue) {
                (None, _) => true,
                (Some(of), Some(queue)) => is_queue(of, queue),
                (Some(_), None) => false,
            };
        });
        (denied, decided)
    }
}

#[cfg(test)]
impl Rules {
    /// Of somebody who may publish to these, and not to those.
    pub(crate) fn publishing(allow: &[&str], deny: &[&str]) -> std::sync::Arc<Self> {
        let list = |of: &[&str]| of.iter().map(ToString::to_string).collect();
        let publish = Subjects {
            allow: Some(list(allow)),
            deny: list(deny),
        };
        std::sync::Arc::new(Self::new(&Permissions {
            publish,
            ..Permissions::default()
        }))
    }
}

impl Lists {
    fn new(subjects: &Subjects) -> Self {
        Self {
            allow: subjects.allow.as_ref().map(|allow| filters(allow)),
            deny: (!subjects.deny.is_empty()).then(|| filters(&subjects.deny)),
        }
    }
}

/// What the configuration has checked before.
fn filters(list: &[String]) -> Filters {
    let mut filters = Filters::new();
    for entry in list {
        let mut words = entry.split_ascii_whitespace();
        let subject = words.next().unwrap_or_default();
        let queue = words.next().map(|queue| queue.as_bytes().into());
        // One that is no filter matches nothing, and there is nothing else to do with it.
        let _ = filters.insert(subject.as_bytes(), queue);
    }
    filters
}

/// What covers a filter.
#[derive(Default)]
struct Found {
    /// Something without a queue does.
    plain: bool,
    /// The queues of the others.
    queues: SmallVec<[Box<[u8]>; 4]>,
}

impl Found {
    fn covering(filters: &Filters, filter: &[u8]) -> Self {
        let mut found = Self::default();
        filters.covering(filter, &mut |queue| found.add(queue));
        found
    }

    fn matching(filters: &Filters, filter: &[u8]) -> Self {
        let mut found = Self::default();
        filters.matches(filter, &mut |queue| found.add(queue));
        found
    }

    fn add(&mut self, queue: &Option<Box<[u8]>>) {
        match queue {
            None => self.plain = true,
            Some(queue) => self.queues.push(queue.clone()),
        }
    }

    fn has_queue(&self, queue: &[u8]) -> bool {
        self.queues.iter().any(|of| is_queue(of, queue))
    }
}

/// Whether a queue is the one that is meant, by its name or by a wildcard.
fn is_queue(meant: &[u8], queue: &[u8]) -> bool {
    meant == queue || weir_subject::has_wildcard(meant) && weir_subject::is_subset(queue, meant)
}

#[cfg(test)]
mod tests;
