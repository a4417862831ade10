//! Opening files where something else may stand in their place: a pipe that nobody writes to would keep the caller for
//! ever, a device may do anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file, and nothing else; links are not followed.
///
/// # Errors
/// Of kind [`io::ErrorKind::InvalidInput`], with what is there, if that is not a file; others as for every open.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let opened = options.custom_flags(flags.bits() as i32).open(path);
    match &opened {
        Ok(file) => check(&file.metadata()?)?,
        // What cannot be opened so may say more when looked at.
        Err(_) => {
            if let Ok(found) = path.symlink_metadata() {
                check(&found)?;
            }
        }
    }
    opened
}

/// All that a file holds.
///
/// # Errors
/// As [`open`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path, OpenOptions::new().read(true))?;
    let mut content = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// The length of a file, in bytes.
///
/// # Errors
/// As [`open`].
pub(crate) fn len(path: &Path) -> io::Result<u64> {
    let found = path.symlink_metadata()?;
    check(&found)?;
    Ok(found.len())
}

/// Whether an error says that something that is no file stands in the place of one.
pub(crate) fn is_other(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none()
}

/// What stands in the place of a directory; `None` if it is one, or nothing is there.
pub(crate) fn in_place_of_dir(path: &Path) -> Option<&'static str> {
    let found = path.metadata().or_else(|_| path.symlink_metadata()).ok()?;
    (!found.is_dir()).then(|| what(&found))
}

fn check(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let text = format!("there is {} in the place of the file; move it away", what(found));
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn what(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    match kind {
        _ if kind.is_file() => "a file",
        _ if kind.is_dir() => "a directory",
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}
