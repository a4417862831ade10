//! `-t` refuses what a start refuses, in the same words, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::runtime::Runtime;
use weir_backends::root::StoreDir;
use weir_broker::Server;
use weir_broker::conf::options::Listen;
use weir_broker::conf::{self, Options};
use weir_broker::logging::Log;
use weir_engine::stream::settings::BackendKind;

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options {
        host: "127.0.0.1".into(),
        port: 0,
        ..Options::default()
    };
    change(&mut options);
    options
}

/// What a start says, which fails.
fn start(options: Options) -> String {
    if let Err(error) = Log::open(&options) {
        return error.to_string();
    }
    let runtime = Runtime::new().unwrap();
    let error = runtime.block_on(Server::start(options)).err();
    error.unwrap().to_string()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_a_start_refuses_is_refused_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    // Of nobody's: the block is kept for documentation.
    let elsewhere = "192.0.2.1";
    let cases = [
        options(|o| o.log.file = Some(path("missing/log"))),
        options(|o| o.log.file = Some(folder.path().into())),
        options(|o| o.pid_file = Some(path("missing/pid"))),
        options(|o| o.host = elsewhere.into()),
        options(|o| {
            o.http = Some(Listen {
                host: elsewhere.into(),
                port: 0,
            });
        }),
        options(|o| {
            o.jetstream.enabled = true;
            o.jetstream.store_dir = Some(path("file"));
        }),
        options(|o| {
            o.jetstream.enabled = true;
            o.jetstream.store_dir = Some(path("file/store"));
        }),
    ];
    for options in cases {
        let found = Server::check(&options).unwrap_err().to_string();
        assert_eq!(entries(folder.path()), 1, "{found}");
        assert_eq!(found, start(options));
    }
    let ports = options(|o| o.ports_file_dir = Some(path("missing")));
    let found = Server::check(&ports).unwrap_err().to_string();
    // The name of the file is that of the process to come.
    assert!(found.contains("missing: No such file or directory"), "{found}");
    assert!(start(ports).contains("No such file or directory"));
}

#[test]
fn what_would_start_is_right_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let options = options(|o| {
        o.jetstream.enabled = true;
        o.jetstream.store_dir = Some(path("some/store"));
        o.log.file = Some(path("log"));
        o.pid_file = Some(path("pid"));
        o.ports_file_dir = Some(folder.path().into());
        o.http = Some(Listen {
            host: String::new(),
            port: 0,
        });
    });
    Server::check(&options).unwrap();
    assert_eq!(entries(folder.path()), 0);
}

/// What is in a folder, with what lies below it.
fn files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, into),
            false => drop(into.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
}

#[test]
fn a_store_is_looked_at_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let with_store = || {
        options(|o| {
            o.jetstream.enabled = true;
            o.jetstream.store_dir = Some(folder.path().into());
        })
    };
    let snapshot = || {
        let mut all = BTreeMap::new();
        files(folder.path(), &mut all);
        all
    };
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(with_store())).unwrap();
    // The server that has it may be the one that is to be restarted.
    Server::check(&with_store()).unwrap();
    runtime.block_on(server.shutdown());
    drop(server);
    let before = snapshot();
    Server::check(&with_store()).unwrap();
    assert!(snapshot() == before, "it is looked at alone");
    let store = StoreDir::new(folder.path());
    let backend = store.open(BackendKind::Segment).unwrap();
    let later = Bytes::from_static(br#"{"version":99,"shards":1}"#);
    backend
        .kv()
        .put_all(&[(Bytes::from_static(b"store"), Some(later))])
        .unwrap();
    backend.sync().unwrap();
    drop(backend);
    let before = snapshot();
    let found = Server::check(&with_store()).unwrap_err().to_string();
    assert!(found.contains("the store has format version 99"), "{found}");
    assert!(snapshot() == before, "it is looked at alone");
    assert_eq!(found, start(with_store()));
}

