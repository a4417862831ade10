//! That segments are found sound by other threads changes nothing of what a check tells.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Check, Compression, EntryRef, LogChange, LogOptions, Place, Seq, Want};

use super::super::SegmentBackend;
use super::{ID, append, open, segment_files};

/// What a check tells.
struct Told {
    want: Want,
    records: Vec<(Seq, i64, Vec<u8>, u32)>,
    places: Vec<Place>,
    bytes: u64,
    /// Records that came without their bodies.
    bare: usize,
}

impl Check for Told {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        self.bare += usize::from(entry.body.len() != entry.body_len as usize);
        self.records
            .push((entry.seq, entry.time, entry.head.to_vec(), entry.body_len));
        ControlFlow::Continue(())
    }

    fn want(&self) -> Want {
        self.want
    }

    fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

fn told(dir: &Path, want: Want) -> Told {
    let backend = SegmentBackend::open_read_only(dir).unwrap();
    let (log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    let mut told = Told {
        want,
        records: Vec::new(),
        places: Vec::new(),
        bytes: 0,
        bare: 0,
    };
    log.reader().check(&mut told).unwrap();
    told
}

fn filled(dir: &Path, compression: Compression) {
    let options = LogOptions {
        segment_bytes: 4096,
        compression,
        ..LogOptions::default()
    };
    let (_backend, mut log, _) = open(dir, &options);
    for batch in 0..40 {
        append(&mut *log, batch * 10 + 1..batch * 10 + 11);
        if batch % 4 == 3 {
            let change = LogChange {
                erase: &[batch * 5 + 7, batch * 10 + 4, batch * 10 + 5],
                overwrite: batch % 8 == 3,
                ..LogChange::default()
            };
            log.write(&change).unwrap();
        }
    }
    log.sync().unwrap();
}

#[test]
fn what_is_told_is_the_same_with_heads_alone_whatever_bit_is_flipped() {
    for (nth, compression) in [Compression::None, Compression::Lz4].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), compression);
        let files = segment_files(dir.path());
        assert!(files.len() > 4, "{} files", files.len());
        let mut dice = Dice::new(nth as u64);
        let mut damaged = 0;
        for round in 0..100 {
            let file = &files[dice.below(files.len() as u64) as usize];
            let whole = fs::read(file).unwrap();
            // The first time all is well.
            if round > 0 {
                let mut raw = whole.clone();
                for _ in 0..=dice.below(2) {
                    let at = dice.below(raw.len() as u64) as usize;
                    raw[at] ^= 1 << dice.below(8);
                }
                fs::write(file, raw).unwrap();
            }
            let (full, heads) = (told(dir.path(), Want::Full), told(dir.path(), Want::Heads));
            assert_eq!(heads.records, full.records, "round {round}, {}", file.display());
            assert_eq!(heads.places, full.places, "round {round}, {}", file.display());
            if round == 0 {
                assert!(full.places.is_empty() && heads.bytes == full.bytes);
                assert!(full.bare == 0 && heads.bare > heads.records.len() / 2, "{}", heads.bare);
            }
            damaged += usize::from(!full.places.is_empty());
            fs::write(file, whole).unwrap();
        }
        assert!(damaged > 60, "{damaged}");
    }
}
