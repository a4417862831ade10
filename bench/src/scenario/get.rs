//! `get`: direct gets of the newest message of a subject, as clients of a key-value bucket read, with a window of requests.

use std::time::Instant;

use super::Target;
use super::asking::{self, OUTSTANDING, Questions};
use super::publish;
use super::stream::{self, Plan, Stream, Subjects, scattered};
use crate::cli::LoadArgs;
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::Msg;
use crate::jetstream;
use crate::measure::{Meter, Outcome};
use crate::payload::Payload;

/// Messages of the stream, each on its own subject.
const KEYS: u64 = 10_000;

/// Fills a stream, then asks `gets` times for the message of a subject.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, gets: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = Stream::create(&mut control, load, load.backend, &[])?;
    let plan = Plan {
        messages: KEYS,
        outstanding: publish::OUTSTANDING,
        subjects: Subjects::Own,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let filled = stream::publish(&mut target.connect()?, &stream, plan)?;
    stream::expect_permutation(std::slice::from_ref(&filled))?;
    jetstream::expect_messages(&mut control, &stream.name, KEYS)?;

    let mut conn = target.connect()?;
    let mut reader = Reader {
        stream: &stream,
        payload: Payload::new(load.size),
    };
    let outstanding = load.outstanding.unwrap_or(OUTSTANDING);
    let meter = Meter::start(target.pid)?;
    let answered = asking::ask(
        &mut conn,
        &mut reader,
        gets,
        outstanding,
        Instant::now() + load.time_limit(),
    );
    let stopped = meter.stop()?;
    let answered = answered?;
    let outcome = stopped.finish(answered.count, Some(&answered.latency))?;
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// The client's side of the run.
struct Reader<'a> {
    stream: &'a Stream,
    payload: Payload,
}

impl Questions for Reader<'_> {
    fn ask(&mut self, number: u64, reply: &[u8], out: &mut Vec<u8>) {
        let mut subject = format!("$JS.API.DIRECT.GET.{}.", self.stream.name).into_bytes();
        self.stream
            .subject(Subjects::Own, scattered(number, KEYS), &mut subject);
        encode::publish(out, &subject, reply, b"");
    }

    fn check(&mut self, number: u64, answer: &Msg<'_>) -> Result<()> {
        if let Some(status) = answer.status() {
            return Err(LoadError::Verify(format!("a get was answered with status {status}")));
        }
        let stamp = self.payload.check(answer.payload)?;
        let key = scattered(number, KEYS);
        if stamp.counter != key {
            return Err(LoadError::Verify(format!(
                "message {key} was asked for, and {stamp:?} came"
            )));
        }
        Ok(())
    }
}
