//! Every operation on files goes through here, so that tests can make any of them fail, and can put a disk in memory
//! in the place of the real one that forgets what was not synced.

use std::any::Any;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions};
use rustix::fs::FlockOperation;

use super::pages;
use super::sigbus::Watch;
use crate::regular;

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

/// An open file.
#[derive(Debug)]
pub enum File {
    /// The operating system's.
    Real(fs::File),
    /// One of a disk in memory.
    #[cfg(any(test, feature = "testing"))]
    Simulated {
        /// Its number there.
        node: u64,
        /// When it was opened: later ones have higher numbers.
        opened: u64,
    },
}

impl File {
    fn real(&self) -> io::Result<&fs::File> {
        match self {
            Self::Real(file) => Ok(file),
            #[cfg(any(test, feature = "testing"))]
            Self::Simulated { .. } => Err(io::Error::other("a file of a disk in memory")),
        }
    }
}

/// The bytes of a file, for reading.
#[derive(Debug)]
pub enum Map {
    /// Pages of the file itself: what is written later shows. The watch ends before the map does.
    Real(Watch, Mmap),
    /// The bytes as they were when the file had been changed so many times, and how often it was until now; and which of a file's
    /// pages are in memory.
    #[cfg(any(test, feature = "testing"))]
    Copy(
        Vec<u8>,
        u64,
        std::sync::Arc<std::sync::atomic::AtomicU64>,
        super::disk::Pages,
    ),
}

/// Of what it is told at once that it will be needed, Linux reads no more than its largest read-ahead: bytes that are less than that.
const PIECE: usize = 128 << 10;

/// Bytes that are read at once of a file that nobody else reads.
const COLD_PIECE: usize = 256 << 10;

/// Bytes that are asked of the disk at once of a file that is read only to have it in memory.
const FETCHED: u64 = 1 << 20;

/// Bytes that are read at a time only to have them in memory.
const TOUCHED: usize = 256 << 10;

/// Bytes that are written out at a time where others need the disk as well.
const WRITTEN_OUT: usize = 512 << 10;

impl Map {
    /// Whether a page of it could not be read; it reads as zeros.
    pub fn faulted(&self) -> bool {
        match self {
            Self::Real(watch, _) => watch.faulted(),
            #[cfg(any(test, feature = "testing"))]
            Self::Copy(..) => false,
        }
    }

    /// Tells the kernel that the first `len` bytes will be read soon.
    pub fn will_need(&self, len: u64) {
        self.will_need_from(0, len);
    }

    /// Tells the kernel that so many bytes from `at` on will be read soon.
    pub fn will_need_from(&self, at: u64, len: u64) {
        match self {
            // It is a hint: without it all is read as well, only later.
            Self::Real(_, map) => {
                let end = usize::try_from(at.saturating_add(len))
                    .unwrap_or(usize::MAX)
                    .min(map.len());
                let begin = usize::try_from(at).unwrap_or(usize::MAX) / PIECE * PIECE;
                for at in (begin..end).step_by(PIECE) {
                    if map
                        .advise_range(memmap2::Advice::WillNeed, at, PIECE.min(end - at))
                        .is_err()
                    {
                        return;
                    }
                }
            }
            #[cfg(any(test, feature = "testing"))]
            Self::Copy(..) => {}
        }
    }

    /// How many bytes from `at` on, up to `len`, lie in memory without a gap: touching those waits for no disk.
    pub fn resident(&self, at: usize, len: usize) -> usize {
        match self {
            Self::Real(_, map) => pages::resident(map, at, len),
            #[cfg(any(test, feature = "testing"))]
            Self::Copy(.., pages) => pages.resident(at, len),
        }
    }

    /// Has its pages no longer count as this process's memory. They stay in the system's, and whoever looks finds them there.
    #[allow(unsafe_code, reason = "there is no safe form of this advice")]
    pub fn let_pages_go(&self) {
        match self {
            Self::Real(_, map) => {
                // SAFETY: the map is one of a file, and only read: each page is looked up again and has the same bytes. It is a hint.
                let _: io::Result<()> = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            }
            #[cfg(any(test, feature = "testing"))]
            Self::Copy(..) => {}
        }
    }

