//! Open files and mappings, opened when needed and bounded in number.
//!
//! A store of ten thousand small streams has ten thousand files; only those used of late are open, those that are not
//! synced yet, and journals. A mapping that a reader still holds outlives the closing of its file.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use super::files::{Background, File, Files, Map, Mode};
use super::through::{self, Reading, Windows};

/// How many of the files that this process may have open are a backend's: one in so many.
const OPEN_SHARE: u64 = 4;

/// At least so many files are held open, so that a low limit does not make every write open a file.
const OPEN_MIN: usize = 16;

/// At most so many: each is mapped as well, and Linux allows a process 65,530 maps.
const OPEN_MAX: usize = 1 << 14;

/// At most so many of a backend that only reads: all of each that was gone through counts as this process's memory as long as it is
/// mapped.
const OPEN_READING: usize = 2;

/// How many files a backend holds open now: a share of the soft limit of this process, which may be raised meanwhile.
fn open_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    share_of(limit.unwrap_or(u64::MAX))
}

fn share_of(limit: u64) -> usize {
    usize::try_from(limit / OPEN_SHARE)
        .unwrap_or(OPEN_MAX)
        .clamp(OPEN_MIN, OPEN_MAX)
}

/// The files of one backend and which of them are open.
pub struct Handles {
    /// The operations on them.
    pub files: Arc<dyn Files>,
    /// Whether files are only ever opened for reading.
    pub read_only: bool,
    ring: Mutex<VecDeque<Weak<Handle>>>,
    /// Bytes that were looked at in maps since pages were last let go of, and the files of which there are any.
    looked_at: AtomicU64,
    gone_through: Mutex<Vec<Weak<Handle>>>,
    /// How many files to hold open at most, where few are wanted.
    pub few: AtomicUsize,
}

impl Handles {
    /// Begins with none open.
    pub fn new(files: Arc<dyn Files>, read_only: bool) -> Self {
        Self {
            files,
            read_only,
            ring: Mutex::new(VecDeque::new()),
            looked_at: AtomicU64::new(0),
            gone_through: Mutex::new(Vec::new()),
            few: AtomicUsize::new(if read_only { OPEN_READING } else { usize::MAX }),
        }
    }

    /// Notes that a file was opened, and closes others while there are too many.
    fn opened(&self, handle: &Arc<Handle>) {
        let max = open_max().min(self.few.load(Ordering::Relaxed));
        let extra = {
            let mut ring = self.ring.lock();
            ring.push_back(Arc::downgrade(handle));
            ring.len().saturating_sub(max)
        };
        if extra > 0 {
            self.close_some(extra, Some(handle));
        }
    }

    /// Closes so many files: those opened first that were not used since they were last looked at. One that was
    /// written to is passed over, for an error of writing it back is told only to those who have it open; only where
    /// nothing else is left to close, it is synced first.
    fn close_some(&self, count: usize, except: Option<&Arc<Handle>>) {
        let mut ring = self.ring.lock();
        let mut left = count;
        let mut dirty = Vec::new();
        // Twice around: the first time takes from every file the note that it was used.
        for _ in 0..2 * ring.len() {
            if left == 0 {
                break;
            }
            let Some(oldest) = ring.pop_front() else {
                break;
            };
            let Some(oldest) = oldest.upgrade() else {
                left -= 1;
                continue;
            };
            if oldest.stays.load(Ordering::Acquire) {
                // Not counted, as there are few.
                left -= 1;
                continue;
            }
            let spared = except.is_some_and(|e| Arc::ptr_eq(&oldest, e)) || oldest.used.swap(false, Ordering::Relaxed);
            if spared {
                ring.push_back(Arc::downgrade(&oldest));
            } else if oldest.unsynced.load(Ordering::Acquire) {
                dirty.push(oldest);
            } else {
                oldest.close();
                left -= 1;
            }
        }
        let late = left.min(dirty.len());
        for handle in dirty.split_off(late) {
            ring.push_back(Arc::downgrade(&handle));
        }
        drop(ring);
        for handle in dirty {
            handle.sync_and_close();
        }
    }

    /// Pages that were looked at no longer count as this process's memory; they are in memory as before, and looked at again in less
    /// than a microsecond each.
    #[cold]
    fn let_pages_go(&self) {
        if self.looked_at.swap(0, Ordering::Relaxed) < through::MOST {
            // Another thread was faster.
            return;
        }
        let files = std::mem::take(&mut *self.gone_through.lock());
        for file in files.iter().filter_map(Weak::upgrade) {
            file.is_gone_through.store(false, Ordering::Release);
            file.windows.forget();
            if let Some((_, map)) = &file.slot.read().map {
                map.let_pages_go();
            }
        }
    }

