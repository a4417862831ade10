//! Checks a store: every checksum, bodies too, and what its parts say of each other. Nothing is written.
//!
//! The store is opened as a server's start opens it ([`Image`]), which finds what is damaged in heads, in the catalogue and in the
//! journals. Then each log is read from its first byte to its last, and compared with what the streams know.

mod journal;
mod kept;
mod lines;
mod orphan;
mod report;
mod rocksdb;
mod stream;
mod subjects;
mod text;
mod unread;

use std::path::Path;

use weir_backends::root::StoreDir;
use weir_backends::segment::ReadingAhead;
use weir_engine::finding::{Finding, FindingKind};
use weir_engine::image::Image;
use weir_engine::store::{OpeningProgress, StreamEntry};
use weir_engine::stream::settings::BackendKind;

pub use report::{FOUND_MAX, Found, JournalChecked, Report, Standing, StreamChecked, What};
pub(crate) use text::write_found;

use crate::elsewhere::Asked;
use crate::error::{Error, Result};
use crate::image::Looking;
use journal::Tails;
use report::Finds;
use rocksdb::{Beside, Unasked};
use weir_engine::LogRef;

/// What to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only the streams of this name, in whatever account, and the catalogue.
    pub stream: Option<String>,
}

/// Is told what is being checked, how many bytes of everything were read, and of how many.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// How much of everything was read.
pub(crate) struct Meter<'a> {
    done: u64,
    of: u64,
    tell: Progress<'a>,
}

impl<'a> Meter<'a> {
    pub fn new(of: u64, tell: Progress<'a>) -> Self {
        Self { done: 0, of, tell }
    }

    pub fn read(&mut self, name: &str, bytes: u64) {
        self.done += bytes;
        (self.tell)(name, self.done.min(self.of), self.of);
    }
}

/// Checks the store in a directory: a server's store directory, or the folder `weir` in it. `opening` is told of the messages that
/// opening it has to go through, `progress` of the bytes that are checked then.
///
/// # Errors
/// If there is no store, a server has it open, a later version wrote it, it has no stream of the wanted name, or its
/// catalogue cannot be read at all. Whatever else is wrong is in [`Report::found`].
pub fn verify(
    path: &Path,
    options: &Options,
    opening: Option<OpeningProgress>,
    progress: Progress<'_>,
) -> Result<Report> {
    // Of one stream it is not known yet which files it has.
    let is_all = options.stream.is_none();
    let there = StoreDir::find(path).filter(|_| is_all);
    let rocksdb = there.as_ref().and_then(|store| store.folder(BackendKind::RocksDb));
    let folder = there.and_then(|store| store.folder(BackendKind::Segment));
    let ahead = folder.map(|folder| ReadingAhead::begin(&folder, rocksdb.as_deref()));
    let mut looking = Looking::at(path, opening)?;
    let wanted = looking.streams(options.stream.as_deref())?;
    let root = looking.store.root().to_path_buf();
    let mut finds = Finds {
        found: Vec::new(),
        more: 0,
    };
    let asked = Asked::of(&looking.image, options.stream.as_deref(), &wanted);
    let mut elsewhere = asked.others(&looking.image)?;
    for line in &looking.mended {
        if options.stream.is_some() {
            elsewhere += 1;
            continue;
        }
        let found = lines::found(What::Catalogue, &root, line);
        finds.add(Found {
            text: format!("a copy of the catalogue: {}", found.text),
            ..found
        });
    }
    match is_all {
        true => {
            let broken = looking.broken_keys.iter();
            broken.for_each(|line| finds.add(lines::found(What::Key, &root, line)));
        }
        false => elsewhere += looking.broken_keys.len() as u64,
    }
    let store = looking.store.clone();
    let image = &mut looking.image;
    for problem in image.problems() {
        match asked.has_problem(image, problem) {
            true => finds.add(lines::found(What::Catalogue, &root, problem)),
            false => elsewhere += 1,
        }
    }
    if asked.has_backend(BackendKind::RocksDb) {
        rocksdb::small_files(&store, &root)
            .into_iter()
            .for_each(|found| finds.add(found));
    }
    // Beside all that follows: it goes through every key that is no record's.
    let before_keys = finds.found.len();
    let keys = Beside::begin(
        &store,
        Unasked::of(asked.has_backend(BackendKind::RocksDb), is_all, &wanted),
    );
    for (key, finding) in image.findings() {
        if !asked.has(&key, &finding) {
            elsewhere += 1;
            continue;
        }
        // What is gone with files of a log is told below with all that the log lacks, until a server has noted it.
        if key.contains("-gone-") && !image.is_kept(&key) {
            continue;
        }
        let found = found_of(image, &key, &finding).into_iter();
        let is_own = |found: &Found| match (&options.stream, &found.stream) {
            (Some(wanted), Some(stream)) => wanted == stream,
            _ => true,
        };
        found.filter(is_own).for_each(|found| finds.add(found));
    }
    tell_of_orphans(image, options, &mut finds)?;

    let orphans = match &options.stream {
        Some(_) => Vec::new(),
        None => orphan::orphans(image),
    };
    let mut of = orphans.iter().map(|orphan| orphan.reader.check_bytes()).sum();
    for id in &wanted {
        let shown = image.stream(*id).and_then(|shown| shown.stream);
        of += shown.map_or(0, |stream| stream.log_reader().check_bytes());
    }
    for shard in image.shards() {
        of += image.journal(shard).map_or(0, |journal| journal.reader.check_bytes());
    }
    if let Some(ahead) = &ahead {
        ahead.in_order(&wanted.iter().map(|id| id.log()).collect::<Vec<_>>());
    }
    let mut progress = |name: &str, done, of| {
        if let Some(ahead) = &ahead {
            ahead.checked(done);
        }
        progress(name, done, of);
    };
    let mut meter = Meter::new(of, &mut progress);
    // Also for single streams: they are compared with what it has for them.
    let (mut tails, mut journals) = (Tails::default(), Vec::new());
    for shard in image.shards() {
        let checked = journal::check(image, shard, &root, &mut tails, &mut finds, &mut meter);
        journals.push(checked.map_err(Error::Unreadable)?);
    }
    if options.stream.is_some() {
        journals.clear();
        let is_own = |found: &Found| {
            found.what != What::Journal
                || found.stream.is_some()
                || found.standing == Standing::Open && found.shard.is_some_and(|shard| asked.has_shard(shard))
        };
        let others = finds.found.extract_if(.., |found| !is_own(found));
        elsewhere += others.filter(|found| found.standing == Standing::Open).count() as u64;
    }
    let mut streams = Vec::with_capacity(wanted.len());
    for id in wanted {
        if let Some(shown) = image.stream(id) {
            let entry = shown.entry;
            tell_of_label(image, &entry, &root, &mut finds);
        }
        let has_tail = tails.has(id);
        let checked = stream::check(image, id, has_tail, &root, &mut finds, &mut meter);
        streams.extend(checked.map_err(Error::Unreadable)?);
    }
    for orphan in &orphans {
        orphan::check(orphan, &root, &mut finds, &mut meter).map_err(Error::Unreadable)?;
    }
    let bytes_read = meter.done;
    let unasked = keys.end()?;
    let rocksdb = store.folder(BackendKind::RocksDb);
    if !finds.found.iter().any(|found| found.is_of(rocksdb.as_deref())) {
        // Else it may be the same block, of which more is known.
        unasked.removed.into_iter().for_each(|found| finds.add(found));
    }
    for found in unasked.keys.into_iter().rev() {
        finds.insert(before_keys, found);
    }
    Ok(Report {
        path: root,
        bytes_read,
        streams,
        journals,
        found: finds.found,
        more: finds.more,
        elsewhere,
    })
}

