//! `work-queue`: one connection publishes to a work queue, and another one takes the messages in batches and acks them, which
//! removes them. The run is over when the queue is empty.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Target;
use super::drain::{self, Drain};
use super::publish::OUTSTANDING;
use super::stream::{self, Plan, Stream, Subjects};
use crate::cli::LoadArgs;
use crate::conn::{Conn, unique};
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};

/// Between two looks at what is left in the queue.
const POLL: Duration = Duration::from_millis(2);

/// Publishes and takes `messages`.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let id = unique();
    let stream = Stream {
        name: format!("LOAD_{id}"),
        prefix: format!("s{id}"),
    };
    let shape = json!({"retention": "workqueue"});
    stream.create_as(&mut control, load, load.backend, &[], shape)?;
    drain::create(&mut control, &stream, load.batch)?;
    let plan = Plan {
        messages,
        outstanding: load.outstanding.unwrap_or(OUTSTANDING),
        subjects: Subjects::One,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let (mut publisher, mut taker) = (target.connect()?, target.connect()?);
    // A batch is asked for before its messages are there, and stays open for as long as the run waits for anything.
    let mut drain = Drain::new(&stream, load.size, messages, load.patience());
    let mut latency = latencies()?;

    let meter = Meter::start(target.pid)?;
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| stream::publish(&mut publisher, &stream, plan));
        let mut taken = Ok(());
        while !drain.over() && taken.is_ok() {
            taken = drain.batch(&mut taker, load.batch, Some(&mut latency));
        }
        let published = publisher
            .join()
            .map_err(|_| LoadError::Verify("the publisher thread died".into()))?;
        taken.and(published)
    })?;
    taker.round_trip()?;
    expect_empty(&mut control, &stream, messages, load.patience())?;
    let stopped = meter.stop()?;
    let outcome = stopped.finish(messages, Some(&latency))?;
    stream::expect_permutation(std::slice::from_ref(&published))?;
    drain::expect_all_acked(&mut control, &stream, messages, load.patience())?;
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// Waits until nothing is in the stream.
fn expect_empty(conn: &mut Conn, stream: &Stream, total: u64, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        let state = jetstream::stream_state(conn, &stream.name)?;
        if (state.messages, state.last_seq) == (0, total) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(LoadError::Verify(format!(
                "all {total} messages were acked, the stream says {state:?}"
            )));
        }
        thread::sleep(POLL);
    }
}
