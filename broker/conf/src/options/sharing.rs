//! `exports` and `imports` of an account, as the file has them; what does not go together only all accounts can tell.

use super::read;
use super::schema::{self, Key, Kind, key};
use crate::duration;
use crate::error::ConfError;
use crate::file::{Entry, Map, Node, Value};
use crate::tenancy::{
    Access, Latency, ResponseType, Sampling, ServiceExport, ServiceImport, StreamExport, StreamImport, Tenancy,
};

/// An entry of `exports`
const EXPORT: &[Key] = &[
    key("stream", Kind::Own),
    key("service", Kind::Own),
    key("response response_type", Kind::Own),
    key(
        "threshold response_threshold response_max_time response_time",
        Kind::Own,
    ),
    key("accounts", Kind::List),
    key("latency", Kind::Own),
    key("account_token_position", Kind::Int),
    key("allow_trace", Kind::Bool),
];

/// An entry of `imports`
const IMPORT: &[Key] = &[
    key("stream", Kind::Own),
    key("service", Kind::Own),
    key("prefix", Kind::Text),
    key("to", Kind::Text),
    key("share", Kind::Bool),
    key("allow_trace", Kind::Bool),
];

/// `stream { }` and `service { }` of an import
const ORIGIN: &[Key] = &[key("account", Kind::Text), key("subject", Kind::Text)];

fn items<'e>(entry: &'e Entry, what: &str) -> Result<Vec<&'e Map>, ConfError> {
    let Value::Array(items) = &entry.value.value else {
        let message = format!("{what}s should be an array, got {}", entry.value.value.go_kind());
        return Err(ConfError::at(&entry.value.pos, message));
    };
    let map = |node: &'e Node| match &node.value {
        Value::Map(map) => Ok(map),
        other => {
            let message = format!("{what} Items should be a map with type entry, got {}", other.go_kind());
            Err(ConfError::at(&node.pos, message))
        }
    };
    items.iter().map(map).collect()
}

fn find<'m>(map: &'m Map, names: &[&str]) -> Option<&'m Entry> {
    let is_named = |entry: &&Entry| names.iter().any(|name| name.eq_ignore_ascii_case(&entry.key));
    map.entries.iter().find(is_named)
}

/// A key that stands under two of its names.
fn twice<'m>(map: &'m Map, names: &[&str]) -> Option<&'m Entry> {
    let is_named = |entry: &&Entry| names.iter().any(|name| name.eq_ignore_ascii_case(&entry.key));
    map.entries.iter().filter(is_named).nth(1)
}

fn named(entry: &Entry, what: &str) -> Result<String, ConfError> {
    match &entry.value.value {
        Value::Str(text) => Ok(text.clone()),
        other => {
            let message = format!("Expected {what} name to be string, got {}", other.go_kind());
            Err(ConfError::at(&entry.value.pos, message))
        }
    }
}

const RESPONSE: &[&str] = &["response", "response_type"];
const THRESHOLD: &[&str] = &["threshold", "response_threshold", "response_max_time", "response_time"];

