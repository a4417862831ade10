//! Appending: order, gaps, times.

use super::{Check, Outcome, Rec, Store, append, fill, holds, rec, recs, refused};
use crate::types::Seq;

pub(super) const CHECKS: &[Check] = &[
    ("a new log is empty", new_is_empty),
    ("records come back as they were written", comes_back),
    ("a batch keeps its order", batch_order),
    ("gaps stay gaps", gaps),
    ("the first sequence may be any", first_may_be_any),
    ("huge gaps cost nothing", huge_gaps),
    ("times need not grow", times),
    ("a sequence may not repeat", no_repeat),
    ("a sequence may not go down", no_going_down),
    ("zero is no sequence", no_zero),
    ("an empty batch changes nothing", empty_batch),
    ("many small batches", many_batches),
];

fn new_is_empty(store: &mut Store) -> Outcome {
    let log = store.log(1)?;
    holds(&*log.reader(), 0, &[])
}

fn comes_back(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=1)?;
    holds(&*log.reader(), 1, &recs(1..=1))?;
    fill(&mut *log, 2..=2)?;
    holds(&*log.reader(), 2, &recs(1..=2))
}

fn batch_order(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=500)?;
    fill(&mut *log, 501..=1_000)?;
    holds(&*log.reader(), 1_000, &recs(1..=1_000))
}

fn gaps(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, [3, 4, 9])?;
    fill(&mut *log, [20])?;
    holds(&*log.reader(), 20, &recs([3, 4, 9, 20]))
}

fn first_may_be_any(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, [1 << 40])?;
    holds(&*log.reader(), 1 << 40, &recs([1 << 40]))
}

fn huge_gaps(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let far: Vec<Seq> = vec![1, 2, 1 << 33, (1 << 33) + 1, 1 << 55, u64::MAX - 1];
    for seq in &far {
        fill(&mut *log, [*seq])?;
    }
    holds(&*log.reader(), u64::MAX - 1, &recs(far))
}

fn times(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let records: Vec<Rec> = [i64::MAX, i64::MIN, 0, -1, 1]
        .into_iter()
        .zip(1..)
        .map(|(time, seq)| Rec { time, ..rec(seq) })
        .collect();
    append(&mut *log, &records)?;
    holds(&*log.reader(), 5, &records)
}

fn no_repeat(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5)?;
    refused!(fill(&mut *log, [5]), Invalid, "appending 5 after 5");
    refused!(fill(&mut *log, [6, 6]), Invalid, "appending 6 twice");
    holds(&*log.reader(), 5, &recs(1..=5))?;
    // A refusal does not poison.
    fill(&mut *log, [6])?;
    holds(&*log.reader(), 6, &recs(1..=6))
}

fn no_going_down(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, [10])?;
    refused!(fill(&mut *log, [9]), Invalid, "appending 9 after 10");
    refused!(fill(&mut *log, [12, 11]), Invalid, "appending 12, then 11");
    holds(&*log.reader(), 10, &recs([10]))
}

fn no_zero(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    refused!(fill(&mut *log, [0]), Invalid, "appending 0");
    holds(&*log.reader(), 0, &[])
}

fn empty_batch(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    log.append(&[])?;
    holds(&*log.reader(), 0, &[])?;
    fill(&mut *log, 1..=3)?;
    log.append(&[])?;
    log.erase(&[])?;
    log.trim(0)?;
    log.trim(1)?;
    holds(&*log.reader(), 3, &recs(1..=3))
}

fn many_batches(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    for seq in 1..=3_000 {
        fill(&mut *log, [seq])?;
    }
    holds(&*log.reader(), 3_000, &recs(1..=3_000))
}
