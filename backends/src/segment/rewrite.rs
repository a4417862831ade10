//! Writing neighbouring segments anew, as one, without what is removed: beside the writer of the log, in pieces.
//!
//! It works with what was removed when it began. What is removed after that, the writer removes from the new segment as well
//! when it puts that in the place of the old ones ([`Made::remove_gone`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use weir_engine::{Compression, Recoder, Record, Result, Seq, Upkeep, UpkeepPiece};

use super::backend::Core;
use super::compact::kept_bytes;
use super::files::{File, Files, Mode};
use super::format::{
    Begin, COUNTED, DATA_START, Encoder, EraseRun, Frame, Header, Identity, Kind, SEGMENT_MAX, decode_runs, decompress,
    encode_runs, void_frame,
};
use super::handle::Handle;
use super::rows::{Rows, Segment, is_set};
use super::seal::Footer;
use super::state::{Doing, SegRef};
use super::sync::Syncer;
use super::table::TableRef;
use super::walk::{Item, Walk};

/// How much is written at once, in bytes; as much is read at once.
const CHUNK: u64 = 1 << 20;

/// What a rewrite came to.
pub(super) enum Outcome {
    /// The new segment is on disk, under its temporary name.
    Made(Box<Made>),
    /// Something in the segment of that number is damaged: what is damaged would be lost.
    Damaged(u64),
    /// What was read was overwritten meanwhile: it may be tried again.
    Disturbed,
}

/// A file that is removed unless it gets its name.
struct Temporary {
    files: Arc<dyn Files>,
    path: PathBuf,
    made: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.made {
            // Opening the log removes it if this does not.
            let _ = self.files.remove(&self.path);
        }
    }
}

/// A segment that was written anew.
pub(super) struct Made {
    core: Arc<Core>,
    temporary: Temporary,
    file: File,
    /// The name that it gets.
    path: PathBuf,
    header: Header,
    pub(super) footer: Footer,
    file_len: u64,
    rows: Rows,
    /// The bytes of each row.
    sizes: Vec<u32>,
    /// For each of the old segments, the rows that were removed when it was begun, and its first row in the new one.
    sources: Vec<(Vec<u64>, u32)>,
    /// The lowest sequence that an erasure in it removed.
    tomb_low: Option<Seq>,
}

impl Made {
    /// Removes what was removed from the old segments since; of these records the bytes are overwritten as well.
    pub fn remove_gone(&mut self, group: &[SegRef], overwritten: &[Seq]) -> Result<()> {
        for (s, (before, first)) in group.iter().zip(&self.sources) {
            let now = s.seg.rows.read().removed().to_vec();
            let mut row = *first;
            for slot in 0..s.seg.rows.read().count {
                if is_set(before, slot) {
                    continue;
                }
                if is_set(&now, slot) {
                    let bytes = self.sizes.get(row as usize).copied().unwrap_or(0);
                    self.rows.kill(row, u64::from(bytes));
                }
                row += 1;
            }
        }
        if overwritten.is_empty() {
            return Ok(());
        }
        let path = &self.temporary.path;
        let files = &self.core.handles.files;
        let len = self.file_len as usize;
        let map = files.map(&self.file, path, len, len).doing("reading", path)?;
        for seq in overwritten {
            let table = TableRef::Mem(&self.rows.table);
            let at = table.slot(*seq).map(|slot| table.offset(slot));
            let frame = at.and_then(|at| Some((at, Frame::decode(map.as_ref().get(at as usize..)?, self.seed(), at)?)));
            if let Some((at, frame)) = frame {
                let raw = void_frame(&frame, self.seed(), at);
                let written = files.write_at(&self.file, path, &raw, at);
                written.doing("overwriting", path)?;
            }
        }
        files.sync(&self.file, path).syncing(path)
    }

    fn seed(&self) -> u32 {
        self.header.identity.seed()
    }

