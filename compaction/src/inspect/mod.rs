//! Looks at a store and changes nothing: which streams and consumers it has, and what they hold.
//!
//! A store that was not closed has changes in its journals that its streams' own files may lack. They are applied here
//! as a server would apply them, in memory, so the numbers are those that it will show. (It may then remove messages
//! that became too old meanwhile.)

mod backends;
mod changes;
mod consumer;
mod disk;
mod journal;
pub(crate) mod places;
mod report;
mod stream;
mod subjects;
mod text;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use weir_backends::root::StoreDir;
use weir_backends::segment::SegmentBackend;
use weir_engine::finding::{FINDING_PREFIX, Finding};
use weir_engine::shard::holes::{covered_key, covered_of};
use weir_engine::shard::snapshot::{STORE_KEY, STREAM_PREFIX, StoreSnapshot, StreamSnapshot};
use weir_engine::store::FORMAT_VERSION;
use weir_engine::store::SHARDS_MAX;
use weir_engine::stream::ledger::Ledger;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Backend, Kind, Kv, LogId, LogOptions};

pub use report::{
    ConsumerReport, FindingReport, JournalReport, LossReport, OrphanReport, Position, Report, StreamReport,
    SubjectReport, TailReport,
};

use crate::error::{Error, Result};
use backends::Backends;
use journal::LAST_JOURNAL;
use stream::{Shard, Told};

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only the streams of this name, in whatever account.
    pub stream: Option<String>,
    /// Lists so many subjects of each stream, those with the most messages.
    pub top_subjects: Option<usize>,
}

/// How far the reading of a stream got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its account and name.
    pub stream: &'a str,
    /// Messages read.
    pub done: u64,
    /// Messages to read.
    pub of: u64,
}

/// Looks at the store in a directory: a server's store directory, or the folder `weir` in it.
///
/// What is damaged is told in [`Report::problems`], and everything else is still shown.
///
/// # Errors
/// If there is no store, a server has it open, a later version wrote it, it has no stream of the wanted name, or its
/// catalogue cannot be read at all.
pub fn inspect(path: &Path, options: &Options) -> Result<Report> {
    inspect_with(path, options, &mut |_| {})
}

/// [`inspect`], telling now and then how far it got.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(path: &Path, options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Report> {
    let not_a_store = || Error::NotAStore {
        path: path.to_path_buf(),
    };
    let store = StoreDir::find(path).ok_or_else(not_a_store)?;
    let _hold = store.hold().map_err(|error| match error.kind {
        Kind::Busy => Error::InUse(error),
        _ => Error::Unreadable(error),
    })?;
    let folder = store.folder(BackendKind::Segment).ok_or_else(not_a_store)?;
    let root = Arc::new(SegmentBackend::open_read_only(&folder).map_err(Error::Unreadable)?);
    let mut problems = root.kv_damage();
    let kv = root.kv();
    let mut backends = Backends::new(store.clone(), root).map_err(Error::Unreadable)?;

    let format = read_format(kv.as_ref(), &mut problems)?;
    let snapshots = read_catalogue(kv.as_ref(), &mut problems)?;
    let (findings, settled) = read_findings(kv.as_ref(), &mut problems)?;
    let told: BTreeSet<String> = findings
        .iter()
        .map(|finding| finding.key.clone())
        .chain(settled)
        .collect();
    let count = shard_count(format.as_ref(), &snapshots, &backends);
    let mut shards: Vec<Shard> = (0..count).map(|_| Shard::default()).collect();
    for snapshot in snapshots {
        match shards.get_mut(snapshot.shard) {
            Some(shard) => shard.insert(snapshot, false, &mut backends),
            None => problems.push(format!(
                "stream {}/{} belongs to shard {}, and the store has {count}",
                snapshot.account, snapshot.name, snapshot.shard
            )),
        }
    }
    let mut journals = Vec::new();
    for (number, shard) in shards.iter_mut().enumerate() {
        let covered = kv.get(&covered_key(number)).map_err(Error::Unreadable)?;
        let covered = covered.as_deref().and_then(covered_of);
        match journal::read(number, covered, &told, &mut backends, shard, &mut problems) {
            Ok(report) => journals.push(report),
            Err(error) => problems.push(format!("journal of shard {number}: {error}")),
        }
    }
    let orphans = find_orphans(&shards, &mut backends);
    problems.extend(backends.impaired());

    let mut streams: Vec<_> = shards
        .into_iter()
        .flat_map(|shard| shard.streams.into_values())
        .collect();
    streams.sort_by(|a, b| (a.account(), a.name()).cmp(&(b.account(), b.name())));
    if let Some(wanted) = &options.stream {
        if !streams.iter().any(|stream| stream.name() == wanted) {
            return Err(Error::NoSuchStream {
                wanted: wanted.clone(),
                there: streams.iter().map(|s| s.name().to_owned()).collect(),
            });
        }
        streams.retain(|stream| stream.name() == wanted);
    }
    let mut reports = Vec::with_capacity(streams.len());
    let mut settled_damage = Vec::new();
    for stream in streams {
        let ledger = read_ledger(kv.as_ref(), &stream, &mut problems)?;
        let mut told = Told {
            root: store.root(),
            problems: &mut problems,
            settled: &mut settled_damage,
        };
        reports.push(stream.report(options.top_subjects, &ledger, progress, &mut told));
    }
    Ok(Report {
        path: store.root().to_path_buf(),
        format_version: format.map(|format| format.version),
        shards: count,
        disk_bytes: disk::folder_bytes(store.root(), &mut problems),
        has_journal_tail: journals.iter().any(|journal| journal.tail > 0),
        journals,
        streams: reports,
        orphans,
        findings,
        settled: settled_damage,
        problems,
    })
}

