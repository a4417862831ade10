//! What the program says of itself.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::fs;
use std::process::Command;

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
