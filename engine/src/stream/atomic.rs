//! Atomic batches: messages that wait in memory until their batch is committed, and then are stored all or not at all
//! (ADR-50).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::error::Result;
use crate::headers;
use crate::reject;
use crate::shard::emit::{BatchAck, Emit, Event, PubAck};
use crate::shard::turn::Turn;
use crate::stream::asked::{Asked, number};
use crate::stream::batch_limits::BatchLimits;
use crate::stream::staged::{Outcome, Staged};
use crate::stream::{Publish, Stream};
use crate::types::{API_LEVEL, NanoTime, Nanos};

/// The longest batch id, in bytes.
pub(super) const ID_MAX: usize = 64;
/// Batches of one stream that are open at a time, unless [`BatchLimits`] says otherwise.
const OPEN_MAX: usize = 50;
/// Batches of one store that are open at a time, unless [`BatchLimits`] says otherwise.
const OPEN_MAX_TOTAL: usize = 1000;
/// Bytes that the open batches of one stream may hold in memory, together.
const BYTES_MAX: usize = 128 << 20;

/// The open batches of a stream, by id.
pub(crate) struct AtomicBatches {
    open: BTreeMap<Bytes, AtomicBatch>,
    bytes: usize,
    /// Open batches of the whole store.
    total: Arc<AtomicUsize>,
    limits: BatchLimits,
}

struct AtomicBatch {
    messages: Vec<Publish>,
    bytes: usize,
    deadline: NanoTime,
}

/// What ends a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commit {
    No,
    /// With this message.
    Last,
    /// With the one before: this message is not stored.
    Before,
    Unknown,
}

/// Why a batch was given up, as the advisory says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// Silent for too long.
    Timeout,
    /// Too many messages.
    Large,
    /// A message is missing.
    Incomplete,
    /// It asks for a higher API level.
    Unsupported,
}

impl AtomicBatches {
    /// None open; `total` counts those of all streams of the store.
    pub fn new(total: Arc<AtomicUsize>, limits: BatchLimits) -> Self {
        Self {
            open: BTreeMap::new(),
            bytes: 0,
            total,
            limits,
        }
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        for batch in self.open.values_mut() {
            batch.deadline = batch.deadline.saturating_add(step);
        }
    }

    /// When the first batch has been silent for too long.
    pub fn next_deadline(&self) -> Option<NanoTime> {
        self.open.values().map(|batch| batch.deadline).min()
    }

    fn begin(&mut self, id: Bytes) -> Result<()> {
        if self.open.len() >= self.limits.open_per_stream.unwrap_or(OPEN_MAX) || self.bytes >= BYTES_MAX {
            return Err(reject::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT.into());
        }
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.limits.open_total.unwrap_or(OPEN_MAX_TOTAL) {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(reject::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT.into());
        }
        let batch = AtomicBatch {
            messages: Vec::new(),
            bytes: 0,
            deadline: 0,
        };
        self.open.insert(id, batch);
        Ok(())
    }

    fn end(&mut self, id: &[u8]) -> Vec<Publish> {
        let Some(batch) = self.open.remove(id) else {
            return Vec::new();
        };
        self.total.fetch_sub(1, Ordering::Relaxed);
        self.bytes -= batch.bytes;
        batch.messages
    }

    /// Forgets all that are open.
    pub fn clear(&mut self) {
        self.total.fetch_sub(self.open.len(), Ordering::Relaxed);
        self.open.clear();
        self.bytes = 0;
    }

    /// Adds a message, and lets the batch live on from `now`.
    fn add(&mut self, id: &Bytes, message: Publish, now: NanoTime) {
        if let Some(batch) = self.open.get_mut(id) {
            let bytes = message.subject.len() + message.body.len();
            batch.bytes += bytes;
            self.bytes += bytes;
            // It may wait long after what it was read with is gone.
            batch.messages.push(match message.body.len() < COPIED {
                true => Publish {
                    subject: Bytes::copy_from_slice(&message.subject),
                    body: Bytes::copy_from_slice(&message.body),
                    ..message
                },
                false => message,
            });
            batch.deadline = now.saturating_add(self.limits.idle);
        }
    }
}

/// Members of a batch up to this size, in bytes, are kept apart from what they came with.
const COPIED: usize = 32 << 10;

impl Drop for AtomicBatches {
    fn drop(&mut self) {
        self.total.fetch_sub(self.open.len(), Ordering::Relaxed);
    }
}

