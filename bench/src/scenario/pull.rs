//! `pull`: a durable pull consumer drains a filled stream in batches and acks every message.

use std::time::Duration;

use super::Target;
use super::drain::{self, Drain};
use super::publish::OUTSTANDING;
use super::stream::{self, Plan, Stream, Subjects};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::error::Result;
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};

/// How long a pull request may stay open on the server.
const EXPIRES: Duration = Duration::from_secs(10);

/// Fills a stream with `messages`, then measures the consumer, until the server says that every
/// ack has been counted.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = Stream::create(&mut control, load, load.backend, &[])?;
    let plan = Plan {
        messages,
        outstanding: load.outstanding.unwrap_or(OUTSTANDING),
        subjects: Subjects::One,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let filled = stream::publish(&mut target.connect()?, &stream, plan)?;
    stream::expect_permutation(std::slice::from_ref(&filled))?;
    jetstream::expect_messages(&mut control, &stream.name, messages)?;
    drain::create(&mut control, &stream, load.batch)?;

    let mut conn = target.connect()?;
    let mut drain = Drain::new(&stream, load.size, messages, EXPIRES);
    let mut latency = latencies()?;
    let meter = Meter::start(target.pid)?;
    while !drain.over() {
        let asked_ns = now_ns();
        drain.batch(&mut conn, load.batch, None)?;
        latency.saturating_record(now_ns().saturating_sub(asked_ns));
    }
    conn.round_trip()?;
    drain::expect_all_acked(&mut control, &stream, messages, load.patience())?;
    let outcome = meter.stop()?.finish(messages, Some(&latency))?;
    stream.delete(&mut control)?;
    Ok(outcome)
}
