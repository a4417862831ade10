//! Reading a log through the maps of its segments.

use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::{
    Check, Direction, Entry, EntryRef, Error, Extent, LogReader, Lost, Place, Result, Seq, VisitRecord, Want,
};

use super::check::{check_log, check_segment_from};
use super::files::Background;
use super::format::{FRAME_LEN, Kind, decompress};
use super::handle::Handles;
use super::kept;
use super::rows::Segment;
use super::state::{Doing, SegRef, Shared};
use super::through::Reading;

/// Records looked up at once by a scan, so that the locks are taken seldom.
const SCAN_BATCH: usize = 256;

/// How many records to look up at once: no more than the rest of the range can hold, as a scan of one record is what
/// every removal begins with.
fn scan_batch(next: Seq, low: Seq, high: Seq, direction: Direction) -> usize {
    let more = match direction {
        Direction::Forward => high.saturating_sub(next),
        Direction::Backward => next.saturating_sub(low),
    };
    more.saturating_add(1).min(SCAN_BATCH as u64) as usize
}

/// Bytes of the average record up to which going through all heads comes by about every page, or has it read: the kernel reads so much
/// around each page that it is asked for.
const DENSE: u64 = 128 << 10;

/// Segments that the kernel is told of before a scan comes to them.
const AHEAD: usize = 4;

/// How often a look-up is repeated when a rewrite takes the file away under it. Each time the writer has moved the
/// record once more, so two would do.
const TRIES: usize = 8;

/// Reads one log.
pub struct SegmentReader {
    /// What it reads.
    pub shared: Arc<Shared>,
    /// Its folder.
    pub dir: PathBuf,
    /// The files of its backend.
    pub handles: Arc<Handles>,
}

/// What reading one frame came to.
enum Outcome {
    Entry(Entry),
    /// The record was removed meanwhile.
    Gone,
    Bad,
}

impl SegmentReader {
    fn entry(&self, seg: &Segment, seq: Seq, at: u64) -> io::Result<Outcome> {
        let (map, frame) = seg.frame(at)?;
        let Some(frame) = frame.filter(|f| f.seq == seq && f.kind != Kind::Void) else {
            return Ok(match (seg.find(seq)?, frame) {
                (None, _) => Outcome::Gone,
                (Some(_), Some(void)) if void.seq == seq => {
                    self.shared.is_void(seq, seg, void.size())?;
                    Outcome::Gone
                }
                _ => Outcome::Bad,
            });
        };
        if frame.kind != Kind::Record {
            return Ok(Outcome::Bad);
        }
        let start = at as usize + FRAME_LEN;
        let middle = start + usize::from(frame.head_len);
        let end = middle + frame.stored_len as usize;
        seg.handle.look_at(at..end as u64, Reading::One);
        let stored = &map[middle..end];
        if crc32c::crc32c(stored) != frame.body_crc {
            // Overwritten on demand between the two looks?
            return Ok(if seg.find(seq)?.is_none() {
                Outcome::Gone
            } else {
                Outcome::Bad
            });
        }
        let (head, body) = if frame.is_bare() {
            if !frame.is_as_long() {
                return Ok(Outcome::Bad);
            }
            (map.slice(start..middle), map.slice(middle..end))
        } else {
            let mut out = Vec::with_capacity(usize::from(frame.head_len) + frame.body_len as usize);
            out.extend_from_slice(&map[start..middle]);
            if !decompress(frame.codec, stored, frame.body_len, &mut out) {
                return Ok(Outcome::Bad);
            }
            let both = Bytes::from(out);
            let head = usize::from(frame.head_len);
            (both.slice(..head), both.slice(head..))
        };
        Ok(Outcome::Entry(Entry {
            seq,
            time: frame.time,
            head,
            body,
        }))
    }

    /// The first segment that has that sequence or one above it.
    fn segment_from(&self, seq: Seq) -> Option<SegRef> {
        let state = self.shared.state.read();
        let i = state.segs.partition_point(|s| s.last < seq);
        state.segs.get(i).cloned()
    }

    fn locate(&self, seq: Seq) -> Result<Option<Arc<Segment>>> {
        let state = self.shared.state.read();
        if let Some(i) = state.place(seq) {
            return Ok(Some(state.segs[i].seg.clone()));
        }
        self.not_found(&state, seq).map(|()| None)
    }

    /// Of a store that is only read: a scan that goes on to `high` has come to a segment, its first one or not. The kernel is told
    /// of those that come next, if all of their pages will be touched.
    fn will_go_through(&self, at: &SegRef, high: Seq, is_first: bool) {
        if !at.seg.handle.is_only_read() {
            return;
        }
        let next: Vec<SegRef> = {
            let state = self.shared.state.read();
            let i = state.segs.partition_point(|s| s.last <= at.last);
            let new = if is_first { i } else { i + AHEAD - 1 };
            let next = new.min(state.segs.len())..(i + AHEAD).min(state.segs.len());
            state.segs[next].to_vec()
        };
        for next in next.iter().filter(|next| next.last <= high) {
            let dense = {
                let rows = next.seg.rows.read();
                rows.bytes / u64::from(rows.live.max(1)) <= DENSE
            };
            if dense {
                next.seg.will_need();
            }
        }
    }

