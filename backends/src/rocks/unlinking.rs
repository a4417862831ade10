//! Files that RocksDB no longer needs are unlinked by a thread of its own, with pauses. A compaction after a purge lets go of hundreds of
//! megabytes at once; where the disk is told of freed blocks (mounted with `discard`), the next sync of a journal would wait for all of them.

use std::fs;
use std::path::{Path, PathBuf};

use librocksdb_sys as sys;
use rocksdb::{AsRawPtr, Env, Options};

/// Bytes a second that are unlinked: a file of the size that compactions write, 32 MiB, each 60 ms.
pub(super) const UNLINKED_PER_SECOND: i64 = 512 << 20;

/// Of how many times the size of the database there may be files that wait: above it they are unlinked at once. So many are there never.
const WAITING_MAX: f64 = 1e9;

/// What RocksDB calls a file that waits ends so.
const WAITS: &str = "trash";

/// Has the files of the databases that are opened with these options unlinked with pauses. Those that wait when the process is killed
/// are unlinked once the database is opened again. Without memory for it nothing changes.
#[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
pub(super) fn pace(options: &mut Options) {
    let Ok(env) = Env::new() else { return };
    // SAFETY: both pointers are those of living values of the crate, of the types that the functions take. What is created here is
    // a handle of a shared pointer: the options keep the manager itself, the handle is given back, and used no more.
    unsafe {
        let manager = sys::rocksdb_sst_file_manager_create(env.as_raw_ptr());
        if manager.is_null() {
            return;
        }
        sys::rocksdb_sst_file_manager_set_delete_rate_bytes_per_second(manager, UNLINKED_PER_SECOND);
        sys::rocksdb_sst_file_manager_set_max_trash_db_ratio(manager, WAITING_MAX);
        sys::rocksdb_options_set_sst_file_manager(options.as_raw_ptr(), manager);
        sys::rocksdb_sst_file_manager_destroy(manager);
    }
}

/// The files that still wait when a database is closed: they are gone then, with all that was erased from it.
pub(super) struct Waiting(PathBuf);

impl Waiting {
    /// Of the database in this folder.
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // What cannot be removed is unlinked by the next opening.
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == WAITS) {
                let _ = fs::remove_file(path);
            }
        }
    }
}
