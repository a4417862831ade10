//! Reading a shard's journal: what a server would apply when it opens the store.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use weir_engine::finding::RANGES_MAX;
use weir_engine::shard::command::Command;
use weir_engine::shard::holes::hole_key;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Direction, LogId, LogOptions, Result, Seq, Want, words};

use super::backends::Backends;
use super::report::JournalReport;
use super::stream::Shard;

/// The highest log id that may be a journal's; streams' logs have ids above.
pub(super) const LAST_JOURNAL: u64 = 255;

/// The log of a shard's journal.
pub(super) fn journal_id(shard: usize) -> LogId {
    LogId(1 + shard as u64)
}

/// Reads a journal, which checkpoints cover up to that record, and applies it to the streams of its shard. `told` are
/// the keys of findings, settled ones too.
pub(super) fn read(
    number: usize,
    covered: Option<Seq>,
    told: &BTreeSet<String>,
    backends: &mut Backends,
    shard: &mut Shard,
    problems: &mut Vec<String>,
) -> Result<JournalReport> {
    let mut report = JournalReport {
        shard: number,
        ..JournalReport::default()
    };
    let options = LogOptions {
        preallocate: true,
        ..LogOptions::default()
    };
    let id = journal_id(number);
    let Some((log, recovery)) = backends.open(BackendKind::Segment, id, &options)? else {
        problems.push(format!("the journal of shard {number} (log {id}) is missing"));
        return Ok(report);
    };
    let reader = log.reader();
    let extent = reader.extent();
    report.first = extent.first;
    report.last = extent.last;
    report.records = extent.count;
    report.bytes = extent.bytes;
    report.disk_bytes = extent.disk_bytes;
    report.torn_bytes = recovery.torn_bytes;
    let mut next = covered.map_or(extent.first, |covered| covered + 1);
    let mut missing: Vec<(Seq, Seq)> = Vec::new();
    let mut see = |next: &mut Seq, position: Seq| {
        if position > *next {
            missing.push((*next, position - 1));
        }
        *next = (*next).max(position.saturating_add(1));
    };
    let mut found = Vec::new();
    let mut odd = Vec::new();
    reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |record| {
        let entry = record.to_entry();
        match Command::decode(entry.time, &entry.head, &entry.body) {
            // An atomic batch that a crash cut short: a server forgets it.
            Ok((_, Command::Together { count })) if entry.seq.saturating_add(count) > extent.last => {
                see(&mut next, entry.seq);
                next = extent.last + 1;
                return ControlFlow::Break(());
            }
            Ok((stream, command)) => {
                see(&mut next, entry.seq);
                let applied = shard.apply(entry.seq, stream, command, backends, &mut found);
                report.tail += u64::from(applied);
            }
            // As good as lost: its number is missing.
            Err(error) => odd.push(format!("record {}: {error}", entry.seq)),
        }
        ControlFlow::Continue(())
    })?;
    see(&mut next, extent.last.saturating_add(1));
    problems.append(&mut found);
    let damaged = reader.extent().damaged + odd.len() as u64;
    // What is missing behind the checkpoints is in a finding, once a server has started on it; what is missing before is in
    // the checkpoints.
    if missing
        .first()
        .is_none_or(|(first, _)| told.contains(&hole_key(number, *first)))
    {
        report.damaged = damaged;
        return Ok(report);
    }
    let mut tell = |line: String| problems.push(format!("journal of shard {number}: {line}"));
    recovery.damage.into_iter().chain(odd).for_each(&mut tell);
    let lost: u64 = missing.iter().map(|(first, last)| last - first + 1).sum();
    missing.truncate(RANGES_MAX);
    let verb = if lost == 1 { "is" } else { "are" };
    tell(format!("{} {verb} missing", words::numbered("record", &missing)));
    if damaged > 0 {
        tell(format!(
            "{}, which a server cannot apply",
            words::count(damaged, "damaged record")
        ));
    }
    Ok(report)
}
