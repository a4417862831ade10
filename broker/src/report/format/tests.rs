use super::*;

#[test]
fn as_go_prints_them() {
    let start = Timestamp::UNIX_EPOCH;
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    assert_eq!(uptime(start, start), "0s");
    assert_eq!(uptime(start, at(3_661)), "1h1m1s");
    assert_eq!(uptime(start, at(90_061)), "1d1h1m1s");
    assert_eq!(uptime(at(5), start), "0s");
}