    /// Opens a file; where the process has too many open, closes some of ours and tries once more.
    pub fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        match self.files.open(path, mode) {
            Err(error) if no_more_files(&error) => {
                let open = self.ring.lock().len();
                self.close_some(open.div_ceil(2), None);
                self.files.open(path, mode)
            }
            other => other,
        }
    }
}

/// Whether no file could be opened because there are too many: nothing was done, and it may go well later.
pub fn no_more_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|e| errno == Some(e.raw_os_error()))
}

struct Mapping {
    map: Arc<Map>,
    _in_use: Arc<()>,
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        (*self.map).as_ref()
    }
}

#[derive(Default)]
struct Slot {
    file: Option<Arc<File>>,
    map: Option<(Bytes, Arc<Map>)>,
}

impl Slot {
    /// The map, if it covers so much and is not to be made anew for a page of it that could not be read.
    fn map(&self, need: u64) -> Option<&Bytes> {
        let (bytes, map) = self.map.as_ref()?;
        // Without a descriptor it is pinned: there is no other way to the bytes any more.
        let usable = !(map.faulted() || map.stale()) || self.file.is_none();
        (bytes.len() as u64 >= need && usable).then_some(bytes)
    }
}

/// One file: its path, and its descriptor and mapping while it is open.
pub struct Handle {
    /// Where it is.
    pub path: PathBuf,
    handles: Arc<Handles>,
    /// How many bytes a mapping should cover, so that it need not be made again as the file grows.
    planned: AtomicU64,
    slot: RwLock<Slot>,
    used: AtomicBool,
    /// Whether [`close`](Self::close) does nothing: the file has no name any more, and is still to be read.
    pinned: AtomicBool,
    /// Held by every mapping that was made; so we know whether anyone still reads one.
    in_use: Arc<()>,
    /// Whether it is in its log's set of files to sync.
    pub dirty: AtomicBool,
    /// Whether it was written to since it was last synced.
    unsynced: AtomicBool,
    /// Whether it is never closed to make room for others: a journal's.
    stays: AtomicBool,
    /// Whether a page of it could not be read.
    faulted: AtomicBool,
    /// Why it could not be synced when it had to be closed.
    failure: Mutex<Option<io::Error>>,
    /// What of its map was looked at, and whether its backend knows that anything was.
    windows: Windows,
    is_gone_through: AtomicBool,
}

impl Handle {
    /// A file that is not open yet. `planned` is how many bytes it may grow to.
    pub fn new(handles: &Arc<Handles>, path: PathBuf, planned: u64) -> Arc<Self> {
        Arc::new(Self {
            path,
            handles: handles.clone(),
            planned: AtomicU64::new(planned),
            slot: RwLock::new(Slot::default()),
            used: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            in_use: Arc::new(()),
            dirty: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            stays: AtomicBool::new(false),
            faulted: AtomicBool::new(false),
            failure: Mutex::new(None),
            windows: Windows::default(),
            is_gone_through: AtomicBool::new(false),
        })
    }

    /// Takes over a file that was just made, and need not be synced.
    pub fn adopt(self: &Arc<Self>, file: File) {
        self.unsynced.store(true, Ordering::Release);
        self.slot.write().file = Some(Arc::new(file));
        self.handles.opened(self);
    }

