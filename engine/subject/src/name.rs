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
    scan(subject).is_some()
}

/// True if `subject` is well formed and has no wildcard token: the check for a subject to publish on.
pub fn is_literal(subject: &[u8]) -> bool {
    scan(subject) == Some(false)
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

/// `None` if malformed, otherwise whether there is a wildcard token. One pass.
fn scan(subject: &[u8]) -> Option<bool> {
    let mut wildcard = false;
    let mut start = 0;
    for (at, &byte) in subject.iter().enumerate() {
        match byte {
            SEPARATOR => {
                match &subject[start..at] {
                    [] | [REST] => return None,
                    [STAR] => wildcard = true,
                    _ => {}
                }
                start = at + 1;
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'\x0c' => return None,
            _ => {}
        }
    }
    match &subject[start..] {
        [] => None,
        [STAR | REST] => Some(true),
        _ => Some(wildcard),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn validity_follows_nats_server() {
        for good in [
            "a",
            "a.b",
            "*",
            ">",
            "a.*.c",
            "a.>",
            "a*",
            ">>",
            "a.>b.c",
            "**.a",
            "$JS.API.>",
            "\u{fc}.x",
            "a.*b",
        ] {
            assert!(is_valid_subject(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a.\t", "a\r", "a\n.b", " ", "a.\x0c", "> ",
        ] {
            assert!(!is_valid_subject(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_valid_subject(&[0xff, b'.', 0x00]), "bytes, not text");
    }

    #[test]
    fn wildcards_are_whole_tokens() {
        for wild in ["*", ">", "a.*", "*.a", "a.*.b", "a.>"] {
            assert!(has_wildcard(wild.as_bytes()) && !is_literal(wild.as_bytes()), "{wild}");
        }
        for plain in ["a", "a*.b", "*a", ">>.a", "a.b>", "**"] {
            assert!(
                !has_wildcard(plain.as_bytes()) && is_literal(plain.as_bytes()),
                "{plain}"
            );
        }
        assert!(!is_literal(b"a..b") && !has_wildcard(b""));
    }

    #[test]
    fn tokens_are_counted() {
        assert_eq!(tokens(b"a.bc.d").collect::<Vec<_>>(), [&b"a"[..], b"bc", b"d"]);
        assert_eq!((token_count(b""), token_count(b"a"), token_count(b"a.b.>")), (0, 1, 3));
    }

    proptest! {
        #[test]
        fn one_pass_agrees_with_the_rules_spelled_out(subject in proptest::collection::vec(proptest::sample::select(&b"ab*>.. \t"[..]), 0..12)) {
            let parts: Vec<&[u8]> = subject.split(|byte| *byte == b'.').collect();
            let last = parts.len() - 1;
            let valid = parts.iter().enumerate().all(|(at, part)| {
                !part.is_empty() && !part.iter().any(|byte| b" \t\r\n\x0c".contains(byte)) && (*part != b">" || at == last)
            });
            let wild = parts.iter().any(|part| *part == b"*" || *part == b">");
            prop_assert_eq!(is_valid_subject(&subject), valid);
            prop_assert_eq!(is_literal(&subject), valid && !wild);
            prop_assert_eq!(has_wildcard(&subject), wild);
            if !subject.is_empty() {
                prop_assert_eq!(token_count(&subject), parts.len());
            }
        }
    }
}
