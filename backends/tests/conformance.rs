//! The engine's conformance suite and model test, on the memory and RocksDB backends (for segments: `segment.rs`).

#![allow(clippy::expect_used, reason = "a test may end there")]

use std::sync::Arc;

use weir_backends::memory::MemoryBackend;
use weir_engine::conformance::{Store, model, run};

fn memory() -> Store {
    Store::new(|| Ok(Arc::new(MemoryBackend::new())))
}

#[test]
fn memory_conforms() {
    run(&memory);
}

#[test]
fn memory_agrees_with_the_model() {
    model::run(&memory, 0..60, 400);
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use super::*;
    use weir_backends::rocks::{RocksBackend, RocksOptions};

    fn rocks() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Store::new(move || Ok(Arc::new(RocksBackend::open(folder.path(), &RocksOptions::default())?)))
    }

    #[test]
    fn conforms() {
        run(&rocks);
    }

    #[test]
    fn agrees_with_the_model() {
        model::run(&rocks, 0..8, 400);
    }
}
