//! The parser against scripts cut at every byte, random bytes, and the answers of nats-server 2.15.1 (noted from the wire).

use proptest::prelude::*;
use weir_wire::{Op, ParseError, Parser, Step, Verb};

/// An operation that outlives the buffer it was read from, so that two runs can be compared.
fn owned(op: Op<'_>) -> String {
    format!("{op:?}")
}

/// Feeds `script` in pieces that end at `cuts`, as a connection would: one buffer that grows, and shrinks from the front.
fn run(mut parser: Parser, script: &[u8], cuts: &[usize]) -> (Vec<String>, Option<ParseError>) {
    let mut buf = Vec::new();
    let mut ops = Vec::new();
    let mut from = 0;
    let mut needed = 0;
    for &cut in cuts.iter().chain([&script.len()]) {
        buf.extend_from_slice(&script[from..cut]);
        from = cut;
        loop {
            match parser.next(&buf) {
                Ok(Step::Op { op, consumed }) => {
                    assert!(
                        buf.len() >= needed,
                        "an operation came before {needed} bytes were there"
                    );
                    needed = 0;
                    ops.push(owned(op));
                    buf.drain(..consumed);
                }
                Ok(Step::NeedMore { at_least }) => {
                    assert!(at_least > buf.len());
                    assert!(at_least >= needed);
                    needed = at_least;
                    break;
                }
                Err(error) => return (ops, Some(error)),
            }
        }
    }
    (ops, None)
}

fn server() -> Parser {
    let mut parser = Parser::server();
    parser.set_max_control_line(512);
    parser.set_max_payload(100);
    parser
}

const SERVER_SCRIPT: &[u8] = b"CONNECT {\"verbose\":false}\r\nping\r\nPUB a.b 5\r\nhello\r\npub\ta.b\t_INBOX.1  3 \r\n\r\n\r\r\n\
    PUB empty 0\r\n\r\nHPUB h 12 17\r\nNATS/1.0\r\n\r\nhello\r\nHpUb h r 12 12\r\nNATS/1.0\r\n\r\n\r\nSUB a.* 1\r\nSUB a.> q 2\n\
    UNSUB 1 10\r\nUNSUB 2\r\nPONG\r\n+OK\r\nINFO {}\r\n-ERR 'x y'\r\nCONNECT\r\nCONNECT{}\r\nPINGx\n";

#[test]
fn a_server_script_is_read_as_written() {
    let mut parser = server();
    let mut rest = SERVER_SCRIPT;
    let mut ops = Vec::new();
    while let Step::Op { op, consumed } = parser.next(rest).unwrap() {
        ops.push(op);
        rest = &rest[consumed..];
    }
    assert!(rest.is_empty());
    let head = &b"NATS/1.0\r\n\r\n"[..];
    assert_eq!(
        ops,
        [
            Op::Connect {
                json: b"{\"verbose\":false}"
            },
            Op::Ping,
            Op::Pub {
                subject: b"a.b",
                reply: None,
                payload: b"hello"
            },
            Op::Pub {
                subject: b"a.b",
                reply: Some(b"_INBOX.1"),
                payload: b"\r\n\r"
            },
            Op::Pub {
                subject: b"empty",
                reply: None,
                payload: b""
            },
            Op::Hpub {
                subject: b"h",
                reply: None,
                headers: head,
                payload: b"hello",
                whole: b"NATS/1.0\r\n\r\nhello"
            },
            Op::Hpub {
                subject: b"h",
                reply: Some(b"r"),
                headers: head,
                payload: b"",
                whole: head
            },
            Op::Sub {
                subject: b"a.*",
                queue: None,
                sid: b"1"
            },
            Op::Sub {
                subject: b"a.>",
                queue: Some(b"q"),
                sid: b"2"
            },
            Op::Unsub {
                sid: b"1",
                max: Some(10)
            },
            Op::Unsub { sid: b"2", max: None },
            Op::Pong,
            Op::Ok,
            Op::Info { json: b"{}" },
            Op::Err { text: b"'x y'" },
            Op::Connect { json: b"" },
            Op::Connect { json: b"{}" },
            Op::Ping,
        ]
    );
}

const CLIENT_SCRIPT: &[u8] =
    b"INFO {\"proto\":1} \r\nPING\r\nMSG a 1 2\r\nhi\r\nMSG a 1 r 0\r\n\r\nHMSG a 12 14 18\r\nNATS/1.0 503\r\nbody\r\n\
    HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n+OK\r\n-ERR 'Stale Connection'\r\nPONG\r\n";

