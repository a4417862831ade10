//! The index against the plainest possible model, under random changes and questions.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Sequence to subject of what is live.
#[derive(Default)]
struct Model {
    live: BTreeMap<Seq, Vec<u8>>,
    next: Seq,
}

fn accepts(filters: &[Bytes], subject: &[u8]) -> bool {
    filters.is_empty()
        || filters
            .iter()
            .any(|filter| weir_subject::matches(filter, subject))
}

impl Model {
    fn matching<'a>(
        &'a self,
        filters: &'a [Bytes],
    ) -> impl DoubleEndedIterator<Item = (Seq, &'a [u8])> {
        self.live
            .iter()
            .map(|(&seq, subject)| (seq, subject.as_slice()))
            .filter(|(_, subject)| accepts(filters, subject))
    }

    fn info(&self) -> BTreeMap<&[u8], SubjectInfo> {
        let mut all: BTreeMap<&[u8], SubjectInfo> = BTreeMap::new();
        for (&seq, subject) in &self.live {
            let info = all.entry(subject).or_insert(SubjectInfo {
                count: 0,
                first: seq,
                last: seq,
            });
            info.count += 1;
            info.last = seq;
        }
        all
    }
}

/// A small generator of its own, so that a failing seed says all (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn subject(&mut self, subjects: u64) -> Vec<u8> {
        match self.roll(subjects) {
            0 => b"a".to_vec(),
            1 => b"a.b".to_vec(),
            n => format!(
                "{}.k{}.{}",
                ["a", "b"][(n % 2) as usize],
                n / 4,
                ["x", "y"][(n / 2 % 2) as usize]
            )
            .into_bytes(),
        }
    }

    fn filters(&mut self, subjects: u64) -> Vec<Bytes> {
        let count = [0, 1, 1, 1, 2, 3][self.roll(6) as usize];
        (0..count)
            .map(|_| match self.roll(8) {
                0 => Bytes::from_static(b"a.>"),
                1 => Bytes::from_static(b"*.*.x"),
                2 => Bytes::from_static(b"b.*.*"),
                3 => Bytes::from_static(b"*"),
                4 => Bytes::from_static(b"none.*"),
                5 => Bytes::from(format!("*.k{}.*", self.roll(subjects.div_ceil(4)))),
                _ => Bytes::from(self.subject(subjects)),
            })
            .collect()
    }

    /// A sequence near something: uniform within what was, or around a live one.
    fn seq(&mut self, model: &Model) -> Seq {
        match self.roll(8) {
            0 => self.roll(4),
            1 => model.next + self.roll(3),
            2 => Seq::MAX - self.roll(2),
            _ => {
                let near = self.roll(model.next.max(1));
                let live = model
                    .live
                    .range(near..)
                    .next()
                    .map_or(near, |(&seq, _)| seq);
                (live + self.roll(3)).saturating_sub(1)
            }
        }
    }
}

