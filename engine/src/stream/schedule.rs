//! Scheduled messages (ADR-51): a message with a `Nats-Schedule` is kept, and at the times that this says, another is made
//! of it under its target's subject.
//!
//! A schedule is the last message of its subject. When it is due next follows from the messages that are stored: the
//! schedule's own time at first, and later the `Nats-Schedule-Next` of what it made. So the journal needs no commands of
//! its own, and a message that was due while the server was down is made once, at the start.

mod pattern;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::error::{Kind, Result};
use crate::headers;
use crate::reject::{self, Rejection};
use crate::shard::turn::Turn;
use crate::stream::Stream;
use crate::stream::asked::Asked;
use crate::stream::limits::MAKE_ROOM;
use crate::stream::message::{Marks, is_schedule};
use crate::stream::publish::{Publish, Ready, Rollup};
use crate::stream::ttl::{self, Life};
use crate::types::{NanoTime, Seq};
use pattern::{Next, Pattern, parse_time};

/// Messages that schedules make in one turn at most.
const FIRE_MAX: usize = 1024;
/// The value of `Nats-Schedule-Next` that ends a schedule.
const PURGE: &[u8] = b"purge";

/// The schedules of a stream.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// Whether they are known. Those of a stream that was filled by other means have to be looked for in its log.
    known: bool,
    by_subject: HashMap<Bytes, (NanoTime, Seq), RandomState>,
    due: BTreeMap<(NanoTime, Seq), Bytes>,
    /// The subject of each.
    by_seq: BTreeMap<Seq, Bytes>,
}

/// What the headers of a message mean for schedules.
#[derive(Default)]
pub(super) struct Scheduling {
    /// It is one, and so replaces what its subject holds.
    pub is_schedule: bool,
    /// The subject of the one that it ends; empty for none.
    pub ends: Bytes,
}

/// A message that a schedule makes.
struct Made {
    schedule: Bytes,
    seq: Seq,
    next: Next,
    publish: Publish,
    ttl: Option<Vec<u8>>,
    rollup: bool,
}

impl Schedules {
    /// None, in a stream that holds so many messages.
    pub fn of_stream(messages: u64) -> Self {
        Self {
            known: messages == 0,
            ..Self::default()
        }
    }

    fn set(&mut self, subject: Bytes, seq: Seq, at: NanoTime) {
        self.remove(&subject);
        self.due.insert((at, seq), subject.clone());
        self.by_seq.insert(seq, subject.clone());
        self.by_subject.insert(subject, (at, seq));
    }

    fn remove(&mut self, subject: &[u8]) {
        if let Some(before) = self.by_subject.remove(subject) {
            self.due.remove(&before);
            self.by_seq.remove(&before.1);
        }
    }

    /// Messages went away: all below the first sequence, and single ones. With a schedule's message it is over.
    pub fn gone(&mut self, first: Seq, seqs: &[Seq]) {
        if self.by_seq.is_empty() {
            return;
        }
        let below = self.by_seq.range(..first).map(|(_, subject)| subject.clone());
        let single = seqs.iter().filter_map(|seq| self.by_seq.get(seq).cloned());
        for subject in below.chain(single).collect::<Vec<_>>() {
            self.remove(&subject);
        }
    }

    /// A message was stored: it may be a schedule, replace one, or be made by one.
    pub fn stored(&mut self, seq: Seq, subject: &[u8], block: &[u8], time: NanoTime) {
        if !self.known || (block.is_empty() && self.by_subject.is_empty()) {
            return;
        }
        let asked = Asked::read(block);
        match Pattern::of(&asked)
            .ok()
            .flatten()
            .and_then(|pattern| pattern.next(time, time))
        {
            Some(next) => self.set(Bytes::copy_from_slice(subject), seq, next.at),
            None if asked.scheduler.is_none() => self.remove(subject),
            None => {}
        }
        let (Some(scheduler), Some(next)) = (asked.scheduler, asked.schedule_next) else {
            return;
        };
        if next == PURGE {
            // It was the last that this schedule made, or a client has ended it.
            self.remove(scheduler);
        } else if let Some(at) = parse_time(next)
            && let Some(&(_, seq)) = self.by_subject.get(scheduler)
        {
            self.set(Bytes::copy_from_slice(scheduler), seq, at);
        }
    }
}

