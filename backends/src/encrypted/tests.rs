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
