use super::*;

#[test]
fn reads_times_as_go_does() {
    for (text, time) in [
        ("2026-01-01T00:00:00Z", Some(1_767_225_600 * SECOND)),
        ("2026-01-01T01:00:00+01:00", Some(1_767_225_600 * SECOND)),
        ("2026-01-01T00:00:00.5Z", Some(1_767_225_600 * SECOND + SECOND / 2)),
        ("2026-01-01T00:00:00,5Z", Some(1_767_225_600 * SECOND + SECOND / 2)),
        ("2026-01-01t00:00:00Z", None),
        ("2026-01-01 00:00:00Z", None),
        ("2026-01-01T00:00Z", None),
        ("2026-01-01T00:00:60Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T00:00:00.Z", None),
        ("2026-01-01T00:00:00Z[UTC]", None),
        ("", None),
    ] {
        assert_eq!(parse_time(text.as_bytes()), time, "{text}");
    }
}

#[test]
fn intervals_skip_what_was_missed() {
    let pattern = Pattern::parse("@every 90s", None).unwrap();
    let next = |after, now| pattern.next(after, now).unwrap().at;
    let half = SECOND / 2;
    assert_eq!(next(10 * SECOND + half - 1, 10 * SECOND), 100 * SECOND);
    assert_eq!(next(10 * SECOND + half, 10 * SECOND), 101 * SECOND);
    assert_eq!(next(10 * SECOND, 1000 * SECOND), 1090 * SECOND);
    let text = pattern.next(10 * SECOND, 0).unwrap().text;
    assert_eq!(text.as_deref(), Some("1970-01-01T00:01:40Z"));
}

#[test]
fn next_times_are_told_in_their_zone() {
    let told = |zone: &str| {
        let zone = find_zone(zone.as_bytes()).unwrap();
        let pattern = Pattern::parse("@hourly", Some(zone)).unwrap();
        pattern.next(1_767_225_600 * SECOND, 0).unwrap().text.unwrap()
    };
    assert_eq!(told("Europe/Berlin"), "2026-01-01T02:00:00+01:00");
    assert_eq!(told("Europe/London"), "2026-01-01T01:00:00Z");
    assert_eq!(told("Asia/Kolkata"), "2026-01-01T06:00:00+05:30");
    for zone in ["", "europe/berlin", "Europe/Weir", "../UTC", "/etc/localtime"] {
        assert!(find_zone(zone.as_bytes()).is_err(), "{zone}");
    }
}

#[test]
fn patterns_and_zones() {
    let zone = || Some(TimeZone::UTC);
    assert!(Pattern::parse("@every 1s", None).is_some());
    for (pattern, zone) in [
        ("@every 999ms", None),
        ("@every", None),
        ("@every 1s", zone()),
        ("@at 2026-01-01T00:00:00Z", zone()),
        ("@at tomorrow", None),
    ] {
        assert!(Pattern::parse(pattern, zone).is_none(), "{pattern}");
    }
}
