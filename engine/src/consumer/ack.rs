//! Acknowledgements.

use bytes::Bytes;

use crate::consumer::{AckPolicy, Consumer, PullRequest};
use crate::shard::emit::{Emit, Event};
use crate::shard::turn::Turn;
use crate::types::{NanoTime, Nanos, Seq};

/// What a receiver says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// Done.
    Ack,
    /// Send it again, after so many nanoseconds.
    Nak(Nanos),
    /// Still at it.
    Progress,
    /// Never send it again, for that reason.
    Term(String),
    /// Done, and more please.
    Next(PullRequest),
    /// Words that mean nothing: it is heard, and changes nothing.
    Unknown,
}

/// An acknowledgement as it arrives.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The message's stream sequence.
    pub stream_seq: Seq,
    /// The delivery's consumer sequence.
    pub consumer_seq: u64,
    /// How often it had been sent.
    pub deliveries: u64,
    /// What is said.
    pub kind: AckKind,
    /// Where the empty answer goes, if one is wanted; for [`AckKind::Next`] where the message goes.
    pub reply: Bytes,
}

impl AckKind {
    /// Reads an acknowledgement's payload (js-api, "Acks").
    ///
    /// # Errors
    /// If the request behind `+NXT` is JSON and wrong: the reason, as the client is told.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let text = payload.trim_ascii();
        Ok(match text {
            b"" | b"+ACK" | b"+OK" => Self::Ack,
            b"+WPI" => Self::Progress,
            _ => {
                if let Some(rest) = text.strip_prefix(b"-NAK") {
                    Self::Nak(parse_nak(rest))
                } else if let Some(rest) = text.strip_prefix(b"+TERM") {
                    Self::Term(String::from_utf8_lossy(rest.trim_ascii()).into_owned())
                } else if let Some(rest) = text.strip_prefix(b"+NXT") {
                    Self::Next(PullRequest::parse(rest)?)
                } else {
                    Self::Unknown
                }
            }
        })
    }
}

/// The delay of `-NAK {"delay": ns}`, also given as a Go duration; 0 if there is none.
fn parse_nak(rest: &[u8]) -> Nanos {
    let rest = rest.trim_ascii();
    if rest.starts_with(b"{") {
        return serde_json::from_slice::<serde_json::Value>(rest)
            .ok()
            .and_then(|value| value.get("delay").and_then(serde_json::Value::as_i64))
            .unwrap_or(0)
            .max(0);
    }
    let said = std::str::from_utf8(rest).ok();
    said.and_then(|text| weir_duration::parse(text).ok())
        .unwrap_or(0)
        .max(0)
}

impl Consumer {
    /// Takes an acknowledgement; answers the sequences that are done with, for the stream's retention.
    pub fn ack(&mut self, ack: &Ack, turn: &mut Turn<'_>) -> Vec<Seq> {
        self.idle_since = turn.now;
        let seq = ack.stream_seq;
        match &ack.kind {
            AckKind::Ack | AckKind::Next(_) => self.acknowledge(ack, turn),
            AckKind::Unknown => Vec::new(),
            AckKind::Progress => {
                if let Some(pending) = self.pending.get(&seq).copied() {
                    self.track(seq, pending.consumer_seq, turn.now);
                    self.turn_deferred.push((seq, turn.now));
                }
                Vec::new()
            }
            AckKind::Nak(delay) => {
                if !self.nak(seq, *delay, turn.now) {
                    return Vec::new();
                }
                turn.emits.push(Emit::Event(Event::Nak {
                    consumer: self.name.clone(),
                    consumer_seq: ack.consumer_seq,
                    stream_seq: seq,
                    deliveries: ack.deliveries,
                }));
                Vec::new()
            }
            AckKind::Term(reason) => {
                let done = self.acknowledge(ack, turn);
                turn.emits.push(Emit::Event(Event::Terminated {
                    consumer: self.name.clone(),
                    consumer_seq: ack.consumer_seq,
                    stream_seq: seq,
                    deliveries: ack.deliveries,
                    reason: reason.clone(),
                }));
                done
            }
        }
    }

