use super::*;

#[test]
fn times_round_trip() {
    for nanos in [0, 1, 1_700_000_000_123_456_789, 1_700_000_000_000_000_000, -5] {
        assert_eq!(parse_time(&format_time(Some(nanos))), Ok(Some(nanos)));
    }
    assert_eq!(format_time(Some(1_500_000_000)), "1970-01-01T00:00:01.5Z");
    assert_eq!(parse_time(&format_time(None)), Ok(None));
    assert!(parse_time("yesterday").is_err());
    for (text, time) in [
        ("1600-01-01T00:00:00Z", i64::MIN),
        ("2300-01-01T00:00:00+01:00", i64::MAX),
        ("9999-12-31T23:59:59Z", i64::MAX),
    ] {
        assert_eq!(parse_time(text), Ok(Some(time)), "{text}");
    }
    assert!(parse_time("9999-12-32T00:00:00Z").is_err());
}
