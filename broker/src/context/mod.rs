//! What all parts of the server stand on.

mod counters;
mod homes;
mod identity;

pub use counters::Counters;
pub(crate) use counters::TrafficTotal;
pub(crate) use homes::{Home, IoThreads};
pub(crate) use identity::server_id;
