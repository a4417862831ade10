//! Opening a log: which files belong to it, where its batches end, what is damaged.
//!
//! Two rules decide between a torn write and damage. Each batch says up to which batch the log was known to be
//! durable when it was written; the highest such number is the *mark*. What is broken at or below the mark was whole
//! on disk once: it is damage, and is kept and told. The owner of the log may know of a later one: where the end of a
//! file is cut off, the batches that say it are gone with it. The first thing broken above the mark is a write that never
//! finished, and everything from there on is cut, because the log must be a prefix of what was written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Error, Extent, LogId, LogOptions, Recovery, Result, Seq, words};

use super::format::{ALIGN, Begin, align};
use super::handle::Handles;
use super::state::{Doing, State};
use super::sync::Syncer;
use super::walk::Item;

mod census;
mod damage;
mod ends;
mod erasures;
mod leave;
mod list;
mod load;

use census::Census;
use ends::{Bounds, find_bounds, find_mark, last_batch, torn_until, write_again, zero};
use erasures::truncate_to;
use leave::{leave_out, leave_put_back};
use list::{Source, list};
use load::{load_footer, load_frames, lost_end};

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
    /// The last batch that says how it begins.
    pub newest: Option<Begin>,
}

/// Opens a log's directory, which exists.
pub fn recover(
    handles: &Arc<Handles>,
    syncer: &Syncer,
    id: LogId,
    dir: &Path,
    options: &LogOptions,
) -> Result<Recovered> {
    let (mut sources, next_id, mut odd) = list(handles, id, dir, options, handles.read_only)?;
    let listed = sources.len();
    drop_unfinished(handles, syncer, options, &mut sources, &mut odd)?;
    let mut leaves_out = sources.len() < listed;
    // What was synced once is told by the batches that were written later, and by the owner of the log, for those may
    // have gone with the end of a file.
    let mark = find_mark(&mut sources).max(options.synced);

    let mut opening = Opening {
        syncer,
        read_only: handles.read_only,
        mark,
        state: State::default(),
        report: Recovery {
            damage: odd,
            ..Recovery::default()
        },
        census: Census::default(),
        number: 0,
        tail: None,
    };
    let mut kept = sources.len();
    for (i, source) in sources.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| &sources[i]);
        if opening.ends_before(source) {
            kept = i;
            break;
        }
        opening.begin(before, source)?;
        if opening.take(source, i + 1 == sources.len())? {
            kept = i + 1;
            break;
        }
    }
    let Opening {
        mut state,
        mut report,
        census,
        mut number,
        tail,
        ..
    } = opening;

    for source in &sources[kept..] {
        match leave_out(handles, source)? {
            Some(aside) => report.damage.push(aside),
            None => report.torn_bytes += source.map.len() as u64,
        }
        if !handles.read_only {
            syncer.mark_dir();
        }
        leaves_out = true;
    }
    if leaves_out && !handles.read_only {
        // Before anything is written that is not what they have: a power failure that brought them back would have the log go on with them.
        handles.files.sync_dir(dir).syncing(dir)?;
    }
    if let Some(last) = sources[..kept].last()
        && !handles.read_only
        && last.first_batch().is_none_or(|first| first > mark)
    {
        // Nothing says that its name and its header are on disk.
        syncer.mark(&last.handle);
        syncer.mark_dir();
    }
    let last_there = number;
    if number < mark {
        let writes = words::numbered("write", &[(number + 1, mark)]);
        // As it is told once the next file follows.
        let last = sources[..kept].last().map_or(dir, |last| &last.path).display();
        report.damage.push(format!("{last}: its end is missing: {writes}"));
        report.revived = Some(format!("its end is missing: {writes}"));
        // Numbers are not used twice.
        number = mark;
    }
    let put_back = leave_put_back(handles, &mut state, &options.gone)?;
    if !put_back.is_empty() && !handles.read_only {
        syncer.mark_dir();
    }
    report.damage.extend(put_back);
    finish(&mut state)?;
    census.compare(last_there, &options.gone, &mut state, &mut report);
    for s in &state.segs {
        // Opened again when something is read: what was looked at here is no more than where things are.
        match s.seg.footer {
            Some(_) => s.seg.handle.close_if_synced(),
            None => s.seg.handle.close_if_only_read(),
        }
        s.seg.handle.unmap();
    }
    for line in &report.damage {
        tracing::error!("{line}");
    }
    Ok(Recovered {
        state,
        report,
        number,
        durable: mark.min(number),
        next_id: next_id.max(1),
        tail: tail.filter(|_| !handles.read_only),
    })
}

