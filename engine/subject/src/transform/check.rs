//! What is wrong with a renaming, in nats-server's order and words.

use super::{Transform, TransformError};

/// Whether subjects can be turned from `source` to `destination`. No destination leaves them as they are.
///
/// # Errors
/// A sentence that says what is wrong with the destination.
pub fn check_mapping(source: &str, destination: &str) -> Result<(), String> {
    const MALFORMED: &str = "invalid mapping destination: invalid transform";
    if destination.is_empty() {
        return Ok(());
    }
    let mut open = false;
    for token in destination.split('.') {
        if token.is_empty() {
            return Err(MALFORMED.to_owned());
        }
        if open {
            return Err(format!("{MALFORMED} in {token}"));
        }
        if Transform::is_unknown_function(token.as_bytes()) {
            return Err(TransformError::UnknownFunction(token.to_owned()).to_string());
        }
        let is_call = token.len() > 4 && token.starts_with("{{") && token.ends_with("}}");
        if !is_call && token.contains(['\t', '\n', '\x0c', '\r', ' ']) {
            return Err(MALFORMED.to_owned());
        }
        open = token == ">";
    }
    Transform::new(source.as_bytes(), destination.as_bytes())
        .map(drop)
        .map_err(|error| error.to_string())
}
