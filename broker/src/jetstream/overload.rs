//! What a storage thread did not take, because too much waits for it or because it has ended: each sender is told.
//!
//! Nats-server's queues of pull requests and acknowledgements have no end, so it never refuses these. Here a pull request
//! ends as one beyond `max_waiting` does, and an acknowledgement that asks for an answer gets the status of a request that
//! nobody serves, which clients take for the failure that it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use weir_engine::consumer::AckKind;
use weir_engine::shard::emit::Ticket;
use weir_engine::shard::{Input, Refused};
use weir_engine::store::StreamEntry;
use weir_engine::{Error, NanoTime, SECOND, StreamId, reject, words};

use crate::jetstream::outlet::write_pub_ack;
use crate::jetstream::{JetStream, now, status};
use crate::routing::Courier;

/// How often refusals are logged at most, whatever their number.
const LOG_PERIOD: NanoTime = SECOND;

/// Refusals that were not logged yet.
#[derive(Debug, Default)]
pub struct Refusals {
    count: AtomicU64,
    /// When they were logged last.
    logged: AtomicU64,
}

impl Refusals {
    /// Adds some; answers how many there were since the last time, if it is time to log them.
    fn add(&self, count: usize, now: NanoTime) -> Option<u64> {
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        let (now, last) = (now.unsigned_abs(), self.logged.load(Ordering::Relaxed));
        let due = now.abs_diff(last) >= LOG_PERIOD.unsigned_abs();
        let ours = due
            && self
                .logged
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        ours.then(|| self.count.swap(0, Ordering::Relaxed))
    }
}

/// Tells whoever sent what a storage thread did not take.
pub(super) fn refuse(jetstream: &JetStream, refused: Refused) {
    let (inputs, why) = match refused {
        Refused::Busy(inputs) => (inputs, Why::Busy),
        Refused::Gone(inputs) => (inputs, Why::Gone),
    };
    if let Some(count) = jetstream.refusals.add(inputs.len(), now()) {
        tracing::warn!("{} refused: {}", words::count(count, "message"), why.text());
    }
    let mut refusing = Refusing {
        jetstream,
        why,
        block: why.block(),
        streams: HashMap::new(),
    };
    for input in inputs {
        refusing.input(input);
    }
}

/// Why nothing is taken.
#[derive(Clone, Copy)]
enum Why {
    Busy,
    Gone,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Busy => "a storage thread has too much to do",
            Self::Gone => "a storage thread has ended",
        }
    }

    /// The header block of a refused publish (js-api: 429 with 10167).
    fn block(self) -> Vec<u8> {
        match self {
            Self::Busy => status::block(429, "Too Many Requests", &[]),
            Self::Gone => Vec::new(),
        }
    }

    fn error(self) -> Error {
        match self {
            Self::Busy => reject::STREAM_TOO_MANY_REQUESTS,
            Self::Gone => reject::STREAM_STORE_FAILED.with(self.text()),
        }
        .into()
    }

    /// The status that ends a refused pull request.
    fn pull(self) -> Vec<u8> {
        match self {
            Self::Busy => status::block(409, "Exceeded MaxWaiting", &[]),
            Self::Gone => status::block(409, "Server Shutdown", &[]),
        }
    }
}

struct Refusing<'j> {
    jetstream: &'j JetStream,
    why: Why,
    block: Vec<u8>,
    /// What the inputs are for: mostly one and the same, looked up once.
    streams: HashMap<StreamId, Option<(Arc<StreamEntry>, Courier)>>,
}

impl Refusing<'_> {
    fn stream(&mut self, id: StreamId) -> Option<&mut (Arc<StreamEntry>, Courier)> {
        let jetstream = self.jetstream;
        let found = self.streams.entry(id).or_insert_with(|| {
            let entry = jetstream.catalogue().by_id(id)?;
            let courier = Courier::telling(jetstream.account(&entry.account)?);
            Some((entry, courier))
        });
        found.as_mut()
    }

    fn send(&mut self, stream: StreamId, to: &Bytes, block: &[u8]) {
        if let Some((_, courier)) = self.stream(stream)
            && !to.is_empty()
        {
            courier.send(to, to, b"", block, b"");
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Publish {
                stream,
                ticket: Ticket::Reply(to),
                ..
            } => {
                let error = self.why.error();
                let block = std::mem::take(&mut self.block);
                if let Some((entry, courier)) = self.stream(stream) {
                    let mut payload = Vec::new();
                    write_pub_ack(&mut payload, Err(&error), &entry.name, None);
                    courier.send(&to, &to, b"", &block, &payload);
                }
                self.block = block;
            }
            Input::Publish {
                ticket: Ticket::Call(told),
                ..
            } => told(Err(self.why.error())),
            Input::Pull { stream, reply, .. } => self.send(stream, &reply, &self.why.pull()),
            Input::Ack { stream, ack, .. } => {
                let block = match ack.kind {
                    AckKind::Next(_) => self.why.pull(),
                    _ => status::block(503, "", &[]),
                };
                self.send(stream, &ack.reply, &block);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
