//! What is there after a sync and a new opening, and after maintenance.

use bytes::Bytes;

use super::{Check, Outcome, Rec, Store, append, ensure, fill, holds, noise, rec, recs, refused, same};
use crate::backend::{LogChange, LogOptions};
use crate::types::{LogId, Seq};

pub(super) const CHECKS: &[Check] = &[
    ("everything is there after sync and reopening", everything),
    ("a log's own sync is enough for the log", own_sync),
    ("the last sequence survives when nothing is live", last_survives),
    ("removals survive", removals),
    ("a truncation survives", truncation),
    ("sync may run beside a writer", sync_beside),
    ("a log goes on after each of many reopenings", many_reopenings),
    ("closing and opening a log changes nothing", close_and_open),
    ("maintenance keeps everything", maintenance),
];

fn everything(store: &mut Store) -> Outcome {
    for id in [1, 2] {
        let mut log = store.log(id)?;
        for start in (1..=2_000).step_by(50) {
            fill(&mut *log, start..start + 50)?;
        }
    }
    store.backend()?.sync()?;
    if store.reopen()? {
        for id in [1, 2] {
            let mut log = store.log(id)?;
            holds(&*log.reader(), 2_000, &recs(1..=2_000))?;
            refused!(
                fill(&mut *log, [2_000]),
                Invalid,
                "appending 2000 again after reopening"
            );
            fill(&mut *log, [2_001])?;
            holds(&*log.reader(), 2_001, &recs(1..=2_001))?;
        }
    }
    Ok(())
}

fn own_sync(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=100)?;
    log.sync()?;
    drop(log);
    if store.reopen()? {
        holds(&*store.log(1)?.reader(), 100, &recs(1..=100))?;
    }
    Ok(())
}

fn last_survives(store: &mut Store) -> Outcome {
    // Trimmed to nothing; trimmed beyond the last; erased to nothing; truncated to nothing; never written.
    let expected = [(1, 10), (2, 499), (3, 10), (4, 6), (5, 0)];
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    log.trim(11)?;
    drop(log);
    let mut log = store.log(2)?;
    fill(&mut *log, 1..=10)?;
    log.trim(500)?;
    drop(log);
    let mut log = store.log(3)?;
    fill(&mut *log, 1..=10)?;
    log.erase(&(1..=10).collect::<Vec<Seq>>())?;
    drop(log);
    let mut log = store.log(4)?;
    fill(&mut *log, 7..=10)?;
    log.truncate(6)?;
    drop(log);
    store.log(5)?;
    store.backend()?.sync()?;
    let mut rounds = 0;
    loop {
        for (id, last) in expected {
            let log = store.log(id)?;
            same!(log.reader().extent().last, last, "last of log {id}");
            holds(&*log.reader(), last, &[])?;
        }
        rounds += 1;
        if rounds > 2 || !store.reopen()? {
            break;
        }
    }
    for (id, last) in expected {
        let mut log = store.log(id)?;
        refused!(fill(&mut *log, [last]), Invalid, "appending {last} to log {id} again");
        fill(&mut *log, [last + 1])?;
        holds(&*log.reader(), last + 1, &recs([last + 1]))?;
    }
    Ok(())
}

fn removals(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 16 << 10,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    fill(&mut *log, 1..=1_000)?;
    log.sync()?;
    // After the first sync, so that the removals alone are new.
    log.erase(&[1, 2, 500, 501, 1_000])?;
    log.trim(100)?;
    log.write(&LogChange {
        erase: &[777],
        overwrite: true,
        ..LogChange::default()
    })?;
    let left = recs((100..1_000).filter(|seq| ![500, 501, 777].contains(seq)));
    holds(&*log.reader(), 1_000, &left)?;
    log.sync()?;
    drop(log);
    for _ in 0..2 {
        if store.reopen()? {
            holds(&*store.log_with(1, &options)?.reader(), 1_000, &left)?;
        }
    }
    Ok(())
}

