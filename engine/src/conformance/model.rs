//! The model test: a seeded sequence of operations on a backend and on plain maps, which must agree at every step.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use super::{Failure, Outcome, Rec, Store, holds, noise, rec, refused, same, same_records, scanned};
use crate::backend::{Backend, Compression, Direction, KvWrite, Log, LogChange, LogOptions, Want};
use crate::types::Seq;

/// A small generator of numbers (xorshift64*). The same seed gives the same numbers, for ever.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of that seed; any will do.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero, and neighbouring seeds should not begin alike.
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, or 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.roll() >> 11) % limit.max(1)
    }
}

/// How many logs take part.
const LOGS: usize = 3;

/// Runs `steps` operations for each seed, each on a store of its own.
///
/// # Panics
///
/// When the backend and the model disagree; the message has the seed and the step.
pub fn run(fresh: &dyn Fn() -> Store, seeds: Range<u64>, steps: usize) {
    for seed in seeds {
        let mut store = fresh();
        let backend = store.backend().map_or("?", Backend::name);
        let mut done = 0;
        let outcome = one(&mut store, seed, steps, &mut done);
        if let Err(failure) = outcome {
            panic!("{backend}: model test, seed {seed}, step {done} of {steps}: {failure}");
        }
    }
}

/// What one log should hold.
#[derive(Default)]
struct Shadow {
    live: BTreeMap<Seq, Rec>,
    last: Seq,
}

impl Shadow {
    fn trim(&mut self, first: Seq) {
        self.live = self.live.split_off(&first);
        self.last = self.last.max(first.saturating_sub(1));
    }

    fn truncate(&mut self, last: Seq) {
        if last < self.last {
            self.live.split_off(&(last + 1));
            self.last = last;
        }
    }

    fn records(&self) -> Vec<Rec> {
        self.live.values().cloned().collect()
    }

    /// A sequence in or near what is live.
    fn any_seq(&self, dice: &mut Dice) -> Seq {
        let low = self.live.keys().next().copied().unwrap_or(self.last);
        (low + dice.below(self.last + 6 - low)).saturating_sub(2)
    }
}

fn one(store: &mut Store, seed: u64, steps: usize, done: &mut usize) -> Outcome {
    let mut dice = Dice::new(seed);
    let options: Vec<LogOptions> = (0..LOGS).map(|_| any_options(&mut dice)).collect();
    let mut shadows: Vec<Shadow> = (0..LOGS).map(|_| Shadow::default()).collect();
    let mut keys = BTreeMap::new();
    let mut logs = open_all(store, &options)?;
    for step in 0..steps {
        *done = step;
        let at = dice.below(LOGS as u64) as usize;
        let (log, shadow) = (&mut *logs[at], &mut shadows[at]);
        match dice.below(100) {
            0..=54 => write(store.backend()?, log, shadow, &mut keys, &mut dice)?,
            55..=59 => {
                // Mostly near the end, as Raft does.
                let back = dice.below(20);
                let last = match dice.below(10) {
                    0 => shadow.any_seq(&mut dice),
                    _ => shadow.last.saturating_sub(back),
                };
                log.truncate(last)?;
                shadow.truncate(last);
            }
            60..=69 => {
                let writes = some_keys(&mut dice);
                store.backend()?.kv().put_all(&writes)?;
                put(&mut keys, &writes);
            }
            70..=73 => log.sync()?,
            74..=76 => match dice.below(1 << 16) {
                n if n.is_multiple_of(4) => {
                    let all = [
                        None,
                        Some(Compression::None),
                        Some(Compression::Lz4),
                        Some(Compression::Zstd),
                    ];
                    log.compact(all[(n / 4 % 4) as usize], &mut |_, _| {})?;
                }
                budget => drop(log.maintain(budget)?),
            },
            77..=79 => {
                // A refusal leaves everything as it was.
                let bad = rec(shadow.last);
                let erase: Vec<Seq> = shadow.live.keys().copied().take(3).collect();
                refused!(
                    log.write(&LogChange {
                        append: &[bad.borrow()],
                        erase: &erase,
                        trim: Some(shadow.last),
                        ..LogChange::default()
                    }),
                    Invalid,
                    "appending {} again",
                    shadow.last
                );
            }
            80..=95 => read(log, shadow, &mut dice)?,
            96 => holds(&*log.reader(), shadow.last, &shadow.records())?,
            _ => {
                store.backend()?.sync()?;
                logs.clear();
                store.reopen()?;
                logs = open_all(store, &options)?;
                same_keys(store, &keys)?;
                for (log, shadow) in logs.iter().zip(&shadows) {
                    holds(&*log.reader(), shadow.last, &shadow.records())?;
                }
            }
        }
        let extent = logs[at].reader().extent();
        let shadow = &shadows[at];
        same!(
            (extent.last, extent.count),
            (shadow.last, shadow.live.len() as u64),
            "last and count of log {at}"
        );
    }
    *done = steps;
    for (log, shadow) in logs.iter().zip(&shadows) {
        holds(&*log.reader(), shadow.last, &shadow.records())?;
    }
    same_keys(store, &keys)
}

fn any_options(dice: &mut Dice) -> LogOptions {
    LogOptions {
        compression: match dice.below(4) {
            0 => Compression::Lz4,
            1 => Compression::Zstd,
            _ => Compression::None,
        },
        segment_bytes: 4_096 << dice.below(6),
        preallocate: dice.below(3) == 0,
        ..LogOptions::default()
    }
}

