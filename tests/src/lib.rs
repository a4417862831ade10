//! End-to-end tests: real clients against the built server.
//!
//! The server under test is the program named by the environment variable
//! `WEIR_SERVER`, or the workspace's release build of `weir-server`. Every
//! test starts its own, on a port the system chooses and a store directory
//! that is removed afterwards:
//!
//! ```no_run
//! weir_tests::with_server(async |server| {
//!     let client = server.connect().await?;
//!     client.publish("greet.joe", "hello".into()).await?;
//!     client.flush().await?;
//!     Ok(())
//! });
//! ```
//!
//! `tests/nats-py` and `tests/nats-js` hold the same behaviours for the other
//! two clients; `tests/run` runs those two.

pub mod backend;
pub mod backups;
pub mod certificates;
pub mod clients;
pub mod damage;
pub mod genuine;
pub mod kept;
pub mod ledger;
pub mod peer;
pub mod seed;
pub mod server;
pub mod shape;
pub mod tool;

pub use backend::Backend;
pub use server::{PATIENCE, Server, jetstream, patient, settle, with_server, with_server_for};