#[test]
fn a_client_script_is_read_as_written() {
    let (ops, error) = run(Parser::client(), CLIENT_SCRIPT, &[]);
    assert_eq!(error, None);
    assert_eq!(ops.len(), 9);
    assert_eq!(
        ops[3],
        owned(Op::Msg {
            subject: b"a",
            sid: b"1",
            reply: Some(b"r"),
            payload: b""
        })
    );
    let (headers, payload, whole) = (&b"NATS/1.0 503\r\n"[..], &b"body"[..], &b"NATS/1.0 503\r\nbody"[..]);
    assert_eq!(
        ops[4],
        owned(Op::Hmsg {
            subject: b"a",
            sid: b"12",
            reply: None,
            headers,
            payload,
            whole
        })
    );
}

#[test]
fn every_cut_gives_the_same_operations() {
    for (parser, script) in [(server(), SERVER_SCRIPT), (Parser::client(), CLIENT_SCRIPT)] {
        let whole = run(parser.clone(), script, &[]);
        assert_eq!(whole.1, None);
        for cut in 0..script.len() {
            assert_eq!(run(parser.clone(), script, &[cut]), whole, "cut at {cut}");
        }
        let each: Vec<_> = (0..script.len()).collect();
        assert_eq!(run(parser, script, &each), whole, "byte by byte");
    }
}

/// What nats-server 2.15.1 with `max_payload: 100` and `max_control_line: 512` sent before it closed the connection.
#[test]
fn errors_are_those_of_the_server() {
    let long = "a".repeat(600);
    let unknown = Some("Unknown Protocol Operation");
    let line = Some("maximum control line exceeded");
    let cases: &[(&str, Option<&str>)] = &[
        ("\r\n", unknown),
        (" PING\r\n", unknown),
        ("FOO\r\n", unknown),
        ("PUBX\r\n", unknown),
        ("PUB\r\n", unknown),
        ("UNSUB\r\n", unknown),
        ("-ERR\r\n", unknown),
        ("MSG foo 1 1\r\na\r\n", unknown),
        ("HMSG foo 1 1\r\na\r\n", unknown),
        ("RS+ foo\r\n", unknown),
        ("PUB foo 2\nhi\n", unknown),
        ("PUB foo 2\r\nhix\r\n", unknown),
        ("PUB foo 200\r\n", Some("Maximum Payload Violation")),
        ("PUB foo 999999999\r\n", Some("Maximum Payload Violation")),
        ("HPUB foo 12 200\r\n", Some("Maximum Payload Violation")),
        ("PUB foo -1\r\n", None),
        ("PUB foo +1\r\n", None),
        ("PUB foo 1x\r\n", None),
        ("PUB foo 9999999999\r\n", None),
        ("PUB foo\r\n", None),
        ("PUB \r\n", None),
        ("PUB a b c d\r\n", None),
        ("PUB a 2\r\r\n", None),
        ("PUB a r 2 \r\r\n", None),
        ("PUB a\r2\r\n", None),
        ("PUB a r \r 2\r\n", None),
        ("PUB a\rb 2\n", None),
        ("HPUB a 12 \r14\r\n", None),
        ("HPUB a 12 14\r\r\n", None),
        ("SUB \r\n", None),
        ("UNSUB \r\n", None),
        ("HPUB foo 14 13\r\n", None),
        ("HPUB foo 13\r\n", None),
        ("HPUB foo -1 13\r\n", None),
        ("HPUB foo a b c d\r\n", None),
        ("SUB foo\r\n", None),
        ("SUB foo q 1 3\r\n", None),
        ("UNSUB 1 2 3\r\n", None),
        (&format!("PUB {long} 1\r\n"), line),
        (&format!("SUB {long} 1\r\n"), line),
        (&format!("SUB {long}"), line),
        (&format!("CONNECT {{\"name\":\"{long}\"}}\r\n"), line),
    ];
    for (bytes, reply) in cases {
        let (ops, error) = run(server(), bytes.as_bytes(), &[]);
        assert!(ops.is_empty(), "{bytes:?}: {ops:?}");
        assert_eq!(error.map(|e| e.reply()), Some(*reply), "{bytes:?}");
        let each: Vec<_> = (0..bytes.len()).collect();
        assert_eq!(
            run(server(), bytes.as_bytes(), &each).1,
            error,
            "{bytes:?} byte by byte"
        );
    }
}

