//! Files of logs that are not what their names say: each begins with what it is, so that it can be put back in its place.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use weir_engine::{Error, LogId, Result};

use super::format::{DATA_START, FLAG_PREALLOCATED, Header, Identity, Kind};
use super::walk::{Item, Walk};
use crate::regular;

/// What is added to a file's name on its way to its place.
pub const ON_ITS_WAY: &str = ".misplaced";

/// A file that is in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Where it is.
    pub path: PathBuf,
    /// The log that it belongs to.
    pub log: LogId,
    /// Its name there.
    pub name: String,
}

/// Whether a file of that name, in the folder of that log, would be one of the log's segments.
pub fn is_segment_name(log: LogId, name: &str) -> bool {
    Identity::parse_name(log, name.strip_suffix(ON_ITS_WAY).unwrap_or(name)).is_some()
}

/// All of them in the folder of logs of a store that nobody has open. Of each file the beginning is read.
///
/// # Errors
/// If a folder or a file cannot be read.
pub fn misplaced(logs: &Path) -> Result<Vec<Misplaced>> {
    let mut found = Vec::new();
    for folder in listed(logs)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(log) = name.parse::<LogId>() else { continue };
        if !folder.is_dir() {
            continue;
        }
        for path in listed(&folder)? {
            found.extend(look_at(log, path)?);
        }
    }
    Ok(found)
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = |error| Error::io(format_args!("listing {}", folder.display()), error);
    let entries = fs::read_dir(folder).map_err(listing)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(listing)?;
    paths.sort();
    Ok(paths)
}

fn look_at(log: LogId, path: PathBuf) -> Result<Option<Misplaced>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (stated, is_on_its_way) = match name.strip_suffix(ON_ITS_WAY) {
        Some(name) => (name, true),
        None => (&*name, false),
    };
    let Some((_, named)) = Identity::parse_name(log, stated) else {
        return Ok(None);
    };
    let reading = |error| Error::io(format_args!("reading {}", path.display()), error);
    let mut file = match regular::open(&path, File::options().read(true)) {
        Ok(file) => file,
        // What is no file is told when the log is opened.
        Err(error) if regular::is_other(&error) => return Ok(None),
        Err(error) => return Err(reading(error)),
    };
    let mut raw = Vec::new();
    file.by_ref().take(DATA_START).read_to_end(&mut raw).map_err(reading)?;
    let Some(header) = Header::stated(&raw) else {
        return Ok(None);
    };
    let is_in_place = header.identity == named && !is_on_its_way;
    // A file of a journal has what it was before until it is written.
    let is_recycled = header.identity.log == log && header.flags & FLAG_PREALLOCATED != 0;
    if is_in_place || is_recycled {
        return Ok(None);
    }
    file.read_to_end(&mut raw).map_err(reading)?;
    let has_frames_of = |identity: Identity| {
        let mut items = Walk::new(&raw, identity.seed());
        items.any(|item| matches!(item, Item::Frame { .. }))
    };
    if !is_on_its_way && has_frames_of(named) {
        // Only its beginning is another's.
        return Ok(None);
    }
    let first = Walk::new(&raw, header.identity.seed()).find_map(|item| match item {
        Item::Frame { frame, .. } if frame.kind == Kind::Record => Some(frame.seq),
        _ => None,
    });
    Ok(Some(Misplaced {
        log: header.identity.log,
        name: header.identity.file_name(first.unwrap_or(header.last + 1)),
        path,
    }))
}
