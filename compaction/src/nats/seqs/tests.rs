#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use super::*;

/// A set as nats-server writes it: of one node.
fn written(version: u8, base: u64, words: &[u64]) -> Vec<u8> {
    let mut out = vec![22, version, 1, 0, 0, 0, 9, 0, 0, 0];
    out.extend_from_slice(&base.to_le_bytes());
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&[1, 0]);
    out
}

#[test]
fn both_versions_are_read() {
    for (version, words) in [(1, 64), (2, 32)] {
        let mut bits = vec![0; words];
        bits[0] = 0b101;
        bits[words - 1] = 1 << 63;
        let mut written = written(version, 4096, &bits);
        written.extend_from_slice(b"rest");
        let mut rest = &written[..];
        let set = SeqSet::take(&mut rest).unwrap();
        assert_eq!(rest, b"rest");
        let last = 4096 + 64 * words as u64 - 1;
        for (seq, is_there) in [
            (4096, true),
            (4097, false),
            (4098, true),
            (last, true),
            (last + 1, false),
        ] {
            assert_eq!(set.contains(seq), is_there, "{version} {seq}");
        }
    }
}

#[test]
fn what_is_cut_off_or_too_high_is_none() {
    let whole = written(2, 0, &[u64::MAX; 32]);
    for len in 0..whole.len() {
        assert!(SeqSet::take(&mut &whole[..len]).is_none());
    }
    assert!(SeqSet::take(&mut &written(2, u64::MAX - 10, &[u64::MAX; 32])[..]).is_none());
    let mut many = whole;
    many[2..6].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(SeqSet::take(&mut &many[..]).is_none());
}
