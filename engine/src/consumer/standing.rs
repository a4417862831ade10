//! Why a consumer sends nothing just now, and for how long what it would send next has waited.

use crate::consumer::{AckPolicy, Consumer, ReplayPolicy};
use crate::error::Result;
use crate::index::{Cursor, Sought};
use crate::stream::messages::Messages;
use crate::types::{NanoTime, Seq};

/// Messages and subjects looked at to find what a consumer would send next: many consumers are asked in one turn.
const LOOKS: usize = 64;

/// Where a consumer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it sends nothing; `None` if nothing holds it.
    pub why: Option<Why>,
    /// When the message came that it would send next for the first time; `None` if there is none, or it would take a disk, or a
    /// long search, to know.
    pub since: Option<NanoTime>,
}

/// Why a consumer sends nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is to pause.
    Paused {
        /// Until then.
        until: NanoTime,
    },
    /// It is being read from a disk.
    Reading,
    /// Nobody subscribed to what it delivers to.
    NoSubscriber,
    /// Nobody asks it for messages.
    NoRequest,
    /// As many messages as may be wait for their acknowledgements.
    MaxAckPending {
        /// So many.
        limit: i64,
    },
    /// Its subscriber has not told yet that it got what was sent.
    FlowControl,
    /// More would be beyond its rate.
    RateLimit {
        /// Until then.
        until: NanoTime,
    },
    /// All was sent; what was not acknowledged is sent again.
    Redelivery {
        /// Then the first of it.
        until: NanoTime,
    },
    /// Nothing that its stream holds matches its filters.
    NothingMatches,
    /// It has sent all that there is.
    AllSent,
    /// The next message is not due yet at the pace that the messages came.
    NotDue,
}

impl Consumer {
    /// Where it stands.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn standing(&self, now: NanoTime, stream: &mut Messages) -> Result<Standing> {
        let next = self.upcoming(stream)?;
        let since = match next {
            Some(seq) => stream.time_at_hand(seq)?,
            None => None,
        };
        let why = self.why(now, stream);
        Ok(Standing { why, since })
    }

    /// What stands in the way, in the order in which [`Consumer::deliver`] meets it.
    fn why(&self, now: NanoTime, stream: &Messages) -> Option<Why> {
        if let Some(until) = self.config.pause_until.filter(|until| *until > now) {
            return Some(Why::Paused { until });
        }
        if self.config.is_push() && !self.push.active {
            return Some(Why::NoSubscriber);
        }
        let anything = self.num_pending > 0 || !self.redeliver.is_empty() || !self.initial.is_empty();
        if !anything {
            return Some(self.why_nothing(stream));
        }
        if self.reading {
            return Some(Why::Reading);
        }
        if self.redeliver.is_empty() && self.is_full() {
            let limit = self.config.max_ack_pending;
            return Some(Why::MaxAckPending { limit });
        }
        if self.config.is_push() {
            if let Some(until) = self.push_held_until(now) {
                return Some(Why::RateLimit { until });
            }
            if !self.push_allows(now) {
                return Some(Why::FlowControl);
            }
        } else if self.waiting.is_empty() {
            return Some(Why::NoRequest);
        }
        let original = self.config.replay_policy == ReplayPolicy::Original && self.replayed.is_some();
        (original && self.redeliver.is_empty()).then_some(Why::NotDue)
    }

    /// There is nothing to send now.
    fn why_nothing(&self, stream: &Messages) -> Why {
        let acks = self.config.ack_policy != AckPolicy::None;
        match self.deadlines.first() {
            Some((until, _)) if acks => Why::Redelivery { until: *until },
            _ if !self.filters.is_empty() && self.delivered.consumer == 0 && stream.index.len() > 0 => {
                Why::NothingMatches
            }
            _ => Why::AllSent,
        }
    }

    /// The message that it would send next for the first time, if a short look finds it.
    fn upcoming(&self, stream: &mut Messages) -> Result<Option<Seq>> {
        if let Some(&seq) = self.initial.front() {
            return Ok(Some(seq));
        }
        if self.num_pending == 0 {
            return Ok(None);
        }
        let mut cursor = Cursor::new(&self.filters);
        let sought = stream.index.next_match_within(&mut cursor, self.next, &mut { LOOKS })?;
        Ok(match sought {
            Sought::At(seq) => Some(seq),
            Sought::Nothing | Sought::Later(_) => None,
        })
    }
}
