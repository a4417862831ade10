//! Of a store on RocksDB, whose own files are damaged.

use super::*;

pub(super) fn files(folder: &Path, is_one: impl Fn(&str) -> bool) -> Vec<PathBuf> {
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
    for (number, damage) in damages.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = filled(folder.path(), "rocksdb");
        damage(folder.path());
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains("is offline") && told.contains("weir repair"), "{told}");
        let planned = plan(folder.path()).actions.remove(0);
        assert_eq!(planned.doing, Doing::Rocksdb);
        // Without `CURRENT` alone nothing else changes.
        let is_written = planned.text.contains("CURRENT is written again");
        let is_unsure = planned
            .told
            .iter()
            .any(|told| told.contains("is known when it is done"));
        assert_eq!((is_written, is_unsure), (number == 0, number > 0), "{planned:#?}");
        let damaged = snapshot_of_files(&folder.path().join("weir/rocksdb"));
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{report:#?}");
        let told = report.actions[0].told.join("\n");
        assert_eq!(
            told.contains("RocksDB put its files together anew"),
            number > 0,
            "{told}"
        );
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

/// The newest table the first key of which is this.
pub(super) fn table_from(folder: &Path, needle: &[u8]) -> PathBuf {
    let mut tables = files(folder, is_table);
    tables.sort();
    // Behind three lengths, the last of which takes one byte or two.
    let begins_so = |path: &PathBuf| {
        let raw = fs::read(path).unwrap();
        // The key's length, with what RocksDB appends.
        let is_long = usize::from(raw[1]) == needle.len() + 8;
        is_long && (raw[3..].starts_with(needle) || raw[4..].starts_with(needle))
    };
    tables.into_iter().rfind(begins_so).unwrap()
}

/// What the records are tells whose they are, where there is no doubt; a stream without any stays offline.
#[test]
fn streams_come_back_from_rocksdb_when_both_notes_of_their_logs_are_lost() {
    let _alone = alone();
    let log = [0, 0, 0, 0, 0, 0, 1, 0];
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "rocksdb");
    let before = {
        let store = start(folder.path());
        let before = ["ORDERS", "JOBS"].map(|name| messages(&store, name));
        store.close();
        before
    };
    for needle in [[&b"L"[..], &log].concat(), log.to_vec()] {
        let table = table_from(folder.path(), &needle);
        let mut raw = fs::read(&table).unwrap();
        raw[20] ^= 1;
        fs::write(&table, raw).unwrap();
    }
    let report = mend(folder.path());
    let told = report.actions[0].told.join("\n");
    assert!(
        told.contains("that is known by their messages' subjects and times"),
        "{report:#?}"
    );
    assert!(!report.is_damaged(), "{report:#?}");
    let store = start(folder.path());
    assert_eq!(["ORDERS", "JOBS"].map(|name| messages(&store, name)), before);
    for name in ["ORDERS", "JOBS", "PURGED"] {
        assert_eq!(state(&store, name), fixture.state(name));
    }
    let purged = store.stream("$G", "PURGED").unwrap();
    let next = purged.publish("purged", "", b"new").unwrap().seq;
    assert_eq!(next, fixture.state("PURGED").last_seq + 1);
    assert_eq!(messages(&store, "PURGED").len(), 1);
    assert_eq!(["ORDERS", "JOBS"].map(|name| messages(&store, name)), before);
    store.close();
    assert_well(folder.path());
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
            let table = table_from(folder.path(), needle);
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

/// A store with a stream of many messages, every seventh of which is removed, and the messages that are left, by stream.
fn much(folder: &Path) -> (Fixture, Vec<(&'static str, Vec<Message>)>) {
    let mut fixture = Fixture::new(folder, "rocksdb");
    fixture.work();
    fixture.reopen();
    fixture.work_much(1500, 200);
    fixture.delete("MUCH", (1..1500).step_by(7));
    fixture.note();
    fixture.close();
    let store = start(folder);
    let there = ["ORDERS", "JOBS", "MUCH"].map(|name| (name, messages(&store, name)));
    store.close();
    (fixture, there.into())
}

pub(super) fn is_table(name: &str) -> bool {
    name.ends_with(".sst")
}

/// Each message that was there is read as it was, or is in `state.lost`, and nothing is to be said of the store.
fn assert_served_or_lost(folder: &Path, there: &[(&str, Vec<Message>)], case: &str) {
    let store = start(folder);
    for (name, before) in there {
        let stream = store.stream("$G", name).unwrap();
        let read: Vec<_> = before.iter().map(|message| stream.message(message.seq)).collect();
        let ledger = stream.read(|stream| Ok(stream.ledger().clone())).unwrap();
        for (before, read) in before.iter().zip(read) {
            match read {
                Ok(Some(read)) => assert_eq!(read, *before, "{case}"),
                _ => assert!(ledger.covers(before.seq, before.seq), "{case}: {name} {}", before.seq),
            }
        }
        assert_eq!(ledger.unsettled(), 0, "{case}: {name}");
        let state = stream.state().unwrap();
        assert_eq!(
            state.last_seq,
            before.last().unwrap().seq,
            "{case}: {name} goes on where it was"
        );
    }
    store.close();
    let report = verify(folder, &Default::default(), None, &mut |_, _, _| {}).unwrap();
    assert!(!report.is_damaged(), "{case}: {report:#?}");
    assert_well(folder);
}

/// What it is called, and what it does to a file.
type Damage = (&'static str, fn(&Path));

/// Of two tables each, one or both of which RocksDB cannot put together either.
#[test]
fn what_two_damaged_tables_cost_is_noted_as_lost_and_settled() {
    let _alone = alone();
    let whole = tempfile::tempdir().unwrap();
    let (fixture, there) = much(whole.path());
    let tables: Vec<PathBuf> = files(whole.path(), is_table);
    let with = |needle: &[u8]| {
        let has = |path: &&PathBuf| {
            let raw = fs::read(path).unwrap();
            raw.windows(needle.len()).any(|bytes| bytes == needle)
        };
        let found = tables
            .iter()
            .filter(has)
            .max_by_key(|path| fs::metadata(path).unwrap().len());
        found.unwrap().file_name().unwrap().to_owned()
    };
    // The largest of those that have records of the stream, and of those that have its index.
    let log = fixture.log("MUCH").0.to_be_bytes();
    let (heads, index) = (with(b"much."), with(&[&b"I"[..], &log].concat()));
    assert_ne!(heads, index);
    let damages: [Damage; 3] = [
        ("a bit", |path| {
            let mut raw = fs::read(path).unwrap();
            let at = raw.len() / 3;
            raw[at] ^= 1;
            fs::write(path, raw).unwrap();
        }),
        ("its end", |path| {
            let raw = fs::read(path).unwrap();
            fs::write(path, &raw[..raw.len() / 2]).unwrap();
        }),
        ("all of it", |path| fs::remove_file(path).unwrap()),
    ];
    for (of_heads, damage_heads) in damages {
        for (of_index, damage_index) in damages {
            let case = format!("{of_heads} of the heads, {of_index} of the index");
            let folder = tempfile::tempdir().unwrap();
            copy_folder(whole.path(), folder.path());
            damage_heads(&folder.path().join("weir/rocksdb").join(&heads));
            damage_index(&folder.path().join("weir/rocksdb").join(&index));
            let planned = plan(folder.path());
            assert_eq!(planned.actions[0].doing, Doing::Rocksdb, "{case}: {planned:#?}");
            let report = mend(folder.path());
            assert!(!report.is_damaged(), "{case}: {report:#?}");
            assert_served_or_lost(folder.path(), &there, &case);
        }
    }
}

/// Nobody asks for it, and a compaction would come to a stop there.
#[test]
fn damage_among_removed_messages_is_found_by_a_verification() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (mut fixture, there) = much(folder.path());
    // It compacts nothing as long as that is there: what is removed stays in its tables.
    let mark = folder.path().join("weir/rocksdb/DAMAGED");
    fs::write(&mark, "damage\n").unwrap();
    fixture.reopen();
    fixture.purge_below("MUCH", 1400);
    fixture.close();
    fs::remove_file(&mark).unwrap();
    // Only looked at: a store that is opened to be written compacts.
    let planned = plan(folder.path());
    assert!(planned.actions.is_empty() && !planned.is_damaged(), "{planned:#?}");
    let removed = there[2].1.iter().find(|message| message.seq == 700).unwrap();
    let needle = &removed.payload[..];
    let tables = files(folder.path(), is_table);
    let has = |path: &&PathBuf| {
        fs::read(path)
            .unwrap()
            .windows(needle.len())
            .any(|bytes| bytes == needle)
    };
    flip(tables.iter().find(has).unwrap(), needle);
    let checked = verify(folder.path(), &Default::default(), None, &mut |_, _, _| {}).unwrap();
    let told: Vec<&str> = checked.found.iter().map(|found| &*found.text).collect();
    assert!(
        told.len() == 1 && told[0].contains("where removed messages lie"),
        "{told:#?}"
    );
    assert!(checked.is_damaged());
    // Of one stream that has none of it nothing is said, and the same of the one that had.
    for (name, is_its) in [("JOBS", false), ("MUCH", true)] {
        let options = weir_compaction::verify::Options {
            stream: Some(name.to_owned()),
        };
        let checked = verify(folder.path(), &options, None, &mut |_, _, _| {}).unwrap();
        let told = checked
            .found
            .iter()
            .any(|found| found.text.contains("where removed messages lie"));
        assert_eq!((told, checked.is_damaged()), (is_its, is_its), "{name}: {checked:#?}");
    }
    assert!(!mend(folder.path()).is_damaged());
    assert_well(folder.path());
}

/// Wherever it is: also in what was removed, which nobody asks for, and only a compaction comes to.
#[test]
fn a_bit_in_any_table_is_told_by_a_dry_run_and_takes_one_repair() {
    let _alone = alone();
    let whole = tempfile::tempdir().unwrap();
    let (mut fixture, there) = much(whole.path());
    fixture.reopen();
    fixture.purge_below("MUCH", 1400);
    fixture.close();
    let there: Vec<_> = (there.into_iter())
        .map(|(name, mut messages)| {
            messages.retain(|message| name != "MUCH" || message.seq >= 1400);
            (name, messages)
        })
        .collect();
    for table in files(whole.path(), is_table) {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), folder.path());
        let name = table.file_name().unwrap();
        let case = name.to_string_lossy();
        let path = folder.path().join("weir/rocksdb").join(name);
        let mut raw = fs::read(&path).unwrap();
        raw[20] ^= 1;
        fs::write(&path, raw).unwrap();
        let planned = plan(folder.path());
        assert!(planned.is_damaged(), "{case}: {planned:#?}");
        assert_eq!(planned.actions[0].doing, Doing::Rocksdb, "{case}: {planned:#?}");
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{case}: {report:#?}");
        // As a server does in time.
        let compacted = weir_compaction::compact::compact(folder.path(), &Default::default(), None, &mut |_, _, _| {});
        let compacted = compacted.unwrap();
        assert!(compacted.is_done(), "{case}: {compacted:#?}");
        assert!(!folder.path().join("weir/rocksdb/DAMAGED").exists(), "{case}");
        assert_served_or_lost(folder.path(), &there, &case);
    }
}

/// RocksDB opened what the older one names, and deleted the tables that came later.
#[test]
fn an_older_manifest_that_current_names_costs_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "rocksdb");
    fixture.work();
    let manifest = files(folder.path(), |name| name.starts_with("MANIFEST")).remove(0);
    let older = fs::read(&manifest).unwrap();
    fixture.reopen();
    fixture.work_much(1500, 200);
    fixture.note();
    fixture.close();
    let store = start(folder.path());
    let before = ["ORDERS", "JOBS", "MUCH"].map(|name| (messages(&store, name), state(&store, name)));
    store.close();
    assert!(!manifest.exists(), "each opening makes one");
    let younger = files(folder.path(), |name| name.starts_with("MANIFEST")).remove(0);
    let [named, younger] = [&manifest, &younger].map(|path| path.file_name().unwrap().to_str().unwrap());
    fs::write(&manifest, older).unwrap();
    fs::write(manifest.with_file_name("CURRENT"), format!("{named}\n")).unwrap();
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains(named) && told.contains(younger), "{told}");
    let compact = || weir_compaction::compact::compact(folder.path(), &Default::default(), None, &mut |_, _, _| {});
    assert!(!compact().is_ok_and(|compacted| compacted.is_done()));
    let planned = plan(folder.path());
    assert!(planned.is_damaged(), "{planned:#?}");
    assert_eq!(planned.actions[0].doing, Doing::Rocksdb, "{planned:#?}");
    assert!(
        planned.actions[0].text.contains("CURRENT is written again"),
        "{planned:#?}"
    );
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let store = start(folder.path());
    let after = ["ORDERS", "JOBS", "MUCH"].map(|name| (messages(&store, name), state(&store, name)));
    store.close();
    assert_eq!(after, before);
    assert_well(folder.path());
}

