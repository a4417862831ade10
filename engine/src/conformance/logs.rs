//! Opening, listing and removing logs.

use super::{Check, Outcome, Store, append, ensure, fill, holds, recs, refused, same};
use crate::backend::LogOptions;
use crate::types::LogId;

pub(super) const CHECKS: &[Check] = &[
    ("opening tells whether the log is new", tells_created),
    ("a second writer is refused", one_writer),
    ("logs are listed in the order of their ids", listed),
    ("a log that is open is not removed", open_stays),
    ("a removed log is gone", removed),
    ("a label stays with its log", labelled),
    ("a log that must exist is not made", existing),
    ("removing what is not there does nothing", remove_nothing),
    ("logs do not mix", many_logs),
    ("logs written in turns", in_turns),
];

fn tells_created(store: &mut Store) -> Outcome {
    let options = LogOptions::default();
    let backend = store.backend()?;
    let (log, recovery) = backend.open(LogId(1), &options)?;
    ensure!(recovery.created, "the first opening did not make the log");
    drop(log);
    let (log, recovery) = backend.open(LogId(1), &options)?;
    ensure!(
        !recovery.created && recovery.torn_bytes == 0 && recovery.damage.is_empty(),
        "the second opening tells {recovery:?}"
    );
    drop(log);
    backend.sync()?;
    if store.reopen()? {
        let (_, recovery) = store.backend()?.open(LogId(1), &options)?;
        ensure!(
            !recovery.created && recovery.damage.is_empty(),
            "opening in a reopened store tells {recovery:?}"
        );
    }
    Ok(())
}

fn one_writer(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=3)?;
    refused!(store.log(1), Invalid, "opening an open log");
    // Another log may be opened, and the first is as it was.
    let other = store.log(2)?;
    drop(other);
    fill(&mut *log, [4])?;
    holds(&*log.reader(), 4, &recs(1..=4))?;
    drop(log);
    let log = store.log(1)?;
    holds(&*log.reader(), 4, &recs(1..=4))
}

fn listed(store: &mut Store) -> Outcome {
    let ids = [500, 3, u64::MAX, 256, 1, 0, 255];
    for id in ids {
        store.log(id)?;
    }
    let mut expected: Vec<LogId> = ids.into_iter().map(LogId).collect();
    expected.sort();
    same!(store.backend()?.list()?, expected, "list");
    store.backend()?.sync()?;
    if store.reopen()? {
        same!(store.backend()?.list()?, expected, "list after reopening");
    }
    Ok(())
}

fn open_stays(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=3)?;
    refused!(store.backend()?.remove(LogId(1)), Invalid, "removing an open log");
    fill(&mut *log, [4])?;
    holds(&*log.reader(), 4, &recs(1..=4))?;
    same!(store.backend()?.list()?, vec![LogId(1)], "list");
    Ok(())
}

fn labelled(store: &mut Store) -> Outcome {
    let with = |label: &'static str| LogOptions {
        label: label.into(),
        ..LogOptions::default()
    };
    let backend = store.backend()?;
    same!(backend.label(LogId(1))?, None, "the label of a log that is not there");
    let (log, recovery) = backend.open(LogId(1), &with("first"))?;
    same!(recovery.label, None, "the label that a new log had before");
    same!(
        backend.label(LogId(1))?.as_deref(),
        Some(&b"first"[..]),
        "the label of an open log"
    );
    drop(log);
    // It keeps the one that it has.
    let (mut log, recovery) = backend.open(LogId(1), &with("second"))?;
    same!(recovery.label.as_deref(), Some(&b"first"[..]), "the label found");
    fill(&mut *log, 1..=3)?;
    log.trim(4)?;
    drop(log);
    // One without gets one later.
    drop(store.log(2)?);
    let backend = store.backend()?;
    same!(backend.label(LogId(2))?, None, "the label of a log that was given none");
    let (log, recovery) = backend.open(LogId(2), &with("late"))?;
    ensure!(
        !recovery.created && recovery.label.is_none(),
        "opening tells {recovery:?}"
    );
    drop(log);
    backend.sync()?;
    if store.reopen()? {
        let backend = store.backend()?;
        same!(
            backend.label(LogId(1))?.as_deref(),
            Some(&b"first"[..]),
            "the label after reopening"
        );
        let (_, recovery) = backend.open(LogId(2), &LogOptions::default())?;
        same!(
            recovery.label.as_deref(),
            Some(&b"late"[..]),
            "the label found after reopening"
        );
    }
    let backend = store.backend()?;
    backend.remove(LogId(1))?;
    same!(backend.label(LogId(1))?, None, "the label of a removed log");
    let (_, recovery) = backend.open(LogId(1), &with("third"))?;
    ensure!(
        recovery.created && recovery.label.is_none(),
        "making it anew tells {recovery:?}"
    );
    same!(
        backend.label(LogId(1))?.as_deref(),
        Some(&b"third"[..]),
        "the label of the new log"
    );
    Ok(())
}

