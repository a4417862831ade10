use super::*;
use crate::unpack::Unpacker;

fn message(seq: Seq) -> Message {
    Message {
        seq,
        time: -5 + seq as i64,
        subject: format!("a.{seq}").into(),
        headers: Bytes::from_static(b"NATS/1.0\r\nK: v\r\n\r\n"),
        payload: vec![seq as u8; 100_000].into(),
    }
}

fn backup() -> Vec<u8> {
    let mut writer = Writer::described(br#"{"first_seq":1,"last_seq":9}"#, 1);
    let mut all = writer.take();
    for seq in [1, 2, 9] {
        writer.message(&message(seq));
        all.extend(writer.take());
    }
    all.extend(writer.finish());
    all
}

const LIMITS: MessageLimits = MessageLimits {
    max_payload: 1 << 20,
    max_msg_size: None,
};

/// What an archive holds, whatever the pieces it comes in.
fn entries(data: &[u8], piece: usize) -> io::Result<Vec<Entry>> {
    let (mut unpacker, mut unpacked) = (Unpacker::default(), BytesMut::new());
    let mut entries = Vec::new();
    for piece in data.chunks(piece) {
        unpacker.push(piece);
        while unpacker.next(&mut unpacked)? {
            if entries.is_empty() && unpacked.starts_with(MAGIC) {
                unpacked.advance(MAGIC.len());
            }
            while let Some(entry) = next_entry(&mut unpacked, &LIMITS)? {
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

#[test]
fn reads_back_what_it_wrote() {
    let all = backup();
    for piece in [1, 100, all.len()] {
        let mut entries = entries(&all, piece).unwrap().into_iter();
        let state = entries.next().unwrap();
        assert_eq!(state.name, b"state.json");
        assert_eq!(serde_json::from_slice::<BackupState>(state.body()).unwrap().last_seq, 9);
        for seq in [1, 2, 9] {
            assert_eq!(entries.next().unwrap().into_message(), message(seq));
        }
        assert!(entries.next().unwrap().is_end());
        assert!(entries.next().is_none());
    }
}

#[test]
fn what_is_cut_short_or_foreign_is_seen() {
    let all = backup();
    for len in [0, 5, 30, all.len() / 2, all.len() - 1] {
        let whole = entries(&all[..len], 77).is_ok_and(|entries| entries.last().is_some_and(Entry::is_end));
        assert!(!whole, "{len} bytes");
    }
    assert!(entries(b"not a backup at all", 5).is_err());
}

/// The numbers that an entry begins with, and nothing else.
fn head(seq: u64, name_len: u64, headers_len: u64, payload_len: u64) -> BytesMut {
    let mut head = Vec::new();
    for number in [name_len, 0, seq, headers_len, payload_len] {
        varint::put(&mut head, number);
    }
    BytesMut::from(&head[..])
}

#[test]
fn what_is_too_large_is_refused_before_it_is_there() {
    let limits = MessageLimits {
        max_msg_size: Some(5000),
        max_payload: 10_000,
    };
    for (seq, name_len, headers_len, payload_len, why) in [
        (1, 1, 0, 10_001, "message sequence 1 exceeds maximum payload size"),
        (1, 1, u64::MAX, 5, "message sequence 1 exceeds maximum payload size"),
        (1, 1, 2500, 2501, "message sequence 1 exceeds maximum message size"),
        (0, 1, 0, PARTS_MAX + 1, "invalid archive stream: an entry is too long"),
        (1, NAME_MAX + 1, 0, 0, "invalid archive stream: a name is too long"),
        (
            u64::MAX,
            1,
            0,
            0,
            "message sequence 18446744073709551615 is above the highest there may be, 4611686018427387904",
        ),
    ] {
        let refused = next_entry(&mut head(seq, name_len, headers_len, payload_len), &limits);
        assert_eq!(refused.map(|_| ()).unwrap_err().to_string(), why);
    }
    assert!(next_entry(&mut head(1, 1, 0, 5000), &limits).unwrap().is_none());
}

#[test]
fn messages_that_nobody_could_publish_are_refused() {
    assert!(check_message(&message(1), &LIMITS).is_ok());
    for subject in ["", "a b", "a..b", "a.>.b"] {
        let bad = Message {
            subject: subject.into(),
            ..message(1)
        };
        assert!(check_message(&bad, &LIMITS).is_err(), "{subject:?}");
    }
    let bad = Message {
        headers: Bytes::from_static(b"K: v\r\n"),
        ..message(1)
    };
    assert!(check_message(&bad, &LIMITS).is_err());
}

#[test]
fn states_that_no_consumer_can_be_in_are_refused() {
    let check = |state: &str| {
        let json = format!("{{\"config\":{{}},\"state\":{state}}}");
        serde_json::from_str::<BackupConsumer>(&json)?.check()
    };
    let fine = r#"{"delivered":{"consumer_seq":3,"stream_seq":9},"ack_floor":{"consumer_seq":1,"stream_seq":4},
        "pending":{"5":{"Sequence":2,"Timestamp":-7}},"redelivered":{"5":1}}"#;
    assert!(check(fine).is_ok());
    for (what, instead) in [
        ("\"consumer_seq\":1", "\"consumer_seq\":4"),
        ("\"stream_seq\":4", "\"stream_seq\":10"),
        ("\"stream_seq\":9", "\"stream_seq\":18446744073709551615"),
        ("\"consumer_seq\":3", "\"consumer_seq\":18446744073709551615"),
        ("\"5\":{", "\"4\":{"),
        ("\"5\":{", "\"10\":{"),
        ("\"Sequence\":2", "\"Sequence\":18446744073709551615"),
        ("\"5\":1", "\"18446744073709551615\":1"),
        ("\"5\":1", "\"5\":18446744073709551615"),
    ] {
        assert!(check(&fine.replacen(what, instead, 1)).is_err(), "{instead}");
    }
}

#[test]
fn consumers_keep_their_state() {
    let snapshot = ConsumerSnapshot {
        serial: 3,
        name: "C".into(),
        next: 8,
        created: 5,
        delivered: SeqPair { consumer: 9, stream: 7 },
        ack_floor: SeqPair { consumer: 4, stream: 4 },
        pending: vec![(5, 6, 3), (7, 9, 4)],
        deliveries: vec![(5, 2)],
        config: ConsumerConfig {
            name: "C".into(),
            durable_name: "C".into(),
            ..ConsumerConfig::default()
        },
        ..ConsumerSnapshot::default()
    };
    let json = serde_json::to_string(&BackupConsumer::of(snapshot.clone(), 100)).unwrap();
    let read: BackupConsumer = serde_json::from_str(&json).unwrap();
    assert_eq!(read.into_snapshot("C", 3, 5), snapshot);
}
