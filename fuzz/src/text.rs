//! Text that comes from outside: the protocol, headers, configuration files, subjects, streams as lines of JSON.

use weir_backup::lines::{Head, Line, parse_line, put_message};
use weir_wire::headers::{self as block, HeaderBuf};
use weir_wire::link::{self, Dialect, LinkError};
use weir_wire::websocket::{Decoder, Inflater, Item, Origin, read_head};
use weir_wire::{Op, Parser, Step};

/// The client protocol, both sides of it: whole and in pieces it gives the same operations.
pub fn protocol(data: &[u8]) {
    for make in [Parser::server, Parser::client] {
        let whole = operations(&mut make(), data, data.len());
        for piece in [1, 7] {
            assert_eq!(operations(&mut make(), data, piece), whole, "in pieces of {piece}");
        }
    }
}

/// The operations in `data`, of which so many bytes arrive at a time, and whether an error ends them.
fn operations(parser: &mut Parser, data: &[u8], piece: usize) -> (Vec<String>, bool) {
    parser.set_max_control_line(64);
    parser.set_max_payload(256);
    let mut found = Vec::new();
    let (mut start, mut end) = (0, piece);
    loop {
        let there = &data[start..end.min(data.len())];
        let glanced = parser
            .glance(there)
            .map(|found| (found.subject, found.payload, found.consumed));
        match parser.next(there) {
            Ok(Step::Op { op, consumed }) => {
                if let (Some(found), Op::Pub { subject, payload, .. } | Op::Hpub { subject, payload, .. }) =
                    (glanced, op)
                {
                    assert_eq!(found, (subject, payload, consumed));
                } else {
                    assert_eq!(glanced, None);
                }
                assert!(consumed > 0 && consumed <= there.len());
                found.push(format!("{op:?}"));
                start += consumed;
                end = end.max(start);
            }
            Ok(Step::NeedMore { at_least }) => {
                assert!(at_least > there.len() && glanced.is_none());
                if end >= data.len() {
                    return (found, false);
                }
                end += piece;
            }
            Err(_) => {
                assert_eq!(glanced, None);
                return (found, true);
            }
        }
    }
}

/// What servers say to each other, on links of each kind: whole and in pieces it gives the same operations, and what is written of them is
/// read as they were.
pub fn link(data: &[u8]) {
    for dialect in [Dialect::Leaf, Dialect::Route, Dialect::PinnedRoute] {
        let whole = said(dialect, data, data.len());
        for piece in [1, 7] {
            assert_eq!(said(dialect, data, piece), whole, "in pieces of {piece}");
        }
    }
}

/// The operations in `data`, of which so many bytes arrive at a time, and the error that ends them, if one does.
fn said(dialect: Dialect, data: &[u8], piece: usize) -> (Vec<String>, Option<LinkError>) {
    let small = || {
        let mut parser = link::Parser::new(dialect);
        parser.set_max_control_line(64);
        parser.set_max_payload(256);
        parser
    };
    let mut parser = small();
    let mut found = Vec::new();
    let (mut start, mut end) = (0, piece);
    loop {
        let there = &data[start..end.min(data.len())];
        match parser.next(there) {
            Ok(link::Step::Op { op, consumed }) => {
                assert!(consumed > 0 && consumed <= there.len());
                if let Some(written) = written(dialect, &op) {
                    let again = small().next(&written).map(|step| format!("{step:?}"));
                    let consumed = written.len();
                    assert_eq!(again, Ok(format!("{:?}", link::Step::Op { op, consumed })));
                }
                found.push(format!("{op:?}"));
                start += consumed;
                end = end.max(start);
            }
            Ok(link::Step::NeedMore { at_least }) => {
                assert!(at_least > there.len());
                if end >= data.len() {
                    return (found, None);
                }
                end += piece;
            }
            Err(error) => return (found, Some(error)),
        }
    }
}

