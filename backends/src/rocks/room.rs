//! Room for opening RocksDB where its disk is full: with each opening it writes a new manifest and its options, though nothing is
//! stored, and a database that could not be opened can be read, but nothing can be deleted from it.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::regular;

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

/// Keeps room for the next opening, as much of it as there is, if not all is kept yet.
pub(super) fn keep(folder: &Path) {
    let kept = kept(folder);
    let mut bytes = BYTES;
    while bytes >= LEAST && bytes > kept {
        if reserve(folder, bytes) {
            return;
        }
        bytes /= 2;
    }
    if kept < LEAST {
        let_go(folder);
    }
}

/// Puts it back once there is room for all of it again, while the database goes on: what is short of that is left to what is stored.
pub(super) fn put_back(folder: &Path) {
    let kept = kept(folder);
    if kept < BYTES && !reserve(folder, BYTES) && kept < LEAST {
        let_go(folder);
    }
}

/// How much is kept, in bytes.
fn kept(folder: &Path) -> u64 {
    fs::symlink_metadata(folder.join(ROOM)).map_or(0, |file| file.len())
}

/// Some file systems cannot reserve anything: there the next opening finds room or not.
fn reserve(folder: &Path, bytes: u64) -> bool {
    let mut options = File::options();
    let file = regular::open(&folder.join(ROOM), options.create(true).truncate(false).write(true));
    let Ok(file) = file else { return false };
    let Ok(before) = file.metadata().map(|file| file.len()) else {
        return false;
    };
    let is_reserved = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).is_ok();
    if !is_reserved {
        // Some file systems leave a part of it.
        let _ = file.set_len(before);
    }
    is_reserved
}
