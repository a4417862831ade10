//! The index against the plainest possible model, under random changes and questions.

mod paged;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use bytes::Bytes;
use proptest::prelude::*;

use super::tally::Sum;
use super::*;

/// Sequence to subject of what is live.
#[derive(Default)]
struct Model {
    live: BTreeMap<Seq, Vec<u8>>,
    next: Seq,
}

fn accepts(filters: &[Bytes], subject: &[u8]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| weir_subject::matches(filter, subject))
}

impl Model {
    fn matching<'a>(&'a self, filters: &'a [Bytes]) -> impl DoubleEndedIterator<Item = (Seq, &'a [u8])> {
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

/// How large a message is: for some stretches all alike, or nearly, for others not at all.
pub(super) fn size_of(seq: Seq) -> u64 {
    [100, 100 + seq % 7, 30 + seq % 3000 * 31 % 3000, (seq % 1009).pow(2)][(seq / 64 % 4) as usize]
}

/// When a message came: several at once.
pub(super) fn time_of(seq: Seq) -> NanoTime {
    (seq / 3) as NanoTime
}

/// What a resident index knows of single messages.
fn compare_messages(index: &mut Index, model: &Model, dice: &mut Dice) {
    let Index::Resident(index) = index else { return };
    let from = dice.seq(model);
    for (&seq, subject) in model.live.range(from..).take(dice.roll(40) as usize) {
        assert_eq!(index.size_at(seq), Some(size_of(seq)), "size of {seq}");
        assert_eq!(
            index.subject_here(seq).as_deref(),
            Some(&subject[..]),
            "subject of {seq}"
        );
    }
    assert_eq!(index.size_at(from).is_some(), model.live.contains_key(&from));
    assert_eq!(
        index.subject_here(from).as_deref(),
        model.live.get(&from).map(|subject| &subject[..])
    );
    let time = time_of(from.min(model.next)) + dice.roll(2) as NanoTime;
    let (low, high) = index.around(time);
    assert!(low <= high, "{low} to {high}");
    assert!(
        model
            .live
            .range(..low)
            .next_back()
            .is_none_or(|(&seq, _)| time_of(seq) < time),
        "{low} for {time}"
    );
    assert!(
        model
            .live
            .range(high..)
            .next()
            .is_none_or(|(&seq, _)| time_of(seq) >= time),
        "{high} for {time}"
    );
}

/// A small generator of its own, so that a failing seed says all (splitmix64).
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
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
                let live = model.live.range(near..).next().map_or(near, |(&seq, _)| seq);
                (live + self.roll(3)).saturating_sub(1)
            }
        }
    }
}

