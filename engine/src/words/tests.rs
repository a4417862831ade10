use super::*;

#[test]
fn one_is_not_many() {
    assert_eq!(count(1, "message"), "1 message");
    assert_eq!(count(0, "message"), "0 messages");
    assert_eq!(numbered("record", &[(36, 36)]), "record 36");
    assert_eq!(numbered("record", &[(36, 40)]), "records 36 to 40");
    assert_eq!(numbered("record", &[(3, 3), (5, 9)]), "records 3, 5 to 9");
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(cut("short", 5), "short");
    assert_eq!(cut("aöö", 4), "aö…");
}
