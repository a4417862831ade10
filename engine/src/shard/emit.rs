//! What leaves a shard, once the turn that caused it is as durable as its stream asks for.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::stream::{Abandoned, Message};
use crate::types::{Nanos, Seq, StreamId};

/// A stream or a consumer by the names its users know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerName {
    /// The account.
    pub account: Arc<str>,
    /// The stream.
    pub stream: Arc<str>,
    /// The consumer.
    pub consumer: Arc<str>,
}

/// What a publisher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubAck {
    /// The stream that took the message.
    pub stream: Arc<str>,
    /// The sequence it got; for a duplicate, the one that the original got; 0 while it waits for the rest of its atomic
    /// batch.
    pub seq: Seq,
    /// Whether the message id was seen before.
    pub duplicate: bool,
    /// The new value of a counter.
    pub value: Option<Box<str>>,
    /// The batch that this ends.
    pub batch: Option<Box<BatchAck>>,
}

/// What the publisher of a batch is told at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAck {
    /// The batch's id.
    pub id: Bytes,
    /// How many messages it had.
    pub count: u64,
}

/// Work that waits for the end of its turn: told whether the turn was made durable.
pub type Completion = Box<dyn FnOnce(Result<(), &Error>) + Send>;

/// Who waits for the answer to a publish.
pub enum Ticket {
    /// Nobody.
    None,
    /// A subject.
    Reply(Bytes),
    /// A function.
    Call(Box<dyn FnOnce(Result<PubAck>) + Send>),
}

/// A message on its way to a consumer's client.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The consumer.
    pub consumer: Arc<ConsumerName>,
    /// The subject to send it to.
    pub to: Bytes,
    /// The message.
    pub message: Message,
    /// How often it has been sent, this time included.
    pub deliveries: u64,
    /// The consumer's own number for this delivery.
    pub consumer_seq: u64,
    /// Messages still to come for this consumer.
    pub pending: u64,
    /// Whether the payload is left out.
    pub headers_only: bool,
    /// Whether an acknowledgement is expected.
    pub wants_ack: bool,
    /// The pin of the client it goes to, where the consumer serves one client alone; it goes into the headers.
    pub pin: Option<Arc<str>>,
}

/// A message without a payload that tells a consumer's client how things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// 100: nothing else to say; the last consumer and stream sequences sent.
    Heartbeat {
        /// The last consumer sequence sent.
        consumer_seq: u64,
        /// The last stream sequence sent.
        stream_seq: Seq,
        /// The flow-control request that the client has to answer first, if it holds up the consumer.
        stalled: Option<u64>,
    },
    /// 100: answer when you got this far.
    FlowControl {
        /// The request's number, which the answer names.
        id: u64,
    },
    /// 404: nothing now, and the request did not want to wait.
    NoMessages,
    /// 408: the request's time is over; messages and bytes that it was short of.
    RequestTimeout {
        /// Messages not sent.
        messages: u64,
        /// Bytes not sent.
        bytes: u64,
    },
    /// 408: other requests come first.
    RequestsPending,
    /// 409: the request cannot be served, for that reason.
    Conflict {
        /// The reason.
        text: String,
        /// Messages and bytes that it was short of, where that is told.
        short: Option<(u64, u64)>,
    },
    /// 423: another client has the consumer for itself.
    Pinned {
        /// What is wrong with the pin that the request names.
        text: &'static str,
        /// Messages and bytes that it was short of, where that is told.
        short: Option<(u64, u64)>,
    },
    /// 400: the request makes no sense, for that reason.
    BadRequest {
        /// The reason.
        text: String,
    },
}

/// Why a client is pinned no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpinReason {
    /// It was asked for.
    Admin,
    /// The client has not asked for anything for too long.
    Timeout,
}

