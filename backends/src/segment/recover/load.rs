//! What a segment holds: its records, and what is damaged in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Recovery, Result, Seq, words};

use super::super::format::{Begin, DATA_START, Kind};
use super::super::rows::{Rows, Segment};
use super::super::seal::Footer;
use super::super::state::{SegRef, State, Suspect};
use super::super::walk::Item;
use super::TailInfo;
use super::erasures::{apply_tombs, overwrite_again};
use super::list::Source;

/// A segment that is followed by the next one, and yet lacks the batches before it: its file was made shorter.
pub(super) fn lost_end(state: &mut State, before: &Source, next: &Source, batches: (u64, u64), report: &mut Recovery) {
    let mut note = format!(
        "{}: its end is missing: {}",
        before.path.display(),
        words::numbered("write", &[batches])
    );
    let (low, high) = (state.extent.last + 1, next.header.map_or(0, |header| header.last));
    if low <= high {
        note += &format!("; {} may be lost", words::numbered("record", &[(low, high)]));
        state.suspects.push(Suspect {
            low,
            high,
            note: note.clone(),
        });
    }
    report.damage.push(note);
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

pub(super) fn load_footer(state: &mut State, source: &Source, footer: Footer, report: &mut Recovery) {
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

pub(super) fn load_frames(
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
            let lost = words::numbered("record", &[(before + 1, high)]);
            note += &format!("; {lost} may be lost");
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
