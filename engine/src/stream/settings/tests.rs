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
fn zstd_has_levels() {
    for (text, compression) in [
        ("zstd", Compression::Zstd),
        ("zstd:1", Compression::ZstdLevel(1)),
        ("zstd:22", Compression::ZstdLevel(22)),
    ] {
        let read = settings(&[("weir.compression", text)]).unwrap();
        assert_eq!(read.compression, compression);
        assert_eq!(compression.to_string(), text);
        // As it is kept in the catalogue.
        let json = serde_json::to_string(&read).unwrap();
        assert!(json.contains(&format!("\"compression\":\"{text}\"")), "{json}");
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), read);
    }
    for text in ["zstd:0", "zstd:23", "zstd:", "zstd:-1", "lz4:1"] {
        let error = settings(&[("weir.compression", text)]).unwrap_err();
        assert!(error.contains("a level of 1 to 22"), "{error}");
    }
}

/// They were taken, and did nothing.
#[test]
fn what_means_nothing_in_memory_is_refused_there() {
    let memory = ("weir.backend", "memory");
    for pair in [("weir.durability", "sync"), ("weir.compression", "none")] {
        let by_backend = settings(&[memory, pair]);
        let config = StreamConfig {
            storage: Storage::Memory,
            metadata: [(pair.0.to_owned(), pair.1.to_owned())].into(),
            ..StreamConfig::default()
        };
        for refused in [by_backend, Settings::of(&config, &Defaults::default())] {
            let error = refused.unwrap_err();
            assert!(error.contains(pair.0) && error.contains("storage: file"), "{error}");
        }
    }
    // Where subjects are kept means something there too, and so does what the server has for other streams.
    let index = settings(&[memory, ("weir.index", "resident")]);
    assert_eq!(index.unwrap().index, IndexKind::Resident);
    let defaults = Defaults {
        durability: Durability::Os,
        compression: Compression::Zstd,
        ..Defaults::default()
    };
    let config = StreamConfig {
        storage: Storage::Memory,
        ..StreamConfig::default()
    };
    Settings::of(&config, &defaults).unwrap();
}

#[test]
fn refuses_what_it_does_not_know_and_says_what_is_allowed() {
    for (pair, needle) in [
        (("weir.backend", "floppy"), "segment, rocksdb or memory"),
        (("weir.durability", "interval:1"), "interval:<duration>"),
        (("weir.compression", "gzip"), "none, lz4, zstd, or"),
        (("weir.index", "paged"), "needs weir.backend rocksdb"),
        (("weir.index", "x"), "resident or paged"),
        (("weir.colour", "red"), "unknown metadata key"),
    ] {
        let error = settings(&[pair]).unwrap_err();
        assert!(error.contains(needle), "{error}");
    }
}
