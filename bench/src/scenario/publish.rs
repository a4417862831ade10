//! `publish`: stream publishes with a window of outstanding acks, on one or more connections.

use std::thread;

use super::Target;
use super::stream::{self, Plan, Published, Stream, Subjects};
use crate::cli::LoadArgs;
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};

/// Unacknowledged publishes per connection when the command line does not say.
pub const OUTSTANDING: usize = 512;

/// Publishes `messages` in all, then reads the whole stream back.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = Stream::create(&mut control, load, load.backend, &[])?;
    let connections = u64::from(load.connections);
    let mut plans = Vec::new();
    for publisher in 0..load.connections {
        // The first connections take one more when the number does not divide.
        let extra = u64::from(u64::from(publisher) < messages % connections);
        let plan = Plan {
            messages: messages / connections + extra,
            outstanding: load.outstanding.unwrap_or(OUTSTANDING),
            subjects: Subjects::One,
            size: load.size,
            publisher,
            time_limit: Some(load.time_limit()),
        };
        plans.push((target.connect()?, plan));
    }

    let meter = Meter::start(target.pid)?;
    let stream_ref = &stream;
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = plans
            .into_iter()
            .map(|(mut conn, plan)| scope.spawn(move || stream::publish(&mut conn, stream_ref, plan)))
            .collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let stopped = meter.stop()?;

    let mut published: Vec<Published> = Vec::new();
    let mut latency = latencies()?;
    for result in results {
        let one = result.map_err(|_| LoadError::Verify("a publisher thread died".into()))??;
        latency
            .add(&one.latency)
            .map_err(|e| LoadError::Usage(format!("histogram: {e}")))?;
        published.push(one);
    }
    let total = stream::expect_permutation(&published)?;
    let outcome = stopped.finish(total, Some(&latency))?;
    jetstream::expect_messages(&mut control, &stream.name, total)?;
    stream::expect_bodies(&mut control, &stream, load.size, &published)?;
    stream.delete(&mut control)?;
    Ok(outcome)
}
