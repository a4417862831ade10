//! A consumer of a stream that has replicas.

use crate::consumer::Consumer;
use crate::types::NanoTime;

impl Consumer {
    /// Its stream decides from now on.
    pub fn begin_to_lead(&mut self, now: NanoTime) {
        self.idle_since = now;
        self.queued = false;
    }

    /// Its stream decides no longer: it is `fresh` from now on, which stands where it does and knows nobody who waits.
    pub fn stand_down(&mut self, fresh: Self) {
        let before = std::mem::replace(self, fresh);
        self.is_replica = true;
        self.last_delivery = before.last_delivery;
        self.last_ack = before.last_ack;
        // A purge that is under way is gone on with by whoever leads.
        self.doomed = before.doomed;
    }
}