/// What the store says of itself.
fn read_format(kv: &dyn Kv, problems: &mut Vec<String>) -> Result<Option<StoreSnapshot>> {
    let Some(json) = kv.get(STORE_KEY).map_err(Error::Unreadable)? else {
        problems.push("the record of the store's format version and shards is missing".to_owned());
        return Ok(None);
    };
    match serde_json::from_slice::<StoreSnapshot>(&json) {
        Ok(format) if format.version > FORMAT_VERSION => Err(Error::Newer {
            found: format.version,
            known: FORMAT_VERSION,
        }),
        Ok(format) => Ok(Some(format)),
        Err(error) => {
            problems.push(format!(
                "the record of the store's format version and shards makes no sense: {error}"
            ));
            Ok(None)
        }
    }
}

/// What servers found and is not settled, and the keys of what is.
fn read_findings(kv: &dyn Kv, problems: &mut Vec<String>) -> Result<(Vec<FindingReport>, Vec<String>)> {
    let (mut findings, mut settled) = (Vec::new(), Vec::new());
    kv.scan(FINDING_PREFIX, None, &mut |key, value| {
        let key = String::from_utf8_lossy(&key[FINDING_PREFIX.len()..]).into_owned();
        match serde_json::from_slice::<Finding>(value) {
            Ok(finding) if finding.settled => settled.push(key),
            Ok(finding) => findings.push(FindingReport {
                key,
                found: finding.found,
                text: finding.to_string(),
            }),
            Err(error) => problems.push(format!("the finding {key} makes no sense: {error}")),
        }
        ControlFlow::Continue(())
    })
    .map_err(Error::Unreadable)?;
    Ok((findings, settled))
}

/// What a stream has lost; empty if that makes no sense.
fn read_ledger(kv: &dyn Kv, stream: &stream::Stream, problems: &mut Vec<String>) -> Result<Ledger> {
    let ledger = places::ledger_of(kv, stream.log_id()).map_err(Error::Unreadable)?;
    Ok(ledger.unwrap_or_else(|| {
        problems.push(format!(
            "stream {}: what it has lost makes no sense",
            stream.full_name()
        ));
        Ledger::default()
    }))
}

/// The streams of the last checkpoint.
fn read_catalogue(kv: &dyn Kv, problems: &mut Vec<String>) -> Result<Vec<StreamSnapshot>> {
    let mut snapshots = Vec::new();
    kv.scan(STREAM_PREFIX, None, &mut |key, value| {
        match serde_json::from_slice(value) {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(error) => problems.push(format!(
                "the checkpoint's record {} makes no sense: {error}",
                String::from_utf8_lossy(key)
            )),
        }
        ControlFlow::Continue(())
    })
    .map_err(Error::Unreadable)?;
    Ok(snapshots)
}

/// As the store says, or else as many as what it holds needs.
fn shard_count(format: Option<&StoreSnapshot>, snapshots: &[StreamSnapshot], backends: &Backends) -> usize {
    let stated = format.map(|format| format.shards);
    let needed = || {
        let journals = backends
            .logs()
            .filter(|(kind, id, _)| *kind == BackendKind::Segment && id.0 <= LAST_JOURNAL)
            .map(|(_, id, _)| id.0 as usize);
        let homes = snapshots.iter().map(|snapshot| snapshot.shard + 1);
        journals.chain(homes).max().unwrap_or(0)
    };
    stated.unwrap_or_else(needed).clamp(1, SHARDS_MAX)
}

/// The logs that neither a stream nor a shard owns.
fn find_orphans(shards: &[Shard], backends: &mut Backends) -> Vec<OrphanReport> {
    backends.open_rest();
    let owned: BTreeSet<LogId> = shards
        .iter()
        .flat_map(|shard| shard.streams.keys().chain(&shard.deleted).copied())
        .collect();
    let orphans: Vec<_> = backends
        .logs()
        .filter(|(_, id, _)| id.0 > LAST_JOURNAL && !owned.contains(id))
        .collect();
    orphans
        .into_iter()
        .map(|(kind, id, label)| {
            let opened = backends.open(kind, id, &LogOptions::default()).ok().flatten();
            OrphanReport {
                backend: kind.to_string(),
                log: id.to_string(),
                account: label.as_ref().map(|label| label.account.clone()),
                stream: label.map(|label| label.name),
                messages: opened.map(|(log, _)| log.reader().extent().count),
            }
        })
        .collect()
}
