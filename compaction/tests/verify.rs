//! What a verification says of a store is what is wrong with it: nothing of one that is whole, closed or killed; and of each kind of
//! damage where it is, and what is lost.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::{Fixture, copy_folder, snapshot_of_files};
use weir_backends::root::StoreDir;
use weir_compaction::Error;
use weir_compaction::verify::{Found, Options, Report, Standing, What, verify};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::Defaults;
use weir_engine::{ShardId, Store, StoreOptions};

fn check(path: &Path) -> Report {
    verify(path, &Options::default(), None, &mut |_, _, _| {}).unwrap()
}

/// What is neither settled nor harmless.
fn open(report: &Report) -> Vec<&Found> {
    report
        .found
        .iter()
        .filter(|found| found.standing == Standing::Open)
        .collect()
}

fn filled(folder: &Path, backend: &'static str) -> Fixture {
    let mut fixture = Fixture::new(folder, backend);
    fixture.work();
    fixture.note();
    fixture.close();
    fixture
}

fn assert_whole(path: &Path, fixture: &Fixture) {
    let before = snapshot_of_files(path);
    let report = check(path);
    assert_eq!(snapshot_of_files(path), before, "checking changes nothing");
    assert_eq!(report.found, []);
    assert!(!report.is_damaged());
    let names: Vec<_> = report.streams.iter().map(|stream| &*stream.name).collect();
    assert_eq!(names, fixture.names());
    for stream in &report.streams {
        let state = fixture.state(&stream.name);
        assert_eq!(
            (stream.messages, stream.unreadable),
            (state.messages, 0),
            "{}",
            stream.name
        );
        assert_eq!(stream.subjects, state.num_subjects);
        let kept = state.digest.map(|digest| digest.to_string());
        assert!(kept.is_some());
        assert_eq!(stream.digest, kept, "{}", stream.name);
    }
    assert_eq!(report.journals.len(), 2);
    assert!(report.bytes_read > 0);
}

fn whole(backend: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), backend);
    fixture.work();
    fixture.note();
    fixture.close();
    assert_whole(folder.path(), &fixture);
    let mut fixture = Fixture::new(folder.path().join("killed").as_path(), backend);
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(&folder.path().join("killed"), killed.path());
    assert_whole(killed.path(), &fixture);
    fixture.close();
}

#[test]
fn a_whole_store_on_segment() {
    whole("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_whole_store_on_rocksdb() {
    whole("rocksdb");
}

/// Small files that are missing or damaged cost nothing, and are named.
#[test]
fn small_files_are_named() {
    let backends: &[&str] = match cfg!(feature = "rocksdb") {
        true => &["segment", "rocksdb"],
        false => &["segment"],
    };
    for backend in backends {
        let folder = tempfile::tempdir().unwrap();
        let fixture = filled(folder.path(), backend);
        let root = folder.path().join("weir");
        let label = root.join(format!("segment/logs/{}/label", fixture.log("ORDERS")));
        let names: &[PathBuf] = &match *backend {
            "segment" => vec![label],
            _ => ["SYNCED", "IDENTITY"]
                .map(|name| root.join("rocksdb").join(name))
                .to_vec(),
        };
        for name in names {
            let whole = fs::read(name).unwrap();
            let mut flipped = whole.clone();
            flipped[20] ^= 1;
            for damaged in [None, Some(flipped)] {
                match &damaged {
                    None => fs::remove_file(name).unwrap(),
                    Some(raw) => fs::write(name, raw).unwrap(),
                }
                let report = check(folder.path());
                assert_eq!(report.found.len(), 1, "{report:?}");
                assert_eq!(report.found[0].file.as_ref(), Some(name), "{report:?}");
                // A label that is there and damaged is what repairs must not believe.
                let costs = damaged.is_some() && *backend == "segment";
                assert_eq!(report.is_damaged(), costs, "{report:?}");
                fs::write(name, &whole).unwrap();
            }
        }
        assert_eq!(check(folder.path()).found, []);
    }
}

/// The largest table of RocksDB, written out.
#[cfg(feature = "rocksdb")]
#[test]
fn a_flipped_bit_in_rocksdb_is_told_with_the_messages_that_it_costs() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = filled(folder.path(), "rocksdb");
    fixture.reopen();
    fixture.close();
    let tables = || {
        let files = fs::read_dir(folder.path().join("weir/rocksdb")).unwrap();
        files
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "sst"))
    };
    let (table, at) = tables()
        .find_map(|path| {
            let bytes = fs::read(&path).unwrap();
            // A body; heads are in tables of their own.
            let at = bytes
                .windows(40)
                .position(|window| window.iter().all(|byte| *byte == b'x'))?;
            Some((path, at))
        })
        .unwrap();
    flip_at(&table, at);
    let report = check(folder.path());
    let found: Vec<_> = open(&report)
        .into_iter()
        .filter(|found| found.stream.as_deref() == Some("ORDERS"))
        .collect();
    assert!(found.iter().any(|found| !found.lost.is_empty()), "{:#?}", report.found);
    for found in &found {
        let offset = found.offset.unwrap();
        assert!(found.file.as_ref() == Some(&table) && offset <= at as u64, "{found:#?}");
        assert!(!found.text.contains(".sst"), "it is told once: {found:#?}");
    }
    assert!(
        open(&report).iter().all(|found| found.what == What::Message),
        "{:#?}",
        report.found
    );
    let orders = report.streams.iter().find(|stream| stream.name == "ORDERS").unwrap();
    assert_eq!(orders.messages + orders.unreadable, fixture.state("ORDERS").messages);
    assert!(orders.unreadable > 0);
}

