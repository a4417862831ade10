//! No name leads out of the store (S10).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{ask, start};

/// Names that are paths, or that some file system reads as something else.
const NAMES: &[&str] = &[
    "..",
    ".",
    "../x",
    "../../x",
    "/x",
    "/etc/x",
    "x/../../y",
    "x/y",
    "x\\y",
    "..\\x",
    "C:x",
    "\\\\host\\x",
    "x\0y",
    "\0",
    "~",
    "CON",
    "NUL",
    "COM1",
    "aux.txt",
    "%2e%2e%2fx",
    "\u{2025}x",
    "\u{ff0f}x",
    "-rf",
    "x\ny",
];

/// All that lies beneath a folder, without the store.
fn beside_the_store(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("store"))
        .collect()
}

fn long() -> String {
    "n".repeat(300)
}

#[test]
fn names_of_streams_and_consumers_are_no_paths() {
    let fixture = start("");
    let mut client = fixture.client("");
    let folder = fixture.folder.path().to_owned();
    let before = beside_the_store(&folder);
    let long = long();
    for &name in NAMES.iter().chain([&long.as_str()]) {
        // A name that no subject can have is asked for under another one, and refused for that at the latest.
        let token = match name.contains(['.', '\0', '\n', ' ']) || name.is_empty() {
            true => "X",
            false => name,
        };
        for stored in [
            json!({"storage": "file"}),
            json!({"storage": "file", "metadata": {"weir.backend": "memory"}}),
        ] {
            let mut config = json!({"name": name, "subjects": ["s"]});
            config
                .as_object_mut()
                .unwrap()
                .extend(stored.as_object().unwrap().clone());
            let made = ask(
                &mut client,
                &format!("$JS.API.STREAM.CREATE.{token}"),
                &config.to_string(),
            );
            let made: Value = serde_json::from_str(&made).unwrap();
            if made["did_create"] == true {
                let consumer = json!({"stream_name": name, "config": {"durable_name": name, "ack_policy": "explicit"}});
                ask(
                    &mut client,
                    &format!("$JS.API.CONSUMER.CREATE.{token}.{token}"),
                    &consumer.to_string(),
                );
                let gone = ask(&mut client, &format!("$JS.API.STREAM.DELETE.{token}"), "");
                assert!(gone.contains("\"success\":true"), "{name:?}: {gone}");
            } else {
                assert!(made["error"]["code"].is_number(), "{name:?}: {made}");
            }
        }
    }
    assert_eq!(beside_the_store(&folder), before);
}

/// Domains, accounts and streams name no folder by themselves: all files of a store lie in folders that the store has named.
#[test]
fn a_store_names_its_own_folders() {
    let fixture = start("");
    let mut client = fixture.client("");
    let made = ask(
        &mut client,
        "$JS.API.STREAM.CREATE.CON",
        "{\"name\":\"CON\",\"subjects\":[\"s\"]}",
    );
    assert!(made.contains("\"did_create\":true"), "{made}");
    let mut folders = vec![fixture.folder.path().join("store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            assert_ne!(entry.file_name().to_string_lossy().to_uppercase(), "CON");
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}
