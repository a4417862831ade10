//! A copy of the catalogue that another store had, or this one at an earlier time, does not win over the one that is this store's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_backends::encrypted::Cipher;
use weir_backends::root::{StoreDir, StoreKey};
use weir_engine::embed::GLOBAL_ACCOUNT;
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::Defaults;
use weir_engine::{NanoTime, Store, StoreOptions};

const FOLDERS: [&str; 2] = ["kv", "kv2"];

/// A store of one kind: encrypted, or not.
struct Place {
    folder: tempfile::TempDir,
    key: Option<&'static str>,
    /// When it is.
    now: NanoTime,
}

impl Place {
    fn new(key: Option<&'static str>, now: NanoTime) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key,
            now,
        }
    }

    fn dir(&self) -> StoreDir {
        let keys: Vec<StoreKey> = self.key.map(StoreKey::new).into_iter().collect();
        StoreDir::new(self.folder.path()).encrypted(&keys, Cipher::Aes).unwrap()
    }

    fn open(&self) -> Store {
        let now = self.now;
        Store::embedded(self.dir().opener(), StoreOptions::new(Arc::new(move || now))).unwrap()
    }

    /// A message for a stream of that name, which is made if it is not there.
    fn publish(&self, name: &str) {
        let store = self.open();
        let stream = store.stream(GLOBAL_ACCOUNT, name).unwrap_or_else(|_| {
            let config = StreamConfig {
                name: name.to_owned(),
                subjects: vec![name.to_owned()],
                ..StreamConfig::default()
            };
            let defaults = Defaults {
                encrypted: self.key.is_some(),
                ..Defaults::default()
            };
            store.create_stream(GLOBAL_ACCOUNT, config, &defaults).unwrap()
        });
        stream.publish(name, "", b"two apples").unwrap();
        store.close();
    }

    fn messages(&self, name: &str) -> u64 {
        let store = self.open();
        let messages = store
            .stream(GLOBAL_ACCOUNT, name)
            .map_or(0, |stream| stream.state().unwrap().messages);
        store.close();
        messages
    }

    fn files(&self, folder: &str, ending: &str) -> Vec<PathBuf> {
        let folder = self.folder.path().join("weir/segment").join(folder);
        let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    }

    /// The file of a copy.
    fn copy(&self, folder: &str) -> PathBuf {
        let files = self.files(folder, ".kv");
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    /// Has the catalogue written anew, in another generation.
    fn renew(&self, name: &str) {
        let before = self.copy("kv");
        while self.copy("kv") == before {
            self.publish(name);
            self.dir().give_back().unwrap();
        }
    }

    /// A copy of the catalogue is that file now, and nothing else.
    fn put(&self, folder: &str, (name, content): (&Path, &[u8])) {
        let there = self.copy(folder);
        fs::remove_file(&there).unwrap();
        fs::write(there.with_file_name(name.file_name().unwrap()), content).unwrap();
    }

    /// What is passed over is told by whoever only looks, and changed by nobody; the start after that keeps it, and mends the copy.
    fn passes_over(&self, folder: &str, why: &str, what: &str, content: &[u8]) {
        let there = self.copy(folder);
        let told = self.dir().look_at_segments().unwrap().kv_damage();
        assert!(told.iter().any(|line| line.contains(what)), "{told:?}");
        assert!(fs::read(&there).unwrap() == content);
        self.open().close();
        let kept = self.files(folder, &format!(".{why}-1"));
        assert_eq!(kept.len(), 1, "{:?}", self.files(folder, ""));
        assert!(fs::read(&kept[0]).unwrap() == content);
        let copies = FOLDERS.map(|folder| self.copy(folder));
        assert_eq!(copies[0].file_name(), copies[1].file_name());
        assert!(fs::read(&copies[0]).unwrap() == fs::read(&copies[1]).unwrap());
        assert_eq!(self.dir().look_at_segments().unwrap().kv_damage(), Vec::<String>::new());
    }
}

#[test]
fn another_stores_copy_is_passed_over() {
    // To open one that is encrypted takes its time.
    for (key, folder, cases) in [
        (None, "kv", &[false, true][..]),
        (None, "kv2", &[false, true]),
        (Some("a key"), "kv", &[true]),
    ] {
        for newer in cases.iter().copied() {
            let (mine, other) = (Place::new(key, 1_000), Place::new(key, 2_000));
            mine.publish("S");
            mine.publish("S");
            for name in ["S", "T"] {
                other.publish(name);
            }
            if newer {
                other.renew("T");
            }
            let copy = other.copy("kv");
            let content = fs::read(&copy).unwrap();
            mine.put(folder, (&copy, &content));
            mine.passes_over(folder, "foreign", "another store's", &content);
            assert_eq!(
                (mine.messages("S"), mine.messages("T")),
                (2, 0),
                "{key:?}, {folder}, {newer}"
            );
            // And it goes on.
            mine.publish("S");
            assert_eq!(mine.messages("S"), 3);
        }
    }
}

/// A store that is not encrypted with the catalogue of one that is, and the other way round.
#[test]
fn a_copy_of_another_kind_is_passed_over() {
    for ([mine, other], folder) in [([None, Some("a key")], "kv2"), ([Some("a key"), None], "kv")] {
        let (mine, other) = (Place::new(mine, 1_000), Place::new(other, 1_000));
        mine.publish("S");
        other.publish("S");
        other.renew("S");
        let copy = other.copy("kv");
        let content = fs::read(&copy).unwrap();
        mine.put(folder, (&copy, &content));
        mine.passes_over(folder, "foreign", "another store's", &content);
        assert_eq!(mine.messages("S"), 1);
    }
}

#[test]
fn an_older_copy_is_passed_over() {
    for folder in FOLDERS {
        let mine = Place::new(None, 1_000);
        mine.publish("S");
        let old = mine.copy(folder);
        let content = fs::read(&old).unwrap();
        mine.renew("S");
        mine.publish("LATER");
        mine.put(folder, (&old, &content));
        mine.passes_over(folder, "older", "of an earlier time", &content);
        assert_eq!(mine.messages("LATER"), 1, "{folder}");
    }
}
