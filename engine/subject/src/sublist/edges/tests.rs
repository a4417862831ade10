use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    // Hashes from a small range, so that runs of collisions form, wrap around the end and are cut.
    #[test]
    fn agrees_with_a_map(operations in proptest::collection::vec((any::<bool>(), 0u32..60, 0u32..6), 0..400)) {
        let mut edges = Edges::default();
        let mut model = BTreeMap::new();
        for (add, node, hash) in operations {
            // Sixteen slots at least: 13 lies near the end of the smallest table.
            let hash = hash + 13;
            if add {
                model.entry(node).or_insert_with(|| { edges.insert(hash, node); hash });
            } else if let Some(hash) = model.remove(&node) {
                edges.remove(hash, node);
            }
            prop_assert_eq!(edges.len, model.len());
            for node in 0..60 {
                let expected = if model.contains_key(&node) { node } else { NIL };
                let hash = model.get(&node).copied().unwrap_or(13);
                prop_assert_eq!(edges.find(hash, |found| found == node), expected);
            }
        }
    }
}
