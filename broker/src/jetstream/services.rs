//! The parts of JetStream that listen on subjects: streams, consumers' pull requests, acknowledgements, the API.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use weir_engine::LogId;
use weir_engine::consumer::{Ack, AckKind, PullRequest};
use weir_engine::shard::Input;
use weir_engine::shard::emit::Ticket;
use weir_engine::store::StreamEntry;
use weir_wire::HeaderView;

use crate::account::{Account, Inbound, Service};
use crate::jetstream::batch::{Batch, Request};
use crate::jetstream::{ApiRequest, JetStream, status};

/// Stores what is published to a stream's subjects.
pub(super) struct Ingest {
    pub jetstream: Weak<JetStream>,
    pub shard: usize,
    pub stream: LogId,
}

impl Service for Ingest {
    fn message(&self, message: &Inbound<'_>, batch: &mut Batch) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let ticket = match message.reply {
            b"" => Ticket::None,
            reply => Ticket::Reply(message.own(reply)),
        };
        let input = Input::Publish {
            stream: self.stream,
            subject: message.own(message.subject),
            headers_len: message.headers.len(),
            body: message.body(),
            ticket,
        };
        batch.push(&jetstream, self.shard, input);
    }
}

/// Takes pull requests for one consumer.
pub(super) struct Pull {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub shard: usize,
    pub stream: LogId,
    pub consumer: Bytes,
}

impl Service for Pull {
    fn message(&self, message: &Inbound<'_>, batch: &mut Batch) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        if message.reply.is_empty() {
            return;
        }
        let request = match PullRequest::parse(message.payload) {
            Ok(request) => request,
            Err(why) => {
                let block = status::block(400, &format!("Bad Request - {why}"), &[]);
                return jetstream.send(&self.account, message.reply, &block, b"");
            }
        };
        let input = Input::Pull {
            stream: self.stream,
            consumer: self.consumer.clone(),
            request,
            reply: message.own(message.reply),
        };
        batch.push(&jetstream, self.shard, input);
    }
}

/// Takes acknowledgements: `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, or the
/// longer form with domain and account hash before the stream (js-api, "Acks").
pub(super) struct Acks {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
}

impl Service for Acks {
    fn message(&self, message: &Inbound<'_>, batch: &mut Batch) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let Some(kind) = AckKind::parse(message.payload) else {
            return;
        };
        let Some(parts) = AckParts::parse(message.subject) else {
            return;
        };
        let Some(place) = jetstream.place(&self.account.name, parts.stream) else {
            return;
        };
        let input = Input::Ack {
            stream: place.stream,
            consumer: message.own(parts.consumer),
            ack: Ack {
                stream_seq: parts.stream_seq,
                consumer_seq: parts.consumer_seq,
                deliveries: parts.deliveries,
                kind,
                reply: message.own(message.reply),
            },
        };
        batch.push(&jetstream, place.shard, input);
    }
}

/// The parts of an acknowledgement's subject that matter.
struct AckParts<'a> {
    stream: &'a [u8],
    consumer: &'a [u8],
    deliveries: u64,
    stream_seq: u64,
    consumer_seq: u64,
}

impl<'a> AckParts<'a> {
    fn parse(subject: &'a [u8]) -> Option<Self> {
        let rest = subject.strip_prefix(b"$JS.ACK.")?;
        let mut tokens = [&rest[..0]; 9];
        let mut count = 0;
        for token in weir_subject::tokens(rest) {
            if count < tokens.len() {
                tokens[count] = token;
            }
            count += 1;
        }
        // Seven tokens, or nine and more: domain and account hash first, unknown ones last.
        let tokens = match count {
            7 => &tokens[..7],
            9.. => &tokens[2..9],
            _ => return None,
        };
        Some(Self {
            stream: tokens[0],
            consumer: tokens[1],
            deliveries: number(tokens[2])?,
            stream_seq: number(tokens[3])?,
            consumer_seq: number(tokens[4])?,
        })
    }
}

