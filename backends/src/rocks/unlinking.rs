//! Files that RocksDB no longer needs are unlinked by a thread of its own, with pauses. A compaction after a purge lets go of hundreds of
//! megabytes at once; where the disk is told of freed blocks (mounted with `discard`), the next sync of a journal would wait for all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use librocksdb_sys as sys;
use rocksdb::{AsRawPtr, Env, Options};

/// Bytes a second that are unlinked at least: two files a second of the size that compactions write, 32 MiB. Each holds up a sync that
/// comes with it for some milliseconds, and so few do not show in one sync of a hundred.
const PER_SECOND_MIN: u64 = 64 << 20;
/// Seconds in which all that waits is to be gone: where compactions let go of more than [`PER_SECOND_MIN`] all the time, it is unlinked as
/// fast as they do, with so many seconds of it on the disk.
const WAITS_SECONDS: u64 = 30;

/// Of how many times the size of the database there may be files that wait: above it they are unlinked at once. So many are there never.
const WAITING_MAX: f64 = 1e9;

/// What RocksDB calls a file that waits ends so.
const WAITS: &str = "trash";

/// Who has the files of a database unlinked with pauses.
pub(super) struct Pace(NonNull<sys::rocksdb_sst_file_manager_t>);

// SAFETY: it is a shared pointer to an `SstFileManager`, whose functions any thread may call at any time.
#[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
unsafe impl Send for Pace {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
unsafe impl Sync for Pace {}

impl Pace {
    /// Has the files of the databases that are opened with these options unlinked with pauses. Those that wait when the process is killed
    /// are unlinked once the database is opened again. Without memory for it nothing changes, and there is none.
    #[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
    pub fn of(options: &mut Options) -> Option<Self> {
        let env = Env::new().ok()?;
        // SAFETY: all pointers are those of living values of the crate or of the handle that was just made, of the types that the
        // functions take. The options keep the manager itself; the handle is given back when this is dropped.
        unsafe {
            let manager = NonNull::new(sys::rocksdb_sst_file_manager_create(env.as_raw_ptr()))?;
            sys::rocksdb_sst_file_manager_set_delete_rate_bytes_per_second(manager.as_ptr(), PER_SECOND_MIN as i64);
            sys::rocksdb_sst_file_manager_set_max_trash_db_ratio(manager.as_ptr(), WAITING_MAX);
            sys::rocksdb_options_set_sst_file_manager(options.as_raw_ptr(), manager.as_ptr());
            Some(Self(manager))
        }
    }

    /// Bytes of files that wait.
    #[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
    pub fn waiting(&self) -> u64 {
        // SAFETY: the handle lives as long as this.
        unsafe { sys::rocksdb_sst_file_manager_get_total_trash_size(self.0.as_ptr()) }
    }

    /// Bytes a second that are unlinked from now on; 0 for all at once.
    #[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
    fn set_rate(&self, rate: u64) {
        let rate = i64::try_from(rate).unwrap_or(i64::MAX);
        // SAFETY: the handle lives as long as this.
        unsafe { sys::rocksdb_sst_file_manager_set_delete_rate_bytes_per_second(self.0.as_ptr(), rate) }
    }

    /// To be called now and then: goes as fast as what waits asks for.
    pub fn adjust(&self) {
        self.set_rate(rate_for(self.waiting()));
    }

    /// There is no room left on the disk: what waits goes now. Until [`Self::adjust`] is called again.
    pub fn hurry(&self) {
        self.set_rate(0);
    }
}

/// Bytes a second that are unlinked where so many wait.
fn rate_for(waiting: u64) -> u64 {
    PER_SECOND_MIN.max(waiting / WAITS_SECONDS)
}

impl Drop for Pace {
    #[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
    fn drop(&mut self) {
        // SAFETY: the handle is used no more. A database that is still open has its own.
        unsafe { sys::rocksdb_sst_file_manager_destroy(self.0.as_ptr()) }
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

#[cfg(test)]
mod tests {
    use super::{PER_SECOND_MIN, Pace, rate_for};
    use rocksdb::Options;

    #[test]
    fn what_waits_is_gone_in_half_a_minute_however_much_it_is() {
        assert_eq!(rate_for(0), 64 << 20);
        assert_eq!(rate_for(1 << 30), 64 << 20);
        assert_eq!(rate_for(30 << 30), 1 << 30);
    }

    #[test]
    #[allow(unsafe_code, reason = "the crate has no function for RocksDB's SstFileManager")]
    fn without_room_nothing_waits_until_there_is_some() {
        let pace = Pace::of(&mut Options::default()).expect("memory");
        // SAFETY: the handle lives as long as `pace`.
        let rate =
            || unsafe { librocksdb_sys::rocksdb_sst_file_manager_get_delete_rate_bytes_per_second(pace.0.as_ptr()) };
        assert_eq!(rate(), PER_SECOND_MIN as i64);
        pace.hurry();
        assert_eq!(rate(), 0);
        pace.adjust();
        assert_eq!(rate(), PER_SECOND_MIN as i64);
        assert_eq!(pace.waiting(), 0);
    }
}
