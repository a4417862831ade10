//! The writer of a log: what it knows, its poison, and the marks that say how far the log is durable. What it does to
//! segments is in rooms of their own.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use weir_engine::{
    Compression, Error, Kind as ErrorKind, Log, LogChange, LogId, LogOptions, LogReader, Recoder, Result, Seq,
    SyncBeside, Upkeep, words,
};

use super::backend::Core;
use super::compact::Rewriting;
use super::format::{Encoder, EraseRun, FLAG_PREALLOCATED, batch_bound, encode_runs};
use super::reader::SegmentReader;
use super::recover::{Recovered, TailInfo};
use super::rewrite::sync_log;
use super::rows::Segment;
use super::state::{Doing, Shared, no_space};
use super::sync::Syncer;
use super::unlink::{Unlink, Unlinks};
use super::worker::Spares;

mod batch;
mod overwrite;
mod reclaim;
mod room;
mod seal;
mod spares;
mod truncate;

use reclaim::Doomed;
#[cfg(test)]
pub(super) use reclaim::WALKS;

/// Records that were overwritten, and whose erasure is lost, that one write erases once more: few, for what makes room must find some.
const VOIDS_ERASED: usize = 64;

/// The segment that is being written.
pub(super) struct Tail {
    pub(super) seg: Arc<Segment>,
    pub(super) pos: u64,
    capacity: u64,
    /// Up to here the file has room on the disk, as far as is known.
    reserved: u64,
    info: TailInfo,
}

impl Tail {
    /// These erasures were written, in ascending order.
    fn has_erased(&mut self, runs: &[EraseRun]) {
        if let Some(lowest) = runs.first() {
            encode_runs(runs, &mut self.info.tombs);
            self.seg.tomb_low.fetch_min(lowest.first, Ordering::Relaxed);
        }
    }
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
    pub(super) marks: VecDeque<(u64, u64)>,
    /// The highest durable number that is itself durable in the log: what recovery will find, at least.
    recorded: u64,
    /// The last batch that was nothing but a mark.
    last_mark: u64,
    pub(super) encoder: Encoder,
    poison: Option<String>,
    /// Whether the operation that runs has changed anything.
    pub(super) began: bool,
    /// The rewrite that was begun last, until it is taken up.
    pub(super) rewriting: Option<Rewriting>,
    /// The sequences whose records may be compressed otherwise than new ones, and are to be as these.
    pub(super) recompressing: Option<RangeInclusive<Seq>>,
    /// Who compresses records, where that is somebody above.
    pub(super) recoder: Option<Arc<dyn Recoder>>,
    /// Segments that can be unlinked.
    pub(super) unlinkable: Vec<Unlink>,
    /// Those of them that somebody unlinks.
    pub(super) unlinks: Unlinks,
    /// Segments that hold damage, which a rewrite would lose.
    pub(super) keep: Vec<u64>,
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
            rewriting: None,
            recompressing: None,
            recoder: None,
            unlinkable: Vec::new(),
            unlinks: Unlinks::default(),
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

    /// Syncs, and poisons the whole backend if that fails: what the kernel dropped it will not write later.
    pub(super) fn sync_now(&mut self) -> Result<()> {
        sync_log(&self.core, &self.syncer, &self.dir)
    }

    /// Makes the first segment of a new log, and makes it and the log's names durable.
    pub(super) fn make_first(&mut self) -> Result<()> {
        let result = self.make_room(batch_bound(&[], 0), self.last() + 1, true);
        let result = result.and_then(|_| self.sync_now());
        self.poisoning(result)
    }

    /// An empty batch that does nothing but say how far the log is durable, and erase once more what was overwritten without a trace.
    pub(super) fn write_mark(&mut self) -> Result<()> {
        let last = self.last();
        let erased = self.shared.state.read().voids.len().min(VOIDS_ERASED);
        self.make_room(batch_bound(&[], erased), last + 1, true)?;
        let (voids, count) = {
            let state = self.shared.state.read();
            (state.erase_voids(erased), state.extent.count)
        };
        self.mark_tail(last, count, &voids)
    }

    fn mark_tail(&mut self, last: Seq, count: u64, voids: &[EraseRun]) -> Result<()> {
        let durable = self.syncer.durable.load(Ordering::Acquire);
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        self.encoder.begin(tail.seg.seed, tail.pos);
        if !voids.is_empty() {
            self.encoder.erase(voids, false);
        }
        let raw = self.encoder.finish(self.number + 1, durable, last, Some(count));
        write_behind(&tail.seg, &[raw], tail.pos)?;
        tail.pos += raw.len() as u64;
        tail.has_erased(voids);
        tail.seg.end.store(tail.pos, Ordering::Release);
        let grown = tail
            .pos
            .saturating_sub(tail.seg.file_len.fetch_max(tail.pos, Ordering::AcqRel));
        {
            let mut state = self.shared.state.write();
            state.extent.disk_bytes += grown;
            state.erased_voids(voids);
        }
        self.number += 1;
        self.last_mark = self.number;
        self.syncer.mark(&tail.seg.handle);
        self.syncer.written.store(self.number, Ordering::Release);
        self.marks.push_back((self.number, durable));
        Ok(())
    }
}

/// Writes behind what readers see. Where the disk is full, the file is as long again as before: what came of the write
/// must not be found behind a shorter one.
fn write_behind(seg: &Arc<Segment>, pieces: &[&[u8]], at: u64) -> Result<()> {
    let path = &seg.handle.path;
    match seg.handle.write_pieces_at(pieces, at) {
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
        let forgotten = match self.options.preallocate {
            true => Ok(()),
            false => self.core.forget_index(self.id, &self.dir),
        };
        let result = forgotten.and_then(|()| self.truncate_to(last));
        self.poisoning(result)
    }

    fn sync(&mut self) -> Result<()> {
        self.check()?;
        self.began = true;
        let result = self.sync_now().and_then(|()| self.reap());
        self.poisoning(result)
    }

    fn sync_beside(&self) -> Option<SyncBeside> {
        let (core, syncer, dir) = (self.core.clone(), self.syncer.clone(), self.dir.clone());
        Some(Arc::new(move || sync_log(&core, &syncer, &dir)))
    }

    fn last_change(&self) -> u64 {
        self.number
    }

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.check()?;
        self.began = false;
        let result = self.next_work();
        self.poisoning(result)
    }

    fn compact(&mut self, compression: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.check()?;
        self.began = false;
        let result = self.compact_all(compression, progress);
        self.poisoning(result)?;
        match self.keep.len() as u64 {
            0 => Ok(()),
            kept => Err(Error::damaged(format!(
                "log {}: {} with damage in {} left as before, the rest is done; `weir verify` names what is damaged",
                self.id,
                words::count(kept, "file"),
                if kept == 1 { "it is" } else { "them are" },
            ))),
        }
    }

    fn recompress(&mut self, compression: Compression, range: RangeInclusive<Seq>) {
        self.options.compression = compression;
        // What is being written anew is compressed as was asked for before.
        self.rewriting = None;
        self.recompressing = Some(range).filter(|range| !range.is_empty());
    }

    fn recompressing(&self) -> Option<RangeInclusive<Seq>> {
        self.recompressing.clone()
    }

    fn recode_by(&mut self, recoder: Arc<dyn Recoder>) {
        self.recoder = Some(recoder);
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(SegmentReader {
            shared: self.shared.clone(),
            dir: self.dir.clone(),
            handles: self.core.handles.clone(),
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
        self.close_spares();
        self.core.closed(self.id);
    }
}
