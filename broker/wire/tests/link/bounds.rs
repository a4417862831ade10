//! What is not taken, and how much of it has to be kept until that is known.

use weir_wire::link::{DEFAULT_MAX_CONTROL_LINE, Dialect, LinkError, MAX_WEIGHT, Op, Parser, Step, Sub, Verb, encode};

use super::{ALL, ops, queue, run, small};

/// The answers of nats-server 2.15.1 to a leaf node that says such things and goes on with PING: a PONG, an error, or the end.
#[test]
fn odd_lines_of_leaf_nodes_are_taken_or_not_as_by_nats_server() {
    let taken: [&[u8]; 26] = [
        b"ls+ foo",
        b"LS+ foo q x",
        b"LS+ foo q 0",
        b"LS+ foo q -1",
        b"LS+ a..b",
        b"LS+ foo>",
        b"LS- nothing",
        b"lmsg foo 2\r\nhi",
        b"LMSG foo + q 1 2\r\nhi",
        b"LMSG foo + r 2\r\nhi",
        b"LMSG foo | 2\r\nhi",
        b"LMSG foo | q 2\r\nhi",
        b"LMSG foo.* 2\r\nhi",
        b"LMSG foo 000000002\r\nhi",
        b"HMSG foo 0 2\r\nhi",
        b"HMSG foo | q 12 14\r\nNATS/1.0\r\n\r\nab",
        b"PINGx",
        b"PONGx y",
        b"+OK",
        b"+OKx",
        b"-ERR x",
        b"-ERR 'x'",
        b"INFO {}",
        b"CONNECT {}",
        b"LS+\tfoo\tq\t1",
        b"LS+  foo  q  1 ",
    ];
    for line in taken {
        let script = [line, b"\r\nPING\r\n"].concat();
        let (ops, error) = run(small(Dialect::Leaf), &script, &[]);
        assert_eq!((ops.len(), error), (2, None), "{:?}", String::from_utf8_lossy(line));
    }
    let refused: [(&[u8], LinkError); 19] = [
        (b"LS+", LinkError::UnknownOperation),
        (b"LS-", LinkError::UnknownOperation),
        (b"-ERR", LinkError::UnknownOperation),
        (b"XYZ", LinkError::UnknownOperation),
        (b"L", LinkError::UnknownOperation),
        (b"MSG foo 2\r\nhi", LinkError::UnknownOperation),
        (b"LMSG foo r 2\r\nhiX", LinkError::UnknownOperation),
        (b"LS+ foo\n", LinkError::UnknownOperation),
        (b"LS+ foo q", LinkError::Arguments(Verb::LeafSub)),
        (b"LS+ foo q 1 2", LinkError::Arguments(Verb::LeafSub)),
        (b"LMSG foo", LinkError::Size(Verb::LeafMsg)),
        (b"LMSG foo -1\r\n", LinkError::Size(Verb::LeafMsg)),
        (b"LMSG foo x\r\n", LinkError::Size(Verb::LeafMsg)),
        (b"LMSG foo 0000000002\r\nhi", LinkError::Size(Verb::LeafMsg)),
        (b"LMSG foo ++ r q 2\r\nhi", LinkError::Indicator(Verb::LeafMsg)),
        (b"LMSG foo x r q 2\r\nhi", LinkError::Indicator(Verb::LeafMsg)),
        (b"LMSG foo 101\r\n", LinkError::Payload { size: 101, max: 100 }),
        (b"HMSG foo 5 3\r\nabc", LinkError::HeaderSize(Verb::HeaderMsg)),
        (b"HMSG foo 3", LinkError::Size(Verb::HeaderMsg)),
    ];
    for (line, expected) in refused {
        let script = [line, b"\r\nPING\r\n"].concat();
        let (_, error) = run(small(Dialect::Leaf), &script, &[]);
        assert_eq!(error, Some(expected), "{:?}", String::from_utf8_lossy(line));
    }
    // Nats-server takes these, which no server sends on such a link; here they are refused.
    for line in [
        "RS+ foo",
        "RMSG foo 2\r\nhi",
        "A+ foo",
        "PUB foo 2\r\nhi",
        "SUB foo",
        "LS- foo q 1",
    ] {
        let (ops, error) = run(small(Dialect::Leaf), format!("{line}\r\n").as_bytes(), &[]);
        assert!(ops.is_empty() && error.is_some(), "{line}");
    }
}

#[test]
fn an_error_is_answered_as_by_nats_server() {
    let large = LinkError::Payload { size: 2, max: 1 };
    assert_eq!(LinkError::UnknownOperation.reply(), Some("Unknown Protocol Operation"));
    assert_eq!(LinkError::ControlLine.reply(), Some("maximum control line exceeded"));
    assert_eq!(large.reply(), Some("Maximum Payload Violation"));
    assert_eq!(LinkError::Arguments(Verb::LeafSub).reply(), None);
}

#[test]
fn what_has_to_be_kept_is_bounded() {
    let line = |bytes: usize| [b"LS+ ", "x".repeat(bytes).as_bytes()].concat();
    // As nats-server by default: 65,536 bytes are taken, and no more.
    let mut parser = Parser::new(Dialect::Leaf);
    let longest = [line(DEFAULT_MAX_CONTROL_LINE), b"\r\n".to_vec()].concat();
    assert!(matches!(parser.next(&longest), Ok(Step::Op { .. })));
    let longer = [line(DEFAULT_MAX_CONTROL_LINE + 1), b"\r\n".to_vec()].concat();
    assert_eq!(parser.next(&longer), Err(LinkError::ControlLine));
    // Nor is its end waited for.
    for dialect in ALL {
        assert_eq!(small(dialect).next(&line(514)), Err(LinkError::ControlLine));
        assert!(matches!(small(dialect).next(&line(512)), Ok(Step::NeedMore { .. })));
    }
    // So it is with a line that is read at a glance: 510 bytes and " 0".
    for (bytes, is_taken) in [(510, true), (511, false)] {
        let script = format!("LMSG {} 0\r\n\r\n", "x".repeat(bytes));
        let found = run(small(Dialect::Leaf), script.as_bytes(), &[]);
        assert_eq!(found.1, (!is_taken).then_some(LinkError::ControlLine), "{bytes}");
    }
    // A message is refused by its line, before anything of it has come.
    for (dialect, line) in [
        (Dialect::Leaf, "LMSG a 101\r\n"),
        (Dialect::Leaf, "HMSG a | q 1 101\r\n"),
        (Dialect::Route, "RMSG A a 101\r\n"),
        (Dialect::Route, "LMSG EDGE A a 0 101\r\n"),
        (Dialect::PinnedRoute, "LMSG EDGE a 0 101\r\n"),
    ] {
        let found = run(small(dialect), line.as_bytes(), &[]);
        assert_eq!(found.1, Some(LinkError::Payload { size: 101, max: 100 }), "{line}");
    }
}

#[test]
fn a_weight_has_nine_digits_at_most() {
    let mut out = Vec::new();
    let sub = Sub {
        queue: queue(b"q", u32::MAX),
        ..Sub::new(b"a")
    };
    encode::sub(&mut out, Dialect::Leaf, &sub);
    assert_eq!(
        ops(Dialect::Leaf, &out),
        [Op::Sub(Sub {
            queue: queue(b"q", MAX_WEIGHT),
            ..sub
        })]
    );
}
