//! What a server found lost in a store's own bookkeeping is shown until it is settled.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use support::{Fixture, copy_live, snapshot_of_files};
use weir_backends::root::StoreDir;
use weir_compaction::Error;
use weir_compaction::inspect::{Options, inspect};
use weir_compaction::settle::{Which, settle};
use weir_engine::finding::{Concerned, Finding, FindingKind};
use weir_engine::stream::settings::BackendKind;
use weir_engine::{ShardId, Store, StoreOptions, StreamId};

/// What is said where there is nothing to settle.
const NOTHING: &str = "There is nothing to settle; what an inspection finds is noted, and can be settled, once a server has started on the \
                       store; what only `weir verify` finds, and costs no message, with `--verified`.\n";

#[test]
fn findings_are_shown_until_they_are_settled() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let finding = Finding {
        kind: FindingKind::Journal,
        found: 1_700_000_000_000_000_000,
        shard: Some(ShardId(0)),
        text: "the journal of shard 0 has lost its record 17".to_owned(),
        concerned: vec![Concerned {
            log: 256,
            account: "$G".to_owned(),
            stream: "ORDERS".to_owned(),
            lost: vec![(3, 3), (5, 9)],
        }],
        settled: false,
    };
    {
        let root = StoreDir::new(folder.path()).open(BackendKind::Segment).unwrap();
        let json = serde_json::to_vec(&finding).unwrap();
        let write = |key: &'static str| (key.into(), Some(json.clone().into()));
        root.kv()
            .put_all(&[write("finding/one"), write("finding/two")])
            .unwrap();
        root.sync().unwrap();
    }
    let look = || inspect(folder.path(), &Options::default()).unwrap();
    let report = look();
    assert_eq!(report.findings.len(), 2);
    assert!(report.is_damaged());
    let text = report.to_text();
    let told = "the journal of shard 0 has lost its record 17; stream ORDERS of account $G lost 3, 5 to 9";
    assert!(text.contains(told), "{text}");
    let unknown = settle(folder.path(), &Which::Keys(vec!["one".to_owned(), "three".to_owned()]));
    assert!(matches!(unknown, Err(Error::NoSuchFinding { .. })), "{unknown:?}");
    assert_eq!(look().findings.len(), 2);
    let settled = settle(folder.path(), &Which::Keys(vec!["two".to_owned()])).unwrap();
    assert_eq!(settled, [told]);
    assert_eq!(look().findings[0].key, "one");
    assert_eq!(settle(folder.path(), &Which::All).unwrap().len(), 1);
    let report = look();
    assert!(!report.is_damaged(), "{:?}", report.problems);
}

/// Held by each test: a program that another test starts would have the locks of this one's stores for a moment.
static ALONE: Mutex<()> = Mutex::new(());

/// Exit code and output.
fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

/// Flips a bit of what a journal says there; answers whose journal it is.
fn flip(folder: &Path, says: &[u8]) -> u64 {
    for shard in 0..2 {
        let journal = folder.join("weir/segment/logs").join(StreamId(1 + shard).to_string());
        for entry in fs::read_dir(&journal).unwrap() {
            let path = entry.unwrap().path();
            let mut raw = fs::read(&path).unwrap();
            if let Some(at) = raw.windows(says.len()).position(|bytes| bytes == says) {
                raw[at] ^= 1;
                fs::write(path, raw).unwrap();
                return shard;
            }
        }
    }
    panic!("no journal says it");
}

fn start(folder: &Path) -> Store {
    let options = StoreOptions::new(Arc::new(|| 1_700_000_100_000_000_000));
    Store::embedded(StoreDir::new(folder).opener(), options).unwrap()
}

