use super::*;

#[test]
fn a_leaf_needs_nothing_but_suffix_and_value() {
    assert_eq!(size_of::<Child<[u64; 3]>>(), 48);
    assert_eq!(size_of::<Inner<[u64; 3]>>(), 56);
}
