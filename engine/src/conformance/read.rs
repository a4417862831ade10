//! Reading: single records, ranges, both directions, heads and bodies.

use std::ops::ControlFlow;

use super::{Check, Outcome, Store, ensure, fill, holds, recs, same, same_records, scanned, seqs};
use crate::backend::Direction::{Backward, Forward};
use crate::backend::Want;
use crate::types::{Entry, Seq};

pub(super) const CHECKS: &[Check] = &[
    ("get at the edges", get_edges),
    ("an entry outlives the record", entry_outlives),
    ("scan parts of a log", sub_ranges),
    ("scan ranges that are empty or turned around", empty_ranges),
    ("scan ranges over gaps and holes", over_holes),
    ("a scan stops when told to", early_stop),
    ("heads come without bodies, but with their lengths", heads_only),
    ("what a scan lends can be kept", kept),
    ("a visitor may read the same log", nested),
];

fn get_edges(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let reader = log.reader();
    for seq in [0, 1, u64::MAX] {
        ensure!(reader.get(seq)?.is_none(), "get({seq}) of an empty log finds something");
    }
    fill(&mut *log, 10..=20)?;
    log.trim(12)?;
    log.erase(&[15])?;
    for seq in [0, 1, 9, 10, 11, 15, 21, 22, u64::MAX - 1, u64::MAX] {
        ensure!(reader.get(seq)?.is_none(), "get({seq}) finds what is not live");
    }
    for seq in [12, 14, 16, 20] {
        ensure!(reader.get(seq)?.is_some(), "get({seq}) finds nothing");
    }
    Ok(())
}

fn entry_outlives(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=200)?;
    let reader = log.reader();
    let kept: Vec<Option<Entry>> = (1..=200).map(|seq| reader.get(seq)).collect::<Result<_, _>>()?;
    log.erase(&[3, 4])?;
    log.trim(150)?;
    log.truncate(160)?;
    fill(&mut *log, 161..=400)?;
    log.sync()?;
    while log.maintain(1 << 20)? {}
    for (entry, record) in kept.iter().zip(recs(1..=200)) {
        let same = entry.as_ref().is_some_and(|entry| {
            entry.seq == record.seq
                && entry.time == record.time
                && entry.head == record.head
                && entry.body == record.body
        });
        ensure!(same, "entry {} changed after its record was removed", record.seq);
    }
    Ok(())
}

fn sub_ranges(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=300)?;
    let reader = log.reader();
    for (low, high) in [(1, 1), (1, 300), (7, 7), (5, 250), (300, 300), (299, u64::MAX), (0, 2)] {
        let expected = recs(low.max(1)..=high.min(300));
        let found = scanned(&*reader, low..=high, Want::Full, Forward)?;
        same_records(&found, &expected, &format!("{low}..={high} forward"))?;
        let mut found = scanned(&*reader, low..=high, Want::Full, Backward)?;
        found.reverse();
        same_records(&found, &expected, &format!("{low}..={high} backward"))?;
    }
    Ok(())
}

fn empty_ranges(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 10..=20)?;
    let reader = log.reader();
    #[allow(clippy::reversed_empty_ranges, reason = "a caller may compute one; it holds nothing")]
    let ranges = [0..=0, 0..=9, 21..=30, u64::MAX..=u64::MAX, 15..=14, u64::MAX..=0];
    for range in ranges {
        for direction in [Forward, Backward] {
            let found = seqs(&*reader, range.clone(), direction)?;
            same!(found, Vec::<Seq>::new(), "scan of {range:?} {direction:?}");
        }
    }
    Ok(())
}

fn over_holes(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, (1..=100).map(|n| n * 10))?;
    log.erase(&[50, 60, 500])?;
    log.trim(35)?;
    let reader = log.reader();
    same!(seqs(&*reader, 0..=75, Forward)?, vec![40, 70], "0..=75 forward");
    same!(seqs(&*reader, 45..=95, Backward)?, vec![90, 80, 70], "45..=95 backward");
    same!(seqs(&*reader, 491..=509, Forward)?, Vec::<Seq>::new(), "491..=509");
    same!(
        seqs(&*reader, 490..=510, Backward)?,
        vec![510, 490],
        "490..=510 backward"
    );
    same!(
        seqs(&*reader, 985..=u64::MAX, Forward)?,
        vec![990, 1_000],
        "985.. forward"
    );
    Ok(())
}

fn early_stop(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=500)?;
    let reader = log.reader();
    for want in [Want::Heads, Want::Full] {
        for (direction, after, expected) in [(Forward, 1, 1), (Forward, 130, 130), (Backward, 3, 498)] {
            let (mut calls, mut last) = (0, 0);
            reader.scan(1..=u64::MAX, want, direction, &mut |entry| {
                calls += 1;
                last = entry.seq;
                if calls == after {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            same!(
                (calls, last),
                (after, expected),
                "calls and last sequence, stopped after {after} {direction:?}"
            );
        }
    }
    Ok(())
}

fn heads_only(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=20)?;
    let mut lengths = Vec::new();
    log.reader().scan(1..=20, Want::Heads, Forward, &mut |entry| {
        lengths.push((entry.seq, entry.body.len(), entry.body_len as usize));
        ControlFlow::Continue(())
    })?;
    let expected: Vec<_> = recs(1..=20).iter().map(|r| (r.seq, 0, r.body.len())).collect();
    same!(lengths, expected, "(seq, body, body_len)");
    Ok(())
}

fn kept(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=50)?;
    let mut kept = Vec::new();
    log.reader().scan(1..=50, Want::Full, Forward, &mut |entry| {
        kept.push(entry.to_entry());
        ControlFlow::Continue(())
    })?;
    log.trim(51)?;
    for (entry, record) in kept.iter().zip(recs(1..=50)) {
        ensure!(
            entry.head == record.head && entry.body == record.body,
            "entry {} changed after the trim",
            record.seq
        );
    }
    same!(kept.len(), 50, "entries kept");
    Ok(())
}

fn nested(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=100)?;
    let reader = log.reader();
    let mut outcome: Outcome = Ok(());
    let mut calls = 0;
    reader.scan(1..=100, Want::Full, Forward, &mut |entry| {
        calls += 1;
        outcome = (|| {
            let again = reader.get(entry.seq)?;
            ensure!(
                again.is_some_and(|again| again.body == entry.body),
                "get({}) in a scan",
                entry.seq
            );
            let one = seqs(&*reader, entry.seq..=entry.seq, Backward)?;
            same!(one, vec![entry.seq], "a scan in a scan");
            same!(reader.extent().count, 100, "extent in a scan");
            Ok(())
        })();
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    outcome?;
    same!(calls, 100, "records visited");
    holds(&*reader, 100, &recs(1..=100))
}
