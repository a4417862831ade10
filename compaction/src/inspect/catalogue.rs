//! The catalogue: its two copies, what keys it has, and which streams and consumers, with what the journals have above it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_backends::segment::{CopyWorth, KvCopy};
use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot};
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Kv, LogRef, NanoTime, Seq, ShardId, StreamId};

use super::journal::{self, Tails};
use super::report::{TailReport, time};
use crate::error::{Error, Result};
use crate::image::Looking;

/// The catalogue. The JSON form of these is an interface: fields are added, never renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueReport {
    /// The folder that holds the whole store.
    pub path: PathBuf,
    /// The version of what the engine wrote; `None` if the store's own record is missing or damaged.
    pub format_version: Option<u32>,
    /// How many shards, and so journals, the store has.
    pub shards: usize,
    /// The two files.
    pub copies: Vec<CopyReport>,
    /// What lies beside them: copies as they were before a start mended them, and rewrites that were not finished.
    pub beside: Vec<PathBuf>,
    /// What keys there are, by the part of a key before its `/`.
    pub keys: Vec<KeysReport>,
    /// The streams, by account and name.
    pub streams: Vec<CatalogueStream>,
    /// Whatever is damaged or missing, one line each.
    pub problems: Vec<String>,
}

/// One of the two files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// The file.
    pub file: PathBuf,
    /// Its length in bytes; `None` if it is not there, or no file.
    pub bytes: Option<u64>,
    /// `whole`; `missing`; `short`, if the end is not there; `torn`, if it ends in a write that never finished; `damaged`.
    pub state: &'static str,
    /// Up to where it is as it should be, in bytes.
    pub good_bytes: u64,
}

/// Keys of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeysReport {
    /// What they begin with: `stream`, `ledger`, `dedup`, `finding`, `journal`; or the whole key, as `store`.
    pub kind: String,
    /// How many there are.
    pub keys: u64,
    /// Bytes of them and their values.
    pub bytes: u64,
}

/// Where something is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownFrom {
    /// The catalogue has it.
    Catalogue,
    /// It was made since the last checkpoint: the journal alone has it.
    Journal,
    /// Nothing but the label of its log tells of it.
    Label,
    /// The catalogue has it, and the journal that it was deleted since.
    Deleted,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueStream {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Where it is known from.
    pub known_from: KnownFrom,
    /// `segment` or `rocksdb`.
    pub backend: String,
    /// Its log: 16 hexadecimal digits.
    pub log: String,
    /// The folder that its messages are in; of rocksdb that of all its streams.
    pub folder: PathBuf,
    /// The shard it belongs to.
    pub shard: ShardId,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: NanoTime,
    /// The last sequence that the catalogue has.
    pub last_seq: Seq,
    /// The last record of the journal that the catalogue has of it.
    pub position: Seq,
    /// What the journal has above that.
    pub journal_tail: TailReport,
    /// Its consumers, by name.
    pub consumers: Vec<CatalogueConsumer>,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueConsumer {
    /// Its name.
    pub name: String,
    /// Where it is known from.
    pub known_from: KnownFrom,
    /// Whether it stays when unused.
    pub durable: bool,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: NanoTime,
    /// The stream sequence of the last delivery that the catalogue has; what the journal has above that is not in it.
    pub delivered: Seq,
}

impl CatalogueReport {
    /// Whether anything of it is damaged or missing. A write that never finished is no damage.
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty()
    }
}

/// Looks at the catalogue of the store in a directory: a server's store directory, or the folder `weir` in it.
///
/// # Errors
/// If there is no store, a server has it open, a later version wrote it, or its catalogue cannot be read at all.
pub fn catalogue(path: &Path) -> Result<CatalogueReport> {
    let mut looking = Looking::at(path, None)?;
    let root = looking.store.root().to_path_buf();
    let image = &mut looking.image;
    let kv = image.kv().map_err(Error::Unreadable)?;
    let mut problems = looking.mended.clone();
    problems.extend(image.problems().iter().cloned());
    let findings = image.findings().into_iter().map(|(_, finding)| finding);
    let of_catalogue = |finding: &weir_engine::finding::Finding| {
        matches!(
            finding.kind,
            weir_engine::finding::FindingKind::Catalogue | weir_engine::finding::FindingKind::Orphan
        )
    };
    problems.extend(findings.filter(of_catalogue).map(|finding| finding.to_string()));
    let mut tails = Tails::default();
    for shard in image.shards() {
        // What of a journal is damaged, an inspection of all tells.
        if let Err(error) = journal::read(image, shard, &mut tails, &mut Vec::new()) {
            problems.push(format!("journal of shard {shard}: {error}"));
        }
    }
    let mut saved = saved_streams(kv.as_ref())?;
    let labelled: BTreeSet<StreamId> = image.labelled().into_iter().map(|log| log.id.stream()).collect();
    let mut streams = Vec::new();
    for entry in image.entries() {
        let snapshot = saved.remove(&entry.id);
        let now = image.stream(entry.id).and_then(|shown| shown.stream);
        let known_from = match &snapshot {
            Some(_) => KnownFrom::Catalogue,
            None if labelled.contains(&entry.id) => KnownFrom::Label,
            None => KnownFrom::Journal,
        };
        let (last_seq, position) = snapshot.as_ref().map_or((0, 0), |saved| (saved.last, saved.position));
        streams.push(CatalogueStream {
            account: entry.account.to_string(),
            name: entry.name.to_string(),
            known_from,
            backend: entry.settings.backend.to_string(),
            log: entry.id.to_string(),
            folder: folder_of(&root, entry.log()),
            shard: entry.shard,
            created: entry.created,
            last_seq,
            position,
            journal_tail: tails.of(entry.id),
            consumers: consumers(snapshot.as_ref(), now.as_deref()),
        });
    }
    // The catalogue has them, and a start does not: the journal has deleted them.
    streams.extend(saved.into_iter().map(|(id, saved)| CatalogueStream {
        known_from: KnownFrom::Deleted,
        backend: saved.settings.backend.to_string(),
        log: id.to_string(),
        folder: folder_of(&root, saved.log()),
        shard: saved.shard,
        created: saved.created,
        last_seq: saved.last,
        position: saved.position,
        journal_tail: tails.of(id),
        consumers: Vec::new(),
        account: saved.account,
        name: saved.name,
    }));
    streams.sort_by(|a, b| (&a.account, &a.name).cmp(&(&b.account, &b.name)));
    let copies = looking.copies.iter().map(copy).collect::<Vec<_>>();
    Ok(CatalogueReport {
        format_version: image.format_version(),
        shards: image.shards().len(),
        beside: beside(&copies, &mut problems),
        copies,
        keys: keys(kv.as_ref())?,
        streams,
        problems,
        path: root,
    })
}