fn truncation(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 16 << 10,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    fill(&mut *log, 1..=1_000)?;
    log.sync()?;
    log.truncate(333)?;
    log.sync()?;
    drop(log);
    for _ in 0..2 {
        if store.reopen()? {
            holds(&*store.log_with(1, &options)?.reader(), 333, &recs(1..=333))?;
        }
    }
    Ok(())
}

fn sync_beside(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let backend = store.backend()?;
    let kv = backend.kv();
    std::thread::scope(|scope| {
        let syncs = scope.spawn(|| -> crate::Result<()> {
            for n in 0..10u8 {
                kv.put_all(&[(Bytes::copy_from_slice(&[n]), Some(Bytes::new()))])?;
                backend.sync()?;
            }
            Ok(())
        });
        for start in (1..=2_000).step_by(20) {
            fill(&mut *log, start..start + 20)?;
        }
        match syncs.join() {
            Ok(outcome) => outcome?,
            Err(_) => ensure!(false, "the syncing thread panicked"),
        }
        holds(&*log.reader(), 2_000, &recs(1..=2_000))
    })?;
    backend.sync()?;
    drop((log, kv));
    if store.reopen()? {
        holds(&*store.log(1)?.reader(), 2_000, &recs(1..=2_000))?;
    }
    Ok(())
}

fn many_reopenings(store: &mut Store) -> Outcome {
    for round in 0..8u64 {
        let mut log = store.log(1)?;
        let live = recs((1..=round * 10).filter(|seq| seq % 10 != 3 && *seq > (round * 10).saturating_sub(45)));
        holds(&*log.reader(), round * 10, &live)?;
        fill(&mut *log, round * 10 + 1..=round * 10 + 10)?;
        log.erase(&[round * 10 + 3])?;
        log.trim((round * 10 + 11).saturating_sub(45))?;
        log.sync()?;
        drop(log);
        store.reopen()?;
    }
    Ok(())
}

fn close_and_open(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=30)?;
    log.erase(&[4])?;
    log.trim(3)?;
    let before = log.reader().extent();
    drop(log);
    let (log, recovery) = store.backend()?.open(LogId(1), &LogOptions::default())?;
    ensure!(
        !recovery.created && recovery.damage.is_empty(),
        "opening tells {recovery:?}"
    );
    let after = log.reader().extent();
    same!(
        (after.first, after.last, after.count, after.bytes),
        (before.first, before.last, before.count, before.bytes),
        "extent"
    );
    holds(&*log.reader(), 30, &recs([3].into_iter().chain(5..=30)))
}

fn maintenance(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 32 << 10,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    let all: Vec<Rec> = (1..=1_500)
        .map(|seq| Rec {
            body: noise(seq, 200),
            ..rec(seq)
        })
        .collect();
    for batch in all.chunks(25) {
        append(&mut *log, batch)?;
    }
    let gone: Vec<Seq> = (1..=1_500).filter(|seq| seq % 5 != 0).collect();
    for batch in gone.chunks(60) {
        log.erase(batch)?;
    }
    let left: Vec<Rec> = all.into_iter().filter(|record| record.seq % 5 == 0).collect();
    log.sync()?;
    let mut steps = 0;
    for budget in [0, 1, 4_096, 1 << 16].into_iter().cycle() {
        steps += 1;
        ensure!(
            steps < 20_000,
            "maintenance has no end: {steps} steps with budgets up to 64 KiB"
        );
        if !log.maintain(budget)? && budget > 1 {
            break;
        }
    }
    holds(&*log.reader(), 1_500, &left)?;
    fill(&mut *log, [1_501])?;
    let left = [left, recs([1_501])].concat();
    log.sync()?;
    drop(log);
    if store.reopen()? {
        holds(&*store.log_with(1, &options)?.reader(), 1_501, &left)?;
    }
    Ok(())
}
