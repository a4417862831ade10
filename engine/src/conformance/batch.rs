//! Batches: all or nothing, in the order of their fields.

use bytes::Bytes;

use super::{Check, Outcome, Rec, Store, fill, holds, rec, recs, refused, same};
use crate::backend::{Backend, LogChange, LogOptions};
use crate::types::{LogId, Record};

pub(super) const CHECKS: &[Check] = &[
    ("a batch appends, erases and trims in one", all_in_one),
    ("a batch may erase what it appends", erases_its_own),
    ("a batch may trim what it appends", trims_its_own),
    ("a batch may empty the log", empties),
    ("a refused batch changes nothing", refused_whole),
    ("a refused batch writes no keys", refused_keys),
    ("keys go with the batch, where the backend can", keys_with_batch),
];

fn all_in_one(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=10)?;
    let new = recs([11, 12]);
    let append: Vec<_> = new.iter().map(Rec::borrow).collect();
    log.write(&LogChange {
        append: &append,
        erase: &[6, 8],
        trim: Some(4),
        ..LogChange::default()
    })?;
    holds(&*log.reader(), 12, &recs([4, 5, 7, 9, 10, 11, 12]))
}

fn erases_its_own(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=3)?;
    let new = recs([4, 5, 6]);
    let append: Vec<_> = new.iter().map(Rec::borrow).collect();
    log.write(&LogChange {
        append: &append,
        erase: &[5, 2],
        ..LogChange::default()
    })?;
    holds(&*log.reader(), 6, &recs([1, 3, 4, 6]))?;
    let new = recs([7]);
    let append: Vec<_> = new.iter().map(Rec::borrow).collect();
    log.write(&LogChange {
        append: &append,
        erase: &[7],
        ..LogChange::default()
    })?;
    holds(&*log.reader(), 7, &recs([1, 3, 4, 6]))
}

fn trims_its_own(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=3)?;
    let new = recs([4, 5, 6]);
    let append: Vec<_> = new.iter().map(Rec::borrow).collect();
    log.write(&LogChange {
        append: &append,
        erase: &[6],
        trim: Some(5),
        ..LogChange::default()
    })?;
    holds(&*log.reader(), 6, &recs([5]))
}

fn empties(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=3)?;
    let new = recs([4, 5]);
    let append: Vec<_> = new.iter().map(Rec::borrow).collect();
    log.write(&LogChange {
        append: &append,
        erase: &[1, 2, 3],
        trim: Some(9),
        ..LogChange::default()
    })?;
    holds(&*log.reader(), 8, &[])?;
    refused!(fill(&mut *log, [8]), Invalid, "appending 8 after trim(9)");
    fill(&mut *log, [9])?;
    holds(&*log.reader(), 9, &recs([9]))
}

fn refused_whole(store: &mut Store) -> Outcome {
    let mut log = store.log(1)?;
    fill(&mut *log, 1..=5)?;
    let long = vec![7; Record::HEAD_MAX + 1];
    let good = rec(6);
    let bad_seq = rec(3);
    let bad_head = Rec { head: long, ..rec(7) };
    for bad in [&bad_seq, &bad_head] {
        let batch = [good.borrow(), bad.borrow()];
        refused!(
            log.write(&LogChange {
                append: &batch,
                erase: &[1, 2],
                trim: Some(3),
                ..LogChange::default()
            }),
            Invalid,
            "a batch with a bad record {}",
            bad.seq
        );
        holds(&*log.reader(), 5, &recs(1..=5))?;
    }
    fill(&mut *log, [6])?;
    holds(&*log.reader(), 6, &recs(1..=6))
}

fn refused_keys(store: &mut Store) -> Outcome {
    let backend = store.backend()?;
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default())?;
    let bad = rec(0);
    let put = [(Bytes::from_static(b"k"), Some(Bytes::from_static(b"v")))];
    let outcome = log.write(&LogChange {
        append: &[bad.borrow()],
        kv: &put,
        ..LogChange::default()
    });
    refused_either_way(backend, outcome)?;
    same!(backend.kv().get(b"k")?, None, "a key of a refused batch");
    Ok(())
}

/// A batch that is bad and has keys may be refused for either.
fn refused_either_way(backend: &dyn Backend, outcome: crate::Result<()>) -> Outcome {
    if backend.atomic_kv() {
        refused!(outcome, Invalid, "a batch with sequence 0 and a key");
    } else if let Err(error) = &outcome {
        super::ensure!(
            super::is_invalid(error) || error.kind == crate::Kind::Unsupported,
            "a bad batch with keys: refused with \"{error}\""
        );
    } else {
        super::ensure!(false, "a batch with sequence 0 was carried out");
    }
    Ok(())
}

fn keys_with_batch(store: &mut Store) -> Outcome {
    let backend = store.backend()?;
    let (mut log, _) = backend.open(LogId(1), &LogOptions::default())?;
    let kv = backend.kv();
    kv.put_all(&[(Bytes::from_static(b"old"), Some(Bytes::from_static(b"gone")))])?;
    let record = rec(1);
    let writes = [
        (Bytes::from_static(b"new"), Some(Bytes::from_static(b"value"))),
        (Bytes::from_static(b"old"), None),
    ];
    let batch = LogChange {
        append: &[record.borrow()],
        kv: &writes,
        ..LogChange::default()
    };
    if backend.atomic_kv() {
        log.write(&batch)?;
        holds(&*log.reader(), 1, &recs([1]))?;
        same!(kv.get(b"new")?, Some(Bytes::from_static(b"value")), "key put");
        same!(kv.get(b"old")?, None, "key deleted");
        // Keys alone are a batch as well.
        log.write(&LogChange {
            kv: &[(Bytes::from_static(b"new"), None)],
            ..LogChange::default()
        })?;
        same!(kv.get(b"new")?, None, "key deleted by a batch of keys");
    } else {
        refused!(log.write(&batch), Unsupported, "keys without Backend::atomic_kv");
        holds(&*log.reader(), 0, &[])?;
        same!(kv.get(b"new")?, None, "key of a refused batch");
        same!(
            kv.get(b"old")?,
            Some(Bytes::from_static(b"gone")),
            "key of a refused batch"
        );
        // It is a refusal, not a failure.
        fill(&mut *log, [1])?;
    }
    Ok(())
}
