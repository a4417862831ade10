//! Readers while others write, and after the log is closed or removed.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Check, Outcome, Rec, Store, append, ensure, fill, holds, noise, recs, same};
use crate::backend::{Backend, Direction, LogOptions, LogReader, Want};
use crate::types::{LogId, Seq};

pub(super) const CHECKS: &[Check] = &[
    ("a reader sees what is written after it was made", sees_later),
    ("readers while the writer appends, erases and trims", while_writing),
    ("readers while the writer truncates and writes again", while_truncating),
    ("a reader outlives its log", outlives_log),
    ("a reader outlives the removal of its log", outlives_removal),
];

fn sees_later(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let reader = log.reader();
    fill(&mut *log, 1..=5)?;
    holds(&*reader, 5, &recs(1..=5))?;
    log.erase(&[2])?;
    log.trim(2)?;
    log.truncate(4)?;
    holds(&*reader, 4, &recs(3..=4))
}

/// A record whose body can be told from its sequence and generation, and is torn if any part of it is not.
fn marked(seq: Seq, generation: u64) -> Rec {
    let body = noise(seq * 1_000 + generation, 20 + (seq % 400) as usize);
    Rec {
        seq,
        time: generation as i64,
        head: seq.to_le_bytes().to_vec(),
        body,
    }
}

fn intact(seq: Seq, time: i64, head: &[u8], body: &[u8]) -> bool {
    let expected = marked(seq, time as u64);
    head == expected.head && body == expected.body
}

/// Reads over and over until told to stop.
fn watch(reader: &dyn LogReader, stop: &AtomicBool, seed: u64) -> Outcome {
    let mut dice = super::model::Dice::new(seed);
    let mut rounds = 0u32;
    // At least one round after the writer is done.
    loop {
        let done = stop.load(Ordering::Acquire);
        let direction = match dice.below(2) {
            0 => Direction::Forward,
            _ => Direction::Backward,
        };
        let want = match dice.below(3) {
            0 => Want::Heads,
            _ => Want::Full,
        };
        let extent = reader.extent();
        ensure!(extent.first <= extent.last + 1, "extent {extent:?} while writing");
        ensure!(
            extent.count <= extent.last + 1 - extent.first,
            "extent {extent:?} counts more than fits while writing"
        );
        let low = match dice.below(2) {
            0 => 0,
            _ => extent.first + dice.below(extent.last + 2 - extent.first),
        };
        let mut before: Option<Seq> = None;
        let mut wrong = None;
        let stop_after = dice.below(300);
        let mut seen = 0;
        reader.scan(low..=Seq::MAX, want, direction, &mut |entry| {
            let ordered = before.is_none_or(|before| match direction {
                Direction::Forward => before < entry.seq,
                Direction::Backward => before > entry.seq,
            });
            let whole = match want {
                Want::Full => intact(entry.seq, entry.time, entry.head, entry.body),
                Want::Heads => entry.head == entry.seq.to_le_bytes(),
            };
            if !ordered || !whole || entry.seq < low {
                wrong = Some((before, entry.seq, ordered, whole));
                return ControlFlow::Break(());
            }
            before = Some(entry.seq);
            seen += 1;
            if seen > stop_after {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        same!(
            wrong,
            None,
            "(before, seq, in order, whole) of a {want:?} scan {direction:?} from {low} while writing"
        );
        for _ in 0..20 {
            let seq = extent.first + dice.below(extent.last + 2 - extent.first);
            if let Some(entry) = reader.get(seq)? {
                ensure!(
                    entry.seq == seq && intact(seq, entry.time, &entry.head, &entry.body),
                    "get({seq}) while writing is torn"
                );
            }
        }
        rounds += 1;
        if done && rounds > 1 {
            return Ok(());
        }
    }
}

/// Runs the writer beside three readers.
fn beside(reader: &dyn LogReader, write: impl FnOnce() -> Outcome) -> Outcome {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watchers: Vec<_> = (1..=3)
            .map(|seed| {
                let stop = &stop;
                scope.spawn(move || watch(reader, stop, seed))
            })
            .collect();
        let written = write();
        stop.store(true, Ordering::Release);
        for watcher in watchers {
            match watcher.join() {
                Ok(outcome) => outcome?,
                Err(_) => ensure!(false, "a reader panicked"),
            }
        }
        written
    })
}

fn while_writing(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 32 << 10,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    let reader = log.reader();
    let mut live: Vec<Rec> = Vec::new();
    beside(&*reader, || {
        for round in 0..150u64 {
            let batch: Vec<Rec> = (round * 20 + 1..=round * 20 + 20).map(|seq| marked(seq, 1)).collect();
            append(&mut *log, &batch)?;
            live.extend(batch);
            if round % 3 == 0 {
                let gone: Vec<Seq> = (1..6).map(|n| round * 20 + n * 3).collect();
                log.erase(&gone)?;
                live.retain(|record| !gone.contains(&record.seq));
            }
            if round % 7 == 0 {
                let first = (round * 20).saturating_sub(900);
                log.trim(first)?;
                live.retain(|record| record.seq >= first);
            }
            if round % 50 == 49 {
                log.sync()?;
                log.maintain(1 << 20)?;
            }
        }
        Ok(())
    })?;
    holds(&*reader, 3_000, &live)
}

fn while_truncating(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 32 << 10,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    let reader = log.reader();
    let mut live: Vec<Rec> = Vec::new();
    beside(&*reader, || {
        for generation in 1..=60u64 {
            let keep = generation * 10;
            log.truncate(keep)?;
            live.retain(|record| record.seq <= keep);
            let last = live.last().map_or(0, |record| record.seq);
            let batch: Vec<Rec> = (last + 1..=keep + 60).map(|seq| marked(seq, generation)).collect();
            for part in batch.chunks(16) {
                append(&mut *log, part)?;
            }
            live.extend(batch);
        }
        Ok(())
    })?;
    holds(&*reader, 660, &live)
}

fn outlives_log(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=50)?;
    let reader = log.reader();
    drop(log);
    holds(&*reader, 50, &recs(1..=50))?;
    // The next writer of the log is seen as well.
    let mut log = store.log(1)?;
    holds(&*log.reader(), 50, &recs(1..=50))?;
    fill(&mut *log, 51..=60)?;
    drop(log);
    ensure!(
        reader.get(50)?.is_some_and(|entry| entry.seq == 50),
        "get(50) after the log was opened again"
    );
    Ok(())
}

fn outlives_removal(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 8 << 10,
        ..LogOptions::default()
    };
    let backend: &dyn Backend = store.backend()?;
    let (mut log, _) = backend.open(LogId(1), &options)?;
    fill(&mut *log, 1..=500)?;
    let reader = log.reader();
    drop(log);
    backend.remove(LogId(1))?;
    same!(backend.list()?, Vec::<LogId>::new(), "list after remove");
    holds(&*reader, 500, &recs(1..=500))?;
    backend.sync()?;
    holds(&*reader, 500, &recs(1..=500))
}
