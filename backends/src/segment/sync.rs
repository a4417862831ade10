//! What was written and not yet synced, for one log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::handle::{Handle, Handles};

#[derive(Default)]
struct Dirty {
    files: Vec<Arc<Handle>>,
    dir: bool,
    parent: bool,
    /// How often names in the log's directory changed.
    dir_changes: u64,
}

/// Shared by a log's writer and the backend, which may sync it from another thread.
pub struct Syncer {
    handles: Arc<Handles>,
    dir: PathBuf,
    parent: PathBuf,
    /// The number of the last batch written.
    pub written: AtomicU64,
    /// The number of the last batch known to be durable.
    pub durable: AtomicU64,
    /// So many changes of names in the log's directory are on disk.
    dir_durable: AtomicU64,
    any: AtomicBool,
    dirty: Mutex<Dirty>,
    /// Held for the length of a sync: a second one must not answer before the first has finished what it took.
    running: Mutex<()>,
}

impl Syncer {
    /// Nothing is dirty yet.
    pub fn new(handles: Arc<Handles>, dir: PathBuf, parent: PathBuf) -> Self {
        Self {
            handles,
            dir,
            parent,
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            dir_durable: AtomicU64::new(0),
            any: AtomicBool::new(false),
            dirty: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// The file was written to.
    pub fn mark(&self, handle: &Arc<Handle>) {
        if !handle.dirty.swap(true, Ordering::AcqRel) {
            self.dirty.lock().files.push(handle.clone());
            self.any.store(true, Ordering::Release);
        }
    }

    /// A name in the log's directory changed. Answers how many did until now, for
    /// [`has_names`](Self::has_names).
    pub fn mark_dir(&self) -> u64 {
        let mut dirty = self.dirty.lock();
        dirty.dir = true;
        dirty.dir_changes += 1;
        let changes = dirty.dir_changes;
        drop(dirty);
        self.any.store(true, Ordering::Release);
        changes
    }

    /// Whether so many changes of names in the log's directory are on disk.
    pub fn has_names(&self, changes: u64) -> bool {
        self.dir_durable.load(Ordering::Acquire) >= changes
    }

    /// The log's directory was made.
    pub fn mark_parent(&self) {
        self.dirty.lock().parent = true;
        self.any.store(true, Ordering::Release);
    }

    /// The file's name is gone: there is nothing to sync any more.
    pub fn forget(&self, handle: &Arc<Handle>) {
        self.dirty.lock().files.retain(|f| !Arc::ptr_eq(f, handle));
    }

    /// Forgets everything: the log was removed.
    pub fn clear(&self) {
        *self.dirty.lock() = Dirty::default();
    }

    /// Makes durable what was written before the call.
    pub fn sync(&self) -> io::Result<()> {
        let _running = self.running.lock();
        let covered = self.written.load(Ordering::Acquire);
        if !self.any.swap(false, Ordering::AcqRel) {
            self.durable.fetch_max(covered, Ordering::AcqRel);
            return Ok(());
        }
        let dirty = {
            let mut now = self.dirty.lock();
            let dir_changes = now.dir_changes;
            std::mem::replace(
                &mut *now,
                Dirty {
                    dir_changes,
                    ..Dirty::default()
                },
            )
        };
        for file in &dirty.files {
            // Before the sync: a write from here on marks it again.
            file.dirty.store(false, Ordering::Release);
        }
        for file in &dirty.files {
            file.sync()?;
        }
        if dirty.dir {
            self.handles.files.sync_dir(&self.dir)?;
            self.dir_durable.fetch_max(dirty.dir_changes, Ordering::AcqRel);
        }
        if dirty.parent {
            self.handles.files.sync_dir(&self.parent)?;
        }
        self.durable.fetch_max(covered, Ordering::AcqRel);
        Ok(())
    }
}
