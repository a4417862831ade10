//! What is kept of an index and loaded again, against one that is built anew; and what must not be believed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::KeepStep;
use crate::index::resident::{Loaded, Sample};
use crate::index::tests::{Dice, size_of, time_of};
use crate::index::{Census, ChunkSize, Cursor, Digest, Resident, SubjectInfo};
use crate::types::{NanoTime, Seq};

/// A log, as far as an index needs it, and what is kept beside it.
#[derive(Default)]
struct Log {
    live: BTreeMap<Seq, (Vec<u8>, Option<NanoTime>)>,
    last: Seq,
    kept: Vec<Bytes>,
    beside: Option<Vec<Bytes>>,
    renewed: u64,
}

impl Log {
    fn keep(&mut self, index: &mut Resident) {
        let Some(drafts) = index.take_drafts() else { return };
        assert_eq!(drafts.token, 7);
        for step in drafts.steps {
            match step.finish() {
                KeepStep::Begin => self.beside = Some(Vec::new()),
                KeepStep::Frame(frame) => self.beside.as_mut().unwrap_or(&mut self.kept).push(frame),
                KeepStep::Complete => {
                    self.kept = self.beside.take().expect("a list was begun");
                    self.renewed += 1;
                }
            }
        }
    }

    fn load(&self, size: ChunkSize, frames: &[Bytes], beside: bool) -> Option<Resident> {
        let mut live = |low: Seq, high: Seq, ranges: &mut Vec<(Seq, Seq)>| {
            for &seq in self.live.range(low..=high).map(|(seq, _)| seq) {
                match ranges.last_mut().filter(|(_, last)| last + 1 == seq) {
                    Some((_, last)) => *last = seq,
                    None => ranges.push((seq, seq)),
                }
            }
            Ok(())
        };
        let mut is_of = |samples: &[Sample<'_>]| {
            for sample in samples {
                let seq = sample.seq;
                assert!(
                    sample.subject.is_none_or(|subject| subject == self.live[&seq].0),
                    "sample {seq}"
                );
                assert_eq!(sample.size, size_of(seq), "sample {seq}");
                assert!(sample.times.contains(&time_of(seq)), "sample {seq}");
            }
            Ok(true)
        };
        let there = (self.last, self.live.len() as u64);
        let loaded = Resident::load(size, (7, frames.to_vec()), there, &mut live, &mut is_of, beside);
        let loaded = loaded.expect("the log can be asked")?;
        let Loaded { mut index, end, .. } = loaded;
        self.add_from(end, &mut index);
        Some(index)
    }

    fn rebuilt(&self, size: ChunkSize) -> Resident {
        let mut index = Resident::of_size(size);
        self.add_from(0, &mut index);
        index
    }

    fn add_from(&self, from: Seq, index: &mut Resident) {
        for (&seq, (subject, ending)) in self.live.range(from..) {
            index.add(seq, subject, size_of(seq), time_of(seq)).expect("in order");
            if let Some(at) = ending {
                index.add_ending(*at, seq);
            }
        }
    }
}

/// All that can be asked of an index.
#[derive(Debug, PartialEq)]
struct Answers {
    live: Vec<(Seq, Option<Bytes>)>,
    sizes_and_endings: Vec<(Option<u64>, Option<NanoTime>)>,
    subjects: Vec<(Vec<u8>, SubjectInfo)>,
    endings: Vec<(NanoTime, Seq)>,
    counts: (u64, u64, Option<Seq>, Option<Seq>),
    census: Census,
    digest: Digest,
    matches: Vec<Vec<Seq>>,
    backwards: Vec<Option<Seq>>,
    from: Vec<u64>,
}

