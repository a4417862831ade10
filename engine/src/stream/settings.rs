//! Which storage a stream uses, as its metadata says it: `weir.backend`, `weir.durability`, `weir.compression`,
//! `weir.index`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::backend::Compression;
use crate::stream::config::{PersistMode, Storage, StreamCompression, StreamConfig};
use crate::types::{MILLISECOND, Nanos, SECOND};

/// A storage backend, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Memory-mapped segment files.
    #[default]
    Segment,
    /// RocksDB.
    RocksDb,
    /// Nothing survives.
    Memory,
}

/// When a publish is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is on disk.
    #[default]
    Sync,
    /// Once it is written; it is on disk within this many nanoseconds.
    Interval(Nanos),
    /// Once it is written; the operating system decides when it is on disk.
    Os,
}

/// Where the subjects of a stream are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// In memory.
    Resident,
    /// In the backend, behind a bounded cache.
    Paged,
}

/// The storage of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The backend.
    pub backend: BackendKind,
    /// When publishes are answered; means nothing for the memory backend.
    pub durability: Durability,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Where subjects are kept.
    pub index: IndexKind,
}

/// What a server chooses where a stream says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The backend of `storage: file`.
    pub backend: BackendKind,
    /// When publishes are answered.
    pub durability: Durability,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Where subjects are kept; `None` for what suits the backend.
    pub index: Option<IndexKind>,
    /// Whether the store is encrypted: then no subjects are kept in a backend, where they would be keys that can be read.
    pub encrypted: bool,
}

impl Settings {
    /// Reads a stream's choice.
    ///
    /// # Errors
    /// A sentence that names the key and says what is allowed.
    pub fn of(config: &StreamConfig, defaults: &Defaults) -> Result<Self, String> {
        for key in config.metadata.keys().filter(|key| key.starts_with("weir.")) {
            if !["weir.backend", "weir.durability", "weir.compression", "weir.index"].contains(&key.as_str()) {
                return Err(format!(
                    "unknown metadata key {key:?}: allowed are weir.backend, weir.durability, weir.compression and weir.index"
                ));
            }
        }
        let backend: BackendKind = match (read(config, "weir.backend")?, config.storage) {
            (Some(BackendKind::Memory), Storage::File) | (None, Storage::Memory) => BackendKind::Memory,
            (Some(backend), Storage::Memory) if backend != BackendKind::Memory => {
                return Err(format!("metadata weir.backend {backend} needs storage: file"));
            }
            (Some(backend), _) => backend,
            (None, Storage::File) => defaults.backend,
        };
        for key in ["weir.durability", "weir.compression"] {
            if backend == BackendKind::Memory && config.metadata.contains_key(key) {
                return Err(format!(
                    "metadata {key} means nothing for a stream in memory: leave it out, or choose storage: file and the \
                     backend segment or rocksdb"
                ));
            }
        }
        let durability = match read(config, "weir.durability")? {
            Some(durability) => durability,
            None if config.persist_mode == PersistMode::Async => Durability::Os,
            None => defaults.durability,
        };
        let compression = match (config.metadata.get("weir.compression"), config.compression) {
            (Some(text), _) => text.parse().map_err(|allowed| bad("weir.compression", text, allowed))?,
            (None, StreamCompression::S2) => Compression::Lz4,
            (None, StreamCompression::None) => defaults.compression,
        };
        let suits = match backend {
            BackendKind::RocksDb if !defaults.encrypted => IndexKind::Paged,
            BackendKind::RocksDb | BackendKind::Segment | BackendKind::Memory => IndexKind::Resident,
        };
        let index = match config.metadata.get("weir.index").map(String::as_str) {
            None => match defaults.index {
                Some(IndexKind::Paged) | None => suits,
                Some(IndexKind::Resident) => IndexKind::Resident,
            },
            Some("resident") => IndexKind::Resident,
            Some("paged") if defaults.encrypted => {
                return Err(
                    "metadata weir.index \"paged\" cannot be had in a store that is encrypted, for its keys would tell the subjects: \
                     leave it out"
                        .to_owned(),
                );
            }
            Some("paged") if backend == BackendKind::RocksDb => IndexKind::Paged,
            Some("paged") => {
                return Err(format!(
                    "metadata weir.index \"paged\" needs weir.backend rocksdb, not {backend}"
                ));
            }
            Some(text) => return Err(bad("weir.index", text, "resident or paged")),
        };
        Ok(Self {
            backend,
            durability,
            compression,
            index,
        })
    }

    /// What a stream that is stored like this is to be stored like according to its configuration. What that does not name stays; the
    /// index of another backend is what suits it.
    ///
    /// # Errors
    /// As [`Settings::of`].
    pub fn wanted_by(&self, config: &StreamConfig) -> Result<Self, String> {
        let named: Option<BackendKind> = read(config, "weir.backend")?;
        let stays = named.is_none_or(|named| named == self.backend);
        Self::of(
            config,
            &Defaults {
                backend: self.backend,
                durability: self.durability,
                compression: self.compression,
                index: stays.then_some(self.index),
                // What it has been given it keeps; where that is not so, it is in memory all the same.
                encrypted: false,
            },
        )
    }

    /// Whether the stream survives the process, and so goes through the journal.
    pub fn is_journaled(&self) -> bool {
        self.backend != BackendKind::Memory
    }
}

fn read<T: FromStr<Err = &'static str>>(config: &StreamConfig, key: &str) -> Result<Option<T>, String> {
    config
        .metadata
        .get(key)
        .map(|text| text.parse().map_err(|allowed| bad(key, text, allowed)))
        .transpose()
}

fn bad(key: &str, text: &str, allowed: &str) -> String {
    format!("metadata {key} {text:?} is not known: allowed are {allowed}")
}

impl FromStr for BackendKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "segment" => Ok(Self::Segment),
            "rocksdb" => Ok(Self::RocksDb),
            "memory" => Ok(Self::Memory),
            _ => Err("segment, rocksdb or memory"),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segment => "segment",
            Self::RocksDb => "rocksdb",
            Self::Memory => "memory",
        })
    }
}

impl FromStr for Durability {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "sync, os, or interval:<duration> of 1ms to 1h, such as interval:100ms";
        match text {
            "sync" => Ok(Self::Sync),
            "os" => Ok(Self::Os),
            _ => text
                .strip_prefix("interval:")
                .and_then(|text| weir_duration::parse(text).ok())
                .filter(|nanos| (MILLISECOND..=3600 * SECOND).contains(nanos))
                .map(Self::Interval)
                .ok_or(ALLOWED),
        }
    }
}

#[cfg(test)]
mod tests;
