use super::*;
use crate::{is_literal, is_subset, naive, overlaps};
use proptest::prelude::*;

fn asked(list: &Sublist<u32>, literal: &[u8]) -> Vec<u32> {
    let mut out = Vec::new();
    list.matches(literal, &mut |value| out.push(*value));
    out.sort_unstable();
    out
}

#[test]
fn is_a_cache_line_and_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Sublist<String>>();
    assert_eq!(size_of::<Node>(), 64);
}

#[test]
fn wildcards_route() {
    let mut list = Sublist::new();
    for (value, filter) in ["a.b", "a.*", "a.>", ">", "*.b", "a.b.c", "*.*.c", "b"]
        .iter()
        .enumerate()
    {
        list.insert(filter.as_bytes(), value as u32).unwrap();
    }
    assert_eq!(asked(&list, b"a.b"), [0, 1, 2, 3, 4]);
    assert_eq!(asked(&list, b"a.b.c"), [2, 3, 5, 6]);
    assert_eq!(asked(&list, b"a"), [3]);
    assert_eq!(asked(&list, b"b"), [3, 7]);
    // What nats-server does with subjects that only a careless publisher sends.
    assert!(asked(&list, b"a..b").is_empty() && asked(&list, b"").is_empty() && asked(&list, b"a.").is_empty());
    assert_eq!(asked(&list, b"a.*"), [1, 2, 3]);
}

#[test]
fn a_malformed_filter_changes_nothing() {
    let mut list = Sublist::new();
    for filter in ["", "a..b", ">.a", "a b"] {
        assert_eq!(list.insert(filter.as_bytes(), ()), Err(SublistError::InvalidFilter));
    }
    assert_eq!((list.len(), list.generation(), list.nodes.len()), (0, 0, 1));
}

#[test]
fn white_space_in_a_token_is_for_clients_alone() {
    let mut list = Sublist::new();
    assert_eq!(list.insert(b"a.\x0cb", 1), Err(SublistError::InvalidFilter));
    list.insert_as_sent(b"a.\x0cb", 1).unwrap();
    list.insert_as_sent(b"a.*", 2).unwrap();
    for filter in ["", "a..b", ">.a", ".\x0c"] {
        assert_eq!(
            list.insert_as_sent(filter.as_bytes(), 3),
            Err(SublistError::InvalidFilter)
        );
    }
    assert_eq!(asked(&list, b"a.\x0cb"), [1, 2]);
    assert_eq!(asked(&list, b"a.b"), [2]);
}

#[test]
fn a_used_key_is_refused() {
    let mut list = Sublist::new();
    let first = list.insert(b"a", 1).unwrap();
    assert_eq!(list.remove(first), Some(1));
    let second = list.insert(b"a", 2).unwrap();
    assert_eq!(
        (list.remove(first), list.get(first), list.get(second)),
        (None, None, Some(&2))
    );
    assert_eq!(list.generation(), 3);
}

#[test]
fn values_of_one_filter_keep_their_order() {
    let mut list = Sublist::new();
    let keys: Vec<SubKey> = (0..6).map(|value| list.insert(b"a.>", value).unwrap()).collect();
    for at in [0, 5, 2] {
        assert_eq!(list.remove(keys[at]), Some(at as u32));
    }
    list.insert(b"a.>", 9).unwrap();
    let mut out = Vec::new();
    list.matches(b"a.b", &mut |value| out.push(*value));
    assert_eq!(out, [1, 3, 4, 9]);
    assert_eq!(list.remove_where(b"a.>", |value| *value > 3), Some(4));
    assert_eq!(list.remove_where(b"a.*", |_| true), None);
}

#[test]
fn removal_prunes() {
    let mut list = Sublist::new();
    let keep = list.insert(b"keep.me", 0).unwrap();
    let nodes = list.nodes.len();
    for round in 0..3 {
        let keys: Vec<SubKey> = (0..1000)
            .map(|n| list.insert(format!("a.{n}.*.{round}.>").as_bytes(), n).unwrap())
            .collect();
        for key in keys {
            list.remove(key);
        }
        let free = std::iter::successors(Some(list.free_node).filter(|&at| at != NIL), |&at| {
            Some(list.nodes[at as usize].parent).filter(|&at| at != NIL)
        })
        .count();
        assert_eq!(
            list.nodes.len() - free,
            nodes,
            "only the kept filter's nodes are in use"
        );
        assert!(list.edges.slots() <= 16);
    }
    assert!(list.nodes.len() < 5000, "free nodes are used again");
    list.remove(keep);
    assert_eq!((list.nodes.len(), list.entries.capacity()), (1, 0));
}

