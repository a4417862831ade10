//! What a segment file has in it, one piece after the other: for people who look into one.

use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use weir_engine::{Error, LogId, NanoTime, Result, Seq, words};

use super::format::{Begin, COUNTED, DATA_START, FLAG_PREALLOCATED, FRAME_LEN, Header, Identity, Kind, decode_runs};
use super::seal::Footer;
use super::walk::{Item, Walk};
use crate::regular;

/// What a piece of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// What the file begins with, twice.
    Header,
    /// The beginning of a batch.
    Batch,
    /// A record.
    Record,
    /// A record that was overwritten.
    Overwritten,
    /// Sequences that were erased.
    Erasure,
    /// Everything below a sequence was removed.
    Trim,
    /// Bytes that are no frame, with frames behind them.
    Damaged,
    /// Bytes behind the last frame that are nothing of the file's own.
    Rest,
    /// What a sealed segment ends with.
    Footer,
}

/// A piece of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// What it is.
    pub kind: PieceKind,
    /// Whether it fits its checksums, that of the body included.
    pub good: bool,
    /// The sequence, of a record or a trim.
    pub seq: Option<Seq>,
    /// When a record was stored.
    pub time: Option<NanoTime>,
    /// The head of a record.
    pub head: Bytes,
    /// Bytes of its body.
    pub body_len: u32,
    /// Its body, unless that is compressed.
    pub body: Bytes,
    /// What else it says.
    pub note: String,
}

impl Piece {
    fn new(offset: u64, end: u64, kind: PieceKind, good: bool, note: String) -> Self {
        Self {
            offset,
            end,
            kind,
            good,
            seq: None,
            time: None,
            head: Bytes::new(),
            body_len: 0,
            body: Bytes::new(),
            note,
        }
    }
}

/// Visits the pieces of a segment file in order until told to stop. Its name and that of its folder say which one it is.
///
/// # Errors
/// If it cannot be read, or is no segment file by its name.
pub fn show(path: &Path, visit: &mut dyn FnMut(Piece) -> ControlFlow<()>) -> Result<()> {
    let no_segment = || Error::invalid(format!("{} is no segment file of a log", path.display()));
    let absolute = std::path::absolute(path).map_err(|error| Error::io("finding the file", error))?;
    let folder = absolute.parent().and_then(Path::file_name).ok_or_else(no_segment)?;
    let log: LogId = folder.to_string_lossy().parse().map_err(|_| no_segment())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (_, identity) = Identity::parse_name(log, &name).ok_or_else(no_segment)?;
    let reading = || format!("reading {}", path.display());
    let data = Bytes::from(regular::read(path).map_err(|error| Error::io(reading(), error))?);
    // Whoever has had enough has seen what there is.
    let _: ControlFlow<()> = pieces(&data, identity, visit)?;
    Ok(())
}

fn pieces(
    data: &Bytes,
    identity: Identity,
    visit: &mut dyn FnMut(Piece) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let header = Header::decode(data, identity)?;
    let is_preallocated = header.is_some_and(|(header, _)| header.flags & FLAG_PREALLOCATED != 0);
    let note = match header {
        None => "both copies are damaged, or it is another file's".to_owned(),
        Some((header, both)) => {
            let copies = if both { "" } else { ", one copy is damaged" };
            let Header {
                first_batch,
                last,
                floor,
                ..
            } = header;
            let full_size = if is_preallocated { ", made at full size" } else { "" };
            format!(
                "begun for batch {first_batch} when the log ended at {last}, nothing below {floor}{full_size}{copies}"
            )
        }
    };
    let good = header.is_some_and(|(_, both)| both);
    if visit(Piece::new(0, DATA_START, PieceKind::Header, good, note)).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let footer = Footer::decode(data, identity);
    let end = footer.map_or(data.len(), |footer| footer.data_end as usize);
    for item in Walk::new(&data[..end.min(data.len())], identity.seed()) {
        let piece = match item {
            Item::Frame { at, frame, raw } => {
                let (kind, note) = match frame.kind {
                    Kind::Record => (PieceKind::Record, compressed(frame.codec).to_owned()),
                    Kind::Void => (PieceKind::Overwritten, String::new()),
                    Kind::Trim => (PieceKind::Trim, format!("nothing below {}", frame.seq)),
                    Kind::Erase => (PieceKind::Erasure, erased(frame.stored(raw))),
                    Kind::Begin => (
                        PieceKind::Batch,
                        Begin::of(&frame, raw).map_or(String::new(), |begin| batch(&begin)),
                    ),
                };
                let is_record = matches!(kind, PieceKind::Record | PieceKind::Overwritten);
                let start = at as usize + FRAME_LEN;
                Piece {
                    seq: (is_record || kind == PieceKind::Trim).then_some(frame.seq),
                    time: is_record.then_some(frame.time),
                    head: match is_record {
                        true => data.slice(start..start + usize::from(frame.head_len)),
                        false => Bytes::new(),
                    },
                    body_len: if is_record { frame.body_len } else { 0 },
                    body: match is_record && frame.codec == 0 {
                        true => data.slice_ref(frame.stored(raw)),
                        false => Bytes::new(),
                    },
                    ..Piece::new(at, at + frame.len(), kind, frame.body_is_good(raw), note)
                }
            }
            Item::Gap { from, to } => Piece::new(from, to, PieceKind::Damaged, false, String::new()),
            Item::Tail { from } => {
                let rest = &data[from as usize..end.min(data.len())];
                let note = match rest.iter().all(|byte| *byte == 0) {
                    true => "zeros",
                    false if is_preallocated => {
                        "nothing of this file's own: what is left of an earlier use, or a torn write"
                    }
                    false => "no frame: a torn write, damage, or a footer that is damaged",
                };
                Piece::new(from, end as u64, PieceKind::Rest, true, note.to_owned())
            }
        };
        if visit(piece).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if let Some(footer) = footer {
        let note = format!(
            "{}, sequences {}, {}, last batch {}",
            words::count(u64::from(footer.rows), "record"),
            words::range(footer.first, footer.last),
            words::count(footer.bytes, "byte"),
            footer.last_batch
        );
        let good = footer.table_is_good(data);
        return Ok(visit(Piece::new(
            footer.data_end,
            data.len() as u64,
            PieceKind::Footer,
            good,
            note,
        )));
    }
    Ok(ControlFlow::Continue(()))
}

fn compressed(codec: u8) -> &'static str {
    match codec {
        1 => "lz4",
        2 => "zstd",
        COUNTED => "compressed, then encrypted",
        _ => "",
    }
}

fn batch(begin: &Begin) -> String {
    let Begin {
        number,
        durable,
        len,
        last,
        count,
    } = begin;
    let mut note = format!(
        "batch {number} of {}, the log ends at {last} then",
        words::count(*len, "byte")
    );
    if let Some(count) = count {
        note += &format!(" with {}", words::count(*count, "record"));
    }
    note + &format!("; up to batch {durable} all was on disk")
}

/// Ranges that a line names.
const NAMED_MAX: usize = 16;

fn erased(runs: &[u8]) -> String {
    let mut decoded = Vec::new();
    if decode_runs(runs, &mut decoded).is_none() {
        return "makes no sense".to_owned();
    }
    let ranges = decoded
        .iter()
        .take(NAMED_MAX)
        .map(|run| (run.first, run.first.saturating_add(run.count) - 1));
    let named = words::numbered("record", &ranges.collect::<Vec<_>>());
    match decoded.len() > NAMED_MAX {
        true => format!("{named} and more"),
        false => named,
    }
}
