//! Fast batches: one publisher's messages, stored as they come, with acknowledgements that tell it how far to run ahead
//! (nats-server 2.14). The reply subject says what each message is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::headers;
use crate::reject::{self, Rejection};
use crate::shard::emit::{BatchAck, Emit, PubAck, Ticket};
use crate::shard::turn::Turn;
use crate::stream::asked::{Asked, number};
use crate::stream::atomic::ID_MAX;
use crate::stream::batch_limits::BatchLimits;
use crate::stream::staged::{Outcome, Staged};
use crate::stream::{Publish, Stream};
use crate::types::{API_LEVEL, NanoTime, Nanos, Seq};

/// How the reply subject of a fast batch's message ends.
const SUFFIX: &[u8] = b".$FI";
/// Batches of one stream that are open at a time, unless [`BatchLimits`] says otherwise.
const OPEN_MAX: usize = 1000;
/// Batches of one store that are open at a time, unless [`BatchLimits`] says otherwise.
const OPEN_MAX_TOTAL: usize = 50_000;
/// Messages between two acknowledgements at most, for all publishers of a stream together.
const FLOW_MAX: u64 = 500;
/// Messages between two acknowledgements where the publisher states none.
const FLOW_DEFAULT: u16 = 10;

/// What a message means for its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Start,
    Append,
    /// The last message.
    Commit,
    /// No message: the one before was the last.
    CommitBefore,
    /// No message: say how far you got.
    Ping,
}

/// A reply subject of the form `<prefix>.<id>.<flow>.<ok|fail>.<seq>.<operation>.$FI`.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    id: Bytes,
    /// Messages between two acknowledgements that the publisher allows.
    flow: u16,
    /// Whether messages may be missing.
    gaps: bool,
    /// The message's number in its batch, from 1.
    seq: u64,
    operation: Operation,
}

/// The open fast batches of a stream, by id.
pub(crate) struct FastBatches {
    open: BTreeMap<Bytes, FastBatch>,
    /// Open batches of the whole store.
    total: Arc<AtomicUsize>,
    limits: BatchLimits,
}

#[derive(Debug)]
struct FastBatch {
    gaps: bool,
    /// The number of the last message taken.
    last: u64,
    /// The stream sequence of the last message stored; 0 before the first.
    stored: Seq,
    /// The number last acknowledged.
    acked: u64,
    /// Messages from one acknowledgement to the next.
    every: u16,
    every_max: u16,
    deadline: NanoTime,
}

/// What the publisher is told along the way.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Note<'a> {
    /// Messages up to this one are stored; the next acknowledgement comes after so many.
    Ack { seq: u64, msgs: u16 },
    /// Messages from `last_seq` on, up to the one before `seq`, did not arrive.
    Gap { last_seq: u64, seq: u64 },
    /// This message was refused.
    Err { seq: u64, error: &'a Rejection },
}

