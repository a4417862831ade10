//! Tests of the segment backend that need its insides: damage, torn writes, failing calls, lost power.

mod bytes;
mod damage;
mod faults;
pub mod faulty;
mod full;
mod handles;
mod kept;
mod kv;
mod missing;
mod power;
mod shortened;
mod sound;
mod space;
mod upkeep;
mod voids;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use weir_engine::{Backend, Direction, Error, Kind, Log, LogId, LogOptions, LogReader, Record, Recovery, Seq, Want};

use super::SegmentBackend;

pub const ID: LogId = LogId(0x1234);

/// A head and a body that follow from the sequence.
pub fn content(seq: Seq) -> (Vec<u8>, Vec<u8>) {
    let head = format!("head {seq}").into_bytes();
    let body = format!("body {seq} ").repeat(1 + seq as usize % 5).into_bytes();
    (head, body)
}

pub fn try_append(log: &mut dyn Log, seqs: impl IntoIterator<Item = Seq>) -> Result<(), Error> {
    let made: Vec<_> = seqs.into_iter().map(|seq| (seq, content(seq))).collect();
    let records: Vec<Record<'_>> = made
        .iter()
        .map(|(seq, (head, body))| Record {
            seq: *seq,
            time: *seq as i64 * 1000,
            head,
            body,
        })
        .collect();
    log.append(&records)
}

pub fn append(log: &mut dyn Log, seqs: impl IntoIterator<Item = Seq>) {
    try_append(log, seqs).unwrap();
}

pub fn open(dir: &Path, options: &LogOptions) -> (SegmentBackend, Box<dyn Log>, Recovery) {
    let backend = SegmentBackend::open(dir).unwrap();
    let (log, report) = backend.open(ID, options).unwrap();
    (backend, log, report)
}

/// What a full scan shows; every record must have the content of its sequence.
pub fn shown(reader: &dyn LogReader) -> Vec<Seq> {
    let mut seqs = Vec::new();
    reader
        .scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |r| {
            let (head, body) = content(r.seq);
            assert_eq!((r.head, r.body), (&head[..], &body[..]), "record {}", r.seq);
            seqs.push(r.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
    seqs
}

/// What `get` makes of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    Right,
    Nothing,
    Damaged,
}

pub fn got(reader: &dyn LogReader, seq: Seq) -> Got {
    match reader.get(seq) {
        Ok(Some(entry)) => {
            let (head, body) = content(seq);
            assert_eq!((&entry.head[..], &entry.body[..]), (&head[..], &body[..]));
            Got::Right
        }
        Ok(None) => Got::Nothing,
        Err(error) if error.kind == Kind::Damaged => Got::Damaged,
        Err(error) => panic!("{seq}: {error}"),
    }
}

/// The log's segment files in order.
pub fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("logs").join(ID.to_string()))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    files.sort();
    files
}