/// A log without the label that says whose it is, which matters once the catalogue is lost.
fn tell_of_label(image: &Image, entry: &StreamEntry, root: &Path, finds: &mut Finds) {
    // Before its first checkpoint a crash may have taken what was written beside the journal.
    if entry.offline.is_some() || !matches!(image.saved(entry.id), Ok(Some(_))) {
        return;
    }
    let label = image
        .backend(entry.settings.backend)
        .and_then(|backend| backend.label(entry.id.log()));
    if let Ok(None) = label {
        let file = root.join("segment/logs").join(entry.id.to_string()).join("label");
        let text = "its log has no label that says whose it is: a server writes it when it starts";
        let found = Found {
            file: (entry.settings.backend == BackendKind::Segment).then_some(file),
            ..Found::new(What::File, text)
        };
        finds.add(found.of_stream(&entry.account, &entry.name).harmless());
    }
}

/// A finding, for each stream that it concerns.
fn found_of(image: &Image, key: &str, finding: &Finding) -> Vec<Found> {
    let what = match finding.kind {
        FindingKind::Catalogue => What::Catalogue,
        FindingKind::Journal => What::Journal,
        FindingKind::Log => What::Log,
        FindingKind::Orphan => What::Orphan,
    };
    let found = Found {
        shard: finding.shard,
        // What no server has seen yet has no key in the store.
        key: image.is_kept(key).then(|| key.to_owned()),
        ..Found::new(what, finding.text.clone())
    };
    if finding.concerned.is_empty() {
        // That a log has lost writes is said of it by its key.
        let entries = image.entries();
        let of = entries
            .iter()
            .find(|entry| key.starts_with(&format!("log-{}-", entry.id)));
        return vec![match of {
            Some(entry) => found.of_stream(&entry.account, &entry.name),
            None => found,
        }];
    }
    let concerned = finding.concerned.iter().map(|of| Found {
        account: (!of.account.is_empty()).then(|| of.account.clone()),
        stream: (!of.stream.is_empty()).then(|| of.stream.clone()),
        lost: of.lost.clone(),
        ..found.clone()
    });
    concerned.collect()
}

/// Logs that no stream has, and that no finding tells of: those with nothing in them, and those that cannot be looked at.
fn tell_of_orphans(image: &Image, options: &Options, finds: &mut Finds) -> Result<()> {
    if options.stream.is_some() {
        return Ok(());
    }
    let told = image.findings();
    for LogRef { backend: kind, id } in image.orphans().map_err(Error::Unreadable)? {
        if told.iter().any(|(key, _)| *key == format!("orphan-{kind}-{id}")) {
            continue;
        }
        let existing = weir_engine::LogOptions {
            existing: true,
            ..weir_engine::LogOptions::default()
        };
        let opened = image.backend(kind).and_then(|backend| backend.open(id, &existing));
        finds.add(match opened {
            Ok((log, _)) if log.reader().extent().last == 0 => Found::new(
                What::Orphan,
                format!("log {id} of {kind} has nothing in it, and no stream has it: a crash came while it was made"),
            )
            .harmless(),
            Ok(_) => Found::new(What::Orphan, format!("no stream has log {id} of {kind}; it is kept")),
            Err(error) => Found::new(
                What::Orphan,
                format!("no stream has log {id} of {kind}, and it cannot be looked at: {error}"),
            ),
        });
    }
    Ok(())
}
