//! Opening the copies of a key-value space: they are merged, and each that does not say what the merge says is set aside
//! and written anew.

use std::io;
use std::path::{Path, PathBuf};

use weir_engine::{Error, Kind, Result};

use super::super::files::Mode;
use super::super::handle::Handles;
use super::super::state::Doing;
use super::batch::{KV_VERSION, version_of};
use super::merge::{COPIES, Merged, Worth};
use super::strangers::{self, Judge};
use crate::regular;

/// Unfinished writes that are kept of each copy; a later one takes the place of the last.
const TORN_KEPT: usize = 4;
/// What a file is called that is not whole yet.
pub const TEMPORARY: &str = "kv.tmp";

/// What opening found.
#[derive(Debug, Default)]
pub struct Found {
    /// The generation that counts, if there is any file.
    pub generation: Option<u64>,
    /// What it says.
    pub merged: Merged,
    /// Damage that another copy mended, one line each.
    pub mended: Vec<String>,
    /// Damage that nothing mends, one line each.
    pub lost: Vec<String>,
    /// What each copy was; none if there is no file at all.
    pub copies: Vec<KvCopy>,
    /// If all has to be written to a next generation, the files of this one: what each is worth now says what becomes of it then. Also
    /// if there was no room to mend one of them in its place.
    pub owed: Option<Vec<KvCopy>>,
}

/// A copy of the key-value space, as it was when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvCopy {
    /// Its file.
    pub path: PathBuf,
    /// The file's length in bytes; `None` if it is not there, or cannot be read.
    pub bytes: Option<u64>,
    /// What it is worth beside the other.
    pub worth: Worth,
}

/// The name of a generation's file in each copy's folder.
pub fn file_name(generation: u64) -> String {
    format!("{generation:016x}.kv")
}

/// Reads what is in the folders and mends it, unless only reading.
pub fn open(dirs: &[PathBuf; COPIES], handles: &Handles, judge: Judge<'_>) -> Result<Found> {
    let mut all = Vec::new();
    for dir in dirs {
        all.push(list(dir, handles)?);
    }
    let strangers = strangers::set_aside(dirs, &mut all, handles, judge)?;
    let mut generations = all.concat();
    generations.sort_unstable();
    generations.dedup();
    let Some(generation) = generations.pop() else {
        return Ok(Found::default());
    };
    let paths = dirs.each_ref().map(|dir| dir.join(file_name(generation)));
    let mut copies = Vec::new();
    for path in &paths {
        copies.push(read(path, handles));
    }
    if !strangers.is_empty() {
        // Where nothing is written they are still there.
        for (copy, all) in copies.iter_mut().zip(&all) {
            if !all.contains(&generation) {
                *copy = Ok(None);
            }
        }
    }
    // Something else stands in the place of one, or it cannot be read and the other has all: it is put aside, and counts as a
    // file that is missing.
    let others = copies.iter().filter(|copy| matches!(copy, Ok(Some(_)))).count();
    let whole = others > 0 && copies.iter().any(Result::is_err) && {
        let read = copies.iter().map(|copy| copy.as_ref().ok().cloned().flatten());
        Merged::of(&read.collect::<Vec<_>>(), generation).lost.is_empty()
    };
    let mut aside = Vec::new();
    let copies: Vec<Option<Vec<u8>>> = (copies.into_iter().zip(&paths))
        .map(|(copy, path)| match copy {
            Err(error) if whole || others > 0 && regular::is_other(&error) => {
                aside.push(format!("{}: {error}; what the other copy has is taken", path.display()));
                put_aside(path, "unread", handles)?;
                Ok(None)
            }
            copy => copy.doing("reading", path),
        })
        .collect::<Result<_>>()?;
    for (copy, path) in copies.iter().zip(&paths) {
        check_version(copy.as_deref(), path)?;
    }
    let versions: Vec<Option<u16>> = copies.iter().flatten().map(|data| version_of(data)).collect();
    let old = versions.contains(&Some(1));
    let mut found = Found {
        generation: Some(generation),
        merged: Merged::of(&copies, generation),
        ..Found::default()
    };
    found.copies = (paths.iter().zip(&copies))
        .map(|(path, copy)| KvCopy {
            path: path.clone(),
            bytes: copy.as_ref().map(|copy| copy.len() as u64),
            worth: found.merged.worth(copy.as_deref()),
        })
        .collect();
    for line in &found.merged.lost {
        found.lost.push(format!("{}: {line}", paths[0].display()));
    }
    for line in &found.merged.blank {
        found.mended.push(format!("{}: {line}", paths[0].display()));
    }
    // The files are of an older version, or damaged beyond what another copy mends.
    let anew = old || !found.lost.is_empty() || !found.mended.is_empty();
    found.mended.extend(aside);
    let is_passed_over = !strangers.is_empty();
    found.mended.extend(strangers);
    let (mut left, mut full) = (found.copies.clone(), false);
    for (at, path) in paths.iter().enumerate() {
        // Of version 1 there is only one copy, in the first folder, whose header is another one.
        let mended = if old {
            match at {
                0 => look_at_old(path, copies[0].as_deref(), &mut found, handles),
                _ => Ok(()),
            }
        } else {
            // A rewrite may have ended between the two names that it gives.
            let missing = copies[at].is_none() && (is_passed_over || !all[at].is_empty());
            mend(path, copies[at].as_deref(), [missing, anew], &mut found, handles)
        };
        match mended {
            Err(error) if error.kind == Kind::Full => {
                // A part of it takes room that others need.
                remove(handles, &path.with_extension(TEMPORARY))?;
                full = true;
                tracing::warn!(file = %path.display(), "what it should hold is written when there is room: {error}");
            }
            mended => {
                mended?;
                // What it was is set aside already, where it must be; what it says now may not be all.
                left[at].worth = if anew { Worth::Short(0) } else { Worth::Whole };
            }
        }
    }
    found.owed = (anew || full).then_some(left);
    if !handles.read_only && !anew && !generations.is_empty() {
        for dir in dirs {
            for old in &generations {
                // A new generation got its names only when it was whole.
                remove(handles, &dir.join(file_name(*old)))?;
            }
            handles.files.sync_dir(dir).syncing(dir)?;
        }
    }
    found.merged.image = Vec::new();
    Ok(found)
}

