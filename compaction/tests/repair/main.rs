//! A repair makes a store serve all that can be read, and destroys nothing. Each test damages a store by hand, sees what a server
//! says of it, repairs it, and has the server serve everything but what was hit.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod away;
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
use weir_engine::{LogId, Store, StoreOptions};

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
fn lose_entries(folder: &Path, logs: &[LogId]) {
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

fn log_folder(folder: &Path, log: LogId) -> PathBuf {
    folder.join("weir/segment/logs").join(log.to_string())
}

fn flip(path: &Path, needle: &[u8]) {
    let mut raw = fs::read(path).unwrap();
    let at = raw.windows(needle.len()).position(|bytes| bytes == needle).unwrap();
    raw[at] ^= 1;
    fs::write(path, raw).unwrap();
}

fn a_lost_stream_comes_back(backend: &'static str) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), backend);
    let before = {
        let store = start(folder.path());
        let before = messages(&store, "ORDERS");
        store.close();
        before
    };
    assert_well(folder.path());
    lose_entries(folder.path(), &[fixture.log("ORDERS"), fixture.log("JOBS")]);
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains("stream ORDERS of account $G is offline"), "{told}");
    let planned = plan(folder.path());
    let doings: Vec<_> = planned.actions.iter().map(|action| action.doing).collect();
    assert_eq!(doings, [Doing::Adopt, Doing::Adopt], "{planned:#?}");
    assert!(planned.is_damaged());

    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let orders = &report.actions[0];
    assert_eq!(
        (orders.stream.as_deref(), orders.outcome),
        (Some("ORDERS"), Outcome::Done)
    );
    let told = orders.told.join("\n");
    assert!(told.contains("nothing tells of its consumers"), "{told}");
    let reason = reason(&report);
    assert!(
        reason.contains("segment/kv\n") && reason.contains("To put it back: "),
        "{reason}"
    );

    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    assert_eq!(messages(&store, "ORDERS"), before);
    assert_eq!(state(&store, "JOBS").messages, fixture.state("JOBS").messages);
    let orders = store.stream("$G", "ORDERS").unwrap();
    let last = fixture.state("ORDERS").last_seq;
    assert_eq!(orders.publish("orders.a", "", b"more").unwrap().seq, last + 1);
    assert_eq!(state(&store, "PURGED"), fixture.state("PURGED"));
    store.close();
    assert_well(folder.path());
}

#[test]
fn a_stream_that_the_catalogue_has_lost_comes_back_on_segment() {
    a_lost_stream_comes_back("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_stream_that_the_catalogue_has_lost_comes_back_on_rocksdb() {
    a_lost_stream_comes_back("rocksdb");
}

/// After a kill the journal has messages that the log has not, and consumers that no label tells of.
#[test]
fn what_the_journal_has_of_a_lost_stream_comes_back_too() {
    let _alone = alone();
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let folder = tempfile::tempdir().unwrap();
    copy_live(live.path(), folder.path());
    fixture.close();
    lose_entries(folder.path(), &[fixture.log("ORDERS")]);
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    let names = store.stream("$G", "ORDERS").unwrap().read(|stream| {
        Ok(stream
            .consumer_names()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>())
    });
    assert_eq!(names.unwrap(), ["late"]);
    store.close();
    assert_well(folder.path());
}

#[test]
fn a_lost_stream_whose_name_is_taken_gets_another() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS");
    let before = {
        let store = start(folder.path());
        let before = messages(&store, "ORDERS");
        store.close();
        before
    };
    // Somebody made the stream anew while its log was elsewhere.
    lose_entries(folder.path(), &[log]);
    let (there, away) = (log_folder(folder.path(), log), folder.path().join("away"));
    fs::rename(&there, &away).unwrap();
    {
        let store = start(folder.path());
        let config = store.catalogue().get("$G", "JOBS").unwrap().config.clone();
        let config = weir_engine::stream::StreamConfig {
            name: "ORDERS".to_owned(),
            subjects: vec!["orders.>".to_owned()],
            ..config
        };
        let stream = store.create_stream("$G", config, &Default::default()).unwrap();
        stream.publish("orders.a", "", b"new").unwrap();
        store.close();
    }
    fs::rename(&away, &there).unwrap();
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let name = format!("ORDERS-recovered-{log}");
    assert_eq!(report.actions[0].stream.as_deref(), Some(&*name));
    for _ in 0..2 {
        let store = start(folder.path());
        assert_eq!(messages(&store, &name), before);
        assert_eq!(&messages(&store, "ORDERS")[0].payload[..], b"new");
        let entry = store.catalogue().get("$G", &name).unwrap();
        assert_eq!(entry.config.subjects, std::slice::from_ref(&name));
        store.close();
    }
    assert_well(folder.path());
}

