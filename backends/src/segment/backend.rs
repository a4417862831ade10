//! The backend: a directory with the logs and the key-value space.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use weir_engine::{Backend, Error, KeepStep, KeptIndex, Kind, Kv, Log, LogId, LogOptions, Recovery, Result};

use super::files::{Files, Lock, RealFiles};
use super::handle::Handles;
use super::kept::KeptFile;
use super::kv::{Belongs, Judge, KvCopy, Look, SegmentKv, folders};
use super::label;
use super::recover::recover;
use super::state::{Doing, Shared, State};
use super::sync::Syncer;
use super::worker::{Worker, remove_all};
use super::writer::SegmentLog;
use crate::regular;

/// What the backend knows of a log.
struct Known {
    open: bool,
    syncer: Arc<Syncer>,
    shared: Weak<Shared>,
    kept: Arc<Mutex<KeptFile>>,
}

/// What the backend and its logs share.
pub struct Core {
    logs_dir: PathBuf,
    pub(super) handles: Arc<Handles>,
    /// Why nothing can be written any more.
    pub(super) poison: OnceLock<String>,
    known: Mutex<BTreeMap<LogId, Known>>,
    pub(super) worker: Worker,
    /// Held while the store is open.
    _lock: Option<Lock>,
}

impl Core {
    /// What is kept of a log's index is not to be used any more: its sequences are given out once more.
    pub(super) fn forget_index(&self, id: LogId, dir: &Path) -> Result<()> {
        let kept = self.known.lock().get(&id).map(|known| known.kept.clone());
        let there = self.handles.files.len(&super::kept::path(dir)).is_ok();
        match kept {
            Some(kept) if there => kept.lock().forget(&self.handles, dir),
            _ => Ok(()),
        }
    }

    /// The log's writer is gone.
    pub(super) fn closed(&self, id: LogId) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            known.open = false;
        }
    }

    fn check(&self) -> Result<()> {
        match self.poison.get() {
            Some(why) => Err(Error::new(
                Kind::Poisoned,
                format!("an earlier sync of this store failed: {why}; open it anew"),
            )),
            None => Ok(()),
        }
    }
}

/// Logs in files of segments that are appended to and mapped for reading.
///
/// One directory: `logs/<id>/` with the segments of each log, `kv/` with the key-value space, and `LOCK`. Their
/// bytes are drawn in `docs/format.md`.
pub struct SegmentBackend {
    core: Arc<Core>,
    kv: Arc<SegmentKv>,
}

/// Of copies of the key-value space that have two histories the newer counts.
fn nobody_knows(_: Look<'_>) -> Belongs {
    Belongs::Unknown
}

