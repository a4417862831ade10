use super::*;

#[test]
fn drops_headers_about_publishing() {
    let block = b"NATS/1.0\r\nA: 1\r\nNats-Scheduler: x\r\nNats-Schedule-TTL: 1\r\nNats-Expected-Stream: s\r\n\
        Nats-TTL: 5\r\nNats-Msg-Id: i\r\nNats-Rollup: sub\r\nNats-TTLs: 1\r\n\r\n";
    assert_eq!(plain_headers(block), b"NATS/1.0\r\nA: 1\r\nNats-TTLs: 1\r\n\r\n");
    assert_eq!(plain_headers(b"NATS/1.0\r\nNats-TTL: 5\r\n\r\n"), b"");
    assert_eq!(plain_headers(b""), b"");
}