    /// Gives it its name, which is durable once the directory is synced, and answers the segment.
    pub fn publish(mut self) -> Result<Segment> {
        let files = &self.core.handles.files;
        files
            .rename(&self.temporary.path, &self.path)
            .doing("renaming", &self.temporary.path)?;
        self.temporary.made = false;
        let Footer { rows: count, .. } = self.footer;
        let rows = std::mem::take(&mut self.rows);
        debug_assert_eq!(rows.count, count, "{}", self.path.display());
        let seg = Segment::new(
            Handle::new(&self.core.handles, self.path.clone(), self.file_len),
            self.header.identity,
            self.header.flags,
            self.header.first_batch,
            Some(self.footer),
            // Its table is in the footer.
            rows.without_table(),
        )
        .begun_after(self.header.last);
        seg.end.store(self.footer.data_end, Ordering::Release);
        seg.file_len.store(self.file_len, Ordering::Release);
        if let Some(low) = self.tomb_low {
            seg.tomb_low.store(low, Ordering::Relaxed);
        }
        Ok(seg)
    }
}

/// What is done next.
enum Stage {
    /// What justifies leaving records out must be durable before they are.
    Sync,
    Copy,
    Finish,
}

/// A segment that is being written anew, from one or several.
pub(super) struct Rewrite {
    core: Arc<Core>,
    syncer: Arc<Syncer>,
    dir: PathBuf,
    group: Vec<SegRef>,
    /// The segments before: what erases records of them stays.
    older: Vec<SegRef>,
    /// The number that all its batches have.
    last_batch: u64,
    /// How each record is to be compressed; `None` leaves it as it is.
    compression: Option<Compression>,
    /// Who writes it anew then, if the log does not compress.
    recoder: Option<Arc<dyn Recoder>>,
    /// Whether somebody else may be waiting for the disk.
    beside: bool,
    stage: Stage,
    output: Option<Output>,
    /// The segment that is being copied, by its place in the group; the offset in it, and the row there.
    from: usize,
    at: u64,
    slot: u32,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

/// What is written.
struct Output {
    core: Arc<Core>,
    temporary: Temporary,
    path: PathBuf,
    /// Made when there is something to write.
    file: Option<File>,
    /// Bytes of the file so far.
    written: u64,
    /// What is to be written next.
    out: Vec<u8>,
    encoder: Encoder,
    /// Where the batch began that is being made.
    batch_at: u64,
    header: Header,
    last_batch: u64,
    rows: Rows,
    sizes: Vec<u32>,
    sources: Vec<(Vec<u64>, u32)>,
    /// Erasures of records in older segments, which stay.
    tombs: Vec<EraseRun>,
    /// The last erasure, which may be the same once more.
    twin: Vec<u8>,
    /// The segments before, in order.
    older: Vec<SegRef>,
    /// Whether somebody else may be waiting for the disk.
    beside: bool,
    old_floor: Seq,
    floor: Seq,
    log_last: Seq,
    /// The earliest and the latest time.
    times: Option<(i64, i64)>,
    /// Bytes of all records.
    bytes: u64,
    /// Used again for each body.
    body: Vec<u8>,
}

impl Rewrite {
    /// Begins with nothing. `older` are the segments before the group, `last_batch` is the last batch in it.
    pub fn new(
        (core, syncer, dir): (Arc<Core>, Arc<Syncer>, PathBuf),
        group: Vec<SegRef>,
        older: Vec<SegRef>,
        last_batch: u64,
        compression: Option<Compression>,
        outcome: Arc<Mutex<Option<Outcome>>>,
    ) -> Self {
        // What would become too long stays compressed as it is.
        let fits = group.iter().all(|s| kept_bytes(&s.seg) < SEGMENT_MAX / 2);
        Self {
            core,
            syncer,
            dir,
            group,
            older,
            last_batch,
            compression: compression.filter(|_| fits),
            recoder: None,
            beside: true,
            stage: Stage::Sync,
            output: None,
            from: 0,
            at: DATA_START,
            slot: 0,
            outcome,
        }
    }

    /// Records are written anew by that.
    pub fn by(self, recoder: Option<Arc<dyn Recoder>>) -> Self {
        Self { recoder, ..self }
    }

    /// Nobody else waits for the disk meanwhile: what is written goes there by and by, and is waited for once.
    pub fn alone(self) -> Self {
        Self { beside: false, ..self }
    }

    fn over(&mut self, outcome: Outcome) -> UpkeepPiece {
        self.output = None;
        *self.outcome.lock() = Some(outcome);
        UpkeepPiece { bytes: 0, over: true }
    }

