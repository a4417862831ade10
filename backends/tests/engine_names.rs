//! Names, subjects and room in a store without a server: what one stream has, no other gets, whoever comes when.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use weir_backends::root::StoreDir;
use weir_engine::embed::{EmbeddedStream, GLOBAL_ACCOUNT};
use weir_engine::meta::Limits;
use weir_engine::store::{Capacity, Intent};
use weir_engine::stream::settings::{BackendKind, Defaults};
use weir_engine::stream::validate::SubjectSet;
use weir_engine::stream::{Storage, StreamConfig};
use weir_engine::{Error, Kind, SECOND, ShardId, Store, StoreOptions};

fn options() -> StoreOptions {
    StoreOptions::new(Arc::new(|| 1_700_000_000 * SECOND))
}

fn config(name: &str, subjects: &[&str]) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: subjects.iter().map(ToString::to_string).collect(),
        ..StreamConfig::default()
    }
}

fn in_memory(name: &str, subjects: &[&str]) -> StreamConfig {
    StreamConfig {
        storage: Storage::Memory,
        ..config(name, subjects)
    }
}

fn make(store: &Store, config: StreamConfig) -> Result<EmbeddedStream, Error> {
    store.create_stream(GLOBAL_ACCOUNT, config, &Defaults::default())
}

/// As a client of a server is told it.
fn told(made: Result<EmbeddedStream, Error>) -> (u16, String) {
    let rejection = made.err().expect("refused").rejection.expect("by a rule");
    (rejection.code, rejection.text.into_owned())
}

const OVERLAP: &str = "subjects overlap with an existing stream";

#[test]
fn a_store_without_a_server_refuses_what_a_server_does_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = Capacity {
        memory: 100,
        file: 1000,
    };
    let open = || {
        let options = StoreOptions { capacity, ..options() };
        Store::embedded(StoreDir::new(folder.path()).opener(), options).unwrap()
    };
    let store = open();
    make(&store, config("S", &["s.>", "one.two"])).unwrap();
    let check = |store: &Store| {
        let taken = told(make(store, config("S", &["other"])));
        let text = "stream name already in use with a different configuration";
        assert_eq!(taken, (10058, text.to_owned()));
        for subject in ["s.a", "s.*", "s.*.b", "one.>", "one.*"] {
            let overlap = told(make(store, config("T", &["t", subject])));
            assert_eq!(overlap, (10065, OVERLAP.to_owned()), "{subject}");
        }
    };
    check(&store);
    store.close();
    // As well when they were there before.
    let store = open();
    check(&store);
    let other = StreamConfig {
        subjects: vec!["s.>".into()],
        ..config("S", &[])
    };
    // Other accounts have subjects of their own.
    store.create_stream("B", other, &Defaults::default()).unwrap();

    let promised = |name: &str, bytes| StreamConfig {
        max_bytes: bytes,
        ..config(name, &[name])
    };
    let first = make(&store, promised("FIRST", 600)).unwrap();
    assert_eq!(told(make(&store, promised("SECOND", 401))).0, 10047);
    let memory = StreamConfig {
        storage: Storage::Memory,
        ..promised("MEMORY", 101)
    };
    assert_eq!(told(make(&store, memory)).0, 10028);
    make(&store, promised("SECOND", 400)).unwrap();
    first.delete().unwrap();
    make(&store, promised("THIRD", 600)).unwrap();
}

#[test]
fn what_could_not_be_made_leaves_its_name_and_its_subjects_free() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StoreDir::new(folder.path());
    let opener = dir.opener();
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let open = move |kind| match kind {
        BackendKind::Memory if is_broken.load(Ordering::SeqCst) => Err(Error::new(Kind::Io, "not today")),
        kind => opener(kind),
    };
    let store = Store::embedded(Box::new(open), options()).unwrap();
    for _ in 0..2 {
        let error = make(&store, in_memory("S", &["s.>"])).err().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Io, "not today"));
    }
    make(&store, config("T", &["s.t"])).unwrap().delete().unwrap();
    broken.store(false, Ordering::SeqCst);
    let stream = make(&store, in_memory("S", &["s.>"])).unwrap();
    assert_eq!(told(make(&store, config("T", &["s.t"]))).0, 10065);

    // A fault of whoever has a storage thread carry it out.
    stream.delete().unwrap();
    let wanted = config("S", &["s.>"]);
    let reserve = || match store.catalogue().assign(GLOBAL_ACCOUNT, &wanted, &Limits::default()) {
        Intent::Reserved(reservation, None) => reservation,
        _ => panic!("it is free"),
    };
    let reservation = reserve();
    let waiting = || store.catalogue().settled(GLOBAL_ACCOUNT, "S");
    assert!(waiting().is_err());
    let fault: Result<(), Error> = store.shard(ShardId(0)).call_blocking(move |_| {
        let _reservation = reservation;
        panic!("of a test");
    });
    fault.unwrap_err();
    assert!(waiting().is_ok());
    // And a store that is closed before it came to it.
    let reservation = reserve();
    store.close();
    let closed = store.shard(ShardId(0)).call_blocking(move |_| Ok(reservation));
    assert_eq!(closed.err().unwrap().kind, Kind::Closed);
    assert!(waiting().is_ok());
}