/// Whatever it holds: records, the catalogue, what paged indexes are made of, and keys that no stream asks for.
#[cfg(feature = "rocksdb")]
#[test]
fn a_flipped_bit_in_any_table_of_rocksdb_is_told() {
    use weir_engine::stream::settings::BackendKind;
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "rocksdb");
    fixture.page_indexes();
    fixture.work();
    fixture.close();
    {
        let rocks = weir_backends::root::StoreDir::new(folder.path());
        let rocks = rocks.open(BackendKind::RocksDb).unwrap();
        let key = |number: u32| (format!("zzz{number:08}").into(), Some(vec![b'z'; 64].into()));
        rocks.kv().put_all(&(0..2_000).map(key).collect::<Vec<_>>()).unwrap();
        rocks.sync().unwrap();
    }
    let files = fs::read_dir(folder.path().join("weir/rocksdb")).unwrap();
    let tables = files.map(|entry| entry.unwrap().path());
    let tables: Vec<PathBuf> = tables
        .filter(|path| path.extension().is_some_and(|end| end == "sst"))
        .collect();
    assert!(tables.len() >= 4, "{tables:?}");
    for table in &tables {
        let whole = fs::read(table).unwrap();
        // The first block begins with the file; a large one has others in its middle.
        flip_at(table, if whole.len() > 100_000 { whole.len() / 2 } else { 20 });
        let report = check(folder.path());
        assert!(report.is_damaged(), "{}: {report:#?}", table.display());
        let (code, _) = weir(&["repair", "--dry-run", folder.path().to_str().unwrap()]);
        assert_eq!(code, Some(2), "{}", table.display());
        fs::write(table, whole).unwrap();
    }
    assert!(!check(folder.path()).is_damaged());
}

/// What a paged index says is compared with the log.
#[cfg(feature = "rocksdb")]
#[test]
fn a_paged_index_that_counts_wrong_is_told() {
    use weir_engine::stream::settings::BackendKind;
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "rocksdb");
    {
        let store = weir_backends::root::StoreDir::new(folder.path());
        let kv = store.open(BackendKind::RocksDb).unwrap();
        let mut entries = Vec::new();
        kv.kv()
            .scan(b"", None, &mut |key, value| {
                if key.windows(8).any(|window| window == b"orders.b") && value.len() > 2 {
                    entries.push((bytes::Bytes::copy_from_slice(key), value.to_vec()));
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(entries.len(), 1, "{entries:?}");
        let (key, mut value) = entries.remove(0);
        value[0] += 1;
        kv.kv().put_all(&[(key, Some(value.into()))]).unwrap();
        kv.sync().unwrap();
    }
    let report = check(folder.path());
    let found = open(&report);
    assert!(
        found.iter().any(|found| found.subject.as_deref() == Some("orders.b")),
        "{found:#?}"
    );
    assert!(found.iter().all(|found| found.what == What::Index), "{found:#?}");
    drop(fixture);
}

/// And so is the digest that it keeps.
#[cfg(feature = "rocksdb")]
#[test]
fn a_paged_index_with_another_digest_is_told() {
    use weir_engine::stream::settings::BackendKind;
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "rocksdb");
    {
        let store = weir_backends::root::StoreDir::new(folder.path());
        let kv = store.open(BackendKind::RocksDb).unwrap();
        let key = [b"I".as_slice(), &fixture.log("ORDERS").0.to_be_bytes()].concat();
        let mut totals = kv.kv().get(&key).unwrap().expect("the totals of the index").to_vec();
        *totals.last_mut().unwrap() ^= 1;
        kv.kv().put_all(&[(key.into(), Some(totals.into()))]).unwrap();
        kv.sync().unwrap();
    }
    let report = check(folder.path());
    let found = open(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].what == What::Index && found[0].text.contains("digest"),
        "{found:#?}"
    );
}

