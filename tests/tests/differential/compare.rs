//! What two servers answered, without what may differ: times, ids, names and versions of servers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::operation::shown;
use super::wire::Message;

/// What stands for something that is there and is not compared.
const MASK: &str = "<any>";
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// One place where answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as `config.max_age`; numbers of list elements are left out.
    pub path: String,
    /// What the genuine server says there; `None` if it says nothing.
    pub theirs: Option<String>,
    pub ours: Option<String>,
}

/// The differences between two answers, each a list of messages.
pub fn compare(theirs: &[Message], ours: &[Message]) -> Vec<Difference> {
    let mut found = Vec::new();
    let (theirs, ours): (Vec<Value>, Vec<Value>) =
        (theirs.iter().map(plain).collect(), ours.iter().map(plain).collect());
    if theirs.len() != ours.len() {
        let say = |messages: &[Value]| {
            let last = messages.last().map(ToString::to_string).unwrap_or_default();
            Some(format!(
                "{} messages, the last: {}",
                messages.len(),
                shown(last.as_bytes())
            ))
        };
        found.push(Difference {
            path: "messages".to_owned(),
            theirs: say(&theirs),
            ours: say(&ours),
        });
        return found;
    }
    for (theirs, ours) in theirs.iter().zip(&ours) {
        walk("", Some(theirs), Some(ours), &mut found);
    }
    found
}

fn walk(path: &str, theirs: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    match (theirs, ours) {
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            let mut keys: Vec<&String> = theirs.keys().chain(ours.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let inside = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(&inside, theirs.get(key), ours.get(key), found);
            }
        }
        (Some(Value::Array(theirs)), Some(Value::Array(ours))) if theirs.len() == ours.len() => {
            for (theirs, ours) in theirs.iter().zip(ours) {
                walk(path, Some(theirs), Some(ours), found);
            }
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => found.push(Difference {
            path: path.to_owned(),
            theirs: theirs.map(ToString::to_string),
            ours: ours.map(ToString::to_string),
        }),
    }
}

/// A message as one JSON value.
fn plain(message: &Message) -> Value {
    let mut value = serde_json::Map::new();
    value.insert("subject".into(), message.subject.clone().into());
    value.insert("reply".into(), plain_reply(&message.reply).into());
    let lines: Vec<Value> = String::from_utf8_lossy(&message.headers)
        .split("\r\n")
        .map(|line| match line.split_once(": ") {
            Some((name @ ("Nats-Time-Stamp" | "Nats-Pin-Id" | "Nats-Stream-Identity"), _)) => {
                format!("{name}: {MASK}").into()
            }
            Some(("Nats-Subject", subject)) => format!("Nats-Subject: {}", plain_reply(subject)).into(),
            _ => line.into(),
        })
        .collect();
    value.insert("headers".into(), lines.into());
    let body = match serde_json::from_slice::<Value>(&message.payload) {
        Ok(mut json) if json.is_object() => {
            mask(&mut json);
            json
        }
        _ => match std::str::from_utf8(&message.payload) {
            Ok(text) => text.into(),
            Err(_) => STANDARD.encode(&message.payload).into(),
        },
    };
    value.insert("body".into(), body);
    Value::Object(value)
}

/// The reply subject of a delivery without its time; others as they are.
fn plain_reply(reply: &str) -> String {
    let mut tokens: Vec<&str> = reply.split('.').collect();
    if reply.starts_with("$JS.ACK.") && tokens.len() == 9 {
        tokens[7] = MASK;
    }
    tokens.join(".")
}

/// Whether it is a digest and nothing else.
fn is_digest(value: &Value) -> bool {
    let digest = value["digest"].as_str();
    value.as_object().is_some_and(|fields| fields.len() == 1) && digest.is_some_and(|digest| digest.len() == 16)
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Ours tells a digest of streams and consumers besides: a difference that ends what has come about of a stream would end each.
            fields.retain(|key, value| key != "weir" || !is_digest(value));
            for (key, value) in fields {
                match key.as_str() {
                    "ts" | "created" | "time" | "last_active" | "pinned_ts" | "pinned_client_id" | "leader"
                    | "_nats.ver" | "id" | "timestamp" | "pause_remaining" | "cluster_size" => {
                        *value = MASK.into();
                    }
                    // How many calls there were, and refused ones: a call that is not answered may count or not.
                    "api" => {
                        value["total"] = MASK.into();
                        value["errors"] = MASK.into();
                    }
                    // Whether there is any is told by Go's zero.
                    "first_ts" | "last_ts" if value != ZERO_TIME => *value = MASK.into(),
                    "active" if value.as_i64().is_some_and(|nanos| nanos >= 0) => *value = MASK.into(),
                    _ => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}
