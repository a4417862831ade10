//! Streams that the catalogue has lost come back: what their logs and the journals say of them is all that there is.

use super::*;

fn a_lost_stream_comes_back(backend: &'static str) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), backend);
    let before = {
        let store = start(folder.path());
        let before = messages(&store, "ORDERS");
        store.close();
        before
    };
    assert_well(folder.path());
    lose_entries(folder.path(), &[fixture.log("ORDERS"), fixture.log("JOBS")]);
    let told = trouble(folder.path()).unwrap();
    assert!(told.contains("stream ORDERS of account $G is offline"), "{told}");
    let planned = plan(folder.path());
    let doings: Vec<_> = planned.actions.iter().map(|action| action.doing).collect();
    assert_eq!(doings, [Doing::Adopt, Doing::Adopt], "{planned:#?}");
    assert!(planned.is_damaged());

    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let orders = &report.actions[0];
    assert_eq!(
        (orders.stream.as_deref(), orders.outcome),
        (Some("ORDERS"), Outcome::Done)
    );
    let told = orders.told.join("\n");
    assert!(told.contains("nothing tells of its consumers"), "{told}");
    let reason = reason(&report);
    assert!(
        reason.contains("segment/kv\n") && reason.contains("To put it back: "),
        "{reason}"
    );

    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    assert_eq!(messages(&store, "ORDERS"), before);
    assert_eq!(state(&store, "JOBS").messages, fixture.state("JOBS").messages);
    let orders = store.stream("$G", "ORDERS").unwrap();
    let last = fixture.state("ORDERS").last_seq;
    assert_eq!(orders.publish("orders.a", "", b"more").unwrap().seq, last + 1);
    assert_eq!(state(&store, "PURGED"), fixture.state("PURGED"));
    store.close();
    assert_well(folder.path());
}

#[test]
fn a_stream_that_the_catalogue_has_lost_comes_back_on_segment() {
    a_lost_stream_comes_back("segment");
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_stream_that_the_catalogue_has_lost_comes_back_on_rocksdb() {
    a_lost_stream_comes_back("rocksdb");
}

/// After a kill the journal has messages that the log has not, and consumers that no label tells of.
#[test]
fn what_the_journal_has_of_a_lost_stream_comes_back_too() {
    let _alone = alone();
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let folder = tempfile::tempdir().unwrap();
    copy_live(live.path(), folder.path());
    fixture.close();
    lose_entries(folder.path(), &[fixture.log("ORDERS")]);
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let store = start(folder.path());
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    let names = store.stream("$G", "ORDERS").unwrap().read(|stream| {
        Ok(stream
            .consumer_names()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>())
    });
    assert_eq!(names.unwrap(), ["late"]);
    store.close();
    assert_well(folder.path());
}

#[test]
fn a_lost_stream_whose_name_is_taken_gets_another() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS");
    let before = {
        let store = start(folder.path());
        let before = messages(&store, "ORDERS");
        store.close();
        before
    };
    // Somebody made the stream anew while its log was elsewhere.
    lose_entries(folder.path(), &[log]);
    let (there, away) = (log_folder(folder.path(), log), folder.path().join("away"));
    fs::rename(&there, &away).unwrap();
    {
        let store = start(folder.path());
        let config = store.catalogue().get("$G", "JOBS").unwrap().config.clone();
        let config = weir_engine::stream::StreamConfig {
            name: "ORDERS".to_owned(),
            subjects: vec!["orders.>".to_owned()],
            ..config
        };
        let stream = store.create_stream("$G", config, &Default::default()).unwrap();
        stream.publish("orders.a", "", b"new").unwrap();
        store.close();
    }
    fs::rename(&away, &there).unwrap();
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let name = format!("ORDERS-recovered-{log}");
    assert_eq!(report.actions[0].stream.as_deref(), Some(&*name));
    for _ in 0..2 {
        let store = start(folder.path());
        assert_eq!(messages(&store, &name), before);
        assert_eq!(&messages(&store, "ORDERS")[0].payload[..], b"new");
        let entry = store.catalogue().get("$G", &name).unwrap();
        assert_eq!(entry.config.subjects, std::slice::from_ref(&name));
        store.close();
    }
    assert_well(folder.path());
}

#[test]
fn a_log_that_does_not_say_whose_it_is_stays_and_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    let log = fixture.log("ORDERS");
    lose_entries(folder.path(), &[log]);
    flip(&log_folder(folder.path(), log).join("label"), b"ORDERS");
    let (code, text) = weir(&["repair", folder.path().to_str().unwrap()]);
    assert!(
        code == Some(2) && text.contains(&format!("log {log} of segment")),
        "{text}"
    );
    assert!(text.contains("no label that can be read"), "{text}");
    assert!(log_folder(folder.path(), log).is_dir());
}

