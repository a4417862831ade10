//! What leaves the storage threads: acknowledgements of publishes, deliveries, statuses, events.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use weir_engine::shard::emit::{ConsumerName, Delivery, Emit, Event, Outlet, PubAck, Status, Ticket};
use weir_engine::{Error, Rejection, reject};
use weir_wire::headers;

use crate::interest::{Account, Accounts};
use crate::jetstream::{JetStream, advisory, status};
use crate::link::Message;
use crate::routing::Carrier;

/// Makes the outlets of a store's shards, which exist before the JetStream they belong to.
#[derive(Clone)]
pub(super) struct Outlets {
    accounts: Arc<Accounts>,
    domain: Option<String>,
    /// Whether acknowledgements and flow control name the domain and the account.
    long_acks: bool,
    jetstream: Arc<OnceLock<Weak<JetStream>>>,
    runtime: tokio::runtime::Handle,
}

impl Outlets {
    pub fn new(
        accounts: Arc<Accounts>,
        domain: Option<String>,
        long_acks: bool,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            accounts,
            domain,
            long_acks,
            jetstream: Arc::default(),
            runtime,
        }
    }

    /// JetStream is there: consumers that go away can be taken out of the interest graph.
    pub fn set(&self, jetstream: &Arc<JetStream>) {
        // Set once, when JetStream starts.
        let _ = self.jetstream.set(Arc::downgrade(jetstream));
    }

    pub fn outlet(&self) -> BrokerOutlet {
        BrokerOutlet {
            carrier: Carrier::of_storage(),
            account: None,
            era: 0,
            tenant: (Arc::default(), String::new()),
            scratch: Vec::new(),
            outlets: self.clone(),
        }
    }
}

/// One shard's way to the clients.
pub(super) struct BrokerOutlet {
    carrier: Carrier,
    /// The account that was last sent into, and its name: nearly always the one of the next message as well.
    account: Option<(Arc<str>, Arc<Account>)>,
    /// Of which accounts that is one: others may have its name since.
    era: usize,
    scratch: Vec<u8>,
    /// An account, and what long subjects have of it and of the domain: nearly always those of the next message as well.
    tenant: (Arc<str>, String),
    outlets: Outlets,
}

impl Outlet for BrokerOutlet {
    fn has_interest(&mut self, account: &str, subject: &[u8]) -> bool {
        self.way_into(account)
            .is_some_and(|(account, carrier)| carrier.has_interest(account, subject))
    }

    fn has_subscriber(&mut self, account: &str, subject: &[u8], queue: &str) -> bool {
        self.way_into(account)
            .is_some_and(|(account, _)| account.has_subscriber(subject, queue))
    }

    fn room(&mut self, consumer: &Arc<ConsumerName>, to: &[u8], wanted: usize) -> usize {
        self.way_into(&consumer.account)
            .map_or(usize::MAX, |(account, carrier)| {
                carrier.room(account, consumer, to, wanted)
            })
    }

    fn emit(&mut self, emit: Emit) {
        match emit {
            Emit::Published {
                ticket: Ticket::Reply(to),
                result,
                account,
                stream,
            } => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                write_pub_ack(&mut text, result.as_ref(), &stream, self.outlets.domain.as_deref());
                self.answer(&account, &to, b"", &text);
                self.scratch = text;
            }
            Emit::Deliver(delivery) => self.deliver(&delivery),
            Emit::Status { consumer, to, status } => self.tell(&consumer, &to, &status),
            Emit::Send {
                account,
                to,
                headers,
                payload,
            } => self.answer(&account, &to, &headers, &payload),
            Emit::AckReply { account, to } => self.answer(&account, &to, b"", b""),
            Emit::Event(event) => self.report(&event),
            Emit::Grown { stream } => {
                if let Some(jetstream) = self.outlets.jetstream.get().and_then(Weak::upgrade) {
                    jetstream.origin_grew(stream);
                }
            }
            // Calls and completions are the engine's own.
            Emit::Published { .. } | Emit::Done(_) => {}
        }
    }

    fn flush(&mut self) {
        self.carrier.flush();
    }
}

impl BrokerOutlet {
    /// The account of that name, and what carries messages into it.
    fn way_into(&mut self, name: &str) -> Option<(&Arc<Account>, &mut Carrier)> {
        let era = self.outlets.accounts.era();
        if self.account.as_ref().is_none_or(|(last, _)| **last != *name) || self.era != era {
            self.era = era;
            self.account = None;
            let account = self.outlets.accounts.get(name)?;
            self.account = Some((name.into(), account));
        }
        let (_, account) = self.account.as_ref()?;
        Some((account, &mut self.carrier))
    }

