//! RocksDB on a disk that is full, while the journal has room on another: its streams are read, deleted from and purged, take
//! nothing, and go on by themselves when there is room.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{ACCOUNT, Bench, Handle, Storage};
use weir_engine::consumer::ConsumerConfig;
use weir_engine::stream::settings::{BackendKind, Defaults, Settings};
use weir_engine::stream::{Purge, StreamConfig};
use weir_engine::{Kind, SECOND};

/// Bytes of a disk. RocksDB goes on when as much is free as it keeps in memory, 32 MiB.
const SMALL: usize = 64 << 20;
/// What RocksDB wrote last it keeps, whatever is purged: here that leaves it enough.
const LARGE: usize = 160 << 20;

/// A file system in memory, for as long as it is held.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where that is not allowed.
    fn on(folder: &Path, bytes: usize) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A test that failed may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

fn body(seq: u64) -> Vec<u8> {
    let mut body = seq.to_le_bytes().repeat(25_000);
    body.truncate(200_000 - (seq % 7) as usize);
    body
}

/// Publishes until that is refused; answers how many messages there are.
fn fill(stream: &Handle, mut last: u64) -> u64 {
    loop {
        match stream.publish("R.x", "", &body(last + 1)) {
            Ok((seq, _)) => last = seq,
            Err(error) => {
                let says = |text| error.message.contains(text);
                assert!(
                    error.kind == Kind::Full && says("disk is full") && says("once 32 MiB are free"),
                    "{error}"
                );
                return last;
            }
        }
        assert!(last < 5000, "the disk is not full");
    }
}

/// A file that takes all room that is left.
fn take_all_room(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
}

/// Before, its streams were offline until there was room, and could not be purged.
#[test]
fn on_a_full_disk_streams_are_read_and_purged_and_go_on_by_themselves() {
    let mut bench = Bench::new(Storage::Rocks);
    // What is mounted goes before the folder does.
    let folder = bench.segment_folder().with_file_name("rocksdb");
    let Some(_mounted) = Mounted::on(&folder, SMALL) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    bench.checkpoint_bytes = 4 << 20;
    bench.open();
    let r = bench.create(&config("R"));
    let (id, s) = (bench.store().allocate_id(), config("S"));
    let settings = Settings {
        backend: BackendKind::Segment,
        ..Settings::of(&s, &Defaults::default()).unwrap()
    };
    let made = r.call(move |shard, _| shard.create_stream(id, &ACCOUNT.into(), s, settings));
    made.unwrap();
    let s = bench.find("S").unwrap();
    // It is in memory, and gone as soon as the shard is opened anew.
    let consumer = ConsumerConfig {
        name: "c".into(),
        mem_storage: true,
        ..ConsumerConfig::default()
    };
    s.call(|shard, id| shard.create_consumer(id, consumer)).unwrap();

    let filler = folder.join("filler");
    std::fs::write(&filler, vec![7; 40 << 20]).unwrap();
    let last = fill(&r, 0);
    assert!(last > 40, "{last}");
    for seq in [1, last / 2, last] {
        assert_eq!(&r.message(seq).unwrap().payload[..], body(seq));
    }
    assert!(r.call(|shard, id| shard.delete_message(id, 2, false)).unwrap());
    assert!(r.message(2).is_none());
    let keep = Purge {
        keep: 5,
        ..Purge::default()
    };
    let purged = r.call(move |shard, id| shard.purge(id, &keep)).unwrap();
    assert_eq!(purged.count(), last - 6);
    assert_eq!(s.publish("S.x", "", b"one").unwrap().0, 1, "its neighbour goes on");
    let entry = bench.store().catalogue().get(ACCOUNT, "R").unwrap();
    assert_eq!(entry.offline, None);
    let trouble = bench.store().catalogue().trouble().unwrap();
    assert!(
        trouble.contains("stream R") && trouble.contains("disk is full"),
        "{trouble}"
    );

    std::fs::remove_file(&filler).unwrap();
    while r.publish("R.x", "", &body(last + 1)).is_err() {
        // RocksDB looks once in five seconds whether there is room.
        std::thread::sleep(std::time::Duration::from_millis(100));
        bench.advance(SECOND);
    }
    assert_eq!(bench.store().catalogue().trouble(), None);
    assert!(
        s.call(|shard, id| shard.consumer_info(id, "c")).is_ok(),
        "the shard was not opened anew"
    );

    // A start on a full disk: RocksDB keeps room to be opened.
    let last = last + 1;
    bench.kill();
    take_all_room(&filler);
    bench.open();
    let entry = bench.store().catalogue().get(ACCOUNT, "R").unwrap();
    assert_eq!(entry.offline, None);
    let r = bench.find("R").unwrap();
    let gone = last - 2;
    assert_eq!(&r.message(gone).unwrap().payload[..], body(gone));
    assert!(r.call(move |shard, id| shard.delete_message(id, gone, false)).unwrap());
    assert!(r.message(gone).is_none());

    // And where something else took that, it can be read.
    bench.kill();
    let _ = std::fs::remove_file(folder.join("ROOM"));
    take_all_room(&filler);
    bench.open();
    assert!(bench.store().catalogue().get(ACCOUNT, "R").unwrap().offline.is_some());
    bench.advance(2 * SECOND);
    let r = bench.find("R").unwrap();
    let first = last - 1;
    let mut tries = 0;
    loop {
        let found = r.call(move |shard, id| Ok(shard.stream(id)?.message(first)?.map(|message| message.payload)));
        match found {
            Ok(found) => {
                assert_eq!(&found.unwrap()[..], body(first));
                break;
            }
            // It is being opened, at least to be read: by a thread that has a disk to wait for.
            Err(_) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
                bench.advance(2 * SECOND);
            }
        }
        tries += 1;
        assert!(tries < 6000, "it cannot be read");
    }
    let why = r.publish("R.x", "", b"refused").unwrap_err();
    assert!(why.message.contains("disk is full"), "{why}");
    assert_eq!(bench.find("S").unwrap().publish("S.x", "", b"two").unwrap().0, 2);
    std::fs::remove_file(&filler).unwrap();
    while r.publish("R.x", "", &body(last + 1)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(100));
        bench.advance(8 * SECOND);
    }
    assert_eq!(&r.message(last).unwrap().payload[..], body(last));
    assert_eq!(
        r.call(|shard, id| Ok(shard.stream(id)?.state()?.last_seq)).unwrap(),
        last + 1
    );
}

