use super::*;

#[test]
fn packs_and_unpacks() {
    for (headers, payload) in [("", ""), ("", "x"), ("NATS/1.0\r\n\r\n", "body")] {
        let mut head = Vec::new();
        pack_head(b"a.b", headers.len(), Marks::default(), &mut head);
        let body = Bytes::from(format!("{headers}{payload}"));
        assert_eq!(subject_of(&head), b"a.b");
        for storage in [Storage::File, Storage::Memory] {
            assert_eq!(
                stored_size_of_record(storage, &head, body.len()),
                stored_size(storage, 3, headers.len(), payload.len())
            );
        }
        let message = Message::unpack(Entry {
            seq: 1,
            time: 2,
            head: head.into(),
            body,
        })
        .unwrap();
        assert_eq!(
            (&message.subject[..], &message.headers[..]),
            (&b"a.b"[..], headers.as_bytes())
        );
        assert_eq!(message.payload, payload);
    }
}

#[test]
fn heads_keep_marks() {
    let block = b"NATS/1.0\r\nNats-TTL: 2000000\r\nNats-Schedule: @daily\r\n\r\n";
    let lives = [
        Life::Limits,
        Life::Never,
        Life::Seconds(1),
        Life::Seconds(70_000),
        Life::Seconds(TTL_MAX),
        Life::Seconds(2_000_000),
    ];
    for life in lives {
        for schedule in [false, true] {
            let mut head = Vec::new();
            pack_head(b"a.b", block.len(), Marks { life, schedule }, &mut head);
            assert_eq!((subject_of(&head), head.len()), (&b"a.b"[..], 8));
            assert_eq!(headers_len_of(&head), Some(block.len()));
            assert_eq!(is_schedule(&head), schedule);
            assert_eq!(has_life(&head), life != Life::Limits);
            let read = life_in(&head, |_| Ok::<_, Error>(Bytes::from_static(block)));
            assert_eq!(read.unwrap(), life);
        }
    }
    let granting = StreamConfig {
        allow_msg_ttl: true,
        ..StreamConfig::default()
    };
    assert_eq!(
        Marks::of_headers(block, &granting),
        Marks {
            life: Life::Seconds(2_000_000),
            schedule: true
        }
    );
    let mut head = Vec::new();
    let marks = Marks {
        life: Life::Seconds(9),
        schedule: true,
    };
    pack_head(b"a", 100_000, marks, &mut head);
    assert_eq!(
        headers_len_of(&head),
        Some(100_000),
        "a block that is too long for it keeps its length"
    );
}

#[test]
fn refuses_foreign_heads() {
    for head in [
        &b""[..],
        b"\x02a",
        b"\x11\x01\0\0\0a",
        b"\x07a",
        b"\x01\x01",
        b"\x01\xff\xff\xff\xffa",
    ] {
        let entry = Entry {
            seq: 1,
            time: 1,
            head: Bytes::copy_from_slice(head),
            body: Bytes::new(),
        };
        assert!(Message::unpack(entry).is_err());
    }
}
