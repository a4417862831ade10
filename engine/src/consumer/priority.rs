//! Priority groups: which of the pull requests that wait may have the next message (ADR-42).
//!
//! Nats-server keeps one pin for a consumer whatever its groups, and so do we: the group is what a request has to name,
//! and what advisories tell.

use std::sync::Arc;

use crate::consumer::pull::Waiting;
use crate::consumer::request::{GroupRequest, PullRequest};
use crate::consumer::{Consumer, PriorityPolicy};
use crate::shard::emit::{Emit, Event, Status, UnpinReason};
use crate::shard::turn::Turn;
use crate::types::NanoTime;

/// Letters of a pin's id, as many as nats-server's.
const PIN_LEN: usize = 22;
/// The last priority a request may state.
const PRIORITY_LAST: i64 = 9;

/// The client that has the consumer for itself.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    /// What its requests name.
    pub id: Arc<str>,
    /// The group its request named when it was pinned.
    group: String,
    /// Since when.
    pub since: NanoTime,
    /// When another may be pinned, unless it asks again before.
    pub deadline: NanoTime,
}

/// What a consumer shows of a priority group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The group.
    pub group: String,
    /// The pin's id and since when it holds, if a client is pinned.
    pub pinned: Option<(Arc<str>, NanoTime)>,
}

/// What becomes of a request whose turn it is.
pub(super) enum Eligible {
    /// It may have the message.
    Yes,
    /// It has to wait; others may come before it.
    Later,
    /// It is over, for that reason.
    Never(Status),
}

impl Consumer {
    /// Why a request's group makes no sense here, in nats-server's order. A client that names the right pin keeps it.
    pub(super) fn check_group(&mut self, request: &PullRequest, now: NanoTime) -> Option<Status> {
        if !request.formal {
            return None;
        }
        let policy = self.config.priority_policy;
        let none = GroupRequest::default();
        let group = request.group.as_deref().unwrap_or(&none);
        let bad = |text: &str| Some(Status::BadRequest { text: text.to_owned() });
        if (group.min_pending != 0 || group.min_ack_pending != 0) && policy != PriorityPolicy::Overflow {
            return bad("Not a Overflow Priority consumer");
        }
        if !group.id.is_empty() && policy != PriorityPolicy::PinnedClient {
            return bad("Not a Pinned Client Priority consumer");
        }
        if !(0..=PRIORITY_LAST).contains(&group.priority) {
            return bad("Priority must be between 0 and 9");
        }
        if policy == PriorityPolicy::None {
            return None;
        }
        if group.group.is_empty() {
            return bad("Priority Group missing");
        }
        if !self.config.priority_groups.contains(&group.group) {
            return bad("Invalid Priority Group");
        }
        if let Some(pin) = &mut self.pin {
            if *pin.id == *group.id {
                pin.deadline = now.saturating_add(self.config.priority_timeout);
            } else if !group.id.is_empty() {
                return Some(Status::Pinned {
                    text: "Nats-Pin-Id mismatch",
                    short: None,
                });
            }
        }
        None
    }

    /// Puts requests by priority in order again, after some at the front were passed over.
    pub(super) fn restore_order(&mut self) {
        if self.config.priority_policy == PriorityPolicy::Prioritized {
            self.waiting.make_contiguous().sort_by_key(rank);
        }
    }

    /// Puts a request where its turn is: at the end, or behind those of its priority. One without a priority group is
    /// behind all that have one.
    pub(super) fn queue(&mut self, waiting: Waiting) {
        let at = match self.config.priority_policy {
            PriorityPolicy::Prioritized => {
                let rank = rank(&waiting);
                self.waiting.partition_point(|other| self::rank(other) <= rank)
            }
            _ => self.waiting.len(),
        };
        self.waiting.insert(at, waiting);
    }

    /// Whether the request at the front may have the next message. Where no client is pinned it may be pinned by this:
    /// then the answer's second half is true.
    pub(super) fn eligible(&mut self, turn: &mut Turn<'_>) -> (Eligible, bool) {
        match self.config.priority_policy {
            PriorityPolicy::None | PriorityPolicy::Prioritized => (Eligible::Yes, false),
            PriorityPolicy::Overflow => {
                let enough = self.waiting.front().is_none_or(|waiting| self.overflows(waiting));
                (if enough { Eligible::Yes } else { Eligible::Later }, false)
            }
            PriorityPolicy::PinnedClient => self.pinned(turn),
        }
    }

