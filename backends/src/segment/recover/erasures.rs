//! Carrying out again what later batches removed.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_engine::{Recovery, Result, Seq};

use super::super::format::{EraseRun, each_run};
use super::super::rows::Segment;
use super::super::state::{Doing, SegRef, State};

/// Erasures of one segment that are carried out together.
const TOGETHER: usize = 4096;

/// Removes what the newest segment's erasures removed.
pub(super) fn apply_tombs(state: &mut State, tombs: &[u8], report: &mut Recovery) {
    let said = report.damage.len();
    let mut low = u64::MAX;
    let mut here = Here::default();
    let made_sense = each_run(tombs, &mut |run| {
        low = low.min(run.first);
        here.take(state, run, report);
    });
    here.apply(report);
    if made_sense.is_none() {
        report.damage.insert(said, "an erasure makes no sense".to_string());
    }
    if let Some(newest) = state.segs.last() {
        newest.seg.tomb_low.store(low, Ordering::Relaxed);
    }
}

/// Erasures that wait for others of the same segment: a purge by subject leaves one for each message.
#[derive(Default)]
struct Here {
    seg: Option<Arc<Segment>>,
    /// The sequences that the segment has; those above may be another's.
    reach: Range<Seq>,
    runs: Vec<EraseRun>,
}

impl Here {
    fn take(&mut self, state: &mut State, run: EraseRun, report: &mut Recovery) {
        state.not_lost(run.first, run.count);
        if !self.reach.contains(&run.first) || self.runs.len() == TOGETHER {
            self.apply(report);
            // A run that is not found was rewritten away.
            let found = |s: &SegRef| s.first <= run.first && run.first <= s.last;
            let Some(i) = state.segs.iter().rposition(found) else {
                return;
            };
            let s = &state.segs[i];
            let later = state.segs[i + 1..].iter().filter(|s| s.first <= s.last);
            let end = later.map(|s| s.first).fold(s.last.saturating_add(1), Seq::min);
            (self.seg, self.reach) = (Some(s.seg.clone()), s.first..end);
        }
        self.runs.push(run);
    }

    /// Carries out those that wait.
    fn apply(&mut self, report: &mut Recovery) {
        self.reach = 0..0;
        let Some(seg) = self.seg.take() else { return };
        let places = seg.with_table(|table| {
            let place = |run: &EraseRun| (table.slot(run.first), table.ceiling(run.first + run.count));
            self.runs.iter().map(place).collect::<Vec<_>>()
        });
        let mut applied = |outcome: io::Result<()>| {
            if let Err(error) = outcome {
                report.damage.push(format!("applying an erasure: {error}"));
            }
        };
        match places {
            Ok(places) => {
                let each = self.runs.iter().zip(places);
                each.for_each(|(run, place)| applied(apply_run(&seg, run, place)));
            }
            Err(error) => applied(Err(error)),
        }
        self.runs.clear();
    }
}

/// Removes what a run erased: its rows begin with the first one, if that is there, and end before the second one.
fn apply_run(seg: &Segment, run: &EraseRun, (slot, end): (Option<u32>, u32)) -> io::Result<()> {
    let mut rows = seg.rows.write();
    // Those that were overwritten are gone already, and not with the bytes of the run.
    let untouched = |slot| !(slot..end).any(|slot| rows.is_dead(slot));
    let whole = slot.filter(|slot| u64::from(end - slot) == run.count && untouched(*slot));
    let Some(slot) = whole else {
        drop(rows);
        let start = seg.with_table(|table| table.ceiling(run.first))?;
        for (slot, bytes) in seg.sizes(start..end)? {
            seg.rows.write().kill(slot, bytes);
        }
        return Ok(());
    };
    let mut left = run.bytes;
    for slot in slot..end {
        // The bytes of the whole run go with its first record.
        if rows.kill(slot, left) {
            left = 0;
        }
    }
    Ok(())
}

/// Earlier segments' records above the last sequence that a newer one begins with were truncated.
pub(super) fn truncate_to(state: &mut State, last: Seq) -> Result<()> {
    if state.extent.last <= last {
        return Ok(());
    }
    for s in &mut state.segs {
        if s.first > last {
            s.first = last + 1;
        }
        if s.last > last {
            let path = &s.seg.handle.path;
            s.seg.kill_outside(0..last + 1).doing("reading", path)?;
            s.last = last.max(s.first.saturating_sub(1)).min(last);
        }
    }
    state.suspects.retain_mut(|s| {
        s.high = s.high.min(last);
        s.low <= s.high
    });
    let _ = state.voids.split_off(&(last + 1));
    state.not_absent(last.saturating_add(1), Seq::MAX);
    Ok(())
}
