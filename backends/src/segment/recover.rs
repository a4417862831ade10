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
mod ends;
mod erasures;
mod list;
mod load;

use census::Census;
use ends::{find_bounds, find_mark, last_batch, torn_until, write_again, zero};
use erasures::truncate_to;
use list::list;
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
    let read_only = handles.read_only;
    let mut report = Recovery::default();
    let (mut sources, mut next_id) = list(handles, id, dir, options, read_only)?;

    // A file whose making was interrupted: the last one, with no header and no frame.
    while let Some(last) = sources.last()
        && last.header.is_none()
        && !last.walk().any(|item| matches!(item, Item::Frame { .. }))
        && !last.handle.faulted()
        && last_batch(&sources[..sources.len() - 1]) >= options.synced
    {
        if !read_only {
            handles.files.remove(&last.path).doing("removing", &last.path)?;
            syncer.mark_dir();
        }
        sources.pop();
    }

    // What was synced once is told by the batches that were written later, and by the owner of the log, for those may
    // have gone with the end of a file.
    let mark = find_mark(&mut sources).max(options.synced);

    let mut state = State::default();
    let mut tail = None;
    let mut number = 0;
    let mut cut_from = None;
    let count = sources.len();
    let mut census = Census::default();
    for (i, source) in sources.iter().enumerate() {
        let newest = i + 1 == count;
        let rewritten = source.identity.generation > 0;
        let first_batch = source.first_batch().unwrap_or(number + 1);
        if source.header.is_none() && first_batch > mark && !source.handle.faulted() {
            // Nothing in it was ever durable, and its header never was either.
            cut_from = Some(i);
            break;
        }
        // Also of the first one there is: a segment is unlinked only when what emptied it is at or below the mark, so what
        // stood before this one, and was never durable, is lost with its name.
        if !rewritten && first_batch > number + 1 && first_batch - 1 > mark {
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
        census.next(i.checked_sub(1).map(|i| &sources[i]), source, &mut state);
        number = number.max(first_batch.saturating_sub(1));
        // A segment may have been made for a batch that then found room in the one before.
        let next_batch = if rewritten { first_batch } else { number + 1 };
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
            census.sealed(source);
            continue;
        }

        // Batches of a rewritten segment are not numbered one by one, and were durable before it got its name.
        let mark_here = if rewritten { u64::MAX } else { mark };
        let mut bounds = find_bounds(source, next_batch, mark_here);
        let unreadable = source.handle.faulted();
        if unreadable {
            // A write that was cut short leaves nothing that cannot be read: none of this is cut off, and nothing is
            // written to the file, where a later try may read more of it.
            bounds = find_bounds(source, next_batch, u64::MAX);
            report.damage.push(format!(
                "{}: a part of it cannot be read: the disk failed, or it was made shorter just now",
                source.path.display()
            ));
        }
        number = number.max(bounds.last_batch);
        let mut beyond = torn_until(source, bounds.end);
        if let Some(until) =
            beyond.filter(|_| newest && bounds.last_batch < mark && !bounds.torn && !source.preallocated())
        {
            // What is left of a batch that was whole on disk once: it is kept, too.
            bounds.end = until;
            beyond = None;
        }
        if newest && !read_only && !unreadable && !bounds.end.is_multiple_of(ALIGN) {
            // The file was cut off within a frame: the next one begins where frames may begin.
            let end = align(bounds.end);
            zero(source, bounds.end, end)?;
            syncer.mark(&source.handle);
            bounds.end = end;
        }
        // Behind the end of an older segment is its footer. One that tells of batches which are not there would be believed
        // as soon as others have their numbers.
        let stale = source.footer.is_some_and(|footer| footer.data_end != bounds.end);
        if stale {
            beyond = Some(source.map.len() as u64).filter(|until| *until > bounds.end);
        }
        if let Some(until) = beyond
            && !unreadable
            && (newest || bounds.torn || stale)
        {
            report.torn_bytes += until - bounds.end;
            if !read_only {
                // So that nothing of it can be taken for a later write; on disk before there is one, for that has the same number,
                // and a power failure may leave either of the two.
                zero(source, bounds.end, until)?;
                source.handle.sync().syncing(&source.path)?;
            }
        }
        let info = load_frames(&mut state, source, (first_batch, next_batch), bounds.end, &mut report)?;
        census.saw(info.newest.filter(|_| !rewritten));
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
        // The head of a frame that has lost its end says all the same how long it was, and what is written there would be
        // taken for its body: the log goes on in a new segment.
        let cut_off = !bounds.torn && !source.preallocated() && (bounds.cut_off || bounds.last_batch < mark);
        if newest && (source.footer.is_none() || bounds.torn) && !unreadable && !cut_off {
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
    let last_there = number;
    if number < mark && cut_from.is_none() {
        let writes = words::numbered("write", &[(number + 1, mark)]);
        let dir = dir.display();
        report
            .damage
            .push(format!("{dir}: the end of the log is missing: {writes}"));
        report.revived = Some(format!("its end is missing: {writes}"));
        // Numbers are not used twice.
        number = mark;
    }
    next_id = next_id.max(1);
    finish(&mut state)?;
    census.compare(last_there, &mut state, &mut report);
    for line in &report.damage {
        tracing::error!("{line}");
    }
    Ok(Recovered {
        state,
        report,
        number,
        durable: mark.min(number),
        next_id,
        tail: tail.filter(|_| !read_only),
    })
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
