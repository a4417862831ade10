use super::*;

#[test]
fn numbers_are_written_like_the_formatter_does() {
    for n in [0, 1, 9, 10, 128, 1_000_000, u64::MAX] {
        let mut out = Vec::new();
        number(&mut out, n);
        assert_eq!(out, n.to_string().as_bytes());
    }
}

#[test]
fn a_publish_has_its_reply_only_when_given() {
    let mut out = Vec::new();
    publish(&mut out, b"a", b"", b"xyz");
    publish(&mut out, b"a", b"r", b"");
    assert_eq!(out, b"PUB a 3\r\nxyz\r\nPUB a r 0\r\n\r\n");
}

#[test]
fn a_header_is_counted_by_itself_and_with_the_body() {
    let mut out = Vec::new();
    publish_headed(&mut out, b"a", b"r", b"NATS/1.0\r\n\r\n", b"xyz");
    assert_eq!(out, b"HPUB a r 12 15\r\nNATS/1.0\r\n\r\nxyz\r\n");
}
