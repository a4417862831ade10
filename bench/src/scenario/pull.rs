//! `pull`: a durable pull consumer drains a filled stream in batches and acks every message.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Target;
use super::publish::OUTSTANDING;
use super::stream::{self, Plan, Published, Stream, Subjects};
use crate::cli::LoadArgs;
use crate::clock::now_ns;
use crate::conn::{Conn, message};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::jetstream::{self, delivery};
use crate::measure::{Meter, Outcome, latencies};
use crate::payload::Payload;

/// Name of the durable consumer.
const CONSUMER: &str = "load";
/// How long a pull request may stay open on the server.
const EXPIRES: Duration = Duration::from_secs(10);
/// Between two looks at the consumer's ack floor.
const POLL: Duration = Duration::from_millis(2);

/// Fills a stream with `messages`, then measures the consumer, until the server says that every
/// ack has been counted.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut control = target.connect()?;
    let stream = Stream::create(&mut control, load, load.backend, &[])?;
    let plan = Plan {
        messages,
        outstanding: load.outstanding.unwrap_or(OUTSTANDING),
        subjects: Subjects::One,
        size: load.size,
        publisher: 0,
        time_limit: None,
    };
    let filled = stream::publish(&mut target.connect()?, &stream, plan)?;
    stream::expect_permutation(std::slice::from_ref(&filled))?;
    jetstream::expect_messages(&mut control, &stream.name, messages)?;
    let config = json!({"stream_name": stream.name, "config": {
        "durable_name": CONSUMER, "name": CONSUMER, "ack_policy": "explicit",
        "deliver_policy": "all", "replay_policy": "instant", "ack_wait": 60_000_000_000u64,
        "max_deliver": -1, "max_ack_pending": load.batch.saturating_mul(20),
    }});
    jetstream::call(
        &mut control,
        &format!("CONSUMER.CREATE.{}.{CONSUMER}", stream.name),
        &config,
    )?;

    let mut conn = target.connect()?;
    let mut drain = Drain {
        conn: &mut conn,
        stream: &stream,
        filled: &filled,
        payload: Payload::new(load.size),
        expected: 1,
        total: messages,
    };
    let mut latency = latencies()?;
    let meter = Meter::start(target.pid)?;
    while drain.expected <= messages {
        let asked_ns = now_ns();
        drain.batch(load.batch)?;
        latency.saturating_record(now_ns().saturating_sub(asked_ns));
    }
    conn.round_trip()?;
    expect_all_acked(&mut control, &stream, messages, load.patience())?;
    let outcome = meter.stop()?.finish(messages, Some(&latency))?;
    stream.delete(&mut control)?;
    Ok(outcome)
}

/// The consumer's side of the run.
struct Drain<'a> {
    conn: &'a mut Conn,
    stream: &'a Stream,
    filled: &'a Published,
    payload: Payload,
    /// Sequence of the next message.
    expected: u64,
    total: u64,
}

impl Drain<'_> {
    /// Asks for one batch and acks all of it; all acks of one receipt leave together.
    fn batch(&mut self, size: u64) -> Result<()> {
        let wanted = size.min(self.total + 1 - self.expected);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", self.stream.name);
        let reply = format!("{}pull", self.conn.inbox());
        let body = format!("{{\"batch\":{wanted},\"expires\":{}}}", EXPIRES.as_nanos());
        let out = &mut self.conn.out;
        encode::publish(out, subject.as_bytes(), reply.as_bytes(), body.as_bytes());
        let end = self.expected + wanted;
        while self.expected < end {
            self.conn.flush()?;
            self.conn.fill()?;
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        while let Some(frame) = self.conn.frames.pop()? {
            let Some(msg) = message(frame, &mut self.conn.out)? else {
                continue;
            };
            if let Some(status) = msg.status() {
                let header = String::from_utf8_lossy(msg.header);
                return Err(LoadError::Verify(format!(
                    "status {status} ({}) while message {} of {} was due",
                    header.lines().next().unwrap_or_default(),
                    self.expected,
                    self.total
                )));
            }
            let Some(delivery) = delivery(msg.reply) else {
                return Err(LoadError::Verify(format!("message without ack subject: {msg:?}")));
            };
            if (delivery.stream_seq, delivery.count) != (self.expected, 1) {
                return Err(LoadError::Verify(format!(
                    "{delivery:?} came where sequence {} belongs",
                    self.expected
                )));
            }
            let stamp = self.payload.check(msg.payload)?;
            let acked = usize::try_from(stamp.counter)
                .ok()
                .and_then(|i| self.filled.seqs.get(i));
            if acked != Some(&self.expected) {
                return Err(LoadError::Verify(format!(
                    "sequence {} holds {stamp:?}, which was acknowledged as {acked:?}",
                    self.expected
                )));
            }
            self.expected += 1;
            encode::publish(&mut self.conn.out, msg.reply, b"", b"+ACK");
        }
        Ok(())
    }
}

/// Waits until the consumer has no pending acks and its floor is the last message.
fn expect_all_acked(conn: &mut Conn, stream: &Stream, total: u64, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    let name = format!("CONSUMER.INFO.{}.{CONSUMER}", stream.name);
    loop {
        let info = jetstream::call(conn, &name, &Value::Null)?;
        let pending = info["num_ack_pending"].as_u64();
        let floor = info["ack_floor"]["stream_seq"].as_u64();
        if (pending, floor) == (Some(0), Some(total)) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(LoadError::Verify(format!(
                "all {total} messages were acked, the consumer has {pending:?} pending and its \
                 floor at {floor:?}"
            )));
        }
        thread::sleep(POLL);
    }
}