#[test]
fn a_log_that_does_not_say_whose_it_is_stays_and_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS");
    lose_entries(folder.path(), &[log]);
    flip(&log_folder(folder.path(), log).join("label"), b"ORDERS");
    let (code, text) = weir(&["repair", folder.path().to_str().unwrap()]);
    assert!(
        code == Some(2) && text.contains(&format!("log {log} of segment")),
        "{text}"
    );
    assert!(text.contains("no label that can be read"), "{text}");
    assert!(log_folder(folder.path(), log).is_dir());
}

/// Limits that were wider when the messages came must not take them away.
#[test]
fn a_stream_that_comes_back_loses_no_message_to_the_limits_of_its_label() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = filled(folder.path(), "segment");
    let id = {
        let store = start(folder.path());
        let config = store.catalogue().get("$G", "ORDERS").unwrap().config.clone();
        let small = weir_engine::stream::StreamConfig {
            name: "SMALL".to_owned(),
            subjects: vec!["small".to_owned()],
            max_msgs: 5,
            max_msgs_per_subject: 3,
            max_age: 1_000_000_000,
            ..config
        };
        let stream = store.create_stream("$G", small, &Default::default()).unwrap();
        let id = store.catalogue().get("$G", "SMALL").unwrap().id;
        stream
            .call(|shard, id| {
                let mut config = shard.stream(id)?.config().clone();
                config.max_msgs = -1;
                config.max_msgs_per_subject = -1;
                config.max_age = 0;
                let settings = weir_engine::stream::settings::Settings::of(&config, &Default::default()).unwrap();
                shard.update_stream(id, config, settings)
            })
            .unwrap();
        for _ in 0..10 {
            stream.publish("small", "", b"x").unwrap();
        }
        store.close();
        id
    };
    fixture.reopen();
    fixture.close();
    lose_entries(folder.path(), &[id]);
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let told = report.actions[0].told.join("\n");
    assert!(
        told.contains("max_msgs (5), max_msgs_per_subject (3), max_age (1 s)"),
        "{told}"
    );
    let store = start(folder.path());
    assert_eq!(messages(&store, "SMALL").len(), 10);
    store.close();
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
    let journals = (1..=2).map(|journal| log_folder(folder.path(), LogId(journal)));
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

#[test]
fn files_that_have_each_others_names_are_put_back() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, files) = of_many_files(folder.path());
    let whole = snapshot_of_files(&log_folder(folder.path(), fixture.log("ORDERS")));
    let away = folder.path().join("away");
    fs::rename(&files[0], &away).unwrap();
    fs::rename(&files[1], &files[0]).unwrap();
    fs::rename(&away, &files[1]).unwrap();
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains("not what its name says"), "{told}");
    let planned = plan(folder.path());
    let doings: Vec<_> = planned.actions.iter().map(|action| action.doing).collect();
    assert_eq!(doings, [Doing::Place, Doing::Place], "{planned:#?}");
    // A repair that was cut short left one of them on its way.
    fs::rename(&files[1], files[0].with_extension("seg.misplaced")).unwrap();
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    assert!(snapshot_of_files(&log_folder(folder.path(), fixture.log("ORDERS"))) == whole);
    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    store.close();
    assert_well(folder.path());
}

