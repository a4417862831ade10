use super::*;

#[test]
fn keeps_what_is_unwritten_and_some_of_the_rest() {
    let mut tail = Tail::default();
    for seq in [1, 2, 5] {
        tail.push(seq, 0, Bytes::from_static(b"h"), Bytes::from_static(b"b"));
    }
    assert_eq!(tail.unwritten().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 5]);
    assert_eq!(tail.stage(), 3);
    assert!(!tail.has_unstaged());
    tail.written(3);
    tail.let_go(true);
    assert_eq!(tail.unwritten().count(), 0);
    assert_eq!(tail.get(5).map(|entry| entry.seq), Some(5));
    assert_eq!(tail.get(3), None);
    assert_eq!(tail.get(9), None);
    tail.push(6, 0, Bytes::new(), Bytes::from(vec![0; 2 * KEEP_BYTES]));
    assert_eq!(tail.stage(), 1);
    tail.written(1);
    tail.let_go(true);
    assert_eq!(tail.get(6), None);
    tail.let_go(false);
    assert_eq!(tail.get(5), None);
}

#[test]
fn keeps_what_turns_staged_that_are_not_committed() {
    let mut tail = Tail::default();
    tail.push(1, 0, Bytes::new(), Bytes::new());
    assert_eq!(tail.stage(), 1);
    tail.push(2, 0, Bytes::new(), Bytes::new());
    tail.push(3, 0, Bytes::new(), Bytes::new());
    assert!(tail.has_unstaged());
    assert_eq!(tail.stage(), 2);
    tail.written(1);
    tail.let_go(false);
    assert_eq!(tail.get(1), None);
    assert_eq!(tail.unwritten().map(|record| record.seq).collect::<Vec<_>>(), [2, 3]);
    tail.written(2);
    tail.let_go(false);
    assert_eq!(tail.get(3), None);
}
