//! The key-value file: torn writes, damage, rewriting.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use weir_engine::{Backend, KvWrite};

use super::super::SegmentBackend;

fn pairs(backend: &SegmentBackend) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    backend
        .kv()
        .scan(b"", None, &mut |key, value| {
            found.insert(
                String::from_utf8(key.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            );
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn write(n: u64) -> Vec<KvWrite> {
    let key = |name: &str| Bytes::from(format!("{name}{n}"));
    vec![
        (key("a"), Some(Bytes::from(format!("value {n}")))),
        (key("b"), Some(Bytes::from("x".repeat(n as usize * 3)))),
        (Bytes::from(format!("a{}", n - 1)), None),
    ]
}

fn after(n: u64) -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    for i in 1..=n {
        expected.insert(format!("b{i}"), "x".repeat(i as usize * 3));
    }
    if n > 0 {
        expected.insert(format!("a{n}"), format!("value {n}"));
    }
    expected
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("kv"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_torn_write_is_cut_whole_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let synced_len = {
        let backend = SegmentBackend::open(dir.path()).unwrap();
        backend.kv().put_all(&write(1)).unwrap();
        backend.kv().put_all(&write(2)).unwrap();
        backend.sync().unwrap();
        let len = fs::metadata(&files(dir.path())[0]).unwrap().len() as usize;
        backend.kv().put_all(&write(3)).unwrap();
        len
    };
    let path = files(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for len in synced_len..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        // The last bytes are padding: without them the write is whole.
        let payload_end = whole.len() - 7;
        let expected = {
            let backend = SegmentBackend::open(dir.path()).unwrap();
            let found = pairs(&backend);
            if len < payload_end {
                assert_eq!(found, after(2), "{len} bytes");
            } else {
                assert!(found == after(2) || found == after(3), "{len} bytes");
            }
            assert!(backend.kv_damage().is_empty(), "{len} bytes");
            backend
                .kv()
                .put_all(&[(Bytes::from("new"), Some(Bytes::from("1")))])
                .unwrap();
            pairs(&backend)
        };
        let backend = SegmentBackend::open(dir.path()).unwrap();
        assert_eq!(pairs(&backend), expected, "{len} bytes");
        assert!(backend.kv_damage().is_empty(), "{len} bytes");
    }
}

#[test]
fn a_flipped_bit_costs_one_write_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    {
        let backend = SegmentBackend::open(dir.path()).unwrap();
        for n in 1..=4u64 {
            let pair = (Bytes::from(format!("k{n}")), Some(Bytes::from("value")));
            backend.kv().put_all(&[pair]).unwrap();
            backend.sync().unwrap();
            ends.push(fs::metadata(&files(dir.path())[0]).unwrap().len() as usize);
        }
    }
    let path = files(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    // The last write is not known to be durable by any later one.
    for at in 0..ends[2] {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let backend = SegmentBackend::open_read_only(dir.path()).unwrap();
        let found = pairs(&backend);
        let lost: Vec<usize> = (1..=4)
            .filter(|n| found.get(&format!("k{n}")).is_none_or(|v| v != "value"))
            .collect();
        let hit = ends.iter().position(|end| at < *end).unwrap() + 1;
        if at >= 32 && !lost.is_empty() {
            assert_eq!(lost, [hit], "byte {at}");
            assert_eq!(found.len(), 3, "byte {at}");
        } else {
            assert!(lost.is_empty(), "byte {at}: {lost:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), bad);
        // Padding is the only thing that may change unnoticed.
        let padding = ends[hit - 1] - at <= 7;
        assert!(padding || !backend.kv_damage().is_empty(), "byte {at} was not told");
    }
}

#[test]
fn what_is_out_of_date_goes() {
    let dir = tempfile::tempdir().unwrap();
    {
        let backend = SegmentBackend::open(dir.path()).unwrap();
        for n in 0..4000u64 {
            let value = Bytes::from(vec![b'v'; 1000]);
            let pair = (Bytes::from(format!("k{}", n % 7)), Some(value));
            backend.kv().put_all(&[pair]).unwrap();
        }
        backend.sync().unwrap();
    }
    let files = files(dir.path());
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(fs::metadata(&files[0]).unwrap().len() < 1_200_000);
    let backend = SegmentBackend::open(dir.path()).unwrap();
    let found = pairs(&backend);
    assert_eq!(found.len(), 7);
    assert!(found.values().all(|v| v.len() == 1000));
}
