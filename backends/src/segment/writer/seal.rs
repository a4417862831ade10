//! Ending a segment.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Kind as ErrorKind, Result};

use super::super::format::FLAG_PREALLOCATED;
use super::super::rows::Segment;
use super::super::seal::Footer;
use super::super::state::Doing;
use super::{SegmentLog, write_behind};

impl SegmentLog {
    /// Ends the segment that is written: its footer is added, and its table leaves memory.
    pub(in crate::segment) fn seal(&mut self) -> Result<()> {
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
        if let Err(error) = write_behind(seg, &[&raw], tail.pos) {
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
}