/// Removes the files whose making was interrupted: the last ones, with no header and no frame.
fn drop_unfinished(
    handles: &Handles,
    syncer: &Syncer,
    options: &LogOptions,
    sources: &mut Vec<Source>,
    odd: &mut Vec<String>,
) -> Result<()> {
    while let Some(last) = sources.last()
        && last.header.is_none()
        && !last.walk().any(|item| matches!(item, Item::Frame { .. }))
        && !last.handle.faulted()
        && last_batch(&sources[..sources.len() - 1]) >= options.synced
    {
        odd.extend(leave_out(handles, last)?);
        if !handles.read_only {
            syncer.mark_dir();
        }
        sources.pop();
    }
    Ok(())
}

/// A log as far as it was gone through, from its oldest segment on.
struct Opening<'a> {
    syncer: &'a Syncer,
    read_only: bool,
    /// The batch up to which the log is known to have been durable.
    mark: u64,
    state: State,
    report: Recovery,
    census: Census<'a>,
    /// The last batch so far.
    number: u64,
    /// What the writer goes on with.
    tail: Option<TailInfo>,
}

impl<'a> Opening<'a> {
    /// Whether the log ends before this segment, because it was not durable yet and something before it is not there.
    fn ends_before(&self, source: &Source) -> bool {
        let first_batch = source.first_batch().unwrap_or(self.number + 1);
        if source.header.is_none() && first_batch > self.mark && !source.handle.faulted() {
            // Nothing in it was ever durable, and its header never was either.
            return true;
        }
        // Also of the first one there is: a segment is unlinked only when what emptied it is at or below the mark, so what
        // stood before this one, and was never durable, is lost with its name.
        source.identity.generation == 0 && first_batch > self.number + 1 && first_batch - 1 > self.mark
    }

    /// Takes up what the segment's header says of those before it.
    fn begin(&mut self, before: Option<&Source>, source: &Source) -> Result<()> {
        let first_batch = source.first_batch().unwrap_or(self.number + 1);
        if let Some(before) = before
            && before.identity.generation == 0
            && before.identity.id + 1 == source.identity.id
            && first_batch > self.number + 1
        {
            let batches = (self.number + 1, first_batch - 1);
            lost_end(&mut self.state, before, source, batches, &mut self.report);
        }
        self.census.next(before, source, &mut self.state);
        if source.identity.generation == 0 && first_batch <= self.number {
            // Made for a batch that then found room in the one before, and is there: what its header says of those is old.
            return Ok(());
        }
        self.number = self.number.max(first_batch.saturating_sub(1));
        let Some(header) = &source.header else {
            self.report.damage.push(format!(
                "{}: both copies of the header are damaged; its frames are used all the same",
                source.path.display()
            ));
            return Ok(());
        };
        if !source.both_copies && first_batch <= self.mark {
            self.report.damage.push(format!(
                "{}: one of the two copies of the header is damaged; the other is used",
                source.path.display()
            ));
        } else if !source.both_copies && !self.read_only {
            // Its writing was interrupted.
            let raw = header.encode();
            let written = source.handle.write_at(&raw, 0);
            written.doing("writing", &source.path)?;
            self.syncer.mark(&source.handle);
        }
        truncate_to(&mut self.state, header.last)?;
        self.state.extent.last = header.last;
        self.state.floor = header.floor;
        Ok(())
    }

