//! Messages are shown as they are, those asked for and no others, and what is damaged is named. What a verification does not find
//! wrong costs nothing: the same is shown.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Fixture, copy_folder, snapshot_of_files};
use weir_compaction::dump::{Options, Shown, dump};
use weir_compaction::verify::{self, verify};

fn filled(folder: &Path, backend: &'static str, segment_bytes: u64) -> Fixture {
    let mut fixture = Fixture::with_segments(folder, backend, segment_bytes);
    fixture.work();
    fixture.note();
    fixture.close();
    fixture
}

fn weir(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn seqs(path: &Path, options: &Options) -> Vec<u64> {
    let mut seqs = Vec::new();
    dump(path, options, None, &mut |shown| {
        if let Shown::Message(message) = shown {
            seqs.push(message.seq);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    seqs
}

fn shows(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = filled(folder.path(), backend, 1 << 20);
    let path = folder.path();
    let before = snapshot_of_files(path);
    let all = seqs(path, &Options::of("ORDERS"));
    assert_eq!(all.len() as u64, fixture.state("ORDERS").messages);
    let only = |change: &dyn Fn(&mut Options)| {
        let mut options = Options::of("ORDERS");
        change(&mut options);
        seqs(path, &options)
    };
    assert_eq!(
        only(&|options| (options.from, options.to) = (3, 10)),
        [3, 4, 5, 7, 9, 10]
    );
    assert_eq!(only(&|options| options.limit = 2), [1, 2]);
    let subject = |options: &mut Options| options.subjects = vec!["orders.once-only".to_owned(), "orders.c".to_owned()];
    assert_eq!(only(&|options| subject(options)), [48, 54, 60, 61]);
    let mut times = Vec::new();
    dump(path, &Options::of("ORDERS"), None, &mut |shown| {
        if let Shown::Message(message) = shown {
            times.push(message.time);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let between = only(&|options| (options.since, options.until) = (Some(times[5]), Some(times[8])));
    assert_eq!(between, all[5..8]);
    // With what only the journal has.
    fixture.reopen();
    fixture.work_more();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(path, killed.path());
    fixture.note();
    assert_eq!(
        seqs(killed.path(), &Options::of("ORDERS")).len() as u64,
        fixture.state("ORDERS").messages
    );
    fixture.close();
    assert_ne!(snapshot_of_files(path), before);
}

#[test]
fn what_is_asked_for_is_shown_on_segment() {
    shows("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn what_is_asked_for_is_shown_on_rocksdb() {
    shows("rocksdb");
}

#[test]
fn the_program_prints_text_and_lines_of_json() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), "segment", 1 << 20);
    let path = folder.path().to_str().unwrap();
    let (code, text, _) = weir(&["dump", path, "--stream", "ORDERS", "--seq", "5"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("[5] 2023-11-14T22:13:20."), "{text}");
    assert!(
        text.ends_with("Z orders.b, 4 bytes\n    A: b\n\n    xxxx\n\n"),
        "{text}"
    );
    let (_, base64, _) = weir(&["dump", path, "--stream", "ORDERS", "--seq", "5", "--body", "base64"]);
    assert!(base64.contains("    base64: eHh4eA==\n"), "{base64}");
    let (_, none, _) = weir(&["dump", path, "--stream", "ORDERS", "--seq", "5", "--body", "none"]);
    assert!(!none.contains("xxxx"), "{none}");
    let (_, json, _) = weir(&["dump", path, "--stream", "ORDERS", "--seq", "5..7", "--json"]);
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{json}");
    assert_eq!(
        (&lines[0]["seq"], &lines[0]["subject"]),
        (&5.into(), &"orders.b".into())
    );
    assert_eq!(lines[0]["data"], "eHh4eA==");
    assert_eq!(lines[0]["headers"], "TkFUUy8xLjANCkE6IGINCg0K");
    for (missing, said) in [("8", "ORDERS has no message 8"), ("5000", "ORDERS has no message 5000")] {
        let (code, text, error) = weir(&["dump", path, "--stream", "ORDERS", "--seq", missing]);
        assert_eq!((code, &text[..]), (Some(1), ""), "{error}");
        assert!(error.contains(said), "{error}");
    }
    let (code, ..) = weir(&[
        "dump",
        path,
        "--stream",
        "ORDERS",
        "--seq",
        "8..8",
        "--subject",
        "orders.>",
    ]);
    assert_eq!(code, Some(0), "a filter that nothing matches");
    let (code, ..) = weir(&["dump", path, "--stream", "ORDERS", "--seq", "5000.."]);
    assert_eq!(code, Some(0), "a range with nothing in it");
    let bodies = folder.path().join("bodies");
    let (code, json, _) = weir(&[
        "dump",
        path,
        "--stream",
        "ORDERS",
        "--seq",
        "5",
        "--json",
        "--out",
        bodies.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0));
    assert_eq!(fs::read(bodies.join("5")).unwrap(), b"xxxx");
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((line.get("data"), &line["bytes"]), (None, &4.into()));
    // Nothing is written over.
    let (code, _, error) = weir(&[
        "dump",
        path,
        "--stream",
        "ORDERS",
        "--seq",
        "5",
        "--out",
        bodies.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(1), "{error}");
    for wrong in ["9..3", "0", "x", "1..y"] {
        assert_eq!(
            weir(&["dump", path, "--stream", "ORDERS", "--seq", wrong]).0,
            Some(1),
            "{wrong}"
        );
    }
    let (code, text, _) = weir(&["dump", path, "--stream", "ORDERS", "--since", "1h"]);
    assert_eq!((code, &*text), (Some(0), ""));
    assert_eq!(weir(&["dump", path, "--stream", "NOPE"]).0, Some(1));
}

#[test]
fn whoever_has_enough_of_it_may_go() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), "segment", 1 << 20);
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["dump", folder.path().to_str().unwrap(), "--stream", "ORDERS"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    snapshot_of_files(folder).into_keys().collect()
}

/// In place: to write a file anew 3,000 times waits for the disk.
fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at as u64).unwrap();
}

#[test]
fn a_damaged_message_is_named_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment", 1 << 20);
    let logs = folder
        .path()
        .join("weir/segment/logs")
        .join(fixture.log("ORDERS").to_string());
    let file = files_of(&logs)
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "seg"))
        .unwrap();
    let whole = fs::read(&file).unwrap();
    let path = folder.path().to_str().unwrap();
    for needle in [&b"rare"[..], b"orders.once-only"] {
        let at = whole.windows(needle.len()).position(|window| window == needle).unwrap();
        flip(&file, at);
        let (code, text, error) = weir(&["dump", path, "--stream", "ORDERS"]);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("message 61 cannot be shown"), "{error}");
        assert_eq!(
            text.matches("Z orders.").count() as u64,
            fixture.state("ORDERS").messages - 1
        );
        // It was not asked for.
        let (code, _, error) = weir(&["dump", path, "--stream", "ORDERS", "--seq", "..60"]);
        assert_eq!(code, Some(0), "{error}");
        flip(&file, at);
    }
}

