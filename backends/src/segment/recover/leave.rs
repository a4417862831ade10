//! Files that opening a log leaves out. What a log began and never finished goes; what no log has written, whatever its name says, is
//! somebody's, and gets another name.

use std::path::{Path, PathBuf};

use weir_engine::{Result, Seq};

use super::super::files::Files;
use super::super::format::{HEADER_LEN, Header, SEGMENT_MAGIC};
use super::super::handle::Handles;
use super::super::state::{Doing, State};
use super::super::walk::Item;
use super::list::Source;

/// Behind the name of a file that is set aside.
const ASIDE: &str = ".set-aside";

/// Whether a file may be what a log began: it has a header, perhaps of the file that it was before, or a frame, or where a header
/// goes there is the beginning of one, or nothing: a power failure takes what it likes of what was not synced.
fn is_of_a_log(source: &Source) -> bool {
    let begun = |copy: &[u8]| copy.iter().zip(SEGMENT_MAGIC).all(|(is, of)| *is == of);
    let place = &source.map[..source.map.len().min(2 * HEADER_LEN)];
    place.iter().all(|byte| *byte == 0)
        || place.chunks(HEADER_LEN).any(begun)
        || source.header.is_some()
        || Header::stated(&source.map).is_some()
        || source.walk().any(|item| matches!(item, Item::Frame { .. }))
}

/// Removes the file, or sets it aside, which the answer tells; the caller syncs the directory. Does neither where it is only read.
pub(super) fn leave_out(handles: &Handles, source: &Source) -> Result<Option<String>> {
    let path = &source.path;
    if is_of_a_log(source) {
        if !handles.read_only {
            handles.files.remove(path).doing("removing", path)?;
        }
        return Ok(None);
    }
    let what = format!("{}: it has nothing of a log in it", path.display());
    if handles.read_only {
        return Ok(Some(format!("{what}, and is left out: a server sets it aside")));
    }
    Ok(Some(format!(
        "{what}: it was set aside as {}",
        set_aside(handles, path)?.display()
    )))
}

/// Gives a file another name, which the answer is; the caller syncs the directory.
fn set_aside(handles: &Handles, path: &Path) -> Result<PathBuf> {
    let aside = free_name(&*handles.files, path);
    handles.files.rename(path, &aside).doing("setting aside", path)?;
    Ok(aside)
}

/// Sets aside segments that were missing, as the owner of the log knows, and are there again, if the log says by now that all below
/// their end is removed: somebody has put them back, and the log would remove them. What is told of each. The caller syncs the
/// directory. Where it is only read, that is told and not done.
pub(super) fn leave_put_back(handles: &Handles, state: &mut State, gone: &[(Seq, Seq)]) -> Result<Vec<String>> {
    let floor = state.floor;
    let mut told = Vec::new();
    let mut kept = Vec::with_capacity(state.segs.len());
    let last = state.segs.len().saturating_sub(1);
    for (at, seg) in std::mem::take(&mut state.segs).into_iter().enumerate() {
        let was_gone = gone.iter().any(|(low, high)| *low <= seg.last && seg.first <= *high);
        // The last one is what the log goes on with.
        if !was_gone || seg.first > seg.last || seg.last >= floor || at == last {
            kept.push(seg);
            continue;
        }
        let path = &seg.seg.handle.path;
        let what = format!(
            "{}: it was missing, somebody has put it back, and the log says by now that all below record {floor} is removed",
            path.display()
        );
        if handles.read_only {
            told.push(format!("{what}: a server sets it aside"));
            kept.push(seg);
            continue;
        }
        let aside = set_aside(handles, path)?;
        told.push(format!("{what}: it was set aside as {}", aside.display()));
    }
    state.segs = kept;
    Ok(told)
}

/// A name beside that nothing has.
fn free_name(files: &dyn Files, path: &Path) -> PathBuf {
    let name = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(ASIDE);
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let taken = path.parent().and_then(|dir| files.list(dir).ok()).unwrap_or_default();
    // One more than there are names is free.
    (0..=taken.len())
        .map(name)
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| name(taken.len() + 1))
}
