//! Giving back, in place, what removed messages took on disk, and compressing what is there otherwise.
//!
//! Files are rewritten one after the other, each under a name of its own until it is whole: what ends the process leaves everything
//! there, and a part of it done.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use humansize::{BINARY, format_size};
use serde::Serialize;
use weir_backends::root::StoreDir;
use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot};
use weir_engine::store::OpeningProgress;
use weir_engine::stream::Stream;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Check, Compression, EntryRef, Kind, Place, Seq, Want, words};

use crate::beside::Beside;
use crate::chosen::{Chosen, chosen, is_broken};
use crate::error::{Error, Result};
use crate::import::Target;
use crate::taken::Taken;

/// Ranges of damaged messages that are named.
const NAMED_MAX: usize = 16;

/// What to compact.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the streams of this name.
    pub stream: Option<String>,
    /// Only the streams of this account.
    pub account: Option<String>,
    /// How all messages are compressed from now on; `None` leaves them as they are.
    pub compression: Option<Compression>,
}

/// What came of it. The JSON form of this is an interface: fields are added, never renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder of the store.
    pub path: PathBuf,
    /// The streams, in the order that they were worked on in.
    pub streams: Vec<Compacted>,
    /// Streams that were not looked at any more, because of what failed before them.
    pub not_tried: u64,
    /// How many things are wrong elsewhere in the store, where only some streams were asked for.
    pub elsewhere: u64,
    /// Bytes that the files of the store took before.
    pub disk_before: u64,
    /// Bytes that they take now.
    pub disk_after: u64,
    /// What of that was of streams, and what of journals, before.
    pub before: Taken,
    /// What it is now.
    pub after: Taken,
    /// Why what is left of removed streams, and what RocksDB has of deleted keys, was not given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_given_back: Option<String>,
    /// Whether a block of RocksDB's is damaged, so that nothing of it was compacted.
    pub rocksdb_damaged: bool,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its backend.
    pub backend: BackendKind,
    /// Bytes that its log took before, as far as the backend can tell.
    pub disk_before: u64,
    /// Bytes that it takes now.
    pub disk_after: u64,
    /// Why it was not done, or not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether damage is why.
    pub damaged: bool,
}

impl Report {
    /// Whether all was done.
    pub fn is_done(&self) -> bool {
        self.not_tried == 0 && self.not_given_back.is_none() && self.streams.iter().all(|stream| stream.why.is_none())
    }

    /// Whether damage is all that kept anything from being done.
    pub fn is_damaged(&self) -> bool {
        let mut failed = self.streams.iter().filter(|stream| stream.why.is_some()).peekable();
        (failed.peek().is_some() || self.rocksdb_damaged) && self.not_tried == 0 && failed.all(|stream| stream.damaged)
    }

    /// Lines, one for each stream. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for stream in &self.streams {
            let Compacted {
                account, name, backend, ..
            } = stream;
            let (before, after) = (size(stream.disk_before), size(stream.disk_after));
            text += &match &stream.why {
                None => format!("{name} of {account} ({backend}): {before} before, {after} now.\n"),
                Some(why) => format!("{name} of {account} ({backend}) is not compacted, or not all of it: {why}.\n"),
            };
        }
        if self.streams.is_empty() {
            text += "There is no stream to compact.\n";
        }
        if self.not_tried > 0 {
            text += &crate::chosen::not_tried(self.not_tried);
        }
        if let Some(why) = &self.not_given_back {
            text += &format!("What removed streams left is not given back: {why}.\n");
        }
        text + &Taken::said(&self.before, &self.after) + &crate::elsewhere::told(self.elsewhere)
    }
}

fn size(bytes: u64) -> String {
    format_size(bytes, BINARY)
}

