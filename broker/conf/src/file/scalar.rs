//! What a bare word is: a boolean, a number, a date or, failing all that, a string.

use super::value::Value;

/// Reads a bare word.
///
/// # Errors
/// A text: a whole number beyond 64 bits.
pub(super) fn classify(word: &str) -> Result<Value, String> {
    for (name, value) in [
        ("true", true),
        ("yes", true),
        ("on", true),
        ("false", false),
        ("no", false),
        ("off", false),
    ] {
        if word.eq_ignore_ascii_case(name) {
            return Ok(Value::Bool(value));
        }
    }
    let digits_from = usize::from(word.starts_with('-'));
    let digits = word[digits_from..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok(Value::Str(word.to_owned()));
    }
    let (number, suffix) = word.split_at(digits_from + digits);
    if let Some(unit) = unit(suffix) {
        let n = number.parse::<i64>().ok().and_then(|n| n.checked_mul(unit));
        return n
            .map(Value::Int)
            .ok_or_else(|| format!("{word} does not fit in 64 bits"));
    }
    if let Some(fraction) = suffix.strip_prefix('.')
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
        && let Ok(f) = word.parse()
    {
        return Ok(Value::Float(f));
    }
    Ok(if is_date(word) {
        Value::Date(word.to_owned())
    } else {
        Value::Str(word.to_owned())
    })
}

/// The factor of a size suffix: `k` is 1000, `kb`, `ki` and `kib` are 1024, and so on to `e`. Case does not matter.
fn unit(suffix: &str) -> Option<i64> {
    if suffix.is_empty() {
        return Some(1);
    }
    let suffix = suffix.to_ascii_lowercase();
    let (prefix, rest) = suffix.split_at_checked(1)?;
    let power = 1 + u32::try_from("kmgtpe".find(prefix)?).ok()?;
    match rest {
        "" => 1000i64.checked_pow(power),
        "b" | "i" | "ib" => 1024i64.checked_pow(power),
        _ => None,
    }
}

/// `2006-01-02T15:04:05Z`
fn is_date(word: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    word.len() == shape.len()
        && word
            .bytes()
            .zip(shape)
            .all(|(b, &s)| if s == b'd' { b.is_ascii_digit() } else { b == s })
}
