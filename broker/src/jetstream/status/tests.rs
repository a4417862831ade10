use super::*;

#[test]
fn blocks_are_whole() {
    assert_eq!(block(404, "No Messages", &[]), b"NATS/1.0 404 No Messages\r\n\r\n");
    assert_eq!(
        block(408, "Request Timeout", &[("Nats-Pending-Messages", &3)]),
        b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    );
}