    fn overflows(&self, waiting: &Waiting) -> bool {
        let Some(group) = &waiting.group else { return true };
        if group.min_pending <= 0 && group.min_ack_pending <= 0 {
            return true;
        }
        let reached = |bound: i64, count: u64| bound > 0 && bound.unsigned_abs() <= count;
        // The message at hand is among those to come.
        reached(group.min_pending, self.num_pending) || reached(group.min_ack_pending, self.pending.len() as u64)
    }

    fn pinned(&mut self, turn: &mut Turn<'_>) -> (Eligible, bool) {
        let Some(waiting) = self.waiting.front() else {
            return (Eligible::Later, false);
        };
        let named = waiting.group.as_ref().map_or("", |group| &*group.id);
        let stale = Status::Pinned {
            text: "Nats-Wrong-Pin-Id",
            short: Some(waiting.short()),
        };
        match &self.pin {
            Some(pin) if *pin.id == *named => (Eligible::Yes, false),
            Some(_) if named.is_empty() => (Eligible::Later, false),
            None if named.is_empty() => {
                // A request without a group, as only those are that are no JSON, is served without being pinned.
                let group = waiting.group.as_ref().map(|group| group.group.clone());
                match group.filter(|group| !group.is_empty()) {
                    Some(group) => {
                        self.assign_pin(group, turn);
                        (Eligible::Yes, true)
                    }
                    None => (Eligible::Yes, false),
                }
            }
            _ => (Eligible::Never(stale), false),
        }
    }

    fn assign_pin(&mut self, group: String, turn: &mut Turn<'_>) {
        let id: Arc<str> = turn.letters(PIN_LEN).into();
        if let Some(asked) = self.waiting.front_mut().and_then(|waiting| waiting.group.as_mut()) {
            asked.id = id.to_string();
        }
        self.pin = Some(Pin {
            id: id.clone(),
            group: group.clone(),
            since: turn.now,
            deadline: turn.now.saturating_add(self.config.priority_timeout),
        });
        turn.emits.push(Emit::Event(Event::Pinned {
            consumer: self.name.clone(),
            group,
            id,
        }));
    }

    /// Gives up the pin of a client that has not asked for anything for too long.
    pub(super) fn expire_pin(&mut self, turn: &mut Turn<'_>) {
        if let Some(pin) = self.pin.take_if(|pin| pin.deadline <= turn.now) {
            turn.emits.push(Emit::Event(Event::Unpinned {
                consumer: self.name.clone(),
                group: pin.group,
                reason: UnpinReason::Timeout,
            }));
        }
    }

    /// Gives up the pin because a client asked for that. Answers whether the consumer has that group.
    pub fn unpin(&mut self, group: &str, turn: &mut Turn<'_>) -> bool {
        if !self.config.priority_groups.iter().any(|known| known == group) {
            return false;
        }
        self.pin = None;
        turn.emits.push(Emit::Event(Event::Unpinned {
            consumer: self.name.clone(),
            group: group.to_owned(),
            reason: UnpinReason::Admin,
        }));
        true
    }

    /// The pin that deliveries have to name; `None` where none is named.
    pub(super) fn pin_to_name(&self) -> Option<Arc<str>> {
        (self.config.priority_policy == PriorityPolicy::PinnedClient)
            .then(|| self.pin.as_ref().map_or_else(|| "".into(), |pin| pin.id.clone()))
    }

    /// What is told of the groups: of the first alone, as nats-server does.
    pub(super) fn group_states(&self) -> Vec<GroupState> {
        let pinned = self.pin.as_ref().map(|pin| (pin.id.clone(), pin.since));
        let first = self.config.priority_groups.first();
        first
            .map(|group| GroupState {
                group: group.clone(),
                pinned,
            })
            .into_iter()
            .collect()
    }
}

fn rank(waiting: &Waiting) -> i64 {
    // JSON that says nothing has priority 0.
    match (&waiting.group, waiting.formal) {
        (Some(group), _) => group.priority,
        (None, true) => 0,
        (None, false) => i64::MAX,
    }
}
