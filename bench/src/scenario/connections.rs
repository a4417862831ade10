//! `connections`: very many connections that do nothing: how fast they are let in, and the memory that each costs.

use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Target;
use crate::clock::now_ns;
use crate::conn::{Conn, RECEIVE_LITTLE};
use crate::error::{LoadError, Result};
use crate::measure::{Meter, Outcome, latencies};
use crate::process;

/// How many connect at the same time.
const AT_ONCE: u64 = 4;
/// From the last PONG until memory is read, and from the first connection of all until it is read the first time.
const SETTLE: Duration = Duration::from_secs(2);

/// Opens so many connections, each with a subscription, and waits for a PONG on each; reads memory; asks each for another PONG.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, connections: u64) -> Result<Outcome> {
    // What is set up by the first connection is not counted for the others.
    drop(target.connect()?);
    thread::sleep(SETTLE);
    let before = target.pid.map(process::memory).transpose()?;
    let meter = Meter::start(target.pid)?;
    let parts: Vec<_> = thread::scope(|scope| {
        let target = &target;
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|part| {
                let count = connections / AT_ONCE + u64::from(part < connections % AT_ONCE);
                scope.spawn(move || open(target, count))
            })
            .collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let stopped = meter.stop()?;
    let mut opened = Vec::new();
    let mut latency = latencies()?;
    for part in parts {
        let (conns, histogram) = part.map_err(|_| LoadError::Verify("a connecting thread died".into()))??;
        opened.extend(conns);
        latency
            .add(&histogram)
            .map_err(|e| LoadError::Usage(format!("histogram: {e}")))?;
    }
    thread::sleep(SETTLE);
    let mut outcome = stopped.finish(opened.len() as u64, Some(&latency))?;
    if let (Some(before), Some(after)) = (before, outcome.resident_bytes) {
        outcome.connection_bytes = Some(after.saturating_sub(before.resident) as f64 / connections as f64);
    }
    for (number, conn) in opened.iter_mut().enumerate() {
        conn.round_trip()
            .map_err(|e| LoadError::Verify(format!("connection {number} of {connections} is gone: {e}")))?;
    }
    Ok(outcome)
}

fn open(target: &Target, count: u64) -> Result<(Vec<Conn>, Histogram<u64>)> {
    let mut latency = latencies()?;
    let mut opened = Vec::new();
    for _ in 0..count {
        let began = now_ns();
        opened.push(Conn::connect(&target.entrance, RECEIVE_LITTLE, target.patience)?);
        latency.saturating_record(now_ns().saturating_sub(began));
    }
    Ok((opened, latency))
}
