use super::*;

const STREAM: &[u8] = b"INFO {\"a\":1}\r\nPING\r\nMSG a.b 7 3\r\nx\ny\r\nMSG a 1 r.1 0\r\n\r\n\
HMSG s 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG s 2 q 12 15\r\nNATS/1.0\r\n\r\nabc\r\n+OK\r\n-ERR 'x'\r\nPONG\r\n";

fn all(mut bytes: &[u8]) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some((frame, used)) = parse(bytes).unwrap() {
        seen.push(format!("{frame:?}"));
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty(), "left over: {bytes:?}");
    seen
}

#[test]
fn every_frame_of_a_stream_is_read() {
    let (frame, _) = parse(b"MSG a.b 7 q 3\r\nx\ny\r\n").unwrap().unwrap();
    let want = Msg {
        subject: b"a.b",
        sid: 7,
        reply: b"q",
        header: b"",
        payload: b"x\ny",
    };
    assert_eq!(frame, Frame::Msg(want));
    assert_eq!(all(STREAM).len(), 9);
}

#[test]
fn a_cut_anywhere_is_incomplete_and_not_an_error() {
    let mut at = 0;
    while at < STREAM.len() {
        let (_, used) = parse(&STREAM[at..]).unwrap().unwrap();
        for cut in 0..used {
            assert_eq!(
                parse(&STREAM[at..at + cut]).unwrap(),
                None,
                "cut {cut} of frame at {at}"
            );
        }
        at += used;
    }
}

#[test]
fn the_status_of_a_header_is_found() {
    let (frame, _) = parse(b"HMSG s 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n").unwrap().unwrap();
    let Frame::Msg(msg) = frame else { panic!("{frame:?}") };
    assert_eq!(msg.status(), Some(503));
    assert!(msg.payload.is_empty());
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        &b"HELLO\r\n"[..],
        b"MSG a 1\r\n",
        b"MSG a x 1\r\nz\r\n",
        b"MSG a 1 r s 1\r\nz\r\n",
        b"HMSG a 1 9 3\r\nabc\r\n",
        b"MSG a 1 1\r\nabcd\r\n",
        b"MSG a 1 99999999999999999999\r\n",
    ] {
        assert!(parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
    }
}
