//! The segment backend: append-only files, mapped for reading.
//!
//! Each log is a directory of segment files. A batch is encoded into one buffer and written with one `pwrite` at the
//! end of the newest segment; readers go through a read-only map of the file that covers its planned size, and touch
//! nothing beyond the frames that the writer has published. So a full disk is an error of a write, and no file is
//! ever made shorter. `docs/format.md` draws the bytes.

mod ahead;
mod backend;
mod beside;
mod check;
mod compact;
#[cfg(any(test, feature = "testing"))]
pub mod disk;
pub(crate) mod files;
mod format;
mod handle;
mod kept;
mod kv;
pub(crate) mod label;
pub mod misplaced;
mod pages;
mod reader;
mod recover;
mod rewrite;
mod rows;
mod seal;
mod show;
mod sigbus;
mod sound;
mod state;
mod sync;
mod table;
mod through;
mod unlink;
mod walk;
mod worker;
mod writer;

#[cfg(test)]
mod tests;

pub use ahead::ReadingAhead;
pub use backend::SegmentBackend;
pub use kv::{Belongs, Judge, KvCopy, Look, Worth as CopyWorth};
pub use show::{Piece, PieceKind, show};
