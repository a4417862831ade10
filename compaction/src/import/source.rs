//! What a stream is imported from, told by how it begins.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_backup::{BackupState, S2_IDENTIFIED};
use weir_engine::stream::StreamConfig;

use super::backup::Backup;
use super::lines::Lines;
use crate::error::{Error, Result};

/// In a folder that `nats stream backup` or `weir export` made: the configuration, and what the backup held.
pub const DESCRIPTION: &str = "backup.json";
/// In such a folder: all the rest.
pub const ARCHIVE: &str = "stream.tar.s2";
/// How a Parquet file begins.
const TABLE: &[u8] = b"PAR1";
/// The largest file with a configuration that is read, in bytes.
const DESCRIPTION_MAX: u64 = 64 << 20;

/// A source that is open, and of which the configuration is known.
pub(super) enum Source {
    /// A backup in S2.
    Backup(Box<Backup>),
    /// Lines of JSON.
    Lines(Box<Lines>),
}

/// What stands beside a backup.
#[derive(Deserialize)]
struct Description {
    config: StreamConfig,
    #[serde(default)]
    state: BackupState,
}

impl Source {
    /// Opens a folder or file. `config` is a file with the configuration that is to be taken instead.
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Self> {
        let instead = config.map(read_config).transpose()?;
        if path.is_dir() {
            let description = path.join(DESCRIPTION);
            if !description.is_file() {
                return Err(not_a_source(path));
            }
            let Description { config, state } = read_json(&description)?;
            let archive = path.join(ARCHIVE);
            let file = File::open(&archive).map_err(|error| Error::source(&archive, error))?;
            let original = config.name.clone();
            let config = instead.unwrap_or(config);
            let backup = Backup::new(archive, file, config, original, state)?;
            return Ok(Self::Backup(Box::new(backup)));
        }
        let mut file = File::open(path).map_err(|error| Error::source(path, error))?;
        let mut begin = Vec::new();
        let read = (&mut file).take(S2_IDENTIFIED.len() as u64).read_to_end(&mut begin);
        read.and_then(|_| file.rewind())
            .map_err(|error| Error::source(path, error))?;
        let path = path.to_path_buf();
        match (begin == S2_IDENTIFIED, begin.first()) {
            (true, _) => {
                let config = instead.ok_or_else(|| Error::NoConfig { path: path.clone() })?;
                let original = config.name.clone();
                let backup = Backup::new(path, file, config, original, BackupState::default())?;
                Ok(Self::Backup(Box::new(backup)))
            }
            _ if begin.starts_with(TABLE) => Err(Error::ATable { path }),
            (false, Some(b'{')) => Lines::new(path, file, instead).map(|lines| Self::Lines(Box::new(lines))),
            _ => Err(not_a_source(&path)),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &StreamConfig {
        match self {
            Self::Backup(backup) => &backup.config,
            Self::Lines(lines) => &lines.config,
        }
    }
}

fn not_a_source(path: &Path) -> Error {
    Error::NotASource {
        path: path.to_path_buf(),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &PathBuf) -> Result<T> {
    let read = || {
        let mut text = Vec::new();
        File::open(path)?.take(DESCRIPTION_MAX).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    read().map_err(|error| Error::source(path, error))
}

/// A configuration alone, or as it stands beside a backup.
fn read_config(path: &Path) -> Result<StreamConfig> {
    let value: serde_json::Value = read_json(&path.to_path_buf())?;
    let config = match value.get("config") {
        Some(config) => config.clone(),
        None => value,
    };
    serde_json::from_value(config)
        .map_err(|error| Error::source(path, io::Error::new(io::ErrorKind::InvalidData, error)))
}
