use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Check, EntryRef, Kind, LogChange, LogId, LogOptions, Place, Record, Seq, Want};

use super::FEW;
use crate::rocks::{RocksBackend, RocksOptions};

const ID: LogId = LogId(1);

/// What a check tells.
#[derive(Debug, PartialEq)]
struct Told {
    records: Vec<(Seq, i64, Vec<u8>, u32)>,
    damaged: Vec<(Seq, Seq)>,
}

struct Pass {
    want: Want,
    records: Vec<(Seq, i64, Vec<u8>, u32)>,
    bytes: u64,
    /// Records that came without their bodies.
    bare: usize,
    /// How often it was told of bytes.
    tellings: usize,
}

impl Check for Pass {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        self.bare += usize::from(entry.body.len() != entry.body_len as usize);
        self.records
            .push((entry.seq, entry.time, entry.head.to_vec(), entry.body_len));
        ControlFlow::Continue(())
    }

    fn want(&self) -> Want {
        self.want
    }

    fn place(&mut self, _: Place) {}

    fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.tellings += 1;
    }
}

/// `None` if not even the opening goes well.
fn told(dir: &Path, want: Want) -> Option<(Told, Pass)> {
    let backend = RocksBackend::open_read_only(dir, &RocksOptions::of_a_tool()).ok()?;
    let (log, _) = backend.open(ID, &LogOptions::default()).ok()?;
    let mut pass = Pass {
        want,
        records: Vec::new(),
        bytes: 0,
        bare: 0,
        tellings: 0,
    };
    let reader = log.reader();
    match reader.check(&mut pass) {
        Ok(()) => {}
        // Only what RocksDB needs to find its blocks.
        Err(error) => {
            assert_ne!(error.kind, Kind::Closed, "{error}");
            return None;
        }
    }
    let damaged = reader.damaged(0..=Seq::MAX);
    let records = std::mem::take(&mut pass.records);
    Some((Told { records, damaged }, pass))
}

fn filled(dir: &Path, seqs: impl Iterator<Item = Seq>) {
    let backend = RocksBackend::open(dir, &RocksOptions::of_a_tool()).unwrap();
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    let seqs: Vec<Seq> = seqs.collect();
    let body = [b'b'; 300];
    for some in seqs.chunks(500) {
        let records = some.iter().map(|seq| Record {
            seq: *seq,
            time: (*seq * 3) as i64,
            head: if seq.is_multiple_of(5) {
                b"a longer head"
            } else {
                b"head"
            },
            body: &body[..(*seq % 7 * 40) as usize],
        });
        let records: Vec<Record<'_>> = records.collect();
        log.write(&LogChange {
            append: &records,
            ..LogChange::default()
        })
        .unwrap();
    }
    log.sync().unwrap();
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut tables: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|of| of == "sst"))
        .collect();
    tables.sort();
    tables
}

#[test]
fn what_is_told_is_the_same_with_heads_alone_whatever_bit_is_flipped() {
    let dir = tempfile::tempdir().unwrap();
    // With gaps of many sizes.
    filled(dir.path(), (1..FEW + 1000).map(|n| n * 3 + n / 1000 * 1_000_000_000));
    let tables = tables(dir.path());
    let mut dice = Dice::new(1);
    let mut damaged = 0;
    for round in 0..40 {
        let file = &tables[dice.below(tables.len() as u64) as usize];
        let whole = fs::read(file).unwrap();
        // The first time all is well.
        if round > 0 {
            let mut raw = whole.clone();
            let at = dice.below(raw.len() as u64) as usize;
            raw[at] ^= 1 << dice.below(8);
            fs::write(file, raw).unwrap();
        }
        let (full, heads) = (told(dir.path(), Want::Full), told(dir.path(), Want::Heads));
        fs::write(file, whole).unwrap();
        let (Some((full, of_full)), Some((heads, of_heads))) = (full, heads) else {
            assert!(round > 0);
            continue;
        };
        assert!(heads == full, "round {round}, {}", file.display());
        if round == 0 {
            assert_eq!(full.records.len() as u64, FEW + 999);
            assert_eq!(of_full.bytes, of_heads.bytes);
            assert!(of_full.bare == 0 && of_heads.bare > 0);
            // Not of each record: whoever shows it looks at a clock.
            assert!(of_full.tellings < 10 && of_heads.tellings < 10);
        }
        damaged += usize::from(!full.damaged.is_empty());
    }
    assert!(damaged > 10, "{damaged}");
}
