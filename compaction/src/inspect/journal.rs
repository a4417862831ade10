//! The journals: what they hold, and how much of it is newer than the last checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use weir_engine::finding::FindingKind;
use weir_engine::image::Image;
use weir_engine::shard::command::Command;
use weir_engine::{Direction, Result, Seq, ShardId, StreamId, Want};

use super::report::{JournalReport, TailReport};

/// What is counted of a stream while a journal is read.
struct Tail {
    /// Records up to here are in the last checkpoint.
    saved: Seq,
    /// The last sequence that its log has.
    log_last: Seq,
    report: TailReport,
}

/// The tails of the journals, by the log of the stream.
#[derive(Default)]
pub(super) struct Tails(BTreeMap<StreamId, Tail>);

impl Tails {
    /// What the journal has for a stream beyond the last checkpoint.
    pub fn of(&self, id: StreamId) -> TailReport {
        self.0.get(&id).map(|tail| tail.report).unwrap_or_default()
    }
}

/// Reads the journal of a shard. `problems` takes the damaged places of one that lacks what no checkpoint has, unless a server
/// has told of it.
pub(super) fn read(
    image: &mut Image,
    shard: ShardId,
    tails: &mut Tails,
    problems: &mut Vec<String>,
) -> Result<JournalReport> {
    let journal = image.journal(shard)?;
    let extent = journal.reader.extent();
    let mut report = JournalReport {
        shard,
        first: extent.first,
        last: extent.last,
        records: extent.count,
        bytes: extent.bytes,
        disk_bytes: extent.disk_bytes,
        torn_bytes: journal.recovery.torn_bytes,
        ..JournalReport::default()
    };
    let mut streams = BTreeSet::new();
    let mut odd = Vec::new();
    let covered = journal.covered.unwrap_or(0);
    let mut failed = None;
    journal
        .reader
        .scan(covered + 1..=Seq::MAX, Want::Full, Direction::Forward, &mut |record| {
            let entry = record.to_entry();
            match Command::decode(entry.time, &entry.head, &entry.body) {
                // An atomic batch that a crash cut short: a server forgets it.
                Ok((_, Command::Together { count })) if entry.seq.saturating_add(count) > extent.last => {
                    return ControlFlow::Break(());
                }
                Ok((id, command)) => match tails.count((image, shard), &mut streams, entry.seq, id, command) {
                    Ok(applied) => report.tail += u64::from(applied),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                },
                Err(error) => odd.push(format!("record {}: {error}", entry.seq)),
            }
            ControlFlow::Continue(())
        })?;
    if let Some(error) = failed {
        return Err(error);
    }
    report.damaged = journal.reader.extent().damaged + odd.len() as u64;
    let is_new = |(key, finding): &(String, weir_engine::finding::Finding)| {
        finding.kind == FindingKind::Journal && finding.shard == Some(shard) && !image.is_kept(key)
    };
    if image.findings().iter().any(is_new) {
        let lines = journal.recovery.damage.into_iter().chain(odd);
        problems.extend(lines.map(|line| format!("journal of shard {shard}: {line}")));
        report.damaged = 0;
    }
    Ok(report)
}

impl Tails {
    /// Counts a record; answers whether it is newer than what the last checkpoint has of its stream, and counts.
    fn count(
        &mut self,
        (image, shard): (&mut Image, ShardId),
        streams: &mut BTreeSet<StreamId>,
        at: Seq,
        id: StreamId,
        command: Command,
    ) -> Result<bool> {
        let (position, command) = command.first_written(at);
        if !image.counts(shard, id, position) {
            return Ok(false);
        }
        if streams.insert(id) {
            let saved = image.saved(id)?.map(|saved| saved.position);
            let shown = image.stream(id).and_then(|shown| shown.stream);
            let log_last = shown.map_or(0, |stream| stream.log_reader().extent().last);
            self.0.insert(
                id,
                Tail {
                    saved: saved.unwrap_or(0),
                    log_last,
                    report: TailReport::default(),
                },
            );
        }
        let Some(tail) = self.0.get_mut(&id).filter(|tail| position > tail.saved) else {
            return Ok(false);
        };
        let report = &mut tail.report;
        report.commands += 1;
        match command {
            Command::Publish { seq, .. } | Command::PublishAside { seq, .. } => {
                report.publishes += 1;
                report.unwritten += u64::from(seq > tail.log_last);
            }
            Command::Remove { .. } | Command::Raise { .. } => report.removals += 1,
            Command::Delivered { .. }
            | Command::Deferred { .. }
            | Command::GivenUp { .. }
            | Command::ResetConsumer { .. }
            | Command::Placed { .. }
            | Command::Acked { .. } => report.progress += 1,
            Command::CreateStream { .. }
            | Command::UpdateStream { .. }
            | Command::DeleteStream
            | Command::CreateConsumer { .. }
            | Command::UpdateConsumer { .. }
            | Command::DeleteConsumer { .. } => report.configuration += 1,
            Command::Together { .. }
            | Command::Aside { .. }
            | Command::Void { .. }
            | Command::PublishAgain { .. }
            | Command::Copied { .. }
            | Command::Removing { .. } => {}
            // Unpacked where it was read.
            Command::Moved { .. } => {}
        }
        Ok(true)
    }
}
