//! `object-put`: objects are put into an object store, one after the other; 64 chunks of one are unacknowledged unless the command
//! line says otherwise.

use super::Target;
use super::asking::OUTSTANDING;
use super::objects::{Objects, parts};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::error::Result;
use crate::measure::{Meter, Outcome, latencies};

/// Puts objects of altogether `chunks` chunks, then reads them all back.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, chunks: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let objects = Objects::create(&mut control, load)?;
    let mut conn = target.connect()?;
    let mut latency = latencies()?;
    let outstanding = load.outstanding.unwrap_or(OUTSTANDING);
    let meter = Meter::start(target.pid)?;
    for (object, range) in parts(chunks) {
        let began_ns = now_ns();
        objects.put(&mut conn, object, range.end, outstanding)?;
        latency.saturating_record(now_ns().saturating_sub(began_ns));
    }
    let outcome = meter.stop()?.finish(chunks, Some(&latency))?;
    objects.expect_all(&mut control, chunks)?;
    objects.stream.delete(&mut control)?;
    Ok(outcome)
}
