//! Going on with a tally: through the entries of the subjects, and the postings of those that have messages on both sides of its
//! beginning; or, where those are very many, through the heads of the log.

use std::ops::ControlFlow;

use super::Paged;
use super::queries::SEEK;
use crate::error::Result;
use crate::index::tally::{Astride, Progress, Stage, Sum, Tally};
use crate::types::Seq;

/// Subjects whose postings are gone through before the log is asked whether it is shorter.
const ASTRIDE: usize = if cfg!(test) { 1 } else { 4096 };
/// Heads that are read in the time in which the postings of one subject are found.
const HEADS: u64 = 32;

impl Paged {
    /// Goes on with a tally, looking at some `looks` entries, postings and heads at most, which it lowers; see
    /// [`Index::tally`](crate::index::Index::tally).
    pub fn tally(&mut self, tally: &Tally, from: Seq, looks: &mut usize) -> Result<bool> {
        if !self.tallies.take_along(tally, from) {
            return Ok(false);
        }
        let mut progress = self.tallies.progress(tally);
        if from < progress.from && self.next_live(from)?.is_some_and(|seq| seq < progress.from) {
            progress.restart(from);
        }
        while *looks > 0 {
            match progress.stage {
                Stage::Done if progress.from < from => self.move_on(&mut progress, from, looks)?,
                Stage::Done => return Ok(true),
                Stage::Log { .. } => self.tally_log(&mut progress, looks)?,
                Stage::Subjects { .. } => self.tally_subjects(&mut progress, looks)?,
            }
        }
        Ok(matches!(progress.stage, Stage::Done) && progress.from >= from)
    }

    /// Takes what lies below `from` off a count that is done.
    fn move_on(&mut self, progress: &mut Progress, from: Seq, looks: &mut usize) -> Result<()> {
        let Progress {
            filters,
            from: next,
            sum,
            ..
        } = progress;
        let mut at = *next;
        let stopped = self.read_up(&mut at, from - 1, &mut |seq, subject| {
            if *looks == 0 {
                return ControlFlow::Break(());
            }
            *looks -= 1;
            if let Sum::Number(number) = sum
                && (filters.is_empty() || filters.matches(subject))
            {
                *number -= 1;
            }
            *next = seq + 1;
            ControlFlow::Continue(())
        })?;
        if !stopped {
            *next = from;
        }
        Ok(())
    }

    fn tally_log(&mut self, progress: &mut Progress, looks: &mut usize) -> Result<()> {
        let Progress {
            filters, stage, sum, ..
        } = progress;
        let (Stage::Log { next, end }, Sum::Number(number)) = (&mut *stage, sum) else {
            return Ok(());
        };
        let mut at = *next;
        let stopped = self.read_up(&mut at, *end, &mut |seq, subject| {
            if *looks == 0 {
                return ControlFlow::Break(());
            }
            *looks -= 1;
            *number += u64::from(filters.is_empty() || filters.matches(subject));
            *next = seq + 1;
            ControlFlow::Continue(())
        })?;
        if !stopped {
            *stage = Stage::Done;
        }
        Ok(())
    }

    fn tally_subjects(&mut self, progress: &mut Progress, looks: &mut usize) -> Result<()> {
        if let (true, Sum::Number(number)) = (progress.filters.is_empty(), &mut progress.sum) {
            (*number, progress.stage) = match self.count_by_chunks(progress.from) {
                (count, None) => (count, Stage::Done),
                (count, Some((next, end))) => (count, Stage::Log { next, end }),
            };
            return Ok(());
        }
        let from = progress.from;
        let Progress {
            filters, sum, stage, ..
        } = &mut *progress;
        let Stage::Subjects { place, astride } = stage else {
            return Ok(());
        };
        if let Some(under_way) = astride {
            let whole = self.tally_astride(under_way, looks)?;
            if whole && let (Some(astride), Sum::Number(number)) = (astride.take(), sum) {
                let key = self.keys.subject(&astride.subject);
                *place = [&astride.subject[..], &[0]].concat();
                *number += astride.count(self.entry(&key)?);
            }
            return Ok(());
        }
        let next = self.entries_from(filters, place, looks, &mut |subject, info| {
            match sum {
                Sum::Lasts(lasts) => _ = lasts.insert(info.last),
                Sum::Number(number) if info.first >= from => *number += info.count,
                Sum::Number(_) if info.last < from => {}
                // The first does not count, and the last does.
                Sum::Number(number) if info.count <= 2 => *number += 1,
                Sum::Number(_) => {
                    *astride = Some(Astride::of(subject, info, from));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        match (next, astride) {
            (Some(next), _) => *place = next,
            (None, Some(astride)) => {
                *place = astride.subject.to_vec();
                *looks = looks.saturating_sub(SEEK);
                progress.astride += 1;
                if progress.astride > ASTRIDE && self.count_by_chunks(from).0 / HEADS <= self.totals.subjects {
                    progress.restart_by_log();
                }
            }
            (None, None) => *stage = Stage::Done,
        }
        Ok(())
    }

    /// Goes through postings of a subject; answers whether those were all.
    fn tally_astride(&mut self, astride: &mut Astride, looks: &mut usize) -> Result<bool> {
        let (subject, from) = (astride.subject.clone(), astride.next.max(astride.low));
        let mut whole = true;
        self.postings(&subject, from, &mut |seq| {
            if seq >= astride.high {
                return ControlFlow::Break(());
            }
            if *looks == 0 {
                whole = false;
                return ControlFlow::Break(());
            }
            *looks -= 1;
            astride.see(seq);
            ControlFlow::Continue(())
        })?;
        Ok(whole)
    }
}
