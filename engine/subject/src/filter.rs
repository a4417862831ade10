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
mod tests {
    use super::*;
    use crate::naive;
    use proptest::prelude::*;

    #[test]
    fn matching() {
        for (filter, literal) in [
            ("a", "a"),
            ("a.*", "a.b"),
            (">", "a"),
            (">", "a.b.c"),
            ("a.>", "a.b.c"),
            ("*.*", "a.b"),
            ("*.b.>", "a.b.c"),
            ("a*.b", "a*.b"),
        ] {
            assert!(matches(filter.as_bytes(), literal.as_bytes()), "{filter} {literal}");
        }
        for (filter, literal) in [
            ("a", "b"),
            ("a", "a.b"),
            ("a.b", "a"),
            ("ab", "abc"),
            ("abc", "ab"),
            ("a.>", "a"),
            ("*", "a.b"),
            ("*.*", "a"),
            ("a.*", "a"),
            ("*.b", "a.c"),
            ("a*.b", "ax.b"),
            ("a.b", "a.bc"),
            ("ab.c", "a.bc"),
        ] {
            assert!(!matches(filter.as_bytes(), literal.as_bytes()), "{filter} {literal}");
        }
    }

    #[test]
    fn malformed_input_does_not_panic() {
        for filter in ["", ".", "*.", ">.", "*..", "a..", ".>"] {
            for other in ["", ".", "..", "a", "a.", ".a"] {
                matches(filter.as_bytes(), other.as_bytes());
                is_subset(filter.as_bytes(), other.as_bytes());
                overlaps(filter.as_bytes(), other.as_bytes());
            }
        }
        assert!(!matches(b"*", b""));
        assert!(!matches(b">", b""));
    }

    #[test]
    fn subsets_and_overlaps() {
        assert!(is_subset(b"a.b", b"a.*") && is_subset(b"a.*.c", b"a.>") && is_subset(b"a.*", b"a.*"));
        assert!(!is_subset(b"a.>", b"a.*") && !is_subset(b"a.*", b"a.b") && !is_subset(b"a.>", b"a.*.>"));
        assert!(is_subset(b"a.*.>", b"a.>") && !is_subset(b"a", b"a.>"));
        assert!(overlaps(b"a.*", b"*.b") && overlaps(b"a.>", b"*.b.c") && overlaps(b">", b"a"));
        assert!(!overlaps(b"a.>", b"a") && !overlaps(b"a.*", b"b.*") && !overlaps(b"a.*", b"a.b.c"));
    }

    // With tokens from {a, b} in filters, literals over {a, b, c} of up to five tokens tell apart whatever two
    // filters of up to four tokens can be told apart by: `c` stands for all the tokens neither names.
    proptest! {
        #[test]
        fn agree_with_enumeration(a in naive::filter(4), b in naive::filter(4)) {
            let all = naive::literals(5);
            let by_a: Vec<bool> = all.iter().map(|literal| naive::matches(&a, literal)).collect();
            let by_b: Vec<bool> = all.iter().map(|literal| naive::matches(&b, literal)).collect();
            for (literal, &expected) in all.iter().zip(&by_a) {
                prop_assert_eq!(matches(&a, literal), expected);
            }
            prop_assert_eq!(is_subset(&a, &b), by_a.iter().zip(&by_b).all(|(a, b)| !a || *b));
            prop_assert_eq!(overlaps(&a, &b), by_a.iter().zip(&by_b).any(|(a, b)| *a && *b));
            prop_assert_eq!(overlaps(&b, &a), overlaps(&a, &b));
        }
    }
}
