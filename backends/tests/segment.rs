//! The engine's conformance suite and model test on the segment backend.

use std::sync::Arc;

use weir_backends::segment::SegmentBackend;
use weir_engine::conformance::{Store, model, run};

#[allow(clippy::expect_used, reason = "a test that has no folder cannot run")]
fn segment() -> Store {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Store::new(move || Ok(Arc::new(SegmentBackend::open(folder.path())?)))
}

#[test]
fn conforms() {
    run(&segment);
}

#[test]
fn agrees_with_the_model() {
    model::run(&segment, 0..12, 400);
}
