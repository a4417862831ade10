//! The key of an encrypted store, in its folder: drawn at random when the store is made, and kept under the key that its owner has.
//!
//! That key wraps it, by way of PBKDF2 with a salt that is new each time; so another owner's key takes 84 bytes to be written, and nothing
//! else. There are two copies, one written after the other and each exchanged as a whole: whatever ends that, one at least is there that
//! the old key opens or the new one. `docs/format.md` draws the bytes.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use ring::pbkdf2;
use weir_engine::{Error, Kind, Result};

use crate::encrypted::{Cipher, KEY_LEN, SESSION_LEN, Vault};
use crate::segment::files::{Files, Mode};

/// The folder of the copies.
const FOLDER: &str = "keys";
/// The copies.
const COPIES: [&str; 2] = ["store.key", "store.copy.key"];
/// Held while the key is made or written anew, so that no two processes make one.
const LOCK: &str = "LOCK";
/// What a copy begins with.
const MAGIC: [u8; 8] = *b"WeirKey\n";
/// The version of its format, which is that of all that is encrypted: 2 since bodies may be compressed.
const VERSION: u16 = 2;
/// The lowest that is read. A start writes it anew.
const VERSION_MIN: u16 = 1;
/// Bytes of the salt.
const SALT_LEN: usize = 16;
/// Bytes before what is wrapped, and of the whole.
const HEADER: usize = 16 + SALT_LEN;
const WRAPPED: usize = KEY_LEN + 16;
const LEN: usize = HEADER + WRAPPED + 4;
/// How often PBKDF2-HMAC-SHA256 goes round, as OWASP advises: about a fifth of a second.
pub(super) const ROUNDS: u32 = 600_000;
/// More are not gone round for a file that asks for them: they keep a start, for a second for each key that is tried.
const ROUNDS_MAX: u32 = 4 * ROUNDS;

/// The key that the owner of a store has: any text.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey(String);

impl StoreKey {
    /// That one. What is empty opens nothing.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for StoreKey {
    /// Nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

/// Where random bytes come from.
pub(super) type Draw<'a> = &'a dyn Fn(&mut [u8]) -> Result<()>;

/// The keys of a store that is to be opened.
pub(super) struct Locked<'a> {
    pub files: &'a dyn Files,
    /// `DIR/weir`.
    pub root: &'a Path,
    pub draw: Draw<'a>,
    /// See [`ROUNDS`].
    pub rounds: u32,
    /// Whether what is in the store opens with a key: asked where the copies have two.
    pub is_right: &'a dyn Fn(&Vault) -> bool,
}

/// A key that was opened.
pub(super) struct Opened {
    pub vault: Vault,
    /// What is to be written of it, once the store is nobody else's.
    pub renewal: Option<Renewal>,
}

/// The store's key, to be kept under a key of its owner in both copies.
pub(super) struct Renewal {
    key: [u8; KEY_LEN],
    owner: StoreKey,
    cipher: Cipher,
    /// The owner has another key than before.
    is_exchange: bool,
}

impl std::fmt::Debug for Renewal {
    /// Nothing of the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewal(…)")
    }
}

/// One of the copies, as it is read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyFile {
    version: u16,
    cipher: Cipher,
    rounds: NonZeroU32,
    raw: [u8; LEN],
}

/// Whether a store has a key of its own, and so is encrypted: be it one that cannot be read.
pub(super) fn are_there(files: &dyn Files, root: &Path) -> bool {
    let folder = root.join(FOLDER);
    COPIES.iter().any(|name| match files.len(&folder.join(name)) {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(_) => true,
    })
}

/// Keeps the copies from all but their owner: whoever can read them can guess at the owner's key.
pub(super) fn keep_to_owner(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let folder = root.join(FOLDER);
    if let Err(error) = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)) {
        tracing::warn!("{} may be read by others: {error}", folder.display());
    }
}

/// What is said of a store that is encrypted where no key is given.
pub(super) fn none_given(root: &Path) -> Error {
    Error::new(
        Kind::Locked,
        format!(
            "{} is encrypted, and no key is given: a server takes it from jetstream {{ key }}, `weir` from --key-file or WEIR_KEY",
            root.display()
        ),
    )
}