impl Stream {
    /// Takes a message of an atomic batch. The answer to one that does not end it has the sequence 0.
    ///
    /// # Errors
    /// Why the batch is refused; apart from errors of this message alone, it is over then.
    pub(super) fn publish_atomic(
        &mut self,
        publish: Publish,
        asked: &Asked<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<PubAck> {
        if self.messages.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        self.check_capacity()?;
        self.check_size(publish.headers_len, publish.body.len())?;
        if !self.messages.config.allow_atomic {
            return Err(reject::ATOMIC_PUBLISH_DISABLED.into());
        }
        let id = asked.batch_id.map_or_else(Bytes::new, Bytes::copy_from_slice);
        if id.len() > ID_MAX {
            return Err(reject::ATOMIC_PUBLISH_INVALID_BATCH_ID.into());
        }
        let seq = asked
            .batch_seq
            .and_then(number)
            .ok_or(reject::ATOMIC_PUBLISH_MISSING_SEQ)?;
        let commit = match asked.batch_commit {
            None => Commit::No,
            Some(b"1") => Commit::Last,
            Some(b"eob") => Commit::Before,
            Some(_) => Commit::Unknown,
        };
        // The message that only ends the batch does not count.
        let size = seq.saturating_sub(u64::from(commit == Commit::Before));
        let most = self.atomic.limits.messages;
        let too_large = size > most;
        if !self.atomic.open.contains_key(&id) {
            if seq != 1 {
                return Err(match too_large {
                    true => reject::ATOMIC_PUBLISH_TOO_LARGE_BATCH.with(most),
                    false => reject::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
                }
                .into());
            }
            self.atomic.begin(id.clone())?;
        }
        if commit == Commit::Unknown {
            self.atomic.end(&id);
            return Err(reject::ATOMIC_PUBLISH_INVALID_BATCH_COMMIT.into());
        }
        let mut publish = publish;
        if let Some(level) = asked.api_level {
            if number(level).is_none_or(|level| level > API_LEVEL) {
                self.abandon(&id, Abandoned::Unsupported, turn);
                return Err(reject::REQUIRED_API_LEVEL.into());
            }
            let block = publish.headers();
            publish = publish.with_headers(&headers::remove(&block, "Nats-Required-Api-Level"));
        }
        let held = self.atomic.open.get(&id).map_or(0, |batch| batch.messages.len() as u64);
        if seq != held + 1 || (seq == 1 && commit == Commit::Before) {
            self.abandon(&id, Abandoned::Incomplete, turn);
            return Err(reject::ATOMIC_PUBLISH_INCOMPLETE_BATCH.into());
        }
        if too_large {
            self.abandon(&id, Abandoned::Large, turn);
            return Err(reject::ATOMIC_PUBLISH_TOO_LARGE_BATCH.with(most).into());
        }
        if commit != Commit::Before {
            self.atomic.add(&id, publish, turn.now);
        }
        match commit {
            Commit::No => Ok(self.pub_ack(0)),
            _ => {
                let messages = self.atomic.end(&id);
                self.commit_atomic(id, messages, commit, turn)
            }
        }
    }

    /// Stores the messages of a batch, all or none.
    fn commit_atomic(
        &mut self,
        id: Bytes,
        messages: Vec<Publish>,
        commit: Commit,
        turn: &mut Turn<'_>,
    ) -> Result<PubAck> {
        let count = messages.len();
        let mut staged = Staged::default();
        let mut ready = Vec::with_capacity(count);
        for (at, message) in messages.into_iter().enumerate() {
            let block = message.headers();
            if headers::get(&block, "Nats-Expected-Last-Msg-Id").is_some_and(|id| !id.is_empty()) {
                return Err(reject::ATOMIC_PUBLISH_UNSUPPORTED_HEADER_BATCH
                    .with("Nats-Expected-Last-Msg-Id")
                    .into());
            }
            let message = match commit == Commit::Before && at + 1 == count {
                true => message.with_headers(&headers::insert(&block, "Nats-Batch-Commit", "1")),
                false => message,
            };
            match self.check_staged(message, &mut staged, turn)? {
                Outcome::Ready(message) => ready.push(message),
                Outcome::Duplicate(_) => return Err(reject::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE.into()),
            }
        }
        if self.is_journaled() {
            // A crash in the middle of the journal's write must not leave a part of it, and no log may have a part of
            // it that the journal does not have whole.
            turn.commands.together(self.messages.id, turn.now, ready.len() as u64);
            turn.sync = true;
        }
        let mut last = self.pub_ack(self.messages.last());
        for message in ready {
            last = self.store(message, turn)?;
        }
        Ok(PubAck {
            value: None,
            batch: Some(Box::new(BatchAck {
                id,
                count: count as u64,
            })),
            ..last
        })
    }

    /// Gives up the batches that were silent for too long.
    pub(super) fn expire_batches(&mut self, turn: &mut Turn<'_>) {
        let open = self.atomic.open.iter();
        let late: Vec<Bytes> = open
            .filter(|(_, batch)| batch.deadline <= turn.now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            self.abandon(&id, Abandoned::Timeout, turn);
        }
    }

    fn abandon(&mut self, id: &Bytes, reason: Abandoned, turn: &mut Turn<'_>) {
        self.atomic.end(id);
        turn.emits.push(Emit::Event(Event::BatchAbandoned {
            account: self.messages.account.clone(),
            stream: self.messages.name.clone(),
            batch: id.clone(),
            reason,
        }));
    }
}
