//! Durations as Go writes them: `2s`, `1m30s`, `100ms`, `1.5h`.

use std::time::Duration;

/// Units with their length in nanoseconds; the longer of two that begin alike comes first.
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

/// Reads a duration: one or more decimal numbers, each with a unit, or `0`.
///
/// # Errors
/// A text that says what is wrong: no unit, an unknown unit, a negative value, or more than Go's 2^63-1 nanoseconds (292 years).
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write a number with a unit, as \"100ms\", \"2s\" or \"1m30s\"");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(format!("the duration {text:?} is negative"));
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let &(_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        total = total.saturating_add(scaled(number, nanos).ok_or_else(bad)?);
        rest = tail;
    }
    let nanos = u64::try_from(total).ok().filter(|n| i64::try_from(*n).is_ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("the duration {text:?} is too long: 292 years at most"))
}

/// `number` with an optional fraction, times `unit`; what is finer than a nanosecond is cut off.
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
