//! Of a store on RocksDB, whose own files are damaged.

use super::*;

fn files(folder: &Path, is_one: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let all = fs::read_dir(folder.join("weir/rocksdb")).unwrap();
    let all = all.map(|entry| entry.unwrap().path());
    all.filter(|path| is_one(&path.file_name().unwrap().to_string_lossy()))
        .collect()
}

#[test]
fn a_rocksdb_whose_files_are_not_named_any_more_is_put_together_anew() {
    let _alone = alone();
    let damages: [fn(&Path); 3] = [
        |folder| fs::remove_file(folder.join("weir/rocksdb/CURRENT")).unwrap(),
        |folder| {
            let path = files(folder, |name| name.starts_with("MANIFEST")).remove(0);
            let mut raw = fs::read(&path).unwrap();
            raw[20] ^= 1;
            fs::write(path, raw).unwrap();
        },
        |folder| fs::remove_file(files(folder, |name| name.starts_with("MANIFEST")).remove(0)).unwrap(),
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        let fixture = filled(folder.path(), "rocksdb");
        damage(folder.path());
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains("is offline") && told.contains("weir repair"), "{told}");
        assert_eq!(plan(folder.path()).actions[0].doing, Doing::Rocksdb);
        let damaged = snapshot_of_files(&folder.path().join("weir/rocksdb"));
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{report:#?}");
        let kept = snapshot_of_files(&report.quarantine.as_ref().unwrap().join("rocksdb"));
        assert!(kept.into_values().eq(damaged.into_values()), "it is kept as it was");
        assert!(reason(&report).contains("rocksdb\n"));
        let store = start(folder.path());
        for name in ["ORDERS", "JOBS", "PURGED"] {
            assert_eq!(state(&store, name), fixture.state(name));
        }
        store.close();
        assert_well(folder.path());
    }
}

/// Of what leads to the messages nothing is lost for good: where they lie is noted twice, and indexes are made of them.
#[test]
fn a_bit_in_a_table_of_keys_costs_no_message() {
    let _alone = alone();
    // What the tables of the catalogue, of its second note, and of the indexes begin with.
    let log = [0, 0, 0, 0, 0, 0, 1, 0];
    let needles = [[&b"L"[..], &log].concat(), log.to_vec(), [&b"I"[..], &log].concat()];
    for (number, needle) in needles.iter().enumerate() {
        for is_at_end in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let fixture = filled(folder.path(), "rocksdb");
            let before = {
                let store = start(folder.path());
                let before = messages(&store, "ORDERS");
                store.close();
                before
            };
            let mut tables = files(folder.path(), |name| name.ends_with(".sst"));
            tables.sort();
            // Behind three lengths, the last of which takes one byte or two.
            let begins_so = |path: &PathBuf| {
                let raw = fs::read(path).unwrap();
                // The key's length, with what RocksDB appends.
                let is_long = usize::from(raw[1]) == needle.len() + 8;
                is_long && (raw[3..].starts_with(needle) || raw[4..].starts_with(needle))
            };
            let table = tables.into_iter().rfind(begins_so).unwrap();
            let mut raw = fs::read(&table).unwrap();
            let at = if is_at_end { raw.len() - 4 } else { 20 };
            raw[at] ^= 1;
            fs::write(&table, raw).unwrap();
            let planned = plan(folder.path());
            assert_eq!(planned.actions[0].doing, Doing::Rocksdb, "{planned:#?}");
            assert!(planned.is_damaged(), "verify finds it: {planned:#?}");
            let report = mend(folder.path());
            assert!(!report.is_damaged(), "{number} {is_at_end} {report:#?}");
            let store = start(folder.path());
            assert_eq!(messages(&store, "ORDERS"), before);
            for name in ["ORDERS", "JOBS", "PURGED"] {
                assert_eq!(state(&store, name), fixture.state(name), "{number} {is_at_end}");
            }
            let last = before.last().unwrap().seq;
            let orders = store.stream("$G", "ORDERS").unwrap();
            assert!(orders.publish("orders.a", "", b"more").unwrap().seq > last);
            store.close();
            assert_well(folder.path());
        }
    }
}

/// Flips a bit of the first table that has these bytes, and marks the store as a compaction does that meets it.
fn damage_block(folder: &Path, needle: &[u8]) {
    let tables = files(folder, |name| name.ends_with(".sst"));
    let has = |path: &PathBuf| {
        fs::read(path)
            .unwrap()
            .windows(needle.len())
            .any(|bytes| bytes == needle)
    };
    flip(&tables.into_iter().find(has).unwrap(), needle);
    let mark = folder.join("weir/rocksdb/DAMAGED");
    fs::write(mark, "block checksum mismatch in a table\n").unwrap();
}

#[test]
fn a_rocksdb_with_a_damaged_block_loses_what_is_in_it_and_compacts_again() {
    let _alone = alone();
    for needle in [&[b'x'; 40][..], b"orders.once-only"] {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = filled(folder.path(), "rocksdb");
        fixture.reopen();
        fixture.close();
        damage_block(folder.path(), needle);
        let told = trouble(folder.path()).unwrap();
        assert!(
            told.contains("RocksDB compacts nothing") && told.contains("weir repair"),
            "{told}"
        );
        let before = {
            let store = start(folder.path());
            let before = (
                messages(&store, "ORDERS"),
                state(&store, "ORDERS"),
                state(&store, "JOBS"),
            );
            store.abandon();
            before
        };
        // What a repair leaves that was cut short.
        fs::create_dir(folder.path().join("weir/rocksdb.mending")).unwrap();
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{report:#?}");
        assert!(report.quarantine.as_ref().unwrap().join("rocksdb.mending").is_dir());
        assert!(!folder.path().join("weir/rocksdb/DAMAGED").exists());
        let store = start(folder.path());
        let after = (
            messages(&store, "ORDERS"),
            state(&store, "ORDERS"),
            state(&store, "JOBS"),
        );
        assert_eq!(after, before);
        assert!((after.0.len() as u64) < fixture.state("ORDERS").messages);
        assert_eq!(store.catalogue().trouble(), None);
        store.close();
        assert_well(folder.path());
    }
}
