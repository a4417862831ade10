//! Letting go of messages: by the limits of the stream, by age, and because no consumer needs them any more.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::consumer::{Consumer, Held};
use crate::error::Result;
use crate::index::SubjectPlace;
use crate::shard::fetching::Cold;
use crate::shard::turn::Turn;
use crate::stream::messages::times::Aging;
use crate::stream::removal::Removal;
use crate::stream::{Discard, Retention, Stream};
use crate::types::{NanoTime, Seq};

/// Messages that expire in one turn at most, so that a million of them do not hold up publishers; fewer where each costs more.
const EXPIRE_MAX: usize = 1024;
/// Messages that limits remove at once when one is stored: more than come in, so that the stream never grows over them.
pub(super) const MAKE_ROOM: usize = 64;
/// Messages that one acknowledgement releases at once; fewer where each costs more.
const RELEASE: usize = 256;
/// Subjects that may be looked at in the place of one message that is removed.
const SURVEYED: usize = 4;
/// Comparisons of filters that looking for a consumer that wants as much may take.
const COMPARED: usize = 4096;

impl Stream {
    /// Makes room after a message of that subject was stored; where that takes long, the turns to come go on with it.
    pub(crate) fn enforce_limits(&mut self, subject: &[u8], turn: &mut Turn<'_>) -> Result<()> {
        let config = &self.messages.config;
        let per_subject = config.max_msgs_per_subject;
        let mut left = MAKE_ROOM;
        let mut crowded = Vec::new();
        if per_subject > 0 && !self.keep_newest_of(subject, per_subject as u64, &mut left)? {
            crowded.push(subject.into());
        }
        if !self.trim(&mut left)? || !crowded.is_empty() {
            self.begin_removal(Removal::Limits { crowded, survey: None }, turn)?;
        }
        Ok(())
    }

    /// Making room failed after a message of that subject was stored: the turns to come try it again.
    pub(super) fn limits_left(&mut self, subject: &[u8]) {
        self.add_removal(Removal::Limits {
            crowded: vec![subject.into()],
            survey: None,
        });
    }

    /// Applies limits that were changed to what is stored.
    ///
    /// Without a turn, as when a stream is opened, nothing expires that leaves delete markers: the next tick sees to it.
    pub(crate) fn enforce_all_limits(&mut self, now: NanoTime, mut turn: Option<&mut Turn<'_>>) -> Result<()> {
        let mut crowded = Vec::new();
        let mut survey = Some(SubjectPlace::default());
        match turn.as_deref_mut() {
            Some(turn) => self.begin_removal(Removal::Limits { crowded, survey }, turn)?,
            None => {
                let mut left = MAKE_ROOM;
                if !self.trim_some(&mut crowded, &mut survey, &mut left)? {
                    self.add_removal(Removal::Limits { crowded, survey });
                }
            }
        }
        self.expire(now, turn)?;
        self.tell_removed();
        Ok(())
    }

    /// A slice of what limits take away; answers whether they hold.
    pub(super) fn trim_slice(
        &mut self,
        crowded: &mut Vec<Box<[u8]>>,
        survey: &mut Option<SubjectPlace>,
        price: usize,
        turn: &mut Turn<'_>,
    ) -> Result<bool> {
        let allowed = turn.removals().div_ceil(price);
        let mut left = allowed;
        let done = self.trim_some(crowded, survey, &mut left)?;
        turn.removed((allowed - left).saturating_mul(price));
        Ok(done)
    }

    /// Removes what is above the limits, `left` messages at most; answers whether that sufficed.
    fn trim_some(
        &mut self,
        crowded: &mut Vec<Box<[u8]>>,
        survey: &mut Option<SubjectPlace>,
        left: &mut usize,
    ) -> Result<bool> {
        loop {
            if !self.trim_crowded(crowded, left)? {
                return Ok(false);
            }
            match survey.as_ref() {
                None => return self.trim(left),
                Some(_) if *left == 0 => return Ok(false),
                Some(from) => *survey = self.survey(from, left, crowded)?,
            }
        }
    }

    /// Looks at the subjects from a place on for those that have too many messages, some at a time. Answers where to go on; `None`
    /// if those were all.
    fn survey(
        &mut self,
        from: &SubjectPlace,
        left: &mut usize,
        crowded: &mut Vec<Box<[u8]>>,
    ) -> Result<Option<SubjectPlace>> {
        let per_subject = self.messages.config.max_msgs_per_subject;
        if per_subject <= 0 {
            return Ok(None);
        }
        let mut looks = left.saturating_mul(SURVEYED);
        let index = &mut self.messages.index;
        let next = index.some_of_each(&[], from, &mut looks, &mut |subject, info| {
            if info.count > per_subject as u64 {
                crowded.push(subject.into());
            }
            std::ops::ControlFlow::Continue(())
        })?;
        *left = looks / SURVEYED;
        Ok(next)
    }

