//! A store's directory: which backend keeps its files where.
//!
//! ```text
//! DIR/weir/segment/   the segment backend: journals, streams, checkpoints and the store's own settings
//! DIR/weir/rocksdb/   the rocksdb backend, once a stream has asked for it
//! DIR/weir/keys/      the store's key, if it is encrypted
//! ```

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use weir_engine::shard::snapshot::STORE_KEY;
use weir_engine::store::OpenBackend;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Backend, Error, Kind, LogId, Result, Seq};

use crate::encrypted::{self, Cipher, EncryptedBackend, Vault};
use crate::lock::patiently;
use crate::memory::MemoryBackend;
use crate::regular;
use crate::segment::files::RealFiles;
use crate::segment::{Look, SegmentBackend};

pub use keys::StoreKey;

mod keys;
mod missed;
mod own;
mod startable;
pub mod unfinished;

/// The folder below the one that the user names, so that another server's files may lie beside ours.
const ROOT: &str = "weir";
/// Files of messages that a backend holds open for a program that goes through them: see [`StoreDir::of_few_files`].
const OPEN_FEW: usize = 2;
const SEGMENT: &str = "segment";
const ROCKSDB: &str = "rocksdb";

/// Where a store lies, and how its backends are opened.
///
/// ```
/// use weir_backends::root::StoreDir;
/// use weir_engine::stream::settings::BackendKind;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path();
/// let store = StoreDir::new(path);
/// assert!(!store.exists());
/// let backend = store.open(BackendKind::Segment)?;
/// assert_eq!(backend.name(), "segment");
/// assert!(store.exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StoreDir {
    root: PathBuf,
    /// See [`StoreDir::of_few_files`].
    few: Option<usize>,
    /// What it is encrypted with, once that is open.
    vault: Option<Arc<Vault>>,
    /// What is to become of the copies of its key.
    renewal: Option<Arc<keys::Renewal>>,
}

/// As long as it lives no server can open the store.
#[derive(Debug)]
pub struct Hold {
    _lock: Option<File>,
}

