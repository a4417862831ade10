//! Durations of the configuration: as Go writes them, and never negative.

use std::time::Duration;

use weir_duration::Invalid;

/// Reads a duration: one or more decimal numbers, each with a unit, or `0`.
///
/// # Errors
/// A text that says what is wrong: no unit, an unknown unit, a negative value, or more than Go's 2^63-1 nanoseconds (292 years).
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err(format!("the duration {text:?} is negative"));
    }
    match weir_duration::parse(text) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(Invalid::TooLong) => Err(format!("the duration {text:?} is too long: 292 years at most")),
        Err(Invalid::Syntax) => Err(format!(
            "{text:?} is not a duration: write a number with a unit, as \"100ms\", \"2s\" or \"1m30s\""
        )),
    }
}
