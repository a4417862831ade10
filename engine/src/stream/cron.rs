//! Cron patterns of six fields, `second minute hour day-of-month month day-of-week`, as nats-server reads them.
//!
//! A pattern is due at each whole second at which the clock on the wall of its time zone shows what the fields say. So an
//! hour that a change of the clock leaves out is never due, and one that it repeats is due twice.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How many years ahead a pattern has to be due for the first time.
const YEARS: i16 = 5;

/// The names of the months, from 1 on, and of the days of the week, from 0 on.
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What one field allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Field {
    /// A bit for each number.
    bits: u64,
    /// Whether it says `*` or `?`: then days have to suit both of their fields instead of either.
    any: bool,
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    /// Reads a pattern; also the ones that have a name, such as `@hourly`.
    pub fn parse(pattern: &str) -> Option<Self> {
        let pattern = match pattern {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = pattern.split_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = fields[..] else {
            return None;
        };
        Some(Self {
            second: Field::parse(second, 0, 59, &[])?,
            minute: Field::parse(minute, 0, 59, &[])?,
            hour: Field::parse(hour, 0, 23, &[])?,
            day: Field::parse(day, 1, 31, &[])?,
            month: Field::parse(month, 1, 12, &MONTHS)?,
            weekday: Field::parse(weekday, 0, 6, &DAYS)?,
        })
    }

    /// The first time after `after` at which it is due; `None` if that is years away.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut at = Timestamp::from_second(after.as_nanosecond().div_euclid(1_000_000_000) as i64 + 1).ok()?;
        let last_year = zone.to_datetime(at).year() + YEARS;
        // Between two changes of the zone's clock it runs like any other.
        loop {
            let offset = zone.to_offset(at);
            let change = zone
                .following(at)
                .map(|change| change.timestamp())
                .find(|change| *change > at);
            let from = offset.to_datetime(at);
            if from.year() > last_year {
                return None;
            }
            let until = change.map(|change| offset.to_datetime(change));
            if let Some(due) = self.next_local(from, last_year, until) {
                return offset.to_timestamp(due).ok();
            }
            at = change?;
        }
    }

    /// The first date and time from `from` on, before `until`, that suits.
    fn next_local(&self, from: DateTime, last_year: i16, until: Option<DateTime>) -> Option<DateTime> {
        let mut date = from.date();
        let mut time = from.time();
        while date.year() <= last_year && until.is_none_or(|until| date <= until.date()) {
            if !self.month.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                time = Time::midnight();
                continue;
            }
            if self.suits_day(date)
                && let Some(time) = self.next_time(time)
            {
                let due = date.to_datetime(time);
                return until.is_none_or(|until| due < until).then_some(due);
            }
            date = date.checked_add(1.day()).ok()?;
            time = Time::midnight();
        }
        None
    }

    fn suits_day(&self, date: Date) -> bool {
        let day = self.day.has(date.day());
        let weekday = self.weekday.has(match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        });
        match self.day.any || self.weekday.any {
            true => day && weekday,
            false => day || weekday,
        }
    }

    /// The first time of a day, from `from` on.
    fn next_time(&self, from: Time) -> Option<Time> {
        let hour = self.hour.from(from.hour())?;
        let (minute, second) = match hour == from.hour() {
            true => (from.minute(), from.second()),
            false => (0, 0),
        };
        let Some(minute_found) = self.minute.from(minute) else {
            return self.next_time(Time::new(hour.checked_add(1)?, 0, 0, 0).ok()?);
        };
        let second = if minute_found == minute { second } else { 0 };
        match self.second.from(second) {
            Some(second) => Time::new(hour, minute_found, second, 0).ok(),
            None => match Time::new(hour, minute_found + 1, 0, 0) {
                Ok(next) => self.next_time(next),
                Err(_) => self.next_time(Time::new(hour + 1, 0, 0, 0).ok()?),
            },
        }
    }
}

impl Field {
    /// Reads a list of ranges, separated by commas.
    fn parse(text: &str, min: u64, max: u64, names: &[&str]) -> Option<Self> {
        let mut field = Self::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (bounds, step) = match range.split_once('/') {
                Some((bounds, step)) => (bounds, Some(number(step)?)),
                None => (range, None),
            };
            let mut ends = bounds.split('-');
            let first = ends.next()?;
            let second = ends.next();
            let any = first == "*" || first == "?";
            let (low, mut high) = if any {
                (min, max)
            } else {
                let low = number_or_name(first, min, names)?;
                if ends.next().is_some() {
                    return None;
                }
                match second {
                    Some(second) => (low, number_or_name(second, min, names)?),
                    None => (low, low),
                }
            };
            // `N/step` goes from N on.
            if step.is_some() && second.is_none() {
                high = max;
            }
            let step = step.unwrap_or(1);
            if low < min || high > max || low > high || step == 0 {
                return None;
            }
            let mut at = low;
            while at <= high {
                field.bits |= 1 << at;
                at = at.saturating_add(step);
            }
            field.any |= any && step == 1;
        }
        Some(field)
    }

    fn has(self, number: i8) -> bool {
        self.bits & 1 << number != 0
    }

    /// The smallest number allowed from `from` on.
    fn from(self, from: i8) -> Option<i8> {
        let left = self.bits & u64::MAX << from;
        (left != 0).then(|| left.trailing_zeros() as i8)
    }
}

/// A number that is not negative; a sign is allowed, as everywhere in Go.
fn number(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}

fn number_or_name(text: &str, first: u64, names: &[&str]) -> Option<u64> {
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match named {
        Some(at) => Some(first + at as u64),
        None => number(text),
    }
}

#[cfg(test)]
mod tests;
