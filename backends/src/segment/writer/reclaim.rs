//! What removals leave behind: segments with no live record are found, and unlinked when that is safe.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Result, Seq};

use super::super::format::FLAG_PREALLOCATED;
use super::super::rows::Segment;
use super::super::state::{Doing, SegRef};
use super::super::unlink::Unlink;
use super::super::worker::Spare;
use super::SegmentLog;
use super::spares::SPARES_MAX;

#[cfg(test)]
thread_local! {
    /// How often a log of this thread looked at all its segments.
    pub(in crate::segment) static WALKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A segment to unlink once the batch that emptied it can no longer be lost.
pub(in crate::segment) struct Doomed {
    pub(in crate::segment) batch: u64,
    pub(in crate::segment) seg: Arc<Segment>,
}

impl SegmentLog {
    /// Removes what is below; answers the segments that it looked at.
    pub(super) fn apply_trim(&mut self, trim: Seq) -> Result<Vec<Arc<Segment>>> {
        let below: Vec<SegRef> = {
            let mut state = self.shared.state.write();
            state.floor = trim;
            state.suspects.retain(|s| s.high >= trim);
            state.damaged = state.damaged.split_off(&trim);
            state.voids = state.voids.split_off(&trim);
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
    pub(super) fn settle_touched(&mut self, touched: &[Arc<Segment>], trimmed: bool) -> Result<()> {
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
    pub(in crate::segment) fn settle(&mut self) -> Result<()> {
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

    /// Lets go of what is empty for good: by a batch that recovery is sure to find, and to know as durable.
    pub(in crate::segment) fn reap(&mut self) -> Result<()> {
        let durable = self.syncer.durable.load(Ordering::Acquire);
        while let Some(&(batch, says)) = self.marks.front()
            && batch <= durable
        {
            self.recorded = says;
            self.marks.pop_front();
        }
        while let Some(doomed) = self.doomed.pop_front_if(|doomed| doomed.batch <= self.recorded) {
            if !self.options.preallocate {
                self.unlinkable.push(Unlink::emptied(doomed.seg));
                continue;
            }
            let seg = doomed.seg;
            self.syncer.forget(&seg.handle);
            if !self.use_again(&seg)? {
                let path = &seg.handle.path;
                self.core.handles.files.remove(path).doing("removing", path)?;
                seg.handle.close();
                self.syncer.mark_dir();
            }
        }
        Ok(())
    }

    /// Makes a journal's file ready to be used again, if it can be. Others are unlinked beside the writer.
    fn use_again(&mut self, seg: &Arc<Segment>) -> Result<bool> {
        let reusable = seg.flags & FLAG_PREALLOCATED != 0
            && self.spares.lock().ready.len() < SPARES_MAX
            && seg.file_len.load(Ordering::Relaxed) == self.options.segment_bytes
            && Arc::strong_count(seg) == 1
            && !seg.handle.is_held();
        if !reusable {
            return Ok(false);
        }
        let (path, spare) = (
            &seg.handle.path,
            self.dir.join(format!("{:016x}.spare", seg.identity.id)),
        );
        self.core.handles.files.rename(path, &spare).doing("renaming", path)?;
        self.spares.lock().ready.push(Spare {
            path: spare,
            len: self.options.segment_bytes,
            changes: self.syncer.mark_dir(),
        });
        Ok(true)
    }
}
