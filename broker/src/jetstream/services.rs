//! The parts of JetStream that listen on subjects: streams, consumers' pull requests, acknowledgements, the API.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use weir_engine::consumer::{Ack, AckKind, PullRequest};
use weir_engine::shard::Input;
use weir_engine::shard::emit::Ticket;
use weir_engine::store::{StreamEntry, StreamStats};
use weir_engine::stream::StreamConfig;
use weir_engine::{ShardId, StreamId};
use weir_wire::headers;

use crate::interest::{Account, Inbound, Service, Work};
use crate::jetstream::allowance::refuse_publish;
use crate::jetstream::api::decode::unreadable;
use crate::jetstream::api::schema;
use crate::jetstream::batch::{Batch, Request};
use crate::jetstream::{ApiRequest, JetStream, status, traced};

/// Stores what is published to a stream's subjects.
pub(super) struct Ingest {
    pub jetstream: Weak<JetStream>,
    pub shard: ShardId,
    pub stream: StreamId,
    pub account: Arc<Account>,
    pub name: Arc<str>,
    /// What the account may hold in the stream's kind of storage, in bytes, if it has a limit.
    pub limit: Option<u64>,
    /// Knows what it holds.
    pub stats: Arc<StreamStats>,
    /// It acknowledges nothing.
    pub no_ack: bool,
}

impl Service for Ingest {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let number = work.message();
        let batch = work.of::<Batch>();
        if !batch.takes(number, self.stream) {
            return;
        }
        if let Some(journey) = message.journey {
            return traced::store(self, &jetstream, journey, message, batch);
        }
        if self.is_full() {
            return refuse_publish(&self.account, &self.name, message);
        }
        let (subject, reply, body) = batch.keep(self.stream, message);
        let input = Input::Publish {
            stream: self.stream,
            subject,
            headers_len: message.headers.len(),
            body,
            ticket: if reply.is_empty() {
                Ticket::None
            } else {
                Ticket::Reply(reply)
            },
        };
        batch.push(&jetstream, self.shard, input);
    }

    fn rehearses(&self) -> bool {
        true
    }

    fn only_hears(&self) -> bool {
        true
    }
}

impl Ingest {
    /// Whether the account holds more than it may.
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.stats.held_by_account() > limit)
    }
}

/// Takes pull requests for one consumer.
pub(super) struct Pull {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub shard: ShardId,
    pub stream: StreamId,
    pub consumer: Bytes,
    /// Whether the consumer takes none.
    pub is_push: bool,
}

impl Service for Pull {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let number = work.message();
        if !work.of::<Batch>().takes(number, self.stream) {
            return;
        }
        if message.reply.is_empty() {
            return;
        }
        let request = match PullRequest::parse(message.payload) {
            Ok(request) => request,
            // The consumer refuses it, whatever it says.
            Err(_) if self.is_push => PullRequest::default(),
            Err(why) => return refuse_pull(&jetstream, &self.account, message, message.payload, why),
        };
        let input = Input::Pull {
            stream: self.stream,
            consumer: self.consumer.clone(),
            request,
            reply: message.own(message.reply),
        };
        work.of::<Batch>().push(&jetstream, self.shard, input);
    }
}

/// Answers a pull request that cannot be read, in nats-server's words.
fn refuse_pull(js: &JetStream, account: &Arc<Account>, message: &Inbound<'_>, request: &[u8], why: String) {
    if message.reply.is_empty() {
        return;
    }
    let why = unreadable(request.trim_ascii(), &schema::PULL).unwrap_or(why);
    let block = status::block(400, &format!("Bad Request - {why}"), &[]);
    js.send(account, message.reply, &block, b"");
}

/// Takes acknowledgements for one consumer: `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer
/// seq>.<time>.<pending>` (js-api, "Acks").
pub(super) struct Acks {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub shard: ShardId,
    pub stream: StreamId,
    pub consumer: Bytes,
    /// The length of the subject up to and with the dot behind the consumer's name.
    pub own_len: usize,
}

impl Service for Acks {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let Some(numbers) = message.subject.get(self.own_len..).and_then(AckNumbers::parse) else {
            return;
        };
        let input = acknowledgement(
            &jetstream,
            &self.account,
            message,
            numbers,
            self.stream,
            self.consumer.clone(),
        );
        work.of::<Batch>().push(&jetstream, self.shard, input);
    }
}

/// Takes acknowledgements with domain and account hash before the stream's name, and anything behind the numbers. Their
/// subjects are only sent by who was given them by another server.
pub(super) struct LongAcks {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
}

/// Eleven tokens or more.
pub(super) const LONG_ACKS: &[u8] = b"$JS.ACK.*.*.*.*.*.*.*.*.>";

