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

    /// A name in the log's directory changed.
    pub fn mark_dir(&self) {
        self.dirty.lock().dir = true;
        self.any.store(true, Ordering::Release);
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
        let dirty = std::mem::take(&mut *self.dirty.lock());
        for file in &dirty.files {
            // Before the sync: a write from here on marks it again.
            file.dirty.store(false, Ordering::Release);
        }
        for file in &dirty.files {
            file.sync()?;
        }
        if dirty.dir {
            self.handles.files.sync_dir(&self.dir)?;
        }
        if dirty.parent {
            self.handles.files.sync_dir(&self.parent)?;
        }
        self.durable.fetch_max(covered, Ordering::AcqRel);
        Ok(())
    }
}
