use super::*;
use crate::stream::SubjectTransform;

#[test]
fn copies_go_without_conditions() {
    let all = b"NATS/1.0\r\nA: b\r\nNats-Expected-Stream: S\r\nNats-Batch-Id: x\r\n\r\n";
    assert_eq!(*copied(all, &CONDITIONS), *b"NATS/1.0\r\nA: b\r\n\r\n");
    assert_eq!(
        *copied(b"NATS/1.0\r\nA: b\r\n\r\n", &CONDITIONS),
        *b"NATS/1.0\r\nA: b\r\n\r\n"
    );
    assert_eq!(
        *copied(b"NATS/1.0\r\nNats-Expected-Stream: S\r\n\r\n", &CONDITIONS),
        *b""
    );
    assert_eq!(*copied(b"", &CONDITIONS), *b"");
}

#[test]
fn sources_have_keys() {
    let plain = StreamSource {
        name: "O".into(),
        ..StreamSource::default()
    };
    assert_eq!(plain.key(), "O > >");
    let renamed = StreamSource {
        subject_transforms: vec![
            SubjectTransform {
                src: "a.*".into(),
                dest: "b.$1".into(),
            },
            SubjectTransform {
                src: "c".into(),
                dest: String::new(),
            },
        ],
        ..plain
    };
    assert_eq!(renamed.key(), "O a.*\u{c}c b.$1\u{c}>");
    assert_eq!(renamed.filters(), ["a.*", "c"]);
}

#[test]
fn copies_are_marked() {
    let message = Message {
        seq: 7,
        time: 1,
        subject: "a.b".into(),
        headers: "NATS/1.0\r\nNats-Expected-Last-Sequence: 1\r\nK: v\r\nNats-Stream-Source: X 1 > > y\r\n\r\n".into(),
        payload: Bytes::new(),
    };
    assert_eq!(
        mark(&message, "O > >"),
        b"NATS/1.0\r\nK: v\r\nNats-Stream-Source: O 7 > > a.b\r\n\r\n"
    );
    assert_eq!(
        mark(&message, &identified("O > >", "abc")),
        b"NATS/1.0\r\nK: v\r\nNats-Stream-Source: O 7 > > a.b abc\r\n\r\n"
    );
}
