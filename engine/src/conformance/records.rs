//! Records of every size, under every option.

use std::ops::ControlFlow;

use super::{Check, Outcome, Rec, Store, append, fill, holds, noise, rec, recs, refused, same};
use crate::backend::{Compression, Direction, LogChange, LogOptions, Want};
use crate::error::Kind;
use crate::types::Record;

pub(super) const CHECKS: &[Check] = &[
    ("empty heads and bodies", empty_parts),
    ("every small length", small_lengths),
    ("heads up to 65,535 bytes", long_heads),
    ("bodies of megabytes", long_bodies),
    ("a body longer than a segment", longer_than_segment),
    ("a head that is too long is refused", too_long_head),
    ("each compression", compressions),
    ("a body counts for what it is said to", counted),
    ("options may change between openings", options_change),
    ("small segments", small_segments),
    ("preallocated segments", preallocated),
];

fn shaped(seq: u64, head: Vec<u8>, body: Vec<u8>) -> Rec {
    Rec { head, body, ..rec(seq) }
}

fn check_all(store: &mut Store, options: &LogOptions, records: &[Rec]) -> Outcome {
    let last = records.last().map_or(0, |record| record.seq);
    let mut log = store.log_with(1, options)?;
    append(&mut *log, records)?;
    holds(&*log.reader(), last, records)?;
    log.sync()?;
    drop(log);
    if store.reopen()? {
        let log = store.log_with(1, options)?;
        holds(&*log.reader(), last, records)?;
    }
    Ok(())
}

fn empty_parts(store: &mut Store) -> Outcome {
    let records = [
        shaped(1, vec![], vec![]),
        shaped(2, b"head".to_vec(), vec![]),
        shaped(3, vec![], b"body".to_vec()),
        shaped(4, vec![], vec![]),
        shaped(5, vec![0], vec![0]),
    ];
    check_all(store, &LogOptions::default(), &records)
}

fn small_lengths(store: &mut Store) -> Outcome {
    let records: Vec<Rec> = (0..130usize)
        .map(|n| {
            let seq = n as u64 + 1;
            shaped(seq, noise(seq, n % 13), noise(seq + 500, n))
        })
        .collect();
    check_all(store, &LogOptions::default(), &records)
}

fn long_heads(store: &mut Store) -> Outcome {
    let records = [
        rec(1),
        shaped(2, noise(2, Record::HEAD_MAX), vec![]),
        shaped(3, noise(3, Record::HEAD_MAX), noise(4, 100)),
        shaped(4, noise(5, Record::HEAD_MAX - 1), noise(6, 70_000)),
        rec(5),
    ];
    check_all(store, &LogOptions::default(), &records)
}

fn long_bodies(store: &mut Store) -> Outcome {
    let records = [
        rec(1),
        shaped(2, noise(2, 30), noise(3, 1 << 20)),
        shaped(3, noise(4, 30), noise(5, 8 << 20)),
        shaped(4, noise(6, 30), vec![0; 8 << 20]),
        rec(5),
    ];
    check_all(store, &LogOptions::default(), &records)
}

fn longer_than_segment(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 64 << 10,
        ..LogOptions::default()
    };
    let records = [
        rec(1),
        shaped(2, noise(2, 9), noise(3, 300_000)),
        rec(3),
        shaped(4, noise(4, 9), noise(5, 65_536)),
        rec(5),
    ];
    check_all(store, &options, &records)
}

fn too_long_head(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let long = shaped(1, vec![1; Record::HEAD_MAX + 1], vec![]);
    refused!(append(&mut *log, &[long]), Invalid, "a head of 65,536 bytes");
    fill(&mut *log, [1])?;
    holds(&*log.reader(), 1, &recs([1]))
}

/// Small and large, text and noise.
fn mixed(seqs: std::ops::RangeInclusive<u64>) -> Vec<Rec> {
    seqs.map(|seq| match seq % 5 {
        0 => shaped(seq, noise(seq, 20), noise(seq, 9_000)),
        1 => shaped(seq, noise(seq, 20), b"again and again ".repeat(seq as usize % 700)),
        2 => shaped(seq, vec![], vec![]),
        3 => shaped(seq, noise(seq, 5), vec![b'z'; 40]),
        _ => rec(seq),
    })
    .collect()
}

fn compressions(store: &mut Store) -> Outcome {
    for (id, compression) in [
        (1, Compression::None),
        (2, Compression::Lz4),
        (3, Compression::Zstd),
        (4, Compression::ZstdLevel(19)),
    ] {
        let options = LogOptions {
            compression,
            segment_bytes: 128 << 10,
            preallocate: false,
            ..LogOptions::default()
        };
        let mut log = store.log_with(id, &options)?;
        let records = mixed(1..=400);
        for batch in records.chunks(37) {
            append(&mut *log, batch)?;
        }
        holds(&*log.reader(), 400, &records)?;
        log.erase(&[5, 6, 7])?;
        log.trim(100)?;
        while log.maintain(1 << 20)? {}
        holds(&*log.reader(), 400, &records[99..])?;
        log.sync()?;
        drop(log);
        if store.reopen()? {
            let log = store.log_with(id, &options)?;
            holds(&*log.reader(), 400, &records[99..])?;
        }
    }
    Ok(())
}

