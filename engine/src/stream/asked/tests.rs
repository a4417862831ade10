use super::*;

#[test]
fn first_values_count_and_empty_ones_do_not() {
    let asked = Asked::read(b"NATS/1.0\r\nNats-Msg-Id: a\r\nNats-Msg-Id: b\r\nNats-Rollup:\r\nnats-ttl: 1\r\n\r\n");
    assert_eq!(asked.id, Some(&b"a"[..]));
    assert_eq!(asked.rollup, None);
    assert_eq!(asked.ttl, None);
}

#[test]
fn numbers_are_digits() {
    assert_eq!(number(b"12"), Some(12));
    for other in [&b""[..], b"-1", b"+1", b"1x", b"99999999999999999999999"] {
        assert_eq!(number(other), None);
    }
}