fn folder_of(root: &Path, log: LogRef) -> PathBuf {
    match log.backend {
        BackendKind::RocksDb => root.join("rocksdb"),
        _ => root.join("segment/logs").join(log.id.to_string()),
    }
}

fn copy(copy: &KvCopy) -> CopyReport {
    let whole = copy.bytes.unwrap_or(0);
    let (state, good_bytes) = match copy.worth {
        _ if copy.bytes.is_none() => ("missing", 0),
        CopyWorth::Whole => ("whole", whole),
        CopyWorth::Short(at) => ("short", at),
        CopyWorth::Torn(at) => ("torn", at),
        CopyWorth::Damaged(at) => ("damaged", at),
    };
    CopyReport {
        file: copy.path.clone(),
        bytes: copy.bytes,
        state,
        good_bytes,
    }
}

/// What else lies in the folders of the copies.
fn beside(copies: &[CopyReport], problems: &mut Vec<String>) -> Vec<PathBuf> {
    let mut beside = Vec::new();
    for folder in copies.iter().filter_map(|copy| copy.file.parent()) {
        let listed = std::fs::read_dir(folder).and_then(|entries| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.collect::<std::io::Result<Vec<_>>>()
        });
        match listed {
            Ok(paths) => beside.extend(
                paths
                    .into_iter()
                    .filter(|path| copies.iter().all(|copy| copy.file != *path)),
            ),
            // A copy that is missing is told as such.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(format!("{}: cannot be listed: {error}", folder.display())),
        }
    }
    beside.sort();
    beside
}

/// What the last checkpoint has of each stream. Of what makes no sense there a start tells.
fn saved_streams(kv: &dyn Kv) -> Result<BTreeMap<StreamId, StreamSnapshot>> {
    let mut saved = BTreeMap::new();
    let scanned = kv.scan(STREAM_PREFIX, None, &mut |_, value| {
        if let Ok(snapshot) = serde_json::from_slice::<StreamSnapshot>(value) {
            saved.insert(StreamId(snapshot.id), snapshot);
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(Error::Unreadable)?;
    Ok(saved)
}

fn keys(kv: &dyn Kv) -> Result<Vec<KeysReport>> {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let scanned = kv.scan(b"", None, &mut |key, value| {
        let kind = key.split(|byte| *byte == b'/').next().unwrap_or_default();
        let (keys, bytes) = kinds.entry(String::from_utf8_lossy(kind).into_owned()).or_default();
        *keys += 1;
        *bytes += (key.len() + value.len()) as u64;
        ControlFlow::Continue(())
    });
    scanned.map_err(Error::Unreadable)?;
    let kinds = kinds.into_iter();
    Ok(kinds
        .map(|(kind, (keys, bytes))| KeysReport { kind, keys, bytes })
        .collect())
}

/// The consumers that the catalogue has, and those that there are once the journal is applied.
fn consumers(saved: Option<&StreamSnapshot>, now: Option<&weir_engine::stream::Stream>) -> Vec<CatalogueConsumer> {
    let mut all = BTreeMap::new();
    for consumer in saved.iter().flat_map(|saved| &saved.consumers) {
        if consumer.config.direct {
            // One that copies a source: nobody is told of those.
            continue;
        }
        all.insert(
            consumer.name.clone(),
            CatalogueConsumer {
                name: consumer.name.clone(),
                // Of a stream that cannot be read nothing is known but this.
                known_from: match now {
                    Some(_) => KnownFrom::Deleted,
                    None => KnownFrom::Catalogue,
                },
                durable: consumer.config.is_durable(),
                created: consumer.created,
                delivered: consumer.delivered.stream,
            },
        );
    }
    for name in now.map(|stream| stream.consumer_names()).unwrap_or_default() {
        let Some(info) = now.and_then(|stream| stream.consumer_info(&name, 0)) else {
            continue;
        };
        let in_journal = CatalogueConsumer {
            name: name.to_string(),
            known_from: KnownFrom::Journal,
            durable: info.config.is_durable(),
            created: info.created,
            delivered: 0,
        };
        let consumer = all.entry(name.to_string()).or_insert_with(|| in_journal.clone());
        match consumer.created == in_journal.created {
            true if consumer.known_from == KnownFrom::Deleted => consumer.known_from = KnownFrom::Catalogue,
            true => {}
            // It was deleted since, and made anew.
            false => *consumer = in_journal,
        }
    }
    all.into_values().collect()
}
