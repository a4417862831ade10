use super::*;

proptest::proptest! {
    /// No match lies between a subject and the next possible place.
    #[test]
    fn nothing_is_skipped(
        filter in "[ab*](\\.[ab*]){0,3}(\\.>)?",
        mut subjects in proptest::collection::btree_set("[ab-]{1,2}(\\.[ab-]{1,2}){0,4}", 1..60),
    ) {
        let filters = [Bytes::from(filter.clone())];
        while let Some(subject) = subjects.pop_first() {
            if weir_subject::matches(filter.as_bytes(), subject.as_bytes()) {
                continue;
            }
            let next = next_possible(&filters, subject.as_bytes());
            if let Some(next) = &next {
                proptest::prop_assert!(next.as_slice() > subject.as_bytes());
            }
            let first = subjects.iter().find(|other| weir_subject::matches(filter.as_bytes(), other.as_bytes()));
            if let Some(first) = first {
                let next = next.unwrap();
                proptest::prop_assert!(
                    next.as_slice() <= first.as_bytes(),
                    "{filter} behind {subject}: {} is above {first}", String::from_utf8_lossy(&next)
                );
            }
        }
    }
}

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
