//! Consumers for a program that has no server: it fetches messages, and says of each what became of it.

use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::RecvTimeoutError;

use super::EmbeddedStream;
use super::outlet::Fetched;
use crate::consumer::validate::{Action, validate_new};
use crate::consumer::{Ack, AckKind, ConsumerConfig, ConsumerInfo, PullRequest};
use crate::error::{Error, Kind, Result};
use crate::reject;
use crate::shard::emit::{Delivery, Status};
use crate::shard::{Input, Refused, ShardHandle};
use crate::stream::Message;
use crate::stream::validate::ServerLimits;
use crate::types::{Nanos, StreamId};

/// Messages that one fetch brings at most, however many are asked for.
pub const FETCH_MAX: usize = 10_000;

/// How many turns a fetch whose time is over gives a shard to hand out what it says is there.
const FETCH_TURNS: u32 = 64;

/// A message as a consumer hands it out. Unless the consumer wants no acknowledgements, it is handed out again when
/// nothing is said of it within the consumer's `ack_wait`.
#[derive(Clone)]
pub struct EmbeddedMessage {
    /// The message; without its payload if the consumer is one for headers only.
    pub message: Message,
    /// How often it has been handed out, this time included.
    pub deliveries: u64,
    /// The consumer's own number for this delivery.
    pub consumer_seq: u64,
    /// Messages that were still to come for this consumer.
    pub pending: u64,
    shard: ShardHandle,
    stream: StreamId,
    consumer: Bytes,
}

impl EmbeddedStream {
    /// Makes a consumer, with the rules that a server keeps. It must have a name (the durable name counts as one): the
    /// engine makes none up. One that exists with the same configuration is answered as it is, so that a program can
    /// call this whenever it starts. Without a durable name it goes when it is not fetched from for `inactive_threshold`.
    ///
    /// Mind that the default [`AckPolicy`](crate::consumer::AckPolicy) is, as in JetStream, to want no
    /// acknowledgements: then each message is handed out once, whatever becomes of it.
    ///
    /// # Errors
    /// [`Invalid`](Kind::Invalid) if it has no name, or delivers to a subject;
    /// [`Rejected`](Kind::Rejected) with JetStream's code if the configuration breaks a rule, or the name is taken by
    /// a consumer that is configured otherwise.
    pub fn create_consumer(&self, mut config: ConsumerConfig) -> Result<ConsumerInfo> {
        if config.name.is_empty() && config.durable_name.is_empty() {
            return Err(Error::invalid("a consumer needs a name: set durable_name, or name"));
        }
        refuse_push(&config)?;
        self.call(move |shard, id| {
            let now = shard.now();
            let stream = shard.stream(id)?;
            let name = match config.name.as_str() {
                "" => config.durable_name.clone(),
                name => name.to_owned(),
            };
            let existing = stream.consumer_info(&name, now);
            if let Some(existing) = &existing {
                // Pausing is not what this is for: it neither begins a pause nor ends one.
                config.pause_until = existing.config.pause_until;
            }
            let others: Vec<_> = stream
                .consumer_configs()
                .map(|(other, config)| (&**other, config))
                .filter(|(other, _)| *other != name)
                .collect();
            let limits = ServerLimits::default();
            let config = validate_new(
                config,
                stream.config(),
                others.into_iter(),
                Action::Create,
                &limits,
                false,
            )?;
            match existing {
                Some(existing) if existing.config == config => Ok(existing),
                Some(_) => Err(reject::CONSUMER_ALREADY_EXISTS.into()),
                None => shard.create_consumer(id, config),
            }
        })
    }

    /// Deletes a consumer; fetches that wait for it end.
    ///
    /// # Errors
    /// [`Rejected`](Kind::Rejected), "consumer not found", if there is none.
    pub fn delete_consumer(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call(move |shard, id| shard.delete_consumer(id, &name))
    }

