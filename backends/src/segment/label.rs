//! Whose a log is: a small file in its folder, which the backend keeps and does not look into.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::{Error, LogId, LogOptions, Result};

use super::files::{Files, Mode};
use super::format::{u32_at, u64_at};
use super::handle::{Handle, Handles};
use super::state::Doing;
use super::sync::Syncer;

/// What the file begins with.
const MAGIC: [u8; 8] = *b"WeirLbl\n";
/// Bytes before the label: magic, log id (8), length of the label (4).
const BEFORE: usize = 20;
/// Bytes after it: the CRC of all that is before.
const AFTER: usize = 4;

fn path(dir: &Path) -> PathBuf {
    dir.join("label")
}

fn encode(id: LogId, label: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(BEFORE + label.len() + AFTER);
    raw.extend_from_slice(&MAGIC);
    raw.extend_from_slice(&id.0.to_le_bytes());
    raw.extend_from_slice(&(label.len() as u32).to_le_bytes());
    raw.extend_from_slice(label);
    let crc = crc32c::crc32c(&raw);
    raw.extend_from_slice(&crc.to_le_bytes());
    raw
}

/// Reads the label in a log's folder; `None` if there is none, or if it was not written to its end.
///
/// # Errors
/// If it fails its checksum, belongs to another log, or cannot be read.
pub fn read(files: &dyn Files, dir: &Path, id: LogId) -> Result<Option<Bytes>> {
    let path = path(dir);
    let raw = match files.read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.doing("reading", &path)?,
    };
    if raw.len() < BEFORE + AFTER || raw.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let end = raw.len() - AFTER;
    let good = raw[..8] == MAGIC
        && u64_at(&raw, 8) == id.0
        && u32_at(&raw, 16) as usize == end - BEFORE
        && crc32c::crc32c(&raw[..end]) == u32_at(&raw, end);
    if !good {
        return Err(Error::damaged(format!(
            "{}: the label of the log is damaged",
            path.display()
        )));
    }
    Ok(Some(Bytes::copy_from_slice(&raw[BEFORE..end])))
}

/// Writes a label; it is durable with the log's next sync. What was there and could not be read is kept beside it.
pub fn write(handles: &Arc<Handles>, syncer: &Syncer, dir: &Path, id: LogId, label: &[u8]) -> Result<()> {
    if label.len() > LogOptions::LABEL_MAX {
        return Err(Error::invalid(format!(
            "a label of {} bytes; at most {}",
            label.len(),
            LogOptions::LABEL_MAX
        )));
    }
    let path = path(dir);
    let files = &handles.files;
    if files.len(&path).is_ok() {
        let aside = path.with_extension("damaged");
        files.rename(&path, &aside).doing("renaming", &path)?;
    }
    let file = files.open(&path, Mode::Create).doing("making", &path)?;
    files
        .write_at(&file, &path, &encode(id, label), 0)
        .doing("writing", &path)?;
    let handle = Handle::new(handles, path, 0);
    handle.adopt(file);
    syncer.mark(&handle);
    syncer.mark_dir();
    Ok(())
}