/// The files of a stream's log, in order.
fn log_files(root: &Path, log: &str) -> Vec<PathBuf> {
    let folder = root.join("weir/segment/logs").join(log);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    files.sort();
    files
}

fn position(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

fn flip_at(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, needle: &[u8]) -> usize {
    let at = position(&fs::read(path).unwrap(), needle);
    flip_at(path, at);
    at
}

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

#[test]
fn a_flipped_bit_in_a_message_is_told_with_its_place_stream_and_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS").to_string();
    let file = &log_files(folder.path(), &log)[0];
    // The subject is in the head, "rare" the body of the last message.
    let whole = fs::read(file).unwrap();
    for (needle, says) in [
        (&b"orders.once-only"[..], "damaged up to offset"),
        (b"rare", "the body of record 61 fails"),
    ] {
        let at = flip(file, needle);
        let report = check(folder.path());
        let found = open(&report);
        assert_eq!(found.len(), 1, "{found:#?}");
        let found = found[0];
        assert_eq!(found.what, What::Message);
        assert_eq!(
            (found.stream.as_deref(), found.account.as_deref()),
            (Some("ORDERS"), Some("$G"))
        );
        assert_eq!(found.lost, [(61, 61)]);
        assert_eq!(found.subject.as_deref(), Some("orders.once-only"));
        assert_eq!(found.file.as_ref(), Some(file));
        let offset = found.offset.unwrap() as usize;
        assert!(offset < at && at - offset < 100, "{offset} {at}");
        assert!(found.text.contains(says), "{}", found.text);
        let (code, text) = weir(&["verify", folder.path().to_str().unwrap()]);
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains("stream ORDERS: ") && text.contains("lost: message 61 (orders.once-only)"),
            "{text}"
        );
        fs::write(file, &whole).unwrap();
    }
    assert_eq!(check(folder.path()).found, []);
}

#[test]
fn a_removed_message_whose_bytes_are_damaged_costs_none() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("PURGED").to_string();
    // Its one message was purged.
    let file = log_files(folder.path(), &log).remove(0);
    flip(&file, b"purged");
    let report = check(folder.path());
    let found = open(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].what, &found[0].lost[..]), (What::File, &[][..]), "{found:#?}");
}

/// A closed store whose files are small, so that most of them have footers.
fn with_footers(folder: &Path) -> Fixture {
    let mut fixture = Fixture::with_segments(folder, "segment", 1 << 12);
    fixture.work();
    fixture.note();
    fixture.close();
    fixture
}

#[test]
fn a_damaged_footer_costs_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = with_footers(folder.path());
    assert_eq!(check(folder.path()).found, []);
    let log = fixture.log("ORDERS").to_string();
    let files = log_files(folder.path(), &log);
    assert!(files.len() > 2, "{files:?}");
    let whole = fs::read(&files[0]).unwrap();
    let trailer = whole.len() - 112;
    assert_eq!(&whole[trailer..trailer + 8], b"WeirFtr\n");
    // Its magic, what it says, and the table before it.
    let table = u64::from_le_bytes(whole[trailer + 16..trailer + 24].try_into().unwrap()) as usize;
    for at in [trailer, trailer + 20, table] {
        flip_at(&files[0], at);
        let report = check(folder.path());
        let found = open(&report);
        assert_eq!(found.len(), 1, "at {at}: {found:#?}");
        assert!(found[0].text.contains("footer"), "at {at}: {found:#?}");
        assert_eq!(found[0].file.as_ref(), Some(&files[0]));
        assert_eq!(
            (found[0].stream.as_deref(), &found[0].lost[..]),
            (Some("ORDERS"), &[][..])
        );
        let orders = report.streams.iter().find(|stream| stream.name == "ORDERS").unwrap();
        assert_eq!(orders.messages, fixture.state("ORDERS").messages);
        fs::write(&files[0], &whole).unwrap();
    }
    // A message in a file that has a footer: opening it looks at none of them.
    let at = position(&whole, b"orders.b");
    flip_at(&files[0], at);
    let report = check(folder.path());
    let found = open(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].lost, [(4, 4)], "{found:#?}");
    fs::write(&files[0], &whole).unwrap();
    // The file is gone.
    fs::remove_file(&files[1]).unwrap();
    let report = check(folder.path());
    let lost: Vec<_> = open(&report)
        .into_iter()
        .filter(|found| !found.lost.is_empty())
        .collect();
    assert_eq!(lost.len(), 1, "{:#?}", report.found);
    assert_eq!(
        (lost[0].stream.as_deref(), lost[0].what),
        (Some("ORDERS"), What::Message)
    );
    assert!(lost[0].text.contains("not there: file 2"), "{}", lost[0].text);
    assert!(lost[0].lost.contains(&(31, 35)), "{:?}", lost[0].lost);
}

