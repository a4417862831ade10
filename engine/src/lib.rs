//! Weir's storage traits, and streams, consumers, key-value buckets and objects on top of them.
