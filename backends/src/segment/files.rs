//! Every operation on files whose failure or loss matters goes through here, so that tests can make any of them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For reading.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; it must not exist.
    Create,
}

/// The operations.
///
/// A trait because the tests have a second implementation, which fails the n-th call or forgets what was not synced.
pub trait Files: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File>;
    /// Writes all bytes at the offset.
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Reserves space, so that later writes within `len` bytes do not fail for want of it.
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()>;
    /// Makes the file's content durable.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory; none of its parents.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or directory another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Maps `len` bytes for reading, which may reach beyond the end of the file.
    fn map(&self, file: &File, path: &Path, len: usize) -> io::Result<Mmap>;
}

/// The operating system's files.
#[derive(Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(mode != Mode::Read)
            .create_new(mode == Mode::Create)
            .open(path)
    }

    fn write_at(&self, file: &File, _path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn allocate(&self, file: &File, _path: &Path, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Some file systems cannot; the zeros that are written next reserve the space as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    #[allow(unsafe_code, reason = "mapping a file has no safe form")]
    fn map(&self, file: &File, _path: &Path, len: usize) -> io::Result<Mmap> {
        // SAFETY: the map is read-only and files are never shortened while a store is open (the store is locked
        // against other processes). Pages beyond the end of the file are not touched: readers go only where the
        // writer has published frames. Bytes of published frames change only when a record is overwritten on
        // demand, and those are read as plain bytes with no invariant.
        unsafe { MmapOptions::new().len(len).map(file) }
    }
}
