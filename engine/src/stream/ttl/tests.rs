use super::*;

#[test]
fn reads_what_nats_server_reads() {
    for (text, life) in [
        ("never", Life::Never),
        ("NEVER", Life::Never),
        ("1s", Life::Seconds(1)),
        ("1h1m1s", Life::Seconds(3661)),
        ("1.9s", Life::Seconds(1)),
        ("+2s", Life::Seconds(2)),
        ("5", Life::Seconds(5)),
        ("00", Life::Limits),
        ("007", Life::Seconds(7)),
        ("99999999999999999999", Life::Seconds(i64::MAX as u64)),
    ] {
        assert_eq!(parse(text.as_bytes()), Ok(life), "{text}");
    }
    for text in ["0", "999ms", "-1s", "-1", "+5", "1d", "x", "1 s", "\u{e9}"] {
        assert_eq!(parse(text.as_bytes()), Err(reject::MESSAGE_TTL_INVALID), "{text}");
    }
}

#[test]
fn ends() {
    assert_eq!(Life::Seconds(2).end(5), Some(2_000_000_005));
    assert_eq!(Life::Seconds(u64::MAX).end(5), Some(i64::MAX));
    assert_eq!((Life::Never.end(5), Life::Limits.end(5)), (None, None));
}