impl SegmentBackend {
    /// Opens the store in a directory, or makes it. The directory's parent exists.
    ///
    /// # Errors
    /// If another process has the store open, or the directory cannot be read or made.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Arc::new(RealFiles))
    }

    /// As [`open`](Self::open), by somebody who can tell whether a key-value space is this store's.
    ///
    /// # Errors
    /// As there.
    pub fn open_judged(dir: &Path, judge: Judge<'_>) -> Result<Self> {
        Self::open_judged_with(dir, Arc::new(RealFiles), judge)
    }

    /// Opens the store in a folder of a disk in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "testing"))]
    pub fn open_on(disk: &Arc<super::disk::SimulatedDisk>, dir: &Path) -> Result<Self> {
        Self::open_with(dir, disk.clone())
    }

    /// Does one of the things that a thread does where there is one; answers whether there was one to do.
    #[cfg(any(test, feature = "testing"))]
    pub fn step_background(&self) -> bool {
        self.core.worker.step()
    }

    /// Unlinks the files of logs that were removed before a process ended, which the next opening does in the background, and gives
    /// back what the key-value files have that is out of date.
    ///
    /// # Errors
    /// If another process has the store open, or the files cannot be listed, unlinked or written.
    pub fn give_back(dir: &Path, judge: Judge<'_>) -> Result<()> {
        let files = RealFiles;
        let _lock = take_lock(&files, dir, false)?;
        let logs_dir = dir.join("logs");
        let left = files.list(&logs_dir).doing("listing", &logs_dir)?;
        for path in left.into_iter().filter(|path| is_removed(path)) {
            remove_all(&files, &path, &mut || false).doing("removing", &path)?;
        }
        SegmentKv::open(dir, Arc::new(Handles::new(Arc::new(files), false)), judge)?.give_back()
    }

    /// As [`open`](Self::open), with other file operations: for tests.
    pub(super) fn open_with(dir: &Path, files: Arc<dyn Files>) -> Result<Self> {
        Self::open_judged_with(dir, files, &nobody_knows)
    }

    fn open_judged_with(dir: &Path, files: Arc<dyn Files>, judge: Judge<'_>) -> Result<Self> {
        let logs_dir = dir.join("logs");
        let [kv, copy] = folders(dir);
        for path in [dir, &logs_dir, &kv, &copy] {
            make_dir(&*files, path)?;
        }
        let lock = take_lock(&*files, dir, false)?;
        sync_parents(&*files, dir)?;
        // What a process made that was killed before it synced is only seen, not kept.
        files.sync_dir(&logs_dir).syncing(&logs_dir)?;
        let left = files.list(&logs_dir).doing("listing", &logs_dir)?;
        let backend = Self::build(dir, logs_dir, files, (lock, false), judge)?;
        for path in left.into_iter().filter(|path| is_removed(path)) {
            backend.core.worker.remove(path.clone()).doing("removing", &path)?;
        }
        Ok(backend)
    }

    /// Opens a store to look at it. Nothing is written: what recovery would cut is only told. Works beside other
    /// readers, and also beside a server, whose writes are then not followed.
    ///
    /// # Errors
    /// If the directory is not a store or cannot be read.
    pub fn open_read_only(dir: &Path) -> Result<Self> {
        Self::open_read_only_with(dir, Arc::new(RealFiles), &nobody_knows)
    }

    /// As [`open_read_only`](Self::open_read_only), by somebody who can tell whether a key-value space is this store's.
    ///
    /// # Errors
    /// As there.
    pub fn open_read_only_judged(dir: &Path, judge: Judge<'_>) -> Result<Self> {
        Self::open_read_only_with(dir, Arc::new(RealFiles), judge)
    }

    /// As [`open_read_only`](Self::open_read_only), of a disk in memory.
    ///
    /// # Errors
    /// As there.
    #[cfg(any(test, feature = "testing"))]
    pub fn open_read_only_on(disk: &Arc<super::disk::SimulatedDisk>, dir: &Path) -> Result<Self> {
        Self::open_read_only_with(dir, disk.clone(), &nobody_knows)
    }

    fn open_read_only_with(dir: &Path, files: Arc<dyn Files>, judge: Judge<'_>) -> Result<Self> {
        let logs_dir = dir.join("logs");
        if !files.is_dir(&logs_dir) {
            return Err(Error::invalid(format!(
                "{} is not a store of the segment backend: it has no directory `logs`",
                dir.display()
            )));
        }
        let lock = take_lock(&*files, dir, true)?;
        Self::build(dir, logs_dir, files, (lock, true), judge)
    }

    /// Holds so many files open at most, and so mapped, beside journals: of a backend that one reader or writer goes through from the
    /// beginning to the end, more would be memory for nothing.
    pub fn hold_open(&self, count: usize) {
        let few = &self.core.handles.few;
        few.store(count, std::sync::atomic::Ordering::Relaxed);
    }

    fn build(
        dir: &Path,
        logs_dir: PathBuf,
        files: Arc<dyn Files>,
        (lock, read_only): (Option<Lock>, bool),
        judge: Judge<'_>,
    ) -> Result<Self> {
        let worker = Worker::new(files.clone());
        let handles = Arc::new(Handles::new(files, read_only));
        let kv = Arc::new(SegmentKv::open(dir, handles.clone(), judge)?);
        Ok(Self {
            core: Arc::new(Core {
                logs_dir,
                handles,
                poison: OnceLock::new(),
                known: Mutex::default(),
                worker,
                _lock: lock,
            }),
            kv,
        })
    }

    /// What opening the key-value space found damaged, one line each.
    pub fn kv_damage(&self) -> Vec<String> {
        [self.kv.mended(), self.kv.lost()].concat()
    }

    /// What each copy of the key-value space was when it was opened; none if there was no file yet.
    pub fn kv_copies(&self) -> Vec<KvCopy> {
        self.kv.copies().to_vec()
    }

    /// The file with what is kept of the index of a log that is open.
    fn kept(&self, id: LogId) -> Result<Arc<Mutex<KeptFile>>> {
        let known = self.core.known.lock();
        let open = known.get(&id).filter(|known| known.open);
        open.map(|known| known.kept.clone())
            .ok_or_else(|| Error::closed(format!("log {id} is not open")))
    }

    fn log_dir(&self, id: LogId) -> PathBuf {
        self.core.logs_dir.join(id.to_string())
    }
}

