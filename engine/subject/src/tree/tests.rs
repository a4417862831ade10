use super::*;
use crate::naive;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn matched(tree: &SubjectTree<u32>, filter: &[u8]) -> Vec<(Vec<u8>, u32)> {
    let mut out = Vec::new();
    let _: ControlFlow<()> = tree.for_each_match(filter, |subject, value| {
        out.push((subject.to_vec(), *value));
        ControlFlow::Continue(())
    });
    out
}

/// Nodes are joined as far as they can be, children sorted, and the count right.
fn check(tree: &SubjectTree<u32>) {
    let mut leaves = 0;
    let mut pending = vec![&tree.root];
    while let Some(child) = pending.pop() {
        match child {
            Child::Empty => assert!(tree.is_empty()),
            Child::Leaf(_) => leaves += 1,
            Child::Inner(inner) => {
                assert!(inner.children.len() >= 2);
                assert_eq!(
                    inner.children.len(),
                    inner.keys().len() + usize::from(inner.end().is_some())
                );
                assert!(inner.keys().is_sorted());
                assert!(inner.children.capacity() <= (inner.children.len() * 2).max(4));
                pending.extend(&inner.children);
            }
        }
    }
    assert_eq!(leaves, tree.len());
}

#[test]
fn subjects_that_begin_alike() {
    let mut tree = SubjectTree::new();
    for (value, subject) in ["a.b", "a", "a.b.c", "ab", "a.bc", "", "b"].iter().enumerate() {
        assert_eq!(tree.insert(subject.as_bytes(), value as u32), None);
        check(&tree);
    }
    assert_eq!(tree.insert(b"ab", 9), Some(3));
    assert_eq!(tree.get(b"a"), Some(&1));
    assert_eq!(
        (tree.get(b"a."), tree.get(b"a.b.c.d"), tree.get(b"")),
        (None, None, Some(&5))
    );
    let order: Vec<Vec<u8>> = tree.iter().map(|(subject, _)| subject).collect();
    assert_eq!(order, [&b""[..], b"a", b"a.b", b"a.b.c", b"a.bc", b"ab", b"b"]);
    assert_eq!(
        format!("{tree:?}"),
        "{: 5, a: 1, a.b: 0, a.b.c: 2, a.bc: 4, ab: 9, b: 6}"
    );
}

