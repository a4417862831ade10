//! What has to hold before a message is stored. Each check is one header's or one limit's; publishes and the messages of
//! batches make them in their own order, which is nats-server's.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::reject;
use crate::stream::asked::{Asked, number};
use crate::stream::publish::Rollup;
use crate::stream::{Discard, Stream, stored_size};
use crate::types::{Record, Seq};

/// The longest header block, in bytes (`StreamHeaderExceedsMaximumErr`).
const HEADERS_MAX: usize = u16::MAX as usize;

/// The longest subject a message is stored under, in bytes: a record's head also has marks, and in the journal the stream
/// and the sequence.
const SUBJECT_MAX: usize = Record::HEAD_MAX - 64;

impl Stream {
    /// `Nats-Expected-Stream`.
    pub(super) fn check_stream(&self, asked: &Asked<'_>) -> Result<()> {
        match asked.stream {
            Some(name) if name != self.messages.name.as_bytes() => Err(reject::STREAM_NOT_MATCH.into()),
            _ => Ok(()),
        }
    }

    /// `Nats-Expected-Last-Sequence`, where `last` is the last sequence.
    pub(super) fn check_last_seq(asked: &Asked<'_>, last: Seq) -> Result<()> {
        match asked.last_seq {
            Some(expected) if number(expected) != Some(last) => {
                Err(reject::STREAM_WRONG_LAST_SEQUENCE.with(last).into())
            }
            _ => Ok(()),
        }
    }

