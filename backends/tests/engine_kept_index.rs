//! What is kept of an index beside a log: a start goes on from it, and whatever becomes of it costs no more than a slower start.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{Bench, Handle, Random, Storage};
use weir_backends::segment::SegmentBackend;
use weir_engine::store::ChunkSize;
use weir_engine::stream::{Purge, StreamConfig, StreamState};
use weir_engine::{Backend, LogOptions, SECOND};

/// So many records are read before a start says so.
const PROGRESS: u64 = 16 << 10;

fn config() -> StreamConfig {
    StreamConfig {
        name: "S".into(),
        subjects: vec!["k.>".into()],
        allow_msg_ttl: true,
        allow_rollup_hdrs: true,
        max_msgs: -1,
        max_bytes: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        ..StreamConfig::default()
    }
}

fn publish(stream: &Handle, count: u64, subjects: u64) {
    let done = stream.call(move |shard, id| {
        for n in 0..count {
            shard.publish(
                id,
                format!("k.{}", n % subjects).into(),
                0,
                bytes::Bytes::from_static(b"x"),
            )?;
        }
        Ok(())
    });
    done.unwrap();
}

type Held = (StreamState, Vec<(u64, String)>);

fn held(stream: &Handle) -> Held {
    let held = stream.call(|shard, id| {
        let stream = shard.stream(id)?;
        let (mut messages, mut next) = (Vec::new(), 0);
        while let Some(message) = stream.next_message(b">", next)? {
            next = message.seq + 1;
            messages.push((message.seq, String::from_utf8_lossy(&message.subject).into_owned()));
        }
        Ok((stream.state()?, messages))
    });
    held.unwrap()
}

/// A bench, and how often a start said how far it is.
fn bench(power: u8) -> (Bench, Arc<AtomicU64>) {
    let mut bench = Bench::new(Storage::Segment);
    bench.chunk_size = ChunkSize::small(power);
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    bench.progress = Some(Arc::new(move |_, _, _| _ = count.fetch_add(1, Ordering::Relaxed)));
    (bench, told)
}

fn index_file(bench: &Bench, stream: &Handle) -> PathBuf {
    bench.logs_folder().join(stream.id.to_string()).join("index")
}

#[test]
fn a_start_reads_no_heads_of_what_is_kept() {
    let (mut bench, told) = bench(8);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, PROGRESS + 1000, 700);
    let before = held(&stream);
    bench.close();
    bench.open();
    assert_eq!(told.load(Ordering::Relaxed), 0, "heads were read");
    assert_eq!(held(&bench.find("S").unwrap()), before);

    // What comes is read after a kill, and nothing else.
    publish(&bench.find("S").unwrap(), 300, 40);
    let before = held(&bench.find("S").unwrap());
    bench.kill();
    bench.open();
    assert_eq!(told.load(Ordering::Relaxed), 0, "heads were read");
    assert_eq!(held(&bench.find("S").unwrap()), before);
    bench.close();

    // As in a store of a version that kept nothing.
    let file = index_file(&bench, &stream);
    std::fs::remove_file(&file).unwrap();
    bench.open();
    assert_eq!(told.swap(0, Ordering::Relaxed), 1);
    assert_eq!(held(&bench.find("S").unwrap()), before);
    bench.close();
    assert!(file.exists());
    bench.open();
    assert_eq!(told.load(Ordering::Relaxed), 0, "heads were read");
    assert_eq!(held(&bench.find("S").unwrap()), before);
}

#[test]
fn checkpoints_keep_what_is_sealed() {
    let (mut bench, told) = bench(8);
    bench.checkpoint_bytes = 1 << 20;
    bench.open();
    let stream = bench.create(&config());
    let file = index_file(&bench, &stream);
    // Each turn may begin one, and takes what came of the last; nobody says when it is written.
    while std::fs::metadata(&file).map_or(0, |file| file.len()) < 100_000 {
        publish(&stream, 200, 700);
    }
    let before = held(&stream);
    assert!(before.0.messages > PROGRESS, "{}", before.0.messages);
    bench.kill();
    let kept = {
        let backend = SegmentBackend::open(&bench.segment_folder()).unwrap();
        let _log = backend.open(stream.id.log(), &LogOptions::default()).unwrap();
        backend.kept_index(stream.id.log()).unwrap().unwrap()
    };
    assert!(
        kept.frames.len() as u64 * 256 > before.0.messages / 2,
        "{}",
        kept.frames.len()
    );
    bench.open();
    assert!(told.load(Ordering::Relaxed) <= 1, "all heads were read");
    assert_eq!(held(&bench.find("S").unwrap()), before);
}

