//! Tokens of accounts in a directory, a file each: `<key>.jwt`.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use weir_jwt::{MAX_TOKEN, decode_generic, key};

use crate::conf::options::{Deletion, Resolver};
use crate::error::{Error, Result};
use crate::interest::Account;

const EXTENSION: &str = "jwt";
/// How often it is looked for what is too old, at least.
const PAUSE: Duration = Duration::from_secs(60);

/// A directory of tokens, and what is known of its files.
pub struct Directory {
    path: PathBuf,
    /// Whether it has all accounts, or those that were asked for.
    full: bool,
    delete: Option<Deletion>,
    /// Files at most.
    limit: usize,
    /// How long a file is there that nobody asks for.
    ttl: Option<Duration>,
    timeout: Duration,
    interval: Duration,
    system: Arc<Account>,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    files: HashMap<String, File>,
    /// All hashes, one over the other.
    hash: [u8; 32],
    /// Counts uses, for which was not used longest.
    clock: u64,
}

struct File {
    hash: [u8; 32],
    /// When it is too old, in nanoseconds since 1970.
    expires: Option<i128>,
    used: u64,
}

impl Index {
    fn track(&mut self, key: &str, hash: [u8; 32], expires: Option<i128>) {
        self.untrack(key);
        self.clock += 1;
        let used = self.clock;
        self.toggle(&hash);
        self.files.insert(key.to_owned(), File { hash, expires, used });
    }

    fn untrack(&mut self, key: &str) {
        if let Some(file) = self.files.remove(key) {
            self.toggle(&file.hash);
        }
    }

    fn toggle(&mut self, hash: &[u8; 32]) {
        for (sum, byte) in self.hash.iter_mut().zip(hash) {
            *sum ^= byte;
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Directory {
    /// Has its files read or written off the async workers.
    ///
    /// # Errors
    /// The server stops.
    pub async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> std::result::Result<T, String> {
        let directory = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&directory)).await;
        done.map_err(|_| "the server stops".to_owned())
    }

    /// The directory of a resolver; it is made if it is not there. `system`: where others are asked.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(super) fn open(resolver: &Resolver, system: &Arc<Account>) -> Result<Self> {
        let (path, full, delete, limit, ttl, timeout, interval) = match resolver {
            Resolver::Full {
                dir,
                delete,
                interval,
                limit,
                timeout,
            } => (
                dir,
                true,
                *delete,
                limit.unwrap_or(usize::MAX),
                None,
                *timeout,
                *interval,
            ),
            Resolver::Cache {
                dir,
                ttl,
                limit,
                timeout,
            } => (dir, false, Some(Deletion::Remove), *limit, *ttl, *timeout, PAUSE),
            Resolver::Memory | Resolver::Url(_) => {
                return Err(Error::Options("this resolver has no directory".to_owned()));
            }
        };
        let directory = Self {
            path: path.clone(),
            full,
            delete,
            limit,
            ttl,
            timeout,
            interval,
            system: Arc::clone(system),
            index: Mutex::default(),
        };
        directory.scan().map_err(|source| Error::File {
            doing: "read accounts in",
            path: path.display().to_string(),
            source,
        })?;
        Ok(directory)
    }

