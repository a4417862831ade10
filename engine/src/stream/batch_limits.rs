//! How many batches may be open at a time, and how large and how silent they may be: nats-server's
//! `jetstream { limits { batch { … } } }`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::types::{Nanos, SECOND};

/// What batches are held to. Where a number of open batches is not given, atomic and fast batches have bounds of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages of one atomic batch (`max_msgs`): 1,000 unless told otherwise.
    pub messages: u64,
    /// Batches of one kind that are open in one stream (`max_inflight_per_stream`): 50 atomic ones, 1,000 fast ones.
    pub open_per_stream: Option<usize>,
    /// Batches of one kind that are open in all streams (`max_inflight_total`): 1,000 atomic ones, 50,000 fast ones.
    pub open_total: Option<usize>,
    /// How long a batch may be silent (`timeout`): 10 s unless told otherwise.
    pub idle: Nanos,
}

impl Default for BatchLimits {
    /// As in nats-server.
    fn default() -> Self {
        Self {
            messages: 1000,
            open_per_stream: None,
            open_total: None,
            idle: 10 * SECOND,
        }
    }
}

/// How many batches are open in all streams of a store, and how many may be.
#[derive(Clone, Debug)]
pub(crate) struct OpenBatches {
    pub(super) atomic: Arc<AtomicUsize>,
    pub(super) fast: Arc<AtomicUsize>,
    pub(super) limits: BatchLimits,
}

impl OpenBatches {
    /// None yet.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            atomic: Arc::default(),
            fast: Arc::default(),
            limits,
        }
    }
}
