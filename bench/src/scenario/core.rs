//! `pubsub` and `fanout`: one publisher as fast as it can, and subscribers that check every
//! message.
//!
//! The publisher stays at most a window of bytes ahead of the slowest subscriber, well below what
//! servers hold for a connection before they call it slow and close it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Target;
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::conn::{Conn, message, unique};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::measure::{Meter, Outcome, latencies};
use crate::payload::{END, Payload, Stamp};

/// How far the publisher may be ahead of the slowest subscriber, bytes.
const WINDOW_BYTES: u64 = 16 << 20;
/// The publisher hands the kernel about this much at a time, bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// How long the publisher sleeps when its window is full.
const WINDOW_PAUSE: Duration = Duration::from_micros(100);
/// Subscription id of the subscribers.
const SID: u64 = 2;

/// What publisher and subscribers share.
struct Progress {
    /// Messages each subscriber has received.
    received: Vec<AtomicU64>,
    /// Set when a subscriber has failed, so that the publisher does not wait for it.
    failed: AtomicBool,
}

impl Progress {
    fn slowest(&self) -> u64 {
        self.received
            .iter()
            .map(|n| n.load(Ordering::Relaxed))
            .min()
            .unwrap_or(0)
    }
}

/// Publishes `messages`; every subscriber must get each once and in order. The outcome counts
/// deliveries, that is, messages times subscribers.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64, subscribers: u32) -> Result<Outcome> {
    let subject = format!("load.{}", unique());
    let progress = Progress {
        received: (0..subscribers).map(|_| AtomicU64::new(0)).collect(),
        failed: AtomicBool::new(false),
    };
    let mut listeners = Vec::new();
    for _ in 0..subscribers {
        let mut conn = target.connect()?;
        encode::subscribe(&mut conn.out, &subject, SID);
        conn.round_trip()?;
        listeners.push(conn);
    }
    let mut publisher = target.connect()?;

    let meter = Meter::start(target.pid)?;
    let (sent, received) = thread::scope(|scope| {
        let threads: Vec<_> = listeners
            .into_iter()
            .zip(&progress.received)
            .map(|(conn, count)| {
                let (subject, failed) = (&subject, &progress.failed);
                scope.spawn(move || {
                    let result = receive(conn, subject, load.size, count);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let sent = publish(&mut publisher, &subject, load, messages, &progress);
        let received: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (sent, received)
    });
    let stopped = meter.stop()?;

    // A subscriber's failure explains the publisher's, so it is reported first.
    let mut latency = latencies()?;
    let mut deliveries = 0;
    for result in received {
        let result = result.map_err(|_| LoadError::Verify("a subscriber thread of the generator died".into()))?;
        let (count, histogram) = result?;
        deliveries += count;
        latency
            .add(&histogram)
            .map_err(|e| LoadError::Usage(format!("histogram: {e}")))?;
    }
    let sent = sent?;
    if deliveries != sent * u64::from(subscribers) {
        return Err(LoadError::Verify(format!(
            "{sent} sent to {subscribers} subscribers, {deliveries} deliveries"
        )));
    }
    stopped.finish(deliveries, Some(&latency))
}

/// Sends up to `messages`, then the message that ends the run. Returns how many it sent.
fn publish(conn: &mut Conn, subject: &str, load: &LoadArgs, messages: u64, progress: &Progress) -> Result<u64> {
    let mut payload = Payload::new(load.size);
    let window = (WINDOW_BYTES / (load.size as u64 + 64)).max(16);
    let until = Instant::now() + load.time_limit();
    let mut sent = 0;
    while sent < messages && Instant::now() < until {
        let allowed = wait_for_window(progress, sent, window, load.patience())?;
        let sent_ns = now_ns();
        while sent < messages.min(allowed) && conn.out.len() < CHUNK_BYTES {
            let body = payload.stamped(Stamp {
                counter: sent,
                sent_ns,
                publisher: 0,
            });
            encode::publish(&mut conn.out, subject.as_bytes(), b"", body);
            sent += 1;
        }
        conn.flush()?;
        conn.poll_control()?;
    }
    let body = payload.stamped(Stamp {
        counter: END,
        sent_ns: sent,
        publisher: 0,
    });
    encode::publish(&mut conn.out, subject.as_bytes(), b"", body);
    conn.round_trip()?;
    Ok(sent)
}

/// Waits until more may be sent, and returns up to which message.
fn wait_for_window(p: &Progress, sent: u64, window: u64, patience: Duration) -> Result<u64> {
    let until = Instant::now() + patience;
    loop {
        if p.failed.load(Ordering::Relaxed) {
            return Err(LoadError::Verify("a subscriber has failed".into()));
        }
        let allowed = p.slowest() + window;
        if sent < allowed {
            return Ok(allowed);
        }
        if Instant::now() > until {
            return Err(LoadError::Verify(format!(
                "{sent} sent, only {} received, and nothing for {patience:?}",
                p.slowest()
            )));
        }
        thread::sleep(WINDOW_PAUSE);
    }
}

/// Receives until the message that ends the run.
fn receive(mut conn: Conn, subject: &str, size: usize, count: &AtomicU64) -> Result<(u64, Histogram<u64>)> {
    let payload = Payload::new(size);
    let mut latency = latencies()?;
    let mut expected = 0;
    loop {
        conn.fill()?;
        let mut last_sent_ns = None;
        while let Some(frame) = conn.frames.pop()? {
            let Some(msg) = message(frame, &mut conn.out)? else {
                continue;
            };
            if msg.subject != subject.as_bytes() || msg.sid != SID {
                return Err(LoadError::Verify(format!("not subscribed to {msg:?}")));
            }
            let stamp = payload.check(msg.payload)?;
            if stamp.counter == END {
                return match stamp.sent_ns == expected {
                    true => Ok((expected, latency)),
                    false => Err(LoadError::Verify(format!(
                        "{} were sent, {expected} received: the last ones are missing",
                        stamp.sent_ns
                    ))),
                };
            }
            if stamp.counter != expected {
                return Err(LoadError::Verify(out_of_order(stamp.counter, expected)));
            }
            expected += 1;
            last_sent_ns = Some(stamp.sent_ns);
        }
        count.store(expected, Ordering::Relaxed);
        // One sample per receipt: reading the clock for every message would be felt.
        if let Some(sent_ns) = last_sent_ns {
            latency.saturating_record(now_ns().saturating_sub(sent_ns));
        }
        if !conn.out.is_empty() {
            conn.flush()?;
        }
    }
}

fn out_of_order(got: u64, expected: u64) -> String {
    if got > expected {
        format!("message {got} came where {expected} belongs: lost or reordered")
    } else {
        format!("message {got} came again or late, {expected} was next")
    }
}
