//! Taking a message: the subject it is stored under, what its headers ask for, what the limits allow.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::headers;
use crate::reject;
use crate::shard::emit::PubAck;
use crate::shard::turn::Turn;
use crate::stream::asked::Asked;
use crate::stream::message::Marks;
use crate::stream::rewrite::Republished;
use crate::stream::{Retention, Stream, message};
use crate::types::{NanoTime, Seq};

/// A message on its way into a stream.
pub(crate) struct Publish {
    pub subject: Bytes,
    /// How much of the body is the header block.
    pub headers_len: usize,
    /// Header block and payload.
    pub body: Bytes,
}

/// Whose older messages a new one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rollup {
    Subject,
    All,
}

/// A message that passed all checks, as it will be stored.
pub(super) struct Ready {
    pub subject: Bytes,
    pub headers_len: usize,
    pub body: Bytes,
    /// `Nats-Msg-Id`; empty if it has none.
    pub id: Bytes,
    pub rollup: Option<Rollup>,
    /// What its head has to say of it.
    pub marks: Marks,
    /// The subject of the schedule that is over with this message; empty if none is.
    pub ends_schedule: Bytes,
    /// A counter's new value.
    pub value: Option<Box<str>>,
    /// The sequence and the time of a mirrored message; any other gets the next sequence, now.
    pub at: Option<(Seq, NanoTime)>,
}

/// What would become of a message, had it been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// It would be taken.
    Taken {
        /// Under this subject.
        subject: Bytes,
        /// Whether anybody wants it; if not, it takes a sequence and is not kept.
        wanted: bool,
    },
    /// It is stored already: what its publisher would be told.
    Duplicate(PubAck),
}

/// What came of the checks.
enum Checked {
    /// Store it.
    Ready(Ready),
    /// It is stored already, under that sequence.
    Duplicate(Seq),
}

impl Publish {
    /// The header block.
    pub fn headers(&self) -> Bytes {
        self.body.slice(..self.headers_len)
    }

    /// The payload.
    pub fn payload(&self) -> Bytes {
        self.body.slice(self.headers_len..)
    }

    /// With another header block.
    pub fn with_headers(self, block: &[u8]) -> Self {
        Self {
            headers_len: block.len(),
            body: [block, &self.body[self.headers_len..]].concat().into(),
            subject: self.subject,
        }
    }
}

impl Ready {
    /// One that asks for nothing.
    pub fn plain(publish: Publish) -> Self {
        Self {
            subject: publish.subject,
            headers_len: publish.headers_len,
            body: publish.body,
            id: Bytes::new(),
            rollup: None,
            marks: Marks::default(),
            ends_schedule: Bytes::new(),
            value: None,
            at: None,
        }
    }
}

impl Stream {
    /// Stores a message, or says why not. The answer to one that waits for the rest of its atomic batch has the
    /// sequence 0.
    ///
    /// # Errors
    /// [`Rejected`](crate::Kind::Rejected) with JetStream's code; anything else means that storage failed.
    pub(crate) fn publish(&mut self, publish: Publish, turn: &mut Turn<'_>) -> Result<PubAck> {
        let headers = publish.headers();
        let asked = Asked::read(&headers);
        if asked.batch_id.is_some() {
            return self.publish_atomic(publish, &asked, turn);
        }
        if self.messages.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        let publish = Publish {
            subject: self.rewrites.input(publish.subject, turn),
            ..publish
        };
        let mut ready = match self.check(publish, &headers, &asked, turn.now)? {
            Checked::Ready(ready) => ready,
            Checked::Duplicate(seq) => {
                return Ok(PubAck {
                    duplicate: true,
                    ..self.pub_ack(seq)
                });
            }
        };
        self.check_ready(&ready)?;
        // Every other stream keeps it, wanted or not.
        if self.messages.config.retention != Retention::Interest || self.find_wanted(&ready.subject) {
            if let Some(ttl) = asked.ttl {
                self.settle_ttl(ttl, &mut ready)?;
            }
            self.check_room(&ready.subject, ready.headers_len, ready.body.len())?;
        }
        self.store(ready, turn)
    }