fn answers(index: &mut Resident) -> Answers {
    let mut live = Vec::new();
    index.each_live(0, Seq::MAX, &mut |seq| live.push(seq));
    let mut subjects = Vec::new();
    index.last_of_each(&[], &mut |name, info| {
        subjects.push((name.to_vec(), info));
        ControlFlow::Continue(())
    });
    for (name, info) in &subjects {
        assert_eq!(index.subject(name), Some(*info));
    }
    let filters: [&[&'static [u8]]; 4] = [&[b"s.*"], &[b"s.1"], &[b"t.>", b"s.2"], &[b"s.1", b"s.2", b"t.1.x"]];
    let filters = filters.map(|all| all.iter().map(|filter| Bytes::from_static(filter)).collect::<Vec<_>>());
    let matches = filters.iter().map(|filters| {
        let (mut cursor, mut next, mut found) = (Cursor::new(filters.clone()), 0, Vec::new());
        while let Some(seq) = index.next_match(&mut cursor, next) {
            found.push(seq);
            next = seq + 1;
        }
        found
    });
    Answers {
        matches: matches.collect(),
        live: live.iter().map(|&seq| (seq, index.subject_at(seq))).collect(),
        sizes_and_endings: live
            .iter()
            .map(|&seq| (index.size_at(seq), index.ending_at(seq)))
            .collect(),
        endings: index.endings(NanoTime::MAX, usize::MAX),
        counts: (index.len(), index.subjects(), index.first(), index.last_live()),
        census: index.census(),
        digest: index.digest(),
        backwards: filters
            .iter()
            .map(|filters| index.prev_match(filters, Seq::MAX))
            .collect(),
        from: filters
            .iter()
            .flat_map(|filters| live.iter().step_by(7).map(|&seq| index.count_from(filters, seq)))
            .collect(),
        subjects,
    }
}

fn subject(dice: &mut Dice, variety: u64) -> Vec<u8> {
    match dice.roll(3) {
        0 => format!("t.{}.x", dice.roll(variety)).into_bytes(),
        _ => format!("s.{}", dice.roll(variety)).into_bytes(),
    }
}

/// One life of an index with many restarts: it is kept, or not, at any step, and loaded as it was kept. Answers how often a list
/// was loaded, and how often one was written.
fn one(seed: u64) -> (u64, u64) {
    let mut dice = Dice(seed);
    let size = ChunkSize::small(2 + dice.roll(4) as u8);
    let variety = [2, 6, 40][dice.roll(3) as usize];
    let mut log = Log::default();
    let mut index = log.rebuilt(size);
    index.keep_anew(7);
    let mut loaded = 0;
    for step in 0..400 {
        match dice.roll(20) {
            0..=9 => {
                log.last += 1 + [0, 0, 0, 1, 30][dice.roll(5) as usize];
                let (seq, subject) = (log.last, subject(&mut dice, variety));
                let ending = (dice.roll(4) == 0).then(|| dice.roll(50) as NanoTime);
                index
                    .add(seq, &subject, size_of(seq), time_of(seq))
                    .expect("above the last");
                if let Some(at) = ending {
                    index.add_ending(at, seq);
                }
                log.live.insert(seq, (subject, ending));
            }
            10..=15 => {
                // From anywhere, or from the front, as limits do.
                let at = match dice.roll(2) {
                    0 => dice.roll(log.last + 1),
                    _ => 0,
                };
                let Some(&seq) = log.live.range(at..).next().map(|(seq, _)| seq) else {
                    continue;
                };
                let (subject, ending) = log.live.remove(&seq).expect("it is live");
                assert_eq!((index.size_at(seq), index.ending_at(seq)), (Some(size_of(seq)), ending));
                index.remove(seq, &subject).expect("it is live");
                if let Some(at) = ending {
                    index.remove_ending(at, seq);
                }
            }
            16 | 17 => {
                if index.has_unkept() {
                    index.draft();
                }
                if dice.roll(2) == 0 {
                    log.keep(&mut index);
                }
            }
            18 if dice.roll(8) == 0 => {
                log.live.clear();
                log.last += dice.roll(20);
                index.clear(log.last + 1);
            }
            18 if dice.roll(8) == 0 => {
                let _ = index.take_drafts();
                log.beside = None;
                index.not_kept();
            }
            _ if dice.roll(6) == 0 => {
                // What was not kept is gone.
                log.beside = None;
                index = match log.load(size, &log.kept, dice.roll(2) == 0) {
                    Some(index) => {
                        loaded += 1;
                        index
                    }
                    None => {
                        assert!(
                            log.kept.is_empty(),
                            "seed {seed}, step {step}: what was kept is not believed"
                        );
                        let mut index = log.rebuilt(size);
                        index.keep_anew(7);
                        index
                    }
                };
                assert_eq!(index.digest(), index.counted_digest(), "seed {seed}, step {step}");
                let (mut now, mut anew) = (answers(&mut index), answers(&mut log.rebuilt(size)));
                assert_eq!(now, anew, "seed {seed}, step {step}");
                // All endings may be asked for one by one as well.
                (now.endings, anew.endings) = Default::default();
            }
            _ => {}
        }
        // More of a list than of the messages is not kept for long.
        while dice.roll(10) == 0 && index.has_unkept() {
            index.draft();
            log.keep(&mut index);
        }
        if log.beside.is_none() && !index.has_unkept() {
            let kept = index.keeping.as_ref().map_or(0, |keeping| keeping.positions);
            assert!(kept <= 2 * index.len() + size.len(), "seed {seed}, step {step}: {kept}");
        }
    }
    (loaded, log.renewed)
}

#[test]
fn what_is_loaded_is_what_a_rebuild_finds() {
    let (mut loaded, mut renewed) = (0, 0);
    for seed in 0..120 {
        let (loads, lists) = one(seed);
        (loaded, renewed) = (loaded + loads, renewed + lists);
    }
    assert!(loaded > 150 && renewed > 150, "{loaded} loaded, {renewed} written");
}

/// A log of 100 messages in chunks of 16, all but the last one kept.
fn kept() -> (Log, ChunkSize) {
    let size = ChunkSize::small(4);
    let mut log = Log::default();
    for seq in 1..=100 {
        log.live.insert(seq, (format!("s.{}", seq % 9).into_bytes(), None));
    }
    log.last = 100;
    let mut index = log.rebuilt(size);
    index.keep_anew(7);
    while index.has_unkept() {
        index.draft();
    }
    log.keep(&mut index);
    assert_eq!(log.kept.len(), 6);
    (log, size)
}

#[test]
fn a_part_of_the_list_is_enough() {
    let (mut log, size) = kept();
    let anew = answers(&mut log.rebuilt(size));
    for frames in 1..=6 {
        let mut index = log.load(size, &log.kept[..frames], false).expect("it fits");
        assert_eq!(answers(&mut index), anew);
        // It goes on where the list ends.
        while index.has_unkept() {
            index.draft();
        }
        log.kept.truncate(frames);
        log.keep(&mut index);
        assert_eq!(log.kept.len(), 6);
    }
}

/// As an earlier version of this program wrote them.
fn without_digest(frames: &[Bytes]) -> Vec<Bytes> {
    let frames = frames.iter().map(|frame| {
        assert_eq!(frame[0], 3);
        [&[2, frame[1]], &frame[10..]].concat().into()
    });
    frames.collect()
}

#[test]
fn frames_without_a_digest_are_added_up() {
    let (mut log, size) = kept();
    let earlier = without_digest(&log.kept);
    for mixed in [earlier.clone(), [&earlier[..3], &log.kept[3..]].concat()] {
        for gone in [0, 1, 20, 33, 48] {
            log.live.remove(&gone);
            let mut index = log.load(size, &mixed, false).expect("it fits");
            assert_eq!(answers(&mut index), answers(&mut log.rebuilt(size)), "without {gone}");
        }
    }
}

#[test]
fn what_does_not_fit_the_log_is_not_believed() {
    let (log, size) = kept();
    assert!(log.load(size, &log.kept, false).is_some());
    assert!(
        log.load(ChunkSize::small(5), &log.kept, false).is_none(),
        "another size of chunks"
    );
    assert!(
        log.load(size, &log.kept[1..], false).is_none(),
        "messages of which the list knows nothing"
    );
    let twice = [&log.kept[..], &log.kept[5..]].concat();
    assert!(log.load(size, &twice, false).is_none(), "a chunk that is there twice");

    let (mut log, size) = kept();
    log.last = 70;
    assert!(log.load(size, &log.kept, false).is_none(), "more than the log has");
    // The last frame has the messages up to 95.
    let (mut log, size) = kept();
    log.last = 85;
    log.live.retain(|seq, _| *seq <= 85);
    assert!(
        log.load(size, &log.kept, false).is_none(),
        "more of a chunk than the log has"
    );

    let (mut log, size) = kept();
    log.live.remove(&20);
    let mut index = log.rebuilt(size);
    index.keep_anew(7);
    while index.has_unkept() {
        index.draft();
    }
    log.keep(&mut index);
    log.live.insert(20, (b"s.2".to_vec(), None));
    assert!(log.load(size, &log.kept, false).is_none(), "a message that is back");
}

#[test]
fn bytes_that_make_no_sense_are_no_index() {
    let (log, size) = kept();
    for frame in 0..log.kept.len() {
        for at in 0..log.kept[frame].len() {
            let mut frames = log.kept.clone();
            let mut raw = frames[frame].to_vec();
            raw.truncate(at);
            frames[frame] = raw.into();
            assert!(log.load(size, &frames, false).is_none(), "frame {frame} cut at {at}");
        }
    }
    let mut dice = Dice(1);
    for _ in 0..2000 {
        let mut frames = log.kept.clone();
        let frame = dice.roll(6) as usize;
        let mut raw = frames[frame].to_vec();
        let at = dice.roll(raw.len() as u64) as usize;
        raw[at] ^= 1 << dice.roll(8);
        frames[frame] = raw.into();
        // It may make sense by chance; what it must not do is panic.
        let mut live = |low: Seq, high: Seq, ranges: &mut Vec<(Seq, Seq)>| {
            ranges.extend((low.max(1) <= high.min(100)).then_some((low.max(1), high.min(100))));
            Ok(())
        };
        let _ = Resident::load(size, (7, frames), (100, 100), &mut live, &mut |_| Ok(true), false);
    }
}

#[test]
fn many_subjects_are_loaded_with_a_second_thread() {
    let size = ChunkSize::small(14);
    let mut log = Log::default();
    for seq in 1..=100_000 {
        log.live
            .insert(seq, (format!("s.{}", seq * 7919 % 30_011).into_bytes(), None));
    }
    log.last = 100_000;
    let mut index = log.rebuilt(size);
    index.keep_anew(7);
    while index.has_unkept() {
        index.draft();
    }
    log.keep(&mut index);
    log.live.retain(|seq, _| seq % 11 != 0 && *seq > 5_000);
    let mut index = log.load(size, &log.kept, true).expect("it fits");
    let mut rebuilt = log.rebuilt(size);
    assert_eq!(index.subjects(), rebuilt.subjects());
    let mut all = [Vec::new(), Vec::new()];
    for (index, all) in [&mut index, &mut rebuilt].into_iter().zip(&mut all) {
        index.last_of_each(&[], &mut |name, info| {
            all.push((name.to_vec(), info));
            ControlFlow::Continue(())
        });
    }
    assert_eq!(all[0], all[1]);
}
