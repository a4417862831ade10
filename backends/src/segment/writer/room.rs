//! Room for the next batch: a new segment where the newest one has none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Result, Seq};

use super::super::files::Mode;
use super::super::format::{DATA_START, FLAG_PREALLOCATED, Header, Identity, SEGMENT_MAX, batch_bound};
use super::super::handle::Handle;
use super::super::recover::TailInfo;
use super::super::rows::{Rows, Segment};
use super::super::state::{Doing, SegRef};
use super::super::worker::fill;
use super::{SegmentLog, Tail};

/// The length of a journal's first segment, in bytes.
const JOURNAL_FIRST: u64 = 256 << 10;

/// How many times longer than the one before it a journal's next segment is, until all have their full size.
const JOURNAL_GROWTH: u64 = 4;

impl SegmentLog {
    /// Makes sure that a batch of up to `bound` bytes fits into the segment that is written; answers whether it
    /// sealed one for that.
    ///
    /// A batch that only removes may make the segment longer than others: it must not need a new one.
    pub(super) fn make_room(&mut self, bound: u64, first: Seq, removes: bool) -> Result<bool> {
        if let Some(tail) = &self.tail {
            let longest = match removes && !self.options.preallocate {
                true => SEGMENT_MAX,
                false => tail.capacity.min(SEGMENT_MAX),
            };
            if tail.pos + bound <= longest {
                return Ok(false);
            }
        }
        self.begin_next(bound, first)
    }

    /// Ends the segment that is written, if there is one, and begins the next; answers whether there was one.
    pub(in crate::segment) fn begin_next(&mut self, bound: u64, first: Seq) -> Result<bool> {
        self.begin_next_of(bound, first, None)
    }

    /// Ends the segment that is written, of a journal that has no records left, and begins one as short as that of a new journal: the
    /// long one can go then.
    pub(in crate::segment) fn begin_small(&mut self) -> Result<()> {
        let is_long = self.tail.as_ref().is_some_and(|tail| {
            tail.seg.flags & FLAG_PREALLOCATED != 0 && tail.capacity > JOURNAL_FIRST && !tail.info.damaged
        });
        let (count, last) = {
            let state = self.shared.state.read();
            (state.extent.count, state.extent.last)
        };
        if !is_long || count > 0 {
            return Ok(());
        }
        self.begin_next_of(batch_bound(&[], 0), last + 1, Some(JOURNAL_FIRST))
            .map(drop)
    }

    /// Where all in the newest segment is removed, the room that it keeps for removals is worth more to the next one. Answers whether
    /// there was any.
    pub(in crate::segment) fn give_up_reserve(&mut self) -> bool {
        let Some(tail) = &mut self.tail else { return false };
        if tail.seg.rows.read().live > 0 {
            return false;
        }
        tail.reserved = tail.pos;
        // To what it is long already: that gives back what is kept behind its end.
        tail.seg
            .handle
            .shorten(tail.seg.file_len.load(Ordering::Acquire))
            .is_ok()
    }

    /// `size` is what a journal's segment is to be long, in bytes, if that is not left to how long the others are.
    fn begin_next_of(&mut self, bound: u64, first: Seq, size: Option<u64>) -> Result<bool> {
        let (floor, last) = {
            let state = self.shared.state.read();
            (state.floor, state.extent.last)
        };
        // First the new one: should there be no room for it, the other goes on.
        let before = self.tail.take();
        let sealed = before.is_some();
        let begun = self.begin_segment(first, bound, floor, last, size);
        let tail = std::mem::replace(&mut self.tail, before);
        let new = begun?;
        self.seal()?;
        self.tail = tail;
        let mut state = self.shared.state.write();
        state.extent.disk_bytes += new.seg.file_len.load(Ordering::Acquire);
        state.segs.push(new);
        Ok(sealed)
    }

    /// Makes the next segment, which readers do not see yet. `first` is the sequence that its name states; `floor`
    /// and `last` are for its header, `of_size` as for [`begin_next_of`](Self::begin_next_of).
    pub(super) fn begin_segment(
        &mut self,
        first: Seq,
        bound: u64,
        floor: Seq,
        last: Seq,
        of_size: Option<u64>,
    ) -> Result<SegRef> {
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
        let spare = match preallocate && of_size.is_none() {
            true => self.spares.lock().take(needed),
            false => None,
        };
        let capacity = match (&spare, preallocate) {
            (Some(spare), _) => spare.len,
            (None, true) => of_size.unwrap_or_else(|| self.next_size()).min(size).max(needed),
            (None, false) => size.max(needed),
        };
        let path = self.dir.join(identity.file_name(first));
        let files = self.core.handles.files.clone();
        let handle = Handle::new(&self.core.handles, path.clone(), capacity);
        if preallocate {
            // A journal is written with every turn.
            handle.stay_open();
        }
        match spare {
            Some(spare) => {
                if !self.syncer.has_names(spare.changes) {
                    files.sync_dir(&self.dir).syncing(&self.dir)?;
                }
                let from = spare.path.clone();
                let file = self.core.handles.open(&from, Mode::Write).doing("opening", &from);
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        self.spares.lock().ready.push(spare);
                        return Err(error);
                    }
                };
                files
                    .write_at(&file, &from, &header.encode(), 0)
                    .doing("writing", &from)?;
                files.rename(&from, &path).doing("renaming", &from)?;
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

    /// How long a journal's next segment is, in bytes, if it has to be made now: little at first, for somebody waits
    /// while it is written all over.
    pub(super) fn next_size(&self) -> u64 {
        let last = self
            .shared
            .state
            .read()
            .segs
            .last()
            .map(|s| s.seg.file_len.load(Ordering::Acquire));
        last.map_or(JOURNAL_FIRST, |len| len.saturating_mul(JOURNAL_GROWTH))
    }
}
