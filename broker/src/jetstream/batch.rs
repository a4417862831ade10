//! What one sender's batch of messages asks of the storage threads.

use std::sync::Arc;

use bytes::Bytes;
use weir_engine::shard::Input;
use weir_engine::store::StreamEntry;

use crate::account::Blocks;
use crate::jetstream::{ApiRequest, JetStream, api};

/// Gathers what the messages of one read (or of one courier's batch) mean for streams and consumers, so that each storage
/// thread is woken once.
#[derive(Default)]
pub struct Batch {
    /// Set by the first message that concerns JetStream.
    jetstream: Option<Arc<JetStream>>,
    /// By shard.
    inputs: Vec<Vec<Input>>,
    requests: Vec<Request>,
    /// Where messages that are kept are copied to.
    pub(super) blocks: Blocks,
}

/// A request that is not for a storage thread as it is.
pub(super) enum Request {
    /// Of the API.
    Api(ApiRequest),
    /// For a message of a stream; for the last of a subject, if one is named.
    Direct(Arc<StreamEntry>, Option<Bytes>, ApiRequest),
}

impl Batch {
    /// Adds something for a storage thread.
    pub(super) fn push(&mut self, jetstream: &Arc<JetStream>, shard: usize, input: Input) {
        self.begin(jetstream);
        self.inputs[shard].push(input);
    }

    /// Adds a request. It is served after what the same sender published before it was handed over.
    pub(super) fn request(&mut self, jetstream: &Arc<JetStream>, request: Request) {
        self.begin(jetstream);
        self.requests.push(request);
    }

    fn begin(&mut self, jetstream: &Arc<JetStream>) {
        if self.jetstream.is_none() {
            self.jetstream = Some(Arc::clone(jetstream));
            self.inputs.resize_with(jetstream.shards(), Vec::new);
        }
    }

    /// Hands the batch over.
    pub fn submit(&mut self) {
        let Some(jetstream) = self.jetstream.take() else { return };
        self.blocks.rest();
        for (shard, inputs) in self.inputs.iter_mut().enumerate() {
            if !inputs.is_empty() {
                jetstream.submit(shard, std::mem::take(inputs));
            }
        }
        let load = &jetstream.api_load;
        let mut dropped = 0;
        let mut gets = Vec::new();
        for request in self.requests.drain(..) {
            match request {
                Request::Api(request) => {
                    match load.enter(&request.subject, request.payload.len(), request.connection()) {
                        Some(under_way) => {
                            let serving = api::serve(Arc::clone(&jetstream), request, under_way);
                            jetstream.runtime.spawn(serving);
                        }
                        None => {
                            api::refuse(&jetstream, &request);
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
                        None => api::direct::refuse(&jetstream, &request),
                    }
                }
            }
        }
        if !gets.is_empty() {
            jetstream
                .runtime
                .spawn(api::direct::serve(Arc::clone(&jetstream), gets));
        }
        if dropped > 0 {
            jetstream.advise_dropped(dropped);
        }
    }
}
