//! WebSocket, without a socket: requests as browsers write them, frames whole and in pieces, and what is not allowed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use weir_wire::websocket::{
    Decoder, Deflater, FrameError, HEAD_MAX, Head, Inflater, Item, Opcode, Origin, close_payload, frame, read_head,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// A request with more headers, or with others in place of some.
fn request(more: &str, replace: (&str, &str)) -> Head {
    let text = REQUEST.replace(replace.0, replace.1) + more + "\r\n";
    let (head, length) = read_head(text.as_bytes()).unwrap().unwrap();
    assert_eq!(length, text.len());
    head
}

fn with(more: &str) -> Head {
    request(more, ("", ""))
}

/// A frame as a client sends it.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA1, 0x02, 0xF3, 0x44];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        middle @ ..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    bytes: Vec<u8>,
    pings: Vec<Vec<u8>>,
    closes: Vec<Vec<u8>>,
}

/// What comes out of frames that arrive so many bytes at a time, where so many bytes of a message are taken at a time.
fn hear(compression: bool, input: &[u8], piece: usize, room: usize) -> Result<Heard, FrameError> {
    let mut decoder = Decoder::new(compression);
    let mut inflater = Inflater::new(1 << 20);
    let mut heard = Heard::default();
    let mut out = vec![0; room];
    for chunk in input.chunks(piece) {
        let mut chunk = chunk.to_vec();
        let mut at = 0;
        loop {
            let step = decoder.decode(&mut chunk[at..])?;
            at += step.consumed;
            match step.item {
                None => break,
                Some(Item::Data(bytes)) => heard.bytes.extend_from_slice(bytes),
                Some(Item::Deflated { mut bytes, last }) => loop {
                    let found = inflater.inflate(bytes, last, &mut out)?;
                    heard.bytes.extend_from_slice(&out[..found.written]);
                    bytes = &bytes[found.consumed..];
                    if found.done {
                        break;
                    }
                },
                Some(Item::Ping(payload)) => heard.pings.push(payload.to_vec()),
                Some(Item::Pong) => {}
                Some(Item::Close(close)) => heard.closes.push(close.answer),
            }
        }
        assert_eq!(at, chunk.len(), "all of it is looked at");
    }
    Ok(heard)
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::default().deflate(payload, &mut out);
    out
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let head = with("");
    let upgrade = head.upgrade().unwrap();
    assert!(!upgrade.compression);
    let answer = String::from_utf8(head.accept(upgrade, &[("X-A".into(), "b".into())])).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.ends_with("\r\nX-A: b\r\n\r\n"));
}