/// Who waits is told however the change ends, and finds what it left.
#[test]
fn who_comes_second_waits_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::embedded(StoreDir::new(folder.path()).opener(), options()).unwrap();
    let first = config("S", &["s.>"]);
    let Intent::Reserved(reservation, None) = store.catalogue().assign(GLOBAL_ACCOUNT, &first, &Limits::default())
    else {
        panic!("it is free");
    };
    let began = AtomicUsize::new(0);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            began.fetch_add(1, Ordering::SeqCst);
            make(&store, in_memory("T", &["s.t"])).map(drop)
        });
        let same = scope.spawn(|| {
            began.fetch_add(1, Ordering::SeqCst);
            make(&store, in_memory("S", &["other"])).map(drop)
        });
        while began.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        // Neither is answered while the first may still become what is in their way.
        assert!(!second.is_finished() && !same.is_finished());
        drop(reservation);
        second.join().unwrap().unwrap();
        same.join().unwrap().unwrap();
    });
    assert_eq!(store.catalogue().list(GLOBAL_ACCOUNT).len(), 2);
}

/// Many threads want names and subjects of which no two can be had together. Somebody looks all the time.
#[test]
fn of_many_that_come_at_once_no_two_have_a_subject_in_common() {
    const SUBJECTS: [&[&str]; 6] = [
        &["a.*"],
        &["a.b"],
        &["a.b.>"],
        &["a.c", "d"],
        &["d.>", "a.>"],
        &["a.*.x"],
    ];
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { shards: 4, ..options() };
    let store = Store::embedded(StoreDir::new(folder.path()).opener(), options).unwrap();
    let (made, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let over = AtomicBool::new(false);
    let look = || {
        let all = store.catalogue().list(GLOBAL_ACCOUNT);
        for one in 0..all.len() {
            let own = SubjectSet::of(&all[one].config.subjects);
            for other in &all[one + 1..] {
                let meet = own.overlaps(&other.config.subjects);
                assert!(!meet, "{:?} and {:?}", all[one].config, other.config);
            }
        }
    };
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                look();
                thread::yield_now();
            }
        });
        let threads: Vec<_> = (0..8_usize)
            .map(|thread| {
                let (store, made, refused) = (&store, &made, &refused);
                scope.spawn(move || {
                    for round in 0..60_usize {
                        let which = thread * 7 + round * 5;
                        let name = format!("S{}", (thread + round) % 5);
                        match make(store, in_memory(&name, SUBJECTS[which % SUBJECTS.len()])) {
                            Ok(stream) => {
                                made.fetch_add(1, Ordering::SeqCst);
                                // Others may do so first, and make another.
                                if round % 3 != 0 {
                                    let _ = stream.delete();
                                }
                            }
                            Err(error) => {
                                let code = error.rejection.expect("by a rule").code;
                                assert!([10058, 10065].contains(&code), "{code}");
                                refused.fetch_add(1, Ordering::SeqCst);
                                if round % 2 == 0
                                    && let Ok(stream) = store.stream(GLOBAL_ACCOUNT, &name)
                                {
                                    let _ = stream.delete();
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(Result::unwrap);
        watcher.join().unwrap();
    });
    look();
    assert!(made.into_inner() > 8 && refused.into_inner() > 8);
    for entry in store.catalogue().list(GLOBAL_ACCOUNT) {
        store.stream(GLOBAL_ACCOUNT, &entry.name).unwrap().delete().unwrap();
    }
    make(&store, config("ALL", &["a.>", "d", "d.>"])).unwrap();
}
