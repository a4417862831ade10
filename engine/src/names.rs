//! The names of streams and consumers, and names that are made up.

/// Letters and digits, in the order of their bytes.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a stream or consumer may be called that: one subject token, and a file name.
#[must_use]
pub fn is_asset_name(name: &str) -> bool {
    !name.is_empty() && !name.contains([' ', '\t', '\r', '\n', '\x0c', '.', '*', '>', '/', '\\'])
}

/// The letter or digit that a number stands for; numbers with the same remainder by 62 stand for the same.
fn letter(number: u64) -> char {
    char::from(ALPHABET[(number % 62) as usize])
}

/// A letter or digit for each number.
pub fn spell(numbers: impl IntoIterator<Item = u64>) -> String {
    numbers.into_iter().map(letter).collect()
}

#[cfg(test)]
mod tests;
