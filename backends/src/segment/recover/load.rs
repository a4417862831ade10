//! What a segment holds: its records, and what is damaged in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use weir_engine::{Recovery, Result, Seq, words};

use super::super::format::{BEGIN_LEN, Begin, DATA_START, Frame, Kind, decode_runs};
use super::super::rows::{Rows, Segment};
use super::super::seal::Footer;
use super::super::state::{DAMAGED, SegRef, State, Suspect};
use super::super::walk::Item;
use super::TailInfo;
use super::erasures::apply_tombs;
use super::list::Source;

/// Why records are lost whose bytes are gone.
const GONE: &str = "the end of a file of the log is missing";

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
        // The record that it is named for may be gone, and a lower one be next: segments lie in the order of what they have.
        None => first.min(state.extent.last.saturating_add(1)),
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

/// What may be missing between two records; the next one that is there says where it ends.
struct Gap {
    from: u64,
    to: u64,
    /// The last sequence before it.
    before: Seq,
    /// Bytes of the file that are damaged or gone, as far as is known.
    bytes: u64,
    why: &'static str,
    what: String,
}

/// Collects what is damaged in one segment.
struct Damage<'a> {
    source: &'a Source,
    suspects: &'a mut Vec<Suspect>,
    lines: &'a mut Vec<String>,
    open: Option<Gap>,
    any: bool,
}

impl Damage<'_> {
    fn line(&mut self, text: &str) {
        self.any = true;
        self.lines.push(format!("{}: {text}", self.source.path.display()));
    }

    /// Bytes that are no frame, behind the record `last`.
    fn bytes(&mut self, from: u64, to: u64, last: Seq) {
        self.any = true;
        match &mut self.open {
            Some(gap) => {
                gap.to = to;
                gap.bytes += to - from;
                gap.what = format!("offset {} to {to} is damaged", gap.from);
            }
            None => {
                self.open = Some(Gap {
                    from,
                    to,
                    before: last,
                    bytes: to - from,
                    why: DAMAGED,
                    what: format!("offset {from} to {to} is damaged"),
                });
            }
        }
    }

    /// Something is missing at an offset, behind the record `last`, and nothing is in its place.
    fn missing(&mut self, at: u64, bytes: u64, last: Seq, what: &str) {
        self.any = true;
        match &mut self.open {
            Some(gap) => gap.bytes += bytes,
            None => {
                self.open = Some(Gap {
                    from: at,
                    to: at,
                    before: last,
                    bytes,
                    why: GONE,
                    what: format!("offset {at}: {what}"),
                });
            }
        }
    }

    /// The gap that is open ends below the next record, or with the last that there should be.
    fn ends_at(&mut self, high: Seq) {
        if let Some(gap) = self.open.take() {
            self.lost((gap.before + 1, high), gap.bytes, gap.why, None, &gap.what);
        }
    }

    fn lost(&mut self, (low, high): (Seq, Seq), bytes: u64, why: &'static str, head: Option<Bytes>, what: &str) {
        let mut text = what.to_owned();
        if low <= high {
            text += &format!("; {} may be lost", words::numbered("record", &[(low, high)]));
            self.suspects.push(Suspect {
                low,
                high,
                bytes,
                why,
                head,
                note: format!("{}: {text}", self.source.path.display()),
            });
        }
        self.line(&text);
    }

    /// A frame of which one bit flipped still says what it was.
    fn one_frame(&mut self, from: u64, to: u64, last: Seq) -> Option<Frame> {
        if self.open.is_some() {
            return None;
        }
        let raw = self.source.map.get(from as usize..to as usize)?;
        let mended = Frame::mended(raw, self.source.identity.seed(), from);
        let (frame, head) = mended.filter(|(frame, _)| frame.len() == to - from)?;
        let what = format!("offset {from} to {to} is damaged");
        match frame.kind {
            Kind::Record | Kind::Void if frame.seq <= last => return None,
            Kind::Record => self.lost((frame.seq, frame.seq), frame.size(), DAMAGED, Some(head), &what),
            _ => self.line(&what),
        }
        Some(frame)
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
    let mut info = TailInfo::default();
    let mut rows = Rows::default();
    let mut first = None;
    let mut last = state.extent.last;
    // The highest sequence that a batch here claims, for gaps and lost records at the end.
    let mut claimed = last;
    let mut floor = state.floor;
    let mut overwrites = Vec::new();
    let mut twin: Vec<u8> = Vec::new();
    let mut damage = Damage {
        source,
        suspects: &mut state.suspects,
        lines: &mut report.damage,
        open: None,
        any: false,
    };
    // The number of the next batch, and how many more may be hidden in damage before it. In a rewritten segment all
    // have the same.
    let numbered = source.identity.generation == 0;
    let (mut expected, mut hidden) = (next_batch, 0);
    // Where the batch that the walk is in should end.
    let mut batch_end = DATA_START;
    for item in source.walk_to(end) {
        match item {
            Item::Frame { at, frame, raw } => {
                info.written = true;
                match frame.kind {
                    Kind::Record | Kind::Void => {
                        if frame.seq <= last {
                            damage.line(&format!(
                                "offset {at}: record {} is out of order and not served",
                                frame.seq
                            ));
                            continue;
                        }
                        damage.ends_at(frame.seq - 1);
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
                            damage.line(&format!("offset {at}: one copy of an erasure is damaged"));
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
                        let Some(begin) = Begin::of(&frame, raw) else { continue };
                        info.newest = Some(begin);
                        if at < batch_end {
                            damage.missing(at, batch_end - at, last, "the end of a write is missing");
                        }
                        if numbered && begin.number > expected + hidden {
                            let writes = words::numbered("write", &[(expected, begin.number - 1)]);
                            let what = format!("missing: {writes}");
                            damage.missing(at, 0, last, &what);
                        }
                        (expected, hidden) = (begin.number + 1, 0);
                        batch_end = at + frame.len() + begin.len;
                        claimed = claimed.max(begin.last);
                        // The batch says how far the log reached after it; a gap before it ends below.
                        if damage.open.is_some() && begin.len == 0 {
                            damage.ends_at(begin.last);
                            last = last.max(begin.last);
                        }
                    }
                }
            }
            Item::Gap { from, to } => match damage.one_frame(from, to, last) {
                Some(frame) if matches!(frame.kind, Kind::Record | Kind::Void) => {
                    first = first.or(Some(frame.seq));
                    last = frame.seq;
                }
                Some(frame) => hidden += u64::from(frame.kind == Kind::Begin),
                None => {
                    hidden += (to - from) / BEGIN_LEN as u64;
                    damage.bytes(from, to, last);
                }
            },
            Item::Tail { from } => damage.bytes(from, end, last),
        }
    }
    if end < batch_end {
        damage.missing(end, batch_end - end, last, "the end of a write is missing");
    }
    claimed = claimed.max(last);
    damage.ends_at(claimed);
    info.damaged = damage.any;
    let seg = segment_of(source, first_batch, None, rows);
    seg.end.store(end, Ordering::Release);
    let from = first.unwrap_or(source.name_first);
    push(state, seg, from, first.map(|_| last));
    state.extent.last = state.extent.last.max(claimed);
    if floor > 0 {
        state.extent.last = state.extent.last.max(floor - 1);
    }
    state.floor = state.floor.max(floor);
    let tombs = info.tombs.clone();
    apply_tombs(state, &tombs, report);
    for runs in overwrites {
        // One that makes no sense was told of above.
        let _ = decode_runs(&runs, &mut state.overwrites);
    }
    Ok(info)
}
