//! What streams may be promised, and what they are.

use crate::store::Capacity;
use crate::stream::{Storage, StreamConfig};

/// What a stream that is made or changed has to fit into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What all streams together may be promised by their `max_bytes`.
    pub capacity: Capacity,
    /// What those of its account may.
    pub account: AccountLimits,
}

/// What an account may have; `None` for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Streams.
    pub streams: Option<u64>,
    /// Bytes that its streams in memory may be promised together.
    pub memory: Option<u64>,
    /// Bytes that its streams on disk may be promised together.
    pub file: Option<u64>,
    /// Bytes that one stream in memory may be promised.
    pub memory_stream: Option<u64>,
    /// Bytes that one stream on disk may be promised.
    pub file_stream: Option<u64>,
    /// Whether each stream has to have `max_bytes`.
    pub bytes_required: bool,
}

impl AccountLimits {
    /// Bytes of all streams, and of one.
    pub(super) fn of(&self, storage: Storage) -> (Option<u64>, Option<u64>) {
        match storage {
            Storage::File => (self.file, self.file_stream),
            Storage::Memory => (self.memory, self.memory_stream),
        }
    }
}

/// What a configuration promises a stream, in bytes.
pub(super) fn promise(config: &StreamConfig) -> u64 {
    u64::try_from(config.max_bytes).unwrap_or(0)
}

/// Whether that many more bytes are too many. Who wants no more than there was always has that.
pub(super) fn beyond(promised: u128, more: u64, limit: Option<u64>) -> bool {
    more > 0 && limit.is_some_and(|limit| limit < u64::MAX && promised + u128::from(more) > u128::from(limit))
}

/// What streams are promised together: the sum of numbers of 63 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Promised {
    memory: u128,
    file: u128,
}

impl Promised {
    pub fn of(&self, storage: Storage) -> u128 {
        match storage {
            Storage::File => self.file,
            Storage::Memory => self.memory,
        }
    }

    fn of_mut(&mut self, storage: Storage) -> &mut u128 {
        match storage {
            Storage::File => &mut self.file,
            Storage::Memory => &mut self.memory,
        }
    }

    pub fn give(&mut self, config: &StreamConfig) {
        *self.of_mut(config.storage) += u128::from(promise(config));
    }

    pub fn take(&mut self, config: &StreamConfig) {
        *self.of_mut(config.storage) -= u128::from(promise(config));
    }
}
