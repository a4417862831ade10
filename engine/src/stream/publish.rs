//! Taking a message: what its headers ask for, what the limits allow.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::headers;
use crate::reject;
use crate::shard::emit::PubAck;
use crate::shard::turn::Turn;
use crate::stream::{Discard, Retention, Stream, message, stored_size};
use crate::types::{NanoTime, Seq};

/// The longest header block, in bytes (`StreamHeaderExceedsMaximumErr`).
const HEADERS_MAX: usize = u16::MAX as usize;

/// A message on its way into a stream.
pub(crate) struct Publish {
    pub subject: Bytes,
    /// How much of the body is the header block.
    pub headers_len: usize,
    /// Header block and payload.
    pub body: Bytes,
}

/// Whose older messages a new one replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rollup {
    Subject,
    All,
}

/// What a message's headers ask for.
#[derive(Default)]
struct Wishes<'a> {
    id: Option<&'a [u8]>,
    rollup: Option<Rollup>,
}

impl Stream {
    /// Stores a message, or says why not.
    ///
    /// # Errors
    /// [`Rejected`](crate::Kind::Rejected) with JetStream's code; anything else means that storage failed.
    pub(crate) fn publish(&mut self, publish: Publish, turn: &mut Turn<'_>) -> Result<PubAck> {
        let Publish {
            subject,
            headers_len,
            body,
        } = publish;
        if self.core.config.sealed {
            return Err(reject::STREAM_SEALED.into());
        }
        let headers = body.slice(..headers_len);
        let mut wishes = Wishes::default();
        if headers_len > 0 {
            if headers_len > HEADERS_MAX {
                return Err(reject::STREAM_HEADER_EXCEEDS_MAXIMUM.into());
            }
            // Ids that left the window since the last tick must not count any more.
            self.core.dedup.expire(turn.now, self.core.config.duplicate_window);
            match self.read_headers(&subject, &headers)? {
                Asked::Store(asked) => wishes = asked,
                Asked::Duplicate(seq) => return Ok(self.pub_ack(seq, true)),
            }
        }
        self.check_limits(&subject, headers_len, body.len())?;
        self.demand_durability(turn);
        self.find_interested(&subject);
        if self.core.config.retention == Retention::Interest && self.interested.is_empty() {
            let seq = self.core.skip(turn.now);
            let id = Bytes::copy_from_slice(wishes.id.unwrap_or_default());
            self.remember_id(&id, seq, turn.now);
            if self.is_journaled() {
                turn.commands.raise(self.core.id, turn.now, seq, id);
            }
            return Ok(self.pub_ack(seq, false));
        }
        let (seq, head) = self.core.append(turn.now, &subject, headers_len, body.clone())?;
        if self.is_journaled() {
            turn.commands.publish(self.core.id, seq, turn.now, &head, body);
        }
        self.remember_id(wishes.id.unwrap_or_default(), seq, turn.now);
        let interested = std::mem::take(&mut self.interested);
        for &serial in &interested {
            if let Some(consumer) = self.consumers.get_mut(&serial) {
                consumer.stored(seq);
            }
            self.enqueue(serial);
        }
        self.interested = interested;
        match wishes.rollup {
            Some(Rollup::Subject) => self.keep_newest_of(&subject, 1)?,
            Some(Rollup::All) => self.remove_below(seq)?,
            None => {}
        }
        self.enforce_limits(&subject)?;
        self.tell_removed();
        Ok(self.pub_ack(seq, false))
    }

    /// Applies a publish from the journal.
    pub(super) fn replay_publish(&mut self, seq: Seq, time: NanoTime, head: Bytes, body: Bytes) -> Result<()> {
        // The log may be ahead of the checkpoint: then it has the message, or had it and let it go.
        self.remember_id(message_id(&head, &body).unwrap_or_default(), seq, time);
        if seq > self.core.last() {
            self.core.put(seq, time, head, body)?;
        }
        Ok(())
    }

    /// Notes the id of the newest message, empty if it has none.
    pub(super) fn remember_id(&mut self, id: &[u8], seq: Seq, time: NanoTime) {
        if id.is_empty() || self.core.config.duplicate_window <= 0 {
            self.core.dedup.set_last(id);
        } else {
            self.core.dedup.insert(id, seq, time);
        }
    }

    fn pub_ack(&self, seq: Seq, duplicate: bool) -> PubAck {
        PubAck {
            stream: Arc::clone(&self.core.name),
            seq,
            duplicate,
        }
    }

