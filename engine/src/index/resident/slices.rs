//! Going through the subjects of a resident index, some of the way in each turn.

use std::ops::ControlFlow;

use crate::index::cursor::Cursor;
use crate::index::filters::Filters;
use crate::index::ranges::{Range, next_possible, ranges};
use crate::index::resident::Resident;
use crate::index::tally::{Progress, Stage, Sum, Tally};
use crate::index::{Sought, SubjectInfo};
use crate::types::Seq;

/// Subjects that do not match, after which the next place where one can is sought.
const MISSES: usize = 64;
/// So many filters are asked where they can match next.
const SEEKERS: usize = 8;
/// Subjects that are asked for the newest match before the latest messages are.
const FEW: usize = 64;

/// Calls with a subject, its id, and what is known of it.
type VisitSubject<'a> = &'a mut dyn FnMut(&[u8], u32, SubjectInfo) -> ControlFlow<()>;

/// Calls with a subject and its id.
type VisitId<'a> = &'a mut dyn FnMut(&[u8], u32) -> ControlFlow<()>;

impl Resident {
    /// Visits the matching subjects from `from` on in order, until told to stop, with their ids and what is known of them. Looks at
    /// `looks` subjects at most, and lowers that by what it took. Answers with which to go on, if those did not suffice.
    pub(super) fn subjects_from(
        &mut self,
        filters: &Filters,
        from: &[u8],
        looks: &mut usize,
        visit: VisitSubject<'_>,
    ) -> Option<Vec<u8>> {
        let (own, mut stale) = (&*self, Vec::new());
        let next = own.ids_from(filters, from, looks, &mut |name, id| {
            let info = own.info_of(id);
            if own.subjects.get(id).stale {
                stale.push((id, info.first));
            }
            visit(name, id, info)
        });
        for (id, first) in stale {
            let subject = self.subjects.get_mut(id);
            (subject.first, subject.stale) = (first, false);
        }
        next
    }

