use super::*;

#[test]
fn levels_above_ours_and_nonsense_are_not_supported() {
    let header = |value: &str| format!("NATS/1.0\r\nNats-Required-Api-Level: {value}\r\n\r\n").into_bytes();
    assert!(supports_level(b""));
    for (value, supported) in [("0", true), ("5", true), ("6", false), ("x", false), ("", false)] {
        assert_eq!(supports_level(&header(value)), supported, "{value}");
    }
}

#[test]
fn bodies_that_say_nothing() {
    for (body, empty, json) in [
        (&b""[..], true, false),
        (b"{}", true, true),
        (b" { } ", true, true),
        (b"{\"a\":1}", false, true),
        (b"[]", false, true),
        (b"xx", false, false),
    ] {
        assert_eq!((is_empty(body), is_json(body)), (empty, json));
    }
}
