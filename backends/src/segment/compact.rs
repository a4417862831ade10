//! Reclaiming space: segments that are mostly removed records are written anew without them.
//!
//! A rewrite makes a file under a temporary name, syncs it, gives it its name, which states a higher generation, and
//! syncs the directory; only then are the old files unlinked. Opening after a crash at any step finds either the old
//! files or the new one, and where both, believes the new one. Old readers keep the old file's map.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Compression, Record, Result, Seq};

use super::files::{File, Mode};
use super::format::{
    Begin, DATA_START, Encoder, EraseRun, Header, Identity, Kind, SEGMENT_MAX, batch_bound, decode_runs, decompress,
    encode_runs,
};
use super::handle::{Handle, Handles};
use super::rows::{Rows, Segment};
use super::seal::Footer;
use super::state::{Doing, SegRef};
use super::walk::{Item, Walk};
use super::writer::SegmentLog;

/// A rewrite must save at least this many bytes.
const GAIN_MIN: u64 = 4096;

/// How much is written at once.
const CHUNK: u64 = 1 << 20;

/// About how many bytes a segment would take without what is removed.
fn kept_bytes(seg: &Segment) -> u64 {
    let rows = seg.rows.read();
    let tombs = seg.footer.map_or(0, |f| 2 * u64::from(f.tombs_len));
    rows.bytes + u64::from(rows.live) * 48 + tombs
}

fn used_bytes(seg: &Segment) -> u64 {
    seg.end.load(Ordering::Acquire) - DATA_START
}

fn mostly_dead(seg: &Segment) -> bool {
    let (kept, used) = (kept_bytes(seg), used_bytes(seg));
    kept * 2 < used && used - kept >= GAIN_MIN
}

impl SegmentLog {
    /// The work of [`weir_engine::Log::maintain`]. Its unit is one segment, so it may go beyond the budget by one.
    pub(super) fn tidy(&mut self, budget: u64) -> Result<bool> {
        self.reap()?;
        if !self.doomed.is_empty() {
            // Make the removal durable, and the log say so, and then unlink.
            self.sync_now()?;
            self.write_mark()?;
            self.sync_now()?;
            self.reap()?;
        }
        if self.options.preallocate {
            return Ok(false);
        }
        let mut spent = 0;
        while let Some((from, to)) = self.next_group() {
            if spent > 0 && spent >= budget {
                return Ok(true);
            }
            let group = self.shared.state.read().segs[from..to].to_vec();
            spent += group.iter().map(|s| kept_bytes(&s.seg)).sum::<u64>().max(1);
            self.rewrite(from, &group, None)?;
        }
        Ok(false)
    }

    /// The work of [`weir_engine::Log::compact`].
    pub(super) fn compact_all(
        &mut self,
        compression: Option<Compression>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        self.tidy(u64::MAX)?;
        if self.options.preallocate {
            return Ok(());
        }
        if let Some(compression) = compression {
            self.options.compression = compression;
        }
        self.free_tail(compression.is_some())?;
        let all: u64 = self.shared.state.read().segs.iter().map(|s| used_bytes(&s.seg)).sum();
        let mut spent = 0;
        // Segments that have their compression.
        let mut done = BTreeSet::new();
        while let Some((from, to)) = self.next_to_compact(compression.is_some(), &done) {
            let group = self.shared.state.read().segs[from..to].to_vec();
            spent += group.iter().map(|s| used_bytes(&s.seg)).sum::<u64>();
            done.extend(group.iter().map(|s| s.seg.identity.id));
            self.rewrite(from, &group, compression)?;
            progress(spent.min(all), all);
        }
        self.began = true;
        self.settle()?;
        self.tidy(u64::MAX)?;
        Ok(())
    }

