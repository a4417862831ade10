#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use super::*;

fn written(numbers: &[u64]) -> Vec<u8> {
    let mut out = vec![22, 2];
    for &number in numbers {
        varint::put(&mut out, number);
    }
    out
}

#[test]
fn numbers_are_told_from_what_is_acknowledged() {
    // Acknowledged 10 and 20, delivered 15 and 30; two pending, one of them redelivered three times.
    let base = varint::zigzag(1_000);
    let state = written(&[10, 20, 15, 30, 2, base, 1, 1, 0, 5, 4, varint::zigzag(60), 1, 5, 3]);
    let state = ConsumerState::parse(&state).unwrap();
    assert_eq!((state.ack_floor.consumer, state.ack_floor.stream), (10, 20));
    assert_eq!((state.delivered.consumer, state.delivered.stream), (15, 30));
    let pending = |sequence, seconds| Pending {
        sequence,
        timestamp: seconds * SECOND,
    };
    assert_eq!(state.pending, [(21, pending(11, 1_000)), (25, pending(14, 940))].into());
    assert_eq!(state.redelivered, [(25, 3)].into());
}

#[test]
fn what_no_consumer_has_is_refused() {
    let whole = written(&[10, 20, 15, 30, 1, 0, 1, 1, 0, 1, 1, 1]);
    ConsumerState::parse(&whole).unwrap();
    for len in 0..whole.len() {
        ConsumerState::parse(&whole[..len]).unwrap_err();
    }
    for numbers in [
        &[1 << 62, 0, 0, 0, 0, 0][..],
        &[0, u64::MAX, 0, 0, 0, 0],
        &[0, 0, 0, 0, u64::MAX, 0],
        &[1, 1, 1, 1, 1, u64::MAX, 1, 1, 0, 0],
        &[1, 1, 1, 1, 0, u64::MAX],
    ] {
        ConsumerState::parse(&written(numbers)).unwrap_err();
    }
    ConsumerState::parse(&[22, 3, 0, 0, 0, 0, 0, 0]).unwrap_err();
}
