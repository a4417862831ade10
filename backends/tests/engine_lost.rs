//! What a stream's log has lost is what is damaged or gone, nothing beside it, and the stream's ledger says exactly that.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use support::{Bench, Handle, Storage};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use weir_engine::Seq;
use weir_engine::finding::FindingKind;
use weir_engine::stream::ledger::Ledger;
use weir_engine::stream::{Purge, StreamConfig};

fn config() -> StreamConfig {
    StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        ..StreamConfig::default()
    }
}

fn text(seq: Seq) -> String {
    format!("message {seq:04}")
}

fn publish(stream: &Handle, seqs: RangeInclusive<Seq>) {
    for seq in seqs {
        assert_eq!(stream.publish("s.a", "", text(seq).as_bytes()).unwrap(), (seq, false));
    }
}

/// The segment file of the stream's log that has the text, and where.
fn place(bench: &Bench, stream: &Handle, text: &str) -> (PathBuf, usize) {
    let folder = bench.logs_folder().join(stream.id.to_string());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let found = files.into_iter().find_map(|path| {
        let raw = std::fs::read(&path).unwrap();
        let at = raw.windows(text.len()).position(|bytes| bytes == text.as_bytes())?;
        Some((path, at))
    });
    found.expect("the message is in the log")
}

/// Flips a bit at so many bytes from the beginning of the text; negative is before it.
fn flip(bench: &Bench, stream: &Handle, text: &str, from: isize) {
    let (path, at) = place(bench, stream, text);
    let mut raw = std::fs::read(&path).unwrap();
    raw[at.checked_add_signed(from).unwrap()] ^= 4;
    std::fs::write(&path, raw).unwrap();
}

/// Cuts the file off in the middle of the text.
fn cut(bench: &Bench, stream: &Handle, text: &str) {
    let (path, at) = place(bench, stream, text);
    let mut raw = std::fs::read(&path).unwrap();
    raw.truncate(at + 3);
    std::fs::write(&path, raw).unwrap();
}

/// The ranges that are lost, and the bytes.
fn lost(stream: &Handle) -> (Vec<(Seq, Seq)>, u64) {
    let seen = stream.call(|shard, id| {
        let ledger = shard.stream(id)?.ledger();
        let ranges = ledger.losses().iter().map(|loss| (loss.first, loss.last));
        Ok((ranges.collect(), ledger.bytes()))
    });
    seen.unwrap()
}

/// The sequences that can be read; each has what was published.
fn readable(stream: &Handle, last: Seq) -> Vec<Seq> {
    let read = |seq: &Seq| {
        let seq = *seq;
        let found = stream.call(move |shard, id| shard.stream(id)?.message(seq));
        let found = found.ok().flatten();
        if let Some(message) = &found {
            assert_eq!(message.payload, text(seq));
        }
        found.is_some()
    };
    (1..=last).filter(read).collect()
}

/// The end of the file that is gone had the mark that tells damage from a write that was never finished: all behind the
/// damage was cut, 27 acknowledged messages of 42 that nothing had happened to.
#[test]
fn a_flipped_bit_and_a_cut_in_the_same_file_cost_what_they_hit() {
    for killed in [false, true] {
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=42);
        bench.close();
        if killed {
            // Nothing is written by this process, and the mark of the one before is what counts.
            bench.open();
            bench.kill();
        }
        flip(&bench, &stream, &text(10), -1);
        cut(&bench, &stream, &text(30));
        let there: Vec<Seq> = (1..=9).chain(11..=29).collect();
        for round in 0..3 {
            bench.open();
            let stream = bench.find("S").unwrap();
            let last = 42 + round;
            let newer = 43..=last;
            assert_eq!(
                readable(&stream, last),
                there.iter().copied().chain(newer).collect::<Vec<_>>()
            );
            let (ranges, bytes) = lost(&stream);
            let mut named: Vec<Seq> = ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
            named.sort_unstable();
            assert_eq!(named, [10].into_iter().chain(30..=42).collect::<Vec<_>>(), "{ranges:?}");
            assert!(bytes > 0);
            publish(&stream, last + 1..=last + 1);
            match round {
                0 => bench.kill(),
                _ => bench.close(),
            }
        }
    }
}