    /// Whether it does not show what was written since.
    pub fn stale(&self) -> bool {
        match self {
            Self::Real(..) => false,
            #[cfg(any(test, feature = "testing"))]
            Self::Copy(_, made, now, _) => now.load(std::sync::atomic::Ordering::Acquire) != *made,
        }
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Real(_, map) => map,
            #[cfg(any(test, feature = "testing"))]
            Self::Copy(bytes, ..) => bytes,
        }
    }
}

/// Who does what nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// A thread of its own.
    Thread,
    /// Nobody: it is done at once, so that the order of all calls is the same each time.
    #[cfg(any(test, feature = "testing"))]
    Nobody,
    /// Whoever steps it.
    #[cfg(any(test, feature = "testing"))]
    Stepped,
}

/// What keeps others out of a store for as long as it is held.
pub type Lock = Box<dyn Any + Send + Sync>;

/// The operations.
///
/// A trait because the tests have a second implementation, which fails the n-th call or forgets what was not synced.
pub trait Files: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File>;
    /// Writes all bytes at the offset.
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Writes all bytes of several pieces, one behind the other, at the offset: as [`Files::write_at`] does with them joined.
    fn write_pieces_at(&self, file: &File, path: &Path, pieces: &[&[u8]], at: u64) -> io::Result<()> {
        match pieces {
            [whole] => self.write_at(file, path, whole, at),
            _ => self.write_at(file, path, &pieces.concat(), at),
        }
    }
    /// Reserves space, so that later writes within `len` bytes do not fail for want of it.
    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()>;
    /// Reserves space up to `len` bytes, but leaves the file as long as it is.
    fn keep_room(&self, file: &File, path: &Path, len: u64) -> io::Result<()>;
    /// Makes a file shorter again by what a failed write added to it. Nobody reads there.
    fn shorten(&self, file: &File, path: &Path, len: u64) -> io::Result<()>;
    /// Tells the operating system that what was written there will be synced: it begins to write it to the disk. A hint.
    fn will_sync(&self, file: &File, at: u64, len: u64) {
        let _ = (file, at, len);
    }
    /// Has what was written there go to the disk a piece after the other, each waited for: the sync after it finds little left, and
    /// the syncs of other files come in between. An error is one of a sync: it is not told again.
    fn write_out(&self, file: &File) -> io::Result<()> {
        let _ = file;
        Ok(())
    }
    /// Makes the file's content durable.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Maps at least `need` bytes, which are there, for reading; up to `planned` if what is written there later can
    /// be made to show.
    fn map(&self, file: &File, path: &Path, need: usize, planned: usize) -> io::Result<Map>;
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether a file that is not open has to be waited for.
    fn is_cold_when_closed(&self) -> bool {
        true
    }
    /// Reads bytes at an offset of an open file, as many as come at once; answers how many, 0 at its end.
    fn read_at(&self, file: &File, path: &Path, into: &mut [u8], at: u64) -> io::Result<usize> {
        let _ = file;
        let bytes = self.read(path)?;
        let from = usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
        let read = into.len().min(bytes.len() - from);
        into[..read].copy_from_slice(&bytes[from..from + read]);
        Ok(read)
    }
    /// Reads bytes at an offset, so that they are in memory and a map shows them at once; as far as there are any.
    fn touch(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        let _ = (file, at, len);
        Ok(())
    }
    /// The length of a file, in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// The paths of what is in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether a directory is there.
    fn is_dir(&self, path: &Path) -> bool;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory; none of its parents.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or directory another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with nothing in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Keeps others from writing to a store; shared among those that only read. `None` if it cannot be locked and is
    /// only to be read; [`io::ErrorKind::WouldBlock`] if another has it.
    fn lock(&self, path: &Path, shared: bool) -> io::Result<Option<Lock>>;
    /// The first `len` bytes of a file, or all there are; the operating system keeps no more of them in memory than it had before.
    /// `progress` is told of each piece that was read; where it answers `false`, that is an error of kind
    /// [`io::ErrorKind::Interrupted`].
    fn read_cold(&self, path: &Path, len: u64, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path)?;
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        match progress(bytes.len() as u64) {
            true => Ok(bytes),
            false => Err(io::ErrorKind::Interrupted.into()),
        }
    }
    /// Tells the operating system that some bytes of a file will be read soon. A hint: what fails is not told.
    fn will_need(&self, path: &Path, at: u64, len: u64) {
        let _ = (path, at, len);
    }
    /// Reads a file only to have it in memory, no more than two pieces at a time: whoever reads something else meanwhile waits for no
    /// more than these. `goes_on` is told the bytes of each piece before, and answers whether it is wanted.
    fn fetch(&self, path: &Path, goes_on: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        let _ = (path, goes_on);
        Ok(())
    }
    /// Who does what nobody waits for.
    fn background(&self) -> Background {
        Background::Thread
    }
}

