//! Beginning anew at another place, as CONSUMER.RESET asks (JetStream 2.14).

use crate::consumer::{Consumer, DeliverPolicy, Doomed, SeqPair};
use crate::error::Result;
use crate::reject::{self, Rejection};
use crate::stream::messages::Messages;
use crate::types::{SEQ_LIMIT, Seq};

impl Consumer {
    /// Where a reset to `asked` begins: 0 asks for the message after those that are acknowledged.
    ///
    /// # Errors
    /// If a consumer with this delivery policy may not begin there, or storage cannot be read.
    pub fn reset_target(&self, asked: Seq, stream: &mut Messages) -> Result<Seq> {
        let refused = |why: &str| -> Rejection { reject::CONSUMER_INVALID_RESET.with(why) };
        if asked == 0 {
            return Ok(self.ack_floor.stream + 1);
        }
        if asked > SEQ_LIMIT {
            return Err(refused("above the highest sequence there can be").into());
        }
        match self.config.deliver_policy {
            DeliverPolicy::All => Ok(asked),
            DeliverPolicy::ByStartSequence if asked < self.config.opt_start_seq => {
                Err(refused("below start seq").into())
            }
            DeliverPolicy::ByStartSequence => Ok(asked),
            DeliverPolicy::ByStartTime => {
                let first = stream.seq_at(self.config.opt_start_time.unwrap_or(0))?;
                match asked < first {
                    true => Err(refused("below start time").into()),
                    false => Ok(asked),
                }
            }
            _ => Err(refused("not allowed").into()),
        }
    }

    /// Forgets what was sent and acknowledged, and begins at `seq` as if it were new. Requests go on waiting.
    pub fn reset(&mut self, seq: Seq, stream: &mut Messages) -> Result<()> {
        let seq = seq.max(1);
        let start = SeqPair {
            consumer: 0,
            stream: seq - 1,
        };
        self.pending.clear();
        self.deliveries.clear();
        self.deadlines.clear();
        self.redeliver.clear();
        self.initial.clear();
        self.doomed = Doomed::default();
        self.turn_acked.clear();
        self.turn_deferred.clear();
        self.turn_given_up.clear();
        self.next = seq;
        self.delivered = start;
        self.ack_floor = start;
        self.last_delivery = None;
        self.last_ack = None;
        self.replayed = None;
        self.recount(stream)
    }
}
