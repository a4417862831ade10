//! A copy of a store that is encrypted, whatever the store is: logs and catalogue are copied as they are, through what decrypts the one and
//! what encrypts the other. The store itself is only read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use weir_backends::encrypted::Cipher;
use weir_backends::root::StoreDir;
use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot};
use weir_engine::stream::settings::{BackendKind, IndexKind};
use weir_engine::{
    Backend, Compression, Direction, Entry, Error as EngineError, Kind, Kv, KvWrite, Log, LogChange, LogId, LogOptions,
    LogReader, LogRef, Record, Seq, Want,
};

use crate::beside::Beside;
use crate::error::{Error, Result};

/// Bytes of records that are copied at once, about.
const AT_ONCE: usize = 4 << 20;
/// Records that are.
const RECORDS_AT_ONCE: usize = 10_000;

/// The log that a store gives its first stream; those before are journals.
const FIRST_STREAM: LogId = LogId(256);
/// Ranges of lost messages that are named, at most.
const LOST_NAMED: usize = 100;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The store that was made.
    pub path: PathBuf,
    /// What it is encrypted with.
    pub cipher: String,
    /// Logs that were copied: streams and journals.
    pub logs: u64,
    /// Records in them.
    pub records: u64,
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        format!(
            "{} is encrypted with {}: {} and {} were copied. The store that they are from is as it was.\n",
            self.path.display(),
            self.cipher,
            weir_engine::words::count(self.records, "record"),
            weir_engine::words::count(self.logs, "log"),
        )
    }
}

/// Makes a copy of the store in a directory, encrypted with the first key that was given, in `out`. What is broken off is there as `out`
/// with `.unfinished` behind its name, and the next run begins that anew. `progress` is told of the bytes.
///
/// # Errors
/// If no key is given, there is no store, a server has it open, it is encrypted with a key that was not given, something in it is damaged,
/// or `out` is there and not empty, or cannot be written.
pub fn encrypt(path: &Path, out: &Path, cipher: Cipher, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<Report> {
    if !crate::key::is_given() {
        return Err(Error::Locked(EngineError::new(
            Kind::Locked,
            "no key is given to encrypt with: name a file with --key-file, or set the variable WEIR_KEY",
        )));
    }
    let from = crate::key::find(path)?;
    crate::beside::is_finished(path)?;
    let _hold = from.hold().map_err(Error::opening)?;
    let beside = Beside::begin_empty(path, &from, out)?;
    let made = crate::key::made(StoreDir::new(beside.directory()), cipher).and_then(|to| {
        let mut copying = Copying {
            streams: BTreeMap::new(),
            lost: None,
            logs: 0,
            records: 0,
            done: 0,
            of: crate::inspect::folder_bytes(from.root(), &mut Vec::new()),
            progress,
        };
        let copied = copying.store(&from, &to);
        copied.map_err(|error| copying.lost.take().unwrap_or(Error::Unreadable(error)))?;
        Ok((copying.logs, copying.records))
    });
    match made {
        Ok((logs, records)) => {
            beside.finish()?;
            Ok(Report {
                path: out.to_path_buf(),
                cipher: cipher.to_string(),
                logs,
                records,
            })
        }
        Err(error) => beside.give_up(error),
    }
}

/// What is to be known of a stream when its log is copied.
#[derive(Default)]
struct Copied {
    account: String,
    name: String,
    compression: Compression,
}

struct Copying<'a> {
    /// The streams by their logs.
    streams: BTreeMap<LogRef, Copied>,
    /// Why a log is not copied that lacks messages.
    lost: Option<Error>,
    logs: u64,
    records: u64,
    done: u64,
    of: u64,
    progress: &'a mut dyn FnMut(&str, u64, u64),
}