/// Copies of a log's file lie in two folders, and a file has the name that one of them might get on its way: none of them is put over what
/// is there, and none is lost.
#[test]
fn copies_of_a_file_that_is_in_its_place_go_to_quarantine() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, files) = of_many_files(folder.path());
    let orders = log_folder(folder.path(), fixture.log("ORDERS"));
    let whole = snapshot_of_files(&orders);
    let mut copies = Vec::new();
    for log in [777, 778] {
        let other = log_folder(folder.path(), LogId(log));
        fs::create_dir(&other).unwrap();
        let copy = other.join(files[0].file_name().unwrap());
        fs::copy(&files[0], &copy).unwrap();
        // They are not the same: each must be found afterwards.
        let mut raw = fs::read(&copy).unwrap();
        raw.extend_from_slice(&log.to_le_bytes());
        fs::write(&copy, &raw).unwrap();
        copies.push(raw);
    }
    let planned = plan(folder.path());
    let moved = planned.actions.iter().filter(|action| action.doing == Doing::Place);
    let texts: Vec<_> = moved.map(|action| &action.text).collect();
    assert!(
        texts.len() == 2
            && texts
                .iter()
                .all(|text| text.contains("is there already: it is moved away")),
        "{texts:?}"
    );
    let report = mend(folder.path());
    assert!(snapshot_of_files(&orders) == whole);
    let quarantine = report.quarantine.unwrap();
    for (log, raw) in [777, 778].into_iter().zip(copies) {
        let log = LogId(log).to_string();
        let kept = quarantine
            .join("segment/logs")
            .join(&log)
            .join(files[0].file_name().unwrap());
        assert!(fs::read(kept).unwrap() == raw, "{log}");
        let reason = fs::read_to_string(quarantine.join("REASON.txt")).unwrap();
        assert!(reason.contains(&format!("segment/logs/{log}/")), "{reason}");
    }
}

/// Somebody put a copy of a log's folder beside it, with its label: after a repair nothing is left that a start or a verification
/// would speak of.
#[test]
fn the_folder_of_a_copy_goes_to_quarantine_with_its_files() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _) = of_many_files(folder.path());
    let orders = log_folder(folder.path(), fixture.log("ORDERS"));
    let whole = snapshot_of_files(&orders);
    let copy = log_folder(folder.path(), LogId(0x777));
    copy_folder(&orders, &copy);
    let planned = plan(folder.path());
    let last = planned.actions.last().unwrap();
    assert_eq!(
        (last.doing, &*last.log.clone().unwrap()),
        (Doing::Folder, "0000000000000777")
    );
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    assert!(report.actions.iter().all(|action| action.outcome == Outcome::Done));
    assert!(!copy.exists() && snapshot_of_files(&orders) == whole);
    let kept = report.quarantine.unwrap().join("segment/logs/0000000000000777");
    let names = |files: std::collections::BTreeMap<PathBuf, Vec<u8>>, of: &Path| -> Vec<_> {
        let relative = |(path, raw): (PathBuf, Vec<u8>)| (path.strip_prefix(of).unwrap().to_path_buf(), raw);
        files.into_iter().map(relative).collect()
    };
    assert!(
        names(snapshot_of_files(&kept), &kept) == names(whole, &orders),
        "all of it is kept"
    );
    assert_nothing_is_said(folder.path());
}

/// An earlier repair left such a folder.
#[test]
fn a_folder_with_the_label_of_another_log_alone_goes_to_quarantine() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let left = log_folder(folder.path(), LogId(0x777));
    fs::create_dir(&left).unwrap();
    let label = log_folder(folder.path(), fixture.log("ORDERS")).join("label");
    fs::copy(&label, left.join("label")).unwrap();
    let report = mend(folder.path());
    assert_eq!((report.actions.len(), report.is_damaged()), (1, false), "{report:#?}");
    let kept = report.quarantine.unwrap().join("segment/logs/0000000000000777/label");
    assert!(!left.exists() && fs::read(kept).unwrap() == fs::read(label).unwrap());
    assert_nothing_is_said(folder.path());
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
        let files = |log: LogId| {
            let files = fs::read_dir(log_folder(folder.path(), log)).unwrap();
            files.map(|entry| entry.unwrap().path()).filter(is_segment)
        };
        let journal = LogId(1);
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

#[test]
fn a_catalogue_that_is_damaged_in_both_copies_costs_no_stream() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    for copy in ["kv", "kv2"] {
        let files = fs::read_dir(folder.path().join("weir/segment").join(copy)).unwrap();
        flip(&files.map(|entry| entry.unwrap().path()).next().unwrap(), b"\"ORDERS\"");
    }
    assert!(
        trouble(folder.path())
            .unwrap()
            .contains("part of the catalogue is lost")
    );
    let copies = ["kv", "kv2"].map(|copy| snapshot_of_files(&folder.path().join("weir/segment").join(copy)));
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    for (copy, before) in ["kv", "kv2"].into_iter().zip(copies) {
        let kept = report.quarantine.as_ref().unwrap().join("segment").join(copy);
        assert!(
            snapshot_of_files(&kept).into_values().eq(before.into_values()),
            "all of {copy} is kept"
        );
    }
    let store = start(folder.path());
    for name in ["ORDERS", "JOBS", "PURGED"] {
        assert_eq!(state(&store, name).messages, fixture.state(name).messages, "{name}");
    }
    store.close();
    assert_well(folder.path());
}

