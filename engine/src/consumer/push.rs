//! What only push consumers have: a subscriber or none, flow control, rate limit, heartbeats.

use bytes::Bytes;

use crate::consumer::{AckPolicy, Consumer};
use crate::shard::emit::Status;
use crate::shard::turn::Turn;
use crate::types::{NanoTime, Nanos, Seq};

/// The most bytes on their way to a subscriber that takes part in flow control: 32 MiB, as nats-server has it.
const WINDOW_MAX: usize = 32 << 20;
/// The window it begins with.
const WINDOW_START: usize = WINDOW_MAX / 16;

/// The state of delivery to a subject.
#[derive(Debug)]
pub(super) struct Push {
    /// Whether a client was subscribed, when last looked.
    pub active: bool,
    /// Bytes sent and not confirmed by flow control.
    outstanding: usize,
    window: usize,
    /// The number of the last flow-control request.
    fc_id: u64,
    /// The bytes that the open request, if there is one, will confirm.
    fc_bytes: Option<usize>,
    /// When something was last sent.
    last_sent: NanoTime,
    /// Nothing is sent before, for the rate limit.
    not_before: NanoTime,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            active: false,
            outstanding: 0,
            window: WINDOW_START,
            fc_id: 0,
            fc_bytes: None,
            last_sent: 0,
            not_before: 0,
        }
    }
}

impl Push {
    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        self.last_sent = self.last_sent.saturating_add(step);
        self.not_before = self.not_before.saturating_add(step);
    }
}

impl Consumer {
    /// Looks whether a client is subscribed.
    pub(super) fn is_bound(&mut self, turn: &mut Turn<'_>) -> bool {
        let bound = turn.outlet.has_subscriber(
            &self.name.account,
            self.config.deliver_subject.as_bytes(),
            &self.config.deliver_group,
        );
        if bound && !self.push.active {
            // The subscriber before took its flow control along.
            self.push = Push {
                fc_id: self.push.fc_id,
                last_sent: turn.now,
                ..Push::default()
            };
        }
        if bound {
            self.idle_since = turn.now;
        }
        self.push.active = bound;
        bound
    }

    /// Notes whether a client is subscribed, if that matters.
    pub fn look_for_subscriber(&mut self, turn: &mut Turn<'_>) {
        if self.config.is_push() {
            self.is_bound(turn);
        }
    }

    /// Whether rate and window leave room.
    pub(super) fn push_allows(&self, now: NanoTime) -> bool {
        self.push.not_before <= now && (!self.config.flow_control || self.push.outstanding < self.push.window)
    }

    /// Until when the rate leaves no room, if it does not.
    pub(super) fn push_held_until(&self, now: NanoTime) -> Option<NanoTime> {
        Some(self.push.not_before).filter(|until| *until > now)
    }

    /// Counts what was sent.
    pub(super) fn pushed(&mut self, size: usize, turn: &Turn<'_>) {
        if !self.config.is_push() {
            return;
        }
        self.push.last_sent = turn.now;
        self.push.outstanding += size;
        if let Some(nanos) = (size as u64 * 8 * 1_000_000_000).checked_div(self.config.rate_limit_bps) {
            self.push.not_before = self.push.not_before.max(turn.now).saturating_add(nanos as i64);
        }
    }

    /// Asks the subscriber to say how far it got, once half the window is on its way.
    pub(super) fn request_flow_control(&mut self, turn: &mut Turn<'_>) {
        let push = &self.push;
        if !self.config.flow_control || push.fc_bytes.is_some() {
            return;
        }
        // Where it acknowledges, nothing goes on without it once as much is unacknowledged as may be.
        let limit = self.config.max_ack_pending;
        let full = self.acks_by_flow() && limit > 0 && self.pending.len() as u64 >= limit.unsigned_abs();
        if full || push.outstanding > push.window / 2 {
            self.ask_flow_control(turn);
        }
    }

    fn acks_by_flow(&self) -> bool {
        self.config.ack_policy == AckPolicy::FlowControl
    }

    fn ask_flow_control(&mut self, turn: &mut Turn<'_>) {
        let push = &mut self.push;
        push.fc_id += 1;
        push.fc_bytes = Some(push.outstanding);
        let status = Status::FlowControl { id: push.fc_id };
        self.tell(self.deliver_to(), status, turn);
    }

    /// The subscriber answered a flow-control request; `last` is the last stream sequence that it got, if it says so.
    /// Answers what is acknowledged by that.
    pub fn flow_controlled(&mut self, id: u64, last: Option<Seq>, turn: &Turn<'_>) -> Vec<Seq> {
        if id != self.push.fc_id {
            return Vec::new();
        }
        let Some(bytes) = self.push.fc_bytes.take() else {
            return Vec::new();
        };
        self.push.outstanding -= bytes.min(self.push.outstanding);
        self.push.window = (self.push.window * 2).min(WINDOW_MAX);
        match last {
            Some(last) if self.acks_by_flow() => self.acknowledge_up_to(last, turn.now),
            _ => Vec::new(),
        }
    }

    /// Sends a heartbeat if there was silence for long enough.
    pub(super) fn push_heartbeat(&mut self, turn: &mut Turn<'_>) {
        if self.heartbeat_due().is_none_or(|due| due > turn.now) || !self.is_bound(turn) {
            return;
        }
        self.push.last_sent = turn.now;
        let stalled = self.push.fc_bytes.map(|_| self.push.fc_id);
        let status = self.heartbeat(stalled);
        self.tell(self.deliver_to(), status, turn);
        if self.acks_by_flow() && !self.pending.is_empty() && self.push.fc_bytes.is_none() {
            self.ask_flow_control(turn);
        }
    }

    /// When [`Consumer::push_heartbeat`] or the rate limit next has something to do.
    pub(super) fn push_deadline(&self, now: NanoTime) -> Option<NanoTime> {
        if !self.config.is_push() {
            return None;
        }
        let rate = (self.push.active && self.push.not_before > now && self.has_work()).then_some(self.push.not_before);
        [self.heartbeat_due(), rate].into_iter().flatten().min()
    }

    fn heartbeat_due(&self) -> Option<NanoTime> {
        (self.push.active && self.config.is_push() && self.config.idle_heartbeat > 0)
            .then(|| self.push.last_sent.saturating_add(self.config.idle_heartbeat))
    }

    fn deliver_to(&self) -> Bytes {
        Bytes::copy_from_slice(self.config.deliver_subject.as_bytes())
    }
}
