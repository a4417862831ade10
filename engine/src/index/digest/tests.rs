use super::*;

fn digest(messages: &[(Seq, &str, u64)]) -> Digest {
    let mut digest = Digest::default();
    for (seq, subject, size) in messages {
        digest.add(*seq, subject.as_bytes(), *size);
    }
    digest
}

/// It is on disks, and told by one machine to another: it never changes.
#[test]
fn it_is_the_same_everywhere_and_for_ever() {
    let subjects = ["", "a", "a.b.c", "orders.12", "orders.eu.customer-4711.created"];
    let told: Vec<String> = subjects
        .iter()
        .map(|subject| digest(&[(7, subject, 100)]).to_string())
        .collect();
    assert_eq!(told, TOLD);
    assert_eq!(digest(&[]).to_string(), "0000000000000000");
    assert_eq!(Digest::of_numbers(&[1, 2, 3]).to_string(), OF_NUMBERS);
}

const TOLD: [&str; 5] = [
    "05ee959f4d4a93d6",
    "3ebb2e963c0771b1",
    "82e2a67cd6b9ff6d",
    "6f83b35dd68e4b8f",
    "c95f7956416ccdc4",
];
const OF_NUMBERS: &str = "398445e5ef2eef27";

#[test]
fn every_difference_is_another_digest_and_no_order_is() {
    let all = [(1, "a.b", 40), (2, "a.c", 41), (9, "a.b", 40)];
    let whole = digest(&all);
    assert_eq!(digest(&[all[2], all[0], all[1]]), whole);
    for other in [
        &[(1, "a.b", 40), (2, "a.c", 41)][..],
        &[(1, "a.b", 40), (2, "a.c", 41), (9, "a.c", 40)],
        &[(1, "a.b", 40), (2, "a.c", 41), (8, "a.b", 40)],
        &[(1, "a.b", 40), (2, "a.c", 42), (9, "a.b", 40)],
        // As many bytes, and the same subjects, elsewhere.
        &[(1, "a.b", 41), (2, "a.c", 40), (9, "a.b", 40)],
        &[(1, "a.c", 40), (2, "a.b", 41), (9, "a.b", 40)],
        &[(1, "a.b", 40), (2, "a.c", 41), (9, "a.b", 40), (10, "a.b", 40)],
    ] {
        assert_ne!(digest(other), whole, "{other:?}");
    }
    let mut rest = whole;
    rest.leave_out(digest(&all[..2]));
    assert_eq!(rest, digest(&all[2..]));
}

/// Each byte of a subject of whatever length counts, wherever it stands.
#[test]
fn subjects_that_differ_in_a_byte_differ() {
    for len in 1..40 {
        let plain = vec![b'x'; len];
        let mut seen = std::collections::BTreeSet::from([hash(&plain), hash(&plain[1..])]);
        for at in 0..len {
            let mut other = plain.clone();
            other[at] = b'y';
            assert!(seen.insert(hash(&other)), "byte {at} of {len}");
        }
    }
}
