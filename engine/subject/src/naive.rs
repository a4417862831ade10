//! The plainest possible model of matching, and the generators that the property tests of this crate share.

use proptest::prelude::*;

/// Does `filter` match `literal`? Token by token, with copies.
pub(crate) fn matches(filter: &[u8], literal: &[u8]) -> bool {
    let filter: Vec<&[u8]> = filter.split(|byte| *byte == b'.').collect();
    let literal: Vec<&[u8]> = literal.split(|byte| *byte == b'.').collect();
    let open = filter.last() == Some(&&b">"[..]);
    let fixed = if open { &filter[..filter.len() - 1] } else { &filter[..] };
    let length_fits = if open {
        literal.len() > fixed.len()
    } else {
        literal.len() == fixed.len()
    };
    length_fits
        && fixed
            .iter()
            .zip(&literal)
            .all(|(want, have)| *want == b"*" || want == have)
}

/// Every literal of one to `depth` tokens over `a`, `b`, `c`.
pub(crate) fn literals(depth: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut level = vec![Vec::new()];
    for _ in 0..depth {
        level = level
            .iter()
            .flat_map(|stem: &Vec<u8>| {
                b"abc".iter().map(move |byte| {
                    let mut longer = stem.clone();
                    if !longer.is_empty() {
                        longer.push(b'.');
                    }
                    longer.push(*byte);
                    longer
                })
            })
            .collect();
        all.extend(level.iter().cloned());
    }
    all
}

/// Filters of one to `depth` tokens over `a`, `b`, `*`, and sometimes a `>` at the end.
pub(crate) fn filter(depth: usize) -> impl Strategy<Value = Vec<u8>> {
    (
        proptest::collection::vec(proptest::sample::select(&["a", "b", "*"][..]), 1..=depth),
        any::<bool>(),
    )
        .prop_map(|(mut tokens, open)| {
            if open && let Some(last) = tokens.last_mut() {
                *last = ">";
            }
            tokens.join(".").into_bytes()
        })
}
