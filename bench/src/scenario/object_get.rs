//! `object-get`: objects are read from an object store, one after the other: what one is called, then its chunks.

use serde_json::json;

use super::Target;
use super::asking::OUTSTANDING;
use super::follow::{Follow, follow};
use super::objects::{CHUNK_BYTES, Objects, parts};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};
use crate::payload::Payload;

/// Puts objects of altogether `chunks` chunks, which is not measured, and reads each.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, chunks: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let objects = Objects::create(&mut control, load)?;
    let mut conn = target.connect()?;
    for (object, range) in parts(chunks) {
        objects.put(&mut conn, object, range.end, OUTSTANDING)?;
    }
    let payload = Payload::new(CHUNK_BYTES);
    let mut latency = latencies()?;
    let meter = Meter::start(target.pid)?;
    for (object, range) in parts(chunks) {
        let asked_ns = now_ns();
        let name = format!("STREAM.MSG.GET.{}", objects.stream.name);
        let called = objects.called(object);
        jetstream::call(&mut control, &name, &json!({"last_by_subj": called}))?;
        let filter = objects.chunks(object);
        let all = Follow {
            stream: &objects.stream.name,
            filter: &filter,
            deliver_policy: "all",
        };
        let received = follow(&mut control, &mut conn, all, |delivery, msg| {
            let stamp = payload.check(msg.payload)?;
            if (stamp.publisher, stamp.counter + 1) != (object, delivery.consumer_seq) {
                return Err(LoadError::Verify(format!(
                    "{delivery:?} of object {object} has {stamp:?}"
                )));
            }
            Ok(())
        })?;
        latency.saturating_record(now_ns().saturating_sub(asked_ns));
        if received != range.end {
            return Err(LoadError::Verify(format!(
                "object {object} has {} chunks, {received} came",
                range.end
            )));
        }
    }
    let outcome = meter.stop()?.finish(chunks, Some(&latency))?;
    objects.stream.delete(&mut control)?;
    Ok(outcome)
}