    fn acknowledge(&mut self, ack: &Ack, turn: &mut Turn<'_>) -> Vec<Seq> {
        let seq = ack.stream_seq;
        if !self.was_sent(seq) {
            return Vec::new();
        }
        let sent = self.pending.get(&seq).map(|pending| pending.sent);
        let done: Vec<Seq> = match self.config.ack_policy {
            AckPolicy::None => Vec::new(),
            AckPolicy::Explicit => {
                self.last_ack = Some(turn.now);
                let known = sent.is_some() || self.deliveries.contains_key(&seq);
                known.then_some(seq).into_iter().collect()
            }
            AckPolicy::All | AckPolicy::FlowControl => self.sent_up_to(seq),
        };
        if !done.is_empty() {
            self.last_ack = Some(turn.now);
            self.replay_acked(&done);
            self.turn_acked.extend(&done);
        }
        if let Some(sent) = sent
            && !matches!(ack.kind, AckKind::Term(_))
            && self.is_sampled(ack.consumer_seq)
        {
            turn.emits.push(Emit::Event(Event::AckSample {
                consumer: self.name.clone(),
                consumer_seq: ack.consumer_seq,
                stream_seq: seq,
                delay: turn.now.saturating_sub(sent),
                deliveries: ack.deliveries,
            }));
        }
        done
    }

    /// Takes an acknowledgement of everything up to a message; answers what is done with by that.
    pub(super) fn acknowledge_up_to(&mut self, seq: Seq, now: NanoTime) -> Vec<Seq> {
        let done = self.sent_up_to(seq);
        if !done.is_empty() {
            self.last_ack = Some(now);
            self.replay_acked(&done);
            self.turn_acked.extend(&done);
        }
        done
    }

    /// Whether a message was sent, or passed over. An acknowledgement of any other message counts for nothing.
    fn was_sent(&self, seq: Seq) -> bool {
        match self.initial.is_empty() {
            true => seq < self.next,
            false => seq <= self.delivered.stream,
        }
    }

    /// Whether this acknowledges a message that is neither on its way nor to be sent any more.
    pub fn is_past(&self, ack: &Ack) -> bool {
        let seq = ack.stream_seq;
        self.config.ack_policy == AckPolicy::Explicit
            && matches!(ack.kind, AckKind::Ack | AckKind::Next(_) | AckKind::Term(_))
            && self.was_sent(seq)
            && !self.pending.contains_key(&seq)
            && !self.deliveries.contains_key(&seq)
    }

    /// Whether the client, if it asked for a confirmation, gets one.
    pub fn confirms(&self, ack: &Ack) -> bool {
        match &ack.kind {
            AckKind::Ack | AckKind::Term(_) => {
                self.was_sent(ack.stream_seq) && self.config.ack_policy != AckPolicy::None
            }
            AckKind::Nak(_) | AckKind::Progress | AckKind::Unknown => ack.stream_seq > 0,
            AckKind::Next(_) => false,
        }
    }

    /// What an acknowledgement of everything up to `seq` is for: what is on its way, and what was given up.
    fn sent_up_to(&self, seq: Seq) -> Vec<Seq> {
        let mut sent: Vec<Seq> = self.pending.range(..=seq).map(|(&seq, _)| seq).collect();
        if self.config.max_deliver > 0 {
            let given_up = self.deliveries.range(..=seq).map(|(&seq, _)| seq);
            sent.extend(given_up.filter(|given_up| !self.pending.contains_key(given_up)));
        }
        sent
    }

