//! What the program says of itself.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::fs;
use std::process::Command;

use support::Fixture;

const COMMANDS: [&str; 12] = [
    "compact",
    "completions",
    "convert",
    "diff",
    "dump",
    "export",
    "import",
    "inspect",
    "man",
    "repair",
    "settle",
    "verify",
];

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn shells_complete_its_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script) = weir(&["completions", shell]);
        assert_eq!(code, Some(0));
        for command in COMMANDS {
            assert!(script.contains(command), "{command} for {shell}");
        }
    }
    assert_eq!(weir(&["completions", "command.com"]).0, Some(1));
}

#[test]
fn every_command_has_a_page_of_the_manual_that_tells_its_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert_eq!(weir(&["man", pages.to_str().unwrap()]).0, Some(0));
    assert!(pages.join("weir.1").is_file());
    // And itself, and `help`.
    assert!(fs::read_dir(&pages).unwrap().count() <= COMMANDS.len() + 2);
    for command in COMMANDS {
        let page = fs::read_to_string(pages.join(format!("weir-{command}.1"))).unwrap();
        let is_told = page.contains("Exit code");
        assert!(is_told, "{command}: {page}");
    }
}

/// On the standard error, so that what is on the standard output is a report or nothing.
#[test]
fn an_error_is_one_object_of_json_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().to_str().unwrap();
    let commands: &[(&[&str], &str)] = &[
        (&["verify", none, "--json"], "is not a Weir store"),
        (&["inspect", none, "--json"], "is not a Weir store"),
        (&["compact", none, "--json"], "is not a Weir store"),
        (&["repair", none, "--json"], "is not a Weir store"),
        (&["diff", none, none, "--json"], "is not a Weir store"),
        (&["settle", none, "--all", "--json"], "is not a Weir store"),
        (&["convert", none, "--to", "segment", "--json"], "is not a Weir store"),
        (&["dump", none, "--stream", "S", "--json"], "is not a Weir store"),
        (
            &["export", none, "out", "--stream", "S", "--json"],
            "is not a Weir store",
        ),
        (&["import", none, none, "--json"], "is nothing to import from"),
        (
            &["verify", "nats://localhost:1", "--json"],
            "a running server is not verified",
        ),
        (&["inspect", "nats://:4222", "--json"], "empty host"),
        (&["inspect", "nats://127.0.0.1:1", "--json"], "127.0.0.1:1: "),
        (
            &["inspect", "nats://127.0.0.1:1", "--creds", none, "--json"],
            "Is a directory",
        ),
        (
            &["inspect", "nats://127.0.0.1:1", "--tlsca", "/nonexistent", "--json"],
            "/nonexistent: ",
        ),
        (
            &["import", none, "--from-nats", none, "--json"],
            "is not a store of nats-server",
        ),
        (
            &["export", none, "-", "--stream", "S", "--format", "parquet", "--json"],
            "is written to a file",
        ),
        (
            &["export", none, "out", "--stream", "S", "--seq", "1..2", "--json"],
            "with --format parquet alone",
        ),
        (&["dump", none, "--json", "--no-such"], "--no-such"),
    ];
    for (command, says) in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(*command)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(1), &b""[..]),
            "{told}"
        );
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert!(told["error"].as_str().unwrap().contains(says), "{command:?}: {told}");
        assert_eq!(told["exit"], 1);
        let remedy = told["remedy"].as_str().unwrap_or_default();
        assert!(!remedy.is_empty(), "{told}");
        // As text it is told as well, in the same line or in words of its own.
        let as_text = command.iter().filter(|word| **word != "--json");
        let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(as_text).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let in_other_words = ["store", "nothing to import from", "--no-such"];
        assert!(
            text.contains(remedy) || in_other_words.iter().any(|words| text.contains(words)),
            "{text}: {remedy}"
        );
    }
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(["verify", none]).output();
    let told = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(told.starts_with("weir: ") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_filter_that_is_none_is_refused_with_the_reason() {
    for (filter, why) in [
        ("a..b", "an empty part between dots"),
        (".a", "an empty part between dots"),
        ("a.", "an empty part between dots"),
        ("", "an empty part between dots"),
        ("a.>.b", "> stands at the end only"),
        ("a b", "white space"),
    ] {
        for command in [
            &["dump", "STORE", "--stream", "S", "--subject", filter][..],
            &["dump", "nats://localhost:1", "--stream", "S", "--subject", filter],
            &[
                "export",
                "STORE",
                "out",
                "--format",
                "parquet",
                "--stream",
                "S",
                "--subject",
                filter,
            ],
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(command).output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains(why) && told.contains("orders.>"), "{told}");
        }
    }
    // White space that a subject may have is none that ends one.
    let command = ["dump", "STORE", "--stream", "S", "--subject", "a\u{a0}b.*"];
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(command).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("is not a Weir store"), "{told}");
}

