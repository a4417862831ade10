//! Files that somebody took away, put back, or put where they do not belong: it is told what that costs, before and after.

use super::*;

/// What a kill leaves of a store with a bit of everything.
fn killed(backend: &'static str, is_closed_before: bool) -> (tempfile::TempDir, Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), backend);
    fixture.work();
    if is_closed_before {
        fixture.reopen();
        fixture.work_more();
    }
    fixture.note();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    fixture.close();
    (killed, fixture)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    files.sort();
    files
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let logs = fs::read_dir(folder.join("weir/segment/logs")).unwrap();
    let logs = logs.map(|log| log.unwrap().path());
    logs.filter(|log| log.file_name().unwrap().to_str().unwrap() < "0000000000000100")
        .collect()
}

#[test]
fn a_journal_whose_files_are_all_gone_is_missed_also_in_a_store_that_was_never_closed() {
    let _alone = alone();
    for is_closed_before in [false, true] {
        let (folder, _) = killed("segment", is_closed_before);
        let path = folder.path().to_str().unwrap();
        let (code, text) = weir(&["verify", path]);
        assert_eq!(code, Some(0), "{text}");
        for journal in journals(folder.path()) {
            fs::read_dir(journal)
                .unwrap()
                .for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
        }
        for tool in ["verify", "inspect"] {
            let (code, text) = weir(&[tool, path]);
            assert_eq!(code, Some(2), "{text}");
            assert!(
                text.contains("the journal of shard 0 is missing, with all of its files"),
                "{text}"
            );
            assert!(text.contains("messages that were acknowledged"), "{text}");
        }
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains("the journal of shard 0 is missing"), "{told}");
        if !is_closed_before {
            let report = mend(folder.path());
            assert!(!report.is_damaged(), "{report:#?}");
            assert_well(folder.path());
        }
    }
}

/// An older journal of two streams lies there: once that is settled, it is not found again as the other stream's.
#[test]
fn what_an_older_journal_lacks_is_settled_of_all_its_streams() {
    let _alone = alone();
    for is_killed_again in [false, true] {
        let live = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(live.path(), "segment");
        fixture.create_pulled("crew");
        let beside = fixture.create_beside("MUCH");
        fixture.reopen();
        let older = tempfile::tempdir().unwrap();
        copy_live(live.path(), older.path());
        for _ in 0..3 {
            fixture.publish_bytes("MUCH", "much.a", 10);
            fixture.publish_bytes(&beside, "beside", 10);
        }
        let folder = tempfile::tempdir().unwrap();
        copy_live(live.path(), folder.path());
        fixture.close();
        for journal in journals(folder.path()) {
            fs::remove_dir_all(&journal).unwrap();
            copy_folder(
                &older.path().join(journal.strip_prefix(folder.path()).unwrap()),
                &journal,
            );
        }
        let told = trouble(folder.path()).unwrap();
        assert!(
            told.contains("has lost its end, or an older one lies in its place"),
            "{told}"
        );
        assert!(
            told.contains("stream MUCH of") && told.contains(&format!("stream {beside} of")),
            "{told}"
        );
        let store = start(folder.path());
        let much = store.stream("$G", "MUCH").unwrap();
        assert_eq!(much.publish("much.a", "", b"more").unwrap().seq, 4);
        drop(much);
        match is_killed_again {
            true => store.abandon(),
            false => store.close(),
        }
        let path = folder.path().to_str().unwrap();
        assert_eq!(weir(&["settle", path, "--all"]).0, Some(0));
        assert_eq!(trouble(folder.path()), None);
        let store = start(folder.path());
        assert_eq!(store.catalogue().trouble(), None);
        store.close();
        for tool in ["verify", "inspect"] {
            let (code, text) = weir(&[tool, path]);
            assert_eq!(code, Some(0), "{text}");
        }
    }
}

