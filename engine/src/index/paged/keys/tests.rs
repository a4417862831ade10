use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn entries_come_back(count in 1u64.., first in 1u64.., span: u64) {
        let last = if count == 1 { first } else { first.saturating_add(span) };
        let info = SubjectInfo { count, first, last };
        prop_assert_eq!(decode(b"k", &encode(info)).unwrap(), info);
    }

    #[test]
    fn nonsense_is_an_error(value: Vec<u8>) {
        let _ = decode(b"k", &value);
        let _ = Totals::decode(b"k", &value);
    }

    #[test]
    fn totals_come_back(numbers: [u64; 5], epoch: u32, oldest: u32, building: bool, digest: Option<u64>) {
        let [len, subjects, first, last, next] = numbers;
        let digest = digest.map(Digest::from_number);
        let totals = Totals { epoch, oldest, building, len, subjects, first, last, next, digest };
        let written = totals.encode();
        prop_assert_eq!(Totals::decode(b"k", &written).unwrap(), totals);
        // As an earlier version of this program wrote them.
        let without = Totals { digest: None, ..totals };
        prop_assert_eq!(Totals::decode(b"k", &written[..DIGEST]).unwrap(), without);
    }
}

#[test]
fn the_usual_entry_is_small() {
    let one = SubjectInfo {
        count: 1,
        first: 1_000_000,
        last: 1_000_000,
    };
    assert_eq!(encode(one).len(), 4);
    assert!(decode(b"k", b"").is_err() && decode(b"k", &[0, 1]).is_err() && decode(b"k", &[2, 1]).is_err());
    assert!(decode(b"k", &[0xff; 30]).is_err());
}

#[test]
fn no_subject_is_mistaken_for_another() {
    let keys = Keys::new(LogId(7), 3);
    assert!(!keys.postings(b"ab").starts_with(&keys.postings(b"a")));
    assert!(keys.posting(b"a", 9).starts_with(&keys.postings(b"a")));
    assert_eq!(seq_of(&keys.posting(b"a", 9)), Some(9));
    assert!(is_subject(&keys.subject(b"a")) && !is_subject(&keys.posting(b"a", 1)) && !is_subject(&keys.chunk(1)));
}
