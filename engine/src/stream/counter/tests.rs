use super::*;

fn message(block: &str, payload: &str) -> Publish {
    Publish {
        subject: "c.a".into(),
        headers_len: block.len(),
        body: format!("{block}{payload}").into(),
    }
}

#[test]
fn reads_numbers_of_any_length() {
    let long = "123456789012345678901234567890";
    assert_eq!(parse(long.as_bytes()).unwrap().to_string(), long);
    assert_eq!(parse(b"+5"), Some(BigInt::from(5)));
    assert_eq!(parse(b"-5"), Some(BigInt::from(-5)));
    for other in [&b""[..], b"-", b"1.5", b"1_000", b"0x1", b"--1"] {
        assert_eq!(parse(other), None);
    }
}

#[test]
fn adds() {
    let (stored, counter) = Counter::default()
        .add(message("NATS/1.0\r\nNats-Incr: 7\r\n\r\n", ""), &BigInt::from(7))
        .unwrap();
    assert_eq!(stored.payload(), "{\"val\":\"7\"}");
    assert_eq!(&*counter.value(), "7");
}

#[test]
fn what_an_origin_said_before_is_not_added_again() {
    let block = "NATS/1.0\r\nNats-Incr: 1\r\nNats-Stream-Source: A 3 > > a.b\r\n\r\n";
    let (_, counter) = Counter::default()
        .add(message(block, "{\"val\":\"10\"}"), &BigInt::from(1))
        .unwrap();
    let (stored, counter) = counter
        .add(message(block, "{\"val\":\"12\"}"), &BigInt::from(1))
        .unwrap();
    assert_eq!(&*counter.value(), "12");
    assert_eq!(headers::get(&stored.headers(), INCREMENT), Some(&b"2"[..]));
    assert_eq!(
        headers::get(&stored.headers(), SOURCES),
        Some(&br#"{"A":{"a.b":"12"}}"#[..])
    );
}
