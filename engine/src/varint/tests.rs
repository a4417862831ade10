use super::*;

#[test]
fn numbers_round_trip() {
    for number in [0, 1, 127, 128, 300, 1 << 62, u64::MAX] {
        let mut out = Vec::new();
        put(&mut out, number);
        let mut rest = &out[..];
        assert_eq!(take(&mut rest), Some(number));
        assert!(rest.is_empty());
        assert_eq!(take(&mut &out[..out.len() - 1]), None);
    }
    for number in [0, -1, 1, i64::MIN, i64::MAX] {
        assert_eq!(unzigzag(zigzag(number)), number);
    }
    assert_eq!((zigzag(-1), zigzag(1)), (1, 2));
}

#[test]
fn more_than_64_bits_are_none() {
    assert_eq!(take(&mut &[0xff; 10][..]), None);
    let mut one_more = [0xff; 10];
    one_more[9] = 2;
    assert_eq!(take(&mut &one_more[..]), None);
}
