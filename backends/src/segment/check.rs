//! Checking all the bytes of a log: every frame, removed records included, and every footer.
//!
//! Files are read from the beginning to the end. Where nobody wants bodies, segments that are [sound](super::sound) are found so by
//! threads that go ahead; all others are gone through here, through their maps.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use weir_engine::{Check, Direction, EntryRef, Place, Result, Seq, Want, words};

use super::format::{Begin, EraseRun, FLAG_PREALLOCATED, Frame, Kind, decompress};
use super::rows::Segment;
use super::seal::{Footer, TRAILER_LEN, TRAILER_MAGIC};
use super::sound::{Ahead, Sound};
use super::state::{Doing, SegRef, Shared};
use super::walk::{Item, Walk};

/// Live rows that are looked up at once.
const ROWS: usize = 4096;
/// Bytes after which the progress is told.
const STEP: u64 = 1 << 20;

/// A footer that is not there, or makes no sense, with the last batch before it: whether it ever was there is known once a later
/// batch says that this one was durable.
struct Unbelieved {
    place: Place,
    batch: u64,
}

/// Checks all segments of a log in order.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn check_log(shared: &Shared, check: &mut dyn Check) -> Result<()> {
    let segs = shared.state.read().segs.clone();
    let is_sealed = |s: &&SegRef| s.seg.footer.is_some();
    let is_worth_it = check.want() == Want::Heads && segs.iter().filter(is_sealed).count() > 1;
    std::thread::scope(|scope| {
        let ahead = is_worth_it.then(|| Ahead::begin(scope, &segs));
        check_segments(shared, &segs, ahead, check)
    })
}

fn check_segments(shared: &Shared, segs: &[SegRef], mut ahead: Option<Ahead>, check: &mut dyn Check) -> Result<()> {
    let overwritten = shared.state.read().overwrites.clone();
    let (mut unbelieved, mut durable) = (Vec::new(), 0);
    for (i, s) in segs.iter().enumerate() {
        if let Some(ahead) = &mut ahead
            && let Some(sound) = ahead.next()
        {
            durable = durable.max(sound.durable);
            if tell_sound(&sound, check).is_break() {
                return Ok(());
            }
            ahead.done_with(sound);
            continue;
        }
        let next = segs.get(i + 1);
        if ahead.is_none() {
            if i == 0 {
                s.seg.will_need();
            }
            if let Some(next) = next {
                next.seg.will_need();
            }
        }
        let path = &s.seg.handle.path;
        let end = s.seg.end.load(Ordering::Acquire);
        let whole = s
            .seg
            .map()
            .and_then(|_| s.seg.handle.map(s.seg.file_len.load(Ordering::Acquire)));
        let whole = whole.doing("reading", path)?;
        let mut pass = Pass {
            shared,
            seg: &s.seg,
            map: &whole,
            rows: Rows::default(),
            scratch: Vec::new(),
            read: 0,
            batch: 0,
            durable: &mut durable,
            check,
        };
        if pass.all(end, &overwritten, next.is_some(), &mut unbelieved)?.is_break() {
            return Ok(());
        }
        // A store that is larger than memory leaves no more than one of its files mapped.
        drop(whole);
        s.seg.handle.close_if_synced();
        s.seg.handle.close_if_only_read();
    }
    let known = unbelieved.into_iter().filter(|unbelieved| unbelieved.batch < durable);
    known.for_each(|unbelieved| check.place(unbelieved.place));
    Ok(())
}

fn tell_sound(sound: &Sound, check: &mut dyn Check) -> ControlFlow<()> {
    for (seq, time, head, body_len) in sound.records() {
        check.record(EntryRef {
            seq,
            time,
            head,
            body: &[],
            body_len,
            owner: None,
        })?;
    }
    check.read(sound.bytes);
    ControlFlow::Continue(())
}

/// How often a segment is looked for again that was rewritten before it could be read.
const TRIES: usize = 8;
/// Larger segments are read through their maps.
const COLD_MAX: u64 = 64 << 20;

