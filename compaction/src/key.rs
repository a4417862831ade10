//! The keys that encrypted stores are opened with in this process: the program has them from a file or a variable of its environment,
//! never from its arguments, which everybody on the machine can see.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use weir_backends::encrypted::Cipher;
use weir_backends::root::{StoreDir, StoreKey};

use crate::error::{Error, Result};

/// The longest file with a key, in bytes: as large as a configuration may be, which a server has its key from.
const KEY_MAX: u64 = 16 << 20;

static KEYS: RwLock<Vec<StoreKey>> = RwLock::new(Vec::new());

/// Adds a key to those that stores are opened with, which are tried in order. Where a store is made, it is encrypted with the first.
pub fn add(key: StoreKey) {
    KEYS.write().unwrap_or_else(PoisonError::into_inner).push(key);
}

/// Reads a key from a file: all that is in it, but for one end of a line (`\n` or `\r\n`) at the end, which editors put there.
///
/// # Errors
/// If it cannot be read, is empty, larger than 16 MiB, or is no text.
pub fn read(path: &Path) -> Result<StoreKey> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(KEY_MAX + 1).read_to_string(&mut text)?;
        let line = text
            .strip_suffix('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        let key = line.unwrap_or(&text);
        match key.is_empty() || text.len() as u64 > KEY_MAX {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no key")),
            false => Ok(key.to_owned()),
        }
    };
    read().map(StoreKey::new).map_err(|error| Error::KeyFile {
        path: path.to_path_buf(),
        error,
    })
}

/// Whether there is a key.
pub(crate) fn is_given() -> bool {
    !keys().is_empty()
}

fn keys() -> Vec<StoreKey> {
    KEYS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The store at a path, opened with the keys if it is encrypted: a server's store directory, or the folder `weir` in it.
///
/// # Errors
/// If there is none, or no key opens it.
pub(crate) fn find(path: &Path) -> Result<StoreDir> {
    let there = StoreDir::find(path).ok_or_else(|| Error::NotAStore {
        path: path.to_path_buf(),
    })?;
    unlocked(there)
}

/// A store that is there, opened with the keys if it is encrypted.
///
/// # Errors
/// If no key opens it.
pub(crate) fn unlocked(dir: StoreDir) -> Result<StoreDir> {
    dir.unlocked(&keys()).map_err(Error::opening)
}

/// A store that is to be made, encrypted if there is a key.
///
/// # Errors
/// If its own key cannot be made.
pub(crate) fn made(dir: StoreDir, cipher: Cipher) -> Result<StoreDir> {
    let first: Vec<StoreKey> = keys().into_iter().take(1).collect();
    dir.encrypted(&first, cipher).map_err(Error::opening)
}

/// What was given on the command line and in the environment.
///
/// # Errors
/// If a file cannot be read.
pub fn take(files: &[PathBuf], variable: Option<String>) -> Result<()> {
    for file in files {
        add(read(file)?);
    }
    if let Some(key) = variable.filter(|key| !key.is_empty()) {
        add(StoreKey::new(key));
    }
    Ok(())
}
