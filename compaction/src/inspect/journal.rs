//! Reading a shard's journal: what a server would apply when it opens the store.

use std::ops::ControlFlow;

use weir_engine::shard::command::Command;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Direction, LogId, LogOptions, Result, Seq, Want};

use super::backends::Backends;
use super::report::JournalReport;
use super::stream::Shard;

/// The highest log id that may be a journal's; streams' logs have ids above.
pub(super) const LAST_JOURNAL: u64 = 255;

/// The log of a shard's journal.
pub(super) fn journal_id(shard: usize) -> LogId {
    LogId(1 + shard as u64)
}

/// Reads a journal, which checkpoints cover up to that record, and applies it to the streams of its shard.
pub(super) fn read(
    number: usize,
    covered: Option<Seq>,
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
    let damage = recovery.damage.iter();
    problems.extend(damage.map(|line| format!("journal of shard {number}: {line}")));
    let reader = log.reader();
    let extent = reader.extent();
    report.first = extent.first;
    report.last = extent.last;
    report.records = extent.count;
    report.bytes = extent.bytes;
    report.disk_bytes = extent.disk_bytes;
    report.torn_bytes = recovery.torn_bytes;
    let mut next = covered.map_or(extent.first, |covered| covered + 1);
    let mut missing = |next: &mut Seq, position: Seq| {
        if position > *next {
            let last = position - 1;
            problems.push(format!(
                "journal of shard {number}: records {next} to {last} are missing"
            ));
        }
        *next = (*next).max(position.saturating_add(1));
    };
    let mut found = Vec::new();
    reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |record| {
        let entry = record.to_entry();
        missing(&mut next, entry.seq);
        match Command::decode(entry.time, &entry.head, &entry.body) {
            // An atomic batch that a crash cut short: a server forgets it.
            Ok((_, Command::Together { count })) if entry.seq.saturating_add(count) > extent.last => {
                next = extent.last + 1;
                return ControlFlow::Break(());
            }
            Ok((stream, command)) => {
                let applied = shard.apply(entry.seq, stream, command, backends, &mut found);
                report.tail += u64::from(applied);
            }
            Err(error) => found.push(format!("journal of shard {number}, record {}: {error}", entry.seq)),
        }
        ControlFlow::Continue(())
    })?;
    missing(&mut next, extent.last.saturating_add(1));
    problems.append(&mut found);
    let damaged = reader.extent().damaged;
    if damaged > 0 {
        problems.push(format!(
            "journal of shard {number}: {damaged} damaged records, which a server cannot apply"
        ));
    }
    Ok(report)
}
