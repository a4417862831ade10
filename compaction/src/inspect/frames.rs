//! What a segment file has in it.

use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;
use weir_backends::segment::{PieceKind, show};
use weir_engine::Seq;
use weir_engine::json::format_time;
use weir_engine::shard::command::Command;
use weir_engine::stream::subject_of;

use super::records::said;
use crate::error::{Error, Result};

/// Logs below this are journals.
const FIRST_STREAM: u64 = 256;

/// A piece of a segment file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PieceReport {
    /// Where it begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// `header`, `batch`, `record`, `overwritten`, `erasure`, `trim`, `damaged`, `rest` or `footer`.
    pub kind: &'static str,
    /// Whether it fits its checksums.
    pub good: bool,
    /// The sequence, of a record or a trim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// When a record was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The subject of a stream's record; of a journal's what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Bytes of a record's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u32>,
    /// What else it says.
    pub note: String,
}

/// The pieces of a segment file, up to `limit` of them.
///
/// # Errors
/// If it is none, or cannot be read.
pub fn frames(file: &Path, limit: usize) -> Result<Vec<PieceReport>> {
    let folder = std::path::absolute(file).ok();
    let folder = folder.as_deref().and_then(Path::parent).and_then(Path::file_name);
    let log = folder.and_then(|name| u64::from_str_radix(&name.to_string_lossy(), 16).ok());
    let is_journal = log.is_some_and(|log| log < FIRST_STREAM);
    let mut pieces = Vec::new();
    let shown = show(file, &mut |piece| {
        let is_record = matches!(piece.kind, PieceKind::Record);
        let subject = is_record.then(|| match is_journal {
            true => Command::decode(piece.time.unwrap_or(0), &piece.head, &piece.body).map_or_else(
                |_| String::new(),
                |(id, command)| format!("log {id}: {}", said(&command)),
            ),
            false => String::from_utf8_lossy(subject_of(&piece.head)).into_owned(),
        });
        pieces.push(PieceReport {
            offset: piece.offset,
            end: piece.end,
            kind: name_of(piece.kind),
            good: piece.good,
            seq: piece.seq,
            time: piece.time.map(|time| format_time(Some(time))),
            subject: subject.filter(|subject| !subject.is_empty()),
            body_bytes: is_record.then_some(piece.body_len),
            note: piece.note,
        });
        match pieces.len() < limit {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    shown.map_err(Error::Unreadable)?;
    Ok(pieces)
}

fn name_of(kind: PieceKind) -> &'static str {
    match kind {
        PieceKind::Header => "header",
        PieceKind::Batch => "batch",
        PieceKind::Record => "record",
        PieceKind::Overwritten => "overwritten",
        PieceKind::Erasure => "erasure",
        PieceKind::Trim => "trim",
        PieceKind::Damaged => "damaged",
        PieceKind::Rest => "rest",
        PieceKind::Footer => "footer",
    }
}

impl PieceReport {
    /// As a person reads it, in one line.
    pub fn to_line(&self) -> String {
        let mut line = format!("{:>10}  {:<11}", self.offset, self.kind);
        if let Some(seq) = self.seq {
            line += &format!(" {seq}");
        }
        if let Some(time) = &self.time {
            line += &format!(" {time}");
        }
        if let Some(subject) = &self.subject {
            line += &format!(" {subject}");
        }
        if let Some(bytes) = self.body_bytes {
            line += &format!(", {}", weir_engine::words::count(u64::from(bytes), "byte"));
        }
        if !self.note.is_empty() {
            line += &format!(" {}", self.note);
        }
        match (self.good, self.kind) {
            (true, _) => {}
            (false, "damaged") => line += &format!(" up to {}", self.end),
            (false, _) => line += " (damaged)",
        }
        line
    }
}
