//! Writing a batch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Compression, Error, LogChange, Record, Result, Seq};

use super::super::format::{BATCH_MAX, EraseRun, batch_bound, void_frame};
use super::super::rows::Segment;
use super::super::state::Doing;
use super::super::unlink::Unlink;
use super::{SegmentLog, VOIDS_ERASED, write_behind};
use crate::rules;

/// Room that a log keeps in its newest segment for batches that only remove, in bytes: they must not fail for want of
/// room, for they are what makes room.
const REMOVALS_BYTES: u64 = 8 << 10;

/// Room that a log takes from the disk ahead of what it writes, in bytes: an eighth of the segment, at least and at most
/// this.
const RESERVE_MIN: u64 = 16 << 10;

/// See [`RESERVE_MIN`].
const RESERVE_MAX: u64 = 128 << 10;

/// Bytes of a body from which on it is written from where it is: to copy it to the rest of the batch first costs more than another
/// piece of the write.
const BESIDE_MIN: usize = 8 << 10;

/// An erased record of this batch: its segment's place, row and size.
struct Erased {
    seq: Seq,
    seg: Arc<Segment>,
    slot: u32,
    at: u64,
    bytes: u64,
}

impl SegmentLog {
    pub(super) fn validate(&self, batch: &LogChange<'_>) -> Result<()> {
        if !batch.kv.is_empty() {
            return Err(Error::unsupported(
                "the segment backend cannot write keys and records in one step",
            ));
        }
        rules::check_counts(self.id, batch)?;
        let mut last = self.last();
        for record in batch.append {
            if record.seq <= last || record.seq == Seq::MAX {
                return Err(Error::invalid(format!(
                    "log {}: sequence {} is not above {last}",
                    self.id, record.seq
                )));
            }
            if record.head.len() > Record::HEAD_MAX || record.body.len() > Record::BODY_STORED_MAX {
                return Err(Error::invalid(format!(
                    "log {}: record {} is too long: {} and {} bytes; at most {} and {}",
                    self.id,
                    record.seq,
                    record.head.len(),
                    record.body.len(),
                    Record::HEAD_MAX,
                    Record::BODY_STORED_MAX
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

    /// How many live records there are once a batch is carried out that erases these and trims below `trim`.
    fn count_after(
        &self,
        batch: &LogChange<'_>,
        erased: &[Erased],
        own: &[(Seq, u64)],
        trim: Option<Seq>,
    ) -> Result<u64> {
        let below = trim.unwrap_or(0);
        let (before, trimmed_segs) = {
            let state = self.shared.state.read();
            let n = state.segs.partition_point(|s| s.first < below);
            (state.extent.count, state.segs[..n].to_vec())
        };
        let mut trimmed = 0;
        for s in trimmed_segs {
            trimmed += s.seg.live_below(below).doing("reading", &s.seg.handle.path)?;
        }
        let kept = |seq: &Seq| *seq >= below;
        let appended = batch.append.iter().filter(|record| kept(&record.seq)).count();
        let erased = erased.iter().map(|e| e.seq).filter(kept).count();
        let own = own.iter().map(|(seq, _)| *seq).filter(kept).count();
        Ok(before - trimmed + appended as u64 - erased as u64 - own as u64)
    }

    pub(super) fn write_batch(&mut self, batch: &LogChange<'_>) -> Result<()> {
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
                let bytes = batch.append[i].head.len() as u64 + u64::from(batch.body_counts(i));
                Some((seq, bytes))
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
        // Before it is counted what is left: what a reader finds overwritten from here on, the next write erases.
        let voids = self.shared.state.read().erase_voids(VOIDS_ERASED);
        let is_void = |seq: Seq| voids.binary_search_by_key(&seq, |void| void.first).is_ok();
        erased.retain(|e| !is_void(e.seq));
        let mut runs = runs_of(&erased, &own);
        runs.extend_from_slice(&voids);
        runs.sort_unstable_by_key(|run| run.first);
        let count = self.count_after(batch, &erased, &own, trim)?;

        let bound = batch_bound(batch.append, erased.len() + own.len() + voids.len());
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
        let mut beside = Vec::new();
        for (record, counts) in batch.records() {
            places.push(self.encoder.position());
            let is_bare = self.options.compression == Compression::None || counts as usize != record.body.len();
            if is_bare && record.body.len() >= BESIDE_MIN {
                beside.push((self.encoder.record_beside(record, counts), record.body));
            } else {
                self.encoder.record(record, counts, self.options.compression);
            }
        }
        if !runs.is_empty() {
            self.encoder.erase(&runs, batch.overwrite);
        }
        if let Some(trim) = trim {
            self.encoder.trim(trim);
        }
        let raw = self.encoder.finish(number, durable, after, Some(count));
        let pieces = pieces_of(raw, &beside);
        let end = tail.pos + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        // The last steps that may fail for want of a file or of room and change nothing.
        let file = seg.handle.file().doing("opening", path)?;
        if !self.options.preallocate && !batch.append.is_empty() && end + REMOVALS_BYTES > tail.reserved {
            let reserve = end + REMOVALS_BYTES + (end / 8).clamp(RESERVE_MIN, RESERVE_MAX);
            let files = &self.core.handles.files;
            files.keep_room(&file, path, reserve).doing("writing", path)?;
            tail.reserved = reserve;
        }
        write_behind(&seg, &pieces, tail.pos)?;
        self.began = true;

        self.syncer.mark(&seg.handle);
        self.number = number;
        self.syncer.written.store(number, Ordering::Release);
        if self.marks.back().map_or(self.recorded, |m| m.1) < durable {
            self.marks.push_back((number, durable));
        }
        tail.pos = end;
        tail.info.written = true;
        tail.has_erased(&runs);
        let mut added = 0;
        for (record, counts) in batch.records() {
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
            added += record.head.len() as u64 + u64::from(counts);
        }
        tail.info.bytes += added;
        self.publish(&seg, batch, &places, end, added, after, &erased, &own);
        if !voids.is_empty() {
            self.shared.state.write().erased_voids(&voids);
        }
        if batch.overwrite && !(erased.is_empty() && own.is_empty()) {
            self.overwrite(&seg, batch, &places, &erased, &own)?;
        }
        let mut touched: Vec<Arc<Segment>> = erased.into_iter().map(|e| e.seg).collect();
        touched.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if let Some(trim) = trim {
            touched.extend(self.apply_trim(trim)?);
        }
        debug_assert_eq!(self.shared.state.read().extent.count, count, "log {}: records", self.id);
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
        for ((record, counts), at) in batch.records().zip(places) {
            rows.push(record.seq, *at, record.head.len() as u64 + u64::from(counts));
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
        for e in erased {
            if let Some(rewriting) = &mut self.rewriting {
                rewriting.overwritten(&e.seg, e.seq);
            }
            self.overwrite_replaced(e.seq)?;
        }
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
}

impl SegmentLog {
    /// Overwrites a record in old segments that were rewritten, and whose files are there still: the name of the new one may not
    /// be on disk.
    fn overwrite_replaced(&self, seq: Seq) -> Result<()> {
        let waiting = self.unlinks.lock();
        let old = self.unlinkable.iter().chain(waiting.iter());
        for Unlink { seg, .. } in old.filter(|unlink| unlink.replaced) {
            let path = &seg.handle.path;
            let there = seg
                .with_table(|t| t.slot(seq).map(|slot| t.offset(slot)))
                .doing("reading", path)?;
            let Some(at) = there else { continue };
            if let (_, Some(frame)) = seg.frame(at).doing("reading", path)?
                && frame.seq == seq
            {
                let raw = void_frame(&frame, seg.seed, at);
                seg.handle.write_at(&raw, at).doing("overwriting", path)?;
                self.syncer.mark(&seg.handle);
            }
        }
        Ok(())
    }
}

/// A batch as it is written: what the encoder has of it, and the bodies that it left where they are, each with its place in that.
fn pieces_of<'a>(raw: &'a [u8], beside: &[(usize, &'a [u8])]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::with_capacity(2 * beside.len() + 1);
    let mut begin = 0;
    for &(at, body) in beside {
        pieces.extend([&raw[begin..at], body]);
        begin = at;
    }
    pieces.push(&raw[begin..]);
    pieces
}

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

#[cfg(test)]
mod tests {
    use super::super::super::format::Encoder;
    use super::*;

    #[test]
    fn a_body_that_is_written_from_where_it_is_lies_in_the_file_as_if_it_had_been_copied() {
        let bodies: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 700, 9001]
            .iter()
            .map(|len| (0..*len).map(|n: u32| (n * 7) as u8).collect())
            .collect();
        let records: Vec<Record<'_>> = (1..)
            .zip(&bodies)
            .map(|(seq, body)| Record {
                seq,
                time: 5,
                head: b"head",
                body,
            })
            .collect();
        // Which of them are beside, bit by bit; every third counts for more than it has.
        for chosen in 0..1 << records.len() {
            let (mut copied, mut spared) = (Encoder::new(), Encoder::new());
            let mut beside = Vec::new();
            for encoder in [&mut copied, &mut spared] {
                encoder.begin(77, 4096);
            }
            for (nth, record) in records.iter().enumerate() {
                let counts = record.body.len() as u32 + u32::from(nth % 3 == 2);
                copied.record(record, counts, Compression::None);
                match chosen & 1 << nth {
                    0 => spared.record(record, counts, Compression::None),
                    _ => beside.push((spared.record_beside(record, counts), record.body)),
                }
                assert_eq!(spared.position(), copied.position());
            }
            let raw = spared.finish(3, 2, 7, Some(7));
            assert_eq!(pieces_of(raw, &beside).concat(), copied.finish(3, 2, 7, Some(7)));
        }
    }
}
