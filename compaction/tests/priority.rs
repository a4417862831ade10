//! Whoever compacts a store waits for it: RocksDB's threads, which all databases of a process share, do not stand back behind whatever else
//! the machine does. Alone in its process, for a store that is opened as a server opens it lowers their priority.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]
#![cfg(all(target_os = "linux", feature = "rocksdb"))]

use std::fs;
use std::process::Command;

use weir_compaction::compact::{Options, compact};
use weir_compaction::verify::verify;

/// The niceness of each thread of this process that compacts.
fn of_compactions() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let compacting = stats.filter_map(|stat| {
        let (name, rest) = stat.rsplit_once(") ")?;
        // The third field behind the name is the state's; the nineteenth of all is the niceness.
        name.contains("(rocksdb:low")
            .then(|| rest.split(' ').nth(16).unwrap().to_owned())
    });
    compacting.collect()
}

#[test]
fn a_compaction_that_somebody_waits_for_does_not_stand_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, lines) = (folder.path().join("store"), folder.path().join("lines"));
    let config = r#"{"format":"weir-stream","version":1,"config":{"name":"S","subjects":["s"],"storage":"file","retention":"limits","num_replicas":1},"consumers":[]}"#;
    let message = r#"{"seq":1,"time":"2026-11-27T21:00:00Z","subject":"s","data":"aGk="}"#;
    fs::write(&lines, format!("{config}\n{message}\n{{\"end\":true}}\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args([
            "import",
            store.to_str().unwrap(),
            lines.to_str().unwrap(),
            "--backend",
            "rocksdb",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own = own.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned();
    // Opens it as a server does, to be read.
    let checked = verify(&store, &Default::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(!checked.is_damaged(), "{checked:#?}");
    let report = compact(&store, &Options::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(report.is_done(), "{report:#?}");
    let niceness = of_compactions();
    assert!(
        !niceness.is_empty() && niceness.iter().all(|nice| *nice == own),
        "{niceness:?}, and {own}"
    );
}
