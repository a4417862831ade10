//! Logs that are gone for good: their streams go on without, where somebody says so.

use super::*;

#[test]
fn a_stream_whose_log_is_gone_goes_on_empty_if_it_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let (log, away) = (
        log_folder(folder.path(), fixture.log("ORDERS")),
        folder.path().join("away"),
    );
    fs::rename(&log, &away).unwrap();
    assert!(trouble(folder.path()).unwrap().contains("ORDERS"));
    let (code, text) = weir(&["repair", path]);
    assert!(
        code == Some(2) && text.contains(&format!("back; `weir repair {path} --forget ORDERS`")),
        "{text}"
    );
    assert!(trouble(folder.path()).is_some(), "nothing is forgotten by itself");
    let (code, text) = weir(&["repair", path, "--forget", "JOBS"]);
    assert!(code == Some(1) && text.contains("JOBS"), "{text}");
    let (code, text) = weir(&["repair", path, "--forget", "ORDERS"]);
    assert_eq!(code, Some(0), "{text}");
    // What was known of it is kept, and it is said why nothing else is.
    assert!(text.contains("no messages were there to keep: "), "{text}");
    let quarantine = fs::read_dir(folder.path().join("weir/quarantine"))
        .unwrap()
        .next()
        .unwrap();
    let quarantine = quarantine.unwrap().path();
    assert!(quarantine.join("segment/kv").is_dir() && quarantine.join("segment/kv2").is_dir());
    let reason = fs::read_to_string(quarantine.join("REASON.txt")).unwrap();
    assert!(reason.contains("streams that go on without their messages"), "{reason}");
    // Its log is found, and put back by hand: that nothing is lost is said then.
    let made = folder.path().join("made");
    fs::rename(&log, &made).unwrap();
    fs::rename(&away, &log).unwrap();
    let (code, text) = weir(&["verify", path]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(
            "messages 1 to 61: noted as lost (the log has lost its end), and 53 of these sequences are there again"
        ) && !text.contains("    lost: "),
        "{text}"
    );
    fs::rename(&log, &away).unwrap();
    fs::rename(&made, &log).unwrap();
    let store = start(folder.path());
    let orders = state(&store, "ORDERS");
    assert_eq!(
        (orders.messages, orders.last_seq),
        (0, fixture.state("ORDERS").last_seq)
    );
    let stream = store.stream("$G", "ORDERS").unwrap();
    assert_eq!(stream.publish("orders.a", "", b"x").unwrap().seq, orders.last_seq + 1);
    store.close();
    assert_well(folder.path());
}

#[test]
fn consumers_of_a_stream_that_is_forgotten_are_named_with_their_positions_and_those_are_kept() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    let log = fixture.log("ORDERS");
    let away = folder.path().join("away");
    fs::rename(log_folder(folder.path(), log), &away).unwrap();
    let kv = folder.path().join("weir/segment/kv");
    let before = snapshot_of_files(&kv);

    let (code, planned) = weir(&["repair", path, "--dry-run", "--forget", "ORDERS"]);
    assert_eq!(code, Some(2), "{planned}");
    let floor = fixture.consumer("ORDERS", "workers").ack_floor.stream;
    assert!(
        planned.contains("the positions of 3 consumers go with the messages"),
        "{planned}"
    );
    assert!(
        planned.contains(&format!("workers (acknowledged up to {floor}, sent up to ")),
        "{planned}"
    );
    assert!(planned.contains("mail (") && planned.contains("news ("), "{planned}");
    assert!(planned.contains("copied into quarantine"), "{planned}");
    let (code, done) = weir(&["repair", path, "--forget", "ORDERS"]);
    assert_eq!(code, Some(0), "{done}");
    assert!(
        done.contains("the positions of 3 consumers go with the messages"),
        "{done}"
    );
    assert!(done.contains("workers had acknowledged all up to "), "{done}");

    let mut quarantine = fs::read_dir(folder.path().join("weir/quarantine")).unwrap();
    let quarantine = quarantine.next().unwrap().unwrap().path();
    let positions = fs::read_to_string(quarantine.join(format!("consumers-{log}.json"))).unwrap();
    assert!(positions.contains("\"workers\""), "{positions}");
    let reason = fs::read_to_string(quarantine.join("REASON.txt")).unwrap();
    assert!(reason.contains("where their consumers were"), "{reason}");
    // What lies there is what was there; with it, and the log, all is as it was.
    let copied = snapshot_of_files(&quarantine.join("segment/kv"));
    let named = |files: std::collections::BTreeMap<PathBuf, Vec<u8>>| -> Vec<_> {
        let of = |(path, bytes): (PathBuf, Vec<u8>)| (path.file_name().unwrap().to_owned(), bytes);
        files.into_iter().map(of).collect()
    };
    assert!(named(copied) == named(before), "the catalogue is copied as it was");
    let segment = folder.path().join("weir/segment");
    for part in ["kv", "kv2"] {
        fs::remove_dir_all(segment.join(part)).unwrap();
        copy_folder(&quarantine.join("segment").join(part), &segment.join(part));
    }
    fs::remove_dir_all(log_folder(folder.path(), log)).unwrap();
    fs::rename(&away, log_folder(folder.path(), log)).unwrap();
    let (code, text) = weir(&["verify", path]);
    assert_eq!(code, Some(0), "{text}");
    let store = start(folder.path());
    let stream = store.stream("$G", "ORDERS").unwrap();
    let info = stream.consumer_info("workers").unwrap();
    assert_eq!(info.ack_floor, fixture.consumer("ORDERS", "workers").ack_floor);
    assert_eq!(
        info.num_ack_pending,
        fixture.consumer("ORDERS", "workers").num_ack_pending
    );
    store.close();
}

#[test]
fn what_consumers_lose_with_the_only_file_of_a_stream_is_told_before_and_after() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let path = folder.path().to_str().unwrap();
    for file in fs::read_dir(log_folder(folder.path(), fixture.log("ORDERS"))).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|end| end == "seg") {
            fs::remove_file(file).unwrap();
        }
    }
    let floor = fixture.consumer("ORDERS", "workers").ack_floor.stream;
    let said = format!("workers had acknowledged all up to {floor} and was sent all up to ");
    let (code, verified) = weir(&["verify", path]);
    assert!(code == Some(2) && verified.contains(&said), "{verified}");
    let (code, planned) = weir(&["repair", path, "--dry-run"]);
    assert!(code == Some(2) && planned.contains(&said), "{planned}");
    let (code, inspected) = weir(&["inspect", path]);
    assert!(code == Some(2) && inspected.contains(&said), "{inspected}");

    // A server goes on, says what that cost, and does so until somebody has seen it.
    for _ in 0..2 {
        let told = trouble(folder.path()).unwrap();
        assert!(told.contains("1 consumer loses what it waited for"), "{told}");
    }
    let store = start(folder.path());
    store.close();
    assert!(trouble(folder.path()).unwrap().contains(&said));
    let (code, text) = weir(&["settle", path, "--all"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(trouble(folder.path()), None);
}
