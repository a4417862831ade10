//! A number for what a configuration says, by which nats-server and its users tell whether two are the same.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::value::{Map, Value};

/// `sha256:…` over the configuration as Go writes it as JSON: the same number as nats-server's for the same file.
#[must_use]
pub fn digest(map: &Map) -> String {
    let mut json = String::new();
    object(&mut json, map);
    json.push('\n');
    let mut shown = String::from("sha256:");
    for byte in Sha256::digest(json.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}

fn object(json: &mut String, map: &Map) {
    let mut entries: Vec<_> = map.entries.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    json.push('{');
    for (i, entry) in entries.into_iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        text(json, &entry.key);
        json.push(':');
        value(json, &entry.value.value);
    }
    json.push('}');
}

fn value(json: &mut String, value: &Value) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Str(s) => {
            text(json, s);
            Ok(())
        }
        Value::Int(n) => write!(json, "{n}"),
        Value::Float(f) => {
            number(json, *f);
            Ok(())
        }
        Value::Bool(b) => write!(json, "{b}"),
        Value::Date(date) => write!(json, "\"{date}\""),
        Value::Array(items) => {
            json.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    json.push(',');
                }
                self::value(json, &item.value);
            }
            json.push(']');
            Ok(())
        }
        Value::Map(map) => {
            object(json, map);
            Ok(())
        }
    };
}

/// As Go writes it: plain, or with an exponent where that would be long.
fn number(json: &mut String, f: f64) {
    let size = f.abs();
    // Writing to a String cannot fail.
    let _ = match size != 0.0 && !(1e-6..1e21).contains(&size) {
        false => write!(json, "{f}"),
        true => {
            let shown = format!("{f:e}");
            let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
            match exponent.strip_prefix('-') {
                Some(exponent) => write!(json, "{digits}e-{exponent}"),
                None => write!(json, "{digits}e+{exponent}"),
            }
        }
    };
}

/// With the escapes that Go writes, those against HTML included.
fn text(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '"' => write!(json, "\\\""),
            '\\' => write!(json, "\\\\"),
            '\n' => write!(json, "\\n"),
            '\r' => write!(json, "\\r"),
            '\t' => write!(json, "\\t"),
            '\u{8}' => write!(json, "\\b"),
            '\u{c}' => write!(json, "\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => write!(json, "\\u{:04x}", u32::from(c)),
            c => write!(json, "{c}"),
        };
    }
    json.push('"');
}

#[cfg(test)]
mod tests;
