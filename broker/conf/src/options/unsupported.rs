//! Keys that nats-server 2.15 knows and Weir does not do yet. They are refused by name rather than ignored.

use super::schema::{self, Key};
use crate::error::ConfError;
use crate::file::{Entry, Value};

/// Those that forbid something: who removes one must know that it opens what it kept shut.
const RESTRICTING: &[&str] = &["proxy_required"];

/// Refuses a key of a feature that is not there, unless its value only says that the feature is not wanted. The block was held
/// against its `table` before: what that does not have is there for a $VARIABLE further down.
pub(super) fn refuse(entry: &Entry, table: &[Key]) -> Result<(), ConfError> {
    if !schema::knows(table, &entry.key) || is_off(&entry.value.value) {
        return Ok(());
    }
    let restricts = RESTRICTING.iter().any(|key| key.eq_ignore_ascii_case(&entry.key));
    let without = match restricts {
        true => "without it everything is allowed that it forbids: remove it only if that is meant",
        false => "remove it to run without",
    };
    let message = format!(
        "{:?} is an option of nats-server that Weir does not support yet; {without}",
        entry.key
    );
    Err(ConfError::at(&entry.pos, message))
}

/// `false`, `0`, nothing, or a block that says as much.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::Int(number) => *number == 0,
        Value::Str(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Map(map) => map.entries.iter().all(|entry| match &entry.value.value {
            Value::Str(mode) => mode.eq_ignore_ascii_case("never") || mode.eq_ignore_ascii_case("none"),
            other => is_off(other),
        }),
        Value::Float(_) | Value::Date(_) => false,
    }
}
