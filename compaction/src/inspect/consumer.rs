//! Consumers as the last checkpoint has them, with the journal's tail applied as a server will.

use std::collections::{BTreeMap, BTreeSet};

use weir_engine::Seq;
use weir_engine::consumer::{AckPolicy, ConsumerConfig, ConsumerSnapshot, SeqPair};
use weir_engine::shard::command::Place;

use super::report::{ConsumerReport, Position};

/// One consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub config: ConsumerConfig,
    name: String,
    created: i64,
    delivered: SeqPair,
    ack_floor: SeqPair,
    /// Sent and not acknowledged: the consumer sequence of the first delivery, by stream sequence.
    pending: BTreeMap<Seq, u64>,
    /// Those sent more than once, and those given up.
    redelivered: BTreeSet<Seq>,
}

impl Consumer {
    pub fn new(snapshot: ConsumerSnapshot) -> Self {
        Self {
            name: snapshot.name,
            config: snapshot.config,
            created: snapshot.created,
            delivered: snapshot.delivered,
            ack_floor: snapshot.ack_floor,
            pending: snapshot
                .pending
                .iter()
                .map(|&(seq, consumer_seq, _)| (seq, consumer_seq))
                .collect(),
            redelivered: snapshot.deliveries.iter().map(|&(seq, _)| seq).collect(),
        }
    }

    /// Messages were sent to it.
    pub fn delivered(&mut self, first_delivery: u64, seqs: &[Seq]) {
        self.delivered.consumer = self.delivered.consumer.max(first_delivery.saturating_sub(1));
        for &seq in seqs {
            self.delivered.consumer += 1;
            self.delivered.stream = self.delivered.stream.max(seq);
            if self.pending.contains_key(&seq) {
                self.redelivered.insert(seq);
            } else if self.config.ack_policy == AckPolicy::None {
                self.ack_floor = self.delivered;
            } else {
                self.pending.insert(seq, self.delivered.consumer);
            }
        }
    }

    /// Messages are done with.
    pub fn acked(&mut self, seqs: &[Seq]) {
        let together = matches!(self.config.ack_policy, AckPolicy::All | AckPolicy::FlowControl);
        for &stream in seqs {
            self.redelivered.remove(&stream);
            let Some(consumer) = self.pending.remove(&stream) else {
                continue;
            };
            match together {
                true => {
                    self.ack_floor.consumer = self.ack_floor.consumer.max(consumer);
                    self.ack_floor.stream = self.ack_floor.stream.max(stream);
                }
                false => self.raise_floor(SeqPair { consumer, stream }),
            }
        }
    }

    /// Messages were sent as often as they may be.
    pub fn given_up(&mut self, seqs: &[Seq]) {
        for seq in seqs {
            self.pending.remove(seq);
            self.redelivered.insert(*seq);
        }
    }

    /// It begins anew at a sequence.
    pub fn reset(&mut self, seq: Seq) {
        self.pending.clear();
        self.redelivered.clear();
        self.delivered = SeqPair {
            consumer: 0,
            stream: seq.saturating_sub(1),
        };
        self.ack_floor = self.delivered;
    }

    /// Purges left it there, and took away some of what it had sent.
    pub fn placed(&mut self, place: Place, gone: &[Seq]) {
        for seq in gone {
            self.pending.remove(seq);
            self.redelivered.remove(seq);
        }
        self.delivered = place.delivered;
        self.ack_floor = place.ack_floor;
    }

    /// The messages that it waits for an acknowledgement of.
    pub fn pending(&self) -> impl Iterator<Item = Seq> {
        self.pending.keys().copied()
    }

    /// Nobody need acknowledge what is not there any more.
    pub fn forget_all_but(&mut self, live: &BTreeSet<Seq>) {
        let gone: Vec<Seq> = self.pending().filter(|seq| !live.contains(seq)).collect();
        self.acked(&gone);
    }

    /// As the server moves it after an acknowledgement.
    fn raise_floor(&mut self, acked: SeqPair) {
        if self.pending.is_empty() {
            self.ack_floor = self.delivered;
            return;
        }
        if acked.consumer != self.ack_floor.consumer.saturating_add(1) {
            return;
        }
        self.ack_floor = acked;
        let next = self.pending.range(acked.stream.saturating_add(1)..).next();
        if let Some((&seq, &consumer_seq)) = next
            && self.delivered.consumer > acked.consumer
        {
            self.ack_floor = SeqPair {
                consumer: consumer_seq.saturating_sub(1),
                stream: seq.saturating_sub(1),
            };
        }
    }

    pub fn report(&self) -> ConsumerReport {
        ConsumerReport {
            name: self.name.clone(),
            durable: self.config.is_durable(),
            deliver_subject: self.config.is_push().then(|| self.config.deliver_subject.clone()),
            filters: self.config.filters().into_iter().map(Into::into).collect(),
            ack_policy: match self.config.ack_policy {
                AckPolicy::None => "none",
                AckPolicy::All => "all",
                AckPolicy::Explicit => "explicit",
                AckPolicy::FlowControl => "flow_control",
            }
            .to_owned(),
            created: self.created,
            delivered: position(self.delivered),
            ack_floor: position(self.ack_floor),
            ack_pending: self.pending.len() as u64,
            redelivered: self.redelivered.len() as u64,
        }
    }
}

fn position(pair: SeqPair) -> Position {
    Position {
        consumer_seq: pair.consumer,
        stream_seq: pair.stream,
    }
}

#[cfg(test)]
mod tests;
