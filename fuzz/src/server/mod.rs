//! What clients send to JetStream, and before it, over a connection to a server in this process.

pub mod backup;
pub mod handshake;
mod harness;
pub mod requests;

pub use harness::Harness;