#[test]
fn what_asks_wrongly_is_refused() {
    let refused = |replace| {
        let refusal = request("", replace).upgrade().unwrap_err();
        (refusal.status, refusal.reason)
    };
    let told = |status, reason: &str| (status, reason.to_owned());
    assert_eq!(refused(("GET", "POST")), told(405, "request method must be GET"));
    assert_eq!(
        refused(("Host: example.com\r\n", "")),
        told(400, "'Host' missing in request")
    );
    assert_eq!(
        refused(("websocket", "h2c")),
        told(400, "invalid value for header 'Upgrade'")
    );
    assert_eq!(
        refused((", Upgrade", "")),
        told(400, "invalid value for header 'Connection'")
    );
    assert_eq!(
        refused(("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        told(400, "key missing")
    );
    assert_eq!(
        refused(("dGhlIHNhbXBsZSBub25jZQ==", "abcd")),
        told(400, "invalid websocket key")
    );
    assert_eq!(refused(("Version: 13", "Version: 8")), told(400, "invalid version"));
    assert_eq!(read_head(b"CONNECT {}\r\n").unwrap_err().status, 400);
    let response = String::from_utf8(read_head(b"\0\r\n\r\n").unwrap_err().response()).unwrap();
    assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
}

#[test]
fn a_request_has_a_bound() {
    let long = format!("{REQUEST}X: {}", "x".repeat(HEAD_MAX));
    assert_eq!(read_head(long.as_bytes()).unwrap_err().status, 431);
    let many = format!("{REQUEST}{}\r\n", "X: y\r\n".repeat(200));
    assert_eq!(read_head(many.as_bytes()).unwrap_err().status, 431);
    assert_eq!(read_head(REQUEST.as_bytes()), Ok(None), "more may come");
}

#[test]
fn compression_is_granted_to_who_asks() {
    for (asked, granted) in [
        ("permessage-deflate", true),
        ("x-other, permessage-deflate; client_max_window_bits", true),
        ("permessage-bzip2", false),
    ] {
        let head = with(&format!("Sec-WebSocket-Extensions: {asked}\r\n"));
        let upgrade = head.upgrade().unwrap();
        assert_eq!(upgrade.compression, granted, "{asked}");
        let answer = String::from_utf8(head.accept(upgrade, &[])).unwrap();
        assert_eq!(
            answer.contains("server_no_context_takeover; client_no_context_takeover"),
            granted
        );
    }
}

#[test]
fn pages_come_from_where_they_may() {
    let here = |origin: &str| with(origin).check_origin(true, &[], false).is_ok();
    assert!(here(""), "no browser");
    assert!(here("Origin: http://EXAMPLE.com\r\n"));
    assert!(here("Origin: http://example.com:80\r\n"));
    assert!(!here("Origin: https://example.com\r\n"), "another port");
    assert!(!here("Origin: http://evil.com\r\n"));
    assert!(!here("Origin: null\r\n"));
    assert!(!here("Sec-WebSocket-Origin: http://evil.com\r\n"));
    let allowed = [
        Origin::parse("https://a.com").unwrap(),
        Origin::parse("http://a.com:8000").unwrap(),
    ];
    let among = |origin: &str| with(origin).check_origin(false, &allowed, false);
    assert!(among("Origin: https://a.com\r\n").is_ok());
    assert!(among("Origin: http://a.com:8000\r\n").is_ok());
    let refusal = among("Origin: http://a.com\r\n").unwrap_err();
    assert_eq!(
        (refusal.status, refusal.reason.as_str()),
        (403, "origin not allowed: not in the allowed list")
    );
    for bad in [
        "",
        "example.com",
        "::%",
        "://a",
        "http://",
        "http://a:b",
        "http://a:99999",
        "http://[::1",
    ] {
        assert!(Origin::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Origin::parse("http://[::1]:5/x").unwrap().host, "::1");
}

#[test]
fn cookies_and_proxies_are_read() {
    let head = with("Cookie: a=1; jwt=\"x=y\"\r\nCookie: b=2;c\r\nX-Forwarded-For: 10.0.0.1\r\n");
    assert_eq!(
        (head.cookie("a"), head.cookie("jwt"), head.cookie("b")),
        (Some("1"), Some("x=y"), Some("2"))
    );
    assert_eq!((head.cookie("c"), head.cookie("d")), (None, None));
    assert_eq!(head.forwarded_for(), Some([10, 0, 0, 1].into()));
    assert_eq!(with("X-Forwarded-For: nobody\r\n").forwarded_for(), None);
}

#[test]
fn messages_may_come_in_pieces_with_pings_between() {
    let mut input = client_frame(0x02, b"PI");
    input.extend(client_frame(0x89, b"hello"));
    input.extend(client_frame(0x00, b"N"));
    input.extend(client_frame(0x00, b""));
    input.extend(client_frame(0x80, b"G\r\n"));
    input.extend(client_frame(0x81, b"PONG\r\n"));
    input.extend(client_frame(0x88, &close_payload(1000, "bye")));
    for piece in [1, 2, 3, 5, 1000] {
        let heard = hear(false, &input, piece, 10).unwrap();
        assert_eq!(heard.bytes, b"PING\r\nPONG\r\n");
        assert_eq!(heard.pings, [b"hello"]);
        assert_eq!(heard.closes, [b"\x03\xe8bye"]);
    }
}

#[test]
fn wrong_frames_are_told_apart() {
    let wrong = |input: &[u8]| hear(true, input, 1, 10).unwrap_err();
    assert_eq!(wrong(b"\x82\x05hello"), FrameError::Unmasked);
    assert_eq!(wrong(&client_frame(0xA2, b"")), FrameError::Reserved);
    assert_eq!(wrong(&client_frame(0x83, b"")), FrameError::Opcode(3));
    assert_eq!(wrong(&client_frame(0x8B, b"")), FrameError::Opcode(11));
    assert_eq!(wrong(&client_frame(0x89, &[0; 126])), FrameError::ControlLength);
    assert_eq!(wrong(&client_frame(0x09, b"")), FrameError::ControlFragment);
    assert_eq!(wrong(&client_frame(0xC9, b"")), FrameError::ControlCompressed);
    assert_eq!(wrong(&client_frame(0x80, b"x")), FrameError::Continuation);
    assert_eq!(wrong(&client_frame(0x88, b"x")), FrameError::CloseLength);
    let both = |first, second| [client_frame(first, b"x"), client_frame(second, b"x")].concat();
    assert_eq!(wrong(&both(0x02, 0x82)), FrameError::Interrupted);
    assert_eq!(wrong(&both(0x02, 0xC0)), FrameError::Continuation);
    let refused = hear(false, &client_frame(0xC2, b"x"), 1, 10).unwrap_err();
    assert_eq!(refused, FrameError::Compression);
    assert_eq!(
        wrong(&[b"\x82\xff".as_slice(), &[0xFF; 12]].concat()),
        FrameError::Length
    );
    assert_eq!(wrong(&client_frame(0xC2, &[0xFF; 4])), FrameError::Corrupt);
    assert_eq!(FrameError::Corrupt.status(), 1007);
    assert_eq!(FrameError::Unmasked.status(), 1002);
}

/// The two bytes tell that much; a client that sends no more of the header than that is not waited for.
#[test]
fn a_wrong_frame_is_told_by_its_first_two_bytes() {
    for head in [[0x82, 0x7F], [0x89, 0xFF], [0x83, 0x80]] {
        assert!(hear(false, &head, 1, 10).is_err());
    }
}

#[test]
fn nothing_is_kept_for_a_length_that_is_only_said() {
    let mut decoder = Decoder::new(false);
    let mut input = *b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0PING";
    let step = decoder.decode(&mut input).unwrap();
    assert_eq!((step.consumed, step.item), (18, Some(Item::Data(b"PING"))));
    assert!(decoder.is_within_message());
}

#[test]
fn closes_are_answered_as_they_may_be() {
    let answer = |payload: &[u8]| {
        hear(false, &client_frame(0x88, payload), 100, 10)
            .unwrap()
            .closes
            .remove(0)
    };
    assert_eq!(answer(b""), b"");
    assert_eq!(answer(&close_payload(4000, "own")), b"\x0f\xa0own");
    assert_eq!(
        answer(b"\x03\xe8\xff"),
        close_payload(1007, "invalid utf8 body in close frame")
    );
    for forbidden in [0, 999, 1004, 1005, 1006, 1015, 2000, 5000] {
        assert_eq!(answer(&close_payload(forbidden, ""))[..2], [0x03, 0xEA], "{forbidden}");
    }
    let long = close_payload(1002, &"ä".repeat(100));
    assert!(long.len() <= 125 && std::str::from_utf8(&long[2..]).unwrap().ends_with("..."));
}

#[test]
fn what_is_inflated_has_a_bound() {
    let bomb = deflated(&vec![0; 2 << 20]);
    assert!(bomb.len() < 20_000);
    let error = hear(true, &client_frame(0xC2, &bomb), 1000, 4096).unwrap_err();
    assert_eq!(error, FrameError::TooBig(1 << 20));
    assert_eq!(error.status(), 1009);
    // Each message by itself.
    let half = deflated(&vec![0; 1 << 19]);
    let input: Vec<u8> = (0..5).flat_map(|_| client_frame(0xC2, &half)).collect();
    assert_eq!(hear(true, &input, 1000, 4096).unwrap().bytes.len(), 5 << 19);
}

#[test]
fn a_last_block_does_not_end_the_connection() {
    // "a" in a block that says that it is the last, and an empty one that pads it.
    let input = [
        client_frame(0xC2, b"\x4b\x04\x00\x00"),
        client_frame(0xC2, &deflated(b"bc")),
    ]
    .concat();
    assert_eq!(hear(true, &input, 1, 1).unwrap().bytes, b"abc");
}

#[test]
fn frames_of_the_server_say_how_long_they_are() {
    for (length, head) in [
        (0, &b"\x82\0"[..]),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\0\x7e"),
        (0xFFFF, b"\x82\x7e\xff\xff"),
        (0x1_0000, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
    ] {
        let mut out = Vec::new();
        frame(&mut out, Opcode::Binary, false, &vec![b'x'; length]);
        assert!(out.starts_with(head) && out.len() == head.len() + length, "{length}");
    }
    let mut out = Vec::new();
    frame(&mut out, Opcode::Binary, true, b"");
    assert_eq!(out, b"\xc2\0");
}

proptest! {
    /// However a client cuts what it says into frames, compressed or not, and however they arrive.
    #[test]
    fn what_is_said_is_heard(
        said in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..8),
        compress in prop::collection::vec(any::<bool>(), 8),
        cut in 1_usize..200,
        piece in 1_usize..300,
        room in 1_usize..300,
    ) {
        let mut input = Vec::new();
        for (message, compress) in said.iter().zip(compress) {
            let payload = if compress { deflated(message) } else { message.clone() };
            let chunks: Vec<&[u8]> = if payload.is_empty() { vec![&[]] } else { payload.chunks(cut).collect() };
            for (number, chunk) in chunks.iter().enumerate() {
                let mut first = if number == 0 { 0x02 | u8::from(compress) << 6 } else { 0 };
                if number + 1 == chunks.len() {
                    first |= 0x80;
                }
                input.extend(client_frame(first, chunk));
                input.extend(client_frame(0x89, b"p"));
            }
        }
        let heard = hear(true, &input, piece, room).unwrap();
        prop_assert_eq!(heard.bytes, said.concat());
    }

    /// Anything at all: no panic, and the same in pieces as whole.
    #[test]
    fn anything_is_taken(input in prop::collection::vec(any::<u8>(), 0..200), compression in any::<bool>()) {
        let whole = hear(compression, &input, 1000, 1000);
        let pieces = hear(compression, &input, 3, 1000);
        prop_assert_eq!(whole, pieces);
        let _ = read_head(&input);
    }
}