    /// The subject that `Nats-Expected-Last-Subject-Sequence` is about, and what it says; `None` if it is not there.
    pub(super) fn expected_of_subject<'a>(
        asked: &Asked<'a>,
        subject: &'a [u8],
    ) -> Result<Option<(&'a [u8], Option<Seq>)>> {
        match (asked.last_subject_seq, asked.last_subject) {
            (Some(expected), of) => Ok(Some((of.unwrap_or(subject), number(expected)))),
            (None, Some(_)) => Err(reject::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID.into()),
            (None, None) => Ok(None),
        }
    }

    /// `Nats-Expected-Last-Subject-Sequence` and what belongs to it.
    pub(super) fn check_last_subject_seq(&mut self, asked: &Asked<'_>, subject: &[u8]) -> Result<()> {
        let Some((of, expected)) = Self::expected_of_subject(asked, subject)? else {
            return Ok(());
        };
        let last = self.last_seq_of(of)?;
        match expected == Some(last) {
            true => Ok(()),
            false => Err(reject::STREAM_WRONG_LAST_SEQUENCE.with(last).into()),
        }
    }

    /// The sequence of the newest message whose subject matches; 0 if there is none.
    pub(super) fn last_seq_of(&mut self, filter: &[u8]) -> Result<Seq> {
        let seq = match weir_subject::is_literal(filter) {
            true => self.messages.index.subject(filter)?.map(|info| info.last),
            false => {
                let last = self.messages.last();
                self.messages
                    .index
                    .prev_match(&[Bytes::copy_from_slice(filter)], last)?
            }
        };
        Ok(seq.unwrap_or(0))
    }

    /// `Nats-Expected-Last-Msg-Id`.
    pub(super) fn check_last_id(&self, asked: &Asked<'_>) -> Result<()> {
        let last = self.messages.dedup.last_id();
        match asked.last_id {
            Some(expected) if expected != last => {
                let last = String::from_utf8_lossy(last);
                Err(reject::STREAM_WRONG_LAST_MSG_ID.with(last).into())
            }
            _ => Ok(()),
        }
    }

    /// `Nats-Rollup`.
    pub(super) fn check_rollup(&self, asked: &Asked<'_>) -> Result<Option<Rollup>> {
        let Some(value) = asked.rollup else { return Ok(None) };
        if !self.messages.config.allow_rollup_hdrs || self.messages.config.deny_purge {
            return Err(reject::STREAM_ROLLUP_FAILED.with("rollup not permitted").into());
        }
        // In any case, as nats-server takes it.
        match value {
            _ if value.eq_ignore_ascii_case(b"sub") => Ok(Some(Rollup::Subject)),
            _ if value.eq_ignore_ascii_case(b"all") => Ok(Some(Rollup::All)),
            _ => {
                let text = format!("rollup value invalid: {:?}", String::from_utf8_lossy(value));
                Err(reject::STREAM_ROLLUP_FAILED.with(text).into())
            }
        }
    }

    /// `Nats-Stream-Source` is for streams to write, not for publishers.
    pub(super) fn check_source(asked: &Asked<'_>) -> Result<()> {
        match asked.source {
            Some(_) => Err(reject::MESSAGE_SOURCE_HDR_NOT_ALLOWED.into()),
            None => Ok(()),
        }
    }

    /// `max_msg_size`, and how long a header block may be.
    pub(super) fn check_size(&self, headers_len: usize, body_len: usize) -> Result<()> {
        let max = self.messages.config.max_msg_size;
        if max >= 0 && body_len > max as usize {
            return Err(reject::STREAM_MESSAGE_EXCEEDS_MAXIMUM.into());
        }
        if headers_len > HEADERS_MAX {
            return Err(reject::STREAM_HEADER_EXCEEDS_MAXIMUM.into());
        }
        Ok(())
    }

    /// Whether a log can hold the message at all, as it will be stored: a transform may have made its subject longer, a
    /// counter or a TTL its headers. Asked before the journal has anything of it.
    pub(super) fn check_record(&self, subject: &[u8], body_len: usize) -> Result<()> {
        if subject.len() > SUBJECT_MAX || body_len > Record::BODY_MAX {
            return Err(reject::STREAM_MESSAGE_EXCEEDS_MAXIMUM.into());
        }
        Ok(())
    }

    /// What all streams of the store may hold together: `max_memory_store` and `max_file_store`.
    pub(super) fn check_capacity(&self) -> Result<()> {
        match self.stats.is_beyond_capacity() {
            true => Err(reject::INSUFFICIENT_RESOURCES.into()),
            false => Ok(()),
        }
    }

    /// Whether, with `discard: new`, there is room.
    pub(crate) fn check_room(&mut self, subject: &[u8], headers_len: usize, body_len: usize) -> Result<()> {
        let config = &self.messages.config;
        if config.discard != Discard::New {
            return Ok(());
        }
        let per_subject = config.max_msgs_per_subject;
        let held = match per_subject > 0 {
            true => self.messages.index.subject(subject)?.map_or(0, |info| info.count),
            false => 0,
        };
        let subject_full = per_subject > 0 && held >= per_subject as u64;
        if subject_full && config.discard_new_per_subject {
            return Err(full("maximum messages per subject exceeded"));
        }
        // One that replaces an older one of its subject needs no room.
        let freed = u64::from(subject_full);
        if config.max_msgs > 0 && self.messages.index.len() - freed >= config.max_msgs as u64 {
            return Err(full("maximum messages exceeded"));
        }
        let size = stored_size(config.storage, subject.len(), headers_len, body_len - headers_len);
        let max_bytes = config.max_bytes;
        if max_bytes > 0 && self.messages.bytes() + size > max_bytes as u64 {
            // One that replaces another may be as large as that (seen with nats-server 2.15.1).
            let replaced = match subject_full {
                true => self.messages.index.subject(subject)?.map(|info| info.first),
                false => None,
            };
            let room = match replaced {
                Some(seq) => self.messages.size_at(seq)?,
                None => 0,
            };
            if room < size {
                return Err(full("maximum bytes exceeded"));
            }
        }
        Ok(())
    }
}

/// There is no room, for that reason.
pub(crate) fn full(text: &str) -> Error {
    reject::STREAM_STORE_FAILED.with(text).into()
}
