//! Publishing to a stream with a window of unacknowledged messages, and the stream itself.
//!
//! One thread per connection both sends and receives: it encodes as many publishes as acks have
//! come in and hands them to the kernel at once, which needs no locks and no wake-ups.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::cli::{Backend, LoadArgs};
use crate::clock::now_ns;
use crate::conn::{Conn, message, unique};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::{Msg, decimal};
use crate::jetstream::{self, ack_seq};
use crate::measure::latencies;
use crate::payload::{Payload, Stamp};
use crate::report;

/// Between two progress lines of a long run.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A stream that was created for one run.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// First token of its subjects; it takes everything below.
    pub prefix: String,
}

impl Stream {
    /// Creates a stream that nobody else uses, with the backend and metadata of `load`.
    ///
    /// # Errors
    /// What the API says.
    pub fn create(
        conn: &mut Conn,
        load: &LoadArgs,
        backend: Option<Backend>,
        metadata: &[(&str, &str)],
    ) -> Result<Self> {
        let id = unique();
        let stream = Self {
            name: format!("LOAD_{id}"),
            prefix: format!("s{id}"),
        };
        stream.create_as(conn, load, backend, metadata, json!({}))?;
        Ok(stream)
    }

    /// The same for a stream that is named already, with what else `shape` says of its configuration.
    ///
    /// # Errors
    /// What the API says.
    pub fn create_as(
        &self,
        conn: &mut Conn,
        load: &LoadArgs,
        backend: Option<Backend>,
        metadata: &[(&str, &str)],
        shape: Value,
    ) -> Result<()> {
        let mut meta = serde_json::Map::new();
        let storage = match backend {
            Some(Backend::Memory) => "memory",
            _ => "file",
        };
        if let Some(backend) = backend {
            meta.insert("weir.backend".into(), json!(backend));
        }
        for (key, value) in metadata {
            meta.insert((*key).to_owned(), json!(value));
        }
        for (key, value) in &load.metadata {
            meta.insert(key.clone(), json!(value));
        }
        let mut config = json!({
            "name": self.name, "subjects": [format!("{}.>", self.prefix)],
            "storage": storage, "retention": "limits", "discard": "old", "num_replicas": 1,
            "max_msgs": -1, "max_bytes": -1, "max_consumers": -1, "allow_direct": true,
        });
        if !meta.is_empty() {
            config["metadata"] = Value::Object(meta);
        }
        if let (Some(config), Value::Object(shape)) = (config.as_object_mut(), shape) {
            config.extend(shape);
        }
        jetstream::call(conn, &format!("STREAM.CREATE.{}", self.name), &config).map(drop)
    }

    /// Deletes it.
    ///
    /// # Errors
    /// What the API says.
    pub fn delete(&self, conn: &mut Conn) -> Result<()> {
        jetstream::call(conn, &format!("STREAM.DELETE.{}", self.name), &Value::Null).map(drop)
    }

    /// Appends the subject of message `counter` to `out`.
    pub fn subject(&self, subjects: Subjects, counter: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        out.push(b'.');
        match subjects {
            Subjects::One => out.push(b'x'),
            Subjects::Number(number) => encode::number(out, number),
            Subjects::Own => own(counter, out),
            Subjects::Keys(keys) => own(scattered(counter, keys), out),
        }
    }
}

fn own(number: u64, out: &mut Vec<u8>) {
    encode::number(out, number / 1000);
    out.push(b'.');
    encode::number(out, number % 1000);
}

/// From one of several things to the next; two primes, so that nothing below their product is divided by both.
const STRIDES: [u64; 2] = [7919, 7907];

/// Which of `many` things is the next one after `number` others: far from the one before, and each once before any comes again.
pub fn scattered(number: u64, many: u64) -> u64 {
    let [first, second] = STRIDES;
    let stride = if many.is_multiple_of(first) { second } else { first };
    // Neither factor reaches 2^32 unless there are more things than anybody counts.
    (number % many).wrapping_mul(stride) % many
}

