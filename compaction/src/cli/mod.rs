//! The program's commands: each is a thin face of a function of the library.

mod bar;
pub mod compact;
pub mod completions;
pub mod convert;
pub mod diff;
pub mod dump;
pub mod export;
pub mod import;
pub mod inspect;
pub mod man;
pub mod repair;
pub mod settle;
pub mod verify;

use std::io;

/// Nothing was done. Wrong arguments end with it too.
pub const NOT_DONE: u8 = 1;
/// Something is damaged, missing, lost and not settled, or different.
pub const DAMAGED: u8 = 2;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Tool(#[from] weir_compaction::Error),
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
    #[error("writing the output: {0}")]
    Json(#[from] serde_json::Error),
}
