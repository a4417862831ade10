use weir_engine::{Backend, LogChange, LogOptions, Record};

use super::*;
use crate::rocks::{RocksBackend, RocksOptions};

/// A log with records of these heads, at these times.
fn log(store: &RocksBackend, id: u64, records: &[(NanoTime, &[u8])]) {
    let (mut log, _) = store.open(LogId(id), &LogOptions::default()).expect("it opens");
    for (seq, (time, head)) in (1..).zip(records) {
        let record = Record {
            seq,
            time: *time,
            head,
            body: b"body",
        };
        let change = LogChange {
            append: &[record],
            ..LogChange::default()
        };
        log.write(&change).expect("written");
    }
}

/// Of records that begin so and are no older.
fn claim(id: u64, begin: &'static [u8], since: NanoTime, empty: Option<Seq>) -> Claim {
    Claim {
        id: LogId(id),
        empty,
        fits: Box::new(move |_, time, head| time >= since && head.starts_with(begin)),
    }
}

#[test]
fn only_what_is_certain_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RocksBackend::open(folder.path(), &RocksOptions::default()).expect("it opens");
    log(&store, 7, &[(5, b"a.1"), (6, b"a.2")]);
    log(&store, 8, &[(5, b"b.1"), (6, b"c.1")]);
    let assigned = |taken: &[u64], claims: &[Claim]| {
        let claims: Vec<&Claim> = claims.iter().collect();
        assign(&store.shared, &taken.iter().copied().collect(), &claims).expect("read")
    };
    let all = places(&store.shared, &BTreeSet::new())
        .expect("read")
        .expect("all are found");
    let [one, other] = all[..] else {
        panic!("two logs have places: {all:?}")
    };
    let (a, any) = (claim(7, b"a.", 0, None), claim(8, b"", 0, None));
    let place = |id, place| (LogId(id), Told::Place(place));
    assert_eq!(assigned(&[], &[a]), [place(7, one)]);
    assert_eq!(assigned(&[], &[any]), [], "both fit");
    assert_eq!(
        assigned(&[one], &[claim(8, b"", 0, None)]),
        [place(8, other)],
        "the other has a log"
    );
    let both = [claim(7, b"a.", 0, None), claim(8, b"a.", 0, None)];
    assert_eq!(assigned(&[], &both), [], "either may be its");
    assert_eq!(assigned(&[], &[claim(7, b"a.", 6, None)]), [], "the first is older");
    assert_eq!(assigned(&[], &[claim(8, b"b.", 0, None)]), [], "not all are of it");
    let empty = [claim(9, b"x.", 0, Some(3)), claim(10, b"x.", 0, None)];
    assert_eq!(assigned(&[], &empty), [(LogId(9), Told::Empty(3))]);
    assert_eq!(free(&store.shared).expect("read"), other + 1);
}