    /// Whether it has all accounts.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How often it looks what others have.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether accounts may be deleted.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.full && self.delete.is_some()
    }

    pub(super) fn system(&self) -> &Arc<Account> {
        &self.system
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How often it is looked for what is too old.
    pub(super) fn pause(&self) -> Duration {
        let half = self.ttl.map_or(PAUSE, |ttl| ttl / 2);
        half.clamp(Duration::from_millis(10), PAUSE)
    }

    /// All hashes of files, one over the other: the same for the same files.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.index.lock().hash
    }

    fn scan(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let mut index = self.index.lock();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if path.extension().is_none_or(|extension| extension != EXTENSION) || !key::is_account(name) {
                continue;
            }
            if let Ok(token) = read(&path) {
                index.track(name, digest(&token), self.expiry(&token));
            }
        }
        Ok(())
    }

    /// When a token that is used now is too old.
    fn expiry(&self, token: &str) -> Option<i128> {
        match self.ttl {
            Some(ttl) => Timestamp::now().checked_add(ttl).ok().map(Timestamp::as_nanosecond),
            None => {
                let expires = decode_generic(token).map_or(0, |claims| claims.common.expires);
                (expires != 0).then_some(i128::from(expires) * 1_000_000_000)
            }
        }
    }

    /// The file of an account; only keys have one, so that no name leads elsewhere.
    fn file(&self, name: &str) -> std::result::Result<PathBuf, String> {
        match key::is_account(name) {
            true => Ok(self.path.join(format!("{name}.{EXTENSION}"))),
            false => Err("invalid public key".to_owned()),
        }
    }

    /// The token of an account.
    ///
    /// # Errors
    /// It is not there.
    pub fn load(&self, name: &str) -> std::result::Result<String, String> {
        let token = read(&self.file(name)?).map_err(|error| error.to_string())?;
        let mut index = self.index.lock();
        index.clock += 1;
        let used = index.clock;
        let expires = self.ttl.and_then(|_| self.expiry(&token));
        if let Some(file) = index.files.get_mut(name) {
            file.used = used;
            file.expires = expires.or(file.expires);
        }
        Ok(token)
    }

    /// Puts a token in the place of whatever was there. False: it was there.
    ///
    /// # Errors
    /// It cannot be written, or there are too many.
    pub fn save(&self, name: &str, token: &str) -> std::result::Result<bool, String> {
        let path = self.file(name)?;
        if token.is_empty() {
            return Err("invalid JWT".to_owned());
        }
        let hash = digest(token);
        let mut index = self.index.lock();
        match index.files.get(name) {
            Some(file) if file.hash == hash => return Ok(false),
            Some(_) => {}
            None if index.files.len() >= self.limit => {
                if self.full {
                    return Err("jwt store is full".to_owned());
                }
                let oldest = index.files.iter().min_by_key(|(_, file)| file.used);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    fs::remove_file(self.file(&oldest)?).map_err(|error| error.to_string())?;
                    index.untrack(&oldest);
                }
            }
            None => {}
        }
        write(&path, token).map_err(|error| error.to_string())?;
        index.track(name, hash, self.expiry(token));
        Ok(true)
    }

    /// The same, unless what is there was signed later.
    ///
    /// # Errors
    /// The same, or it is the token of another account.
    pub fn save_if_newer(&self, name: &str, token: &str) -> std::result::Result<bool, String> {
        let path = self.file(name)?;
        let new = decode_generic(token).map_err(|error| error.to_string())?.common;
        if new.subject != name {
            return Err("jwt subject nkey and provided nkey do not match".to_owned());
        }
        if let Ok(there) = read(&path)
            && let Ok(there) = decode_generic(&there)
            && (there.common.id == new.id || there.common.issued_at > new.issued_at)
        {
            return Ok(false);
        }
        self.save(name, token)
    }

    /// Takes a token away. False: it was not there.
    ///
    /// # Errors
    /// That is not wanted, or it cannot be done.
    pub fn delete(&self, name: &str) -> std::result::Result<bool, String> {
        let path = self.file(name)?;
        let done = match self.delete {
            None => return Err("store is not set up to for delete".to_owned()),
            Some(Deletion::Rename) => fs::rename(&path, path.with_extension("jwt.deleted")),
            Some(Deletion::Remove) => fs::remove_file(&path),
        };
        match done {
            Ok(()) => {
                self.index.lock().untrack(name);
                // An account that was said to be deleted does not come back with a crash.
                sync_folder(&path).map_err(|error| error.to_string())?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Every account and its token, but those that have expired, in the order of their keys.
    #[must_use]
    pub fn all(&self) -> Vec<(String, String)> {
        let mut names: Vec<String> = self.index.lock().files.keys().cloned().collect();
        names.sort_unstable();
        let now = super::now();
        let holds = |token: &str| {
            let expires = decode_generic(token).map_or(0, |claims| claims.common.expires);
            !token.is_empty() && (expires == 0 || expires >= now)
        };
        names
            .into_iter()
            .filter_map(|name| {
                let token = read(&self.file(&name).ok()?).ok()?;
                holds(&token).then_some((name, token))
            })
            .collect()
    }

    /// Removes what is too old at this time, in nanoseconds since 1970.
    pub(super) fn expire(&self, now: i128) {
        let mut index = self.index.lock();
        let old = |file: &File| file.expires.is_some_and(|expires| expires <= now);
        let names: Vec<String> = index
            .files
            .iter()
            .filter(|(_, file)| old(file))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            if self.file(&name).is_ok_and(|path| fs::remove_file(path).is_ok()) {
                index.untrack(&name);
            }
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_TOKEN as u64 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read_to_string(path)
}

/// Writes a file so that a crash leaves the old one or the new one, and none once this has returned the old one.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let beside = path.with_extension("jwt.new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Has the names in a file's folder on disk: a name that came or went is a change of the folder, not of the file.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nkeys::KeyPair;
    use weir_jwt::{AccountClaims, encode};

    use super::*;

    fn directory(path: &Path, full: bool, limit: usize) -> Directory {
        let dir = path.to_owned();
        let timeout = Duration::from_millis(1);
        let resolver = match full {
            true => Resolver::Full {
                dir,
                delete: Some(Deletion::Rename),
                interval: PAUSE,
                limit: Some(limit),
                timeout,
            },
            false => Resolver::Cache {
                dir,
                ttl: Some(Duration::from_secs(1)),
                limit,
                timeout,
            },
        };
        Directory::open(&resolver, &Account::new("S", 0)).unwrap()
    }

    fn token(account: &str, issued_at: i64) -> String {
        encode(AccountClaims::new(account), &KeyPair::new_operator(), issued_at).unwrap()
    }

    #[test]
    fn a_directory_keeps_tokens_and_knows_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (KeyPair::new_account().public_key(), KeyPair::new_account().public_key());
        let full = directory(folder.path(), true, 1);
        assert_eq!(full.hash(), [0; 32]);
        assert_eq!(full.save(&a, &token(&a, 5)), Ok(true));
        assert_eq!(full.save_if_newer(&a, &token(&a, 4)), Ok(false));
        assert_eq!(full.save(&b, &token(&b, 5)), Err("jwt store is full".to_owned()));
        assert_eq!(full.save_if_newer(&a, &token(&a, 6)), Ok(true));
        let again = directory(folder.path(), true, 1);
        assert_eq!(again.hash(), full.hash());
        assert_eq!(again.all().len(), 1);
        assert_eq!(full.delete(&a), Ok(true));
        assert_eq!((full.delete(&a), full.hash()), (Ok(false), [0; 32]));
        assert!(full.load(&a).is_err() && folder.path().join(format!("{a}.jwt.deleted")).exists());
    }

    #[test]
    fn no_name_leads_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let full = directory(&folder.path().join("in"), true, 9);
        fs::write(folder.path().join("x.jwt"), "x").unwrap();
        for name in ["../x", "x", "", "/etc/passwd", "A/../x"] {
            assert!(full.load(name).is_err() && full.save(name, "x").is_err() && full.delete(name).is_err());
        }
    }

    #[test]
    fn a_cache_makes_room_and_forgets() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<String> = (0..3).map(|_| KeyPair::new_account().public_key()).collect();
        let cache = directory(folder.path(), false, 2);
        for key in &keys[..2] {
            cache.save(key, &token(key, 1)).unwrap();
        }
        cache.load(&keys[0]).unwrap();
        cache.save(&keys[2], &token(&keys[2], 1)).unwrap();
        assert!(cache.load(&keys[1]).is_err(), "the one that was not used longest");
        assert!(cache.load(&keys[0]).is_ok());
        cache.expire(Timestamp::now().as_nanosecond());
        assert!(cache.load(&keys[0]).is_ok());
        cache.expire(Timestamp::now().as_nanosecond() + 2_000_000_000);
        assert!(cache.load(&keys[0]).is_err() && cache.all().is_empty());
    }
}
