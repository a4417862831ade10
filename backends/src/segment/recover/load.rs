//! What a segment holds: its records, and what is damaged in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Recovery, Result, Seq, words};

use super::super::format::{BEGIN_LEN, Begin, DATA_START, Frame, Kind, decode_runs};
use super::super::rows::{Rows, Segment};
use super::super::seal::Footer;
use super::super::state::{SegRef, State, Suspect};
use super::super::walk::Item;
use super::TailInfo;
use super::damage::Damage;
use super::erasures::apply_tombs;
use super::list::Source;

/// Why records are lost whose bytes are gone.
pub(super) const GONE: &str = "the end of a file of the log is missing";

/// A segment that is followed by the next one, and yet lacks the batches before it: its file was made shorter, or the
/// next one has lost its beginning.
pub(super) fn lost_end(state: &mut State, before: &Source, next: &Source, batches: (u64, u64), report: &mut Recovery) {
    let mut note = format!(
        "{}: its end is missing: {}",
        before.path.display(),
        words::numbered("write", &[batches])
    );
    let (low, high) = (state.extent.last + 1, next.begun_after());
    if low <= high {
        note += &format!("; {} may be lost", words::numbered("record", &[(low, high)]));
        state.suspects.push(Suspect {
            low,
            high,
            bytes: 0,
            why: GONE,
            head: None,
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
    let first = match last {
        Some(_) => first,
        // The record that it is named for may be gone, and a lower one be next, or be in the one before after all: segments lie in
        // the order of what they have.
        None => state.extent.last.saturating_add(1),
    };
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

/// What a segment's frames come to, one after the other.
struct Frames<'a> {
    info: TailInfo,
    rows: Rows,
    damage: Damage<'a>,
    /// The first record, and the last one, or that of the log before it.
    first: Option<Seq>,
    last: Seq,
    /// The highest sequence that a batch here claims, for gaps and lost records at the end.
    claimed: Seq,
    floor: Seq,
    /// Whether batches have numbers of their own. In a rewritten segment all have the same.
    numbered: bool,
    /// The number of the next batch, and how many more may be hidden in damage before it.
    expected: u64,
    hidden: u64,
    /// Where the batch that the walk is in should end.
    batch_end: u64,
    /// The erasure before this frame, which may be the same once more.
    twin: Vec<u8>,
    /// Erasures whose records are to be overwritten.
    overwrites: Vec<Vec<u8>>,
    /// Records that are overwritten.
    voids: Vec<(Seq, u64)>,
}

impl Frames<'_> {
    fn take(&mut self, item: Item<'_>, end: u64) {
        match item {
            Item::Frame { at, frame, raw } => {
                self.info.written = true;
                match frame.kind {
                    Kind::Record | Kind::Void => self.record(at, &frame),
                    Kind::Erase => self.erasure(at, &frame, raw),
                    Kind::Trim => self.floor = self.floor.max(frame.seq),
                    Kind::Begin => self.begin(at, &frame, raw),
                }
            }
            Item::Gap { from, to } => self.gap(from, to),
            Item::Tail { from } => self.damage.bytes(from, end, self.last),
        }
    }

    fn record(&mut self, at: u64, frame: &Frame) {
        if frame.seq <= self.last {
            let text = format!("offset {at}: record {} is out of order and not served", frame.seq);
            self.damage.line(&text);
            return;
        }
        self.damage.ends_at(frame.seq - 1);
        let info = &mut self.info;
        let new = self.rows.count == 0;
        info.min_time = if new { frame.time } else { info.min_time.min(frame.time) };
        info.max_time = if new { frame.time } else { info.max_time.max(frame.time) };
        info.bytes += frame.size();
        self.rows.push(frame.seq, at, frame.size());
        if frame.kind == Kind::Void {
            // Nothing is overwritten that was not removed, whatever became of the erasure.
            self.rows.kill(self.rows.count - 1, frame.size());
            self.voids.push((frame.seq, frame.size()));
        }
        self.first = self.first.or(Some(frame.seq));
        self.last = frame.seq;
    }

    fn erasure(&mut self, at: u64, frame: &Frame, raw: &[u8]) {
        if !frame.body_is_good(raw) {
            let text = format!("offset {at}: one copy of an erasure is damaged");
            self.damage.line(&text);
        } else if self.twin != frame.stored(raw) {
            self.twin = frame.stored(raw).to_vec();
            self.info.tombs.extend_from_slice(&self.twin);
            if frame.codec == 1 {
                self.overwrites.push(self.twin.clone());
            }
        }
    }

    fn begin(&mut self, at: u64, frame: &Frame, raw: &[u8]) {
        self.twin.clear();
        let Some(begin) = Begin::of(frame, raw) else { return };
        self.info.newest = Some(begin);
        if at < self.batch_end {
            let missing = self.batch_end - at;
            self.damage
                .missing(at, missing, self.last, "the end of a write is missing");
        }
        if self.numbered && begin.number > self.expected + self.hidden {
            let writes = words::numbered("write", &[(self.expected, begin.number - 1)]);
            self.damage.missing(at, 0, self.last, &format!("missing: {writes}"));
        }
        (self.expected, self.hidden) = (begin.number + 1, 0);
        self.batch_end = at + frame.len() + begin.len;
        self.claimed = self.claimed.max(begin.last);
        // The batch says how far the log reached after it; a gap before it ends below.
        if self.damage.is_open() && begin.len == 0 {
            self.damage.ends_at(begin.last);
            self.last = self.last.max(begin.last);
        }
    }

    fn gap(&mut self, from: u64, to: u64) {
        match self.damage.one_frame(from, to, self.last) {
            Some(frame) if matches!(frame.kind, Kind::Record | Kind::Void) => {
                self.first = self.first.or(Some(frame.seq));
                self.last = frame.seq;
            }
            Some(frame) => self.hidden += u64::from(frame.kind == Kind::Begin),
            None => {
                self.hidden += (to - from) / BEGIN_LEN as u64;
                self.damage.bytes(from, to, self.last);
            }
        }
    }

    /// What is behind the last frame.
    fn end(&mut self, end: u64) {
        if end < self.batch_end {
            let missing = self.batch_end - end;
            self.damage
                .missing(end, missing, self.last, "the end of a write is missing");
        }
        self.claimed = self.claimed.max(self.last);
        self.damage.ends_at(self.claimed);
        self.info.damaged = self.damage.any();
    }
}

/// Takes up what a segment holds up to `end`. Its header says that it begins with the batch `first_batch`; the batches
/// before `next_batch` are in segments before it.
pub(super) fn load_frames(
    state: &mut State,
    source: &Source,
    (first_batch, next_batch): (u64, u64),
    end: u64,
    report: &mut Recovery,
) -> Result<TailInfo> {
    let mut frames = Frames {
        info: TailInfo::default(),
        rows: Rows::default(),
        damage: Damage::new(source, &mut state.suspects, &mut report.damage),
        first: None,
        last: state.extent.last,
        claimed: state.extent.last,
        floor: state.floor,
        numbered: source.identity.generation == 0,
        expected: next_batch,
        hidden: 0,
        batch_end: DATA_START,
        twin: Vec::new(),
        overwrites: Vec::new(),
        voids: Vec::new(),
    };
    for item in source.walk_to(end) {
        frames.take(item, end);
    }
    frames.end(end);
    let Frames {
        info,
        rows,
        first,
        last,
        claimed,
        floor,
        overwrites,
        voids,
        ..
    } = frames;
    state.voids.extend(voids);
    let seg = segment_of(source, first_batch, None, rows);
    seg.end.store(end, Ordering::Release);
    let from = first.unwrap_or(source.name_first);
    push(state, seg, from, first.map(|_| last));
    state.extent.last = state.extent.last.max(claimed);
    if floor > 0 {
        state.extent.last = state.extent.last.max(floor - 1);
    }
    state.floor = state.floor.max(floor);
    apply_tombs(state, &info.tombs, report);
    for runs in overwrites {
        // One that makes no sense was told of above.
        let _ = decode_runs(&runs, &mut state.overwrites);
    }
    Ok(info)
}