/// A head that was found damaged when the log was opened was shown as deleted, and not as lost.
#[test]
fn damaged_heads_are_lost_and_said_to_be() {
    // In the newest segment, and in one with a footer, which is not read whole when it is opened.
    for (messages, segment_bytes) in [(20, 16 << 20), (100, 2048)] {
        let mut bench = Bench::new(Storage::Segment);
        bench.segment_bytes = segment_bytes;
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=messages);
        bench.close();
        flip(&bench, &stream, &text(7), -1);
        for _ in 0..2 {
            bench.open();
            let stream = bench.find("S").unwrap();
            let (ranges, bytes) = lost(&stream);
            assert_eq!(ranges, [(7, 7)], "{messages}");
            assert!(bytes >= 12, "{bytes}");
            let state = stream.call(|shard, id| shard.stream(id)?.state()).unwrap();
            assert_eq!((state.messages, state.num_deleted), (messages - 1, 1));
            bench.close();
        }
        // A removed message is not lost with its record.
        bench.open();
        let stream = bench.find("S").unwrap();
        assert!(stream.call(|shard, id| shard.delete_message(id, 9, false)).unwrap());
        bench.close();
        flip(&bench, &stream, &text(9), -1);
        bench.open();
        assert_eq!(lost(&bench.find("S").unwrap()).0, [(7, 7)], "{messages}");
        bench.close();
    }
}

/// A start does not read bodies. Once a reader has met one that is damaged, a killed process does not forget that.
#[test]
fn a_damaged_body_is_in_the_ledger_once_it_was_read() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, 1..=9);
    bench.close();
    flip(&bench, &stream, &text(4), 5);
    bench.open();
    let stream = bench.find("S").unwrap();
    assert_eq!(lost(&stream), (vec![], 0));
    let found = stream.call(|shard, id| shard.stream(id)?.message(4));
    assert_eq!(found.unwrap_err().kind, weir_engine::Kind::Damaged);
    let known = lost(&stream);
    assert_eq!(known.0, [(4, 4)]);
    assert!(known.1 >= 12, "{known:?}");
    bench.kill();
    bench.open();
    assert_eq!(lost(&bench.find("S").unwrap()), known);
    bench.close();
    bench.open();
    assert_eq!(lost(&bench.find("S").unwrap()), known);
    bench.close();
}

/// A purge of a stream that never had a message gives it a first sequence, which a restart forgot.
#[test]
fn a_new_stream_that_was_purged_begins_at_one_after_a_restart_too() {
    for killed in [true, false] {
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let stream = bench.create(&config());
        let first = |stream: &Handle| {
            stream
                .call(|shard, id| Ok(shard.stream(id)?.state()?.first_seq))
                .unwrap()
        };
        assert_eq!(first(&stream), 0);
        stream.call(|shard, id| shard.purge(id, &Purge::default())).unwrap();
        for _ in 0..3 {
            assert_eq!(first(&bench.find("S").unwrap()), 1, "killed: {killed}");
            match killed {
                true => bench.kill(),
                false => bench.close(),
            }
            bench.open();
        }
        let stream = bench.find("S").unwrap();
        publish(&stream, 1..=1);
        assert_eq!(first(&stream), 1);
    }
}

fn add(stream: &Handle, subject: &str) -> weir_engine::Result<Seq> {
    let added = stream.publish(subject, "NATS/1.0\r\nNats-Incr: 5\r\n\r\n", b"");
    added.map(|(seq, _)| seq)
}

/// The index does not know the subject of a message whose head is damaged: the counter went on from the one before.
#[test]
fn a_counter_whose_newest_message_is_lost_is_refused_after_a_restart_too() {
    let counters = StreamConfig {
        allow_msg_counter: true,
        ..config()
    };
    for settled in [true, false] {
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let stream = bench.create(&counters);
        for subject in ["s.x", "s.y", "s.x", "s.y"] {
            add(&stream, subject).unwrap();
        }
        bench.close();
        // The newest of s.x: the only one that says 10 and is not the last.
        flip(&bench, &stream, "{\"val\":\"10\"}", -60);
        for round in 0..2 {
            bench.open();
            let stream = bench.find("S").unwrap();
            let (ranges, _) = lost(&stream);
            assert_eq!(ranges, [(3, 3)]);
            let refused = add(&stream, "s.x").unwrap_err();
            assert!(refused.kind == weir_engine::Kind::Damaged, "{refused}");
            assert!(refused.message.contains("message 3 is lost"), "{refused}");
            // One flipped bit leaves no doubt of what it was: others go on, and new ones begin.
            add(&stream, "s.y").unwrap();
            add(&stream, &format!("s.new.{round}")).unwrap();
            bench.close();
        }
        bench.open();
        let stream = bench.find("S").unwrap();
        if settled {
            bench.close();
            settle(&bench, &stream);
            bench.open();
            add(&bench.find("S").unwrap(), "s.x").unwrap();
        } else {
            stream.call(|shard, id| shard.purge(id, &Purge::default())).unwrap();
            add(&stream, "s.x").unwrap();
            bench.kill();
            bench.open();
            add(&bench.find("S").unwrap(), "s.new").unwrap();
        }
    }
}