    /// Removes the oldest messages of each of these subjects that has too many, `left` at most; answers whether that
    /// sufficed.
    fn trim_crowded(&mut self, crowded: &mut Vec<Box<[u8]>>, left: &mut usize) -> Result<bool> {
        let per_subject = self.messages.config.max_msgs_per_subject;
        while let Some(subject) = crowded.pop() {
            if per_subject > 0 && !self.keep_newest_of(&subject, per_subject as u64, left)? {
                crowded.push(subject);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the oldest messages until the limits of all hold, `left` at most; not where the new ones have to stay out
    /// instead. Answers whether that sufficed.
    fn trim(&mut self, left: &mut usize) -> Result<bool> {
        let config = &self.messages.config;
        let (max_msgs, max_bytes) = (config.max_msgs, config.max_bytes);
        if config.discard == Discard::New {
            return Ok(true);
        }
        while let Some(first) = self.messages.index.first() {
            let too_many = max_msgs > 0 && self.messages.index.len() > max_msgs as u64;
            let too_much = max_bytes > 0 && self.messages.bytes() > max_bytes as u64;
            if !too_many && !too_much {
                break;
            }
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            if !self.messages.remove(first)? {
                break;
            }
        }
        Ok(true)
    }

    /// Removes the oldest messages of a subject until so many are there, `left` at most; answers whether that sufficed.
    pub(super) fn keep_newest_of(&mut self, subject: &[u8], keep: u64, left: &mut usize) -> Result<bool> {
        while let Some(info) = self.messages.index.subject(subject)?.filter(|info| info.count > keep) {
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            if !self.messages.remove_of(info.first, Some(subject))? {
                break;
            }
        }
        Ok(true)
    }

    /// Removes everything below a sequence.
    pub(super) fn remove_below(&mut self, seq: Seq) -> Result<()> {
        while let Some(first) = self.messages.index.first().filter(|first| *first < seq) {
            if !self.messages.remove(first)? {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is too old or at the end of its TTL, and forgets message ids that left the window. Where much is due
    /// at once, a part of it; [`Stream::expiry`] then asks for the next turn.
    pub(super) fn expire(&mut self, now: NanoTime, mut turn: Option<&mut Turn<'_>>) -> Result<()> {
        let window = self.messages.config.duplicate_window;
        self.messages.dedup.expire(now, window);
        if self.leaves_markers() && turn.is_none() {
            return Ok(());
        }
        let mut left = EXPIRE_MAX / self.messages.index.removal_price();
        let max_age = self.messages.config.max_age;
        // Where there is no turn, the stream is being opened, and nobody waits for others.
        while max_age > 0
            && left > 0
            && let Some((seq, time)) = self.oldest(turn.is_none())?
            && time <= now.saturating_sub(max_age)
        {
            // Of damaged messages only the place is known, and so that they are no younger.
            for damaged in self.messages.damaged_below(seq) {
                self.messages.remove(damaged)?;
            }
            if !self.end_message(seq, turn.as_deref_mut())? {
                break;
            }
            left -= 1;
        }
        if self.messages.config.allow_msg_ttl && left > 0 {
            let mut due = self.messages.index.endings(now, left)?;
            due.sort_unstable_by_key(|(_, seq)| *seq);
            for (at, seq) in due {
                if !self.end_message(seq, turn.as_deref_mut())? {
                    // It is damaged, or gone: there is nothing to wait for.
                    self.messages.index.remove_ending(at, seq);
                }
            }
        }
        self.tell_removed();
        Ok(())
    }

    /// The first message that can grow too old, and its time. Where it lies on a disk only and `waits` is not said, none until it was
    /// read.
    fn oldest(&mut self, waits: bool) -> Result<Option<(Seq, NanoTime)>> {
        if self.awaits_age && !waits {
            return Ok(None);
        }
        match self.messages.first_aging(waits)? {
            Aging::Nothing => Ok(None),
            Aging::Since(seq, time) => Ok(Some((seq, time))),
            Aging::Unread(seq) => {
                self.awaits_age = true;
                self.cold.push(Cold {
                    stream: self.messages.id,
                    consumer: None,
                    seq,
                    unread: self.messages.unread_in_order(seq),
                });
                Ok(None)
            }
        }
    }

    /// A message whose age it has to know is in memory, or could not be read.
    pub(crate) fn age_fetched(&mut self, seq: Seq) {
        self.awaits_age = false;
        self.messages.age_fetched(seq);
    }

    /// Removes a message that is over, leaving a delete marker where one belongs. Answers whether there was one.
    fn end_message(&mut self, seq: Seq, turn: Option<&mut Turn<'_>>) -> Result<bool> {
        if let Some(turn) = turn
            && self.leaves_markers()
            && let Some(subject) = self.deserves_marker(seq)?
        {
            self.leave_marker(subject, turn)?;
            if !self.messages.index.is_live(seq)? {
                return Ok(true);
            }
        }
        self.messages.remove(seq)
    }

    /// When [`Stream::expire`] next has something to do.
    pub(super) fn expiry(&mut self) -> Result<Option<NanoTime>> {
        let max_age = self.messages.config.max_age;
        let oldest = match max_age > 0 {
            true => self.oldest(false)?.map(|(_, time)| time.saturating_add(max_age)),
            false => None,
        };
        let ending = match self.messages.config.allow_msg_ttl {
            true => self.messages.index.first_ending()?.map(|(at, _)| at),
            false => None,
        };
        let window = self.messages.config.duplicate_window;
        Ok([oldest, ending, self.messages.dedup.next_deadline(window)]
            .into_iter()
            .flatten()
            .min())
    }

    /// Messages were acknowledged: a work queue lets go of them, interest retention does when no other consumer needs them.
    pub(super) fn release(&mut self, seqs: &[Seq], turn: &mut Turn<'_>) -> Result<()> {
        if self.messages.config.retention == Retention::Limits || seqs.is_empty() {
            return Ok(());
        }
        let (now, later) = seqs.split_at(seqs.len().min(RELEASE / self.messages.index.removal_price()));
        let of = |seqs: &[Seq]| Removal::Unneeded {
            singles: seqs.iter().copied().collect(),
            filters: Vec::new(),
            // Nothing but these.
            next: 0,
            end: 0,
            wanted_only: false,
        };
        for (at, &seq) in now.iter().enumerate() {
            if let Err(error) = self.release_one(seq) {
                // Nobody will acknowledge it once more: the turns to come try it again.
                self.add_removal(of(&seqs[at..]));
                self.tell_removed();
                return Err(error);
            }
        }
        self.tell_removed();
        match later.is_empty() {
            true => Ok(()),
            false => self.begin_removal(of(later), turn),
        }
    }

    /// Lets go of a message that was acknowledged, if nobody else needs it.
    fn release_one(&mut self, seq: Seq) -> Result<()> {
        if self.messages.config.retention == Retention::WorkQueue || !self.is_needed(seq)? {
            self.messages.remove(seq)?;
        }
        Ok(())
    }

    /// A message was acknowledged that its consumer wants, but had done with, as after a reset: it goes if no consumer needs it.
    pub(super) fn release_unneeded(&mut self, seq: Seq, serial: u64) -> Result<()> {
        let released = self.messages.config.retention != Retention::Limits
            && !self.is_needed(seq)?
            && self.interested.contains(&serial);
        if released {
            self.messages.remove(seq)?;
            self.tell_removed();
        }
        Ok(())
    }

    /// A consumer with these filters lets go of messages: interest retention removes what no other consumer needs.
    pub(super) fn release_held(&mut self, filters: &[Bytes], held: Held, turn: &mut Turn<'_>) -> Result<()> {
        if self.messages.config.retention != Retention::Interest {
            return Ok(());
        }
        let end = held
            .end
            .min(self.messages.last() + 1)
            .min(self.all_needed_from(filters));
        let removal = Removal::Unneeded {
            singles: held.singles,
            filters: filters.iter().map(|filter| filter[..].into()).collect(),
            next: held.next,
            end,
            wanted_only: false,
        };
        self.begin_removal(removal, turn)
    }

    /// From which sequence on some consumer needs every message that these filters match; all subjects if there are none.
    fn all_needed_from(&self, filters: &[Bytes]) -> Seq {
        let covers = |own: &[Bytes]| {
            let covered = |filter: &Bytes| own.iter().any(|own| weir_subject::is_subset(filter, own));
            own.is_empty()
                || (!filters.is_empty() && filters.len() * own.len() <= COMPARED && filters.iter().all(covered))
        };
        let others = self.consumers.values().filter(|consumer| covers(consumer.filters()));
        others.map(Consumer::next).min().unwrap_or(Seq::MAX)
    }

    /// The stream keeps messages for their consumers' sake from now on: those go that all who wanted them have
    /// acknowledged. What no consumer wants stays, as in nats-server.
    pub(crate) fn release_settled(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        if self.consumers.is_empty() && self.copiers.is_empty() {
            // No consumer and no copier is interested in anything.
            self.messages.clear(0)?;
            return Ok(());
        }
        let removal = Removal::Unneeded {
            singles: VecDeque::new(),
            filters: Vec::new(),
            next: 0,
            end: self.messages.last() + 1,
            wanted_only: true,
        };
        self.begin_removal(removal, turn)
    }

    /// Whether any consumer still needs a message; `interested` has all that want its subject then.
    pub(super) fn is_needed(&mut self, seq: Seq) -> Result<bool> {
        self.interested.clear();
        let Some(subject) = self.messages.subject_at(seq)? else {
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
        if first == 1 && self.messages.last() == 0 {
            // A purge of a stream that never had a message, which has a first sequence from then on.
            self.messages.set_cleared();
            return Ok(());
        }
        if first > self.messages.last() {
            self.messages.clear(first)?;
            return Ok(());
        }
        self.remove_below(first)?;
        for &seq in seqs {
            self.messages.remove(seq)?;
        }
        Ok(())
    }
}
