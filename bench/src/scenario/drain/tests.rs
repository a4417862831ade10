use super::*;
use crate::payload::Stamp;

/// The messages that are named by `(stream sequence, times delivered, counter in the body)`.
fn take(messages: &[(u64, u64, u64)]) -> Result<bool> {
    let stream = Stream {
        name: "S".into(),
        prefix: "s".into(),
    };
    let mut drain = Drain::new(&stream, 32, 2, Duration::from_secs(1));
    for (seq, count, counter) in messages {
        let reply = format!("$JS.ACK.S.load.{count}.{seq}.1.1700.0");
        let mut payload = Payload::new(32);
        let stamp = Stamp {
            counter: *counter,
            sent_ns: 7,
            publisher: 0,
        };
        let sent_ns = drain.take(&Msg {
            subject: b"s.x",
            sid: 1,
            reply: reply.as_bytes(),
            header: b"",
            payload: payload.stamped(stamp),
        })?;
        assert_eq!(sent_ns, 7);
    }
    Ok(drain.over())
}

#[test]
fn it_is_over_when_all_have_come() {
    assert!(!take(&[(1, 1, 0)]).unwrap());
    assert!(take(&[(1, 1, 0), (2, 1, 1)]).unwrap());
}

#[test]
fn a_message_that_is_lost_doubled_or_another_one_is_an_error() {
    for messages in [
        [(1, 1, 0), (1, 1, 0)],
        [(1, 1, 0), (3, 1, 2)],
        [(1, 1, 0), (2, 2, 1)],
        [(1, 1, 0), (2, 1, 0)],
    ] {
        assert!(take(&messages).is_err(), "{messages:?}");
    }
}
