//! What a paged index reads of postings and heads, with the turn's changes on top.

use std::ops::{ControlFlow, RangeInclusive};

use super::keys::{self, with_seq};
use super::{Paged, SubjectInfo, overlay};
use crate::backend::{Direction, Want};
use crate::error::Result;
use crate::index::filters::Filters;
use crate::types::Seq;

impl Paged {
    /// Calls with the inner postings of a subject from `from` on.
    pub(super) fn postings(
        &self,
        subject: &[u8],
        from: Seq,
        visit: &mut dyn FnMut(Seq) -> ControlFlow<()>,
    ) -> Result<()> {
        let prefix = self.keys.postings(subject);
        let start = with_seq(prefix.clone(), from);
        overlay::scan(
            &*self.kv,
            &self.overlay,
            &prefix,
            Some(&start),
            &mut |key, _| match keys::seq_of(key) {
                Some(seq) => visit(seq),
                None => ControlFlow::Continue(()),
            },
        )
    }

    /// The first inner posting of a subject from `from` on.
    pub(super) fn posting_from(&self, subject: &[u8], from: Seq) -> Result<Option<Seq>> {
        let mut found = None;
        self.postings(subject, from, &mut |seq| {
            found = Some(seq);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The last inner posting of a subject up to `from`. The key-value space only goes upwards, so this steps back
    /// in strides that double until there is one, and halves the rest: some tens of seeks at worst.
    pub(super) fn posting_up_to(&self, subject: &[u8], info: SubjectInfo, from: Seq) -> Result<Option<Seq>> {
        if info.count <= 2 {
            return Ok(None);
        }
        let lowest = info.first + 1;
        // No posting lies in `high..=from`; `best` is one, the last below `low`.
        let (mut high, mut stride) = (from.saturating_add(1), 1);
        let (mut best, mut low) = loop {
            if high <= lowest {
                return Ok(None);
            }
            let probe = high.saturating_sub(stride).max(lowest);
            match self.posting_from(subject, probe)? {
                Some(seq) if seq <= from => break (seq, seq + 1),
                _ => (high, stride) = (probe, stride.saturating_mul(2)),
            }
        };
        while low < high {
            let middle = low + (high - low) / 2;
            match self.posting_from(subject, middle)? {
                Some(seq) if seq < high => (best, low) = (seq, seq + 1),
                _ => high = middle,
            }
        }
        Ok(Some(best))
    }

    /// Calls with the live messages from `at` up to `to`, those too that the log cannot read, and answers whether it was told to stop; then `at` is the
    /// sequence it stopped at.
    pub(super) fn read_up(
        &self,
        at: &mut Seq,
        to: Seq,
        visit: &mut dyn FnMut(Seq, &[u8]) -> ControlFlow<()>,
    ) -> Result<bool> {
        if self.totals.first == 0 {
            return Ok(false);
        }
        let from = (*at).max(self.totals.first);
        let to = to.min(self.totals.last);
        let mut stopped = false;
        let logged = self.logged(to);
        if from <= logged {
            let (mut next, mut outcome) = (from, Ok(false));
            self.reader
                .scan(from..=logged, Want::Heads, Direction::Forward, &mut |entry| {
                    if entry.seq > next {
                        outcome = self.show_unreadable(next..=entry.seq - 1, Direction::Forward, at, visit);
                        if !matches!(outcome, Ok(false)) {
                            return ControlFlow::Break(());
                        }
                    }
                    next = entry.seq + 1;
                    if self.removed.contains(&entry.seq) {
                        return ControlFlow::Continue(());
                    }
                    *at = entry.seq;
                    let done = visit(entry.seq, (self.records.subject_of)(entry.head));
                    outcome = Ok(done.is_break());
                    done
                })?;
            stopped = outcome?;
            if !stopped && next <= logged {
                stopped = self.show_unreadable(next..=logged, Direction::Forward, at, visit)?;
            }
        }
        if !stopped && from <= to {
            for (&seq, subject) in self.added.range(from..=to) {
                *at = seq;
                if visit(seq, subject).is_break() {
                    return Ok(true);
                }
            }
        }
        Ok(stopped)
    }

    /// Calls with the live messages from `from` down to `to`, those too that the log cannot read.
    pub(super) fn read_down(
        &self,
        from: Seq,
        to: Seq,
        visit: &mut dyn FnMut(Seq, &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if self.totals.first == 0 {
            return Ok(());
        }
        let (from, to) = (from.min(self.totals.last), to.max(self.totals.first));
        if from < to {
            return Ok(());
        }
        for (&seq, subject) in self.added.range(to..=from).rev() {
            if visit(seq, subject).is_break() {
                return Ok(());
            }
        }
        let logged = self.logged(from);
        if to > logged {
            return Ok(());
        }
        let (mut next, mut outcome, mut at) = (logged, Ok(false), logged);
        self.reader
            .scan(to..=logged, Want::Heads, Direction::Backward, &mut |entry| {
                if entry.seq < next {
                    outcome = self.show_unreadable(entry.seq + 1..=next, Direction::Backward, &mut at, visit);
                    if !matches!(outcome, Ok(false)) {
                        return ControlFlow::Break(());
                    }
                }
                next = entry.seq.saturating_sub(1);
                if self.removed.contains(&entry.seq) {
                    return ControlFlow::Continue(());
                }
                let done = visit(entry.seq, (self.records.subject_of)(entry.head));
                outcome = Ok(done.is_break());
                done
            })?;
        if !outcome? && to <= next {
            self.show_unreadable(to..=next, Direction::Backward, &mut at, visit)?;
        }
        Ok(())
    }

    /// Calls with the live messages of a range that the log passed over, because it cannot read them; answers whether it was
    /// told to stop, at `at` then.
    fn show_unreadable(
        &self,
        range: RangeInclusive<Seq>,
        direction: Direction,
        at: &mut Seq,
        visit: &mut dyn FnMut(Seq, &[u8]) -> ControlFlow<()>,
    ) -> Result<bool> {
        let mut passed = self.unreadable(range)?;
        if direction == Direction::Backward {
            passed.reverse();
        }
        Ok(passed.iter().any(|(seq, subject)| {
            *at = *seq;
            visit(*seq, subject).is_break()
        }))
    }

    /// The last match up to `from`, looking at `budget` heads at most; where it stopped, 0 for the very end; and how many it
    /// looked at.
    pub(super) fn read_down_for(&self, filters: &Filters, from: Seq, budget: u64) -> Result<(Option<Seq>, Seq, u64)> {
        let (mut found, mut looked, mut at) = (None, 0, 0);
        self.read_down(from, 0, &mut |seq, subject| {
            looked += 1;
            if filters.matches(subject) {
                found = Some(seq);
                return ControlFlow::Break(());
            }
            if looked == budget {
                at = seq;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok((found, at, looked))
    }

    /// The highest sequence up to `to` that is to be looked for in the log: what was added in this turn is not.
    pub(super) fn logged(&self, to: Seq) -> Seq {
        self.added.first_key_value().map_or(to, |(&first, _)| to.min(first - 1))
    }
}
