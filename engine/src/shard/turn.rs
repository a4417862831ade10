//! One turn of a shard: the changes that share one journal write, and what leaves the shard after it.

use crate::shard::command::Commands;
use crate::shard::emit::{Emit, Outlet};
use crate::types::{NanoTime, Nanos};

/// Bytes that consumers may be sent in one turn, so that a long replay does not hold up publishers.
const DELIVER_BYTES: usize = 4 << 20;

/// What a turn gathers.
pub(crate) struct Turn<'a> {
    /// The time of everything that happens in this turn.
    pub now: NanoTime,
    /// For the journal.
    pub commands: Commands,
    /// For the world, after the journal.
    pub emits: Vec<Emit>,
    /// Whether something must be on disk before anything leaves.
    pub sync: bool,
    /// Something must be on disk this many nanoseconds from now.
    pub sync_within: Option<Nanos>,
    /// Whom to ask for interest.
    pub outlet: &'a mut dyn Outlet,
    /// Bytes that consumers may still be sent.
    pub budget: usize,
}

impl<'a> Turn<'a> {
    pub fn new(now: NanoTime, commands: Commands, emits: Vec<Emit>, outlet: &'a mut dyn Outlet) -> Self {
        Self {
            now,
            commands,
            emits,
            sync: false,
            sync_within: None,
            outlet,
            budget: DELIVER_BYTES,
        }
    }

    /// Something must be on disk `nanos` from now.
    pub fn sync_within(&mut self, nanos: Nanos) {
        self.sync_within = Some(self.sync_within.map_or(nanos, |before| before.min(nanos)));
    }
}
