//! A journal's files that are made before they are needed.

use weir_engine::{Kind as ErrorKind, Result};

use super::super::format::{DATA_START, FLAG_PREALLOCATED, SEGMENT_MAX};
use super::super::state::Doing;
use super::super::worker::{Asked, Preparation, Spare, make_spare};
use super::SegmentLog;

/// How many files wait to be used again, at most.
pub(super) const SPARES_MAX: usize = 4;

/// What a journal of full size has room for, in bytes, beyond the messages of a turn: with a full disk, what removes and
/// acknowledges.
const JOURNAL_RESERVE: u64 = 4 << 20;

impl SegmentLog {
    /// Has a journal's next file prepared, if the one that is written is half full and there is no other.
    pub(super) fn prepare_spare(&self) {
        let Some(tail) = self.tail.as_ref().filter(|t| t.seg.flags & FLAG_PREALLOCATED != 0) else {
            return;
        };
        if tail.pos < tail.capacity / 2 || !self.options.preallocate {
            return;
        }
        let size = self.options.segment_bytes.min(SEGMENT_MAX);
        {
            let spares = self.spares.lock();
            if spares.asked != Asked::No || spares.ready.iter().any(|spare| spare.len >= size) {
                return;
            }
        }
        self.core.worker.prepare(Preparation {
            path: self.dir.join(format!("{:016x}.new.spare", self.next_id)),
            len: size,
            spares: self.spares.clone(),
        });
    }

    /// Gives back the files that wait to be used again, and the one that is being made: the next opening has no use for them.
    pub(super) fn close_spares(&self) {
        self.spares.lock().closed = true;
        self.drop_spares();
    }

    /// Gives back the files that wait to be used again.
    pub(in crate::segment) fn drop_spares(&self) {
        for spare in std::mem::take(&mut self.spares.lock().ready) {
            // What stays is removed then.
            let _ = self.core.handles.files.remove(&spare.path);
        }
    }

    /// Sees to it that a journal can take so many bytes of records without more room on the disk, and some after them.
    pub(super) fn keep_spare(&mut self, bytes: u64) -> Result<()> {
        let left = self
            .tail
            .as_ref()
            .map_or(0, |tail| tail.capacity.saturating_sub(tail.pos));
        let size = self.options.segment_bytes.min(SEGMENT_MAX);
        let now = self.tail.as_ref().map_or(size, |tail| tail.capacity);
        let needed = bytes + JOURNAL_RESERVE.min(now / 4);
        if !self.options.preallocate || left >= needed {
            return Ok(());
        }
        let needed = DATA_START + needed;
        let longest = self
            .spares
            .lock()
            .ready
            .iter()
            .map(|spare| spare.len)
            .max()
            .unwrap_or(0);
        if longest >= needed {
            return Ok(());
        }
        // A turn waits for it: no longer than what has to be made now. One that asks for a little more each time gets much
        // more, or it would wait for a file each time.
        let len = self.next_size().min(size).max(needed).max(longest.saturating_mul(2));
        match self.make_spare_of(len) {
            // What there is room for will do for now.
            Err(error) if error.kind == ErrorKind::Full && needed < len => self.make_spare_of(needed),
            made => made,
        }
    }

    /// There must be no other of that length, so that the name is free.
    fn make_spare_of(&self, len: u64) -> Result<()> {
        let path = self.dir.join(format!("kept-{len:x}.spare"));
        make_spare(&*self.core.handles.files, &path, len, &|| false).doing("making", &path)?;
        self.syncer.mark_dir();
        self.spares.lock().ready.push(Spare { path, len, changes: 0 });
        Ok(())
    }
}
