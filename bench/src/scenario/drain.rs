//! A pull consumer with explicit acks that takes messages `1..` of a stream in batches.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::stream::Stream;
use crate::clock::now_ns;
use crate::conn::{Conn, message};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::Msg;
use crate::jetstream::{self, delivery};
use crate::payload::Payload;

/// Name of the durable consumer.
const CONSUMER: &str = "load";
/// Between two looks at the consumer's ack floor.
const POLL: Duration = Duration::from_millis(2);

/// Makes the consumer, which has up to 20 batches of `batch` messages unacknowledged.
///
/// # Errors
/// What the API says.
pub fn create(conn: &mut Conn, stream: &Stream, batch: u64) -> Result<()> {
    let config = json!({"stream_name": stream.name, "config": {
        "durable_name": CONSUMER, "name": CONSUMER, "ack_policy": "explicit",
        "deliver_policy": "all", "replay_policy": "instant", "ack_wait": 60_000_000_000u64,
        "max_deliver": -1, "max_ack_pending": batch.saturating_mul(20),
    }});
    jetstream::call(conn, &format!("CONSUMER.CREATE.{}.{CONSUMER}", stream.name), &config).map(drop)
}

/// The consumer's side of a run. The messages were published by one connection, so that the first has sequence 1, and so on.
#[derive(Debug)]
pub struct Drain<'a> {
    stream: &'a Stream,
    payload: Payload,
    /// Sequence of the next message.
    expected: u64,
    total: u64,
    expires: Duration,
}

impl<'a> Drain<'a> {
    /// Takes `total` messages with bodies of `size` bytes. A pull request stays open for `expires` at most.
    pub fn new(stream: &'a Stream, size: usize, total: u64, expires: Duration) -> Self {
        Self {
            stream,
            payload: Payload::new(size),
            expected: 1,
            total,
            expires,
        }
    }

    /// Whether all have come.
    pub fn over(&self) -> bool {
        self.expected > self.total
    }

    /// Asks for one batch and acks all of it; all acks of one receipt leave together. `latency` gets the time of each message
    /// since it was published.
    ///
    /// # Errors
    /// A message that is lost, doubled, out of order or changed.
    pub fn batch(&mut self, conn: &mut Conn, size: u64, latency: Option<&mut Histogram<u64>>) -> Result<()> {
        let wanted = size.min(self.total + 1 - self.expected);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", self.stream.name);
        let reply = format!("{}pull", conn.inbox());
        let body = format!("{{\"batch\":{wanted},\"expires\":{}}}", self.expires.as_nanos());
        encode::publish(&mut conn.out, subject.as_bytes(), reply.as_bytes(), body.as_bytes());
        let end = self.expected + wanted;
        let mut latency = latency;
        while self.expected < end {
            conn.flush()?;
            conn.fill()?;
            let received_ns = now_ns();
            while let Some(frame) = conn.frames.pop()? {
                let Some(msg) = message(frame, &mut conn.out)? else {
                    continue;
                };
                let sent_ns = self.take(&msg)?;
                if let Some(latency) = &mut latency {
                    latency.saturating_record(received_ns.saturating_sub(sent_ns));
                }
                encode::publish(&mut conn.out, msg.reply, b"", b"+ACK");
            }
        }
        Ok(())
    }

    /// Takes a message; answers when it was published.
    fn take(&mut self, msg: &Msg<'_>) -> Result<u64> {
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
        if stamp.counter + 1 != self.expected {
            return Err(LoadError::Verify(format!("sequence {} holds {stamp:?}", self.expected)));
        }
        self.expected += 1;
        Ok(stamp.sent_ns)
    }
}

/// Waits until the consumer has no pending acks and its floor is the last message.
///
/// # Errors
/// It is not so within `patience`.
pub fn expect_all_acked(conn: &mut Conn, stream: &Stream, total: u64, patience: Duration) -> Result<()> {
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

#[cfg(test)]
mod tests;
