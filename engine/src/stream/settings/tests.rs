use super::*;

fn settings(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let config = StreamConfig {
        metadata: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..StreamConfig::default()
    };
    Settings::of(&config, &Defaults::default())
}

#[test]
fn reads_every_key() {
    let all = settings(&[
        ("weir.backend", "rocksdb"),
        ("weir.durability", "interval:250ms"),
        ("weir.compression", "zstd"),
        ("weir.index", "resident"),
    ])
    .unwrap();
    assert_eq!(all.backend, BackendKind::RocksDb);
    assert_eq!(all.durability, Durability::Interval(250 * MILLISECOND));
    assert_eq!(all.compression, Compression::Zstd);
    assert_eq!(all.index, IndexKind::Resident);
    assert_eq!(
        settings(&[("weir.backend", "rocksdb")]).unwrap().index,
        IndexKind::Paged
    );
}

#[test]
fn refuses_what_it_does_not_know_and_says_what_is_allowed() {
    for (pair, needle) in [
        (("weir.backend", "floppy"), "segment, rocksdb or memory"),
        (("weir.durability", "interval:1"), "interval:<duration>"),
        (("weir.compression", "gzip"), "none, lz4 or zstd"),
        (("weir.index", "paged"), "needs weir.backend rocksdb"),
        (("weir.index", "x"), "resident or paged"),
        (("weir.colour", "red"), "unknown metadata key"),
    ] {
        let error = settings(&[pair]).unwrap_err();
        assert!(error.contains(needle), "{error}");
    }
}