impl Scheduling {
    /// A schedule replaces what its subject holds, so it gets the header that says so.
    pub fn add_rollup(&self, publish: Publish, asked: &mut Asked<'_>) -> Publish {
        if !self.is_schedule || asked.rollup.is_some() {
            return publish;
        }
        asked.rollup = Some(b"sub");
        let block = headers::insert(&publish.headers(), "Nats-Rollup", "sub");
        publish.with_headers(&block)
    }

    /// What the head of the message has to say.
    pub fn marks(&self) -> Marks {
        Marks {
            schedule: self.is_schedule,
            ..Marks::default()
        }
    }
}

impl Stream {
    /// The headers of schedules, and of what ends one. `staged` says whether a message before it in the same batch made
    /// the last of a subject a schedule.
    pub(super) fn check_schedule(
        &mut self,
        asked: &Asked<'_>,
        subject: &[u8],
        now: NanoTime,
        staged: impl Fn(&[u8]) -> Option<bool>,
    ) -> Result<Scheduling> {
        let mut scheduling = Scheduling::default();
        if asked.schedule.is_some() || asked.schedule_zone.is_some() {
            let allowed = self.messages.config.allow_msg_schedules;
            let next = Pattern::of(asked).and_then(|pattern| {
                let due = |pattern: Pattern| pattern.next(now, now).ok_or(reject::MESSAGE_SCHEDULES_PATTERN_INVALID);
                pattern.map(due).transpose()
            });
            match next {
                Ok(None) => {}
                _ if !allowed => return Err(reject::MESSAGE_SCHEDULES_DISABLED.into()),
                Err(rejection) => return Err(rejection.into()),
                Ok(Some(_)) => {
                    self.check_new_schedule(asked, subject)?;
                    scheduling.is_schedule = true;
                }
            }
        }
        match (asked.schedule_next, asked.scheduler) {
            (None, None) => {}
            (Some(PURGE), Some(scheduler)) if scheduler != subject && is_publish_subject(scheduler) => {
                if !self.messages.config.allow_msg_schedules {
                    return Err(reject::MESSAGE_SCHEDULES_DISABLED.into());
                }
                let is_schedule = match staged(scheduler) {
                    Some(is_schedule) => is_schedule,
                    // What is gone already does no harm.
                    None => self.last_headers(scheduler)?.is_none_or(|block| has_pattern(&block)),
                };
                if !is_schedule {
                    return Err(reject::MESSAGE_SCHEDULES_SCHEDULER_INVALID.into());
                }
                scheduling.ends = Bytes::copy_from_slice(scheduler);
            }
            _ => return Err(reject::MESSAGE_SCHEDULES_SCHEDULER_INVALID.into()),
        }
        Ok(scheduling)
    }

    fn check_new_schedule(&self, asked: &Asked<'_>, subject: &[u8]) -> Result<(), Rejection> {
        let config = &self.messages.config;
        if asked.schedule_ttl.is_some_and(|ttl| ttl::parse(ttl).is_err()) {
            return Err(reject::MESSAGE_SCHEDULES_TTL_INVALID);
        }
        if asked.schedule_rollup.is_some_and(|rollup| rollup != b"sub") {
            return Err(reject::MESSAGE_SCHEDULES_ROLLUP_INVALID);
        }
        if asked.schedule_ttl.is_some() && !config.allow_msg_ttl {
            return Err(reject::MESSAGE_TTL_DISABLED);
        }
        let captured = |subject: &[u8]| {
            let mut filters = config.subjects.iter();
            filters.any(|filter| weir_subject::overlaps(filter.as_bytes(), subject))
        };
        let target = asked
            .schedule_target
            .filter(|target| is_publish_subject(target) && *target != subject)
            .ok_or(reject::MESSAGE_SCHEDULES_TARGET_INVALID)?;
        let source = asked.schedule_source;
        if source.is_some_and(|source| source == target || source == subject || !is_publish_subject(source)) {
            return Err(reject::MESSAGE_SCHEDULES_SOURCE_INVALID);
        }
        if !captured(target) {
            return Err(reject::MESSAGE_SCHEDULES_TARGET_INVALID);
        }
        if source.is_some_and(|source| !captured(source)) {
            return Err(reject::MESSAGE_SCHEDULES_SOURCE_INVALID);
        }
        match asked.rollup {
            None | Some(b"sub") => Ok(()),
            Some(_) => Err(reject::MESSAGE_SCHEDULES_ROLLUP_INVALID),
        }
    }

