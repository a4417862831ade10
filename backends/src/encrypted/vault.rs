//! What a store is encrypted and decrypted with: its key, and how bytes are sealed under it.
//!
//! Every opening of a store draws a random *session* of 16 bytes. What it writes is sealed under a key that HKDF-SHA256 derives from the
//! store's key and the session, with a nonce that counts: so no nonce comes twice under a key, whatever a crash takes back and however
//! often a sequence is written again. Session and count stand before what is sealed; sessions of 16 random bytes do not meet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use weir_engine::{Error, Result};

/// Bytes of a store's key.
pub const KEY_LEN: usize = 32;
/// Bytes of a session.
pub const SESSION_LEN: usize = 16;
/// Bytes of a tag, behind everything that is sealed.
pub(super) const TAG_LEN: usize = 16;
/// Bytes before what is sealed: the cipher, the session, the count.
pub(super) const BEFORE: usize = 1 + SESSION_LEN + 8;
/// By how much that is longer which is sealed alone.
pub(super) const LONGER: usize = BEFORE + TAG_LEN;
/// Sessions whose keys are remembered: those that wrote what is read.
const SESSIONS_MAX: usize = 1024;

/// What is encrypted with, by nats-server's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// ChaCha20-Poly1305: `chacha`, `chachapoly`.
    #[default]
    ChaCha,
    /// AES-256-GCM: `aes`.
    Aes,
}

impl Cipher {
    /// The byte that stands for it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::ChaCha => 1,
            Self::Aes => 2,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::ChaCha),
            2 => Some(Self::Aes),
            _ => None,
        }
    }

    pub(crate) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::ChaCha => &CHACHA20_POLY1305,
            Self::Aes => &AES_256_GCM,
        }
    }
}

impl std::fmt::Display for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ChaCha => "ChaCha20-Poly1305",
            Self::Aes => "AES-256-GCM",
        })
    }
}

type Session = [u8; SESSION_LEN];

/// The key of a store, open.
pub struct Vault {
    key: hkdf::Prk,
    cipher: Cipher,
    session: Session,
    own: LessSafeKey,
    count: AtomicU64,
    /// Keys of the sessions that are read.
    others: RwLock<HashMap<(Cipher, Session), LessSafeKey>>,
}

impl std::fmt::Debug for Vault {
    /// Nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

/// Which of the two parts of a record; everything else is the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    First,
    Body,
}

fn nonce(count: u64, part: Part) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&count.to_le_bytes());
    bytes[8] = part as u8;
    Nonce::assume_unique_for_key(bytes)
}

impl Vault {
    /// With the key of a store. What is written is sealed by `cipher`, and whatever sealed it is read. `session` is random, and never used
    /// for a second vault.
    ///
    /// # Errors
    /// If the library refuses; it does not for keys of this length.
    pub fn new(key: &[u8; KEY_LEN], cipher: Cipher, session: [u8; SESSION_LEN]) -> Result<Self> {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
        Ok(Self {
            own: session_key(&key, cipher, &session)?,
            key,
            cipher,
            session,
            count: AtomicU64::new(1),
            others: RwLock::default(),
        })
    }

    /// A number for what is sealed next.
    pub(super) fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// What stands before the first part that is sealed with that number.
    pub(super) fn begin(&self, count: u64, out: &mut Vec<u8>) {
        out.push(self.cipher.number());
        out.extend_from_slice(&self.session);
        out.extend_from_slice(&count.to_le_bytes());
    }

    /// Seals what `out` has from `from` on, where it is, and adds the tag.
    ///
    /// # Errors
    /// If there is too much of it: more than 64 GiB.
    pub(super) fn seal_from(&self, count: u64, part: Part, ad: &[u8], out: &mut Vec<u8>, from: usize) -> Result<()> {
        let sealed = self
            .own
            .seal_in_place_separate_tag(nonce(count, part), Aad::from(ad), &mut out[from..]);
        let tag = sealed.map_err(|_| Error::invalid("there is too much of it to be encrypted at once"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Seals bytes alone.
    ///
    /// # Errors
    /// As [`seal_from`](Self::seal_from).
    pub(crate) fn seal(&self, ad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(plain.len() + LONGER);
        let count = self.next();
        self.begin(count, &mut out);
        out.extend_from_slice(plain);
        self.seal_from(count, Part::First, ad, &mut out, BEFORE)?;
        Ok(out)
    }

    /// Opens what was sealed alone; `None` if it was not sealed under this key, for that, or is not as it was.
    pub(crate) fn open(&self, ad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (stamp, rest) = Stamp::read(sealed)?;
        let mut out = Vec::new();
        self.open_into(&stamp, Part::First, ad, rest, &mut out)?;
        Some(out)
    }

    /// Opens a part and adds it to `out`.
    pub(super) fn open_into(
        &self,
        stamp: &Stamp,
        part: Part,
        ad: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let from = out.len();
        let len = sealed.len().checked_sub(TAG_LEN)?;
        out.extend_from_slice(sealed);
        let opened = self.with_key(stamp, |key| {
            let nonce = nonce(stamp.count, part);
            key.open_in_place(nonce, Aad::from(ad), &mut out[from..]).map(drop).ok()
        });
        // What is left behind a tag that is wrong is nobody's.
        out.truncate(if opened.is_some() { from + len } else { from });
        opened
    }

    fn with_key<R>(&self, stamp: &Stamp, work: impl FnOnce(&LessSafeKey) -> Option<R>) -> Option<R> {
        if (stamp.cipher, stamp.session) == (self.cipher, self.session) {
            return work(&self.own);
        }
        let of = (stamp.cipher, stamp.session);
        if let Some(key) = self.others.read().get(&of) {
            return work(key);
        }
        let key = session_key(&self.key, stamp.cipher, &stamp.session).ok()?;
        let mut others = self.others.write();
        if others.len() >= SESSIONS_MAX {
            others.clear();
        }
        others.insert(of, key);
        let others = parking_lot::RwLockWriteGuard::downgrade(others);
        others.get(&of).and_then(work)
    }
}

/// What stands before what is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    cipher: Cipher,
    session: Session,
    count: u64,
}

impl Stamp {
    /// Reads it; answers what is behind it as well.
    pub fn read(sealed: &[u8]) -> Option<(Self, &[u8])> {
        let (stamp, rest) = sealed.split_at_checked(BEFORE)?;
        let stamp = Self {
            cipher: Cipher::of_number(stamp[0])?,
            session: stamp[1..1 + SESSION_LEN].try_into().ok()?,
            count: u64::from_le_bytes(stamp[1 + SESSION_LEN..].try_into().ok()?),
        };
        Some((stamp, rest))
    }
}

fn session_key(key: &hkdf::Prk, cipher: Cipher, session: &Session) -> Result<LessSafeKey> {
    let refused = |_| Error::invalid("a key of the store could not be derived");
    let info: [&[u8]; 3] = [b"weir session", &[cipher.number()], session];
    let derived = key.expand(&info, cipher.algorithm()).map_err(refused)?;
    Ok(LessSafeKey::new(UnboundKey::from(derived)))
}

#[cfg(test)]
mod tests;
