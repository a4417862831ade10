//! One turn of a shard: the changes that share one journal write, and what leaves the shard after it.

use crate::shard::command::Commands;
use crate::shard::emit::{Emit, Outlet};
use crate::stream::SEARCH_LOOKS;
use crate::types::{NanoTime, Nanos, StreamId};

/// Bytes that consumers may be sent in one turn, so that a long replay does not hold up publishers.
const DELIVER_BYTES: usize = 1 << 20;
/// Messages that removals may look at in one turn, in all streams of the shard: about 2 ms of work.
const REMOVALS: usize = 1024;
/// Heads that are read in about the time of one such look, by a removal in search of what is to go.
const LOOKS: usize = 2;

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
    /// Messages and subjects that searches may still look at.
    pub searches: usize,
    /// Messages and subjects that consumers may still look at for what comes next.
    pub scans: usize,
    /// Messages that removals may still look at.
    removals: usize,
    /// A removal of this stream has begun, and goes on in the next turn.
    pub removing: Option<StreamId>,
    /// What ids are made of; never the same in two turns.
    entropy: u64,
}

impl<'a> Turn<'a> {
    pub fn new(now: NanoTime, entropy: u64, commands: Commands, emits: Vec<Emit>, outlet: &'a mut dyn Outlet) -> Self {
        Self {
            now,
            commands,
            emits,
            sync: false,
            sync_within: None,
            outlet,
            budget: DELIVER_BYTES,
            searches: SEARCH_LOOKS,
            scans: SEARCH_LOOKS,
            removals: REMOVALS,
            removing: None,
            entropy,
        }
    }

    /// Removals looked at so many messages.
    pub fn removed(&mut self, count: usize) {
        self.removals = self.removals.saturating_sub(count);
    }

    /// How many messages removals may still look at on their way to one that goes.
    pub fn looks(&self) -> usize {
        self.removals.saturating_mul(LOOKS)
    }

    /// Of these, so many are left.
    pub fn looked(&mut self, left: usize) {
        self.removals = left.div_ceil(LOOKS);
    }

    /// How many messages removals may still look at.
    pub fn removals(&self) -> usize {
        self.removals
    }

    /// Something must be on disk `nanos` from now.
    pub fn sync_within(&mut self, nanos: Nanos) {
        self.sync_within = Some(self.sync_within.map_or(nanos, |before| before.min(nanos)));
    }

    /// A number that is not repeated; it can be foretold from the one before it.
    pub fn chance(&mut self) -> u64 {
        self.entropy = mix(self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15));
        self.entropy
    }

    /// So many letters and digits that nobody was given before.
    pub fn letters(&mut self, count: usize) -> String {
        crate::names::spell((0..count).map(|_| self.chance()))
    }
}

/// Spreads the bits of a number over all of it (SplitMix64).
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
