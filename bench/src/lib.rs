//! Benches of the engine, and the load generator that compares servers.
