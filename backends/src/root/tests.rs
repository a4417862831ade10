use super::*;

#[test]
fn every_folder_that_is_made_has_its_name_synced() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("data/nats/weir");
    let mut synced = Vec::new();
    let mut note = |path: &Path| {
        synced.push(path.to_path_buf());
        Ok(())
    };
    make_folder_with(&deep, &mut note).unwrap();
    assert!(deep.is_dir());
    let expected = [
        dir.path().to_path_buf(),
        dir.path().join("data"),
        dir.path().join("data/nats"),
    ];
    assert_eq!(synced, expected);
    // A power failure may have come between the making and the sync.
    synced.clear();
    let mut note = |path: &Path| {
        synced.push(path.to_path_buf());
        Ok(())
    };
    make_folder_with(&deep, &mut note).unwrap();
    assert_eq!(synced, [dir.path().join("data/nats")]);
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(make_folder(&file).is_err());
    assert!(make_folder(&file.join("x")).is_err());
}

#[test]
fn finds_a_store_from_both_of_its_folders() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(StoreDir::find(dir.path()), None);
    let store = StoreDir::new(dir.path());
    assert!(!store.exists() && store.there().is_empty());
    drop(store.open(BackendKind::Segment).unwrap());
    assert!(store.exists());
    assert_eq!(store.there(), [BackendKind::Segment]);
    assert_eq!(StoreDir::find(dir.path()), Some(store.clone()));
    assert_eq!(StoreDir::find(dir.path().join("weir")), Some(store));
}

#[test]
fn a_hold_and_a_server_keep_each_other_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreDir::new(dir.path());
    let backend = store.open(BackendKind::Segment).unwrap();
    assert_eq!(store.hold().unwrap_err().kind, Kind::Busy);
    drop(backend);
    let (one, two) = (store.hold().unwrap(), store.hold().unwrap());
    drop(store.open_read_only(BackendKind::Segment).unwrap());
    let refused = store.open(BackendKind::Segment).err().unwrap();
    assert_eq!(refused.kind, Kind::Busy);
    drop((one, two));
    store.open(BackendKind::Segment).unwrap();
}

#[test]
fn looking_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreDir::new(dir.path());
    for kind in [BackendKind::Segment, BackendKind::RocksDb] {
        assert!(store.open_read_only(kind).is_err());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(not(feature = "rocksdb"))]
#[test]
fn says_when_rocksdb_is_not_built_in() {
    let dir = tempfile::tempdir().unwrap();
    let error = StoreDir::new(dir.path()).open(BackendKind::RocksDb).err();
    let error = error.unwrap();
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(
        error
            .message
            .contains("built without it: `scripts/serve --rocksdb` adds it"),
        "{error}"
    );
}
