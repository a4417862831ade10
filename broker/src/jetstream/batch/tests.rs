use super::*;
use crate::interest::Chunk;

const A: StreamId = StreamId(256);
const B: StreamId = StreamId(257);

/// Keeps messages of so many bytes, each of its stream, from one read chunk of 64 KiB; answers whether each is still a part
/// of the chunk when the batch is handed over.
fn shared_after(messages: &[(StreamId, usize)]) -> Vec<bool> {
    let read: Bytes = vec![b'x'; 64 << 10].into();
    let chunk = Chunk {
        bytes: &read,
        holds: read.len(),
    };
    let mut batch = Batch {
        inputs: vec![(ShardId(0), Vec::new())],
        ..Batch::default()
    };
    let mut at = 0;
    for &(stream, len) in messages {
        let message = Inbound {
            subject: &read[at..at + 1],
            reply: &read[at..at + 2],
            headers: b"",
            payload: &read[at..at + len],
            from: None,
            journey: None,
            chunk: Some(chunk),
        };
        at += len;
        let (subject, reply, body) = batch.keep(stream, &message);
        batch.inputs[0].1.push(Input::Publish {
            stream,
            subject,
            headers_len: 0,
            body,
            ticket: Ticket::Reply(reply),
        });
    }
    batch.unshare();
    let is_part = |input: &Input| {
        let Input::Publish {
            subject, body, ticket, ..
        } = input
        else {
            panic!("only messages were kept");
        };
        let Ticket::Reply(reply) = ticket else {
            panic!("all have a reply subject");
        };
        assert_eq!((&subject[..], &reply[..]), (&b"x"[..], &b"xx"[..]));
        assert!(body.iter().all(|byte| *byte == b'x'));
        read.as_ptr_range().contains(&body.as_ptr())
    };
    batch.inputs[0].1.iter().map(is_part).collect()
}

#[test]
fn a_stream_shares_the_chunk_that_is_mostly_its_own() {
    assert_eq!(shared_after(&[(A, 1000); 40]), [true; 40]);
    assert_eq!(shared_after(&[(A, 1000); 20]), [false; 20], "less than half of it");
    let mut mixed = vec![(A, 1000); 40];
    mixed.push((B, 5));
    assert_eq!(shared_after(&mixed), [false; 41], "the chunk would be kept for two");
    assert_eq!(shared_after(&[(A, 5), (A, 50_000)]), [true, true]);
    assert_eq!(shared_after(&[(A, 5), (B, 50_000)]), [false, true]);
}

#[test]
fn a_stream_that_listens_twice_takes_a_message_once() {
    let mut batch = Batch::default();
    for message in 1..3 {
        assert!(batch.takes(message, StreamId(7)));
        assert!(!batch.takes(message, StreamId(7)), "taken already");
    }
}
