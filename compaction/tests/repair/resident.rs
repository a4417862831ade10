//! Damage of a RocksDB under streams whose indexes a start makes anew of the heads that it can read: those in memory, of streams that say so
//! and of all that are encrypted, with each start; one in pages that is not there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use weir_backends::encrypted::Cipher;
use weir_backends::root::StoreKey;
use weir_compaction::key;
use weir_compaction::verify::{Found, Report as Verified};
use weir_engine::Seq;
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::embed::EmbeddedStream;
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::Defaults;

const KEY: &str = "a key for streams in memory";
const MESSAGES: u64 = 600;

/// Where the index is, and what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    InMemory,
    Encrypted,
    /// It is in pages, and not there any more: the first start makes it anew.
    PagesLost,
}

/// Each so many are removed before anything is damaged, if that is not 0.
type Removed = u64;

fn is_removed(seq: Seq, removed: Removed) -> bool {
    removed > 0 && seq < MESSAGES && seq.is_multiple_of(removed)
}

fn dir(folder: &Path, kind: Kind) -> StoreDir {
    let dir = StoreDir::new(folder);
    match kind {
        Kind::Encrypted => dir.encrypted(&[StoreKey::new(KEY)], Cipher::Aes).unwrap(),
        _ => dir,
    }
}

fn open(folder: &Path, kind: Kind) -> Store {
    let dir = dir(folder, kind);
    let mut options = StoreOptions::new(Arc::new(|| 1_700_000_100_000_000_000));
    options.there = dir.there();
    options.read = Some(dir.clone().reader());
    Store::embedded(dir.opener(), options).unwrap()
}

fn fill(folder: &Path, kind: Kind, removed: Removed) {
    let store = open(folder, kind);
    let index = match kind {
        Kind::PagesLost => "paged",
        _ => "resident",
    };
    let config = StreamConfig {
        name: "S".to_owned(),
        subjects: vec!["s.*".to_owned()],
        metadata: BTreeMap::from([
            ("weir.backend".to_owned(), "rocksdb".to_owned()),
            ("weir.index".to_owned(), index.to_owned()),
        ]),
        ..StreamConfig::default()
    };
    let defaults = Defaults {
        encrypted: kind == Kind::Encrypted,
        ..Defaults::default()
    };
    let stream = store.create_stream("$G", config, &defaults).unwrap();
    for n in 1..=MESSAGES {
        stream.publish(&format!("s.{}", n % 7), "", &body(n)).unwrap();
    }
    let consumer = ConsumerConfig {
        durable_name: "C".to_owned(),
        ack_policy: AckPolicy::Explicit,
        ..ConsumerConfig::default()
    };
    stream.create_consumer(consumer).unwrap();
    for message in stream.fetch("C", 20, Duration::from_secs(60)).unwrap().iter().take(10) {
        message.ack().unwrap();
    }
    for seq in (1..MESSAGES).filter(|seq| is_removed(*seq, removed)) {
        assert!(
            stream
                .call(move |shard, id| shard.delete_message(id, seq, false))
                .unwrap()
        );
    }
    drop(stream);
    store.close();
    // What was in RocksDB's journal goes into tables.
    open(folder, kind).close();
    if kind == Kind::PagesLost {
        let rocks = dir(folder, kind).open(BackendKind::RocksDb).unwrap();
        rocks.kv().remove_prefix(b"").unwrap();
        rocks.sync().unwrap();
    }
}

fn body(n: Seq) -> Vec<u8> {
    format!("number {n:05} ").repeat(4).into_bytes()
}

/// What comes of the stream. A compaction may meet the damage first: nothing is written to RocksDB then until it is opened anew, which it
/// is, as by a server that is started again.
fn with_stream<T>(folder: &Path, kind: Kind, what: impl Fn(&EmbeddedStream) -> weir_engine::Result<T>) -> T {
    let noted = || folder.join("weir/rocksdb/DAMAGED").exists();
    let was_noted = noted();
    let store = open(folder, kind);
    let came = store.stream("$G", "S").and_then(|stream| what(&stream));
    store.close();
    if noted() && !was_noted {
        return with_stream(folder, kind, what);
    }
    came.unwrap()
}

