use super::*;

#[test]
fn reads_the_numbers_of_acks() {
    let numbers = AckNumbers {
        deliveries: 1,
        stream_seq: 22,
        consumer_seq: 3,
    };
    assert_eq!(AckNumbers::parse(b"1.22.3.1700000000000000000.5"), Some(numbers));
    for rest in ["1.22.3.17", "1.x.3.17.5", "1.2.3.4.5.6", ""] {
        assert_eq!(AckNumbers::parse(rest.as_bytes()), None, "{rest}");
    }
}