/// `exports [ … ]`
pub(super) fn exports(tenancy: &mut Tenancy, entry: &Entry) -> Result<(), ConfError> {
    for map in items(entry, "Export")? {
        schema::check(map, EXPORT)?;
        let (stream, service) = (find(map, &["stream"]), find(map, &["service"]));
        let response = find(map, RESPONSE);
        if let Some(again) = twice(map, RESPONSE) {
            return Err(ConfError::at(&again.pos, "Duplicate response type definition"));
        }
        let threshold = find(map, THRESHOLD);
        if let Some(again) = twice(map, THRESHOLD) {
            return Err(ConfError::at(&again.pos, "Duplicate response threshold detected"));
        }
        let response = response.map(response_type).transpose()?;
        let threshold = threshold.map(response_threshold).transpose()?;
        let latency = find(map, &["latency"]).map(latency).transpose()?;
        let access = access(map)?;
        match (stream, service) {
            (Some(stream), Some(service)) => {
                let message = format!("Detected service {} but already saw a stream", quoted(service));
                let first = stream.pos.line < service.pos.line
                    || (stream.pos.line == service.pos.line && stream.pos.column < service.pos.column);
                return match first {
                    true => Err(ConfError::at(&service.pos, message)),
                    false => {
                        let message = format!("Detected stream {} but already saw a service", quoted(stream));
                        Err(ConfError::at(&stream.pos, message))
                    }
                };
            }
            (Some(stream), None) => {
                let alone = |names: &[&str], what: &str| match find(map, names) {
                    Some(entry) => {
                        let message = format!("Detected {what} directive on non-service");
                        Err(ConfError::at(&entry.pos, message))
                    }
                    None => Ok(()),
                };
                alone(RESPONSE, "response")?;
                alone(THRESHOLD, "response")?;
                alone(&["latency"], "latency")?;
                alone(&["allow_trace"], "allow_trace")?;
                tenancy.stream_exports.push(StreamExport {
                    subject: named(stream, "stream")?,
                    access,
                });
            }
            (None, Some(service)) => tenancy.service_exports.push(ServiceExport {
                subject: named(service, "service")?,
                access,
                response: response.unwrap_or_default(),
                threshold: threshold
                    .filter(|time| !time.is_zero())
                    .unwrap_or(crate::tenancy::THRESHOLD),
                latency,
                allow_trace: find(map, &["allow_trace"]).map(read::boolean).transpose()? == Some(true),
            }),
            // As nats-server has it: nothing is exported.
            (None, None) => {}
        }
    }
    Ok(())
}

fn quoted(entry: &Entry) -> String {
    match &entry.value.value {
        Value::Str(text) => format!("{text:?}"),
        other => other.go_kind().to_owned(),
    }
}

fn access(map: &Map) -> Result<Access, ConfError> {
    if let Some(entry) = find(map, &["account_token_position"]) {
        let position = read::int(entry, 0, i64::MAX)?;
        if position > 0 {
            return Ok(Access::Token(usize::try_from(position).unwrap_or(usize::MAX)));
        }
    }
    let accounts = find(map, &["accounts"]).map(read::texts).transpose()?;
    Ok(match accounts {
        Some(names) if !names.is_empty() => Access::Accounts(names),
        _ => Access::Public,
    })
}

fn response_type(entry: &Entry) -> Result<ResponseType, ConfError> {
    let Value::Str(text) = &entry.value.value else {
        let message = format!(
            "Expected response type to be string, got {}",
            entry.value.value.go_kind()
        );
        return Err(ConfError::at(&entry.value.pos, message));
    };
    match text.to_ascii_lowercase().as_str() {
        "single" | "singleton" => Ok(ResponseType::Singleton),
        "stream" => Ok(ResponseType::Stream),
        "chunk" | "chunked" => Ok(ResponseType::Chunked),
        _ => Err(ConfError::at(
            &entry.value.pos,
            format!("Unknown response type: {text:?}"),
        )),
    }
}

fn response_threshold(entry: &Entry) -> Result<std::time::Duration, ConfError> {
    let fail = |got: String| {
        let message = format!("Expected response threshold to be a parseable time duration, got {got}");
        Err(ConfError::at(&entry.value.pos, message))
    };
    match &entry.value.value {
        Value::Str(text) => duration::parse(text).or_else(|_| fail(format!("{text:?}"))),
        other => fail(other.go_kind().to_owned()),
    }
}