/// The messages that are lost: no other is, none of them counts as removed, and the log keeps its place for them. What was removed before,
/// and lies where nobody can tell, is among them.
fn lost(folder: &Path, kind: Kind, removed: Removed, case: &str) -> Vec<Seq> {
    let (read, ledger, state) = with_stream(folder, kind, |stream| {
        let read: Vec<_> = (1..=MESSAGES).map(|seq| stream.message(seq)).collect();
        Ok((
            read,
            stream.read(|stream| Ok(stream.ledger().clone()))?,
            stream.state()?,
        ))
    });
    let mut lost = Vec::new();
    for (seq, read) in (1..=MESSAGES).zip(read) {
        match read {
            Ok(Some(message)) => {
                assert_eq!(message.payload, body(seq), "{case}: {seq}");
                assert!(!ledger.covers(seq, seq), "{case}: {seq} is there");
                assert!(!is_removed(seq, removed), "{case}: {seq} was removed");
            }
            Ok(None) if is_removed(seq, removed) && !ledger.covers(seq, seq) => {}
            other => {
                assert!(
                    ledger.covers(seq, seq),
                    "{case}: {seq} is not counted as lost: {other:?}"
                );
                lost.push(seq);
            }
        }
    }
    let says_so = ledger
        .losses()
        .iter()
        .any(|loss| loss.why.contains("may have been removed before"));
    let is_in_doubt = lost.iter().any(|seq| is_removed(*seq, removed));
    assert!(says_so || !is_in_doubt, "{case}: {ledger:?}");
    assert!(state.last_seq >= MESSAGES, "{case}");
    lost
}

fn named(report: &Verified) -> Vec<Seq> {
    let ranges = report.found.iter().flat_map(|found| found.lost.iter());
    let mut named: Vec<Seq> = ranges.flat_map(|(first, last)| *first..=*last).collect();
    named.sort_unstable();
    named.dedup();
    named
}

fn is_of_heads(found: &Found) -> bool {
    found.text.contains("of heads")
}

fn check(folder: &Path) -> Verified {
    verify(folder, &Default::default(), None, &mut |_, _, _| {}).unwrap()
}

