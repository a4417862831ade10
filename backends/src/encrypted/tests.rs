use std::ops::ControlFlow;

use weir_engine::{Check, Direction, EntryRef, Kind, LogChange, LogReader, Place, Record, Seq, Want};

use super::*;
use crate::memory::MemoryBackend;

const KEY: [u8; KEY_LEN] = [1; KEY_LEN];
const ID: LogId = LogId(70);

/// A backend over that one, as one more opening of the same store.
fn over(inner: &Arc<MemoryBackend>, session: u8) -> EncryptedBackend {
    let vault = Vault::new(&KEY, Cipher::ChaCha, [session; SESSION_LEN]).unwrap();
    EncryptedBackend::new(inner.clone(), Arc::new(vault))
}

fn record(seq: Seq, head: &'static [u8], body: &'static [u8]) -> Record<'static> {
    Record {
        seq,
        time: 5,
        head,
        body,
    }
}

/// Writes to the log below what somebody else put there: records as they lie in a log, with other sequences or times.
fn put_below(inner: &MemoryBackend, id: LogId, changed: impl Fn(Seq) -> (Seq, i64), of: &[Entry]) {
    let (mut log, _) = inner.open(id, &LogOptions::default()).unwrap();
    log.truncate(0).unwrap();
    for entry in of {
        let (seq, time) = changed(entry.seq);
        log.append(&[Record {
            seq,
            time,
            head: &entry.head,
            body: &entry.body,
        }])
        .unwrap();
    }
}

use weir_engine::Entry;

