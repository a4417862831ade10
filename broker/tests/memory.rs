//! A server gives back what was let go of. A process by itself: the allocator is that of all its threads.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use support::{PATIENCE, TestServer};

const SUBSCRIBERS: usize = 24;
/// Bytes for each of them, most of which waits in the server; twice, so that what is wanted the second time stands beside other memory.
const EACH: usize = 12 << 20;
const BODY: usize = 64 << 10;
/// Pieces that do not stand alone.
const PIECE: usize = 60 << 10;
const PIECES: usize = 2048;

/// Memory of this process that belongs to no file, in MiB.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}

#[test]
fn what_waited_for_subscribers_that_did_not_read_goes_back_when_they_are_gone() {
    let server = TestServer::start(|_| {});
    let body = "x".repeat(BODY);
    let mut publisher = server.client();
    for _ in 0..2 {
        let mut subscribers: Vec<_> = (0..SUBSCRIBERS).map(|_| server.client()).collect();
        for (n, subscriber) in subscribers.iter_mut().enumerate() {
            subscriber.exchange(format!("SUB s.{n} 1\r\n"), "");
        }
        for _ in 0..EACH / BODY {
            for n in 0..SUBSCRIBERS {
                publisher.send(format!("PUB s.{n} {BODY}\r\n{body}\r\n"));
            }
        }
        publisher.exchange("", "");
    }
    // What the allocator keeps of buffers is a matter of chance; of small pieces with others between them it keeps all.
    let pieces: Vec<Vec<u8>> = (0..PIECES).map(|n| vec![n as u8 | 1; PIECE]).collect();
    let stays: Vec<Vec<u8>> = pieces.iter().rev().step_by(64).cloned().collect();
    drop(pieces);
    assert!(anonymous() > 80, "{} MiB", anonymous());
    let until = Instant::now() + PATIENCE;
    while anonymous() > 64 {
        assert!(Instant::now() < until, "{} MiB stay", anonymous());
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stays);
}
