use super::*;

#[test]
fn pairs_escapes_numbers_and_flags() {
    let query = Query::parse("a=x%20y+z&limit=7&subs=1&bad=%zz&neg=-4&n=abc&empty=");
    assert_eq!(query.text("a"), Some("x y z"));
    assert_eq!(query.number("limit"), Ok(7));
    assert_eq!(query.number("neg"), Ok(0));
    assert_eq!(query.flag("subs"), Ok(true));
    assert_eq!(query.flag("missing"), Ok(false));
    assert_eq!(query.text("bad"), None);
    assert_eq!(query.text("empty"), None);
    assert!(query.number("n").is_err() && query.flag("n").is_err());
}

#[test]
fn numbers_that_are_none_are_told_as_by_go() {
    let query = Query::parse("a=-1&b=%2B1&c=99999999999999999999&d=-99999999999999999999&e=1;2&f=18446744073709551615");
    let told = |name: &str| query.id(name).unwrap_err();
    let text = "Error decoding uint64 for 'a': strconv.ParseUint: parsing \"-1\": invalid syntax";
    assert_eq!(told("a"), text);
    assert!(told("b").contains("\"+1\": invalid syntax"));
    assert!(told("c").ends_with("value out of range"));
    let number = query.number("d").unwrap_err();
    assert!(number.ends_with("strconv.Atoi: parsing \"-99999999999999999999\": value out of range"));
    assert_eq!((query.id("e"), query.id("f")), (Ok(0), Ok(u64::MAX)));
    assert_eq!(query.number("b"), Ok(1));
}