fn all(reader: &dyn LogReader, want: Want) -> Vec<(Seq, Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    reader
        .scan(0..=Seq::MAX, want, Direction::Forward, &mut |entry| {
            let kept = entry.to_entry();
            found.push((kept.seq, kept.head.to_vec(), kept.body.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn below(inner: &MemoryBackend, id: LogId) -> Vec<Entry> {
    let (log, _) = inner.open(id, &LogOptions::default()).unwrap();
    let reader = log.reader();
    let mut found = Vec::new();
    reader
        .scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
            found.push(entry.to_entry());
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

#[test]
fn nothing_that_can_be_read_comes_to_the_backend() {
    let inner = Arc::new(MemoryBackend::new());
    let options = LogOptions {
        label: Bytes::from_static(b"secret label"),
        ..LogOptions::default()
    };
    let backend = over(&inner, 1);
    let (mut log, _) = backend.open(ID, &options).unwrap();
    log.append(&[record(1, b"secret head", b"secret body"), record(2, b"", b"")])
        .unwrap();
    drop(log);
    let write = (
        Bytes::from_static(b"stream/1"),
        Some(Bytes::from_static(b"secret value")),
    );
    backend.kv().put_all(&[write]).unwrap();

    let told = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"secret");
    for entry in below(&inner, ID) {
        assert!(!told(&entry.head) && !told(&entry.body));
    }
    assert!(!told(&inner.label(ID).unwrap().unwrap()));
    assert!(!told(&inner.kv().get(b"stream/1").unwrap().unwrap()));

    // And another opening has all of it.
    let backend = over(&inner, 2);
    let (log, recovery) = backend.open(ID, &options).unwrap();
    assert_eq!(recovery.label.as_deref(), Some(&b"secret label"[..]));
    assert_eq!(backend.label(ID).unwrap().as_deref(), Some(&b"secret label"[..]));
    assert_eq!(
        all(log.reader().as_ref(), Want::Full),
        [
            (1, b"secret head".to_vec(), b"secret body".to_vec()),
            (2, vec![], vec![])
        ]
    );
    assert_eq!(
        backend.kv().get(b"stream/1").unwrap().as_deref(),
        Some(&b"secret value"[..])
    );
}

/// A record in the place of another one, of another log, or with another time, is not served; the others are.
#[test]
fn a_record_belongs_to_its_log_and_its_sequence() {
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    log.append(&[
        record(1, b"one", b"1"),
        record(2, b"two", b"2"),
        record(3, b"three", b"3"),
    ])
    .unwrap();
    drop(log);
    let there = below(&inner, ID);

    let other = LogId(71);
    put_below(&inner, other, |seq| (seq, 5), &there);
    let (log, _) = backend.open(other, &LogOptions::default()).unwrap();
    assert_eq!(all(log.reader().as_ref(), Want::Heads), []);
    drop(log);

    let swapped = [there[1].clone(), there[0].clone(), there[2].clone()];
    let swapped: Vec<Entry> = swapped
        .into_iter()
        .zip(1..)
        .map(|(entry, seq)| Entry { seq, ..entry })
        .collect();
    put_below(&inner, ID, |seq| (seq, 5), &swapped);
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    let reader = log.reader();
    for want in [Want::Heads, Want::Full] {
        let seqs: Vec<Seq> = all(reader.as_ref(), want).iter().map(|(seq, ..)| *seq).collect();
        assert_eq!(seqs, [3]);
    }
    assert_eq!(reader.get(1).unwrap_err().kind, Kind::Damaged);
    assert_eq!(reader.get(3).unwrap().unwrap().body, "3");
    assert_eq!(reader.extent().damaged, 2);
    assert_eq!(reader.damaged(0..=2), [(1, 1), (2, 2)]);
    let lost: Vec<(Seq, Seq)> = reader.lost().iter().map(|lost| (lost.first, lost.last)).collect();
    assert_eq!(lost, [(1, 1), (2, 2)]);
    // What is removed is no more missed.
    log.write(&LogChange {
        erase: &[2],
        trim: Some(2),
        ..LogChange::default()
    })
    .unwrap();
    assert_eq!(reader.extent().damaged, 0);
    drop((log, reader));

    put_below(&inner, ID, |seq| (seq, 6), &there);
    let (log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    assert_eq!(all(log.reader().as_ref(), Want::Full), []);
}

/// The body of one record behind the head of another.
#[test]
fn a_body_belongs_to_its_head() {
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    for head in [&b"one"[..], b"two"] {
        let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
        log.truncate(0).unwrap();
        log.append(&[Record {
            seq: 1,
            time: 5,
            head,
            body: b"same length",
        }])
        .unwrap();
        drop(log);
        let there = below(&inner, ID);
        // The same sequence written once more, as after a crash, is sealed anew.
        let again = over(&inner, 2);
        let (mut log, _) = again.open(ID, &LogOptions::default()).unwrap();
        log.truncate(0).unwrap();
        log.append(&[record(1, b"one", b"same length")]).unwrap();
        drop(log);
        let mut mixed = below(&inner, ID);
        assert_ne!(mixed[0].body, there[0].body);
        mixed[0].body = there[0].body.clone();
        put_below(&inner, ID, |seq| (seq, 5), &mixed);
        let (log, _) = again.open(ID, &LogOptions::default()).unwrap();
        assert_eq!(log.reader().get(1).unwrap_err().kind, Kind::Damaged);
    }
}

#[test]
fn a_value_belongs_to_its_key() {
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    let kv = backend.kv();
    let put = |key: &'static [u8]| (Bytes::from_static(key), Some(Bytes::from_static(key)));
    kv.put_all(&[put(b"a/1"), put(b"a/2"), put(b"a/3")]).unwrap();
    let value = inner.kv().get(b"a/1").unwrap();
    inner.kv().put_all(&[(Bytes::from_static(b"a/2"), value)]).unwrap();
    assert_eq!(kv.get(b"a/2").unwrap_err().kind, Kind::Damaged);
    let mut keys = Vec::new();
    kv.scan(b"a/", None, &mut |key, value| {
        assert_eq!(key, value);
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(keys, [b"a/1", b"a/3"]);
}

/// A check of bodies is one of what is sealed, though it may want heads only.
#[test]
fn a_check_opens_what_it_reads() {
    struct Seen(Vec<Seq>);
    impl Check for Seen {
        fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
            self.0.push(entry.seq);
            ControlFlow::Continue(())
        }
        fn want(&self) -> Want {
            Want::Heads
        }
        fn place(&mut self, _: Place) {}
        fn read(&mut self, _: u64) {}
    }
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    log.append(&[record(1, b"one", b"1"), record(2, b"two", b"2")]).unwrap();
    drop(log);
    let mut there = below(&inner, ID);
    let mut body = there[1].body.to_vec();
    body[0] ^= 1;
    there[1].body = body.into();
    put_below(&inner, ID, |seq| (seq, 5), &there);
    let (log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    let reader = log.reader();
    let mut seen = Seen(Vec::new());
    reader.check(&mut seen).unwrap();
    assert_eq!(seen.0, [1]);
    assert_eq!(reader.extent().damaged, 1);
}

#[test]
fn the_longest_body_and_head_go_in() {
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    let (mut log, _) = backend.open(ID, &LogOptions::default()).unwrap();
    let (head, body) = (vec![1; Record::HEAD_MAX], vec![2; Record::BODY_MAX]);
    log.append(&[Record {
        seq: 1,
        time: 5,
        head: &head,
        body: &body,
    }])
    .unwrap();
    let reader = log.reader();
    let entry = reader.get(1).unwrap().unwrap();
    assert!(entry.head == head && entry.body == body);
    assert_eq!(reader.extent().bytes, (head.len() + body.len()) as u64);
}

/// Text and noise, small and large.
fn mixed(seqs: std::ops::RangeInclusive<Seq>) -> Vec<(Seq, Vec<u8>, Vec<u8>)> {
    let noise = |seq: Seq, len: usize| -> Vec<u8> {
        let mut state = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        next.take(len).collect()
    };
    seqs.map(|seq| match seq % 6 {
        0 => (seq, noise(seq, 20), noise(seq, 3000)),
        1 => (seq, b"text".to_vec(), b"again and again ".repeat(seq as usize % 300)),
        2 => (seq, vec![], vec![]),
        // Heads that just lie where heads do, and one that does not.
        3 if seq % 60 == 3 => (seq, noise(seq, Record::HEAD_MAX - 50), b"long ".repeat(900)),
        4 if seq % 60 == 4 => (seq, noise(seq, Record::HEAD_MAX), b"longer ".repeat(900)),
        3 | 4 => (seq, b"text".to_vec(), b"words ".repeat(500)),
        _ => (seq, b"short".to_vec(), vec![b'z'; 40]),
    })
    .collect()
}

fn put(log: &mut dyn Log, records: &[(Seq, Vec<u8>, Vec<u8>)]) {
    let all = records.iter().map(|(seq, head, body)| Record {
        seq: *seq,
        time: 5,
        head,
        body,
    });
    log.append(&all.collect::<Vec<_>>()).unwrap();
}

/// A log has these, whatever is asked for, and counts them as one that is not encrypted.
fn holds(reader: &dyn LogReader, records: &[(Seq, Vec<u8>, Vec<u8>)], what: &str) {
    assert!(all(reader, Want::Full) == records, "{what}");
    let mut heads = Vec::new();
    reader
        .scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
            heads.push((entry.seq, entry.head.to_vec(), entry.body_len as usize));
            ControlFlow::Continue(())
        })
        .unwrap();
    let wanted = records.iter().map(|(seq, head, body)| (*seq, head.clone(), body.len()));
    assert!(heads == wanted.collect::<Vec<_>>(), "{what}");
    let bytes = records
        .iter()
        .map(|(_, head, body)| head.len() + body.len())
        .sum::<usize>();
    assert_eq!(reader.extent().bytes, bytes as u64, "{what}");
    assert_eq!(reader.extent().damaged, 0, "{what}");
}

const HOW: [Compression; 4] = [
    Compression::None,
    Compression::Lz4,
    Compression::Zstd,
    Compression::ZstdLevel(9),
];

#[test]
fn bodies_are_compressed_before_they_are_sealed() {
    let records = mixed(1..=200);
    let mut sizes = Vec::new();
    for compression in HOW {
        let inner = Arc::new(MemoryBackend::new());
        let options = LogOptions {
            compression,
            ..LogOptions::default()
        };
        let (mut log, _) = over(&inner, 1).open(ID, &options).unwrap();
        put(&mut *log, &records);
        holds(&*log.reader(), &records, "at once");
        drop(log);
        // Whatever it is opened with.
        let (log, _) = over(&inner, 2).open(ID, &LogOptions::default()).unwrap();
        holds(&*log.reader(), &records, "opened again");
        drop(log);
        let below = below(&inner, ID);
        sizes.push(
            below
                .iter()
                .map(|entry| entry.head.len() + entry.body.len())
                .sum::<usize>(),
        );
        for (entry, (seq, _, body)) in below.iter().zip(&records) {
            let is_shorter = entry.body.len() < body.len();
            let is_text = matches!(seq % 6, 1 | 3 | 4) && seq % 60 != 4 && body.len() > 100;
            assert_eq!(
                is_shorter,
                is_text && compression != Compression::None,
                "{seq}, {compression}"
            );
        }
    }
    assert!(sizes[1..].iter().all(|size| size * 10 < sizes[0] * 9), "{sizes:?}");
}

/// What a compressed record counts for is told below in the open: a length that is another than the one that was sealed is not believed.
#[test]
fn a_length_that_was_not_sealed_is_damage() {
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    let options = LogOptions {
        compression: Compression::Lz4,
        ..LogOptions::default()
    };
    let (mut log, _) = backend.open(ID, &options).unwrap();
    log.append(&[record(1, b"one", &[7; 1000]), record(2, b"two", &[7; 1000])])
        .unwrap();
    drop(log);
    let there = below(&inner, ID);
    let (mut raw, _) = inner.open(ID, &LogOptions::default()).unwrap();
    raw.truncate(0).unwrap();
    let again = there.iter().map(|entry| Record {
        seq: entry.seq,
        time: entry.time,
        head: &entry.head,
        body: &entry.body,
    });
    raw.write(&LogChange {
        append: &again.collect::<Vec<_>>(),
        counts: &[1000 + 12, 100 << 20],
        ..LogChange::default()
    })
    .unwrap();
    drop(raw);
    let (log, _) = backend.open(ID, &options).unwrap();
    let heads: Vec<Seq> = all(&*log.reader(), Want::Heads).iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(heads, [1]);
}

/// As versions wrote it that compressed nothing. Known answer, from another implementation (Python's cryptography).
#[test]
fn a_record_of_an_earlier_version_is_read() {
    let hex = |text: &str| -> Vec<u8> {
        let bytes = (0..text.len()).step_by(2);
        bytes
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    let inner = Arc::new(MemoryBackend::new());
    let (mut raw, _) = inner.open(ID, &LogOptions::default()).unwrap();
    raw.append(&[Record {
        seq: 1,
        time: 5,
        head: &hex("0109090909090909090909090909090909010000000000000021750d79bed8330987eeb13d8427ad44ea114b9210"),
        body: &hex("6abd5b327fa8ad300a596d08d77b4b78b51447c728e2"),
    }])
    .unwrap();
    drop(raw);
    let (log, _) = over(&inner, 1).open(ID, &LogOptions::default()).unwrap();
    holds(
        &*log.reader(),
        &[(1, b"one".to_vec(), b"a body".to_vec())],
        "an earlier version's",
    );
}

/// A layout of a later version is nothing that this one knows, and is not served.
#[test]
fn a_layout_that_is_not_known_is_damage() {
    let inner = Arc::new(MemoryBackend::new());
    let backend = over(&inner, 1);
    for layout in 0..=5u16 {
        let (mut raw, _) = inner.open(ID, &LogOptions::default()).unwrap();
        raw.truncate(0).unwrap();
        let ad = [&log_ad(Purpose::Head, 0, ID)[..], &1u64.to_le_bytes()].concat();
        let head = backend
            .vault
            .seal(&ad, &[&layout.to_le_bytes()[..], b"a head that is no length"].concat())
            .unwrap();
        raw.append(&[Record {
            seq: 1,
            time: 5,
            head: &head,
            body: &[0; 40],
        }])
        .unwrap();
        drop(raw);
        let (log, _) = backend.open(ID, &LogOptions::default()).unwrap();
        let known = all(&*log.reader(), Want::Heads).len();
        assert_eq!(known, usize::from(layout == 0), "{layout}");
    }
}

/// A log that is written to is compressed otherwise: what is there beside the writer, over openings, or at once by a tool.
fn recompresses(inner: &dyn Fn() -> Arc<dyn Backend>) {
    let mut session = 0;
    let mut open = |compression| {
        session += 1;
        let vault = Vault::new(&KEY, Cipher::Aes, [session; SESSION_LEN]).unwrap();
        let backend = EncryptedBackend::new(inner(), Arc::new(vault));
        let options = LogOptions {
            compression,
            segment_bytes: 64 << 10,
            ..LogOptions::default()
        };
        let (log, _) = backend.open(ID, &options).unwrap();
        (backend, log)
    };
    let mut records = mixed(1..=300);
    let (backend, mut log) = open(Compression::None);
    for some in records.chunks(20) {
        put(&mut *log, some);
    }
    log.sync().unwrap();
    let mut sizes = Vec::new();
    let mut size = |log: &dyn Log| sizes.push(log.reader().extent().disk_bytes);
    drop((backend, log));
    for compression in [Compression::Zstd, Compression::Lz4, Compression::None] {
        let mut left = records.last().map(|(seq, ..)| 0..=*seq);
        while let Some(range) = left {
            let (backend, mut log) = open(compression);
            log.recompress(compression, range);
            for _ in 0..3 {
                let Some(mut work) = log.upkeep().unwrap() else { break };
                // Beside the writer.
                let seq = records.last().map_or(1, |(seq, ..)| seq + 1);
                let new = mixed(seq..=seq);
                put(&mut *log, &new);
                records.extend(new);
                log.erase(&[records.remove(7).0]).unwrap();
                while !work.step().unwrap().over {}
            }
            left = log.recompressing();
            holds(&*log.reader(), &records, &format!("{compression}, {left:?}"));
            log.sync().unwrap();
            drop((backend, log));
        }
        let (backend, mut log) = open(compression);
        log.compact(None, &mut |_, _| {}).unwrap();
        log.sync().unwrap();
        holds(&*log.reader(), &records, "all of it");
        size(&*log);
        drop((backend, log));
        // Nothing is there that is compressed otherwise.
        let (backend, mut log) = open(compression);
        log.compact(Some(compression), &mut |_, _| {}).unwrap();
        log.sync().unwrap();
        holds(&*log.reader(), &records, "once more");
        size(&*log);
        drop((backend, log));
    }
    let near = |one: u64, other: u64| one.abs_diff(other) * 20 < one;
    assert!(sizes.chunks(2).all(|pair| near(pair[0], pair[1])), "{sizes:?}");
    assert!(
        sizes[0] * 10 < sizes[4] * 9 && sizes[2] * 10 < sizes[4] * 9,
        "{sizes:?}"
    );
}

#[test]
fn segments_are_compressed_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    recompresses(&|| Arc::new(crate::segment::SegmentBackend::open(dir.path()).unwrap()));
}

#[cfg(feature = "rocksdb")]
#[test]
fn records_on_rocksdb_are_compressed_otherwise() {
    use crate::rocks::{RocksBackend, RocksOptions};
    let dir = tempfile::tempdir().unwrap();
    recompresses(&|| Arc::new(RocksBackend::open(dir.path(), &RocksOptions::default()).unwrap()));
}
