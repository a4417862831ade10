//! `purge`: a stream is filled, and then all of it is purged at once. The figure is the latency of that one call.

use std::slice;

use serde_json::json;

use super::stream::{self, Plan, Stream, Subjects};
use super::{Target, publish};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};

/// Purges `messages`.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = Stream::create(&mut control, load, load.backend, &[])?;
    let plan = Plan {
        messages,
        outstanding: load.outstanding.unwrap_or(publish::OUTSTANDING),
        subjects: Subjects::One,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let filled = stream::publish(&mut target.connect()?, &stream, plan)?;
    stream::expect_permutation(slice::from_ref(&filled))?;
    jetstream::expect_messages(&mut control, &stream.name, messages)?;

    let mut latency = latencies()?;
    let meter = Meter::start(target.pid)?;
    let asked_ns = now_ns();
    let answer = jetstream::call(&mut control, &format!("STREAM.PURGE.{}", stream.name), &json!({}))?;
    latency.saturating_record(now_ns().saturating_sub(asked_ns));
    let outcome = meter.stop()?.finish(messages, Some(&latency))?;

    let state = jetstream::stream_state(&mut control, &stream.name)?;
    let purged = answer["purged"].as_u64();
    if (purged, state.messages, state.last_seq) != (Some(messages), 0, messages) {
        return Err(LoadError::Verify(format!(
            "{purged:?} of {messages} messages were purged, the stream says {state:?}"
        )));
    }
    stream.delete(&mut control)?;
    Ok(outcome)
}
