//! The writer of a log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use weir_engine::{Error, Kind as ErrorKind, Log, LogChange, LogId, LogOptions, LogReader, Record, Result, Seq};

use super::backend::Core;
use super::files::Mode;
use super::format::{
    BATCH_MAX, DATA_START, Encoder, EraseRun, FLAG_PREALLOCATED, Header, Identity, SEGMENT_MAX, batch_bound,
    encode_runs, void_frame,
};
use super::handle::Handle;
use super::reader::SegmentReader;
use super::recover::{Recovered, TailInfo};
use super::rows::{Rows, Segment};
use super::seal::Footer;
use super::state::{Doing, SegRef, Shared, no_space};
use super::sync::Syncer;
use super::worker::{Preparation, Spares, fill, make_spare};

#[cfg(test)]
thread_local! {
    /// How often a log of this thread looked at all its segments.
    pub(super) static WALKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The segment that is being written.
pub(super) struct Tail {
    pub(super) seg: Arc<Segment>,
    pub(super) pos: u64,
    capacity: u64,
    /// Up to here the file has room on the disk, as far as is known.
    reserved: u64,
    info: TailInfo,
}

/// A segment to unlink once the batch that emptied it can no longer be lost.
pub(super) struct Doomed {
    pub(super) batch: u64,
    pub(super) seg: Arc<Segment>,
}

/// The only writer of one log.
pub struct SegmentLog {
    pub(super) core: Arc<Core>,
    pub(super) id: LogId,
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) syncer: Arc<Syncer>,
    pub(super) tail: Option<Tail>,
    /// The last batch's number.
    pub(super) number: u64,
    pub(super) next_id: u64,
    pub(super) doomed: VecDeque<Doomed>,
    /// A journal's files to be used next.
    pub(super) spares: Arc<Mutex<Spares>>,
    /// Segments with no live record that were there for another reason when all were last looked at. Not known
    /// after opening: then at least one.
    idle_segments: usize,
    /// For each batch that first carried a new durable number: the batch, and the number.
    marks: VecDeque<(u64, u64)>,
    /// The highest durable number that is itself durable in the log: what recovery will find, at least.
    recorded: u64,
    /// The last batch that was nothing but a mark.
    last_mark: u64,
    pub(super) encoder: Encoder,
    poison: Option<String>,
    /// Whether the operation that runs has changed anything.
    pub(super) began: bool,
    /// The file that a rewrite is being made in.
    pub(super) temporary: Option<PathBuf>,
    /// Segments that hold damage, which a rewrite would lose.
    pub(super) keep: Vec<u64>,
}

/// An erased record of this batch: its segment's place, row and size.
struct Erased {
    seq: Seq,
    seg: Arc<Segment>,
    slot: u32,
    at: u64,
    bytes: u64,
}

