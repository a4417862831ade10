//! What stands behind the question mark.

use std::num::{IntErrorKind, ParseIntError};

/// The parameters of a request, decoded, in order.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Never fails: what is no pair has an empty value. As in Go, what has a broken escape or a semicolon in it is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        Self(
            pairs
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(name)?, decode(value)?))
                })
                .collect(),
        )
    }

    /// The first value of `name`, if it is there and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// A number; 0 if the parameter is missing. Negative numbers count as 0.
    ///
    /// # Errors
    /// It is there and not a number: the text to answer with.
    pub fn number(&self, name: &str) -> Result<usize, String> {
        let Some(text) = self.text(name) else {
            return Ok(0);
        };
        let number: i64 = text.parse().map_err(|error| {
            format!(
                "Error decoding int for '{name}': strconv.Atoi: {}",
                parsing(text, &error)
            )
        })?;
        Ok(usize::try_from(number).unwrap_or(0))
    }

    /// A number without a sign; 0 if the parameter is missing.
    ///
    /// # Errors
    /// It is there and not such a number: the text to answer with.
    pub fn id(&self, name: &str) -> Result<u64, String> {
        let Some(text) = self.text(name) else {
            return Ok(0);
        };
        // Go takes no sign there, not even that of what is more than nothing.
        let unsigned = text.strip_prefix('+').map_or(text, |_| "+");
        unsigned.parse().map_err(|error| {
            let why = parsing(text, &error);
            format!("Error decoding uint64 for '{name}': strconv.ParseUint: {why}")
        })
    }

    /// A truth value as Go reads them; false if the parameter is missing.
    ///
    /// # Errors
    /// It is there and not a truth value: the text to answer with.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        match self.text(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(text) => Err(format!(
                "Error decoding boolean for '{name}': strconv.ParseBool: parsing {text:?}: invalid syntax"
            )),
        }
    }
}

/// What Go says of a number that is none.
fn parsing(text: &str, error: &ParseIntError) -> String {
    let why = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("parsing {text:?}: {why}")
}

/// `None`: it has an escape that is none.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let escaped = (byte == b'%')
            .then(|| text.get(at..at + 2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, escaped) {
            (_, Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'%', None) => return None,
            (b'+', None) => out.push(b' '),
            (other, None) => out.push(other),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests;
