//! A store whose shards run when they are told to, all on the caller's thread, so that a simulation decides what happens
//! in which order and can repeat it. For tests: nothing here waits, and a call that waits for a shard would wait for ever.

mod group;
mod twin;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;
use crate::scrub::{ScrubStatus, Scrubber};
use crate::shard::emit::Outlet;
use crate::shard::errand::Errands;
use crate::shard::{Input, Role, Runner};
use crate::store::{Environment, OpenBackend, Runners, Store, StoreOptions};
use crate::types::ShardId;

pub use group::{Group, Replica};
pub use twin::Twin;

/// The store. Dropping it is what a killed process leaves: nothing more is written.
pub struct SteppedStore {
    store: Store,
    env: Arc<Environment>,
    /// Those that have not ended.
    runners: Runners,
    scrubber: Option<Scrubber>,
    scrubbed: Arc<Mutex<ScrubStatus>>,
}

impl SteppedStore {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(
        open: OpenBackend,
        options: StoreOptions,
        outlet: impl FnMut(ShardId) -> Box<dyn Outlet>,
    ) -> Result<Self> {
        Self::open_as(open, options, outlet, Role::Alone)
    }

    /// Opens it with shards of that role.
    fn open_as(
        open: OpenBackend,
        options: StoreOptions,
        outlet: impl FnMut(ShardId) -> Box<dyn Outlet>,
        role: Role,
    ) -> Result<Self> {
        let scrub = options.scrub;
        let (store, runners, env) = Store::prepare(open, options, outlet, Errands::stepped(), role)?;
        let scrubbed: Arc<Mutex<ScrubStatus>> = Arc::default();
        let scrubber = scrub
            .map(|options| Scrubber::new(env.clone(), store.ways(), options, scrubbed.clone(), Box::new(|_| true)));
        Ok(Self {
            store,
            env,
            scrubber,
            scrubbed,
            runners,
        })
    }

    /// The store: its catalogue, and the queues of its shards.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// [`Store::add_shard`].
    ///
    /// # Errors
    /// As there.
    pub fn add_shard(&mut self, id: ShardId, outlet: Box<dyn Outlet>) -> Result<()> {
        let runner = self.store.open_added(id, outlet)?;
        self.runners.insert(id, runner);
        Ok(())
    }

    /// [`Store::end_shard`]; what the shard has beside itself is done with it.
    ///
    /// # Errors
    /// As there.
    pub fn end_shard(&mut self, id: ShardId) -> Result<()> {
        // A shard that stopped by itself needs no telling.
        let _ = self.store.take_added(id)?.send(vec![Input::Close]);
        while self.turn(id) {}
        self.store.forget_streams(id);
        Ok(())
    }

    /// One turn of a shard with all that waits for it, or its next try to open its storage anew. Answers whether it goes
    /// on.
    pub fn turn(&mut self, shard: ShardId) -> bool {
        let Some(runner) = self.runners.get_mut(&shard) else {
            return false;
        };
        let goes_on = runner.go_round(false);
        if !goes_on {
            self.runners.remove(&shard);
        }
        goes_on
    }

    /// From now on the shards go on while their journals are synced, which are errands then, wherever they may.
    pub fn hurry(&mut self) {
        for runner in self.runners.values_mut() {
            runner.hurries = true;
        }
    }

    /// Whether the storage of a shard failed, and is not opened anew yet.
    pub fn is_broken(&self, shard: ShardId) -> bool {
        self.runners.get(&shard).is_some_and(Runner::is_broken)
    }

    /// How often the storage of a shard was opened anew, or tried to be.
    pub fn openings(&self, shard: ShardId) -> u64 {
        self.runners.get(&shard).map_or(0, Runner::openings)
    }

    /// Whether a shard has something to do that it begins by itself, without time passing.
    pub fn is_busy(&self, shard: ShardId) -> bool {
        self.runners.get(&shard).is_some_and(Runner::is_busy)
    }

    /// How many checkpoints are being written and streams opened anew, beside the shards.
    pub fn errands(&self) -> usize {
        self.env.errands.waiting()
    }

    /// Does the next piece of the `n`-th of these, if there are as many.
    pub fn step_errand(&self, n: usize) {
        self.env.errands.step(n);
    }

    /// Has the scrubber, if the options ask for one, do its next piece; what it asks the shards for they answer with their turns.
    pub fn scrub(&mut self) {
        let now = (self.env.clock)();
        if let Some(scrubber) = &mut self.scrubber {
            scrubber.step(now);
        }
    }

    /// How far the scrubber is.
    pub fn scrubbed(&self) -> ScrubStatus {
        self.scrubbed.lock().clone()
    }

    /// Writes the last checkpoints and stops.
    pub fn close(mut self) {
        if let Some(scrubber) = &mut self.scrubber {
            scrubber.save((self.env.clock)());
        }
        for shard in self.store.shards() {
            // A shard that stopped by itself needs no telling.
            let _ = self.store.shard(shard).send(vec![Input::Close]);
            while self.turn(shard) {}
        }
    }
}

impl Drop for SteppedStore {
    fn drop(&mut self) {
        self.runners.clear();
        self.env.errands.clear();
    }
}