impl SegmentLog {
    pub(super) fn new(
        core: Arc<Core>,
        id: LogId,
        dir: PathBuf,
        options: LogOptions,
        shared: Arc<Shared>,
        syncer: Arc<Syncer>,
        recovered: Recovered,
    ) -> Self {
        let tail = recovered.tail.and_then(|info| {
            let last = shared.state.read().segs.last()?.seg.clone();
            let pos = last.end.load(Ordering::Acquire);
            let capacity = if last.flags & FLAG_PREALLOCATED != 0 {
                last.file_len.load(Ordering::Acquire)
            } else {
                options.segment_bytes
            };
            Some(Tail {
                seg: last,
                pos,
                capacity,
                reserved: pos,
                info,
            })
        });
        syncer.written.store(recovered.number, Ordering::Release);
        syncer.durable.store(recovered.durable, Ordering::Release);
        Self {
            core,
            id,
            dir,
            options,
            shared,
            syncer,
            tail,
            number: recovered.number,
            next_id: recovered.next_id,
            doomed: VecDeque::new(),
            spares: Arc::default(),
            idle_segments: 1,
            marks: VecDeque::new(),
            recorded: recovered.durable,
            last_mark: 0,
            encoder: Encoder::new(),
            poison: None,
            began: false,
            temporary: None,
            keep: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(why) = self.poison.as_ref().or(self.core.poison.get()) {
            return Err(Error::new(
                ErrorKind::Poisoned,
                format!("log {}: an earlier write or sync failed: {why}", self.id),
            ));
        }
        if self.core.handles.read_only {
            return Err(Error::unsupported("this store is open for reading only"));
        }
        Ok(())
    }

    /// Passes a result on, and poisons the log if it is an error; unless a file could not be opened, or the disk was
    /// full, before anything was changed.
    pub(super) fn poisoning<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let harmless = matches!(error.kind, ErrorKind::Busy | ErrorKind::Full);
            if harmless && !self.began {
                tracing::warn!("log {}: {error}", self.id);
                return result;
            }
            self.poison.get_or_insert_with(|| error.message.clone());
            tracing::error!("log {}: {error}", self.id);
        }
        result
    }

    fn last(&self) -> Seq {
        self.shared.state.read().extent.last
    }

    fn validate(&self, batch: &LogChange<'_>) -> Result<()> {
        if !batch.kv.is_empty() {
            return Err(Error::unsupported(
                "the segment backend cannot write keys and records in one step",
            ));
        }
        let mut last = self.last();
        for record in batch.append {
            if record.seq <= last || record.seq == Seq::MAX {
                return Err(Error::invalid(format!(
                    "log {}: sequence {} is not above {last}",
                    self.id, record.seq
                )));
            }
            if record.head.len() > Record::HEAD_MAX || record.body.len() > Record::BODY_MAX {
                return Err(Error::invalid(format!(
                    "log {}: record {} is too long: {} and {} bytes; at most {} and {}",
                    self.id,
                    record.seq,
                    record.head.len(),
                    record.body.len(),
                    Record::HEAD_MAX,
                    Record::BODY_MAX
                )));
            }
            last = record.seq;
        }
        if batch_bound(batch.append, batch.erase.len()) > BATCH_MAX {
            return Err(Error::invalid(format!(
                "log {}: a batch of more than {BATCH_MAX} bytes",
                self.id
            )));
        }
        if batch.trim == Some(Seq::MAX) {
            return Err(Error::invalid("a trim to the highest number there is"));
        }
        Ok(())
    }

    /// The live records among those to erase that are stored already, in order.
    fn find_erased(&self, seqs: &[Seq]) -> Result<Vec<Erased>> {
        let mut found = Vec::with_capacity(seqs.len());
        for &seq in seqs {
            let seg = {
                let state = self.shared.state.read();
                state.place(seq).map(|i| state.segs[i].seg.clone())
            };
            let Some(seg) = seg else { continue };
            let path = &seg.handle.path;
            let Some((slot, at)) = seg.find(seq).doing("reading", path)? else {
                continue;
            };
            let (_, frame) = seg.frame(at).doing("reading", path)?;
            let bytes = frame.map_or(0, |f| f.size());
            found.push(Erased {
                seq,
                slot,
                at,
                bytes,
                seg,
            });
        }
        Ok(found)
    }

    fn write_batch(&mut self, batch: &LogChange<'_>) -> Result<()> {
        let last = self.last();
        let mut erase = batch.erase.to_vec();
        erase.sort_unstable();
        erase.dedup();
        // Those of this very batch are not in any table yet.
        let stored = erase.partition_point(|seq| *seq <= last);
        let own = erase.split_off(stored);
        let mut erased = self.find_erased(&erase)?;
        let own: Vec<(Seq, u64)> = own
            .into_iter()
            .filter_map(|seq| {
                let i = batch.append.binary_search_by_key(&seq, |r| r.seq).ok()?;
                let record = &batch.append[i];
                Some((seq, (record.head.len() + record.body.len()) as u64))
            })
            .collect();
        let (first, floor) = {
            let state = self.shared.state.read();
            (state.extent.first, state.floor)
        };
        let trim = batch.trim.filter(|trim| *trim > first.max(floor) || *trim > last + 1);
        if batch.append.is_empty() && erased.is_empty() && own.is_empty() && trim.is_none() {
            return Ok(());
        }
        let runs = runs_of(&erased, &own);

        let bound = batch_bound(batch.append, erased.len() + own.len());
        let next = batch.append.first().map_or(last + 1, |r| r.seq);
        if self.make_room(bound, next, batch.append.is_empty())? {
            // Sealing gave the segment another form.
            erased = self.find_erased(&erase)?;
        }
        let durable = self.syncer.durable.load(Ordering::Acquire);
        let number = self.number + 1;
        let mut after = batch.append.last().map_or(last, |r| r.seq);
        if let Some(trim) = trim {
            after = after.max(trim - 1);
        }
        let Some(tail) = &mut self.tail else {
            return Err(Error::invalid("no segment to write to"));
        };
        let seg = tail.seg.clone();
        let path = &seg.handle.path;
        self.encoder.begin(seg.seed, tail.pos);
        let mut places = Vec::with_capacity(batch.append.len());
        for record in batch.append {
            places.push(self.encoder.position());
            self.encoder.record(record, self.options.compression);
        }
        if !runs.is_empty() {
            self.encoder.erase(&runs, batch.overwrite);
        }
        if let Some(trim) = trim {
            self.encoder.trim(trim);
        }
        let raw = self.encoder.finish(number, durable, after);
        let end = tail.pos + raw.len() as u64;
        // The last steps that may fail for want of a file or of room and change nothing.
        let file = seg.handle.file().doing("opening", path)?;
        if !self.options.preallocate && !batch.append.is_empty() && end + REMOVALS_BYTES > tail.reserved {
            let reserve = end + REMOVALS_BYTES + (end / 8).clamp(RESERVE_MIN, RESERVE_MAX);
            let files = &self.core.handles.files;
            files.keep_room(&file, path, reserve).doing("writing", path)?;
            tail.reserved = reserve;
        }
        write_behind(&seg, raw, tail.pos)?;
        self.began = true;

        self.syncer.mark(&seg.handle);
        self.number = number;
        self.syncer.written.store(number, Ordering::Release);
        if self.marks.back().map_or(self.recorded, |m| m.1) < durable {
            self.marks.push_back((number, durable));
        }
        tail.pos = end;
        tail.info.written = true;
        if !runs.is_empty() {
            encode_runs(&runs, &mut tail.info.tombs);
            seg.tomb_low.fetch_min(runs[0].first, Ordering::Relaxed);
        }
        let mut added = 0;
        for record in batch.append {
            let new = tail.info.bytes == 0 && tail.info.min_time == 0 && tail.info.max_time == 0;
            tail.info.min_time = if new {
                record.time
            } else {
                tail.info.min_time.min(record.time)
            };
            tail.info.max_time = if new {
                record.time
            } else {
                tail.info.max_time.max(record.time)
            };
            added += (record.head.len() + record.body.len()) as u64;
        }
        tail.info.bytes += added;
        self.publish(&seg, batch, &places, end, added, after, &erased, &own);
        if batch.overwrite && !(erased.is_empty() && own.is_empty()) {
            self.overwrite(&seg, batch, &places, &erased, &own)?;
        }
        let mut touched: Vec<Arc<Segment>> = erased.into_iter().map(|e| e.seg).collect();
        touched.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if let Some(trim) = trim {
            touched.extend(self.apply_trim(trim)?);
        }
        if trim.is_some() || !touched.is_empty() || !own.is_empty() {
            self.settle_touched(&touched, trim.is_some())?;
        }
        self.prepare_spare();
        Ok(())
    }

    /// Lets readers see the batch.
    #[allow(clippy::too_many_arguments, reason = "the pieces of one batch, used once")]
    fn publish(
        &self,
        seg: &Arc<Segment>,
        batch: &LogChange<'_>,
        places: &[u64],
        end: u64,
        added: u64,
        after: Seq,
        erased: &[Erased],
        own: &[(Seq, u64)],
    ) {
        seg.end.store(end, Ordering::Release);
        let mut rows = seg.rows.write();
        let before = rows.count;
        for (record, at) in batch.append.iter().zip(places) {
            rows.push(record.seq, *at, (record.head.len() + record.body.len()) as u64);
        }
        let mut gone = (0, 0);
        for (seq, bytes) in own {
            if let Ok(i) = batch.append.binary_search_by_key(seq, |r| r.seq)
                && rows.kill(before + i as u32, *bytes)
            {
                gone = (gone.0 + 1, gone.1 + bytes);
            }
        }
        drop(rows);
        for e in erased {
            if e.seg.rows.write().kill(e.slot, e.bytes) {
                gone = (gone.0 + 1, gone.1 + e.bytes);
            }
        }
        let grown = end.saturating_sub(seg.file_len.fetch_max(end, Ordering::AcqRel));
        let mut state = self.shared.state.write();
        if let (Some(first), Some(last)) = (batch.append.first(), batch.append.last())
            && let Some(r) = state.segs.last_mut()
        {
            if r.last < r.first {
                r.first = first.seq;
            }
            r.last = last.seq;
        }
        if state.extent.count == 0
            && let Some(first) = batch.append.first()
        {
            state.extent.first = first.seq;
        }
        state.extent.last = after;
        state.extent.count = state.extent.count + batch.append.len() as u64 - gone.0;
        state.extent.bytes = (state.extent.bytes + added).saturating_sub(gone.1);
        state.extent.disk_bytes += grown;
        if !state.damaged.is_empty() {
            for e in erased {
                state.damaged.remove(&e.seq);
            }
        }
    }

    /// Overwrites erased records in place. The erasure is made durable first: after a crash between the two the
    /// records must not be found damaged instead of erased.
    fn overwrite(
        &mut self,
        seg: &Arc<Segment>,
        batch: &LogChange<'_>,
        places: &[u64],
        erased: &[Erased],
        own: &[(Seq, u64)],
    ) -> Result<()> {
        self.sync_now()?;
        // And said to be durable, or a batch with a record that is half overwritten would pass for one that was never
        // written whole.
        self.write_mark()?;
        self.sync_now()?;
        let own = own.iter().filter_map(|(seq, _)| {
            let i = batch.append.binary_search_by_key(seq, |r| r.seq).ok()?;
            Some((seg, places[i]))
        });
        for (seg, at) in erased.iter().map(|e| (&e.seg, e.at)).chain(own) {
            let path = &seg.handle.path;
            // A damaged frame is left alone: its length cannot be trusted.
            if let (_, Some(frame)) = seg.frame(at).doing("reading", path)? {
                let raw = void_frame(&frame, seg.seed, at);
                seg.handle.write_at(&raw, at).doing("overwriting", path)?;
                self.syncer.mark(&seg.handle);
            }
        }
        Ok(())
    }

    /// Removes what is below; answers the segments that it looked at.
    fn apply_trim(&mut self, trim: Seq) -> Result<Vec<Arc<Segment>>> {
        let below: Vec<SegRef> = {
            let mut state = self.shared.state.write();
            state.floor = trim;
            state.suspects.retain(|s| s.high >= trim);
            state.damaged = state.damaged.split_off(&trim);
            let n = state.segs.partition_point(|s| s.first < trim);
            state.segs[..n].to_vec()
        };
        let mut gone = (0, 0);
        for s in &below {
            let path = &s.seg.handle.path;
            if s.seg.rows.read().live > 0 {
                let (n, bytes) = s.seg.kill_outside(trim..Seq::MAX).doing("reading", path)?;
                gone = (gone.0 + n, gone.1 + bytes);
            }
        }
        let mut state = self.shared.state.write();
        state.extent.count -= gone.0;
        state.extent.bytes = state.extent.bytes.saturating_sub(gone.1);
        Ok(below.into_iter().map(|s| s.seg).collect())
    }

    /// After a batch with removals from these segments and the newest one: what [`settle`](Self::settle) does, but
    /// without a look at every segment where none of these was emptied. A stream of a terabyte has 65,536 segments,
    /// and one at its limit removes something with each batch.
    fn settle_touched(&mut self, touched: &[Arc<Segment>], trimmed: bool) -> Result<()> {
        let tail = self.tail.as_ref().map(|t| &t.seg);
        let mut older = touched.iter().filter(|seg| !tail.is_some_and(|t| Arc::ptr_eq(t, seg)));
        let emptied = older.any(|seg| seg.rows.read().live == 0);
        // An empty segment that stayed for its erasures may go once what they erase is trimmed.
        if emptied || (trimmed && self.idle_segments > 0) {
            return self.settle();
        }
        let first = {
            let state = self.shared.state.read();
            state.find_first().doing("reading a table in", &self.dir)?
        };
        self.shared.state.write().extent.first = first;
        self.reap()
    }

    /// After removals: finds the first live record, and takes segments with none out of use.
    pub(super) fn settle(&mut self) -> Result<()> {
        let first = {
            let state = self.shared.state.read();
            state.find_first().doing("reading a table in", &self.dir)?
        };
        let tail = self.tail.as_ref().map(|t| t.seg.identity.id);
        let mut state = self.shared.state.write();
        state.extent.first = first;
        #[cfg(test)]
        WALKS.set(WALKS.get() + 1);
        self.idle_segments = 0;
        let mut i = 0;
        // The highest sequence in any older segment that stays: erasures of those must stay as well.
        let mut reach = 0;
        // The highest that is stored in one of them: what truncated it must stay as well.
        let mut stored = 0;
        while i < state.segs.len() {
            let s = &state.segs[i];
            let needed = (s.seg.tomb_low.load(Ordering::Relaxed) <= reach && reach >= state.floor)
                || (s.seg.begun_after < stored && stored >= state.floor);
            let newest = Some(s.seg.identity.id) == tail || i + 1 == state.segs.len();
            let empty = s.seg.rows.read().live == 0;
            if empty && !newest && !needed {
                let gone = state.segs.remove(i);
                state.extent.disk_bytes = state
                    .extent
                    .disk_bytes
                    .saturating_sub(gone.seg.file_len.load(Ordering::Relaxed));
                self.doomed.push_back(Doomed {
                    batch: self.number,
                    seg: gone.seg,
                });
            } else {
                self.idle_segments += usize::from(empty);
                reach = reach.max(s.last);
                stored = stored.max(s.seg.stored_last());
                i += 1;
            }
        }
        drop(state);
        self.reap()
    }

    /// Unlinks what is empty for good: by a batch that recovery is sure to find, and to know as durable.
    pub(super) fn reap(&mut self) -> Result<()> {
        let durable = self.syncer.durable.load(Ordering::Acquire);
        while let Some(&(batch, says)) = self.marks.front()
            && batch <= durable
        {
            self.recorded = says;
            self.marks.pop_front();
        }
        let mut unlinked = false;
        while let Some(doomed) = self.doomed.front()
            && doomed.batch <= self.recorded
        {
            let seg = doomed.seg.clone();
            self.doomed.pop_front();
            let path = &seg.handle.path;
            if unlinked && seg.tomb_low.load(Ordering::Relaxed) != u64::MAX {
                // Its erasures may not go before the records that they erase.
                self.core.handles.files.sync_dir(&self.dir).syncing(&self.dir)?;
            }
            self.syncer.forget(&seg.handle);
            let reusable = self.options.preallocate
                && seg.flags & FLAG_PREALLOCATED != 0
                && self.spares.lock().ready.len() < SPARES_MAX
                && seg.file_len.load(Ordering::Relaxed) == self.options.segment_bytes
                && Arc::strong_count(&seg) == 1
                && !seg.handle.is_held();
            if reusable {
                let spare = self.dir.join(format!("{:016x}.spare", seg.identity.id));
                self.core.handles.files.rename(path, &spare).doing("renaming", path)?;
                self.spares.lock().ready.push((spare, self.syncer.mark_dir()));
            } else {
                self.core.handles.files.remove(path).doing("removing", path)?;
                seg.handle.close();
            }
            unlinked = true;
        }
        if unlinked {
            self.syncer.mark_dir();
        }
        Ok(())
    }

    /// Makes sure that a batch of up to `bound` bytes fits into the segment that is written; answers whether it
    /// sealed one for that.
    ///
    /// A batch that only removes may make the segment longer than others: it must not need a new one.
    fn make_room(&mut self, bound: u64, first: Seq, removes: bool) -> Result<bool> {
        if let Some(tail) = &self.tail {
            let longest = match removes && !self.options.preallocate {
                true => SEGMENT_MAX,
                false => tail.capacity.min(SEGMENT_MAX),
            };
            if tail.pos + bound <= longest {
                return Ok(false);
            }
        }
        let (floor, last) = {
            let state = self.shared.state.read();
            (state.floor, state.extent.last)
        };
        // First the new one: should there be no room for it, the other goes on.
        let before = self.tail.take();
        let sealed = before.is_some();
        let begun = self.begin_segment(first, bound, floor, last);
        let tail = std::mem::replace(&mut self.tail, before);
        let new = begun?;
        self.seal()?;
        self.tail = tail;
        let mut state = self.shared.state.write();
        state.extent.disk_bytes += new.seg.file_len.load(Ordering::Acquire);
        state.segs.push(new);
        Ok(sealed)
    }

    /// Ends the segment that is written: its footer is added, and its table leaves memory.
    pub(super) fn seal(&mut self) -> Result<()> {
        let Some(tail) = self.tail.take() else {
            return Ok(());
        };
        if tail.seg.flags & FLAG_PREALLOCATED != 0 || tail.info.damaged {
            return Ok(());
        }
        let seg = &tail.seg;
        let (first, last, floor, log_last) = {
            let state = self.shared.state.read();
            let Some(r) = state.segs.last() else {
                return Ok(());
            };
            (r.first, r.last, state.floor, state.extent.last)
        };
        let mut footer = Footer {
            data_end: tail.pos,
            first,
            last,
            min_time: tail.info.min_time,
            max_time: tail.info.max_time,
            bytes: tail.info.bytes,
            last_batch: self.number,
            floor,
            log_last,
            ..Footer::default()
        };
        let file_len = seg.file_len.load(Ordering::Acquire);
        let raw = footer.encode(seg.identity, &seg.rows.read().table, &tail.info.tombs, file_len);
        let path = &seg.handle.path;
        let room = seg.handle.file().and_then(|file| {
            self.core
                .handles
                .files
                .keep_room(&file, path, tail.pos + raw.len() as u64)
        });
        match room.doing("writing the footer of", path) {
            // A segment can do without its footer.
            Err(error) if error.kind == ErrorKind::Full => {
                tracing::warn!("log {}: {error}", self.id);
                return Ok(());
            }
            Err(error) => {
                self.tail = Some(tail);
                return Err(error);
            }
            Ok(()) => {}
        }
        if let Err(error) = write_behind(seg, &raw, tail.pos) {
            self.tail = Some(tail);
            return Err(error);
        }
        self.syncer.mark(&seg.handle);
        let new_len = tail.pos + raw.len() as u64;
        let sealed = Segment::new(
            seg.handle.clone(),
            seg.identity,
            seg.flags,
            seg.first_batch,
            Some(footer),
            Segment::rows_of(&footer),
        )
        .with_rows_of(seg)
        .begun_after(seg.begun_after);
        sealed.end.store(tail.pos, Ordering::Release);
        sealed.file_len.store(new_len, Ordering::Release);
        let mut state = self.shared.state.write();
        state.extent.disk_bytes += new_len - file_len;
        if let Some(r) = state.segs.last_mut() {
            r.seg = Arc::new(sealed);
        }
        Ok(())
    }

    /// How long a journal's next segment is, in bytes, if it has to be made now: little at first, for somebody waits
    /// while it is written all over.
    fn next_size(&self) -> u64 {
        let last = self
            .shared
            .state
            .read()
            .segs
            .last()
            .map(|s| s.seg.file_len.load(Ordering::Acquire));
        last.map_or(JOURNAL_FIRST, |len| len.saturating_mul(JOURNAL_GROWTH))
    }

    /// Has a journal's next file prepared, if the one that is written is half full and there is no other.
    fn prepare_spare(&self) {
        let Some(tail) = self.tail.as_ref().filter(|t| t.seg.flags & FLAG_PREALLOCATED != 0) else {
            return;
        };
        if tail.pos < tail.capacity / 2 || !self.options.preallocate {
            return;
        }
        let size = self.options.segment_bytes.min(SEGMENT_MAX);
        {
            let spares = self.spares.lock();
            if spares.coming || !spares.ready.is_empty() {
                return;
            }
        }
        self.core.worker.prepare(Preparation {
            path: self.dir.join(format!("{:016x}.new.spare", self.next_id)),
            len: size,
            spares: self.spares.clone(),
        });
    }

    /// Sees to it that a journal can take so many bytes of records without more room on the disk, and some after them.
    fn keep_spare(&mut self, bytes: u64) -> Result<()> {
        let left = self
            .tail
            .as_ref()
            .map_or(0, |tail| tail.capacity.saturating_sub(tail.pos));
        let size = self.options.segment_bytes.min(SEGMENT_MAX);
        let now = self.tail.as_ref().map_or(size, |tail| tail.capacity);
        let needed = bytes + JOURNAL_RESERVE.min(now / 4);
        if !self.options.preallocate || left >= needed || !self.spares.lock().ready.is_empty() {
            return Ok(());
        }
        // There is no other spare, so the name is free.
        let spare = self.dir.join("kept.spare");
        make_spare(&*self.core.handles.files, &spare, size, &|| false).doing("making", &spare)?;
        self.syncer.mark_dir();
        self.spares.lock().ready.push((spare, 0));
        Ok(())
    }

    /// Makes the next segment, which readers do not see yet. `first` is the sequence that its name states; `floor`
    /// and `last` are for its header.
    fn begin_segment(&mut self, first: Seq, bound: u64, floor: Seq, last: Seq) -> Result<SegRef> {
        let identity = Identity {
            log: self.id,
            id: self.next_id,
            generation: 0,
        };
        let preallocate = self.options.preallocate;
        let header = Header {
            identity,
            flags: if preallocate { FLAG_PREALLOCATED } else { 0 },
            floor,
            last,
            first_batch: self.number + 1,
            replaces: 0,
        };
        let size = self.options.segment_bytes.min(SEGMENT_MAX);
        let needed = DATA_START + bound;
        // Of a standard size, if one is there and it is large enough.
        let spare = {
            let mut spares = self.spares.lock();
            spares.coming = false;
            match preallocate && needed <= size {
                true => spares.ready.pop(),
                false => None,
            }
        };
        let capacity = match (&spare, preallocate) {
            (None, true) => self.next_size().min(size).max(needed),
            _ => size.max(needed),
        };
        let path = self.dir.join(identity.file_name(first));
        let files = self.core.handles.files.clone();
        let handle = Handle::new(&self.core.handles, path.clone(), capacity);
        if preallocate {
            // A journal is written with every turn.
            handle.stay_open();
        }
        match spare {
            Some((spare, changes)) => {
                if !self.syncer.has_names(changes) {
                    files.sync_dir(&self.dir).syncing(&self.dir)?;
                }
                let file = self.core.handles.open(&spare, Mode::Write).doing("opening", &spare);
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        self.spares.lock().ready.push((spare, changes));
                        return Err(error);
                    }
                };
                files
                    .write_at(&file, &spare, &header.encode(), 0)
                    .doing("writing", &spare)?;
                files.rename(&spare, &path).doing("renaming", &spare)?;
                handle.adopt(file);
            }
            None => {
                let file = self.core.handles.open(&path, Mode::Create).doing("making", &path)?;
                let made = match preallocate {
                    true => fill(&*files, &file, &path, capacity, &|| false),
                    false => Ok(()),
                };
                let made = made.and_then(|()| files.write_at(&file, &path, &header.encode(), 0));
                if let Err(error) = made {
                    // So that it can be tried again when there is room.
                    files.remove(&path).doing("removing", &path)?;
                    return Err(error).doing("making", &path);
                }
                handle.adopt(file);
            }
        }
        self.next_id += 1;
        self.syncer.mark(&handle);
        self.syncer.mark_dir();
        let seg = Segment::new(
            handle,
            identity,
            header.flags,
            header.first_batch,
            None,
            Rows::default(),
        );
        let seg = Arc::new(seg.begun_after(header.last));
        let file_len = if preallocate { capacity } else { DATA_START };
        seg.file_len.store(file_len, Ordering::Release);
        self.tail = Some(Tail {
            seg: seg.clone(),
            pos: DATA_START,
            capacity,
            reserved: 0,
            info: TailInfo::default(),
        });
        Ok(SegRef {
            first,
            last: first.saturating_sub(1),
            seg,
        })
    }

    /// Syncs, and poisons the whole backend if that fails: what the kernel dropped it will not write later.
    pub(super) fn sync_now(&mut self) -> Result<()> {
        let result = self.syncer.sync().syncing(&self.dir);
        if let Err(error) = &result {
            let _ = self.core.poison.set(error.message.clone());
        }
        result
    }

    /// Makes the first segment of a new log, and makes it and the log's names durable.
    pub(super) fn make_first(&mut self) -> Result<()> {
        let result = self.make_room(batch_bound(&[], 0), self.last() + 1, true);
        let result = result.and_then(|_| self.sync_now());
        self.poisoning(result)
    }

    /// An empty batch that does nothing but say how far the log is durable.
    pub(super) fn write_mark(&mut self) -> Result<()> {
        let last = self.last();
        self.make_room(batch_bound(&[], 0), last + 1, true)?;
        self.mark_tail(last)
    }

    fn mark_tail(&mut self, last: Seq) -> Result<()> {
        let durable = self.syncer.durable.load(Ordering::Acquire);
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        self.encoder.begin(tail.seg.seed, tail.pos);
        let raw = self.encoder.finish(self.number + 1, durable, last);
        write_behind(&tail.seg, raw, tail.pos)?;
        tail.pos += raw.len() as u64;
        tail.seg.end.store(tail.pos, Ordering::Release);
        let grown = tail
            .pos
            .saturating_sub(tail.seg.file_len.fetch_max(tail.pos, Ordering::AcqRel));
        self.shared.state.write().extent.disk_bytes += grown;
        self.number += 1;
        self.last_mark = self.number;
        self.syncer.mark(&tail.seg.handle);
        self.syncer.written.store(self.number, Ordering::Release);
        self.marks.push_back((self.number, durable));
        Ok(())
    }

    fn truncate_to(&mut self, last: Seq) -> Result<()> {
        if last >= self.last() {
            return Ok(());
        }
        // The header of a new segment says where the older ones end, so they must be whole before it is there.
        self.sync_now()?;
        self.seal()?;
        let (floor, all) = {
            let state = self.shared.state.read();
            (state.floor.min(last + 1), state.segs.clone())
        };
        let new = self.begin_segment(last + 1, 0, floor, last)?;
        let made = new.seg.file_len.load(Ordering::Acquire);
        self.mark_tail(last)?;
        self.sync_now()?;
        let mut gone = (0, 0);
        for s in all.iter().filter(|s| s.last > last) {
            let path = &s.seg.handle.path;
            let (n, bytes) = s.seg.kill_outside(0..last + 1).doing("reading", path)?;
            gone = (gone.0 + n, gone.1 + bytes);
        }
        {
            let mut state = self.shared.state.write();
            for s in &mut state.segs {
                s.first = s.first.min(last + 1);
                s.last = s.last.min(last);
            }
            state.extent.last = last;
            state.extent.first = state.extent.first.min(last + 1);
            state.floor = floor;
            state.extent.disk_bytes += made;
            state.segs.push(new);
            state.extent.count -= gone.0;
            state.extent.bytes = state.extent.bytes.saturating_sub(gone.1);
            state.suspects.retain_mut(|s| {
                s.high = s.high.min(last);
                s.low <= s.high
            });
            let _ = state.damaged.split_off(&(last + 1));
        }
        self.settle()
    }
}

