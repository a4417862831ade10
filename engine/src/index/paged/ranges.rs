//! Where in the order of subjects the matches of filters can lie.

use bytes::Bytes;

/// A piece of the order of subjects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range<'a> {
    /// Exactly that subject.
    One(&'a [u8]),
    /// All that begin so.
    Prefix(&'a [u8]),
}

/// The pieces that hold all matches of the filters, in order and apart from one another. No filter matches all.
pub(super) fn ranges(filters: &[Bytes]) -> Vec<Range<'_>> {
    if filters.is_empty() {
        return vec![Range::Prefix(b"")];
    }
    let mut prefixes: Vec<&[u8]> = filters
        .iter()
        .filter(|filter| weir_subject::has_wildcard(filter))
        .map(|filter| literal_prefix(filter))
        .collect();
    prefixes.sort_unstable();
    // In order, what a prefix covers follows it.
    prefixes.dedup_by(|later, earlier| later.starts_with(earlier));
    let mut all: Vec<(&[u8], bool)> = prefixes.iter().map(|&prefix| (prefix, false)).collect();
    for filter in filters.iter().filter(|filter| !weir_subject::has_wildcard(filter)) {
        // None of the prefixes begins another: only the last one that is not above the filter can begin it.
        let before = prefixes.partition_point(|prefix| *prefix <= filter.as_ref());
        if !before.checked_sub(1).is_some_and(|at| filter.starts_with(prefixes[at])) {
            all.push((filter, true));
        }
    }
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(
            |(bytes, one)| {
                if one { Range::One(bytes) } else { Range::Prefix(bytes) }
            },
        )
        .collect()
}

/// What every match of the filter begins with: all before the first wildcard token.
fn literal_prefix(filter: &[u8]) -> &[u8] {
    let mut end = 0;
    for token in weir_subject::tokens(filter) {
        if matches!(token, [weir_subject::STAR | weir_subject::REST]) {
            break;
        }
        end += token.len() + 1;
    }
    filter.get(..end).unwrap_or(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_apart_and_in_order() {
        let filters: Vec<Bytes> = ["b.*", "a.b.c", "a.b.*.x", "a.b.>", "aa", "a", "b.c.>", "a"]
            .map(|filter| Bytes::from_static(filter.as_bytes()))
            .into();
        assert_eq!(
            ranges(&filters),
            [
                Range::One(b"a"),
                Range::Prefix(b"a.b."),
                Range::One(b"aa"),
                Range::Prefix(b"b.")
            ]
        );
        assert_eq!(
            ranges(&[Bytes::from_static(b"*.a"), Bytes::from_static(b"z")]),
            [Range::Prefix(b"")]
        );
        assert_eq!(ranges(&[]), [Range::Prefix(b"")]);
    }
}
