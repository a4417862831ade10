//! Small rules of Go's JSON that the wire expects of ours.

use serde::{Deserialize, Deserializer};

#[cfg(test)]
mod tests;

/// Go's `omitempty` for numbers.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go's `omitempty` for booleans.
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// Go reads `null` as the empty value.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time as Go's JSON writes it: RFC 3339 in UTC with as many digits as it needs, and year 1 for "none".
pub fn format_time(time: Option<i64>) -> String {
    match time.map(|nanos| jiff::Timestamp::from_nanosecond(i128::from(nanos))) {
        Some(Ok(timestamp)) => timestamp.to_string(),
        _ => "0001-01-01T00:00:00Z".to_owned(),
    }
}

/// Reads what [`format_time`] and the clients write; `None` for Go's zero time.
///
/// # Errors
/// If the text is not RFC 3339, or lies outside of what 64 bits of nanoseconds hold (years 1677 to 2262).
pub fn parse_time(text: &str) -> Result<Option<i64>, String> {
    if text.starts_with("0001-01-01T00:00:00") {
        return Ok(None);
    }
    match text.parse::<jiff::Timestamp>() {
        // Beyond the years 1677 to 2262 it is the first or the last time there is.
        Ok(timestamp) => {
            let nanos = timestamp.as_nanosecond();
            let nearest = if nanos < 0 { i64::MIN } else { i64::MAX };
            Ok(Some(i64::try_from(nanos).unwrap_or(nearest)))
        }
        // Jiff's times end a day before the year 9999 does.
        Err(_) if text.starts_with("9999-12-3") && is_local(text) => Ok(Some(i64::MAX)),
        Err(error) => Err(format!("parsing time {text:?}: {error}")),
    }
}

/// Whether it is a time, with or without a `Z` behind it.
fn is_local(text: &str) -> bool {
    let local = text.strip_suffix('Z').unwrap_or(text);
    local.parse::<jiff::civil::DateTime>().is_ok()
}

/// `Option<NanoTime>` as an RFC 3339 string.
pub(crate) mod rfc3339_option {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_time(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            None => Ok(None),
            Some(text) => super::parse_time(&text).map_err(serde::de::Error::custom),
        }
    }
}

/// A time where Go has a pointer to one: year 1, which elsewhere means "none", is a time like any other, the earliest.
pub(crate) mod rfc3339_pointer {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Stands for the year 1, which 64 bits of nanoseconds do not reach.
    const EARLIEST: i64 = i64::MIN;

    pub fn serialize<S: Serializer>(time: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        super::rfc3339_option::serialize(&time.filter(|&time| time != EARLIEST), serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            None => Ok(None),
            Some(text) => match super::parse_time(&text) {
                Ok(time) => Ok(Some(time.unwrap_or(EARLIEST))),
                Err(error) => Err(serde::de::Error::custom(error)),
            },
        }
    }
}

/// Configurations and snapshots always have a JSON form: their maps have string keys.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> bytes::Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Reads what [`to_json`] wrote.
///
/// # Errors
/// If it is something else.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(json: &[u8]) -> crate::error::Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| crate::error::Error::damaged(format!("stored JSON makes no sense: {error}")))
}