/// Writes behind what readers see. Where the disk is full, the file is as long again as before: what came of the write
/// must not be found behind a shorter one.
fn write_behind(seg: &Arc<Segment>, raw: &[u8], at: u64) -> Result<()> {
    let path = &seg.handle.path;
    match seg.handle.write_at(raw, at) {
        Err(error) if no_space(&error) => {
            let shortened = seg.handle.shorten(seg.file_len.load(Ordering::Acquire));
            match shortened {
                Ok(()) => Err(error).doing("writing", path),
                Err(error) => Err(Error::io(format!("taking back a write to {}", path.display()), error)),
            }
        }
        other => other.doing("writing", path),
    }
}

/// Room that a log keeps in its newest segment for batches that only remove, in bytes: they must not fail for want of
/// room, for they are what makes room.
const REMOVALS_BYTES: u64 = 8 << 10;

/// Room that a log takes from the disk ahead of what it writes, in bytes: an eighth of the segment, at least and at most
/// this.
const RESERVE_MIN: u64 = 16 << 10;

/// See [`RESERVE_MIN`].
const RESERVE_MAX: u64 = 128 << 10;

/// What a journal of full size has room for, in bytes, beyond the messages of a turn: with a full disk, what removes and
/// acknowledges.
const JOURNAL_RESERVE: u64 = 4 << 20;