#[test]
fn what_is_damaged_costs_a_slower_start() {
    let (mut bench, _) = bench(5);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, 400, 30);
    let before = held(&stream);
    bench.close();
    let file = index_file(&bench, &stream);
    let whole = std::fs::read(&file).unwrap();
    let last_frame = whole.windows(4).rposition(|bytes| bytes == b"wIxF").unwrap();
    for at in (0..whole.len()).step_by(307) {
        let mut raw = whole.clone();
        raw[at] ^= 4;
        std::fs::write(&file, &raw).unwrap();
        let places = {
            let backend = SegmentBackend::open_read_only(&bench.segment_folder()).unwrap();
            let (log, report) = backend.open(stream.id.log(), &LogOptions::default()).unwrap();
            assert_eq!(report.damage, [] as [String; 0]);
            let mut check = Places::default();
            log.reader().check(&mut check).unwrap();
            check.0
        };
        // Where the last frame seems longer than it is, it may be one whose writing was broken off.
        let is_in_last_head = (last_frame..last_frame + 16).contains(&at);
        assert!(
            places.len() == 1 || (is_in_last_head && places.is_empty()),
            "byte {at}: {places:?}"
        );
        for place in places {
            assert!(place.file.ends_with("index") && place.lost.is_empty(), "{place:?}");
        }
        bench.open();
        assert_eq!(held(&bench.find("S").unwrap()), before, "byte {at}");
        bench.close();
        // It is well again, whatever of it was used.
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len(), "byte {at}");
    }
    for len in (0..whole.len()).step_by(401) {
        std::fs::write(&file, &whole[..len]).unwrap();
        bench.open();
        assert_eq!(held(&bench.find("S").unwrap()), before, "cut at {len}");
        bench.kill();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => _ = std::fs::copy(&path, to.join(name)).unwrap(),
        }
    }
}

/// How many messages each subject has, as the index says.
fn counts(stream: &Handle) -> Vec<u64> {
    let counts = stream.call(|shard, id| {
        let stream = shard.stream(id)?;
        let count = |n| stream.count_from(&[format!("k.{n}").into()], 0);
        (0..8).map(count).collect()
    });
    counts.unwrap()
}

/// A stream of 100 messages, closed; and what is kept of its index where one copy of it went on.
fn two_copies(go_on: impl FnOnce(&mut Bench)) -> (Bench, Vec<u8>) {
    let (mut bench, _) = bench(5);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, 100, 8);
    bench.close();
    let (store, old) = (bench.segment_folder(), tempfile::tempdir().unwrap());
    copy(&store, old.path());
    go_on(&mut bench);
    bench.close();
    let index = std::fs::read(index_file(&bench, &stream)).unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    copy(old.path(), &store);
    (bench, index)
}

/// Opens a copy so much later, and publishes in it; subjects that are the same in all copies, and others.
fn go_on(bench: &mut Bench, nanos: i64, other: fn(u64) -> u64) {
    bench.skip(nanos);
    bench.open();
    let published = bench.find("S").unwrap().call(move |shard, id| {
        for seq in 101..=400 {
            let subject = match seq % 32 {
                0 | 1 | 9 | 12 | 30 | 31 => 7,
                _ => other(seq),
            };
            shard.publish(id, format!("k.{subject}").into(), 0, bytes::Bytes::from_static(b"x"))?;
        }
        Ok(())
    });
    published.unwrap();
}

/// Two copies of a store took different messages, of one size; in each chunk the first one and the last one have the same subjects
/// in both. What is kept of the one's index must not be taken for the other's.
#[test]
fn what_is_kept_beside_a_copy_that_went_another_way_is_not_believed() {
    // What becomes of the second copy in the end: which of 32 messages in a row are removed.
    let removed: [fn(u64) -> bool; 4] = [
        |_| false,
        |at| at == 31,
        // None is left whose time is known.
        |at| [0, 31].contains(&at),
        |at| !(9..13).contains(&at),
    ];
    for (case, removed) in removed.into_iter().enumerate() {
        let (mut bench, index) = two_copies(|bench| go_on(bench, 3, |seq| seq % 5));
        go_on(&mut bench, 4, |seq| seq % 3);
        let stream = bench.find("S").unwrap();
        for seq in (101..=400).filter(|seq| removed(seq % 32)) {
            stream
                .call(move |shard, id| shard.delete_message(id, seq, false))
                .unwrap();
        }
        let before = (counts(&stream), held(&stream));
        bench.close();
        std::fs::write(index_file(&bench, &stream), index).unwrap();
        bench.open();
        let stream = bench.find("S").unwrap();
        assert_eq!((counts(&stream), held(&stream)), before, "case {case}");
    }
}

