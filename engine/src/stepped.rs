//! A store whose shards run when they are told to, all on the caller's thread, so that a simulation decides what happens
//! in which order and can repeat it. For tests: nothing here waits, and a call that waits for a shard would wait for ever.

mod twin;

use std::sync::Arc;

use crate::error::Result;
use crate::shard::emit::Outlet;
use crate::shard::errand::Errands;
use crate::shard::{Input, Runner};
use crate::store::{Environment, OpenBackend, Store, StoreOptions};

pub use twin::Twin;

/// The store. Dropping it is what a killed process leaves: nothing more is written.
pub struct SteppedStore {
    store: Store,
    env: Arc<Environment>,
    /// Those that have not ended.
    runners: Vec<Option<Runner>>,
}

impl SteppedStore {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(
        open: OpenBackend,
        options: StoreOptions,
        outlet: impl FnMut(usize) -> Box<dyn Outlet>,
    ) -> Result<Self> {
        let (store, runners, env) = Store::prepare(open, options, outlet, Errands::stepped())?;
        Ok(Self {
            store,
            env,
            runners: runners.into_iter().map(Some).collect(),
        })
    }

    /// The store: its catalogue, and the queues of its shards.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// One turn of a shard with all that waits for it, or its next try to open its storage anew. Answers whether it goes
    /// on.
    pub fn turn(&mut self, shard: usize) -> bool {
        let Some(Some(runner)) = self.runners.get_mut(shard) else {
            return false;
        };
        let goes_on = runner.go_round(false);
        if !goes_on {
            self.runners[shard] = None;
        }
        goes_on
    }

    /// Whether the storage of a shard failed, and is not opened anew yet.
    pub fn is_broken(&self, shard: usize) -> bool {
        let runner = self.runners.get(shard).and_then(Option::as_ref);
        runner.is_some_and(Runner::is_broken)
    }

    /// Whether a shard has something to do that it begins by itself, without time passing.
    pub fn is_busy(&self, shard: usize) -> bool {
        let runner = self.runners.get(shard).and_then(Option::as_ref);
        runner.is_some_and(Runner::is_busy)
    }

    /// How many checkpoints are being written and streams opened anew, beside the shards.
    pub fn errands(&self) -> usize {
        self.env.errands.waiting()
    }

    /// Does the next piece of the `n`-th of these, if there are as many.
    pub fn step_errand(&self, n: usize) {
        self.env.errands.step(n);
    }

    /// Writes the last checkpoints and stops.
    pub fn close(mut self) {
        for shard in 0..self.runners.len() {
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
