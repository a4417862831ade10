//! What servers say to each other: whole and in pieces, there and back, and the answers of nats-server 2.15.1 (noted from the wire).

mod bounds;
mod lines;
mod properties;

use weir_wire::link::{Dialect, LinkError, Op, Parser, Queue, Step, encode};

const ALL: [Dialect; 3] = [Dialect::Leaf, Dialect::Route, Dialect::PinnedRoute];

/// A parser with limits that are soon reached.
fn small(dialect: Dialect) -> Parser {
    let mut parser = Parser::new(dialect);
    parser.set_max_control_line(512);
    parser.set_max_payload(100);
    parser
}

/// Feeds `script` in pieces that end at `cuts`, as a connection would: one buffer that grows, and shrinks from the front.
fn run(mut parser: Parser, script: &[u8], cuts: &[usize]) -> (Vec<String>, Option<LinkError>) {
    let mut buf = Vec::new();
    let mut ops = Vec::new();
    let (mut from, mut needed) = (0, 0);
    for &cut in cuts.iter().chain([&script.len()]) {
        buf.extend_from_slice(&script[from..cut]);
        from = cut;
        loop {
            match parser.next(&buf) {
                Ok(Step::Op { op, consumed }) => {
                    assert!(buf.len() >= needed, "it came before {needed} bytes were there");
                    needed = 0;
                    ops.push(format!("{op:?}"));
                    buf.drain(..consumed);
                }
                Ok(Step::NeedMore { at_least }) => {
                    assert!(at_least > buf.len() && at_least >= needed);
                    needed = at_least;
                    break;
                }
                Err(error) => return (ops, Some(error)),
            }
        }
    }
    (ops, None)
}

/// All operations of a script that is right.
fn ops(dialect: Dialect, script: &[u8]) -> Vec<Op<'_>> {
    let mut parser = Parser::new(dialect);
    let (mut rest, mut ops) = (script, Vec::new());
    loop {
        match parser.next(rest) {
            Ok(Step::Op { op, consumed }) => {
                ops.push(op);
                rest = &rest[consumed..];
            }
            Ok(Step::NeedMore { .. }) if rest.is_empty() => return ops,
            other => panic!("{other:?} of {:?}", String::from_utf8_lossy(rest)),
        }
    }
}

fn queue(name: &[u8], weight: u32) -> Option<Queue<'_>> {
    Some(Queue { name, weight })
}

/// Encodes an operation that was parsed.
fn write(out: &mut Vec<u8>, dialect: Dialect, op: &Op<'_>) {
    match op {
        Op::Sub(sub) => encode::sub(out, dialect, sub),
        Op::Unsub(unsub) => encode::unsub(out, dialect, unsub),
        Op::Msg { head, headers, payload } => encode::msg(out, dialect, head, headers, payload),
        Op::AccountSub { account } => encode::account_sub(out, account),
        Op::AccountUnsub { account } => encode::account_unsub(out, account),
        // The blank behind it is one of the text.
        Op::Info { json } => encode::info(out, json.strip_suffix(b" ").unwrap_or(json)),
        Op::Connect { json } => encode::connect(out, json),
        Op::Ping => encode::ping(out),
        Op::Pong => encode::pong(out),
        Op::Ok => encode::ok(out),
        Op::Err { text } => {
            let text = text.strip_prefix(b"'").and_then(|text| text.strip_suffix(b"'"));
            encode::err(out, &String::from_utf8_lossy(text.unwrap_or_default()));
        }
    }
}