#[test]
fn a_damaged_catalogue_is_told() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), "segment");
    let copy = |folder: &Path, name: &str| {
        let files = fs::read_dir(folder.join("weir/segment").join(name)).unwrap();
        files.map(|entry| entry.unwrap().path()).next().unwrap()
    };
    let (one, two) = (copy(folder.path(), "kv"), copy(folder.path(), "kv2"));
    let whole = fs::read(&one).unwrap();
    flip(&one, b"\"ORDERS\"");
    let report = check(folder.path());
    let found = open(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].what, found[0].file.as_ref()), (What::Catalogue, Some(&one)));
    assert!(found[0].text.contains("what the other copy has is taken"), "{found:#?}");
    // The same place in both: what stood there is lost, and the log says whose it is.
    flip(&two, b"\"ORDERS\"");
    let report = check(folder.path());
    let found = open(&report);
    assert!(found.iter().any(|found| found.what == What::Catalogue), "{found:#?}");
    let (_, text) = weir(&["verify", folder.path().to_str().unwrap()]);
    let (_, looked) = weir(&["inspect", folder.path().to_str().unwrap()]);
    for text in [text, looked] {
        assert!(
            text.contains("is damaged in every copy") && !text.contains("what the other copy has is taken"),
            "the other copy has it no better: {text}"
        );
    }
    // One copy is gone.
    fs::write(&two, &whole).unwrap();
    fs::remove_file(&one).unwrap();
    let report = check(folder.path());
    assert!(
        open(&report).iter().any(|found| found.what == What::Catalogue),
        "{:#?}",
        report.found
    );
}

#[test]
fn a_damaged_journal_is_told_with_the_messages_that_it_costs() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    fixture.close();
    let log = fixture.log("ORDERS").to_string();
    let journals = (1..=2).flat_map(|id| log_files(killed.path(), &format!("{id:016x}")));
    // The last message but one has 38 of them, the last 39.
    let last_but_one = |bytes: &[u8]| {
        let last = bytes
            .windows(39)
            .rposition(|window| window.iter().all(|byte| *byte == b'x'))?;
        bytes[..last - 1]
            .windows(38)
            .rposition(|window| window.iter().all(|byte| *byte == b'x'))
    };
    let place = |file: PathBuf| Some((file.clone(), last_but_one(&fs::read(file).unwrap())?));
    let (file, at) = journals.filter_map(place).next().unwrap();
    flip_at(&file, at);
    // The stream's log has lost what the journal is to give it: the file is as it was before its message.
    let cut = log_files(killed.path(), &log).pop().unwrap();
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..last_but_one(&bytes).unwrap() - 50]).unwrap();
    let report = check(killed.path());
    let found: Vec<_> = report
        .found
        .iter()
        .filter(|found| found.what == What::Journal)
        .collect();
    assert!(!found.is_empty(), "{:#?}", report.found);
    let placed = found.iter().find(|found| found.offset.is_some()).unwrap();
    assert_eq!(placed.file.as_ref(), Some(&file));
    let costs = |found: &&Found| found.stream.as_deref() == Some("ORDERS") && found.lost == [(100, 100)];
    assert!(open(&report).iter().any(costs), "{:#?}", report.found);
}

