//! Opening a log: which files belong to it, where its batches end, what is damaged.
//!
//! Two rules decide between a torn write and damage. Each batch says up to which batch the log was known to be
//! durable when it was written; the highest such number is the *mark*. What is broken at or below the mark was whole
//! on disk once: it is damage, and is kept and told. The first thing broken above the mark is a write that never
//! finished, and everything from there on is cut, because the log must be a prefix of what was written.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use weir_engine::{Error, Extent, LogId, LogOptions, Recovery, Result, SEQ_LIMIT, Seq};

use super::format::{
    Begin, DATA_START, EraseRun, FLAG_PREALLOCATED, Frame, Header, Identity, Kind, decode_runs, void_frame,
};
use super::handle::{Handle, Handles};
use super::rows::{Rows, Segment};
use super::seal::Footer;
use super::state::{Doing, SegRef, State, Suspect};
use super::sync::Syncer;
use super::walk::{Item, Walk};

/// What opening a log comes to.
pub struct Recovered {
    /// What it holds.
    pub state: State,
    /// What to tell the caller.
    pub report: Recovery,
    /// The last batch's number.
    pub number: u64,
    /// The batch up to which the log is known to be durable.
    pub durable: u64,
    /// The number for the next segment.
    pub next_id: u64,
    /// What the writer needs in order to go on with the last segment; `None` if a new one must be begun.
    pub tail: Option<TailInfo>,
}

/// What is known of the segment to go on with, beyond what its [`Segment`] says.
#[derive(Default)]
pub struct TailInfo {
    /// Its erasures, as a footer lists them.
    pub tombs: Vec<u8>,
    /// The earliest time.
    pub min_time: i64,
    /// The latest time.
    pub max_time: i64,
    /// Bytes of all records.
    pub bytes: u64,
    /// Whether something in it is damaged: then it gets no footer, so that the damage is found again.
    pub damaged: bool,
    /// Whether anything follows the header.
    pub written: bool,
}

struct Source {
    path: PathBuf,
    name_first: Seq,
    identity: Identity,
    handle: Arc<Handle>,
    map: Bytes,
    header: Option<Header>,
    both_copies: bool,
    footer: Option<Footer>,
    /// Records that were to be overwritten by erasures in segments that are read whole.
    overwritten: Rc<[EraseRun]>,
}

impl Source {
    fn preallocated(&self) -> bool {
        self.header.is_some_and(|h| h.flags & FLAG_PREALLOCATED != 0)
    }

    /// The number of the first batch, from the header or else from the batch itself.
    fn first_batch(&self) -> Option<u64> {
        let begun = || {
            self.walk().find_map(|item| match item {
                Item::Frame { frame, raw, .. } => Begin::of(&frame, raw).map(|begin| begin.number),
                _ => None,
            })
        };
        self.header.map(|h| h.first_batch).or_else(begun)
    }

    fn walk(&self) -> Walk<'_> {
        Walk::new(&self.map, self.identity.seed()).overwritten(&self.overwritten)
    }

    /// As [`walk`](Self::walk), up to an offset.
    fn walk_to(&self, end: u64) -> Walk<'_> {
        let end = self.map.len().min(end as usize);
        Walk::new(&self.map[..end], self.identity.seed()).overwritten(&self.overwritten)
    }
}

/// Where a segment's frames end, by the rules above.
struct Bounds {
    end: u64,
    last_batch: u64,
    torn: bool,
}

