//! Removing everything above a sequence.

use super::{Check, Outcome, Rec, Store, append, fill, holds, rec, recs};

pub(super) const CHECKS: &[Check] = &[
    ("truncate in the middle", middle),
    ("truncate to the last or above changes nothing", above),
    ("truncate to zero", to_zero),
    ("truncate into a gap", into_gap),
    ("truncate below the first", below_first),
    ("truncate, then write the same sequences again", rewrite),
    ("truncate over erased records", over_erased),
    ("truncate most of many", most_of_many),
];

fn middle(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.truncate(7)?;
    holds(&*log.reader(), 7, &recs(1..=7))
}

fn above(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    log.truncate(0)?;
    log.truncate(9)?;
    holds(&*log.reader(), 0, &[])?;
    fill(&mut *log, 1..=3)?;
    log.truncate(3)?;
    log.truncate(4)?;
    log.truncate(u64::MAX)?;
    holds(&*log.reader(), 3, &recs(1..=3))
}

fn to_zero(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.truncate(0)?;
    holds(&*log.reader(), 0, &[])?;
    fill(&mut *log, 1..=2)?;
    holds(&*log.reader(), 2, &recs(1..=2))
}

fn into_gap(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, [1, 2, 100, 200])?;
    log.truncate(150)?;
    holds(&*log.reader(), 150, &recs([1, 2, 100]))?;
    log.truncate(50)?;
    holds(&*log.reader(), 50, &recs([1, 2]))
}

fn below_first(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.trim(6)?;
    log.truncate(3)?;
    holds(&*log.reader(), 3, &[])?;
    fill(&mut *log, [4])?;
    holds(&*log.reader(), 4, &recs([4]))
}

fn rewrite(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    let reader = log.reader();
    log.truncate(4)?;
    let other = |seq| Rec {
        head: format!("other {seq}").into_bytes(),
        body: vec![0x5a; seq as usize * 100],
        ..rec(seq)
    };
    let new: Vec<Rec> = [5, 6, 9].into_iter().map(other).collect();
    append(&mut *log, &new)?;
    let all = [recs(1..=4), new.clone()].concat();
    holds(&*reader, 9, &all)?;
    log.sync()?;
    drop((log, reader));
    if store.reopen()? {
        let mut log = store.log(1)?;
        holds(&*log.reader(), 9, &all)?;
        log.truncate(5)?;
        fill(&mut *log, [6])?;
        holds(&*log.reader(), 6, &[recs(1..=4), vec![new[0].clone(), rec(6)]].concat())?;
    }
    Ok(())
}

fn over_erased(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.erase(&[1, 5, 6, 7, 10])?;
    log.truncate(6)?;
    holds(&*log.reader(), 6, &recs(2..=4))?;
    // What was erased before may be written again, and lives.
    fill(&mut *log, [7, 10])?;
    holds(&*log.reader(), 10, &recs([2, 3, 4, 7, 10]))
}

fn most_of_many(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5_000)?;
    log.truncate(4_990)?;
    holds(&*log.reader(), 4_990, &recs(1..=4_990))?;
    log.truncate(12)?;
    holds(&*log.reader(), 12, &recs(1..=12))
}
