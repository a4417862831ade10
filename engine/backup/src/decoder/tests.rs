use serde_json::{Value, json};

use super::*;
use crate::archive::{SEQ_MAX, Writer};

fn plan() -> Plan {
    Plan {
        config: StreamConfig {
            name: "S".into(),
            subjects: vec!["a.>".into()],
            num_replicas: 1,
            max_consumers: -1,
            max_msg_size: -1,
            ..StreamConfig::default()
        },
        original: "S".into(),
        told: BackupState::default(),
        limits: ServerLimits::default(),
        max_payload: 1 << 20,
        now: 1_000_000_000,
    }
}

fn message(seq: Seq) -> Message {
    Message {
        seq,
        time: 5,
        subject: "a.b".into(),
        headers: bytes::Bytes::new(),
        payload: vec![b'x'; 100].into(),
    }
}

/// A backup with that state, consumers of these names and configurations, and messages.
fn archive(state: Value, consumers: &[(&str, Value)], messages: &[Message]) -> Vec<u8> {
    let mut writer = Writer::described(state.to_string().as_bytes(), 1);
    for (name, consumer) in consumers {
        let consumer: BackupConsumer = serde_json::from_value(consumer.clone()).unwrap();
        writer.named_consumer(name, &consumer, 1).unwrap();
    }
    for message in messages {
        writer.message(message);
    }
    writer.finish()
}

fn consumer(config: Value) -> Value {
    json!({"config": config, "state": {}})
}

/// What a backup brings, as messages and the rest.
fn decode(plan: Plan, data: &[u8], piece: usize) -> io::Result<(Vec<Seq>, Contents)> {
    let mut decoder = Decoder::new(plan);
    let (mut seqs, mut begun) = (Vec::new(), false);
    for piece in data.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.step()? {
                Step::Begin { .. } => assert!(!std::mem::replace(&mut begun, true), "begun twice"),
                Step::Fill { messages, .. } => {
                    assert!(begun && messages.len() <= MESSAGES);
                    seqs.extend(messages.iter().map(|message| message.seq));
                }
                Step::Remove(_) => panic!("an archive tells of no removals"),
                Step::More => break,
            }
        }
    }
    let (contents, begin) = decoder.finish()?;
    assert!(begin.is_none());
    Ok((seqs, contents))
}

#[test]
fn the_pieces_make_no_difference() {
    let messages: Vec<_> = (1..=2500).map(message).collect();
    let consumers = [("C", consumer(json!({"durable_name": "C", "ack_policy": "explicit"})))];
    let state = json!({"first_seq": 1, "last_seq": 3000, "consumer_count": 1});
    let data = archive(state, &consumers, &messages);
    for piece in [7, 4000, data.len()] {
        let (seqs, contents) = decode(plan(), &data, piece).unwrap();
        assert!(seqs.into_iter().eq(1..=2500));
        assert_eq!((contents.last, contents.consumers.len()), (3000, 1));
        assert_eq!(
            contents.consumers[0].config.max_ack_pending, 1000,
            "defaults are filled in"
        );
    }
    let cut = decode(plan(), &data[..data.len() - 3], 100).unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn consumers_keep_the_rules_of_create() {
    let fine = |name: &str| consumer(json!({"durable_name": name, "ack_policy": "explicit"}));
    let refused = |consumers: &[(&str, Value)]| {
        let state = json!({"consumer_count": consumers.len()});
        let outcome = decode(plan(), &archive(state, consumers, &[]), 50);
        outcome.map(|(_, contents)| contents.consumers.len())
    };
    assert_eq!(refused(&[("C", fine("C")), ("D", fine(""))]).unwrap(), 2);
    for name in ["*", "a.b.c", "", "../../x", ">", "a b", &"x".repeat(256)] {
        assert!(refused(&[(name, fine(""))]).is_err(), "{name:?}");
    }
    assert!(
        refused(&[("C", fine("C")), ("C", fine("C"))]).is_err(),
        "one name twice"
    );
    assert!(refused(&[("C", fine("D"))]).is_err(), "two names for one");
    for config in [
        json!({"filter_subject": "a..b", "ack_policy": "explicit"}),
        json!({"filter_subjects": ["a.b", "a.*"], "ack_policy": "explicit"}),
        json!({"filter_subjects": [""], "ack_policy": "explicit"}),
        json!({"deliver_subject": "a.b", "ack_policy": "explicit"}),
        json!({"ack_policy": "explicit", "ack_wait": -1}),
        json!({"ack_policy": "explicit", "deliver_policy": "by_start_sequence", "opt_start_seq": u64::MAX}),
    ] {
        assert!(refused(&[("C", consumer(config.clone()))]).is_err(), "{config}");
    }
    let mut few = plan();
    few.config.max_consumers = 1;
    let two = archive(json!({"consumer_count": 2}), &[("C", fine("C")), ("D", fine("D"))], &[]);
    let beyond = decode(few, &two, 50).unwrap_err();
    assert_eq!(
        beyond.to_string(),
        "failed to add consumer \"D\": maximum consumers limit reached"
    );
}

#[test]
fn numbers_that_no_stream_has_are_refused() {
    let outcome = |state: Value, messages: &[Message]| decode(plan(), &archive(state, &[], messages), 50);
    assert!(outcome(json!({"first_seq": SEQ_MAX, "last_seq": SEQ_MAX}), &[]).is_ok());
    for state in [
        json!({"first_seq": SEQ_MAX + 1}),
        json!({"first_seq": 1, "last_seq": u64::MAX}),
        json!({"consumer_count": u64::MAX}),
    ] {
        assert!(outcome(state.clone(), &[]).is_err(), "{state}");
    }
    let state = json!({"first_seq": 5, "last_seq": 9});
    assert!(outcome(state.clone(), &[message(5), message(9)]).is_ok());
    for seq in [4, SEQ_MAX + 1, u64::MAX] {
        assert!(outcome(state.clone(), &[message(seq)]).is_err(), "{seq}");
    }
    let mut small = plan();
    small.config.max_msg_size = 99;
    let large = decode(small, &archive(state, &[], &[message(5)]), 50).unwrap_err();
    assert_eq!(large.to_string(), "message sequence 5 exceeds maximum message size");
}
