use super::*;

#[test]
fn placeholders_are_filled() {
    assert_eq!(STREAM_WRONG_LAST_SEQUENCE.with(7).text, "wrong last sequence: 7");
    assert_eq!(STREAM_NOT_FOUND.with(7), STREAM_NOT_FOUND);
}
