use super::*;

#[test]
fn reads_every_kind() {
    for (payload, kind) in [
        (&b""[..], AckKind::Ack),
        (b"+ACK", AckKind::Ack),
        (b"+OK", AckKind::Ack),
        (b"-NAK", AckKind::Nak(0)),
        (b"-NAK {\"delay\": 5}", AckKind::Nak(5)),
        (b"-NAK 2s", AckKind::Nak(2_000_000_000)),
        (b"+WPI", AckKind::Progress),
        (b"+TERM", AckKind::Term(String::new())),
        (b"+TERM broken", AckKind::Term("broken".into())),
    ] {
        assert_eq!(AckKind::parse(payload), Ok(kind));
    }
    assert!(matches!(AckKind::parse(b"+NXT 5"), Ok(AckKind::Next(request)) if request.batch == 5));
    assert!(AckKind::parse(b"+NXT {").is_err());
    assert_eq!(AckKind::parse(b"hello"), Ok(AckKind::Unknown));
}