    /// The open file.
    pub fn file(self: &Arc<Self>) -> io::Result<Arc<File>> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = &self.slot.read().file {
            return Ok(file.clone());
        }
        let mode = if self.handles.read_only {
            Mode::Read
        } else {
            Mode::Write
        };
        // Not while the slot is locked: making room may close any file, this one too.
        let file = Arc::new(self.handles.open(&self.path, mode)?);
        let mut slot = self.slot.write();
        if let Some(file) = &slot.file {
            return Ok(file.clone());
        }
        slot.file = Some(file.clone());
        drop(slot);
        self.handles.opened(self);
        Ok(file)
    }

    /// Keeps it open from now on, whatever else is.
    pub fn stay_open(&self) {
        self.stays.store(true, Ordering::Release);
    }

    /// A mapping of at least the first `need` bytes, which the caller knows to have been written.
    pub fn map(self: &Arc<Self>, need: u64) -> io::Result<Bytes> {
        if let Some(map) = self.slot.read().map(need) {
            // Only when unset: an unconditional store would bounce the cache line between readers.
            if !self.used.load(Ordering::Relaxed) {
                self.used.store(true, Ordering::Relaxed);
            }
            return Ok(map.clone());
        }
        // Before the map that says so goes.
        self.faulted();
        let (bytes, map) = self.make_map(need)?;
        let mut slot = self.slot.write();
        // Kept only while the file counts as open, or the bound on open files would not bound the mappings.
        if slot.file.is_some() {
            slot.map = Some((bytes.clone(), map));
        }
        Ok(bytes)
    }

    fn make_map(self: &Arc<Self>, need: u64) -> io::Result<(Bytes, Arc<Map>)> {
        let file = self.file()?;
        let planned = usize::try_from(self.planned.load(Ordering::Relaxed)).map_err(io::Error::other)?;
        let need = usize::try_from(need).map_err(io::Error::other)?;
        let map = Arc::new(self.handles.files.map(&file, &self.path, need, planned)?);
        let bytes = Bytes::from_owner(Mapping {
            map: map.clone(),
            _in_use: self.in_use.clone(),
        });
        Ok((bytes, map))
    }

    /// The first `len` bytes, read past the open file and its map: see [`Files::read_cold`].
    pub fn read_cold(&self, len: u64, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<Vec<u8>> {
        self.handles.files.read_cold(&self.path, len, progress)
    }

    /// Reads bytes of the open file at an offset, as many as come at once, without a map; answers how many, 0 at its end.
    pub fn read_at(&self, file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.handles.files.read_at(file, &self.path, into, at)
    }

    /// Who does what nobody waits for.
    pub fn background(&self) -> Background {
        self.handles.files.background()
    }

    /// Tells the kernel that the first `len` bytes will be read soon, from the beginning to the end.
    pub fn will_need(self: &Arc<Self>, len: u64) {
        // Whoever reads it is told why it cannot be mapped.
        if self.map(len).is_ok()
            && let Some((_, map)) = &self.slot.read().map
        {
            map.will_need(len);
        }
    }

    /// Reads the whole file only to have it in memory, without a map. That it cannot be read is found by whoever looks at it.
    pub fn fetch(&self) {
        let _: io::Result<()> = self.handles.files.fetch(&self.path, &mut |_| true);
    }

    /// Tells the kernel that so many bytes from `at` on will be read soon.
    pub fn will_need_from(&self, at: u64, len: u64) {
        if let Some((_, map)) = &self.slot.read().map {
            map.will_need_from(at, len);
        }
    }

    /// How many bytes from `at` on, up to `len`, are in memory without a gap; none of a file that is closed, for opening it may wait for
    /// a disk; all, if it is not known.
    pub fn resident(self: &Arc<Self>, at: u64, len: u64) -> u64 {
        let is_mapped = || self.slot.read().map.is_some();
        if !is_mapped() {
            if !self.handles.files.is_cold_when_closed() {
                return len;
            }
            let is_open = self.slot.read().file.is_some();
            if !is_open || self.map(at + len).is_err() {
                return 0;
            }
        }
        let slot = self.slot.read();
        let Some((_, map)) = &slot.map else { return 0 };
        let (Ok(from), Ok(most)) = (usize::try_from(at), usize::try_from(len)) else {
            return len;
        };
        map.resident(from, most) as u64
    }

    /// Reads bytes of the file, so that they are in memory when its map is looked at. That they cannot be read is found then.
    pub fn touch(self: &Arc<Self>, at: u64, len: u64) {
        if let Ok(file) = self.file() {
            let _: io::Result<()> = self.handles.files.touch(&file, at, len);
        }
    }

    /// Whether its store is only read.
    pub fn is_only_read(&self) -> bool {
        self.handles.read_only
    }

    /// Closes the file where the store is only read: a tool that goes through all of it leaves no more than it works on mapped.
    pub fn close_if_only_read(&self) {
        if self.is_only_read() {
            self.close();
        }
    }

    /// Bytes of the map are looked at. What was before may be let go of for it.
    #[inline]
    pub fn look_at(self: &Arc<Self>, bytes: Range<u64>, reading: Reading) {
        let new = self.windows.note(bytes, self.planned.load(Ordering::Relaxed), reading);
        if new > 0 {
            self.looked_at(new);
        }
    }

    fn looked_at(self: &Arc<Self>, new: u64) {
        if !self.is_gone_through.swap(true, Ordering::AcqRel) {
            self.handles.gone_through.lock().push(Arc::downgrade(self));
        }
        let before = self.handles.looked_at.fetch_add(new, Ordering::Relaxed);
        if before.saturating_add(new) >= through::MOST {
            self.handles.let_pages_go();
        }
    }

    /// Forgets the mapping alone, of a file that stays open as well: what was gone through of it no longer counts as this process's memory.
    pub fn unmap(&self) {
        let mut slot = self.slot.write();
        if !self.pinned.load(Ordering::Acquire) {
            self.forget_map(&mut slot);
        }
    }

    fn forget_map(&self, slot: &mut Slot) {
        // Before the map that says so goes.
        if slot.map.take().is_some_and(|(_, map)| map.faulted()) {
            self.faulted.store(true, Ordering::Release);
        }
    }

    /// Closes the file, unless it was written to since it was last synced.
    pub fn close_if_synced(&self) {
        if !self.stays.load(Ordering::Acquire) && !self.unsynced.load(Ordering::Acquire) {
            self.close();
        }
    }

    /// Whether a page of the file could ever not be read since it was first opened: then zeros were read in its place.
    pub fn faulted(&self) -> bool {
        if self.faulted.load(Ordering::Acquire) {
            return true;
        }
        let now = self.slot.read().map.as_ref().is_some_and(|(_, map)| map.faulted());
        if now && !self.faulted.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "{}: a part of it cannot be read: the disk failed, or it was made shorter; records there count as damaged",
                self.path.display()
            );
        }
        now
    }

    /// Maps the file and keeps it so. The descriptor is not kept.
    pub fn pin(self: &Arc<Self>, need: u64) -> io::Result<()> {
        let map = self.make_map(need)?;
        let mut slot = self.slot.write();
        self.pinned.store(true, Ordering::Release);
        *slot = Slot {
            file: None,
            map: Some(map),
        };
        Ok(())
    }

    /// Forgets descriptor and mapping; both are made again when needed.
    pub fn close(&self) {
        let mut slot = self.slot.write();
        if self.pinned.load(Ordering::Acquire) {
            return;
        }
        self.forget_map(&mut slot);
        slot.file = None;
    }

    /// Closes a file that was written to. What its log's next sync must not miss is kept until then.
    fn sync_and_close(self: &Arc<Self>) {
        let file = self.slot.read().file.clone();
        self.unsynced.store(false, Ordering::Release);
        if let Some(file) = file
            && let Err(error) = self.handles.files.sync(&file, &self.path)
        {
            self.failure.lock().get_or_insert(error);
        }
        if !self.unsynced.load(Ordering::Acquire) {
            self.close();
        }
    }

    /// Whether anyone still holds bytes of this file. Closes it first.
    pub fn is_held(&self) -> bool {
        self.close();
        Arc::strong_count(&self.in_use) > 1
    }

    /// Writes at an offset.
    pub fn write_at(self: &Arc<Self>, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_pieces_at(&[bytes], at)
    }

    /// Writes several pieces, one behind the other, at an offset.
    pub fn write_pieces_at(self: &Arc<Self>, pieces: &[&[u8]], at: u64) -> io::Result<()> {
        let file = self.file()?;
        self.unsynced.store(true, Ordering::Release);
        let result = self.handles.files.write_pieces_at(&file, &self.path, pieces, at);
        // Again: a sync in between may have come before the bytes.
        self.unsynced.store(true, Ordering::Release);
        if self.slot.read().file.is_none() && !self.pinned.load(Ordering::Acquire) {
            // And then it may have been closed as one that is synced.
            self.slot.write().file.get_or_insert(file);
            self.handles.opened(self);
        }
        result
    }

    /// Makes it shorter again by what a failed write added.
    pub fn shorten(self: &Arc<Self>, len: u64) -> io::Result<()> {
        let file = self.file()?;
        self.handles.files.shorten(&file, &self.path, len)
    }

    /// Makes the content durable; `aside` from what others wait for, who need the disk meanwhile.
    pub fn sync(self: &Arc<Self>, aside: bool) -> io::Result<()> {
        if let Some(error) = self.failure.lock().take() {
            return Err(error);
        }
        let file = self.file()?;
        // Before the sync: a write from here on says so again.
        self.unsynced.store(false, Ordering::Release);
        let written = match aside {
            true => self.handles.files.write_out(&file),
            false => Ok(()),
        };
        let result = written.and_then(|()| self.handles.files.sync(&file, &self.path));
        if result.is_err() {
            self.unsynced.store(true, Ordering::Release);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_open_files_follows_the_limit_of_the_process() {
        assert_eq!(share_of(1024), 256);
        assert_eq!(share_of(256), 64);
        assert_eq!(share_of(20), OPEN_MIN);
        assert_eq!(share_of(u64::MAX), OPEN_MAX);
        assert!(no_more_files(&Errno::MFILE.into()));
        assert!(!no_more_files(&Errno::NOENT.into()));
    }
}
