//! Taking the end of a log back.

use std::sync::atomic::Ordering;

use weir_engine::{Result, Seq};

use super::super::state::Doing;
use super::SegmentLog;

impl SegmentLog {
    pub(super) fn truncate_to(&mut self, last: Seq) -> Result<()> {
        if last >= self.last() {
            return Ok(());
        }
        // What is made of them has what is truncated.
        self.rewriting = None;
        // The header of a new segment says where the older ones end, so they must be whole before it is there.
        self.sync_now()?;
        self.seal()?;
        let (floor, all) = {
            let state = self.shared.state.read();
            (state.floor.min(last + 1), state.segs.clone())
        };
        let new = self.begin_segment(last + 1, 0, floor, last, None)?;
        let made = new.seg.file_len.load(Ordering::Acquire);
        let mut count = 0;
        for s in &all {
            count += s.seg.live_below(last + 1).doing("reading", &s.seg.handle.path)?;
        }
        self.mark_tail(last, count, &[])?;
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
            let _ = state.voids.split_off(&(last + 1));
        }
        self.settle()
    }
}
