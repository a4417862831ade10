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

/// Where the folder of the key is gone there is no damage, and nothing is to be repaired.
#[test]
fn an_encrypted_store_without_its_keys_is_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = || StoreDir::new(dir.path());
    made(dir.path(), Cipher::Aes);
    let folder = dir.path().join("weir/keys");
    let away = dir.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    let before = files(dir.path());
    for opened in [
        store().open_read_only(BackendKind::Segment),
        store().open(BackendKind::Segment),
    ] {
        let error = opened.err().unwrap();
        assert_eq!(error.kind, Kind::Locked, "{error}");
        assert!(error.message.contains("put that back from a backup"), "{error}");
    }
    assert_eq!(files(dir.path()), before);
    std::fs::rename(&away, &folder).unwrap();
    let opened = store().unlocked(&owner("first")).unwrap();
    opened.open_read_only(BackendKind::Segment).unwrap();
}

/// A store as an engine leaves it: with what the catalogue of every one has.
fn made(path: &Path, cipher: Cipher) {
    let store = StoreDir::new(path).encrypted(&owner("first"), cipher).unwrap();
    let backend = store.open(BackendKind::Segment).unwrap();
    let writes = [
        (STORE_KEY.into(), Some("{}".into())),
        ("key".into(), Some("two apples".into())),
    ];
    backend.kv().put_all(&writes).unwrap();
    backend.sync().unwrap();
}

/// The copy that opens what is in the store is the right one, and the other goes.
#[test]
fn a_copy_of_the_key_of_another_store_is_passed_over() {
    for name in ["store.key", "store.copy.key"] {
        let [mine, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        made(mine.path(), Cipher::Aes);
        made(other.path(), Cipher::Aes);
        let file = Path::new("weir/keys").join(name);
        std::fs::copy(other.path().join(&file), mine.path().join(&file)).unwrap();
        let store = || StoreDir::new(mine.path());
        assert_eq!(get(&store().unlocked(&owner("first")).unwrap()), "two apples");
        let started = store().encrypted(&owner("first"), Cipher::Aes).unwrap();
        started.open(BackendKind::Segment).unwrap();
        let copies = ["store.key", "store.copy.key"]
            .map(|name| std::fs::read(mine.path().join("weir/keys").join(name)).unwrap());
        assert_eq!(copies[0], copies[1], "the other one is written anew");
        assert_eq!(get(&store().unlocked(&owner("first")).unwrap()), "two apples");
    }
    // Where no copy opens it, none is touched.
    let [mine, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    made(mine.path(), Cipher::Aes);
    made(other.path(), Cipher::ChaCha);
    for name in ["store.key", "store.copy.key"] {
        let file = Path::new("weir/keys").join(name);
        std::fs::copy(other.path().join(&file), mine.path().join(&file)).unwrap();
    }
    let keys = [StoreKey::new("second"), StoreKey::new("first")];
    let before = files(&mine.path().join("weir/keys"));
    let started = StoreDir::new(mine.path()).encrypted(&keys, Cipher::Aes).unwrap();
    // Whether it opens is another matter.
    let _: Result<_> = started.open(BackendKind::Segment);
    assert_eq!(files(&mine.path().join("weir/keys")), before);
}

/// The server that has the store goes on with its key: one that cannot have the store does not exchange it.
#[test]
fn a_key_is_exchanged_by_whoever_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), Cipher::Aes);
    let store = || StoreDir::new(dir.path());
    let keys = [StoreKey::new("second"), StoreKey::new("first")];
    let first = store().encrypted(&owner("first"), Cipher::Aes).unwrap();
    let held = first.open(BackendKind::Segment).unwrap();
    let before = files(&dir.path().join("weir/keys"));
    let second = store().encrypted(&keys, Cipher::Aes).unwrap();
    assert_eq!(
        second.open(BackendKind::Segment).err().map(|error| error.kind),
        Some(Kind::Busy)
    );
    assert_eq!(files(&dir.path().join("weir/keys")), before);
    drop((first, held));
    second.open(BackendKind::Segment).unwrap();
    assert_eq!(store().check_keys(&owner("first")).unwrap_err().kind, Kind::Locked);
    store().check_keys(&owner("second")).unwrap();
}

/// What may not be looked at, or is no file, is there all the same.
#[test]
fn keys_that_cannot_be_read_do_not_make_a_store_plain() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), Cipher::Aes);
    let keys = dir.path().join("weir/keys");
    let mode = std::fs::metadata(&keys).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for name in ["store.key", "store.copy.key"] {
        std::fs::remove_file(keys.join(name)).unwrap();
        std::fs::create_dir(keys.join(name)).unwrap();
    }
    let error = StoreDir::new(dir.path())
        .encrypted(&owner("first"), Cipher::Aes)
        .unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(error.message.contains("cannot be read in any copy"), "{error}");
    std::fs::remove_dir_all(&keys).unwrap();
    let error = StoreDir::new(dir.path())
        .encrypted(&owner("first"), Cipher::Aes)
        .unwrap_err();
    assert!(error.message.contains("put that back from a backup"), "{error}");
}
