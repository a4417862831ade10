use super::*;
use crate::interest::Account;

fn ask(payload: &str, last_for: Option<&str>) -> Result<Get, (u16, &'static str)> {
    let request = ApiRequest {
        subject: Bytes::new(),
        reply: Bytes::from_static(b"r"),
        headers: Bytes::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        account: Account::new("A", 0),
        from: None,
    };
    read(
        &request,
        last_for.map(|subject| Bytes::copy_from_slice(subject.as_bytes())),
    )
}

#[test]
fn refuses_with_the_statuses_of_nats_server() {
    for (payload, last_for, status) in [
        ("", None, (408, "Empty Request")),
        ("{}", None, (408, "Empty Request")),
        ("{\"batch\":3}", None, (408, "Empty Request")),
        ("xx", None, (408, "Malformed Request")),
        ("{\"seq\":1,\"last_by_subj\":\"a\"}", None, (408, "Bad Request")),
        ("{\"last_by_subj\":\"a\",\"batch\":1}", None, (408, "Bad Request")),
        (
            "{\"next_by_subj\":\"a\",\"multi_last\":[\"a\"]}",
            None,
            (408, "Bad Request"),
        ),
        (
            "{\"multi_last\":[\"a\"],\"up_to_seq\":3,\"up_to_time\":\"2020-01-01T00:00:00Z\"}",
            None,
            (408, "Bad Request"),
        ),
        ("{\"seq\":1}", Some("a"), (408, "Bad Request")),
        ("x", Some("a"), (408, "Malformed Request")),
    ] {
        assert_eq!(ask(payload, last_for), Err(status), "{payload}");
    }
    assert_eq!(ask("", Some("a.b")).map(|get| get.last_by_subj), Ok("a.b".to_owned()));
    assert!(ask("{\"no_hdr\":true,\"max_bytes\":1}", Some("a")).is_ok());
    assert!(ask("{\"seq\":1,\"unknown\":{}}", None).is_ok());
}

#[test]
fn headers_follow_the_messages_own() {
    let mut message = Message {
        seq: 7,
        time: 1_500_000_000,
        subject: Bytes::from_static(b"a.b"),
        headers: Bytes::new(),
        payload: Bytes::new(),
    };
    let place =
        "Nats-Stream: S\r\nNats-Subject: a.b\r\nNats-Sequence: 7\r\nNats-Time-Stamp: 1970-01-01T00:00:01.5Z\r\n";
    assert_eq!(
        headers("S", &message, None),
        format!("NATS/1.0\r\n{place}\r\n").into_bytes()
    );
    message.headers = Bytes::from_static(b"NATS/1.0\r\nA: b\r\n\r\n");
    assert_eq!(
        headers("S", &message, Some((3, 6))),
        format!("NATS/1.0\r\nA: b\r\n{place}Nats-Num-Pending: 3\r\nNats-Last-Sequence: 6\r\n\r\n").into_bytes()
    );
}

#[test]
fn a_batch_ends_by_count_or_bytes() {
    let message = |len: usize| Message {
        seq: 1,
        time: 0,
        subject: Bytes::from_static(b"s"),
        headers: Bytes::new(),
        payload: Bytes::from(vec![0; len]),
    };
    let room = |json: &str| Room::of(&decode::<Get>(json.as_bytes(), &schema::MSG_GET, true).unwrap());
    let mut two = room("{\"batch\":2}");
    two.take(&message(1));
    assert!(two.is_left());
    two.take(&message(1));
    assert!(!two.is_left());
    let mut few = room("{\"batch\":9,\"max_bytes\":5}");
    few.take(&message(100));
    assert!(!few.is_left());
    assert!(room("{}").is_left());
}
