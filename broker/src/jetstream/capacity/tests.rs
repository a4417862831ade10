use super::*;

#[test]
fn what_is_configured_counts_and_the_machine_has_something() {
    let folder = Path::new("/");
    let found = capacity(&options::JetStream::default(), folder);
    assert!(found.memory > 0 && found.file > 0);
    let configured = options::JetStream {
        max_memory: Some(0),
        max_file: Some(7),
        ..options::JetStream::default()
    };
    let wanted = Capacity { memory: 0, file: 7 };
    assert_eq!(capacity(&configured, folder), wanted);
}

/// A server that starts on a disk that its own store has filled is not over its limit once there is room.
#[test]
fn what_a_store_holds_already_is_room_that_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let root = StoreDir::new(folder.path()).root().to_owned();
    let within = root.join("logs");
    fs::create_dir_all(&within).unwrap();
    let empty = held(&root);
    fs::write(within.join("a"), vec![1; 1 << 20]).unwrap();
    fs::write(root.join("b"), vec![1; 1 << 20]).unwrap();
    std::os::unix::fs::symlink("/", root.join("link")).unwrap();
    let held = held(&root) - empty;
    assert!((2 << 20..3 << 20).contains(&held), "{held}");
    assert!(room_on_disk(folder.path()).unwrap() >= held);
}
