//! The questions to a paged index.
//!
//! A wildcard has two ways to its answer: through the entries of the subjects, good where few match, and through the
//! heads of the log, good where many do. Which is which is not known beforehand, so each is tried for a bounded
//! number of steps before the other.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::keys::{self, STEM};
use super::overlay;
use super::{Paged, SubjectInfo};
use crate::error::{Error, Result};
use crate::index::chunk::{chunk_of, seq_at};
use crate::index::cursor::{Ahead, Cursor, Survey};
use crate::index::filters::Filters;
use crate::index::ranges::{Range, next_possible, ranges};
use crate::index::{Sought, SubjectPlace};
use crate::types::Seq;

/// Matches that a cursor fetches at once.
const AHEAD: usize = 256;
/// Entries looked at before the log is tried.
const ENTRIES: usize = 4096;
/// Subjects whose postings are asked one by one.
const SUBJECTS: usize = 64;
/// Heads looked at before the entries are asked whether there is anything to find.
const HEADS: u64 = 65_536;
/// So near to the end the log is simply read.
const NEAR: u64 = 1024;
/// Subjects on both sides of a place whose postings are counted one by one.
const STRADDLERS: usize = 4096;
/// Entries that do not match after which the next place where one can is sought.
const MISSES: usize = 8;
/// The same where that passes over no more than the subjects that differ in their last token: those may be one or two.
const MISSES_MAX: usize = 64;
/// Subjects that a search which can wait asks in one go, where the log has shown none.
const SURVEYED: usize = if cfg!(test) { 5 } else { 1024 };
/// Messages that match up to which they are counted rather than looked for.
const COUNTED: u64 = 16_384;
/// Looks that it counts as to find the postings of a subject.
pub(super) const SEEK: usize = 8;
/// So many filters are asked where they can match next.
const SEEKERS: usize = 8;

/// Calls with a subject and what is known of it.
type VisitEntry<'a> = &'a mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>;

/// Fetches matches from a place on, unless it may not look at more.
type Look<'a> = &'a mut dyn FnMut(&mut Paged, &mut Cursor, Seq) -> Result<Option<Ahead>>;

impl Paged {
    /// Live messages.
    pub fn len(&self) -> u64 {
        self.totals.len
    }

    /// Distinct subjects of live messages.
    pub fn subjects(&self) -> u64 {
        self.totals.subjects
    }

    /// The first live message.
    pub fn first(&self) -> Option<Seq> {
        Some(self.totals.first).filter(|&seq| seq > 0)
    }

    /// The last live message.
    pub fn last_live(&self) -> Option<Seq> {
        Some(self.totals.last).filter(|&seq| seq > 0)
    }

    /// Whether that message is live.
    pub fn is_live(&self, seq: Seq) -> Result<bool> {
        Ok(seq > 0 && self.next_live_within(seq, seq)?.is_some())
    }

    /// The first live message from `from` on.
    pub fn next_live(&self, from: Seq) -> Result<Option<Seq>> {
        self.next_live_within(from, Seq::MAX)
    }