/// All messages of all streams, as lines.
fn all_of(path: &Path, fixture: &Fixture) -> Vec<u8> {
    let mut out = Vec::new();
    for name in fixture.names() {
        out.extend_from_slice(name.as_bytes());
        let dumped = dump(path, &Options::of(name), None, &mut |shown| {
            if let Shown::Message(message) = shown {
                weir_backup::lines::put_message(message, &mut out);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = dumped {
            out.extend_from_slice(error.to_string().as_bytes());
        }
    }
    out
}

/// Flips a byte of so many places of all files of a store, one after the other.
fn flip_here_and_there(backend: &'static str, places: usize) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), backend, 1 << 12);
    let expected = all_of(folder.path(), &fixture);
    let mut wanted = Vec::new();
    for (path, bytes) in snapshot_of_files(&folder.path().join("weir")) {
        // What is written, and of the zeros behind it some.
        let written: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at] != 0 || at.is_multiple_of(8192))
            .collect();
        wanted.extend(written.into_iter().map(|at| (path.clone(), at)));
    }
    // A prime, so that all parts of frames have their turn.
    let step = (wanted.len() / places).max(1) | 1;
    let (mut told, mut harmless) = (0, 0);
    for (path, at) in wanted.into_iter().step_by(step) {
        flip(&path, at);
        let what = format!("{} at {at}", path.display());
        match verify(folder.path(), &verify::Options::default(), None, &mut |_, _, _| {}) {
            Ok(report) if report.found.is_empty() => {
                harmless += 1;
                assert_eq!(all_of(folder.path(), &fixture), expected, "{what}");
            }
            Ok(report) => {
                told += 1;
                if !report.is_damaged() {
                    assert_eq!(all_of(folder.path(), &fixture), expected, "{what}: {:#?}", report.found);
                }
            }
            // It cannot be read at all, and says so.
            Err(_) => told += 1,
        }
        flip(&path, at);
    }
    // RocksDB has much in its files that nobody reads.
    assert!(told > places / 4, "{told} told, {harmless} not");
}

#[test]
fn whichever_byte_flips_is_told_or_costs_nothing_on_segment() {
    flip_here_and_there("segment", 300);
}

#[cfg(feature = "rocksdb")]
#[test]
fn whichever_byte_flips_is_told_or_costs_nothing_on_rocksdb() {
    flip_here_and_there("rocksdb", 60);
}
