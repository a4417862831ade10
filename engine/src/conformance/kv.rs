//! The key-value space.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Check, Failure, Outcome, Store, ensure, noise, same};
use crate::backend::{Kv, KvWrite};

pub(super) const CHECKS: &[Check] = &[
    ("kv: put, get, overwrite, delete", basics),
    ("kv: the last write of a key wins", last_wins),
    ("kv: empty keys and values", empty_parts),
    ("kv: scans are in byte order, and of the prefix only", ordered),
    ("kv: a scan begins where it is told to", from),
    ("kv: a scan stops when told to", early_stop),
    ("kv: a prefix is removed, and no more", prefix_removed),
    ("kv: keys of any bytes", binary_keys),
    ("kv: large values, many keys", many),
    ("kv: a visitor may use the space", nested),
    ("kv: readers beside a writer see whole writes", beside_writer),
    ("kv: everything is there after reopening", reopened),
];

fn put(key: &[u8], value: &[u8]) -> KvWrite {
    (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)))
}

fn delete(key: &[u8]) -> KvWrite {
    (Bytes::copy_from_slice(key), None)
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(kv: &dyn Kv, prefix: &[u8], from: Option<&[u8]>) -> Result<Pairs, Failure> {
    let mut found = Vec::new();
    kv.scan(prefix, from, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn keys(kv: &dyn Kv, prefix: &[u8], from: Option<&[u8]>) -> Result<Vec<Vec<u8>>, Failure> {
    Ok(pairs(kv, prefix, from)?.into_iter().map(|pair| pair.0).collect())
}

fn basics(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    same!(kv.get(b"a")?, None, "get of a key never put");
    same!(pairs(&*kv, b"", None)?, vec![], "an empty space");
    kv.put_all(&[put(b"a", b"1"), put(b"b", b"2")])?;
    kv.put_all(&[])?;
    same!(kv.get(b"a")?, Some(Bytes::from_static(b"1")), "get(a)");
    kv.put_all(&[put(b"a", b"one"), delete(b"b"), delete(b"never")])?;
    same!(kv.get(b"a")?, Some(Bytes::from_static(b"one")), "get(a) overwritten");
    same!(kv.get(b"b")?, None, "get(b) deleted");
    // Every handle is of the same space.
    let other = store.backend()?.kv();
    same!(
        other.get(b"a")?,
        Some(Bytes::from_static(b"one")),
        "get(a) by another handle"
    );
    Ok(())
}

fn prefix_removed(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let numbered = |prefix: &[u8], n: u32| [prefix, &n.to_be_bytes()].concat();
    let all: Vec<KvWrite> = (0..10_000).map(|n| put(&numbered(b"a\xff", n), b"x")).collect();
    kv.put_all(&all)?;
    let others: [&[u8]; 6] = [b"", b"a", b"a\xfe", b"b", b"b\x00", b"\xff\xff"];
    for key in others {
        kv.put_all(&[put(key, b"y")])?;
    }
    kv.remove_prefix(b"a\xff")?;
    kv.remove_prefix(b"none")?;
    same!(keys(&*kv, b"", None)?, others.map(<[u8]>::to_vec), "the keys that stay");
    same!(kv.get(&numbered(b"a\xff", 7))?, None, "get of a key that went");
    kv.put_all(&[put(b"a\xff7", b"z"), put(b"\xff", b"z")])?;
    same!(keys(&*kv, b"a\xff", None)?.len(), 1, "a key that came later");
    kv.remove_prefix(b"\xff")?;
    let stay = [&b""[..], b"a", b"a\xfe", b"a\xff7", b"b", b"b\x00"].map(<[u8]>::to_vec);
    same!(keys(&*kv, b"", None)?, stay, "the keys without those above all others");
    drop(kv);
    store.backend()?.sync()?;
    if store.reopen()? {
        let kv = store.backend()?.kv();
        same!(keys(&*kv, b"", None)?, stay, "the keys after reopening");
    }
    Ok(())
}

fn last_wins(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    kv.put_all(&[put(b"x", b"1"), put(b"x", b"2"), put(b"x", b"3")])?;
    kv.put_all(&[put(b"y", b"1"), delete(b"y")])?;
    kv.put_all(&[delete(b"z"), put(b"z", b"1")])?;
    same!(kv.get(b"x")?, Some(Bytes::from_static(b"3")), "put thrice");
    same!(kv.get(b"y")?, None, "put, then deleted");
    same!(kv.get(b"z")?, Some(Bytes::from_static(b"1")), "deleted, then put");
    Ok(())
}

fn empty_parts(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    kv.put_all(&[put(b"", b"of the empty key"), put(b"k", b"")])?;
    same!(
        kv.get(b"")?,
        Some(Bytes::from_static(b"of the empty key")),
        "the empty key"
    );
    same!(kv.get(b"k")?, Some(Bytes::new()), "an empty value");
    same!(keys(&*kv, b"", None)?, vec![b"".to_vec(), b"k".to_vec()], "keys");
    Ok(())
}

fn ordered(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let words: [&[u8]; 9] = [b"b", b"a", b"ab", b"aa", b"a\0", b"a\xff", b"abc", b"B", b"ac"];
    let writes: Vec<_> = words.iter().map(|word| put(word, word)).collect();
    kv.put_all(&writes)?;
    let mut all: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    all.sort();
    same!(keys(&*kv, b"", None)?, all, "all keys");
    let with_a: Vec<_> = all.iter().filter(|key| key.starts_with(b"a")).cloned().collect();
    same!(keys(&*kv, b"a", None)?, with_a, "keys of a");
    same!(
        keys(&*kv, b"ab", None)?,
        vec![b"ab".to_vec(), b"abc".to_vec()],
        "keys of ab"
    );
    same!(keys(&*kv, b"abcd", None)?, Vec::<Vec<u8>>::new(), "keys of abcd");
    Ok(())
}

fn from(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let writes: Vec<_> = (0..50u8)
        .flat_map(|n| [put(&[b'p', n], &[n]), put(&[b'q', n], &[n])])
        .collect();
    kv.put_all(&writes)?;
    let expected = |low: u8| -> Vec<Vec<u8>> { (low..50).map(|n| vec![b'p', n]).collect() };
    same!(keys(&*kv, b"p", Some(&[b'p', 20]))?, expected(20), "from a key");
    same!(
        keys(&*kv, b"p", Some(&[b'p', 19, 0]))?,
        expected(20),
        "from between two keys"
    );
    same!(keys(&*kv, b"p", Some(b""))?, expected(0), "from before the prefix");
    same!(keys(&*kv, b"p", Some(b"a"))?, expected(0), "from before the prefix");
    same!(
        keys(&*kv, b"p", Some(b"q"))?,
        Vec::<Vec<u8>>::new(),
        "from behind the prefix"
    );
    Ok(())
}

fn early_stop(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let writes: Vec<_> = (0..=255u8).map(|n| put(&[1, n], b"v")).collect();
    kv.put_all(&writes)?;
    for after in [1, 2, 200] {
        let mut calls = 0;
        kv.scan(&[1], None, &mut |_, _| {
            calls += 1;
            if calls == after {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        same!(calls, after, "calls");
    }
    Ok(())
}

fn binary_keys(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let words: [&[u8]; 8] = [
        &[0],
        &[0, 0],
        &[0xfe, 0xff],
        &[0xff],
        &[0xff, 0],
        &[0xff, 0xff],
        &[0xff, 0xff, 0xff],
        &[0xff, 0xff, 0x01],
    ];
    let writes: Vec<_> = words.iter().map(|word| put(word, word)).collect();
    kv.put_all(&writes)?;
    let mut all: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    all.sort();
    same!(keys(&*kv, b"", None)?, all, "all keys");
    for prefix in [&[0xff][..], &[0xff, 0xff], &[0xfe], &[0], &[0xff, 0xff, 0xff]] {
        let expected: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        same!(keys(&*kv, prefix, None)?, expected, "keys of {prefix:?}");
    }
    Ok(())
}

fn many(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let mut model = BTreeMap::new();
    for round in 0..40u64 {
        let mut writes = Vec::new();
        for n in 0..100u64 {
            let key = noise(round * 61 + n * 7, 1 + (n % 9) as usize);
            if n % 4 == 3 {
                model.remove(&key);
                writes.push(delete(&key));
            } else {
                let value = noise(round + n, (n * 17) as usize);
                writes.push(put(&key, &value));
                model.insert(key, value);
            }
        }
        kv.put_all(&writes)?;
    }
    let large = noise(9, 1 << 20);
    kv.put_all(&[put(b"large", &large)])?;
    model.insert(b"large".to_vec(), large);
    let found = pairs(&*kv, b"", None)?;
    ensure!(
        found.into_iter().eq(model),
        "what the space holds differs from what was put"
    );
    Ok(())
}

fn nested(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let writes: Vec<_> = (0..200u8).map(|n| put(&[2, n], &[n])).collect();
    kv.put_all(&writes)?;
    let mut outcome = Ok(());
    let mut calls = 0;
    kv.scan(&[2], None, &mut |key, value| {
        calls += 1;
        outcome = kv
            .get(key)
            .map(|found| found.as_deref() == Some(value))
            .and_then(|_| kv.put_all(&[(Bytes::copy_from_slice(&[3, calls]), Some(Bytes::new()))]));
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    outcome?;
    same!(calls, 200, "keys visited");
    same!(keys(&*kv, &[3], None)?.len(), 200, "keys put by the visitor");
    Ok(())
}

fn beside_writer(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let write = |round: u64| -> crate::Result<()> {
        let value = round.to_le_bytes();
        kv.put_all(&[put(b"w/1", &value), put(b"w/2", &value)])
    };
    write(0)?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Outcome {
            for _ in 0..2_000 {
                let first = kv.get(b"w/1")?;
                let second = kv.get(b"w/2")?;
                let number = |value: Option<Bytes>| -> Option<u64> {
                    Some(u64::from_le_bytes(value?.as_ref().try_into().ok()?))
                };
                // Read later, so never older.
                let (first, second) = (number(first), number(second));
                ensure!(
                    first.is_some() && first <= second,
                    "half a write is seen: {first:?}, then {second:?}"
                );
            }
            Ok(())
        });
        for round in 1..2_000 {
            write(round)?;
        }
        match reader.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure("the reader panicked".to_string())),
        }
    })
}

fn reopened(store: &mut Store) -> Outcome {
    let kv = store.backend()?.kv();
    let writes: Vec<_> = (0..=255u8).map(|n| put(&[n, 1], &noise(u64::from(n), 300))).collect();
    kv.put_all(&writes)?;
    kv.put_all(&[delete(&[7, 1]), put(&[8, 1], b"new")])?;
    let before = pairs(&*kv, b"", None)?;
    same!(before.len(), 255, "keys");
    store.backend()?.sync()?;
    drop(kv);
    if store.reopen()? {
        let kv = store.backend()?.kv();
        ensure!(
            pairs(&*kv, b"", None)? == before,
            "what the space holds after reopening differs"
        );
        kv.put_all(&[put(b"more", b"value")])?;
        same!(
            kv.get(b"more")?,
            Some(Bytes::from_static(b"value")),
            "put after reopening"
        );
    }
    Ok(())
}
