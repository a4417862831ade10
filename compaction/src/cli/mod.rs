//! The program's commands: each is a thin face of a function of the library.

pub mod bar;
pub mod compact;
pub mod completions;
pub mod convert;
pub mod diff;
pub mod dump;
pub mod encrypt;
pub mod export;
pub mod import;
pub mod inspect;
pub mod man;
pub mod repair;
mod select;
mod server;
pub mod settle;
pub mod verify;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;
use weir_engine::stream::settings::BackendKind;

/// Nothing was done. Wrong arguments end with it too.
pub const NOT_DONE: u8 = 1;
/// Something is damaged, missing, lost and not settled, or different.
pub const DAMAGED: u8 = 2;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Tool(#[from] weir_compaction::Error),
    /// It cannot be done like that, and something else can.
    #[error("{what}: {remedy}")]
    Instead { what: String, remedy: String },
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
    #[error("writing the output: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// What the program ends with.
    pub fn code(&self) -> u8 {
        match self {
            Self::Tool(error) if error.is_damage() => DAMAGED,
            _ => NOT_DONE,
        }
    }

    fn remedy(&self) -> &str {
        match self {
            Self::Tool(error) => error.remedy(),
            Self::Instead { remedy, .. } => remedy,
            Self::Output(_) | Self::Json(_) => "see whether there is room where the output goes, and who reads it",
        }
    }

    /// Tells it on the standard error: as a line, or as one object of JSON if that was asked for.
    pub fn tell(&self, json: bool) {
        match json {
            true => tell_json(&self.to_string(), self.remedy(), self.code()),
            false => {
                let told = match self {
                    Self::Tool(error) => error.with_remedy(),
                    other => other.to_string(),
                };
                drop(writeln!(io::stderr(), "weir: {told}"));
            }
        }
    }
}

/// Why nothing was done, as an object of JSON. If the standard error is closed nobody is there to be told.
pub fn tell_json(error: &str, remedy: &str, exit: u8) {
    let told = serde_json::json!({"error": error, "remedy": remedy, "exit": exit});
    let _ = writeln!(io::stderr(), "{told}");
}

/// Backends that outlive the tool.
#[derive(Clone, Copy, ValueEnum)]
pub enum BackendArg {
    /// Segment files
    Segment,
    /// RocksDB
    Rocksdb,
}

impl From<BackendArg> for BackendKind {
    fn from(backend: BackendArg) -> Self {
        match backend {
            BackendArg::Segment => Self::Segment,
            BackendArg::Rocksdb => Self::RocksDb,
        }
    }
}

/// Prints a report: as JSON if asked for, or else the text, which ends with a newline.
pub fn print(report: &impl Serialize, json: bool, text: String) -> Result<(), Failure> {
    let text = match json {
        true => serde_json::to_string_pretty(report)? + "\n",
        false => text,
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
