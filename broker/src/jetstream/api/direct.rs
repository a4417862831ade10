//! Direct get: messages read without the API's JSON, as they were stored, one or many at a time.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::json::format_time;
use weir_engine::shard::Shard;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{Message, Stream};
use weir_engine::{LogId, Seq};

use super::decode::decode;
use super::message::Get;
use super::{schema, supports_level};
use crate::courier::Courier;
use crate::jetstream::{ApiRequest, JetStream, status};

/// Bytes in the answer to one request that states no `max_bytes`: nats-server's default of `max_pending`.
const BYTES_MAX: u64 = 64 << 20;
/// Messages in the answer to one request, whatever its `batch`: they are gathered before they are sent. The end of the
/// batch says how many are left.
const MESSAGES_MAX: usize = 100_000;
/// Subjects that `multi_last` may match, as nats-server.
const MULTI_LAST_MAX: usize = 1024;

/// What a request is answered with.
enum Outcome {
    /// A status line only.
    Status(u16, &'static str),
    /// One message.
    One(Message),
    /// Messages, each with how many come after it.
    Batch(Vec<(Message, u64)>, End),
}

/// What stands behind a batch.
struct End {
    /// Messages that match and were not sent.
    pending: u64,
    /// For `multi_last`: the sequence that was the last to count.
    up_to: Option<Seq>,
}

/// Serves a direct get for a stream that allows it; `last_for` is the subject behind the stream's name, if there is one.
pub async fn serve(js: Arc<JetStream>, entry: Arc<StreamEntry>, last_for: Option<Bytes>, request: ApiRequest) {
    let (no_hdr, outcome) = match read(&request, last_for) {
        Err((code, text)) => (false, Outcome::Status(code, text)),
        Ok(get) => {
            let (id, no_hdr) = (entry.id, get.no_hdr);
            let found = js.call(entry.shard, move |shard| find(shard, id, &get)).await;
            let outcome = found.unwrap_or_else(|error| {
                tracing::error!(stream = %entry.name, "direct get: {error}");
                Outcome::Status(500, "Message cannot be read")
            });
            (no_hdr, outcome)
        }
    };
    send(&request, &entry.name, outcome, no_hdr);
}

/// Reads the request; otherwise the status that says why not.
fn read(request: &ApiRequest, last_for: Option<Bytes>) -> Result<Get, (u16, &'static str)> {
    if !supports_level(&request.headers) {
        return Err((412, "Required Api Level"));
    }
    let payload: &[u8] = &request.payload;
    if payload.is_empty() && last_for.is_none() {
        return Err((408, "Empty Request"));
    }
    let mut get: Get = decode(payload, &schema::MSG_GET, false).map_err(|_| (408, "Malformed Request"))?;
    if let Some(subject) = last_for {
        let only = Get {
            no_hdr: get.no_hdr,
            max_bytes: get.max_bytes,
            ..Get::default()
        };
        if subject.is_empty() || get != only {
            return Err((408, "Bad Request"));
        }
        get.last_by_subj = String::from_utf8_lossy(&subject).into_owned();
        return Ok(get);
    }
    let multi = !get.multi_last.is_empty();
    if get.is_vague() && !multi {
        return Err((408, "Empty Request"));
    }
    let last = !get.last_by_subj.is_empty();
    if get.contradicts_itself()
        || (last && (get.batch > 0 || multi))
        || (!get.next_by_subj.is_empty() && multi)
        || (get.up_to_seq > 0 && get.up_to().is_some())
    {
        return Err((408, "Bad Request"));
    }
    Ok(get)
}

fn find(shard: &mut Shard<'_, '_>, id: LogId, get: &Get) -> weir_engine::Result<Outcome> {
    let stream = shard.stream(id)?;
    if !get.multi_last.is_empty() {
        return multi_last(stream, get);
    }
    let start = match get.start() {
        Some(time) => stream.seq_at(time)?,
        None => get.seq,
    };
    if get.batch != 0 {
        return batch(stream, get, start);
    }
    let found = if !get.next_by_subj.is_empty() {
        stream.next_message(get.next_by_subj.as_bytes(), start)?
    } else if !get.last_by_subj.is_empty() {
        stream.last_message(get.last_by_subj.as_bytes())?
    } else {
        stream.message(start)?
    };
    Ok(found.map_or(Outcome::Status(404, "Message Not Found"), Outcome::One))
}

/// Messages in the order of the stream.
fn batch(stream: &mut Stream, get: &Get, start: Seq) -> weir_engine::Result<Outcome> {
    let filter = Bytes::copy_from_slice(get.next_by_subj.as_bytes());
    let filters: Vec<Bytes> = match &filter[..] {
        b"" | b">" => Vec::new(),
        _ => vec![filter.clone()],
    };
    let mut pending = stream.count_from(&filters, start)?;
    if get.batch < 0 {
        // Nats-server takes that for none at all.
        return Ok(Outcome::Batch(Vec::new(), End { pending, up_to: None }));
    }
    let mut room = Room::of(get);
    let mut messages = Vec::new();
    let mut next = start;
    while room.is_left() {
        let Some(message) = stream.next_message(&filter, next)? else {
            break;
        };
        next = message.seq.saturating_add(1);
        pending = pending.saturating_sub(1);
        room.take(&message);
        messages.push((message, pending));
    }
    match messages.is_empty() {
        true => Ok(Outcome::Status(404, "Message Not Found")),
        false => Ok(Outcome::Batch(messages, End { pending, up_to: None })),
    }
}

/// The last message of each of some subjects.
fn multi_last(stream: &mut Stream, get: &Get) -> weir_engine::Result<Outcome> {
    let state = stream.state()?;
    let up_to = match (get.up_to(), get.up_to_seq) {
        (Some(time), _) => match stream.seq_at(time)? {
            seq if seq <= state.first_seq => return Ok(Outcome::Status(404, "No Results")),
            seq => seq - 1,
        },
        (None, 0) => state.last_seq,
        (None, seq) => seq,
    };
    let filters: Vec<Bytes> = get
        .multi_last
        .iter()
        .map(|filter| Bytes::copy_from_slice(filter.as_bytes()))
        .collect();
    let mut seqs = stream.last_seqs(&filters, up_to)?;
    seqs.retain(|seq| *seq >= get.seq);
    if seqs.is_empty() {
        return Ok(Outcome::Status(404, "No Results"));
    }
    if seqs.len() > MULTI_LAST_MAX {
        return Ok(Outcome::Status(413, "Too Many Results"));
    }
    let mut room = Room::of(get);
    let mut messages = Vec::with_capacity(seqs.len());
    let mut pending = seqs.len() as u64;
    for seq in seqs {
        if !room.is_left() {
            break;
        }
        pending -= 1;
        let Some(message) = stream.message(seq)? else { continue };
        room.take(&message);
        messages.push((message, pending));
    }
    let end = End {
        pending,
        up_to: Some(up_to),
    };
    Ok(Outcome::Batch(messages, end))
}

/// How much may still go into a batch.
struct Room {
    messages: usize,
    bytes: u64,
}

impl Room {
    fn of(get: &Get) -> Self {
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let asked = positive(get.batch).and_then(|batch| usize::try_from(batch).ok());
        Self {
            messages: asked.unwrap_or(MESSAGES_MAX).min(MESSAGES_MAX),
            bytes: match u64::try_from(get.max_bytes) {
                Ok(0) => BYTES_MAX,
                Ok(bytes) => bytes.min(BYTES_MAX),
                // Less than nothing is left: one message goes, as ever.
                Err(_) => 1,
            },
        }
    }