/// A damaged block costs what lies in it, whatever becomes of the file that names the manifest.
#[test]
fn a_lost_current_beside_a_damaged_block_costs_that_block_alone() {
    let _alone = alone();
    let whole = tempfile::tempdir().unwrap();
    let (_, there) = much(whole.path());
    let tables = files(whole.path(), is_table);
    let largest = tables.iter().max_by_key(|path| fs::metadata(path).unwrap().len());
    let table = largest.unwrap().file_name().unwrap();
    let damages: [Damage; 3] = [
        ("nothing else", |_| {}),
        ("lost", |current| fs::remove_file(current).unwrap()),
        ("names nothing", |current| {
            fs::write(current, b"MANIFEST-00\x00\x0029\n").unwrap();
        }),
    ];
    let left = damages.map(|(case, damage)| {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), folder.path());
        let path = folder.path().join("weir/rocksdb").join(table);
        let mut raw = fs::read(&path).unwrap();
        let at = raw.len() / 3;
        raw[at] ^= 1;
        fs::write(&path, raw).unwrap();
        damage(&folder.path().join("weir/rocksdb/CURRENT"));
        let report = mend(folder.path());
        assert!(!report.is_damaged(), "{case}: {report:#?}");
        let store = start(folder.path());
        let left = ["ORDERS", "JOBS", "MUCH"].map(|name| (messages(&store, name), state(&store, name)));
        store.close();
        assert_served_or_lost(folder.path(), &there, case);
        left
    });
    let before: usize = there.iter().map(|(_, messages)| messages.len()).sum();
    let after: usize = left[0].iter().map(|(messages, _)| messages.len()).sum();
    assert!((before / 2..before).contains(&after), "{after} of {before}");
    assert_eq!(left[1], left[0]);
    assert_eq!(left[2], left[0]);
}
