//! Offline tools for a Weir store directory, as a library; the program `weir` is a thin shell around it.
//!
//! ```
//! use std::sync::Arc;
//!
//! use weir_backends::root::StoreDir;
//! use weir_compaction::inspect::{Options, inspect};
//! use weir_engine::stream::StreamConfig;
//! use weir_engine::stream::settings::{Defaults, Settings};
//! use weir_engine::{Store, StoreOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! // A store with one stream and one message, as a server leaves it behind.
//! let store = Store::embedded(StoreDir::new(path).opener(), StoreOptions::new(Arc::new(|| 1_000)))?;
//! let config = StreamConfig {
//!     name: "ORDERS".to_owned(),
//!     subjects: vec!["orders.>".to_owned()],
//!     ..StreamConfig::default()
//! };
//! let settings = Settings::of(&config, &Defaults::default())?;
//! let id = store.allocate_id();
//! let shard = store.shard(store.shard_for("$G", "ORDERS"));
//! shard.call_blocking(move |shard| shard.create_stream(id, &"$G".into(), config, settings))?;
//! shard.call_blocking(move |shard| shard.publish(id, "orders.eu".into(), 0, "two apples".into()))?;
//! store.close();
//!
//! let report = inspect(path, &Options::default())?;
//! assert_eq!(report.streams.len(), 1);
//! assert_eq!(report.streams[0].name, "ORDERS");
//! assert_eq!(report.streams[0].messages, 1);
//! assert!(report.problems.is_empty());
//! println!("{}", report.to_text());
//! # Ok(())
//! # }
//! ```
//!
//! Those tools need no server, and none runs beside one: those that only look take a shared lock that keeps a server out meanwhile,
//! the others open the store as a server would. What can be asked of a running server is in [`live`].

mod beside;
mod chosen;
pub mod compact;
pub mod convert;
pub mod diff;
pub mod dump;
pub mod elsewhere;
pub mod encrypt;
mod error;
pub mod export;
mod image;
pub mod import;
pub mod inspect;
pub mod key;
pub mod live;
mod messages;
pub mod nats;
pub mod repair;
pub mod settle;
mod taken;
mod unfinished;
pub mod verify;

pub use error::{Error, Result};
pub use taken::Taken;