fn existing(store: &mut Store) -> Outcome {
    let options = LogOptions {
        existing: true,
        ..LogOptions::default()
    };
    let backend = store.backend()?;
    refused!(
        backend.open(LogId(1), &options),
        Damaged,
        "opening a log that must exist"
    );
    same!(backend.list()?, vec![], "list");
    drop(store.log(1)?);
    let (_, recovery) = store.backend()?.open(LogId(1), &options)?;
    ensure!(!recovery.created, "opening tells {recovery:?}");
    Ok(())
}

fn removed(store: &mut Store) -> Outcome {
    for id in 1..=3 {
        let mut log = store.log(id)?;
        fill(&mut *log, id..=id + 99)?;
    }
    store.backend()?.remove(LogId(2))?;
    same!(store.backend()?.list()?, vec![LogId(1), LogId(3)], "list after remove");
    // Ids are not used twice in the life of a store; but if one is, nothing of the old log may show.
    let (mut log, recovery) = store.backend()?.open(LogId(2), &LogOptions::default())?;
    ensure!(recovery.created, "the removed log is still there");
    holds(&*log.reader(), 0, &[])?;
    fill(&mut *log, [50])?;
    holds(&*log.reader(), 50, &recs([50]))?;
    drop(log);
    store.backend()?.remove(LogId(2))?;
    for id in [1, 3] {
        holds(&*store.log(id)?.reader(), id + 99, &recs(id..=id + 99))?;
    }
    store.backend()?.sync()?;
    if store.reopen()? {
        same!(
            store.backend()?.list()?,
            vec![LogId(1), LogId(3)],
            "list after reopening"
        );
        for id in [1, 3] {
            holds(&*store.log(id)?.reader(), id + 99, &recs(id..=id + 99))?;
        }
    }
    Ok(())
}

fn remove_nothing(store: &mut Store) -> Outcome {
    store.backend()?.remove(LogId(77))?;
    fill(&mut *store.log(1)?, 1..=3)?;
    store.backend()?.remove(LogId(77))?;
    store.backend()?.remove(LogId(0))?;
    same!(store.backend()?.list()?, vec![LogId(1)], "list");
    holds(&*store.log(1)?.reader(), 3, &recs(1..=3))
}

fn many_logs(store: &mut Store) -> Outcome {
    let mut logs = Vec::new();
    for id in 1..=60 {
        let mut log = store.log(id)?;
        fill(&mut *log, id..id * 2)?;
        logs.push(log);
    }
    for (log, id) in logs.iter_mut().zip(1u64..) {
        match id % 4 {
            0 => log.trim(id + 2)?,
            1 => log.erase(&[id])?,
            2 => log.truncate(id)?,
            _ => {}
        }
    }
    for (log, id) in logs.iter().zip(1u64..) {
        let all = id..id * 2;
        let (last, left) = match id % 4 {
            0 => (id * 2 - 1, recs(id + 2..id * 2)),
            1 => (id * 2 - 1, recs(id + 1..id * 2)),
            2 => (id, recs([id])),
            _ => (id * 2 - 1, recs(all)),
        };
        holds(&*log.reader(), last, &left)?;
    }
    Ok(())
}

fn in_turns(store: &mut Store) -> Outcome {
    let mut logs = [store.log(1)?, store.log(2)?, store.log(3)?];
    for seq in 1..=300u64 {
        for (log, step) in logs.iter_mut().zip(1u64..) {
            let mut records = recs([seq * step]);
            records[0].body = vec![step as u8; (seq % 90) as usize];
            append(&mut **log, &records)?;
        }
        if seq % 100 == 0 {
            store.backend()?.sync()?;
        }
    }
    for (log, step) in logs.iter().zip(1u64..) {
        let mut all = recs((1..=300).map(|seq| seq * step));
        for (record, seq) in all.iter_mut().zip(1u64..) {
            record.body = vec![step as u8; (seq % 90) as usize];
        }
        holds(&*log.reader(), 300 * step, &all)?;
    }
    Ok(())
}