    /// A consumer's configuration and how far it is.
    ///
    /// # Errors
    /// As [`EmbeddedStream::delete_consumer`].
    pub fn consumer_info(&self, name: &str) -> Result<ConsumerInfo> {
        let name = name.to_owned();
        self.call(move |shard, id| {
            let now = shard.now();
            let stream = shard.stream(id)?;
            Ok(stream.consumer_info(&name, now).ok_or(reject::CONSUMER_NOT_FOUND)?)
        })
    }

    /// What a consumer hands out next: as many messages as are there, `batch` at most, and no more than [`FETCH_MAX`]
    /// and the consumer's own `max_batch`. If none is there it waits for the first, as long as `wait` says; with a
    /// `wait` of zero it does not wait. The answer is empty if none came.
    ///
    /// # Errors
    /// [`Rejected`](Kind::Rejected), "consumer not found", if there is none or it is deleted meanwhile;
    /// [`Busy`](Kind::Busy) if more fetches wait than its `max_waiting`; [`Invalid`](Kind::Invalid) if it delivers to a
    /// subject, or the store was not opened by [`Store::embedded`](crate::Store::embedded);
    /// [`Closed`](Kind::Closed) if the store is.
    pub fn fetch(&self, consumer: &str, batch: usize, wait: Duration) -> Result<Vec<EmbeddedMessage>> {
        let Some(fetches) = &self.fetches else {
            return Err(Error::invalid(
                "fetching needs a store opened by Store::embedded: this one's messages go to another outlet",
            ));
        };
        let info = self.consumer_info(consumer)?;
        refuse_push(&info.config)?;
        let own_limit = match info.config.max_batch {
            1.. => usize::try_from(info.config.max_batch).unwrap_or(FETCH_MAX),
            _ => FETCH_MAX,
        };
        let batch = batch.min(own_limit).min(FETCH_MAX);
        if batch == 0 {
            return Ok(Vec::new());
        }
        let mailbox = fetches.open(batch);
        let name = Bytes::copy_from_slice(consumer.as_bytes());
        self.submit(vec![Input::Pull {
            stream: self.id,
            consumer: name.clone(),
            // It is ended below, not by a time: the store's clock may be another than the one of `wait`.
            request: PullRequest {
                batch: batch as u64,
                ..PullRequest::default()
            },
            reply: mailbox.subject.clone(),
        }])?;
        let mut got = Got::default();
        if !wait.is_zero() {
            match mailbox.receiver.recv_timeout(wait) {
                Ok(fetched) => got.take(fetched),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(closed()),
            }
        }
        // Ended on the shard's thread, after all it had to hand out: so no message is sent to a fetch that is over,
        // and then missing until its acknowledgement is overdue.
        let (mut seen, mut idle) = (0, 0);
        loop {
            mailbox.receiver.try_iter().for_each(|fetched| got.take(fetched));
            if got.messages.len() >= batch {
                break;
            }
            idle = if got.messages.len() > seen { 0 } else { idle + 1 };
            seen = got.messages.len();
            if idle > FETCH_TURNS {
                // There is something for it, and it does not come: storage cannot be read now.
                if seen == 0 {
                    let why = format!("consumer {consumer}: its messages cannot be read now");
                    return Err(Error::new(Kind::Io, why));
                }
                break;
            }
            let (name, subject) = (name.clone(), mailbox.subject.clone());
            if self.call(move |shard, id| shard.end_pull(id, &name, &subject))? {
                mailbox.receiver.try_iter().for_each(|fetched| got.take(fetched));
                break;
            }
        }
        if let (true, Some(Status::Conflict { text, .. })) = (got.messages.is_empty(), got.ended) {
            return Err(Error::new(Kind::Busy, format!("consumer {consumer}: {text}")));
        }
        Ok(got
            .messages
            .into_iter()
            .map(|delivery| self.message_of(delivery, &name))
            .collect())
    }

    fn message_of(&self, delivery: Delivery, consumer: &Bytes) -> EmbeddedMessage {
        let mut message = delivery.message;
        if delivery.headers_only {
            message.payload = Bytes::new();
        }
        EmbeddedMessage {
            message,
            deliveries: delivery.deliveries,
            consumer_seq: delivery.consumer_seq,
            pending: delivery.pending,
            shard: self.shard.clone(),
            stream: self.id,
            consumer: consumer.clone(),
        }
    }

