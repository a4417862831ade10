//! The load generator that compares NATS servers, as a library so that its own checks can be
//! tested. The program is `weir-load`:
//!
//! ```text
//! weir-load compare --server ours=weir-server --server theirs=nats-server
//! weir-load run --url 127.0.0.1:4222 pubsub
//! ```
//!
//! It speaks the protocol over blocking sockets with code of its own and shares nothing with the
//! servers that it measures, so that a bug cannot cancel itself out, and it costs little
//! processor time, because on a small machine the server needs it.

pub mod certificate;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod conn;
pub mod encode;
pub mod error;
pub mod frame;
pub mod jetstream;
pub mod measure;
pub mod metric;
pub mod payload;
pub mod process;
pub mod report;
pub mod scenario;
pub mod server;
pub mod way;
pub mod wire;
