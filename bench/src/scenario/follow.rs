//! An ordered consumer as clients have one for watches and objects: it pushes, nothing is acked, and flow control keeps it from
//! sending more than the client takes.

use serde_json::{Value, json};

use crate::conn::{Conn, message, unique};
use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::Msg;
use crate::jetstream::{self, Delivery, delivery};

/// Subscription id of what a consumer delivers to.
const SID: u64 = 2;

/// What is followed.
#[derive(Debug, Clone, Copy)]
pub struct Follow<'a> {
    /// The stream.
    pub stream: &'a str,
    /// Which of its subjects.
    pub filter: &'a str,
    /// Where it begins.
    pub deliver_policy: &'a str,
}

/// Makes such a consumer over `control` and reads on `conn` until it has nothing more; each message is given to `check`.
/// Answers how many there were; at least one has to be.
///
/// # Errors
/// A gap, a repetition, and what `check` says.
pub fn follow(
    control: &mut Conn,
    conn: &mut Conn,
    follow: Follow<'_>,
    mut check: impl FnMut(&Delivery, &Msg<'_>) -> Result<()>,
) -> Result<u64> {
    let consumer = format!("follow-{}", unique());
    let Follow {
        stream,
        filter,
        deliver_policy,
    } = follow;
    // Servers look for a subscription to this very subject, so that it is not one of the connection's inbox.
    let deliver_subject = format!("load.{consumer}");
    encode::subscribe(&mut conn.out, &deliver_subject, SID);
    conn.round_trip()?;
    let config = json!({"stream_name": stream, "config": {
        "name": consumer, "deliver_subject": deliver_subject, "deliver_policy": deliver_policy,
        "filter_subject": filter, "ack_policy": "none", "max_deliver": 1, "replay_policy": "instant", "flow_control": true,
        "idle_heartbeat": 5_000_000_000u64, "mem_storage": true, "num_replicas": 1,
    }});
    jetstream::call(
        control,
        &format!("CONSUMER.CREATE.{stream}.{consumer}.{filter}"),
        &config,
    )?;
    let mut order = Order::default();
    while !order.over {
        conn.fill()?;
        while let Some(frame) = conn.frames.pop()? {
            let Some(msg) = message(frame, &mut conn.out)? else {
                continue;
            };
            if let Some(status) = msg.status() {
                if let Some(to) = resume(status, &msg)? {
                    encode::publish(&mut conn.out, to, b"", b"");
                }
                continue;
            }
            let delivered = order.take(&msg)?;
            check(&delivered, &msg)?;
        }
        if !conn.out.is_empty() {
            conn.flush()?;
        }
    }
    encode::unsubscribe(&mut conn.out, SID);
    conn.round_trip()?;
    jetstream::call(control, &format!("CONSUMER.DELETE.{stream}.{consumer}"), &Value::Null)?;
    Ok(order.received)
}

/// Where the server waits for a word after a message with a status: it asks for one, or a heartbeat says that it still waits.
fn resume<'a>(status: u16, msg: &Msg<'a>) -> Result<Option<&'a [u8]>> {
    const STALLED: &[u8] = b"Nats-Consumer-Stalled: ";
    if status != 100 {
        return Err(LoadError::Verify(format!("a push consumer said status {status}")));
    }
    if !msg.reply.is_empty() {
        return Ok(Some(msg.reply));
    }
    let lines = msg.header.split(|&b| b == b'\n');
    Ok(lines
        .map(|line| line.trim_ascii_end())
        .find_map(|line| line.strip_prefix(STALLED)))
}

/// What has come of a consumer.
#[derive(Debug, Default)]
struct Order {
    received: u64,
    stream_seq: u64,
    over: bool,
}

impl Order {
    /// Takes a message.
    fn take(&mut self, msg: &Msg<'_>) -> Result<Delivery> {
        let delivered = delivery(msg.reply)
            .ok_or_else(|| LoadError::Verify(format!("message of a consumer without its numbers: {msg:?}")))?;
        let next = (delivered.consumer_seq, delivered.count) == (self.received + 1, 1);
        if !next || delivered.stream_seq <= self.stream_seq || self.over {
            return Err(LoadError::Verify(format!("{delivered:?} came behind {self:?}")));
        }
        self.received += 1;
        self.stream_seq = delivered.stream_seq;
        self.over = delivered.pending == 0;
        Ok(delivered)
    }
}

#[cfg(test)]
mod tests;
