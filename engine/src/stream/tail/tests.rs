use super::*;

#[test]
fn keeps_what_is_unwritten_and_some_of_the_rest() {
    let mut tail = Tail::default();
    for seq in [1, 2, 5] {
        tail.push(seq, 0, Bytes::from_static(b"h"), Bytes::from_static(b"b"));
    }
    assert_eq!(tail.unwritten().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 5]);
    tail.written(true);
    assert!(!tail.has_unwritten());
    assert_eq!(tail.get(5).map(|entry| entry.seq), Some(5));
    assert_eq!(tail.get(3), None);
    assert_eq!(tail.get(9), None);
    tail.push(6, 0, Bytes::new(), Bytes::from(vec![0; 2 * KEEP_BYTES]));
    tail.written(true);
    assert_eq!(tail.get(6), None);
    tail.written(false);
    assert_eq!(tail.get(5), None);
}