/// Opens a log's directory, which exists.
pub fn recover(
    handles: &Arc<Handles>,
    syncer: &Syncer,
    id: LogId,
    dir: &Path,
    options: &LogOptions,
) -> Result<Recovered> {
    let read_only = handles.read_only;
    let mut report = Recovery::default();
    let (mut sources, mut next_id) = list(handles, id, dir, options, read_only)?;

    // A file whose making was interrupted: the last one, with no header and no frame.
    while let Some(last) = sources.last()
        && last.header.is_none()
        && !last.walk().any(|item| matches!(item, Item::Frame { .. }))
        && !last.handle.faulted()
    {
        if !read_only {
            handles.files.remove(&last.path).doing("removing", &last.path)?;
            syncer.mark_dir();
        }
        sources.pop();
    }

    let mark = find_mark(&mut sources);

    let mut state = State::default();
    let mut tail = None;
    let mut number = 0;
    let mut cut_from = None;
    let count = sources.len();
    for (i, source) in sources.iter().enumerate() {
        let newest = i + 1 == count;
        let rewritten = source.identity.generation > 0;
        let first_batch = source.first_batch().unwrap_or(number + 1);
        if source.header.is_none() && first_batch > mark && !source.handle.faulted() {
            // Nothing in it was ever durable, and its header never was either.
            cut_from = Some(i);
            break;
        }
        if i > 0 && !rewritten && first_batch > number + 1 && first_batch - 1 > mark {
            cut_from = Some(i);
            break;
        }
        if let Some(before) = i.checked_sub(1).map(|i| &sources[i])
            && before.identity.generation == 0
            && before.identity.id + 1 == source.identity.id
            && first_batch > number + 1
        {
            lost_end(&mut state, before, source, (number + 1, first_batch - 1), &mut report);
        }
        number = number.max(first_batch.saturating_sub(1));
        if let Some(header) = &source.header {
            if !source.both_copies && first_batch <= mark {
                report.damage.push(format!(
                    "{}: one of the two copies of the header is damaged; the other is used",
                    source.path.display()
                ));
            } else if !source.both_copies && !read_only {
                // Its writing was interrupted.
                let raw = header.encode();
                let written = source.handle.write_at(&raw, 0);
                written.doing("writing", &source.path)?;
                syncer.mark(&source.handle);
            }
            truncate_to(&mut state, header.last)?;
            state.extent.last = header.last;
            state.floor = header.floor;
        } else {
            report.damage.push(format!(
                "{}: both copies of the header are damaged; its frames are used all the same",
                source.path.display()
            ));
        }

        let trusted = source.footer.filter(|f| rewritten || f.last_batch <= mark);
        if let Some(footer) = trusted {
            number = number.max(footer.last_batch);
            load_footer(&mut state, source, footer, &mut report);
            continue;
        }

        // Batches of a rewritten segment are not numbered one by one, and were durable before it got its name.
        let mark_here = if rewritten { u64::MAX } else { mark };
        let mut bounds = find_bounds(source, first_batch, mark_here);
        let unreadable = source.handle.faulted();
        if unreadable {
            // A write that was cut short leaves nothing that cannot be read: none of this is cut off, and nothing is
            // written to the file, where a later try may read more of it.
            bounds = find_bounds(source, first_batch, u64::MAX);
            report.damage.push(format!(
                "{}: a part of it cannot be read: the disk failed, or it was made shorter just now",
                source.path.display()
            ));
        }
        number = number.max(bounds.last_batch);
        let beyond = torn_until(source, bounds.end);
        if let Some(until) = beyond
            && !unreadable
        {
            report.torn_bytes += until - bounds.end;
            if !read_only && newest_or_torn(newest, &bounds) {
                // So that nothing of it can be taken for a later write.
                zero(source, bounds.end, until)?;
                syncer.mark(&source.handle);
            }
        }
        let info = load_frames(&mut state, source, first_batch, bounds.end, &mut report)?;
        if !read_only && !rewritten && !unreadable && number > mark {
            // A failed sync may have left pages that look clean and are not on disk; writing them again makes the
            // next sync write them.
            write_again(source, bounds.end)?;
            syncer.mark(&source.handle);
            syncer.mark_dir();
        }
        if bounds.torn && !newest {
            cut_from = Some(i + 1);
            tail = Some(info);
            break;
        }
        if newest && (source.footer.is_none() || bounds.torn) && !unreadable {
            tail = Some(info);
        }
    }

    if let Some(from) = cut_from {
        for source in &sources[from..] {
            report.torn_bytes += source.map.len() as u64;
            if !read_only {
                handles.files.remove(&source.path).doing("removing", &source.path)?;
                syncer.mark_dir();
            }
        }
    }
    if let Some(last) = sources[..cut_from.unwrap_or(count)].last()
        && !read_only
        && last.first_batch().is_none_or(|first| first > mark)
    {
        // Nothing says that its name and its header are on disk.
        syncer.mark(&last.handle);
        syncer.mark_dir();
    }
    next_id = next_id.max(1);
    finish(&mut state, &mut report)?;
    Ok(Recovered {
        state,
        report,
        number,
        durable: mark.min(number),
        next_id,
        tail: tail.filter(|_| !read_only),
    })
}

fn newest_or_torn(newest: bool, bounds: &Bounds) -> bool {
    newest || bounds.torn
}

