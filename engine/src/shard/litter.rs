//! Memory that a shard has no use for any more, given back beside it: that of the index of a million subjects takes a quarter of a second.

use crate::index::Litter;
use crate::shard::Shard;

/// Pieces of memory that the shard gives back itself: that takes about a millisecond.
const AT_ONCE: usize = 4096;

impl Shard {
    /// Gives back what is left of an index. One at a time is given back beside the shard: what comes faster than that has to be waited for.
    pub(super) fn give_back(&mut self, litter: Litter) {
        if litter.pieces() <= AT_ONCE || self.giving_back.as_ref().is_some_and(|errand| !errand.is_over()) {
            return;
        }
        let mut litter = Some(litter);
        let work = move || {
            drop(litter.take());
            Some(())
        };
        match self
            .env
            .errands
            .begin(format!("weir-free-{}", self.number), Box::new(work))
        {
            Ok(errand) => self.giving_back = Some(errand),
            Err(error) => tracing::warn!(shard = %self.number, "memory was given back without a thread: {error}"),
        }
    }
}
