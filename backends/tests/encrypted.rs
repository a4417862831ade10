//! The engine's conformance suite and model test over what encrypts, on every backend.

#![allow(clippy::expect_used, reason = "a test may end there")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_backends::encrypted::{Cipher, EncryptedBackend, KEY_LEN, SESSION_LEN, Vault};
use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_engine::conformance::{Store, model, run};
use weir_engine::{Backend, Result};

static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// One more opening of the store that has that backend: now by this cipher, now by that.
fn over(inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
    let opening = OPENINGS.fetch_add(1, Ordering::Relaxed);
    let cipher = match opening % 2 {
        0 => Cipher::ChaCha,
        _ => Cipher::Aes,
    };
    let mut session = [0; SESSION_LEN];
    session[..8].copy_from_slice(&opening.to_le_bytes());
    let vault = Vault::new(&[1; KEY_LEN], cipher, session)?;
    Ok(Arc::new(EncryptedBackend::new(inner, Arc::new(vault))))
}

fn memory() -> Store {
    Store::new(|| over(Arc::new(MemoryBackend::new())))
}

fn segment() -> Store {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Store::new(move || over(Arc::new(SegmentBackend::open(folder.path())?)))
}

#[test]
fn memory_conforms() {
    run(&memory);
}

#[test]
fn memory_agrees_with_the_model() {
    model::run(&memory, 0..20, 400);
}

#[test]
fn segments_conform() {
    run(&segment);
}

#[test]
fn segments_agree_with_the_model() {
    model::run(&segment, 0..8, 400);
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use super::*;
    use weir_backends::rocks::{RocksBackend, RocksOptions};

    fn rocks() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Store::new(move || over(Arc::new(RocksBackend::open(folder.path(), &RocksOptions::default())?)))
    }

    #[test]
    fn conforms() {
        run(&rocks);
    }

    #[test]
    fn agrees_with_the_model() {
        model::run(&rocks, 0..4, 400);
    }
}
