//! Shards that come and go while the store runs: a replica of streams that others have as well is one.
//!
//! Such a shard is not opened with the store, which only knows that there is one: its journal, its streams' logs and what checkpoints have
//! of these are left alone until it is added again. The ids of its streams are not the store's own to give
//! ([`StreamId::is_local`](crate::StreamId::is_local)), so that nothing of it ever moves those.

use std::sync::Arc;

use super::{Environment, Runner, Shard, ShardHandle, Store, remove_log, spawn, write_store};
use crate::error::{Error, Result};
use crate::shard::emit::Outlet;
use crate::shard::{Input, Role};
use crate::stream::settings::BackendKind;
use crate::types::ShardId;

impl Store {
    /// Opens a shard beside those that the store was opened with: its journal, and all its streams; a new one, if there was none of that id.
    /// What its streams cause goes out by `outlet`. Waits for all that: not for an async worker. A shard whose journal cannot be opened
    /// is there all the same, as one of those would be, its streams offline.
    ///
    /// A stream of it that has the name of one which is there already keeps what it has, and nobody finds it: it is for the caller
    /// that no two have one name.
    ///
    /// # Errors
    /// [`Invalid`](crate::Kind::Invalid) if the id is a [local](ShardId::is_local) one, above [`ShardId::MAX`], or the shard is there;
    /// [`Closed`](crate::Kind::Closed) if the store is; or that not even the catalogue can be read or written.
    pub fn add_shard(&self, id: ShardId, outlet: Box<dyn Outlet>) -> Result<()> {
        let mut threads = self.threads.lock();
        let runner = self.open_added(id, outlet)?;
        match spawn(id, runner, &self.catalogue) {
            Ok(thread) => {
                threads.insert(id, thread);
                Ok(())
            }
            Err(error) => {
                self.shards.take(id);
                self.forget_streams(id);
                Err(error)
            }
        }
    }

    /// Ends a shard that was [added](Self::add_shard): its last checkpoint is written, as far as that can be, and its streams leave the
    /// catalogue; those in memory are gone. Whatever is asked of it from now on is answered as [`Closed`](crate::Kind::Closed).
    /// Everything else stays on disk, and is there again when it is added again. Waits for all that, as [`Store::close`] does.
    ///
    /// # Errors
    /// [`Invalid`](crate::Kind::Invalid) if no such shard was added.
    pub fn end_shard(&self, id: ShardId) -> Result<()> {
        let mut threads = self.threads.lock();
        // A shard that stopped by itself needs no telling.
        let _ = self.take_added(id)?.send(vec![Input::Close]);
        if let Some(thread) = threads.remove(&id)
            && thread.join().is_err()
        {
            tracing::error!(shard = %id, "a shard's thread panicked");
        }
        self.forget_streams(id);
        Ok(())
    }

    /// [`Store::add_shard`] for who runs the shards.
    pub(crate) fn open_added(&self, id: ShardId, outlet: Box<dyn Outlet>) -> Result<Runner> {
        if id.is_local() || id > ShardId::MAX {
            let (from, to) = (ShardId::FIRST_ADDED, ShardId::MAX);
            return Err(Error::invalid(format!(
                "a shard that is added has an id from {from} to {to}, not {id}"
            )));
        }
        let env = self.env.upgrade().ok_or_else(|| Error::closed("the store is closed"))?;
        let (handle, inbox, load) = ShardHandle::new(self.queue);
        // Whoever sees a stream of it in the catalogue finds the way to it.
        if !self.shards.put(id, handle.clone()) {
            return Err(Error::invalid(format!("there is a shard {id} already")));
        }
        let opened = note_added(&env, id).and_then(|()| open(id, &env));
        match opened {
            Ok(shard) => Ok(Runner::new(shard, handle, inbox, load, outlet)),
            Err(error) => {
                self.shards.take(id);
                self.forget_streams(id);
                Err(error)
            }
        }
    }

    /// Nobody finds the way to a shard any more that was added: answers that way.
    pub(crate) fn take_added(&self, id: ShardId) -> Result<ShardHandle> {
        let added = (!id.is_local()).then(|| self.shards.take(id)).flatten();
        added.ok_or_else(|| Error::invalid(format!("there is no shard {id} that was added")))
    }

    /// A shard is gone: so are its streams, for who looks for them, and those that nothing else has.
    pub(crate) fn forget_streams(&self, id: ShardId) {
        for entry in self.catalogue.all().iter().filter(|entry| entry.shard == id) {
            self.catalogue.remove(&entry.account, &entry.name, entry.id);
            if entry.settings.is_journaled() {
                continue;
            }
            let env = self.env.upgrade();
            let removed = env.map_or(Ok(()), |env| {
                let backend = env.backend(entry.settings.backend)?;
                remove_log(backend.as_ref(), entry.id.log(), &entry.settings)
            });
            if let Err(error) = removed {
                tracing::error!(log = %entry.id, "removing the log of a stream in memory: {error}");
            }
        }
        self.catalogue.set_trouble(id, None);
    }
}

fn open(id: ShardId, env: &Arc<Environment>) -> Result<Shard> {
    let mut shard = Shard::open_or_suspend(id, env, Role::Alone, (env.clock)())?;
    if !shard.is_suspended() {
        shard.drop_unfinished()?;
    }
    Ok(shard)
}

/// Notes that there is such a shard, before anything of it is: whoever opens the store knows then what not to take for its own.
fn note_added(env: &Environment, id: ShardId) -> Result<()> {
    let root = env.backend(BackendKind::Segment)?;
    let mut snapshot = super::read_store(root.kv().as_ref())?
        .ok_or_else(|| Error::damaged("the record of the store's format version and shards is missing"))?;
    if !snapshot.added.insert(id) {
        return Ok(());
    }
    write_store(root.as_ref(), snapshot)
}
