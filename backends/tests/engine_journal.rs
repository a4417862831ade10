//! A journal that has lost records: what can be made up for is, and what cannot is told, by stream and sequence where
//! anything shows it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;

use support::{ACCOUNT, Bench, Storage};
use weir_engine::finding::{Finding, FindingKind};
use weir_engine::stream::StreamConfig;
use weir_engine::{SECOND, ShardId, StreamId};

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        max_msgs: 1000,
        ..StreamConfig::default()
    }
}

/// Streams `one` and `two` with five messages each, which no checkpoint has; killed.
fn killed() -> (Bench, StreamId) {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let one = bench.create(&config("one"));
    let two = bench.create(&config("two"));
    for n in 1..=5 {
        one.publish("one.a", "", format!("one's message {n}").as_bytes())
            .unwrap();
        two.publish("two.a", "", format!("two's message {n}").as_bytes())
            .unwrap();
    }
    bench.kill();
    (bench, one.id)
}

/// Flips one bit of what the first shard's journal says there.
fn flip(bench: &Bench, says: &str) {
    let folder = bench.logs_folder().join(StreamId(1).to_string());
    let mut flipped = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut raw = fs::read(&path).unwrap();
        if let Some(at) = raw.windows(says.len()).position(|bytes| bytes == says.as_bytes()) {
            raw[at] ^= 0x20;
            fs::write(&path, raw).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "{says}");
}

fn one_finding(bench: &Bench) -> Finding {
    let mut findings = bench.store().findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = findings.remove(0);
    assert_eq!((finding.kind, finding.shard), (FindingKind::Journal, Some(ShardId(0))));
    assert!(bench.store().catalogue().trouble().is_some(), "health says so");
    finding
}

fn payloads(bench: &Bench, name: &str) -> Vec<String> {
    let stream = bench.find(name).expect("the stream");
    let last = stream
        .call(|shard, id| Ok(shard.stream(id)?.state()?.last_seq))
        .unwrap();
    let text = |payload: bytes::Bytes| String::from_utf8(payload.to_vec()).unwrap();
    (1..=last)
        .filter_map(|seq| Some(text(stream.message(seq)?.payload)))
        .collect()
}

/// What a stream says it has lost.
fn lost(bench: &Bench, name: &str) -> Vec<(u64, u64, String)> {
    let stream = bench.find(name).expect("the stream");
    let losses = stream.call(|shard, id| Ok(shard.stream(id)?.ledger().losses().to_vec()));
    losses
        .unwrap()
        .into_iter()
        .map(|loss| (loss.first, loss.last, loss.why))
        .collect()
}

fn messages(name: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("{name}'s message {n}")).collect()
}

#[test]
fn a_stream_whose_creation_is_lost_is_there_again() {
    let (mut bench, one) = killed();
    flip(&bench, r#""name":"one""#);
    for round in 0..3 {
        bench.open();
        assert_eq!(payloads(&bench, "one"), messages("one", 1..=5), "round {round}");
        assert_eq!(payloads(&bench, "two"), messages("two", 1..=5));
        let entry = bench.store().catalogue().get(ACCOUNT, "one").unwrap();
        assert_eq!(
            (entry.id, entry.config.max_msgs, entry.offline.is_some()),
            (one, 1000, false)
        );
        let finding = one_finding(&bench);
        assert!(finding.text.contains("made stream one of account A"), "{finding}");
        assert!(finding.concerned.is_empty(), "{finding}");
        match round {
            0 => bench.kill(),
            _ => bench.close(),
        }
    }
}

/// A journal from before, as from a backup: the logs know better.
#[test]
fn a_journal_that_was_rolled_back_is_named() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let one = bench.create(&config("one"));
    let publish = |n: u64| {
        one.publish("one.a", "", format!("one's message {n}").as_bytes())
            .unwrap();
    };
    (1..=3).for_each(publish);
    let journal = bench.logs_folder().join(StreamId(1).to_string());
    let files = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path());
    let before: Vec<_> = files.map(|path| (fs::read(&path).unwrap(), path)).collect();
    (4..=5).for_each(publish);
    bench.kill();
    for (raw, path) in before {
        fs::write(path, raw).unwrap();
    }
    for _ in 0..2 {
        bench.open();
        assert_eq!(payloads(&bench, "one"), messages("one", 1..=5));
        let finding = one_finding(&bench);
        assert!(
            finding.text.contains("has messages up to 5") && finding.text.contains("behind 3"),
            "{finding}"
        );
        assert_eq!(finding.concerned[0].stream, "one");
        bench.kill();
    }
}

#[test]
fn a_message_that_only_the_journal_had_is_named() {
    let (mut bench, one) = killed();
    fs::remove_dir_all(bench.logs_folder().join(one.to_string())).unwrap();
    flip(&bench, "one's message 3");
    for _ in 0..2 {
        bench.open();
        assert_eq!(payloads(&bench, "one"), messages("one", [1, 2, 4, 5]));
        assert_eq!(payloads(&bench, "two"), messages("two", 1..=5));
        let finding = one_finding(&bench);
        assert_eq!(finding.concerned.len(), 1, "{finding}");
        assert_eq!(
            (&*finding.concerned[0].stream, &finding.concerned[0].lost[..]),
            ("one", &[(3, 3)][..])
        );
        assert!(
            finding.to_string().contains("stream one of account A lost 3"),
            "{finding}"
        );
        bench.close();
    }
}