/// How many files wait to be used again, at most.
const SPARES_MAX: usize = 4;

/// The length of a journal's first segment, in bytes.
const JOURNAL_FIRST: u64 = 256 << 10;

/// How many times longer than the one before it a journal's next segment is, until all have their full size.
const JOURNAL_GROWTH: u64 = 4;

/// Groups erased records into runs of consecutive sequences of one segment.
fn runs_of(erased: &[Erased], own: &[(Seq, u64)]) -> Vec<EraseRun> {
    let mut runs: Vec<EraseRun> = Vec::new();
    let mut in_segment = None;
    let stored = erased.iter().map(|e| (e.seq, e.bytes, Some(e.seg.identity.id)));
    for (seq, bytes, segment) in stored.chain(own.iter().map(|(seq, bytes)| (*seq, *bytes, None))) {
        match runs.last_mut() {
            Some(run) if run.first + run.count == seq && in_segment == Some(segment) => {
                run.count += 1;
                run.bytes += bytes;
            }
            _ => runs.push(EraseRun {
                first: seq,
                count: 1,
                bytes,
            }),
        }
        in_segment = Some(segment);
    }
    runs
}

impl Log for SegmentLog {
    fn write(&mut self, batch: &LogChange<'_>) -> Result<()> {
        self.check()?;
        self.validate(batch)?;
        self.began = false;
        let result = self.write_batch(batch);
        self.poisoning(result)
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        self.check()?;
        self.began = false;
        let result = self.keep_spare(bytes);
        self.poisoning(result)
    }

    fn truncate(&mut self, last: Seq) -> Result<()> {
        self.check()?;
        self.began = true;
        let result = self.truncate_to(last);
        self.poisoning(result)
    }

    fn sync(&mut self) -> Result<()> {
        self.check()?;
        self.began = true;
        let result = self.sync_now().and_then(|()| self.reap());
        self.poisoning(result)
    }

    fn maintain(&mut self, budget: u64) -> Result<bool> {
        self.check()?;
        self.began = false;
        let result = self.tidy(budget);
        if let Some(temporary) = self.temporary.take() {
            // What could not be finished; opening the log removes it if this does not.
            let _ = self.core.handles.files.remove(&temporary);
        }
        self.poisoning(result)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(SegmentReader {
            shared: self.shared.clone(),
        })
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        let written = self.tail.as_ref().is_some_and(|t| t.info.written);
        let synced = self.syncer.durable.load(Ordering::Acquire) >= self.number;
        if written && synced && self.last_mark != self.number && self.check().is_ok() {
            // So that the next open can tell damage in the last batch from a torn write. Losing it does no harm.
            if let Err(error) = self.write_mark() {
                tracing::warn!("log {}: {error}", self.id);
            }
        }
        self.core.closed(self.id);
    }
}
