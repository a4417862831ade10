//! The key-value space: its two files, and what the engine keeps in it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::{Backend, KvWrite};

use super::edits;
use super::store::{FOLDER, again, open, template, used};

/// Writes at most.
const WRITES_MAX: usize = 16;

/// Whatever the catalogue's files or its pairs say, opening the store ends; and what a store that opens has then is there
/// after the next start as well.
///
/// The first byte says what follows: 0 changes to the files, 1 pairs.
pub fn catalogue(data: &[u8]) {
    let Some((&what, rest)) = data.split_first() else {
        return;
    };
    let disk = Arc::new(template().copy());
    match what {
        0 => edits::apply(&disk, &files(&disk), rest),
        _ => put(&disk, rest),
    }
    let Ok(store) = open(&disk) else { return };
    let states = used(&store);
    again(&disk, store, &states);
}

/// The files of both copies.
fn files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    ["kv", "kv2"]
        .iter()
        .flat_map(|folder| disk.files(&Path::new(FOLDER).join(folder)))
        .collect()
}

/// Writes pairs: the length of the key (1 byte) and of the value (2), and the two. Keys of one byte are the numbers of keys
/// that are there.
fn put(disk: &Arc<SimulatedDisk>, mut data: &[u8]) {
    disk.boot();
    let backend = SegmentBackend::open_on(disk, Path::new(FOLDER)).expect("the backend");
    let mut keys: Vec<Bytes> = Vec::new();
    let kv = backend.kv();
    kv.scan(b"", None, &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key));
        ControlFlow::Continue(())
    })
    .expect("the keys");
    let mut writes: Vec<KvWrite> = Vec::new();
    for _ in 0..WRITES_MAX {
        let Some((&[key_len, low, high], rest)) = data.split_first_chunk::<3>() else {
            break;
        };
        let (key, rest) = rest.split_at(usize::from(key_len).min(rest.len()));
        let value_len = usize::from(u16::from_le_bytes([low, high]));
        let (value, rest) = rest.split_at(value_len.min(rest.len()));
        data = rest;
        let key = match key {
            [number] => keys[usize::from(*number) % keys.len()].clone(),
            key => Bytes::copy_from_slice(key),
        };
        let value = (value_len != 0xffff).then(|| Bytes::copy_from_slice(value));
        writes.push((key, value));
    }
    kv.put_all(&writes).expect("the writes");
    backend.sync().expect("a sync");
    drop((kv, backend));
    disk.kill();
}
