//! A file that is missing is found out by the number of records, and nothing else is said to be lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use weir_engine::{Backend, LogChange, LogOptions, LogReader, Seq};

use super::super::SegmentBackend;
use super::{ID, append, content, open, segment_files, shown};

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 1500,
        ..LogOptions::default()
    }
}

/// Whether a sequence is among those that the log says are lost.
fn is_told(reader: &dyn LogReader, seq: Seq) -> bool {
    reader.lost().iter().any(|lost| lost.first <= seq && seq <= lost.last)
}

/// What opening the log finds, without writing: what it shows, its reader, what it tells of damage, whether removals are lost.
fn look(dir: &Path) -> (BTreeSet<Seq>, std::sync::Arc<dyn LogReader>, Vec<String>, bool) {
    let backend = SegmentBackend::open_read_only(dir).unwrap();
    let (log, report) = backend.open(ID, &small()).unwrap();
    let reader = log.reader();
    let seen = shown(&*reader).into_iter().collect();
    (seen, reader, report.damage, report.revived.is_some())
}

#[test]
fn each_file_that_goes_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        for batch in 0..20 {
            append(&mut *log, batch * 4 + 1..=batch * 4 + 4);
        }
        log.erase(&[30, 31, 50]).unwrap();
        log.sync().unwrap();
    }
    let (live, _, damage, _) = look(dir.path());
    assert!(damage.is_empty() && live.len() == 77, "{damage:?}");
    let files = segment_files(dir.path());
    assert!(files.len() > 4, "{files:?}");
    // That the last one is missing the owner of the log finds out: the others do not know how far it went.
    for file in &files[..files.len() - 1] {
        let kept = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let (seen, reader, damage, revived) = look(dir.path());
        let gone: Vec<Seq> = live.difference(&seen).copied().collect();
        assert!(!gone.is_empty() && !revived && !damage.is_empty());
        for seq in 1..=80 {
            // Removed ones cannot be lost: the files that are there say so.
            assert_eq!(
                is_told(&*reader, seq),
                gone.contains(&seq),
                "{seq} of {gone:?}: {damage:?}"
            );
        }
        fs::write(file, kept).unwrap();
    }
}

#[test]
fn a_log_that_lost_its_first_file_goes_on_and_tells_it_once() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        for batch in 0..20 {
            append(&mut *log, batch * 4 + 1..=batch * 4 + 4);
        }
        log.sync().unwrap();
    }
    fs::remove_file(&segment_files(dir.path())[0]).unwrap();
    for (round, told) in [(0, true), (1, false)] {
        let (_backend, mut log, report) = open(dir.path(), &small());
        assert_eq!(!report.damage.is_empty(), told, "{report:?}");
        append(&mut *log, [81 + round]);
        log.sync().unwrap();
    }
}

/// Seed 13227 of the damaged files in the engine's simulation: of what a rewritten file lost with its end it was not told
/// which records they were.
#[test]
fn what_a_rewritten_file_lost_with_its_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        for batch in 0..20 {
            append(&mut *log, batch * 4 + 1..=batch * 4 + 4);
        }
        let erase: Vec<Seq> = (1..=80).filter(|seq| seq % 5 != 0).collect();
        log.erase(&erase).unwrap();
        log.sync().unwrap();
        while log.maintain(u64::MAX).unwrap() {}
        append(&mut *log, 81..=82);
        log.sync().unwrap();
    }
    let (live, ..) = look(dir.path());
    let rewritten: Vec<_> = segment_files(dir.path())
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".0001.seg"))
        .collect();
    assert!(!rewritten.is_empty());
    for file in rewritten {
        let kept = fs::read(&file).unwrap();
        for len in [134, kept.len() / 3, kept.len() / 2, kept.len() - 10] {
            fs::write(&file, &kept[..len]).unwrap();
            let (seen, reader, damage, _) = look(dir.path());
            for seq in live.difference(&seen) {
                assert!(is_told(&*reader, *seq), "{seq}, cut to {len}: {damage:?}");
            }
        }
        fs::write(&file, &kept).unwrap();
    }
}

/// Four files or more, with 20 batches of four records.
fn twenty_batches(dir: &Path) -> Vec<Seq> {
    let (_backend, mut log, _) = open(dir, &small());
    for batch in 0..20 {
        append(&mut *log, batch * 4 + 1..=batch * 4 + 4);
    }
    log.sync().unwrap();
    (1..=80).collect()
}

