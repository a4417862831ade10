//! What each target does with its bytes. `broker/tests/fuzz.rs` and `backends/tests/fuzz.rs` include these files, and do it
//! with the corpus.

pub mod server;
pub mod storage;
pub mod text;
