//! The conformance suite: the promises of [`crate::backend`], checked against any backend.