/// Nothing tells it from a write that a crash broke off: what that may have cost depends on when its messages were answered.
#[test]
fn a_damaged_last_write_is_told_with_what_it_may_have_cost_by_the_streams_durability() {
    let said = [
        (
            "sync",
            "what was answered of it is in the journal, but for bodies of 8 KiB and more\n",
            "if it never finished nobody was answered for it\n",
        ),
        (
            "os",
            "unless the power failed: `os` promises nothing",
            "may have messages (S)\n",
        ),
        (
            "interval:2s",
            "unless the power failed within 2s of the answer",
            "may have messages (S)\n",
        ),
    ];
    for (durability, of_log, of_journal) in said {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(Arc::new(|| 1_700_000_100_000_000_000));
        let store = Store::embedded(StoreDir::new(folder.path()).opener(), options).unwrap();
        let config = StreamConfig {
            name: "S".to_owned(),
            subjects: vec!["s".to_owned()],
            metadata: BTreeMap::from([("weir.durability".to_owned(), durability.to_owned())]),
            ..StreamConfig::default()
        };
        let stream = store.create_stream("$G", config, &Defaults::default()).unwrap();
        for n in 0..20 {
            stream.publish("s", "", format!("message {n:02}").as_bytes()).unwrap();
        }
        let killed = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), killed.path());
        drop(stream);
        store.close();
        let files = snapshot_of_files(&killed.path().join("weir/segment/logs"));
        let mut damaged = 0;
        for (path, bytes) in files {
            if bytes.windows(10).any(|window| window == b"message 19") {
                flip(&path, b"message 19");
                damaged += 1;
            }
        }
        assert_eq!(damaged, 2, "the log and its journal");
        let report = check(killed.path());
        assert_eq!(open(&report), Vec::<&Found>::new(), "{durability}");
        let text = report.to_text();
        assert!(!text.contains("Costs nothing"), "{text}");
        assert!(text.contains("What a crash may leave:\n"), "{text}");
        assert!(text.contains(of_log) && text.contains(of_journal), "{text}");
        let (_, shown) = weir(&["inspect", killed.path().to_str().unwrap()]);
        assert!(shown.contains(of_log.trim_end()), "{shown}");
    }
}

#[test]
fn a_file_that_was_cut_or_is_gone_costs_what_was_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS").to_string();
    let file = &log_files(folder.path(), &log)[0];
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..position(&bytes, b"orders.once-only")]).unwrap();
    let report = check(folder.path());
    let lost: Vec<_> = open(&report).iter().flat_map(|found| found.lost.clone()).collect();
    assert!(lost.contains(&(61, 61)), "{:#?}", report.found);
    let of_others = |found: &&Found| found.stream.as_deref() != Some("ORDERS");
    assert!(!open(&report).iter().any(of_others), "{:#?}", report.found);
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    let report = check(folder.path());
    let found = open(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].what, found[0].stream.as_deref()),
        (What::Stream, Some("ORDERS"))
    );
    assert!(found[0].text.contains("is missing"), "{found:#?}");
}

#[test]
fn a_catalogue_that_was_rolled_back_leaves_logs_without_streams() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.close();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&folder.path().join("weir/segment"), old.path());
    let mut fixture = filled(folder.path(), "segment");
    for name in ["kv", "kv2"] {
        let place = folder.path().join("weir/segment").join(name);
        fs::remove_dir_all(&place).unwrap();
        copy_folder(&old.path().join(name), &place);
    }
    let report = check(folder.path());
    let orphans: Vec<_> = open(&report)
        .into_iter()
        .filter(|found| found.what == What::Orphan)
        .collect();
    let names: Vec<_> = orphans.iter().filter_map(|found| found.stream.as_deref()).collect();
    assert!(
        names.contains(&"ORDERS") && names.contains(&"JOBS"),
        "{:#?}",
        report.found
    );
    // Their bytes are checked all the same.
    let file = &log_files(folder.path(), &fixture.log("ORDERS").to_string())[0];
    flip(file, b"rare");
    let report = check(folder.path());
    let costs = |found: &&Found| found.what == What::Message && found.stream.as_deref() == Some("ORDERS");
    let found: Vec<_> = open(&report).into_iter().filter(costs).collect();
    assert_eq!(found.len(), 1, "{:#?}", report.found);
    assert_eq!(
        (found[0].file.as_ref(), &found[0].lost[..]),
        (Some(file), &[(61, 61)][..])
    );
    fixture.close();
}

