use super::*;

#[test]
fn asset_names_are_one_token_and_one_file() {
    assert!(is_asset_name("ORDERS-1_$x\u{e9}"));
    for bad in [
        "", "a b", "a.b", "*", ">", "a/b", "a\\b", "a\tb", "a\nb", "a\rb", "a\x0cb",
    ] {
        assert!(!is_asset_name(bad), "{bad:?}");
    }
}

#[test]
fn numbers_are_spelled() {
    assert_eq!(spell([0, 9, 10, 35, 36, 61, 62, u64::MAX]), "09AZaz0F");
}