    /// Ends the newest segment if there is something in it to do: only older ones are rewritten.
    fn free_tail(&mut self, recompress: bool) -> Result<()> {
        let Some(tail) = &self.tail else { return Ok(()) };
        let worth = {
            let rows = tail.seg.rows.read();
            rows.live < rows.count || (recompress && rows.live > 0)
        };
        if worth {
            let last = self.shared.state.read().extent.last;
            self.begin_next(batch_bound(&[], 0), last + 1)?;
        }
        Ok(())
    }

    /// The next neighbours, with anything removed in them or all of them, that fill no more than one segment together.
    fn next_to_compact(&self, recompress: bool, done: &BTreeSet<u64>) -> Option<(usize, usize)> {
        let state = self.shared.state.read();
        let wants = |s: &SegRef| {
            let id = s.seg.identity.id;
            let rows = s.seg.rows.read();
            let worth = rows.live < rows.count || (recompress && rows.live > 0);
            worth && s.seg.flags == 0 && !self.keep.contains(&id) && !done.contains(&id)
        };
        // The newest segment stays: its header has what must not be lost.
        let last = state.segs.len().checked_sub(1)?;
        let from = state.segs[..last].iter().position(wants)?;
        let mut total = kept_bytes(&state.segs[from].seg);
        let mut to = from + 1;
        while to < last && wants(&state.segs[to]) {
            total += kept_bytes(&state.segs[to].seg);
            if total > self.options.segment_bytes {
                break;
            }
            to += 1;
        }
        Some((from, to))
    }

    /// The next neighbours to be written as one: a segment that is mostly removed records and what is small beside
    /// it, or several small ones.
    fn next_group(&self) -> Option<(usize, usize)> {
        let state = self.shared.state.read();
        let tail = self.tail.as_ref().map(|t| t.seg.identity.id);
        let size = self.options.segment_bytes;
        let usable =
            |s: &SegRef| Some(s.seg.identity.id) != tail && s.seg.flags == 0 && !self.keep.contains(&s.seg.identity.id);
        let small = |s: &SegRef| kept_bytes(&s.seg) < size / 4;
        let last = state.segs.len().checked_sub(1)?;
        for from in 0..last {
            if !usable(&state.segs[from]) {
                continue;
            }
            let mut worth = mostly_dead(&state.segs[from].seg);
            if !worth && !small(&state.segs[from]) {
                continue;
            }
            let mut total = kept_bytes(&state.segs[from].seg);
            let mut to = from + 1;
            // The newest segment stays: its header has what must not be lost.
            while to < last && usable(&state.segs[to]) {
                let s = &state.segs[to];
                total += kept_bytes(&s.seg);
                if total > size / 2 || !(mostly_dead(&s.seg) || small(s)) {
                    break;
                }
                worth |= mostly_dead(&s.seg);
                to += 1;
            }
            // Merging small ones pays only when there are several.
            if worth || to - from >= 4 {
                return Some((from, to));
            }
        }
        None
    }

    /// Writes neighbours anew, as one; with a compression, each record gets that.
    fn rewrite(&mut self, from: usize, group: &[SegRef], compression: Option<Compression>) -> Result<()> {
        // What justifies leaving records out must be durable before they are.
        self.sync_now()?;
        let Some(mut rewrite) = self.begin_rewrite(from, group)? else {
            return Ok(());
        };
        // What would become too long stays compressed as it is.
        let fits = |s: &SegRef| kept_bytes(&s.seg) < SEGMENT_MAX / 2;
        rewrite.compression = compression.filter(|_| group.iter().all(fits));
        for s in group {
            if !rewrite.copy(&s.seg)? {
                // What is damaged would be lost.
                self.keep.push(s.seg.identity.id);
                return Ok(());
            }
        }
        // Erasures of records in this group go with the records; those of older segments that are still there stay.
        let runs: Vec<EraseRun> = {
            let state = self.shared.state.read();
            let older = &state.segs[..from];
            let tombs = std::mem::take(&mut rewrite.tombs).into_values();
            tombs
                .filter(|run| older.iter().any(|s| s.first <= run.first && run.first <= s.last))
                .collect()
        };
        let (footer, file_len) = rewrite.finish(&runs)?;
        self.began = true;
        self.temporary = None;
        let files = self.core.handles.files.clone();
        files
            .rename(&rewrite.temporary, &rewrite.path)
            .doing("renaming", &rewrite.temporary)?;
        files.sync_dir(&self.dir).syncing(&self.dir)?;

        let seg = Segment::new(
            Handle::new(&self.core.handles, rewrite.path, file_len),
            rewrite.header.identity,
            rewrite.header.flags,
            rewrite.header.first_batch,
            Some(footer),
            Segment::rows_of(&footer),
        )
        .begun_after(rewrite.header.last);
        seg.end.store(footer.data_end, Ordering::Release);
        seg.file_len.store(file_len, Ordering::Release);
        if let Some(run) = runs.first() {
            seg.tomb_low.store(run.first, Ordering::Relaxed);
        }
        self.put_in_place(from, group, seg, &footer)
    }

