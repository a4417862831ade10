//! The server as async-nats sees it: messaging, streams, buckets and objects,
//! the last three on each backend.

mod key_value;
mod messaging;
mod objects;
mod streams;
mod users;
