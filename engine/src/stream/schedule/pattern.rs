//! What a schedule says of its times: `@at`, `@every`, or as cron does.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::error::Result;
use crate::json::format_time;
use crate::reject::{self, Rejection};
use crate::stream::asked::Asked;
use crate::stream::cron::Cron;
use crate::types::{NanoTime, SECOND};

/// What a schedule says of its times.
pub(super) enum Pattern {
    /// `@at`
    Once(NanoTime),
    /// `@every`, in nanoseconds
    Every(NanoTime),
    /// Anything else
    Cron(Cron, TimeZone),
}

/// When a schedule is due next.
pub(super) struct Next {
    pub at: NanoTime,
    /// As `Nats-Schedule-Next` has it; `None` if there is no further time.
    pub text: Option<String>,
}

impl Pattern {
    /// What a message's headers say; `None` if it is no schedule.
    pub fn of(asked: &Asked<'_>) -> Result<Option<Self>, Rejection> {
        let zone = asked.schedule_zone.map(find_zone).transpose()?;
        let Some(pattern) = asked.schedule else {
            return Ok(None);
        };
        let pattern = std::str::from_utf8(pattern)
            .ok()
            .and_then(|text| Self::parse(text, zone));
        pattern.map(Some).ok_or(reject::MESSAGE_SCHEDULES_PATTERN_INVALID)
    }

    pub fn parse(text: &str, zone: Option<TimeZone>) -> Option<Self> {
        if let Some(time) = text.strip_prefix("@at ") {
            return match zone {
                None => parse_time(time.as_bytes()).map(Self::Once),
                Some(_) => None,
            };
        }
        if let Some(interval) = text.strip_prefix("@every ") {
            let interval = weir_duration::parse(interval)
                .ok()
                .filter(|interval| *interval >= SECOND)?;
            return zone.is_none().then_some(Self::Every(interval));
        }
        Some(Self::Cron(Cron::parse(text)?, zone.unwrap_or(TimeZone::UTC)))
    }

    /// The first time after `after`. Times before `now` are left out: what was missed is made up for once only.
    pub fn next(&self, after: NanoTime, now: NanoTime) -> Option<Next> {
        match self {
            Self::Once(at) => Some(Next { at: *at, text: None }),
            Self::Every(interval) => {
                let mut at = to_second(after).saturating_add(*interval);
                if at < now {
                    at = to_second(now).saturating_add(*interval);
                }
                Some(Next {
                    at,
                    text: Some(format_time(Some(at))),
                })
            }
            Self::Cron(cron, zone) => {
                let next = |after: NanoTime| {
                    let due = cron.next(Timestamp::from_nanosecond(after.into()).ok()?, zone)?;
                    let at = i64::try_from(due.as_nanosecond()).ok()?;
                    Some((at, due))
                };
                let (mut at, mut due) = next(after)?;
                if at < now {
                    (at, due) = next(to_second(now))?;
                }
                let offset = zone.to_offset(due);
                let text = match offset.is_zero() {
                    true => due.to_string(),
                    false => due.display_with_offset(offset).to_string(),
                };
                Some(Next { at, text: Some(text) })
            }
        }
    }
}

/// A time zone by its name in the IANA database that is built in; nothing is read from the machine, so `Local` is UTC.
fn find_zone(name: &[u8]) -> Result<TimeZone, Rejection> {
    let name = std::str::from_utf8(name).map_err(|_| reject::MESSAGE_SCHEDULES_TIME_ZONE_INVALID)?;
    if name == "UTC" || name == "Local" {
        return Ok(TimeZone::UTC);
    }
    let zone = TimeZoneDatabase::bundled().get(name).ok();
    // Names are found whatever their case; only the right one counts.
    zone.filter(|zone| zone.iana_name() == Some(name))
        .ok_or(reject::MESSAGE_SCHEDULES_TIME_ZONE_INVALID)
}

/// The nearest whole second; from half a second on the next.
fn to_second(time: NanoTime) -> NanoTime {
    time.saturating_add(SECOND / 2)
        .div_euclid(SECOND)
        .saturating_mul(SECOND)
}

/// A time in the one form of RFC 3339 that Go reads.
pub(super) fn parse_time(text: &[u8]) -> Option<NanoTime> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = |text: &[u8], form: &[u8]| {
        text.len() == form.len()
            && text.iter().zip(form).all(|(byte, form)| {
                if *form == b'd' {
                    byte.is_ascii_digit()
                } else {
                    byte == form
                }
            })
    };
    let (date, rest) = text.split_at_checked(FORM.len())?;
    // No leap seconds.
    if !fits(date, FORM) || date[17] > b'5' {
        return None;
    }
    let digits = match rest.first()? {
        b'.' | b',' => rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let (fraction, zone) = match digits {
        0 => (&[][..], rest),
        _ => (&rest[1..=digits.min(9)], &rest[1 + digits..]),
    };
    if zone != b"Z" && !fits(zone, b"+dd:dd") && !fits(zone, b"-dd:dd") {
        return None;
    }
    let dot: &[u8] = if fraction.is_empty() { b"" } else { b"." };
    let text = String::from_utf8([date, dot, fraction, zone].concat()).ok()?;
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}