/// Of a message whose head is beyond recognition nobody knows the counter: none that it may have been of goes on.
#[test]
fn a_lost_message_of_any_counter_stops_those_that_are_older() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&StreamConfig {
        allow_msg_counter: true,
        ..config()
    });
    for subject in ["s.x", "s.y", "s.x", "s.y"] {
        add(&stream, subject).unwrap();
    }
    bench.close();
    for from in [-60, -58] {
        flip(&bench, &stream, "{\"val\":\"10\"}", from);
    }
    bench.open();
    let stream = bench.find("S").unwrap();
    assert_eq!(lost(&stream).0, [(3, 3)]);
    for subject in ["s.x", "s.new"] {
        assert_eq!(
            add(&stream, subject).unwrap_err().kind,
            weir_engine::Kind::Damaged,
            "{subject}"
        );
    }
    assert_eq!(add(&stream, "s.y").unwrap(), 5);
}

/// A killed process leaves every message in the journal and in the log: what happens to one of them costs none.
#[test]
fn a_flipped_bit_and_a_cut_cost_nothing_that_is_in_the_journal_and_in_the_log() {
    for in_journal in [false, true] {
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=42);
        bench.kill();
        let damaged = match in_journal {
            true => Handle {
                id: weir_engine::StreamId(1),
                ..stream
            },
            false => stream,
        };
        flip(&bench, &damaged, &text(10), -1);
        cut(&bench, &damaged, &text(30));
        for _ in 0..2 {
            bench.open();
            let stream = bench.find("S").unwrap();
            assert_eq!(
                readable(&stream, 42),
                (1..=42).collect::<Vec<_>>(),
                "journal: {in_journal}"
            );
            assert_eq!(lost(&stream), (vec![], 0), "journal: {in_journal}");
            bench.kill();
        }
        bench.open();
        let stream = bench.find("S").unwrap();
        publish(&stream, 43..=43);
        bench.close();
    }
}

/// What `weir settle` writes of a stream, with the store closed.
fn settle(bench: &Bench, stream: &Handle) {
    let key = weir_engine::shard::snapshot::ledger_key(stream.id);
    let root = bench.root();
    let mut ledger: Ledger = serde_json::from_slice(&root.kv().get(&key).unwrap().unwrap()).unwrap();
    ledger.settle(Vec::new());
    let json = serde_json::to_vec(&ledger).unwrap();
    root.kv().put_all(&[(key, Some(json.into()))]).unwrap();
}

/// The index knows the subject, so settling changed nothing: the message had to be deleted.
#[test]
fn a_counter_goes_on_from_the_newest_message_that_can_be_read_once_the_loss_of_those_behind_is_settled() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&StreamConfig {
        allow_msg_counter: true,
        ..config()
    });
    // s.x is at 15, s.y at 5, s.z at 5.
    for subject in ["s.x", "s.x", "s.x", "s.y", "s.z"] {
        add(&stream, subject).unwrap();
    }
    let value = |stream: &Handle, seq: Seq| {
        let found = stream.call(move |shard, id| shard.stream(id)?.message(seq));
        String::from_utf8(found.unwrap().unwrap().payload.to_vec()).unwrap()
    };
    bench.close();
    // The bodies of the two newest of s.x, and of the only one of s.z.
    flip(&bench, &stream, "{\"val\":\"15\"}", 8);
    flip(&bench, &stream, "{\"val\":\"10\"}", 8);
    let (path, _) = place(&bench, &stream, "s.z");
    let mut raw = std::fs::read(&path).unwrap();
    let at = raw.windows(3).rposition(|bytes| bytes == b"s.z").unwrap();
    let body = raw[at..].windows(4).position(|bytes| bytes == b"Nats").unwrap();
    raw[at + body] ^= 4;
    std::fs::write(&path, raw).unwrap();
    bench.open();
    let stream = bench.find("S").unwrap();
    for (subject, seq) in [("s.x", 3), ("s.z", 5)] {
        let refused = add(&stream, subject).unwrap_err();
        let says = format!("message {seq} cannot be read: it goes on from the one before once that is settled");
        assert!(refused.message.contains(&says), "{refused}");
    }
    bench.close();
    settle(&bench, &stream);
    bench.open();
    let stream = bench.find("S").unwrap();
    // The next one behind was not met yet, and is refused in its turn.
    assert!(
        add(&stream, "s.x")
            .unwrap_err()
            .message
            .contains("message 2 cannot be read")
    );
    // What is lost since does not concern what was settled.
    let begun = add(&stream, "s.z").unwrap();
    assert_eq!(value(&stream, begun), "{\"val\":\"5\"}");
    bench.close();
    settle(&bench, &stream);
    bench.open();
    let stream = bench.find("S").unwrap();
    let next = add(&stream, "s.x").unwrap();
    assert_eq!(value(&stream, next), "{\"val\":\"10\"}");
    assert_eq!(lost(&stream).0, [(2, 2), (3, 3), (5, 5)]);
    bench.close();
}