/// Compacts streams of the store in a directory: a server's store directory, or the folder `weir` in it. Without the name of a stream
/// or an account what is left of removed streams goes as well. `progress` is told how many bytes of a stream are done, and of how many.
///
/// # Errors
/// If there is no store, a server has it open, it cannot be read, or it has no stream of the wanted name. What fails for a stream is
/// in the report: damage leaves that stream, and the others go on; anything else ends the work.
pub fn compact(
    path: &Path,
    options: &Options,
    opening: Option<OpeningProgress>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Report> {
    let dir = crate::key::find(path)?;
    // Before anything is compacted: RocksDB would come to a stop at it, and take no writes any more.
    let is_all = options.stream.is_none() && options.account.is_none();
    let damaged = match is_all || may_be_on_rocksdb(&dir, options)? {
        true => damaged_block(&dir)?,
        false => None,
    };
    let target = Target::open_existing(path, opening)?;
    let before = Taken::of(&dir);
    let all = target.store().catalogue().all();
    let streams = chosen(&all, options.stream.as_deref(), options.account.as_deref())?;
    let mut report = Report {
        path: dir.root().to_path_buf(),
        streams: Vec::new(),
        not_tried: streams.len() as u64,
        elsewhere: match options.stream.is_some() || options.account.is_some() {
            true => crate::elsewhere::in_store(target.store(), &streams),
            false => 0,
        },
        disk_before: before.all(),
        disk_after: 0,
        before,
        after: Taken::default(),
        not_given_back: None,
        rocksdb_damaged: false,
    };
    // Once RocksDB takes no writes any more, the streams that are on it are not tried; the others have nothing to do with it.
    let mut is_rocksdb_over = false;
    for stream in &streams {
        let is_on_it = stream.settings.backend == BackendKind::RocksDb;
        if is_on_it && is_rocksdb_over {
            continue;
        }
        report.not_tried -= 1;
        let compacted = match &damaged {
            Some(what) if is_on_it => left_alone(&target, stream, what),
            _ => compact_one(&target, stream, options.compression, progress),
        };
        let is_over = compacted.why.is_some() && !compacted.damaged;
        report.streams.push(compacted);
        match (is_over, is_on_it) {
            (true, true) => is_rocksdb_over = true,
            (true, false) => break,
            (false, _) => {}
        }
    }
    target.close();
    report.rocksdb_damaged = damaged.is_some();
    if is_all {
        report.not_given_back = match damaged {
            Some(what) => dir
                .give_back_of(BackendKind::Segment)
                .err()
                .map(|error| error.message)
                .or(Some(format!("RocksDB is left as it is: {what}"))),
            None => dir.give_back().err().map(|error| error.message),
        };
    }
    report.after = Taken::of(&dir);
    report.disk_after = report.after.all();
    Ok(report)
}

/// Does the same to a copy that it makes in `out`, and changes nothing in the store. `progress` is told of the copying, too. What is
/// broken off is there as `out` with `.unfinished` behind its name, and the next run begins that anew.
///
/// # Errors
/// As those of [`compact`]; and if `out` is there and not empty, or cannot be written.
pub fn compact_to(
    path: &Path,
    out: &Path,
    options: &Options,
    opening: Option<OpeningProgress>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Report> {
    let beside = Beside::begin(path, out, progress)?;
    match compact(&beside.store(), options, opening, progress) {
        Ok(mut report) => {
            beside.finish()?.path(&mut report.path);
            Ok(report)
        }
        Err(error) => beside.give_up(error),
    }
}

/// Whether one of the streams that were asked for is on RocksDB, as far as the catalogue tells; what it does not know may be.
fn may_be_on_rocksdb(dir: &StoreDir, options: &Options) -> Result<bool> {
    let root = dir.open_read_only(BackendKind::Segment).map_err(Error::opening)?;
    let (mut is_known, mut is_on_it) = (false, false);
    let scanned = root.kv().scan(STREAM_PREFIX, None, &mut |_, value| {
        if let Ok(saved) = StreamSnapshot::read(value, None)
            && options.stream.as_ref().is_none_or(|name| *name == saved.name)
            && options.account.as_ref().is_none_or(|account| *account == saved.account)
        {
            is_known = true;
            is_on_it |= saved.settings.backend == BackendKind::RocksDb;
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(Error::Unreadable)?;
    Ok(is_on_it || !is_known)
}

/// What is damaged in RocksDB's tables, if anything is.
#[cfg(feature = "rocksdb")]
fn damaged_block(dir: &StoreDir) -> Result<Option<String>> {
    match dir.folder(BackendKind::RocksDb).filter(|folder| folder.is_dir()) {
        Some(folder) => weir_backends::rocks::repair::damaged_block(&folder).map_err(Error::Unreadable),
        None => Ok(None),
    }
}

#[cfg(not(feature = "rocksdb"))]
fn damaged_block(_: &StoreDir) -> Result<Option<String>> {
    // Its streams are offline for want of it.
    Ok(None)
}

/// The records of a log that can be read.
#[derive(Default)]
struct Whole {
    ranges: Vec<(Seq, Seq)>,
}

impl Check for Whole {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        add(&mut self.ranges, entry.seq);
        ControlFlow::Continue(())
    }

    fn want(&self) -> Want {
        Want::Heads
    }

    fn place(&mut self, _: Place) {}

    fn read(&mut self, _: u64) {}
}

fn add(ranges: &mut Vec<(Seq, Seq)>, seq: Seq) {
    match ranges.last_mut().filter(|(_, last)| last + 1 == seq) {
        Some((_, last)) => *last = seq,
        None => ranges.push((seq, seq)),
    }
}

/// The messages that a stream counts, and that cannot be read.
fn unreadable(stream: &mut Stream) -> weir_engine::Result<Vec<(Seq, Seq)>> {
    /// Sequences that are looked up at once.
    const PAGE: u64 = 1 << 16;
    let mut whole = Whole::default();
    stream.log_reader().clone().check(&mut whole)?;
    let mut given = whole.ranges.into_iter().peekable();
    let (mut missing, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let mut live = Vec::new();
        next = stream.live_from(from, PAGE, &mut live)?;
        for seq in live {
            while given.next_if(|(_, last)| *last < seq).is_some() {}
            if given.peek().is_none_or(|(first, _)| seq < *first) {
                add(&mut missing, seq);
            }
        }
    }
    Ok(missing)
}

/// A stream on RocksDB that is not compacted, because a block is damaged: its own, or that of another whose records are in the same tables.
fn left_alone(target: &Target, stream: &Chosen, what: &str) -> Compacted {
    let own = target
        .store()
        .stream(&stream.account, &stream.name)
        .and_then(|stream| stream.call(|shard, id| unreadable(shard.stream(id)?)));
    let own = match &own {
        Ok(own) => &own[..own.len().min(NAMED_MAX)],
        // What cannot be looked at is told as damaged as well.
        Err(_) => &[],
    };
    let why = match own.is_empty() {
        false => format!("{} cannot be read: {what}", words::numbered("message", own)),
        true => format!(
            "RocksDB has a damaged block ({what}), and its tables have records of several streams: none of them is compacted before `weir \
             repair` has mended it"
        ),
    };
    Compacted {
        account: stream.account.to_string(),
        name: stream.name.to_string(),
        backend: stream.settings.backend,
        disk_before: 0,
        disk_after: 0,
        why: Some(why),
        damaged: true,
    }
}

fn compact_one(
    target: &Target,
    stream: &Chosen,
    compression: Option<Compression>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Compacted {
    let outcome = target
        .store()
        .compact_stream(&stream.account, &stream.name, compression, &mut |done, of| {
            progress(&stream.name, done, of);
        });
    let mut compacted = Compacted {
        account: stream.account.to_string(),
        name: stream.name.to_string(),
        backend: stream.settings.backend,
        disk_before: 0,
        disk_after: 0,
        why: None,
        damaged: false,
    };
    match outcome {
        Ok((before, after)) => (compacted.disk_before, compacted.disk_after) = (before, after),
        Err(error) => {
            compacted.damaged = error.kind == Kind::Damaged || is_broken(stream);
            compacted.why = Some(error.message);
        }
    }
    compacted
}
