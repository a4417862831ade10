//! What of RocksDB is checked that no check of a log reads: small files, keys that are no record's, and what was removed.

use std::path::Path;

use weir_backends::root::StoreDir;
#[cfg(feature = "rocksdb")]
use weir_engine::stream::settings::BackendKind;

use super::report::Found;
#[cfg(feature = "rocksdb")]
use super::{lines, report::What};
#[cfg(feature = "rocksdb")]
use crate::error::Error;
use crate::error::Result;
use weir_engine::{LogId, StreamId};

/// What of RocksDB's small files is damaged.
#[cfg(feature = "rocksdb")]
pub(super) fn small_files(store: &StoreDir, root: &Path) -> Vec<Found> {
    let lines = folder(store).map(|folder| weir_backends::rocks::repair::small_files(&folder));
    let lines = lines.unwrap_or_default();
    let found = lines
        .iter()
        .map(|line| lines::found(What::Backend, root, line).harmless());
    found.collect()
}

#[cfg(not(feature = "rocksdb"))]
pub(super) fn small_files(_: &StoreDir, _: &Path) -> Vec<Found> {
    Vec::new()
}

#[cfg(feature = "rocksdb")]
fn folder(store: &StoreDir) -> Option<std::path::PathBuf> {
    store.folder(BackendKind::RocksDb).filter(|folder| folder.is_dir())
}

/// What of RocksDB's keys is damaged that no stream is needed to find.
#[cfg(feature = "rocksdb")]
fn damaged_keys(folder: &Path) -> Result<Vec<Found>> {
    use weir_backends::rocks::repair::{Keys, damaged_keys};
    let damaged = damaged_keys(folder).map_err(Error::Unreadable)?;
    let damaged = damaged.into_iter().map(|(keys, what)| {
        let text = match keys {
            Keys::Catalogue => format!("RocksDB's catalogue of its logs is damaged, `weir repair` makes it anew: {what}"),
            Keys::Space => format!(
                "RocksDB's key-value space is damaged, where paged indexes are: streams whose keys lie there cannot be served, and \
                 nothing is compacted; `weir repair` makes them anew from the messages: {what}"
            ),
        };
        Found::new(What::Backend, text)
    });
    Ok(damaged.collect())
}

/// What of RocksDB is damaged where all records were removed.
#[cfg(feature = "rocksdb")]
fn damaged_removed(folder: &Path, of: Option<&[LogId]>) -> Result<Option<Found>> {
    let damaged = weir_backends::rocks::removed::damaged(folder, of).map_err(Error::Unreadable)?;
    Ok(damaged.map(|what| {
        let text = format!(
            "RocksDB is damaged where removed messages lie: that costs none, but a compaction stops there, and then nothing is written \
             any more; `weir repair` makes RocksDB anew: {what}"
        );
        Found::new(What::Backend, text)
    }))
}

/// What is checked beside the logs.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Unasked {
    Nothing,
    /// Keys that are no record's, and what is left of removed records of these logs.
    Of(Vec<LogId>),
    /// The same, of all.
    All,
}

/// What came of that.
#[derive(Default)]
pub(super) struct Checked {
    pub keys: Vec<Found>,
    pub removed: Option<Found>,
}

impl Unasked {
    /// Where a whole store is checked, or these streams of it; and whether that has RocksDB in it.
    pub fn of(has_rocksdb: bool, is_all: bool, wanted: &[StreamId]) -> Self {
        match (has_rocksdb, is_all) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Of(wanted.iter().map(|id| id.log()).collect()),
            (true, true) => Self::All,
        }
    }

    #[cfg(feature = "rocksdb")]
    fn check(&self, folder: &Path) -> Result<Checked> {
        Ok(Checked {
            keys: damaged_keys(folder)?,
            removed: match self {
                Self::All => damaged_removed(folder, None)?,
                Self::Of(logs) => damaged_removed(folder, Some(logs))?,
                Self::Nothing => None,
            },
        })
    }
}

/// The check beside that of the logs.
pub(super) struct Beside {
    #[cfg(feature = "rocksdb")]
    thread: Option<std::thread::JoinHandle<Result<Checked>>>,
    /// Where no thread can be had.
    #[cfg(feature = "rocksdb")]
    here: Option<(std::path::PathBuf, Unasked)>,
}

#[cfg(feature = "rocksdb")]
impl Beside {
    pub fn begin(store: &StoreDir, asked: Unasked) -> Self {
        let folder = folder(store).filter(|_| asked != Unasked::Nothing);
        let begin = |folder: &std::path::PathBuf| {
            let (folder, asked) = (folder.clone(), asked.clone());
            let thread = std::thread::Builder::new().name("weir-verify".to_owned());
            thread.spawn(move || asked.check(&folder)).ok()
        };
        let thread = folder.as_ref().and_then(begin);
        let here = folder.filter(|_| thread.is_none()).map(|folder| (folder, asked));
        Self { thread, here }
    }

    pub fn end(self) -> Result<Checked> {
        let panicked = |_| {
            Err(Error::Unreadable(weir_engine::Error::closed(
                "reading RocksDB's keys panicked: please report it",
            )))
        };
        match (self.thread, self.here) {
            (Some(thread), _) => thread.join().unwrap_or_else(panicked),
            (None, Some((folder, asked))) => asked.check(&folder),
            (None, None) => Ok(Checked::default()),
        }
    }
}

#[cfg(not(feature = "rocksdb"))]
impl Beside {
    pub fn begin(_: &StoreDir, _: Unasked) -> Self {
        Self {}
    }

    pub fn end(self) -> Result<Checked> {
        Ok(Checked::default())
    }
}