/// A file that holds messages and one that was unlinked because all its messages were removed looked the same: the messages
/// were gone without a word.
#[test]
fn a_file_that_is_missing_is_missed() {
    // The first file that has any, and one in the middle.
    for in_it in [41, 120] {
        let mut bench = Bench::new(Storage::Segment);
        bench.segment_bytes = 2048;
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=200);
        // Files of which nothing is left, and one with a hole.
        let purge = Purge {
            seq: 40,
            ..Purge::default()
        };
        stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
        assert!(stream.call(|shard, id| shard.delete_message(id, 50, false)).unwrap());
        bench.close();
        std::fs::remove_file(place(&bench, &stream, &text(in_it)).0).unwrap();
        let mut expected = None;
        for round in 0..3 {
            bench.open();
            let stream = bench.find("S").unwrap();
            let there = readable(&stream, 200);
            let gone: Vec<Seq> = (40..=200).filter(|seq| *seq != 50 && !there.contains(seq)).collect();
            assert!(!gone.is_empty() && gone.len() < 60, "{gone:?}");
            assert!(there.iter().all(|seq| *seq >= 40));
            let (ranges, _) = lost(&stream);
            let named: Vec<Seq> = ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
            assert_eq!(named, gone, "round {round}");
            assert_eq!(*expected.get_or_insert(gone.clone()), gone, "round {round}");
            // Health tells of it, once, until somebody has seen it.
            let findings = bench.store().findings();
            assert!(
                findings.len() == 1 && findings[0].text.contains("lacks messages that it had"),
                "{findings:?}"
            );
            assert_eq!(findings[0].concerned[0].lost, ranges);
            publish(&stream, 201 + round..=201 + round);
            bench.close();
        }
    }
}

/// Copies a folder and all below it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => _ = std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap(),
        }
    }
}

/// Seed 9300013 of the damaged files in the engine's simulation: a file that is missing had as many messages as it removed of those
/// before it, and the log counted right. The messages were gone without a word.
#[test]
fn a_file_that_had_as_many_messages_as_it_removed_is_missed() {
    // Whether the log went on behind the last checkpoint.
    for killed in [false, true] {
        let mut bench = Bench::new(Storage::Segment);
        bench.segment_bytes = 2048;
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=30);
        // From here on each file has about as many messages as it removes.
        for nth in 1..=15 {
            publish(&stream, 30 + nth..=30 + nth);
            let old = 2 * nth;
            assert!(
                stream
                    .call(move |shard, id| shard.delete_message(id, old, false))
                    .unwrap()
            );
        }
        bench.close();
        let mut last = 45;
        if killed {
            bench.open();
            last = 47;
            publish(&bench.find("S").unwrap(), 46..=last);
            bench.kill();
        }
        let live: Vec<Seq> = (1..=last).filter(|seq| *seq > 30 || seq % 2 == 1).collect();
        let folder = bench.logs_folder().join(stream.id.to_string());
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|end| end == "seg"))
            .collect();
        files.sort();
        let kept = tempfile::tempdir().unwrap();
        copy(&bench.segment_folder(), kept.path());
        let mut exchanged = 0;
        // Those before have nothing but messages.
        for file in &files[2..files.len() - 1] {
            std::fs::remove_dir_all(bench.segment_folder()).unwrap();
            copy(kept.path(), &bench.segment_folder());
            std::fs::remove_file(file).unwrap();
            for round in 0..2 {
                bench.open();
                let stream = bench.find("S").unwrap();
                let there = readable(&stream, last);
                let gone: Vec<Seq> = live.iter().copied().filter(|seq| !there.contains(seq)).collect();
                let back = there.iter().filter(|seq| !live.contains(seq)).count();
                let named = lost(&stream).0;
                let is_named = |seq: &Seq| named.iter().any(|(first, last)| (*first..=*last).contains(seq));
                let findings = bench.store().findings();
                let what = format!(
                    "{file:?}, killed {killed}, round {round}: {gone:?} are gone, {back} back, {named:?}, {findings:?}"
                );
                // Where more are back than are gone, nothing tells that any is gone.
                assert!(back > gone.len() || gone.iter().all(is_named), "{what}");
                assert!(!there.iter().any(is_named), "{what}");
                assert_eq!(findings.len(), usize::from(back > 0), "{what}");
                exchanged += usize::from(round == 0 && back > 0 && back == gone.len());
                bench.close();
            }
        }
        assert!(exchanged > 0, "no such file");
    }
}

