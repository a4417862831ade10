//! Room for opening RocksDB where its disk is full: with each opening it writes a new manifest and its options, though nothing is
//! stored, and a database that could not be opened can be read, but nothing can be deleted from it.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::FallocateFlags;

/// The file that keeps the room. It may be removed at any time.
pub(super) const ROOM: &str = "ROOM";
/// Its length in bytes, or as many halves of that as there is room for.
const BYTES: u64 = 1 << 20;
/// An opening needs about so many bytes.
const LEAST: u64 = 256 << 10;

/// Lets go of the room; answers whether there was any.
pub(super) fn let_go(folder: &Path) -> bool {
    fs::remove_file(folder.join(ROOM)).is_ok()
}

/// Keeps room for the next opening, if there is any and none is kept yet.
pub(super) fn keep(folder: &Path) {
    let path = folder.join(ROOM);
    if fs::symlink_metadata(&path).is_ok() {
        return;
    }
    let Ok(file) = File::create_new(&path) else { return };
    let mut bytes = BYTES;
    // Some file systems cannot reserve anything: there the next opening finds room or not.
    while rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).is_err() {
        bytes /= 2;
        if bytes < LEAST {
            let_go(folder);
            return;
        }
    }
}
