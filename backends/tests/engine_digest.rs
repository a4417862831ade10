//! Digests of streams and consumers, over every backend: the same for the same, however it came about and whatever restarts there were
//! in between; and another one for every difference.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use bytes::Bytes;
use support::{Bench, Handle, Inbox, Storage};
use weir_engine::SECOND;
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, PullRequest};
use weir_engine::shard::Input;
use weir_engine::store::ChunkSize;
use weir_engine::stream::{Digest, Purge, StreamConfig, stored_size};

const STORAGES: &[Storage] = &[
    Storage::Memory,
    Storage::Segment,
    Storage::Persistent,
    #[cfg(feature = "rocksdb")]
    Storage::Rocks,
];

fn submit(stream: &Handle, input: Input) {
    assert!(stream.shard.submit(vec![input]).is_ok());
    stream.settle(2);
}

fn pull(stream: &Handle, consumer: &'static str, batch: u64) {
    let input = Input::Pull {
        stream: stream.id,
        consumer: Bytes::from_static(consumer.as_bytes()),
        request: PullRequest {
            batch,
            ..PullRequest::default()
        },
        reply: Bytes::from_static(b"inbox"),
    };
    submit(stream, input);
}

/// Acknowledges a message that was delivered in the order of the stream.
fn ack(stream: &Handle, consumer: &'static str, seq: u64) {
    let ack = Ack {
        stream_seq: seq,
        consumer_seq: seq,
        deliveries: 1,
        kind: AckKind::Ack,
        reply: Bytes::new(),
    };
    let input = Input::Ack {
        stream: stream.id,
        consumer: Bytes::from_static(consumer.as_bytes()),
        ack,
    };
    submit(stream, input);
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

fn digest(stream: &Handle) -> Digest {
    let digest = stream.call(|shard, id| Ok(shard.stream(id)?.digest()));
    digest.unwrap().expect("it is known")
}

/// What the messages of a stream add up to, each read.
fn counted(stream: &Handle) -> Digest {
    let state = stream.call(|shard, id| shard.stream(id)?.state()).unwrap();
    let mut digest = Digest::default();
    for seq in state.first_seq..=state.last_seq {
        if let Some(message) = stream.message(seq) {
            let (headers, payload) = (message.headers.len(), message.payload.len());
            let file = weir_engine::stream::Storage::File;
            digest.add(
                seq,
                &message.subject,
                stored_size(file, message.subject.len(), headers, payload),
            );
        }
    }
    digest
}

fn restart(bench: &mut Bench, orderly: bool) -> Handle {
    match orderly {
        true => bench.close(),
        false => bench.kill(),
    }
    bench.open();
    bench.find("S").unwrap()
}

#[test]
fn a_stream_has_the_digest_of_what_it_holds_also_after_restarts() {
    for &storage in STORAGES {
        let mut bench = Bench::new(storage);
        bench.chunk_size = ChunkSize::small(4);
        bench.open();
        let mut stream = bench.create(&config("S"));
        assert_eq!(digest(&stream), Digest::default(), "{storage:?}");
        for n in 0..200 {
            stream
                .publish(&format!("S.{}", n % 7), "", &vec![b'x'; n % 13])
                .unwrap();
        }
        assert_eq!(digest(&stream), counted(&stream), "{storage:?}: 200 messages");
        for seq in [1, 2, 17, 18, 40, 100, 200] {
            stream
                .call(move |shard, id| shard.delete_message(id, seq, seq % 2 == 0))
                .unwrap();
        }
        assert_eq!(digest(&stream), counted(&stream), "{storage:?}: some removed");
        for orderly in [true, false, true] {
            if storage.survives() {
                let before = digest(&stream);
                stream = restart(&mut bench, orderly);
                assert_eq!(digest(&stream), before, "{storage:?}: after a restart");
            }
            let purge = Purge {
                filter: "S.3".into(),
                keep: 2,
                ..Purge::default()
            };
            stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
            for n in 0..20 {
                stream.publish(&format!("S.{}", n % 4), "", b"more").unwrap();
            }
            assert_eq!(digest(&stream), counted(&stream), "{storage:?}: gone on");
        }
        stream.call(|shard, id| shard.purge(id, &Purge::default())).unwrap();
        assert_eq!(digest(&stream), Digest::default(), "{storage:?}: purged");
    }
}

/// All backends have the same for the same messages.
#[test]
fn it_is_the_same_on_all_backends() {
    let digests: Vec<_> = STORAGES
        .iter()
        .map(|&storage| {
            let mut bench = Bench::new(storage);
            bench.open();
            let stream = bench.create(&config("S"));
            for n in 0..50 {
                stream
                    .publish(&format!("S.{}", n % 7), "", &vec![b'x'; n % 13])
                    .unwrap();
            }
            stream.call(|shard, id| shard.delete_message(id, 9, false)).unwrap();
            digest(&stream)
        })
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn a_flipped_subject_a_missing_message_and_another_size_are_seen() {
    let made = |messages: &[(&str, &str)], without: Option<u64>| {
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let stream = bench.create(&config("S"));
        for (subject, payload) in messages {
            stream.publish(subject, "", payload.as_bytes()).unwrap();
        }
        if let Some(seq) = without {
            stream
                .call(move |shard, id| shard.delete_message(id, seq, false))
                .unwrap();
        }
        digest(&stream)
    };
    let all = [("S.a", "1"), ("S.b", "2"), ("S.a", "3")];
    let whole = made(&all, None);
    assert_eq!(made(&all, None), whole);
    assert_ne!(made(&[("S.a", "1"), ("S.c", "2"), ("S.a", "3")], None), whole);
    assert_ne!(made(&[("S.b", "1"), ("S.a", "2"), ("S.a", "3")], None), whole);
    assert_ne!(made(&[("S.a", "1"), ("S.b", "22"), ("S.a", "3")], None), whole);
    for seq in 1..=3 {
        assert_ne!(made(&all, Some(seq)), whole, "without {seq}");
    }
}

#[test]
fn a_consumer_has_the_digest_of_where_it_stands() {
    for &storage in STORAGES {
        let mut bench = Bench::with_outlet(storage, || Box::new(Inbox::default()));
        bench.open();
        let mut stream = bench.create(&config("S"));
        for _ in 0..10 {
            stream.publish("S.a", "", b"x").unwrap();
        }
        for name in ["c", "d"] {
            let config = ConsumerConfig {
                durable_name: name.into(),
                name: name.into(),
                ack_policy: AckPolicy::Explicit,
                ack_wait: 3600 * SECOND,
                max_waiting: 10,
                max_ack_pending: 100,
                ..ConsumerConfig::default()
            };
            stream.call(move |shard, id| shard.create_consumer(id, config)).unwrap();
        }
        let of = |stream: &Handle, name: &str| {
            let name = name.to_owned();
            stream
                .call(move |shard, id| shard.consumer_info(id, &name))
                .unwrap()
                .digest
        };
        let mut seen = vec![of(&stream, "c")];
        assert_eq!(of(&stream, "d"), seen[0], "{storage:?}: both have nothing yet");
        // What is sent, and what is acknowledged.
        let mut other = |stream: &Handle, what: &str| {
            let digest = of(stream, "c");
            assert!(!seen.contains(&digest), "{storage:?}: {what}");
            seen.push(digest);
            digest
        };
        pull(&stream, "c", 5);
        other(&stream, "five were sent");
        ack(&stream, "c", 2);
        other(&stream, "one is acknowledged, and the floor stands");
        ack(&stream, "c", 1);
        let stands = other(&stream, "the floor has moved");
        if storage.survives() {
            for orderly in [true, false] {
                stream = restart(&mut bench, orderly);
                assert_eq!(of(&stream, "c"), stands, "{storage:?}: after a restart");
            }
        }
        // The other one comes to the same place by another way, and at another time.
        bench.advance(SECOND);
        pull(&stream, "d", 2);
        ack(&stream, "d", 1);
        ack(&stream, "d", 2);
        assert_ne!(of(&stream, "d"), stands);
        pull(&stream, "d", 3);
        assert_eq!(of(&stream, "d"), stands, "{storage:?}: both stand at the same place");
    }
}