/// Checks the segment that has a sequence, or the next one, of a log that is written meanwhile; answers where the next begins.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn check_segment_from(shared: &Shared, from: Seq, check: &mut dyn Check) -> Result<Option<Seq>> {
    for _ in 0..TRIES {
        let (s, has_next) = {
            let state = shared.state.read();
            let is_it = |s: &SegRef| s.last >= from && s.first <= s.last;
            let Some(i) = state.segs.iter().position(is_it) else {
                return Ok(None);
            };
            (state.segs[i].clone(), i + 1 < state.segs.len())
        };
        let next = has_next.then(|| s.last.saturating_add(1));
        let mut found = Found::new(check);
        match check_cold(shared, &s, has_next, &mut found) {
            Ok(()) if found.places.is_empty() => return Ok(next),
            // A record may have been overwritten while it was read.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(from)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).doing("reading", &s.seg.handle.path),
        }
        let mut again = Found {
            again: true,
            ..Found::new(check)
        };
        match check_cold(shared, &s, has_next, &mut again) {
            Ok(()) => {
                let places = std::mem::take(&mut again.places);
                places.into_iter().for_each(|place| check.place(place));
                return Ok(next);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(from)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("reading", &s.seg.handle.path),
        }
    }
    // It is rewritten all the time: what is there now was written just now.
    Ok(Some(from.saturating_add(1)))
}

/// Keeps the places until it is sure that they are damaged.
struct Found<'a> {
    check: &'a mut dyn Check,
    /// Whether the segment was read before.
    again: bool,
    places: Vec<Place>,
}

impl<'a> Found<'a> {
    fn new(check: &'a mut dyn Check) -> Self {
        Self {
            check,
            again: false,
            places: Vec::new(),
        }
    }
}

impl Check for Found<'_> {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        self.check.record(entry)
    }

    fn want(&self) -> Want {
        self.check.want()
    }

    fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    // Told when the file is read.
    fn read(&mut self, _: u64) {}
}

impl Found<'_> {
    fn file_read(&mut self, bytes: u64) {
        match self.again {
            true => self.check.read_again(bytes),
            false => self.check.read(bytes),
        }
    }
}

/// Checks one segment, whose bytes are read without a map.
fn check_cold(shared: &Shared, s: &SegRef, has_next: bool, found: &mut Found<'_>) -> io::Result<()> {
    let seg = &s.seg;
    let end = seg.end.load(Ordering::Acquire);
    let len = match &seg.footer {
        Some(_) => seg.file_len.load(Ordering::Acquire),
        None => end,
    };
    let whole = match len <= COLD_MAX {
        true => {
            let mut progress = |bytes| {
                found.file_read(bytes);
                found.check.goes_on()
            };
            Bytes::from(seg.handle.read_cold(len, &mut progress)?)
        }
        false => {
            found.file_read(len);
            seg.handle.map(len)?
        }
    };
    let mut pass = Pass {
        shared,
        seg,
        map: &whole,
        rows: Rows::default(),
        scratch: Vec::new(),
        read: 0,
        batch: 0,
        durable: &mut 0,
        check: found,
    };
    // The newest segment has no footer yet, nor has one that was damaged when the log was opened.
    let _ = pass
        .all(end, &[], has_next && seg.footer.is_some(), &mut Vec::new())
        .map_err(io::Error::other)?;
    Ok(())
}

/// The live rows of a segment, in order.
#[derive(Default)]
struct Rows {
    batch: Vec<(Seq, u64)>,
    at: usize,
    over: bool,
}

impl Rows {
    fn peek(&mut self, seg: &Segment) -> io::Result<Option<(Seq, u64)>> {
        if self.at == self.batch.len() && !self.over {
            let from = self.batch.last().map_or(0, |(seq, _)| seq + 1);
            seg.collect(from, Direction::Forward, ROWS, &mut self.batch)?;
            self.over = self.batch.len() < ROWS;
            self.at = 0;
        }
        Ok(self.batch.get(self.at).copied())
    }
}

