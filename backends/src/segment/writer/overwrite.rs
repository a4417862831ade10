//! Carrying out at opening what a crash may have come between: records were erased, and were to be overwritten.

use std::sync::Arc;

use weir_engine::{Kind as ErrorKind, Result};

use super::super::format::{EraseRun, Frame, Kind, void_frame};
use super::super::rows::Segment;
use super::super::state::Doing;
use super::SegmentLog;

impl SegmentLog {
    /// Overwrites what is left of the records that the log, when it was opened, was found to have erased to be overwritten. Where
    /// the disk has no room for what must be written before, it is left for the next opening.
    ///
    /// # Errors
    /// If something cannot be read or written, or a sync fails.
    pub(in super::super) fn overwrite_again(&mut self) -> Result<()> {
        let runs = std::mem::take(&mut self.shared.state.write().overwrites);
        if runs.is_empty() || self.core.handles.read_only {
            return Ok(());
        }
        let left = self.not_overwritten(&runs)?;
        if left.is_empty() {
            return Ok(());
        }
        self.began = false;
        let ready = self.say_erased();
        if let Err(error) = self.poisoning(ready) {
            return match error.kind {
                ErrorKind::Full | ErrorKind::Busy if !self.began => Ok(()),
                _ => Err(error),
            };
        }
        for (seg, at, frame) in left {
            let raw = void_frame(&frame, seg.seed, at);
            let written = seg.handle.write_at(&raw, at);
            written.doing("overwriting", &seg.handle.path)?;
            self.syncer.mark(&seg.handle);
        }
        Ok(())
    }

    /// Has the erasures on disk, and said to be there, before anything is overwritten: what the process before this one
    /// wrote may be gone with the power, and the records with it.
    fn say_erased(&mut self) -> Result<()> {
        if self.recorded >= self.number {
            return Ok(());
        }
        self.sync_now()?;
        self.write_mark()?;
        self.sync_now()
    }

    /// The records of these runs that are whole, or half overwritten: where each lies, and what it is.
    fn not_overwritten(&self, runs: &[EraseRun]) -> Result<Vec<(Arc<Segment>, u64, Frame)>> {
        let segs = self.shared.state.read().segs.clone();
        let mut found = Vec::new();
        for run in runs {
            for seq in run.first..run.first + run.count {
                let Some(s) = segs.iter().rev().find(|s| s.first <= seq && seq <= s.last) else {
                    continue;
                };
                let path = &s.seg.handle.path;
                let at = s
                    .seg
                    .with_table(|t| t.slot(seq).map(|slot| (slot, t.offset(slot))))
                    .doing("reading", path)?;
                let Some((slot, at)) = at else { continue };
                if !s.seg.rows.read().is_dead(slot) {
                    // The log was truncated since, and another record has the sequence.
                    continue;
                }
                let (map, frame) = s.seg.frame(at).doing("reading", path)?;
                let torn = || Frame::torn_void(map.get(at as usize..)?, std::slice::from_ref(run));
                let half = frame.filter(|f| f.kind == Kind::Record).or_else(|| match frame {
                    Some(_) => None,
                    None => torn(),
                });
                found.extend(half.map(|frame| (s.seg.clone(), at, frame)));
            }
        }
        Ok(found)
    }
}