/// A journal that was rolled back, or is gone, takes with it what RocksDB had in memory only: the log of a stream on segments shows that
/// the end is lost, and the stream on RocksDB beside it is told of, once. A kill alone loses nothing.
#[cfg(feature = "rocksdb")]
#[test]
fn a_journal_that_lost_its_end_tells_of_streams_on_rocksdb() {
    let _alone = alone();
    for is_gone in [false, true] {
        let live = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(live.path(), "segment");
        fixture.create_pulled("crew");
        let rock = fixture.create_beside_on("MUCH", "rocksdb");
        fixture.publish_bytes(&rock, "beside", 10);
        fixture.reopen();
        let older = tempfile::tempdir().unwrap();
        copy_live(live.path(), older.path());
        for _ in 0..3 {
            fixture.publish_bytes("MUCH", "much.a", 10);
            fixture.publish_bytes(&rock, "beside", 10);
        }
        let folder = tempfile::tempdir().unwrap();
        copy_live(live.path(), folder.path());
        fixture.close();
        let path = folder.path().to_str().unwrap();
        assert_eq!(weir(&["verify", path]).0, Some(0), "after a kill all is there");
        for journal in journals(folder.path()) {
            fs::remove_dir_all(&journal).unwrap();
            if !is_gone {
                copy_folder(
                    &older.path().join(journal.strip_prefix(folder.path()).unwrap()),
                    &journal,
                );
            }
        }
        let named = format!("stream {rock} of account $G may have lost its newest messages");
        let (code, text) = weir(&["verify", path]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(&format!("stream {rock}: the journal of shard")), "{text}");
        assert!(
            text.contains(&named) && text.contains("those behind 1 in memory only"),
            "{text}"
        );
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains(&named), "{told}");
        let (code, text) = weir(&["repair", path]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(&named), "{text}");
        // Settled, it stays so: also where a kill comes before a checkpoint, and the stream goes on.
        assert_eq!(trouble(folder.path()), None);
        let store = start(folder.path());
        store
            .stream("$G", &rock)
            .unwrap()
            .publish("beside", "", b"more")
            .unwrap();
        store.abandon();
        assert_eq!(trouble(folder.path()), None);
        let (code, text) = weir(&["verify", path]);
        assert_eq!(code, Some(0), "{text}");
    }
}

/// A new store that a kill ends as soon as it can be used misses nothing.
#[test]
fn a_new_store_misses_no_journal() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    start(folder.path()).abandon();
    assert_eq!(trouble(folder.path()), None);
    let (code, text) = weir(&["verify", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_file_that_is_gone_is_told_by_health_until_it_is_settled() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (_, files) = of_many_files(folder.path());
    let path = folder.path().to_str().unwrap();
    fs::remove_file(&files[1]).unwrap();
    let (code, text) = weir(&["inspect", path]);
    assert!(code == Some(2) && text.contains("lacks messages that it had"), "{text}");
    for _ in 0..2 {
        let store = start(folder.path());
        let told = store.catalogue().trouble().unwrap();
        assert!(
            told.contains("the log of stream ORDERS of account $G lacks messages that it had"),
            "{told}"
        );
        store.close();
    }
    let (code, text) = weir(&["inspect", path]);
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(weir(&["settle", path, "--all"]).0, Some(0));
    assert_eq!(trouble(folder.path()), None);
    assert_eq!(weir(&["inspect", path]).0, Some(0));
}

#[test]
fn what_is_put_back_is_lost_no_more() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, files) = of_many_files(folder.path());
    let path = folder.path().to_str().unwrap();
    let away = folder.path().join("away");
    fs::rename(&files[1], &away).unwrap();
    assert!(!mend(folder.path()).is_damaged());
    let store = start(folder.path());
    assert!(state(&store, "ORDERS").messages < fixture.state("ORDERS").messages);
    store.close();
    let (_, text) = weir(&["inspect", path, "--stream", "ORDERS"]);
    assert!(text.contains("has lost message"), "{text}");

    fs::rename(&away, &files[1]).unwrap();
    let (code, text) = weir(&["verify", path]);
    assert!(
        code == Some(0) && text.contains("the next start counts them as there"),
        "{text}"
    );
    let (code, text) = weir(&["inspect", path, "--stream", "ORDERS"]);
    assert!(code == Some(0) && !text.contains("has lost message"), "{text}");
    let store = start(folder.path());
    let stream = store.stream("$G", "ORDERS").unwrap();
    let lost = stream
        .call(|shard, id| Ok(shard.stream(id)?.ledger().messages()))
        .unwrap();
    assert_eq!(lost, 0);
    assert_eq!(state(&store, "ORDERS").messages, fixture.state("ORDERS").messages);
    store.close();
    // Also before anything is written to its log, and after.
    assert_well(folder.path());
    let store = start(folder.path());
    store
        .stream("$G", "ORDERS")
        .unwrap()
        .publish("orders.a", "", b"x")
        .unwrap();
    store.close();
    assert_well(folder.path());
}

