//! The records of a journal.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_engine::json::format_time;
use weir_engine::shard::command::Command;
use weir_engine::stream::subject_of;
use weir_engine::{Direction, Seq, ShardId, StreamId, Want, words};

use crate::error::{Error, Result};
use crate::image::Looking;

/// A record of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordReport {
    /// Its number.
    pub number: Seq,
    /// When it was written, or what it tells of was.
    pub time: String,
    /// The log of the stream that it concerns.
    pub log: String,
    /// The stream, if it is there still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What it says.
    pub text: String,
    /// Whether a checkpoint has it, so that a start does not need it.
    pub covered: bool,
}

/// A journal, and its newest records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalShown {
    /// The shard.
    pub shard: ShardId,
    /// The folder of its files.
    pub folder: PathBuf,
    /// How many files it has.
    pub files: u64,
    /// Bytes of these files, which are made at full size and used again.
    pub disk_bytes: u64,
    /// Records.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// The number of the first record.
    pub first: Seq,
    /// The number of the last record that it ever held.
    pub last: Seq,
    /// Up to which record checkpoints have all of them; 0 if none does.
    pub covered: Seq,
    /// The newest records, in order.
    pub newest: Vec<RecordReport>,
}

/// The journal of a shard, with its newest records, up to `limit`: all, or those of the streams of a name, or of the log that has that
/// number.
///
/// # Errors
/// If there is no store, no such shard or no such stream, a server has it open, or the journal cannot be read.
pub fn journal(path: &Path, shard: ShardId, of: Option<&str>, limit: usize) -> Result<JournalShown> {
    let looking = Looking::at(path, None)?;
    let shards = looking.image.shards();
    if !shards.contains(&shard) {
        let shards = shards.len();
        return Err(Error::NoSuchShard { shard, shards });
    }
    let journal = looking.image.journal(shard).map_err(Error::Unreadable)?;
    let extent = journal.reader.extent();
    let covered = journal.covered.unwrap_or(0);
    let log = shard.journal().to_string();
    let folder = looking.store.root().join("segment/logs").join(log);
    let mut shown = JournalShown {
        shard,
        files: segment_files(&folder).map_err(|error| Error::source(&folder, error))?,
        folder,
        disk_bytes: extent.disk_bytes,
        records: extent.count,
        bytes: extent.bytes,
        first: extent.first,
        last: extent.last,
        covered,
        newest: Vec::new(),
    };
    let entries = looking.image.entries();
    let is_asked_for =
        |log: StreamId, name: Option<&str>| of.is_none_or(|of| name == Some(of) || log.to_string() == of);
    if let Some(of) = of
        && u64::from_str_radix(of, 16).is_err()
        && !entries.iter().any(|entry| *entry.name == *of)
    {
        return Err(Error::NoSuchStream {
            wanted: of.to_owned(),
            there: entries.iter().map(|entry| entry.name.to_string()).collect(),
        });
    }
    if limit == 0 {
        return Ok(shown);
    }
    let records = &mut shown.newest;
    let scanned = journal
        .reader
        .scan(0..=Seq::MAX, Want::Full, Direction::Backward, &mut |record| {
            let entry = record.to_entry();
            let (log, text) = match Command::decode(entry.time, &entry.head, &entry.body) {
                Ok((id, command)) => (id, said(&command)),
                Err(error) => (StreamId(0), format!("makes no sense: {error}")),
            };
            let stream = entries.iter().find(|entry| entry.id == log);
            if !is_asked_for(log, stream.map(|entry| &*entry.name)) {
                return ControlFlow::Continue(());
            }
            records.push(RecordReport {
                number: entry.seq,
                time: format_time(Some(entry.time)),
                log: log.to_string(),
                stream: stream.map(|entry| entry.name.to_string()),
                text,
                covered: entry.seq <= covered,
            });
            match records.len() < limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
    scanned.map_err(Error::Unreadable)?;
    records.reverse();
    Ok(shown)
}

/// The segment files in a folder.
fn segment_files(folder: &Path) -> io::Result<u64> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        files += u64::from(entry?.path().extension().is_some_and(|end| end == "seg"));
    }
    Ok(files)
}

