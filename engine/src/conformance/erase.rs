//! Erasing single records.

use super::{Check, Outcome, Store, fill, holds, recs};
use crate::backend::LogChange;

pub(super) const CHECKS: &[Check] = &[
    ("erase in the middle", interior),
    ("erase at the front moves the first", front),
    ("erase at the back keeps the last", back),
    ("erase what is not there", unknown),
    ("erase twice", twice),
    ("erase a sequence named twice in a batch", named_twice),
    ("erase everything", everything),
    ("erase in any order", any_order),
    ("erase across a gap", across_gap),
    ("erase and overwrite", overwrite),
    ("erase half of many", half_of_many),
];

fn interior(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5)?;
    log.erase(&[3])?;
    holds(&*log.reader(), 5, &recs([1, 2, 4, 5]))
}

fn front(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5)?;
    log.erase(&[2])?;
    log.erase(&[1])?;
    // Over the hole that was there already.
    holds(&*log.reader(), 5, &recs([3, 4, 5]))
}

fn back(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5)?;
    log.erase(&[5])?;
    log.erase(&[4])?;
    holds(&*log.reader(), 5, &recs([1, 2, 3]))?;
    fill(&mut *log, [6])?;
    holds(&*log.reader(), 6, &recs([1, 2, 3, 6]))
}

fn unknown(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    log.erase(&[1, 7])?;
    holds(&*log.reader(), 0, &[])?;
    fill(&mut *log, [2, 5])?;
    log.erase(&[0, 1, 3, 4, 6, u64::MAX])?;
    holds(&*log.reader(), 5, &recs([2, 5]))?;
    log.trim(5)?;
    log.erase(&[2, 5])?;
    holds(&*log.reader(), 5, &[])
}

fn twice(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=4)?;
    log.erase(&[2])?;
    log.erase(&[2, 3])?;
    log.erase(&[3])?;
    holds(&*log.reader(), 4, &recs([1, 4]))
}

fn named_twice(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=4)?;
    log.erase(&[2, 2, 2])?;
    holds(&*log.reader(), 4, &recs([1, 3, 4]))
}

fn everything(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=100)?;
    let all: Vec<u64> = (1..=100).collect();
    log.erase(&all)?;
    holds(&*log.reader(), 100, &[])?;
    fill(&mut *log, [101])?;
    holds(&*log.reader(), 101, &recs([101]))
}

fn any_order(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=9)?;
    log.erase(&[8, 2, 5, 1, 9])?;
    holds(&*log.reader(), 9, &recs([3, 4, 6, 7]))
}

fn across_gap(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, [1, 2, 1_000_000, 2_000_000])?;
    log.erase(&[1, 2])?;
    holds(&*log.reader(), 2_000_000, &recs([1_000_000, 2_000_000]))?;
    log.erase(&[1_000_000])?;
    holds(&*log.reader(), 2_000_000, &recs([2_000_000]))
}

fn overwrite(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=6)?;
    log.write(&LogChange {
        erase: &[2, 5, 77],
        overwrite: true,
        ..LogChange::default()
    })?;
    holds(&*log.reader(), 6, &recs([1, 3, 4, 6]))?;
    log.sync()?;
    while log.maintain(1 << 20)? {}
    holds(&*log.reader(), 6, &recs([1, 3, 4, 6]))?;
    drop(log);
    if store.reopen()? {
        let log = store.log(1)?;
        holds(&*log.reader(), 6, &recs([1, 3, 4, 6]))?;
    }
    Ok(())
}

fn half_of_many(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=4_000)?;
    for chunk in (1..=4_000).filter(|seq| seq % 3 != 0).collect::<Vec<u64>>().chunks(97) {
        log.erase(chunk)?;
    }
    let left = recs((1..=4_000).filter(|seq| seq % 3 == 0));
    holds(&*log.reader(), 4_000, &left)
}
