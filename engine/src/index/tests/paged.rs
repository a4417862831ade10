//! The paged index: against the model over turns, crashes and openings, and how little it looks at.

mod filling;

use super::*;

/// A log and a key-value space that take a turn's changes together, as RocksDB does.
#[derive(Default)]
struct Store {
    kv: parking_lot::Mutex<BTreeMap<Vec<u8>, Bytes>>,
    log: parking_lot::Mutex<(BTreeMap<Seq, Vec<u8>>, Seq)>,
    /// Keys and heads that scans looked at.
    looked: std::sync::atomic::AtomicU64,
    /// Scans of keys.
    scans: std::sync::atomic::AtomicU64,
}

impl Kv for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.kv.lock().get(key).cloned())
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        let mut kv = self.kv.lock();
        for (key, value) in writes {
            match value {
                Some(value) => kv.insert(key.to_vec(), value.clone()),
                None => kv.remove(key.as_ref()),
            };
        }
        Ok(())
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: crate::backend::VisitKey<'_>) -> Result<()> {
        self.scans.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let start = from.unwrap_or(prefix).max(prefix).to_vec();
        for (key, value) in self
            .kv
            .lock()
            .range(start..)
            .take_while(|(key, _)| key.starts_with(prefix))
        {
            self.looked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl LogReader for Store {
    fn extent(&self) -> crate::Extent {
        let log = self.log.lock();
        let first = log.0.first_key_value().map_or(log.1 + 1, |(&seq, _)| seq);
        crate::Extent {
            first,
            last: log.1,
            count: log.0.len() as u64,
            ..crate::Extent::default()
        }
    }

    fn get(&self, _: Seq) -> Result<Option<crate::Entry>> {
        Err(crate::Error::unsupported("an index reads heads"))
    }

    fn scan(
        &self,
        range: std::ops::RangeInclusive<Seq>,
        want: crate::Want,
        direction: crate::Direction,
        visit: crate::backend::VisitRecord<'_>,
    ) -> Result<()> {
        assert_eq!(want, crate::Want::Heads);
        let log = self.log.lock();
        let mut records = log.0.range(range);
        loop {
            let record = match direction {
                crate::Direction::Forward => records.next(),
                crate::Direction::Backward => records.next_back(),
            };
            let Some((&seq, head)) = record else {
                return Ok(());
            };
            self.looked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if visit(crate::EntryRef {
                seq,
                time: 0,
                head,
                body: &[],
                // As large as the message is.
                body_len: size_of(seq) as u32,
                owner: None,
            })
            .is_break()
            {
                return Ok(());
            }
        }
    }
}

impl Store {
    fn apply(&self, changes: &mut Vec<Change>) {
        let mut log = self.log.lock();
        for change in changes.drain(..) {
            match change {
                Change::Add(seq, subject) => {
                    // A byte that is no part of the subject, for `subject_of` to leave out.
                    let head = [b"!", subject.as_slice()].concat();
                    log.0.insert(seq, head);
                    log.1 = seq;
                }
                Change::Remove(seq) => {
                    log.0.remove(&seq);
                }
                Change::Clear(next) => {
                    log.0.clear();
                    log.1 = log.1.max(next - 1);
                }
            }
        }
    }
}

const LOG: LogId = LogId(9);

fn open(store: &Arc<Store>, cache_bytes: usize) -> Index {
    let records = Records {
        subject_of: |head| &head[1..],
        size_of: |_, body_len| body_len as u64,
        // The byte that is no part of the subject; odd sequences end.
        ending_of: |_, seq, time, _| Ok((seq % 2 == 1).then_some(time + 1_000)),
    };
    Index::paged(store.clone(), LOG, store.clone(), records, cache_bytes).unwrap()
}

/// Turns of random length, several of which are not written yet; opens anew now and then, and does what was not written again.
#[derive(Default)]
struct OnStore {
    store: Arc<Store>,
    turn: u64,
    staged: VecDeque<(u64, Vec<Change>)>,
}

impl OnStore {
    fn index(&self) -> Index {
        open(&self.store, 4096)
    }

    /// As the journal does it.
    fn replay(&self, index: &mut Index, changes: &[Change]) {
        let staged = self.staged.iter().flat_map(|(_, changes)| changes);
        let mut pending = BTreeMap::new();
        for change in staged.chain(changes) {
            match change {
                Change::Add(seq, subject) => {
                    pending.insert(*seq, subject.clone());
                    index.add(*seq, subject, size_of(*seq), time_of(*seq)).unwrap();
                }
                Change::Clear(next) => drop(index.clear(*next).unwrap()),
                Change::Remove(seq) => {
                    let subject = pending.get(seq).cloned();
                    let subject = subject.unwrap_or_else(|| self.store.log.lock().0[seq][1..].to_vec());
                    index.remove(*seq, &subject, Some(size_of(*seq))).unwrap();
                }
            }
        }
    }

    fn stage(&mut self, index: &mut Index, changes: &mut Vec<Change>) {
        self.turn += 1;
        index.stage(self.turn);
        self.staged.push_back((self.turn, std::mem::take(changes)));
    }

    /// Writes the first turns; answers how many keys.
    fn land(&mut self, index: &mut Index, count: usize) -> usize {
        let mut writes = Vec::new();
        let Some(&(turn, _)) = count.checked_sub(1).and_then(|last| self.staged.get(last)) else {
            return 0;
        };
        index.join(turn);
        index.take_writes(turn, &mut writes);
        self.store.put_all(&writes).unwrap();
        for (_, mut changes) in self.staged.drain(..count) {
            self.store.apply(&mut changes);
        }
        index.written(turn);
        writes.len()
    }
}

impl Turns for OnStore {
    fn step(&mut self, index: &mut Index, dice: &mut Dice, _: &Model, changes: &mut Vec<Change>) -> bool {
        let anew = dice.roll(20) == 0;
        if anew {
            *index = self.index();
            self.replay(index, changes);
            // All of it is one turn now.
            let mut all: Vec<Change> = self.staged.drain(..).flat_map(|(_, changes)| changes).collect();
            all.append(changes);
            *changes = all;
        }
        if dice.roll(3) == 0 {
            self.stage(index, changes);
        }
        if dice.roll(4) == 0 {
            let count = dice.roll(self.staged.len() as u64 + 1) as usize;
            self.land(index, count);
        }
        anew
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn paged_with_few_subjects(seed: u64) {
        let mut turns = OnStore::default();
        run(seed, 5, 3, 400, &mut turns.index(), &mut turns);
    }

    #[test]
    fn paged_with_many_subjects_and_gaps(seed: u64) {
        let mut turns = OnStore::default();
        run(seed, 200, 20_000, 400, &mut turns.index(), &mut turns);
    }
}

proptest! {
    // Costs more than the others; the chance is only in the subjects.
    #![proptest_config(ProptestConfig { cases: 4, ..config() })]

    #[test]
    fn paged_is_built_from_a_log_that_has_none(seed: u64) {
        let store = Arc::new(Store::default());
        let mut dice = Dice(seed);
        let mut changes: Vec<Change> =
            (0..9000).map(|n| Change::Add(n * 3 + 1 + n % 2, dice.subject(40))).collect();
        store.apply(&mut changes);
        let mut model = Model { live: store.log.lock().0.iter().map(|(&seq, head)| (seq, head[1..].to_vec())).collect(), next: 0 };
        model.next = store.log.lock().1 + 1;
        for _ in 0..2 {
            let mut index = open(&store, 1 << 20);
            for _ in 0..20 {
                compare(&mut index, &model, &mut dice, 40);
            }
        }
    }
}

/// A subject of one message is one entry, and nothing is left of an index that was cleared or forgotten.
#[test]
fn paged_keys_are_few_and_are_cleaned_up() {
    let store = Arc::new(Store::default());
    let mut index = open(&store, 1 << 20);
    let mut changes = Vec::new();
    let turn = |index: &mut Index, changes: &mut Vec<Change>| {
        let mut writes = Vec::new();
        index.stage(1);
        index.take_writes(1, &mut writes);
        store.put_all(&writes).unwrap();
        store.apply(changes);
        index.written(1);
        writes.len()
    };
    for seq in 1..=2000u64 {
        let subject = format!("$KV.bucket.{}", seq % 1000).into_bytes();
        index.add(seq, &subject, size_of(seq), time_of(seq)).unwrap();
        changes.push(Change::Add(seq, subject));
        if seq == 1000 {
            turn(&mut index, &mut changes);
            assert_eq!(store.kv.lock().len(), 1000 + 2, "entries, one chunk, totals");
        }
    }
    turn(&mut index, &mut changes);
    assert_eq!(store.kv.lock().len(), 1000 + 2, "two messages need no postings");
    assert_eq!(turn(&mut index, &mut changes), 0, "nothing changed, nothing to write");
    index.clear(5000).unwrap();
    changes.push(Change::Clear(5000));
    for _ in 0..4 {
        assert!(turn(&mut index, &mut changes) <= 600, "cleaned up in steps");
        assert_eq!((index.len(), index.subject(b"$KV.bucket.1").unwrap()), (0, None));
    }
    assert_eq!(store.kv.lock().len(), 1, "the totals");
    for seq in 5000..5010 {
        index.add(seq, b"same", size_of(seq), time_of(seq)).unwrap();
        changes.push(Change::Add(seq, b"same".to_vec()));
    }
    turn(&mut index, &mut changes);
    assert_eq!(
        store.kv.lock().len(),
        1 + 1 + 1 + 8,
        "totals, chunk, entry, inner postings"
    );
    forget_paged(&*store, LOG).unwrap();
    assert!(store.kv.lock().is_empty());
}

/// Wildcards among more subjects than are asked one by one, and more heads than are read in one go.
#[test]
fn paged_finds_the_rare_among_many() {
    let store = Arc::new(Store::default());
    let mut changes: Vec<Change> = (1..=150_000u64)
        .map(|seq| {
            let rare = if matches!(seq, 10 | 140_000) { "rare" } else { "usual" };
            Change::Add(seq, format!("k.{}.{rare}", seq % 5000).into_bytes())
        })
        .collect();
    store.apply(&mut changes);
    let mut index = open(&store, 1 << 20);
    let rare = [Bytes::from_static(b"k.*.rare")];
    let mut cursor = Cursor::new(&rare);
    assert_eq!(index.next_match(&mut cursor, 0).unwrap(), Some(10));
    assert_eq!(index.next_match(&mut cursor, 11).unwrap(), Some(140_000));
    assert_eq!(index.next_match(&mut cursor, 140_001).unwrap(), None);
    assert_eq!(index.prev_match(&rare, 150_000).unwrap(), Some(140_000));
    assert_eq!(index.prev_match(&rare, 139_999).unwrap(), Some(10));
    assert_eq!(index.prev_match(&rare, 9).unwrap(), None);
    let usual = [Bytes::from_static(b"k.*.usual")];
    for from in [1, 11, 5_000, 75_000, 149_000, 150_000] {
        let rare = [10, 140_000].iter().filter(|&&seq| seq >= from).count() as u64;
        assert_eq!(
            index.count_from(&usual, from).unwrap(),
            150_000 - from + 1 - rare,
            "from {from}"
        );
    }
    let mut cursor = Cursor::new(&usual);
    let mut at = 0;
    for expected in (1..=2000).filter(|&seq| seq != 10) {
        assert_eq!(index.next_match(&mut cursor, at).unwrap(), Some(expected));
        at = expected + 1;
    }
}

/// Backwards and wildcards in the middle: what lies between two matches in the order of subjects is not gone through.
#[test]
fn paged_seeks_over_what_cannot_match() {
    let store = Arc::new(Store::default());
    // The 77th of each thousand, and then a million heads' worth of others.
    let mut changes: Vec<Change> = (1..=40_000u64)
        .map(|seq| Change::Add(seq, format!("m.{}.{}.x", seq % 40, seq / 40).into_bytes()))
        .collect();
    changes.extend((40_001..=120_000).map(|seq| Change::Add(seq, b"other".to_vec())));
    store.apply(&mut changes);
    let mut index = open(&store, 1 << 20);
    let filter = [Bytes::from_static(b"m.*.77.x")];
    let looked = || store.looked.swap(0, std::sync::atomic::Ordering::Relaxed);
    looked();
    // Of m.39.77.x, the last of these.
    assert_eq!(index.prev_match(&filter, u64::MAX).unwrap(), Some(77 * 40 + 39));
    assert!(looked() < 3000, "the whole of 40,000 subjects was gone through");
    let mut cursor = Cursor::new(&filter);
    assert_eq!(index.next_match(&mut cursor, 0).unwrap(), Some(77 * 40));
    assert!(looked() < 3000);
    assert_eq!(index.count_from(&filter, 0).unwrap(), 40);
    assert!(looked() < 3000);
}

/// Where hardly anything can be passed over it was sought all the same, after each eight subjects.
#[test]
fn paged_reads_on_where_a_seek_saves_nothing() {
    let store = Arc::new(Store::default());
    let mut changes: Vec<Change> = (1..=20_000u64)
        .map(|seq| Change::Add(seq, format!("m.{}.{}.x", seq % 40, seq / 40).into_bytes()))
        .collect();
    store.apply(&mut changes);
    let mut index = open(&store, 1 << 20);
    store.scans.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(index.count_from(&[Bytes::from_static(b"m.*.*.none")], 0).unwrap(), 0);
    let scans = store.scans.load(std::sync::atomic::Ordering::Relaxed);
    assert!(scans < 400, "{scans} seeks for 20,000 subjects");
}

/// A search that can wait looks at no more in one go than it may, and a bounded number of subjects; and comes to its end.
#[test]
fn paged_searches_that_can_wait_look_at_some_at_a_time() {
    let store = Arc::new(Store::default());
    let mut changes: Vec<Change> = (1..=20_000u64)
        .map(|seq| {
            let last = if seq == 15_000 { "rare" } else { "x" };
            Change::Add(seq, format!("m.{}.{}.{last}", seq % 40, seq / 40).into_bytes())
        })
        .collect();
    store.apply(&mut changes);
    let mut index = open(&store, 1 << 20);
    let looked = || store.looked.swap(0, std::sync::atomic::Ordering::Relaxed);
    for (filter, end) in [("m.*.*.none", None), ("m.*.*.rare", Some(15_000))] {
        let mut cursor = Cursor::new([Bytes::from(filter)]);
        let (mut from, mut calls) = (0, 0);
        looked();
        let found = loop {
            let sought = index.next_match_within(&mut cursor, from, &mut 100).unwrap();
            // The first time finds out that there are many subjects, too.
            let most = if calls == 0 { 4096 + 200 } else { 200 };
            let now = looked();
            assert!(now < most, "{now} in one go");
            calls += 1;
            match sought {
                Sought::Later(next) => from = next,
                Sought::At(seq) => break Some(seq),
                Sought::Nothing => break None,
            }
        };
        assert_eq!(found, end, "{filter} after {calls}");
    }
}