#[test]
fn a_message_that_the_log_has_is_not_lost_with_the_journal_s_word() {
    let (mut bench, _) = killed();
    flip(&bench, "one's message 3");
    bench.open();
    assert_eq!(payloads(&bench, "one"), messages("one", 1..=5));
    let finding = one_finding(&bench);
    assert_eq!(finding.concerned.len(), 2, "either may be concerned: {finding}");
}

#[test]
fn a_journal_with_a_hole_outlives_checkpoints() {
    let (mut bench, _) = killed();
    flip(&bench, "one's message 3");
    bench.checkpoint_bytes = 1;
    bench.open();
    let stream = bench.find("two").unwrap();
    for _ in 0..10 {
        stream.publish("two.a", "", b"more").unwrap();
    }
    bench.close();
    let root = bench.root();
    let (journal, _) = root
        .open(ShardId(0).journal(), &weir_engine::LogOptions::default())
        .unwrap();
    assert_eq!(journal.reader().extent().first, 1);
}

#[test]
fn a_missing_journal_is_told() {
    let (mut bench, one) = killed();
    bench.open();
    bench.close();
    fs::remove_dir_all(bench.logs_folder().join(StreamId(1).to_string())).unwrap();
    bench.open();
    assert!(one_finding(&bench).text.contains("journal of shard 0 is missing"));
    assert_eq!(payloads(&bench, "one"), messages("one", 1..=5));
    // Its numbers go on above all that checkpoints know.
    let stream = bench.find("one").unwrap();
    assert_eq!(stream.id, one);
    stream.publish("one.a", "", b"one's message 6").unwrap();
    bench.advance(SECOND);
    bench.kill();
    bench.open();
    assert_eq!(payloads(&bench, "one"), messages("one", 1..=6));
    one_finding(&bench);
}

/// The segment file of a stream's log.
fn segment_of(bench: &Bench, id: StreamId) -> std::path::PathBuf {
    let entries = fs::read_dir(bench.logs_folder().join(id.to_string())).unwrap();
    let mut files = entries.map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|end| end == "seg"))
        .expect("a segment")
}

#[test]
fn a_damaged_message_is_in_the_ledger_over_restarts() {
    let (mut bench, one) = killed();
    bench.open();
    bench.close();
    let path = segment_of(&bench, one);
    let mut raw = fs::read(&path).unwrap();
    let says = b"one's message 2";
    let at = raw.windows(says.len()).position(|bytes| bytes == says).unwrap();
    raw[at] ^= 1;
    fs::write(&path, raw).unwrap();
    bench.open();
    // A reader comes by it.
    let stream = bench.find("one").unwrap();
    let read = stream.call(|shard, id| shard.stream(id)?.next_message(b"", 2));
    assert_eq!(read.unwrap().map(|message| message.seq), Some(3));
    let expected = [(2, 2, "its record is damaged".to_owned())];
    for _ in 0..2 {
        stream_turn(&bench);
        assert_eq!(lost(&bench, "one"), expected);
        bench.close();
        bench.open();
        // Nobody read it since.
        assert_eq!(lost(&bench, "one"), expected);
    }
}

/// A turn of the stream `one`, in which what readers met is told.
fn stream_turn(bench: &Bench) {
    bench.find("one").unwrap().publish("one.b", "", b"more").unwrap();
}

#[test]
fn a_log_that_has_lost_its_end_says_which_messages() {
    let (mut bench, one) = killed();
    bench.open();
    bench.close();
    // The log as it was when the stream was made.
    let folder = bench.logs_folder().join(one.to_string());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "seg") {
            fs::remove_file(path).unwrap();
        }
    }
    for _ in 0..2 {
        bench.open();
        assert_eq!(lost(&bench, "one"), [(1, 5, "the log has lost its end".to_owned())]);
        assert_eq!(lost(&bench, "two"), []);
        // None of their numbers is used again.
        let (seq, _) = bench.find("one").unwrap().publish("one.a", "", b"new").unwrap();
        assert!(seq >= 6);
        bench.close();
    }
}

/// Where its newest file was gone, the journal passed for whole: it had no hole, and nothing said how far it had been.
#[test]
fn a_journal_that_ends_before_what_checkpoints_cover_is_told() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let one = bench.create(&config("one"));
    for n in 1..=5 {
        one.publish("one.a", "", format!("one's message {n}").as_bytes())
            .unwrap();
    }
    bench.close();
    bench.open();
    assert!(bench.store().findings().is_empty());
    bench.kill();
    let folder = bench.logs_folder().join(StreamId(1).to_string());
    for entry in fs::read_dir(folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for round in 0..3 {
        bench.open();
        assert_eq!(payloads(&bench, "one"), messages("one", 1..=5), "round {round}");
        let finding = one_finding(&bench);
        assert!(finding.text.contains("is missing, with all of its files"), "{finding}");
        match round {
            0 => bench.kill(),
            _ => bench.close(),
        }
    }
}
