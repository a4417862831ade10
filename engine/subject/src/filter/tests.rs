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