    /// Something in a segment cannot be read: it is damaged, unless it was overwritten meanwhile.
    fn unreadable(&mut self, seg: &Segment) -> UpkeepPiece {
        let before = self.output.as_ref().and_then(|output| output.sources.get(self.from));
        let disturbed = before.is_some_and(|(before, _)| before[..] != *seg.rows.read().removed());
        self.over(match disturbed {
            true => Outcome::Disturbed,
            false => Outcome::Damaged(seg.identity.id),
        })
    }

    /// Takes over what is live of the next piece of a segment.
    fn copy(&mut self) -> Result<UpkeepPiece> {
        let Some(s) = self.group.get(self.from).cloned() else {
            self.stage = Stage::Finish;
            return Ok(UpkeepPiece::default());
        };
        let Some(output) = &mut self.output else {
            return Ok(self.unreadable(&s.seg));
        };
        let seg = &s.seg;
        let map = seg.map().doing("reading", &seg.handle.path)?;
        let end = seg.end.load(Ordering::Acquire);
        let count = seg.rows.read().count;
        let (begun, before) = (self.at, output.written);
        for item in Walk::from(&map[..end as usize], seg.seed, self.at) {
            let Item::Frame { at, frame, raw } = item else {
                return Ok(self.unreadable(seg));
            };
            self.at = at + raw.len() as u64;
            if matches!(frame.kind, Kind::Record | Kind::Void) {
                let live = self.slot < count && !is_set(&output.sources[self.from].0, self.slot);
                self.slot += 1;
                let how = self
                    .compression
                    .map(|compression| (compression, self.recoder.as_deref()));
                if live && !output.record(&frame, raw, how)? {
                    return Ok(self.unreadable(seg));
                }
            } else {
                output.control(&frame, raw);
            }
            if self.at - begun >= CHUNK || output.is_full() {
                break;
            }
        }
        if output.is_full() {
            output.end_batch();
            output.flush()?;
            output.begin_batch();
        }
        let bytes = self.at - begun + output.written - before;
        if self.at >= end {
            (self.from, self.at, self.slot) = (self.from + 1, DATA_START, 0);
            if self.from < self.group.len() {
                output.first_row(&self.group[self.from].seg, self.from);
            }
        }
        Ok(UpkeepPiece { bytes, over: false })
    }

    /// What it begins with; `None` if a header is damaged.
    fn begin(&self) -> Result<Option<Output>> {
        let (first, last) = (&self.group[0].seg, &self.group[self.group.len() - 1].seg);
        let map = first.map().doing("reading", &first.handle.path)?;
        let Some((old, _)) = Header::decode(&map, first.identity)? else {
            return Ok(None);
        };
        let identity = Identity {
            generation: old.identity.generation + 1,
            ..old.identity
        };
        let old_reach = {
            let map = last.map().doing("reading", &last.handle.path)?;
            Header::decode(&map, last.identity)?.map_or(0, |(h, _)| u64::from(h.replaces))
        };
        // What any of them truncated in older segments stays truncated.
        let begun_after = self.group.iter().map(|s| s.seg.begun_after).min();
        let header = Header {
            identity,
            last: begun_after.unwrap_or(old.last).min(old.last),
            replaces: (last.identity.id + old_reach - identity.id) as u32,
            ..old
        };
        let name = identity.file_name(self.group[0].first);
        let mut encoder = Encoder::new();
        encoder.begin(identity.seed(), DATA_START);
        Ok(Some(Output {
            core: self.core.clone(),
            temporary: Temporary {
                files: self.core.handles.files.clone(),
                path: self.dir.join(format!("{name}.tmp")),
                made: false,
            },
            path: self.dir.join(name),
            file: None,
            written: 0,
            out: header.encode().to_vec(),
            encoder,
            batch_at: DATA_START,
            header,
            last_batch: self.last_batch,
            rows: Rows::default(),
            sizes: Vec::new(),
            // Before the sync: what is removed later may not be on disk when it is left out.
            sources: self
                .group
                .iter()
                .map(|s| (s.seg.rows.read().removed().to_vec(), 0))
                .collect(),
            tombs: Vec::new(),
            twin: Vec::new(),
            older: self.older.clone(),
            beside: self.beside,
            floor: old.floor,
            log_last: old.last,
            times: None,
            bytes: 0,
            old_floor: old.floor,
            body: Vec::new(),
        }))
    }