/// Nobody has to settle what is whole again.
#[test]
fn a_file_that_is_put_back_after_a_start_without_it_is_told_no_more() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, files) = of_many_files(folder.path());
    let path = folder.path().to_str().unwrap();
    let away = folder.path().join("away");
    fs::rename(&files[1], &away).unwrap();
    let store = start(folder.path());
    assert!(state(&store, "ORDERS").messages < fixture.state("ORDERS").messages);
    store.close();
    assert!(trouble(folder.path()).unwrap().contains("lacks messages that it had"));

    fs::rename(&away, &files[1]).unwrap();
    let (code, text) = weir(&["verify", path]);
    assert!(
        code == Some(0) && !text.contains("lacks messages that it had"),
        "{text}"
    );
    let (code, text) = weir(&["inspect", path]);
    assert!(
        code == Some(0) && !text.contains("lacks messages that it had"),
        "{text}"
    );
    for _ in 0..2 {
        let store = start(folder.path());
        assert_eq!(store.catalogue().trouble(), None);
        assert_eq!(state(&store, "ORDERS").messages, fixture.state("ORDERS").messages);
        store.close();
    }
    assert_well(folder.path());
    // It is told anew where it is gone once more.
    fs::rename(&files[1], &away).unwrap();
    assert!(trouble(folder.path()).unwrap().contains("lacks messages that it had"));
}

/// The new log of a stream that was forgotten, and its first sequence behind all, removed what the handbook says to put back.
#[test]
fn a_forgotten_log_is_put_back_over_the_new_one() {
    let _alone = alone();
    // Whether a start only writes to the new log that all is gone, or messages come to it; and who opens the store then.
    for (published, repaired) in [(0, false), (0, true), (5, false), (5, true)] {
        let folder = tempfile::tempdir().unwrap();
        let fixture = filled(folder.path(), "segment");
        let path = folder.path().to_str().unwrap();
        let log = log_folder(folder.path(), fixture.log("ORDERS"));
        let (away, newer) = (folder.path().join("away"), folder.path().join("newer"));
        fs::rename(&log, &away).unwrap();
        let (code, text) = weir(&["repair", path, "--forget", "ORDERS"]);
        assert_eq!(code, Some(0), "{text}");
        let store = start(folder.path());
        let stream = store.stream("$G", "ORDERS").unwrap();
        for _ in 0..published {
            stream.publish("orders.a", "", b"new").unwrap();
        }
        store.close();
        fs::rename(&log, &newer).unwrap();
        fs::rename(&away, &log).unwrap();
        let (_, text) = weir(&["verify", path]);
        assert!(text.contains("the next start counts them as there"), "{text}");
        if repaired {
            let (code, text) = weir(&["repair", path]);
            assert_eq!(code, Some(0), "{text}");
        }
        let before = fixture.state("ORDERS");
        for _ in 0..2 {
            let store = start(folder.path());
            let state = state(&store, "ORDERS");
            assert_eq!((state.messages, state.first_seq), (before.messages, before.first_seq));
            store.close();
        }
        let (_, text) = weir(&["inspect", path, "--stream", "ORDERS"]);
        assert_eq!(text.contains("has lost message"), published > 0, "{text}");
    }
}

