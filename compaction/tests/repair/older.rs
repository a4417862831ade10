//! RocksDB's folder of another time than the catalogue, and what may stand in the place of its files.

use std::os::unix::fs::symlink;

use super::*;

/// A store with a stream in a folder that was copied before the stream was made, which is put in the place of the newer one.
#[test]
fn a_stream_that_is_younger_than_the_folder_is_told_so_and_can_be_forgotten() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "rocksdb");
    fixture.work();
    fixture.close();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&folder.path().join("weir/rocksdb"), old.path());
    fixture.reopen();
    let late = fixture.create_beside("ORDERS");
    fixture.publish_bytes(&late, "beside", 1000);
    fixture.note();
    fixture.close();
    let rocks = folder.path().join("weir/rocksdb");
    fs::remove_dir_all(&rocks).unwrap();
    copy_folder(old.path(), &rocks);

    let path = folder.path().to_str().unwrap();
    let is_older = "the folder is older than the stream, or that of another store";
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains(is_older), "{told}");
    let (code, text) = weir(&["repair", path, "--dry-run"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(is_older), "{text}");
    let remedy = format!("`weir repair {path} --forget {late}` lets the stream go on without its messages");
    assert!(text.contains(&remedy), "{text}");
    assert!(!text.contains("was missing"), "{text}");

    let (code, text) = weir(&["repair", path, "--forget", &late]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("no messages were there to keep: ") && text.contains("weir/rocksdb has no log of it"),
        "{text}"
    );
    assert!(!text.contains("was missing"), "{text}");
    let store = start(folder.path());
    assert_eq!(state(&store, &late).last_seq, 1);
    assert_eq!(state(&store, "ORDERS").messages, fixture.state("ORDERS").messages);
    store.close();
    assert_well(folder.path());
}

/// Which bodies it had, their heads tell.
#[test]
fn messages_whose_table_is_gone_are_told_as_such() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), "rocksdb");
    let has = |path: &PathBuf| fs::read(path).unwrap().windows(4).any(|bytes| bytes == b"rare");
    let table = super::rocksdb::files(folder.path(), super::rocksdb::is_table)
        .into_iter()
        .find(has)
        .unwrap();
    fs::remove_file(&table).unwrap();
    let planned = plan(folder.path());
    let name = table.file_name().unwrap().to_str().unwrap();
    assert!(planned.actions[0].text.contains(name), "{planned:#?}");
    let report = mend(folder.path());
    let told = report.to_text();
    assert!(
        told.contains("its body is not there: a table of RocksDB's is missing that had it"),
        "{told}"
    );
    assert!(!told.contains("fails its checksum"), "{told}");
    assert_well(folder.path());
}

/// What is no file is moved away with the folder; RocksDB goes on with the manifest that was in use.
#[test]
fn what_is_no_file_in_the_place_of_rocksdbs_current_costs_nothing() {
    let _alone = alone();
    let stands: [fn(&Path); 2] = [
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/etc/hosts", path).unwrap(),
    ];
    for stand in stands {
        let folder = tempfile::tempdir().unwrap();
        let fixture = filled(folder.path(), "rocksdb");
        let current = folder.path().join("weir/rocksdb/CURRENT");
        fs::remove_file(&current).unwrap();
        stand(&current);
        let told = trouble(folder.path()).unwrap();
        assert!(
            told.contains("in the place of the file") && told.contains("weir repair"),
            "{told}"
        );
        let planned = plan(folder.path());
        assert!(
            planned.actions[0].text.contains("CURRENT is written again"),
            "{planned:#?}"
        );
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{report:#?}");
        let store = start(folder.path());
        for name in ["ORDERS", "JOBS", "PURGED"] {
            assert_eq!(state(&store, name), fixture.state(name));
        }
        store.close();
        assert_well(folder.path());
    }
}
