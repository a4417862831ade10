use super::*;

#[test]
fn a_stamp_survives_and_a_changed_byte_is_seen() {
    let stamp = Stamp {
        counter: 5,
        sent_ns: 77,
        publisher: 3,
    };
    let mut payload = Payload::new(64);
    let mut body = payload.stamped(stamp).to_vec();
    assert_eq!(payload.check(&body).unwrap(), stamp);
    body[40] ^= 1;
    assert!(payload.check(&body).is_err());
    body[40] ^= 1;
    body.pop();
    assert!(payload.check(&body).is_err());
}
