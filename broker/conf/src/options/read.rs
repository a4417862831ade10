//! From a value in the file to a typed one, or a message that says what is wanted.

use std::time::Duration;

use super::Listen;
use crate::duration;
use crate::error::ConfError;
use crate::file::{Entry, Map, Node, Value};

/// From how many characters on a text may be most of the seed of a key.
const SEED_MIN: usize = 16;

fn wrong<T>(entry: &Entry, wanted: &str) -> Result<T, ConfError> {
    let found = entry.value.value.kind();
    Err(ConfError::at(
        &entry.value.pos,
        format!("{} must be {wanted}, not {found}", entry.key),
    ))
}

fn at<T>(entry: &Entry, result: Result<T, String>) -> Result<T, ConfError> {
    result.map_err(|message| ConfError::at(&entry.value.pos, format!("{}: {message}", entry.key)))
}

pub(super) fn text(entry: &Entry) -> Result<String, ConfError> {
    match &entry.value.value {
        Value::Str(s) => Ok(s.clone()),
        Value::Int(_) | Value::Bool(_) | Value::Float(_) | Value::Date(_) => {
            wrong(entry, "a string (put it in quotes)")
        }
        _ => wrong(entry, "a string"),
    }
}

/// A text that is not what belongs there, for a message: one that may hold a password, a token or the seed of a key is not told.
pub(super) fn told(text: &str) -> String {
    let is_seed =
        || text.len() >= SEED_MIN && text.starts_with(['S', 's']) && text.chars().all(|c| c.is_ascii_alphanumeric());
    match text.contains(['@', '?']) || is_seed() {
        true => "the text there".to_owned(),
        false => format!("{text:?}"),
    }
}

/// A text that may not be empty.
pub(super) fn name(entry: &Entry) -> Result<String, ConfError> {
    let text = text(entry)?;
    if text.is_empty() {
        return Err(ConfError::at(
            &entry.value.pos,
            format!("{} is empty: leave it out or give it a value", entry.key),
        ));
    }
    Ok(text)
}

pub(super) fn boolean(entry: &Entry) -> Result<bool, ConfError> {
    match entry.value.value {
        Value::Bool(b) => Ok(b),
        _ => wrong(entry, "true or false"),
    }
}

pub(super) fn int(entry: &Entry, min: i64, max: i64) -> Result<i64, ConfError> {
    match entry.value.value {
        Value::Int(n) if (min..=max).contains(&n) => Ok(n),
        Value::Int(n) => Err(ConfError::at(
            &entry.value.pos,
            format!("{} is {n}, but must be {min} to {max}", entry.key),
        )),
        _ => wrong(entry, "an integer, as 1048576 or 1mb"),
    }
}

/// A count or a size that -1 and 0 mean "unlimited" for.
pub(super) fn limit(entry: &Entry) -> Result<Option<u64>, ConfError> {
    Ok(u64::try_from(int(entry, -1, i64::MAX)?).ok().filter(|&n| n > 0))
}

/// A Go duration, or a number of seconds.
pub(super) fn time(entry: &Entry) -> Result<Duration, ConfError> {
    match &entry.value.value {
        Value::Str(s) => at(entry, duration::parse(s)),
        Value::Int(n) => at(entry, seconds(*n as f64)),
        Value::Float(f) => at(entry, seconds(*f)),
        _ => wrong(entry, "a duration, as \"10s\" or \"1m30s\""),
    }
}

/// A duration that must be longer than nothing.
pub(super) fn positive_time(entry: &Entry) -> Result<Duration, ConfError> {
    let time = time(entry)?;
    if time.is_zero() {
        return Err(ConfError::at(
            &entry.value.pos,
            format!("{} must be longer than 0", entry.key),
        ));
    }
    Ok(time)
}

/// A bare `1m` is the number 1,000,000 in this language. Taken for seconds it would be eleven days, where a minute was meant.
fn seconds(n: f64) -> Result<Duration, String> {
    if !(0.0..1_000_000.0).contains(&n) {
        return Err(format!(
            "{n} seconds is not from 0 to 999999; put a duration in quotes (\"1m\" is a minute, a bare 1m is the number 1000000)"
        ));
    }
    Ok(Duration::from_secs_f64(n))
}

/// A port as nats-server writes it: -1 is any free one (`Some(0)`), 0 is none.
pub(crate) fn port(n: i64) -> Result<Option<u16>, String> {
    match n {
        -1 => Ok(Some(0)),
        0 => Ok(None),
        _ => u16::try_from(n)
            .map(Some)
            .map_err(|_| format!("{n} is not a port: use 1 to 65535, or -1 for any free one")),
    }
}

