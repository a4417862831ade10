use super::*;
use proptest::prelude::*;

fn all(filters: &[&'static str]) -> Vec<Bytes> {
    let bytes = |filter: &&'static str| Bytes::from_static(filter.as_bytes());
    filters.iter().map(bytes).collect()
}

#[test]
fn filters_are_reduced() {
    for reduce in [reduce_few, reduce_many] {
        assert_eq!(reduce(&all(&["a.b", "a.*", "b", "a.*"])), all(&["a.*", "b"]));
        assert_eq!(reduce(&all(&["a.>", "a.b.c", "a"])), all(&["a.>", "a"]));
    }
    assert_eq!(Filters::of(&all(&["a", ">"])).len(), 0);
}

proptest! {
    #[test]
    fn many_are_as_few(filters in proptest::collection::vec("[ab*](\\.[ab*]){0,2}(\\.>)?", 0..40), name in "[ab](\\.[ab]){0,3}") {
        let filters: Vec<Bytes> = filters.into_iter().map(Bytes::from).collect();
        let (few, many) = (reduce_few(&filters), reduce_many(&filters));
        let sorted = |list: &[Bytes]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        prop_assert_eq!(sorted(&few), sorted(&many));
        let small = Filters { list: many.clone(), trie: None };
        let large = Filters { trie: Some(trie_of(&many)), list: many };
        prop_assert_eq!(small.matches(name.as_bytes()), large.matches(name.as_bytes()));
        for at in 0..large.len() {
            prop_assert_eq!(small.is_first(at, name.as_bytes()), large.is_first(at, name.as_bytes()));
        }
    }
}