    fn next_live_within(&self, from: Seq, to: Seq) -> Result<Option<Seq>> {
        let mut found = None;
        self.read_up(&mut { from }, to, &mut |seq, _| {
            found = Some(seq);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Visits the live messages from `from` to `to`, in order.
    pub fn each_live(&self, from: Seq, to: Seq, visit: &mut dyn FnMut(Seq)) -> Result<()> {
        self.read_up(&mut { from }, to, &mut |seq, _| {
            visit(seq);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// See [`Index::counts`](crate::index::Index::counts).
    pub fn counts(&self) -> BTreeMap<u64, u64> {
        let counts = self.chunks.iter().filter(|(_, count)| **count > 0);
        counts.map(|(number, count)| (*number, u64::from(*count))).collect()
    }

    /// The last live message up to `from`.
    pub fn prev_live(&self, from: Seq) -> Result<Option<Seq>> {
        let mut found = None;
        self.read_down(from, 0, &mut |seq, _| {
            found = Some(seq);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// What is known of one subject.
    pub fn subject(&mut self, subject: &[u8]) -> Result<Option<SubjectInfo>> {
        let key = self.keys.subject(subject);
        self.entry(&key)
    }

    /// The subject that the index has a message under, whether or not the log can show it.
    pub fn subject_at(&self, seq: Seq) -> Result<Option<Bytes>> {
        if let Some(subject) = self.unreadable.borrow().subject(seq) {
            return Ok(Some(subject));
        }
        let mut around: Vec<Bytes> = Vec::new();
        let mut found = None;
        let prefix = self.keys.subject(b"");
        overlay::scan(&*self.kv, &self.overlay, &prefix, None, &mut |key, value| {
            let subject = key.get(STEM..).unwrap_or_default();
            match keys::decode(key, value) {
                Ok(info) if info.first == seq || info.last == seq => {
                    found = Some(Bytes::copy_from_slice(subject));
                    return ControlFlow::Break(());
                }
                Ok(info) if (info.first..=info.last).contains(&seq) => around.push(Bytes::copy_from_slice(subject)),
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
        for subject in around {
            if self.has(&self.keys.posting(&subject, seq))? {
                return Ok(Some(subject));
            }
        }
        Ok(None)
    }

    /// The first live message from `from` on that the cursor's filters match.
    pub fn next_match(&mut self, cursor: &mut Cursor, from: Seq) -> Result<Option<Seq>> {
        let found = self.seek(cursor, from, &mut |index, cursor, from| {
            index.look_ahead(&cursor.filters, from).map(Some)
        })?;
        Ok(match found {
            Sought::At(seq) => Some(seq),
            Sought::Nothing | Sought::Later(_) => None,
        })
    }

    /// The same, looking at some `looks` messages at most, and lowering that by what it took.
    pub fn next_match_within(&mut self, cursor: &mut Cursor, from: Seq, looks: &mut usize) -> Result<Sought> {
        self.seek(cursor, from, &mut |index, cursor, from| match *looks {
            0 => Ok(None),
            _ => index.look_some_ahead(cursor, from, looks).map(Some),
        })
    }

    /// The first live message from `from` on that the cursor's filters match, among those that `look` fetches, as long as
    /// it fetches any.
    fn seek(&mut self, cursor: &mut Cursor, from: Seq, look: Look<'_>) -> Result<Sought> {
        if cursor.filters.is_empty() {
            return Ok(self.next_live(from)?.map_or(Sought::Nothing, Sought::At));
        }
        let (Some(first), Some(last)) = (self.first(), self.last_live()) else {
            return Ok(Sought::Nothing);
        };
        let mut from = from.max(first);
        loop {
            if let Some(ahead) = cursor
                .ahead
                .as_ref()
                .filter(|ahead| (ahead.from..=ahead.upto).contains(&from))
            {
                for &seq in &ahead.seqs[ahead.seqs.partition_point(|&seq| seq < from)..] {
                    if ahead.removals == self.removals || self.is_live(seq)? {
                        return Ok(Sought::At(seq));
                    }
                }
                from = ahead.upto.saturating_add(1);
            }
            if from > last {
                return Ok(Sought::Nothing);
            }
            let Some(ahead) = look(self, cursor, from)? else {
                return Ok(Sought::Later(from));
            };
            cursor.ahead = Some(ahead);
        }
    }

    /// The last live message that the cursor's filters match: by its subjects, if they are few; if not, and it is not near, all
    /// subjects are asked, some in each call.
    pub fn last_match_within(&mut self, cursor: &mut Cursor, looks: &mut usize) -> Result<Sought> {
        let sought = |found: Option<Seq>| found.map_or(Sought::Nothing, Sought::At);
        if cursor.filters.is_empty() {
            return Ok(sought(self.last_live()));
        }
        let (mut from, mut best, mut few) = match cursor.newest.take() {
            Some((from, best)) => (from, best, false),
            None => (Vec::new(), None, true),
        };
        while *looks > 0 {
            let most = if few { SUBJECTS } else { SURVEYED };
            let mut left = most.min(*looks);
            *looks -= left;
            let next = self.entries_from(&cursor.filters, &from, &mut left, &mut |_, info| {
                best = best.max(Some(info.last));
                ControlFlow::Continue(())
            })?;
            *looks += left;
            match next {
                Some(next) => from = next,
                None => return Ok(sought(best)),
            }
            let wildcards = cursor.filters.iter().any(|filter| weir_subject::has_wildcard(filter));
            if std::mem::take(&mut few) && wildcards {
                let (found, _, looked) = self.read_down_for(&cursor.filters, self.totals.last, NEAR)?;
                *looks = looks.saturating_sub(looked as usize);
                if let Some(found) = found {
                    return Ok(Sought::At(found));
                }
            }
        }
        // Not even begun, it begins anew.
        cursor.newest = (!few).then_some((from, best));
        Ok(Sought::Later(0))
    }

    /// Whether so many subjects may match, or have to be looked through, or so many messages match, that counting those takes
    /// long.
    pub fn is_wide(&mut self, filters: &[Bytes]) -> Result<bool> {
        let filters = Filters::of(filters);
        if filters.is_empty() {
            return Ok(false);
        }
        let mut messages = 0u64;
        let complete = self.entries(&filters, ENTRIES, &mut |_, info| {
            messages = messages.saturating_add(info.count);
            ControlFlow::Continue(())
        })?;
        Ok(!complete || messages > COUNTED)
    }

    /// Calls with the matches from `from` downwards, looking at `looks` heads at most. Answers where to go on.
    pub fn matches_down(
        &self,
        filters: &[Bytes],
        from: Seq,
        looks: &mut usize,
        visit: &mut dyn FnMut(Seq) -> ControlFlow<()>,
    ) -> Result<Option<Seq>> {
        let filters = Filters::of(filters);
        let mut next = None;
        self.read_down(from, 0, &mut |seq, subject| {
            if *looks == 0 {
                next = Some(seq);
                return ControlFlow::Break(());
            }
            *looks -= 1;
            match filters.is_empty() || filters.matches(subject) {
                true => visit(seq),
                false => ControlFlow::Continue(()),
            }
        })?;
        Ok(next)
    }

    /// The last live message up to `from` that any of the filters matches; no filter matches everything.
    pub fn prev_match(&mut self, filters: &[Bytes], from: Seq) -> Result<Option<Seq>> {
        let filters = Filters::of(filters);
        if filters.is_empty() {
            return self.prev_live(from);
        }
        let mut place = from.min(self.totals.last);
        let mut budget = NEAR;
        let mut entries = ENTRIES;
        if !filters.iter().any(|filter| weir_subject::has_wildcard(filter))
            && let Some(found) = self.last_by_entries(&filters, place, usize::MAX)?
        {
            return Ok(found);
        }
        // Among many subjects a match is probably near; if not, the subjects know.
        loop {
            let (found, at, _) = self.read_down_for(&filters, place, budget)?;
            if found.is_some() || at == 0 {
                return Ok(found);
            }
            place = at - 1;
            if let Some(found) = self.last_by_entries(&filters, place, entries)? {
                return Ok(found);
            }
            budget = budget.saturating_mul(8);
            entries = entries.saturating_mul(16);
        }
    }

    /// The last match up to `from` by what is known of the subjects, looking at `limit` entries at most; `None` if that does
    /// not say it.
    #[allow(clippy::option_option, reason = "whether there is one, if that is known")]
    fn last_by_entries(&mut self, filters: &Filters, from: Seq, limit: usize) -> Result<Option<Option<Seq>>> {
        let mut best = None;
        let mut on_both_sides = Vec::new();
        let complete = self.entries(filters, limit, &mut |subject, info| {
            if info.last <= from {
                best = best.max(Some(info.last));
            } else if info.first <= from {
                on_both_sides.push((Box::from(subject), info));
                if on_both_sides.len() > SUBJECTS {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if !complete || on_both_sides.len() > SUBJECTS {
            return Ok(None);
        }
        Ok(Some(best.max(self.last_of(&on_both_sides, from)?)))
    }

    /// Live messages from `from` on that any of the filters matches; no filter matches everything.
    pub fn count_from(&mut self, filters: &[Bytes], from: Seq) -> Result<u64> {
        let filters = Filters::of(filters);
        let (Some(first), Some(last)) = (self.first(), self.last_live()) else {
            return Ok(0);
        };
        if from > last {
            return Ok(0);
        }
        if filters.is_empty() && from <= first {
            return Ok(self.totals.len);
        }
        if let Some(count) = self.tallies.count(&filters, from, |seq| self.next_live(seq))? {
            return Ok(count);
        }
        if filters.is_empty() {
            return self.count_all_from(from);
        }
        // Most subjects lie wholly on one side, and their totals say it all.
        let (mut total, mut after, mut on_both_sides) = (0, 0, 0);
        let mut straddlers: Vec<(Box<[u8]>, SubjectInfo)> = Vec::new();
        self.entries(&filters, usize::MAX, &mut |subject, info| {
            total += info.count;
            if info.first >= from {
                after += info.count;
            } else if info.last >= from {
                on_both_sides += info.count;
                if straddlers.len() <= STRADDLERS {
                    straddlers.push((subject.into(), info));
                }
            }
            ControlFlow::Continue(())
        })?;
        if straddlers.is_empty() {
            return Ok(after);
        }
        let upwards = self.count_all_from(from)?;
        let nearer = upwards.min(self.totals.len - upwards);
        if straddlers.len() <= STRADDLERS && on_both_sides / 2 <= nearer {
            for (subject, info) in &straddlers {
                after += self.count_of_from(subject, *info, from)?;
            }
            return Ok(after);
        }
        // Too many to ask: the log is read from the place to its nearer end.
        let mut count = 0;
        if upwards == nearer {
            self.read_up(&mut { from }, Seq::MAX, &mut |_, subject| {
                count += u64::from(filters.matches(subject));
                ControlFlow::Continue(())
            })?;
            Ok(count)
        } else {
            self.read_up(&mut { first }, from - 1, &mut |_, subject| {
                count += u64::from(filters.matches(subject));
                ControlFlow::Continue(())
            })?;
            Ok(total - count)
        }
    }

    /// Visits each subject that any of the filters matches, in the order of their bytes; no filter matches all.
    pub fn last_of_each(&mut self, filters: &[Bytes], visit: VisitEntry<'_>) -> Result<()> {
        self.entries(&Filters::of(filters), usize::MAX, visit)?;
        Ok(())
    }

    /// The same for one filter, or none, and the subjects from a place on, looking at `looks` entries at most; see
    /// [`Index::some_of_each`](crate::index::Index::some_of_each).
    pub fn some_of_each(
        &mut self,
        filters: &[Bytes],
        from: &SubjectPlace,
        looks: &mut usize,
        visit: VisitEntry<'_>,
    ) -> Result<Option<SubjectPlace>> {
        let mut stopped = None;
        let next = self.entries_from(&Filters::of(filters), &from.0, looks, &mut |subject, info| {
            let done = visit(subject, info);
            if done.is_break() {
                stopped = Some(SubjectPlace::behind(subject));
            }
            done
        })?;
        Ok(stopped.or(next.map(SubjectPlace)))
    }

    /// Fetches the next matches from `from` on.
    fn look_ahead(&mut self, filters: &Filters, from: Seq) -> Result<Ahead> {
        let end = self.totals.next.saturating_sub(1);
        if !is_literal(filters) && end.saturating_sub(from) <= NEAR {
            return self.read_ahead(filters, from, u64::MAX);
        }
        if let Some(subjects) = self.few(filters, &mut { ENTRIES }, |info| info.last >= from)? {
            return self.merge_ahead(&subjects, from, from);
        }
        let (mut place, mut budget) = (from, HEADS);
        loop {
            let mut ahead = self.read_ahead(filters, place, budget)?;
            ahead.from = from;
            if !ahead.seqs.is_empty() || ahead.upto >= end {
                return Ok(ahead);
            }
            place = ahead.upto + 1;
            let mut nearest = None::<Seq>;
            let few = self.few(filters, &mut { usize::MAX }, |info| {
                let reaches = info.last >= place;
                if reaches {
                    let bound = info.first.max(place);
                    nearest = Some(nearest.map_or(bound, |nearest| nearest.min(bound)));
                }
                reaches
            })?;
            if let Some(subjects) = few {
                return self.merge_ahead(&subjects, from, place);
            }
            place = nearest.unwrap_or(place);
            budget = budget.saturating_mul(4);
        }
    }

    /// Fetches some of the next matches from `from` on: by their subjects, if these are few, or else by the log, looking at some
    /// `looks` heads at most. Where the log shows none, the subjects are asked as well, some in each call.
    fn look_some_ahead(&mut self, cursor: &mut Cursor, from: Seq, looks: &mut usize) -> Result<Ahead> {
        // Near the end the log is read, whatever matches.
        let near = self.totals.next.saturating_sub(from) <= NEAR && !is_literal(&cursor.filters);
        if !cursor.wide && !near {
            let mut left = ENTRIES;
            let few = self.few(&cursor.filters, &mut left, |info| info.last >= from)?;
            *looks = looks.saturating_sub(ENTRIES - left);
            if let Some(subjects) = few {
                *looks = looks.saturating_sub(subjects.len() * SEEK);
                return self.merge_ahead(&subjects, from, from);
            }
            cursor.wide = true;
        }
        let mut ahead = self.read_ahead(&cursor.filters, from, (*looks).max(1) as u64)?;
        let looked = usize::try_from(ahead.upto - from + 1).unwrap_or(usize::MAX);
        *looks = looks.saturating_sub(looked);
        if ahead.seqs.is_empty()
            && let Some(upto) = self.survey(cursor, ahead.upto.saturating_add(1), looks)?
        {
            ahead.upto = ahead.upto.max(upto);
        }
        Ok(ahead)
    }

    /// Asks some more subjects for their next message from `place` on. Once all were asked: up to where there is none.
    fn survey(&mut self, cursor: &mut Cursor, place: Seq, looks: &mut usize) -> Result<Option<Seq>> {
        let known = cursor.survey.take().filter(|survey| survey.place <= place);
        let mut survey = known.unwrap_or(Survey {
            place,
            next: Vec::new(),
            nearest: None,
            upto: self.totals.last,
        });
        let (place, nearest) = (survey.place, &mut survey.nearest);
        let mut left = SURVEYED;
        let next = self.entries_from(&cursor.filters, &survey.next, &mut left, &mut |_, info| {
            if info.last >= place {
                let bound = info.first.max(place);
                *nearest = Some(nearest.map_or(bound, |nearest| nearest.min(bound)));
            }
            ControlFlow::Continue(())
        })?;
        *looks = looks.saturating_sub(SURVEYED - left);
        Ok(match next {
            Some(next) => {
                survey.next = next;
                cursor.survey = Some(survey);
                None
            }
            None => Some(
                survey
                    .nearest
                    .map_or(survey.upto, |nearest| nearest - 1)
                    .min(survey.upto),
            ),
        })
    }

    /// The next matches by the log, from `from` on, looking at `budget` heads at most.
    fn read_ahead(&self, filters: &Filters, from: Seq, budget: u64) -> Result<Ahead> {
        let mut seqs = Vec::new();
        let (mut looked, mut at) = (0, from);
        let broken = self.read_up(&mut at, Seq::MAX, &mut |seq, subject| {
            looked += 1;
            if filters.matches(subject) {
                seqs.push(seq);
            }
            if seqs.len() == AHEAD || looked == budget {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        let upto = if broken {
            at
        } else {
            self.totals.next.saturating_sub(1).max(from)
        };
        Ok(Ahead {
            from,
            upto,
            seqs,
            removals: self.removals,
        })
    }

    /// The next matches by the postings of these subjects, which are all that match from `place` on.
    fn merge_ahead(&self, subjects: &[(Box<[u8]>, SubjectInfo)], from: Seq, place: Seq) -> Result<Ahead> {
        let each = (AHEAD / subjects.len().max(1)).max(8);
        let mut seqs: Vec<Seq> = Vec::new();
        let mut upto = self.totals.next.saturating_sub(1).max(from);
        for (subject, info) in subjects {
            let start = seqs.len();
            if info.first >= place {
                seqs.push(info.first);
            }
            self.postings(subject, place, &mut |seq| {
                seqs.push(seq);
                if seqs.len() - start >= each {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            match seqs.last() {
                // There may be more behind the last that was fetched.
                Some(&last) if seqs.len() - start >= each => upto = upto.min(last),
                _ if info.count > 1 => seqs.push(info.last),
                _ => {}
            }
        }
        seqs.sort_unstable();
        seqs.truncate(seqs.partition_point(|&seq| seq <= upto));
        if seqs.len() > AHEAD {
            seqs.truncate(AHEAD);
            upto = seqs[AHEAD - 1];
        }
        Ok(Ahead {
            from,
            upto,
            seqs,
            removals: self.removals,
        })
    }

    /// The matching subjects that are `wanted`, or `None` if they are more than a few, or if there are more than
    /// `limit` entries to look through; lowers that by what it took.
    #[allow(clippy::type_complexity, reason = "a list of subjects and what is known of them")]
    fn few(
        &mut self,
        filters: &Filters,
        limit: &mut usize,
        mut wanted: impl FnMut(SubjectInfo) -> bool,
    ) -> Result<Option<Vec<(Box<[u8]>, SubjectInfo)>>> {
        let (mut found, mut too_many) = (Vec::new(), false);
        let all = *limit == usize::MAX;
        let complete = self.entries_from(filters, b"", limit, &mut |subject, info| {
            if wanted(info) {
                if found.len() < SUBJECTS {
                    found.push((subject.into(), info));
                } else {
                    too_many = true;
                    // With no limit, all entries are to be seen.
                    if !all {
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok((complete.is_none() && !too_many).then_some(found))
    }

    /// Visits the matching subjects in order. Looks at `limit` entries at most, and answers whether that sufficed.
    fn entries(&mut self, filters: &Filters, mut limit: usize, visit: VisitEntry<'_>) -> Result<bool> {
        Ok(self.entries_from(filters, b"", &mut limit, visit)?.is_none())
    }

    /// The same for the subjects from `from` on; lowers `looks` by what it took. Answers with which to go on, if those did not
    /// suffice.
    pub(super) fn entries_from(
        &mut self,
        filters: &Filters,
        from: &[u8],
        looks: &mut usize,
        visit: VisitEntry<'_>,
    ) -> Result<Option<Vec<u8>>> {
        let begin_all = (!from.is_empty()).then(|| self.keys.subject(from));
        for range in ranges(filters) {
            let prefix = match range {
                Range::One(subject) => {
                    if subject < from {
                        continue;
                    }
                    if *looks == 0 {
                        return Ok(Some(subject.to_vec()));
                    }
                    let key = self.keys.subject(subject);
                    *looks -= 1;
                    if let Some(info) = self.entry(&key)?
                        && visit(subject, info).is_break()
                    {
                        return Ok(None);
                    }
                    continue;
                }
                Range::Prefix(prefix) => self.keys.subject(prefix),
            };
            let (mut failed, mut stopped, mut next) = (None::<Error>, false, None);
            let mut begin = begin_all.clone();
            let mut allowed = MISSES;
            loop {
                let (mut misses, mut sought) = (0, None);
                overlay::scan(
                    &*self.kv,
                    &self.overlay,
                    &prefix,
                    begin.as_deref(),
                    &mut |key, value| {
                        let subject = key.get(STEM..).unwrap_or_default();
                        if *looks == 0 {
                            next = Some(subject.to_vec());
                            return ControlFlow::Break(());
                        }
                        *looks -= 1;
                        if !filters.is_empty() && !filters.matches(subject) {
                            misses += 1;
                            if misses < allowed || filters.len() > SEEKERS {
                                return ControlFlow::Continue(());
                            }
                            sought = next_possible(filters, subject);
                            let siblings = subject.iter().rposition(|&byte| byte == weir_subject::SEPARATOR);
                            let near = siblings.is_some_and(|end| {
                                sought.as_ref().is_some_and(|next| next.starts_with(&subject[..end]))
                            });
                            allowed = if near { MISSES_MAX } else { MISSES };
                            return ControlFlow::Break(());
                        }
                        misses = 0;
                        match keys::decode(key, value) {
                            Ok(info) => {
                                let done = visit(subject, info);
                                stopped = done.is_break();
                                done
                            }
                            Err(error) => {
                                failed = Some(error);
                                ControlFlow::Break(())
                            }
                        }
                    },
                )?;
                match sought {
                    Some(next) => begin = Some(self.keys.subject(&next)),
                    None => break,
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if stopped {
                return Ok(None);
            }
            if next.is_some() {
                return Ok(next);
            }
        }
        Ok(None)
    }

    /// The last message up to `from` of any of these subjects.
    fn last_of(&self, subjects: &[(Box<[u8]>, SubjectInfo)], from: Seq) -> Result<Option<Seq>> {
        let mut best = None;
        for (subject, info) in subjects {
            // Only what lies above the best so far can be better.
            if Some(info.last) > best && Some(from) > best {
                best = best.max(self.prev_of(subject, *info, from)?);
            }
        }
        Ok(best)
    }

    /// The last message of a subject up to `from`.
    fn prev_of(&self, subject: &[u8], info: SubjectInfo, from: Seq) -> Result<Option<Seq>> {
        if info.last <= from {
            return Ok(Some(info.last));
        }
        if info.first > from {
            return Ok(None);
        }
        Ok(Some(self.posting_up_to(subject, info, from)?.unwrap_or(info.first)))
    }

    /// Messages of a subject with messages on both sides, from `from` on.
    fn count_of_from(&self, subject: &[u8], info: SubjectInfo, from: Seq) -> Result<u64> {
        // The last is above; the first is not.
        if info.count <= 2 {
            return Ok(1);
        }
        let mut count = 0;
        if from - info.first < info.last - from {
            self.postings(subject, 0, &mut |seq| {
                count += u64::from(seq < from);
                if seq < from {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            return Ok((info.count - 1).saturating_sub(count));
        }
        self.postings(subject, from, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count + 1)
    }

    /// Live messages from `from` on, by the chunks' counts and the heads of one chunk.
    fn count_all_from(&self, from: Seq) -> Result<u64> {
        let (mut count, edge) = self.count_by_chunks(from);
        if let Some((mut from, to)) = edge {
            self.read_up(&mut from, to, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })?;
        }
        Ok(count)
    }

    /// Live messages from `from` on, by the chunks' counts. Where these do not tell all, the first and the last of the sequences
    /// that are still to be looked at.
    pub(super) fn count_by_chunks(&self, from: Seq) -> (u64, Option<(Seq, Seq)>) {
        let edge = chunk_of(from);
        let count: u64 = self.chunks.range(edge + 1..).map(|(_, &count)| u64::from(count)).sum();
        let Some(&live) = self.chunks.get(&edge) else {
            return (count, None);
        };
        let begin = seq_at(edge, 0).max(self.totals.first);
        let end = seq_at(edge, u16::MAX).min(self.totals.last);
        if from <= begin {
            return (count + u64::from(live), None);
        }
        if u64::from(live) == end + 1 - begin {
            // Nothing is missing between its ends: no need to look.
            return (count + (end + 1).saturating_sub(from.max(begin)), None);
        }
        (count, Some((from, seq_at(edge, u16::MAX))))
    }
}

/// Whether these are so few subjects, rather than wildcards, that each can be asked.
fn is_literal(filters: &Filters) -> bool {
    filters.len() <= SUBJECTS && !filters.iter().any(|filter| weir_subject::has_wildcard(filter))
}