/// What is said of a store that is not encrypted where a key is given.
pub(super) fn is_plain(root: &Path) -> Error {
    Error::new(
        Kind::Locked,
        format!(
            "{} is not encrypted, and a key is given: `weir encrypt`, while the server is stopped, makes a copy that is; without the key it \
             goes on as it is. (If it was encrypted, its folder {FOLDER} is missing: put that back from a backup)",
            root.display()
        ),
    )
}

/// What is said of a store whose catalogue is encrypted, and that has no key of its own any more.
pub(super) fn is_lost(root: &Path) -> Error {
    Error::new(
        Kind::Locked,
        format!(
            "{} is encrypted, and its folder {FOLDER} is missing, without which nothing in it can be read: put that back from a backup, and \
             leave all else as it is",
            root.display()
        ),
    )
}

impl Locked<'_> {
    /// Opens the key of a store as [`open_to_renew`](Self::open_to_renew) does, or makes it if there is none yet: one process at a time.
    ///
    /// # Errors
    /// As there; [`Kind::Busy`] if another process is at it; if no owner's key is given, or the store's cannot be written.
    pub fn make_or_open(&self, owners: &[StoreKey], cipher: Cipher) -> Result<Opened> {
        let first = owners.first().ok_or_else(|| none_given(self.root))?;
        let folder = self.root.join(FOLDER);
        let alone = self
            .make_folder(&folder)
            .and_then(|()| self.files.lock(&folder.join(LOCK), false));
        let only = |vault| Opened { vault, renewal: None };
        match (are_there(self.files, self.root), alone) {
            (true, Ok(_alone)) => self.open_to_renew(owners, cipher),
            (false, Ok(_alone)) => self.make(first, cipher).map(only),
            (_, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(crate::root::in_use(&folder.join(LOCK)))
            }
            // What cannot be written to can be read.
            (true, Err(_)) => self.open(owners, cipher).map(only),
            (false, Err(error)) => Err(Error::io(format_args!("making {}", folder.display()), error)),
        }
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        match self.files.create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.files.sync_dir(self.root),
        }
    }

    /// Makes the key of a new store.
    ///
    /// # Errors
    /// If it cannot be written.
    fn make(&self, owner: &StoreKey, cipher: Cipher) -> Result<Vault> {
        let mut key = [0; KEY_LEN];
        (self.draw)(&mut key)?;
        self.wrap(&key, owner, cipher)?;
        self.vault(&key, cipher)
    }

    /// Opens the key of a store with one of those that its owner has.
    ///
    /// # Errors
    /// [`Kind::Locked`] if none of them does; [`Kind::Damaged`] if no copy is whole.
    pub fn open(&self, owners: &[StoreKey], cipher: Cipher) -> Result<Vault> {
        let (key, ..) = self.unwrap(owners)?;
        self.vault(&key, cipher)
    }

    /// The same, with what is to be [renewed](Self::renew): it is to be under the first of these keys, in both copies, by that cipher.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_renew(&self, owners: &[StoreKey], cipher: Cipher) -> Result<Opened> {
        let (key, owner, copies) = self.unwrap(owners)?;
        let is_current = owner == 0
            && copies[0] == copies[1]
            && copies[0]
                .is_some_and(|copy| (copy.version, copy.cipher, copy.rounds.get()) == (VERSION, cipher, self.rounds));
        let first = owners.first().filter(|_| !is_current);
        let renewal = first.map(|first| Renewal {
            key,
            owner: first.clone(),
            cipher,
            is_exchange: owner != 0,
        });
        let vault = self.vault(&key, cipher)?;
        Ok(Opened { vault, renewal })
    }

    /// Writes both copies. What fails of that is told in the log of the program, and done by a later opening: nothing depends on it. To be
    /// called by whoever has the store to himself, and has seen that the key opens what is in it: what was in the copies is gone then.
    pub fn renew(&self, renewal: &Renewal) {
        match self.wrap(&renewal.key, &renewal.owner, renewal.cipher) {
            Ok(()) if renewal.is_exchange => {
                tracing::info!("the store's key is kept under the new key now; prev_key is needed no more");
            }
            Ok(()) => tracing::info!("the copies of the store's key were written anew"),
            Err(error) => tracing::error!("the store's key is kept as it was, and the next start tries again: {error}"),
        }
    }

    /// The copies that are missing or cannot be read, each with what is wrong with it, without its name.
    pub fn broken(&self) -> Vec<(PathBuf, String)> {
        let wrong = |name| {
            let path = self.root.join(FOLDER).join(name);
            let error = self.read(&path).err()?;
            let why = match (
                self.files.len(&path),
                error.message.strip_prefix(&*path.display().to_string()),
            ) {
                (Err(none), _) if none.kind() == io::ErrorKind::NotFound => "is missing".to_owned(),
                (_, Some(rest)) => rest.trim_start().to_owned(),
                (_, None) => format!("cannot be read: {error}"),
            };
            Some((path, why))
        };
        COPIES.into_iter().filter_map(wrong).collect()
    }

    /// Writes both copies as the one is that is whole; nothing where both are. For the owner of the store, who is alone with it and has
    /// seen that this copy's key opens what is in it.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if no copy is whole; if they cannot be written.
    pub fn mend(&self) -> Result<()> {
        let folder = self.root.join(FOLDER);
        let [one, other] = COPIES.map(|name| self.read(&folder.join(name)));
        let whole = match (one, other) {
            (Ok(_), Ok(_)) => return Ok(()),
            (Ok(whole), Err(_)) | (Err(_), Ok(whole)) => whole,
            (Err(error), Err(_)) => return Err(error),
        };
        self.write_all(&folder, &whole.raw)
            .map_err(|error| writing(&folder, error))
    }

    /// The key, which of the owner's opened it, and the copies that are whole.
    fn unwrap(&self, owners: &[StoreKey]) -> Result<([u8; KEY_LEN], usize, [Option<KeyFile>; 2])> {
        let mut broken = Vec::new();
        let mut read = |name: &str| {
            let copy = self.read(&self.root.join(FOLDER).join(name));
            copy.map_err(|error| broken.push(error)).ok()
        };
        let copies = COPIES.map(&mut read);
        for error in &broken {
            tracing::error!("a copy of the store's key: {error}");
        }
        let mut whole: Vec<KeyFile> = copies.iter().flatten().copied().collect();
        whole.dedup();
        if whole.is_empty() {
            let why: Vec<String> = broken.into_iter().map(|error| error.message).collect();
            return Err(Error::damaged(format!(
                "the store's key cannot be read in any copy, and without it nothing in the store can: put the folder {} back from a \
                 backup ({})",
                self.root.join(FOLDER).display(),
                why.join("; ")
            )));
        }
        // One copy may be another store's, or from before this store's key was another.
        let mut found: Vec<([u8; KEY_LEN], usize)> = Vec::new();
        for (n, owner) in owners.iter().enumerate().filter(|(_, owner)| !owner.0.is_empty()) {
            for key in whole.iter().filter_map(|copy| copy.open(owner)) {
                if found.iter().all(|(other, _)| *other != key) {
                    found.push((key, n));
                }
            }
            if found.len() == whole.len() {
                break;
            }
        }
        let is_right = |key| {
            self.vault(key, Cipher::default())
                .is_ok_and(|vault| (self.is_right)(&vault))
        };
        let right = match found.len() {
            0 | 1 => 0,
            _ => found.iter().position(|(key, _)| is_right(key)).unwrap_or(0),
        };
        if let Some((key, owner)) = found.get(right) {
            return Ok((*key, *owner, copies));
        }
        Err(match owners.is_empty() {
            true => none_given(self.root),
            false => Error::new(
                Kind::Locked,
                format!(
                    "{} is encrypted with another key than what is given, and nothing was changed: give the one that it was encrypted \
                     with; where it is to have a new one, that as `key` and the old one as `prev_key`",
                    self.root.display()
                ),
            ),
        })
    }

    fn vault(&self, key: &[u8; KEY_LEN], cipher: Cipher) -> Result<Vault> {
        let mut session = [0; SESSION_LEN];
        (self.draw)(&mut session)?;
        Vault::new(key, cipher, session)
    }

    fn read(&self, path: &Path) -> Result<KeyFile> {
        let read = self.files.read(path);
        let raw = read.map_err(|error| Error::io(format_args!("reading {}", path.display()), error))?;
        let damaged = || Error::damaged(format!("{} is damaged", path.display()));
        let raw: [u8; LEN] = raw.try_into().map_err(|_| damaged())?;
        let [at_8, at_12, at_crc] = [8, 12, LEN - 4].map(|at| {
            let bytes = [raw[at], raw[at + 1], raw[at + 2], raw[at + 3]];
            u32::from_le_bytes(bytes)
        });
        if raw[..8] != MAGIC || crc32c::crc32c(&raw[..LEN - 4]) != at_crc {
            return Err(damaged());
        }
        let version = at_8 as u16;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Error::unsupported(format!(
                "{} has format version {version}, this program reads up to {VERSION}: use the version of Weir that wrote it",
                path.display(),
            )));
        }
        if at_12 > ROUNDS_MAX {
            return Err(Error::damaged(format!(
                "{} asks for {at_12} rounds of PBKDF2, more than {ROUNDS_MAX}: nobody wrote that",
                path.display()
            )));
        }
        match (Cipher::of_number(raw[10]), NonZeroU32::new(at_12)) {
            (Some(cipher), Some(rounds)) => Ok(KeyFile {
                version,
                cipher,
                rounds,
                raw,
            }),
            _ => Err(damaged()),
        }
    }

    /// Wraps the store's key with the owner's, and writes both copies, each as a whole and on disk before the next.
    fn wrap(&self, key: &[u8; KEY_LEN], owner: &StoreKey, cipher: Cipher) -> Result<()> {
        let rounds = NonZeroU32::new(self.rounds).ok_or_else(|| Error::invalid("no rounds"))?;
        let mut raw = [0; LEN];
        raw[..8].copy_from_slice(&MAGIC);
        raw[8..10].copy_from_slice(&VERSION.to_le_bytes());
        raw[10] = cipher.number();
        raw[12..16].copy_from_slice(&rounds.get().to_le_bytes());
        (self.draw)(&mut raw[16..HEADER])?;
        let mut wrapped = key.to_vec();
        let refused = || Error::invalid("the store's key could not be wrapped");
        let (header, rest) = raw.split_at_mut(HEADER);
        let with = wrapping_key(owner, cipher, rounds, &header[16..]).ok_or_else(refused)?;
        with.seal_in_place_append_tag(once(), Aad::from(&*header), &mut wrapped)
            .map_err(|_| refused())?;
        rest[..WRAPPED].copy_from_slice(&wrapped);
        let crc = crc32c::crc32c(&raw[..LEN - 4]);
        raw[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        let folder = self.root.join(FOLDER);
        self.write_all(&folder, &raw).map_err(|error| writing(&folder, error))
    }

    fn write_all(&self, folder: &Path, raw: &[u8]) -> io::Result<()> {
        let files = self.files;
        self.make_folder(folder)?;
        for name in COPIES {
            let path = folder.join(name);
            let new = PathBuf::from(format!("{}.tmp", path.display()));
            match files.remove(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = files.open(&new, Mode::Create)?;
            files.write_at(&file, &new, raw, 0)?;
            files.sync(&file, &new)?;
            files.rename(&new, &path)?;
            files.sync_dir(folder)?;
        }
        Ok(())
    }
}

impl KeyFile {
    fn open(&self, owner: &StoreKey) -> Option<[u8; KEY_LEN]> {
        let with = wrapping_key(owner, self.cipher, self.rounds, &self.raw[16..HEADER])?;
        let mut wrapped = self.raw[HEADER..HEADER + WRAPPED].to_vec();
        let key = with.open_in_place(once(), Aad::from(&self.raw[..HEADER]), &mut wrapped);
        key.ok().and_then(|key| (&*key).try_into().ok())
    }
}

fn writing(folder: &Path, error: io::Error) -> Error {
    Error::io(format_args!("writing the store's key in {}", folder.display()), error)
}

/// The salt is new for each key that is wrapped, and so is what that is wrapped with: the nonce can be the same.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn wrapping_key(owner: &StoreKey, cipher: Cipher, rounds: NonZeroU32, salt: &[u8]) -> Option<LessSafeKey> {
    let mut derived = [0; KEY_LEN];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        salt,
        owner.0.as_bytes(),
        &mut derived,
    );
    let key = UnboundKey::new(cipher.algorithm(), &derived).ok()?;
    Some(LessSafeKey::new(key))
}

/// Random bytes of the operating system.
///
/// # Errors
/// If it has none.
pub(super) fn draw(into: &mut [u8]) -> Result<()> {
    use ring::rand::{SecureRandom, SystemRandom};
    let none = |_| Error::new(Kind::Io, "the operating system gives no random bytes");
    SystemRandom::new().fill(into).map_err(none)
}

#[cfg(test)]
mod tests;
