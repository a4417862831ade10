//! Weir's storage backends: mmap segments, RocksDB and memory.
//!
//! Each is a [`Backend`](weir_engine::Backend): a set of logs of records by sequence, and a small key-value space.
//! What they promise is written there, and `weir_engine::conformance` checks it on every one of them.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use weir_backends::memory::MemoryBackend;
//! use weir_engine::{Backend, Direction, LogId, LogOptions, Record, Want};
//!
//! # fn main() -> weir_engine::Result<()> {
//! let backend = MemoryBackend::new();
//! let (mut log, recovery) = backend.open(LogId(1), &LogOptions::default())?;
//! assert!(recovery.created);
//!
//! log.append(&[
//!     Record { seq: 1, time: 1_000, head: b"orders.eu", body: b"two apples" },
//!     Record { seq: 2, time: 2_000, head: b"orders.us", body: b"one pear" },
//! ])?;
//! log.erase(&[1])?;
//! backend.sync()?;
//!
//! let reader = log.reader();
//! let entry = reader.get(2)?.ok_or_else(|| weir_engine::Error::closed("no such record"))?;
//! assert_eq!(entry.body, "one pear");
//!
//! let mut heads = Vec::new();
//! reader.scan(1..=u64::MAX, Want::Heads, Direction::Forward, &mut |record| {
//!     heads.push(record.head.to_vec());
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(heads, [b"orders.us"]);
//! # Ok(())
//! # }
//! ```
//!
//! | backend | survives | best at |
//! | --- | --- | --- |
//! | `segment` | yes | ingest and replay at the speed of the disk, cheap retention by dropping files |
//! | `rocks` (feature `rocksdb`) | yes | tens of millions of keys and random deletes in a bounded amount of memory |
//! | [`memory`] | no | being quick |
//!
//! [`encrypted`] is over any of them.

pub mod allocator;
mod codec;
pub mod encrypted;
mod lock;
pub mod memory;
pub mod regular;
#[cfg(feature = "rocksdb")]
pub mod rocks;
pub mod root;
mod rules;
pub mod segment;