    /// Sends a message again after a delay. Answers whether it was on its way.
    fn nak(&mut self, seq: Seq, delay: Nanos, now: NanoTime) -> bool {
        let wait = self.wait_for(seq);
        // As if it had been sent so long ago that its time is over then: this is what survives a restart.
        let sent = now.saturating_add(delay).saturating_sub(wait);
        let deadline = match delay > 0 {
            true => now.saturating_add(delay),
            false => NanoTime::MAX,
        };
        let before = self.pending.change(seq, |pending| {
            pending.sent = sent;
            std::mem::replace(&mut pending.deadline, deadline)
        });
        let Some(before) = before else { return false };
        self.deadlines.remove(&(before, seq));
        self.turn_deferred.push((seq, sent));
        if delay > 0 {
            self.deadlines.insert((deadline, seq));
            self.redeliver.remove(&seq);
        } else {
            self.redeliver.insert(seq);
        }
        true
    }

    /// Whether an acknowledgement is among those reported: every hundredth part by consumer sequence, so that no
    /// randomness is needed.
    fn is_sampled(&self, consumer_seq: u64) -> bool {
        let text = self.config.sample_freq.trim().trim_end_matches('%');
        let percent = text.parse::<u64>().unwrap_or(0).min(100);
        // The number is the client's: it may be any.
        let share = |seq: u64| u128::from(seq) * u128::from(percent) / 100;
        share(consumer_seq) != share(consumer_seq.saturating_sub(1))
    }

    /// Takes acknowledgements, now or from the journal.
    pub fn replay_acked(&mut self, seqs: &[Seq]) {
        if !matches!(self.config.ack_policy, AckPolicy::All | AckPolicy::FlowControl) {
            for &seq in seqs {
                self.forget(seq);
            }
            return;
        }
        let mut floor = self.ack_floor;
        for &seq in seqs {
            self.deliveries.remove(&seq);
            if let Some(pending) = self.drop_pending(seq) {
                floor.consumer = floor.consumer.max(pending.consumer_seq);
                floor.stream = floor.stream.max(seq);
            }
        }
        self.ack_floor = floor;
    }

    /// Applies waits that began anew from the journal.
    pub fn replay_deferred(&mut self, waits: &[(Seq, NanoTime)]) {
        for &(seq, sent) in waits {
            if let Some(pending) = self.pending.get(&seq).copied() {
                self.track(seq, pending.consumer_seq, sent);
            }
        }
    }

    /// Applies from the journal that messages were given up.
    pub fn replay_given_up(&mut self, seqs: &[Seq]) {
        for &seq in seqs {
            self.drop_pending(seq);
            self.deliveries.change_or(seq, 1, |_| ());
        }
    }

    /// Whether a message was sent as often as it may be.
    pub(super) fn is_exhausted(&self, seq: Seq) -> bool {
        let sent = self.deliveries.get(&seq).copied().unwrap_or(1);
        self.config.max_deliver > 0 && sent >= self.config.max_deliver.unsigned_abs()
    }

    /// Sends a message no more. It is not acknowledged by that: the floor stays, and retention keeps it.
    pub(super) fn give_up(&mut self, seq: Seq, turn: &mut Turn<'_>) {
        let sent = self.deliveries.change_or(seq, 1, |sent| *sent);
        self.drop_pending(seq);
        self.turn_given_up.push(seq);
        turn.emits.push(Emit::Event(Event::MaxDeliveries {
            consumer: self.name.clone(),
            stream_seq: seq,
            deliveries: sent,
        }));
    }

    /// Moves what was not acknowledged in time to the redelivery queue, or gives it up.
    pub fn expire_acks(&mut self, turn: &mut Turn<'_>) {
        while let Some(&(deadline, seq)) = self.deadlines.first() {
            if deadline > turn.now {
                break;
            }
            self.deadlines.pop_first();
            if self.is_exhausted(seq) {
                self.give_up(seq, turn);
            } else if let Some(()) = self.pending.change(seq, |pending| pending.deadline = NanoTime::MAX) {
                self.redeliver.insert(seq);
            }
        }
    }
}

#[cfg(test)]
mod tests;
