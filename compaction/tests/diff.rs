//! Two stores that hold the same are the same, whatever lies in their files; what differs is named.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Fixture, copy_folder};
use weir_compaction::diff::{Options, Part, Report, StreamDiff, Where, diff};
use weir_compaction::{export, import};

fn compare(a: &Path, b: &Path) -> Report {
    diff(a, b, &Options::default(), None).unwrap()
}

fn of<'a>(report: &'a Report, name: &str) -> &'a StreamDiff {
    report.streams.iter().find(|stream| stream.name == name).unwrap()
}

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

fn differs(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), backend);
    fixture.work();
    // RocksDB puts its tables together after an opening: a copy that is made meanwhile is none of any moment.
    fixture.close();
    let before = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), before.path());
    fixture.reopen();
    fixture.work_more();
    // What is in the journal alone is compared as well.
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    fixture.note();
    fixture.close();
    let report = compare(folder.path(), killed.path());
    assert!(!report.is_different(), "{}", report.to_text());
    let (a, b) = (folder.path().to_str().unwrap(), killed.path().to_str().unwrap());
    assert_eq!(weir(&["diff", a, b]).0, Some(0));

    let report = compare(before.path(), folder.path());
    assert!(report.is_different());
    let names = |named: &[weir_compaction::diff::Named]| named.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&report.only_in_a), ["EMPTY"]);
    assert_eq!(names(&report.only_in_b), ["NEWER"]);
    let orders = of(&report, "ORDERS");
    // Some of the first were purged, 9, 10 and 70 removed, 40 stored.
    assert_eq!(
        (orders.only_in_a, orders.only_in_b, orders.different),
        (6, 39, 0),
        "{}",
        report.to_text()
    );
    assert_eq!((orders.first[0].seq, orders.first[0].what), (1, Where::OnlyInA));
    let consumers: Vec<_> = orders
        .consumers
        .iter()
        .map(|consumer| (&*consumer.name, consumer.what))
        .collect();
    let expected = [
        ("late", Where::OnlyInB),
        ("mail", Where::OnlyInA),
        ("news", Where::Different),
        ("workers", Where::Different),
    ];
    assert_eq!(consumers, expected);
    for named in ["last_seq", "digest"] {
        assert!(orders.state.iter().any(|field| field.field == named), "{named}");
    }
    let (code, text) = weir(&["diff", before.path().to_str().unwrap(), a]);
    assert_eq!(code, Some(2));
    assert!(text.contains("Stream NEWER of account $G is in B alone."), "{text}");
    assert!(text.contains("message 1 (orders.a): in A alone"), "{text}");
    let (code, json) = weir(&["diff", before.path().to_str().unwrap(), a, "--stream", "JOBS", "--json"]);
    assert_eq!(code, Some(2));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["streams"][0]["name"], "JOBS");
    assert_eq!(weir(&["diff", a, b, "--stream", "NOPE"]).0, Some(1));
}

#[test]
fn what_differs_is_named_on_segment() {
    differs("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn what_differs_is_named_on_rocksdb() {
    differs("rocksdb");
}

/// Nobody knows its subject: nothing stands for that.
#[test]
fn a_message_that_is_damaged_in_both_is_named_by_its_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let log = fixture.log("ORDERS").to_string();
    let files = fs::read_dir(folder.path().join("weir/segment/logs").join(log)).unwrap();
    let segment = files.map(|file| file.unwrap().path());
    let segment = segment
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .min()
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(4).position(|window| window == b"rare").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    let text = compare(folder.path(), copy.path()).to_text();
    let line = text.lines().find(|line| line.ends_with(": damaged")).unwrap();
    let seq = line
        .trim_start()
        .strip_prefix("message ")
        .and_then(|rest| rest.strip_suffix(": damaged"));
    assert!(seq.is_some_and(|seq| seq.parse::<u64>().is_ok()), "{text}");
}

#[test]
fn a_stream_that_was_exported_and_imported_is_the_same_but_for_what_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let file = folder.path().join("orders.jsonl");
    let options = export::Options {
        stream: "ORDERS".to_owned(),
        format: export::Format::Jsonl,
        ..export::Options::default()
    };
    export::export(folder.path(), &file, &options, None).unwrap();
    let wanted = import::Options {
        account: "$G".to_owned(),
        ..import::Options::default()
    };
    let only = Options {
        stream: Some("ORDERS".to_owned()),
    };
    let copy = folder.path().join("copy");
    import::import(&copy, &file, &wanted, &mut |_| {}).unwrap();
    let report = diff(folder.path(), &copy, &only, None).unwrap();
    let stream = &report.streams[0];
    // 61 stored, one deleted, 7 purged.
    assert_eq!(
        (stream.same, stream.state.len(), stream.first.len()),
        (53, 0, 0),
        "{}",
        report.to_text()
    );
    // An import gives what a configuration leaves open, which that of the fixture does.
    let fields = stream.consumers.iter().flat_map(|consumer| &consumer.fields);
    let others: Vec<_> = fields.filter(|field| !field.field.starts_with("config.")).collect();
    assert!(others.is_empty(), "{}", report.to_text());
    let fields: Vec<_> = stream.configuration.iter().map(|field| &*field.field).collect();
    assert_eq!(fields, ["duplicate_window"]);
    let again = folder.path().join("again");
    import::import(&again, &file, &wanted, &mut |_| {}).unwrap();
    assert!(
        !compare(&copy, &again).is_different(),
        "{}",
        compare(&copy, &again).to_text()
    );
    // Another subject for one message, another body for another.
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen("\"subject\":\"orders.b\"", "\"subject\":\"orders.d\"", 1);
    let text = text.replacen("\"data\":\"eA==\"", "\"data\":\"eQ==\"", 1);
    fs::write(&file, text).unwrap();
    let changed = folder.path().join("changed");
    import::import(&changed, &file, &wanted, &mut |_| {}).unwrap();
    let report = diff(folder.path(), &changed, &only, None).unwrap();
    let first: Vec<_> = report.streams[0]
        .first
        .iter()
        .map(|message| (message.seq, message.parts.clone()))
        .collect();
    assert_eq!(
        first,
        [(2, vec![Part::Body]), (4, vec![Part::Subject])],
        "{}",
        report.to_text()
    );
    assert_eq!(report.streams[0].different, 2);
}
