//! The corpus of the fuzz targets for what lies on disk: what was found once is looked at with every test run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../fuzz/src/storage/mod.rs"]
mod storage;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

type Target = fn(&[u8]);

/// Panics, of any thread: a shard goes on after one.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn the_corpus_is_taken() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        told(panic);
    }));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let all: [(&str, Target); 3] = [
        ("segment", storage::segment::segment),
        ("journal", storage::journal::journal),
        ("catalogue", storage::catalogue::catalogue),
    ];
    for (name, target) in all {
        let mut files = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            target(&std::fs::read(&path).unwrap());
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{}", path.display());
            files += 1;
        }
        assert!(files > 0, "{name} has a corpus");
    }
}