/// Asks everything that can be asked, at one random place, and compares.
fn compare(index: &mut Index, model: &Model, dice: &mut Dice, subjects: u64) {
    assert_eq!(index.len(), model.live.len() as u64, "len");
    assert_eq!(index.is_empty(), model.live.is_empty());
    assert_eq!(
        index.first(),
        model.live.first_key_value().map(|(&seq, _)| seq),
        "first"
    );
    assert_eq!(
        index.last_live(),
        model.live.last_key_value().map(|(&seq, _)| seq),
        "last"
    );
    let from = dice.seq(model);
    assert_eq!(
        index.is_live(from).unwrap(),
        model.live.contains_key(&from),
        "live {from}"
    );
    assert_eq!(
        index.next_live(from).unwrap(),
        model.live.range(from..).next().map(|(&seq, _)| seq),
        "next {from}"
    );
    assert_eq!(
        index.prev_live(from).unwrap(),
        model.live.range(..=from).next_back().map(|(&seq, _)| seq),
        "prev {from}"
    );
    let filters = dice.filters(subjects);
    let upto = model
        .matching(&filters)
        .rfind(|&(seq, _)| seq <= from)
        .map(|(seq, _)| seq);
    assert_eq!(
        index.prev_match(&filters, from).unwrap(),
        upto,
        "{filters:?} up to {from}"
    );
    let onward = model
        .matching(&filters)
        .find(|&(seq, _)| seq >= from)
        .map(|(seq, _)| seq);
    assert_eq!(
        index.next_match(&mut Cursor::new(&filters), from).unwrap(),
        onward,
        "{filters:?} from {from}"
    );
    let count = model
        .matching(&filters)
        .filter(|&(seq, _)| seq >= from)
        .count() as u64;
    assert_eq!(
        index.count_from(&filters, from).unwrap(),
        count,
        "{filters:?} counted from {from}"
    );
    let all = model.info();
    assert_eq!(index.subjects(), all.len() as u64, "subjects");
    let subject = dice.subject(subjects);
    assert_eq!(
        index.subject(&subject).unwrap(),
        all.get(subject.as_slice()).copied(),
        "{:?}",
        String::from_utf8_lossy(&subject)
    );
    let limit = if dice.roll(2) == 0 {
        usize::MAX
    } else {
        dice.roll(5) as usize + 1
    };
    let mut seen = Vec::new();
    index
        .last_of_each(&filters, &mut |name, info| {
            seen.push((name.to_vec(), info));
            if seen.len() == limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    let expected: Vec<_> = all
        .into_iter()
        .filter(|(name, _)| accepts(&filters, name))
        .map(|(name, info)| (name.to_vec(), info))
        .take(limit)
        .collect();
    assert_eq!(seen, expected, "each of {filters:?}");
}

/// What the two kinds of index need between the steps.
trait Turns {
    /// After each step; may write what is pending, or open anew.
    fn step(
        &mut self,
        index: &mut Index,
        dice: &mut Dice,
        model: &Model,
        changes: &mut Vec<Change>,
    );
}

/// What was done to the index.
enum Change {
    Add(Seq, Vec<u8>),
    Remove(Seq),
    Clear(Seq),
}

/// Nothing to do.
struct InMemory;

impl Turns for InMemory {
    fn step(&mut self, index: &mut Index, _: &mut Dice, _: &Model, changes: &mut Vec<Change>) {
        changes.clear();
        let mut writes = Vec::new();
        index.take_writes(&mut writes);
        assert!(writes.is_empty());
        index.written();
    }
}

/// Random work from one seed. `subjects` bounds how many there are, `stride` how wide the gaps get.
fn run(
    seed: u64,
    subjects: u64,
    stride: u64,
    steps: u64,
    index: &mut Index,
    turns: &mut dyn Turns,
) {
    let mut dice = Dice(seed);
    let mut model = Model {
        next: 1,
        ..Model::default()
    };
    let mut cursors: Vec<(Vec<Bytes>, Cursor, Seq)> = Vec::new();
    let mut changes = Vec::new();
    for _ in 0..steps {
        let kind = dice.roll(100);
        match kind {
            0..50 => {
                for _ in 0..=dice.roll(12) {
                    let seq = model.next
                        + if dice.roll(5) == 0 {
                            dice.roll(stride)
                        } else {
                            0
                        };
                    let subject = dice.subject(subjects);
                    index.add(seq, &subject).unwrap();
                    assert!(index.add(seq, b"again").is_err());
                    changes.push(Change::Add(seq, subject.clone()));
                    model.live.insert(seq, subject);
                    model.next = seq + 1;
                }
            }
            50..85 => {
                for _ in 0..=dice.roll(12) {
                    // From the front, from the back, from anywhere, or the oldest of some subject.
                    let victim = match dice.roll(4) {
                        0 => model.live.first_key_value().map(|(&seq, _)| seq),
                        1 => model.live.last_key_value().map(|(&seq, _)| seq),
                        2 => {
                            let near = dice.roll(model.next);
                            model.live.range(near..).next().map(|(&seq, _)| seq)
                        }
                        _ => {
                            let subject = dice.subject(subjects);
                            let info = index.subject(&subject).unwrap();
                            assert_eq!(info, model.info().get(subject.as_slice()).copied());
                            info.map(|info| info.first)
                        }
                    };
                    let Some(seq) = victim else { continue };
                    let subject = model.live.remove(&seq).unwrap();
                    assert!(index.remove(seq, b"wrong").is_err());
                    index.remove(seq, &subject).unwrap();
                    assert!(index.remove(seq, &subject).is_err());
                    changes.push(Change::Remove(seq));
                }
            }
            85 if dice.roll(4) == 0 => {
                let next = model.next + dice.roll(stride);
                index.clear(next).unwrap();
                changes.push(Change::Clear(next));
                model.live.clear();
                model.next = next;
            }
            86..90 => {
                let filters = dice.filters(subjects);
                let from = dice.seq(&model);
                if cursors.len() == 6 {
                    cursors.remove(0);
                }
                cursors.push((filters.clone(), Cursor::new(&filters), from));
            }
            _ => compare(index, &model, &mut dice, subjects),
        }
        turns.step(index, &mut dice, &model, &mut changes);
        for (filters, cursor, from) in &mut cursors {
            for _ in 0..dice.roll(4) {
                if dice.roll(20) == 0 {
                    *from = dice.seq(&model);
                }
                let expected = model
                    .live
                    .range(*from..)
                    .find(|(_, subject)| accepts(filters, subject))
                    .map(|(&seq, _)| seq);
                assert_eq!(
                    index.next_match(cursor, *from).unwrap(),
                    expected,
                    "cursor {filters:?} from {from}"
                );
                if let Some(seq) = expected {
                    *from = seq + 1;
                }
            }
        }
    }
    compare(index, &model, &mut dice, subjects);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn resident_with_few_subjects(seed: u64) {
        run(seed, 5, 3, 400, &mut Index::resident(), &mut InMemory);
    }

    #[test]
    fn resident_with_many_subjects_and_gaps(seed: u64) {
        run(seed, 200, 20_000, 400, &mut Index::resident(), &mut InMemory);
    }

    #[test]
    fn resident_with_gaps_of_billions(seed: u64) {
        run(seed, 12, 1 << 33, 300, &mut Index::resident(), &mut InMemory);
    }
}

/// Chunks with more subjects than are tested one by one, and more recent messages than are remembered.
#[test]
fn resident_at_full_chunks() {
    let mut index = Index::resident();
    let mut model = BTreeMap::new();
    let mut cursor = Cursor::new(&[
        Bytes::from_static(b"*.*.7"),
        Bytes::from_static(b"even.*.3"),
    ]);
    let matches =
        |name: &str| name.ends_with(".7") || name.starts_with("even") && name.ends_with(".3");
    let mut at = 1;
    for seq in 1..200_000u64 {
        let name = format!(
            "{}.{}.{}",
            ["even", "odd"][(seq % 2) as usize],
            seq % 4000,
            seq % 13
        );
        index.add(seq, name.as_bytes()).unwrap();
        model.insert(seq, name);
        if seq % 7 == 0 {
            let dead = seq / 7 * 5;
            if let Some(name) = model.remove(&dead) {
                index.remove(dead, name.as_bytes()).unwrap();
            }
        }
        if seq % 5000 == 0 || seq < 3000 {
            while let Some(found) = index.next_match(&mut cursor, at).unwrap() {
                let expected = model
                    .range(at..)
                    .find(|(_, name)| matches(name))
                    .map(|(&seq, _)| seq);
                assert_eq!(Some(found), expected, "from {at}");
                at = found + 1;
            }
            assert_eq!(model.range(at..).find(|(_, name)| matches(name)), None);
        }
    }
    let filters = [
        Bytes::from_static(b"*.*.7"),
        Bytes::from_static(b"even.*.3"),
    ];
    for from in [0, 1, 60_000, 65_536, 100_000, 131_071, 199_000, 300_000] {
        let expected = model
            .range(from..)
            .filter(|(_, name)| matches(name))
            .count() as u64;
        assert_eq!(
            index.count_from(&filters, from).unwrap(),
            expected,
            "from {from}"
        );
        let last = model
            .range(..=from)
            .rfind(|(_, name)| matches(name))
            .map(|(&seq, _)| seq);
        assert_eq!(
            index.prev_match(&filters, from).unwrap(),
            last,
            "up to {from}"
        );
    }
}