fn number(token: &[u8]) -> Option<u64> {
    if token.is_empty() || token.len() > 19 {
        return None;
    }
    token.iter().try_fold(0u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// Takes answers to flow control: `$JS.FC.<stream>.<consumer>.<number>`.
pub(super) struct FlowControl {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
}

impl Service for FlowControl {
    fn message(&self, message: &Inbound<'_>, batch: &mut Batch) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let mut tokens = weir_subject::tokens(message.subject).skip(2);
        let (Some(stream), Some(consumer), Some(id)) = (tokens.next(), tokens.next(), tokens.next().and_then(number))
        else {
            return;
        };
        let Some(place) = jetstream.place(&self.account.name, stream) else {
            return;
        };
        let input = Input::FlowControl {
            stream: place.stream,
            consumer: message.own(consumer),
            id,
            last: HeaderView::parse(message.headers)
                .get("Nats-Last-Stream")
                .and_then(number),
        };
        batch.push(&jetstream, place.shard, input);
    }
}

/// Takes requests of the API; what follows `prefix` is the call.
pub(super) struct Api {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub prefix: Vec<u8>,
}

impl Service for Api {
    fn message(&self, message: &Inbound<'_>, batch: &mut Batch) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let subject = match message.subject.strip_prefix(self.prefix.as_slice()) {
            Some(rest) if self.prefix != API_PREFIX => [API_PREFIX, rest].concat().into(),
            Some(_) => Bytes::copy_from_slice(message.subject),
            None => return,
        };
        // Copied: requests are rare, and may wait for their turn.
        let request = ApiRequest {
            subject,
            reply: Bytes::copy_from_slice(message.reply),
            headers: Bytes::copy_from_slice(message.headers),
            payload: Bytes::copy_from_slice(message.payload),
            account: Arc::clone(&self.account),
            from: message.from.cloned(),
        };
        batch.request(&jetstream, Request::Api(request));
    }
}

/// Takes direct gets of one stream: `…DIRECT.GET.<stream>`, and for the last message of a subject `….<subject>`.
pub(super) struct Direct {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub entry: Arc<StreamEntry>,
    /// The length of the subject up to and with the stream's name.
    pub own_len: usize,
}

impl Service for Direct {
    fn message(&self, message: &Inbound<'_>, batch: &mut Batch) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        if message.reply.is_empty() {
            return;
        }
        // Behind the stream's name comes a dot.
        let last_for = message.subject.get(self.own_len + 1..).map(Bytes::copy_from_slice);
        let request = ApiRequest {
            subject: Bytes::copy_from_slice(message.subject),
            reply: Bytes::copy_from_slice(message.reply),
            headers: Bytes::copy_from_slice(message.headers),
            payload: Bytes::copy_from_slice(message.payload),
            account: Arc::clone(&self.account),
            from: message.from.cloned(),
        };
        batch.request(&jetstream, Request::Direct(Arc::clone(&self.entry), last_for, request));
    }
}

/// How the subjects of the API begin.
pub(super) const API_PREFIX: &[u8] = b"$JS.API.";

/// The calls of the API. Pull requests and direct gets are not among them: each consumer and stream listens for its own, so
/// that asking one that does not exist is answered by "no responders".
pub(super) const API_CALLS: &[&str] = &[
    "INFO",
    "STREAM.>",
    "CONSUMER.CREATE.>",
    "CONSUMER.DURABLE.>",
    "CONSUMER.NAMES.*",
    "CONSUMER.LIST.*",
    "CONSUMER.INFO.>",
    "CONSUMER.DELETE.>",
    "CONSUMER.PAUSE.>",
    "CONSUMER.RESET.>",
    "CONSUMER.UNPIN.>",
    "CONSUMER.LEADER.>",
    "CONSUMER.PEER.>",
    "META.>",
    "SERVER.>",
    "ACCOUNT.>",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_ack_subjects() {
        for subject in [
            "$JS.ACK.S.C.1.22.3.1700000000000000000.5",
            "$JS.ACK._.hash.S.C.1.22.3.1700000000000000000.5.more",
        ] {
            let parts = AckParts::parse(subject.as_bytes()).unwrap();
            assert_eq!((parts.stream, parts.consumer), (&b"S"[..], &b"C"[..]));
            assert_eq!((parts.deliveries, parts.stream_seq, parts.consumer_seq), (1, 22, 3));
        }
        for subject in [
            "$JS.ACK.S.C.1.22.3.17",
            "$JS.ACK.S.C.1.x.3.17.5",
            "$JS.ACK.S.C.1.2.3.4.5.6",
            "$JS.ACK.",
        ] {
            assert!(AckParts::parse(subject.as_bytes()).is_none(), "{subject}");
        }
    }
}
