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
    /// Held for the length of a sync: a second one must not answer before the first has finished what it took. Holds
    /// why one failed: what it took is not marked any more, so that no later one may say that all is well.
    running: Mutex<Option<String>>,
    /// Whether the log was removed: what cannot be synced any more need not be.
    gone: AtomicBool,
    /// Whether the log is a journal.
    pub is_journal: AtomicBool,
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
            gone: AtomicBool::new(false),
            is_journal: AtomicBool::new(false),
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

    /// Does something while no sync is under way: what a sync has taken cannot be forgotten any more.
    pub fn undisturbed<T>(&self, work: impl FnOnce() -> T) -> T {
        let _running = self.running.lock();
        work()
    }

    /// Whether the log was removed.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Forgets everything: the log is about to be removed.
    pub fn clear(&self) {
        self.gone.store(true, Ordering::Release);
        *self.dirty.lock() = Dirty::default();
    }

    /// Makes durable what was written before the call; `aside` from what others wait for, who need the disk meanwhile.
    /// A journal never is: each turn syncs it, and would wait for the lock.
    pub fn sync(&self, aside: bool) -> io::Result<()> {
        let aside = aside && !self.is_journal.load(Ordering::Relaxed);
        let mut failed = self.running.lock();
        if let Some(why) = &*failed {
            return Err(io::Error::other(format!("an earlier sync failed: {why}")));
        }
        let result = match self.sync_marked(aside) {
            // Its files went while they were synced.
            Err(_) if self.is_gone() => Ok(()),
            other => other,
        };
        if let Err(error) = &result {
            *failed = Some(error.to_string());
        }
        result
    }

    fn sync_marked(&self, aside: bool) -> io::Result<()> {
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
            file.sync(aside)?;
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

#[cfg(test)]
mod tests {
    use super::super::files::Mode;
    use super::super::tests::faulty::FaultyFiles;
    use super::*;

    #[test]
    fn after_a_failed_sync_no_other_says_that_all_is_well() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(FaultyFiles::default());
        let handles = Arc::new(Handles::new(files.clone(), false));
        let syncer = Syncer::new(handles.clone(), dir.path().into(), dir.path().into());
        let path = dir.path().join("file");
        let handle = Handle::new(&handles, path.clone(), 0);
        handle.adopt(handles.open(&path, Mode::Create).unwrap());
        syncer.mark(&handle);
        syncer.written.store(1, Ordering::Release);
        files.fail_at(1, false);
        assert!(syncer.sync(false).is_err());
        // As another thread may ask before the backend is told of the failure.
        assert!(syncer.sync(false).is_err());
        assert_eq!(syncer.durable.load(Ordering::Acquire), 0);
    }
}