#[test]
fn filters_can_be_told() {
    let mut list = Sublist::new();
    let long = "token-that-does-not-fit-inline-at-all.*.b.>";
    let key = list.insert(long.as_bytes(), 1).unwrap();
    assert_eq!(list.filter_of(key).as_deref(), Some(long.as_bytes()));
    assert_eq!(list.iter().collect::<Vec<_>>(), [(key, &1)]);
    assert_eq!(asked(&list, b"token-that-does-not-fit-inline-at-all.x.b.c"), [1]);
}

#[test]
fn many_literals() {
    let mut list = Sublist::new();
    for n in 0..100_000u32 {
        list.insert(format!("inbox.{n}").as_bytes(), n).unwrap();
    }
    for n in (0..100_000u32).step_by(997) {
        assert_eq!(asked(&list, format!("inbox.{n}").as_bytes()), [n]);
    }
    assert!(!list.has_interest(b"inbox.100000") && !list.has_interest(b"inbox"));
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(Vec<u8>),
    RemoveKey(usize),
    RemoveWhere(Vec<u8>),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => naive::filter(4).prop_map(Operation::Insert),
        1 => any::<usize>().prop_map(Operation::RemoveKey),
        1 => naive::filter(4).prop_map(Operation::RemoveWhere),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_plain_list(operations in proptest::collection::vec(operation(), 0..60), questions in proptest::collection::vec(naive::filter(4), 4)) {
        let mut list = Sublist::with_seed(7);
        let mut model: Vec<(Vec<u8>, SubKey, u32)> = Vec::new();
        for (value, operation) in (0u32..).zip(operations) {
            let before = list.generation();
            let changed = match operation {
                Operation::Insert(filter) => {
                    let key = list.insert(&filter, value).unwrap();
                    model.push((filter, key, value));
                    true
                }
                Operation::RemoveKey(_) if model.is_empty() => false,
                Operation::RemoveKey(at) => {
                    let (_, key, value) = model.remove(at % model.len());
                    prop_assert_eq!(list.remove(key), Some(value));
                    true
                }
                Operation::RemoveWhere(filter) => {
                    let at = model.iter().position(|(have, _, value)| *have == filter && value % 2 == 0);
                    let expected = at.map(|at| model.remove(at).2);
                    prop_assert_eq!(list.remove_where(&filter, |value| value % 2 == 0), expected);
                    expected.is_some()
                }
            };
            prop_assert_eq!(list.generation() > before, changed);
            prop_assert_eq!(list.len(), model.len());
        }
        for (filter, key, value) in &model {
            prop_assert_eq!(list.filter_of(*key), Some(filter.clone()));
            prop_assert_eq!(list.get(*key), Some(value));
        }
        for literal in naive::literals(4) {
            let expected: Vec<u32> = model.iter().filter(|(filter, ..)| naive::matches(filter, &literal)).map(|(.., value)| *value).collect();
            prop_assert_eq!(list.has_interest(&literal), !expected.is_empty());
            prop_assert_eq!(asked(&list, &literal), &expected[..]);
            // What was not looked at may be anything.
            let decided = list.matches(&literal, &mut |_| {});
            let other: Vec<&[u8]> = literal
                .split(|byte| *byte == b'.')
                .enumerate()
                .map(|(at, token)| if at < decided { token } else { b"other" })
                .collect();
            prop_assert_eq!(asked(&list, &other.join(&b'.')), expected);
        }
        for question in questions {
            let mut out = Vec::new();
            list.overlapping(&question, &mut |value| out.push(*value));
            out.sort_unstable();
            let expected: Vec<u32> = model.iter().filter(|(filter, ..)| overlaps(filter, &question)).map(|(.., value)| *value).collect();
            prop_assert_eq!(list.has_overlap(&question), !expected.is_empty());
            prop_assert_eq!(&out, &expected);
            let mut steps = 1;
            list.overlapping_within(&question, &mut steps, &mut |_| {});
            prop_assert_eq!(steps, 0);
            let mut covering = Vec::new();
            list.covering(&question, &mut |value| covering.push(*value));
            covering.sort_unstable();
            let expected_covering: Vec<u32> = model.iter().filter(|(filter, ..)| is_subset(&question, filter)).map(|(.., value)| *value).collect();
            prop_assert_eq!(covering, expected_covering);
            if is_literal(&question) {
                prop_assert_eq!(asked(&list, &question), expected);
            }
        }
    }
}
