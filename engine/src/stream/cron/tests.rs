use super::*;

fn next(pattern: &str, zone: &str, after: &str) -> Option<String> {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    let due = Cron::parse(pattern)?.next(after.parse().unwrap(), &zone)?;
    Some(due.to_string())
}

#[test]
fn finds_the_next_time() {
    for (pattern, after, due) in [
        ("* * * * * *", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"),
        ("* * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ("0 * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("30 59 23 31 12 *", "2026-01-01T00:00:00Z", "2026-12-31T23:59:30Z"),
        ("30 59 23 31 12 *", "2026-12-31T23:59:30Z", "2027-12-31T23:59:30Z"),
        ("0 0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("5/20 * * * * *", "2026-01-01T00:00:26Z", "2026-01-01T00:00:45Z"),
        ("0 1-3,40 5 * * *", "2026-01-01T05:03:00Z", "2026-01-01T05:40:00Z"),
        ("50 59 5 * * *", "2026-01-01T05:59:50Z", "2026-01-02T05:59:50Z"),
        ("@hourly", "2026-01-01T05:03:00Z", "2026-01-01T06:00:00Z"),
        ("@daily", "2026-01-31T05:03:00Z", "2026-02-01T00:00:00Z"),
        ("@weekly", "2026-01-01T05:03:00Z", "2026-01-04T00:00:00Z"),
        ("@monthly", "2026-01-01T05:03:00Z", "2026-02-01T00:00:00Z"),
        ("@yearly", "2026-01-01T05:03:00Z", "2027-01-01T00:00:00Z"),
        ("0 0 0 ? JAN-feb mon", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
        // Both days are named: either will do.
        ("0 0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("0 0 0 13 * 5", "2026-01-10T00:00:00Z", "2026-01-13T00:00:00Z"),
        // A step takes the star's meaning away.
        ("0 0 0 */2 * 1", "2026-01-05T00:00:00Z", "2026-01-07T00:00:00Z"),
    ] {
        assert_eq!(
            next(pattern, "UTC", after).as_deref(),
            Some(due),
            "{pattern} after {after}"
        );
    }
}

#[test]
fn goes_by_the_clock_on_the_wall() {
    let zone = "America/New_York";
    // 2:30 does not exist on March 8, and 1:30 is there twice on November 1.
    let spring = next("0 30 2 * * *", zone, "2026-03-08T00:00:00Z");
    assert_eq!(spring.as_deref(), Some("2026-03-09T06:30:00Z"));
    let autumn = next("0 30 1 * * *", zone, "2026-11-01T00:00:00Z");
    assert_eq!(autumn.as_deref(), Some("2026-11-01T05:30:00Z"));
    let again = next("0 30 1 * * *", zone, "2026-11-01T05:30:00Z");
    assert_eq!(again.as_deref(), Some("2026-11-01T06:30:00Z"));
    let after = next("0 30 1 * * *", zone, "2026-11-01T06:30:00Z");
    assert_eq!(after.as_deref(), Some("2026-11-02T06:30:00Z"));
    let noon = next("0 0 12 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z");
    assert_eq!(noon.as_deref(), Some("2026-07-01T10:00:00Z"));
}

#[test]
fn refuses_what_nats_server_refuses() {
    for pattern in [
        "",
        "* * * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * * 13 *",
        "* * * * * 7",
        "1-2-3 * * * * *",
        "5-1 * * * * *",
        "*/0 * * * * *",
        "*/x * * * * *",
        "1/2/3 * * * * *",
        "a * * * * *",
        "-1 * * * * *",
        "@sometimes",
    ] {
        assert_eq!(Cron::parse(pattern), None, "{pattern}");
    }
    for never in ["0 0 0 31 2 *", ", * * * * *", "* * * , * ,"] {
        assert_eq!(next(never, "Europe/Berlin", "2026-01-01T00:00:00Z"), None, "{never}");
    }
}