/// What was removed was there again, and nothing said so.
#[test]
fn removals_that_the_end_of_a_log_had_are_done_again_or_told() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, 1..=40);
    let purge = Purge {
        seq: 10,
        ..Purge::default()
    };
    stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
    assert!(stream.call(|shard, id| shard.delete_message(id, 20, false)).unwrap());
    bench.close();
    let newest = text(40);
    let (path, at) = place(&bench, &stream, &newest);
    let mut raw = std::fs::read(&path).unwrap();
    raw.truncate((at + newest.len()).next_multiple_of(8));
    std::fs::write(&path, raw).unwrap();
    for round in 0..3 {
        bench.open();
        let stream = bench.find("S").unwrap();
        // Up to where all was removed is known; that the one message was is not.
        assert_eq!(readable(&stream, 40), (10..=40).collect::<Vec<_>>(), "round {round}");
        assert_eq!(lost(&stream).0, []);
        let findings = bench.store().findings();
        assert_eq!(findings.len(), 1, "round {round}: {findings:?}");
        let text = findings[0].to_string();
        assert_eq!(findings[0].kind, FindingKind::Log);
        assert!(
            text.contains("stream S of account") && text.contains("may be there again"),
            "{text}"
        );
        bench.close();
    }
}

/// A stream's only file came back over the one that was made meanwhile, and the start removed all that was in it: its first sequence was
/// behind them while they were lost. (The handbook says to put back what was found.)
#[test]
fn what_is_put_back_over_a_newer_file_stays() {
    // What came meanwhile, up to where that was purged, and how the process ended that knew of the loss.
    for (published, purged, killed) in [
        (0, 0, false),
        (0, 0, true),
        (3, 0, false),
        (3, 0, true),
        (3, 30, false),
        (3, 30, true),
        (0, 41, false),
    ] {
        let what = format!("{published} came, purged below {purged}, killed {killed}");
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=40);
        let purge = |stream: &Handle, seq: Seq| {
            let purge = Purge {
                seq,
                ..Purge::default()
            };
            stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
        };
        purge(&stream, 10);
        assert!(stream.call(|shard, id| shard.delete_message(id, 20, false)).unwrap());
        bench.close();
        let path = place(&bench, &stream, &text(40)).0;
        let away = path.with_extension("away");
        std::fs::rename(&path, &away).unwrap();
        bench.open();
        let stream = bench.find("S").unwrap();
        assert_eq!(lost(&stream).0, [(10, 40)], "{what}");
        publish(&stream, 41..=40 + published);
        if purged > 0 {
            purge(&stream, purged);
        }
        stream.settle(2);
        match killed {
            true => bench.kill(),
            false => bench.close(),
        }
        std::fs::rename(&away, &path).unwrap();
        let there: Vec<Seq> = (10.max(purged)..=40).filter(|seq| *seq != 20).collect();
        for round in 0..4 {
            bench.open();
            let stream = bench.find("S").unwrap();
            assert_eq!(readable(&stream, 40), there, "{what}, round {round}");
            // What came meanwhile went with its file, but for what the journal has.
            let expected = if published > 0 && !killed {
                vec![(41, 43)]
            } else {
                vec![]
            };
            if purged == 0 {
                assert_eq!(lost(&stream).0, expected, "{what}, round {round}");
            }
            match round {
                // Before a checkpoint, after one, and after what was written since.
                0 => bench.kill(),
                2 => {
                    publish(&stream, 41 + published..=41 + published);
                    bench.kill();
                }
                _ => bench.close(),
            }
        }
    }
}

