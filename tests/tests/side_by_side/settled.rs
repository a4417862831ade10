//! What differs from run to run, taken out of what servers say.

use serde_json::{Map, Value, json};

/// What subjects for answers begin with; a number follows.
pub const INBOX: &str = "_INBOX.side.";

/// Fields that hold times, amounts of memory, numbers that servers make up, and the like: only their types are compared.
const VOLATILE: &[&str] = &[
    "cid",
    "client_id",
    "config_load_time",
    "cores",
    "cpu",
    "git_commit",
    "go",
    "gomaxprocs",
    "iat",
    "id",
    "jti",
    "last_activity",
    "max_storage",
    "mem",
    "nonce",
    "now",
    "port",
    "rate",
    "requestor_rtt",
    "responder_rtt",
    "rtt",
    "seq",
    "server_id",
    "start",
    "stop",
    "system_rtt",
    "time",
    "timestamp",
    "total_latency",
    "ts",
    "first_ts",
    "last_ts",
    "last_active",
    "uptime",
    "xkey",
    "exp",
    "nbf",
    "sig",
    "out_bytes",
    "out_client_bytes",
    "user_nkey",
    "sub_rtt",
    "http_port",
    "https_port",
    "pending_bytes",
    "service_rtt",
    "created",
    "update_time",
    "tls_cert_not_after",
    "expires",
];

/// Fields that come and go with time.
const FLEETING: &[&str] = &[
    "idle",
    "rtt",
    "http_req_stats",
    "disk_io_wait_stats",
    "weir",
    "weir_version",
];

/// A document in which only that is left which is the same each time. What is in lists is in no particular order.
pub fn document(value: &Value, hide: &[(String, &str)]) -> Value {
    match value {
        Value::Object(fields) => {
            let mut settled = Map::new();
            for (name, value) in fields {
                if FLEETING.contains(&name.as_str()) {
                    continue;
                }
                let value = match VOLATILE.contains(&name.as_str()) && !value.is_object() && !value.is_array() {
                    true => Value::String(format!("({})", kind(value))),
                    false => document(value, hide),
                };
                let emptied = value == Value::Array(Vec::new()) && fields[name] != value;
                if !emptied {
                    settled.insert(line(name), value);
                }
            }
            Value::Object(settled)
        }
        Value::Array(all) => {
            let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
            let mut settled: Vec<(_, Value)> = all
                .iter()
                .filter(|one| !is_own(one))
                .map(|one| {
                    let key = (
                        one["cid"].as_u64(),
                        text(one, "acc"),
                        text(one, "subject"),
                        text(one, "name"),
                    );
                    (key, document(one, hide))
                })
                .collect();
            settled.sort_by_cached_key(|(key, one)| (key.clone(), one.to_string()));
            Value::Array(settled.into_iter().map(|(_, one)| one).collect())
        }
        // How often a client had to look until all was there is no matter of what it asked.
        Value::String(text) if text.starts_with(INBOX) => Value::from(INBOX),
        Value::String(text) => {
            let mut text = text.clone();
            for (hidden, name) in hide {
                text = text.replace(hidden, name);
            }
            Value::String(line(&text))
        }
        // Go writes them so.
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 => Value::from(whole as i64),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

/// The same with names for what is hidden, and as it is otherwise.
pub fn hidden(value: &Value, hide: &[(String, &str)]) -> Value {
    match value {
        Value::String(text) => {
            let hidden = hide
                .iter()
                .fold(text.clone(), |text, (hidden, name)| text.replace(hidden, name));
            Value::String(hidden)
        }
        Value::Array(all) => all.iter().map(|one| hidden(one, hide)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), hidden(value, hide)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// Whether it is about a subject that the server itself hears, asks or answers on: how its parts do that is theirs.
fn is_own(value: &Value) -> bool {
    let subject = value["subject"].as_str().unwrap_or_default();
    ["$SYS.", "$JS.", "$JSC.", "_GR_", "$KV.MQTT", "_R_.", "$NRG"]
        .iter()
        .any(|own| subject.starts_with(own))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// A message: what stands before the sizes, its headers and its body.
pub fn message(said: &str, headers: &str, payload: &str) -> String {
    let payload = match serde_json::from_str::<Value>(payload) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => document(&value, &[]).to_string(),
        _ => payload.to_owned(),
    };
    let headers = match headers.split_once('{') {
        Some((before, json)) => {
            let (json, behind) = json.rsplit_once('}').unwrap_or((json, ""));
            let json = serde_json::from_str(&format!("{{{json}}}")).unwrap_or(Value::Null);
            format!("{before}{}{behind}", document(&json, &[]))
        }
        None => headers.to_owned(),
    };
    // Where there is no subject for an answer, some messages have two blanks.
    let said: Vec<&str> = said.split(' ').filter(|word| !word.is_empty()).collect();
    line(&format!("{} {headers}|{payload}", said.join(" ")))
}

/// A line without what servers make up.
pub fn line(text: &str) -> String {
    let mut text = text.to_owned();
    for (before, ends) in [("_R_.", " \"|;,"), ("127.0.0.1:", " \"|/,;'")] {
        let mut from = 0;
        while let Some(at) = text[from..].find(before) {
            let start = from + at + before.len();
            let end = text[start..]
                .find(|c| ends.contains(c))
                .map_or(text.len(), |end| start + end);
            text.replace_range(start..end, "…");
            from = start;
        }
    }
    let times = |part: &str| part.len() >= 16 && part.bytes().all(|byte| byte.is_ascii_digit());
    let settled: Vec<&str> = text
        .split('.')
        .map(|part| if times(part) { "…" } else { part })
        .collect();
    settled.join(".")
}

/// What is said about a configuration that is refused: in which lines of which files something is wrong, and which option a reload cannot
/// change. nats-server counts columns
/// from 0 in the first line and from 1 in others, and places of values, and says no place of what is not in the configuration's language.
pub fn refusal(said: &str) -> Value {
    let mut places: Vec<String> = said.lines().filter_map(place).collect();
    places.sort();
    places.dedup();
    let fixed = said.split_once("config reload not supported for ");
    let option = fixed.and_then(|(_, behind)| behind.split([':', ';', ' ', '\n']).next());
    // There it is a name of the program's, here the key of the file.
    let option = option.map(|name| {
        let name = name.to_lowercase().replace('_', "");
        name.replace("maxsubscriptions", "maxsubs")
    });
    json!({ "refused": places, "option": option })
}

fn place(line: &str) -> Option<String> {
    if ["Parse error", "cannot include"].iter().any(|text| line.contains(text)) {
        return None;
    }
    let line = line
        .split_once("-server: ")
        .map_or(line, |(_, behind)| behind)
        .trim_start();
    let mut parts = line.splitn(4, ':');
    let (file, row, column) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (file.ends_with(".conf") && number(row) && number(column)).then(|| format!("{file}:{row}"))
}
