//! Encryption of a store: a backend over another one, whichever that is, that gives it nothing it could read.
//!
//! Sealed are heads and bodies of records, labels, what is kept of indexes, and the values of the key-value space: each with the log, the
//! sequence or the key that it belongs to, so that nothing can be put in another's place. Open are ids of logs, sequences, times,
//! lengths, and the names of keys. A key that holds a subject would tell it: there is no [`Backend::atomic_kv`] here, and so no index in
//! the backend.
//!
//! What is sealed does not compress: the backend below is never asked to, and bodies are compressed before they are sealed.

mod kv;
mod log;
mod reader;
mod vault;

use std::sync::Arc;

use bytes::Bytes;
use weir_engine::shard::snapshot::STORE_KEY;
use weir_engine::{
    Backend, Compression, Error, KeepStep, KeptIndex, Kv, Log, LogId, LogOptions, Recovery, Result, Seq,
};

use kv::EncryptedKv;
use log::EncryptedLog;
use reader::EncryptedReader;
pub use vault::{Cipher, KEY_LEN, SESSION_LEN, Vault};

/// A backend over another one that encrypts all that goes there.
pub struct EncryptedBackend {
    inner: Arc<dyn Backend>,
    vault: Arc<Vault>,
    kv: Arc<EncryptedKv>,
}

/// What something is sealed for: nothing else opens with it.
#[derive(Clone, Copy)]
enum Purpose {
    Head = b'h' as isize,
    Body = b'b' as isize,
    Label = b'l' as isize,
    Frame = b'f' as isize,
    Value = b'v' as isize,
}

/// Which of a store's backends it is: the ids of logs may be the same.
fn number_of(name: &str) -> u8 {
    match name {
        "segment" => 1,
        "rocksdb" => 2,
        _ => 0,
    }
}

/// What a part of a log is sealed for.
fn log_ad(purpose: Purpose, backend: u8, id: LogId) -> [u8; 10] {
    let mut ad = [0; 10];
    (ad[0], ad[1]) = (purpose as u8, backend);
    ad[2..].copy_from_slice(&id.0.to_le_bytes());
    ad
}

/// Whether that is something sealed, and no JSON, as far as can be seen without a key.
pub(crate) fn is_sealed(value: &[u8]) -> bool {
    vault::Stamp::read(value).is_some_and(|(_, rest)| rest.len() >= vault::TAG_LEN)
}

/// Whether what the catalogue of a store has under [`STORE_KEY`] was sealed under that key.
pub(crate) fn opens(vault: &Vault, sealed: &[u8]) -> bool {
    let ad = [&[Purpose::Value as u8, number_of("segment")], STORE_KEY].concat();
    vault.open(&ad, sealed).is_some()
}

/// Whether the head of a record, as it lies in a backend of that name, was sealed under that key for that sequence of that log.
pub(crate) fn is_head_of(vault: &Vault, backend: &str, (id, seq): (LogId, Seq), sealed: &[u8]) -> bool {
    reader::is_head_of(vault, (number_of(backend), id, seq), sealed)
}

impl EncryptedBackend {
    /// Over that one, which holds nothing that was not written through one like this.
    pub fn new(inner: Arc<dyn Backend>, vault: Arc<Vault>) -> Self {
        let kv = Arc::new(EncryptedKv::new(
            inner.kv(),
            Arc::clone(&vault),
            number_of(inner.name()),
        ));
        Self { inner, vault, kv }
    }

    fn ad(&self, purpose: Purpose, id: LogId) -> [u8; 10] {
        log_ad(purpose, number_of(self.inner.name()), id)
    }

    fn open_label(&self, id: LogId, sealed: &[u8]) -> Result<Bytes> {
        let opened = self.vault.open(&self.ad(Purpose::Label, id), sealed);
        let not_its_own = || {
            Error::damaged(format!(
                "the label of log {id} was not encrypted for it under the store's key"
            ))
        };
        opened.map(Bytes::from).ok_or_else(not_its_own)
    }
}

impl Backend for EncryptedBackend {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    fn atomic_kv(&self) -> bool {
        false
    }

    fn open(&self, id: LogId, options: &LogOptions) -> Result<(Box<dyn Log>, Recovery)> {
        let label = match options.label.is_empty() {
            true => Bytes::new(),
            false => self.vault.seal(&self.ad(Purpose::Label, id), &options.label)?.into(),
        };
        let below = LogOptions {
            label,
            compression: Compression::None,
            ..options.clone()
        };
        let (log, mut recovery) = self.inner.open(id, &below)?;
        if let Some(sealed) = recovery.label.take() {
            match self.open_label(id, &sealed) {
                Ok(label) => recovery.label = Some(label),
                Err(error) => recovery.damage.push(error.message),
            }
        }
        let place = (number_of(self.inner.name()), id);
        let reader = EncryptedReader::new(log.reader(), Arc::clone(&self.vault), place, options.compression);
        Ok((
            Box::new(EncryptedLog::new(log, Arc::new(reader), options.preallocate)),
            recovery,
        ))
    }

    fn list(&self) -> Result<Vec<LogId>> {
        self.inner.list()
    }

    fn label(&self, id: LogId) -> Result<Option<Bytes>> {
        let sealed = self.inner.label(id)?;
        sealed.map(|sealed| self.open_label(id, &sealed)).transpose()
    }

    fn remove(&self, id: LogId) -> Result<()> {
        self.inner.remove(id)
    }

    fn kv(&self) -> Arc<dyn Kv> {
        self.kv.clone()
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn kept_index(&self, id: LogId) -> Result<Option<KeptIndex>> {
        let Some(mut kept) = self.inner.kept_index(id)? else {
            return Ok(None);
        };
        let ad = self.ad(Purpose::Frame, id);
        let opened = kept.frames.iter().map_while(|frame| self.vault.open(&ad, frame));
        let opened: Vec<Bytes> = opened.map(Bytes::from).collect();
        // Nothing is added behind one that is nobody's.
        kept.open &= opened.len() == kept.frames.len();
        kept.frames = opened;
        Ok(Some(kept))
    }

    fn keep_index(&self, id: LogId, token: u64, steps: &[KeepStep]) -> Result<()> {
        let ad = self.ad(Purpose::Frame, id);
        let sealed = steps.iter().map(|step| match step {
            KeepStep::Frame(frame) => Ok(KeepStep::Frame(self.vault.seal(&ad, frame)?.into())),
            other => Ok(other.clone()),
        });
        self.inner.keep_index(id, token, &sealed.collect::<Result<Vec<_>>>()?)
    }

    fn forget_index(&self, id: LogId) -> Result<()> {
        self.inner.forget_index(id)
    }

    fn impaired(&self) -> Option<String> {
        self.inner.impaired()
    }

    fn lost(&self) -> Vec<String> {
        self.inner.lost()
    }
}

#[cfg(test)]
mod tests;