/// Bodies that somebody above has compressed. Whoever compresses by itself takes none.
fn counted(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    let records = recs(1..=6);
    let append: Vec<Record<'_>> = records.iter().map(Rec::borrow).collect();
    let counts: Vec<u32> = append.iter().map(|record| 1000 * record.seq as u32).collect();
    let told = |counts| LogChange {
        append: &append,
        counts,
        ..LogChange::default()
    };
    match log.write(&told(&counts[1..])) {
        Err(error) if error.kind == Kind::Unsupported => return Ok(()),
        written => refused!(written, Invalid, "not each is counted"),
    }
    refused!(log.write(&told(&[0; 6])), Invalid, "as none");
    log.write(&told(&counts))?;
    log.erase(&[2])?;
    log.trim(2)?;
    log.truncate(5)?;
    let left = [3, 4, 5];
    let heads: u64 = left
        .iter()
        .map(|seq| records[*seq as usize - 1].head.len() as u64)
        .sum();
    for _ in 0..2 {
        let reader = log.reader();
        same!(reader.extent().bytes, heads + 12_000, "bytes");
        for want in [Want::Heads, Want::Full] {
            let mut seen = Vec::new();
            reader.scan(0..=u64::MAX, want, Direction::Forward, &mut |entry| {
                seen.push((entry.seq, entry.body_len));
                ControlFlow::Continue(())
            })?;
            same!(seen, left.map(|seq| (seq, 1000 * seq as u32)), "what bodies count for");
        }
        let body = reader.get(3)?.map(|entry| entry.body.to_vec());
        same!(body, Some(records[2].body.clone()), "a body");
        while log.maintain(1 << 20)? {}
        log.compact(Some(Compression::Lz4), &mut |_, _| {})?;
        log.sync()?;
        drop((reader, log));
        store.reopen()?;
        log = store.log(1)?;
    }
    Ok(())
}

fn options_change(store: &mut Store) -> Outcome {
    let records = mixed(1..=90);
    let kinds = [Compression::Zstd, Compression::None, Compression::ZstdLevel(7)];
    for (step, compression) in kinds.into_iter().enumerate() {
        let options = LogOptions {
            compression,
            segment_bytes: (32 << 10) << step,
            preallocate: false,
            ..LogOptions::default()
        };
        let mut log = store.log_with(1, &options)?;
        append(&mut *log, &records[step * 30..step * 30 + 30])?;
        holds(&*log.reader(), step as u64 * 30 + 30, &records[..step * 30 + 30])?;
        log.sync()?;
        drop(log);
        store.reopen()?;
    }
    let mut log = store.log(1)?;
    log.erase(&[1, 31, 61])?;
    log.truncate(80)?;
    let left: Vec<Rec> = records[..80]
        .iter()
        .filter(|record| record.seq % 30 != 1)
        .cloned()
        .collect();
    holds(&*log.reader(), 80, &left)
}

fn small_segments(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 4 << 10,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    let all = recs(1..=2_000);
    for batch in all.chunks(11) {
        append(&mut *log, batch)?;
    }
    holds(&*log.reader(), 2_000, &all)?;
    log.trim(1_000)?;
    let gone: Vec<u64> = (1_200..1_500).collect();
    log.erase(&gone)?;
    log.truncate(1_900)?;
    let left = recs((1_000..1_200).chain(1_500..=1_900));
    holds(&*log.reader(), 1_900, &left)?;
    while log.maintain(64 << 10)? {}
    holds(&*log.reader(), 1_900, &left)?;
    log.sync()?;
    drop(log);
    if store.reopen()? {
        let log = store.log_with(1, &options)?;
        holds(&*log.reader(), 1_900, &left)?;
    }
    Ok(())
}

fn preallocated(store: &mut Store) -> Outcome {
    let options = LogOptions {
        segment_bytes: 64 << 10,
        preallocate: true,
        ..LogOptions::default()
    };
    let mut log = store.log_with(1, &options)?;
    // Several rounds through the same segments: what was in one before must never show.
    let mut first = 1;
    for round in 0..12u64 {
        let start = round * 200 + 1;
        let batch: Vec<Rec> = (start..start + 200)
            .map(|seq| shaped(seq, noise(seq, 10), noise(seq, 400 + (round as usize * 37) % 300)))
            .collect();
        for part in batch.chunks(50) {
            append(&mut *log, part)?;
        }
        log.sync()?;
        first = start.saturating_sub(50).max(1);
        log.trim(first)?;
    }
    let length = |seq: u64| 400 + (((seq - 1) / 200) as usize * 37) % 300;
    let left: Vec<Rec> = (first..=2_400)
        .map(|seq| shaped(seq, noise(seq, 10), noise(seq, length(seq))))
        .collect();
    holds(&*log.reader(), 2_400, &left)?;
    log.sync()?;
    drop(log);
    if store.reopen()? {
        let mut log = store.log_with(1, &options)?;
        holds(&*log.reader(), 2_400, &left)?;
        fill(&mut *log, [2_401])?;
        holds(&*log.reader(), 2_401, &[left, recs([2_401])].concat())?;
    }
    Ok(())
}
