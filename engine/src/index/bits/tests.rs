use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn is_a_set(changes in proptest::collection::vec((any::<bool>(), 0u16..700), 1..300), ask in 0u16..800) {
        let (mut bits, mut model) = (Bits::new(), BTreeSet::new());
        for (add, at) in changes {
            // Spread so that both ends of the bitmap are reached.
            let at = if at % 3 == 0 { u16::MAX - at } else { at };
            if add {
                prop_assert_eq!(bits.insert(at), model.insert(at));
            } else {
                prop_assert_eq!(bits.remove(at), model.remove(&at));
            }
            prop_assert_eq!(bits.len() as usize, model.len());
        }
        for from in [ask, u16::MAX - ask, 0, u16::MAX] {
            prop_assert_eq!(bits.contains(from), model.contains(&from));
            prop_assert_eq!(bits.next(from), model.range(from..).next().copied());
            prop_assert_eq!(bits.prev(from), model.range(..=from).next_back().copied());
            prop_assert_eq!(bits.count_from(from) as usize, model.range(from..).count());
        }
        let mut all = Vec::new();
        bits.for_each(|at| all.push(at));
        prop_assert!(all.into_iter().eq(model));
    }
}