/// An operation as it is encoded; `None` of one whose text is not looked at.
fn written(dialect: Dialect, op: &link::Op<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match op {
        link::Op::Sub(sub) => link::encode::sub(&mut out, dialect, sub),
        link::Op::Unsub(unsub) => link::encode::unsub(&mut out, dialect, unsub),
        link::Op::Msg { head, headers, payload } => link::encode::msg(&mut out, dialect, head, headers, payload),
        link::Op::AccountSub { account } => link::encode::account_sub(&mut out, account),
        link::Op::AccountUnsub { account } => link::encode::account_unsub(&mut out, account),
        link::Op::Ping => link::encode::ping(&mut out),
        link::Op::Pong => link::encode::pong(&mut out),
        link::Op::Ok => link::encode::ok(&mut out),
        link::Op::Info { .. } | link::Op::Connect { .. } | link::Op::Err { .. } => return None,
    }
    Some(out)
}

/// WebSocket: a request and what follows it, which mean the same in pieces as they do whole.
pub fn websocket(data: &[u8]) {
    let frames = match read_head(data) {
        Ok(Some((head, length))) => {
            let _ = Origin::parse(head.header("Origin").unwrap_or_default());
            let _ = head.check_origin(true, &[], false);
            if let Ok(upgrade) = head.upgrade() {
                assert!(head.accept(upgrade, &[]).ends_with(b"\r\n\r\n"));
            }
            &data[length..]
        }
        Ok(None) => data,
        Err(refusal) => {
            assert!(refusal.response().starts_with(b"HTTP/1.1 4"));
            data
        }
    };
    for compression in [false, true] {
        let whole = messages(compression, frames, frames.len().max(1), 4096);
        for (piece, room) in [(1, 1), (7, 3)] {
            let pieces = messages(compression, frames, piece, room);
            assert_eq!(pieces, whole, "in pieces of {piece}, with room for {room}");
        }
    }
}

/// What comes out of frames, the answers to control frames, and whether an error ends them.
fn messages(compression: bool, data: &[u8], piece: usize, room: usize) -> (Vec<u8>, Vec<Vec<u8>>, bool) {
    let (mut bytes, mut answers) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::new(compression);
    let mut inflater = Inflater::new(1 << 16);
    let mut out = vec![0; room];
    for chunk in data.chunks(piece) {
        let mut chunk = chunk.to_vec();
        let mut at = 0;
        loop {
            let Ok(step) = decoder.decode(&mut chunk[at..]) else {
                return (bytes, answers, true);
            };
            at += step.consumed;
            match step.item {
                None => break,
                Some(Item::Data(data)) => bytes.extend_from_slice(data),
                Some(Item::Deflated {
                    bytes: mut deflated,
                    last,
                }) => loop {
                    let Ok(found) = inflater.inflate(deflated, last, &mut out) else {
                        // How much of it came out before that depends on the room there was.
                        return (Vec::new(), answers, true);
                    };
                    bytes.extend_from_slice(&out[..found.written]);
                    deflated = &deflated[found.consumed..];
                    if found.done {
                        break;
                    }
                },
                Some(Item::Ping(payload)) => answers.push(payload.to_vec()),
                Some(Item::Pong) => {}
                Some(Item::Close(close)) => answers.push(close.answer),
            }
        }
        assert_eq!(at, chunk.len());
    }
    (bytes, answers, false)
}

/// Header blocks.
pub fn headers(data: &[u8]) {
    let mut built = HeaderBuf::continuing(data);
    for (name, value) in block::each(data) {
        assert!(block::get(data, name).is_some());
        built = built.add(name, value);
    }
    let _ = built.finish();
    for changed in [
        block::set(data, "Name", "value"),
        block::insert(data, "Name", "value"),
        block::remove(data, "Name"),
        block::retain(data, |header| !header.starts_with(b"Na")).into_owned(),
    ] {
        let _ = block::each(&changed).count();
    }
}

/// Configuration files, but for includes, which read whatever file they name.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.to_ascii_lowercase().contains("include") {
        return;
    }
    let env = |name: &str| (name == "SET").then(|| "4222".to_owned());
    let parsed = weir_conf::file::parse(text, "fuzz.conf", &env);
    let options = weir_conf::Options::parse(text, "fuzz.conf", &env);
    assert!(parsed.is_ok() || options.is_err());
}