/// It ended with 0 whatever was lost, and went on to show a hole that was settled until a server had run.
#[test]
fn the_exit_code_says_whether_a_store_is_whole_and_settling_makes_it_so_at_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    fixture.work();
    let folder = tempfile::tempdir().unwrap();
    copy_live(live.path(), folder.path());
    fixture.close();
    let path = folder.path().to_str().unwrap();
    // A store that was killed is whole.
    assert_eq!(weir(&["inspect", path]).0, Some(0));
    let shard = flip(folder.path(), fixture.a_live_subject());
    let (code, text) = weir(&["inspect", path]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains(&format!("the journal of shard {shard} has lost its record ")),
        "{text}"
    );
    // A server finds it, and is killed: the journal has it still.
    let store = start(folder.path());
    assert_eq!(store.findings().len(), 1);
    store.abandon();
    let (code, text) = weir(&["inspect", path]);
    assert!(
        code == Some(2) && text.contains(&format!("(journal-{shard}-")),
        "{code:?} {text}"
    );
    assert_eq!(weir(&["settle", path]).0, Some(1));
    assert_eq!(weir(&["settle", path, "--all", "x"]).0, Some(1));
    let (code, text) = weir(&["settle", path, "nothing"]);
    assert!(
        code == Some(1) && text.contains(&format!("it has journal-{shard}-")),
        "{code:?} {text}"
    );
    let (code, text) = weir(&["settle", path, "--all"]);
    let settled = format!("Settled: the journal of shard {shard} has lost its record ");
    assert!(code == Some(0) && text.starts_with(&settled), "{code:?} {text}");
    let (code, text) = weir(&["inspect", path]);
    assert!(
        code == Some(0) && text.contains("1 damaged record that costs nothing"),
        "{code:?} {text}"
    );
    // It wrote both copies of the catalogue.
    let before = snapshot_of_files(folder.path());
    assert_eq!(weir(&["settle", path, "--all"]), (Some(0), NOTHING.to_owned()));
    assert!(snapshot_of_files(folder.path()) == before, "nothing was written");
    // The next server finds the same hole, and has been told.
    for _ in 0..2 {
        let store = start(folder.path());
        assert_eq!((store.findings(), store.catalogue().trouble()), (Vec::new(), None));
        store.close();
        assert_eq!(weir(&["inspect", path]).0, Some(0));
    }
    let root = StoreDir::new(folder.path()).open(BackendKind::Segment).unwrap();
    let mut kept = 0;
    root.kv()
        .scan(b"finding/", None, &mut |_, _| {
            kept += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(kept, 0, "what is over is forgotten");
}

/// What a stream has lost counts until it is settled.
#[test]
fn the_losses_of_a_stream_are_settled_too() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let log = fixture.log("ORDERS");
    {
        let root = StoreDir::new(folder.path()).open(BackendKind::Segment).unwrap();
        // What can be read would be taken off: these were deleted.
        let ledger = r#"{"losses":[{"first":6,"last":6,"found":1700000000000000000,"why":"its record is damaged"},
            {"first":8,"last":8,"found":1700000000000000000,"why":"the log has lost its end"}],"more":0}"#;
        root.kv()
            .put_all(&[(format!("ledger/{log}").into(), Some(ledger.into()))])
            .unwrap();
        root.sync().unwrap();
    }
    let path = folder.path().to_str().unwrap();
    let key = format!("lost-{log}");
    let (code, text) = weir(&["inspect", path]);
    assert!(
        code == Some(2) && text.contains(&format!("Not settled of ORDERS ({key}): 2 lost messages.")),
        "{text}"
    );
    assert!(text.contains("has lost message 6: its record is damaged"), "{text}");
    let (code, text) = weir(&["settle", path, &key]);
    let settled = "Settled: stream ORDERS of account $G has lost messages 6, 8\n";
    assert_eq!((code, &*text), (Some(0), settled));
    let (code, text) = weir(&["inspect", path]);
    assert!(
        code == Some(0) && text.contains("has lost message 8"),
        "{code:?} {text}"
    );
    // A server keeps both.
    start(folder.path()).close();
    let report = inspect(folder.path(), &Options::default()).unwrap();
    let orders = report.streams.iter().find(|stream| stream.name == "ORDERS").unwrap();
    assert_eq!((orders.lost_messages, orders.lost_unsettled), (2, 0));
}

/// A damaged head kept the exit code at 1 for ever, and so did one of a message that was deleted before.
#[test]
fn damaged_records_that_are_settled_are_told_and_cost_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let path = folder.path().to_str().unwrap();
    let log = fixture.log("ORDERS");
    let files = fs::read_dir(folder.path().join("weir/segment/logs").join(log.to_string())).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    let file = files
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    // Each record has its subject once, in its head. The eighth is deleted.
    let raw = fs::read(&file).unwrap();
    let subjects = raw.windows(7).enumerate().filter(|(_, bytes)| *bytes == b"orders.");
    let subjects: Vec<usize> = subjects.map(|(at, _)| at).collect();
    let flip = |number: usize| {
        let mut raw = fs::read(&file).unwrap();
        raw[subjects[number - 1]] ^= 4;
        fs::write(&file, raw).unwrap();
    };
    let codes = |whole: Option<i32>, says: &str| {
        let (code, text) = weir(&["inspect", path]);
        assert!(code == whole && text.contains(says), "{code:?} {text}");
    };
    flip(20);
    codes(Some(2), "damaged; record 20 may be lost");
    // What is lost with it is not known before a server has looked.
    let nothing = (Some(0), NOTHING.to_owned());
    assert_eq!(weir(&["settle", path, "--all"]), nothing);
    start(folder.path()).close();
    let key = format!("lost-{log}");
    codes(
        Some(2),
        &format!("Not settled of ORDERS ({key}): 1 lost message, 1 damaged place."),
    );
    let (code, text) = weir(&["settle", path, &key]);
    let settled = "Settled: stream ORDERS of account $G has lost message 20, with 1 damaged place\n";
    assert_eq!((code, &*text), (Some(0), settled));
    codes(
        Some(0),
        "its record in the log is damaged, found 2023-11-14T22:15:00Z; settled.",
    );
    // Of one that was deleted nothing is lost, and there is no need of a server.
    flip(8);
    codes(Some(2), &format!("Not settled of ORDERS ({key}): 1 damaged place."));
    let (code, text) = weir(&["settle", path, "--all"]);
    let settled = "Settled: stream ORDERS of account $G has 1 damaged place\n";
    assert_eq!((code, &*text), (Some(0), settled));
    for _ in 0..2 {
        codes(Some(0), "\nDamaged, and settled:\n");
        assert_eq!(weir(&["settle", path, "--all"]), nothing);
        start(folder.path()).close();
    }
    // What comes beside it does count.
    flip(30);
    codes(Some(2), "damaged; record 30 may be lost");
}
