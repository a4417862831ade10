//! Removing everything below a sequence.

use super::{Check, Outcome, Store, fill, holds, recs, refused};

pub(super) const CHECKS: &[Check] = &[
    ("trim in the middle", middle),
    ("trim below the first changes nothing", below),
    ("trim to exactly the first or the last", exact),
    ("trim just beyond the last", just_beyond),
    ("trim far beyond the last", far_beyond),
    ("trim an empty log", empty),
    ("trim into a gap", into_gap),
    ("trim over erased records", over_erased),
    ("trim again and again", again),
    ("trim most of many", most_of_many),
];

fn middle(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.trim(4)?;
    holds(&*log.reader(), 10, &recs(4..=10))
}

fn below(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 5..=8)?;
    for first in [0, 1, 4, 5] {
        log.trim(first)?;
        holds(&*log.reader(), 8, &recs(5..=8))?;
    }
    log.trim(7)?;
    log.trim(6)?;
    holds(&*log.reader(), 8, &recs(7..=8))
}

fn exact(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.trim(2)?;
    holds(&*log.reader(), 10, &recs(2..=10))?;
    log.trim(10)?;
    holds(&*log.reader(), 10, &recs([10]))
}

fn just_beyond(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.trim(11)?;
    holds(&*log.reader(), 10, &[])?;
    fill(&mut *log, 11..=12)?;
    holds(&*log.reader(), 12, &recs(11..=12))
}

fn far_beyond(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.trim(1_000)?;
    holds(&*log.reader(), 999, &[])?;
    refused!(fill(&mut *log, [999]), Invalid, "appending 999 after trim(1000)");
    fill(&mut *log, [1_000])?;
    holds(&*log.reader(), 1_000, &recs([1_000]))
}

fn empty(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    log.trim(0)?;
    log.trim(1)?;
    holds(&*log.reader(), 0, &[])?;
    log.trim(50)?;
    holds(&*log.reader(), 49, &[])?;
    fill(&mut *log, [50])?;
    holds(&*log.reader(), 50, &recs([50]))
}

fn into_gap(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, [1, 2, 100, 200])?;
    log.trim(50)?;
    holds(&*log.reader(), 200, &recs([100, 200]))?;
    log.trim(101)?;
    holds(&*log.reader(), 200, &recs([200]))
}

fn over_erased(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=20)?;
    log.erase(&[5, 9, 10, 11, 20])?;
    log.trim(10)?;
    holds(&*log.reader(), 20, &recs(12..=19))?;
    log.trim(20)?;
    holds(&*log.reader(), 20, &[])
}

fn again(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    // A stream with a limit of 10 messages, one trim for each message.
    for seq in 1..=500u64 {
        let record = recs([seq]);
        log.write(&crate::LogChange {
            append: &[record[0].borrow()],
            trim: Some(seq.saturating_sub(9)),
            ..crate::LogChange::default()
        })?;
    }
    holds(&*log.reader(), 500, &recs(491..=500))
}

fn most_of_many(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5_000)?;
    log.trim(2_500)?;
    holds(&*log.reader(), 5_000, &recs(2_500..=5_000))?;
    log.trim(4_990)?;
    holds(&*log.reader(), 5_000, &recs(4_990..=5_000))
}