impl StoreDir {
    /// The store of a server whose store directory (`-sd`, `store_dir`) is this one. Touches nothing.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            root: path.as_ref().join(ROOT),
            few: None,
            vault: None,
            renewal: None,
        }
    }

    /// The store that `path` means, which may be the store directory or the folder `weir` in it; `None` if there is
    /// no store in either.
    pub fn find(path: impl AsRef<Path>) -> Option<Self> {
        let path = path.as_ref();
        let outer = Self::new(path);
        let inner = Self {
            root: path.to_path_buf(),
            few: None,
            vault: None,
            renewal: None,
        };
        [outer, inner].into_iter().find(Self::exists)
    }

    /// The folder that holds all of the store: `DIR/weir`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes that are free for whoever runs this where the store is; `None` if the system does not tell.
    pub fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.root).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }

    /// What [`weir_engine::Store`] learns from how many bytes are free: see
    /// [`StoreOptions::room`](weir_engine::store::StoreOptions::room).
    pub fn room(self) -> weir_engine::store::Room {
        std::sync::Arc::new(move || self.free_bytes())
    }

    /// The folder of one backend's files; `None` for memory, which has none.
    pub fn folder(&self, kind: BackendKind) -> Option<PathBuf> {
        match kind {
            BackendKind::Segment => Some(self.root.join(SEGMENT)),
            BackendKind::RocksDb => Some(self.root.join(ROCKSDB)),
            BackendKind::Memory => None,
        }
    }

    /// The backends that have files here.
    pub fn there(&self) -> Vec<BackendKind> {
        let has_files = |kind: &BackendKind| self.folder(*kind).is_some_and(|folder| folder.is_dir());
        let all = [BackendKind::Segment, BackendKind::RocksDb];
        all.into_iter().filter(has_files).collect()
    }

    /// Whether a store is there. Every one has the segment backend's folder of logs, whatever its streams use.
    pub fn exists(&self) -> bool {
        self.root.join(SEGMENT).join("logs").is_dir()
    }

    /// Whether what it holds is encrypted: it has a key of its own.
    pub fn is_encrypted(&self) -> bool {
        keys::are_there(&RealFiles, &self.root)
    }

    /// The same store, encrypted from now on if it is new, and opened with one of the keys that its owner has, which are tried in order.
    /// What is written is encrypted by `cipher`; what another one encrypted is read. The store's own key is kept under the first key from now on.
    ///
    /// ```
    /// use weir_backends::encrypted::Cipher;
    /// use weir_backends::root::{StoreDir, StoreKey};
    /// use weir_engine::Kind;
    /// use weir_engine::stream::settings::BackendKind;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path();
    /// let store = StoreDir::new(path).encrypted(&[StoreKey::new("a long random text")], Cipher::default())?;
    /// let backend = store.open(BackendKind::Segment)?;
    /// # drop(backend);
    /// let without = StoreDir::new(path).open(BackendKind::Segment);
    /// assert_eq!(without.err().map(|error| error.kind), Some(Kind::Locked));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Locked`] if none of the keys opens it, if none is given and it is encrypted, and if one is given and it is not; nothing
    /// is changed then. If the key cannot be read or made.
    pub fn encrypted(self, owners: &[StoreKey], cipher: Cipher) -> Result<Self> {
        match (self.is_encrypted(), owners.is_empty()) {
            (false, true) => Ok(self),
            (false, false) if self.exists() => Err(self.without_key()),
            _ => {
                let failed = |error| Error::io(format_args!("making {}", self.root.display()), error);
                make_folder(&self.root).map_err(failed)?;
                let opened = self
                    .locked(&|vault| self.opens_with(vault))
                    .make_or_open(owners, cipher)?;
                keys::keep_to_owner(&self.root);
                Ok(Self {
                    vault: Some(Arc::new(opened.vault)),
                    renewal: opened.renewal.map(Arc::new),
                    ..self
                })
            }
        }
    }

    /// The same store, opened with one of these keys if it is encrypted. Writes nothing.
    ///
    /// # Errors
    /// [`Kind::Locked`] if none of the keys opens it; if the store's own key cannot be read.
    pub fn unlocked(self, owners: &[StoreKey]) -> Result<Self> {
        let vault = match self.is_encrypted() {
            true => Some(
                self.locked(&|vault| self.opens_with(vault))
                    .open(owners, Cipher::default())?,
            ),
            false => None,
        };
        Ok(self.with(vault))
    }

    /// Refuses what [`encrypted`](Self::encrypted) would refuse, and changes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn check_keys(&self, owners: &[StoreKey]) -> Result<()> {
        match (self.is_encrypted(), owners.is_empty()) {
            (true, _) => self
                .locked(&|vault| self.opens_with(vault))
                .open(owners, Cipher::default())
                .map(drop),
            (false, false) if self.exists() => Err(self.without_key()),
            (false, _) => Ok(()),
        }
    }

    fn locked<'a>(&'a self, is_right: &'a dyn Fn(&Vault) -> bool) -> keys::Locked<'a> {
        keys::Locked {
            files: &RealFiles,
            root: &self.root,
            draw: &keys::draw,
            rounds: keys::ROUNDS,
            is_right,
        }
    }

    /// What the catalogue has in every store, as it lies there. Of copies of two stores, that which this vault opens.
    fn sealed(&self, vault: Option<&Vault>) -> Option<Bytes> {
        let folder = self.root.join(SEGMENT);
        let judge = |look: Look<'_>| own::belongs(&folder, vault, look);
        let backend = SegmentBackend::open_read_only_judged(&folder, &judge).ok()?;
        backend.kv().get(STORE_KEY).ok()?
    }

    /// Whether a key opens what the store has.
    fn opens_with(&self, vault: &Vault) -> bool {
        self.sealed(Some(vault))
            .is_some_and(|sealed| encrypted::opens(vault, &sealed))
    }

    /// Why a store without a key of its own is not opened with one.
    fn without_key(&self) -> Error {
        match self.sealed(None).is_some_and(|value| encrypted::is_sealed(&value)) {
            true => keys::is_lost(&self.root),
            false => keys::is_plain(&self.root),
        }
    }

    /// Writes the copies of the key as its owner wants them. Nobody else has the store; and a key that does not open what is in it goes nowhere.
    fn renew(&self, backend: &dyn Backend) {
        let (Some(vault), Some(renewal)) = (&self.vault, &self.renewal) else {
            return;
        };
        let is_right = match backend.kv().get(STORE_KEY) {
            Ok(Some(sealed)) => encrypted::opens(vault, &sealed),
            Ok(None) => true,
            Err(_) => false,
        };
        if is_right {
            self.locked(&|_| true).renew(renewal);
        }
    }

    /// The copies of the store's key that are missing or cannot be read, each with what is wrong with it (`is missing`): a start writes
    /// them anew from the other. None of a store that is not encrypted.
    pub fn broken_keys(&self) -> Vec<(PathBuf, String)> {
        match self.is_encrypted() {
            true => self.locked(&|_| true).broken(),
            false => Vec::new(),
        }
    }

    /// Refuses the copies of a key that does not open what is in the store, as far as the catalogue tells.
    ///
    /// # Errors
    /// [`Kind::Locked`] if it does not, or the store was not [opened](Self::unlocked) with a key; if the catalogue cannot be read.
    pub fn check_own_key(&self) -> Result<()> {
        let vault = self.vault.as_deref().ok_or_else(|| keys::none_given(&self.root))?;
        match self.look_at_segments()?.kv().get(STORE_KEY)? {
            Some(sealed) if !encrypted::opens(vault, &sealed) => Err(Error::new(
                Kind::Locked,
                "the copy of the store's key that is whole is not of this store: put the other back from a backup",
            )),
            _ => Ok(()),
        }
    }

    /// Writes the copies of the store's key that [are broken](Self::broken_keys) as the other is, whatever ends that. Nobody else may have
    /// the store, and its key was [checked](Self::check_own_key).
    ///
    /// # Errors
    /// If no copy is whole, or they cannot be written.
    pub fn mend_keys(&self) -> Result<()> {
        self.locked(&|_| true).mend()
    }

    #[must_use]
    fn with(self, vault: Option<Vault>) -> Self {
        Self {
            vault: vault.map(Arc::new),
            ..self
        }
    }

    /// What is over a backend of the store: whatever encrypts it.
    ///
    /// # Errors
    /// [`Kind::Locked`] if it is encrypted, and was not [opened](Self::encrypted) with a key, or has none any more.
    pub fn over(&self, backend: Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
        match &self.vault {
            Some(vault) => Ok(Arc::new(EncryptedBackend::new(backend, Arc::clone(vault)))),
            None if self.is_encrypted() => Err(keys::none_given(&self.root)),
            // What cannot be read is told by whoever needs it.
            None => match backend.kv().get(STORE_KEY) {
                Ok(Some(value)) if encrypted::is_sealed(&value) => Err(keys::is_lost(&self.root)),
                _ => Ok(backend),
            },
        }
    }

    /// Tells whether the head of a record, as it lies in a backend, was sealed for that sequence of that log: nothing else opens with it.
    /// `None` if the store is not encrypted, or not open.
    pub fn seals(&self) -> Option<impl Fn(BackendKind, LogId, Seq, &[u8]) -> bool + use<>> {
        let vault = Arc::clone(self.vault.as_ref()?);
        Some(move |kind: BackendKind, id, seq, head: &[u8]| {
            encrypted::is_head_of(&vault, &kind.to_string(), (id, seq), head)
        })
    }

    fn check_unlocked(&self) -> Result<()> {
        match self.vault.is_none() && self.is_encrypted() {
            true => Err(keys::none_given(&self.root)),
            false => Ok(()),
        }
    }

    /// Refuses a backend that this program was built without; looks at no file.
    ///
    /// # Errors
    /// As [`open`](Self::open) would say it.
    pub fn check_built_in(&self, kind: BackendKind) -> Result<()> {
        match self.folder(kind) {
            #[cfg(not(feature = "rocksdb"))]
            Some(folder) if kind == BackendKind::RocksDb => Err(without_rocksdb(&folder)),
            _ => Ok(()),
        }
    }

    /// Opens a backend; makes its folder, and those above it, if they are not there.
    ///
    /// # Errors
    /// If another process has it open, its files cannot be read or made, or this program was built without it.
    pub fn open(&self, kind: BackendKind) -> Result<Arc<dyn Backend>> {
        match self.folder(kind) {
            None => Ok(Arc::new(MemoryBackend::new())),
            Some(folder) => {
                self.check_unlocked()?;
                let failed = |error| Error::io(format_args!("making {}", self.root.display()), error);
                make_folder(&self.root).map_err(failed)?;
                let backend: Arc<dyn Backend> = match kind {
                    BackendKind::RocksDb => open_rocksdb(&folder, false, self.few.is_some())?,
                    _ => {
                        let judge = |look: Look<'_>| own::belongs(&folder, self.vault.as_deref(), look);
                        let segment = SegmentBackend::open_judged(&folder, &judge)?;
                        if let Some(few) = self.few {
                            segment.hold_open(few);
                        }
                        self.renew(&segment);
                        Arc::new(segment)
                    }
                };
                // RocksDB makes its own folder and does not sync the name.
                sync_folder(&self.root).map_err(failed)?;
                self.over(backend)
            }
        }
    }

    /// Opens a backend to look at it; nothing is written, and every write is refused. A memory backend is empty.
    /// It does not see what a server writes meanwhile: take a [`hold`](Self::hold) first.
    ///
    /// # Errors
    /// If the backend has no files here, they cannot be read, or this program was built without it.
    pub fn open_read_only(&self, kind: BackendKind) -> Result<Arc<dyn Backend>> {
        self.check_unlocked()?;
        match (kind, self.folder(kind)) {
            // RocksDB makes the folder of a database that it only reads.
            (BackendKind::RocksDb, Some(folder)) if !folder.is_dir() => Err(missed::missing(&folder)),
            (BackendKind::RocksDb, Some(folder)) => self.over(open_rocksdb(&folder, true, self.few.is_some())?),
            (_, Some(_)) => self.over(Arc::new(self.look_at_segments()?)),
            (_, None) => Ok(Arc::new(MemoryBackend::new())),
        }
    }

    /// Refuses a store whose folders a start could not use, or make where they are not there, and changes nothing.
    ///
    /// # Errors
    /// [`Kind::Io`], with what is wrong and where.
    pub fn check_folders(&self) -> Result<()> {
        startable::check(&self.root)
    }

    /// Opens the segment backend to look at it, without what is over it: as [`open_read_only`](Self::open_read_only).
    ///
    /// # Errors
    /// As there; of a key nothing is asked.
    pub fn look_at_segments(&self) -> Result<SegmentBackend> {
        let folder = self.root.join(SEGMENT);
        let judge = |look: Look<'_>| own::belongs(&folder, self.vault.as_deref(), look);
        SegmentBackend::open_read_only_judged(&folder, &judge)
    }

    /// Gives back what is left of logs that were removed, what the catalogue has that is out of date, and in RocksDB all that is
    /// deleted; no store may be open here.
    ///
    /// # Errors
    /// If another process has it open, its files cannot be read or written, or this program was built without a backend that
    /// has files here.
    pub fn give_back(&self) -> Result<()> {
        self.there().into_iter().try_for_each(|kind| self.give_back_of(kind))
    }

    /// The same for one backend alone.
    ///
    /// # Errors
    /// As [`give_back`](Self::give_back).
    pub fn give_back_of(&self, kind: BackendKind) -> Result<()> {
        match (kind, self.folder(kind)) {
            (BackendKind::Segment, Some(folder)) => {
                let judge = |look: Look<'_>| own::belongs(&folder, self.vault.as_deref(), look);
                SegmentBackend::give_back(&folder, &judge)
            }
            (BackendKind::RocksDb, Some(folder)) => compact_rocksdb(&folder),
            _ => Ok(()),
        }
    }

    /// Keeps servers out while the store is looked at. Any number of holds may exist at a time.
    ///
    /// # Errors
    /// [`Kind::Busy`] if a server has the store open; [`Kind::Io`] if the file of the lock cannot be opened.
    pub fn hold(&self) -> Result<Hold> {
        self.lock(File::try_lock_shared)
    }

    /// Keeps servers out, and tools too, while files of the store are exchanged.
    ///
    /// # Errors
    /// As [`hold`](Self::hold); also while another tool looks at the store.
    pub fn hold_alone(&self) -> Result<Hold> {
        self.lock(File::try_lock)
    }

    fn lock(&self, take: impl Fn(&File) -> std::result::Result<(), std::fs::TryLockError>) -> Result<Hold> {
        let path = self.root.join(SEGMENT).join("LOCK");
        let lock = match regular::open(&path, File::options().read(true)) {
            Ok(lock) => lock,
            // A copy made without it: nobody can have that open.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Hold { _lock: None });
            }
            Err(error) => {
                return Err(Error::io(format_args!("opening {}", path.display()), error));
            }
        };
        let is_held = |error: &std::fs::TryLockError| matches!(error, std::fs::TryLockError::WouldBlock);
        match patiently(|| take(&lock), is_held) {
            Ok(()) => Ok(Hold { _lock: Some(lock) }),
            Err(std::fs::TryLockError::WouldBlock) => Err(in_use(&path)),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(Error::io(format_args!("locking {}", path.display()), error))
            }
        }
    }

    /// For a program that goes through the streams from the beginning to the end, and should not have all their files mapped then.
    pub fn of_few_files(self) -> Self {
        Self {
            few: Some(OPEN_FEW),
            ..self
        }
    }

    /// What [`weir_engine::Store`] opens its backends with. One whose folder is missing, and which has messages of streams that the
    /// catalogue knows, is not made anew: what is put back later would be in its way.
    pub fn opener(self) -> OpenBackend {
        let root: Mutex<Weak<dyn Backend>> = Mutex::new(Weak::<MemoryBackend>::new());
        Box::new(move |kind| {
            if kind != BackendKind::Segment
                && let Some(folder) = self.folder(kind).filter(|folder| !folder.is_dir())
                // A thread that panicked with it left it as it was.
                && let Some(root) = root.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
            {
                missed::is_not_missed(&folder, kind, root.kv().as_ref())?;
            }
            let backend = self.open(kind)?;
            if kind == BackendKind::Segment {
                *root.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&backend);
            }
            Ok(backend)
        })
    }

    /// What [`weir_engine::Store`] reads with where it cannot write: see
    /// [`StoreOptions::read`](weir_engine::store::StoreOptions::read).
    pub fn reader(self) -> OpenBackend {
        Box::new(move |kind| self.open_read_only(kind))
    }
}

