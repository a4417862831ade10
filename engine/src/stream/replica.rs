//! A stream that has replicas: what follows keeps what a stream alone would let end with its process, and what stops leading lets go of
//! those who wait.

use crate::consumer::Consumer;
use crate::error::Result;
use crate::stream::Stream;
use crate::types::NanoTime;

impl Stream {
    /// Others have it, too: consumers in memory are there as long as any replica is.
    pub(crate) fn become_replica(&mut self) {
        self.is_replica = true;
        for consumer in self.consumers.values_mut() {
            consumer.is_replica = true;
        }
    }

    /// It decides from now on: what consumers have still to send is counted anew, and none has been idle yet.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn begin_to_lead(&mut self, now: NanoTime) -> Result<()> {
        for (&serial, consumer) in &mut self.consumers {
            consumer.begin_to_lead(now);
            consumer.recount(&mut self.messages)?;
            self.progressed.push(serial);
        }
        Ok(())
    }

    /// It decides no longer: whoever waits for something is let go of, and consumers stand where the facts leave them.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn stand_down(&mut self, now: NanoTime) -> Result<()> {
        self.atomic.clear();
        self.fast.clear();
        drop(self.take_waiting());
        (self.queue, self.progressed, self.cold) = (Vec::new(), Vec::new(), Vec::new());
        (self.awaits_age, self.not_before) = (false, NanoTime::MIN);
        for consumer in self.consumers.values_mut() {
            let snapshot = consumer.snapshot();
            let fresh = Consumer::resume(consumer.name.clone(), snapshot, now, &mut self.messages)?;
            consumer.stand_down(fresh);
        }
        Ok(())
    }
}
