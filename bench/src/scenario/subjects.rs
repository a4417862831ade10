//! `subjects`: one message on each of very many subjects, and the memory that this takes.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Target;
use super::stream::{self, Plan, Stream, Subjects};
use crate::cli::{Backend, LoadArgs};
use crate::conn::Conn;
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome};

/// Unacknowledged publishes when the command line does not say.
const OUTSTANDING: usize = 1024;
/// From the last ack until memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// Subjects that are looked up afterwards.
const SAMPLES: u64 = 1000;

/// Publishes `messages`, waits, reads memory, and only then looks into the stream.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let backend = load.backend.unwrap_or(Backend::Rocksdb);
    let metadata: &[_] = match backend {
        Backend::Rocksdb => &[("weir.index", "paged")],
        Backend::Segment | Backend::Memory => &[],
    };
    let stream = Stream::create(&mut control, load, Some(backend), metadata)?;
    let plan = Plan {
        messages,
        outstanding: load.outstanding.unwrap_or(OUTSTANDING),
        subjects: Subjects::Own,
        size: load.size,
        publisher: 0,
        // Memory of a smaller stream could not be compared.
        time_limit: None,
    };
    let mut conn = target.connect()?;
    let meter = Meter::start(target.pid)?;
    let published = stream::publish(&mut conn, &stream, plan)?;
    let stopped = meter.stop()?;
    thread::sleep(SETTLE);
    let outcome = stopped.finish(messages, Some(&published.latency))?;

    stream::expect_permutation(std::slice::from_ref(&published))?;
    let state = jetstream::expect_messages(&mut control, &stream.name, messages)?;
    if state.subjects != messages {
        return Err(LoadError::Verify(format!(
            "{messages} subjects were published, the stream says {}",
            state.subjects
        )));
    }
    sample(&mut control, &stream, &published.seqs)?;
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// Asks for the last message of randomly chosen subjects and compares sequences.
fn sample(conn: &mut Conn, stream: &Stream, seqs: &[u64]) -> Result<()> {
    let name = format!("STREAM.MSG.GET.{}", stream.name);
    let mut subject = Vec::new();
    for _ in 0..SAMPLES.min(seqs.len() as u64) {
        let counter = rand::random_range(0..seqs.len());
        subject.clear();
        stream.subject(Subjects::Own, counter as u64, &mut subject);
        let subject = String::from_utf8_lossy(&subject);
        let answer = jetstream::call(conn, &name, &json!({"last_by_subj": subject}))?;
        let message = &answer["message"];
        if message["seq"] != json!(seqs[counter]) || message["subject"] != json!(subject) {
            return Err(LoadError::Verify(format!(
                "{subject} was acknowledged as {}, the stream says {}",
                seqs[counter],
                brief(message)
            )));
        }
    }
    Ok(())
}

fn brief(message: &Value) -> String {
    format!("seq {} subject {}", message["seq"], message["subject"])
}
