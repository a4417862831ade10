//! Syncs of a journal, or of logs, beside their shard, which decides and writes the next turns meanwhile.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::backend::SyncBeside;
use crate::error::{Error, Result};
use crate::shard::errand::Errand;
use crate::shard::offline::contained;
use crate::shard::{Input, ShardHandle};
use crate::store::Environment;
use crate::stream::messages::TurnNumber;

/// Who syncs: a thread, or whoever steps the store.
pub(super) struct Syncing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Where the store is stepped: the sync that waits for its step.
    stepped: Option<Errand<()>>,
}

struct Shared {
    sync: SyncBeside,
    env: Arc<Environment>,
    handle: ShardHandle,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The last turn that is to be synced.
    wanted: TurnNumber,
    /// The last turn that is.
    done: TurnNumber,
    /// Why a sync failed: no later one is tried.
    failed: Option<Error>,
    ended: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.done >= self.wanted || self.failed.is_some()
    }
}

impl Shared {
    /// One sync, of all that is wanted when it begins.
    fn sync(&self) {
        let wanted = {
            let state = self.state.lock();
            if state.ended || state.is_idle() {
                return;
            }
            state.wanted
        };
        let synced = contained(|| self.env.timed(|| (self.sync)()));
        let mut state = self.state.lock();
        match synced {
            Ok(()) => state.done = wanted,
            Err(error) => state.failed = Some(error),
        }
        drop(state);
        self.changed.notify_all();
        // A shard that is gone needs no answer.
        let _ = self.handle.send(vec![Input::Committed]);
    }

    fn run(&self) {
        loop {
            let mut state = self.state.lock();
            while state.is_idle() && !state.ended {
                self.changed.wait(&mut state);
            }
            if state.ended {
                return;
            }
            drop(state);
            self.sync();
        }
    }
}

impl Syncing {
    /// Begins it for a shard, which wants `sync`, with the name of a thread for it.
    ///
    /// # Errors
    /// If that thread cannot be started.
    pub fn begin(name: String, sync: SyncBeside, env: Arc<Environment>, handle: ShardHandle) -> io::Result<Self> {
        let is_stepped = env.errands.are_stepped();
        let shared = Arc::new(Shared {
            sync,
            env,
            handle,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let mut thread = None;
        if !is_stepped {
            let shared = shared.clone();
            let named = std::thread::Builder::new().name(name);
            thread = Some(named.spawn(move || shared.run())?);
        }
        Ok(Self {
            shared,
            thread,
            stepped: None,
        })
    }

    /// Has a sync made of what that turn wrote, and all before it.
    pub fn want(&mut self, turn: TurnNumber) {
        let was_idle = {
            let mut state = self.shared.state.lock();
            let was_idle = state.is_idle();
            state.wanted = turn;
            was_idle
        };
        if self.thread.is_some() {
            if was_idle {
                self.shared.changed.notify_all();
            }
        } else if self.stepped.as_ref().is_none_or(Errand::is_over) {
            let shared = self.shared.clone();
            let sync = move || {
                shared.sync();
                Some(())
            };
            self.stepped = self.shared.env.errands.begin(String::new(), Box::new(sync)).ok();
        }
    }

    /// The last turn that is synced.
    ///
    /// # Errors
    /// If a sync failed.
    pub fn done(&self) -> Result<TurnNumber> {
        let state = self.shared.state.lock();
        state.failed.clone().map_or(Ok(state.done), Err)
    }

    /// Waits until that turn is synced, which must be wanted.
    ///
    /// # Errors
    /// If a sync failed.
    pub fn wait(&mut self, turn: TurnNumber) -> Result<()> {
        if self.thread.is_none() {
            self.shared.sync();
        }
        let mut state = self.shared.state.lock();
        while state.done < turn.min(state.wanted) && state.failed.is_none() {
            self.shared.changed.wait(&mut state);
        }
        state.failed.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Syncing {
    /// Whoever opens the journal next must not meet a sync of this one.
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // What it panicked with was said.
            let _ = thread.join();
        }
    }
}