/// What came there was removed by the tool's next run.
#[test]
fn a_store_that_a_tool_did_not_make_to_its_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let unfinished = folder.path().join("new.unfinished");
    let with = |path: &Path| {
        options(|o| {
            o.jetstream.enabled = true;
            o.jetstream.store_dir = Some(path.into());
        })
    };
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("UNFINISHED"), "weir was making a store here").unwrap();
    let mut before = BTreeMap::new();
    files(folder.path(), &mut before);
    let found = Server::check(&with(&unfinished)).unwrap_err().to_string();
    assert!(
        found.contains("new.unfinished is a store that `weir` was making"),
        "{found}"
    );
    assert_eq!(found, start(with(&unfinished)));
    let mut after = BTreeMap::new();
    files(folder.path(), &mut after);
    assert!(after == before, "nothing is made there");
    // All is done, and only the file is left over.
    let finished = folder.path().join("new");
    std::fs::rename(&unfinished, &finished).unwrap();
    Server::check(&with(&finished)).unwrap();
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(with(&finished))).unwrap();
    runtime.block_on(server.shutdown());
}

/// It passed, the server started, and every stream with `storage: file` was refused.
#[cfg(not(feature = "rocksdb"))]
#[test]
fn a_default_backend_that_is_not_built_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(|o| {
        o.jetstream.enabled = true;
        o.jetstream.backend = conf::options::Backend::RocksDb;
        o.jetstream.store_dir = Some(folder.path().join("store"));
    });
    let found = Server::check(&options).unwrap_err().to_string();
    assert!(found.contains("built without it: `scripts/serve --rocksdb`"), "{found}");
    assert_eq!(found, start(options));
    assert_eq!(entries(folder.path()), 0);
}

/// A port that is taken, by the server that is to be restarted perhaps, is no fault of the file.
#[test]
fn a_running_server_is_in_nobodys_way() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(|o| o.port = taken.local_addr().unwrap().port());
    Server::check(&options).unwrap();
}

#[test]
fn what_fits_a_file_fits_a_record() {
    const { assert!(conf::options::RECORD_MAX <= weir_engine::Record::BODY_MAX) };
}

/// What stands in the place of a folder or a file of the store.
#[test]
fn a_store_of_odd_kinds_is_refused_as_a_start_refuses_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let with_store = || {
        options(|o| {
            o.jetstream.enabled = true;
            o.jetstream.store_dir = Some(folder.clone());
        })
    };
    let runtime = Runtime::new().unwrap();
    let fresh = || {
        let server = runtime.block_on(Server::start(with_store())).unwrap();
        runtime.block_on(server.shutdown());
    };
    let gone = |path: &Path| match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    };
    std::os::unix::fs::symlink(place.path().join("nowhere"), &folder).unwrap();
    Server::check(&with_store()).unwrap_err();
    start(with_store());
    for part in [
        "weir",
        "weir/segment",
        "weir/segment/logs",
        "weir/segment/kv",
        "weir/segment/kv2",
    ] {
        for link in [false, true] {
            gone(&folder);
            fresh();
            let path = folder.join(part);
            gone(&path);
            match link {
                true => std::os::unix::fs::symlink(place.path().join("nowhere"), &path).unwrap(),
                false => std::fs::write(&path, "").unwrap(),
            }
            let found = Server::check(&with_store());
            assert!(found.is_err(), "{part}, {link}");
            start(with_store());
        }
    }
    gone(&folder);
    fresh();
    let lock = folder.join("weir/segment/LOCK");
    gone(&lock);
    std::fs::create_dir(&lock).unwrap();
    Server::check(&with_store()).unwrap_err();
    start(with_store());
    // And what is merely missing is made.
    for part in ["weir", "weir/segment", "weir/segment/LOCK", "weir/segment/kv2"] {
        gone(&folder);
        fresh();
        gone(&folder.join(part));
        Server::check(&with_store()).unwrap();
        fresh();
    }
}
