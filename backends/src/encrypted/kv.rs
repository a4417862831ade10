//! The key-value space: the values are sealed, each for its key.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::{Error, Kv, KvWrite, Result, VisitKey};

use super::{Purpose, Vault};

/// See the module.
pub struct EncryptedKv {
    inner: Arc<dyn Kv>,
    vault: Arc<Vault>,
    backend: u8,
}

impl EncryptedKv {
    pub fn new(inner: Arc<dyn Kv>, vault: Arc<Vault>, backend: u8) -> Self {
        Self { inner, vault, backend }
    }

    fn ad(&self, key: &[u8]) -> Vec<u8> {
        [&[Purpose::Value as u8, self.backend], key].concat()
    }
}

fn not_its_own(key: &[u8]) -> Error {
    let key = String::from_utf8_lossy(key);
    Error::damaged(format!(
        "the value of {key:?} was not encrypted for it under the store's key"
    ))
}

impl Kv for EncryptedKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(sealed) = self.inner.get(key)? else {
            return Ok(None);
        };
        match self.vault.open(&self.ad(key), &sealed) {
            Some(value) => Ok(Some(value.into())),
            None => Err(not_its_own(key)),
        }
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        let sealed = writes.iter().map(|(key, value)| {
            let seal = |value: &Bytes| self.vault.seal(&self.ad(key), value).map(Bytes::from);
            Ok((key.clone(), value.as_ref().map(seal).transpose()?))
        });
        self.inner.put_all(&sealed.collect::<Result<Vec<_>>>()?)
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()> {
        self.inner.scan(prefix, from, &mut |key, sealed| {
            match self.vault.open(&self.ad(key), sealed) {
                Some(value) => visit(key, &value),
                // It costs what it held, and not what stands behind it.
                None => {
                    tracing::error!("{}", not_its_own(key));
                    ControlFlow::Continue(())
                }
            }
        })
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<()> {
        self.inner.remove_prefix(prefix)
    }
}
