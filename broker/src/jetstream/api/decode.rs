//! Reading requests as Go's `encoding/json` does, whose texts clients see: field names in any case, `null` for nothing, an
//! unknown field refused by name, a wrong type named with its place.
//!
//! One pass over the text checks it against a [`Fields`] and gathers what is known under the proper names; serde makes
//! the request of that.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::schema::{Choice, Fields, Shape};

/// Decodes a request. An empty text is a request without fields; of several documents in a row later ones add to earlier.
///
/// # Errors
/// The text behind `invalid JSON: `.
pub(super) fn decode<T: DeserializeOwned>(text: &[u8], fields: &'static Fields, strict: bool) -> Result<T, String> {
    let mut request = Map::new();
    let whole = Shape::Object(fields);
    for document in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        let document = document.map_err(|error| syntax_error(text, &error))?;
        let faults = Faults::default();
        let place = Place {
            faults: &faults,
            strict,
            fields,
            path: None,
            element: false,
            shape: &whole,
        };
        let mut source = serde_json::Deserializer::from_str(document.get());
        match place.deserialize(&mut source) {
            Ok(Some(Value::Object(document))) => request.extend(document),
            Ok(_) => {}
            Err(error) => {
                let noted = faults.first.take().or_else(|| faults.abort.take());
                return Err(noted.unwrap_or_else(|| error.to_string()));
            }
        }
        if let Some(fault) = faults.first.take() {
            return Err(fault);
        }
    }
    serde_json::from_value(Value::Object(request)).map_err(|error| error.to_string())
}

/// What `json.Unmarshal` finds wrong with a text that is read at once, not as a stream of documents; nothing if it is fine.
pub(in crate::jetstream) fn unreadable(text: &[u8], fields: &'static Fields) -> Option<String> {
    let why = decode::<IgnoredAny>(text, fields, false).err()?;
    Some(as_a_whole(why))
}

/// Decodes a request that is read at once. An empty text is none.
///
/// # Errors
/// The text behind `invalid JSON: `.
pub(super) fn decode_whole<T: DeserializeOwned>(text: &[u8], fields: &'static Fields) -> Result<T, String> {
    if text.is_empty() {
        return Err(CUT_SHORT.to_owned());
    }
    decode(text, fields, false).map_err(as_a_whole)
}

const CUT_SHORT: &str = "unexpected end of JSON input";

/// A text read at once has other words for one cut short, and no places.
fn as_a_whole(why: String) -> String {
    match why.rsplit_once(" at offset ") {
        _ if why == "unexpected EOF" => CUT_SHORT.to_owned(),
        Some((why, _)) => why.to_owned(),
        None => why,
    }
}

/// What was wrong so far.
#[derive(Default)]
struct Faults {
    /// The first mistake that decoding goes on after.
    first: RefCell<Option<String>>,
    /// A mistake that ends decoding.
    abort: RefCell<Option<String>>,
}

impl Faults {
    fn note(&self, text: String) {
        self.first.borrow_mut().get_or_insert(text);
    }
}

/// A value about to be read, and what it should be.
struct Place<'p> {
    faults: &'p Faults,
    strict: bool,
    /// The request.
    fields: &'static Fields,
    /// Where in the request; `None` for the request itself.
    path: Option<String>,
    /// Whether it is an element of a list.
    element: bool,
    shape: &'p Shape,
}

