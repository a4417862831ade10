use super::*;

#[test]
fn numbers_are_grouped() {
    assert_eq!(number(1_234_567.4), "1,234,567");
    assert_eq!(number(999.6), "1,000");
    assert_eq!(number(100.0), "100");
    assert_eq!(number(12.345), "12.35");
    assert_eq!(number(7.0), "7");
}

#[test]
fn columns_line_up() {
    let rows = [vec!["a".into(), "10".into()], vec!["bcd".into(), "7".into()]];
    assert_eq!(aligned(&rows), "  a    10\n  bcd   7\n");
}