#[test]
fn what_the_server_lets_pass() {
    for (bytes, ops) in [
        (&b"PING\n"[..], 1),
        (b"PiNg \r\n", 1),
        (b"PUB foo 2\nhi\r\n", 1),
        (b"PUB \xff 1\r\nx\r\n", 1),
        (b"PUB foo 07\r\n1234567\r\n", 1),
        (b"HPUB foo 0 1\r\nx\r\n", 1),
        (b"SUB\tfoo\t1\r\n", 1),
        (b"UNSUB 1 -3\r\nUNSUB 1 a\r\n", 2),
        (b"SUB foo 1\rPING\r\n", 1),
        (b"+OKjunk\r\nPING\r\n", 2),
    ] {
        let (got, error) = run(server(), bytes, &[]);
        assert_eq!(
            (got.len(), error),
            (ops, None),
            "{:?}: {got:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_cr_or_lf_within_a_line_is_what_it_is_to_the_server() {
    let publish = |subject, reply| Op::Pub {
        subject,
        reply,
        payload: b"hi",
    };
    let subscribe = |subject, queue, sid| Op::Sub { subject, queue, sid };
    let unsubscribe = |sid, max| Op::Unsub { sid, max };
    let cases: [(&[u8], Op<'_>); 20] = [
        (b"PUB a\r 2\r\nhi\r\n", publish(b"a\r", None)),
        (b"PUB a \r 2\r\nhi\r\n", publish(b"a", Some(b"\r"))),
        (b"PUB a\rb r\rr 2\r\nhi\r\n", publish(b"a\rb", Some(b"r\rr"))),
        (b"PUB \ra 2\r\nhi\r\n", publish(b"\ra", None)),
        (b"PUB \na 2\r\nhi\r\n", publish(b"\na", None)),
        (b"PUB\t\n a 2\nhi\r\n", publish(b"\n", Some(b"a"))),
        // Without the CR of the end, the last byte goes in its place.
        (b"PUB a\rb 22\nhi\r\n", publish(b"a\rb", None)),
        (b"PUB a\rb 2x\nhi\r\n", publish(b"a\rb", None)),
        (b"PUB \ra 2\nhi\r\n", publish(b"\ra", None)),
        (b"SUB a\rb 77\r\n", subscribe(b"a", Some(b"b"), b"77")),
        (b"SUB a\r77\r\r\n", subscribe(b"a", None, b"77")),
        (b"SUB \na 7\r\n", subscribe(b"a", None, b"7")),
        (b"SUB a\rb 77\n", subscribe(b"a", Some(b"b"), b"7")),
        (b"SUB a\x0cb 7\r\n", subscribe(b"a\x0cb", None, b"7")),
        (b"UNSUB 9\r1\r\n", unsubscribe(b"9", Some(1))),
        (b"UNSUB \n9\r\n", unsubscribe(b"9", None)),
        (b"UNSUB 9\r1\n", unsubscribe(b"9", None)),
        (b"CONNECT\n{}\r\n", Op::Connect { json: b"{}" }),
        (b"CONNECT \r{}\r\n", Op::Connect { json: b"{}" }),
        (b"PING\r \r\n", Op::Ping),
    ];
    for (bytes, op) in cases {
        let told = String::from_utf8_lossy(bytes);
        let each: Vec<_> = (0..bytes.len()).collect();
        for cuts in [&[][..], &each] {
            let (ops, error) = run(server(), bytes, cuts);
            assert_eq!((&ops[..], error), (&[owned(op)][..], None), "{told:?}");
        }
    }
}

#[test]
fn a_control_line_of_just_the_limit_passes() {
    for (spare, expected) in [(0, None), (1, Some(ParseError::ControlLine))] {
        let line = format!("SUB {} 1\r\n", "a".repeat(510 + spare));
        for cut in 0..line.len() {
            assert_eq!(run(server(), line.as_bytes(), &[cut]).1, expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_waiting_body_tells_its_size_and_is_not_searched() {
    let mut parser = Parser::server();
    let mut buf = b"PUB big 1000000\r\n".to_vec();
    let whole = buf.len() + 1_000_002;
    assert_eq!(parser.next(&buf), Ok(Step::NeedMore { at_least: whole }));
    // Bodies full of line ends and verbs are bodies.
    while buf.len() < whole - 2 {
        buf.extend_from_slice(b"\r\nPUB x 1\r\n"[..11.min(whole - 2 - buf.len())].as_ref());
        if buf.len() < whole - 2 {
            assert_eq!(parser.next(&buf), Ok(Step::NeedMore { at_least: whole }));
        }
    }
    buf.extend_from_slice(b"\r\n");
    let Ok(Step::Op {
        op: Op::Pub { payload, .. },
        consumed,
    }) = parser.next(&buf)
    else {
        panic!("not a PUB")
    };
    assert_eq!((payload.len(), consumed), (1_000_000, whole));
}

#[test]
fn endless_junk_is_refused() {
    for start in ["PING", "+OK", "PUB ", "CONNECT "] {
        let mut parser = Parser::server();
        let mut buf = start.as_bytes().to_vec();
        let refused = (0..10_000).any(|_| {
            buf.push(b' ');
            parser.next(&buf) == Err(ParseError::ControlLine)
        });
        assert!(refused, "{start:?}");
    }
}

#[test]
fn errors_name_the_verb() {
    assert_eq!(
        run(server(), b"SUB a\r\n", &[]).1,
        Some(ParseError::Arguments(Verb::Sub))
    );
    assert_eq!(
        run(server(), b"HPUB a 1 x\r\n", &[]).1,
        Some(ParseError::Size(Verb::Hpub))
    );
}

/// Pieces of a session, right and wrong, to be strung together.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => (proptest::collection::vec(any::<u8>(), 0..40), "[a-z.]{1,8}").prop_map(|(body, subject)| {
            let mut out = format!("PUB {subject} {}\r\n", body.len()).into_bytes();
            out.extend_from_slice(&body);
            out.extend_from_slice(b"\r\n");
            out
        }),
        4 => (proptest::collection::vec(any::<u8>(), 0..40), "[a-z.]{1,40}", "( [a-z]{1,20}){0,2}").prop_map(|(body, subject, reply)| {
            let mut out = format!("HPUB {subject}{reply} {} {}\r\n", body.len() / 2, body.len()).into_bytes();
            out.extend_from_slice(&body);
            out.extend_from_slice(b"\r\n");
            out
        }),
        2 => Just(b"HPUB s r 12 14\r\nNATS/1.0\r\n\r\nab\r\n".to_vec()),
        2 => "[ \t]{1,3}[a-z*>.]{1,8} [0-9]{1,3}".prop_map(|args| format!("sUb{args}\n").into_bytes()),
        2 => Just(b"PING\r\n".to_vec()),
        1 => "[A-Z0-9 \r\n]{0,12}".prop_map(String::into_bytes),
        1 => "[a-z]{500,520}".prop_map(|name| format!("SUB {name} 1\r\n").into_bytes()),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// What a glance finds at the start of `bytes`, as the operation that it is.
fn glanced(parser: &Parser, bytes: &[u8]) -> Option<(String, usize)> {
    let found = parser.glance(bytes)?;
    let (subject, payload) = (found.subject, found.payload);
    let reply = (!found.reply.is_empty()).then_some(found.reply);
    let op = match found.headers {
        None => owned(Op::Pub {
            subject,
            reply,
            payload,
        }),
        Some(headers) => owned(Op::Hpub {
            subject,
            reply,
            headers,
            payload,
            whole: &[headers, payload].concat(),
        }),
    };
    Some((op, found.consumed))
}

/// What the parser finds there, if that is a whole operation.
fn parsed(mut parser: Parser, bytes: &[u8]) -> Option<(String, usize)> {
    match parser.next(bytes) {
        Ok(Step::Op { op, consumed }) => Some((owned(op), consumed)),
        _ => None,
    }
}

#[test]
fn a_glance_is_enough_for_messages_as_clients_write_them() {
    let long = format!(
        "PUB {} _INBOX.{} 12\r\nhello, world\r\n",
        "a.b".repeat(40),
        "x".repeat(200)
    );
    for bytes in [
        &b"PUB a.b 5\r\nhello\r\n"[..],
        b"PUB a 00005\r\n\r\n\r\nx\r\n",
        b"PUB a.b _INBOX.1 12\r\nhello, world\r\nPING\r\n",
        b"PUB \xff\xfe.b 1\r\nx\r\nPING\r\n",
        b"HPUB h 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
        b"HPUB h r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        b"HPUB h 0 1\r\nx\r\nPING\r\n",
        long.as_bytes(),
    ] {
        let found = glanced(&server(), bytes);
        let shown = String::from_utf8_lossy(bytes);
        assert!(found.is_some(), "{shown:?}");
        assert_eq!(found, parsed(server(), bytes), "{shown:?}");
        // Not before all of it is there.
        let consumed = found.map_or(0, |(_, consumed)| consumed);
        for end in 0..consumed {
            assert_eq!(glanced(&server(), &bytes[..end]), None, "{shown:?}, {end} bytes of it");
        }
    }
}

#[test]
fn whatever_is_unusual_takes_more_than_a_glance() {
    let long = format!("PUB {} 1\r\nx\r\n", "a".repeat(511));
    let large = format!("PUB a 101\r\n{}\r\n", "x".repeat(101));
    for bytes in [
        &b""[..],
        b"PING\r\nPING\r\nPING\r\n",
        b"pub a 1\r\nx\r\nPING\r\n",
        b"PUB\ta 1\r\nx\r\nPING\r\n",
        b"PUB  a 1\r\nx\r\nPING\r\n",
        b"PUB a  1\r\nx\r\nPING\r\n",
        b"PUB a 1 \r\nx\r\nPING\r\n",
        b"PUB a\tb 1\r\nx\r\nPING\r\n",
        b"PUB a\0b 1\r\nx\r\nPING\r\n",
        b"PUB a 1\nx\r\nPING\r\n",
        b"PUB a 1\rx\r\nPING\r\n",
        b"PUB a\r\nx\r\nPING\r\n",
        b"PUB a r s 1\r\nx\r\nPING\r\n",
        b"PUB a x\r\nx\r\nPING\r\n",
        b"PUB a 9999999999\r\nx\r\nPING\r\n",
        b"PUB a 1\r\nxx\r\nPING\r\n",
        b"HPUB a 1\r\nx\r\nPING\r\n",
        b"HPUB a 2 1\r\nx\r\nPING\r\n",
        b"HPUB a r s 1 1\r\nx\r\nPING\r\n",
        long.as_bytes(),
        large.as_bytes(),
    ] {
        assert_eq!(glanced(&server(), bytes), None, "{:?}", String::from_utf8_lossy(bytes));
    }
    // Servers are sent no MSG, and clients no PUB.
    assert_eq!(glanced(&Parser::client(), b"PUB a 1\r\nx\r\nPING\r\n"), None);
    // What was begun is gone on with.
    let mut parser = server();
    assert!(matches!(parser.next(b"PUB a 4\r\nPUB"), Ok(Step::NeedMore { .. })));
    assert_eq!(glanced(&parser, b"PUB a 4\r\nPUB \r\n"), None);
}

proptest! {
    /// What a glance finds is what the parser finds.
    #[test]
    fn a_glance_does_not_err(script in pieces()) {
        let mut rest = &script[..];
        while let Some((op, consumed)) = parsed(server(), rest) {
            if let Some(found) = glanced(&server(), rest) {
                prop_assert_eq!(found, (op, consumed));
            }
            rest = &rest[consumed..];
        }
        prop_assert_eq!(glanced(&server(), rest), None);
    }

    #[test]
    fn a_glance_at_random_arguments_does_not_err(verb in "(PUB|HPUB|pub)", rest in "[ \t\r\n0-9a]{0,24}", body in "[a\r\n]{0,12}") {
        let bytes = format!("{verb} {rest}\r\n{body}\r\nPING\r\n").into_bytes();
        if let Some(found) = glanced(&server(), &bytes) {
            prop_assert_eq!(Some(found), parsed(server(), &bytes));
        }
    }

    #[test]
    fn random_cuts_change_nothing(script in pieces(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(script.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(run(server(), &script, &cuts), run(server(), &script, &[]));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<proptest::sample::Index>()) {
        let cut = cut.index(bytes.len() + 1);
        for parser in [server(), Parser::client()] {
            prop_assert_eq!(run(parser.clone(), &bytes, &[cut]), run(parser, &bytes, &[]));
        }
    }

    #[test]
    fn random_arguments_never_panic(verb in "(?i)(PUB|HPUB|SUB|UNSUB|CONNECT|INFO|-ERR|PING|MSG|HMSG)", rest in "[ \t\r\n0-9a-]{0,40}") {
        let bytes = format!("{verb} {rest}").into_bytes();
        for parser in [server(), Parser::client()] {
            let each: Vec<_> = (0..bytes.len()).collect();
            prop_assert_eq!(run(parser.clone(), &bytes, &each), run(parser, &bytes, &[]));
        }
    }

    /// The buffer's promise broken: shorter or other bytes than before. The answers may be wrong, but there are answers.
    #[test]
    fn a_careless_caller_gets_no_panic(buffers in proptest::collection::vec(pieces(), 1..8)) {
        let mut parser = server();
        for buf in &buffers {
            let _ = parser.next(buf);
            let _ = parser.next(&buf[..buf.len() / 2]);
        }
    }
}
