//! `delete`: every second message of a stream is deleted by itself, in no order, with a window of requests.
//!
//! `no_erase` is set, as by clients whose user does not ask for the bytes to be written over.

use std::slice;
use std::time::Instant;

use memchr::memmem;
use serde_json::{Value, json};

use super::asking::{self, OUTSTANDING, Questions};
use super::stream::{self, Plan, Stream, Subjects, scattered};
use super::{Target, publish};
use crate::cli::LoadArgs;
use crate::conn::Conn;
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::Msg;
use crate::jetstream;
use crate::measure::{Meter, Outcome};

/// Messages that are asked for afterwards, and as many that are deleted.
const SAMPLES: u64 = 200;

/// Fills a stream with twice as many, then deletes `messages`.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = Stream::create(&mut control, load, load.backend, &[])?;
    let filled = messages * 2;
    let plan = Plan {
        messages: filled,
        outstanding: publish::OUTSTANDING,
        subjects: Subjects::One,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let published = stream::publish(&mut target.connect()?, &stream, plan)?;
    stream::expect_permutation(slice::from_ref(&published))?;
    jetstream::expect_messages(&mut control, &stream.name, filled)?;

    let mut conn = target.connect()?;
    let mut deletions = Deletions {
        subject: format!("$JS.API.STREAM.MSG.DELETE.{}", stream.name),
        messages,
    };
    let outstanding = load.outstanding.unwrap_or(OUTSTANDING);
    let until = Instant::now() + load.time_limit();
    let meter = Meter::start(target.pid)?;
    let answered = asking::ask(&mut conn, &mut deletions, messages, outstanding, until);
    let stopped = meter.stop()?;
    let answered = answered?;
    let outcome = stopped.finish(answered.count, Some(&answered.latency))?;

    let state = jetstream::stream_state(&mut control, &stream.name)?;
    if (state.messages, state.last_seq) != (filled - answered.count, filled) {
        return Err(LoadError::Verify(format!(
            "{} of {filled} messages were deleted, the stream says {state:?}",
            answered.count
        )));
    }
    for number in 0..answered.count.min(SAMPLES) {
        expect(&mut control, &stream, deletions.seq(number), false)?;
        expect(&mut control, &stream, deletions.seq(number) + 1, true)?;
    }
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// Checks that a message is there, or is not.
fn expect(conn: &mut Conn, stream: &Stream, seq: u64, there: bool) -> Result<()> {
    let name = format!("STREAM.MSG.GET.{}", stream.name);
    let found = match jetstream::call(conn, &name, &json!({"seq": seq})) {
        Ok(answer) => answer["message"]["seq"].as_u64() == Some(seq),
        Err(LoadError::Api(text)) if text.contains("10037") => false,
        Err(error) => return Err(error),
    };
    if found == there {
        return Ok(());
    }
    let is = if found { "there" } else { "not there" };
    Err(LoadError::Verify(format!("message {seq} is {is}")))
}

/// The client's side of the run.
struct Deletions {
    subject: String,
    messages: u64,
}

impl Deletions {
    /// The sequence of deletion `number`: an odd one.
    fn seq(&self, number: u64) -> u64 {
        scattered(number, self.messages) * 2 + 1
    }
}

impl Questions for Deletions {
    fn ask(&mut self, number: u64, reply: &[u8], out: &mut Vec<u8>) {
        let body = format!("{{\"seq\":{},\"no_erase\":true}}", self.seq(number));
        encode::publish(out, self.subject.as_bytes(), reply, body.as_bytes());
    }

    fn check(&mut self, number: u64, answer: &Msg<'_>) -> Result<()> {
        // As good as all are this, and reading JSON costs the generator more than sending a request.
        if memmem::find(answer.payload, b"\"success\":true").is_some() {
            return Ok(());
        }
        let answer: Value = serde_json::from_slice(answer.payload).unwrap_or(Value::Null);
        Err(LoadError::Verify(format!(
            "the deletion of message {} was answered with {answer}",
            self.seq(number)
        )))
    }
}

#[cfg(test)]
mod tests;
