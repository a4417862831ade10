//! What leaves the storage threads: acknowledgements of publishes, deliveries, statuses, events.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use serde::Serialize;
use weir_engine::shard::emit::{ConsumerName, Delivery, Emit, Event, Outlet, PubAck, Status, Ticket};
use weir_engine::{Error, Rejection, reject};
use weir_wire::headers;

use crate::interest::{Account, Accounts};
use crate::jetstream::{JetStream, advisory, status};
use crate::routing::Courier;

/// Makes the outlets of a store's shards, which exist before the JetStream they belong to.
#[derive(Clone)]
pub(super) struct Outlets {
    accounts: Arc<Accounts>,
    domain: Option<String>,
    jetstream: Arc<OnceLock<Weak<JetStream>>>,
    runtime: tokio::runtime::Handle,
}

impl Outlets {
    pub fn new(accounts: Arc<Accounts>, domain: Option<String>, runtime: tokio::runtime::Handle) -> Self {
        Self {
            accounts,
            domain,
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
            couriers: HashMap::new(),
            last: None,
            scratch: Vec::new(),
            outlets: self.clone(),
        }
    }
}

/// One shard's way to the clients.
pub(super) struct BrokerOutlet {
    couriers: HashMap<Box<str>, Courier>,
    /// The courier that was last used: nearly always the one for the next message as well.
    last: Option<(Arc<str>, Courier)>,
    scratch: Vec<u8>,
    outlets: Outlets,
}

impl Outlet for BrokerOutlet {
    fn has_interest(&mut self, account: &str, subject: &[u8]) -> bool {
        self.courier(account)
            .is_some_and(|courier| courier.has_interest(subject))
    }

    fn has_subscriber(&mut self, account: &str, subject: &[u8], queue: &str) -> bool {
        self.account(account)
            .is_some_and(|account| account.has_subscriber(subject, queue))
    }

    fn room(&mut self, consumer: &Arc<ConsumerName>, to: &[u8], wanted: usize) -> usize {
        self.courier(&consumer.account)
            .map_or(usize::MAX, |courier| courier.room(consumer, to, wanted))
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
                self.send(&account, &to, &to, b"", b"", &text);
                self.scratch = text;
            }
            Emit::Deliver(delivery) => self.deliver(&delivery),
            Emit::Status { consumer, to, status } => self.tell(&consumer, &to, &status),
            Emit::Send {
                account,
                to,
                headers,
                payload,
            } => self.send(&account, &to, &to, b"", &headers, &payload),
            Emit::AckReply { account, to } => self.send(&account, &to, &to, b"", b"", b""),
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
        for courier in self.couriers.values_mut() {
            courier.flush();
        }
        if let Some((_, courier)) = &mut self.last {
            courier.flush();
        }
    }
}

impl BrokerOutlet {
    fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.outlets.accounts.get(name)
    }

    fn courier(&mut self, account: &str) -> Option<&mut Courier> {
        if self.last.as_ref().is_none_or(|(name, _)| &**name != account) {
            let next = match self.couriers.remove(account) {
                Some(courier) => courier,
                None => Courier::new(self.account(account)?),
            };
            if let Some((name, before)) = self.last.replace((account.into(), next)) {
                self.couriers.insert((&*name).into(), before);
            }
        }
        self.last.as_mut().map(|(_, courier)| courier)
    }

    fn send(&mut self, account: &str, to: &[u8], subject: &[u8], reply: &[u8], headers: &[u8], payload: &[u8]) {
        if let Some(courier) = self.courier(account) {
            courier.send(to, subject, reply, headers, payload);
        }
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        write_ack_subject(&mut reply, delivery);
        let message = &delivery.message;
        let account = &delivery.consumer.account;
        if delivery.headers_only || delivery.pin.is_some() {
            let mut headers = message.headers.to_vec();
            if delivery.headers_only {
                headers = headers::insert(&headers, "Nats-Msg-Size", message.payload.len().to_string());
            }
            if let Some(pin) = &delivery.pin {
                headers = headers::insert(&headers, "Nats-Pin-Id", &**pin);
            }
            let payload: &[u8] = if delivery.headers_only { b"" } else { &message.payload };
            self.send(account, &delivery.to, &message.subject, &reply, &headers, payload);
        } else {
            self.send(
                account,
                &delivery.to,
                &message.subject,
                &reply,
                &message.headers,
                &message.payload,
            );
        }
        self.scratch = reply;
    }

    fn tell(&mut self, consumer: &ConsumerName, to: &Bytes, told: &Status) {
        let flow = |id: u64| format!("$JS.FC.{}.{}.{id}", consumer.stream, consumer.consumer);
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
        self.send(&consumer.account, to, to, reply.as_bytes(), &block, b"");
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
            self.send(account, subject.as_bytes(), subject.as_bytes(), b"", b"", &payload);
        }
    }
}

impl Drop for BrokerOutlet {
    fn drop(&mut self) {
        // Couriers flush when they are dropped, which may wake writer tasks: that needs the runtime.
        let _inside = self.outlets.runtime.enter();
        self.couriers.clear();
        self.last = None;
    }
}

fn pending<'a>(messages: &'a u64, bytes: &'a u64) -> [(&'static str, &'a dyn std::fmt::Display); 2] {
    [("Nats-Pending-Messages", messages), ("Nats-Pending-Bytes", bytes)]
}

/// `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`.
fn write_ack_subject(out: &mut Vec<u8>, delivery: &Delivery) {
    out.extend_from_slice(b"$JS.ACK.");
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