/// The catalogue ends, in both copies, before its first checkpoint, and the journal begins behind that.
#[test]
fn streams_come_back_whose_creation_the_catalogue_and_the_journal_have_lost() {
    let _alone = alone();
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    let catalogue = ["kv", "kv2"].map(|copy| live.path().join("weir/segment").join(copy));
    let early = catalogue.clone().map(|copy| snapshot_of_files(&copy));
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let folder = tempfile::tempdir().unwrap();
    copy_live(live.path(), folder.path());
    fixture.close();
    for (copy, early) in ["kv", "kv2"].into_iter().zip(early) {
        let copy = folder.path().join("weir/segment").join(copy);
        fs::remove_dir_all(&copy).unwrap();
        fs::create_dir(&copy).unwrap();
        for (path, raw) in early {
            fs::write(copy.join(Path::new(&path).file_name().unwrap()), raw).unwrap();
        }
    }
    let told = trouble(folder.path()).unwrap();
    assert!(
        told.contains("stream ORDERS of account $G is offline: the record of its creation is lost"),
        "{told}"
    );
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let store = start(folder.path());
    assert_eq!(store.catalogue().offline(), 0);
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    for name in ["JOBS", "PURGED"] {
        assert_eq!(state(&store, name).last_seq, fixture.state(name).last_seq, "{name}");
    }
    store.close();
    assert_well(folder.path());
}

#[test]
fn a_stream_whose_log_is_gone_goes_on_empty_if_it_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let (log, away) = (
        log_folder(folder.path(), fixture.log("ORDERS")),
        folder.path().join("away"),
    );
    fs::rename(&log, &away).unwrap();
    assert!(trouble(folder.path()).unwrap().contains("ORDERS"));
    let (code, text) = weir(&["repair", path]);
    assert!(
        code == Some(2) && text.contains("back; `weir repair --forget ORDERS`"),
        "{text}"
    );
    assert!(trouble(folder.path()).is_some(), "nothing is forgotten by itself");
    let (code, text) = weir(&["repair", path, "--forget", "JOBS"]);
    assert!(code == Some(1) && text.contains("JOBS"), "{text}");
    let (code, text) = weir(&["repair", path, "--forget", "ORDERS"]);
    assert_eq!(code, Some(0), "{text}");
    // What was known of it is kept, and it is said why nothing else is.
    assert!(text.contains("no messages were there to keep: "), "{text}");
    let quarantine = fs::read_dir(folder.path().join("weir/quarantine"))
        .unwrap()
        .next()
        .unwrap();
    let quarantine = quarantine.unwrap().path();
    assert!(quarantine.join("segment/kv").is_dir() && quarantine.join("segment/kv2").is_dir());
    let reason = fs::read_to_string(quarantine.join("REASON.txt")).unwrap();
    assert!(reason.contains("streams that go on without their messages"), "{reason}");
    // Its log is found, and put back by hand: that nothing is lost is said then.
    let made = folder.path().join("made");
    fs::rename(&log, &made).unwrap();
    fs::rename(&away, &log).unwrap();
    let (code, text) = weir(&["verify", path]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(
            "messages 1 to 61: noted as lost (the log has lost its end), and 53 of these sequences are there again"
        ) && !text.contains("    lost: "),
        "{text}"
    );
    fs::rename(&log, &away).unwrap();
    fs::rename(&made, &log).unwrap();
    let store = start(folder.path());
    let orders = state(&store, "ORDERS");
    assert_eq!(
        (orders.messages, orders.last_seq),
        (0, fixture.state("ORDERS").last_seq)
    );
    let stream = store.stream("$G", "ORDERS").unwrap();
    assert_eq!(stream.publish("orders.a", "", b"x").unwrap().seq, orders.last_seq + 1);
    store.close();
    assert_well(folder.path());
}