    /// Takes up what the segment holds; answers whether the log ends in it although there are later ones.
    fn take(&mut self, source: &'a Source, newest: bool) -> Result<bool> {
        let rewritten = source.identity.generation > 0;
        // Of one that has no batch, the mark says nothing: it was begun behind the last that is durable, and may not be on disk.
        let is_known = |last| last <= self.mark && source.first_batch().is_none_or(|first| first <= self.mark);
        let trusted = source.footer.filter(|f| rewritten || is_known(f.last_batch));
        if let Some(footer) = trusted {
            self.number = self.number.max(footer.last_batch);
            load_footer(&mut self.state, source, footer, &mut self.report);
            self.census.sealed(source);
            return Ok(false);
        }

        let first_batch = source.first_batch().unwrap_or(self.number + 1);
        // A segment may have been made for a batch that then found room in the one before.
        let next_batch = if rewritten { first_batch } else { self.number + 1 };
        let mut bounds = self.bounds(source, next_batch);
        // What cannot be read is not written to, where a later try may read more of it.
        let unreadable = source.handle.faulted();
        let writable = !self.read_only && !unreadable;
        self.number = self.number.max(bounds.last_batch);
        self.cut(source, &mut bounds, newest, unreadable)?;
        let (state, report) = (&mut self.state, &mut self.report);
        let info = load_frames(state, source, (first_batch, next_batch), bounds.end, report)?;
        self.census.saw(info.newest.filter(|_| !rewritten));
        if writable && !rewritten && self.number.max(first_batch) > self.mark {
            // A failed sync may have left pages that look clean and are not on disk, be it that of the header alone; writing them
            // again makes the next sync write them.
            write_again(source, bounds.end)?;
            self.syncer.mark(&source.handle);
            self.syncer.mark_dir();
        }
        // The head of a frame that has lost its end says all the same how long it was, and what is written there would be
        // taken for its body: the log goes on in a new segment.
        let cut_off = !bounds.torn && !source.preallocated() && (bounds.cut_off || bounds.last_batch < self.mark);
        let goes_on = source.footer.is_none() || bounds.torn;
        let ends = bounds.torn && !newest;
        if ends || (newest && goes_on && !unreadable && !cut_off) {
            self.tail = Some(info);
        }
        Ok(ends)
    }

    /// Where the segment's frames end.
    fn bounds(&mut self, source: &Source, next_batch: u64) -> Bounds {
        // Batches of a rewritten segment are not numbered one by one, and were durable before it got its name.
        let mark = match source.identity.generation {
            0 => self.mark,
            _ => u64::MAX,
        };
        let bounds = find_bounds(source, next_batch, mark);
        if !source.handle.faulted() {
            return bounds;
        }
        self.report.damage.push(format!(
            "{}: a part of it cannot be read: the disk failed, or it was made shorter just now",
            source.path.display()
        ));
        // A write that was cut short leaves nothing that cannot be read: none of this is cut off.
        find_bounds(source, next_batch, u64::MAX)
    }

    /// Cuts off what is left of a write that was never finished, and moves the end to where the next frame may begin.
    fn cut(&mut self, source: &Source, bounds: &mut Bounds, newest: bool, unreadable: bool) -> Result<()> {
        let writable = !self.read_only && !unreadable;
        let mut beyond = torn_until(source, bounds.end);
        if let Some(until) =
            beyond.filter(|_| newest && bounds.last_batch < self.mark && !bounds.torn && !source.preallocated())
        {
            // What is left of a batch that was whole on disk once: it is kept, too.
            bounds.end = until;
            beyond = None;
        }
        if newest && writable && !bounds.end.is_multiple_of(ALIGN) {
            // The file was cut off within a frame: the next one begins where frames may begin.
            let end = align(bounds.end);
            zero(source, bounds.end, end)?;
            self.syncer.mark(&source.handle);
            bounds.end = end;
        }
        // Behind the end of an older segment is its footer. One that tells of batches which are not there would be believed
        // as soon as others have their numbers.
        let stale = source.footer.is_some_and(|footer| footer.data_end != bounds.end);
        if stale {
            beyond = Some(source.map.len() as u64).filter(|until| *until > bounds.end);
        }
        let rest = source.map.len() as u64;
        let is_cut = beyond.is_none() && source.footer.is_none() && !source.preallocated() && rest > bounds.end;
        if is_cut && writable && bounds.last_batch >= self.mark {
            // An opening before this one cut it off, and may have ended before that was on disk: what the power brings back must not be
            // found in front of what is written from now on.
            zero(source, bounds.end, rest)?;
            self.syncer.mark(&source.handle);
        }
        if let Some(until) = beyond
            && !unreadable
            && (newest || bounds.torn || stale || bounds.last_batch >= self.mark)
        {
            self.report.torn_bytes += until - bounds.end;
            if writable {
                // So that nothing of it can be taken for a later write; on disk before there is one, for that has the same number,
                // and a power failure may leave either of the two.
                zero(source, bounds.end, until)?;
                source.handle.sync(false).syncing(&source.path)?;
            }
        }
        Ok(())
    }
}

fn finish(state: &mut State) -> Result<()> {
    let floor = state.floor;
    for s in &state.segs {
        if s.first < floor && s.first <= s.last {
            let path = &s.seg.handle.path;
            s.seg.kill_outside(floor..Seq::MAX).doing("reading", path)?;
        }
    }
    state.suspects.retain_mut(|s| {
        s.low = s.low.max(floor);
        s.low <= s.high
    });
    state.voids = state.voids.split_off(&floor);
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
    Ok(())
}
