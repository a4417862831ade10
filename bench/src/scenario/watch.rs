//! `watch`: watches of a whole key-value bucket, one after the other, each until it has the value of every key.

use std::slice;

use super::follow::{Follow, follow};
use super::stream::{self, Plan, Subjects};
use super::{Target, bucket, publish};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};
use crate::payload::Payload;

/// Keys of the bucket, unless there are fewer messages.
const KEYS: u64 = 100_000;

/// Fills a bucket, then watches it until at least `messages` values have come.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = bucket::create(&mut control, load)?;
    let keys = KEYS.min(messages);
    let plan = Plan {
        messages: keys,
        outstanding: publish::OUTSTANDING,
        subjects: Subjects::Own,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let filled = stream::publish(&mut target.connect()?, &stream, plan)?;
    stream::expect_permutation(slice::from_ref(&filled))?;
    jetstream::expect_messages(&mut control, &stream.name, keys)?;

    let mut conn = target.connect()?;
    let payload = Payload::new(load.size);
    let mut latency = latencies()?;
    let filter = format!("{}.>", stream.prefix);
    let all = Follow {
        stream: &stream.name,
        filter: &filter,
        deliver_policy: "last_per_subject",
    };
    let meter = Meter::start(target.pid)?;
    let mut received = 0;
    while received < messages {
        let asked_ns = now_ns();
        let values = follow(&mut control, &mut conn, all, |delivery, msg| {
            let stamp = payload.check(msg.payload)?;
            if stamp.counter + 1 != delivery.stream_seq {
                return Err(LoadError::Verify(format!("{delivery:?} has {stamp:?}")));
            }
            Ok(())
        })?;
        latency.saturating_record(now_ns().saturating_sub(asked_ns));
        if values != keys {
            return Err(LoadError::Verify(format!("a watch of {keys} keys had {values} values")));
        }
        received += values;
    }
    let outcome = meter.stop()?.finish(received, Some(&latency))?;
    stream.delete(&mut control)?;
    Ok(outcome)
}
