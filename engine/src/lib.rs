//! Weir's engine: storage traits, and on them streams, consumers, key-value buckets and objects.

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod index;
pub mod reject;
mod types;

pub use backend::{
    Backend, Batch, Compression, Direction, Kv, KvWrite, Log, LogOptions, LogReader, Recovery,
    VisitKey, VisitRecord, Want,
};
pub use error::{Error, Kind, Result};
pub use reject::Rejection;
pub use types::{
    Entry, EntryRef, Extent, LogId, MILLISECOND, NanoTime, Nanos, Record, SECOND, Seq,
};
