//! Lines as genuine servers write them.

use weir_wire::link::{Dialect, Head, Op, Parser, Queues, Sub, Unsub};

use super::{ops, queue, run, write};

/// As a genuine leaf node and its hub wrote it.
const LEAF: &[u8] = b"INFO {\"server_id\":\"N\",\"nonce\":\"L_Tq\"} \r\nCONNECT {\"user\":\"a\"}\r\nLS+ $JS.hub.API.ACCOUNT.>\r\nLS+ hubq.* workers 1\r\n\
    PING\r\nPONG\r\nLS+ leafq q1 2\r\nLMSG hubsub.a 5\r\nnohdr\r\nLMSG hubsub.a r.1 9\r\nwithreply\r\nHMSG hubsub.b 20 24\r\nNATS/1.0\r\nX-K: v\r\n\r\nbody\r\n\
    LMSG hubq.x | workers 3\r\ntoq\r\nHMSG leafq | q1 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nq hdr\r\nLMSG leafq + rep.x q1 2\r\nrq\r\nLS- leafsub.one\r\nLS- leafq q1\r\n\
    LMSG $JS.hub.API.INFO _INBOX.d.e 0\r\n\r\n-ERR 'Stale Leaf Node Connection - Closing'\r\n";

#[test]
fn a_leaf_node_is_understood() {
    let message = |head, headers, payload| Op::Msg { head, headers, payload };
    assert_eq!(
        ops(Dialect::Leaf, LEAF),
        [
            Op::Info {
                json: b"{\"server_id\":\"N\",\"nonce\":\"L_Tq\"} "
            },
            Op::Connect {
                json: b"{\"user\":\"a\"}"
            },
            Op::Sub(Sub::new(b"$JS.hub.API.ACCOUNT.>")),
            Op::Sub(Sub {
                queue: queue(b"workers", 1),
                ..Sub::new(b"hubq.*")
            }),
            Op::Ping,
            Op::Pong,
            Op::Sub(Sub {
                queue: queue(b"q1", 2),
                ..Sub::new(b"leafq")
            }),
            message(Head::new(b"hubsub.a"), b"", b"nohdr"),
            message(
                Head {
                    reply: Some(b"r.1"),
                    ..Head::new(b"hubsub.a")
                },
                b"",
                b"withreply"
            ),
            message(Head::new(b"hubsub.b"), b"NATS/1.0\r\nX-K: v\r\n\r\n", b"body"),
            message(
                Head {
                    queues: Queues::of(&[b"workers"]),
                    ..Head::new(b"hubq.x")
                },
                b"",
                b"toq"
            ),
            message(
                Head {
                    queues: Queues::of(&[b"q1"]),
                    ..Head::new(b"leafq")
                },
                b"NATS/1.0\r\nA: b\r\n\r\n",
                b"q hdr"
            ),
            message(
                Head {
                    reply: Some(b"rep.x"),
                    queues: Queues::of(&[b"q1"]),
                    ..Head::new(b"leafq")
                },
                b"",
                b"rq"
            ),
            Op::Unsub(Unsub::new(b"leafsub.one")),
            Op::Unsub(Unsub {
                queue: Some(b"q1"),
                ..Unsub::new(b"leafq")
            }),
            message(
                Head {
                    reply: Some(b"_INBOX.d.e"),
                    ..Head::new(b"$JS.hub.API.INFO")
                },
                b"",
                b""
            ),
            Op::Err {
                text: b"'Stale Leaf Node Connection - Closing'"
            },
        ]
    );
}

/// As genuine servers of a cluster wrote it, and what they say of leaf nodes beyond.
const ROUTE: &[u8] = b"RS+ A one.>\r\nRS+ A qq g1 1\r\nRMSG A one.x 5\r\nplain\r\nRMSG A qq | g1 g2 1\r\nq\r\nRMSG A qq + rep.2 g1 g2 2\r\nqr\r\n\
    HMSG A qq + rep.3 g1 g2 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nqh\r\nRS- A qq g1\r\nLS+ EDGE A foo\r\nLS+ EDGE A foo q 3\r\nLS- EDGE A foo q\r\n\
    LMSG EDGE A foo 0 2\r\nhi\r\nLMSG EDGE A foo + r q 12 14\r\nNATS/1.0\r\n\r\nhi\r\nA+ A\r\nA- A\r\n";