fn open_all(store: &mut Store, options: &[LogOptions]) -> Result<Vec<Box<dyn Log>>, Failure> {
    let mut logs = Vec::new();
    for (options, id) in options.iter().zip(1..) {
        logs.push(store.log_with(id, options)?);
    }
    Ok(logs)
}

/// A batch of anything.
fn write(
    backend: &dyn Backend,
    log: &mut dyn Log,
    shadow: &mut Shadow,
    keys: &mut BTreeMap<Bytes, Bytes>,
    dice: &mut Dice,
) -> Outcome {
    let mut records = Vec::new();
    let mut last = shadow.last;
    if dice.below(10) < 8 {
        for _ in 0..dice.below(20) {
            last += match dice.below(12) {
                0 => 1 + dice.below(5),
                1 if dice.below(20) == 0 => 1 + dice.below(1_000_000),
                _ => 1,
            };
            records.push(Rec {
                head: noise(dice.roll(), dice.below(40) as usize),
                body: match dice.below(40) {
                    0 => noise(dice.roll(), dice.below(30_000) as usize),
                    1..=5 => b"compressible ".repeat(dice.below(90) as usize),
                    _ => noise(dice.roll(), dice.below(200) as usize),
                },
                ..rec(last)
            });
        }
    }
    for record in &records {
        shadow.live.insert(record.seq, record.clone());
    }
    shadow.last = last;

    let mut erase = Vec::new();
    if dice.below(3) == 0 {
        for _ in 0..dice.below(12) {
            erase.push(match dice.below(3) {
                0 => shadow.live.keys().next().copied().unwrap_or(1),
                _ => shadow.any_seq(dice),
            });
        }
    }
    for seq in &erase {
        shadow.live.remove(seq);
    }

    let trim = (dice.below(6) == 0).then(|| match dice.below(12) {
        0 => shadow.last + 1 + dice.below(4),
        1 => shadow.any_seq(dice),
        // As a limit on messages does.
        _ => shadow.last.saturating_sub(60 + dice.below(60)),
    });
    if let Some(first) = trim {
        shadow.trim(first);
    }

    let kv = match backend.atomic_kv() && dice.below(3) == 0 {
        true => some_keys(dice),
        false => Vec::new(),
    };
    put(keys, &kv);

    let append: Vec<_> = records.iter().map(Rec::borrow).collect();
    log.write(&LogChange {
        append: &append,
        erase: &erase,
        overwrite: dice.below(4) == 0,
        trim,
        counts: &[],
        kv: &kv,
    })?;
    Ok(())
}

/// A few lookups and one scan of a part.
fn read(log: &dyn Log, shadow: &Shadow, dice: &mut Dice) -> Outcome {
    let reader = log.reader();
    for _ in 0..8 {
        let seq = shadow.any_seq(dice);
        let found = reader.get(seq)?.map(|entry| Rec {
            seq: entry.seq,
            time: entry.time,
            head: entry.head.to_vec(),
            body: entry.body.to_vec(),
        });
        let expected = shadow.live.get(&seq);
        super::ensure!(
            found.as_ref() == expected,
            "get({seq}): found {}, expected {}",
            found.is_some(),
            expected.is_some()
        );
    }
    let low = shadow.any_seq(dice);
    let high = match dice.below(4) {
        0 => Seq::MAX,
        _ => low + dice.below(50),
    };
    let mut expected: Vec<Rec> = shadow
        .live
        .range(low..=high)
        .map(|(_, record)| record.clone())
        .collect();
    let want = match dice.below(2) {
        0 => Want::Full,
        _ => Want::Heads,
    };
    if want == Want::Heads {
        for record in &mut expected {
            record.body.clear();
        }
    }
    let direction = match dice.below(2) {
        0 => Direction::Forward,
        _ => Direction::Backward,
    };
    if direction == Direction::Backward {
        expected.reverse();
    }
    let found = scanned(&*reader, low..=high, want, direction)?;
    same_records(&found, &expected, &format!("{want:?} {low}..={high} {direction:?}"))
}

fn some_keys(dice: &mut Dice) -> Vec<KvWrite> {
    (0..dice.below(6))
        .map(|_| {
            let key = noise(dice.below(60), 1 + dice.below(4) as usize);
            let value = match dice.below(4) {
                0 => None,
                _ => Some(Bytes::from(noise(dice.roll(), dice.below(300) as usize))),
            };
            (Bytes::from(key), value)
        })
        .collect()
}

fn put(keys: &mut BTreeMap<Bytes, Bytes>, writes: &[KvWrite]) {
    for (key, value) in writes {
        match value {
            Some(value) => keys.insert(key.clone(), value.clone()),
            None => keys.remove(key),
        };
    }
}

fn same_keys(store: &mut Store, keys: &BTreeMap<Bytes, Bytes>) -> Outcome {
    let mut found = BTreeMap::new();
    store.backend()?.kv().scan(b"", None, &mut |key, value| {
        found.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        ControlFlow::Continue(())
    })?;
    super::ensure!(
        found == *keys,
        "the key-value space holds {} keys, expected {}, or other values",
        found.len(),
        keys.len()
    );
    Ok(())
}
