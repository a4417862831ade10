//! Room for what consumers deliver.
//!
//! Messages of a stream can wait where they are. So consumers fill only a part of what may wait for a client: they are
//! promised room before they deliver, and those that find none are woken when the client has read enough.

use std::sync::Arc;

use parking_lot::MutexGuard;
use weir_engine::shard::emit::ConsumerName;

use super::Link;
use super::outbound::Outbound;

impl Link {
    /// Of `wanted` bytes, how many `consumer` may deliver; [`redeem`](Self::redeem) ends the promise. 0: the consumer is
    /// woken when there is room.
    pub(crate) fn promise(&self, consumer: &Arc<ConsumerName>, wanted: usize) -> usize {
        let mut out = self.outbound.lock();
        let free = match (out.ended, out.shut) {
            // What is sent there goes nowhere, and costs nothing.
            (true, _) => usize::MAX,
            (false, true) => 0,
            (false, false) => self.deliver_max.saturating_sub(out.pending() + out.promised),
        };
        let promised = free.min(wanted);
        if promised == 0 {
            out.waiting.insert(Arc::clone(consumer));
        }
        out.promised += promised;
        promised
    }

    /// What was promised has been delivered, or will not be.
    pub(crate) fn redeem(&self, promised: usize) {
        let mut out = self.outbound.lock();
        out.promised -= promised;
        self.made_room(out);
    }

    /// The end of everything that makes less wait for the client: wakes those who wait for that.
    pub(super) fn made_room(&self, mut out: MutexGuard<'_, Outbound>) {
        if out.waiting.is_empty() || out.shut || out.pending() + out.promised > self.deliver_max / 2 {
            return;
        }
        let waiting = std::mem::take(&mut out.waiting);
        drop(out);
        self.context.rouse(waiting.into_iter().collect());
    }

    /// Nothing goes to the client any more: those who wait for room do something else.
    pub(crate) fn end_waiting(&self) {
        let mut out = self.outbound.lock();
        out.ended = true;
        let waiting = std::mem::take(&mut out.waiting);
        drop(out);
        self.context.rouse(waiting.into_iter().collect());
    }
}