    /// The header block of the last message of a subject.
    fn last_headers(&mut self, subject: &[u8]) -> Result<Option<Bytes>> {
        let Some(info) = self.messages.index.subject(subject)? else {
            return Ok(None);
        };
        match self.messages.load(info.last) {
            Ok(message) => Ok(message.map(|message| message.headers)),
            Err(error) if error.kind == Kind::Damaged => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A message was stored, with this header block: it may be a schedule, replace one, or be made by one.
    pub(crate) fn note_schedule(&mut self, seq: Seq, subject: &[u8], block: &[u8], time: NanoTime) {
        if self.messages.config.allow_msg_schedules {
            self.schedules.stored(seq, subject, block, time);
        }
    }

    /// A message was stored that ends the schedule of a subject; of an empty one, none.
    pub(super) fn end_schedule(&mut self, subject: &[u8], turn: &mut Turn<'_>) -> Result<()> {
        let config = &self.messages.config;
        if subject.is_empty() || !config.allow_rollup_hdrs || config.deny_purge {
            return Ok(());
        }
        self.schedules.remove(subject);
        if self.keep_newest_of(subject, 0, &mut { MAKE_ROOM })? {
            return Ok(());
        }
        let end = self.messages.last() + 1;
        self.purge_below(subject, end, 0, turn)
    }

    /// When the first schedule is due.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(super) fn next_schedule(&mut self, now: NanoTime) -> Result<Option<NanoTime>> {
        if !self.messages.config.allow_msg_schedules {
            return Ok(None);
        }
        self.find_schedules(now)?;
        Ok(self.schedules.due.first_key_value().map(|((at, _), _)| *at))
    }

    /// Looks for the schedules of a stream whose schedules were not noted.
    fn find_schedules(&mut self, now: NanoTime) -> Result<()> {
        if self.schedules.known {
            return Ok(());
        }
        self.schedules.known = true;
        let mut found = Vec::new();
        self.messages.each_head(&mut |seq, head| {
            if is_schedule(head) {
                found.push(seq);
            }
            ControlFlow::Continue(())
        })?;
        for seq in found {
            let message = match self.messages.load(seq) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(error) if error.kind == Kind::Damaged => continue,
                Err(error) => return Err(error),
            };
            let pattern = Pattern::of(&Asked::read(&message.headers)).ok().flatten();
            if let Some(next) = pattern.and_then(|pattern| pattern.next(message.time, now)) {
                self.schedules.set(message.subject, seq, next.at);
            }
        }
        Ok(())
    }

    /// What a checkpoint keeps of the schedules: the sequence of each, and when it is due.
    pub(crate) fn schedule_snapshot(&self) -> Option<Vec<(Seq, NanoTime)>> {
        let schedules = self.schedules.due.keys().map(|(at, seq)| (*seq, *at));
        (self.messages.config.allow_msg_schedules && self.schedules.known).then(|| schedules.collect())
    }