    /// What stands before the stream in subjects of acknowledgements and flow control: nothing, or `<domain or _>.<account>.`.
    fn tenant(&mut self, account: &Arc<str>) -> &str {
        if !self.outlets.long_acks {
            return "";
        }
        if self.tenant.0 != *account {
            let domain = self.outlets.domain.as_deref().unwrap_or("_");
            self.tenant = (Arc::clone(account), format!("{domain}.{}.", short_hash(account)));
        }
        &self.tenant.1
    }

    fn send(&mut self, account: &str, to: &[u8], message: &Message<'_>) {
        if let Some((account, carrier)) = self.way_into(account) {
            carrier.send(account, to, message);
        }
    }

    /// Sends what whoever listens on `to` reads with that subject.
    fn answer(&mut self, account: &str, to: &[u8], headers: &[u8], payload: &[u8]) {
        let message = Message {
            subject: to,
            reply: b"",
            headers,
            payload,
        };
        self.send(account, to, &message);
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        reply.extend_from_slice(b"$JS.ACK.");
        reply.extend_from_slice(self.tenant(&delivery.consumer.account).as_bytes());
        write_ack_subject(&mut reply, delivery);
        let stored = &delivery.message;
        let mut message = Message {
            subject: &stored.subject,
            reply: &reply,
            headers: &stored.headers,
            payload: &stored.payload,
        };
        let changed;
        if delivery.headers_only || delivery.pin.is_some() {
            let mut headers = stored.headers.to_vec();
            if delivery.headers_only {
                headers = headers::insert(&headers, "Nats-Msg-Size", stored.payload.len().to_string());
                message.payload = b"";
            }
            if let Some(pin) = &delivery.pin {
                headers = headers::insert(&headers, "Nats-Pin-Id", &**pin);
            }
            changed = headers;
            message.headers = &changed;
        }
        self.send(&delivery.consumer.account, &delivery.to, &message);
        self.scratch = reply;
    }

    fn tell(&mut self, consumer: &ConsumerName, to: &Bytes, told: &Status) {
        let tenant = self.tenant(&consumer.account).to_owned();
        let flow = |id: u64| format!("$JS.FC.{tenant}{}.{}.{id}", consumer.stream, consumer.consumer);
        let mut reply = String::new();
        let block = match told {
            Status::Heartbeat {
                consumer_seq,
                stream_seq,
                stalled,
            } => {
                let stalled = stalled.map(flow);
                let mut headers: Vec<(&str, &dyn std::fmt::Display)> =
                    vec![("Nats-Last-Consumer", consumer_seq), ("Nats-Last-Stream", stream_seq)];
                if let Some(stalled) = &stalled {
                    headers.push(("Nats-Consumer-Stalled", stalled));
                }
                status::block(100, "Idle Heartbeat", &headers)
            }
            Status::FlowControl { id } => {
                reply = flow(*id);
                status::block(100, "FlowControl Request", &[])
            }
            Status::NoMessages => status::block(404, "No Messages", &[]),
            Status::RequestTimeout { messages, bytes } => {
                status::block(408, "Request Timeout", &pending(messages, bytes))
            }
            Status::RequestsPending => status::block(408, "Requests Pending", &[]),
            Status::Conflict { text, short: None } => status::block(409, text, &[]),
            Status::Conflict {
                text,
                short: Some((messages, bytes)),
            } => status::block(409, text, &pending(messages, bytes)),
            Status::Pinned { text, short: None } => status::block(423, text, &[]),
            Status::Pinned {
                text,
                short: Some((messages, bytes)),
            } => status::block(423, text, &pending(messages, bytes)),
            Status::BadRequest { text } => status::block(400, &format!("Bad Request - {text}"), &[]),
        };
        let message = Message {
            subject: to,
            reply: reply.as_bytes(),
            headers: &block,
            payload: b"",
        };
        self.send(&consumer.account, to, &message);
    }