/// Three subjects, with a zero byte between: filters, interest, transforms.
pub fn subjects(data: &[u8]) {
    use weir_subject::{Sublist, Transform, is_literal, is_subset, is_valid_subject, matches, overlaps};

    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (a, b, subject) = (next(), next(), next());
    let literal = is_valid_subject(subject) && is_literal(subject);
    if is_valid_subject(a) {
        let mut list = Sublist::with_seed(1);
        let inserted = list.insert(a, ());
        if literal && inserted.is_ok() {
            assert_eq!(list.has_interest(subject), matches(a, subject));
        }
        if is_valid_subject(b) {
            assert_eq!(overlaps(a, b), overlaps(b, a));
            assert!(!is_subset(a, b) || overlaps(a, b));
            if literal && matches(a, subject) {
                assert!(!is_subset(a, b) || matches(b, subject));
                assert!(!matches(b, subject) || overlaps(a, b));
            }
        }
    }
    if let Ok(transform) = Transform::new(a, b)
        && literal
    {
        assert_eq!(transform.apply(subject, 7), transform.apply(subject, 7));
    }
}

/// What a proxy says of a client: the same as soon as it can be told.
pub fn proxy(data: &[u8]) {
    use weir_wire::proxy::{ENOUGH, Start, read_start};

    let data = &data[..data.len().min(ENOUGH)];
    let whole = read_start(data);
    assert!(data.len() < ENOUGH || whole != Ok(Start::NeedMore));
    for end in 0..data.len() {
        match read_start(&data[..end]) {
            Ok(Start::NeedMore) => {}
            told => assert_eq!(told, whole, "of {end} bytes"),
        }
    }
}

/// A token: as it is, and with these claims signed by a key of any kind, whatever they say.
pub fn jwt(data: &[u8]) {
    use nkeys::{KeyPair, KeyPairType};
    use weir_jwt::{Names, SigningKey, Token, decode, decode_generic, encode, fill, undecorated};

    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = decode(undecorated(text));
    let _ = decode_generic(text);
    let Ok(mut claims) = serde_json::from_str::<weir_jwt::GenericClaims>(text) else {
        return;
    };
    for kind in [KeyPairType::Operator, KeyPairType::Account, KeyPairType::Server] {
        let Ok(key) = KeyPair::new_from_raw(kind, [7; 32]) else {
            return;
        };
        claims.common.issuer = key.public_key();
        let token = encode(claims.clone(), &key, 1).expect("a key that signs");
        assert!(decode_generic(&token).is_ok());
        match decode(&token) {
            Ok(Token::User(user)) => {
                let _ = user.check(1);
                let _ = weir_jwt::presence(&user.nats.rights.user, jiff::Timestamp::UNIX_EPOCH);
            }
            Ok(Token::Account(account)) => {
                let _ = account.check(1);
                for scope in account.nats.signing_keys.iter().filter_map(|key| match key {
                    SigningKey::Scoped(scope) => Some(scope),
                    SigningKey::Plain(_) => None,
                }) {
                    let tags = &account.nats.tags;
                    let names = Names {
                        name: &account.common.name,
                        subject: "U",
                        account_name: "a",
                        account_subject: "A",
                        tags,
                        account_tags: tags,
                    };
                    let _ = fill(&scope.template, &names);
                }
            }
            Ok(Token::Activation(activation)) => drop(activation.check(1)),
            Ok(Token::AuthorizationResponse(response)) => drop(response.check(1)),
            Ok(Token::Operator(_) | Token::AuthorizationRequest(_)) | Err(_) => {}
        }
    }
}

/// A stream as lines of JSON: what is read of a line can be written, and is read back as it was.
pub fn lines(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(head) = Head::parse(line) {
            let again = Head::parse(&head.to_line()).expect("what was written is read");
            assert_eq!((again.config, again.state), (head.config, head.state));
        }
        if let Ok(Line::Message(message)) = parse_line(line, 2, 1 << 20) {
            let mut written = Vec::new();
            put_message(&message, &mut written);
            let again = parse_line(&written, 2, 1 << 20).expect("what was written is read");
            assert_eq!(again, Line::Message(message));
        }
    }
}