type Listed = (Vec<Source>, u64);

/// A segment that is followed by the next one, and yet lacks the batches before it: its file was made shorter.
fn lost_end(state: &mut State, before: &Source, next: &Source, batches: (u64, u64), report: &mut Recovery) {
    let mut note = format!(
        "{}: its end is missing: writes {} to {}",
        before.path.display(),
        batches.0,
        batches.1
    );
    let (low, high) = (state.extent.last + 1, next.header.map_or(0, |header| header.last));
    if low <= high {
        note += &format!("; a record in {low} to {high} may be lost");
        state.suspects.push(Suspect {
            low,
            high,
            note: note.clone(),
        });
    }
    report.damage.push(note);
}

/// The log's segments in order, and the next free number. Removes what a rewrite has replaced, and spares.
fn list(handles: &Arc<Handles>, id: LogId, dir: &Path, options: &LogOptions, read_only: bool) -> Result<Listed> {
    let mut named = Vec::new();
    let mut remove = Vec::new();
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
    for (name_first, identity, path) in named {
        let replaced = sources.last().is_some_and(|s| {
            let until = s.identity.id + s.header.map_or(0, |h| u64::from(h.replaces));
            identity.id <= until
        });
        if replaced {
            remove.push(path);
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
        sources.push(Source {
            footer: Footer::decode(&map, identity),
            header: header.map(|(h, _)| h),
            both_copies: header.is_some_and(|(_, both)| both),
            overwritten: Rc::new([]),
            path,
            name_first,
            identity,
            handle,
            map,
        });
    }
    if !read_only {
        for path in remove {
            handles.files.remove(&path).doing("removing", &path)?;
        }
    }
    Ok((sources, next_id))
}

/// The highest batch that any later one says was durable. Goes from the newest segment to older ones until all that
/// are left have footers that it covers.
fn find_mark(sources: &mut [Source]) -> u64 {
    let mut mark = 0;
    let mut overwritten = Vec::new();
    for source in sources.iter().rev() {
        if source.footer.is_some_and(|f| f.last_batch <= mark) {
            break;
        }
        for item in source.walk() {
            let Item::Frame { frame, raw, .. } = item else {
                continue;
            };
            if let Some(begin) = Begin::of(&frame, raw) {
                mark = mark.max(begin.durable);
            }
            if frame.kind == Kind::Erase && frame.codec == 1 && frame.body_is_good(raw) {
                decode_runs(frame.stored(raw), &mut overwritten);
            }
        }
    }
    let overwritten: Rc<[EraseRun]> = overwritten.into();
    for source in sources {
        source.overwritten = overwritten.clone();
    }
    mark
}

fn find_bounds(source: &Source, first_batch: u64, mark: u64) -> Bounds {
    /// The batch that the walk is in.
    struct Open {
        number: u64,
        at: u64,
        end: u64,
        whole: bool,
    }
    let mut end = DATA_START;
    let mut last_batch = first_batch.saturating_sub(1);
    let mut open: Option<Open> = None;
    let mut reached = DATA_START;
    let torn = |end, last_batch| Bounds {
        end,
        last_batch,
        torn: true,
    };
    for item in source.walk() {
        // Does this item close the batch that is open?
        let at = match item {
            Item::Frame { at, .. } => at,
            Item::Gap { from, .. } | Item::Tail { from } => from,
        };
        let begins = matches!(&item, Item::Frame { frame, .. } if frame.kind == Kind::Begin);
        let ends = matches!(item, Item::Tail { .. });
        if let Some(batch) = &open
            && (begins || ends || at >= batch.end)
        {
            if batch.number > mark && (!batch.whole || reached != batch.end) {
                return torn(batch.at, last_batch);
            }
            last_batch = batch.number;
            end = if begins { batch.end.min(at) } else { batch.end };
            open = None;
        }
        match item {
            Item::Frame { at, frame, raw } => {
                if let Some(begin) = Begin::of(&frame, raw) {
                    if begin.number != last_batch + 1 && begin.number - 1 > mark {
                        return torn(end, last_batch);
                    }
                    let after = at + frame.len();
                    open = Some(Open {
                        number: begin.number,
                        at,
                        end: after + begin.len,
                        whole: true,
                    });
                } else if let Some(batch) = &mut open {
                    if batch.number > mark && !frame.body_is_good(raw) {
                        batch.whole = false;
                    }
                } else if last_batch < mark {
                    // Its `Begin` is damaged.
                    end = at + frame.len();
                } else {
                    return torn(end, last_batch);
                }
                reached = at + frame.len();
            }
            Item::Gap { to, .. } => {
                if let Some(batch) = &mut open {
                    batch.whole = false;
                } else if last_batch < mark {
                    end = to;
                }
                reached = to;
            }
            Item::Tail { from } => reached = from,
        }
    }
    if let Some(batch) = open {
        if batch.number > mark && (!batch.whole || reached != batch.end) {
            return torn(batch.at, last_batch);
        }
        last_batch = batch.number;
        end = batch.end;
    }
    Bounds {
        // A file that ends in the middle of its header still begins its frames behind it.
        end: end.min(source.map.len() as u64).max(DATA_START),
        last_batch,
        torn: false,
    }
}

/// Up to where a torn write reaches behind `end`; `None` if there is none.
fn torn_until(source: &Source, end: u64) -> Option<u64> {
    if source.preallocated() {
        // What follows may be left over from an earlier life of the file: only frames of this one count.
        let mut until = None;
        for item in Walk::from(&source.map, source.identity.seed(), end) {
            if let Item::Frame { at, frame, .. } = item {
                until = Some(at + frame.len());
            }
        }
        return until;
    }
    let rest = source.map.get(end as usize..)?;
    // A footer that was not believed is not a torn write, and is overwritten or found again.
    let rest = match source.footer {
        Some(footer) if footer.data_end == end => &[],
        _ => rest,
    };
    let last = rest.iter().rposition(|byte| *byte != 0)?;
    Some(end + last as u64 + 1)
}

fn zero(source: &Source, from: u64, to: u64) -> Result<()> {
    let zeros = vec![0; (1 << 20).min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let n = zeros.len().min((to - at) as usize);
        source
            .handle
            .write_at(&zeros[..n], at)
            .doing("cutting a torn write off", &source.path)?;
        at += n as u64;
    }
    Ok(())
}

/// Writes the frames up to `end` again, and the header, of which one copy may have been mended just now.
fn write_again(source: &Source, end: u64) -> Result<()> {
    let end = source.map.len().min(end as usize);
    if let Some(header) = &source.header {
        let written = source.handle.write_at(&header.encode(), 0);
        written.doing("writing again", &source.path)?;
    }
    let mut at = DATA_START as usize;
    while at < end {
        let until = end.min(at + (1 << 20));
        source
            .handle
            .write_at(&source.map[at..until], at as u64)
            .doing("writing again", &source.path)?;
        at = until;
    }
    Ok(())
}

fn segment_of(source: &Source, first_batch: u64, footer: Option<Footer>, rows: Rows) -> Segment {
    let flags = source.header.map_or(0, |h| h.flags);
    let begun_after = source.header.map_or(Seq::MAX, |h| h.last);
    let seg = Segment::new(source.handle.clone(), source.identity, flags, first_batch, footer, rows);
    let seg = seg.begun_after(begun_after);
    let file_len = (source.map.len() as u64).max(DATA_START);
    seg.file_len.store(file_len, Ordering::Release);
    seg
}

fn push(state: &mut State, seg: Segment, first: Seq, last: Option<Seq>) {
    state.segs.push(SegRef {
        first,
        last: last.unwrap_or(first.saturating_sub(1)),
        seg: Arc::new(seg),
    });
}

fn load_footer(state: &mut State, source: &Source, footer: Footer, report: &mut Recovery) {
    let first_batch = source.header.map_or(0, |h| h.first_batch);
    let seg = segment_of(source, first_batch, Some(footer), Segment::rows_of(&footer));
    seg.end.store(footer.data_end, Ordering::Release);
    let (first, last) = match footer.rows {
        0 => (source.name_first, None),
        _ => (footer.first, Some(footer.last)),
    };
    push(state, seg, first, last);
    let tombs = footer.tombs(&source.map).to_vec();
    apply_tombs(state, &tombs, report);
    state.floor = state.floor.max(footer.floor);
    state.extent.last = state.extent.last.max(footer.log_last);
}

fn load_frames(
    state: &mut State,
    source: &Source,
    first_batch: u64,
    end: u64,
    report: &mut Recovery,
) -> Result<TailInfo> {
    let mut info = TailInfo::default();
    let mut rows = Rows::default();
    let mut first = None;
    let mut last = state.extent.last;
    // Damage that the next record will bound: from where to where, and the last sequence before it.
    let mut open_gap: Option<(u64, u64, Seq)> = None;
    let mut floor = state.floor;
    let mut overwrites = Vec::new();
    let mut twin: Vec<u8> = Vec::new();
    let suspects = &mut state.suspects;
    let mut lost = |gap: (u64, u64, Seq), high: Seq, report: &mut Recovery| {
        let (from, to, before) = gap;
        let mut note = format!("{}: offset {from} to {to} is damaged", source.path.display());
        if before < high {
            note += &format!("; a record in {} to {high} may be lost", before + 1);
            suspects.push(Suspect {
                low: before + 1,
                high,
                note: note.clone(),
            });
        }
        report.damage.push(note);
    };
    for item in source.walk_to(end) {
        match item {
            Item::Frame { at, frame, raw } => {
                info.written = true;
                match frame.kind {
                    Kind::Record | Kind::Void => {
                        if frame.seq <= last {
                            report.damage.push(format!(
                                "{}: offset {at}: record {} is out of order and not served",
                                source.path.display(),
                                frame.seq
                            ));
                            info.damaged = true;
                            continue;
                        }
                        if let Some(gap) = open_gap.take() {
                            lost(gap, frame.seq - 1, report);
                        }
                        let new = rows.count == 0;
                        info.min_time = if new { frame.time } else { info.min_time.min(frame.time) };
                        info.max_time = if new { frame.time } else { info.max_time.max(frame.time) };
                        info.bytes += frame.size();
                        rows.push(frame.seq, at, frame.size());
                        first = first.or(Some(frame.seq));
                        last = frame.seq;
                    }
                    Kind::Erase => {
                        if !frame.body_is_good(raw) {
                            report.damage.push(format!(
                                "{}: offset {at}: one copy of an erasure is damaged",
                                source.path.display()
                            ));
                            info.damaged = true;
                        } else if twin != frame.stored(raw) {
                            twin = frame.stored(raw).to_vec();
                            info.tombs.extend_from_slice(&twin);
                            if frame.codec == 1 {
                                overwrites.push(twin.clone());
                            }
                        }
                    }
                    Kind::Trim => floor = floor.max(frame.seq),
                    Kind::Begin => {
                        twin.clear();
                        if let Some(begin) = Begin::of(&frame, raw) {
                            // The batch says how far the log reached after it; a gap before it ends below.
                            if let Some(gap) = open_gap
                                && begin.len == 0
                            {
                                open_gap = None;
                                lost(gap, begin.last, report);
                                last = last.max(begin.last);
                            }
                        }
                    }
                }
            }
            Item::Gap { from, to } => {
                info.damaged = true;
                open_gap = Some(match open_gap {
                    Some((start, _, before)) => (start, to, before),
                    None => (from, to, last),
                });
            }
            Item::Tail { from } => {
                info.damaged = true;
                let start = open_gap.map_or((from, last), |(start, _, before)| (start, before));
                open_gap = Some((start.0, end, start.1));
            }
        }
    }
    // The highest sequence that a batch here claims, for gaps and lost records at the end.
    let mut claimed = last;
    for item in source.walk_to(end) {
        if let Item::Frame { frame, raw, .. } = item
            && let Some(begin) = Begin::of(&frame, raw)
        {
            claimed = claimed.max(begin.last);
        }
    }
    if let Some(gap) = open_gap {
        lost(gap, claimed, report);
    }
    let seg = segment_of(source, first_batch, None, rows);
    seg.end.store(end, Ordering::Release);
    let from = first.unwrap_or(source.name_first);
    push(state, seg, from, first.map(|_| last));
    state.extent.last = state.extent.last.max(claimed).max(last);
    if floor > 0 {
        state.extent.last = state.extent.last.max(floor - 1);
    }
    state.floor = state.floor.max(floor);
    let tombs = info.tombs.clone();
    apply_tombs(state, &tombs, report);
    if !source.handle.read_only() {
        for runs in overwrites {
            overwrite_again(state, &runs)?;
        }
    }
    Ok(info)
}

/// Removes what the newest segment's erasures removed.
fn apply_tombs(state: &mut State, tombs: &[u8], report: &mut Recovery) {
    let mut runs = Vec::new();
    if decode_runs(tombs, &mut runs).is_none() {
        report.damage.push("an erasure makes no sense".to_string());
    }
    let low = runs.iter().map(|run| run.first).min().unwrap_or(u64::MAX);
    if let Some(newest) = state.segs.last() {
        newest.seg.tomb_low.store(low, Ordering::Relaxed);
    }
    for run in runs {
        if let Err(error) = apply_run(state, run) {
            report.damage.push(format!("applying an erasure: {error}"));
        }
    }
}

fn apply_run(state: &State, run: EraseRun) -> io::Result<()> {
    // A run that is not found was rewritten away.
    let Some(i) = state
        .segs
        .iter()
        .rposition(|s| s.first <= run.first && run.first <= s.last)
    else {
        return Ok(());
    };
    let seg = &state.segs[i].seg;
    let (slot, end) = seg.with_table(|t| (t.slot(run.first), t.ceiling(run.first + run.count)))?;
    let whole = slot.filter(|slot| u64::from(end - slot) == run.count);
    let Some(slot) = whole else {
        let start = seg.with_table(|t| t.ceiling(run.first))?;
        for (slot, bytes) in seg.sizes(start..end)? {
            seg.rows.write().kill(slot, bytes);
        }
        return Ok(());
    };
    let mut rows = seg.rows.write();
    let mut left = run.bytes;
    for slot in slot..end {
        // The bytes of the whole run go with its first record.
        if rows.kill(slot, left) {
            left = 0;
        }
    }
    Ok(())
}

/// An erasure asked for overwriting, and the crash may have come between the two.
fn overwrite_again(state: &State, tombs: &[u8]) -> Result<()> {
    let mut runs = Vec::new();
    if decode_runs(tombs, &mut runs).is_none() {
        return Ok(());
    }
    for run in runs {
        for seq in run.first..run.first + run.count {
            let Some(s) = state.segs.iter().rev().find(|s| s.first <= seq && seq <= s.last) else {
                continue;
            };
            let path = &s.seg.handle.path;
            let at = s
                .seg
                .with_table(|t| t.slot(seq).map(|slot| t.offset(slot)))
                .doing("reading", path)?;
            let Some(at) = at else { continue };
            let (map, frame) = s.seg.frame(at).doing("reading", path)?;
            let torn = || Frame::torn_void(map.get(at as usize..)?, std::slice::from_ref(&run));
            let half = frame.filter(|f| f.kind == Kind::Record).or_else(|| match frame {
                Some(_) => None,
                None => torn(),
            });
            if let Some(frame) = half {
                let raw = void_frame(&frame, s.seg.seed, at);
                s.seg.handle.write_at(&raw, at).doing("overwriting", path)?;
            }
        }
    }
    Ok(())
}

/// Earlier segments' records above the last sequence that a newer one begins with were truncated.
fn truncate_to(state: &mut State, last: Seq) -> Result<()> {
    if state.extent.last <= last {
        return Ok(());
    }
    for s in &mut state.segs {
        if s.first > last {
            s.first = last + 1;
        }
        if s.last > last {
            let path = &s.seg.handle.path;
            s.seg.kill_outside(0..last + 1).doing("reading", path)?;
            s.last = last.max(s.first.saturating_sub(1)).min(last);
        }
    }
    state.suspects.retain_mut(|s| {
        s.high = s.high.min(last);
        s.low <= s.high
    });
    Ok(())
}

fn finish(state: &mut State, report: &mut Recovery) -> Result<()> {
    let floor = state.floor;
    for s in &state.segs {
        if s.first < floor && s.first <= s.last {
            let path = &s.seg.handle.path;
            s.seg.kill_outside(floor..Seq::MAX).doing("reading", path)?;
        }
    }
    state.suspects.retain(|s| s.high >= floor);
    let mut extent = Extent {
        last: state.extent.last,
        ..Extent::default()
    };
    for s in &state.segs {
        let rows = s.seg.rows.read();
        extent.count += u64::from(rows.live);
        extent.bytes += rows.bytes;
        extent.disk_bytes += s.seg.file_len.load(Ordering::Relaxed);
    }
    state.extent = extent;
    state.extent.first = match state.find_first() {
        Ok(first) => first,
        Err(error) => return Err(Error::io("reading a table", error)),
    };
    for line in &report.damage {
        tracing::error!("{line}");
    }
    Ok(())
}
