//! Looks at what names RocksDB's files before RocksDB does.
//!
//! `CURRENT` names the manifest, and the manifest names all other files. RocksDB takes a damaged length in a manifest
//! for the end of what a crash left, opens the store as it was before, and deletes the files that it knows nothing of;
//! other damage of it makes RocksDB wait for ever. So a store is opened only if its manifest is whole up to where it was
//! at the last sync. The file `SYNCED` says where that was, in two lines of 64 bytes that are written in turn, filled
//! with blanks; the one that is further counts:
//!
//! ```text
//! MANIFEST-000005 1993 0571996e      name, bytes, CRC-32C of both and the blank between in hexadecimal
//! ```
//!
//! A manifest is a log of RocksDB's: blocks of 32 KiB, each with records of a masked CRC-32C (4 bytes), a length (2), a
//! type (1: whole, 2 to 4: the first, a middle, the last part) and the payload. The CRC covers all behind the length.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use weir_engine::{Error, Result};

use crate::regular;

const CURRENT: &str = "CURRENT";
const PREFIX: &str = "MANIFEST-";
pub(super) const SYNCED: &str = "SYNCED";
const LINE: usize = 64;
const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
const TYPES: std::ops::RangeInclusive<u8> = 1..=4;

/// Up to where a manifest is known to be whole, and which line of `SYNCED` says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    name: String,
    bytes: u64,
    line: u64,
}

/// Something in the folder that opening and reading may not come back from.
fn pipe_in(folder: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_pipe = |entry: &std::fs::DirEntry| {
        let kind = entry.path().metadata().map(|found| found.file_type());
        kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
    };
    entries.find(is_pipe).map(|entry| entry.path())
}

/// Refuses a folder that RocksDB must not open. One without a store in it is fine.
///
/// # Errors
/// [`Kind::Damaged`](weir_engine::Kind::Damaged) with the place and the remedy; nothing was changed.
pub(super) fn check(folder: &Path) -> Result<()> {
    let damaged = |what: String| Err(Error::damaged(format!("{what}; {}", remedy(folder))));
    let shown = folder.display();
    if let Some(path) = pipe_in(folder) {
        // RocksDB would wait for ever for somebody at its other end.
        let shown = path.display();
        return damaged(format!(
            "{shown} is no file but a pipe, a socket or a device: move it away"
        ));
    }
    let name = match current(folder) {
        Ok(Some(name)) => name,
        Ok(None) => return damaged(format!("{shown}/{CURRENT} does not name a manifest")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // RocksDB would begin anew, and delete what it finds.
            return match has_files(folder) {
                true => damaged(format!("{shown}/{CURRENT} is missing")),
                false => Ok(()),
            };
        }
        Err(error) if regular::is_other(&error) => return damaged(format!("{shown}/{CURRENT}: {error}")),
        Err(error) => return Err(Error::io(format_args!("reading {shown}/{CURRENT}"), error)),
    };
    let synced = synced(folder);
    if let Some(known) = synced.as_ref().filter(|known| number(&name) < number(&known.name)) {
        // RocksDB would open the store as it was then, and delete the tables and the manifest that came later.
        return damaged(format!(
            "{shown}/{CURRENT} names {name}, an older manifest than {}, which was in use at the last sync",
            known.name
        ));
    }
    let path = folder.join(&name);
    let end = match regular::open(&path, File::options().read(true)).and_then(|file| whole_from(&file, 0)) {
        Ok(end) => end,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return damaged(format!("{} is missing", path.display()));
        }
        Err(error) if regular::is_other(&error) => return damaged(format!("{}: {error}", path.display())),
        Err(error) => return Err(Error::io(format_args!("reading {}", path.display()), error)),
    };
    // A younger manifest than the noted one is what a crash leaves between its being made and noted.
    let synced = synced.filter(|synced| synced.name == name);
    match end {
        End::Damaged(at) => damaged(format!("{}, byte {at}: damaged", path.display())),
        End::Whole(end) => match synced {
            Some(synced) if end < synced.bytes => damaged(format!(
                "{}, byte {end}: damaged or cut off; {} bytes of it were on disk",
                path.display(),
                synced.bytes
            )),
            _ => Ok(()),
        },
    }
}

