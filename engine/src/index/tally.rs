//! What filters match from a sequence on, found out some of the way in each turn. What is added and removed meanwhile is taken
//! into account, so that the answer is that of the moment in which it is asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::SubjectInfo;
use super::filters::Filters;
use crate::error::Result;
use crate::types::Seq;

/// Tallies that an index takes along at a time: each looks at every message that is added or removed. Others wait.
const UNDER_WAY: usize = 64;

/// A count of matches, or the last message of each subject that matches. It belongs to one index, which forgets it when it is
/// dropped.
#[derive(Clone, Debug)]
pub struct Tally(Arc<Mutex<Progress>>);

/// How far it has come.
#[derive(Debug)]
pub(super) struct Progress {
    pub filters: Filters,
    /// Messages below this do not count.
    pub from: Seq,
    pub sum: Sum,
    pub stage: Stage,
    /// Subjects astride of `from` whose postings were gone through.
    pub astride: usize,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    /// How many messages match.
    Number(u64),
    /// The last message of each subject.
    Lasts(BTreeSet<Seq>),
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The subjects before `place` are counted.
    Subjects { place: Vec<u8>, astride: Option<Astride> },
    /// What the log has before `next` is counted, and what it has behind `end`.
    Log { next: Seq, end: Seq },
    /// All is.
    Done,
}

/// A subject with messages on both sides of the first that counts, some of which are gone through one by one.
#[derive(Debug)]
pub(super) struct Astride {
    pub subject: Bytes,
    /// Those below the first that counts are gone through: they are fewer.
    pub below: bool,
    /// Those from here on
    pub low: Seq,
    /// and below this,
    pub high: Seq,
    /// of which those below this were seen, and are not seen again.
    pub next: Seq,
    /// So many of them are live.
    pub seen: u64,
}

impl Astride {
    /// For a subject whose first message lies below `from`, and the last does not.
    pub fn of(subject: &[u8], info: SubjectInfo, from: Seq) -> Self {
        let below = from - info.first < info.last - from;
        let (low, high) = if below { (0, from) } else { (from, Seq::MAX) };
        Self {
            subject: Bytes::copy_from_slice(subject),
            below,
            low,
            high,
            // The first message has no posting.
            next: if below { info.first + 1 } else { from },
            seen: u64::from(below),
        }
    }

    /// Sees a message, unless it was seen, or is none of those to be seen.
    pub fn see(&mut self, seq: Seq) {
        if seq >= self.low.max(self.next) && seq < self.high {
            self.seen += 1;
            self.next = seq + 1;
        }
    }

    /// A message of the subject is gone; this is what is left.
    fn removed(&mut self, seq: Seq, rest: Option<SubjectInfo>) {
        if (self.low..self.next.min(self.high)).contains(&seq) {
            self.seen -= 1;
        }
        if let Some(rest) = rest {
            // What has become the first has no posting any more.
            self.see(rest.first);
        }
    }

    /// All postings were gone through: how many of the subject's messages count.
    pub fn count(mut self, info: Option<SubjectInfo>) -> u64 {
        let Some(info) = info else { return 0 };
        // Nor has the last.
        self.see(info.last);
        match self.below {
            true => info.count.saturating_sub(self.seen),
            false => self.seen,
        }
    }
}

impl Tally {
    /// Of how many messages match, from a sequence on.
    pub fn count(filters: &[Bytes], from: Seq) -> Self {
        Self::of(filters, from, Sum::Number(0))
    }

    /// Of the last message of each subject that matches.
    pub fn lasts(filters: &[Bytes]) -> Self {
        Self::of(filters, 0, Sum::Lasts(BTreeSet::new()))
    }

    /// What it has come to, if all is counted.
    #[cfg(test)]
    pub(super) fn done(&self) -> Option<Sum> {
        let progress = self.0.lock();
        matches!(progress.stage, Stage::Done).then(|| progress.sum.clone())
    }

    fn of(filters: &[Bytes], from: Seq, sum: Sum) -> Self {
        Self(Arc::new(Mutex::new(Progress {
            filters: Filters::of(filters),
            from,
            sum,
            stage: Stage::begin(),
            astride: 0,
        })))
    }
}

impl Stage {
    fn begin() -> Self {
        Self::Subjects {
            place: Vec::new(),
            astride: None,
        }
    }
}

impl Progress {
    /// Begins anew, for the messages from a sequence on.
    pub fn restart(&mut self, from: Seq) {
        self.from = from;
        self.clear_sum();
        self.stage = Stage::begin();
        self.astride = 0;
    }

    /// Goes on by the log, from the first message that counts.
    pub fn restart_by_log(&mut self) {
        self.clear_sum();
        self.stage = Stage::Log {
            next: self.from,
            end: Seq::MAX,
        };
    }

    fn clear_sum(&mut self) {
        match &mut self.sum {
            Sum::Number(number) => *number = 0,
            Sum::Lasts(lasts) => lasts.clear(),
        }
    }

    /// Whether a message is counted, if it matches.
    fn has_counted(&self, seq: Seq, subject: &[u8]) -> bool {
        match &self.stage {
            Stage::Subjects { place, .. } => subject < &place[..],
            Stage::Log { next, end } => seq < *next || seq > *end,
            Stage::Done => true,
        }
    }