impl Place<'_> {
    fn mismatch(&self, found: &str) {
        let wanted = self.shape.go_type();
        self.faults.note(match &self.path {
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
            Some(path) if self.element => {
                format!(
                    "json: cannot unmarshal {found} into {}.{path} of type {wanted}",
                    self.fields.name
                )
            }
            Some(path) => {
                let request = self.fields.name;
                format!("json: cannot unmarshal {found} into Go struct field {request}.{path} of type {wanted}")
            }
        });
    }

    /// A number where none is wanted.
    fn number<E: de::Error>(&self, value: Value) -> Result<Option<Value>, E> {
        if matches!(self.shape, Shape::Any) {
            return Ok(Some(value));
        }
        self.mismatch("number");
        Ok(None)
    }

    fn inside(&self, name: &str, shape: &'static Shape) -> Self {
        let path = match &self.path {
            None => name.to_owned(),
            Some(path) => format!("{path}.{name}"),
        };
        Self {
            path: Some(path),
            element: false,
            shape,
            ..*self
        }
    }

    fn abort<E: de::Error>(&self, text: String) -> E {
        *self.faults.abort.borrow_mut() = Some(text);
        E::custom("refused")
    }

    /// A value where a word was to be chosen; `raw` is its JSON text.
    fn choose<E: de::Error>(&self, choice: &Choice, word: Option<&str>, raw: &str) -> Result<Option<Value>, E> {
        let known = word.and_then(|word| choice.words.iter().find(|(known, _)| *known == word));
        match known {
            Some((_, meant)) => Ok(Some(Value::from(*meant))),
            None => Err(self.abort(choice.refusal(raw))),
        }
    }

    /// A value that is told by its JSON text: a number, a time, or a word to choose.
    fn scalar<E: de::Error>(&self, raw: &str) -> Result<Option<Value>, E> {
        let text = || serde_json::from_str::<String>(raw).map_err(E::custom);
        let found = match raw.as_bytes().first() {
            Some(b'n') => "null",
            Some(b'"') => "string",
            Some(b't' | b'f') => "bool",
            Some(b'[') => "array",
            Some(b'{') => "object",
            _ => "number",
        };
        match (self.shape, found) {
            (Shape::Choice(choice), "string") => self.choose(choice, Some(&text()?), raw),
            (Shape::Choice(choice), "null") => self.choose(choice, None, raw),
            (Shape::Choice(choice), _) => match choice.mismatch(found) {
                Some(why) => Err(self.abort(why)),
                None => self.choose(choice, None, raw),
            },
            (_, "null") => Ok(None),
            (Shape::Time, "string") => {
                let text = text()?;
                match time_error(&text) {
                    None => Ok(Some(Value::from(text))),
                    Some(why) => Err(self.abort(why)),
                }
            }
            (Shape::Int { min, max, .. }, "number") => match raw.parse::<i128>() {
                // Go's unsigned integers have no sign, not even before 0.
                Ok(number) if (i128::from(*min)..=*max).contains(&number) && (*min < 0 || !raw.starts_with('-')) => {
                    Ok(Some(whole(number)))
                }
                _ => {
                    self.mismatch(&format!("number {raw}"));
                    Ok(None)
                }
            },
            _ => {
                self.mismatch(found);
                Ok(None)
            }
        }
    }
}

