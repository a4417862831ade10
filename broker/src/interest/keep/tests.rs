use super::*;
use crate::interest::Inbound;

fn message<'a>(chunk: Option<Chunk<'a>>, subject: &'a [u8], payload: &'a [u8]) -> Inbound<'a> {
    Inbound {
        subject,
        reply: b"",
        headers: b"",
        payload,
        from: None,
        journey: None,
        chunk,
    }
}

#[test]
fn only_a_piece_that_is_most_of_what_it_keeps_is_shared() {
    let read: Bytes = vec![b'x'; 64 << 10].into();
    let chunk = Chunk {
        bytes: &read,
        holds: read.len(),
    };
    let is_part = |piece: &[u8]| read.as_ptr_range().contains(&piece.as_ptr());
    let large = message(Some(chunk), &read[..1], &read[1..40_000]);
    assert!(is_part(&large.body()));
    let (subject, _, body) = large.keep(&mut Blocks::default());
    // The subject costs nothing beside the body.
    assert!(is_part(&subject) && is_part(&body));
    let small = message(Some(chunk), &read[..1], &read[1..6]);
    let (subject, reply, body) = small.keep(&mut Blocks::default());
    assert_eq!(
        (&subject[..], &reply[..], &body[..]),
        (&b"x"[..], &b""[..], &b"xxxxx"[..])
    );
    for piece in [subject, body, small.body(), small.own(small.subject)] {
        assert!(!is_part(&piece));
    }
    // A short read in a large buffer keeps the buffer.
    let little = Chunk {
        bytes: &read.slice(..40_000),
        holds: 1 << 20,
    };
    assert!(!is_part(&message(Some(little), b"", &read[..40_000]).body()));
}

#[test]
fn copies_share_small_blocks_and_stay_what_they_are() {
    let mut blocks = Blocks::default();
    let copies: Vec<Bytes> = (0..1000)
        .map(|n: u32| blocks.copy([format!("{n}").as_bytes(), b"/", &[b'y'; 30], b""]))
        .collect();
    for (n, copy) in copies.iter().enumerate() {
        assert_eq!(&copy[..], [format!("{n}/").as_bytes(), &[b'y'; 30]].concat());
    }
    let large = blocks.copy([&[b'z'; KEEP_BLOCK], b"z", b"", b""]);
    assert_eq!(large.len(), KEEP_BLOCK + 1);
    blocks.rest();
    assert_eq!(blocks.block.capacity(), 0);
}
