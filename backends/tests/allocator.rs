//! What was let go of goes back to the system. A process by itself: the allocator is that of all its threads.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use weir_backends::allocator::Leftovers;

/// Pieces that do not stand alone, one of which in so many stays.
const PIECE: usize = 60 << 10;
const PIECES: usize = 2048;
const STAYS: usize = 64;

/// Memory of this process that belongs to no file, in MiB.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}

/// Takes 120 MiB, lets nearly all of it go, and answers what stays.
fn take_and_let_go() -> Vec<Vec<u8>> {
    let pieces: Vec<Vec<u8>> = (0..PIECES).map(|n| vec![n as u8 | 1; PIECE]).collect();
    let stays = pieces.iter().rev().step_by(STAYS).cloned().collect();
    drop(pieces);
    stays
}

#[test]
fn much_that_was_let_go_of_goes_back_each_time_and_little_stays() {
    let mut leftovers = Leftovers::default();
    assert!(!leftovers.tidy(), "there is little");
    for _ in 0..3 {
        let stays = take_and_let_go();
        let before = anonymous();
        assert!(before > 80, "the allocator keeps nothing: {before} MiB");
        assert!(leftovers.tidy());
        let after = anonymous();
        assert!(after < 40, "{before} MiB, and {after} behind it");
        // What is back is not given back once more.
        assert!(!leftovers.tidy());
        assert!(stays.iter().all(|piece| piece.iter().all(|byte| *byte == piece[0])));
    }
}