/// An event that others may want to know of.
#[derive(Clone, Debug)]
pub enum Event {
    /// A consumer is gone.
    ConsumerDeleted {
        /// Which.
        consumer: Arc<ConsumerName>,
        /// Whether it went because no client used it.
        idle: bool,
    },
    /// A message reached its limit of deliveries.
    MaxDeliveries {
        /// To which consumer.
        consumer: Arc<ConsumerName>,
        /// Which message.
        stream_seq: Seq,
        /// How often it was sent.
        deliveries: u64,
    },
    /// A message was refused by its receiver.
    Nak {
        /// By which consumer.
        consumer: Arc<ConsumerName>,
        /// Its consumer sequence.
        consumer_seq: u64,
        /// Its stream sequence.
        stream_seq: Seq,
        /// How often it was sent.
        deliveries: u64,
    },
    /// A message was given up by its receiver.
    Terminated {
        /// By which consumer.
        consumer: Arc<ConsumerName>,
        /// Its consumer sequence.
        consumer_seq: u64,
        /// Its stream sequence.
        stream_seq: Seq,
        /// How often it was sent.
        deliveries: u64,
        /// Why, if it was said.
        reason: String,
    },
    /// An atomic batch was given up.
    BatchAbandoned {
        /// The account.
        account: Arc<str>,
        /// The stream.
        stream: Arc<str>,
        /// The batch's id.
        batch: Bytes,
        /// Why.
        reason: Abandoned,
    },
    /// A stored message cannot be read: readers pass over it.
    MessageDamaged {
        /// The account.
        account: Arc<str>,
        /// The stream.
        stream: Arc<str>,
        /// Which message.
        seq: Seq,
    },
    /// A stream failed and went offline: nothing of it changes until it was opened anew.
    StreamOffline {
        /// The account.
        account: Arc<str>,
        /// The stream.
        stream: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// A stream that was offline was opened anew.
    StreamOnline {
        /// The account.
        account: Arc<str>,
        /// The stream.
        stream: Arc<str>,
    },
    /// A client has a consumer for itself.
    Pinned {
        /// Which consumer.
        consumer: Arc<ConsumerName>,
        /// Its priority group.
        group: String,
        /// The pin.
        id: Arc<str>,
    },
    /// No client has a consumer for itself any more.
    Unpinned {
        /// Which consumer.
        consumer: Arc<ConsumerName>,
        /// Its priority group.
        group: String,
        /// Why.
        reason: UnpinReason,
    },
    /// An acknowledgement, for consumers that sample them.
    AckSample {
        /// Of which consumer.
        consumer: Arc<ConsumerName>,
        /// Its consumer sequence.
        consumer_seq: u64,
        /// Its stream sequence.
        stream_seq: Seq,
        /// From sending to acknowledgement, in nanoseconds.
        delay: Nanos,
        /// How often it was sent.
        deliveries: u64,
    },
}

/// Something that leaves the shard.
pub enum Emit {
    /// The answer to a publish.
    Published {
        /// Who waits.
        ticket: Ticket,
        /// What came of it.
        result: Result<PubAck>,
        /// The account.
        account: Arc<str>,
        /// The stream.
        stream: Arc<str>,
    },
    /// A message for a client.
    Deliver(Delivery),
    /// A status for a client.
    Status {
        /// The consumer.
        consumer: Arc<ConsumerName>,
        /// The subject to send it to.
        to: Bytes,
        /// What it says.
        status: Status,
    },
    /// A message of the stream's own.
    Send {
        /// The account.
        account: Arc<str>,
        /// Its subject.
        to: Bytes,
        /// Its header block; empty if it has none.
        headers: Bytes,
        /// Its payload.
        payload: Bytes,
    },
    /// The empty answer to an acknowledgement that asked for one.
    AckReply {
        /// The account.
        account: Arc<str>,
        /// The subject to send it to.
        to: Bytes,
    },
    /// A stream whose messages others take over has more of them.
    Grown {
        /// Which.
        stream: StreamId,
    },
    /// An event.
    Event(Event),
    /// The rest of a call.
    Done(Completion),
}

/// Where a shard's messages go. Called on the shard's thread: it must not block.
pub trait Outlet: Send {
    /// Whether any client or service listens on a subject.
    fn has_interest(&mut self, account: &str, subject: &[u8]) -> bool;

    /// Whether a client subscribed to exactly this subject, in exactly this queue group (empty for none): what makes
    /// a push consumer active.
    fn has_subscriber(&mut self, account: &str, subject: &[u8], queue: &str) -> bool;

    /// Of `wanted` bytes, how many `consumer` may deliver to the listeners on `to` now; they are promised until the next
    /// [`flush`](Self::flush). 0: none, and the outlet sends [`Input::Wake`](crate::shard::Input::Wake) for the consumer
    /// when there is room again. An outlet that bounds nothing promises all there is.
    fn room(&mut self, consumer: &Arc<ConsumerName>, to: &[u8], wanted: usize) -> usize {
        let _ = (consumer, to, wanted);
        usize::MAX
    }

    /// Sends one. Answers to publishes with [`Ticket::Call`] and [`Emit::Done`] never come here.
    fn emit(&mut self, emit: Emit);

    /// Everything of this turn was sent.
    fn flush(&mut self);
}

/// An outlet that leads nowhere: for a store whose consumers are not read.
#[derive(Debug, Default)]
pub struct NoOutlet;

impl Outlet for NoOutlet {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        false
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        false
    }

    fn emit(&mut self, _: Emit) {}

    fn flush(&mut self) {}
}
