use super::*;

const SECOND: i64 = 1_000_000_000;

#[test]
fn reads_as_go_does() {
    for (text, nanos) in [
        ("1m30s", 90 * SECOND),
        ("1.5s", 1_500_000_000),
        ("-1.5s", -1_500_000_000),
        ("+2h", 7200 * SECOND),
        (".5ms", 500_000),
        ("1.ms", 1_000_000),
        ("0", 0),
        ("-0", 0),
        ("3us", 3_000),
        ("3µs", 3_000),
        ("3μs", 3_000),
        ("0.0000000009s", 0),
        ("2562047h47m16.854775807s", i64::MAX),
    ] {
        assert_eq!(parse(text), Ok(nanos), "{text}");
    }
    for text in ["", "2", "s", "-", "+", "1", ".s", "1.2.3s", "1 s", "1S", "--1s", "1sm"] {
        assert_eq!(parse(text), Err(Invalid::Syntax), "{text}");
    }
    assert_eq!(parse("2562047h47m16.854775808s"), Err(Invalid::TooLong));
    assert_eq!(parse(&format!("{}h", "9".repeat(60))), Err(Invalid::TooLong));
}

#[test]
fn prints_as_go_does() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (351_423, "351.423µs"),
        (100_000_000, "100ms"),
        (10 * SECOND, "10s"),
        (1_500_000_000, "1.5s"),
        (120 * SECOND, "2m0s"),
        (3_661 * SECOND, "1h1m1s"),
        (-90 * SECOND, "-1m30s"),
        (i64::MAX, "2562047h47m16.854775807s"),
    ] {
        assert_eq!(format(nanos), text);
        assert_eq!(parse(text), Ok(nanos), "{text}");
    }
}