    /// What a rewrite of these neighbours begins with; `None` if their header is damaged, and they stay.
    fn begin_rewrite(&mut self, from: usize, group: &[SegRef]) -> Result<Option<Rewrite>> {
        let first_seg = &group[0].seg;
        let last_seg = &group[group.len() - 1].seg;
        let last_batch = {
            let state = self.shared.state.read();
            state.segs[from + group.len()].seg.first_batch.saturating_sub(1)
        };
        let map = first_seg.map().doing("reading", &first_seg.handle.path)?;
        let Some((old, _)) = Header::decode(&map, first_seg.identity)? else {
            self.keep.push(first_seg.identity.id);
            return Ok(None);
        };
        let identity = Identity {
            generation: old.identity.generation + 1,
            ..old.identity
        };
        let old_reach = {
            let map = last_seg.map().doing("reading", &last_seg.handle.path)?;
            Header::decode(&map, last_seg.identity)?.map_or(0, |(h, _)| u64::from(h.replaces))
        };
        // What any of them truncated in older segments stays truncated.
        let begun_after = group.iter().map(|s| s.seg.begun_after).min();
        let header = Header {
            identity,
            last: begun_after.unwrap_or(old.last).min(old.last),
            replaces: (last_seg.identity.id + old_reach - identity.id) as u32,
            ..old
        };
        let name = identity.file_name(group[0].first);
        let temporary = self.dir.join(format!("{name}.tmp"));
        self.temporary = Some(temporary.clone());
        let mut encoder = Encoder::new();
        encoder.begin(identity.seed(), DATA_START);
        Ok(Some(Rewrite {
            handles: self.core.handles.clone(),
            path: self.dir.join(name),
            temporary,
            file: None,
            written: 0,
            out: header.encode().to_vec(),
            encoder,
            compression: None,
            body: Vec::new(),
            last_batch,
            rows: Rows::default(),
            tombs: BTreeMap::new(),
            floor: old.floor,
            log_last: old.last,
            times: None,
            bytes: 0,
            old_floor: old.floor,
            header,
        }))
    }

    /// The rewritten segment takes the place of the group, whose files go.
    fn put_in_place(&mut self, from: usize, group: &[SegRef], seg: Segment, footer: &Footer) -> Result<()> {
        let first = if footer.first == 0 {
            group[0].first
        } else {
            footer.first
        };
        let last = if footer.last == 0 {
            first.saturating_sub(1)
        } else {
            footer.last
        };
        {
            let mut state = self.shared.state.write();
            let old_len: u64 = group.iter().map(|s| s.seg.file_len.load(Ordering::Relaxed)).sum();
            let file_len = seg.file_len.load(Ordering::Relaxed);
            state.extent.disk_bytes = (state.extent.disk_bytes + file_len).saturating_sub(old_len);
            let new = SegRef {
                first,
                last,
                seg: Arc::new(seg),
            };
            state.segs.splice(from..from + group.len(), [new]);
        }
        for s in group {
            let path = &s.seg.handle.path;
            self.syncer.forget(&s.seg.handle);
            self.core.handles.files.remove(path).doing("removing", path)?;
            s.seg.handle.close();
        }
        self.syncer.mark_dir();
        Ok(())
    }
}