/// In each table at several places: blocks of heads are among them. What a block of bodies costs is the same beside every index.
fn damage_everywhere(kind: Kind, removed: Removed) {
    let _alone = alone();
    key::add(StoreKey::new(KEY));
    let whole = tempfile::tempdir().unwrap();
    fill(whole.path(), kind, removed);
    let sound = tempfile::tempdir().unwrap();
    copy_folder(whole.path(), sound.path());
    assert!(lost(sound.path(), kind, removed, "whole").is_empty());
    assert_eq!(check(sound.path()).found.len(), 0);
    let there = (1..=MESSAGES).filter(|seq| !is_removed(*seq, removed)).count() as u64;
    let (mut heads, mut first_too, mut in_doubt) = (0, 0, 0);
    for table in rocksdb::files(whole.path(), rocksdb::is_table) {
        let len = fs::metadata(&table).unwrap().len() as usize;
        let name = table.strip_prefix(whole.path()).unwrap().to_owned();
        for quarter in 0..4 {
            let at = (len * quarter / 4).max(40);
            let case = format!("{} at {at} of {len}", name.display());
            let folder = tempfile::tempdir().unwrap();
            copy_folder(whole.path(), folder.path());
            let damaged = folder.path().join(&name);
            let mut raw = fs::read(&damaged).unwrap();
            raw[at] ^= 4;
            fs::write(&damaged, raw).unwrap();

            let before = check(folder.path());
            if !before.found.iter().any(is_of_heads) {
                // A damaged catalogue of RocksDB's has it offline, which is told.
                let mut counted = before.streams.iter().map(|stream| stream.messages);
                let whole = counted.all(|count| count == there || count == 0);
                assert!(whole || !named(&before).is_empty(), "{case}: {before:#?}");
                continue;
            }
            assert!(before.is_damaged(), "{case}");
            let gone = lost(folder.path(), kind, removed, &case);
            in_doubt += u32::from(gone.iter().any(|seq| is_removed(*seq, removed)));
            assert_eq!(gone, named(&before), "{case}: {before:#?}");
            heads += 1;
            first_too += u32::from(gone.contains(&1));
            // What the consumer waited for is not passed over without a word.
            let told = check(folder.path());
            let of_consumers = told
                .found
                .iter()
                .filter(|found| found.text.contains("loses what it waited for"));
            let waited = gone.iter().any(|seq| (11..=20).contains(seq));
            assert_eq!(of_consumers.count(), usize::from(waited), "{case}: {told:#?}");
            // Another start finds the same, also behind a write, and so does whoever looks again.
            with_stream(folder.path(), kind, |stream| stream.publish("s.1", "", b"more"));
            assert_eq!(lost(folder.path(), kind, removed, &case), gone, "{case}");
            let again = check(folder.path());
            assert!(again.is_damaged() && named(&again) == gone, "{case}: {again:#?}");

            // Where the table can be read once more, all is there.
            let restored = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), restored.path());
            let mut raw = fs::read(restored.path().join(&name)).unwrap();
            raw[at] ^= 4;
            fs::write(restored.path().join(&name), raw).unwrap();
            assert!(lost(restored.path(), kind, removed, &case).is_empty(), "{case}");

            let report = mend(folder.path());
            assert!(!report.is_damaged(), "{case}: {report:#?}");
            assert_eq!(lost(folder.path(), kind, removed, &case), gone, "{case}");
            let after = check(folder.path());
            assert!(!after.is_damaged(), "{case}: {after:#?}");
            let planned = plan(folder.path());
            assert!(
                planned.actions.is_empty() && !planned.is_damaged(),
                "{case}: {planned:#?}"
            );
        }
    }
    assert!(
        heads > 1 && first_too > 0,
        "{heads} blocks of heads, {first_too} of them with the first"
    );
    assert_eq!(in_doubt > 0, removed > 0, "{in_doubt} in doubt");
}

#[test]
fn a_block_of_heads_under_an_index_in_memory_costs_what_is_told() {
    damage_everywhere(Kind::InMemory, 0);
}

#[test]
fn a_block_of_encrypted_heads_costs_what_is_told() {
    damage_everywhere(Kind::Encrypted, 0);
}

#[test]
fn of_a_block_of_heads_some_of_which_were_removed_it_is_said_that_it_is_not_known_which() {
    damage_everywhere(Kind::InMemory, 10);
}

#[test]
fn a_block_of_heads_under_an_index_in_pages_that_is_made_anew_costs_what_is_told() {
    damage_everywhere(Kind::PagesLost, 0);
}

#[test]
fn of_pages_made_anew_over_removed_messages_as_well() {
    damage_everywhere(Kind::PagesLost, 10);
}

/// Nothing of it tells a subject to who has not the key; what it was sealed for does.
#[test]
fn an_encrypted_stream_comes_back_when_both_notes_of_its_log_are_lost() {
    let _alone = alone();
    key::add(StoreKey::new(KEY));
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), Kind::Encrypted, 0);
    let log = [0, 0, 0, 0, 0, 0, 1, 0];
    for needle in [[&b"L"[..], &log].concat(), log.to_vec()] {
        let table = rocksdb::table_from(folder.path(), &needle);
        let mut raw = fs::read(&table).unwrap();
        raw[20] ^= 1;
        fs::write(&table, raw).unwrap();
    }
    assert!(check(folder.path()).is_damaged());
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let told = report.actions[0].told.join("\n");
    assert!(told.contains("by what they were sealed for"), "{report:#?}");
    assert!(lost(folder.path(), Kind::Encrypted, 0, "mended").is_empty());
    assert!(!check(folder.path()).is_damaged());
}
