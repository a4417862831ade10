use super::*;

#[test]
fn changes_blocks() {
    assert_eq!(with(b"", "A", "1"), b"NATS/1.0\r\nA: 1\r\n\r\n");
    let block = with(b"NATS/1.0\r\nB:2\r\n\r\n", "A", "1");
    assert_eq!(block, b"NATS/1.0\r\nB:2\r\nA: 1\r\n\r\n");
    assert_eq!(set(&block, "B", "33"), b"NATS/1.0\r\nB:33\r\nA: 1\r\n\r\n");
    assert_eq!(set(b"", "B", "3"), b"NATS/1.0\r\nB: 3\r\n\r\n");
    assert_eq!(without(&block, "B"), b"NATS/1.0\r\nA: 1\r\n\r\n");
    assert_eq!(without(b"NATS/1.0\r\nB:2\r\n\r\n", "B"), b"");
    let all: Vec<_> = each(&block).collect();
    assert_eq!(all, [(&b"B"[..], &b"2"[..]), (&b"A"[..], &b"1"[..])]);
}

#[test]
fn finds_exact_names_only() {
    let block = b"NATS/1.0\r\nNats-Msg-Id: a b \r\nnats-msg-id: c\r\nX:1\r\n\r\n";
    assert_eq!(get(block, "Nats-Msg-Id"), Some(&b"a b "[..]));
    assert_eq!(get_str(block, "X"), Some("1"));
    assert_eq!(get(block, "Nats-Msg"), None);
    assert_eq!(get(b"", "X"), None);
}
