//! What lies on disk: segment files, the key-value space, the journal. Checksums are made right again after bytes were
//! changed, as nothing behind them would be reached otherwise.

mod checksums;
mod edits;

pub mod catalogue;
pub mod journal;
pub mod segment;
mod store;
