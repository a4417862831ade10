use super::*;

#[test]
fn numbers_are_readable() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(count(number), text);
    }
    assert_eq!(number_of(1, "record"), "1 record");
    assert_eq!(number_of(1_000, "record"), "1,000 records");
    assert_eq!(time(Some(1_500_000_000)), "1970-01-01T00:00:01Z");
    assert_eq!(time(None), "-");
}
