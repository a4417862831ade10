use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn open_and_sealed_agree_with_a_map(
        ids in proptest::collection::btree_set(prop_oneof![0u32..300, any::<u32>()], 0..300),
        removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..300),
    ) {
        let mut slots = Slots::default();
        let mut model = BTreeMap::new();
        for &id in &ids {
            prop_assert!(slots.get_or_insert(id, Slot::one(id as u16)).is_none());
            model.insert(id, Slot::one(id as u16));
        }
        slots.seal();
        let all: Vec<u32> = ids.into_iter().collect();
        for index in removed {
            if all.is_empty() {
                break;
            }
            let id = *index.get(&all);
            slots.remove(id);
            model.remove(&id);
            prop_assert_eq!(slots.len(), model.len());
        }
        for id in all.iter().flat_map(|&id| [id, id.wrapping_add(1)]).chain([0, u32::MAX]) {
            prop_assert_eq!(slots.get(id), model.get(&id).copied(), "{}", id);
        }
        prop_assert_eq!(slots.iter().collect::<BTreeMap<_, _>>(), model.clone());
        prop_assert!(slots.get_or_insert(7, Slot(3, 4)).map(|slot| *slot) == model.get(&7).copied());
        prop_assert!(slots.get(7).is_some());
    }
}
