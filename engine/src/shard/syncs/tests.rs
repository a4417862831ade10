use super::*;

#[test]
fn a_sync_counts_in_the_first_class_that_it_is_not_beyond() {
    let syncs = Syncs::default();
    for took in [0, 100_000, 100_001, 20_000_000_000] {
        syncs.count(took);
    }
    let classes = syncs.classes();
    assert_eq!((classes[0], classes[1], classes[SYNC_CLASSES.len()]), (2, 1, 1));
    assert_eq!(classes.iter().sum::<u64>(), 4);
    assert_eq!(syncs.nanos(), 20_000_200_001);
}