/// What helps when the files' names are lost.
pub(super) fn remedy(folder: &Path) -> String {
    format!(
        "nothing of it was changed: put a copy of {} from a backup in its place, or stop the server and let `weir repair` \
         find out what its tables hold",
        folder.display()
    )
}

/// Notes up to where the manifest is whole on disk now. `known` is what was noted before.
pub(super) fn note(folder: &Path, known: &mut Whole) -> io::Result<()> {
    let Some(name) = current(folder)? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if known.name.is_empty() {
        *known = synced(folder).unwrap_or_default();
    }
    let from = if name == known.name { known.bytes } else { 0 };
    let manifest = File::open(folder.join(&name))?;
    let bytes = match whole_from(&manifest, from)? {
        End::Whole(bytes) => bytes,
        // What was read back is not what was written: the check at the next opening says so.
        End::Damaged(_) => return Err(io::ErrorKind::InvalidData.into()),
    };
    if name == known.name && bytes == known.bytes {
        return Ok(());
    }
    // RocksDB may be about to sync what it appended: a crash must not take what is noted here.
    manifest.sync_data()?;
    let said = format!("{name} {bytes}");
    let text = format!("{said} {:08x}", crc32c::crc32c(said.as_bytes()));
    // The line before stays, whatever becomes of this one.
    let line = 1 - known.line;
    let path = folder.join(SYNCED);
    let is_new = !path.exists();
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    file.write_all_at(format!("{text:<0$}\n", LINE - 1).as_bytes(), line * LINE as u64)?;
    file.sync_data()?;
    if is_new {
        File::open(folder)?.sync_all()?;
    }
    *known = Whole { name, bytes, line };
    Ok(())
}

/// The manifest that the `CURRENT` named which the folder has lost, or that names an older one now. `None` if it is not certain which one:
/// `SYNCED` says which it was, a younger one may have come since, and one that is not whole is none.
///
/// # Errors
/// If files cannot be read.
pub(super) fn named(folder: &Path) -> io::Result<Option<String>> {
    let Some(synced) = synced(folder) else {
        return Ok(None);
    };
    let mut youngest = None;
    for entry in std::fs::read_dir(folder)? {
        youngest = youngest.max(entry?.file_name().to_str().and_then(number));
    }
    if youngest.is_none() || youngest != number(&synced.name) {
        return Ok(None);
    }
    let manifest = match regular::open(&folder.join(&synced.name), File::options().read(true)) {
        Err(error) if regular::is_other(&error) => return Ok(None),
        opened => opened?,
    };
    match whole_from(&manifest, 0)? {
        End::Whole(end) if end >= synced.bytes => Ok(Some(synced.name)),
        _ => Ok(None),
    }
}

/// Writes into a copy of a folder's files the `CURRENT` that [`named`] knows of. Returns `false`, with nothing written, if it knows of none.
///
/// # Errors
/// If files cannot be read or written.
pub(super) fn name_again(folder: &Path, copy: &Path) -> io::Result<bool> {
    let Some(name) = named(folder)? else {
        return Ok(false);
    };
    let path = copy.join(CURRENT);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::create_new(path)?;
    file.write_all_at(format!("{name}\n").as_bytes(), 0)?;
    file.sync_all()?;
    Ok(true)
}

/// What `SYNCED` says; `None` if it is not there or neither of its lines is what was written.
fn synced(folder: &Path) -> Option<Whole> {
    let bytes = regular::read(&folder.join(SYNCED)).ok()?;
    let lines = (0..).zip(bytes.chunks(LINE)).take(2);
    let said = lines.filter_map(|(line, text)| {
        let (name, bytes) = said(text)?;
        let number = number(name)?;
        let bytes = bytes.parse().ok()?;
        let name = name.to_owned();
        Some((number, Whole { name, bytes, line }))
    });
    said.max_by_key(|(number, whole)| (*number, whole.bytes))
        .map(|(_, whole)| whole)
}