impl Service for LongAcks {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let mut tokens = weir_subject::tokens(message.subject).skip(4);
        let (Some(stream), Some(consumer)) = (tokens.next(), tokens.next()) else {
            return;
        };
        let Some(numbers) = AckNumbers::take(&mut tokens) else {
            return;
        };
        let Some(place) = jetstream.place(&self.account.name, stream) else {
            return;
        };
        let consumer = message.own(consumer);
        let input = acknowledgement(&jetstream, &self.account, message, numbers, place.stream, consumer);
        work.of::<Batch>().push(&jetstream, place.shard, input);
    }
}

/// What an acknowledgement means for its consumer.
fn acknowledgement(
    js: &JetStream,
    account: &Arc<Account>,
    message: &Inbound<'_>,
    numbers: AckNumbers,
    stream: StreamId,
    consumer: Bytes,
) -> Input {
    let (kind, reply) = match AckKind::parse(message.payload) {
        Ok(kind) => (kind, message.own(message.reply)),
        // It is acknowledged all the same.
        Err(why) => {
            let request = message.payload.trim_ascii();
            refuse_pull(
                js,
                account,
                message,
                request.strip_prefix(b"+NXT").unwrap_or(request),
                why,
            );
            (AckKind::Ack, Bytes::new())
        }
    };
    let ack = Ack {
        stream_seq: numbers.stream_seq,
        consumer_seq: numbers.consumer_seq,
        deliveries: numbers.deliveries,
        kind,
        reply,
    };
    Input::Ack { stream, consumer, ack }
}

/// The numbers in an acknowledgement's subject that matter.
#[derive(Debug, PartialEq, Eq)]
struct AckNumbers {
    deliveries: u64,
    stream_seq: u64,
    consumer_seq: u64,
}

impl AckNumbers {
    /// Reads what stands behind the consumer's name.
    fn parse(rest: &[u8]) -> Option<Self> {
        let mut tokens = weir_subject::tokens(rest);
        let numbers = Self::take(&mut tokens)?;
        tokens.next().is_none().then_some(numbers)
    }

    fn take<'t>(tokens: &mut impl Iterator<Item = &'t [u8]>) -> Option<Self> {
        let deliveries = number(tokens.next()?)?;
        let stream_seq = number(tokens.next()?)?;
        let consumer_seq = number(tokens.next()?)?;
        let (_time, _pending) = (tokens.next()?, tokens.next()?);
        Some(Self {
            deliveries,
            stream_seq,
            consumer_seq,
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

/// Takes answers to flow control: `$JS.FC.<stream>.<consumer>.<number>`, also with a domain and an account before the stream.
pub(super) struct FlowControl {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
}

impl Service for FlowControl {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let before = if weir_subject::tokens(message.subject).count() == 7 {
            4
        } else {
            2
        };
        let mut tokens = weir_subject::tokens(message.subject).skip(before);
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
            last: headers::get(message.headers, "Nats-Last-Stream").and_then(number),
        };
        work.of::<Batch>().push(&jetstream, place.shard, input);
    }
}

/// Takes requests of the API; what follows `prefix` is the call.
pub(super) struct Api {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub prefix: Vec<u8>,
}

impl Service for Api {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
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
        work.of::<Batch>().request(&jetstream, Request::Api(request));
    }

    fn of_system(&self, subject: &[u8]) -> Option<(String, String)> {
        let system = self.jetstream.upgrade()?.accounts.system.name.to_string();
        Some((system, String::from_utf8_lossy(subject).into_owned()))
    }
}

/// Takes direct gets of one stream: `…DIRECT.GET.<stream>`, and for the last message of a subject `….<subject>`.
pub(super) struct Direct {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
    pub entry: Arc<StreamEntry>,
    /// The length of the subject up to and with the stream's name.
    pub own_len: usize,
    /// The stream whose requests these are, if a mirror takes them in its place.
    pub origin: Option<String>,
}

impl Direct {
    /// Whether this is the one that answers. An origin does so itself as long as it can: it is never behind. Of its mirrors
    /// the first by name does, so that there is one answer.
    fn answers(&self, jetstream: &JetStream) -> bool {
        let Some(origin) = &self.origin else { return true };
        let catalogue = jetstream.catalogue();
        if catalogue
            .get(&self.account.name, origin)
            .is_some_and(|entry| entry.config.allow_direct)
        {
            return false;
        }
        let streams = catalogue.list(&self.account.name);
        let mirrors = streams.iter().filter(|entry| stands_in(&entry.config) == Some(origin));
        mirrors.map(|entry| &entry.name).min() == Some(&self.entry.name)
    }
}

/// The stream that a mirror answers direct gets for.
pub(super) fn stands_in(config: &StreamConfig) -> Option<&String> {
    config
        .mirror
        .as_ref()
        .filter(|_| config.mirror_direct)
        .map(|mirror| &mirror.name)
}

impl Service for Direct {
    fn message(&self, message: &Inbound<'_>, work: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        if message.reply.is_empty() || !self.answers(&jetstream) {
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
        work.of::<Batch>()
            .request(&jetstream, Request::Direct(Arc::clone(&self.entry), last_for, request));
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
mod tests;