/// Each file's name and bytes.
fn all_files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = segment_files(dir).into_iter();
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The last of them was taken for one whose making was interrupted, and removed.
#[test]
fn a_file_under_the_name_of_another_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let live = twenty_batches(dir.path());
    let files = all_files(dir.path());
    let refused = |what: &str| {
        let before = all_files(dir.path());
        let backend = SegmentBackend::open(dir.path()).unwrap();
        let Err(error) = backend.open(ID, &small()) else {
            panic!("{what}")
        };
        assert_eq!(error.kind, weir_engine::Kind::Damaged, "{what}: {error}");
        assert!(error.message.contains("not what its name says"), "{error}");
        drop(backend);
        assert_eq!(all_files(dir.path()), before, "{what}");
    };
    let last = files.len() - 1;
    for other in [0, 1] {
        fs::write(&files[last].0, &files[other].1).unwrap();
        fs::write(&files[other].0, &files[last].1).unwrap();
        refused("swapped");
        fs::write(&files[last].0, &files[last].1).unwrap();
        fs::write(&files[other].0, &files[other].1).unwrap();
    }
    // A name of a higher generation, which would stand for the file itself.
    let rewritten = files[1].0.to_string_lossy().replace(".0000.seg", ".0001.seg");
    fs::write(&rewritten, &files[1].1).unwrap();
    refused("copied");
    fs::write(&rewritten, b"").unwrap();
    let (_backend, log, report) = open(dir.path(), &small());
    assert_eq!(shown(&*log.reader()), live);
    assert!(
        report.damage.iter().any(|line| line.contains("left alone")),
        "{report:?}"
    );
    assert!(Path::new(&rewritten).exists());
}

#[test]
fn a_file_that_is_gone_with_removals_is_told_to_be() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        for batch in 0..20 {
            append(&mut *log, batch * 4 + 1..=batch * 4 + 4);
            if batch == 9 {
                log.erase(&[1, 2, 3]).unwrap();
            }
        }
        log.sync().unwrap();
    }
    let files = segment_files(dir.path());
    let kept = look(dir.path()).0;
    let with_removals = files.iter().position(|file| {
        let bytes = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let (seen, _, _, revived) = look(dir.path());
        fs::write(file, bytes).unwrap();
        assert_eq!(revived, seen.contains(&1) && seen.contains(&3), "{file:?}");
        revived
    });
    assert!(with_removals.is_some_and(|i| i > 0) && !kept.contains(&1));
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Erase(Vec<u8>),
    /// What is erased together with what was appended before.
    EraseNewest,
    Trim(u8),
    Truncate(u8),
    Maintain,
    Sync,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u8..12).prop_map(Step::Append),
        4 => prop::collection::vec(any::<u8>(), 1..30).prop_map(Step::Erase),
        1 => Just(Step::EraseNewest),
        1 => any::<u8>().prop_map(Step::Trim),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::Maintain),
        2 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 5..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed_that_was_removed_and_what_is_gone_is_told(steps in steps(), which in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = Some(open(dir.path(), &small()));
        let mut live = BTreeSet::new();
        let mut last = 0;
        let mut truncated = false;
        for step in steps {
            let (_, log, _) = opened.as_mut().unwrap();
            match step {
                Step::Append(n) => {
                    append(&mut **log, last + 1..=last + Seq::from(n));
                    live.extend(last + 1..=last + Seq::from(n));
                    last += Seq::from(n);
                }
                Step::Erase(of) => {
                    let of: Vec<Seq> = of.into_iter().map(|n| last.saturating_sub(Seq::from(n))).collect();
                    log.erase(&of).unwrap();
                    live.retain(|seq| !of.contains(seq));
                }
                Step::EraseNewest => {
                    let (head, body) = content(last + 1);
                    let record = weir_engine::Record { seq: last + 1, time: 1, head: &head, body: &body };
                    let change = LogChange { append: &[record], erase: &[last + 1, last], ..LogChange::default() };
                    log.write(&change).unwrap();
                    live.remove(&last);
                    last += 1;
                }
                Step::Trim(n) => {
                    let below = last.saturating_sub(Seq::from(n)) + 2;
                    log.trim(below).unwrap();
                    live.retain(|seq| *seq >= below);
                    last = last.max(below - 1);
                }
                Step::Truncate(n) => {
                    let to = last.saturating_sub(Seq::from(n % 16)).max(log.reader().extent().first.saturating_sub(1));
                    log.truncate(to).unwrap();
                    truncated = true;
                    live.retain(|seq| *seq <= to);
                    last = last.min(to);
                }
                Step::Maintain => {
                    log.maintain(1 << 20).unwrap();
                }
                Step::Sync => log.sync().unwrap(),
                Step::Reopen => {
                    drop(opened.take());
                    let again = open(dir.path(), &small());
                    prop_assert!(again.2.damage.is_empty(), "{:?}", again.2);
                    opened = Some(again);
                }
            }
        }
        opened.as_mut().unwrap().1.sync().unwrap();
        drop(opened);
        let (seen, reader, damage, revived) = look(dir.path());
        prop_assert!(damage.is_empty() && !revived && reader.lost().is_empty(), "{damage:?}");
        prop_assert_eq!(&seen, &live);

        let mut files = segment_files(dir.path());
        // In the order of their numbers.
        files.sort_by_key(|file| file.file_name().unwrap().to_string_lossy().split('.').nth(1).map(str::to_owned));
        let gone = &files[..files.len().saturating_sub(1)];
        if !gone.is_empty() {
            fs::remove_file(&gone[which.index(gone.len())]).unwrap();
            let (seen, reader, damage, revived) = look(dir.path());
            let back = seen.difference(&live).count();
            let lost: Vec<Seq> = live.difference(&seen).copied().collect();
            if back == 0 {
                prop_assert!(!revived || !lost.is_empty());
                prop_assert_eq!(lost.is_empty(), damage.is_empty(), "{:?} of {:?}", damage, lost);
                // A file that is gone may have said that sequences before it were truncated, and used again in it. Only journals
                // are truncated, and their records are counted when they are replayed.
                for seq in lost.iter().filter(|_| !truncated) {
                    prop_assert!(is_told(&*reader, *seq), "{} of {:?}: {:?}", seq, lost, damage);
                }
            } else {
                // Both at once may look like less of one of them; only where they are equally many nothing shows.
                prop_assert!(lost.len() == back || !damage.is_empty(), "{lost:?} lost, {back} back, {files:?}");
                prop_assert!(lost.len() >= back || revived);
            }
            for seq in &seen {
                prop_assert!(!is_told(&*reader, *seq));
            }
        }
    }
}