impl FastBatches {
    /// None open; `total` counts those of all streams of the store.
    pub fn new(total: Arc<AtomicUsize>, limits: BatchLimits) -> Self {
        Self {
            open: BTreeMap::new(),
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

    /// Forgets the batches that were silent for too long.
    pub fn expire(&mut self, now: NanoTime) {
        let before = self.open.len();
        self.open.retain(|_, batch| batch.deadline > now);
        self.total.fetch_sub(before - self.open.len(), Ordering::Relaxed);
    }

    fn begin(&mut self, marks: &Marks) -> Result<()> {
        if self.open.len() >= self.limits.open_per_stream.unwrap_or(OPEN_MAX) {
            return Err(reject::BATCH_PUBLISH_TOO_MANY_INFLIGHT.into());
        }
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.limits.open_total.unwrap_or(OPEN_MAX_TOTAL) {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(reject::BATCH_PUBLISH_TOO_MANY_INFLIGHT.into());
        }
        let batch = FastBatch {
            gaps: marks.gaps,
            last: 0,
            stored: 0,
            acked: 0,
            // The only publisher may run as far ahead as it likes, others have to ramp up.
            every: match self.open.is_empty() {
                true => marks.flow.min(FLOW_MAX as u16),
                false => 1,
            },
            every_max: marks.flow,
            deadline: 0,
        };
        self.open.insert(marks.id.clone(), batch);
        Ok(())
    }

    fn end(&mut self, id: &[u8]) {
        if self.open.remove(id).is_some() {
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets all that are open.
    pub fn clear(&mut self) {
        self.total.fetch_sub(self.open.len(), Ordering::Relaxed);
        self.open.clear();
    }
}

impl Drop for FastBatches {
    fn drop(&mut self) {
        self.total.fetch_sub(self.open.len(), Ordering::Relaxed);
    }
}

impl FastBatch {
    /// The acknowledgement that is due, if one is; adapts how often they come to how many publishers there are.
    fn due_ack(&mut self, publishers: usize) -> Option<Note<'static>> {
        let every = u64::from(self.every);
        if self.last < self.acked + every {
            return None;
        }
        self.acked += (self.last - self.acked) / every * every;
        let share = (FLOW_MAX / publishers.max(1) as u64).max(1) as u16;
        let most = share.min(self.every_max);
        if self.every < most {
            self.every = self.every.saturating_mul(2).min(most);
        } else if self.every > most {
            self.every = (self.every / 2).max(most);
        }
        Some(self.ack())
    }

    fn ack(&self) -> Note<'static> {
        Note::Ack {
            seq: self.acked,
            msgs: self.every,
        }
    }
}

impl Stream {
    /// Whether a reply subject says that its message belongs to a fast batch.
    #[must_use]
    pub fn is_fast(reply: &[u8]) -> bool {
        reply.len() > SUFFIX.len() && reply.ends_with(SUFFIX)
    }

    /// Takes a message of a fast batch. What the publisher is told goes to its reply subject.
    ///
    /// # Errors
    /// Only that storage failed; the publisher was told.
    pub(super) fn publish_fast(&mut self, publish: Publish, reply: Bytes, turn: &mut Turn<'_>) -> Result<()> {
        let result = match self.take_fast(publish, &reply, turn) {
            Ok(None) => return Ok(()),
            Ok(Some(ack)) => Ok(ack),
            Err(error) if error.kind != Kind::Rejected => {
                self.answer(Ticket::Reply(reply), Err(error.clone()), turn);
                return Err(error);
            }
            Err(error) => Err(error),
        };
        self.answer(Ticket::Reply(reply), result, turn);
        Ok(())
    }

    /// Answers the acknowledgement that ends the batch, if this message does.
    fn take_fast(&mut self, publish: Publish, reply: &Bytes, turn: &mut Turn<'_>) -> Result<Option<PubAck>> {
        if self.messages.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        self.check_capacity()?;
        self.check_size(publish.headers_len, publish.body.len())?;
        if !self.messages.config.allow_batched {
            return Err(reject::BATCH_PUBLISH_DISABLED.into());
        }
        let marks = Marks::parse(reply).ok_or(reject::BATCH_PUBLISH_INVALID_PATTERN)?;
        if marks.id.len() > ID_MAX {
            return Err(reject::BATCH_PUBLISH_INVALID_BATCH_ID.into());
        }
        self.fast.expire(turn.now);
        if !self.fast.open.contains_key(&marks.id) {
            if marks.seq != 1 {
                return Err(reject::BATCH_PUBLISH_UNKNOWN_BATCH_ID.into());
            }
            self.fast.begin(&marks)?;
        }
        let publish = self.without_level(publish, &marks)?;
        let publishers = self.fast.open.len();
        let idle = self.fast.limits.idle;
        let Some(batch) = self.fast.open.get_mut(&marks.id) else {
            return Ok(None);
        };
        batch.deadline = turn.now.saturating_add(idle);
        if marks.operation == Operation::Ping {
            return Ok(self.ping(&marks, reply, turn));
        }
        let expected = batch.last + 1;
        if marks.seq != expected {
            let gap = Note::Gap {
                last_seq: expected,
                seq: marks.seq,
            };
            tell(&self.messages.account, reply, &gap, turn);
        }
        if marks.seq != expected && !(batch.gaps && marks.seq > expected) {
            return Ok(Some(self.end_fast(&marks)));
        }
        if marks.operation == Operation::CommitBefore {
            return Ok(Some(self.end_fast(&marks)));
        }
        let commits = marks.operation == Operation::Commit;
        if marks.seq == 1 && !commits {
            let ack = batch.ack();
            tell(&self.messages.account, reply, &ack, turn);
        }
        batch.last = marks.seq;
        let checked = match self.check_staged(publish, &mut Staged::default(), turn) {
            Err(error) if error.kind != Kind::Rejected => return Err(error),
            checked => checked,
        };
        let refused = match checked {
            Ok(Outcome::Ready(ready)) => {
                let ack = self.store(ready, turn)?;
                if let Some(batch) = self.fast.open.get_mut(&marks.id) {
                    batch.stored = ack.seq;
                    if !commits && let Some(ack) = batch.due_ack(publishers) {
                        tell(&self.messages.account, reply, &ack, turn);
                    }
                }
                None
            }
            Ok(Outcome::Duplicate(seq)) => {
                if marks.seq == 1 && !marks.gaps && commits {
                    let ack = self.end_fast(&marks);
                    return Ok(Some(PubAck {
                        seq,
                        duplicate: true,
                        ..ack
                    }));
                }
                if let Some(batch) = self.fast.open.get_mut(&marks.id)
                    && let Some(ack) = batch.due_ack(publishers)
                {
                    tell(&self.messages.account, reply, &ack, turn);
                }
                None
            }
            Err(error) => Some(error),
        };
        match refused {
            None if commits => Ok(Some(self.end_fast(&marks))),
            None => Ok(None),
            Some(error) => self.refuse_fast(&marks, &error, reply, turn),
        }
    }

    /// A message of the batch was refused. Where none may be missing that ends the batch.
    fn refuse_fast(
        &mut self,
        marks: &Marks,
        error: &Error,
        reply: &[u8],
        turn: &mut Turn<'_>,
    ) -> Result<Option<PubAck>> {
        if marks.seq == 1 && !marks.gaps {
            self.fast.end(&marks.id);
            return Err(error.clone());
        }
        let rejection = error
            .rejection
            .clone()
            .unwrap_or_else(|| reject::STREAM_STORE_FAILED.with(error));
        let note = Note::Err {
            seq: marks.seq,
            error: &rejection,
        };
        tell(&self.messages.account, reply, &note, turn);
        if marks.gaps && marks.operation != Operation::Commit {
            return Ok(None);
        }
        if let Some(batch) = self.fast.open.get_mut(&marks.id) {
            batch.last -= 1;
        }
        Ok(Some(self.end_fast(marks)))
    }

    /// The batch is over; the acknowledgement says how much of it was taken.
    fn end_fast(&mut self, marks: &Marks) -> PubAck {
        let (stored, count) = match self.fast.open.get(&marks.id) {
            Some(batch) => (batch.stored, batch.last),
            None => (0, 0),
        };
        self.fast.end(&marks.id);
        PubAck {
            batch: Some(Box::new(BatchAck {
                id: marks.id.clone(),
                count,
            })),
            ..self.pub_ack(stored)
        }
    }

    /// The publisher asks how far its batch got, and says how far it is itself.
    fn ping(&mut self, marks: &Marks, reply: &[u8], turn: &mut Turn<'_>) -> Option<PubAck> {
        let publishers = self.fast.open.len();
        let batch = self.fast.open.get_mut(&marks.id)?;
        let mut note = None;
        if marks.seq > batch.last {
            let gap = Note::Gap {
                last_seq: batch.last + 1,
                seq: marks.seq + 1,
            };
            tell(&self.messages.account, reply, &gap, turn);
            if !batch.gaps {
                return Some(self.end_fast(marks));
            }
            batch.last = marks.seq;
            note = batch.due_ack(publishers);
        }
        let note = note.unwrap_or_else(|| batch.ack());
        tell(&self.messages.account, reply, &note, turn);
        None
    }

    /// `Nats-Required-Api-Level` is looked at and not stored.
    fn without_level(&mut self, publish: Publish, marks: &Marks) -> Result<Publish> {
        if publish.headers_len == 0 {
            return Ok(publish);
        }
        let block = publish.headers();
        let Some(level) = Asked::read(&block).api_level else {
            return Ok(publish);
        };
        if number(level).is_none_or(|level| level > API_LEVEL) {
            self.fast.end(&marks.id);
            return Err(reject::REQUIRED_API_LEVEL.into());
        }
        Ok(publish.with_headers(&headers::remove(&block, "Nats-Required-Api-Level")))
    }
}

impl Marks {
    fn parse(reply: &Bytes) -> Option<Self> {
        let mut parts = reply.strip_suffix(SUFFIX)?.rsplitn(6, |&byte| byte == b'.');
        let operation = match parts.next()? {
            b"0" => Operation::Start,
            b"1" => Operation::Append,
            b"2" => Operation::Commit,
            b"3" => Operation::CommitBefore,
            b"4" => Operation::Ping,
            _ => return None,
        };
        let seq = number(parts.next()?).filter(|seq| *seq > 0 && *seq < u64::MAX)?;
        let fits = match operation {
            Operation::Start => seq == 1,
            Operation::Append | Operation::CommitBefore => seq > 1,
            Operation::Commit | Operation::Ping => true,
        };
        let gaps = match parts.next()? {
            b"ok" => true,
            b"fail" => false,
            _ => return None,
        };
        let flow = match number(parts.next()?).unwrap_or(0) {
            0 => FLOW_DEFAULT,
            flow => u16::try_from(flow).unwrap_or(u16::MAX),
        };
        let id = Bytes::copy_from_slice(parts.next()?);
        // There has to be something before the id.
        parts.next()?;
        fits.then_some(Self {
            id,
            flow,
            gaps,
            seq,
            operation,
        })
    }
}

/// Sends the publisher a note.
fn tell(account: &Arc<str>, to: &[u8], note: &Note<'_>, turn: &mut Turn<'_>) {
    turn.emits.push(Emit::Send {
        account: Arc::clone(account),
        to: Bytes::copy_from_slice(to),
        headers: Bytes::new(),
        // Numbers and texts always have a JSON form.
        payload: serde_json::to_vec(note).unwrap_or_default().into(),
    });
}

#[cfg(test)]
mod tests;
