//! The store that a stream comes into.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_backends::allocator;
use weir_backends::encrypted::Cipher;
use weir_backends::root::StoreDir;
use weir_engine::embed::{Filling, Origin};
use weir_engine::store::{OpeningProgress, default_shards};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::Defaults;
use weir_engine::{Error as EngineError, Seq, Store, StoreOptions, reject};

use crate::error::{Error, Result};
use crate::image::now;

/// The store, open for this process alone. Nothing happens in it by itself.
pub struct Target {
    store: Store,
    /// What was made for it, inner folders first; nothing if it was there.
    made: Vec<PathBuf>,
}

impl Target {
    /// Opens the store at a path, which may be the store directory or the folder `weir` in it; makes one if there is none.
    ///
    /// # Errors
    /// If there is something else, a server has it open, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let found = StoreDir::find(path);
        crate::beside::is_finished(path)?;
        let new = found.is_none();
        let dir = found.unwrap_or_else(|| StoreDir::new(path));
        if new && (dir.root().exists() || path.is_file()) {
            return Err(Error::NotAStore {
                path: path.to_path_buf(),
            });
        }
        let mut made = Vec::new();
        if new {
            let folders = dir.root().ancestors().take_while(|folder| !folder.exists());
            made.extend(folders.map(Path::to_path_buf));
        }
        let dir = match new {
            true => crate::key::made(dir, Cipher::default())?,
            false => crate::key::unlocked(dir)?,
        };
        Self::open_dir(dir, made, None)
    }

    /// Opens the store at a path, as [`Target::open`] does. `progress` is told of the reading of streams that takes long.
    ///
    /// # Errors
    /// If there is none, a server has it open, or it cannot be read.
    pub fn open_existing(path: &Path, progress: Option<OpeningProgress>) -> Result<Self> {
        let dir = crate::key::find(path)?;
        crate::beside::is_finished(path)?;
        Self::open_dir(dir, Vec::new(), progress)
    }

    fn open_dir(dir: StoreDir, made: Vec<PathBuf>, progress: Option<OpeningProgress>) -> Result<Self> {
        let options = StoreOptions {
            progress,
            ..StoreOptions::new(Arc::new(now))
        };
        let store = open_still(dir, options)?;
        // Of what was read to open it.
        allocator::give_back();
        Ok(Self { store, made })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether it was made now.
    pub fn is_new(&self) -> bool {
        !self.made.is_empty()
    }

    /// Writes a last checkpoint, and lets servers in again. A store that was made for streams of which none came goes.
    pub fn close(self) {
        let is_empty = self.store.catalogue().all().is_empty();
        self.store.close();
        if !is_empty {
            return;
        }
        let mut made = self.made.into_iter();
        // What cannot be removed is an empty store, which harms nobody.
        if made.next().is_some_and(|root| fs::remove_dir_all(root).is_ok()) {
            let _ = made.try_for_each(fs::remove_dir);
        }
    }

    /// What a stream of this configuration would be made as in an account.
    ///
    /// # Errors
    /// If the store does not take it: the name or subjects are taken, or it breaks a rule.
    pub fn origin(&self, account: &str, config: StreamConfig) -> Result<Origin> {
        let name = config.name.clone();
        let origin = self.store.origin(account, config, &Defaults::default());
        origin.map_err(|error| refused(account, &name, error))
    }

    /// Begins to fill a stream, the first sequence of which is `first`.
    ///
    /// # Errors
    /// If its storage cannot be made.
    pub fn begin(&self, origin: Origin, first: Seq) -> Result<Filling> {
        let (account, name) = (Arc::clone(&origin.account), origin.config.name.clone());
        let filling = self.store.fill(origin, first);
        filling.map_err(|error| refused(&account, &name, error))
    }
}

/// Opens a store, or makes it, for this process alone; nothing happens in it by itself.
///
/// # Errors
/// If a server has it open, or it cannot be read.
pub(crate) fn open_still(dir: StoreDir, options: StoreOptions) -> Result<Store> {
    let options = StoreOptions {
        shards: default_shards(),
        entropy: now().unsigned_abs(),
        there: dir.there(),
        room: Some(dir.clone().room()),
        still: true,
        ..options
    };
    Store::embedded(dir.of_few_files().opener(), options).map_err(Error::opening)
}

/// Why the store does not take a stream, and what helps.
pub fn refused(account: &str, name: &str, error: EngineError) -> Error {
    let code = error.rejection.as_ref().map(|rejection| rejection.code);
    if code == Some(reject::STREAM_NAME_EXIST_RESTORE_FAILED.code) {
        return Error::NameTaken {
            account: account.to_owned(),
            name: name.to_owned(),
        };
    }
    Error::Refused {
        account: account.to_owned(),
        name: name.to_owned(),
        error,
    }
}
