//! The corpus of the fuzz targets: what was found once is looked at with every test run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

type Target = fn(&[u8]);

#[test]
fn the_corpus_is_taken() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let all: [(&str, Target); 4] = [
        ("protocol", targets::protocol),
        ("headers", targets::headers),
        ("configuration", targets::configuration),
        ("subjects", targets::subjects),
    ];
    for (name, target) in all {
        let mut files = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            // Shown if the target panics.
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            files += 1;
        }
        assert!(files > 0, "{name} has a corpus");
    }
}