/// Asks everything that can be asked, at one random place, and compares.
fn compare(index: &mut Index, model: &Model, dice: &mut Dice, subjects: u64) {
    assert_eq!(index.len(), model.live.len() as u64, "len");
    if let Some(census) = index.census() {
        let sum = model.live.keys().fold(0, |sum: u64, seq| sum.wrapping_add(*seq));
        assert_eq!((census.count, census.sum), (index.len(), sum));
    }
    let mut digest = Digest::default();
    for (&seq, subject) in &model.live {
        digest.add(seq, subject, size_of(seq));
    }
    assert_eq!(index.digest(), Some(digest));
    assert_eq!(index.len() == 0, model.live.is_empty());
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
    compare_messages(index, model, dice);
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
    let mut counts = BTreeMap::new();
    for seq in model.live.keys() {
        *counts.entry(seq >> 16).or_insert(0) += 1;
    }
    assert_eq!(index.counts(), counts);
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
    let mut patient = Cursor::new(&filters);
    let newest = loop {
        match index.last_match_within(&mut patient, &mut { 4 }).unwrap() {
            Sought::Later(_) => {}
            Sought::At(seq) => break Some(seq),
            Sought::Nothing => break None,
        }
    };
    let last = model.matching(&filters).next_back().map(|(seq, _)| seq);
    assert_eq!(newest, last, "the newest of {filters:?}");
    let (mut found, mut next) = (Vec::new(), Some(from));
    while let Some(at) = next {
        let mut looks = dice.roll(4) as usize + 1;
        let visit = &mut |seq| {
            found.push(seq);
            ControlFlow::Continue(())
        };
        next = index.matches_down(&filters, at, &mut looks, visit).unwrap();
    }
    let below = model
        .matching(&filters)
        .rev()
        .map(|(seq, _)| seq)
        .filter(|seq| *seq <= from);
    assert_eq!(found, below.collect::<Vec<_>>(), "{filters:?} down from {from}");
    let onward = model
        .matching(&filters)
        .find(|&(seq, _)| seq >= from)
        .map(|(seq, _)| seq);
    assert_eq!(
        index.next_match(&mut Cursor::new(&filters), from).unwrap(),
        onward,
        "{filters:?} from {from}"
    );
    let count = model.matching(&filters).filter(|&(seq, _)| seq >= from).count() as u64;
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
    let (one, after) = (&filters[..filters.len().min(1)], dice.subject(subjects));
    let (mut seen, mut place) = (Vec::new(), Some(SubjectPlace::behind(&after)));
    while let Some(from) = place.take()
        && seen.len() < limit
    {
        let mut looks = if dice.roll(2) == 0 { 3 } else { usize::MAX };
        let visit = &mut |name: &[u8], info| {
            seen.push((name.to_vec(), info));
            match seen.len() == limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        place = index.some_of_each(one, &from, &mut looks, visit).unwrap();
    }
    let behind = all
        .iter()
        .filter(|(name, _)| accepts(one, name) && name[..] > after[..]);
    let expected: Vec<_> = behind.map(|(name, info)| (name.to_vec(), *info)).take(limit).collect();
    assert_eq!(seen, expected, "each of {one:?} behind {after:?}");
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

/// A count that is under way while the index changes.
struct Counting {
    filters: Vec<Bytes>,
    /// `None` for the last messages of the subjects.
    from: Option<Seq>,
    tally: Tally,
}

impl Counting {
    fn of(model: &Model, dice: &mut Dice, subjects: u64) -> Self {
        let filters = dice.filters(subjects);
        let from = (dice.roll(3) > 0).then(|| dice.seq(model));
        let tally = match from {
            Some(from) => Tally::count(&filters, from),
            None => Tally::lasts(&filters),
        };
        Self { filters, from, tally }
    }

    /// Some of the way, or none; what it has come to once it is over is what the model says, then and ever after.
    fn go_on(&mut self, index: &mut Index, model: &Model, dice: &mut Dice) {
        if dice.roll(3) == 0 {
            return;
        }
        if let (Some(from), Index::Paged(_)) = (&mut self.from, &index)
            && dice.roll(20) == 0
        {
            *from = dice.seq(model).max(*from);
        }
        let mut looks = dice.roll(12) as usize;
        let whole = index.tally(&self.tally, self.from.unwrap_or(0), &mut looks).unwrap();
        if !whole {
            return;
        }
        let matching = model.matching(&self.filters);
        let (sum, what) = match self.from {
            Some(from) => (
                Sum::Number(matching.filter(|(seq, _)| *seq >= from).count() as u64),
                "tally",
            ),
            None => {
                let lasts: BTreeMap<_, _> = matching.map(|(seq, subject)| (subject, seq)).collect();
                (Sum::Lasts(lasts.into_values().collect()), "tally of lasts")
            }
        };
        assert_eq!(
            self.tally.done(),
            Some(sum),
            "{what} of {:?} from {:?}",
            self.filters,
            self.from
        );
    }
}

/// What the two kinds of index need between the steps.
trait Turns {
    /// After each step; may write what is pending. Answers whether the index was opened anew.
    fn step(&mut self, index: &mut Index, dice: &mut Dice, model: &Model, changes: &mut Vec<Change>) -> bool;
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
    fn step(&mut self, index: &mut Index, _: &mut Dice, _: &Model, changes: &mut Vec<Change>) -> bool {
        changes.clear();
        let mut writes = Vec::new();
        index.stage(1);
        index.take_writes(1, &mut writes);
        assert!(writes.is_empty());
        index.written(1);
        false
    }
}

/// Random work from one seed. `subjects` bounds how many there are, `stride` how wide the gaps get.
fn run(seed: u64, subjects: u64, stride: u64, steps: u64, index: &mut Index, turns: &mut dyn Turns) {
    let mut dice = Dice(seed);
    let mut model = Model {
        next: 1,
        ..Model::default()
    };
    let mut cursors: Vec<(Vec<Bytes>, Cursor, Seq)> = Vec::new();
    let mut tallies: Vec<Counting> = Vec::new();
    let mut changes = Vec::new();
    for _ in 0..steps {
        let kind = dice.roll(100);
        match kind {
            0..50 => {
                for _ in 0..=dice.roll(12) {
                    let seq = model.next + if dice.roll(5) == 0 { dice.roll(stride) } else { 0 };
                    let subject = dice.subject(subjects);
                    index.add(seq, &subject, size_of(seq), time_of(seq)).unwrap();
                    assert!(index.add(seq, b"again", size_of(seq), time_of(seq)).is_err());
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
                    assert!(index.remove(seq, b"wrong", Some(size_of(seq))).is_err());
                    index.remove(seq, &subject, Some(size_of(seq))).unwrap();
                    assert!(index.remove(seq, &subject, Some(size_of(seq))).is_err());
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
                let mut cursor = Cursor::new(&filters);
                // As if the subjects were many.
                cursor.wide = dice.roll(2) == 0;
                cursors.push((filters, cursor, from));
            }
            90..93 => {
                if tallies.len() == 4 {
                    tallies.remove(dice.roll(4) as usize);
                }
                tallies.push(Counting::of(&model, &mut dice, subjects));
            }
            _ => compare(index, &model, &mut dice, subjects),
        }
        if turns.step(index, &mut dice, &model, &mut changes) {
            for (filters, cursor, _) in &mut cursors {
                *cursor = Cursor::new(&*filters);
            }
        }
        for counting in &mut tallies {
            counting.go_on(index, &model, &mut dice);
        }
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
                if dice.roll(2) == 0 {
                    let mut looks = dice.roll(6) as usize;
                    let sought = index.next_match_within(cursor, *from, &mut looks).unwrap();
                    if let Sought::Later(next) = sought {
                        assert!(*from <= next && expected.is_none_or(|seq| next <= seq), "{next}");
                        *from = next;
                        continue;
                    }
                    let told = expected.map_or(Sought::Nothing, Sought::At);
                    assert_eq!(sought, told, "some of {filters:?} from {from}");
                } else {
                    assert_eq!(
                        index.next_match(cursor, *from).unwrap(),
                        expected,
                        "cursor {filters:?} from {from}"
                    );
                }
                if let Some(seq) = expected {
                    *from = seq + 1;
                }
            }
        }
    }
    compare(index, &model, &mut dice, subjects);
}

/// A smaller seed is no simpler a case.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 64,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

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
    let mut cursor = Cursor::new(&[Bytes::from_static(b"*.*.7"), Bytes::from_static(b"even.*.3")]);
    let matches = |name: &str| name.ends_with(".7") || name.starts_with("even") && name.ends_with(".3");
    let mut at = 1;
    for seq in 1..200_000u64 {
        let name = format!("{}.{}.{}", ["even", "odd"][(seq % 2) as usize], seq % 4000, seq % 13);
        index.add(seq, name.as_bytes(), size_of(seq), time_of(seq)).unwrap();
        model.insert(seq, name);
        if seq % 7 == 0 {
            let dead = seq / 7 * 5;
            if let Some(name) = model.remove(&dead) {
                index.remove(dead, name.as_bytes(), Some(size_of(dead))).unwrap();
            }
        }
        if seq % 5000 == 0 || seq < 3000 {
            while let Some(found) = index.next_match(&mut cursor, at).unwrap() {
                let expected = model.range(at..).find(|(_, name)| matches(name)).map(|(&seq, _)| seq);
                assert_eq!(Some(found), expected, "from {at}");
                at = found + 1;
            }
            assert_eq!(model.range(at..).find(|(_, name)| matches(name)), None);
        }
    }
    let filters = [Bytes::from_static(b"*.*.7"), Bytes::from_static(b"even.*.3")];
    for from in [0, 1, 60_000, 65_536, 100_000, 131_071, 199_000, 300_000] {
        let expected = model.range(from..).filter(|(_, name)| matches(name)).count() as u64;
        assert_eq!(index.count_from(&filters, from).unwrap(), expected, "from {from}");
        let last = model
            .range(..=from)
            .rfind(|(_, name)| matches(name))
            .map(|(&seq, _)| seq);
        assert_eq!(index.prev_match(&filters, from).unwrap(), last, "up to {from}");
    }
}