#[test]
fn what_is_settled_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS").to_string();
    flip(&log_files(folder.path(), &log)[0], b"orders.once-only");
    assert!(check(folder.path()).is_damaged());
    // A server notes it, and somebody has seen it.
    fixture.reopen();
    fixture.close();
    let report = check(folder.path());
    assert!(report.is_damaged());
    assert!(open(&report)[0].key.is_some(), "{:#?}", report.found);
    weir_compaction::settle::settle(folder.path(), &weir_compaction::settle::Which::All).unwrap();
    let report = check(folder.path());
    assert!(!report.is_damaged(), "{:#?}", report.found);
    assert!(report.found.iter().any(|found| found.standing == Standing::Settled));
    let (code, text) = weir(&["verify", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Wrong, and settled:"), "{text}");
}

#[test]
fn what_only_a_verification_finds_can_be_settled() {
    use weir_compaction::settle::{Which, settle, settle_with};
    let folder = tempfile::tempdir().unwrap();
    let fixture = with_footers(folder.path());
    let file = &log_files(folder.path(), &fixture.log("ORDERS").to_string())[0];
    let len = fs::read(file).unwrap().len();
    flip_at(file, len - 112);
    // Message 8 was removed.
    flip_at(file, position(&fs::read(file).unwrap(), b"orders.axxxxxxxWFrm") + 14);
    let report = check(folder.path());
    assert_eq!(open(&report).len(), 2, "{:#?}", report.found);
    assert!(
        open(&report)
            .iter()
            .any(|found| found.text.contains("record 8, which was removed"))
    );
    assert_eq!(settle(folder.path(), &Which::All).unwrap(), Vec::<String>::new());
    let settled = settle_with(folder.path(), &Which::All, true).unwrap();
    assert_eq!(settled, ["stream ORDERS of account $G has 2 damaged places"]);
    let report = check(folder.path());
    assert!(!report.is_damaged(), "{:#?}", report.found);
    assert_eq!(report.found.len(), 2);
    // Something else there is not settled with it.
    flip(file, b"orders.b");
    assert_eq!(open(&check(folder.path())).len(), 1);
}

#[test]
fn a_single_stream_and_what_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    let refused = verify(folder.path(), &Options::default(), None, &mut |_, _, _| {});
    assert!(matches!(refused, Err(Error::InUse(_))), "{refused:?}");
    fixture.work();
    fixture.close();
    let options = Options {
        stream: Some("JOBS".to_owned()),
    };
    let report = verify(folder.path(), &options, None, &mut |_, _, _| {}).unwrap();
    assert_eq!(report.streams.len(), 1);
    let text = report.to_text();
    assert!(
        text.contains(" in 1 stream and the journals, for what they have of it"),
        "its bytes are those of the journals too: {text}"
    );
    let log = fixture.log("ORDERS").to_string();
    flip(&log_files(folder.path(), &log)[0], b"rare");
    assert!(
        !verify(folder.path(), &options, None, &mut |_, _, _| {})
            .unwrap()
            .is_damaged()
    );
    let (code, text) = weir(&["verify", folder.path().to_str().unwrap(), "--json"]);
    assert_eq!(code, Some(2));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["found"][0]["stream"], "ORDERS");
    assert_eq!(json["found"][0]["lost"][0][0], 61);
    let (code, _) = weir(&["verify", folder.path().to_str().unwrap(), "--stream", "NOPE"]);
    assert_eq!(code, Some(1));
}

/// Puts the folders of some logs of a store back to what they were.
fn roll_back(store: &Path, old: &Path, log: &str) {
    let (now, then) = (
        store.join("weir/segment/logs").join(log),
        old.join("weir/segment/logs").join(log),
    );
    fs::remove_dir_all(&now).unwrap();
    copy_folder(&then, &now);
}

#[test]
fn a_log_or_a_journal_that_was_rolled_back_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.reopen();
    let old = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), old.path());
    fixture.work_more();
    fixture.close();
    let closed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), closed.path());
    roll_back(closed.path(), old.path(), &fixture.log("ORDERS").to_string());
    let report = check(closed.path());
    let of_orders = open(&report)
        .into_iter()
        .filter(|found| found.stream.as_deref() == Some("ORDERS"));
    let lost: Vec<_> = of_orders.flat_map(|found| found.lost.clone()).collect();
    assert!(lost.contains(&(62, 101)), "{:#?}", report.found);

    let closed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), closed.path());
    for journal in ["0000000000000001", "0000000000000002"] {
        roll_back(closed.path(), old.path(), journal);
    }
    let report = check(closed.path());
    let shards: Vec<_> = open(&report).iter().filter_map(|found| found.shard).collect();
    assert_eq!(shards, [ShardId(0), ShardId(1)], "{:#?}", report.found);
    assert!(
        open(&report)
            .iter()
            .all(|found| found.text.contains("it has lost its end")),
        "{:#?}",
        report.found
    );
    for stream in &report.streams {
        assert_eq!(stream.unreadable, 0);
    }
}