/// Limits that were wider when the messages came must not take them away.
#[test]
fn a_stream_that_comes_back_loses_no_message_to_the_limits_of_its_label() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = filled(folder.path(), "segment");
    let id = {
        let store = start(folder.path());
        let config = store.catalogue().get("$G", "ORDERS").unwrap().config.clone();
        let small = weir_engine::stream::StreamConfig {
            name: "SMALL".to_owned(),
            subjects: vec!["small".to_owned()],
            max_msgs: 5,
            max_msgs_per_subject: 3,
            max_age: 1_000_000_000,
            ..config
        };
        let stream = store.create_stream("$G", small, &Default::default()).unwrap();
        let id = store.catalogue().get("$G", "SMALL").unwrap().id;
        stream
            .call(|shard, id| {
                let mut config = shard.stream(id)?.config().clone();
                config.max_msgs = -1;
                config.max_msgs_per_subject = -1;
                config.max_age = 0;
                let settings = weir_engine::stream::settings::Settings::of(&config, &Default::default()).unwrap();
                shard.update_stream(id, config, settings)
            })
            .unwrap();
        for _ in 0..10 {
            stream.publish("small", "", b"x").unwrap();
        }
        store.close();
        id
    };
    fixture.reopen();
    fixture.close();
    lose_entries(folder.path(), &[id]);
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let told = report.actions[0].told.join("\n");
    assert!(
        told.contains("max_msgs (5), max_msgs_per_subject (3), max_age (1 s)"),
        "{told}"
    );
    let store = start(folder.path());
    assert_eq!(messages(&store, "SMALL").len(), 10);
    store.close();
}

#[test]
fn a_catalogue_that_is_damaged_in_both_copies_costs_no_stream() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let fixture = filled(folder.path(), "segment");
    for copy in ["kv", "kv2"] {
        let files = fs::read_dir(folder.path().join("weir/segment").join(copy)).unwrap();
        flip(&files.map(|entry| entry.unwrap().path()).next().unwrap(), b"\"ORDERS\"");
    }
    assert!(
        trouble(folder.path())
            .unwrap()
            .contains("part of the catalogue is lost")
    );
    let copies = ["kv", "kv2"].map(|copy| snapshot_of_files(&folder.path().join("weir/segment").join(copy)));
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    for (copy, before) in ["kv", "kv2"].into_iter().zip(copies) {
        let kept = report.quarantine.as_ref().unwrap().join("segment").join(copy);
        assert!(
            snapshot_of_files(&kept).into_values().eq(before.into_values()),
            "all of {copy} is kept"
        );
    }
    let store = start(folder.path());
    for name in ["ORDERS", "JOBS", "PURGED"] {
        assert_eq!(state(&store, name).messages, fixture.state(name).messages, "{name}");
    }
    store.close();
    assert_well(folder.path());
}

/// The catalogue ends, in both copies, before its first checkpoint, and the journal begins behind that.
#[test]
fn streams_come_back_whose_creation_the_catalogue_and_the_journal_have_lost() {
    let _alone = alone();
    let live = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(live.path(), "segment");
    let catalogue = ["kv", "kv2"].map(|copy| live.path().join("weir/segment").join(copy));
    let early = catalogue.clone().map(|copy| snapshot_of_files(&copy));
    fixture.work();
    fixture.reopen();
    fixture.work_more();
    fixture.note();
    let folder = tempfile::tempdir().unwrap();
    copy_live(live.path(), folder.path());
    fixture.close();
    for (copy, early) in ["kv", "kv2"].into_iter().zip(early) {
        let copy = folder.path().join("weir/segment").join(copy);
        fs::remove_dir_all(&copy).unwrap();
        fs::create_dir(&copy).unwrap();
        for (path, raw) in early {
            fs::write(copy.join(Path::new(&path).file_name().unwrap()), raw).unwrap();
        }
    }
    let told = trouble(folder.path()).unwrap();
    assert!(
        told.contains("stream ORDERS of account $G is offline: the record of its creation is lost"),
        "{told}"
    );
    let report = mend(folder.path());
    assert!(!report.is_damaged(), "{report:#?}");
    let store = start(folder.path());
    assert_eq!(store.catalogue().offline(), 0);
    assert_eq!(state(&store, "ORDERS"), fixture.state("ORDERS"));
    for name in ["JOBS", "PURGED"] {
        assert_eq!(state(&store, name).last_seq, fixture.state(name).last_seq, "{name}");
    }
    store.close();
    assert_well(folder.path());
}
