//! The few JetStream calls that the scenarios need, and the reading of acks.

use std::time::Duration;

use memchr::memmem;
use serde_json::{Value, json};

use crate::conn::{Conn, message};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::{Msg, decimal};

/// How long an API call may take; deleting a large stream is the slowest.
const API_PATIENCE: Duration = Duration::from_secs(60);
/// Messages per pull when a stream is read back, and the bytes of their bodies: servers close the connection of whoever has too much to take.
const READ_BACK_BATCH: u64 = 1000;
const READ_BACK_BYTES: usize = 8 << 20;

/// A call on `$JS.API.<name>`; the answer's `error` becomes an error.
///
/// # Errors
/// [`LoadError::Api`], or what the connection says.
pub fn call(conn: &mut Conn, name: &str, body: &Value) -> Result<Value> {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let answer = conn.request(&format!("$JS.API.{name}"), &bytes, API_PATIENCE)?;
    let value: Value =
        serde_json::from_slice(&answer).map_err(|e| LoadError::Api(format!("{name} answered no JSON: {e}")))?;
    match value.get("error") {
        Some(error) => Err(LoadError::Api(format!("{name}: {error}"))),
        None => Ok(value),
    }
}

/// Answers once JetStream is up.
///
/// # Errors
/// As [`call`].
pub fn account_info(conn: &mut Conn) -> Result<()> {
    call(conn, "INFO", &Value::Null).map(drop)
}

/// What a stream says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Messages in it.
    pub messages: u64,
    /// Lowest sequence.
    pub first_seq: u64,
    /// Highest sequence.
    pub last_seq: u64,
    /// Distinct subjects.
    pub subjects: u64,
}

/// The state of a stream.
///
/// # Errors
/// As [`call`].
pub fn stream_state(conn: &mut Conn, stream: &str) -> Result<StreamState> {
    let info = call(conn, &format!("STREAM.INFO.{stream}"), &Value::Null)?;
    let field = |name: &str| info["state"][name].as_u64().unwrap_or(0);
    Ok(StreamState {
        messages: field("messages"),
        first_seq: field("first_seq"),
        last_seq: field("last_seq"),
        subjects: field("num_subjects"),
    })
}

/// Checks that a stream holds exactly the sequences `1..=total`.
///
/// # Errors
/// [`LoadError::Verify`] when it does not.
pub fn expect_messages(conn: &mut Conn, stream: &str, total: u64) -> Result<StreamState> {
    let state = stream_state(conn, stream)?;
    if (state.messages, state.first_seq, state.last_seq) == (total, 1, total) {
        return Ok(state);
    }
    Err(LoadError::Verify(format!(
        "{total} messages were acknowledged, the stream says {state:?}"
    )))
}

/// Sequence of a publish acknowledgement.
///
/// # Errors
/// [`LoadError::Api`] for a refused publish, [`LoadError::Verify`] for one taken as a duplicate.
pub fn ack_seq(msg: &Msg<'_>) -> Result<u64> {
    let text = || String::from_utf8_lossy(msg.payload).into_owned();
    if let Some(status) = msg.status() {
        return Err(LoadError::Api(format!("publish answered with status {status}")));
    }
    if memmem::find(msg.payload, b"\"error\"").is_some() {
        return Err(LoadError::Api(format!("publish refused: {}", text())));
    }
    if memmem::find(msg.payload, b"\"duplicate\"").is_some() {
        return Err(LoadError::Verify(format!("publish taken as a duplicate: {}", text())));
    }
    let key = b"\"seq\":";
    memmem::find(msg.payload, key)
        .map(|at| msg.payload[at + key.len()..].trim_ascii_start())
        .and_then(|rest| {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            decimal(&rest[..digits])
        })
        .filter(|&seq| seq > 0)
        .ok_or_else(|| LoadError::Api(format!("not a publish acknowledgement: {}", text())))
}

/// What the reply subject of a delivered message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How often it has been delivered, this time included.
    pub count: u64,
    /// Its sequence in the stream.
    pub stream_seq: u64,
    /// Its number among the consumer's deliveries.
    pub consumer_seq: u64,
    /// How many more there are for the consumer.
    pub pending: u64,
}

/// Reads `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>`, and
/// the longer form that has domain and account before the stream.
pub fn delivery(reply: &[u8]) -> Option<Delivery> {
    let rest = reply.strip_prefix(b"$JS.ACK.")?;
    let tokens = rest.split(|&b| b == b'.').count();
    let skipped = match tokens {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    let mut numbers = rest.split(|&b| b == b'.').skip(skipped).map(decimal);
    Some(Delivery {
        count: numbers.next()??,
        stream_seq: numbers.next()??,
        consumer_seq: numbers.next()??,
        pending: numbers.nth(1)??,
    })
}

/// Reads messages `1..=total` of a stream in order, with bodies of `size` bytes at most, and gives each to `check`.
///
/// # Errors
/// [`LoadError::Verify`] for a gap or a repetition, and what `check` says.
pub fn read_back(
    conn: &mut Conn,
    stream: &str,
    total: u64,
    size: usize,
    mut check: impl FnMut(u64, &Msg<'_>) -> Result<()>,
) -> Result<()> {
    let consumer = format!("readback-{}", crate::conn::unique());
    let config = json!({"stream_name": stream, "config": {
        "name": consumer, "ack_policy": "none", "deliver_policy": "all",
        "replay_policy": "instant", "mem_storage": true, "inactive_threshold": 60_000_000_000u64,
    }});
    call(conn, &format!("CONSUMER.CREATE.{stream}.{consumer}"), &config)?;
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
    let reply = format!("{}readback", conn.inbox());
    let mut seq = 0;
    while seq < total {
        let fitting = (READ_BACK_BYTES / size.max(1)).max(1) as u64;
        let batch = READ_BACK_BATCH.min(fitting).min(total - seq);
        let wanted = seq + batch;
        let body = format!("{{\"batch\":{batch},\"expires\":10000000000}}");
        encode::publish(&mut conn.out, next.as_bytes(), reply.as_bytes(), body.as_bytes());
        conn.flush()?;
        while seq < wanted {
            conn.fill()?;
            while let Some(frame) = conn.frames.pop()? {
                let Some(msg) = message(frame, &mut conn.out)? else {
                    continue;
                };
                if let Some(status) = msg.status() {
                    return Err(LoadError::Verify(format!(
                        "reading back stopped with status {status} after {seq} of {total} messages"
                    )));
                }
                let Some(delivery) = delivery(msg.reply) else {
                    continue;
                };
                seq += 1;
                if delivery.stream_seq != seq {
                    return Err(LoadError::Verify(format!(
                        "reading back: sequence {} came where {seq} belongs",
                        delivery.stream_seq
                    )));
                }
                check(seq, &msg)?;
            }
        }
    }
    call(conn, &format!("CONSUMER.DELETE.{stream}.{consumer}"), &Value::Null).map(drop)
}

#[cfg(test)]
mod tests;