    /// What would become of a message by itself, up to what the stream holds: nothing is stored, nor is looked whether the limits leave
    /// room for it (as nats-server traces messages).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub(crate) fn rehearse(&mut self, publish: Publish, turn: &mut Turn<'_>) -> Result<Rehearsal> {
        let headers = publish.headers();
        let asked = Asked::read(&headers);
        if self.messages.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        let publish = Publish {
            subject: self.rewrites.input(publish.subject, turn),
            ..publish
        };
        let subject = publish.subject.clone();
        Ok(match self.check(publish, &headers, &asked, turn.now)? {
            Checked::Duplicate(seq) => Rehearsal::Duplicate(PubAck {
                duplicate: true,
                ..self.pub_ack(seq)
            }),
            Checked::Ready(ready) => {
                self.check_ready(&ready)?;
                let wanted = self.find_wanted(&subject);
                Rehearsal::Taken { subject, wanted }
            }
        })
    }

    /// What holds of any message that is to be stored.
    fn check_ready(&self, ready: &Ready) -> Result<()> {
        self.check_size(ready.headers_len, ready.body.len())?;
        self.check_record(&ready.subject, ready.body.len())?;
        self.check_capacity()
    }

    /// Checks what the headers expect, and collects what they ask for, in nats-server's order.
    fn check(&mut self, publish: Publish, headers: &Bytes, asked: &Asked<'_>, now: NanoTime) -> Result<Checked> {
        if publish.headers_len == 0 {
            return match self.messages.config.allow_msg_counter {
                true => Err(reject::MESSAGE_INCR_MISSING.into()),
                false => Ok(Checked::Ready(Ready::plain(publish))),
            };
        }
        self.check_size(publish.headers_len, publish.body.len())?;
        // Ids that left the window since the last tick must not count any more.
        self.messages.dedup.expire(now, self.messages.config.duplicate_window);
        let increment = self.check_increment(asked, publish.body.len() > publish.headers_len)?;
        self.check_stream(asked)?;
        self.check_ttl(asked)?;
        self.check_last_subject_seq(asked, &publish.subject)?;
        Self::check_last_seq(asked, self.messages.last())?;
        let mut asked = *asked;
        let scheduling = self.check_schedule(&asked, &publish.subject, now, |_| None)?;
        let publish = scheduling.add_rollup(publish, &mut asked);
        let asked = &asked;
        Self::check_source(asked)?;
        if let Some(seq) = asked.id.and_then(|id| self.messages.dedup.get(id)) {
            return Ok(Checked::Duplicate(seq));
        }
        self.check_last_id(asked)?;
        let rollup = self.check_rollup(asked)?;
        self.require_increment(increment.as_ref())?;
        let id = asked.id.map_or_else(Bytes::new, |id| headers.slice_ref(id));
        let (publish, value) = match increment {
            Some(increment) => {
                let before = self.counter_of(&publish.subject)?;
                let (publish, after) = before.add(publish, &increment)?;
                (publish, Some(after.value()))
            }
            None => (publish, None),
        };
        Ok(Checked::Ready(Ready {
            id,
            rollup,
            value,
            marks: scheduling.marks(),
            ends_schedule: scheduling.ends,
            ..Ready::plain(publish)
        }))
    }

    /// Stores a message that passed all checks.
    pub(super) fn store(&mut self, ready: Ready, turn: &mut Turn<'_>) -> Result<PubAck> {
        let Ready {
            subject,
            headers_len,
            body,
            id,
            rollup,
            marks,
            ends_schedule,
            value,
            at,
        } = ready;
        // Times never go back, though the time of the day may.
        let time = self.messages.last_time().map_or(turn.now, |last| last.max(turn.now));
        let (seq, time) = at.unwrap_or((self.messages.last() + 1, time));
        self.demand_durability(turn);
        if !self.find_wanted(&subject) {
            self.messages.raise_last(seq, time);
            self.remember_id(&id, seq, time);
            if self.is_journaled() {
                turn.commands.raise(self.messages.id, time, seq, id);
            }
            self.roll_up(rollup, &subject, seq, 0, turn)?;
            self.end_schedule(&ends_schedule, turn)?;
            self.tell_removed();
            return Ok(PubAck {
                value,
                ..self.pub_ack(seq)
            });
        }
        let again = match self.rewrites.output(&subject, turn) {
            Some(to) => Some((to, self.messages.index.subject(&subject)?.map_or(0, |info| info.last))),
            None => None,
        };
        let head = self
            .messages
            .append(seq, time, &subject, headers_len, marks, body.clone())?;
        if self.is_journaled() {
            turn.commands.publish(self.messages.id, seq, time, &head, body.clone());
        }
        self.remember_id(&id, seq, time);
        let interested = std::mem::take(&mut self.interested);
        for &serial in &interested {
            if let Some(consumer) = self.consumers.get_mut(&serial) {
                consumer.stored(seq);
            }
            self.enqueue(serial);
        }
        self.interested = interested;
        // Before it replaces anything: what limits remove is gone, and not purged.
        if let Err(error) = self.enforce_limits(&subject, turn) {
            // The message is stored: what it is too much for goes when it can be read again.
            self.limits_left(&subject);
            return Err(error);
        }
        self.tell_removed();
        self.roll_up(rollup, &subject, seq, 1, turn)?;
        self.end_schedule(&ends_schedule, turn)?;
        self.note_schedule(seq, &subject, &body[..headers_len], time);
        self.tell_removed();
        if let Some((to, before)) = again {
            let rule = self.messages.config.republish.as_ref();
            Republished {
                account: &self.messages.account,
                stream: &self.messages.name,
                to,
                subject: &subject,
                headers: &body[..headers_len],
                payload: body.slice(headers_len..),
                seq,
                time,
                before,
                headers_only: rule.is_some_and(|rule| rule.headers_only),
            }
            .send(turn);
        }
        Ok(PubAck {
            value,
            ..self.pub_ack(seq)
        })
    }

    /// Finds the consumers that want a subject; answers whether a message on it is to be kept at all.
    fn find_wanted(&mut self, subject: &[u8]) -> bool {
        self.find_interested(subject);
        self.messages.config.retention != Retention::Interest
            || !self.interested.is_empty()
            || self.is_awaited(Seq::MAX, subject)
    }

    /// Lets a new message replace older ones, itself kept if `keep` is 1; consumers take it for a purge. A message on a
    /// subject with wildcards replaces all that these match, as with nats-server.
    fn roll_up(
        &mut self,
        rollup: Option<Rollup>,
        subject: &[u8],
        seq: Seq,
        keep: u64,
        turn: &mut Turn<'_>,
    ) -> Result<()> {
        let filter = match rollup {
            None => return Ok(()),
            Some(Rollup::Subject) => subject,
            Some(Rollup::All) => b"",
        };
        // Of these only the new message is left, if that.
        self.purge_below(filter, seq + 1 - keep, seq, turn)
    }

    /// Applies a publish from the journal.
    pub(super) fn replay_publish(&mut self, seq: Seq, time: NanoTime, head: Bytes, body: Bytes) -> Result<()> {
        self.replay_headers(seq, time, &head, &body);
        // The log may be ahead of the checkpoint: then it has the message, or had it and let it go.
        match seq > self.messages.last() {
            true => self.messages.put(seq, time, head, body),
            false => {
                self.messages.raise_last(seq, time);
                Ok(())
            }
        }
    }

    /// Applies a publish from the journal whose body, of that length, is in the log alone; `block` is its header block.
    pub(super) fn replay_publish_aside(
        &mut self,
        seq: Seq,
        time: NanoTime,
        head: &Bytes,
        block: &Bytes,
        len: u64,
        now: NanoTime,
    ) {
        self.replay_headers(seq, time, head, block);
        if seq > self.messages.last() {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let bytes = message::stored_size_of_record(self.messages.config.storage, head, len);
            self.messages.ledger.note(seq, seq, bytes, now, LACKED);
            self.messages.lost_anew = true;
        }
        self.messages.raise_last(seq, time);
    }

    /// Applies what the headers of a message from the journal say; `body` may be no more than these.
    fn replay_headers(&mut self, seq: Seq, time: NanoTime, head: &Bytes, body: &Bytes) {
        self.expire_ids(time);
        self.remember_id(message_id(head, body).unwrap_or_default(), seq, time);
        let block = message::headers_len_of(head).and_then(|len| body.get(..len));
        if let Some(block) = block {
            self.replay_origin(block);
        }
        self.note_schedule(seq, message::subject_of(head), block.unwrap_or_default(), time);
    }

    /// Forgets the ids that had left the window when this message came, as whoever took it did: by that time, not by a clock.
    pub(crate) fn expire_ids(&mut self, time: NanoTime) {
        self.messages.dedup.expire(time, self.messages.config.duplicate_window);
    }

    /// Notes the id of the newest message, empty if it has none.
    pub(crate) fn remember_id(&mut self, id: &[u8], seq: Seq, time: NanoTime) {
        if id.is_empty() || self.messages.config.duplicate_window <= 0 {
            self.messages.dedup.set_last(id);
        } else {
            self.messages.dedup.insert(id, seq, time);
        }
    }

    pub(super) fn pub_ack(&self, seq: Seq) -> PubAck {
        PubAck {
            stream: Arc::clone(&self.messages.name),
            seq,
            duplicate: false,
            value: None,
            batch: None,
        }
    }
}

/// Why a message is lost that only the log had, and has no more.
pub(crate) const LACKED: &str = "its log has lost its end, and nothing else had it";

/// The message id of a stored message.
fn message_id<'a>(head: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let headers_len = message::headers_len_of(head)?;
    headers::get(body.get(..headers_len)?, "Nats-Msg-Id").filter(|id| !id.is_empty())
}
