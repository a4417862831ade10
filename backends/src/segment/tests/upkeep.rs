//! A log is rewritten beside its writer, which goes on.

use std::path::Path;
use std::sync::Arc;

use weir_engine::{Backend, Compression, Direction, Log, LogChange, LogOptions, Record, Seq, Upkeep, Want};

use super::super::SegmentBackend;
use super::super::disk::SimulatedDisk;
use super::{ID, append, content, shown};

const STORE: &str = "/store";
const LAST: Seq = 1000;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        ..LogOptions::default()
    }
}

fn open(disk: &Arc<SimulatedDisk>) -> (SegmentBackend, Box<dyn Log>) {
    disk.boot();
    let backend = SegmentBackend::open_on(disk, Path::new(STORE)).unwrap();
    let (log, report) = backend.open(ID, &options()).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    (backend, log)
}

/// Whether the body of a record lies in any segment.
fn is_stored(disk: &SimulatedDisk, seq: Seq) -> bool {
    let (_, body) = content(seq);
    let files = disk.contents(&Path::new(STORE).join("logs").join(ID.to_string()));
    let is_segment = |path: &Path| path.extension().is_some_and(|end| end == "seg");
    files
        .iter()
        .any(|(path, file)| is_segment(path) && file.windows(body.len()).any(|bytes| bytes == body))
}

/// Does all there is to do, and something else before the `n`-th step; answers how many there were.
fn tend(log: &mut dyn Log, n: usize, mut at: impl FnMut(&mut dyn Log)) -> usize {
    let mut steps = 0;
    while let Some(mut work) = log.upkeep().unwrap() {
        loop {
            if steps == n {
                at(log);
            }
            steps += 1;
            if work.step().unwrap().over {
                break;
            }
        }
    }
    steps
}

fn fill(log: &mut dyn Log) {
    (0..LAST / 50).for_each(|n| append(log, n * 50 + 1..=n * 50 + 50));
}

fn mostly_removed() -> Arc<SimulatedDisk> {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (_backend, mut log) = open(&disk);
    fill(&mut *log);
    let gone: Vec<Seq> = (1..=LAST).filter(|seq| seq % 10 != 0).collect();
    log.erase(&gone).unwrap();
    log.sync().unwrap();
    disk
}

/// At each step of it: a record is overwritten, another erased, others are appended; or the front is trimmed, or all, or the end
/// truncated.
#[test]
fn what_is_removed_meanwhile_is_gone_from_what_is_made() {
    for way in 0..4 {
        for n in 0.. {
            let disk = Arc::new(mostly_removed().copy());
            let (backend, mut log) = open(&disk);
            let mut live: Vec<Seq> = (1..=LAST).filter(|seq| seq % 10 == 0).collect();
            let steps = tend(&mut *log, n, |log| {
                match way {
                    0 => {
                        for (seq, overwrite) in [(20, true), (500, true), (30, false)] {
                            let change = LogChange {
                                erase: &[seq],
                                overwrite,
                                ..LogChange::default()
                            };
                            log.write(&change).unwrap();
                        }
                        live.retain(|seq| ![20, 30, 500].contains(seq));
                        append(log, LAST + 1..=LAST + 5);
                        live.extend(LAST + 1..=LAST + 5);
                    }
                    1 => {
                        log.trim(405).unwrap();
                        live.retain(|seq| *seq >= 405);
                    }
                    2 => {
                        log.trim(LAST + 1).unwrap();
                        live.clear();
                    }
                    _ => {
                        log.truncate(600).unwrap();
                        live.retain(|seq| *seq <= 600);
                    }
                };
            });
            if n == steps {
                assert!(n > 10, "only {n} steps");
                break;
            }
            assert_eq!(shown(&*log.reader()), live, "way {way}, step {n}");
            assert_eq!(log.reader().extent().count, live.len() as u64);
            let gone = |disk: &SimulatedDisk| way != 0 || !(is_stored(disk, 20) || is_stored(disk, 500));
            assert!(gone(&disk), "step {n}");
            // As a kill leaves it.
            disk.kill();
            drop((log, backend));
            let (_backend, log) = open(&disk);
            assert_eq!(shown(&*log.reader()), live, "way {way}, step {n}, opened again");
            assert!(gone(&disk), "step {n}");
        }
    }
}

