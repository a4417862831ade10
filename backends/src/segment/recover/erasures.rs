//! Carrying out again what later batches removed.

use std::io;
use std::sync::atomic::Ordering;

use weir_engine::{Recovery, Result, Seq};

use super::super::format::{EraseRun, decode_runs};
use super::super::state::{Doing, State};

/// Removes what the newest segment's erasures removed.
pub(super) fn apply_tombs(state: &mut State, tombs: &[u8], report: &mut Recovery) {
    let mut runs = Vec::new();
    if decode_runs(tombs, &mut runs).is_none() {
        report.damage.push("an erasure makes no sense".to_string());
    }
    let low = runs.iter().map(|run| run.first).min().unwrap_or(u64::MAX);
    if let Some(newest) = state.segs.last() {
        newest.seg.tomb_low.store(low, Ordering::Relaxed);
    }
    for run in runs {
        if let Err(error) = apply_run(state, run) {
            report.damage.push(format!("applying an erasure: {error}"));
        }
    }
}

fn apply_run(state: &mut State, run: EraseRun) -> io::Result<()> {
    state.not_lost(run.first, run.count);
    // A run that is not found was rewritten away.
    let Some(i) = state
        .segs
        .iter()
        .rposition(|s| s.first <= run.first && run.first <= s.last)
    else {
        return Ok(());
    };
    let seg = &state.segs[i].seg;
    let (slot, end) = seg.with_table(|t| (t.slot(run.first), t.ceiling(run.first + run.count)))?;
    // Those that were overwritten are gone already, and not with the bytes of the run.
    let untouched = |slot| {
        let rows = seg.rows.read();
        !(slot..end).any(|slot| rows.is_dead(slot))
    };
    let whole = slot.filter(|slot| u64::from(end - slot) == run.count && untouched(*slot));
    let Some(slot) = whole else {
        let start = seg.with_table(|t| t.ceiling(run.first))?;
        for (slot, bytes) in seg.sizes(start..end)? {
            seg.rows.write().kill(slot, bytes);
        }
        return Ok(());
    };
    let mut rows = seg.rows.write();
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
    state.not_absent(last.saturating_add(1), Seq::MAX);
    Ok(())
}
