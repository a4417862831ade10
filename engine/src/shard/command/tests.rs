use super::*;

#[test]
fn what_is_moved_says_the_same_and_where_it_was() {
    let id = StreamId(77);
    let mut commands = Commands::default();
    commands.publish(id, 300, 5, b"\0subject", Bytes::from_static(b"body"));
    commands.delete_consumer(id, 6, 3);
    for record in commands.records(41) {
        let body = Bytes::copy_from_slice(record.body);
        let read = |head: &[u8]| {
            Command::decode(record.time, &Bytes::copy_from_slice(head), &body)
                .unwrap()
                .1
        };
        let once = moved_head(record.head, record.seq);
        // Moved again, it has its first number still.
        let twice = moved_head(&once, 1000);
        assert_eq!(stream_of(&twice), Some(id));
        assert_eq!(read(&twice).first_written(1000), (record.seq, read(record.head)));
        assert_eq!(read(record.head).first_written(7).0, 7);
    }
}

#[test]
fn every_command_reads_back() {
    let id = StreamId(77);
    let mut commands = Commands::default();
    commands.publish(id, 300, 5, b"\0subject", Bytes::from_static(b"body"));
    commands.remove(id, 6, 10, &[30, 12, u64::MAX]);
    commands.raise(id, 7, 9, Bytes::from_static(b"id"));
    let pair = |consumer, stream| SeqPair { consumer, stream };
    let place = Place {
        next: 700,
        delivered: pair(5, 699),
        ack_floor: pair(4, 300),
    };
    commands.create_stream(id, 1, Bytes::from_static(b"{}"));
    commands.update_stream(id, 1, Bytes::from_static(b"{}"));
    commands.create_consumer(id, 1, Bytes::from_static(b"{}"));
    commands.update_consumer(id, 1, 4, Bytes::from_static(b"{}"));
    commands.delivered(id, 8, 3, 1000, &[5, 6, 2]);
    commands.acked(id, 9, 3, &[]);
    commands.delete_consumer(id, 10, 3);
    commands.deferred(id, 10, 3, &[(7, -5), (300, 1_700_000_000_000_000_000)]);
    commands.given_up(id, 10, 3, &[9, 4]);
    commands.reset_consumer(id, 10, 3, 500);
    commands.placed(id, 10, 3, place, &[4, 900]);
    commands.delete_stream(id, 11);
    commands.together(id, 12, 300);
    commands.copied(id, 13, 4, Bytes::from_static(b"O > >"));
    commands.removing(id, 11, Bytes::from_static(b"[]"));
    commands.void(id, 11, 5, 300);
    commands.publish_again(id, 11, 6, Bytes::from_static(b"body"));
    let decoded: Vec<Command> = commands
        .records(1)
        .iter()
        .map(|record| {
            let head = Bytes::copy_from_slice(record.head);
            let body = Bytes::copy_from_slice(record.body);
            let (stream, command) = Command::decode(record.time, &head, &body).unwrap();
            assert_eq!(stream, id);
            command
        })
        .collect();
    assert_eq!(decoded.len(), commands.len());
    assert_eq!(
        decoded[0],
        Command::Publish {
            seq: 300,
            time: 5,
            head: Bytes::from_static(b"\0subject"),
            body: Bytes::from_static(b"body"),
        }
    );
    assert_eq!(
        decoded[1],
        Command::Remove {
            first: 10,
            seqs: vec![12, 30, u64::MAX],
        }
    );
    assert_eq!(
        decoded[7],
        Command::Delivered {
            consumer: 3,
            time: 8,
            first_delivery: 1000,
            seqs: vec![5, 6, 2],
        }
    );
    assert_eq!(
        decoded[10..14],
        [
            Command::Deferred {
                consumer: 3,
                waits: vec![(7, -5), (300, 1_700_000_000_000_000_000)],
            },
            Command::GivenUp {
                consumer: 3,
                seqs: vec![9, 4],
            },
            Command::ResetConsumer { consumer: 3, seq: 500 },
            Command::Placed {
                consumer: 3,
                place,
                gone: vec![4, 900],
            },
        ]
    );
    assert_eq!(decoded[14], Command::DeleteStream);
    assert_eq!(decoded[15], Command::Together { count: 300 });
    assert_eq!(
        decoded[16],
        Command::Copied {
            through: 4,
            key: Bytes::from_static(b"O > >"),
        }
    );
    assert_eq!(
        decoded[17],
        Command::Removing {
            json: Bytes::from_static(b"[]"),
        }
    );
}