#[test]
fn filters_find() {
    let mut tree = SubjectTree::new();
    for (value, subject) in ["kv.a.x", "kv.ab.x", "kv.a.y", "kv.a", "kv", "other.a.x", "kv.a.x.z"]
        .iter()
        .enumerate()
    {
        tree.insert(subject.as_bytes(), value as u32);
    }
    let values = |filter: &[u8]| {
        matched(&tree, filter)
            .into_iter()
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    assert_eq!(values(b"kv.*"), [3]);
    assert_eq!(values(b"kv.*.x"), [0, 1]);
    assert_eq!(values(b"kv.a.*"), [0, 2]);
    assert_eq!(values(b"kv.>"), [3, 0, 6, 2, 1]);
    assert_eq!(values(b"*.a.x"), [0, 5]);
    assert_eq!(values(b">"), [4, 3, 0, 6, 2, 1, 5]);
    assert_eq!(values(b"kv.a.x"), [0]);
    assert_eq!(values(b"kv.a.x.>"), [6]);
    for malformed in [&b""[..], b"a..b", b"kv.", b"*.", b">."] {
        values(malformed);
    }
}

#[test]
fn a_walk_can_be_broken_off() {
    let mut tree = SubjectTree::new();
    for n in 0..100u32 {
        tree.insert(format!("a.{n:03}").as_bytes(), n);
    }
    let mut seen = 0;
    let end = tree.for_each_match(b"a.*", |subject, _| {
        seen += 1;
        if subject == b"a.041" {
            ControlFlow::Break("here")
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((end, seen), (ControlFlow::Break("here"), 42));
}

#[test]
fn all_bytes() {
    let mut tree = SubjectTree::new();
    for byte in 0..=255u8 {
        tree.insert(&[b'a', b'.', byte], u32::from(byte));
    }
    check(&tree);
    assert!(tree.iter().map(|(_, value)| *value).eq(0..256));
}

#[test]
fn depth_needs_no_stack() {
    // Each subject one byte longer than the last: 4,000 nodes deep, on a stack of 64 KiB.
    let work = || {
        let mut deep = SubjectTree::new();
        let long = vec![b'x'; 4000];
        for len in 1..=long.len() {
            deep.insert(&long[..len], len as u32);
        }
        assert_eq!(matched(&deep, b"*").len(), long.len());
        assert_eq!(deep.remove(&long[..777]), Some(777));
        assert_eq!(deep.get(&long[..778]), Some(&778));
    };
    std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(Vec<u8>),
    Bump(Vec<u8>),
    Remove(Vec<u8>),
}

fn operation() -> impl Strategy<Value = Operation> {
    // Few bytes, so that subjects share much, and sometimes a long run that does not fit inline.
    let piece = proptest::sample::select(&["a", "b", "ab", ".", ".", "abcdefghijklmnopqrstuvwxyz", "\u{e9}"][..]);
    let subject = proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat().into_bytes());
    (0..5u8, subject).prop_map(|(kind, subject)| match kind {
        0 | 1 => Operation::Insert(subject),
        2 => Operation::Bump(subject),
        _ => Operation::Remove(subject),
    })
}

proptest! {
    #[test]
    fn agrees_with_a_map(operations in proptest::collection::vec(operation(), 0..200)) {
        let mut tree = SubjectTree::new();
        let mut model: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for (value, operation) in (0u32..).zip(operations) {
            match operation {
                Operation::Insert(subject) => prop_assert_eq!(tree.insert(&subject, value), model.insert(subject, value)),
                Operation::Bump(subject) => {
                    *tree.get_or_insert_with(&subject, || value) += 1000;
                    *model.entry(subject.clone()).or_insert(value) += 1000;
                    prop_assert_eq!(tree.get_mut(&subject).copied(), model.get(&subject).copied());
                }
                Operation::Remove(subject) => prop_assert_eq!(tree.remove(&subject), model.remove(&subject)),
            }
            check(&tree);
            prop_assert_eq!(tree.len(), model.len());
        }
        prop_assert!(tree.iter().map(|(subject, value)| (subject, *value)).eq(model.clone()));
        for (subject, value) in &model {
            prop_assert_eq!(tree.get(subject), Some(value));
        }
        for subject in model.keys() {
            tree.remove(subject);
        }
        prop_assert!(matches!(tree.root, Child::Empty));
    }

    #[test]
    fn finds_what_a_scan_finds(keep in proptest::collection::vec(any::<bool>(), 363), filters in proptest::collection::vec(naive::filter(5), 20)) {
        let mut tree = SubjectTree::new();
        let mut model: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for ((subject, keep), value) in naive::literals(5).into_iter().zip(keep).zip(0u32..) {
            if keep {
                tree.insert(&subject, value);
                model.insert(subject, value);
            }
        }
        for filter in filters {
            let expected: Vec<_> = model.clone().into_iter().filter(|(subject, _)| naive::matches(&filter, subject)).collect();
            prop_assert_eq!(matched(&tree, &filter), expected);
        }
    }
}

#[test]
fn a_walk_goes_on_where_it_was() {
    let mut tree = SubjectTree::new();
    let mut names: Vec<String> = (0..500)
        .map(|number| {
            format!(
                "{}.{}.{}",
                "abc".get(number % 3..=number % 3).unwrap(),
                number % 7,
                number
            )
        })
        .collect();
    names.extend(["a", "a.1", "b", "zz"].map(String::from));
    for name in &names {
        tree.insert(name.as_bytes(), ());
    }
    names.sort_unstable();
    for (filter, wanted) in [(">", None), ("a.*.*", Some("a.")), ("*.3.>", Some(".3."))] {
        let all: Vec<_> = names
            .iter()
            .filter(|name| wanted.is_none_or(|wanted| name.contains(wanted) && name.matches('.').count() == 2))
            .collect();
        let (mut seen, mut after) = (Vec::new(), Vec::new());
        loop {
            let mut few = Vec::new();
            let _: ControlFlow<()> = tree.for_each_match_after(filter.as_bytes(), &after, |name, ()| {
                few.push(String::from_utf8(name.to_vec()).unwrap());
                match few.len() < 7 {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
            let Some(last) = few.last() else { break };
            after = last.clone().into_bytes();
            seen.extend(few);
        }
        assert!(seen.iter().eq(all), "{filter}");
        let none: ControlFlow<()> =
            tree.for_each_match_after(filter.as_bytes(), b"zzz", |_, ()| ControlFlow::Break(()));
        assert!(none.is_continue());
    }
}

proptest! {
    #[test]
    fn made_at_once_it_is_the_same(pieces in proptest::collection::vec(proptest::collection::vec(
        proptest::sample::select(&["a", "b", "ab", ".", "abcdefghijklmnopqrstuvwxyz", "\u{e9}"][..]), 0..6), 0..60)) {
        let mut subjects: Vec<Vec<u8>> = pieces.iter().map(|pieces| pieces.concat().into_bytes()).collect();
        subjects.sort();
        let mut one_by_one = SubjectTree::new();
        for (value, subject) in subjects.iter().enumerate() {
            // The first of those that are the same counts.
            if one_by_one.get(subject).is_none() {
                one_by_one.insert(subject, value as u32);
            }
        }
        let mut at_once = SubjectTree::of_sorted(subjects.iter().enumerate().map(|(value, subject)| (&subject[..], value as u32)));
        check(&at_once);
        prop_assert_eq!(at_once.iter().collect::<Vec<_>>(), one_by_one.iter().collect::<Vec<_>>());
        for subject in &subjects {
            prop_assert_eq!(at_once.get(subject), one_by_one.get(subject));
        }
        // It goes on like any other.
        for subject in &subjects {
            at_once.remove(subject);
            check(&at_once);
        }
        prop_assert!(at_once.is_empty());
    }
}