    /// Checks what the headers expect, and collects what they ask for (js-api, "Headers").
    fn read_headers<'a>(&mut self, subject: &[u8], block: &'a [u8]) -> Result<Asked<'a>> {
        let mut wishes = Wishes::default();
        if let Some(expected) = headers::get(block, "Nats-Expected-Stream")
            && expected != self.core.name.as_bytes()
        {
            return Err(reject::STREAM_NOT_MATCH.into());
        }
        if let Some(id) = headers::get(block, "Nats-Msg-Id").filter(|id| !id.is_empty()) {
            if let Some(seq) = self.core.dedup.get(id) {
                return Ok(Asked::Duplicate(seq));
            }
            wishes.id = Some(id);
        }
        self.check_expected(subject, block)?;
        match headers::get(block, "Nats-Rollup") {
            None => {}
            Some(_) if !self.core.config.allow_rollup_hdrs || self.core.config.deny_purge => {
                return Err(reject::STREAM_ROLLUP_FAILED.with("rollup not permitted").into());
            }
            Some(b"sub") => wishes.rollup = Some(Rollup::Subject),
            Some(b"all") => wishes.rollup = Some(Rollup::All),
            Some(other) => {
                let value = String::from_utf8_lossy(other);
                let text = format!("rollup value invalid: {value:?}");
                return Err(reject::STREAM_ROLLUP_FAILED.with(text).into());
            }
        }
        if headers::get(block, "Nats-TTL").is_some() {
            return Err(match self.core.config.allow_msg_ttl {
                true => reject::STREAM_STORE_FAILED.with("Weir does not support Nats-TTL yet"),
                false => reject::MESSAGE_TTL_DISABLED,
            }
            .into());
        }
        for (name, rejection) in [
            ("Nats-Incr", reject::MESSAGE_INCR_DISABLED),
            ("Nats-Schedule", reject::MESSAGE_SCHEDULES_DISABLED),
            ("Nats-Batch-Id", reject::ATOMIC_PUBLISH_DISABLED),
        ] {
            if headers::get(block, name).is_some() {
                return Err(rejection.into());
            }
        }
        Ok(Asked::Store(wishes))
    }

    fn check_expected(&mut self, subject: &[u8], block: &[u8]) -> Result<()> {
        if let Some(expected) = headers::get_str(block, "Nats-Expected-Last-Sequence") {
            let last = self.core.last();
            if expected.parse() != Ok(last) {
                return Err(reject::STREAM_WRONG_LAST_SEQUENCE.with(last).into());
            }
        }
        if let Some(expected) = headers::get(block, "Nats-Expected-Last-Msg-Id") {
            let last = self.core.dedup.last_id();
            if expected != last {
                let last = String::from_utf8_lossy(last);
                return Err(reject::STREAM_WRONG_LAST_MSG_ID.with(last).into());
            }
        }
        let of = headers::get(block, "Nats-Expected-Last-Subject-Sequence-Subject");
        let Some(expected) = headers::get_str(block, "Nats-Expected-Last-Subject-Sequence") else {
            return match of {
                Some(_) => Err(reject::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID.into()),
                None => Ok(()),
            };
        };
        let filter = of.unwrap_or(subject);
        let last = match weir_subject::is_literal(filter) {
            true => self.core.index.subject(filter)?.map(|info| info.last),
            false => self
                .core
                .index
                .prev_match(&[Bytes::copy_from_slice(filter)], self.core.last())?,
        }
        .unwrap_or(0);
        if expected.parse() != Ok(last) {
            return Err(reject::STREAM_WRONG_LAST_SEQUENCE.with(last).into());
        }
        Ok(())
    }

    /// Whether the message is small enough and, with `discard: new`, whether there is room.
    fn check_limits(&mut self, subject: &[u8], headers_len: usize, body_len: usize) -> Result<()> {
        let config = &self.core.config;
        if config.max_msg_size >= 0 && body_len > config.max_msg_size as usize {
            return Err(reject::STREAM_MESSAGE_EXCEEDS_MAXIMUM.into());
        }
        if config.discard != Discard::New {
            return Ok(());
        }
        let full = |text| Error::from(reject::STREAM_STORE_FAILED.with(text));
        let per_subject = config.max_msgs_per_subject;
        let held = match per_subject > 0 {
            true => self.core.index.subject(subject)?.map_or(0, |info| info.count),
            false => 0,
        };
        let subject_full = per_subject > 0 && held >= per_subject as u64;
        if subject_full && config.discard_new_per_subject {
            return Err(full("maximum messages per subject exceeded"));
        }
        // One that replaces an older one of its subject needs no room.
        let freed = u64::from(subject_full);
        if config.max_msgs > 0 && self.core.index.len() - freed >= config.max_msgs as u64 {
            return Err(full("maximum messages exceeded"));
        }
        let size = stored_size(subject.len(), headers_len, body_len - headers_len);
        let max_bytes = config.max_bytes;
        if max_bytes > 0 && self.core.bytes() + size > max_bytes as u64 {
            // One that replaces another may be as large as that (seen with nats-server 2.15.1).
            let replaced = match subject_full {
                true => self.core.index.subject(subject)?.map(|info| info.first),
                false => None,
            };
            let room = match replaced {
                Some(seq) => self.core.size_at(seq)?,
                None => 0,
            };
            if room < size {
                return Err(full("maximum bytes exceeded"));
            }
        }
        Ok(())
    }
}

/// What came of reading the headers.
enum Asked<'a> {
    /// Store it, and that.
    Store(Wishes<'a>),
    /// It is stored already, under that sequence.
    Duplicate(Seq),
}

/// The message id of a stored message.
fn message_id<'a>(head: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let headers_len = message::headers_len_of(head)?;
    headers::get(body.get(..headers_len)?, "Nats-Msg-Id").filter(|id| !id.is_empty())
}
