//! What a compaction that nobody else waits for has done by threads beside it: the segments that come next are read from the disk
//! meanwhile, and those that are done are let go of. The file system frees a file's pages and blocks with its last map, which takes as
//! long as half of the writing.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use bytes::Bytes;

use super::state::SegRef;

/// Segments that are asked of the disk before their turn comes.
pub(super) const FETCHED: usize = 3;

/// The threads, which end when this goes.
pub(super) struct Beside {
    fetching: Option<SyncSender<SegRef>>,
    letting_go: Option<SyncSender<Bytes>>,
    /// The numbers of the segments that were asked for.
    asked: BTreeSet<u64>,
}

impl Beside {
    /// Begins them. Where everything is done by one thread, or no other can be had, they do nothing.
    pub fn begin<'s>(scope: &'s Scope<'s, '_>, is_threaded: bool) -> Self {
        fn begun<'s, T: Send + 's>(
            scope: &'s Scope<'s, '_>,
            bound: usize,
            work: impl FnOnce(Receiver<T>) + Send + 's,
        ) -> Option<SyncSender<T>> {
            let (sender, receiver) = sync_channel(bound);
            let thread = std::thread::Builder::new().name("weir-compact".to_owned());
            thread.spawn_scoped(scope, move || work(receiver)).ok().map(|_| sender)
        }
        let fetch = |segs: Receiver<SegRef>| segs.into_iter().for_each(|s| s.seg.handle.fetch());
        // One at a time: as long as it is mapped, it counts as this process's memory.
        let let_go = |maps: Receiver<Bytes>| maps.into_iter().for_each(drop);
        Self {
            fetching: is_threaded.then(|| begun(scope, FETCHED, fetch)).flatten(),
            letting_go: is_threaded.then(|| begun(scope, 0, let_go)).flatten(),
            asked: BTreeSet::new(),
        }
    }

    /// Has the segments read that come next, and were not yet asked for.
    pub fn fetch(&mut self, segs: &[SegRef]) {
        for s in segs {
            if let Some(fetching) = &self.fetching
                && self.asked.insert(s.seg.identity.id)
            {
                // It ends with the sender.
                let _ = fetching.send(s.clone());
            }
        }
    }

    /// Lets go of a map of a file whose name is gone.
    pub fn let_go(&self, map: Bytes) {
        if let Some(letting_go) = &self.letting_go {
            let _ = letting_go.send(map);
        }
    }
}