    /// Takes up what [`Stream::schedule_snapshot`] kept.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn resume_schedules(&mut self, kept: &[(Seq, NanoTime)]) -> Result<()> {
        self.schedules.known = true;
        for &(seq, at) in kept {
            if let Some(subject) = self.messages.subject_at(seq)? {
                self.schedules.set(subject, seq, at);
            }
        }
        Ok(())
    }

    /// Makes the messages that are due. Where many are, a part of them; the rest is due still.
    pub(super) fn fire_schedules(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        if !self.messages.config.allow_msg_schedules {
            return Ok(());
        }
        self.find_schedules(turn.now)?;
        let due = self.schedules.due.range(..=(turn.now, Seq::MAX)).take(FIRE_MAX);
        let mut due: Vec<(Seq, NanoTime, Bytes)> =
            due.map(|((at, seq), subject)| (*seq, *at, subject.clone())).collect();
        due.sort_unstable();
        // All are made of what was there before any of them is stored.
        let mut made = Vec::with_capacity(due.len());
        for (seq, at, subject) in due {
            match self.make(seq, at, &subject, turn.now)? {
                Some(message) => made.push(message),
                None => self.schedules.remove(&subject),
            }
        }
        for message in made {
            self.store_made(message, turn)?;
        }
        self.tell_removed();
        Ok(())
    }

    /// What a schedule that was due at `at` makes; nothing if it is none any more.
    fn make(&mut self, seq: Seq, at: NanoTime, subject: &Bytes, now: NanoTime) -> Result<Option<Made>> {
        let schedule = match self.messages.load(seq) {
            Ok(Some(schedule)) => schedule,
            Ok(None) => return Ok(None),
            Err(error) if error.kind == Kind::Damaged => return Ok(None),
            Err(error) => return Err(error),
        };
        let asked = Asked::read(&schedule.headers);
        let pattern = Pattern::of(&asked).ok().flatten();
        let Some(next) = pattern.and_then(|pattern| pattern.next(at, now)) else {
            return Ok(None);
        };
        let Some(target) = asked.schedule_target else {
            return Ok(None);
        };
        let (mut block, mut payload) = (schedule.headers.clone(), schedule.payload.clone());
        if let Some(source) = asked.schedule_source
            && let Some(info) = self.messages.index.subject(source)?
        {
            match self.messages.load(info.last) {
                Ok(Some(source)) => (block, payload) = (source.headers, source.payload),
                Ok(None) => {}
                Err(error) if error.kind == Kind::Damaged => {}
                Err(error) => return Err(error),
            }
        }
        let mut block = plain_headers(&block);
        let next_text = next.text.as_deref().unwrap_or("purge");
        let subject_text = String::from_utf8_lossy(subject);
        let ttl = asked.schedule_ttl.map(String::from_utf8_lossy);
        let rollup = asked.schedule_rollup.map(String::from_utf8_lossy);
        for (name, value) in [
            ("Nats-Scheduler", Some(&*subject_text)),
            ("Nats-Schedule-Next", Some(next_text)),
            ("Nats-TTL", ttl.as_deref()),
            ("Nats-Rollup", rollup.as_deref()),
        ] {
            if let Some(value) = value {
                block = headers::insert(&block, name, value);
            }
        }
        Ok(Some(Made {
            schedule: subject.clone(),
            seq,
            publish: Publish {
                subject: Bytes::copy_from_slice(target),
                headers_len: block.len(),
                body: [&block[..], &payload].concat().into(),
            },
            ttl: asked.schedule_ttl.map(<[u8]>::to_vec),
            rollup: rollup.is_some(),
            next,
        }))
    }

    fn store_made(&mut self, made: Made, turn: &mut Turn<'_>) -> Result<()> {
        let repeats = made.next.text.is_some();
        let publish = Publish {
            subject: self.rewrites.input(made.publish.subject, turn),
            ..made.publish
        };
        let mut ready = Ready {
            rollup: made.rollup.then_some(Rollup::Subject),
            marks: Marks {
                life: Life::Limits,
                schedule: false,
            },
            ends_schedule: if repeats { Bytes::new() } else { made.schedule.clone() },
            ..Ready::plain(publish)
        };
        let settled = match &made.ttl {
            Some(ttl) => self.settle_ttl(ttl, &mut ready),
            None => Ok(()),
        };
        let checked = settled
            .and_then(|()| self.check_size(ready.headers_len, ready.body.len()))
            .and_then(|()| self.check_record(&ready.subject, ready.body.len()));
        // Stored or not, it had its turn.
        match repeats {
            true => self.schedules.set(made.schedule, made.seq, made.next.at),
            false => self.schedules.remove(&made.schedule),
        }
        match checked {
            Ok(()) => self.store(ready, turn).map(|_| ()),
            Err(error) => {
                tracing::warn!(stream = %self.messages.name, seq = made.seq, %error, "a scheduled message cannot be stored");
                Ok(())
            }
        }
    }
}

/// Whether a message with these headers is a schedule.
fn has_pattern(block: &[u8]) -> bool {
    headers::get(block, "Nats-Schedule").is_some_and(|pattern| !pattern.is_empty())
}

/// A block without the headers that are about its own message's publishing.
fn plain_headers(block: &[u8]) -> Vec<u8> {
    let own = ["Nats-Msg-Id", "Nats-TTL", "Nats-Rollup"];
    let keep = |header: &[u8]| {
        !header.starts_with(b"Nats-Schedule")
            && !header.starts_with(b"Nats-Expected-")
            && !own.iter().any(|name| headers::is_named(header, name))
    };
    headers::retain(block, keep).into_owned()
}

fn is_publish_subject(subject: &[u8]) -> bool {
    weir_subject::is_valid_subject(subject) && weir_subject::is_literal(subject)
}
