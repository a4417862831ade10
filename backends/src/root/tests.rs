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
    let find = |path: &Path| StoreDir::find(path).map(|store| store.root);
    assert_eq!(find(dir.path()), None);
    let store = StoreDir::new(dir.path());
    assert!(!store.exists() && store.there().is_empty());
    drop(store.open(BackendKind::Segment).unwrap());
    assert!(store.exists());
    assert_eq!(store.there(), [BackendKind::Segment]);
    assert_eq!(find(dir.path()).as_ref(), Some(&store.root));
    assert_eq!(find(&dir.path().join("weir")), Some(store.root));
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

fn owner(text: &str) -> [StoreKey; 1] {
    [StoreKey::new(text)]
}

/// All files of a store, with what is in them.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

fn put(store: &StoreDir, value: &'static str) {
    let backend = store.open(BackendKind::Segment).unwrap();
    backend.kv().put_all(&[("key".into(), Some(value.into()))]).unwrap();
    backend.sync().unwrap();
}

fn get(store: &StoreDir) -> String {
    let backend = store.open_read_only(BackendKind::Segment).unwrap();
    let value = backend.kv().get(b"key").unwrap().unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

#[test]
fn an_encrypted_store_is_opened_with_its_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = || StoreDir::new(dir.path());
    let first = store().encrypted(&owner("first"), Cipher::ChaCha).unwrap();
    assert!(first.is_encrypted());
    put(&first, "two apples");
    assert_eq!(get(&first), "two apples");
    assert!(
        files(dir.path())
            .iter()
            .all(|(_, bytes)| !bytes.windows(6).any(|window| window == b"apples"))
    );
    drop(first);

    let before = files(dir.path());
    let without = [
        store().open(BackendKind::Segment).err(),
        store().open_read_only(BackendKind::Segment).err(),
        store().encrypted(&[], Cipher::ChaCha).err(),
        store().encrypted(&owner("other"), Cipher::Aes).err(),
        store().unlocked(&owner("other")).err(),
        store().check_keys(&[]).err(),
        store().check_keys(&owner("other")).err(),
    ];
    for error in without {
        let error = error.unwrap();
        assert_eq!(error.kind, Kind::Locked, "{error}");
        assert!(
            error.message.contains("is encrypted") && !error.message.contains("other\""),
            "{error}"
        );
    }
    assert_eq!(files(dir.path()), before);
    store().check_keys(&owner("first")).unwrap();
    assert_eq!(get(&store().unlocked(&owner("first")).unwrap()), "two apples");

    // Another key, and another cipher, from now on.
    let keys = [StoreKey::new("second"), StoreKey::new("first")];
    let second = store().encrypted(&keys, Cipher::Aes).unwrap();
    assert_eq!(get(&second), "two apples");
    put(&second, "one pear");
    drop(second);
    assert_eq!(store().unlocked(&owner("first")).unwrap_err().kind, Kind::Locked);
    assert_eq!(get(&store().unlocked(&owner("second")).unwrap()), "one pear");
    assert!(!format!("{keys:?} {:?}", store().unlocked(&keys)).contains("second"));
}

#[test]
fn a_store_that_is_not_encrypted_does_not_become_so_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let store = || StoreDir::new(dir.path());
    put(&store(), "two apples");
    let before = files(dir.path());
    let error = store().encrypted(&owner("first"), Cipher::ChaCha).unwrap_err();
    assert_eq!(error.kind, Kind::Locked);
    assert!(error.message.contains("is not encrypted"), "{error}");
    assert_eq!(store().check_keys(&owner("first")).unwrap_err().kind, Kind::Locked);
    assert_eq!(files(dir.path()), before);
    // A tool that has a key reads it all the same.
    assert_eq!(get(&store().unlocked(&owner("first")).unwrap()), "two apples");
}