/// The stream removed its first message meanwhile, so that its log says that all below is removed: a start unlinked the file.
#[test]
fn what_is_put_back_beside_newer_files_is_not_destroyed_though_the_log_is_past_it() {
    let _alone = alone();
    for is_killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (_, files) = of_many_files(folder.path());
        let path = folder.path().to_str().unwrap();
        let away = folder.path().join("away");
        let whole = fs::read(&files[0]).unwrap();
        fs::rename(&files[0], &away).unwrap();
        let store = start(folder.path());
        let first = state(&store, "ORDERS").first_seq;
        let orders = store.stream("$G", "ORDERS").unwrap();
        assert!(
            orders
                .call(move |shard, id| shard.delete_message(id, first, false))
                .unwrap()
        );
        drop(orders);
        let before = state(&store, "ORDERS");
        match is_killed {
            true => store.abandon(),
            false => store.close(),
        }
        fs::rename(&away, &files[0]).unwrap();
        let (code, text) = weir(&["verify", path]);
        assert!(code == Some(2) && text.contains("somebody has put it back"), "{text}");
        for _ in 0..2 {
            let store = start(folder.path());
            assert_eq!(state(&store, "ORDERS"), before);
            store.close();
        }
        assert!(!files[0].exists());
        let mut aside = files[0].clone().into_os_string();
        aside.push(".set-aside");
        assert!(fs::read(aside).unwrap() == whole);
        assert!(!mend(folder.path()).is_damaged());
        assert_well(folder.path());
    }
}

#[test]
fn a_message_whose_bytes_are_put_back_is_lost_no_more() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let file = segments(&log_folder(folder.path(), fixture.log("ORDERS"))).remove(0);
    let whole = fs::read(&file).unwrap();
    flip(&file, b"rare");
    assert!(!mend(folder.path()).is_damaged());
    let lost = |store: &Store| {
        let stream = store.stream("$G", "ORDERS").unwrap();
        stream
            .call(|shard, id| Ok(shard.stream(id)?.ledger().messages()))
            .unwrap()
    };
    let store = start(folder.path());
    assert_eq!(lost(&store), 1);
    store.close();
    fs::write(&file, whole).unwrap();
    let (code, text) = weir(&["inspect", path, "--stream", "ORDERS"]);
    assert!(code == Some(0) && !text.contains("has lost message"), "{text}");
    let store = start(folder.path());
    assert_eq!(lost(&store), 0);
    store.close();
    assert_well(folder.path());
}

#[test]
fn an_older_catalogue_is_told_as_one() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.reopen();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&folder.path().join("weir/segment"), old.path());
    fixture.work_more();
    fixture.reopen();
    fixture.delete("ORDERS", 71..74);
    let killed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), killed.path());
    fixture.close();
    for name in ["kv", "kv2"] {
        let place = killed.path().join("weir/segment").join(name);
        fs::remove_dir_all(&place).unwrap();
        copy_folder(&old.path().join(name), &place);
    }
    let (code, text) = weir(&["verify", killed.path().to_str().unwrap()]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("the catalogue (segment/kv and segment/kv2) is older than the journals and the logs"),
        "{text}"
    );
}

/// Whoever works on one stream is told that another one is in trouble, and ends as well as that one is.
#[test]
fn tools_that_work_on_one_stream_say_that_something_is_wrong_elsewhere() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let whole = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), whole.path());
    let out = tempfile::tempdir().unwrap();
    let out = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (backup, lines, table) = (out("backup"), out("lines"), out("table"));
    let tools: [&[&str]; 7] = [
        &["dump", path, "--stream", "JOBS"],
        &["export", path, "--stream", "JOBS", &backup],
        &["export", path, "--stream", "JOBS", "--format", "jsonl", &lines],
        &["export", path, "--stream", "JOBS", "--format", "parquet", &table],
        &["diff", path, whole.path().to_str().unwrap(), "--stream", "JOBS"],
        &["compact", path, "--stream", "JOBS"],
        &["convert", path, "--stream", "JOBS", "--to", "segment"],
    ];
    let away = folder.path().join("away");
    fs::rename(log_folder(folder.path(), fixture.log("ORDERS")), &away).unwrap();
    for tool in tools {
        let (code, text) = weir(tool);
        assert_eq!(code, Some(0), "{tool:?}: {text}");
        assert!(
            text.contains("Elsewhere in the store 1 thing is wrong"),
            "{tool:?}: {text}"
        );
    }
    fs::rename(&away, log_folder(folder.path(), fixture.log("ORDERS"))).unwrap();
    let (code, text) = weir(&["dump", path, "--stream", "JOBS"]);
    assert!(code == Some(0) && !text.contains("Elsewhere"), "{text}");
}

