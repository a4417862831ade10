//! From where, and when, a user may connect.

use std::net::IpAddr;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::issues::Issues;
use crate::permissions::UserLimits;

/// Whether a user may be connected now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It may, and for so long; `None`: the time of the day is no matter.
    Granted(Option<Duration>),
    /// It may not.
    Refused,
}

fn time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut next = |digits: usize, max: i8| {
        let part = parts.next()?;
        let fits = part.len() <= 2 && part.len() >= digits && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i8>().ok().filter(|&number| fits && number <= max)
    };
    // Go takes an hour of one digit.
    let (hour, minute, second) = (next(1, 23)?, next(2, 59)?, next(2, 59)?);
    match parts.next() {
        None => Time::new(hour, minute, second, 0).ok(),
        Some(_) => None,
    }
}

fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "Local" => Some(TimeZone::system()),
        "UTC" => Some(TimeZone::UTC),
        name => TimeZone::get(name).ok(),
    }
}

/// A network: an address, and how many of its bits count.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    (bits <= max).then_some((address, bits))
}

pub(crate) fn check(limits: &UserLimits, issues: &mut Issues) {
    for cidr in limits.src.iter().filter(|cidr| network(cidr).is_none()) {
        issues.error(format!("invalid cidr {cidr:?} in user src limits"));
    }
    for range in &limits.times {
        for (which, text) in [("start", &range.start), ("end", &range.end)] {
            if text.is_empty() {
                issues.error(format!("time ranges {which} must contain a {which}"));
            } else if time(text).is_none() {
                issues.error(format!("{which} in time range is invalid {text:?}"));
            }
        }
    }
    if !limits.locale.is_empty() && zone(&limits.locale).is_none() {
        issues.error(format!(
            "could not parse iana time zone by name: unknown time zone {}",
            limits.locale
        ));
    }
}

/// Whether these networks have the address; without any, all have.
#[must_use]
pub fn contains(networks: &[String], address: IpAddr) -> bool {
    let within = |network: (IpAddr, u8)| match (network, address.to_canonical()) {
        ((IpAddr::V4(of), bits), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(of) & mask == u32::from(address) & mask
        }
        ((IpAddr::V6(of), bits), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(of) & mask == u128::from(address) & mask
        }
        _ => false,
    };
    networks.is_empty() || networks.iter().filter_map(|text| network(text)).any(within)
}

/// Whether a user with these limits may be connected at this time.
#[must_use]
pub fn presence(limits: &UserLimits, now: Timestamp) -> Presence {
    if limits.times.is_empty() {
        return Presence::Granted(None);
    }
    let Some(zone) = zone(&limits.locale) else {
        return Presence::Refused;
    };
    let now = now.to_zoned(zone);
    let mut longest = None;
    for range in &limits.times {
        let (Some(start), Some(end)) = (time(&range.start), time(&range.end)) else {
            return Presence::Refused;
        };
        let at = |time: Time| now.date().to_datetime(time).to_zoned(now.time_zone().clone()).ok();
        let (Some(start), Some(end)) = (at(start), at(end)) else {
            return Presence::Refused;
        };
        let until = match start > end {
            _ if start < now && now < end => Some(end),
            // Past midnight.
            true if now < end => Some(end),
            true if start < now => end.checked_add(1.day()).ok(),
            _ => None,
        };
        let left = until.and_then(|until| Duration::try_from(until.timestamp().duration_since(now.timestamp())).ok());
        longest = longest.max(left);
    }
    longest.map_or(Presence::Refused, |left| Presence::Granted(Some(left)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::TimeRange;

    fn limits(ranges: &[(&str, &str)], locale: &str) -> UserLimits {
        let range = |(start, end): &(&str, &str)| TimeRange {
            start: (*start).to_owned(),
            end: (*end).to_owned(),
        };
        UserLimits {
            times: ranges.iter().map(range).collect(),
            locale: locale.to_owned(),
            ..UserLimits::default()
        }
    }

    fn at(ranges: &[(&str, &str)], locale: &str, now: &str) -> Presence {
        presence(&limits(ranges, locale), now.parse().expect("a time"))
    }

    fn hours(hours: u64) -> Presence {
        Presence::Granted(Some(Duration::from_secs(hours * 3600)))
    }

    #[test]
    fn a_range_of_the_day() {
        let day = &[("08:00:00", "17:00:00")];
        assert_eq!(at(day, "UTC", "2026-11-28T09:00:00Z"), hours(8));
        assert_eq!(at(day, "UTC", "2026-11-28T17:00:00Z"), Presence::Refused);
        assert_eq!(at(day, "UTC", "2026-11-28T07:00:00Z"), Presence::Refused);
        assert_eq!(
            at(day, "Europe/Berlin", "2026-11-28T07:30:00Z"),
            Presence::Granted(Some(Duration::from_secs(30600)))
        );
        assert_eq!(at(day, "Mars/Olympus", "2026-11-28T09:00:00Z"), Presence::Refused);
        assert_eq!(at(&[], "", "2026-11-28T09:00:00Z"), Presence::Granted(None));
    }

    #[test]
    fn a_range_past_midnight_and_the_longest_of_several() {
        let night = &[("22:00:00", "06:00:00")];
        assert_eq!(at(night, "UTC", "2026-11-28T23:00:00Z"), hours(7));
        assert_eq!(at(night, "UTC", "2026-11-28T05:00:00Z"), hours(1));
        assert_eq!(at(night, "UTC", "2026-11-28T12:00:00Z"), Presence::Refused);
        let two = &[("08:00:00", "10:00:00"), ("09:00:00", "12:00:00")];
        assert_eq!(
            at(two, "UTC", "2026-11-28T09:30:00Z"),
            Presence::Granted(Some(Duration::from_secs(9000)))
        );
    }

    #[test]
    fn networks_have_addresses() {
        let list = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
        let has = |networks: &[&str], address: &str| contains(&list(networks), address.parse().expect("an address"));
        assert!(has(&[], "1.2.3.4"));
        assert!(has(&["10.0.0.0/8", "127.0.0.1/32"], "127.0.0.1"));
        assert!(!has(&["10.0.0.0/8"], "11.0.0.1"));
        assert!(has(&["0.0.0.0/0"], "11.0.0.1") && !has(&["0.0.0.0/0"], "::1"));
        assert!(has(&["::/0"], "::1") && has(&["fe80::/10"], "fe80::1") && !has(&["fe80::/10"], "::1"));
        assert!(has(&["10.0.0.0/8"], "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_time_or_network_is_said() {
        let mut issues = Issues::default();
        let wrong = UserLimits {
            src: vec!["10.0.0.0/33".to_owned(), "10.0.0.0".to_owned()],
            ..limits(&[("24:00:00", ""), ("1:02:03", "08:00:00")], "Nowhere")
        };
        check(&wrong, &mut issues);
        assert_eq!(issues.errors.len(), 5, "{issues:?}");
    }
}