/// The generations in a folder. Rewrites that were not finished are removed.
fn list(dir: &Path, handles: &Handles) -> Result<Vec<u64>> {
    let mut generations = Vec::new();
    if handles.read_only && !handles.files.is_dir(dir) {
        return Ok(generations);
    }
    for path in handles.files.list(dir).doing("listing", dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_suffix(".kv").unwrap_or_default();
        match u64::from_str_radix(number, 16) {
            Ok(generation) if file_name(generation) == name => generations.push(generation),
            _ if name.ends_with(".kv.tmp") && !handles.read_only => remove(handles, &path)?,
            _ => {}
        }
    }
    Ok(generations)
}

fn remove(handles: &Handles, path: &Path) -> Result<()> {
    match handles.files.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing("removing", path),
    }
}

/// What a file holds; `None` if it is not there.
pub fn read(path: &Path, handles: &Handles) -> io::Result<Option<Vec<u8>>> {
    match handles.files.read(path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn check_version(data: Option<&[u8]>, path: &Path) -> Result<()> {
    if data.and_then(version_of).is_some_and(|version| version > KV_VERSION) {
        return Err(Error::unsupported(format!(
            "{} has a newer format version; use a newer program. Nothing was changed",
            path.display()
        )));
    }
    Ok(())
}

/// Lets go of files for which there are newer ones, durably: those that should have been set aside when there was no room for that
/// get another name.
pub fn retire(copies: &[KvCopy], handles: &Handles) -> Result<()> {
    for KvCopy { path, bytes, worth } in copies {
        let aside = match worth {
            _ if bytes.is_none() => None,
            Worth::Damaged(_) => Some(name_aside(path, "damaged", usize::MAX, handles)?),
            Worth::Torn(_) => Some(name_aside(path, "torn", TORN_KEPT, handles)?),
            Worth::Short(_) | Worth::Whole => None,
        };
        match aside {
            Some(aside) => handles.files.rename(path, &aside).doing("renaming", path)?,
            None => remove(handles, path)?,
        }
        if let Some(dir) = path.parent() {
            handles.files.sync_dir(dir).syncing(dir)?;
        }
    }
    Ok(())
}

/// Gives what is no file, cannot be read, or is nothing of this store, another name.
pub fn put_aside(path: &Path, why: &str, handles: &Handles) -> Result<()> {
    if handles.read_only {
        return Ok(());
    }
    let aside = name_aside(path, why, usize::MAX, handles)?;
    tracing::warn!(file = %path.display(), kept = %aside.display(), "it gets another name");
    handles.files.rename(path, &aside).doing("renaming", path)
}

/// The name for what is set aside in the place of a file: the first that is free of so many, or the last.
fn name_aside(path: &Path, why: &str, most: usize, handles: &Handles) -> Result<PathBuf> {
    let there = match path.parent() {
        Some(dir) => handles.files.list(dir).doing("listing", dir)?,
        None => Vec::new(),
    };
    let name = |number| path.with_extension(format!("kv.{why}-{number}"));
    let mut number = 1;
    while number < most && there.contains(&name(number)) {
        number += 1;
    }
    Ok(name(number))
}

/// A file of version 1 stays until all is in files of today's, and longer if it has more than was understood.
fn look_at_old(path: &Path, copy: Option<&[u8]>, found: &mut Found, handles: &Handles) -> Result<()> {
    let end = usize::try_from(found.merged.end).unwrap_or(usize::MAX);
    let behind = copy.and_then(|copy| copy.get(end..)).unwrap_or_default();
    if behind.iter().any(|byte| *byte != 0) {
        // No mark was written on closing then: an unfinished write looks the same as a damaged one.
        found.lost.push(format!(
            "{}: what is behind offset {end} is an unfinished write or the last one, damaged",
            path.display()
        ));
    }
    if !found.lost.is_empty() && !handles.read_only {
        set_aside(path, copy, "damaged", usize::MAX, handles)?;
    }
    Ok(())
}

/// Makes one copy what the merge says, unless all is written `anew`. `missing` says that its file was not to be expected.
fn mend(
    path: &Path,
    copy: Option<&[u8]>,
    [missing, anew]: [bool; 2],
    found: &mut Found,
    handles: &Handles,
) -> Result<()> {
    let worth = found.merged.worth(copy);
    let durable = found.merged.durable_end;
    match worth {
        // The other copy has it no better, which is told already.
        Worth::Damaged(at) if found.merged.holes.contains(&at) => {}
        Worth::Damaged(at) => found.mended.push(format!(
            "{}: offset {at} is damaged; what the other copy has is taken",
            path.display()
        )),
        Worth::Short(at) if at < durable && !missing => found.mended.push(format!(
            "{}: what should follow offset {at} is missing; what the other copy has is taken",
            path.display()
        )),
        _ => {}
    }
    if handles.read_only {
        return Ok(());
    }
    match worth {
        Worth::Damaged(_) => set_aside(path, copy, "damaged", usize::MAX, handles)?,
        Worth::Torn(at) => {
            tracing::warn!(file = %path.display(), offset = at, "setting an unfinished write aside");
            set_aside(path, copy, "torn", TORN_KEPT, handles)?;
        }
        Worth::Short(_) | Worth::Whole => {}
    }
    if worth == Worth::Whole || anew {
        return Ok(());
    }
    let files = &handles.files;
    let temporary = path.with_extension(TEMPORARY);
    write_whole(handles, &temporary, &found.merged.image)?;
    files.rename(&temporary, path).doing("renaming", &temporary)?;
    match path.parent() {
        Some(dir) => files.sync_dir(dir).syncing(dir),
        None => Ok(()),
    }
}

/// Writes what a file holds to another, which stays, before its own is written anew.
fn set_aside(path: &Path, copy: Option<&[u8]>, why: &str, most: usize, handles: &Handles) -> Result<()> {
    let (Some(copy), Some(dir)) = (copy, path.parent()) else {
        return Ok(());
    };
    let files = &handles.files;
    // A start without room for all of it may have done this before.
    for there in files.list(dir).doing("listing", dir)? {
        let name = there.file_name().unwrap_or_default().to_string_lossy();
        let begin = format!("{}.{why}-", path.file_name().unwrap_or_default().to_string_lossy());
        if name.starts_with(&begin) && files.read(&there).is_ok_and(|kept| kept == copy) {
            return Ok(());
        }
    }
    let aside = name_aside(path, why, most, handles)?;
    tracing::warn!(file = %path.display(), kept = %aside.display(), "what it held is kept");
    let temporary = path.with_extension(TEMPORARY);
    write_whole(handles, &temporary, copy)?;
    files.rename(&temporary, &aside).doing("renaming", &temporary)?;
    files.sync_dir(dir).syncing(dir)
}

fn write_whole(handles: &Handles, path: &Path, content: &[u8]) -> Result<()> {
    let files = &handles.files;
    let file = files.open(path, Mode::Create).doing("making", path)?;
    files.write_at(&file, path, content, 0).doing("writing", path)?;
    // Nothing counts on it yet: where there is no room for it, that is no worse than before.
    files.sync(&file, path).doing("syncing", path)
}