#[test]
fn a_stream_that_was_asked_for_is_judged_alone() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let away = folder.path().join("away");
    fs::rename(log_folder(folder.path(), fixture.log("ORDERS")), &away).unwrap();
    for tool in ["verify", "inspect"] {
        let (code, text) = weir(&[tool, path, "--stream", "JOBS"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("Elsewhere in the store 1 thing is wrong"), "{text}");
        let (code, text) = weir(&[tool, path, "--stream", "ORDERS"]);
        assert!(code == Some(2) && !text.contains("Elsewhere"), "{text}");
        let (code, text) = weir(&[tool, path]);
        assert!(code == Some(2) && !text.contains("Elsewhere"), "{text}");
    }
    let (code, text) = weir(&["dump", path, "--stream", "JOBS"]);
    assert_eq!(code, Some(0), "{text}");
    fs::rename(&away, log_folder(folder.path(), fixture.log("ORDERS"))).unwrap();

    // Also where the damage is in a file of another stream, and a server has noted it.
    flip(&segments(&log_folder(folder.path(), fixture.log("ORDERS")))[0], b"rare");
    let store = start(folder.path());
    let _ = store.stream("$G", "ORDERS").unwrap().message(61);
    store.close();
    for tool in ["verify", "inspect"] {
        let (code, text) = weir(&[tool, path, "--stream", "JOBS"]);
        assert!(
            code == Some(0) && text.contains("Elsewhere in the store 1 thing is wrong"),
            "{text}"
        );
        assert_eq!(weir(&[tool, path, "--stream", "ORDERS"]).0, Some(2));
    }
}

#[test]
fn a_damaged_message_is_dumped_once() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    flip(&segments(&log_folder(folder.path(), fixture.log("ORDERS")))[0], b"rare");
    let dumped = |turn: &str| {
        let (code, text) = weir(&["dump", path, "--stream", "ORDERS", "--body", "none"]);
        let said = text.matches("message 61 cannot be shown").count();
        assert_eq!(said, 1, "{turn}: {text}");
        assert!(text.contains(".seg offset "), "{turn}: {text}");
        code
    };
    assert_eq!(dumped("nobody has met it"), Some(2));
    let store = start(folder.path());
    assert!(store.stream("$G", "ORDERS").unwrap().message(61).is_err());
    store.close();
    assert_eq!(dumped("a server has noted it"), Some(2));
    assert_eq!(weir(&["settle", path, "--all"]).0, Some(0));
    assert_eq!(dumped("it is settled"), Some(0));
}

#[test]
fn a_repair_keeps_a_copy_of_the_catalogue_that_it_changes() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (_, files) = of_many_files(folder.path());
    fs::remove_file(&files[1]).unwrap();
    let before: Vec<_> = snapshot_of_files(&folder.path().join("weir/segment/kv"))
        .into_values()
        .collect();
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let quarantine = report.quarantine.clone().unwrap();
    let kept: Vec<_> = snapshot_of_files(&quarantine.join("segment/kv"))
        .into_values()
        .collect();
    assert!(kept == before, "as it was before");
    assert!(quarantine.join("segment/kv2").is_dir());
    assert!(reason(&report).contains("the catalogue, in which losses are noted and settled"));
}

