//! A repair makes a store serve all that can be read, and destroys nothing. Each test damages a store by hand, sees what a server
//! says of it, repairs it, and has the server serve everything but what was hit.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod away;
mod gone;
mod lost;
mod misplaced;
#[cfg(feature = "rocksdb")]
mod older;
#[cfg(feature = "rocksdb")]
mod resident;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use support::{Fixture, copy_folder, copy_live, snapshot_of_files};
use weir_backends::root::StoreDir;
use weir_compaction::repair::{Doing, Options, Outcome, Report, repair};
use weir_compaction::verify::verify;
use weir_engine::shard::snapshot::stream_key;
use weir_engine::stream::settings::BackendKind;
use weir_engine::stream::{Message, StreamState};
use weir_engine::{Store, StoreOptions, StreamId};

/// Held by each test: a program that another test starts would have the locks of this one's stores for a moment.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

/// A server, as far as storage goes.
fn start(folder: &Path) -> Store {
    let store = StoreDir::new(folder);
    let mut options = StoreOptions::new(Arc::new(|| 1_700_000_100_000_000_000));
    options.there = store.there();
    options.read = Some(store.clone().reader());
    Store::embedded(store.opener(), options).unwrap()
}

/// What a server says is wrong.
fn trouble(folder: &Path) -> Option<String> {
    let store = start(folder);
    let trouble = store.catalogue().trouble();
    store.abandon();
    trouble
}

fn state(store: &Store, stream: &str) -> StreamState {
    store.stream("$G", stream).unwrap().state().unwrap()
}

fn messages(store: &Store, stream: &str) -> Vec<Message> {
    let stream = store.stream("$G", stream).unwrap();
    stream.messages(">", 1, usize::MAX, usize::MAX).unwrap()
}

fn mend(folder: &Path) -> Report {
    repair(folder, &Options::default(), &mut |_, _, _| {}).unwrap()
}

/// What a dry run plans; it changes nothing.
fn plan(folder: &Path) -> Report {
    let before = snapshot_of_files(folder);
    let options = Options {
        dry_run: true,
        ..Options::default()
    };
    let report = repair(folder, &options, &mut |_, _, _| {}).unwrap();
    assert!(snapshot_of_files(folder) == before, "a dry run changes nothing");
    assert!(report.actions.iter().all(|action| action.outcome == Outcome::Planned));
    assert!(report.quarantine.is_none());
    report
}

/// There is nothing more to repair.
fn assert_well(folder: &Path) {
    let report = plan(folder);
    assert!(report.actions.is_empty() && !report.is_damaged(), "{report:#?}");
    assert_eq!(trouble(folder), None);
}

fn reason(report: &Report) -> String {
    fs::read_to_string(report.quarantine.as_ref().unwrap().join("REASON.txt")).unwrap()
}

/// The catalogue loses its entries of these streams, in both copies.
fn lose_entries(folder: &Path, logs: &[StreamId]) {
    let root = StoreDir::new(folder).open(BackendKind::Segment).unwrap();
    let gone: Vec<_> = logs.iter().map(|log| (stream_key(*log), None)).collect();
    root.kv().put_all(&gone).unwrap();
    root.sync().unwrap();
}

fn filled(folder: &Path, backend: &'static str) -> Fixture {
    let mut fixture = Fixture::new(folder, backend);
    fixture.work();
    fixture.note();
    fixture.close();
    fixture
}

fn log_folder(folder: &Path, log: StreamId) -> PathBuf {
    folder.join("weir/segment/logs").join(log.to_string())
}

fn flip(path: &Path, needle: &[u8]) {
    let mut raw = fs::read(path).unwrap();
    let at = raw.windows(needle.len()).position(|bytes| bytes == needle).unwrap();
    raw[at] ^= 1;
    fs::write(path, raw).unwrap();
}

