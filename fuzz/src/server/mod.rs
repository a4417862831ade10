//! What clients send to JetStream, over a connection to a server in this process.

pub mod backup;
mod harness;
pub mod requests;

pub use harness::Harness;
