use super::*;

#[test]
fn knows_markers() {
    assert!(is_marker(b"NATS/1.0\r\nNats-Marker-Reason: Remove\r\n\r\n"));
    assert!(is_marker(b"NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n"));
    assert!(!is_marker(b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"));
    assert!(!is_marker(b""));
}
