//! Open files and mappings, opened when needed and bounded in number.
//!
//! A store of ten thousand small streams has ten thousand files; only those used of late are open. A mapping that a
//! reader still holds outlives the closing of its file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use memmap2::Mmap;
use parking_lot::{Mutex, RwLock};

use super::files::{Files, Mode};

/// How many segment files a backend holds open.
pub const OPEN_MAX: usize = 256;

/// The files of one backend and which of them are open.
pub struct Handles {
    /// The operations on them.
    pub files: Arc<dyn Files>,
    /// Whether files are only ever opened for reading.
    pub read_only: bool,
    ring: Mutex<VecDeque<Weak<Handle>>>,
}

impl Handles {
    /// Begins with none open.
    pub fn new(files: Arc<dyn Files>, read_only: bool) -> Self {
        Self {
            files,
            read_only,
            ring: Mutex::new(VecDeque::new()),
        }
    }

    /// Notes that a file was opened, and closes others while there are too many: the one that was opened first and
    /// has not been used since it was last looked at.
    fn opened(&self, handle: &Arc<Handle>) {
        let mut ring = self.ring.lock();
        ring.push_back(Arc::downgrade(handle));
        let mut spared = 0;
        while ring.len() > OPEN_MAX {
            let Some(oldest) = ring.pop_front() else {
                break;
            };
            let Some(oldest) = oldest.upgrade() else {
                continue;
            };
            let busy = oldest.used.swap(false, Ordering::Relaxed);
            if (busy && spared < OPEN_MAX) || Arc::ptr_eq(&oldest, handle) {
                spared += 1;
                ring.push_back(Arc::downgrade(&oldest));
            } else {
                oldest.close();
            }
        }
    }
}

struct Mapping {
    map: Mmap,
    _in_use: Arc<()>,
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

#[derive(Default)]
struct Slot {
    file: Option<Arc<File>>,
    map: Option<Bytes>,
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
        })
    }

    /// Takes over a file that was just made.
    pub fn adopt(self: &Arc<Self>, file: File) {
        self.slot.write().file = Some(Arc::new(file));
        self.handles.opened(self);
    }

    /// The open file.
    pub fn file(self: &Arc<Self>) -> io::Result<Arc<File>> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = &self.slot.read().file {
            return Ok(file.clone());
        }
        let mut slot = self.slot.write();
        if let Some(file) = &slot.file {
            return Ok(file.clone());
        }
        let mode = if self.handles.read_only {
            Mode::Read
        } else {
            Mode::Write
        };
        let file = Arc::new(self.handles.files.open(&self.path, mode)?);
        slot.file = Some(file.clone());
        drop(slot);
        self.handles.opened(self);
        Ok(file)
    }

    /// A mapping of at least the first `need` bytes, which the caller knows to have been written.
    pub fn map(self: &Arc<Self>, need: u64) -> io::Result<Bytes> {
        if let Some(map) = &self.slot.read().map
            && map.len() as u64 >= need
        {
            // Only when unset: an unconditional store would bounce the cache line between readers.
            if !self.used.load(Ordering::Relaxed) {
                self.used.store(true, Ordering::Relaxed);
            }
            return Ok(map.clone());
        }
        let file = self.file()?;
        let len = self.planned.load(Ordering::Relaxed).max(need);
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let map = Bytes::from_owner(Mapping {
            map: self.handles.files.map(&file, &self.path, len)?,
            _in_use: self.in_use.clone(),
        });
        let mut slot = self.slot.write();
        // Kept only while the file counts as open, or the bound on open files would not bound the mappings.
        if slot.file.is_some() {
            slot.map = Some(map.clone());
        }
        Ok(map)
    }

    /// Whether it may only be read.
    pub fn read_only(&self) -> bool {
        self.handles.read_only
    }

    /// Maps the file and keeps it so. The descriptor is not kept.
    pub fn pin(self: &Arc<Self>, need: u64) -> io::Result<()> {
        let map = self.map(need)?;
        self.pinned.store(true, Ordering::Release);
        *self.slot.write() = Slot {
            file: None,
            map: Some(map),
        };
        Ok(())
    }

    /// Forgets descriptor and mapping; both are made again when needed.
    pub fn close(&self) {
        if self.pinned.load(Ordering::Acquire) {
            return;
        }
        *self.slot.write() = Slot::default();
    }

    /// Whether anyone still holds bytes of this file. Closes it first.
    pub fn is_held(&self) -> bool {
        self.close();
        Arc::strong_count(&self.in_use) > 1
    }

    /// Writes at an offset.
    pub fn write_at(self: &Arc<Self>, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = self.file()?;
        self.handles.files.write_at(&file, &self.path, bytes, at)
    }

    /// Makes the content durable.
    pub fn sync(self: &Arc<Self>) -> io::Result<()> {
        let file = self.file()?;
        self.handles.files.sync(&file, &self.path)
    }
}
