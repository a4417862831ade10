//! Weir's engine: storage traits, and on them streams, consumers, key-value buckets and objects.

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod consumer;
mod error;
mod headers;
mod index;
pub mod json;
pub mod reject;
pub mod shard;
pub mod store;
pub mod stream;
mod types;

pub use backend::{
    Backend, Batch, Compression, Direction, Kv, KvWrite, Log, LogOptions, LogReader, Recovery,
    VisitKey, VisitRecord, Want,
};
pub use error::{Error, Kind, Result};
pub use reject::Rejection;
pub use store::{Store, StoreOptions};
pub use types::{
    Entry, EntryRef, Extent, LogId, MILLISECOND, NanoTime, Nanos, Record, SECOND, Seq,
};