/// Pieces that Linux takes in one write.
const PIECES_MAX: usize = 1024;

/// Writes pieces where they are, instead of copying them together first.
fn write_all_pieces(file: &fs::File, pieces: &[&[u8]], mut at: u64) -> io::Result<()> {
    for some in pieces.chunks(PIECES_MAX) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        // Those that are empty count as written.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(file, left, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The operating system's files.
#[derive(Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .write(mode != Mode::Read)
            .create_new(mode == Mode::Create);
        regular::open(path, &mut options).map(File::Real)
    }

    fn write_at(&self, file: &File, _path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        file.real()?.write_all_at(bytes, at)
    }

    fn write_pieces_at(&self, file: &File, _path: &Path, pieces: &[&[u8]], at: u64) -> io::Result<()> {
        write_all_pieces(file.real()?, pieces, at)
    }

    fn allocate(&self, file: &File, _path: &Path, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file.real()?, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Some file systems cannot; the zeros that are written next reserve the space as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    fn keep_room(&self, file: &File, _path: &Path, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file.real()?, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len) {
            // Some file systems cannot: there a removal may have to wait for room.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    fn shorten(&self, file: &File, _path: &Path, len: u64) -> io::Result<()> {
        file.real()?.set_len(len)
    }

    #[allow(unsafe_code, reason = "there is no safe form of sync_file_range")]
    fn will_sync(&self, file: &File, at: u64, len: u64) {
        use std::os::fd::AsRawFd;
        if let (Ok(file), Ok(at), Ok(len)) = (file.real(), i64::try_from(at), i64::try_from(len)) {
            // SAFETY: it takes numbers, and the file is open.
            unsafe { libc::sync_file_range(file.as_raw_fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }

    fn write_out(&self, file: &File) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let file = file.real()?;
        let len = i64::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        for at in (0..len).step_by(WRITTEN_OUT) {
            // SAFETY: it takes numbers, and the file is open.
            if unsafe { libc::sync_file_range(file.as_raw_fd(), at, WRITTEN_OUT as i64, flags) } != 0 {
                return match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Unsupported => Ok(()),
                    error => Err(error),
                };
            }
        }
        Ok(())
    }

    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.real()?.sync_data()
    }

    #[allow(unsafe_code, reason = "mapping a file has no safe form")]
    fn map(&self, file: &File, _path: &Path, need: usize, planned: usize) -> io::Result<Map> {
        let file = file.real()?;
        // SAFETY: the map is read-only. Pages beyond the end of the file are not touched: readers go only where the
        // writer has published frames; and where another process made the file shorter all the same, or the disk
        // cannot read a page, the handler that the watch belongs to puts zeros there. Bytes of published frames
        // change only when a record is overwritten on demand, and those are read as plain bytes with no invariant.
        let map = unsafe { MmapOptions::new().len(planned.max(need)).map(file)? };
        Ok(Map::Real(Watch::new(map.as_ptr(), map.len())?, map))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        regular::read(path)
    }

    fn read_cold(&self, path: &Path, len: u64, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<Vec<u8>> {
        use rustix::fs::{Advice, fadvise};
        let file = regular::open(path, fs::OpenOptions::new().read(true))?;
        let len = usize::try_from(len.min(file.metadata()?.len())).map_err(io::Error::other)?;
        // Without it the kernel reads ahead, and what it has read ahead cannot be told from what others read.
        let _: Result<(), rustix::io::Errno> = fadvise(&file, 0, None, Advice::Random);
        let mut bytes = vec![0; len];
        for (piece, at) in bytes.chunks_mut(COLD_PIECE).zip((0..).step_by(COLD_PIECE)) {
            let mut slices = [io::IoSliceMut::new(piece)];
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            let there = rustix::io::preadv2(&file, &mut slices, at, flags).unwrap_or(0);
            if there < piece.len() {
                file.read_exact_at(&mut piece[there..], at + there as u64)?;
                let from = at + there as u64;
                let cold = std::num::NonZero::new((piece.len() - there) as u64);
                let _: Result<(), rustix::io::Errno> = fadvise(&file, from, cold, Advice::DontNeed);
            }
            if !progress(piece.len() as u64) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(bytes)
    }

    fn read_at(&self, file: &File, _path: &Path, into: &mut [u8], at: u64) -> io::Result<usize> {
        file.real()?.read_at(into, at)
    }

    fn touch(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        use rustix::fs::{Advice, fadvise};
        let file = file.real()?;
        // Without it the kernel reads ahead as much as the device is set up for, megabytes maybe and all at once: a journal's sync
        // would wait behind that.
        let _: Result<(), rustix::io::Errno> = fadvise(file, 0, None, Advice::Random);
        let mut scratch = vec![0; TOUCHED.min(usize::try_from(len).unwrap_or(TOUCHED))];
        let end = at.saturating_add(len);
        let mut at = at;
        while at < end {
            let most = scratch.len().min(usize::try_from(end - at).unwrap_or(TOUCHED));
            match file.read_at(&mut scratch[..most], at)? {
                0 => return Ok(()),
                read => at += read as u64,
            }
        }
        Ok(())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        regular::len(path)
    }

    fn will_need(&self, path: &Path, at: u64, len: u64) {
        use rustix::fs::{Advice, fadvise};
        if let Ok(file) = regular::open(path, fs::OpenOptions::new().read(true)) {
            let _: Result<(), rustix::io::Errno> = fadvise(&file, at, std::num::NonZero::new(len), Advice::WillNeed);
        }
    }

    fn fetch(&self, path: &Path, goes_on: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        use rustix::fs::{Advice, fadvise};
        let file = regular::open(path, fs::OpenOptions::new().read(true))?;
        let len = self.len(path)?;
        let mut asked = None;
        for at in (0..len).step_by(FETCHED as usize) {
            let end = len.min(at + FETCHED);
            if !goes_on(end - at) {
                break;
            }
            for from in (at..end).step_by(PIECE) {
                let piece = std::num::NonZero::new((end - from).min(PIECE as u64));
                let _: Result<(), rustix::io::Errno> = fadvise(&file, from, piece, Advice::WillNeed);
            }
            if let Some(last) = asked.replace(end - 1) {
                // Until it is there.
                file.read_at(&mut [0], last)?;
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn lock(&self, path: &Path, shared: bool) -> io::Result<Option<Lock>> {
        if shared {
            let Ok(file) = regular::open(path, fs::OpenOptions::new().read(true)) else {
                return Ok(None);
            };
            let taken = take(&file, FlockOperation::NonBlockingLockShared);
            return Ok(taken.is_ok().then(|| Box::new(file) as Lock));
        }
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).write(true).read(true);
        let file = regular::open(path, &mut options)?;
        take(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Some(Box::new(file)))
    }
}

fn take(file: &fs::File, operation: FlockOperation) -> rustix::io::Result<()> {
    crate::lock::patiently(
        || rustix::fs::flock(file, operation),
        |error| *error == rustix::io::Errno::WOULDBLOCK,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_written_one_behind_the_other_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = RealFiles.open(&path, Mode::Create).unwrap();
        let pieces: Vec<Vec<u8>> = (0..3 * PIECES_MAX).map(|n| vec![n as u8; n % 5]).collect();
        let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        RealFiles.write_at(&file, &path, b"before", 0).unwrap();
        RealFiles.write_pieces_at(&file, &path, &slices, 6).unwrap();
        assert_eq!(RealFiles.read(&path).unwrap(), [b"before", &*pieces.concat()].concat());
        RealFiles.write_pieces_at(&file, &path, &[b"", b""], 9).unwrap();
        assert_eq!(RealFiles.len(&path).unwrap(), 6 + pieces.concat().len() as u64);
    }
}
