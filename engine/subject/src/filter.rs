//! What one filter matches, and how two filters relate.
//!
//! None of these allocate, and none checks its arguments: they expect well-formed subjects (see
//! [`is_valid_subject`](crate::is_valid_subject)). For others the answer means nothing, but nothing panics.

use crate::name::{REST, SEPARATOR, STAR, tokens};

/// True if `filter` matches the literal subject `literal`.
pub fn matches(mut filter: &[u8], mut literal: &[u8]) -> bool {
    // Both stand at the start of a token whenever the loop begins.
    loop {
        match filter {
            [REST] => return !literal.is_empty(),
            [STAR] => return !literal.is_empty() && !literal.contains(&SEPARATOR),
            [STAR, SEPARATOR, rest @ ..] => {
                let Some(end) = literal.iter().position(|&byte| byte == SEPARATOR) else {
                    return false;
                };
                if end == 0 {
                    return false;
                }
                filter = rest;
                literal = &literal[end + 1..];
            }
            _ => {
                let token = filter
                    .iter()
                    .position(|&byte| byte == SEPARATOR)
                    .map_or(filter.len(), |end| end + 1);
                // A token is compared with the dot behind it, so that `ab` is not taken for the start of `abc`.
                if token == filter.len() {
                    return filter == literal;
                }
                if !literal.starts_with(&filter[..token]) {
                    return false;
                }
                filter = &filter[token..];
                literal = &literal[token..];
            }
        }
    }
}

/// True if `of` matches every literal subject that `sub` matches. A filter is a subset of itself.
pub fn is_subset(sub: &[u8], of: &[u8]) -> bool {
    let (mut sub, mut of) = (tokens(sub), tokens(of));
    loop {
        match (sub.next(), of.next()) {
            (Some(_), Some([REST])) | (None, None) => return true,
            (Some([REST]), _) | (None, _) | (_, None) => return false,
            (Some(_), Some([STAR])) => {}
            (Some(narrow), Some(wide)) if narrow == wide => {}
            _ => return false,
        }
    }
}

/// True if some literal subject is matched by both filters.
pub fn overlaps(a: &[u8], b: &[u8]) -> bool {
    let (mut a, mut b) = (tokens(a), tokens(b));
    loop {
        match (a.next(), b.next()) {
            (Some([REST]), Some(_)) | (Some(_), Some([REST])) | (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some([STAR]), _) | (_, Some([STAR])) => {}
            (left, right) if left == right => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