    fn is_left(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    /// A message that goes in; one always does, however large.
    fn take(&mut self, message: &Message) {
        let bytes = message.subject.len() + message.headers.len() + message.payload.len();
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// The message's own header block with where it comes from, and in a batch with how many follow and which came before.
fn headers(stream: &str, message: &Message, batch: Option<(u64, Seq)>) -> Vec<u8> {
    let own = message.headers.strip_suffix(b"\r\n").unwrap_or(b"NATS/1.0\r\n");
    let mut block = Vec::with_capacity(own.len() + message.subject.len() + stream.len() + 192);
    block.extend_from_slice(own);
    let subject = String::from_utf8_lossy(&message.subject);
    let time = format_time(Some(message.time));
    // Writing to a Vec does not fail.
    let _ = write!(
        block,
        "Nats-Stream: {stream}\r\nNats-Subject: {subject}\r\nNats-Sequence: {}\r\nNats-Time-Stamp: {time}\r\n",
        message.seq
    );
    if let Some((pending, last)) = batch {
        let _ = write!(block, "Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n");
    }
    block.extend_from_slice(b"\r\n");
    block
}

fn send(request: &ApiRequest, stream: &str, outcome: Outcome, no_hdr: bool) {
    let to = &request.reply;
    let mut courier = Courier::new(Arc::clone(&request.account));
    match outcome {
        Outcome::Status(code, text) => {
            courier.send(to, to, b"", &status::block(code, text, &[]), b"");
        }
        Outcome::One(message) => {
            let headers = if no_hdr {
                Vec::new()
            } else {
                headers(stream, &message, None)
            };
            courier.send(to, to, b"", &headers, &message.payload);
        }
        Outcome::Batch(messages, end) => {
            let mut last = 0;
            // Nats-server leaves the headers out only where sequences tell the batch, not the subjects of `multi_last`; and
            // then does not count down either.
            let bare = no_hdr && end.up_to.is_none();
            let mut pending = end.pending;
            if bare {
                pending += messages.len() as u64;
            }
            for (message, after) in &messages {
                let headers = match bare {
                    true => Vec::new(),
                    false => headers(stream, message, Some((*after, last))),
                };
                last = message.seq;
                courier.send(to, to, b"", &headers, &message.payload);
            }
            let block = match end.up_to {
                None => status::block(
                    204,
                    "EOB",
                    &[("Nats-Num-Pending", &pending), ("Nats-Last-Sequence", &last)],
                ),
                Some(up_to) => status::block(
                    204,
                    "EOB",
                    &[
                        ("Nats-Num-Pending", &pending),
                        ("Nats-Last-Sequence", &last),
                        ("Nats-UpTo-Sequence", &up_to),
                    ],
                ),
            };
            courier.send(to, to, b"", &block, b"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    fn ask(payload: &str, last_for: Option<&str>) -> Result<Get, (u16, &'static str)> {
        let request = ApiRequest {
            subject: Bytes::new(),
            reply: Bytes::from_static(b"r"),
            headers: Bytes::new(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            account: Account::new("A"),
            from: None,
        };
        read(
            &request,
            last_for.map(|subject| Bytes::copy_from_slice(subject.as_bytes())),
        )
    }

    #[test]
    fn refuses_with_the_statuses_of_nats_server() {
        for (payload, last_for, status) in [
            ("", None, (408, "Empty Request")),
            ("{}", None, (408, "Empty Request")),
            ("{\"batch\":3}", None, (408, "Empty Request")),
            ("xx", None, (408, "Malformed Request")),
            ("{\"seq\":1,\"last_by_subj\":\"a\"}", None, (408, "Bad Request")),
            ("{\"last_by_subj\":\"a\",\"batch\":1}", None, (408, "Bad Request")),
            (
                "{\"next_by_subj\":\"a\",\"multi_last\":[\"a\"]}",
                None,
                (408, "Bad Request"),
            ),
            (
                "{\"multi_last\":[\"a\"],\"up_to_seq\":3,\"up_to_time\":\"2020-01-01T00:00:00Z\"}",
                None,
                (408, "Bad Request"),
            ),
            ("{\"seq\":1}", Some("a"), (408, "Bad Request")),
            ("x", Some("a"), (408, "Malformed Request")),
        ] {
            assert_eq!(ask(payload, last_for), Err(status), "{payload}");
        }
        assert_eq!(ask("", Some("a.b")).map(|get| get.last_by_subj), Ok("a.b".to_owned()));
        assert!(ask("{\"no_hdr\":true,\"max_bytes\":1}", Some("a")).is_ok());
        assert!(ask("{\"seq\":1,\"unknown\":{}}", None).is_ok());
    }

    #[test]
    fn headers_follow_the_messages_own() {
        let mut message = Message {
            seq: 7,
            time: 1_500_000_000,
            subject: Bytes::from_static(b"a.b"),
            headers: Bytes::new(),
            payload: Bytes::new(),
        };
        let place =
            "Nats-Stream: S\r\nNats-Subject: a.b\r\nNats-Sequence: 7\r\nNats-Time-Stamp: 1970-01-01T00:00:01.5Z\r\n";
        assert_eq!(
            headers("S", &message, None),
            format!("NATS/1.0\r\n{place}\r\n").into_bytes()
        );
        message.headers = Bytes::from_static(b"NATS/1.0\r\nA: b\r\n\r\n");
        assert_eq!(
            headers("S", &message, Some((3, 6))),
            format!("NATS/1.0\r\nA: b\r\n{place}Nats-Num-Pending: 3\r\nNats-Last-Sequence: 6\r\n\r\n").into_bytes()
        );
    }

    #[test]
    fn a_batch_ends_by_count_or_bytes() {
        let message = |len: usize| Message {
            seq: 1,
            time: 0,
            subject: Bytes::from_static(b"s"),
            headers: Bytes::new(),
            payload: Bytes::from(vec![0; len]),
        };
        let room = |json: &str| Room::of(&decode::<Get>(json.as_bytes(), &schema::MSG_GET, true).unwrap());
        let mut two = room("{\"batch\":2}");
        two.take(&message(1));
        assert!(two.is_left());
        two.take(&message(1));
        assert!(!two.is_left());
        let mut few = room("{\"batch\":9,\"max_bytes\":5}");
        few.take(&message(100));
        assert!(!few.is_left());
        assert_eq!(room("{}").messages, MESSAGES_MAX);
    }
}