/// A kill right after a record was overwritten, at each step: neither the old form of the segment nor the new one has it.
#[test]
fn what_was_overwritten_meanwhile_does_not_come_back() {
    let whole = tend(&mut *open(&Arc::new(mostly_removed().copy())).1, usize::MAX, |_| {});
    for n in 0..whole {
        for later in 0..5 {
            let disk = Arc::new(mostly_removed().copy());
            let (backend, mut log) = open(&disk);
            let mut done = 0;
            let mut over = None;
            'all: while let Some(mut work) = log.upkeep().unwrap() {
                loop {
                    if done == n {
                        let change = LogChange {
                            erase: &[20],
                            overwrite: true,
                            ..LogChange::default()
                        };
                        log.write(&change).unwrap();
                        over = Some(done + later);
                    }
                    if over == Some(done) {
                        break 'all;
                    }
                    done += 1;
                    if work.step().unwrap().over {
                        break;
                    }
                }
            }
            disk.kill();
            assert!(!is_stored(&disk, 20), "step {n} and {later}, before it is opened again");
            drop((log, backend));
            let (_backend, log) = open(&disk);
            assert!(!shown(&*log.reader()).contains(&20), "step {n} and {later}");
            assert!(!is_stored(&disk, 20), "step {n} and {later}");
        }
    }
}

/// Files of segments that were trimmed away are unlinked beside the writer, which has no part in it.
#[test]
fn trimmed_files_are_unlinked_beside_the_writer() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (_backend, mut log) = open(&disk);
    fill(&mut *log);
    let folder = Path::new(STORE).join("logs").join(ID.to_string());
    let files = disk.files(&folder).len();
    assert!(files > 3);
    log.trim(LAST).unwrap();
    for seq in LAST + 1..LAST + 5 {
        log.sync().unwrap();
        append(&mut *log, [seq]);
    }
    assert_eq!(disk.files(&folder).len(), files, "not while it is written");
    let mut work: Box<dyn Upkeep> = log.upkeep().unwrap().unwrap();
    while !work.step().unwrap().over {}
    assert_eq!(disk.files(&folder).len(), 1);
}

/// Bytes that the segments have of frames.
fn stored(disk: &SimulatedDisk) -> usize {
    let files = disk.contents(&Path::new(STORE).join("logs").join(ID.to_string()));
    files.values().map(Vec::len).sum()
}

/// A log is compressed otherwise, while records come and go; closed at each step and opened again, it goes on.
#[test]
fn records_are_compressed_otherwise_beside_the_writer() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (mut backend, mut log) = open(&disk);
    let mut live = Vec::new();
    let add = |log: &mut dyn Log, live: &mut Vec<Seq>| {
        let last = log.reader().extent().last;
        let body = vec![b'x'; 500];
        let records: Vec<Record<'_>> = (last + 1..last + 11)
            .map(|seq| Record {
                seq,
                time: 1,
                head: b"head",
                body: &body,
            })
            .collect();
        log.append(&records).unwrap();
        live.extend(last + 1..last + 11);
    };
    (0..60).for_each(|_| add(&mut *log, &mut live));
    log.sync().unwrap();
    let (before, until) = (stored(&disk), *live.last().unwrap());
    log.recompress(Compression::Zstd, 0..=until);
    let mut steps = 0;
    while let Some(left) = log.recompressing() {
        if let Some(mut work) = log.upkeep().unwrap() {
            for n in 0.. {
                if n == 3 {
                    let seq = live.remove(live.len() / 3);
                    log.erase(&[seq]).unwrap();
                    add(&mut *log, &mut live);
                }
                if work.step().unwrap().over {
                    break;
                }
            }
        }
        steps += 1;
        assert!(steps < 200, "{left:?}");
        if steps % 5 == 0 {
            let left = log.recompressing();
            drop((log, backend));
            (backend, log) = open(&disk);
            // As its owner remembers it.
            left.into_iter()
                .for_each(|left| log.recompress(Compression::Zstd, left));
        }
    }
    while log.maintain(u64::MAX).unwrap() {}
    assert!(stored(&disk) * 3 < before, "{before} bytes, then {}", stored(&disk));
    let mut found = Vec::new();
    let reader = log.reader();
    let scanned = reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
        assert_eq!(entry.body, [b'x'; 500]);
        found.push(entry.seq);
        std::ops::ControlFlow::Continue(())
    });
    scanned.unwrap();
    assert_eq!(found, live);
}
