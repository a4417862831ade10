//! Unlinking segments that a log has no use for any more, beside its writer: those with no live record, and those that were
//! rewritten.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use weir_engine::{Result, Upkeep, UpkeepPiece};

use super::backend::Core;
use super::rows::Segment;
use super::state::Doing;
use super::sync::Syncer;

/// A segment to unlink.
pub(super) struct Unlink {
    pub seg: Arc<Segment>,
    /// Whether another has taken its place, whose name must be on disk first.
    pub replaced: bool,
}

impl Unlink {
    /// A segment with no live record.
    pub fn emptied(seg: Arc<Segment>) -> Self {
        Self { seg, replaced: false }
    }

    /// A segment that another has taken the place of.
    pub fn replaced(seg: Arc<Segment>) -> Self {
        Self { seg, replaced: true }
    }
}

/// Segments to unlink, in this order.
pub(super) type Unlinks = Arc<Mutex<VecDeque<Unlink>>>;

/// Unlinks them, one after the other. Broken off, it may be begun again.
pub(super) struct Unlinking {
    core: Arc<Core>,
    syncer: Arc<Syncer>,
    dir: PathBuf,
    queue: Unlinks,
    /// Whether names changed that may not be on disk.
    unsynced: bool,
}

impl Unlinking {
    pub fn new(core: Arc<Core>, syncer: Arc<Syncer>, dir: PathBuf, queue: Unlinks) -> Self {
        Self {
            core,
            syncer,
            dir,
            queue,
            unsynced: true,
        }
    }

    /// Makes the names in the log's directory durable.
    fn sync_names(&mut self) -> Result<()> {
        let result = self.core.handles.files.sync_dir(&self.dir).syncing(&self.dir);
        if let Err(error) = &result
            && !self.syncer.is_gone()
        {
            let _ = self.core.poison.set(error.message.clone());
        }
        self.unsynced = false;
        result
    }
}

impl Upkeep for Unlinking {
    fn step(&mut self) -> Result<UpkeepPiece> {
        let next = {
            let queue = self.queue.lock();
            queue.front().map(|next| (next.seg.clone(), next.replaced))
        };
        let Some((seg, replaced)) = next else {
            return Ok(UpkeepPiece { bytes: 0, over: true });
        };
        // Its erasures may not go before the records that they erase.
        let erases = seg.tomb_low.load(Ordering::Relaxed) != u64::MAX;
        if self.unsynced && (replaced || erases) {
            self.sync_names()?;
        }
        let path = &seg.handle.path;
        let removed = self.syncer.undisturbed(|| {
            // The writer marks none that is not in the queue.
            let mut queue = self.queue.lock();
            self.syncer.forget(&seg.handle);
            let removed = match self.core.handles.files.remove(path) {
                // An opening of the log was quicker.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            if removed.is_ok() {
                seg.handle.close();
                queue.pop_front();
            }
            removed
        });
        removed.doing("removing", path)?;
        self.unsynced = true;
        self.syncer.mark_dir();
        Ok(UpkeepPiece::default())
    }
}
