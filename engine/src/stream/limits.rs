//! Letting go of messages: by the limits of the stream, by age, and because nobody needs them any more.

use crate::consumer::Consumer;
use crate::error::Result;
use crate::shard::turn::Turn;
use crate::stream::{Discard, Retention, Stream};
use crate::types::{NanoTime, Seq};

/// Messages that expire in one turn at most, so that a million of them do not hold up publishers.
const EXPIRE_MAX: usize = 8192;

impl Stream {
    /// Makes room after a message of that subject was stored.
    pub(crate) fn enforce_limits(&mut self, subject: &[u8]) -> Result<()> {
        let config = &self.core.config;
        let (per_subject, max_msgs, max_bytes) = (config.max_msgs_per_subject, config.max_msgs, config.max_bytes);
        if per_subject > 0 {
            self.keep_newest_of(subject, per_subject as u64)?;
        }
        self.trim_to(max_msgs, max_bytes)
    }

    /// Applies limits that were changed to what is stored.
    ///
    /// Without a turn, as when a stream is opened, nothing expires that leaves delete markers: the next tick sees to it.
    pub(crate) fn enforce_all_limits(&mut self, now: NanoTime, turn: Option<&mut Turn<'_>>) -> Result<()> {
        let config = &self.core.config;
        let (per_subject, max_msgs, max_bytes) = (config.max_msgs_per_subject, config.max_msgs, config.max_bytes);
        if per_subject > 0 {
            let mut crowded = Vec::new();
            self.core.index.last_of_each(&[], &mut |subject, info| {
                if info.count > per_subject as u64 {
                    crowded.push(subject.to_vec());
                }
                std::ops::ControlFlow::Continue(())
            })?;
            for subject in crowded {
                self.keep_newest_of(&subject, per_subject as u64)?;
            }
        }
        self.trim_to(max_msgs, max_bytes)?;
        self.expire(now, turn)?;
        self.tell_removed();
        Ok(())
    }

    /// Removes the oldest messages until both limits hold; not where the new ones have to stay out instead.
    fn trim_to(&mut self, max_msgs: i64, max_bytes: i64) -> Result<()> {
        if self.core.config.discard == Discard::New {
            return Ok(());
        }
        while let Some(first) = self.core.index.first() {
            let too_many = max_msgs > 0 && self.core.index.len() > max_msgs as u64;
            let too_much = max_bytes > 0 && self.core.bytes() > max_bytes as u64;
            if !too_many && !too_much {
                break;
            }
            if !self.core.remove(first)? {
                break;
            }
        }
        Ok(())
    }

    /// Removes the oldest messages of a subject until so many are left.
    pub(super) fn keep_newest_of(&mut self, subject: &[u8], keep: u64) -> Result<()> {
        while let Some(info) = self.core.index.subject(subject)? {
            if info.count <= keep || !self.core.remove(info.first)? {
                break;
            }
        }
        Ok(())
    }

