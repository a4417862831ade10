//! A journal's records: commands of every kind, and nonsense, replayed onto a shard.

use std::path::Path;
use std::sync::Arc;

use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::{Backend, LogId, LogOptions, Record};

use super::store::{ACCOUNT, FOLDER, NOW, OTHER, STREAM, again, open, template, used};

/// Records at most.
const RECORDS_MAX: usize = 32;

/// Whatever the journal says of one stream, the store opens, the other stream is as it was, and what is there then is
/// there after the next start as well.
///
/// A record is its kind (1 byte), flags (1), the lengths of what follows in its head (1) and of its body (2), and the two.
/// Flags: 1 another stream's, 2 an earlier time, 4 the latest time, 8 a record is missing before it.
pub fn journal(data: &[u8]) {
    let disk = Arc::new(template().copy());
    write(&disk, data);
    let store = open(&disk).expect("the store opens");
    let other = store.stream(ACCOUNT, OTHER).expect("the other stream");
    let messages = other.messages(">", 0, 20, 1 << 20).expect("its messages");
    assert_eq!(
        messages.iter().map(|message| message.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    other.publish("other.1", "", b"one more").expect("it takes another");
    let states = used(&store);
    again(&disk, store, &states);
}

fn write(disk: &Arc<SimulatedDisk>, mut data: &[u8]) {
    disk.boot();
    let backend = SegmentBackend::open_on(disk, Path::new(FOLDER)).expect("the backend");
    let logs = backend.list().expect("its logs");
    let own = logs
        .into_iter()
        .find(|id| {
            let label = backend.label(*id).ok().flatten().unwrap_or_default();
            let name = format!("\"name\":\"{STREAM}\"");
            label.windows(name.len()).any(|part| part == name.as_bytes())
        })
        .expect("the stream's log");
    let options = LogOptions {
        segment_bytes: 16 << 20,
        preallocate: true,
        ..LogOptions::default()
    };
    let (mut log, _) = backend.open(LogId(1), &options).expect("the journal");
    let mut seq = log.reader().extent().last;
    for _ in 0..RECORDS_MAX {
        let Some((&[kind, flags, head_len, low, high], rest)) = data.split_first_chunk::<5>() else {
            break;
        };
        let (head, rest) = rest.split_at(usize::from(head_len).min(rest.len()));
        let body_len = usize::from(u16::from_le_bytes([low, high]));
        let (body, rest) = rest.split_at(body_len.min(rest.len()));
        data = rest;
        let stream = own.0 + 10 * u64::from(flags & 1);
        let head = [&[kind], &stream.to_le_bytes()[..], head].concat();
        seq += if flags & 8 == 0 { 1 } else { 2 };
        let time = match flags & 6 {
            0 => NOW,
            2 => NOW / 2,
            4 => i64::MAX,
            _ => i64::MIN,
        };
        let record = Record {
            seq,
            time,
            head: &head,
            body,
        };
        log.append(&[record]).expect("a record");
    }
    log.sync().expect("a sync");
    drop(log);
    drop(backend);
    disk.kill();
}
