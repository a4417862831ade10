//! `get`: direct gets of the newest message of a subject, as clients of a key-value bucket read, with a window of requests.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::Target;
use super::publish;
use super::stream::{self, Plan, Stream, Subjects};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::conn::{Conn, message};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::{Msg, decimal};
use crate::jetstream;
use crate::measure::{Meter, Outcome, latencies};
use crate::payload::Payload;

/// Unanswered requests when the command line does not say.
pub const OUTSTANDING: usize = 64;
/// Messages of the stream, each on its own subject.
const KEYS: u64 = 10_000;
/// From one subject that is asked for to the next: it has no divisor in common with their number.
const STRIDE: u64 = 7919;

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
    let mut reader = Reader::new(&stream, load)?;
    let meter = Meter::start(target.pid)?;
    let answered = reader.read(&mut conn, gets, Instant::now() + load.time_limit());
    let stopped = meter.stop()?;
    let outcome = stopped.finish(answered?, Some(&reader.latency))?;
    // An answer too many is on its way before the answer to this.
    conn.round_trip()?;
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// The client's side of the run.
struct Reader<'a> {
    stream: &'a Stream,
    payload: Payload,
    /// Of each place in the window, what was asked for last and when; no time where nothing is on its way.
    asked: Vec<(u64, Option<u64>)>,
    latency: Histogram<u64>,
}

impl<'a> Reader<'a> {
    fn new(stream: &'a Stream, load: &LoadArgs) -> Result<Self> {
        Ok(Self {
            stream,
            payload: Payload::new(load.size),
            asked: vec![(0, None); load.outstanding.unwrap_or(OUTSTANDING)],
            latency: latencies()?,
        })
    }

    /// Has each place in the window ask anew once it was answered; answers how often that was.
    fn read(&mut self, conn: &mut Conn, gets: u64, until: Instant) -> Result<u64> {
        let mut free: Vec<usize> = (0..self.asked.len()).rev().collect();
        let (mut sent, mut answered) = (0, 0);
        let inbox_len = conn.inbox().len();
        loop {
            let over = sent == gets || Instant::now() > until;
            while !over
                && sent < gets
                && let Some(place) = free.pop()
            {
                self.ask(conn, place, sent);
                sent += 1;
            }
            if !conn.out.is_empty() {
                conn.flush()?;
            }
            if answered == sent {
                return Ok(answered);
            }
            conn.fill()?;
            let received_ns = now_ns();
            while let Some(frame) = conn.frames.pop()? {
                if let Some(msg) = message(frame, &mut conn.out)? {
                    free.push(self.answer(&msg, inbox_len, received_ns)?);
                    answered += 1;
                }
            }
        }
    }

    fn ask(&mut self, conn: &mut Conn, place: usize, number: u64) {
        let key = number.wrapping_mul(STRIDE) % KEYS;
        let mut subject = format!("$JS.API.DIRECT.GET.{}.", self.stream.name).into_bytes();
        self.stream.subject(Subjects::Own, key, &mut subject);
        let mut reply = conn.inbox().as_bytes().to_vec();
        encode::number(&mut reply, place as u64);
        encode::publish(&mut conn.out, &subject, &reply, b"");
        self.asked[place] = (key, Some(now_ns()));
    }

    /// Takes an answer; answers which place in the window it was for.
    fn answer(&mut self, msg: &Msg<'_>, inbox_len: usize, received_ns: u64) -> Result<usize> {
        if let Some(status) = msg.status() {
            return Err(LoadError::Verify(format!("a get was answered with status {status}")));
        }
        let place = msg.subject.get(inbox_len..).and_then(decimal);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let asked = place.and_then(|place| Some((place, self.asked.get_mut(place)?)));
        let asked = asked.and_then(|(place, (key, sent))| Some((place, *key, sent.take()?)));
        let Some((place, key, sent_ns)) = asked else {
            return Err(LoadError::Verify(format!(
                "an answer to nothing that was asked: {msg:?}"
            )));
        };
        let stamp = self.payload.check(msg.payload)?;
        if stamp.counter != key {
            return Err(LoadError::Verify(format!(
                "message {key} was asked for, and {stamp:?} came"
            )));
        }
        self.latency.saturating_record(received_ns.saturating_sub(sent_ns));
        Ok(place)
    }
}
