//! What the messages of one read ask of the storage threads.

use std::sync::Arc;

use bytes::Bytes;
use weir_engine::shard::Input;
use weir_engine::shard::emit::Ticket;
use weir_engine::store::StreamEntry;
use weir_engine::{ShardId, StreamId};

use crate::interest::{Blocks, Inbound, Tray, is_most};
use crate::jetstream::api::at_once::begin;
use crate::jetstream::together::together;
use crate::jetstream::{ApiRequest, JetStream, api};

/// Requests of the API that one read begins to serve on its own thread, where others wait for it: some hundred microseconds.
const AT_ONCE: usize = 64;

/// Gathers what the messages of one read (or of one courier's batch) mean for streams and consumers, so that each storage
/// thread is woken once.
#[derive(Default)]
pub(super) struct Batch {
    /// Set by the first message that concerns JetStream.
    jetstream: Option<Arc<JetStream>>,
    /// Of each shard that there was something for, now or before.
    inputs: Vec<(ShardId, Vec<Input>)>,
    requests: Vec<Request>,
    /// Where messages that are kept are copied to.
    blocks: Blocks,
    /// What is shared with the read chunk for now.
    shared: Option<Shared>,
    /// The last message that a stream took, by its number in the sender's work, and which stream.
    taken: (u64, Option<StreamId>),
}

/// Messages of one stream that are parts of one read chunk. If they turn out to be most of it, and all that the chunk is
/// kept for, they stay so: a publisher at full speed is not slowed down by copying. They go the same way, so the chunk is not
/// kept much longer than any of them.
struct Shared {
    stream: StreamId,
    /// Where the chunk lies.
    chunk: usize,
    /// Bytes of memory that it holds.
    holds: usize,
    /// Bytes of it that are kept.
    kept: usize,
    /// Whether something else came from it, or from another chunk.
    mixed: bool,
}

/// A request that is not for a storage thread as it is.
pub(super) enum Request {
    /// Of the API.
    Api(ApiRequest),
    /// For a message of a stream; for the last of a subject, if one is named.
    Direct(Arc<StreamEntry>, Option<Bytes>, ApiRequest),
}

impl Batch {
    /// Whether this is the first time that a stream takes a message. While a stream is attached anew, because its configuration
    /// changed, it listens twice.
    pub fn takes(&mut self, message: u64, stream: StreamId) -> bool {
        let now = (message, Some(stream));
        std::mem::replace(&mut self.taken, now) != now
    }

    /// Adds something for a storage thread.
    pub fn push(&mut self, jetstream: &Arc<JetStream>, shard: ShardId, input: Input) {
        self.begin(jetstream);
        add(&mut self.inputs, shard, input);
    }

    /// Adds a request. It is served after what the same sender published before it was handed over.
    pub fn request(&mut self, jetstream: &Arc<JetStream>, request: Request) {
        self.begin(jetstream);
        self.requests.push(request);
    }

    fn begin(&mut self, jetstream: &Arc<JetStream>) {
        if self.jetstream.is_none() {
            self.jetstream = Some(Arc::clone(jetstream));
        }
    }

    /// Subject, reply and body of a message for a stream, so that they outlive the read.
    pub fn keep(&mut self, stream: StreamId, message: &Inbound<'_>) -> (Bytes, Bytes, Bytes) {
        let Some((chunk, parts)) = message.chunk.zip(message.parts()) else {
            return message.keep(&mut self.blocks);
        };
        let shared = self.shared.get_or_insert(Shared {
            stream,
            chunk: chunk.place(),
            holds: chunk.holds,
            kept: 0,
            mixed: false,
        });
        if shared.stream != stream || shared.chunk != chunk.place() {
            shared.mixed = true;
            return message.keep(&mut self.blocks);
        }
        shared.kept += parts.0.len() + parts.1.len() + parts.2.len();
        parts
    }

    /// Copies what was shared with the read chunk, unless it is most of it.
    fn unshare(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        if !shared.mixed && is_most(shared.kept, shared.holds) {
            return;
        }
        let blocks = &mut self.blocks;
        for input in self.inputs.iter_mut().flat_map(|(_, inputs)| inputs) {
            if let Input::Publish {
                stream,
                subject,
                body,
                ticket,
                ..
            } = input
                && *stream == shared.stream
                && !is_most(body.len(), shared.holds)
            {
                let reply: &[u8] = match ticket {
                    Ticket::Reply(reply) => reply,
                    _ => b"",
                };
                let mut all = blocks.copy([subject, reply, body, b""]);
                let (subject_len, reply_len) = (subject.len(), reply.len());
                *subject = all.split_to(subject_len);
                let reply = all.split_to(reply_len);
                if let Ticket::Reply(to) = ticket {
                    *to = reply;
                }
                *body = all;
            }
        }
    }
}

/// Adds an input to those of its shard.
fn add(inputs: &mut Vec<(ShardId, Vec<Input>)>, shard: ShardId, input: Input) {
    match inputs.iter_mut().find(|(of, _)| *of == shard) {
        Some((_, inputs)) => inputs.push(input),
        None => inputs.push((shard, vec![input])),
    }
}

impl Tray for Batch {
    fn submit(&mut self) {
        let Some(jetstream) = self.jetstream.take() else { return };
        self.unshare();
        self.blocks.rest();
        for (shard, inputs) in &mut self.inputs {
            if !inputs.is_empty() {
                jetstream.submit(*shard, std::mem::take(inputs));
            }
        }
        if !self.requests.is_empty() {
            together(|| self.serve(&jetstream));
        }
    }
}

impl Batch {
    /// Begins to serve the requests.
    fn serve(&mut self, jetstream: &Arc<JetStream>) {
        let load = &jetstream.api_load;
        let (mut dropped, mut at_once) = (0, 0);
        let mut gets = Vec::new();
        let calls = &mut self.inputs;
        for request in self.requests.drain(..) {
            match request {
                Request::Api(request) => {
                    match load.enter(&request.subject, request.payload.len(), request.connection()) {
                        Some(under_way) if at_once < AT_ONCE && api::is_deletion(&request) => {
                            at_once += 1;
                            if let Some(deletion) = api::Deletion::of(jetstream, request, under_way) {
                                add(calls, deletion.shard, deletion.input);
                            }
                        }
                        Some(under_way) => {
                            let begins = at_once < AT_ONCE && api::is_quick(&request);
                            at_once += usize::from(begins);
                            let serving = api::serve(Arc::clone(jetstream), request, under_way);
                            match begins {
                                true => begin(&jetstream.runtime, serving),
                                false => drop(jetstream.runtime.spawn(serving)),
                            }
                        }
                        None => {
                            api::refuse(jetstream, &request);
                            dropped += 1;
                        }
                    }
                }
                Request::Direct(entry, last_for, request) => {
                    match load.enter_direct(request.payload.len(), request.connection()) {
                        Some(under_way) => gets.push(api::direct::Waiting {
                            entry,
                            last_for,
                            request,
                            under_way,
                        }),
                        None => api::direct::refuse(jetstream, &request),
                    }
                }
            }
        }
        for (shard, calls) in calls {
            if !calls.is_empty() {
                jetstream.shard(*shard).call_all(std::mem::take(calls));
            }
        }
        if !gets.is_empty() {
            begin(&jetstream.runtime, api::direct::serve(Arc::clone(jetstream), gets));
        }
        if dropped > 0 {
            jetstream.advise_dropped(dropped);
        }
    }
}

#[cfg(test)]
mod tests;