/// CRC-32C of bytes that follow others.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => crc >> 1 ^ 0x82f6_3b78,
            _ => crc >> 1,
        })
    })
}

/// What is kept of an index, with a change of the first frame, whose checksum is right all the same.
fn changed(kept: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut kept = kept.to_vec();
    let len = u32::from_le_bytes(kept[24..28].try_into().unwrap()) as usize;
    change(&mut kept[32..32 + len]);
    let crc = crc32c(crc32c(0, &kept[8..16]), &kept[20..28]);
    let crc = crc32c(crc, &kept[32..32 + len]);
    kept[28..32].copy_from_slice(&crc.to_le_bytes());
    kept
}

/// What is kept of an index is what a start believes: it was not compared with anything.
#[test]
fn what_is_kept_of_an_index_is_compared_with_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work_lives(66_000);
    fixture.close();
    let report = check(folder.path());
    assert_eq!(report.found, []);
    let log = fixture.log("MANY").to_string();
    let file = folder.path().join("weir/segment/logs").join(log).join("index");
    let kept = fs::read(&file).unwrap();
    assert_eq!(changed(&kept, |_| {}), kept);

    let found = |raw: &[u8]| {
        fs::write(&file, raw).unwrap();
        let report = check(folder.path());
        assert_eq!(report.found.len(), 1, "{:#?}", report.found);
        let found = &report.found[0];
        let told = found.file.as_ref().unwrap();
        assert_eq!((told.file_name(), found.what), (file.file_name(), What::Index));
        assert_eq!(report.is_damaged(), found.standing == Standing::Open);
        (found.standing, found.text.clone())
    };
    // Nothing else counts the ends of lives.
    let ending = changed(&kept, |frame| {
        let end = 1_700_001_000_000_000_000_i64.to_le_bytes();
        let at = frame.windows(3).position(|bytes| bytes == &end[5..]).unwrap() - 5;
        frame[at] ^= 1;
    });
    let (standing, text) = found(&ending);
    assert!(standing == Standing::Open && text.contains("remove the file"), "{text}");
    // The messages of 7 as those of 3, and those of 3 as those of 7: the counts are the same.
    let subjects = changed(&kept, |frame| {
        let (seven, three) = (position(frame, b"many.07"), position(frame, b"many.03"));
        (frame[seven + 6], frame[three + 6]) = (b'3', b'7');
    });
    let (standing, text) = found(&subjects);
    assert!(standing == Standing::Open && text.contains("remove the file"), "{text}");
    // The digest, which a start believes as well.
    let (standing, text) = found(&changed(&kept, |frame| frame[5] ^= 1));
    assert!(standing == Standing::Open && text.contains("another digest"), "{text}");
    let (standing, text) = found(&changed(&kept, |frame| frame[0] = 1));
    assert!(
        standing == Standing::Harmless && text.contains("earlier version"),
        "{text}"
    );
    let (standing, text) = found(&kept[..kept.len() - 9]);
    assert!(standing == Standing::Harmless && text.contains("cut short"), "{text}");
    let (standing, text) = found(&[]);
    assert!(standing == Standing::Harmless && text.contains("empty"), "{text}");

    // Of a copy that took other messages since.
    fs::write(&file, &kept).unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(other.path(), "segment");
    // More than it takes to fill the first one.
    fixture.skip(3_600 * 1_000_000_000);
    fixture.work_lives(66_000);
    fixture.close();
    let log = fixture.log("MANY").to_string();
    let theirs = fs::read(other.path().join("weir/segment/logs").join(log).join("index")).unwrap();
    assert_eq!(theirs[8..16], kept[8..16]);
    let (standing, text) = found(&theirs);
    assert!(standing == Standing::Open && text.contains("remove the file"), "{text}");
    fs::remove_file(&file).unwrap();
    assert_eq!(check(folder.path()).found, []);
}