/// What no log has written is somebody's, whatever its name says.
#[test]
fn a_file_that_has_the_name_of_a_segment_and_nothing_of_a_log_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &small());
        (0..20).for_each(|batch| append(&mut *log, batch * 4 + 1..=batch * 4 + 4));
        log.sync().unwrap();
    }
    let (live, ..) = look(dir.path());
    let last = segment_files(dir.path()).pop().unwrap();
    let garbage = b"a letter that somebody put here by mistake".repeat(1000);
    let named = last.with_file_name("0000000000000100.000000ff.0000.seg");
    for (turn, end) in ["", "-1"].into_iter().enumerate() {
        fs::write(&named, &garbage).unwrap();
        let (seen, _, damage, _) = look(dir.path());
        assert!(live.is_subset(&seen));
        assert!(
            damage.iter().any(|line| line.contains("nothing of a log")),
            "{damage:?}"
        );
        assert!(named.exists(), "who looks changes nothing");
        let (backend, mut log, report) = open(dir.path(), &small());
        assert!(
            report.damage.iter().any(|line| line.contains("was set aside as")),
            "{report:?}"
        );
        let next = 81 + turn as u64 * 4;
        append(&mut *log, next..=next + 3);
        drop((log, backend));
        assert!(!named.exists());
        let aside = dir
            .path()
            .join(named.with_file_name(format!("0000000000000100.000000ff.0000.seg.set-aside{end}")));
        assert!(
            fs::read(&aside).unwrap() == garbage,
            "{} has what was there",
            aside.display()
        );
        let (_, _, report) = open(dir.path(), &small());
        assert!(report.damage.is_empty() && report.torn_bytes == 0, "{report:?}");
        let (seen, ..) = look(dir.path());
        assert!(live.is_subset(&seen) && seen.contains(&next));
    }
}