#[test]
fn a_hole_in_a_journal_is_settled_and_the_rest_applied() {
    let _alone = alone();
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    fixture.work();
    fixture.note();
    let folder = tempfile::tempdir().unwrap();
    copy_live(live.path(), folder.path());
    fixture.close();
    let journals = (1..=2).map(|journal| log_folder(folder.path(), StreamId(journal)));
    let files = journals.flat_map(|journal| fs::read_dir(journal).unwrap());
    let file = files
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let raw = fs::read(path).unwrap();
            raw.windows(16).any(|bytes| bytes == fixture.a_live_subject())
        })
        .unwrap();
    flip(&file, fixture.a_live_subject());
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains("has lost its record"), "{told}");
    let copy = fs::read(&file).unwrap();
    let planned = plan(folder.path());
    assert_eq!(planned.actions[0].doing, Doing::Settle, "{planned:#?}");
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let quarantine = report.quarantine.clone().unwrap();
    let relative = file.strip_prefix(folder.path().join("weir")).unwrap();
    assert!(
        fs::read(quarantine.join(relative)).unwrap() == copy,
        "the journal as it was"
    );
    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS").messages, fixture.state("ORDERS").messages);
    assert_eq!(state(&store, "JOBS"), fixture.state("JOBS"));
    store.close();
    assert_well(folder.path());
}

#[test]
fn damaged_messages_are_noted_and_settled_and_the_others_served() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = log_folder(folder.path(), fixture.log("ORDERS"));
    let files = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let file = files
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .find(|path| {
            let raw = fs::read(path).unwrap();
            raw.windows(4).any(|bytes| bytes == b"rare")
        })
        .unwrap();
    flip(&file, b"rare");
    let store = start(folder.path());
    assert!(store.stream("$G", "ORDERS").unwrap().message(61).is_err());
    store.abandon();
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    assert!(
        report.actions[0].told.join("\n").contains("lost message 61"),
        "{report:#?}"
    );
    let store = start(folder.path());
    let orders = fixture.state("ORDERS");
    assert_eq!(messages(&store, "ORDERS").len() as u64, orders.messages - 1);
    store.close();
    assert_well(folder.path());
}

/// A closed store whose files are small, and those of ORDERS.
fn of_many_files(folder: &Path) -> (Fixture, Vec<PathBuf>) {
    let mut fixture = Fixture::with_segments(folder, "segment", 1 << 12);
    fixture.work();
    fixture.note();
    fixture.close();
    let files = fs::read_dir(log_folder(folder, fixture.log("ORDERS"))).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    (fixture, files)
}

/// What is done to the files of a log.
type Damage = fn(&[PathBuf]);

