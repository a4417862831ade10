//! `kv-put`: puts into a key-value bucket that keeps the newest value of each key, so that all but the first of a key remove
//! the one before.

use std::slice;

use serde_json::json;

use super::asking::OUTSTANDING;
use super::stream::{self, Plan, Published, Stream, Subjects, scattered};
use super::{Target, bucket};
use crate::cli::LoadArgs;
use crate::conn::Conn;
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome};

/// Keys of the bucket.
const KEYS: u64 = 10_000;
/// Keys that are looked up afterwards.
const SAMPLES: u64 = 1000;

/// Puts `messages` values, each of the next key, and looks up what is there then.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = bucket::create(&mut control, load)?;
    let plan = Plan {
        messages,
        outstanding: load.outstanding.unwrap_or(OUTSTANDING),
        subjects: Subjects::Keys(KEYS),
        size: load.size,
        publisher: 0,
        time_limit: Some(load.time_limit()),
    };
    let mut conn = target.connect()?;
    let meter = Meter::start(target.pid)?;
    let published = stream::publish(&mut conn, &stream, plan)?;
    let stopped = meter.stop()?;
    let total = stream::expect_permutation(slice::from_ref(&published))?;
    let outcome = stopped.finish(total, Some(&published.latency))?;

    let state = jetstream::stream_state(&mut control, &stream.name)?;
    let keys = total.min(KEYS);
    if (state.messages, state.subjects, state.last_seq) != (keys, keys, total) {
        return Err(LoadError::Verify(format!(
            "{total} values of {keys} keys were put, the stream says {state:?}"
        )));
    }
    look_up(&mut control, &stream, &published)?;
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// Asks for the values of some keys and compares sequences.
fn look_up(conn: &mut Conn, stream: &Stream, published: &Published) -> Result<()> {
    let name = format!("STREAM.MSG.GET.{}", stream.name);
    let total = published.seqs.len() as u64;
    for number in 0..total.min(SAMPLES) {
        let mut subject = Vec::new();
        stream.subject(Subjects::Keys(KEYS), number, &mut subject);
        let subject = String::from_utf8_lossy(&subject);
        let answer = jetstream::call(conn, &name, &json!({"last_by_subj": subject}))?;
        let put = newest(number, total);
        let acked = usize::try_from(put).ok().and_then(|put| published.seqs.get(put));
        if answer["message"]["seq"].as_u64() != acked.copied() {
            return Err(LoadError::Verify(format!(
                "put {put}, the newest of {subject}, was acknowledged as {acked:?}, the stream says {}",
                answer["message"]["seq"]
            )));
        }
    }
    Ok(())
}

/// Which put was the last one of the key of put `number`, where there were `total`.
fn newest(number: u64, total: u64) -> u64 {
    debug_assert_eq!(scattered(number, KEYS), scattered(number + KEYS, KEYS));
    number + (total - 1 - number) / KEYS * KEYS
}

#[cfg(test)]
mod tests;