/// A segment that is being written anew, from one or several.
struct Rewrite {
    handles: Arc<Handles>,
    /// The name that it gets when it is whole.
    path: PathBuf,
    /// The name until then.
    temporary: PathBuf,
    /// Made when there is something to write.
    file: Option<File>,
    /// Bytes of the file so far.
    written: u64,
    /// What is to be written next.
    out: Vec<u8>,
    encoder: Encoder,
    /// How each record is to be compressed; `None` leaves it as it is.
    compression: Option<Compression>,
    /// Used again for each body.
    body: Vec<u8>,
    header: Header,
    /// The number that all its batches have.
    last_batch: u64,
    rows: Rows,
    /// Erasures of the segments, by their first sequence.
    tombs: BTreeMap<Seq, EraseRun>,
    old_floor: Seq,
    floor: Seq,
    log_last: Seq,
    /// The earliest and the latest time.
    times: Option<(i64, i64)>,
    /// Bytes of all records.
    bytes: u64,
}

impl Rewrite {
    /// Takes over what is live in a segment; answers `false` if something in it is damaged.
    fn copy(&mut self, seg: &Segment) -> Result<bool> {
        let map = seg.map().doing("reading", &seg.handle.path)?;
        let end = seg.end.load(Ordering::Acquire) as usize;
        let mut slot = 0;
        for item in Walk::new(&map[..end], seg.seed) {
            let Item::Frame { at: _, frame, raw } = item else {
                return Ok(false);
            };
            match frame.kind {
                Kind::Begin => {
                    if let Some(begin) = Begin::of(&frame, raw) {
                        self.log_last = self.log_last.max(begin.last);
                    }
                }
                Kind::Trim => self.floor = self.floor.max(frame.seq),
                Kind::Erase => {
                    let mut runs = Vec::new();
                    if frame.body_is_good(raw) && decode_runs(frame.stored(raw), &mut runs).is_some() {
                        self.tombs.extend(runs.into_iter().map(|run| (run.first, run)));
                    }
                }
                Kind::Record | Kind::Void => {
                    let live = slot < seg.rows.read().count && !seg.rows.read().is_dead(slot);
                    slot += 1;
                    if !live {
                        continue;
                    }
                    if !frame.body_is_good(raw) {
                        return Ok(false);
                    }
                    let at = self.encoder.position();
                    match self.compression {
                        Some(compression) if frame.kind == Kind::Record => {
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
                            self.encoder.record(&record, compression);
                        }
                        _ => self.encoder.copy(&frame, raw),
                    }
                    self.rows.push(frame.seq, at, frame.size());
                    self.bytes += frame.size();
                    let t = self.times.get_or_insert((frame.time, frame.time));
                    *t = (t.0.min(frame.time), t.1.max(frame.time));
                    self.log_last = self.log_last.max(frame.seq);
                }
            }
            let start = self.written + self.out.len() as u64;
            if self.encoder.position() - start >= CHUNK {
                self.end_batch();
                self.flush()?;
                self.encoder.begin(self.header.identity.seed(), self.written);
            }
        }
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
        let path = &self.temporary;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let made = self.handles.open(path, Mode::Create).doing("making", path)?;
                self.file.insert(made)
            }
        };
        let written = self.handles.files.write_at(file, path, &self.out, self.written);
        written.doing("writing", path)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Writes the rest, and sees to it that all is on disk; answers the footer, and the length of the file.
    fn finish(&mut self, runs: &[EraseRun]) -> Result<(Footer, u64)> {
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
        if let Some(file) = &self.file {
            let synced = self.handles.files.sync(file, &self.temporary);
            synced.syncing(&self.temporary)?;
        }
        Ok((footer, self.written))
    }
}
