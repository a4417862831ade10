//! What documents have in common: their fields and types.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every path of a document with the type that is there. What stands in lists, and what stands under names that are data, is taken
/// together.
#[must_use]
pub fn shape(value: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(value, "", &mut found);
    found
}

fn walk(value: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    found.insert(path.to_owned(), kind.to_owned());
    match value {
        Value::Array(all) => all.iter().for_each(|one| walk(one, &format!("{path}/[]"), found)),
        // Which pages were asked for.
        Value::Object(_) if path == "/http_req_stats" => {}
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| walk(value, &format!("{path}/{name}"), found)),
        _ => {}
    }
}

/// Whether one of these paths, or what is under it, is meant.
#[must_use]
pub fn explained(path: &str, list: &[(&str, &str)]) -> bool {
    list.iter()
        .any(|(known, _)| path == *known || path.strip_prefix(known).is_some_and(|rest| rest.starts_with('/')))
}