    /// Writes the rest, and sees to it that all is on disk.
    fn finish(&mut self) -> Result<UpkeepPiece> {
        let Some(mut output) = self.output.take() else {
            return Ok(self.over(Outcome::Disturbed));
        };
        let mut runs = std::mem::take(&mut output.tombs);
        // Of two that begin alike, the later one counts.
        runs.reverse();
        runs.sort_by_key(|run| run.first);
        runs.dedup_by_key(|run| run.first);
        let before = output.written;
        let footer = output.finish(&runs)?;
        let bytes = output.written - before;
        let Some(file) = output.file.take() else {
            return Ok(self.over(Outcome::Disturbed));
        };
        let made = Made {
            core: output.core,
            temporary: output.temporary,
            file,
            path: output.path,
            header: output.header,
            footer,
            file_len: output.written,
            rows: output.rows,
            sizes: output.sizes,
            sources: output.sources,
            tomb_low: runs.first().map(|run| run.first),
        };
        let piece = self.over(Outcome::Made(Box::new(made)));
        Ok(UpkeepPiece { bytes, ..piece })
    }
}

impl Upkeep for Rewrite {
    fn step(&mut self) -> Result<UpkeepPiece> {
        match self.stage {
            Stage::Sync => {
                self.output = self.begin()?;
                if self.output.is_none() {
                    return Ok(self.over(Outcome::Damaged(self.group[0].seg.identity.id)));
                }
                sync_log(&self.core, &self.syncer, &self.dir)?;
                self.stage = Stage::Copy;
                Ok(UpkeepPiece::default())
            }
            Stage::Copy => self.copy(),
            Stage::Finish => self.finish(),
        }
    }
}

/// Syncs a log, and poisons the whole backend if that fails: what the kernel dropped it will not write later.
pub(super) fn sync_log(core: &Core, syncer: &Syncer, dir: &Path) -> Result<()> {
    let result = syncer.sync(false).syncing(dir);
    if let Err(error) = &result {
        let _ = core.poison.set(error.message.clone());
    }
    result
}

impl Output {
    /// The rows of the next old segment begin here.
    fn first_row(&mut self, seg: &Segment, at: usize) {
        debug_assert!(at < self.sources.len(), "{}", seg.handle.path.display());
        self.sources[at].1 = self.rows.count;
    }

    fn is_full(&self) -> bool {
        self.encoder.position() - self.batch_at >= CHUNK
    }

    fn begin_batch(&mut self) {
        self.batch_at = self.written;
        self.encoder.begin(self.header.identity.seed(), self.batch_at);
    }

    /// What is no record.
    fn control(&mut self, frame: &Frame, raw: &[u8]) {
        match frame.kind {
            Kind::Begin => {
                if let Some(begin) = Begin::of(frame, raw) {
                    self.log_last = self.log_last.max(begin.last);
                }
            }
            Kind::Trim => self.floor = self.floor.max(frame.seq),
            Kind::Erase => {
                let stored = frame.stored(raw);
                if !frame.body_is_good(raw) || stored == self.twin {
                    return;
                }
                stored.clone_into(&mut self.twin);
                let mut runs = Vec::new();
                if decode_runs(stored, &mut runs).is_some() {
                    self.keep_needed(&runs);
                }
            }
            Kind::Record | Kind::Void => {}
        }
    }

    /// Keeps the erasures of what lies in older segments still. Records in those that are written anew go with what erases them; and
    /// older ones that were written anew have what was erased no more, and that was on disk before this one was begun.
    fn keep_needed(&mut self, mut runs: &[EraseRun]) {
        while let Some(first) = runs.first().map(|run| run.first) {
            let at = self.older.partition_point(|s| s.first <= first).checked_sub(1);
            let Some(s) = at.map(|at| &self.older[at]).filter(|s| first <= s.last) else {
                runs = &runs[1..];
                continue;
            };
            let is_here = |run: &&EraseRun| s.first <= run.first && run.first <= s.last;
            let (here, others) = runs.split_at(runs.iter().take_while(is_here).count());
            runs = others;
            let needed = s.seg.with_table(|table| {
                let has = |run: &&EraseRun| table.ceiling(run.first) < table.ceiling(run.first + run.count);
                here.iter().filter(has).copied().collect::<Vec<_>>()
            });
            // Where the table cannot be read, nothing is known of it.
            self.tombs.append(&mut needed.unwrap_or_else(|_| here.to_vec()));
        }
    }