    /// The ids of the matching subjects, unless they are more than `most`, or it takes more than `looks` to find that out.
    pub(super) fn ids_within(&self, filters: &Filters, most: usize, mut looks: usize) -> Option<Vec<u32>> {
        let mut ids = Vec::new();
        let next = self.ids_from(filters, b"", &mut looks, &mut |_, id| {
            ids.push(id);
            match ids.len() <= most {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        (next.is_none() && ids.len() <= most).then_some(ids)
    }

    /// Visits the matching subjects; see [`Resident::subjects_from`].
    pub(super) fn ids_from(
        &self,
        filters: &Filters,
        from: &[u8],
        looks: &mut usize,
        visit: VisitId<'_>,
    ) -> Option<Vec<u8>> {
        for range in ranges(filters) {
            match range {
                Range::One(subject) if subject < from => {}
                Range::One(subject) if *looks == 0 => return Some(subject.to_vec()),
                Range::One(subject) => {
                    *looks -= 1;
                    let id = self.subjects.id(subject);
                    if id.is_some_and(|id| visit(subject, id).is_break()) {
                        return None;
                    }
                }
                Range::Prefix(prefix) => {
                    let mut begin = from.max(prefix).to_vec();
                    loop {
                        match self.walk(filters, prefix, &begin, looks, visit) {
                            Walked::Whole => break,
                            Walked::Stopped => return None,
                            Walked::Later(next) => return Some(next),
                            Walked::On(next) => begin = next,
                        }
                    }
                }
            }
        }
        None
    }

    /// The same for the subjects of one prefix, up to where it is better to seek.
    fn walk(&self, filters: &Filters, prefix: &[u8], begin: &[u8], looks: &mut usize, visit: VisitId<'_>) -> Walked {
        let (mut walked, mut misses) = (Walked::Whole, 0);
        let mut look = |name: &[u8], id: u32| {
            if *looks == 0 {
                walked = Walked::Later(name.to_vec());
                return ControlFlow::Break(());
            }
            *looks -= 1;
            if !filters.is_empty() && !filters.matches(name) {
                misses += 1;
                if misses < MISSES || filters.len() > SEEKERS {
                    return ControlFlow::Continue(());
                }
                walked = next_possible(filters, name).map_or(Walked::Whole, Walked::On);
                return ControlFlow::Break(());
            }
            misses = 0;
            let done = visit(name, id);
            if done.is_break() {
                walked = Walked::Stopped;
            }
            done
        };
        // What the tree passes over is what stands before, and the place itself.
        let exactly = self.subjects.id(begin).filter(|_| begin.starts_with(prefix));
        let here = exactly.map_or(ControlFlow::Continue(()), |id| look(begin, id));
        if here.is_continue() {
            let all = [prefix, b">"].concat();
            let _: ControlFlow<()> = self.subjects.matching_after(&all, begin, look);
        }
        walked
    }

    /// See [`Index::last_match_within`](crate::index::Index::last_match_within).
    pub fn last_match_within(&mut self, cursor: &mut Cursor, looks: &mut usize) -> Sought {
        let sought = |found: Option<Seq>| found.map_or(Sought::Nothing, Sought::At);
        if cursor.filters.is_empty() {
            return sought(self.last_live());
        }
        let (mut from, mut best, mut few) = match cursor.newest.take() {
            Some((from, best)) => (from, best, false),
            None => (Vec::new(), None, true),
        };
        while *looks > 0 {
            let most = if few { FEW } else { usize::MAX };
            let mut left = most.min(*looks);
            *looks -= left;
            let next = self.subjects_from(&cursor.filters, &from, &mut left, &mut |_, _, info| {
                best = best.max(Some(info.last));
                ControlFlow::Continue(())
            });
            *looks += left;
            match next {
                Some(next) => from = next,
                None => return sought(best),
            }
            if std::mem::take(&mut few) {
                *looks = looks.saturating_sub(self.recent.len());
                let newest = self.recent.iter().rev().find(|(seq, id)| {
                    // The id of a message that is gone may have another meaning by now.
                    self.is_live(*seq) && self.subjects.is_match(*id, &cursor.filters)
                });
                if let Some((seq, _)) = newest {
                    return Sought::At(*seq);
                }
            }
        }
        cursor.newest = (!few).then_some((from, best));
        Sought::Later(0)
    }

    /// See [`Index::tally`](crate::index::Index::tally). Where `from` goes up, counting at once takes its place.
    pub fn tally(&mut self, tally: &Tally, from: Seq, looks: &mut usize) -> bool {
        if !self.tallies.take_along(tally, from) {
            return false;
        }
        let mut progress = self.tallies.progress(tally);
        if from < progress.from && self.next_live(from).is_some_and(|seq| seq < progress.from) {
            progress.restart(from);
        }
        let begin = progress.from;
        if progress.filters.is_empty()
            && let Sum::Number(number) = &mut progress.sum
        {
            *number = self.count_all_from(begin);
            progress.stage = Stage::Done;
        }
        while *looks > 0 {
            let Progress {
                filters, sum, stage, ..
            } = &mut *progress;
            let Stage::Subjects { place, .. } = stage else { break };
            let mut astride = Vec::new();
            // Each of these is looked for in every chunk.
            let chunks = self.chunks.range(self.size.of(begin)..).count().max(1);
            let most = looks.div_ceil(chunks);
            let mut behind = None;
            let next = self.subjects_from(filters, place, looks, &mut |subject, id, info| {
                match sum {
                    Sum::Lasts(lasts) => _ = lasts.insert(info.last),
                    Sum::Number(number) if info.first >= begin => *number += info.count,
                    Sum::Number(_) if info.last < begin => {}
                    Sum::Number(_) => astride.push(id),
                }
                if astride.len() < most {
                    return ControlFlow::Continue(());
                }
                behind = Some([subject, &[0]].concat());
                ControlFlow::Break(())
            });
            if let Sum::Number(number) = sum {
                *number += self.count_of_from(&astride, begin);
                *looks = looks.saturating_sub(astride.len() * chunks);
            }
            match behind.or(next) {
                Some(next) => *place = next,
                None => *stage = Stage::Done,
            }
        }
        matches!(progress.stage, Stage::Done)
    }
}

/// How far a walk has come.
enum Walked {
    /// To the end.
    Whole,
    /// It was told to stop.
    Stopped,
    /// It may not look at more: there it goes on.
    Later(Vec<u8>),
    /// To where it is better to seek what comes next.
    On(Vec<u8>),
}
