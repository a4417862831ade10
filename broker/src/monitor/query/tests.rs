use super::*;

#[test]
fn pairs_escapes_numbers_and_flags() {
    let query = Query::parse("a=x%20y+z&limit=7&subs=1&bad=%zz&neg=-4&n=abc&empty=");
    assert_eq!(query.text("a"), Some("x y z"));
    assert_eq!(query.number("limit"), Ok(7));
    assert_eq!(query.number("neg"), Ok(0));
    assert_eq!(query.flag("subs"), Ok(true));
    assert_eq!(query.flag("missing"), Ok(false));
    assert_eq!(query.text("bad"), Some("%zz"));
    assert_eq!(query.text("empty"), None);
    assert!(query.number("n").is_err() && query.flag("n").is_err());
}
