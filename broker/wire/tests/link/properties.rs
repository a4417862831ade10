//! What holds of any operations, and of any bytes.

use proptest::prelude::*;
use weir_wire::link::{Dialect, Head, MAX_WEIGHT, Op, Queues, Sub, Unsub};

use super::{ALL, ops, queue, run, small, write};

/// Words of an operation, owned.
#[derive(Debug, Clone)]
struct Words {
    dialect: Dialect,
    verb: usize,
    origin: Option<Vec<u8>>,
    account: Vec<u8>,
    subject: Vec<u8>,
    reply: Option<Vec<u8>>,
    queues: Vec<Vec<u8>>,
    weight: u32,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

/// Whatever may be a word: indicators and numbers, too.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a-zA-Z0-9$_.*>]{1,24}".prop_map(String::into_bytes),
        1 => "[+|]".prop_map(String::into_bytes),
        1 => "[0-9]{1,10}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>().prop_filter("no separator", |byte| !b" \t\r\n".contains(byte)), 1..12),
    ]
}

fn words() -> impl Strategy<Value = Words> {
    let body = || proptest::collection::vec(any::<u8>(), 0..60);
    let names = (
        prop::option::of(word()),
        word(),
        word(),
        prop::option::of(word()),
        proptest::collection::vec(word(), 0..6),
    );
    let rest = (
        prop::sample::select(&ALL[..]),
        0..5usize,
        0..=MAX_WEIGHT,
        body(),
        body(),
    );
    (names, rest).prop_map(
        |((origin, account, subject, reply, queues), (dialect, verb, weight, headers, payload))| Words {
            dialect,
            verb,
            origin,
            account,
            subject,
            reply,
            queues,
            weight,
            headers,
            payload,
        },
    )
}

impl Words {
    /// Calls `check` with the operation that these words make.
    fn with<R>(&self, check: impl FnOnce(Op<'_>) -> R) -> R {
        let origin = self.origin.as_deref().filter(|_| self.dialect != Dialect::Leaf);
        let account = (self.dialect == Dialect::Route).then_some(&self.account[..]);
        let subject = &self.subject[..];
        let list: Vec<&[u8]> = self.queues.iter().map(Vec::as_slice).collect();
        let first = list.first().copied();
        check(match self.verb {
            0 => Op::Sub(Sub {
                origin,
                account,
                subject,
                queue: first.and_then(|name| queue(name, self.weight)),
            }),
            1 => Op::Unsub(Unsub {
                origin,
                account,
                subject,
                queue: first,
            }),
            2 if self.dialect != Dialect::Leaf => Op::AccountSub { account: subject },
            3 if self.dialect != Dialect::Leaf => Op::AccountUnsub { account: subject },
            _ => Op::Msg {
                head: Head {
                    origin,
                    account,
                    subject,
                    reply: self.reply.as_deref(),
                    queues: Queues::of(&list),
                },
                headers: &self.headers,
                payload: &self.payload,
            },
        })
    }
}

/// Lines of links, right and wrong, to be strung together.
fn pieces(dialect: Dialect) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => words().prop_map(move |mut words| {
            words.dialect = dialect;
            let mut out = Vec::new();
            words.with(|op| write(&mut out, dialect, &op));
            out
        }),
        2 => Just(b"PING\r\n".to_vec()),
        2 => "(?i)(LS[+]|RS-|LMSG|HMSG|RMSG|A[+]|INFO|CONNECT|-ERR)[ \t\r\n0-9a+|-]{0,40}\n".prop_map(String::into_bytes),
        1 => "[A-Z0-9 \r\n]{0,12}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn script() -> impl Strategy<Value = (Dialect, Vec<u8>)> {
    prop::sample::select(&ALL[..]).prop_flat_map(|dialect| (Just(dialect), pieces(dialect)))
}

proptest! {
    /// What is encoded is read back as it was.
    #[test]
    fn there_and_back(all in proptest::collection::vec(words(), 1..8), dialect in prop::sample::select(&ALL[..])) {
        let mut out = Vec::new();
        let all: Vec<Words> = all.into_iter().map(|words| Words { dialect, ..words }).collect();
        for words in &all {
            words.with(|op| write(&mut out, dialect, &op));
        }
        let read = ops(dialect, &out);
        prop_assert_eq!(read.len(), all.len());
        for (words, read) in all.iter().zip(read) {
            prop_assert!(words.with(|op| op == read), "{:?} became {:?}", words, read);
        }
    }

    /// What is read at a glance, where a whole line is there, is what is read byte for byte.
    #[test]
    fn a_glance_does_not_err((dialect, script) in script()) {
        let each: Vec<_> = (0..script.len()).collect();
        prop_assert_eq!(run(small(dialect), &script, &each), run(small(dialect), &script, &[]));
    }

    #[test]
    fn a_glance_at_random_arguments_does_not_err(verb in "(LMSG|RMSG|HMSG)", rest in "[ 0-9a+|\t\r\n]{0,24}", body in "[a\r\n]{0,12}") {
        let script = format!("{verb} {rest}\r\n{body}\r\nPING\r\n").into_bytes();
        let each: Vec<_> = (0..script.len()).collect();
        for dialect in ALL {
            prop_assert_eq!(run(small(dialect), &script, &each), run(small(dialect), &script, &[]));
        }
    }

    #[test]
    fn random_cuts_change_nothing((dialect, script) in script(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(script.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(run(small(dialect), &script, &cuts), run(small(dialect), &script, &[]));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len() + 1);
        for dialect in ALL {
            prop_assert_eq!(run(small(dialect), &bytes, &[cut]), run(small(dialect), &bytes, &[]));
        }
    }

    #[test]
    fn random_arguments_never_panic(verb in "(?i)(LS[+]|LS-|LMSG|HMSG|RS[+]|RS-|RMSG|A[+]|A-|INFO|CONNECT|PING|-ERR)", rest in "[ \t\r\n0-9a+|-]{0,40}") {
        let bytes = format!("{verb} {rest}").into_bytes();
        let each: Vec<_> = (0..bytes.len()).collect();
        for dialect in ALL {
            prop_assert_eq!(run(small(dialect), &bytes, &each), run(small(dialect), &bytes, &[]));
        }
    }

    /// The buffer's promise broken: shorter or other bytes than before. The answers may be wrong, but there are answers.
    #[test]
    fn a_careless_caller_gets_no_panic(buffers in proptest::collection::vec(script(), 1..4), dialect in prop::sample::select(&ALL[..])) {
        let mut parser = small(dialect);
        for (_, buf) in &buffers {
            let _ = parser.next(buf);
            let _ = parser.next(&buf[..buf.len() / 2]);
        }
    }
}