    /// A live record; answers `false` if it is damaged.
    fn record(&mut self, frame: &Frame, raw: &[u8], how: Option<(Compression, Option<&dyn Recoder>)>) -> Result<bool> {
        if !frame.body_is_good(raw) {
            return Ok(false);
        }
        let at = self.encoder.position();
        match how.filter(|_| frame.kind == Kind::Record) {
            Some((_, Some(recoder))) if frame.is_bare() => {
                let stored = Record {
                    seq: frame.seq,
                    time: frame.time,
                    head: frame.head(raw),
                    body: frame.stored(raw),
                };
                match recoder.recode(&stored)? {
                    Some(anew) => {
                        let record = Record {
                            head: &anew.head,
                            body: &anew.body,
                            ..stored
                        };
                        self.encoder.record(&record, anew.counts, Compression::None);
                    }
                    None => self.encoder.copy(frame, raw),
                }
            }
            Some((compression, _)) if frame.codec != COUNTED => {
                self.body.clear();
                if !decompress(frame.codec, frame.stored(raw), frame.body_len, &mut self.body) {
                    return Ok(false);
                }
                let record = Record {
                    seq: frame.seq,
                    time: frame.time,
                    head: frame.head(raw),
                    body: &self.body,
                };
                self.encoder.record(&record, frame.body_len, compression);
            }
            _ => self.encoder.copy(frame, raw),
        }
        self.rows.push(frame.seq, at, frame.size());
        self.sizes.push(u32::try_from(frame.size()).unwrap_or(u32::MAX));
        self.bytes += frame.size();
        let t = self.times.get_or_insert((frame.time, frame.time));
        *t = (t.0.min(frame.time), t.1.max(frame.time));
        self.log_last = self.log_last.max(frame.seq);
        Ok(true)
    }

    fn end_batch(&mut self) {
        let raw = self
            .encoder
            .finish(self.last_batch, self.last_batch, self.log_last, None);
        self.out.extend_from_slice(raw);
    }

    /// Writes what there is to the file.
    fn flush(&mut self) -> Result<()> {
        let path = &self.temporary.path;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let made = self.core.handles.open(path, Mode::Create).doing("making", path)?;
                self.temporary.made = true;
                self.file.insert(made)
            }
        };
        let files = &self.core.handles.files;
        files
            .write_at(file, path, &self.out, self.written)
            .doing("writing", path)?;
        match self.beside {
            // Piece by piece: all at once would keep those waiting who sync meanwhile.
            true => files.sync(file, path).syncing(path)?,
            false => files.will_sync(file, self.written, self.out.len() as u64),
        }
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Writes the rest, and sees to it that all is on disk; answers the footer.
    fn finish(&mut self, runs: &[EraseRun]) -> Result<Footer> {
        let mut tombs = Vec::new();
        if !runs.is_empty() {
            self.encoder.erase(runs, false);
            encode_runs(runs, &mut tombs);
        }
        if self.floor > self.old_floor {
            self.encoder.trim(self.floor);
        }
        self.end_batch();
        let (first, last) = match (self.rows.table.runs.first(), self.rows.table.last()) {
            (Some(run), Some(last)) => (run.seq, last),
            _ => (0, 0),
        };
        let times = self.times.unwrap_or_default();
        let mut footer = Footer {
            data_end: self.written + self.out.len() as u64,
            first,
            last,
            min_time: times.0,
            max_time: times.1,
            bytes: self.bytes,
            last_batch: self.last_batch,
            floor: self.floor,
            log_last: self.log_last,
            ..Footer::default()
        };
        let encoded = footer.encode(self.header.identity, &self.rows.table, &tombs, 0);
        self.out.extend_from_slice(&encoded);
        self.flush()?;
        if let (Some(file), false) = (&self.file, self.beside) {
            let path = &self.temporary.path;
            self.core.handles.files.sync(file, path).syncing(path)?;
        }
        Ok(footer)
    }
}
