//! How numbers are told to people, in logs, errors and findings.

/// The word for so many things: `record` for one, else `records`. For words whose plural ends in an s.
pub fn plural(number: u64, thing: &str) -> String {
    match number {
        1 => thing.to_owned(),
        _ => format!("{thing}s"),
    }
}

/// So many things: `1 record`, `2 records`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {}", plural(number, thing))
}

/// Numbers that follow each other, both ends included: `36`, `36 to 40`.
pub fn range(first: u64, last: u64) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    }
}

/// Things by their numbers, both ends of each range included: `record 36`, `records 36 to 40`, `records 3, 5 to 9`.
pub fn numbered(thing: &str, ranges: &[(u64, u64)]) -> String {
    let single = matches!(ranges, [(first, last)] if first == last);
    let named: Vec<String> = ranges.iter().map(|(first, last)| range(*first, *last)).collect();
    format!("{} {}", plural(if single { 1 } else { 2 }, thing), named.join(", "))
}

/// The beginning of a text, where it has more bytes than that.
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}

#[cfg(test)]
mod tests;
