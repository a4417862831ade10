//! Durations as Go writes them: `2s`, `1m30s`, `100ms`, `1.5h`. Counted in nanoseconds, as Go does.
//!
//! ```
//! assert_eq!(weir_duration::parse("1m30s"), Ok(90_000_000_000));
//! assert_eq!(weir_duration::format(90_000_000_000), "1m30s");
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

/// Units with their length in nanoseconds. The micro sign and the Greek letter both count.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What is wrong with a text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It isn't numbers with a unit each.
    Syntax,
    /// It is longer than 2^63-1 nanoseconds, 292 years.
    TooLong,
}

/// Reads a duration, in nanoseconds: a sign if it likes, then one or more decimal numbers with a unit each, or `0`. What is
/// finer than a nanosecond is cut off.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<i64, Invalid> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Invalid::Syntax);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, tail) = rest.split_at(number_len.ok_or(Invalid::Syntax)?);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let nanos = known.and_then(|(_, nanos)| scaled(number, *nanos));
        total = total.saturating_add(nanos.ok_or(Invalid::Syntax)?);
        rest = tail;
    }
    match i64::try_from(total) {
        Ok(nanos) => Ok(sign * nanos),
        Err(_) => Err(Invalid::TooLong),
    }
}

/// `number` with an optional fraction, times `unit`.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits = |s: &str| {
        s.bytes()
            .fold(0u128, |n, d| n.saturating_mul(10).saturating_add(u128::from(d - b'0')))
    };
    // Eighteen digits are finer than a nanosecond of any unit, and keep the product within a u128.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = digits(fraction) * unit / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(digits(whole).saturating_mul(unit).saturating_add(part))
}

/// A duration in nanoseconds as Go prints it: `1h2m0s`, `1.5s`, `100ms`, `0s`.
#[must_use]
pub fn format(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}", trimmed(nanos, 1_000, "µs")),
        1_000_000..1_000_000_000 => format!("{sign}{}", trimmed(nanos, 1_000_000, "ms")),
        _ => {
            let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
            let seconds = trimmed(nanos % 60_000_000_000, 1_000_000_000, "s");
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, _) => format!("{sign}{minutes}m{seconds}"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// A value in a unit of so many, with as many digits behind the point as it needs.
fn trimmed(value: u64, unit: u64, name: &str) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    match fraction.trim_end_matches('0') {
        "" => format!("{}{name}", value / unit),
        fraction => format!("{}.{fraction}{name}", value / unit),
    }
}
