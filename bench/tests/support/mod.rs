//! What several tests need.

pub mod broker;