pub(super) fn port_of(entry: &Entry) -> Result<Option<u16>, ConfError> {
    at(entry, port(int(entry, i64::MIN, i64::MAX)?))
}

/// `host:port`, `[v6]:port`, or a port alone.
pub(super) fn listen(entry: &Entry) -> Result<(Option<String>, Option<u16>), ConfError> {
    let Value::Str(s) = &entry.value.value else {
        return match entry.value.value {
            Value::Int(_) => Ok((None, port_of(entry)?)),
            _ => wrong(entry, "\"host:port\" or a port"),
        };
    };
    let split = s
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<i64>().ok()?)));
    let Some((host, number)) = split else {
        return Err(ConfError::at(
            &entry.value.pos,
            format!("{}: {s:?} is not host:port", entry.key),
        ));
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err(ConfError::at(
            &entry.value.pos,
            format!("{}: write the IPv6 address in brackets, as [::1]:4222", entry.key),
        ));
    }
    let host = bare.unwrap_or(host);
    Ok(((!host.is_empty()).then(|| host.to_owned()), at(entry, port(number))?))
}

pub(super) fn monitor(entry: &Entry) -> Result<Option<Listen>, ConfError> {
    let (host, port) = listen(entry)?;
    Ok(port.map(|port| Listen {
        host: host.unwrap_or_default(),
        port,
    }))
}

/// A list of strings, or one string.
pub(super) fn texts(entry: &Entry) -> Result<Vec<String>, ConfError> {
    let one = |node: &Node| match &node.value {
        Value::Str(s) => Ok(s.clone()),
        other => Err(ConfError::at(
            &node.pos,
            format!("{} takes strings, not {}", entry.key, other.kind()),
        )),
    };
    match &entry.value.value {
        Value::Array(items) => items.iter().map(one).collect(),
        _ => Ok(vec![one(&entry.value)?]),
    }
}

/// One of the words that `parse` knows.
pub(super) fn word<T>(entry: &Entry, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfError> {
    at(entry, parse(&text(entry)?))
}

pub(super) fn block(entry: &Entry) -> Result<&Map, ConfError> {
    match &entry.value.value {
        Value::Map(map) => Ok(map),
        _ => wrong(entry, "a { block }"),
    }
}

pub(super) fn list(entry: &Entry) -> Result<&[Node], ConfError> {
    match &entry.value.value {
        Value::Array(items) => Ok(items),
        _ => wrong(entry, "a [ list ]"),
    }
}

/// A size as a number, or as a string that ends in K, M, G or T (powers of 1024 there, as in nats-server). -1: found by the server.
pub(super) fn storage(e: &Entry) -> Result<Option<u64>, ConfError> {
    let Value::Str(s) = &e.value.value else {
        let n = int(e, -1, i64::MAX)?;
        return Ok(u64::try_from(n).ok());
    };
    let bad = || {
        ConfError::at(
            &e.value.pos,
            format!("{} sizes defined as strings must end in K, M, G, T", e.key),
        )
    };
    let unit = s
        .chars()
        .last()
        .and_then(|c| "KMGT".find(c.to_ascii_uppercase()))
        .ok_or_else(bad)?;
    let n: u64 = s[..s.len() - 1].parse().map_err(|_| bad())?;
    let bytes = 1024u64
        .checked_pow(u32::try_from(unit + 1).unwrap_or(u32::MAX))
        .and_then(|unit| unit.checked_mul(n));
    match bytes.filter(|&b| i64::try_from(b).is_ok()) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(ConfError::at(&e.value.pos, format!("{} is larger than 63 bits", e.key))),
    }
}

/// nats-server's rule for names that become part of a subject.
pub(crate) fn check_server_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().any(char::is_whitespace) {
        return Err(format!("the server name {name:?} must not be empty or contain blanks"));
    }
    Ok(())
}

/// Whether this is a host, or a host and a port: what clients are told where to connect to.
pub(crate) fn check_advertise(text: &str) -> Result<(), String> {
    // Parts of an IPv6 address do not count.
    let behind = match text.strip_prefix('[') {
        Some(address) => address.split_once(']').map(|(_, behind)| behind),
        None => Some(text.find(':').map_or("", |colon| &text[colon..])),
    };
    let is_port = |port: &str| port.parse::<i64>().is_ok_and(|port| (-1..=65535).contains(&port));
    match behind {
        Some("") => Ok(()),
        Some(behind) if behind.strip_prefix(':').is_some_and(is_port) => Ok(()),
        _ => Err(format!("{text:?} is not host:port")),
    }
}
