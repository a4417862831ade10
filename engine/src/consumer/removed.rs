//! What becomes of a consumer when messages go: one by one, by a purge, or with what it held.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::consumer::{Consumer, SeqPair};
use crate::error::Result;
use crate::shard::command::Place;
use crate::stream::messages::Messages;
use crate::types::{NanoTime, Seq};

/// The messages that a consumer keeps in a stream which keeps them for their consumers' sake.
pub(crate) struct Held {
    /// What it sent, gave up or is still to send, ascending, all below `next`.
    pub singles: VecDeque<Seq>,
    /// All that it wants from here on,
    pub next: Seq,
    /// and below this.
    pub end: Seq,
}

/// What a consumer had sent or given up of what a purge took away.
#[derive(Default)]
pub(super) struct Doomed {
    any: bool,
    /// What was on its way, in ascending order.
    sent: Vec<SeqPair>,
}

impl Consumer {
    /// A message it wants is gone; if it was on its way, it need not be acknowledged any more. Answers whether it was sent or
    /// given up: then there may be room for another, and the journal has to know where the consumer stands.
    pub fn removed(&mut self, seq: Seq) -> bool {
        self.uncount(seq);
        self.lost(seq);
        let given_up = self.deliveries.contains_key(&seq);
        let known = self.forget(seq) || given_up;
        if known {
            self.turn_purged.get_or_insert_default().push(seq);
        }
        known
    }

    /// Where it stands now is written to the journal with this turn: what it has looked at in vain stays behind it, also
    /// over a restart.
    pub fn note_place(&mut self) {
        self.turn_purged.get_or_insert_default();
    }

    /// A purge that is under way took these messages away, in ascending order. Answers whether it had sent or given up any.
    pub fn doom(&mut self, seqs: &[Seq]) -> bool {
        let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else {
            return false;
        };
        if self.deliveries.is_empty() && self.pending.range(first..=last).next().is_none() {
            return false;
        }
        let mut gone = Vec::new();
        for &seq in seqs {
            let sent = self.drop_pending(seq);
            if self.deliveries.remove(&seq).is_some() || sent.is_some() {
                gone.push(seq);
            }
            self.doomed.sent.extend(sent.map(|sent| SeqPair {
                consumer: sent.consumer_seq,
                stream: seq,
            }));
        }
        if gone.is_empty() {
            return false;
        }
        self.doomed.any = true;
        self.turn_purged.get_or_insert_default().extend(gone);
        true
    }

    /// A purge took all messages away.
    pub fn doom_all(&mut self) {
        let given_up = self.deliveries.keys().filter(|seq| !self.pending.contains_key(seq));
        let gone: Vec<Seq> = self.pending.keys().chain(given_up).copied().collect();
        let sent = self.pending.iter().map(|(&seq, sent)| SeqPair {
            consumer: sent.consumer_seq,
            stream: seq,
        });
        self.doomed.sent.extend(sent);
        self.doomed.any |= !gone.is_empty();
        self.turn_purged.get_or_insert_default().extend(gone);
        self.pending.clear();
        self.deliveries.clear();
        self.deadlines.clear();
        self.redeliver.clear();
        self.initial.clear();
        (self.num_pending, self.num_listed) = (0, 0);
    }

    /// What it holds on to, for retention's sake.
    pub fn held(&self) -> Held {
        let sent = self.pending.keys().chain(self.deliveries.keys()).chain(&self.initial);
        let mut singles: Vec<Seq> = sent.copied().filter(|seq| *seq < self.next).collect();
        singles.sort_unstable();
        singles.dedup();
        Held {
            singles: singles.into(),
            next: self.next,
            end: Seq::MAX,
        }
    }

    /// If that message was on its way, the world is told that it will not be acknowledged.
    pub fn lost(&mut self, seq: Seq) {
        if let Some(pending) = self.pending.get(&seq) {
            let deliveries = self.deliveries.get(&seq).copied().unwrap_or(1);
            self.turn_lost.push((seq, pending.consumer_seq, deliveries));
        }
    }

    /// A message it wants is gone: it does not count as one to be sent. One on the list that it began with is
    /// [`unlist`](Self::unlist)'s.
    pub fn uncount(&mut self, seq: Seq) {
        if seq >= self.next {
            self.num_pending = self.num_pending.saturating_sub(1);
        }
    }

    /// A message is gone, of whatever subject: if it is on the list that the consumer began with, it does not count as one to
    /// be sent. It is dropped from the list when its turn comes.
    pub fn unlist(&mut self, seq: Seq) {
        if self.initial.binary_search(&seq).is_ok() {
            self.num_pending = self.num_pending.saturating_sub(1);
            self.num_listed = self.num_listed.saturating_sub(1);
        }
    }

    /// Whether there is something left of the list that the consumer began with.
    pub fn has_list(&self) -> bool {
        !self.initial.is_empty()
    }

    /// Messages were purged, of the subjects that `filter` matches, all of which are now at or above `start`. The place of
    /// a consumer that wants only some of these moves up to there, as nats-server's does; that of others that want some of
    /// them to the first message of the stream. Answers whether there may be room for another message now.
    pub fn purged(&mut self, filter: &[u8], start: Seq, now: NanoTime, stream: &mut Messages) -> Result<bool> {
        let doomed = std::mem::take(&mut self.doomed);
        let all = filter.is_empty() || filter == b">";
        let within = |own: &Bytes| weir_subject::is_subset(own, filter);
        let only = !self.filters.is_empty() && self.filters.iter().all(within);
        let some = self.filters.iter().any(within);
        let among =
            some || self.filters.is_empty() || self.filters.iter().any(|own| weir_subject::is_subset(filter, own));
        let start = match () {
            () if all || only => start,
            () if among => stream.first(),
            () => return Ok(false),
        };
        self.next = self.next.max(start);
        if self.ack_floor.stream < start {
            self.ack_floor.stream = start - 1;
            for sent in &doomed.sent {
                self.ack_floor.consumer = self.ack_floor.consumer.max(sent.consumer);
                self.last_ack = Some(now);
            }
        } else if doomed.any {
            for sent in doomed.sent {
                self.raise_floor(sent);
            }
            self.last_ack = Some(now);
        }
        self.delivered.stream = self.next.saturating_sub(1);
        if self.pending.is_empty() {
            self.ack_floor = self.delivered;
        }
        self.note_place();
        Ok(doomed.any)
    }

    /// Applies from the journal where purges left it.
    pub fn replay_placed(&mut self, place: Place, gone: &[Seq]) {
        for &seq in gone {
            self.deliveries.remove(&seq);
            self.drop_pending(seq);
        }
        self.next = place.next;
        self.delivered = place.delivered;
        self.ack_floor = place.ack_floor;
    }

    /// What it sent or gave up that is no longer there.
    pub(super) fn gone(&self, stream: &mut Messages) -> Result<Vec<Seq>> {
        let mut gone = Vec::new();
        let given_up = self.deliveries.keys().filter(|seq| !self.pending.contains_key(seq));
        for &seq in self.pending.keys().chain(given_up) {
            if !stream.index.is_live(seq)? {
                gone.push(seq);
            }
        }
        Ok(gone)
    }

    /// Whether the consumer still needs a message, for retention by interest.
    pub fn needs(&self, seq: Seq) -> bool {
        seq >= self.next
            || self.pending.contains_key(&seq)
            || self.deliveries.contains_key(&seq)
            || self.initial.binary_search(&seq).is_ok()
    }
}