fn whole(number: i128) -> Value {
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Value::from(number),
        (_, Ok(number)) => Value::from(number),
        _ => Value::Null,
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    /// Nothing if the value is `null`, or is no good.
    type Value = Option<Value>;

    fn deserialize<D: de::Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        match self.shape {
            Shape::Int { .. } | Shape::Choice(_) | Shape::Time => {
                let raw = <&RawValue>::deserialize(source)?;
                self.scalar(raw.get())
            }
            _ => source.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        match self.shape {
            Shape::Flag => return Ok(Some(Value::Bool(value))),
            _ => self.mismatch("bool"),
        }
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.number(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.number(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.number(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        match self.shape {
            Shape::Text | Shape::Any => return Ok(Some(Value::from(value))),
            _ => self.mismatch("string"),
        }
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Shape::List(shape) = self.shape else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            self.mismatch("array");
            return Ok(None);
        };
        let mut list = Vec::new();
        for at in 0_usize.. {
            let place = Place {
                element: true,
                ..self.inside(&at.to_string(), shape)
            };
            match items.next_element_seed(place)? {
                None => break,
                // Go makes an empty element of `null`.
                Some(item) => list.extend(item.or_else(|| shape.empty())),
            }
        }
        Ok(Some(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        match self.shape {
            Shape::Object(fields) => {
                while let Some(key) = entries.next_key::<String>()? {
                    let Some((name, shape)) = fields.find(&key) else {
                        entries.next_value::<IgnoredAny>()?;
                        if self.strict {
                            self.faults.note(format!("json: unknown field {key:?}"));
                        }
                        continue;
                    };
                    match entries.next_value_seed(self.inside(&key, shape))? {
                        Some(value) => _ = object.insert((*name).to_owned(), value),
                        // Go's `null` empties a pointer, list or map that the same field, written otherwise, filled.
                        None if shape.is_nullable() => _ = object.remove(*name),
                        None => {}
                    }
                }
            }
            Shape::Texts => {
                while let Some(key) = entries.next_key::<String>()? {
                    let value = entries.next_value_seed(self.inside(&key, &Shape::Text))?;
                    object.insert(key, value.unwrap_or_else(|| Value::from("")));
                }
            }
            Shape::Any => {
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    object.insert(key, value);
                }
            }
            _ => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.mismatch("object");
                return Ok(None);
            }
        }
        Ok(Some(Value::Object(object)))
    }
}

/// What is wrong with a time, in Go's words; nothing if it is RFC 3339.
fn time_error(text: &str) -> Option<String> {
    weir_engine::json::parse_time(text).err()?;
    let bytes = text.as_bytes();
    // What stands at each place of `2006-01-02T15:04:05`, digits or one character.
    let parts = [
        (0, 4, "2006"),
        (4, 5, "-"),
        (5, 7, "01"),
        (7, 8, "-"),
        (8, 10, "02"),
        (10, 11, "T"),
        (11, 13, "15"),
        (13, 14, ":"),
        (14, 16, "04"),
        (16, 17, ":"),
        (17, 19, "05"),
    ];
    let cannot = |at: usize, wanted: &str| {
        let rest = String::from_utf8_lossy(&bytes[at.min(bytes.len())..]);
        Some(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest:?} as {wanted:?}"
        ))
    };
    let mut numbers = Vec::new();
    for (start, end, wanted) in parts {
        let part = bytes.get(start..end);
        let fits = part.is_some_and(|part| match wanted.len() {
            1 => part == wanted.as_bytes(),
            _ => part.iter().all(u8::is_ascii_digit),
        });
        if !fits {
            return cannot(start, wanted);
        }
        let digits = part
            .unwrap_or_default()
            .iter()
            .map(|byte| u32::from(byte.wrapping_sub(b'0')));
        numbers.push(digits.fold(0, |number, digit| number * 10 + digit));
    }
    let limits = [
        (2, 1..=12, "month"),
        (6, 0..=23, "hour"),
        (8, 0..=59, "minute"),
        (10, 0..=59, "second"),
    ];
    for (at, limit, name) in limits {
        if !limit.contains(&numbers[at]) {
            return Some(format!("parsing time {text:?}: {name} out of range"));
        }
    }
    let fraction = match bytes.get(19..) {
        Some([b'.', rest @ ..]) => 1 + rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    match bytes.get(19 + fraction) {
        Some(b'Z' | b'+' | b'-') => Some(format!("parsing time {text:?}: day out of range")),
        _ => cannot(19, "Z07:00"),
    }
}

/// A syntax error in Go's words, as near as serde_json's tell.
fn syntax_error(text: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line_start = match error.line() {
        0 | 1 => 0,
        line => {
            let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            ends.nth(line - 2).map_or(0, |(at, _)| at + 1)
        }
    };
    // Go counts the bytes read, the wrong one included; serde_json's columns begin with 1, and stop before a control byte.
    let said = error.to_string();
    let control = said.starts_with("control character");
    let offset = (line_start + error.column() + usize::from(control)).clamp(1, text.len().max(1));
    let found = text.get(offset - 1).map_or('?', |byte| char::from(*byte));
    if said.starts_with("invalid escape") {
        let start = text[..offset]
            .iter()
            .rposition(|byte| *byte == b'\\')
            .unwrap_or(offset - 1);
        let len = if text.get(start + 1) == Some(&b'u') { 6 } else { 2 };
        let sequence = String::from_utf8_lossy(&text[start..text.len().min(start + len)]);
        return format!("invalid escape sequence `{sequence}` in string at offset {offset}");
    }
    if control {
        let found = match found {
            '\t' | '\n' | '\r' => format!("{found:?}"),
            other => format!("'\\x{:02x}'", u32::from(other)),
        };
        return format!("invalid character {found} in string at offset {offset}");
    }
    let context = if said.starts_with("key must be a string") || (said.starts_with("trailing comma") && found == '}') {
        "looking for beginning of object key string".to_owned()
    } else if said.starts_with("expected `:`") {
        "after object key".to_owned()
    } else if said.starts_with("expected `,` or `]`") {
        "after array element".to_owned()
    } else if said.starts_with("expected `,` or `}`") || (said.starts_with("invalid number") && found.is_ascii_digit())
    {
        "after object key:value pair".to_owned()
    } else if said.starts_with("invalid number") {
        "in numeric literal".to_owned()
    } else {
        cut_literal(&text[..offset - 1]).unwrap_or_else(|| "looking for beginning of value".to_owned())
    };
    format!("invalid character {found:?} {context} at offset {offset}")
}

/// What to say if the text ends within `null`, `true` or `false`.
fn cut_literal(text: &[u8]) -> Option<String> {
    let start = text
        .iter()
        .rposition(|byte| !byte.is_ascii_lowercase())
        .map_or(0, |at| at + 1);
    let begun = text.get(start..).filter(|begun| !begun.is_empty())?;
    let literal = ["null", "true", "false"]
        .into_iter()
        .find(|literal| literal.as_bytes().starts_with(begun))?;
    let next = literal.as_bytes().get(begun.len()).map(|byte| char::from(*byte))?;
    Some(format!("in literal {literal} (expecting {next:?})"))
}

#[cfg(test)]
mod tests;
