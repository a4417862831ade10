//! What a start needs of the folders of a store, looked at and left as it is.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};
use weir_engine::{Error, Result};

use super::SEGMENT;
use crate::regular;

/// The folders that a start has in that of the segment backend.
const FOLDERS: [&str; 3] = ["logs", "kv", "kv2"];
/// Those of them with files that it opens to write to, and how these end.
const WRITTEN: [&str; 2] = ["kv", "kv2"];
const WRITTEN_ENDING: &str = ".kv";

/// Refuses folders that a start could not use or make.
///
/// # Errors
/// With what is wrong, and where.
pub(super) fn check(root: &Path) -> Result<()> {
    let segment = root.join(SEGMENT);
    for folder in [root, &segment] {
        if !is_there(folder)? {
            return makeable(folder);
        }
    }
    for name in FOLDERS {
        let folder = segment.join(name);
        if !is_there(&folder)? {
            makeable(&folder)?;
        }
    }
    let lock = segment.join("LOCK");
    match regular::open(&lock, OpenOptions::new().read(true).write(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => makeable(&lock)?,
        opened => drop(opened.map_err(|error| Error::io(format_args!("locking {}", lock.display()), error))?),
    }
    for name in WRITTEN {
        files(&segment.join(name))?;
    }
    Ok(())
}

/// Whether a folder is there, which can be looked through then.
fn is_there(folder: &Path) -> Result<bool> {
    let failed = |error| Error::io(format_args!("opening {}", folder.display()), error);
    match folder.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
        Ok(_) => {}
    }
    // Of a link that leads nowhere nothing is found.
    match folder.metadata().map_err(failed)?.is_dir() {
        true => access(folder, Access::READ_OK | Access::EXEC_OK).map_err(|error| failed(error.into()))?,
        false => return Err(failed(rustix::io::Errno::NOTDIR.into())),
    }
    Ok(true)
}

/// Something that is not there could be made: what is there on the way to it can be written to.
fn makeable(path: &Path) -> Result<()> {
    let there = path
        .ancestors()
        .skip(1)
        .find(|ancestor| ancestor.symlink_metadata().is_ok());
    let may = access(there.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK);
    may.map_err(|error| Error::io(format_args!("making {}", path.display()), io::Error::from(error)))
}

/// Files can be written to, if they can be read: others are set aside by a start.
fn files(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_one = entry.file_name().to_string_lossy().ends_with(WRITTEN_ENDING);
        if is_one && access(&path, Access::READ_OK).is_ok() {
            let failed = |error: rustix::io::Errno| {
                Error::io(format_args!("opening {}", path.display()), io::Error::from(error))
            };
            access(&path, Access::WRITE_OK).map_err(failed)?;
        }
    }
    Ok(())
}