    /// Removes everything below a sequence.
    pub(super) fn remove_below(&mut self, seq: Seq) -> Result<()> {
        while let Some(first) = self.core.index.first().filter(|first| *first < seq) {
            if !self.core.remove(first)? {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is too old or at the end of its TTL, and forgets message ids that left the window. Where much is due
    /// at once, a part of it; [`Stream::expiry`] then asks for the next turn.
    pub(super) fn expire(&mut self, now: NanoTime, mut turn: Option<&mut Turn<'_>>) -> Result<()> {
        let window = self.core.config.duplicate_window;
        self.core.dedup.expire(now, window);
        if self.leaves_markers() && turn.is_none() {
            return Ok(());
        }
        let mut left = EXPIRE_MAX;
        let max_age = self.core.config.max_age;
        while max_age > 0
            && left > 0
            && let Some((seq, time)) = self.core.first_aging()?
            && time <= now.saturating_sub(max_age)
        {
            // Of damaged messages only the place is known, and so that they are no younger.
            for damaged in self.core.damaged_below(seq) {
                self.core.remove(damaged)?;
            }
            if !self.end_message(seq, turn.as_deref_mut())? {
                break;
            }
            left -= 1;
        }
        if self.core.config.allow_msg_ttl && left > 0 {
            let mut due = self.core.index.endings(now, left)?;
            due.sort_unstable_by_key(|(_, seq)| *seq);
            for (at, seq) in due {
                if !self.end_message(seq, turn.as_deref_mut())? {
                    // It is damaged, or gone: there is nothing to wait for.
                    self.core.index.remove_ending(at, seq);
                }
            }
        }
        self.tell_removed();
        Ok(())
    }

    /// Removes a message that is over, leaving a delete marker where one belongs. Answers whether there was one.
    fn end_message(&mut self, seq: Seq, turn: Option<&mut Turn<'_>>) -> Result<bool> {
        if let Some(turn) = turn
            && self.leaves_markers()
            && let Some(subject) = self.deserves_marker(seq)?
        {
            self.leave_marker(subject, turn)?;
            if !self.core.index.is_live(seq)? {
                return Ok(true);
            }
        }
        self.core.remove(seq)
    }

    /// When [`Stream::expire`] next has something to do.
    pub(super) fn expiry(&mut self) -> Result<Option<NanoTime>> {
        let max_age = self.core.config.max_age;
        let oldest = match max_age > 0 {
            true => self.core.first_aging()?.map(|(_, time)| time.saturating_add(max_age)),
            false => None,
        };
        let ending = match self.core.config.allow_msg_ttl {
            true => self.core.index.first_ending()?.map(|(at, _)| at),
            false => None,
        };
        let window = self.core.config.duplicate_window;
        Ok([oldest, ending, self.core.dedup.next_deadline(window)]
            .into_iter()
            .flatten()
            .min())
    }

    /// Messages were acknowledged: a work queue lets go of them, interest retention does when nobody else needs them.
    pub(super) fn release(&mut self, seqs: &[Seq]) -> Result<()> {
        if self.core.config.retention == Retention::Limits {
            return Ok(());
        }
        for &seq in seqs {
            if self.core.config.retention == Retention::WorkQueue || !self.is_needed(seq)? {
                self.core.remove(seq)?;
            }
        }
        self.tell_removed();
        Ok(())
    }

    /// A message was acknowledged that its consumer wants, but had done with, as after a reset: it goes if nobody needs it.
    pub(super) fn release_unneeded(&mut self, seq: Seq, serial: u64) -> Result<()> {
        let released = self.core.config.retention != Retention::Limits
            && !self.is_needed(seq)?
            && self.interested.contains(&serial);
        if released {
            self.core.remove(seq)?;
            self.tell_removed();
        }
        Ok(())
    }

    /// A consumer is gone: interest retention lets go of what only it needed.
    pub(super) fn release_all(&mut self, consumer: &Consumer) -> Result<()> {
        self.release_from(consumer.settled_below(), Seq::MAX)
    }

    /// Interest retention lets go of what nobody needs any more, from a sequence on and below another.
    pub(super) fn release_from(&mut self, first: Seq, end: Seq) -> Result<()> {
        if self.core.config.retention != Retention::Interest {
            return Ok(());
        }
        let mut next = self.core.index.next_live(first)?;
        while let Some(seq) = next.filter(|seq| *seq < end) {
            if !self.is_needed(seq)? {
                self.core.remove(seq)?;
            }
            next = self.core.index.next_live(seq + 1)?;
        }
        self.tell_removed();
        Ok(())
    }

    /// The stream keeps messages for their consumers' sake from now on: those go that all who wanted them have
    /// acknowledged. What nobody wants stays, as in nats-server.
    pub(crate) fn release_settled(&mut self) -> Result<()> {
        if self.consumers.is_empty() && self.readers.is_empty() {
            // Nobody is interested in anything.
            self.core.clear(0)?;
            return Ok(());
        }
        let mut next = self.core.index.next_live(0)?;
        while let Some(seq) = next {
            if !self.is_needed(seq)? && !self.interested.is_empty() {
                self.core.remove(seq)?;
            }
            next = self.core.index.next_live(seq + 1)?;
        }
        self.tell_removed();
        Ok(())
    }

    /// Whether any consumer still needs a message; `interested` has all that want its subject then.
    fn is_needed(&mut self, seq: Seq) -> Result<bool> {
        self.interested.clear();
        let Some(subject) = self.core.subject_at(seq)? else {
            return Ok(false);
        };
        if self.is_awaited(seq, &subject) {
            return Ok(true);
        }
        self.find_interested(&subject);
        Ok(self
            .interested
            .iter()
            .filter_map(|serial| self.consumers.get(serial))
            .any(|consumer| consumer.needs(seq)))
    }

    /// Applies removals from the journal.
    pub(super) fn replay_remove(&mut self, first: Seq, seqs: &[Seq]) -> Result<()> {
        if first > self.core.last() {
            self.core.clear(first)?;
            return Ok(());
        }
        self.remove_below(first)?;
        for &seq in seqs {
            self.core.remove(seq)?;
        }
        Ok(())
    }
}