fn latency(entry: &Entry) -> Result<Latency, ConfError> {
    let at = |pos, message: String| ConfError::at(pos, message);
    let map = match &entry.value.value {
        Value::Str(subject) => {
            return Ok(Latency {
                sampling: Sampling::Percent(100),
                subject: subject.clone(),
            });
        }
        Value::Map(map) => map,
        other => {
            let message = format!(
                "Expected latency entry to be a map/struct or string, got {}",
                other.go_kind()
            );
            return Err(at(&entry.value.pos, message));
        }
    };
    let mut sampling = Sampling::Percent(100);
    if let Some(found) = map.get("sampling") {
        let pos = &found.value.pos;
        let percent = match &found.value.value {
            Value::Int(percent) => Some(*percent),
            Value::Str(text) if text.trim().eq_ignore_ascii_case("headers") => None,
            Value::Str(text) => {
                let number = text.strip_suffix('%').unwrap_or(text);
                let parsed = number.parse::<i64>();
                Some(parsed.map_err(|_| {
                    at(
                        pos,
                        format!("Failed to parse latency sample: strconv.Atoi: parsing {number:?}: invalid syntax"),
                    )
                })?)
            }
            other => {
                let message = format!(
                    "Expected latency sample to be a string or map/struct, got {}",
                    other.go_kind()
                );
                return Err(at(pos, message));
            }
        };
        sampling = match percent {
            None => Sampling::Headers,
            Some(percent @ 1..=100) => Sampling::Percent(percent.unsigned_abs() as u8),
            Some(_) => return Err(at(pos, "bad sampling percentage, should be 1-100".to_owned())),
        };
    }
    let Some(subject) = map.get("subject") else {
        return Err(at(&entry.value.pos, "Latency subject required, but missing".to_owned()));
    };
    let Value::Str(subject) = &subject.value.value else {
        let message = "Expected latency subject to be a string, got string".to_owned();
        return Err(at(&subject.value.pos, message));
    };
    Ok(Latency {
        sampling,
        subject: subject.clone(),
    })
}

/// The account and the subject of an import.
fn origin(entry: &Entry, what: &str) -> Result<(String, String), ConfError> {
    let Value::Map(map) = &entry.value.value else {
        let message = format!(
            "{what} entry should be an account map, got {}",
            entry.value.value.go_kind()
        );
        return Err(ConfError::at(&entry.value.pos, message));
    };
    schema::check(map, ORIGIN)?;
    let text = |name: &str| find(map, &[name]).map(read::text).transpose();
    let (account, subject) = (
        text("account")?.unwrap_or_default(),
        text("subject")?.unwrap_or_default(),
    );
    if account.is_empty() || subject.is_empty() {
        return Err(ConfError::at(&entry.value.pos, "Expect an account name and a subject"));
    }
    Ok((account, subject))
}

/// `imports [ … ]`
pub(super) fn imports(tenancy: &mut Tenancy, entry: &Entry) -> Result<(), ConfError> {
    for map in items(entry, "Import")? {
        schema::check(map, IMPORT)?;
        let text = |name: &str| find(map, &[name]).map(read::text).transpose();
        let (prefix, to) = (text("prefix")?.unwrap_or_default(), text("to")?.unwrap_or_default());
        let share = find(map, &["share"]).map(read::boolean).transpose()? == Some(true);
        let trace = find(map, &["allow_trace"]);
        let allow_trace = trace.map(read::boolean).transpose()? == Some(true);
        match (find(map, &["stream"]), find(map, &["service"])) {
            (Some(_), Some(service)) => {
                return Err(ConfError::at(&service.pos, "Detected service but already saw a stream"));
            }
            (Some(stream), None) => {
                let (account, subject) = origin(stream, "Stream")?;
                if !prefix.is_empty() && !to.is_empty() {
                    let message = "Stream import can not have a 'prefix' and a 'to' property";
                    return Err(ConfError::at(&stream.pos, message));
                }
                tenancy.stream_imports.push(StreamImport {
                    account,
                    subject,
                    prefix,
                    to,
                    allow_trace,
                    activated: false,
                });
            }
            (None, Some(service)) => {
                if let Some(trace) = trace {
                    let message = "Detected allow_trace directive on a non-stream";
                    return Err(ConfError::at(&trace.pos, message));
                }
                let (account, subject) = origin(service, "Service")?;
                let local = if to.is_empty() { subject.clone() } else { to };
                let same = |known: &&ServiceImport| known.account == account && known.to == local;
                if let Some(known) = tenancy.service_imports.iter().find(same) {
                    let message = format!(
                        "Duplicate service import subject {local:?}, previously used in import for account {:?}, subject {:?}",
                        known.account, known.subject
                    );
                    return Err(ConfError::at(&service.pos, message));
                }
                tenancy.service_imports.push(ServiceImport {
                    account,
                    subject,
                    to: local,
                    share,
                    activated: false,
                });
            }
            (None, None) => {}
        }
    }
    Ok(())
}
