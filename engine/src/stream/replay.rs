//! How a stream comes to be again what it was: from the journal, from a snapshot, or from what it was before it was opened anew.

use crate::consumer::{Consumer, ConsumerSnapshot};
use crate::error::Result;
use crate::json::from_json;
use crate::shard::command::Command;
use crate::stream::Stream;
use crate::types::NanoTime;

impl Stream {
    /// Applies a change from the journal.
    ///
    /// # Errors
    /// If storage cannot be read, or the command cannot be understood.
    pub(crate) fn replay(&mut self, command: Command, now: NanoTime) -> Result<()> {
        command.check()?;
        match command {
            Command::Publish { seq, time, head, body } => self.replay_publish(seq, time, head, body)?,
            Command::PublishAside {
                seq,
                time,
                head,
                block,
                len,
            } => self.replay_publish_aside(seq, time, &head, &block, len, now),
            Command::Remove { first, seqs } => {
                self.replay_remove(first, &seqs)?;
                self.schedules.gone(first, &seqs);
            }
            Command::Raise { last, time, id } => {
                self.expire_ids(time);
                self.remember_id(&id, last, time);
                self.messages.raise_last(last, time);
            }
            Command::UpdateStream { time, json } => {
                let (config, settings) = from_json(&json)?;
                self.configure(config, settings, time);
            }
            Command::CreateConsumer { json } => {
                let snapshot: ConsumerSnapshot = from_json(&json)?;
                self.resume_consumer(snapshot, now)?;
            }
            Command::UpdateConsumer { consumer, json } => {
                self.set_consumer_config(consumer, from_json(&json)?, now)?;
            }
            Command::DeleteConsumer { consumer } => {
                self.drop_consumer(consumer);
            }
            Command::Delivered {
                consumer,
                time,
                first_delivery,
                seqs,
            } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_delivered(first_delivery, &seqs, time);
                }
            }
            Command::Deferred { consumer, waits } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_deferred(&waits);
                }
            }
            Command::GivenUp { consumer, seqs } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_given_up(&seqs);
                }
            }
            Command::ResetConsumer { consumer, seq } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.reset(seq, &mut self.messages)?;
                }
            }
            Command::Placed { consumer, place, gone } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_placed(place, &gone);
                }
            }
            Command::Acked { consumer, seqs } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_acked(&seqs);
                }
            }
            Command::Removing { json } => self.resume_removals(from_json(&json)?)?,
            Command::Copied { through, key } => self.replay_copied(through, &key),
            // What is here was unpacked by the shard, which has looked whether the log has what it should.
            Command::Moved { .. } | Command::Aside { .. } | Command::Void { .. } | Command::PublishAgain { .. } => {}
            Command::CreateStream { .. } | Command::DeleteStream | Command::Together { .. } => {}
        }
        self.messages.removed.clear();
        Ok(())
    }

    /// What consumers have still to send is counted anew.
    ///
    /// # Errors
    /// If storage cannot be read.
    #[cfg(feature = "conformance")]
    pub(crate) fn recount(&mut self) -> Result<()> {
        let mut consumers = self.consumers.values_mut();
        consumers.try_for_each(|consumer| consumer.recount(&mut self.messages))
    }

    /// After replay: what consumers count is counted anew.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn recovered(&mut self) -> Result<()> {
        self.messages.removed.clear();
        for consumer in self.consumers.values_mut() {
            // A checkpoint has it as it is now.
            self.unsaved |= consumer.recovered(&mut self.messages)?;
        }
        Ok(())
    }

    /// Takes over from what was this stream before it was opened anew: the consumers that end with the process, and those
    /// who take over its messages.
    pub(crate) fn take_over(&mut self, before: &mut Self) -> Result<()> {
        self.copiers = std::mem::take(&mut before.copiers);
        for (serial, mut consumer) in std::mem::take(&mut before.consumers) {
            if !consumer.is_persistent() && !self.consumers.contains_key(&serial) {
                consumer.queued = false;
                let _ = consumer.recovered(&mut self.messages)?;
                self.add_consumer(consumer);
                self.enqueue(serial);
            }
        }
        Ok(())
    }

    /// Takes up a consumer from a snapshot.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn resume_consumer(&mut self, snapshot: ConsumerSnapshot, now: NanoTime) -> Result<()> {
        if self.consumers.contains_key(&snapshot.serial) {
            return Ok(());
        }
        snapshot.check()?;
        let name = self.consumer_name(&snapshot.name);
        let consumer = Consumer::resume(name, snapshot, now, &mut self.messages)?;
        self.add_consumer(consumer);
        Ok(())
    }
}
