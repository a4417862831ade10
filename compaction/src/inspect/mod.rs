//! Looks at a store and changes nothing: which streams and consumers it has, and what they hold.
//!
//! A store that was not closed has changes in its journals that its streams' own files may lack. They are applied here
//! as a server applies them, in memory, so the numbers are those that it will show. (It may then remove messages
//! that became too old meanwhile.)

mod catalogue;
mod disk;
mod frames;
mod histogram;
mod journal;
pub(crate) mod places;
mod records;
mod report;
mod stream;
mod text;
mod top;

use std::path::Path;

use weir_engine::finding::FindingKind;
use weir_engine::image::Image;
use weir_engine::shard::label::LogLabel;
use weir_engine::store::OpeningProgress;
use weir_engine::{LogOptions, LogRef};

pub use catalogue::{
    CatalogueConsumer, CatalogueReport, CatalogueStream, CopyReport, KeysReport, KnownFrom, catalogue,
};
pub(crate) use disk::folder_bytes;
pub use frames::{PieceReport, frames};
pub use histogram::{Bucket, Histogram};
pub use records::{JournalShown, RecordReport, journal};
pub use report::{
    ConsumerReport, FindingReport, JournalReport, LossReport, OrphanReport, PendingReport, Position, Report,
    StreamReport, SubjectReport, TailReport,
};

use crate::elsewhere::Asked;
use crate::error::{Error, Result};
use crate::image::Looking;
use journal::Tails;
use stream::Told;

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only the streams of this name, in whatever account.
    pub stream: Option<String>,
    /// Lists so many subjects of each stream, those with the most messages.
    pub top_subjects: Option<usize>,
    /// Only the consumers of this name, with what each has sent and not seen acknowledged.
    pub consumer: Option<String>,
    /// Counts the messages of each stream by their sizes and ages.
    pub histogram: bool,
}

/// Looks at the store in a directory: a server's store directory, or the folder `weir` in it.
///
/// What is damaged is told in [`Report::problems`], and everything else is still shown.
///
/// # Errors
/// If there is no store, a server has it open, a later version wrote it, it has no stream of the wanted name, or its
/// catalogue cannot be read at all, or if no stream has a consumer of the wanted name.
pub fn inspect(path: &Path, options: &Options) -> Result<Report> {
    inspect_with(path, options, None)
}

/// [`inspect`], telling now and then how far the reading of a stream is.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(path: &Path, options: &Options, progress: Option<OpeningProgress>) -> Result<Report> {
    let mut looking = Looking::at(path, progress)?;
    let wanted = looking.streams(options.stream.as_deref())?;
    let root = looking.store.root().to_path_buf();
    let encrypted = looking.store.is_encrypted();
    let mut problems = [&looking.mended[..], &looking.broken_keys].concat();
    let image = &mut looking.image;
    let asked = Asked::of(image, options.stream.as_deref(), &wanted);
    let mut elsewhere = asked.others(image)?;
    if options.stream.is_some() {
        elsewhere += std::mem::take(&mut problems).len() as u64;
    }
    let (own, others): (Vec<_>, Vec<_>) = (image.problems().iter()).partition(|line| asked.has_problem(image, line));
    elsewhere += others.len() as u64;
    problems.extend(own.into_iter().cloned());

    let mut tails = Tails::default();
    let mut journals = Vec::new();
    for shard in image.shards() {
        let before = problems.len();
        match journal::read(image, shard, &mut tails, &mut problems) {
            Ok(report) => journals.push(report),
            Err(error) => problems.push(format!("journal of shard {shard}: {error}")),
        }
        if !asked.has_shard(shard) {
            elsewhere += problems.drain(before..).count() as u64;
        }
    }
    let mut findings = Vec::new();
    for (key, finding) in image.findings() {
        if !asked.has(&key, &finding) {
            elsewhere += 1;
            continue;
        }
        match image.is_kept(&key) {
            true => findings.push(FindingReport {
                key,
                found: finding.found,
                text: finding.to_string(),
            }),
            // Logs without a stream are listed as such.
            false if finding.kind == FindingKind::Orphan => {}
            false => problems.push(finding.to_string()),
        }
    }
    let mut streams = Vec::with_capacity(wanted.len());
    let mut settled = Vec::new();
    for id in wanted {
        let mut told = Told {
            root: &root,
            problems: &mut problems,
            settled: &mut settled,
        };
        let report = stream::report(image, id, tails.of(id), options, &mut told);
        streams.extend(report.map_err(Error::Unreadable)?);
    }
    if let Some(wanted) = &options.consumer
        && streams.iter().all(|stream| stream.consumers.is_empty())
    {
        return Err(Error::NoSuchConsumer { wanted: wanted.clone() });
    }
    let mut orphans = image.orphans().map_err(Error::Unreadable)?;
    if options.stream.is_some() {
        // Those that say whose they are have a finding, too.
        orphans.retain(|log| {
            let label = image
                .backend(log.backend)
                .and_then(|backend| backend.label(log.id))
                .ok()
                .flatten();
            let label = label.and_then(|label| LogLabel::unpack(&label).ok());
            label.is_some_and(|label| options.stream.as_ref() == Some(&label.name))
        });
    }
    Ok(Report {
        elsewhere,
        format_version: image.format_version(),
        encrypted,
        shards: image.shards().len(),
        disk_bytes: disk::folder_bytes(&root, &mut problems),
        path: root,
        has_journal_tail: journals.iter().any(|journal| journal.tail > 0),
        journals,
        streams,
        orphans: orphans.into_iter().map(|log| describe_orphan(image, log)).collect(),
        findings,
        settled,
        problems,
    })
}

fn describe_orphan(image: &Image, LogRef { backend: kind, id }: LogRef) -> OrphanReport {
    let backend = image.backend(kind).ok();
    let label = backend.as_ref().and_then(|backend| backend.label(id).ok().flatten());
    let label = label.and_then(|label| LogLabel::unpack(&label).ok());
    let existing = LogOptions {
        existing: true,
        ..LogOptions::default()
    };
    let opened = backend.and_then(|backend| backend.open(id, &existing).ok());
    OrphanReport {
        backend: kind.to_string(),
        log: id.to_string(),
        account: label.as_ref().map(|label| label.account.clone()),
        stream: label.map(|label| label.name),
        messages: opened.map(|(log, _)| log.reader().extent().count),
    }
}
