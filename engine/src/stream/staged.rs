//! The checks of a batch's messages: each is looked at as if those before it were stored already, and none is until all
//! passed. nats-server makes them in another order than those of a single publish, which is kept.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::error::Result;
use crate::reject;
use crate::shard::turn::Turn;
use crate::stream::asked::Asked;
use crate::stream::checks::full;
use crate::stream::counter::Counter;
use crate::stream::publish::{Ready, Rollup};
use crate::stream::{Discard, Publish, Stream, stored_size};
use crate::types::Seq;

/// What the messages of a batch that were checked so far will change.
#[derive(Default)]
pub(super) struct Staged {
    messages: u64,
    bytes: u64,
    ids: HashSet<Bytes, RandomState>,
    counters: HashMap<Bytes, Counter, RandomState>,
    /// Messages by subject.
    subjects: HashMap<Bytes, u64, RandomState>,
    /// The last sequences of subjects that were asked for.
    expected: HashMap<Bytes, Seq, RandomState>,
    /// Whether the last message of a subject is a schedule.
    schedules: HashMap<Bytes, bool, RandomState>,
}

/// What came of the checks.
pub(super) enum Outcome {
    /// Store it.
    Ready(Ready),
    /// Its id was stored already, under that sequence.
    Duplicate(Seq),
}

impl Stream {
    /// Checks one message of a batch.
    ///
    /// # Errors
    /// As for a publish; an id that is in the same batch already is
    /// [`reject::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE`].
    pub(super) fn check_staged(
        &mut self,
        publish: Publish,
        staged: &mut Staged,
        turn: &mut Turn<'_>,
    ) -> Result<Outcome> {
        self.messages
            .dedup
            .expire(turn.now, self.messages.config.duplicate_window);
        let mut publish = Publish {
            subject: self.rewrites.input(publish.subject, turn),
            ..publish
        };
        let headers = publish.headers();
        let mut asked = Asked::read(&headers);
        self.check_size(publish.headers_len, publish.body.len())?;
        let increment = self.check_increment(&asked, publish.body.len() > publish.headers_len)?;
        self.check_stream(&asked)?;
        self.check_staged_ttl(&asked)?;
        let id = asked.id.map_or_else(Bytes::new, |id| headers.slice_ref(id));
        if !id.is_empty() {
            if staged.ids.contains(&id) {
                return Err(reject::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE.into());
            }
            if let Some(seq) = self.messages.dedup.get(&id) {
                return Ok(Outcome::Duplicate(seq));
            }
            staged.ids.insert(id.clone());
        }
        Self::check_source(&asked)?;
        self.require_increment(increment.as_ref())?;
        let mut value = None;
        if let Some(increment) = increment {
            let before = match staged.counters.get(&publish.subject) {
                Some(counter) => counter.clone(),
                None => self.counter_of(&publish.subject)?,
            };
            let (stored, after) = before.add(publish, &increment)?;
            publish = stored;
            self.check_size(publish.headers_len, publish.body.len())?;
            value = Some(after.value());
            staged.counters.insert(publish.subject.clone(), after);
        }
        Self::check_last_seq(&asked, self.messages.last() + staged.messages)?;
        if asked.last_seq.is_some() && staged.messages > 0 {
            // Only a batch's first message can expect anything of the stream's last sequence.
            return Err(reject::STREAM_WRONG_LAST_SEQUENCE_CONSTANT.into());
        }
        self.check_staged_subject(&asked, &publish.subject, staged)?;
        let scheduling = self.check_schedule(&asked, &publish.subject, turn.now, |subject| {
            staged.schedules.get(subject).copied()
        })?;
        publish = scheduling.add_rollup(publish, &mut asked);
        let rollup = self.check_rollup(&asked)?;
        let late = match rollup {
            Some(Rollup::Subject) if staged.subjects.contains_key(&publish.subject) => Some("batch rollup sub invalid"),
            Some(Rollup::All) if staged.messages > 0 => Some("batch rollup all invalid"),
            _ => None,
        };
        if let Some(text) = late {
            return Err(reject::STREAM_ROLLUP_FAILED.with(text).into());
        }
        if self.messages.config.allow_msg_schedules {
            staged.schedules.insert(publish.subject.clone(), scheduling.is_schedule);
        }
        self.stage(&publish, rollup, staged)?;
        let mut ready = Ready {
            id,
            rollup,
            value,
            marks: scheduling.marks(),
            ends_schedule: scheduling.ends,
            ..Ready::plain(publish)
        };
        if let Some(ttl) = asked.ttl {
            self.settle_ttl(ttl, &mut ready)?;
        }
        self.check_record(&ready.subject, ready.body.len())?;
        Ok(Outcome::Ready(ready))
    }

    /// `Nats-Expected-Last-Subject-Sequence` within a batch: not for subjects that it writes to itself.
    fn check_staged_subject(&mut self, asked: &Asked<'_>, subject: &[u8], staged: &mut Staged) -> Result<()> {
        let Some((of, expected)) = Self::expected_of_subject(asked, subject)? else {
            return Ok(());
        };
        if staged.subjects.contains_key(of) {
            return Err(reject::STREAM_WRONG_LAST_SEQUENCE_CONSTANT.into());
        }
        let last = match staged.expected.get(of) {
            Some(&last) => last,
            None => self.last_seq_of(of)?,
        };
        if expected != Some(last) {
            return Err(reject::STREAM_WRONG_LAST_SEQUENCE.with(last).into());
        }
        staged.expected.insert(Bytes::copy_from_slice(of), last);
        Ok(())
    }

    /// Counts a message in, and checks that with `discard: new` there is room for all.
    fn stage(&mut self, publish: &Publish, rollup: Option<Rollup>, staged: &mut Staged) -> Result<()> {
        let payload_len = publish.body.len() - publish.headers_len;
        staged.messages += 1;
        staged.bytes += stored_size(
            self.messages.config.storage,
            publish.subject.len(),
            publish.headers_len,
            payload_len,
        );
        let of_subject = staged.subjects.entry(publish.subject.clone()).or_default();
        *of_subject += 1;
        let of_subject = *of_subject;
        let config = &self.messages.config;
        if config.discard != Discard::New {
            return Ok(());
        }
        if config.max_msgs > 0 && self.messages.index.len() + staged.messages > config.max_msgs as u64 {
            return Err(full("maximum messages exceeded"));
        }
        if config.max_bytes > 0 && self.messages.bytes() + staged.bytes > config.max_bytes as u64 {
            return Err(full("maximum bytes exceeded"));
        }
        let per_subject = config.max_msgs_per_subject;
        if config.discard_new_per_subject && per_subject > 0 && rollup.is_none() {
            let held = self
                .messages
                .index
                .subject(&publish.subject)?
                .map_or(0, |info| info.count);
            if held + of_subject > per_subject as u64 {
                return Err(full("maximum messages per subject exceeded"));
            }
        }
        Ok(())
    }
}