/// The name and the bytes in a line of `SYNCED`; `None` if it is not what was written.
fn said(line: &[u8]) -> Option<(&str, &str)> {
    let (said, crc) = std::str::from_utf8(line).ok()?.trim_end().rsplit_once(' ')?;
    match u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(said.as_bytes()) {
        true => said.split_once(' '),
        false => None,
    }
}

/// What is wrong with the small files beside the manifest that cost nothing: one line each, with the file in front. The next opening
/// writes the first anew.
pub(super) fn beside(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(Some(name)) = current(folder) else {
        return lines;
    };
    let path = folder.join(SYNCED);
    let why = match regular::read(&path) {
        Err(error) => Some(error.to_string()),
        Ok(bytes) => {
            let written = bytes.chunks(LINE).filter(|line| line.iter().any(|byte| *byte != 0));
            let bad = written.filter(|line| said(line).is_none()).count();
            (bad > 0 || bytes.is_empty()).then(|| "a line of it fails its checksum".to_owned())
        }
    };
    lines.extend(why.map(|why| {
        let path = path.display();
        format!("{path}: {why}; how far the manifest was on disk is not known as well as it could be")
    }));
    let path = folder.join("IDENTITY");
    let why = match (regular::read(&path), regular::read(&folder.join(name))) {
        (Err(error), _) => Some(error.to_string()),
        // RocksDB notes it in its manifest as well.
        (Ok(identity), Ok(manifest)) => {
            let identity = identity.trim_ascii();
            let is_there = !identity.is_empty() && manifest.windows(identity.len()).any(|bytes| bytes == identity);
            (!is_there).then(|| "it is not what the manifest says".to_owned())
        }
        (Ok(_), Err(_)) => None,
    };
    lines.extend(why.map(|why| format!("{}: {why}; nothing reads it", path.display())));
    lines
}

/// The name in `CURRENT`; `None` if it is none.
fn current(folder: &Path) -> io::Result<Option<String>> {
    let bytes = regular::read(&folder.join(CURRENT))?;
    let name = bytes
        .strip_suffix(b"\n")
        .and_then(|name| std::str::from_utf8(name).ok());
    let number = name.and_then(|name| name.strip_prefix(PREFIX));
    let is_name = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    Ok(name.filter(|_| is_name).map(str::to_owned))
}

/// The number in a manifest's name: younger ones have higher numbers.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Whether there is more in a folder than what an unfinished creation leaves.
fn has_files(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        name == SYNCED || Path::new(&name).extension().is_some_and(|end| end == "sst")
    })
}

enum End {
    /// All records up to here are whole; behind it there is nothing, or what a crash left of one.
    Whole(u64),
    /// The record here is not what was written.
    Damaged(u64),
}

/// Walks the records from one's beginning.
fn whole_from(file: &File, from: u64) -> io::Result<End> {
    let mut reader = io::BufReader::with_capacity(BLOCK, file);
    reader.seek(SeekFrom::Start(from))?;
    let mut at = from;
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        let before = (at % BLOCK as u64) as usize;
        block.clear();
        let read = reader.by_ref().take((BLOCK - before) as u64).read_to_end(&mut block)?;
        let last = read < BLOCK - before;
        let mut rest = &block[..];
        while rest.len() >= HEADER {
            let len = usize::from(u16::from_le_bytes([rest[4], rest[5]]));
            if rest[6] == 0 && len == 0 {
                // Room that was made and not written.
                return Ok(End::Whole(at));
            }
            if !TYPES.contains(&rest[6]) {
                return Ok(End::Damaged(at));
            }
            let Some(covered) = rest.get(6..HEADER + len) else {
                // A record ends with its block; only the end of the file may come before.
                return Ok(if last { End::Whole(at) } else { End::Damaged(at) });
            };
            let sum = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
            if sum != masked(crc32c::crc32c(covered)) {
                return Ok(End::Damaged(at));
            }
            at += (HEADER + len) as u64;
            rest = &rest[HEADER + len..];
        }
        if last {
            return Ok(End::Whole(at));
        }
        // Too little for a header is left empty.
        at += rest.len() as u64;
    }
}

/// RocksDB stores sums in this form, as sums of what contains sums are weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
