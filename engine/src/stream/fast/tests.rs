use super::*;

#[test]
fn reads_reply_subjects() {
    let marks = Marks::parse(&Bytes::from_static(b"_INBOX.a.b.id1.100.fail.7.1.$FI")).unwrap();
    assert_eq!(
        marks,
        Marks {
            id: "id1".into(),
            flow: 100,
            gaps: false,
            seq: 7,
            operation: Operation::Append,
        }
    );
    for other in [
        "x.id.1.fail.1.1.$FI",
        "x.id.1.fail.2.0.$FI",
        "x.id.1.fail.1.3.$FI",
        "x.id.1.maybe.1.0.$FI",
        "x.id.1.ok.0.0.$FI",
        "x.id.1.ok.1.5.$FI",
        "id.1.ok.1.0.$FI",
        "$FI",
    ] {
        assert_eq!(Marks::parse(&Bytes::from(other)), None, "{other}");
    }
}

#[test]
fn acknowledgements_adapt() {
    let mut batch = FastBatch {
        gaps: false,
        last: 3,
        stored: 3,
        acked: 0,
        every: 1,
        every_max: 100,
        deadline: 0,
    };
    let text = |note| serde_json::to_string(&note).unwrap();
    assert_eq!(text(batch.due_ack(1).unwrap()), r#"{"type":"ack","seq":3,"msgs":2}"#);
    assert!(batch.due_ack(1).is_none());
    batch.last = 5;
    assert_eq!(text(batch.due_ack(250).unwrap()), r#"{"type":"ack","seq":5,"msgs":2}"#);
    batch.every = 64;
    batch.last = 100;
    assert_eq!(
        text(batch.due_ack(250).unwrap()),
        r#"{"type":"ack","seq":69,"msgs":32}"#
    );
}