#[test]
fn large_bodies_are_left_to_the_logs_of_their_streams_and_headers_stay() {
    let [one, batch, small, other] = [StreamId(300), StreamId(301), StreamId(302), StreamId(303)];
    let block = b"NATS/1.0\r\nNats-Msg-Id: a\r\n\r\n";
    let mut head = Vec::new();
    crate::stream::message::pack_head(b"subject", block.len(), Default::default(), &mut head);
    let body = Bytes::from([&block[..], &[7; 100]].concat());
    let mut commands = Commands::default();
    commands.publish(one, 1, 5, &head, body.clone());
    commands.publish(one, 2, 5, b"\0subject", Bytes::from_static(b"short"));
    commands.together(batch, 5, 2);
    commands.publish(batch, 1, 5, b"\0subject", body.clone());
    commands.publish(batch, 2, 5, b"\0subject", body.clone());
    commands.publish(small, 1, 5, b"\0subject", body.clone());
    commands.publish(one, 3, 5, b"\0subject", body.clone());
    commands.publish(other, 1, 5, b"\0subject", body.clone());
    commands.publish(other, 2, 5, b"\0subject", body.clone());
    let len = body.len();
    assert_eq!(commands.longest_body(), len);
    let set_aside = commands.set_aside(len, 2 * len, &|id| id != other);
    let bytes = 2 * len;
    assert_eq!(
        set_aside,
        [SetAside {
            id: one,
            last: 3,
            bytes
        }]
    );
    commands.begin_with_aside(one, 6, 3, 77);
    let decoded: Vec<(StreamId, Command)> = commands
        .records(10)
        .iter()
        .map(|record| {
            let [head, body] = [record.head, record.body].map(Bytes::copy_from_slice);
            Command::decode(record.time, &head, &body).unwrap()
        })
        .collect();
    assert_eq!(commands.len(), decoded.len());
    assert_eq!(decoded[0], (one, Command::Aside { last: 3, synced: 77 }));
    let left = |seq, head: &[u8], block: &'static [u8]| Command::PublishAside {
        seq,
        time: 5,
        head: Bytes::copy_from_slice(head),
        block: Bytes::from_static(block),
        len: len as u64,
    };
    assert_eq!(decoded[1], (one, left(1, &head, block)));
    assert_eq!(decoded[7], (one, left(3, b"\0subject", b"")));
    let whole = |(_, command): &&(StreamId, Command)| matches!(command, Command::Publish { .. });
    assert_eq!(decoded.iter().filter(whole).count(), 6);
    commands.clear();
    assert!(commands.is_empty() && commands.longest_body() == 0);
}

#[test]
fn foreign_bytes_are_refused() {
    for head in [&b""[..], b"\x01", b"\x63\0\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0\0\xff"] {
        assert!(Command::decode(0, &Bytes::copy_from_slice(head), &Bytes::new()).is_err());
    }
}

#[test]
fn numbers_that_nothing_counts_up_to_are_refused() {
    let place = |next| Place {
        next,
        ..Place::default()
    };
    let commands = |number: u64| {
        let seqs = vec![1, number];
        [
            Command::Publish {
                seq: number,
                time: 0,
                head: Bytes::new(),
                body: Bytes::new(),
            },
            Command::Remove {
                first: number,
                seqs: Vec::new(),
            },
            Command::Remove {
                first: 1,
                seqs: seqs.clone(),
            },
            Command::Raise {
                last: number,
                time: 0,
                id: Bytes::new(),
            },
            Command::Delivered {
                consumer: 1,
                time: 0,
                first_delivery: number,
                seqs: Vec::new(),
            },
            Command::Deferred {
                consumer: 1,
                waits: vec![(number, 0)],
            },
            Command::GivenUp {
                consumer: 1,
                seqs: seqs.clone(),
            },
            Command::Acked {
                consumer: 1,
                seqs: seqs.clone(),
            },
            Command::ResetConsumer {
                consumer: 1,
                seq: number,
            },
            Command::Placed {
                consumer: 1,
                place: place(number),
                gone: Vec::new(),
            },
            Command::Placed {
                consumer: 1,
                place: place(1),
                gone: seqs,
            },
            Command::Copied {
                through: number,
                key: Bytes::new(),
            },
        ]
    };
    // Where a stream counts on from a number there is room left to do so.
    let counted = SEQ_LIMIT + SEQ_LIMIT / 2;
    let is_counted = |command: &Command| match command {
        Command::Publish { .. } | Command::Raise { .. } => true,
        Command::Remove { seqs, .. } => seqs.is_empty(),
        _ => false,
    };
    for (fine, bad) in commands(NUMBER_MAX).iter().zip(&commands(NUMBER_MAX + 1)) {
        assert_eq!(fine.check().is_ok(), !is_counted(fine), "{fine:?}");
        assert_eq!(bad.check().unwrap_err().kind, crate::Kind::Damaged, "{bad:?}");
    }
    let counts = |number: u64| commands(number).into_iter().filter(is_counted).collect::<Vec<_>>();
    for (fine, bad) in counts(counted).iter().zip(&counts(counted + 1)) {
        assert!(fine.check().is_ok(), "{fine:?}");
        assert_eq!(bad.check().unwrap_err().kind, crate::Kind::Damaged, "{bad:?}");
    }
}
