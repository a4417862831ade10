use super::*;

fn config(storage: Storage, metadata: &[(&str, &str)]) -> StreamConfig {
    StreamConfig {
        name: "S".into(),
        storage,
        metadata: metadata
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        ..StreamConfig::default()
    }
}

#[test]
fn a_backend_that_is_asked_for_counts_and_memory_is_refused() {
    let rocksdb = config(Storage::File, &[(BACKEND, "rocksdb"), (INDEX, "paged")]);
    assert_eq!(Wanted::default().applied(rocksdb.clone()).unwrap(), rocksdb);
    let segment = Wanted {
        name: Some("T".into()),
        backend: Some(BackendKind::Segment),
    };
    let applied = segment.applied(rocksdb).unwrap();
    assert_eq!(applied.name, "T");
    assert_eq!(
        applied.metadata,
        config(Storage::File, &[(BACKEND, "segment")]).metadata
    );
    for memory in [
        config(Storage::Memory, &[]),
        config(Storage::File, &[(BACKEND, "memory")]),
    ] {
        let refused = Wanted::default().applied(memory.clone()).unwrap_err().to_string();
        assert!(refused.contains("--backend"), "{refused}");
        let kept = segment.applied(memory).unwrap();
        assert_eq!((kept.storage, &*kept.metadata[BACKEND]), (Storage::File, "segment"));
    }
}