/// Every event of level error whose text has a word, from all threads.
struct Errors {
    about: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if text.0.contains(&self.about) {
            self.seen.lock().push(text.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The backend, the stream and the API each wrote one.
#[test]
fn a_damaged_message_is_one_line_in_the_log() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, 1..=9);
    bench.close();
    flip(&bench, &stream, &text(4), 5);
    let seen = Arc::default();
    let errors = Errors {
        about: bench.logs_folder().display().to_string(),
        seen: Arc::clone(&seen),
    };
    // The only test of this program that looks at the log.
    tracing::subscriber::set_global_default(errors).unwrap();
    bench.open();
    let stream = bench.find("S").unwrap();
    let read = stream.call(|shard, id| shard.stream(id)?.read_on(1, &[], 9, 1 << 20));
    assert_eq!(read.unwrap().messages.len(), 8);
    for _ in 0..2 {
        let found = stream.call(|shard, id| shard.stream(id)?.message(4));
        assert_eq!(found.unwrap_err().kind, weir_engine::Kind::Damaged);
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        seen[0].contains("a damaged message is passed over") && seen[0].contains("record 4"),
        "{seen:?}"
    );
}

/// What was overwritten on demand was shown as damaged where the erasure had gone with the end of a file, and went on counting.
#[test]
fn what_was_overwritten_is_gone_though_its_erasure_is_lost() {
    for segment_bytes in [16 << 20, 2048] {
        let mut bench = Bench::new(Storage::Segment);
        bench.segment_bytes = segment_bytes;
        bench.open();
        let stream = bench.create(&config());
        publish(&stream, 1..=60);
        for seq in 5..=20 {
            assert!(
                stream
                    .call(move |shard, id| shard.delete_message(id, seq, true))
                    .unwrap()
            );
        }
        publish(&stream, 61..=63);
        let state = |stream: &Handle| stream.call(|shard, id| Ok(shard.stream(id)?.state().unwrap())).unwrap();
        let before = state(&stream);
        bench.kill();
        // In the newest file: the removals, and what came after them, which the journal has.
        let newest = text(60);
        let (path, at) = place(&bench, &stream, &newest);
        let mut raw = std::fs::read(&path).unwrap();
        raw.truncate((at + newest.len()).next_multiple_of(8));
        std::fs::write(&path, raw).unwrap();
        let folder = bench.logs_folder().join(stream.id.to_string());
        for later in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if later.extension().is_some_and(|e| e == "seg") && later > path {
                std::fs::remove_file(later).unwrap();
            }
        }
        for _ in 0..2 {
            bench.open();
            let stream = bench.find("S").unwrap();
            assert_eq!(readable(&stream, 63), (1..=4).chain(21..=63).collect::<Vec<_>>());
            assert_eq!(lost(&stream).0, [], "segments of {segment_bytes}");
            assert_eq!(state(&stream), before);
            bench.close();
        }
    }
}

/// A shard without its journal only reads: it keeps no finding of what it reads, which the root may not take, and the opening
/// that comes after it does.
#[test]
fn what_may_be_there_again_is_kept_by_the_opening_that_writes() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config());
    publish(&stream, 1..=40);
    assert!(stream.call(|shard, id| shard.delete_message(id, 20, false)).unwrap());
    bench.close();
    let newest = text(40);
    let (path, at) = place(&bench, &stream, &newest);
    let mut raw = std::fs::read(&path).unwrap();
    raw.truncate((at + newest.len()).next_multiple_of(8));
    std::fs::write(&path, raw).unwrap();
    let journal = std::fs::read_dir(bench.logs_folder().join(weir_engine::StreamId(1).to_string()));
    let journal = journal.unwrap().map(|entry| entry.unwrap().path());
    let journal = journal
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .min()
        .unwrap();
    let away = journal.with_extension("away");
    std::fs::rename(&journal, &away).unwrap();
    std::fs::create_dir(&journal).unwrap();
    bench.open();
    assert_eq!(readable(&bench.find("S").unwrap(), 40), (1..=40).collect::<Vec<_>>());
    assert_eq!(bench.store().findings(), []);
    bench.close();
    std::fs::remove_dir(&journal).unwrap();
    std::fs::rename(&away, &journal).unwrap();
    bench.open();
    let findings = bench.store().findings();
    assert!(
        matches!(&findings[..], [one] if one.kind == FindingKind::Log),
        "{findings:?}"
    );
    bench.close();
}
