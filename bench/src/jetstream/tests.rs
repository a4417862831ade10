use super::*;

fn ack(body: &[u8]) -> Result<u64> {
    ack_seq(&Msg {
        subject: b"i",
        sid: 1,
        reply: b"",
        header: b"",
        payload: body,
    })
}

#[test]
fn acks_are_read_and_refusals_are_errors() {
    assert_eq!(ack(br#"{"stream":"S", "seq":42}"#).unwrap(), 42);
    assert_eq!(ack(br#"{"stream":"S","seq": 7,"domain":"x"}"#).unwrap(), 7);
    assert!(ack(br#"{"error":{"code":400},"stream":"S","seq":0}"#).is_err());
    assert!(ack(br#"{"stream":"S","seq":3,"duplicate":true}"#).is_err());
    assert!(ack(br#"{"stream":"S","seq":0}"#).is_err());
    assert!(ack(b"").is_err());
}

#[test]
fn both_forms_of_the_ack_subject_are_read() {
    let want = Delivery {
        count: 1,
        stream_seq: 20,
        consumer_seq: 30,
        pending: 5,
    };
    assert_eq!(delivery(b"$JS.ACK.S.C.1.20.30.1700.5"), Some(want));
    assert_eq!(delivery(b"$JS.ACK._.hash.S.C.1.20.30.1700.5"), Some(want));
    assert_eq!(delivery(b"$JS.ACK._.hash.S.C.1.20.30.1700.5.rnd"), Some(want));
    assert_eq!(delivery(b"$JS.ACK.S.C.1.20"), None);
    assert_eq!(delivery(b"$JS.ACK.S.C.1.20.30.1700.x"), None);
    assert_eq!(delivery(b"_INBOX.x"), None);
}
