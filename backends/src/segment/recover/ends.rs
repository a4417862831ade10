//! Where a log's batches end, and what becomes of a write that was never finished.

use std::rc::Rc;

use weir_engine::Result;

use super::super::format::{Begin, DATA_START, EraseRun, Kind, decode_runs};
use super::super::state::Doing;
use super::super::walk::{Item, Walk};
use super::list::Source;

/// Where a segment's frames end, by the rules above.
pub(super) struct Bounds {
    pub(super) end: u64,
    pub(super) last_batch: u64,
    pub(super) torn: bool,
    /// Whether the file ends within the last batch, of which what is there is kept.
    pub(super) cut_off: bool,
}

/// The highest batch that any later one says was durable. Goes from the newest segment to older ones until all that
/// are left have footers that it covers.
pub(super) fn find_mark(sources: &mut [Source]) -> u64 {
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

/// The highest number of a batch in these segments.
pub(super) fn last_batch(sources: &[Source]) -> u64 {
    let of = |source: &Source| match source.footer {
        Some(footer) => footer.last_batch,
        None => source.walk().fold(0, |last, item| match item {
            Item::Frame { frame, raw, .. } => Begin::of(&frame, raw).map_or(last, |begin| last.max(begin.number)),
            _ => last,
        }),
    };
    // A rewritten segment has the number of the last batch that it replaces, and the newest is not rewritten.
    sources.last().map_or(0, of)
}

pub(super) fn find_bounds(source: &Source, first_batch: u64, mark: u64) -> Bounds {
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
        cut_off: false,
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
        cut_off: end > source.map.len() as u64,
    }
}

/// Up to where a torn write reaches behind `end`; `None` if there is none.
pub(super) fn torn_until(source: &Source, end: u64) -> Option<u64> {
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

pub(super) fn zero(source: &Source, from: u64, to: u64) -> Result<()> {
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
pub(super) fn write_again(source: &Source, end: u64) -> Result<()> {
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