#[test]
fn consumers_of_a_stream_that_is_forgotten_are_named_with_their_positions_and_those_are_kept() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let log = fixture.log("ORDERS");
    let away = folder.path().join("away");
    fs::rename(log_folder(folder.path(), log), &away).unwrap();
    let kv = folder.path().join("weir/segment/kv");
    let before = snapshot_of_files(&kv);

    let (code, planned) = weir(&["repair", path, "--dry-run", "--forget", "ORDERS"]);
    assert_eq!(code, Some(2), "{planned}");
    let floor = fixture.consumer("ORDERS", "workers").ack_floor.stream;
    assert!(
        planned.contains("the positions of 3 consumers go with the messages"),
        "{planned}"
    );
    assert!(
        planned.contains(&format!("workers (acknowledged up to {floor}, sent up to ")),
        "{planned}"
    );
    assert!(planned.contains("mail (") && planned.contains("news ("), "{planned}");
    assert!(planned.contains("copied into quarantine"), "{planned}");
    let (code, done) = weir(&["repair", path, "--forget", "ORDERS"]);
    assert_eq!(code, Some(0), "{done}");
    assert!(
        done.contains("the positions of 3 consumers go with the messages"),
        "{done}"
    );
    assert!(done.contains("workers had acknowledged all up to "), "{done}");

    let mut quarantine = fs::read_dir(folder.path().join("weir/quarantine")).unwrap();
    let quarantine = quarantine.next().unwrap().unwrap().path();
    let positions = fs::read_to_string(quarantine.join(format!("consumers-{log}.json"))).unwrap();
    assert!(positions.contains("\"workers\""), "{positions}");
    let reason = fs::read_to_string(quarantine.join("REASON.txt")).unwrap();
    assert!(reason.contains("where their consumers were"), "{reason}");
    // What lies there is what was there; with it, and the log, all is as it was.
    let copied = snapshot_of_files(&quarantine.join("segment/kv"));
    let named = |files: std::collections::BTreeMap<PathBuf, Vec<u8>>| -> Vec<_> {
        let of = |(path, bytes): (PathBuf, Vec<u8>)| (path.file_name().unwrap().to_owned(), bytes);
        files.into_iter().map(of).collect()
    };
    assert!(named(copied) == named(before), "the catalogue is copied as it was");
    let segment = folder.path().join("weir/segment");
    for part in ["kv", "kv2"] {
        fs::remove_dir_all(segment.join(part)).unwrap();
        copy_folder(&quarantine.join("segment").join(part), &segment.join(part));
    }
    fs::remove_dir_all(log_folder(folder.path(), log)).unwrap();
    fs::rename(&away, log_folder(folder.path(), log)).unwrap();
    let (code, text) = weir(&["verify", path]);
    assert_eq!(code, Some(0), "{text}");
    let store = start(folder.path());
    let stream = store.stream("$G", "ORDERS").unwrap();
    let info = stream.consumer_info("workers").unwrap();
    assert_eq!(info.ack_floor, fixture.consumer("ORDERS", "workers").ack_floor);
    assert_eq!(
        info.num_ack_pending,
        fixture.consumer("ORDERS", "workers").num_ack_pending
    );
    store.close();
}

#[test]
fn what_consumers_lose_with_the_only_file_of_a_stream_is_told_before_and_after() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    for file in fs::read_dir(log_folder(folder.path(), fixture.log("ORDERS"))).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|end| end == "seg") {
            fs::remove_file(file).unwrap();
        }
    }
    let floor = fixture.consumer("ORDERS", "workers").ack_floor.stream;
    let said = format!("workers had acknowledged all up to {floor} and was sent all up to ");
    let (code, verified) = weir(&["verify", path]);
    assert!(code == Some(2) && verified.contains(&said), "{verified}");
    let (code, planned) = weir(&["repair", path, "--dry-run"]);
    assert!(code == Some(2) && planned.contains(&said), "{planned}");
    let (code, inspected) = weir(&["inspect", path]);
    assert!(code == Some(2) && inspected.contains(&said), "{inspected}");

    // A server goes on, says what that cost, and does so until somebody has seen it.
    for _ in 0..2 {
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains("1 consumer loses what it waited for"), "{told}");
    }
    let store = start(folder.path());
    store.close();
    assert!(trouble(folder.path()).unwrap().contains(&said));
    let (code, text) = weir(&["settle", path, "--all"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(trouble(folder.path()), None);
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
