//! `request`: one request at a time to a responder on another connection; the time of each round.

use std::thread;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::Target;
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::conn::{Conn, message, unique};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::measure::{Meter, Outcome, latencies};
use crate::payload::{END, Payload, Stamp};

/// Subscription id of the responder.
const SID: u64 = 2;

/// Sends `requests`, each after the reply to the one before.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, requests: u64) -> Result<Outcome> {
    let subject = format!("load.{}", unique());
    let mut responder = target.connect()?;
    encode::subscribe(&mut responder.out, &subject, SID);
    responder.round_trip()?;
    let mut requester = target.connect()?;

    let mut latency = latencies()?;
    let meter = Meter::start(target.pid)?;
    let (asked, answered) = thread::scope(|scope| {
        let answering = scope.spawn(move || respond(responder, load.size));
        let asked = ask(&mut requester, &subject, load, requests, &mut latency);
        if asked.is_err() {
            // Ends the responder, which would otherwise wait out its patience.
            let _ = end(&mut requester, &subject, load.size);
        }
        (asked, answering.join())
    });
    let stopped = meter.stop()?;
    let asked = asked?;
    let answered = answered.map_err(|_| LoadError::Verify("the responder thread died".into()))??;
    if asked != answered {
        return Err(LoadError::Verify(format!(
            "{asked} requests, {answered} reached the responder"
        )));
    }
    stopped.finish(asked, Some(&latency))
}

fn ask(conn: &mut Conn, subject: &str, load: &LoadArgs, requests: u64, latency: &mut Histogram<u64>) -> Result<u64> {
    let mut payload = Payload::new(load.size);
    let mut reply = conn.inbox().as_bytes().to_vec();
    let prefix = reply.len();
    let until = Instant::now() + load.time_limit();
    let mut counter = 0;
    while counter < requests && Instant::now() < until {
        reply.truncate(prefix);
        encode::number(&mut reply, counter);
        let sent_ns = now_ns();
        let stamp = Stamp {
            counter,
            sent_ns,
            publisher: 0,
        };
        encode::publish(&mut conn.out, subject.as_bytes(), &reply, payload.stamped(stamp));
        conn.flush()?;
        await_reply(conn, &reply, &payload, stamp)?;
        latency.saturating_record(now_ns().saturating_sub(sent_ns));
        counter += 1;
    }
    end(conn, subject, load.size)?;
    Ok(counter)
}

fn await_reply(conn: &mut Conn, reply: &[u8], payload: &Payload, want: Stamp) -> Result<()> {
    loop {
        while let Some(frame) = conn.frames.pop()? {
            let Some(msg) = message(frame, &mut conn.out)? else {
                continue;
            };
            if let Some(status) = msg.status() {
                return Err(LoadError::Verify(format!("request answered with status {status}")));
            }
            let got = payload.check(msg.payload)?;
            if msg.subject != reply || got != want {
                return Err(LoadError::Verify(format!("reply {got:?} came instead of {want:?}")));
            }
            return Ok(());
        }
        if !conn.out.is_empty() {
            conn.flush()?;
        }
        conn.fill()?;
    }
}

fn end(conn: &mut Conn, subject: &str, size: usize) -> Result<()> {
    let mut payload = Payload::new(size);
    let body = payload.stamped(Stamp {
        counter: END,
        sent_ns: 0,
        publisher: 0,
    });
    encode::publish(&mut conn.out, subject.as_bytes(), b"", body);
    conn.flush()
}

/// Echoes until the message that ends the run; returns how many it echoed.
fn respond(mut conn: Conn, size: usize) -> Result<u64> {
    let payload = Payload::new(size);
    let mut expected = 0;
    loop {
        conn.fill()?;
        while let Some(frame) = conn.frames.pop()? {
            let Some(msg) = message(frame, &mut conn.out)? else {
                continue;
            };
            let stamp = payload.check(msg.payload)?;
            if stamp.counter == END {
                return Ok(expected);
            }
            if stamp.counter != expected {
                return Err(LoadError::Verify(format!(
                    "request {} came where {expected} belongs",
                    stamp.counter
                )));
            }
            expected += 1;
            encode::publish(&mut conn.out, msg.reply, b"", msg.payload);
        }
        if !conn.out.is_empty() {
            conn.flush()?;
        }
    }
}