/// Before, nothing was removed from RocksDB's files until somebody made room by other means.
#[test]
fn a_purge_and_a_deletion_on_a_full_disk_make_room() {
    let mut bench = Bench::new(Storage::Rocks);
    // What is mounted goes before the folder does.
    let folder = bench.segment_folder().with_file_name("rocksdb");
    let Some(_mounted) = Mounted::on(&folder, LARGE) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    bench.checkpoint_bytes = 4 << 20;
    bench.open();
    let r = bench.create(&config("R"));
    let last = fill(&r, 0);
    let purged = r.call(move |shard, id| shard.purge(id, &Purge::default())).unwrap();
    assert_eq!(purged.count(), last);
    while r.publish("R.x", "", &body(last + 1)).is_err() {
        // RocksDB looks once in five seconds whether there is room.
        std::thread::sleep(std::time::Duration::from_millis(100));
        bench.advance(SECOND);
    }
    assert_eq!(bench.store().catalogue().trouble(), None);
    let again = fill(&r, last + 1);
    assert!(again > last + 50, "{again}");

    r.call(|shard, id| shard.delete_stream(id)).unwrap();
    let q = loop {
        let (id, q) = (bench.store().allocate_id(), config("Q"));
        let settings = bench.settings(&q);
        let made = r.call(move |shard, _| shard.create_stream(id, &ACCOUNT.into(), q, settings));
        if made.is_ok() {
            break bench.find("Q").unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        bench.advance(SECOND);
    };
    for seq in 1..=50 {
        assert_eq!(q.publish("Q.x", "", &body(seq)).unwrap().0, seq);
    }
    bench.kill();
    bench.open();
    assert!(bench.find("R").is_none());
    assert_eq!(&bench.find("Q").unwrap().message(50).unwrap().payload[..], body(50));
}