/// How messages are spread over the stream's subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subjects {
    /// All on the same.
    One,
    /// All on the one that has this number.
    Number(u64),
    /// Each on its own.
    Own,
    /// Each on the next one of so many, and again.
    Keys(u64),
}

/// What one connection publishes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many.
    pub messages: u64,
    /// How many may be unacknowledged.
    pub outstanding: usize,
    /// On which subjects.
    pub subjects: Subjects,
    /// Body size in bytes.
    pub size: usize,
    /// Number of this connection, in every body.
    pub publisher: u32,
    /// When to stop although messages are left.
    pub time_limit: Option<Duration>,
}

/// What one connection has published.
#[derive(Debug)]
pub struct Published {
    /// Stream sequence of every message, by its counter.
    pub seqs: Vec<u64>,
    /// From encoding to the ack.
    pub latency: Histogram<u64>,
}

/// Publishes and waits for every ack.
///
/// # Errors
/// A refused publish, an ack that is missing, doubled or unknown, or sequences that do not rise.
pub fn publish(conn: &mut Conn, stream: &Stream, plan: Plan) -> Result<Published> {
    let mut window = Window::new(plan.messages)?;
    let mut encoder = Encoder::new(conn.inbox(), stream, plan);
    let until = plan.time_limit.map(|limit| Instant::now() + limit);
    let mut left = plan.messages;
    let mut next_report = Instant::now() + REPORT_EVERY;
    loop {
        if until.is_some_and(|until| Instant::now() > until) {
            left = 0;
        }
        let free = plan.outstanding - window.outstanding();
        let now = left.min(free as u64);
        if now > 0 {
            let sent_ns = now_ns();
            for _ in 0..now {
                encoder.encode(&mut conn.out, window.send(sent_ns), sent_ns);
            }
            left -= now;
        }
        if !conn.out.is_empty() {
            conn.flush()?;
        }
        if left == 0 && window.outstanding() == 0 {
            break;
        }
        conn.fill()?;
        let received_ns = now_ns();
        if Instant::now() > next_report {
            next_report += REPORT_EVERY;
            let (acked, all) = (window.acked, plan.messages);
            report::progress(&format!("  {acked} of {all} messages acknowledged"));
        }
        while let Some(frame) = conn.frames.pop()? {
            if let Some(msg) = message(frame, &mut conn.out)? {
                window.ack(&msg, encoder.inbox_len(), received_ns)?;
            }
        }
    }
    // An ack too many is on its way before the answer to this.
    conn.round_trip()?;
    window.finish()
}

/// Writes publishes without allocating.
struct Encoder<'a> {
    stream: &'a Stream,
    plan: Plan,
    payload: Payload,
    subject: Vec<u8>,
    reply: Vec<u8>,
    inbox_len: usize,
}

impl<'a> Encoder<'a> {
    fn new(inbox: &str, stream: &'a Stream, plan: Plan) -> Self {
        Self {
            stream,
            plan,
            payload: Payload::new(plan.size),
            subject: Vec::new(),
            reply: inbox.as_bytes().to_vec(),
            inbox_len: inbox.len(),
        }
    }

    fn inbox_len(&self) -> usize {
        self.inbox_len
    }

    fn encode(&mut self, out: &mut Vec<u8>, counter: u64, sent_ns: u64) {
        self.subject.clear();
        self.stream.subject(self.plan.subjects, counter, &mut self.subject);
        self.reply.truncate(self.inbox_len);
        encode::number(&mut self.reply, counter);
        let stamp = Stamp {
            counter,
            sent_ns,
            publisher: self.plan.publisher,
        };
        encode::publish(out, &self.subject, &self.reply, self.payload.stamped(stamp));
    }
}