/// The mark of a log that is removed, at the end of its directory's name.
const REMOVED: &str = "removed";

fn make_dir(files: &dyn Files, path: &Path) -> Result<()> {
    match files.create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).doing("making", path),
        _ => Ok(()),
    }
}

/// Whether a directory has the name that a log gets when it is removed: its id, a number, and the mark.
fn is_removed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((id, rest)) = name.split_once('.') else {
        return false;
    };
    let number = rest.strip_suffix(REMOVED).map(|number| number.trim_end_matches('.'));
    id.parse::<LogId>().is_ok() && number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

fn sync_parents(files: &dyn Files, dir: &Path) -> Result<()> {
    files.sync_dir(dir).syncing(dir)?;
    match dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => files.sync_dir(parent).syncing(parent),
        None => Ok(()),
    }
}

/// Keeps other processes from writing. A reader takes its lock if it can, and reads without if it cannot.
fn take_lock(files: &dyn Files, dir: &Path, shared: bool) -> Result<Option<Lock>> {
    let path = dir.join("LOCK");
    match files.lock(&path, shared) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(crate::root::in_use(&path)),
        other => other.doing("locking", &path),
    }
}

/// A log that is being opened: it counts as open, unless that comes to nothing, whatever the reason.
struct Opening<'a> {
    core: &'a Core,
    id: LogId,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.core.closed(self.id);
    }
}