    fn is_asked_for(&self, subject: &[u8]) -> bool {
        self.filters.is_empty() || self.filters.matches(subject)
    }

    /// A message was added; `before` is what was known of its subject then.
    fn added(&mut self, seq: Seq, subject: &[u8], before: Option<SubjectInfo>) {
        if let Stage::Subjects {
            astride: Some(astride), ..
        } = &mut self.stage
            && astride.subject == subject
        {
            // The first of a subject has no posting.
            if before.is_none() {
                astride.see(seq);
            }
            return;
        }
        if !self.has_counted(seq, subject) || !self.is_asked_for(subject) {
            return;
        }
        match &mut self.sum {
            Sum::Number(number) => *number += u64::from(seq >= self.from),
            Sum::Lasts(lasts) => {
                if let Some(before) = before {
                    lasts.remove(&before.last);
                }
                lasts.insert(seq);
            }
        }
    }

    /// A message was removed; `rest` is what is left of its subject.
    fn removed(&mut self, seq: Seq, subject: &[u8], rest: Option<SubjectInfo>) {
        if let Stage::Subjects {
            astride: Some(astride), ..
        } = &mut self.stage
            && astride.subject == subject
        {
            astride.removed(seq, rest);
            return;
        }
        if !self.has_counted(seq, subject) || !self.is_asked_for(subject) {
            return;
        }
        match &mut self.sum {
            Sum::Number(number) => *number -= u64::from(seq >= self.from),
            Sum::Lasts(lasts) => {
                if lasts.remove(&seq)
                    && let Some(rest) = rest
                {
                    lasts.insert(rest.last);
                }
            }
        }
    }

    /// All messages were removed.
    fn cleared(&mut self) {
        self.clear_sum();
        self.stage = Stage::Done;
    }
}

/// The tallies that an index takes along.
#[derive(Debug, Default)]
pub(super) struct Tallies(Vec<Weak<Mutex<Progress>>>);

impl Tallies {
    /// Takes a tally along, if there is room for it: one that is new here begins anew. Answers whether it is taken along.
    pub fn take_along(&mut self, tally: &Tally, from: Seq) -> bool {
        let here = Arc::downgrade(&tally.0);
        if self.0.iter().any(|other| other.ptr_eq(&here)) {
            return true;
        }
        self.0.retain(|other| other.strong_count() > 0);
        let room = self.0.len() < UNDER_WAY;
        if room {
            tally.0.lock().restart(from);
            self.0.push(here);
        }
        room
    }

    /// What a tally has come to.
    pub fn progress<'t>(&self, tally: &'t Tally) -> parking_lot::MutexGuard<'t, Progress> {
        tally.0.lock()
    }

    /// How many messages match from a sequence on, if a count that is done says so. `next_live` is the first message from a sequence
    /// on.
    pub fn count(
        &self,
        filters: &Filters,
        from: Seq,
        next_live: impl Fn(Seq) -> Result<Option<Seq>>,
    ) -> Result<Option<u64>> {
        for tally in self.done(filters) {
            let progress = tally.0.lock();
            let Sum::Number(number) = progress.sum else { continue };
            // What counts for the one and not for the other, if anything does.
            let (low, high) = (from.min(progress.from), from.max(progress.from));
            if low == high || next_live(low)?.is_none_or(|seq| seq >= high) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The last message of each subject that matches, in the order of the messages, if a tally that is done says so.
    pub fn lasts(&self, filters: &Filters) -> Option<Vec<Seq>> {
        self.of_lasts(filters, |lasts| lasts.iter().copied().collect())
    }

    /// The last message that matches, if a tally that is done says so.
    pub fn newest(&self, filters: &Filters) -> Option<Option<Seq>> {
        self.of_lasts(filters, |lasts| lasts.last().copied())
    }

    fn of_lasts<R>(&self, filters: &Filters, answer: impl Fn(&BTreeSet<Seq>) -> R) -> Option<R> {
        self.done(filters).find_map(|tally| match &tally.0.lock().sum {
            Sum::Lasts(lasts) => Some(answer(lasts)),
            Sum::Number(_) => None,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tallies of these filters that are done.
    fn done<'t>(&'t self, filters: &'t Filters) -> impl Iterator<Item = Tally> + 't {
        let alive = self.0.iter().filter_map(Weak::upgrade).map(Tally);
        alive.filter(|tally| {
            let progress = tally.0.lock();
            matches!(progress.stage, Stage::Done) && progress.filters[..] == filters[..]
        })
    }

    fn each(&mut self, mut tell: impl FnMut(&mut Progress)) {
        self.0.retain(|tally| {
            let alive = tally.upgrade();
            if let Some(tally) = &alive {
                tell(&mut tally.lock());
            }
            alive.is_some()
        });
    }

    /// A message was added; `before` is what was known of its subject then.
    pub fn added(&mut self, seq: Seq, subject: &[u8], before: Option<SubjectInfo>) {
        self.each(|progress| progress.added(seq, subject, before));
    }

    /// A message was removed; `rest` is what is left of its subject.
    pub fn removed(&mut self, seq: Seq, subject: &[u8], rest: Option<SubjectInfo>) {
        self.each(|progress| progress.removed(seq, subject, rest));
    }

    /// All messages were removed.
    pub fn cleared(&mut self) {
        self.each(Progress::cleared);
    }
}