/// Which messages were sent, when, and what came back.
struct Window {
    sent_ns: Vec<u64>,
    /// 0 until the ack has come.
    seqs: Vec<u64>,
    acked: usize,
    latency: Histogram<u64>,
}

impl Window {
    fn new(messages: u64) -> Result<Self> {
        let capacity = usize::try_from(messages.min(1 << 22)).unwrap_or(0);
        Ok(Self {
            sent_ns: Vec::with_capacity(capacity),
            seqs: Vec::with_capacity(capacity),
            acked: 0,
            latency: latencies()?,
        })
    }

    fn outstanding(&self) -> usize {
        self.seqs.len() - self.acked
    }

    /// Notes one more message and returns its counter.
    fn send(&mut self, sent_ns: u64) -> u64 {
        self.sent_ns.push(sent_ns);
        self.seqs.push(0);
        self.seqs.len() as u64 - 1
    }

    fn ack(&mut self, msg: &Msg<'_>, inbox_len: usize, received_ns: u64) -> Result<()> {
        let seq = ack_seq(msg)?;
        let index = msg
            .subject
            .get(inbox_len..)
            .and_then(decimal)
            .and_then(|counter| usize::try_from(counter).ok())
            .filter(|&counter| counter < self.seqs.len())
            .ok_or_else(|| LoadError::Verify(format!("ack for nothing that was sent: {msg:?}")))?;
        if self.seqs[index] != 0 {
            return Err(LoadError::Verify(format!(
                "message {index} was acknowledged as {} and again as {seq}",
                self.seqs[index]
            )));
        }
        self.seqs[index] = seq;
        self.acked += 1;
        self.latency
            .saturating_record(received_ns.saturating_sub(self.sent_ns[index]));
        Ok(())
    }

    fn finish(self) -> Result<Published> {
        if let Some(at) = self.seqs.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(LoadError::Verify(format!(
                "message {} got sequence {}, the next one {}",
                at,
                self.seqs[at],
                self.seqs[at + 1]
            )));
        }
        Ok(Published {
            seqs: self.seqs,
            latency: self.latency,
        })
    }
}

/// Checks that what several connections published got exactly the sequences `1..=total`.
///
/// # Errors
/// [`LoadError::Verify`] for a sequence that was given twice or not at all.
pub fn expect_permutation(published: &[Published]) -> Result<u64> {
    let total = published.iter().map(|p| p.seqs.len()).sum();
    let mut seen = vec![false; total];
    for seq in published.iter().flat_map(|p| &p.seqs) {
        let slot = usize::try_from(*seq - 1).ok().and_then(|i| seen.get_mut(i));
        match slot {
            Some(taken) if !*taken => *taken = true,
            Some(_) => {
                return Err(LoadError::Verify(format!("sequence {seq} was acknowledged twice")));
            }
            None => {
                return Err(LoadError::Verify(format!(
                    "sequence {seq} acknowledged for {total} messages in a new stream"
                )));
            }
        }
    }
    Ok(total as u64)
}

/// Reads the stream back and checks that under every sequence lies the body that was acknowledged
/// with it.
///
/// # Errors
/// [`LoadError::Verify`].
pub fn expect_bodies(conn: &mut Conn, stream: &Stream, size: usize, published: &[Published]) -> Result<()> {
    let total = published.iter().map(|p| p.seqs.len() as u64).sum();
    let payload = Payload::new(size);
    jetstream::read_back(conn, &stream.name, total, size, |seq, msg| {
        let stamp = payload.check(msg.payload)?;
        let acked = usize::try_from(stamp.publisher)
            .ok()
            .and_then(|i| published.get(i))
            .zip(usize::try_from(stamp.counter).ok())
            .and_then(|(p, i)| p.seqs.get(i));
        if acked != Some(&seq) {
            return Err(LoadError::Verify(format!(
                "sequence {seq} holds {stamp:?}, which was acknowledged as {acked:?}"
            )));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests;
