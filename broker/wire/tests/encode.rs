//! What is encoded is what a peer's parser reads, and what nats-server would have written.

use proptest::prelude::*;
use weir_wire::headers::{self, HeaderBuf};
use weir_wire::{Connect, Info, Op, Parser, Step, encode};

fn one(parser: &mut Parser, bytes: &[u8], check: impl FnOnce(Op<'_>)) {
    match parser.next(bytes) {
        Ok(Step::Op { op, consumed }) => {
            assert_eq!(consumed, bytes.len());
            check(op);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_of_every_length() {
    for n in (0..20)
        .map(|p| 10u64.pow(p))
        .flat_map(|n| [n - 1, n, n + 1])
        .chain([u64::MAX])
    {
        let mut out = Vec::new();
        encode::number(&mut out, n);
        assert_eq!(out, n.to_string().into_bytes());
    }
}

#[test]
fn deliveries_in_bytes() {
    let mut out = Vec::new();
    encode::msg(&mut out, b"a.b", b"9", None, b"hello");
    encode::msg(&mut out, b"a.b", b"9", Some(b"_INBOX.1"), b"");
    encode::hmsg(&mut out, b"a", b"1", Some(b"r"), b"NATS/1.0\r\n\r\n", b"x");
    let expected = "MSG a.b 9 5\r\nhello\r\nMSG a.b 9 _INBOX.1 0\r\n\r\nHMSG a 1 r 12 13\r\nNATS/1.0\r\n\r\nx\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn short_operations_in_bytes() {
    let mut out = Vec::new();
    encode::ping(&mut out);
    encode::pong(&mut out);
    encode::ok(&mut out);
    encode::err(&mut out, "Permissions Violation for Publish to \"a\r\nPING\"");
    encode::sub(&mut out, b"a", Some(b"q"), b"1");
    encode::sub(&mut out, b"a", None, b"2");
    encode::unsub(&mut out, b"1", Some(5));
    encode::unsub(&mut out, b"1", None);
    let expected = "PING\r\nPONG\r\n+OK\r\n-ERR 'Permissions Violation for Publish to \"a  PING\"'\r\n\
        SUB a q 1\r\nSUB a 2\r\nUNSUB 1 5\r\nUNSUB 1\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn the_smallest_info_has_the_fields_go_would_write() {
    let mut out = Vec::new();
    encode::info(
        &mut out,
        &Info {
            server_id: "N1".into(),
            port: 4222,
            headers: true,
            max_payload: 1_048_576,
            proto: 1,
            ..Info::default()
        },
    );
    let expected = "INFO {\"server_id\":\"N1\",\"server_name\":\"\",\"version\":\"\",\"proto\":1,\"go\":\"\",\"host\":\"\",\"port\":4222,\
        \"headers\":true,\"max_payload\":1048576} \r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// The greeting of nats-server 2.15.1, with its identity shortened.
#[test]
fn a_genuine_info_survives_the_round_trip() {
    let genuine = concat!(
        r#"{"server_id":"NDC","server_name":"NDC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","#,
        r#""port":14979,"headers":true,"max_payload":1048576,"jetstream":true,"client_id":5,"client_ip":"127.0.0.1","connect_info":true,"#,
        r#""remote_account":"$G","api_lvl":5,"xkey":"XD4"}"#
    );
    let info = Info::parse(genuine.as_bytes()).unwrap();
    assert_eq!(info.api_level, 5);
    assert_eq!(String::from_utf8(info.to_json()).unwrap(), genuine);
}

#[test]
fn connect_defaults_and_case() {
    let c = Connect::parse(
        br#"{"VERBOSE":false,"User":"a","pass":null,"unknown":{"a":[1]},"protocol":1,"name":"x","name":"y"}"#,
    )
    .unwrap();
    assert_eq!(
        c,
        Connect {
            verbose: false,
            user: "a".into(),
            protocol: 1,
            name: "y".into(),
            ..Connect::default()
        }
    );
    assert!(c.pedantic && c.echo && !c.headers);
    assert_eq!(Connect::parse(b"null").unwrap(), Connect::default());
    assert_eq!(Connect::parse(b"{\"name\":\"\xff\"} ").unwrap().name, "\u{fffd}");
    for wrong in [
        &b""[..],
        b"[]",
        b"{bad}",
        b"{\"verbose\":1}",
        b"{} junk",
        b"{\"user\":5}",
        b"{\"protocol\":1.5}",
    ] {
        assert!(Connect::parse(wrong).is_err(), "{:?}", String::from_utf8_lossy(wrong));
    }
}

#[test]
fn a_second_connect_changes_only_what_it_says() {
    let mut c = Connect::parse(br#"{"verbose":false,"user":"a"}"#).unwrap();
    c.apply(br#"{"echo":false}"#).unwrap();
    assert_eq!(
        c,
        Connect {
            verbose: false,
            echo: false,
            user: "a".into(),
            ..Connect::default()
        }
    );
    assert_eq!(Connect::parse(&c.to_json()).unwrap(), c);
}

proptest! {
    #[test]
    fn what_is_published_is_read_back(
        subject in "[a-z.]{1,20}", reply in proptest::option::of("[a-z.]{1,20}"), payload in proptest::collection::vec(any::<u8>(), 0..200),
        pairs in proptest::collection::vec(("[A-Za-z-]{1,9}", "[ -~]{0,9}"), 0..5),
    ) {
        let block = pairs.iter().fold(HeaderBuf::new(), |b, (k, v)| b.add(k, v)).finish();
        let reply = reply.as_deref().map(str::as_bytes);
        let mut out = Vec::new();
        encode::publish(&mut out, subject.as_bytes(), reply, &payload);
        one(&mut Parser::server(), &out, |op| assert_eq!(op, Op::Pub { subject: subject.as_bytes(), reply, payload: &payload }));
        out.clear();
        encode::publish_with_headers(&mut out, subject.as_bytes(), reply, &block, &payload);
        let whole = [&block[..], &payload].concat();
        let expected = Op::Hpub { subject: subject.as_bytes(), reply, headers: &block, payload: &payload, whole: &whole };
        one(&mut Parser::server(), &out, |op| assert_eq!(op, expected));
        out.clear();
        encode::hmsg(&mut out, subject.as_bytes(), b"77", reply, &block, &payload);
        let expected = Op::Hmsg { subject: subject.as_bytes(), sid: b"77", reply, headers: &block, payload: &payload, whole: &whole };
        one(&mut Parser::client(), &out, |op| assert_eq!(op, expected));
        let read: Vec<_> = headers::each(&block).collect();
        let written: Vec<_> = pairs.iter().map(|(k, v)| (k.as_bytes(), v.trim_start_matches(' ').as_bytes())).collect();
        prop_assert_eq!(read, written);
    }
}