/// A subject that stands before and behind the part of a chunk that is looked through first says nothing of what lies between.
#[test]
fn resident_passes_over_nothing_between_two_messages_of_one_subject() {
    let mut index = Index::resident();
    let mut expected = Vec::new();
    for seq in 1..=30_000u64 {
        let subject = match seq {
            100 | 20_000 => "s.first".to_owned(),
            _ if seq % 1000 == 0 => format!("s.{seq}"),
            _ => format!("other.{}", seq % 50),
        };
        if subject.starts_with("s.") {
            expected.push(seq);
        }
        index.add(seq, subject.as_bytes(), size_of(seq), time_of(seq)).unwrap();
    }
    let mut cursor = Cursor::new([Bytes::from_static(b"s.*")]);
    let (mut found, mut next) = (Vec::new(), 1);
    while let Some(seq) = index.next_match(&mut cursor, next).unwrap() {
        found.push(seq);
        next = seq + 1;
    }
    assert_eq!(found, expected);
}

/// As when several consumers, each at its own place, acknowledge what a work queue has: the subjects of a chunk are not gone through
/// for each message.
#[test]
fn resident_is_quick_where_messages_are_removed_at_several_places_in_turn() {
    const FRONTS: u64 = 16;
    let mut index = Resident::default();
    for seq in 1..=200_000u64 {
        let subject = format!("s.{}", seq % 65_000);
        index.add(seq, subject.as_bytes(), 100, 0).unwrap();
    }
    for nth in 0..200 {
        for front in 0..FRONTS {
            let seq = 1 + front * (200_000 / FRONTS) + nth;
            assert!(index.is_quick(seq), "the {nth}th at place {front}");
            let subject = index.subject_here(seq).unwrap();
            assert_eq!(subject, format!("s.{}", seq % 65_000));
            index.remove(seq, &subject).unwrap();
        }
    }
}