impl Copying<'_> {
    fn store(&mut self, from: &StoreDir, to: &StoreDir) -> weir_engine::Result<()> {
        self.streams = streams(from.open_read_only(BackendKind::Segment)?.kv().as_ref())?;
        // The last change of each log that was made.
        let mut changes = BTreeMap::new();
        for kind in from.there() {
            let (source, target) = (from.open_read_only(kind)?, to.open(kind)?);
            if let Some(lost) = source.lost().first().cloned().or_else(|| source.impaired()) {
                return Err(damaged(&lost));
            }
            for id in source.list()? {
                let log = LogRef { backend: kind, id };
                let change = self.log(&source, &target, log)?;
                changes.insert(log, change);
            }
            target.sync()?;
        }
        // Of RocksDB there are indexes, which an encrypted store has not.
        let (source, target) = (
            from.open_read_only(BackendKind::Segment)?,
            to.open(BackendKind::Segment)?,
        );
        catalogue(source.kv().as_ref(), target.kv().as_ref(), &changes)?;
        target.sync()
    }

    fn log(&mut self, source: &Arc<dyn Backend>, target: &Arc<dyn Backend>, of: LogRef) -> weir_engine::Result<u64> {
        let existing = LogOptions {
            existing: true,
            ..LogOptions::default()
        };
        let (log, recovery) = source.open(of.id, &existing)?;
        let reader = log.reader();
        self.is_whole(reader.as_ref(), of)?;
        if let Some(what) = recovery.damage.first().or(recovery.revived.as_ref()) {
            return Err(damaged(what));
        }
        let options = LogOptions {
            // As a server makes it: it has a file before it has records, or it would look like one whose files are gone.
            preallocate: of.id < FIRST_STREAM,
            label: recovery.label.unwrap_or_default(),
            compression: self
                .streams
                .get(&of)
                .map_or_else(Compression::default, |of| of.compression),
            ..LogOptions::default()
        };
        let (mut copy, _) = target.open(of.id, &options)?;
        let mut from = 0;
        loop {
            let (entries, next) = portion(reader.as_ref(), from)?;
            put(copy.as_mut(), &entries)?;
            self.records += entries.len() as u64;
            let bytes: usize = entries.iter().map(|entry| entry.head.len() + entry.body.len()).sum();
            self.done += bytes as u64;
            (self.progress)("encrypting", self.done.min(self.of), self.of);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        // What is damaged in bodies is found by reading them.
        self.is_whole(reader.as_ref(), of)?;
        let extent = reader.extent();
        let last = copy.reader().extent().last;
        if last < extent.last {
            // What the last numbers were given to was removed; they are not given again.
            let record = Record {
                seq: extent.last,
                time: 0,
                head: &[],
                body: &[],
            };
            copy.write(&LogChange {
                append: &[record],
                erase: &[extent.last],
                ..LogChange::default()
            })?;
        }
        let made = copy.reader().extent();
        if (made.count, made.bytes, made.last) != (extent.count, extent.bytes, extent.last) {
            return Err(damaged(&format!(
                "log {} is not in the copy as it is in the store",
                of.id
            )));
        }
        self.logs += 1;
        Ok(copy.last_change())
    }

    /// Refuses a log with records that are known to be lost.
    fn is_whole(&mut self, reader: &dyn LogReader, of: LogRef) -> weir_engine::Result<()> {
        let mut lost: Vec<_> = reader.lost().iter().map(|lost| (lost.first, lost.last)).collect();
        if lost.is_empty() && reader.extent().damaged == 0 {
            return Ok(());
        }
        lost.sort_unstable();
        lost.truncate(LOST_NAMED);
        if let (Some(stream), false) = (self.streams.get(&of), lost.is_empty()) {
            self.lost = Some(Error::LostMessages {
                account: stream.account.clone(),
                name: stream.name.clone(),
                lost,
            });
        }
        Err(damaged(&format!("log {} has records that cannot be read", of.id)))
    }
}

fn damaged(what: &str) -> EngineError {
    EngineError::damaged(format!(
        "the store is damaged, and would be copied without what is: {what}"
    ))
}

/// Records from a sequence on, and where the next ones are.
fn portion(reader: &dyn LogReader, from: Seq) -> weir_engine::Result<(Vec<Entry>, Option<Seq>)> {
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0, None);
    reader.scan(from..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
        if bytes >= AT_ONCE || entries.len() >= RECORDS_AT_ONCE {
            next = Some(entry.seq);
            return ControlFlow::Break(());
        }
        bytes += entry.head.len() + entry.body.len();
        entries.push(entry.to_entry());
        ControlFlow::Continue(())
    })?;
    Ok((entries, next))
}

fn put(log: &mut dyn Log, entries: &[Entry]) -> weir_engine::Result<()> {
    let records: Vec<Record<'_>> = entries
        .iter()
        .map(|entry| Record {
            seq: entry.seq,
            time: entry.time,
            head: &entry.head,
            body: &entry.body,
        })
        .collect();
    log.append(&records)
}

/// The streams of a catalogue. Journals, and what makes no sense, are not among them.
fn streams(catalogue: &dyn Kv) -> weir_engine::Result<BTreeMap<LogRef, Copied>> {
    let mut found = BTreeMap::new();
    catalogue.scan(STREAM_PREFIX, None, &mut |_, value| {
        if let Ok(saved) = StreamSnapshot::read(value, None) {
            let log = saved.log();
            let copied = Copied {
                account: saved.account,
                name: saved.name,
                compression: saved.settings.compression,
            };
            found.insert(log, copied);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The catalogue, which knows of each stream's log up to which change it was written: that is another one in the copy.
fn catalogue(source: &dyn Kv, target: &dyn Kv, changes: &BTreeMap<LogRef, u64>) -> weir_engine::Result<()> {
    let (mut writes, mut bytes): (Vec<KvWrite>, usize) = (Vec::new(), 0);
    let mut failed = Ok(());
    source.scan(b"", None, &mut |key, value| {
        let value = match key.starts_with(STREAM_PREFIX) {
            true => of_copy(value, changes),
            false => Bytes::copy_from_slice(value),
        };
        bytes += key.len() + value.len();
        writes.push((Bytes::copy_from_slice(key), Some(value)));
        if bytes < AT_ONCE {
            return ControlFlow::Continue(());
        }
        bytes = 0;
        failed = target.put_all(&std::mem::take(&mut writes));
        match failed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    failed?;
    target.put_all(&writes)
}

/// A stream's entry as it is true of the copy; as it is, if it makes no sense.
fn of_copy(value: &[u8], changes: &BTreeMap<LogRef, u64>) -> Bytes {
    let changed = StreamSnapshot::read(value, None).ok().and_then(|mut saved| {
        saved.settings.index = IndexKind::Resident;
        let change = changes.get(&saved.log());
        saved.log_change = change.copied().unwrap_or_default();
        serde_json::to_vec(&saved).ok()
    });
    changed.map_or_else(|| Bytes::copy_from_slice(value), Bytes::from)
}