/// The same where the copies part within the last chunk that is kept, and its newest messages are gone in both: what is left of known
/// times is from before.
#[test]
fn what_lies_behind_the_last_known_time_is_compared_with_the_log() {
    let part = |bench: &mut Bench, nanos, other: fn(u64) -> u64| {
        bench.skip(nanos);
        bench.open();
        let stream = bench.find("S").unwrap();
        // Sequences 96 to 127 are a chunk, and so that it grows no longer there is one more behind it.
        let done = stream.call(move |shard, id| {
            for seq in 101..=128 {
                let subject = format!("k.{}", if seq == 125 { 7 } else { other(seq) });
                shard.publish(id, subject.into(), 0, bytes::Bytes::from_static(b"x"))?;
            }
            Ok(())
        });
        done.unwrap();
        for gone in [126, 127] {
            stream
                .call(move |shard, id| shard.delete_message(id, gone, false))
                .unwrap();
        }
        stream
    };
    let (mut bench, index) = two_copies(|bench| drop(part(bench, 3, |seq| seq % 5)));
    let stream = part(&mut bench, 4, |seq| seq % 3);
    let before = (counts(&stream), held(&stream));
    bench.close();
    std::fs::write(index_file(&bench, &stream), index).unwrap();
    bench.open();
    let stream = bench.find("S").unwrap();
    assert_eq!((counts(&stream), held(&stream)), before);
}

#[derive(Default)]
struct Places(Vec<weir_engine::Place>);

impl weir_engine::Check for Places {
    fn record(&mut self, _: weir_engine::EntryRef<'_>) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }

    fn place(&mut self, place: weir_engine::Place) {
        self.0.push(place);
    }

    fn read(&mut self, _: u64) {}
}

/// Publishes, removes, purges and lets time pass at random; after each restart the stream is as it was, and as it is when nothing was
/// kept.
#[test]
fn it_makes_no_difference_whether_it_was_kept() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let (mut bench, _) = bench(2 + (seed % 4) as u8);
        bench.checkpoint_bytes = 4 << 10;
        bench.segment_bytes = 8 << 10;
        bench.open();
        let mut stream = bench.create(&config());
        let file = index_file(&bench, &stream);
        for round in 0..12 {
            for _ in 0..random.below(40) {
                let subject = format!("k.{}", random.below(12));
                match random.below(10) {
                    0..=4 => _ = stream.publish(&subject, "", b"body").unwrap(),
                    5 | 6 => {
                        let ttl = format!("NATS/1.0\r\nNats-TTL: {}s\r\n\r\n", 1 + random.below(100));
                        stream.publish(&subject, &ttl, b"").unwrap();
                    }
                    7 => {
                        let state = held(&stream).0;
                        let seq = state.first_seq + random.below(state.messages.max(1));
                        let _ = stream.call(move |shard, id| shard.delete_message(id, seq, false));
                    }
                    8 if random.one_in(4) => {
                        let filter = if random.one_in(2) { subject } else { String::new() };
                        let purge = Purge {
                            filter,
                            ..Purge::default()
                        };
                        stream
                            .call(move |shard, id| shard.purge(id, &purge).map(|_| ()))
                            .unwrap();
                    }
                    _ => bench.advance(random.below(20) as i64 * SECOND),
                }
            }
            let before = held(&stream);
            let orderly = random.one_in(2);
            match orderly {
                true => bench.close(),
                false => bench.kill(),
            }
            bench.open();
            stream = bench.find("S").unwrap();
            assert_eq!(held(&stream), before, "seed {seed}, round {round}, closed: {orderly}");
            if random.one_in(3) {
                bench.kill();
                // There may be none.
                let _ = std::fs::remove_file(&file);
                bench.open();
                stream = bench.find("S").unwrap();
                assert_eq!(
                    held(&stream),
                    before,
                    "seed {seed}, round {round}, without what was kept"
                );
            }
        }
    }
}
