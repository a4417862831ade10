use super::*;

/// A frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..=125 => bytes.push(short as u8),
        middle @ ..=0xFFFF => {
            bytes.push(126);
            bytes.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[test]
fn the_example_of_the_rfc_is_masked_as_there() {
    let mut out = Vec::new();
    mask(&mut out, Opcode::Binary, [0x37, 0xfa, 0x21, 0x3d], b"Hello");
    assert_eq!(out, [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
}

#[test]
fn lengths_are_written_in_as_few_bytes_as_they_take() {
    let key = [1, 2, 3, 4];
    for (length, head) in [
        (0, vec![0x82, 0x80]),
        (125, vec![0x82, 0xFD]),
        (126, vec![0x82, 0xFE, 0, 126]),
        (65_535, vec![0x82, 0xFE, 0xFF, 0xFF]),
        (65_536, vec![0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = text(length);
        let mut out = b"before".to_vec();
        mask(&mut out, Opcode::Binary, key, &payload);
        let rest = out.strip_prefix(b"before").unwrap().strip_prefix(&*head).unwrap();
        let masked = rest.strip_prefix(&key).unwrap();
        let plain: Vec<u8> = masked.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        assert_eq!(plain, payload, "{length}");
    }
}

#[test]
fn what_is_in_frames_comes_out_however_it_arrives() {
    let sizes = [0, 1, 125, 126, 1000, 65_535, 65_536];
    let mut sent = Vec::new();
    let mut wanted = Vec::new();
    for (i, &size) in sizes.iter().enumerate() {
        let payload = text(size);
        // Every other message is in two pieces, with a ping and a pong of no use between them.
        if i % 2 == 0 {
            sent.extend(frame(0x82, &payload));
        } else {
            let (a, b) = payload.split_at(size / 2);
            sent.extend(frame(0x02, a));
            sent.extend(frame(0x89, b"still there?"));
            sent.extend(frame(0x8A, b""));
            sent.extend(frame(0x80, b));
        }
        wanted.extend(payload);
    }
    for pieces in [1, 2, 3, 7, 4096, sent.len()] {
        let mut unframer = Unframer::default();
        let mut got = Vec::new();
        let mut pings = 0;
        for piece in sent.chunks(pieces) {
            let mut piece = piece.to_vec();
            let data = unframer.strip(&mut piece).unwrap();
            got.extend_from_slice(&piece[..data]);
            if let Some(ping) = unframer.take_ping() {
                assert_eq!(ping, b"still there?");
                pings += 1;
            }
        }
        assert!(got == wanted, "in pieces of {pieces}");
        assert!(pings > 0);
        assert_eq!(unframer.closed(), None);
    }
}

#[test]
fn what_came_before_the_end_counts_and_nothing_behind_it() {
    let mut bytes = frame(0x82, b"-ERR 'no'\r\n");
    bytes.extend(frame(0x88, b"\x03\xf0no"));
    bytes.extend(frame(0x82, b"more"));
    let mut unframer = Unframer::default();
    let data = unframer.strip(&mut bytes).unwrap();
    assert_eq!(&bytes[..data], b"-ERR 'no'\r\n");
    assert_eq!(unframer.closed(), Some("the server closed the WebSocket: 1008 no"));
}

#[test]
fn what_a_server_may_not_send_is_refused() {
    let long = frame(0x89, &text(126));
    for (what, bytes) in [
        ("masked", &[0x82, 0x81, 0, 0, 0, 0, b'x'][..]),
        ("compressed", &[0xC2, 1, b'x']),
        ("text", &[0x81, 1, b'x']),
        ("of nothing", &[0x80, 1, b'x']),
        ("within a message", &[0x02, 1, b'x', 0x82, 1, b'x']),
        ("a ping in pieces", &[0x09, 1, b'x']),
        ("a long ping", &long),
        ("unknown", &[0x83, 0]),
        ("a length of two bytes too many", &[0x82, 126, 0, 125]),
        (
            "a length of eight bytes too many",
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
        ),
    ] {
        let error = Unframer::default().strip(&mut bytes.to_vec()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}");
    }
}
