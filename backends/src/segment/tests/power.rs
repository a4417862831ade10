//! The power fails at any moment, with the sectors of unsynced writes on disk or not, in any order: the log is a
//! prefix of its batches, at least up to the last sync.

use std::sync::Arc;

use weir_engine::conformance::model::Dice;
use weir_engine::{Backend, Batch, LogOptions, Seq};

use super::super::SegmentBackend;
use super::faulty::FaultyFiles;
use super::{ID, append, shown};

fn options(preallocate: bool) -> LogOptions {
    LogOptions {
        segment_bytes: 6000,
        preallocate,
        ..LogOptions::default()
    }
}

fn power_fails(seed: u64, preallocate: bool) {
    let mut dice = Dice::new(seed);
    let dir = tempfile::tempdir().unwrap();
    // What a full scan shows after each batch since the last sync, the synced state first.
    let mut history: Vec<Vec<Seq>> = vec![Vec::new()];
    for round in 0..5 {
        let files = Arc::new(FaultyFiles::default());
        let backend = SegmentBackend::open_with(dir.path(), files.clone()).unwrap();
        let (mut log, report) = backend.open(ID, &options(preallocate)).unwrap();
        let seen = shown(&*log.reader());
        assert!(
            history.contains(&seen),
            "seed {seed}, round {round}: {seen:?} is no prefix; {report:?}; possible {history:?}"
        );
        assert!(report.damage.is_empty(), "seed {seed}, round {round}: {report:?}");
        // What survived is what there is from now on, but not durable yet.
        let mut now = seen;
        history = vec![now.clone()];
        log.sync().unwrap();
        for _ in 0..dice.below(40) {
            let last = log.reader().extent().last;
            match dice.below(10) {
                0 => {
                    log.sync().unwrap();
                    history = vec![now.clone()];
                }
                1 => {
                    backend.sync().unwrap();
                    history = vec![now.clone()];
                }
                2 if !now.is_empty() => {
                    let at = now[dice.below(now.len() as u64) as usize];
                    log.trim(at).unwrap();
                    now.retain(|seq| *seq >= at);
                    history.push(now.clone());
                }
                3 | 4 => {
                    let mut erase: Vec<Seq> = now.clone();
                    erase.retain(|_| dice.below(4) == 0);
                    let add = [last + 1 + dice.below(2)];
                    append(&mut *log, add);
                    now.extend(add);
                    history.push(now.clone());
                    log.write(&Batch {
                        erase: &erase,
                        ..Batch::default()
                    })
                    .unwrap();
                    now.retain(|seq| !erase.contains(seq));
                    history.push(now.clone());
                }
                5 if dice.below(4) == 0 => {
                    // A rewrite syncs.
                    log.maintain(u64::MAX).unwrap();
                }
                _ => {
                    let add = last + 1..last + 2 + dice.below(12);
                    append(&mut *log, add.clone());
                    now.extend(add);
                    history.push(now.clone());
                }
            }
        }
        drop(log);
        drop(backend);
        files.lose_power(&mut dice);
    }
}

#[test]
fn growing_files() {
    for seed in 0..150 {
        power_fails(seed, false);
    }
}

#[test]
fn preallocated_files() {
    for seed in 0..150 {
        power_fails(seed, true);
    }
}