struct Pass<'a> {
    shared: &'a Shared,
    seg: &'a Segment,
    map: &'a Bytes,
    rows: Rows,
    scratch: Vec<u8>,
    /// Bytes that were not told yet.
    read: u64,
    /// The last batch.
    batch: u64,
    /// The highest batch that any says was durable.
    durable: &'a mut u64,
    check: &'a mut dyn Check,
}

impl Pass<'_> {
    /// Everything: the frames, which end at `end`, and what is behind them.
    fn all(
        &mut self,
        end: u64,
        overwritten: &[EraseRun],
        has_next: bool,
        unbelieved: &mut Vec<Unbelieved>,
    ) -> Result<ControlFlow<()>> {
        let path = &self.seg.handle.path;
        let map = self.map;
        let end = end.min(map.len() as u64);
        let walk = Walk::new(&map[..end as usize], self.seg.seed).overwritten(overwritten);
        if self.frames(walk, end).doing("reading", path)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.footer(end, has_next, self.batch, unbelieved);
        self.tell_read();
        Ok(ControlFlow::Continue(()))
    }

    fn frames(&mut self, walk: Walk<'_>, end: u64) -> io::Result<ControlFlow<()>> {
        for item in walk {
            match item {
                Item::Frame { at, frame, raw } => {
                    self.took(raw.len() as u64);
                    match frame.kind {
                        Kind::Record | Kind::Void => {
                            if self.record(at, &frame, raw)?.is_break() {
                                return Ok(ControlFlow::Break(()));
                            }
                        }
                        Kind::Begin => self.begin(&frame, raw),
                        Kind::Erase if !frame.body_is_good(raw) => {
                            self.place(at, "one copy of an erasure is damaged".to_owned(), Vec::new());
                        }
                        Kind::Erase | Kind::Trim => {}
                    }
                }
                Item::Gap { from, to } => self.gap(from, to)?,
                Item::Tail { from } => self.gap(from, end)?,
            }
        }
        // Rows that lie nowhere any more; of the newest segment there may be more by now.
        while let Some((seq, at)) = self
            .rows
            .peek(self.seg)?
            .filter(|(_, at)| *at < end || self.seg.footer.is_some())
        {
            self.rows.at += 1;
            self.bad(seq, at, &format!("record {seq} is not where the table says"));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn begin(&mut self, frame: &Frame, raw: &[u8]) {
        if let Some(begin) = Begin::of(frame, raw) {
            self.batch = self.batch.max(begin.number);
            *self.durable = (*self.durable).max(begin.durable);
        }
    }

    fn record(&mut self, at: u64, frame: &Frame, raw: &[u8]) -> io::Result<ControlFlow<()>> {
        // A table that was made up for a damaged one has rows that lie nowhere.
        while let Some((seq, before)) = self.rows.peek(self.seg)?.filter(|(_, before)| *before < at) {
            self.rows.at += 1;
            self.bad(seq, before, &format!("record {seq} is not where the table says"));
        }
        let live = self.rows.peek(self.seg)? == Some((frame.seq, at));
        self.rows.at += usize::from(live);
        if frame.kind == Kind::Void {
            if live {
                self.shared.is_void(frame.seq, self.seg, frame.size())?;
            }
            if !frame.body_is_good(raw) {
                let what = format!("what record {} was overwritten with fails its checksum", frame.seq);
                self.place(at, what, Vec::new());
            }
            return Ok(ControlFlow::Continue(()));
        }
        let mut good = frame.body_is_good(raw);
        if live && good {
            self.scratch.clear();
            let stored = frame.stored(raw);
            let (body, owner) = match frame.is_bare() {
                true => {
                    good = frame.is_as_long();
                    (stored, Some(self.map))
                }
                false => {
                    good = decompress(frame.codec, stored, frame.body_len, &mut self.scratch);
                    (&self.scratch[..], None)
                }
            };
            if good {
                return Ok(self.check.record(EntryRef {
                    seq: frame.seq,
                    time: frame.time,
                    head: frame.head(raw),
                    body,
                    body_len: frame.body_len,
                    owner,
                }));
            }
        }
        // It may have been removed or overwritten between the two looks.
        match live && self.seg.find(frame.seq)?.is_some() {
            true => self.bad(
                frame.seq,
                at,
                &format!("the body of record {} fails its checksum", frame.seq),
            ),
            false if good => {}
            false => {
                let what = format!(
                    "the body of record {}, which was removed, fails its checksum",
                    frame.seq
                );
                self.place(at, what, Vec::new());
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Bytes that are no frame.
    fn gap(&mut self, from: u64, to: u64) -> io::Result<()> {
        self.took(to - from);
        let mut lost: Vec<(Seq, Seq)> = Vec::new();
        while let Some((seq, at)) = self.rows.peek(self.seg)?.filter(|(_, at)| *at < to) {
            self.rows.at += 1;
            if self.seg.find(seq)?.is_some() {
                self.shared.passed_over(seq, self.seg, at, Want::Full);
                match lost.last_mut().filter(|(_, last)| last + 1 == seq) {
                    Some((_, last)) => *last = seq,
                    None => lost.push((seq, seq)),
                }
            }
        }
        if self.seg.footer.is_none() {
            // It was found when the log was opened, and has no rows.
            let said = start_of(&self.seg.handle.path, from);
            let state = self.shared.state.read();
            let suspects = state.suspects.iter().filter(|s| s.note.starts_with(&said));
            lost.extend(suspects.map(|s| (s.low, s.high)));
            lost.sort_unstable();
        }
        let mut what = format!("damaged up to offset {to}");
        if !lost.is_empty() {
            what += &format!("; {} may be lost", words::numbered("record", &lost));
        }
        self.place(from, what, lost);
        Ok(())
    }

    /// What should be behind the frames, which end at `end`.
    fn footer(&mut self, end: u64, has_next: bool, batch: u64, unbelieved: &mut Vec<Unbelieved>) {
        let seg = self.seg;
        if seg.flags & FLAG_PREALLOCATED != 0 {
            return;
        }
        let len = seg.file_len.load(Ordering::Acquire);
        let whole = &self.map[..self.map.len().min(len as usize)];
        self.took(len.saturating_sub(end));
        if let Some(footer) = &seg.footer {
            if !footer.table_is_good(whole) {
                let what = "the table in the footer is damaged: the records are found without it".to_owned();
                self.place(footer.data_end, what, Vec::new());
            }
            return;
        }
        let rest = whole.get(end as usize..).unwrap_or_default();
        let is_written = rest.iter().any(|byte| *byte != 0);
        if is_written && has_next && Footer::decode(whole, seg.identity).is_none() {
            let at = whole.len().saturating_sub(TRAILER_LEN) as u64;
            let is_cut = whole
                .get(at as usize..)
                .is_none_or(|trailer| !trailer.starts_with(&TRAILER_MAGIC));
            let what = match is_cut {
                true => {
                    "the footer that should end the file is not there, or damaged: the records are found without it"
                }
                false => "the footer is damaged: the records are found without it",
            };
            let place = Place {
                file: seg.handle.path.clone(),
                offset: end,
                what: what.to_owned(),
                lost: Vec::new(),
            };
            unbelieved.push(Unbelieved { place, batch });
        }
    }

    /// A live record that is damaged.
    fn bad(&mut self, seq: Seq, at: u64, what: &str) {
        self.shared.passed_over(seq, self.seg, at, Want::Full);
        self.place(at, what.to_owned(), vec![(seq, seq)]);
    }

    fn place(&mut self, offset: u64, what: String, lost: Vec<(Seq, Seq)>) {
        self.check.place(Place {
            file: self.seg.handle.path.clone(),
            offset,
            what,
            lost,
        });
    }

    fn took(&mut self, bytes: u64) {
        self.read += bytes;
        if self.read >= STEP {
            self.tell_read();
        }
    }

    fn tell_read(&mut self) {
        self.check.read(std::mem::take(&mut self.read));
    }
}

/// What begins the line of a damaged place that opening the log found.
fn start_of(path: &Path, offset: u64) -> String {
    format!("{}: offset {offset} ", path.display())
}