#[cfg(feature = "rocksdb")]
mod rocksdb {
    use super::*;

    /// A closed store with streams on both backends.
    fn of_both(folder: &Path) -> Fixture {
        let mut fixture = filled(folder, "rocksdb");
        let store = start(folder);
        store.close();
        fixture.close();
        fixture
    }

    fn tables(folder: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(folder.join("weir/rocksdb")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == "sst"))
            .collect()
    }

    /// The journal has what RocksDB has not written yet, and with it what consumers were sent.
    #[test]
    fn what_consumers_lose_with_a_file_of_the_journal_is_told_and_nothing_new_is_passed_over() {
        let _alone = alone();
        let live = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::with_segments(live.path(), "rocksdb", 1 << 16);
        fixture.create_pulled("crew");
        let beside = fixture.create_beside("MUCH");
        // All before is in a checkpoint.
        fixture.reopen();
        for _ in 0..10 {
            fixture.publish_bytes("MUCH", "much.a", 20_000);
        }
        // It takes a file of its own, and what comes then lies behind it.
        fixture.publish_bytes(&beside, "beside", 60_000);
        fixture.send_next("MUCH", "crew", 10);
        let killed = tempfile::tempdir().unwrap();
        copy_live(live.path(), killed.path());
        fixture.close();
        let with_messages = journals(killed.path()).into_iter().flat_map(|journal| {
            let files = segments(&journal).into_iter();
            files.filter(|file| fs::read(file).unwrap().windows(6).any(|bytes| bytes == b"much.a"))
        });
        let with_messages: Vec<PathBuf> = with_messages.collect();
        assert!(with_messages.len() > 3, "{with_messages:?}");
        // In the middle, and all that have any of the messages.
        for gone in [&with_messages[1..2], &with_messages[..]] {
            let folder = tempfile::tempdir().unwrap();
            copy_folder(killed.path(), folder.path());
            for file in gone {
                fs::remove_file(folder.path().join(file.strip_prefix(killed.path()).unwrap())).unwrap();
            }
            let path = folder.path().to_str().unwrap();
            let says = [
                "with the messages that stream MUCH of account $G has lost, 1 consumer loses what it waited for",
                "crew had acknowledged all up to 0 and was sent all up to 10, waited for message",
            ];
            for tool in ["verify", "inspect"] {
                let (code, text) = weir(&[tool, path]);
                assert!(code == Some(2) && says.iter().all(|said| text.contains(said)), "{text}");
            }
            let told = trouble(folder.path()).unwrap();
            assert!(told.contains(says[0]), "{told}");
            let store = start(folder.path());
            let much = store.stream("$G", "MUCH").unwrap();
            let lost = much.read(|stream| Ok(stream.ledger().clone())).unwrap();
            let left: Vec<_> = much.messages(">", 1, usize::MAX, usize::MAX).unwrap();
            assert_eq!(lost.messages() + left.len() as u64, 10, "{lost:?}");
            // Nobody gets a sequence that the consumer is past.
            assert_eq!(much.publish("much.a", "", b"new").unwrap().seq, 11);
            assert_eq!(much.consumer_info("crew").unwrap().num_pending, 1);
            drop(much);
            store.close();
            assert!(!mend(folder.path()).is_damaged());
            assert_well(folder.path());
        }
    }

    #[test]
    fn a_missing_table_is_told_with_what_its_streams_had() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        of_both(folder.path());
        let path = folder.path().to_str().unwrap();
        let biggest = tables(folder.path())
            .into_iter()
            .max_by_key(|path| fs::metadata(path).unwrap().len());
        fs::remove_file(biggest.unwrap()).unwrap();
        let (code, text) = weir(&["verify", path]);
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains("at the last checkpoint it had messages, sequences 1 to 61"),
            "{text}"
        );
        let (_, text) = weir(&["repair", path, "--dry-run"]);
        assert!(
            text.contains("stream ORDERS: at the last checkpoint it had messages, sequences 1 to 61"),
            "{text}"
        );
    }

    #[test]
    fn the_folder_is_not_made_anew_over_one_that_is_missing() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let fixture = of_both(folder.path());
        let path = folder.path().to_str().unwrap();
        let (rocks, away) = (folder.path().join("weir/rocksdb"), folder.path().join("away"));
        fs::rename(&rocks, &away).unwrap();
        let (code, text) = weir(&["verify", path]);
        assert!(code == Some(2) && text.contains("weir/rocksdb is missing"), "{text}");
        assert!(text.contains("put back what is missing"), "{text}");
        let told = trouble(folder.path()).unwrap();
        assert!(
            told.contains("weir/rocksdb is missing, in which ") && told.contains("ORDERS"),
            "{told}"
        );
        assert!(!rocks.exists(), "nothing is made in its place");
        let (code, text) = weir(&["repair", path, "--forget", "ORDERS"]);
        assert!(code == Some(2) && text.contains("--forget JOBS"), "{text}");
        assert!(!rocks.exists(), "nothing is made in its place");
        // Put back, it is as it was.
        fs::rename(&away, &rocks).unwrap();
        assert_eq!(trouble(folder.path()), None);
        let store = start(folder.path());
        assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
        store.close();

        // Given up, its streams go on, all of them.
        fs::rename(&rocks, &away).unwrap();
        let mut args = vec!["repair", path];
        for name in ["ORDERS", "JOBS", "EMPTY", "LATER", "PURGED"] {
            args.extend(["--forget", name]);
        }
        let (code, text) = weir(&args);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("the positions of 3 consumers go with the messages"),
            "{text}"
        );
        let store = start(folder.path());
        let orders = state(&store, "ORDERS");
        assert_eq!(
            (orders.messages, orders.last_seq),
            (0, fixture.state("ORDERS").last_seq)
        );
        store.close();
        assert_well(folder.path());
    }

    #[test]
    fn an_older_copy_is_found_by_inspect_and_told_by_health_until_it_is_settled() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(folder.path(), "rocksdb");
        fixture.work_with_headers();
        fixture.close();
        let old = tempfile::tempdir().unwrap();
        copy_folder(&folder.path().join("weir/rocksdb"), old.path());
        fixture.reopen();
        fixture.count_on();
        fixture.close();
        fs::remove_dir_all(folder.path().join("weir/rocksdb")).unwrap();
        copy_folder(old.path(), &folder.path().join("weir/rocksdb"));
        let path = folder.path().to_str().unwrap();
        let (code, text) = weir(&["inspect", path]);
        assert!(code == Some(2) && text.contains("lacks messages that it had"), "{text}");
        let (code, _) = weir(&["verify", path]);
        assert_eq!(code, Some(2));
        let store = start(folder.path());
        assert!(
            store
                .catalogue()
                .trouble()
                .unwrap()
                .contains("lacks messages that it had")
        );
        store.close();
        assert!(trouble(folder.path()).is_some());
        assert_eq!(weir(&["settle", path, "--all"]).0, Some(0));
        assert_eq!(trouble(folder.path()), None);
    }

    #[test]
    fn compacting_leaves_a_damaged_block_alone_and_does_all_else() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        of_both(folder.path());
        let path = folder.path().to_str().unwrap();
        // The body of one of its messages.
        let needle = b"rare";
        let has = |path: &PathBuf| {
            fs::read(path)
                .unwrap()
                .windows(needle.len())
                .any(|bytes| bytes == needle)
        };
        let table = tables(folder.path()).into_iter().find(has).unwrap();
        flip(&table, needle);
        let (code, text) = weir(&["compact", path]);
        assert_eq!(code, Some(2), "{text}");
        let line = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(&format!("{name} of $G")))
                .unwrap()
        };
        assert!(line("ORDERS").contains("cannot be read: bodies: Corruption"), "{text}");
        assert!(!folder.path().join("weir/rocksdb/DAMAGED").exists(), "RocksDB goes on");
        assert_eq!(trouble(folder.path()), None);
    }
}
