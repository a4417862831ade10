use super::*;
use std::collections::BTreeSet;

#[test]
fn all_three_shapes_agree_with_a_set() {
    // Every 11th position of subject 7, with subject 9 beside it: list, bitmap, and back down to nothing.
    let mut postings = Postings::default();
    let mut model = BTreeSet::new();
    let check = |postings: &Postings, model: &BTreeSet<u16>| {
        for from in [0, 1, 10, 11, 12, 30_000, 55_000, u16::MAX] {
            assert_eq!(
                postings.next(7, from),
                model.range(from..).next().copied(),
                "next {from} of {}",
                model.len()
            );
            assert_eq!(postings.prev(7, from), model.range(..=from).next_back().copied());
            assert_eq!(postings.count_from(7, from) as usize, model.range(from..).count());
            let mut bits = Bits::new();
            postings.collect_from(7, from, &mut bits);
            assert_eq!(bits.len() as usize, model.range(from..).count());
        }
    };
    for at in (0..=u16::MAX).step_by(11) {
        postings.push(7, at);
        model.insert(at);
        if at % 1000 == 0 {
            postings.push(9, at);
        }
        if model.len() < 5 || model.len().is_multiple_of(97) || (4090..4100).contains(&model.len()) {
            check(&postings, &model);
        }
    }
    assert_eq!(postings.count_from(9, 0), 6);
    let mut order: Vec<u16> = model.iter().copied().collect();
    let half = order.len() / 2;
    order.rotate_left(half);
    for at in order {
        assert!(!postings.remove(7, at.wrapping_add(1)), "not there");
        assert!(postings.remove(7, at));
        model.remove(&at);
        if model.len() < 5 || model.len().is_multiple_of(97) || (2040..2055).contains(&model.len()) {
            check(&postings, &model);
        }
    }
    assert_eq!(postings.subjects(), 1);
    assert!(!postings.remove(7, 0));
}