    fn report(&mut self, event: &Event) {
        if let Event::ConsumerDeleted { consumer, .. } = event
            && let Some(jetstream) = self.outlets.jetstream.get().and_then(Weak::upgrade)
        {
            jetstream.detach_consumer(consumer);
        }
        if let Event::StreamOnline { account, stream } = event
            && let Some(jetstream) = self.outlets.jetstream.get().and_then(Weak::upgrade)
        {
            let opened = jetstream.attach_opened(account.clone(), stream.clone());
            self.outlets.runtime.spawn(opened);
        }
        let (account, subject) = advisory::subject_of(event);
        let domain = self.outlets.domain.clone();
        if self.has_interest(account, subject.as_bytes()) {
            let payload = advisory::payload_of(event, domain.as_deref());
            self.answer(account, subject.as_bytes(), b"", &payload);
        }
    }
}

impl Drop for BrokerOutlet {
    fn drop(&mut self) {
        // A carrier flushes when it is dropped, which may wake writer tasks: that needs the runtime.
        let _inside = self.outlets.runtime.enter();
        drop(std::mem::replace(&mut self.carrier, Carrier::telling()));
    }
}

fn pending<'a>(messages: &'a u64, bytes: &'a u64) -> [(&'static str, &'a dyn std::fmt::Display); 2] {
    [("Nats-Pending-Messages", messages), ("Nats-Pending-Bytes", bytes)]
}

/// What nats-server makes of a name: eight letters and digits.
fn short_hash(name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = Sha256::digest(name.as_bytes());
    let digit = |byte: &u8| char::from(DIGITS[usize::from(*byte) % DIGITS.len()]);
    hash.iter().take(8).map(digit).collect()
}

/// `<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`.
fn write_ack_subject(out: &mut Vec<u8>, delivery: &Delivery) {
    out.extend_from_slice(delivery.consumer.stream.as_bytes());
    out.push(b'.');
    out.extend_from_slice(delivery.consumer.consumer.as_bytes());
    let numbers = [
        delivery.deliveries,
        delivery.message.seq,
        delivery.consumer_seq,
        // Stored times are after 1970.
        delivery.message.time.unsigned_abs(),
        delivery.pending,
    ];
    for number in numbers {
        out.push(b'.');
        weir_wire::encode::number(out, number);
    }
}

/// A PubAck as nats-server spells it, with its space before `true`.
pub(super) fn write_pub_ack(out: &mut Vec<u8>, result: Result<&PubAck, &Error>, stream: &str, domain: Option<&str>) {
    match result {
        // A message of an atomic batch that goes on: nothing is stored yet, and the answer is empty.
        Ok(ack) if ack.seq == 0 && ack.batch.is_none() => {}
        Ok(ack) => {
            out.extend_from_slice(b"{\"stream\":\"");
            extend_json(out, &ack.stream);
            out.extend_from_slice(b"\"");
            if let Some(domain) = domain {
                out.extend_from_slice(b",\"domain\":\"");
                extend_json(out, domain);
                out.extend_from_slice(b"\"");
            }
            out.extend_from_slice(b",\"seq\":");
            weir_wire::encode::number(out, ack.seq);
            if ack.duplicate {
                out.extend_from_slice(b",\"duplicate\": true");
            }
            if let Some(batch) = &ack.batch {
                out.extend_from_slice(b",\"batch\":\"");
                extend_json(out, &String::from_utf8_lossy(&batch.id));
                out.extend_from_slice(b"\",\"count\":");
                weir_wire::encode::number(out, batch.count);
            }
            if let Some(value) = &ack.value {
                out.extend_from_slice(b",\"val\":\"");
                out.extend_from_slice(value.as_bytes());
                out.push(b'"');
            }
            out.push(b'}');
        }
        Err(error) => {
            let refused = Refused {
                error: &rejection_of(error),
                stream,
                seq: 0,
            };
            // Writing to a Vec does not fail, and texts always have a JSON form.
            let _ = serde_json::to_writer(out, &refused);
        }
    }
}

/// A PubAck that says why not.
#[derive(Serialize)]
struct Refused<'a> {
    error: &'a Rejection,
    stream: &'a str,
    seq: u64,
}

fn extend_json(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    // Texts always have a JSON form: what stands between its quotation marks.
    let json = serde_json::to_vec(text).unwrap_or_default();
    if let [b'"', inner @ .., b'"'] = &json[..] {
        out.extend_from_slice(inner);
    }
}

/// What a client is told of an error.
pub(super) fn rejection_of(error: &Error) -> Rejection {
    match &error.rejection {
        Some(rejection) => rejection.clone(),
        None => reject::STREAM_STORE_FAILED.with(&error.message),
    }
}

#[cfg(test)]
mod tests;
