//! What a subject is: tokens between dots, and which of them are wildcards.
//!
//! The rules are those of nats-server 2.15. A subject is bytes; it need not be UTF-8.

/// Ends a token.
pub const SEPARATOR: u8 = b'.';
/// As a whole token: any one token.
pub const STAR: u8 = b'*';
/// As the whole last token: one or more tokens.
pub const REST: u8 = b'>';

/// True if `subject` is well formed. Wildcards are allowed, so this is the check for filters.
///
/// Every token is non-empty and free of space, tab, carriage return, line feed and form feed; a token `>` is the
/// last one. `*` and `>` inside of a longer token are ordinary bytes (`a*b`, `>>`).
pub fn is_valid_subject(subject: &[u8]) -> bool {
    scan(subject).is_some_and(|found| !found.blank)
}

/// True if `subject` is well formed and has no wildcard token: the check for a subject to publish on.
pub fn is_literal(subject: &[u8]) -> bool {
    scan(subject).is_some_and(|found| !found.blank && !found.wildcard)
}

/// The same of a subject that may have white space in its tokens, which nats-server lets clients publish on.
pub fn is_literal_as_sent(subject: &[u8]) -> bool {
    scan(subject).is_some_and(|found| !found.wildcard)
}

/// True if any token of `subject` is `*` or `>`, whether or not `subject` is well formed.
pub fn has_wildcard(subject: &[u8]) -> bool {
    let is_edge = |at: Option<&u8>| at.is_none_or(|&byte| byte == SEPARATOR);
    subject.iter().enumerate().any(|(at, &byte)| {
        (byte == STAR || byte == REST)
            && is_edge(at.checked_sub(1).and_then(|before| subject.get(before)))
            && is_edge(subject.get(at + 1))
    })
}

/// The tokens of `subject`, in order. An empty subject has one, empty token.
pub fn tokens(subject: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    subject.split(|&byte| byte == SEPARATOR)
}

/// How many tokens `subject` has; none if it is empty.
pub fn token_count(subject: &[u8]) -> usize {
    if subject.is_empty() {
        0
    } else {
        subject.iter().filter(|&&byte| byte == SEPARATOR).count() + 1
    }
}

/// True if `subject` is well formed but for white space in its tokens, which nats-server lets clients subscribe to: every token is
/// non-empty, and a token `>` is the last one.
pub(crate) fn has_whole_tokens(subject: &[u8]) -> bool {
    scan(subject).is_some()
}

/// What stands in a subject.
struct Found {
    /// A wildcard token.
    wildcard: bool,
    /// White space.
    blank: bool,
}

/// `None` if a token is empty, or is a `>` that is not the last. One pass.
fn scan(subject: &[u8]) -> Option<Found> {
    let mut found = Found {
        wildcard: false,
        blank: false,
    };
    let mut start = 0;
    for (at, &byte) in subject.iter().enumerate() {
        match byte {
            SEPARATOR => {
                match &subject[start..at] {
                    [] | [REST] => return None,
                    [STAR] => found.wildcard = true,
                    _ => {}
                }
                start = at + 1;
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'\x0c' => found.blank = true,
            _ => {}
        }
    }
    match &subject[start..] {
        [] => return None,
        [STAR | REST] => found.wildcard = true,
        _ => {}
    }
    Some(found)
}

#[cfg(test)]
mod tests;