    fn submit(&self, inputs: Vec<Input>) -> Result<()> {
        submit(&self.shard, inputs)
    }
}

impl EmbeddedMessage {
    /// Done with it. When this returns, that is as durable as the stream's messages are.
    ///
    /// # Errors
    /// If the consumer is gone, the store is closed, or its storage failed: then it may be handed out again.
    pub fn ack(&self) -> Result<()> {
        self.say_and_wait(AckKind::Ack)
    }

    /// Done with it, without waiting: after a crash it may be handed out again.
    ///
    /// # Errors
    /// [`Busy`](Kind::Busy) if too much waits for the shard, [`Closed`](Kind::Closed) if the store is.
    pub fn ack_later(&self) -> Result<()> {
        self.say(AckKind::Ack)
    }

    /// Hand it out again, not before `delay` has passed. Does not wait; a restart forgets the delay, and then the
    /// consumer's `ack_wait` counts.
    ///
    /// # Errors
    /// As [`EmbeddedMessage::ack_later`].
    pub fn nak(&self, delay: Duration) -> Result<()> {
        self.say(AckKind::Nak(Nanos::try_from(delay.as_nanos()).unwrap_or(Nanos::MAX)))
    }

    /// Still at it: the consumer's `ack_wait` begins anew. Does not wait.
    ///
    /// # Errors
    /// As [`EmbeddedMessage::ack_later`].
    pub fn in_progress(&self) -> Result<()> {
        self.say(AckKind::Progress)
    }

    /// Never hand it out again, for that reason. Waits as [`EmbeddedMessage::ack`] does.
    ///
    /// # Errors
    /// As [`EmbeddedMessage::ack`].
    pub fn term(&self, reason: &str) -> Result<()> {
        self.say_and_wait(AckKind::Term(reason.to_owned()))
    }

    fn saying(&self, kind: AckKind) -> Ack {
        Ack {
            stream_seq: self.message.seq,
            consumer_seq: self.consumer_seq,
            deliveries: self.deliveries,
            kind,
            reply: Bytes::new(),
        }
    }

    fn say(&self, kind: AckKind) -> Result<()> {
        let input = Input::Ack {
            stream: self.stream,
            consumer: self.consumer.clone(),
            ack: self.saying(kind),
        };
        submit(&self.shard, vec![input])
    }

    fn say_and_wait(&self, kind: AckKind) -> Result<()> {
        let (stream, consumer, ack) = (self.stream, self.consumer.clone(), self.saying(kind));
        self.shard
            .call_blocking(move |shard| shard.ack_durably(stream, &consumer, ack))
    }
}

impl std::fmt::Debug for EmbeddedMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedMessage")
            .field("message", &self.message)
            .field("deliveries", &self.deliveries)
            .field("consumer_seq", &self.consumer_seq)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

/// What a fetch has got.
#[derive(Default)]
struct Got {
    messages: Vec<Delivery>,
    ended: Option<Status>,
}

impl Got {
    fn take(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Message(delivery) => self.messages.push(*delivery),
            Fetched::Ended(status) => self.ended = Some(status),
        }
    }
}

fn refuse_push(config: &ConsumerConfig) -> Result<()> {
    if config.is_push() {
        return Err(Error::invalid(format!(
            "the consumer has deliver_subject {:?}, which needs a server: one without it can be fetched from",
            config.deliver_subject
        )));
    }
    Ok(())
}

fn submit(shard: &ShardHandle, inputs: Vec<Input>) -> Result<()> {
    match shard.submit(inputs) {
        Ok(()) => Ok(()),
        Err(Refused::Gone(_)) => Err(closed()),
        Err(Refused::Busy(_)) => Err(Error::new(Kind::Busy, "too much waits for the shard already")),
    }
}

fn closed() -> Error {
    Error::closed("the store is closed")
}
