//! Which files belong to a log.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::{Error, LogId, LogOptions, Result, SEQ_LIMIT, Seq};

use super::super::files::Background;
use super::super::format::{Begin, DATA_START, EraseRun, FLAG_PREALLOCATED, Header, Identity, Kind};
use super::super::handle::{Handle, Handles};
use super::super::seal::Footer;
use super::super::state::Doing;
use super::super::walk::{Item, Walk};
use super::leave::leave_out;

/// Files of which the beginning and the end are asked of the disk before they are opened: otherwise each waits for its own, and for
/// all that the disk reads around it.
const AHEAD: usize = 32;
/// About how many bytes at the end of a file have what opening reads of a footer.
const FOOTER: u64 = 16 << 10;

pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) name_first: Seq,
    pub(super) identity: Identity,
    pub(super) handle: Arc<Handle>,
    pub(super) map: Bytes,
    pub(super) header: Option<Header>,
    pub(super) both_copies: bool,
    pub(super) footer: Option<Footer>,
    /// Records that were to be overwritten by erasures in segments that are read whole.
    pub(super) overwritten: Rc<[EraseRun]>,
}

impl Source {
    pub(super) fn preallocated(&self) -> bool {
        self.header.is_some_and(|h| h.flags & FLAG_PREALLOCATED != 0)
    }

    /// The number of the first batch, from the header or else from the batch itself.
    pub(super) fn first_batch(&self) -> Option<u64> {
        let begun = || {
            self.walk().find_map(|item| match item {
                Item::Frame { frame, raw, .. } => Begin::of(&frame, raw).map(|begin| begin.number),
                _ => None,
            })
        };
        self.header.map(|h| h.first_batch).or_else(begun)
    }

    /// The log's last sequence when the segment was begun, from the header or else from the first record.
    pub(super) fn begun_after(&self) -> Seq {
        let before = || {
            self.walk().find_map(|item| match item {
                Item::Frame { frame, .. } if frame.kind == Kind::Record => Some(frame.seq - 1),
                _ => None,
            })
        };
        self.header.map(|h| h.last).or_else(before).unwrap_or(0)
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk::new(&self.map, self.identity.seed()).overwritten(&self.overwritten)
    }

    /// As [`walk`](Self::walk), up to an offset.
    pub(super) fn walk_to(&self, end: u64) -> Walk<'_> {
        let end = self.map.len().min(end as usize);
        Walk::new(&self.map[..end], self.identity.seed()).overwritten(&self.overwritten)
    }
}

pub(super) type Listed = (Vec<Source>, u64, Vec<String>);

/// The log's segments in order, the next free number, and what is odd about the files. Removes what a rewrite has replaced, and spares.
pub(super) fn list(
    handles: &Arc<Handles>,
    id: LogId,
    dir: &Path,
    options: &LogOptions,
    read_only: bool,
) -> Result<Listed> {
    let mut named = Vec::new();
    let (mut remove, mut rewritten) = (Vec::new(), Vec::new());
    for path in handles.files.list(dir).doing("listing", dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some((first, identity)) = Identity::parse_name(id, &name).filter(|(_, i)| i.id < SEQ_LIMIT) {
            named.push((first, identity, path));
        } else if [".seg.tmp", ".spare", ".spare.tmp"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            // A spare may have been a segment whose new name a power failure took away: frames in it would verify
            // again in the next segment of that number.
            remove.push(path);
        }
        // Anything else is not ours to touch.
    }
    let next_id = named.iter().map(|(_, i, _)| i.id + 1).max().unwrap_or(1);
    named.sort_by_key(|(_, i, _)| (i.id, std::cmp::Reverse(i.generation)));
    let mut sources: Vec<Source> = Vec::with_capacity(named.len());
    let mut odd = Vec::new();
    let mut ahead = named
        .iter()
        .map(|(_, _, path)| path.clone())
        .collect::<Vec<_>>()
        .into_iter();
    // Where one thread does everything, nothing has to be waited for.
    let is_cold = handles.files.background() == Background::Thread;
    let mut look_ahead = |files: usize| {
        for path in ahead.by_ref().take(if is_cold { files } else { 0 }) {
            let len = handles.files.len(&path).unwrap_or(0);
            handles.files.will_need(&path, 0, DATA_START);
            handles
                .files
                .will_need(&path, len.saturating_sub(FOOTER), FOOTER.min(len));
        }
    };
    look_ahead(AHEAD);
    for (name_first, identity, path) in named {
        look_ahead(1);
        // A name alone replaces nothing.
        let replaced = sources.last().is_some_and(|s| {
            s.header
                .is_some_and(|h| identity.id <= s.identity.id + u64::from(h.replaces))
        });
        if replaced {
            rewritten.push(path);
            continue;
        }
        let len = handles.files.len(&path).doing("reading", &path)?;
        let handle = Handle::new(handles, path.clone(), len.max(options.segment_bytes));
        let map = if len == 0 {
            Bytes::new()
        } else {
            handle.map(len).doing("mapping", &path)?.slice(..len as usize)
        };
        let header = Header::decode(&map, identity)?;
        if header.is_some_and(|(h, _)| h.flags & FLAG_PREALLOCATED != 0) {
            handle.stay_open();
        }
        let source = Source {
            footer: Footer::decode(&map, identity),
            header: header.map(|(h, _)| h),
            both_copies: header.is_some_and(|(_, both)| both),
            overwritten: Rc::new([]),
            path,
            name_first,
            identity,
            handle,
            map,
        };
        if source.header.is_none() {
            check_whose(&source)?;
        }
        if let Some(above) = sources.pop_if(|above| above.identity.id == identity.id) {
            // Two that were begun one after the other: a power failure brought the first back, which had been removed. Were it there still
            // when the other is gone, it would take all with it that is written behind it.
            if above.identity.generation == identity.generation {
                odd.extend(leave_out(handles, &above)?);
                if !read_only {
                    handles.files.sync_dir(dir).syncing(dir)?;
                }
            } else {
                odd.push(format!(
                    "{}: it should stand for {}, and has no header that says so: it is left alone, and the other is used",
                    above.path.display(),
                    source.path.display()
                ));
            }
        }
        sources.push(source);
    }
    if !read_only {
        if !rewritten.is_empty() {
            // The name of what replaces them may not be on disk: the sync after the renaming may have failed.
            handles.files.sync_dir(dir).syncing(dir)?;
        }
        for path in remove.into_iter().chain(rewritten) {
            handles.files.remove(&path).doing("removing", &path)?;
        }
    }
    Ok((sources, next_id, odd))
}

/// A file of another name, or of another log, is not taken for a write that was never finished, and not touched.
///
/// # Errors
/// [`Damaged`](weir_engine::Kind::Damaged) if the file says that it is another one and has nothing of what its name says.
fn check_whose(source: &Source) -> Result<()> {
    let identity = source.identity;
    let Some(stated) = Header::stated(&source.map).filter(|stated| stated.identity != identity) else {
        return Ok(());
    };
    // A journal's files are used again under other names.
    let recycled = stated.identity.log == identity.log && stated.flags & FLAG_PREALLOCATED != 0;
    if recycled || source.walk().any(|item| matches!(item, Item::Frame { .. })) {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "{}: the file is segment {:x} of log {}, generation {}, and not what its name says: put the files back in their places; \
         nothing was changed",
        source.path.display(),
        stated.identity.id,
        stated.identity.log,
        stated.identity.generation
    )))
}
