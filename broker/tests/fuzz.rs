//! The corpus of the fuzz targets for what comes from outside: what was found once is looked at with every test run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../fuzz/src/server/mod.rs"]
mod server;
#[path = "../../fuzz/src/text.rs"]
mod text;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use server::Harness;

type Target = fn(&[u8]);
type AnsweredTarget = fn(&mut Harness, &[u8]);

/// Panics, of any thread: the server goes on after one.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty(), "{name} has a corpus");
    files
}

#[test]
fn the_corpus_is_taken() {
    let all: [(&str, Target); 9] = [
        ("protocol", text::protocol),
        ("link", text::link),
        ("headers", text::headers),
        ("configuration", text::configuration),
        ("subjects", text::subjects),
        ("lines", text::lines),
        ("websocket", text::websocket),
        ("jwt", text::jwt),
        ("proxy", text::proxy),
    ];
    for (name, target) in all {
        for path in corpus(name) {
            // Shown if the target panics.
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
        }
    }
}

#[test]
fn the_corpus_is_answered() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        told(panic);
    }));
    let mut harness = Harness::start();
    let all: [(&str, AnsweredTarget); 2] = [
        ("requests", server::requests::requests),
        ("backup", server::backup::backup),
    ];
    for (name, target) in all {
        for path in corpus(name) {
            println!("{}", path.display());
            target(&mut harness, &std::fs::read(&path).unwrap());
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{}", path.display());
        }
    }
}

#[test]
fn the_corpus_ends_at_the_door() {
    let mut doorway = server::handshake::Doorway::open();
    for path in corpus("handshake") {
        println!("{}", path.display());
        server::handshake::handshake(&mut doorway, &std::fs::read(&path).unwrap());
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}