    /// No live record: an error if that may be for damage.
    fn not_found(&self, state: &super::state::State, seq: Seq) -> Result<()> {
        match state.suspect(seq) {
            Some(suspect) => Err(Error::damaged(format!(
                "log {}: record {seq} may be lost: {}",
                self.shared.id, suspect.note
            ))),
            None => Ok(()),
        }
    }
}

impl LogReader for SegmentReader {
    fn extent(&self) -> Extent {
        self.shared.state.read().full_extent()
    }

    fn lost(&self) -> Vec<Lost> {
        self.shared.state.read().lost()
    }

    fn live(&self, range: RangeInclusive<Seq>, visit: &mut dyn FnMut(Seq, Seq)) -> Result<()> {
        let (mut low, high) = range.into_inner();
        let mut ranges = Vec::new();
        let mut tries = 0;
        while low <= high {
            let next = {
                let state = self.shared.state.read();
                let i = state.segs.partition_point(|s| s.last < low);
                state.segs.get(i).filter(|s| s.first <= high).cloned()
            };
            let Some(next) = next else { break };
            ranges.clear();
            match next.seg.live((low.max(next.first), high.min(next.last)), &mut ranges) {
                // The segment was rewritten between the look-up and the opening.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                    continue;
                }
                other => other.doing("reading", &next.seg.handle.path)?,
            }
            tries = 0;
            ranges.iter().for_each(|&(first, last)| visit(first, last));
            let Some(behind) = next.last.checked_add(1) else { break };
            low = behind;
        }
        Ok(())
    }

    fn check(&self, check: &mut dyn Check) -> Result<()> {
        let kept = || kept::check(&self.handles, &self.dir, self.shared.id);
        let is_threaded = self.handles.files.background() == Background::Thread;
        let (bytes, damaged) = std::thread::scope(|scope| {
            let thread = || std::thread::Builder::new().name("weir-verify".to_owned());
            // Where no thread can be had, it is done here.
            let beside = is_threaded.then(|| thread().spawn_scoped(scope, kept).ok()).flatten();
            check_log(&self.shared, check)?;
            let panicked = |_| Err(Error::closed("checking the kept index panicked: please report it"));
            beside.map_or_else(kept, |beside| beside.join().unwrap_or_else(panicked))
        })?;
        check.read(bytes);
        if let Some(offset) = damaged {
            check.place(Place {
                file: kept::path(&self.dir),
                offset,
                what: "what is kept of the index is damaged: the next start takes longer, and writes it anew"
                    .to_owned(),
                lost: Vec::new(),
            });
        }
        Ok(())
    }

    fn check_part(&self, from: Seq, _bytes: u64, check: &mut dyn Check) -> Result<Option<Seq>> {
        check_segment_from(&self.shared, from, check)
    }

    fn check_bytes(&self) -> u64 {
        self.shared.state.read().extent.disk_bytes
    }

    fn at_hand(&self, range: RangeInclusive<Seq>) -> Option<Seq> {
        let (mut from, to) = range.into_inner();
        let mut reached = None;
        loop {
            let Some(found) = self.segment_from(from) else {
                return Some(to);
            };
            let last = found.last.min(to);
            match found.seg.at_hand(from, last) {
                Some(seq) if seq < last => return Some(seq),
                Some(_) if last == to => return Some(to),
                Some(_) => (reached, from) = (Some(last), last + 1),
                None => return reached,
            }
        }
    }

    fn fetch(&self, range: RangeInclusive<Seq>) {
        let (mut from, to) = range.into_inner();
        while from <= to
            && let Some(found) = self.segment_from(from)
        {
            found.seg.fetch(from, to);
            from = found.last.max(from) + 1;
        }
    }

    fn let_go(&self) {
        for segment in &self.shared.state.read().segs {
            segment.seg.handle.unmap();
        }
    }

    fn get(&self, seq: Seq) -> Result<Option<Entry>> {
        for _ in 0..TRIES {
            let Some(seg) = self.locate(seq)? else {
                return Ok(None);
            };
            let done = seg.find(seq).and_then(|found| match found {
                None => Ok(None),
                Some((_, at)) => Ok(Some((at, self.entry(&seg, seq, at)?))),
            });
            match done {
                Ok(None) => {
                    let state = self.shared.state.read();
                    return self.not_found(&state, seq).map(|()| None);
                }
                Ok(Some((_, Outcome::Entry(entry)))) => return Ok(Some(entry)),
                Ok(Some((_, Outcome::Gone))) => {}
                Ok(Some((at, Outcome::Bad))) => {
                    return Err(self.shared.damaged(seq, &seg, at));
                }
                // The segment was rewritten, or removed with all it held, between the look-up and the opening.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).doing("reading", &seg.handle.path),
            }
        }
        Err(Error::closed(format!(
            "log {}: the file with record {seq} is gone",
            self.shared.id
        )))
    }

    fn scan(&self, range: RangeInclusive<Seq>, want: Want, direction: Direction, visit: VisitRecord<'_>) -> Result<()> {
        let (low, high) = (*range.start(), *range.end());
        let mut next = match direction {
            Direction::Forward => low,
            Direction::Backward => high,
        };
        let mut places = Vec::new();
        let mut scratch = Vec::new();
        let mut tries = 0;
        let mut before: Option<Arc<Segment>> = None;
        while low <= next && next <= high {
            // The segment with the next sequence, or the nearest one in that direction.
            let found = {
                let state = self.shared.state.read();
                let i = state.segs.partition_point(|s| match direction {
                    Direction::Forward => s.last < next,
                    Direction::Backward => s.first <= next,
                });
                let i = match direction {
                    Direction::Forward => Some(i),
                    Direction::Backward => i.checked_sub(1),
                };
                i.and_then(|i| state.segs.get(i)).cloned()
            };
            let Some(found) = found else {
                return Ok(());
            };
            let seg = &found.seg;
            if before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, seg)) {
                let left = before.replace(seg.clone());
                if direction == Direction::Forward {
                    self.will_go_through(&found, high, left.is_none());
                }
                if let Some(left) = left {
                    left.handle.close_if_only_read();
                }
            }
            let batch = scan_batch(next, low, high, direction);
            let collected = seg.collect(next, direction, batch, &mut places);
            // Collected before the map is taken, so the map covers every place.
            let map = match collected.and_then(|()| seg.map()) {
                Ok(map) => map,
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error).doing("reading", &seg.handle.path),
            };
            tries = 0;
            let end = seg.end.load(std::sync::atomic::Ordering::Acquire) as usize;
            for (seq, at) in &places {
                let (seq, at) = (*seq, *at);
                if seq < low || seq > high {
                    return Ok(());
                }
                let there = map
                    .get(at as usize..end)
                    .and_then(|raw| super::format::Frame::decode(raw, seg.seed, at))
                    .filter(|f| f.seq == seq);
                let good = there.filter(|f| f.kind == Kind::Record).and_then(|frame| {
                    let start = at as usize + FRAME_LEN;
                    let middle = start + usize::from(frame.head_len);
                    let stored = &map[middle..middle + frame.stored_len as usize];
                    let head = &map[start..middle];
                    let seen = match want {
                        Want::Heads => middle,
                        Want::Full => middle + stored.len(),
                    };
                    seg.handle.look_at(at..seen as u64, Reading::InOrder);
                    if want == Want::Heads {
                        return Some((frame, head, &[][..], true));
                    }
                    if crc32c::crc32c(stored) != frame.body_crc {
                        return None;
                    }
                    if frame.is_bare() {
                        return frame.is_as_long().then_some((frame, head, stored, true));
                    }
                    scratch.clear();
                    decompress(frame.codec, stored, frame.body_len, &mut scratch).then_some((
                        frame,
                        head,
                        &scratch[..],
                        false,
                    ))
                });
                let Some((frame, head, body, shared)) = good else {
                    let path = &seg.handle.path;
                    let live = seg.find(seq).doing("reading", path)?.is_some();
                    match there.filter(|f| f.kind == Kind::Void) {
                        Some(void) if live => self.shared.is_void(seq, seg, void.size()).doing("reading", path)?,
                        _ if live => self.shared.passed_over(seq, seg, at, want),
                        _ => {}
                    }
                    continue;
                };
                let entry = EntryRef {
                    seq,
                    time: frame.time,
                    head,
                    body,
                    body_len: frame.body_len,
                    // A decompressed body is not a part of the map, and `to_entry` slices both from one owner.
                    owner: shared.then_some(&map),
                };
                if let ControlFlow::Break(()) = visit(entry) {
                    return Ok(());
                }
            }
            // Where to go on: behind the last one seen, or behind the segment if it has no more.
            let edge = match (places.len() == batch, places.last(), direction) {
                (true, Some((seq, _)), _) => *seq,
                // The last segment may have grown since `found` was taken.
                (_, last, Direction::Forward) => found.last.max(next).max(last.map_or(0, |(seq, _)| *seq)),
                (_, _, Direction::Backward) => found.first.min(next),
            };
            let following = match direction {
                Direction::Forward => edge.checked_add(1),
                Direction::Backward => edge.checked_sub(1),
            };
            match following {
                Some(seq) => next = seq,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_looks_up_no_more_rows_than_its_range_can_hold() {
        let forward = |next, high| scan_batch(next, 0, high, Direction::Forward);
        assert_eq!(forward(7, 7), 1);
        assert_eq!(forward(7, 9), 3);
        assert_eq!(forward(0, Seq::MAX), SCAN_BATCH);
        let backward = |next, low| scan_batch(next, low, Seq::MAX, Direction::Backward);
        assert_eq!(backward(7, 7), 1);
        assert_eq!(backward(9, 7), 3);
        assert_eq!(backward(Seq::MAX, 0), SCAN_BATCH);
    }
}