/// After each of these a server serves what is left, and nothing is wrong that is not settled.
#[test]
fn whatever_befalls_the_files_of_a_log_the_stream_goes_on_without_what_is_bad() {
    let _alone = alone();
    let damages: [(&str, Damage); 5] = [
        ("a file is gone", |files| fs::remove_file(&files[1]).unwrap()),
        ("the last file is gone", |files| {
            fs::remove_file(&files[files.len() - 1]).unwrap()
        }),
        ("a file is cut", |files| {
            let file = fs::File::options().write(true).open(&files[1]).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("a footer is damaged", |files| {
            let mut raw = fs::read(&files[0]).unwrap();
            let trailer = raw.len() - 112;
            raw[trailer + 20] ^= 1;
            fs::write(&files[0], raw).unwrap();
        }),
        ("a file is zeros", |files| {
            let len = fs::metadata(&files[1]).unwrap().len() as usize;
            fs::write(&files[1], vec![0; len]).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let (fixture, files) = of_many_files(folder.path());
        damage(&files);
        let there = {
            let store = start(folder.path());
            let there = messages(&store, "ORDERS");
            store.abandon();
            there
        };
        assert!(plan(folder.path()).is_damaged(), "{what}");
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{what}: {report:#?}");
        let store = start(folder.path());
        assert_eq!(messages(&store, "ORDERS"), there, "{what}");
        assert_eq!(
            state(&store, "ORDERS").last_seq,
            fixture.state("ORDERS").last_seq,
            "{what}"
        );
        assert_eq!(state(&store, "JOBS"), fixture.state("JOBS"), "{what}");
        store
            .stream("$G", "ORDERS")
            .unwrap()
            .publish("orders.a", "", b"more")
            .unwrap();
        store.close();
        assert_well(folder.path());
    }
}

/// Neither a start nor a verification has a word of anything.
fn assert_nothing_is_said(folder: &Path) {
    assert_well(folder);
    let verified = verify(folder, &Default::default(), None, &mut |_, _, _| {}).unwrap();
    assert_eq!(verified.found, []);
}

/// A repair says what it did, and nothing else.
#[test]
fn what_was_not_repaired_is_not_said_to_be() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let (code, text) = weir(&["repair", path]);
    assert_eq!(code, Some(0));
    let well = format!("There is nothing to repair in {path}/weir\n\nNothing is wrong that is not settled.\n");
    assert_eq!(text, well);
    fs::remove_dir_all(log_folder(folder.path(), fixture.log("JOBS"))).unwrap();
    for more in [&["repair", path][..], &["repair", path, "--dry-run"]] {
        let (code, text) = weir(more);
        assert_eq!(code, Some(2));
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            format!("Nothing was done in {path}/weir: it takes somebody to do something first:")
        );
        assert!(text.contains("stream JOBS is offline"), "{text}");
    }
}

/// A file of a stream's log lies over the journal's, or something else in the place of its folder.
#[test]
fn a_journal_that_cannot_be_opened_costs_what_nothing_else_has() {
    let _alone = alone();
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let killed = tempfile::tempdir().unwrap();
    copy_live(live.path(), killed.path());
    fixture.close();
    for doing in [Doing::Place, Doing::Journal] {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(killed.path(), folder.path());
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg");
        let files = |log: StreamId| {
            let files = fs::read_dir(log_folder(folder.path(), log)).unwrap();
            files.map(|entry| entry.unwrap().path()).filter(is_segment)
        };
        let journal = StreamId(1);
        if doing == Doing::Place {
            let stream = files(fixture.log("ORDERS")).next().unwrap();
            for path in files(journal) {
                fs::copy(&stream, path).unwrap();
            }
        } else {
            fs::remove_dir_all(log_folder(folder.path(), journal)).unwrap();
            fs::write(log_folder(folder.path(), journal), "no folder").unwrap();
        }
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains("storage thread 0 cannot be opened"), "{told}");
        assert_eq!(plan(folder.path()).actions[0].doing, doing);
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{report:#?}");
        assert!(reason(&report).contains("0000000000000001"), "{}", reason(&report));
        let store = start(folder.path());
        assert_eq!(store.catalogue().offline(), 0);
        for name in ["ORDERS", "JOBS", "PURGED"] {
            let last = state(&store, name).last_seq;
            let subjects = &store.catalogue().get("$G", name).unwrap().config.subjects;
            let subject = subjects[0].replace(['>', '*'], "x");
            let stream = store.stream("$G", name).unwrap();
            assert_eq!(stream.publish(&subject, "", b"more").unwrap().seq, last + 1);
        }
        store.close();
        assert_well(folder.path());
    }
}

/// With file, offset and what is lost, line for line.
#[test]
fn what_is_wrong_is_told_as_a_verification_tells_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = log_folder(folder.path(), fixture.log("ORDERS"));
    let files = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let file = files
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .find(|path| fs::read(path).unwrap().windows(4).any(|bytes| bytes == b"rare"));
    flip(&file.unwrap(), b"rare");
    let path = folder.path().to_str().unwrap();
    let (_, verified) = weir(&["verify", path]);
    let (_, planned) = weir(&["repair", path, "--dry-run"]);
    let (_, wrong) = verified.split_once("Wrong:\n").unwrap();
    assert!(
        wrong.contains(", offset ") && wrong.contains("    lost: message "),
        "{wrong}"
    );
    assert_eq!(planned.split_once("Wrong now:\n").unwrap().1, wrong);
}

#[test]
fn a_store_that_a_server_has_open_is_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), "segment");
    let store = start(folder.path());
    let (code, text) = weir(&["repair", folder.path().to_str().unwrap()]);
    assert!(
        code == Some(1) && text.contains("is open in another process, a server or a tool"),
        "{text}"
    );
    store.close();
}
