//! A log's files: segments of each compression, erasures, a trim, a rewrite, and the label.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::{
    Backend, Compression, Direction, Entry, Kind, Log, LogChange, LogId, LogOptions, LogReader, Record, Want,
};

use super::edits;

const STORE: &str = "/store";
const ID: LogId = LogId(0x1234);

fn options(compression: Compression) -> LogOptions {
    LogOptions {
        segment_bytes: 600,
        compression,
        label: b"whose it is".as_slice().into(),
        ..LogOptions::default()
    }
}

/// A disk with the log on it.
fn template() -> &'static SimulatedDisk {
    static TEMPLATE: OnceLock<SimulatedDisk> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let disk = Arc::new(SimulatedDisk::new(1));
        let mut next = 1;
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let backend = SegmentBackend::open_on(&disk, Path::new(STORE)).expect("a store");
            let (mut log, _) = backend.open(ID, &options(compression)).expect("a log");
            // A context of Zstandard takes longer to make than all else that is tried.
            let records = if compression == Compression::Zstd { 3 } else { 6 };
            for _ in 0..records {
                let body = [b"body of ".as_slice(), &[b'0' + next as u8; 90]].concat();
                append(&mut *log, next, &body).expect("a record");
                next += 1 + next % 2;
            }
            log.sync().expect("a sync");
            let (erase, overwrite) = (&[next - 2, next - 3, next - 4], compression == Compression::Lz4);
            let batch = LogChange {
                erase,
                overwrite,
                trim: Some(2),
                ..LogChange::default()
            };
            log.write(&batch).expect("a removal");
            log.sync().expect("a sync");
            let _ = log.maintain(u64::MAX);
        }
        Arc::try_unwrap(disk).unwrap_or_else(|shared| shared.copy())
    })
}

fn append(log: &mut dyn Log, seq: u64, body: &[u8]) -> weir_engine::Result<()> {
    log.append(&[Record {
        seq,
        time: seq as i64,
        head: b"head",
        body,
    }])
}

/// The log's files.
fn files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    disk.files(&Path::new(STORE).join("logs"))
}

/// Whatever a log's files say, opening it, reading it and writing to it ends. What a disk can make of them, which cannot
/// make a checksum right, is more: each way to read gives the same; and what is read once is there when more was written
/// and the log opened again.
pub fn segment(data: &[u8]) {
    let disk = Arc::new(template().copy());
    edits::apply(&disk, &files(&disk), data);
    disk.boot();
    let forged = edits::mends(data);
    let opened = || opened(&disk, forged);
    let Some(mut before) = opened() else { return };
    for _ in 0..2 {
        let after = opened().unwrap_or_default();
        assert!(
            forged || before == after[..before.len().min(after.len())],
            "opened again"
        );
        before = after;
    }
}

/// Opens the log, reads it, and adds a record.
fn opened(disk: &Arc<SimulatedDisk>, forged: bool) -> Option<Vec<Entry>> {
    let backend = SegmentBackend::open_on(disk, Path::new(STORE)).ok()?;
    let (mut log, _) = backend.open(ID, &options(Compression::Lz4)).ok()?;
    let mut seen = read(&*log.reader(), forged);
    let add = log.reader().extent().last.saturating_add(1);
    let added = append(&mut *log, add, &[7; 300])
        .and_then(|()| log.sync())
        .and_then(|()| (0..10).try_for_each(|_| log.maintain(u64::MAX).map(drop)));
    assert!(
        forged || added.is_ok(),
        "a log that was opened takes a record: {added:?}"
    );
    let mut after = read(&*log.reader(), forged);
    if !forged {
        let last = after.pop();
        assert_eq!(
            (last.as_ref().map(|entry| entry.seq), &after),
            (Some(add), &seen),
            "a record more"
        );
        seen.extend(last);
    }
    Some(seen)
}

/// All records that can be read.
fn read(reader: &dyn LogReader, forged: bool) -> Vec<Entry> {
    let scan = |want, direction| {
        let mut found = Vec::new();
        let done = reader.scan(0..=u64::MAX, want, direction, &mut |entry| {
            found.push(entry.to_entry());
            ControlFlow::Continue(())
        });
        assert!(forged || done.is_ok(), "a scan passes over what is damaged: {done:?}");
        found
    };
    let forward = scan(Want::Full, Direction::Forward);
    let mut backward = scan(Want::Full, Direction::Backward);
    backward.reverse();
    let heads = scan(Want::Heads, Direction::Forward);
    let extent = reader.extent();
    let alone: Vec<_> = forward
        .iter()
        .map(|entry| reader.get(entry.seq).ok().flatten())
        .collect();
    for seq in [0, extent.first.wrapping_sub(1), extent.last.wrapping_add(1), u64::MAX] {
        let got = reader.get(seq);
        assert!(forged || matches!(&got, Ok(None)) || got.is_err_and(|error| error.kind == Kind::Damaged));
    }
    if !forged {
        assert_eq!(forward, backward, "backwards");
        assert!(
            forward.is_sorted_by(|a, b| a.seq < b.seq),
            "in the order of their sequences"
        );
        assert!(heads.len() >= forward.len());
        let within = |entry: &Entry| entry.seq >= extent.first && entry.seq <= extent.last;
        assert!(forward.iter().all(within), "{extent:?}");
        assert!(
            forward.iter().eq(alone.iter().flatten()) && !alone.contains(&None),
            "alone"
        );
    }
    forward
}