#[test]
fn an_account_is_that_of_who_connects() {
    for command in [
        &["dump", "nats://localhost:1", "--stream", "S", "--account", "A"][..],
        &["export", "nats://localhost:1", "out", "--stream", "S", "--account", "A"],
        &["import", "nats://localhost:1", "out", "--account", "A"],
        &["inspect", "nats://localhost:1", "--account", "A"],
        &[
            "convert",
            "nats://localhost:1",
            "--to",
            "segment",
            "--stream",
            "S",
            "--account",
            "A",
        ],
        &["compact", "nats://localhost:1", "--stream", "S", "--account", "A"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(command).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("connect as a user of that account"),
            "{command:?}: {told}"
        );
    }
}

/// Whatever a tool would do with it.
#[test]
fn a_store_that_is_in_use_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let store = folder.path().to_str().unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let lines = folder.path().join("lines");
    let lines = lines.to_str().unwrap();
    let as_lines = ["export", store, lines, "--stream", "ORDERS", "--format", "jsonl"];
    assert_eq!(weir(&as_lines).0, Some(0));
    fixture.reopen();
    let said =
        format!("{store}/weir/segment is open in another process, a server or a tool: stop it, or wait for it to end");
    let commands: &[&[&str]] = &[
        &["inspect", store],
        &["inspect", store, "--catalogue"],
        &["inspect", store, "--journal", "0"],
        &["verify", store],
        &["dump", store, "--stream", "ORDERS"],
        &["export", store, out, "--stream", "ORDERS"],
        &["diff", store, store],
        &["settle", store, "--all"],
        &["repair", store],
        &["repair", store, "--dry-run"],
        &["compact", store],
        &["compact", store, "--out", out],
        &["convert", store, "--to", "segment"],
        &["import", store, lines],
    ];
    for command in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(*command)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
        assert_eq!(told, format!("weir: {said}\n"), "{command:?}");
    }
    fixture.close();
}

/// Whatever is asked of a store.
#[test]
fn an_error_names_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let store = folder.path().to_str().unwrap();
    let beside = tempfile::tempdir().unwrap();
    let broken = beside.path().join("broken");
    fs::write(&broken, "{\"stream\": 1}\n").unwrap();
    let below_a_file = broken.join("out");
    let (broken, below_a_file) = (broken.to_str().unwrap(), below_a_file.to_str().unwrap());
    let commands: &[(&[&str], &str)] = &[
        (
            &["repair", store, "--forget", "ORDERS"],
            "`weir repair --dry-run` names",
        ),
        (&["inspect", store, "--journal", "9"], "shards are numbered from 0"),
        (&["inspect", store, "--consumer", "none"], "`weir inspect` lists"),
        (&["inspect", store, "--stream", "none"], "`weir inspect` lists"),
        (&["inspect", store, "--segment", "/nonexistent"], "name something else"),
        (&["settle", store, "none"], "`weir inspect` shows the keys"),
        (&["import", store, broken], "take another copy of it, or make it anew"),
        (
            &["export", store, below_a_file, "--stream", "ORDERS"],
            "name a place in a folder that is there",
        ),
    ];
    for (command, helps) in commands {
        for json in [false, true] {
            let more = json.then_some("--json");
            let output = Command::new(env!("CARGO_BIN_EXE_weir"))
                .args(command.iter().copied().chain(more))
                .output()
                .unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert_ne!(output.status.code(), Some(0), "{command:?}: {told}");
            let told = match json {
                true => serde_json::from_str::<serde_json::Value>(&told).unwrap()["remedy"].to_string(),
                false => told,
            };
            assert!(told.contains(helps), "{command:?}: {told}");
        }
    }
}
