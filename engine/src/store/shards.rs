//! The ways to the shards of a store: any thread looks one up without a lock, for it does so with every batch of messages.
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::shard::ShardHandle;
use crate::types::ShardId;

/// Those that are open.
pub(crate) struct Shards {
    /// By id.
    open: ArcSwap<Vec<(ShardId, ShardHandle)>>,
    /// How many the store was opened with.
    local: usize,
    /// In the place of one that is not there.
    ended: ShardHandle,
}

impl Shards {
    /// Those that the store is opened with, in the order of their ids.
    pub fn new(local: Vec<(ShardId, ShardHandle)>) -> Self {
        Self {
            local: local.len(),
            open: ArcSwap::from_pointee(local),
            ended: ShardHandle::ended(),
        }
    }

    /// The way to a shard; one that is not there is as one that has ended.
    pub fn get(&self, id: ShardId) -> ShardHandle {
        let open = self.open.load();
        match open.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => open[at].1.clone(),
            Err(_) => self.ended.clone(),
        }
    }

    /// One is there from now on; answers whether there was none of that id. Nobody else may change which there are meanwhile.
    pub fn put(&self, id: ShardId, handle: ShardHandle) -> bool {
        let mut open = Vec::clone(&self.open.load());
        match open.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(_) => false,
            Err(at) => {
                open.insert(at, (id, handle));
                self.open.store(Arc::new(open));
                true
            }
        }
    }

    /// One is there no more: answers the way to it, if it was. Nobody else may change which there are meanwhile.
    pub fn take(&self, id: ShardId) -> Option<ShardHandle> {
        let mut open = Vec::clone(&self.open.load());
        let at = open.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, handle) = open.remove(at);
        self.open.store(Arc::new(open));
        Some(handle)
    }

    /// Those that are there, in order.
    pub fn ids(&self) -> Vec<ShardId> {
        self.open.load().iter().map(|(id, _)| *id).collect()
    }

    /// How many the store was opened with: each new stream of its own belongs to one of them.
    pub fn local(&self) -> usize {
        self.local
    }
}