/// Sequences that a line names.
const NAMED_MAX: usize = 16;

fn named(seqs: &[Seq]) -> String {
    let shown: Vec<(Seq, Seq)> = seqs.iter().take(NAMED_MAX).map(|seq| (*seq, *seq)).collect();
    let named = words::numbered("message", &shown);
    match seqs.len() > NAMED_MAX {
        true => format!("{named} and {} more", seqs.len() - NAMED_MAX),
        false => named,
    }
}

/// What a command says.
pub(super) fn said(command: &Command) -> String {
    match command {
        Command::Publish { seq, head, body, .. } => {
            let subject = String::from_utf8_lossy(subject_of(head)).into_owned();
            format!(
                "message {seq} stored: {subject}, {}",
                words::count(body.len() as u64, "byte")
            )
        }
        Command::PublishAside { seq, head, len, .. } => {
            let subject = String::from_utf8_lossy(subject_of(head)).into_owned();
            format!(
                "message {seq} stored: {subject}, {}, left to the stream's log",
                words::count(*len, "byte")
            )
        }
        Command::Aside { last: 0, synced } => {
            format!("the stream's log was synced with all that records up to {synced} left to it")
        }
        Command::Aside { last, .. } => {
            format!("a turn that counts only if the stream's log has all up to message {last}")
        }
        Command::Void { from, through } => {
            format!("what is said of the stream from record {from} to {through} does not count, for its log lacks it")
        }
        Command::PublishAgain { seq, body } => {
            let len = words::count(body.len() as u64, "byte");
            format!("message {seq} after all, {len}, for the stream's log could not take it")
        }
        Command::Remove { first, seqs } if seqs.is_empty() => format!("all below {first} removed"),
        Command::Remove { first, seqs } => format!("all below {first} and {} removed", named(seqs)),
        Command::Raise { last, .. } => format!("sequence {last} given away with nothing under it"),
        Command::CreateStream { .. } => "stream made".to_owned(),
        Command::UpdateStream { .. } => "stream's configuration changed".to_owned(),
        Command::DeleteStream => "stream deleted".to_owned(),
        Command::CreateConsumer { .. } => "consumer made".to_owned(),
        Command::UpdateConsumer { consumer, .. } => format!("consumer {consumer}: configuration changed"),
        Command::DeleteConsumer { consumer } => format!("consumer {consumer} deleted"),
        Command::Delivered { consumer, seqs, .. } => format!("consumer {consumer}: {} delivered", named(seqs)),
        Command::Deferred { consumer, waits } => {
            let seqs: Vec<Seq> = waits.iter().map(|(seq, _)| *seq).collect();
            format!("consumer {consumer}: the wait for {} begins anew", named(&seqs))
        }
        Command::GivenUp { consumer, seqs } => format!("consumer {consumer}: {} given up", named(seqs)),
        Command::ResetConsumer { consumer, seq } => format!("consumer {consumer}: begins anew at {seq}"),
        Command::Placed { consumer, .. } => format!("consumer {consumer}: moved by a purge"),
        Command::Acked { consumer, seqs } => format!("consumer {consumer}: {} acknowledged", named(seqs)),
        Command::Together { count } => format!("the next {count} belong together"),
        Command::Copied { .. } => "how far a source is copied".to_owned(),
        Command::Removing { .. } => "a removal in slices".to_owned(),
        Command::Moved { position, command } => format!("as record {position}: {}", said(command)),
    }
}

impl RecordReport {
    /// As a person reads it, in one line.
    pub fn to_line(&self) -> String {
        let stream = self
            .stream
            .as_deref()
            .map_or_else(|| format!("log {}", self.log), str::to_owned);
        let covered = if self.covered { "" } else { " (no checkpoint has it)" };
        format!("{:>10}  {}  {stream}: {}{covered}", self.number, self.time, self.text)
    }
}
