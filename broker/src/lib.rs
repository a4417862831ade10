//! The NATS server on Weir's engine.