/// What is said of a store that another process has open, which holds this lock.
pub(crate) fn in_use(lock: &Path) -> Error {
    let store = lock.parent().unwrap_or(lock);
    Error::new(
        Kind::Busy,
        format!(
            "{} is open in another process, a server or a tool: stop it, or wait for it to end",
            store.display()
        ),
    )
}

/// Makes a folder and those above it that are missing, so that a power failure does not take them away again: the
/// names of all that were made are on disk when it returns, and the folder's own name even if it was there already,
/// as an earlier call may have been cut short.
///
/// # Errors
/// What the operating system says, with the path left out; an existing file in the place of a folder is an error.
pub fn make_folder(path: &Path) -> io::Result<()> {
    make_folder_with(path, &mut sync_folder)
}

/// Exchanges two folders in the same folder for each other, both names on disk when it returns; at once where the file system
/// can do that.
///
/// # Errors
/// What the operating system says, with the paths left out.
pub fn exchange_folders(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    if renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_err() {
        let mut between = one.as_os_str().to_owned();
        between.push(".before");
        std::fs::rename(one, &between)?;
        std::fs::rename(other, one)?;
        std::fs::rename(&between, other)?;
    }
    one.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // The parent of a relative path of one part.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

fn make_folder_with(path: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    // What is stored is the owner's alone, as with nats-server.
    let make = || DirBuilder::new().mode(0o700).create(path);
    match make() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else {
                return Err(error);
            };
            make_folder_with(parent, sync)?;
            match make() {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Err(_) if path.is_dir() => {}
        Err(error) => return Err(error),
    }
    match path.parent() {
        // A parent that may be passed through but not read cannot be synced, nor can we have made a name in it.
        Some(parent) => match sync(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        },
        None => Ok(()),
    }
}

#[cfg(feature = "rocksdb")]
fn open_rocksdb(folder: &Path, read_only: bool, is_of_a_tool: bool) -> Result<Arc<dyn Backend>> {
    use crate::rocks::{RocksBackend, RocksOptions};

    let options = match is_of_a_tool {
        true => RocksOptions::of_a_tool(),
        false => RocksOptions::default(),
    };
    Ok(Arc::new(match read_only {
        true => RocksBackend::open_read_only(folder, &options)?,
        false => RocksBackend::open(folder, &options)?,
    }))
}

#[cfg(feature = "rocksdb")]
fn compact_rocksdb(folder: &Path) -> Result<()> {
    use crate::rocks::{RocksBackend, RocksOptions};

    RocksBackend::open(folder, &RocksOptions::of_a_tool())?.compact()
}

#[cfg(not(feature = "rocksdb"))]
fn compact_rocksdb(folder: &Path) -> Result<()> {
    Err(without_rocksdb(folder))
}

#[cfg(not(feature = "rocksdb"))]
fn open_rocksdb(folder: &Path, _read_only: bool, _is_of_a_tool: bool) -> Result<Arc<dyn Backend>> {
    Err(without_rocksdb(folder))
}

#[cfg(not(feature = "rocksdb"))]
fn without_rocksdb(folder: &Path) -> Error {
    Error::unsupported(format!(
        "{} needs the rocksdb backend, and this program was built without it: `scripts/serve --rocksdb` adds it (with \
         cargo: build with the default features)",
        folder.display()
    ))
}

#[cfg(test)]
mod tests;