#[test]
fn a_route_is_understood() {
    let (a, edge) = (Some(&b"A"[..]), Some(&b"EDGE"[..]));
    let of_a = |head: Head<'static>| Head { account: a, ..head };
    let both: [&[u8]; 2] = [b"g1", b"g2"];
    let sub = |subject, queue| Sub {
        account: a,
        queue,
        ..Sub::new(subject)
    };
    let expected = [
        Op::Sub(sub(&b"one.>"[..], None)),
        Op::Sub(sub(b"qq", queue(b"g1", 1))),
        Op::Msg {
            head: of_a(Head::new(b"one.x")),
            headers: b"",
            payload: b"plain",
        },
        Op::Msg {
            head: Head {
                account: a,
                queues: Queues::of(&both),
                ..Head::new(b"qq")
            },
            headers: b"",
            payload: b"q",
        },
        Op::Msg {
            head: Head {
                account: a,
                reply: Some(b"rep.2"),
                queues: Queues::of(&both),
                ..Head::new(b"qq")
            },
            headers: b"",
            payload: b"qr",
        },
        Op::Msg {
            head: Head {
                account: a,
                reply: Some(b"rep.3"),
                queues: Queues::of(&both),
                ..Head::new(b"qq")
            },
            headers: b"NATS/1.0\r\nK: v\r\n\r\n",
            payload: b"qh",
        },
        Op::Unsub(Unsub {
            account: a,
            queue: Some(b"g1"),
            ..Unsub::new(b"qq")
        }),
        Op::Sub(Sub {
            origin: edge,
            ..sub(b"foo", None)
        }),
        Op::Sub(Sub {
            origin: edge,
            ..sub(b"foo", queue(b"q", 3))
        }),
        Op::Unsub(Unsub {
            origin: edge,
            account: a,
            queue: Some(b"q"),
            ..Unsub::new(b"foo")
        }),
        Op::Msg {
            head: Head {
                origin: edge,
                ..of_a(Head::new(b"foo"))
            },
            headers: b"",
            payload: b"hi",
        },
        Op::Msg {
            head: Head {
                origin: edge,
                account: a,
                reply: Some(b"r"),
                queues: Queues::of(&[b"q"]),
                ..Head::new(b"foo")
            },
            headers: b"NATS/1.0\r\n\r\n",
            payload: b"hi",
        },
        Op::AccountSub { account: b"A" },
        Op::AccountUnsub { account: b"A" },
    ];
    assert_eq!(ops(Dialect::Route, ROUTE), expected);
    // The same words on a route of one account are others.
    let pinned = b"RS+ bsub\r\nRS+ A q 1\r\nRMSG bsub 4\r\nin B\r\nLS+ EDGE bsub\r\nLMSG EDGE bsub r 0 1\r\nx\r\n";
    let expected = [
        Op::Sub(Sub::new(b"bsub")),
        Op::Sub(Sub {
            queue: queue(b"q", 1),
            ..Sub::new(b"A")
        }),
        Op::Msg {
            head: Head::new(b"bsub"),
            headers: b"",
            payload: b"in B",
        },
        Op::Sub(Sub {
            origin: edge,
            ..Sub::new(b"bsub")
        }),
        Op::Msg {
            head: Head {
                origin: edge,
                reply: Some(b"r"),
                ..Head::new(b"bsub")
            },
            headers: b"",
            payload: b"x",
        },
    ];
    assert_eq!(ops(Dialect::PinnedRoute, pinned), expected);
}

#[test]
fn what_was_read_is_written_as_it_was() {
    for (dialect, script) in [(Dialect::Leaf, LEAF), (Dialect::Route, ROUTE)] {
        let mut out = Vec::new();
        for op in ops(dialect, script) {
            write(&mut out, dialect, &op);
        }
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(script));
    }
}

#[test]
fn a_cut_at_every_byte_changes_nothing() {
    for (dialect, script) in [(Dialect::Leaf, LEAF), (Dialect::Route, ROUTE)] {
        let whole = run(Parser::new(dialect), script, &[]);
        assert_eq!(whole.1, None);
        for cut in 0..script.len() {
            assert_eq!(run(Parser::new(dialect), script, &[cut]), whole, "cut at {cut}");
        }
        let each: Vec<_> = (0..script.len()).collect();
        assert_eq!(run(Parser::new(dialect), script, &each), whole);
    }
}

#[test]
fn queues_are_the_same_wherever_they_stand() {
    let [Op::Msg { head, .. }] = ops(Dialect::Leaf, b"LMSG a |  q1\tq2 \tq3   0\r\n\r\n")[..] else {
        panic!("one message");
    };
    assert_eq!(head.queues, Queues::of(&[b"q1", b"q2", b"q3"]));
    assert_ne!(head.queues, Queues::of(&[b"q1", b"q2"]));
    assert!(head.queues.has(b"q2") && !head.queues.has(b"q"));
    assert!(!head.queues.is_empty() && Queues::default().is_empty());
    assert_eq!(format!("{:?}", Queues::of(&[b"q"])), "[[113]]");
}