impl Backend for SegmentBackend {
    fn name(&self) -> &'static str {
        "segment"
    }

    fn persistent(&self) -> bool {
        true
    }

    fn atomic_kv(&self) -> bool {
        false
    }

    fn open(&self, id: LogId, options: &LogOptions) -> Result<(Box<dyn Log>, Recovery)> {
        self.core.check()?;
        let dir = self.log_dir(id);
        let handles = &self.core.handles;
        let (syncer, shared) = {
            let mut known = self.core.known.lock();
            let entry = known.entry(id).or_insert_with(|| Known {
                open: false,
                syncer: Arc::new(Syncer::new(handles.clone(), dir.clone(), self.core.logs_dir.clone())),
                shared: Weak::new(),
                kept: Arc::default(),
            });
            if entry.open {
                return Err(Error::invalid(format!("log {id} is open already")));
            }
            entry.open = true;
            // Readers from before go on with the log as it is opened now.
            let shared = entry.shared.upgrade().unwrap_or_else(|| {
                Arc::new(Shared {
                    id,
                    state: RwLock::new(State::default()),
                })
            });
            entry.shared = Arc::downgrade(&shared);
            (entry.syncer.clone(), shared)
        };
        syncer
            .is_journal
            .store(options.preallocate, std::sync::atomic::Ordering::Relaxed);
        let opening = Opening { core: &self.core, id };
        let mut recovered = {
            let created = !handles.files.is_dir(&dir);
            if created {
                if let Some(what) = regular::in_place_of_dir(&dir) {
                    let text = format!(
                        "there is {what} in the place of the directory {}; move it away",
                        dir.display()
                    );
                    return Err(Error::damaged(text));
                }
                if options.existing {
                    return Err(Error::damaged(format!("{} is missing", dir.display())));
                }
                if handles.read_only {
                    return Err(Error::closed(format!("there is no log {id}")));
                }
                make_dir(&*handles.files, &dir)?;
                syncer.mark_parent();
            }
            let mut recovered = recover(handles, &syncer, id, &dir, options)?;
            // A journal has a file from its first opening on.
            recovered.report.created = created || (options.preallocate && recovered.state.segs.is_empty());
            match label::read(&*handles.files, &dir, id) {
                Ok(label) => recovered.report.label = label,
                Err(error) if error.kind == Kind::Damaged || options.label.is_empty() => {
                    recovered.report.damage.push(error.message);
                }
                Err(error) => return Err(error),
            }
            if recovered.report.label.is_none() && !options.label.is_empty() && !handles.read_only {
                label::write(handles, &syncer, &dir, id, &options.label)?;
            }
            recovered
        };
        let report = std::mem::take(&mut recovered.report);
        *shared.state.write() = std::mem::take(&mut recovered.state);
        let mut log = SegmentLog::new(self.core.clone(), id, dir, options.clone(), shared, syncer, recovered);
        // From here on the log says so itself when it is closed.
        std::mem::forget(opening);
        log.overwrite_again()?;
        if report.created && options.preallocate && !self.core.handles.read_only {
            // Now, while nobody waits, rather than when the first client does.
            log.make_first()?;
        }
        Ok((Box::new(log), report))
    }

    fn kept_index(&self, id: LogId) -> Result<Option<KeptIndex>> {
        if self.core.handles.read_only {
            // Of a log that is only read, its reader alone is held: the log need not be open. Nothing is added to the file either.
            let index = KeptFile::default().read(&self.core.handles, &self.log_dir(id), id);
            return Ok(Some(index));
        }
        let kept = self.kept(id)?;
        let index = kept.lock().read(&self.core.handles, &self.log_dir(id), id);
        Ok(Some(index))
    }

    fn keep_index(&self, id: LogId, token: u64, steps: &[KeepStep]) -> Result<()> {
        self.core.check()?;
        if self.core.handles.read_only {
            return Err(Error::unsupported("this store is open for reading only"));
        }
        let kept = self.kept(id)?;
        let mut kept = kept.lock();
        kept.keep(&self.core.handles, &self.log_dir(id), id, token, steps)
    }

    fn forget_index(&self, id: LogId) -> Result<()> {
        if self.core.handles.read_only {
            return Err(Error::unsupported("this store is open for reading only"));
        }
        let kept = self.kept(id)?;
        let mut kept = kept.lock();
        kept.forget(&self.core.handles, &self.log_dir(id))
    }

    fn list(&self) -> Result<Vec<LogId>> {
        let dir = &self.core.logs_dir;
        let mut ids = Vec::new();
        for path in self.core.handles.files.list(dir).doing("listing", dir)? {
            ids.extend(
                path.file_name()
                    .and_then(|name| name.to_string_lossy().parse::<LogId>().ok()),
            );
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn label(&self, id: LogId) -> Result<Option<Bytes>> {
        label::read(&*self.core.handles.files, &self.log_dir(id), id)
    }

    fn remove(&self, id: LogId) -> Result<()> {
        self.core.check()?;
        if self.core.handles.read_only {
            return Err(Error::unsupported("this store is open for reading only"));
        }
        let mut known = self.core.known.lock();
        if let Some(entry) = known.get(&id) {
            if entry.open {
                return Err(Error::invalid(format!("log {id} is open")));
            }
            entry.syncer.clear();
            if let Some(shared) = entry.shared.upgrade() {
                // Readers go on: their segments are mapped while the files still have names.
                let segs = shared.state.read().segs.clone();
                for s in segs {
                    let path = &s.seg.handle.path;
                    s.seg.pin().doing("mapping", path)?;
                }
            }
        }
        known.remove(&id);
        drop(known);
        let dir = self.log_dir(id);
        let files = &self.core.handles.files;
        // Another of that id may still be there.
        let mut number = 0;
        let gone = loop {
            let gone = dir.with_extension(format!("{number}.{REMOVED}"));
            if !files.is_dir(&gone) {
                break gone;
            }
            number += 1;
        };
        match files.rename(&dir, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.doing("removing", &dir)?,
        }
        files.sync_dir(&self.core.logs_dir).syncing(&self.core.logs_dir)?;
        self.core.worker.remove(gone.clone()).doing("removing", &gone)
    }

    fn kv(&self) -> Arc<dyn Kv> {
        self.kv.clone()
    }

    fn lost(&self) -> Vec<String> {
        self.kv.lost().to_vec()
    }

    fn sync(&self) -> Result<()> {
        self.core.check()?;
        let syncers: Vec<Arc<Syncer>> = {
            let known = self.core.known.lock();
            known.values().map(|k| k.syncer.clone()).collect()
        };
        let result = syncers
            .iter()
            .try_for_each(|s| s.sync(true))
            .syncing(&self.core.logs_dir)
            .and_then(|()| self.kv.sync());
        if let Err(error) = &result {
            let _ = self.core.poison.set(error.message.clone());
            tracing::error!("{error}");
        }
        result
    }
}
