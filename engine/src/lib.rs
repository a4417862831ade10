//! Weir's engine: storage traits, and on them streams, consumers, key-value buckets and objects. No sockets, no files,
//! no async runtime: a program brings a clock and opens the backends, `weir-backends` has three.
//!
//! ```ignore
//! // Also in backends/examples/embedded.rs, where it is compiled and can be run: a backend is not the engine's business.
//! use std::sync::Arc;
//! use std::time::{Duration, SystemTime, UNIX_EPOCH};
//!
//! use weir_backends::root::StoreDir;
//! use weir_engine::consumer::{AckPolicy, ConsumerConfig};
//! use weir_engine::embed::GLOBAL_ACCOUNT;
//! use weir_engine::kv::{Bucket, BucketConfig};
//! use weir_engine::stream::StreamConfig;
//! use weir_engine::stream::settings::Defaults;
//! use weir_engine::{NanoTime, Store, StoreOptions};
//!
//! fn now() -> NanoTime {
//!     let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
//!     since.as_nanos() as NanoTime
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let folder = std::env::args().nth(1).ok_or("usage: embedded FOLDER")?;
//!     let dir = StoreDir::new(folder);
//!     let store = Store::embedded(dir.opener(), StoreOptions::new(Arc::new(now)))?;
//!
//!     let orders = match store.stream(GLOBAL_ACCOUNT, "ORDERS") {
//!         Ok(orders) => orders,
//!         Err(_) => {
//!             let config = StreamConfig {
//!                 name: "ORDERS".into(),
//!                 subjects: vec!["orders.>".into()],
//!                 ..StreamConfig::default()
//!             };
//!             store.create_stream(GLOBAL_ACCOUNT, config, &Defaults::default())?
//!         }
//!     };
//!     // On disk when this returns.
//!     let ack = orders.publish("orders.eu", "", b"two apples")?;
//!     println!("stored as {}", ack.seq);
//!     for message in orders.messages("orders.*", 0, 100, 1 << 20)? {
//!         println!("{}: {}", message.seq, String::from_utf8_lossy(&message.payload));
//!     }
//!
//!     // Goes on where it was when the program was here last; made by the first call, found by those after it.
//!     orders.create_consumer(ConsumerConfig {
//!         durable_name: "packer".into(),
//!         ack_policy: AckPolicy::Explicit,
//!         ..ConsumerConfig::default()
//!     })?;
//!     for order in orders.fetch("packer", 10, Duration::from_secs(1))? {
//!         println!("packing {}, try {}", order.message.seq, order.deliveries);
//!         // Handed out again in 30 seconds if this is not reached.
//!         order.ack()?;
//!     }
//!
//!     let prices = match Bucket::open(&store, GLOBAL_ACCOUNT, "prices") {
//!         Ok(prices) => prices,
//!         Err(_) => Bucket::create(&store, GLOBAL_ACCOUNT, &BucketConfig::new("prices"))?,
//!     };
//!     prices.put("apple", b"3")?;
//!     let price = prices.get("apple")?.ok_or("no price")?;
//!     println!(
//!         "apple: {} (revision {})",
//!         String::from_utf8_lossy(&price.value),
//!         price.revision
//!     );
//!     store.close();
//!     Ok(())
//! }
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`backend`] | the narrow waist: what a backend promises |
//! | [`store`] | a store: its shards and the catalogue of its streams |
//! | [`meta`] | which names, subjects and room are free |
//! | [`shard`] | one thread, one journal, the streams that belong to it: where durability is decided |
//! | [`stream`], [`consumer`] | the state machines: no clock, no threads, no randomness |
//! | [`image`] | a store as it stands on disk, opened to be looked at |
//! | [`embed`], [`kv`], [`object`] | for programs without a server |
//! | [`reject`], [`json`] | what the wire says of refusals and times |
//! | [`names`] | what streams and consumers may be called, and made-up names |
//! | [`varint`] | numbers as journals, indexes and backups write them |

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod consumer;
pub mod embed;
mod error;
pub mod finding;
pub mod image;
mod index;
pub mod json;
pub mod kv;
pub mod meta;
pub mod names;
pub mod object;
mod orphans;
pub mod reject;
pub mod scrub;
pub mod shard;
#[cfg(feature = "conformance")]
pub mod stepped;
pub mod store;
pub mod stream;
mod types;
pub mod varint;
pub mod words;

use weir_headers as headers;

pub use backend::{
    Backend, Check, Compression, Direction, FETCH_BYTES, KeepStep, KeptIndex, Kv, KvWrite, Log, LogChange, LogOptions,
    LogReader, Lost, Place, Recoded, Recoder, Recovery, SyncBeside, Upkeep, UpkeepPiece, VisitKey, VisitRecord, Want,
    check_scanned, maintain,
};
pub use error::{Error, Kind, Result};
pub use reject::Rejection;
pub use store::{Store, StoreOptions};
pub use types::{
    API_LEVEL, Entry, EntryRef, Extent, LogId, LogRef, MILLISECOND, NanoTime, Nanos, Record, SECOND, SEQ_LIMIT, Seq,
    ShardId, StreamId,
};
