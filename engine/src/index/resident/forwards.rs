//! Searching a resident index upwards, with a cursor that remembers pages.

use crate::index::Sought;
use std::ops::ControlFlow;

use crate::index::bits::Bits;
use crate::index::chunk::Chunk;
use crate::index::cursor::{Cursor, Few, Page};
use crate::index::filters::Filters;
use crate::index::resident::Resident;
use crate::types::Seq;

/// Up to so many matching subjects are asked one by one; with more, the matches of a chunk are gathered in a bitmap.
const FEW: usize = 4;

/// In a chunk of no more subjects than this, each is tested against the filters.
const SMALL_CHUNK: usize = 256;

/// Positions of a chunk that are looked through first.
const WINDOW: u32 = 4096;
/// Subjects that are tested in the time of one look.
const TESTED: usize = 4;
/// Subjects that are passed over in the time of one look.
const PASSED: usize = 32;

impl Resident {
    /// The first live message from `from` on that the cursor's filters match.
    pub fn next_match(&mut self, cursor: &mut Cursor, from: Seq) -> Option<Seq> {
        match self.next_match_within(cursor, from, &mut { usize::MAX }) {
            Sought::At(seq) => Some(seq),
            Sought::Nothing | Sought::Later(_) => None,
        }
    }

    /// The same, going through some chunks at most: a look is what it costs to test a few subjects, or to pass over more.
    pub fn next_match_within(&mut self, cursor: &mut Cursor, from: Seq, looks: &mut usize) -> Sought {
        let sought = |found: Option<Seq>| found.map_or(Sought::Nothing, Sought::At);
        if cursor.filters().is_empty() {
            return sought(self.next_live(from));
        }
        let (Some(first), Some(last)) = (self.first(), self.last_live()) else {
            return Sought::Nothing;
        };
        let from = from.max(first);
        if from > last {
            return Sought::Nothing;
        }
        // While a page covers the place, it answers without looking at any subject.
        if cursor
            .page
            .as_ref()
            .is_some_and(|page| page.chunk == self.size.of(from))
        {
            return self.next_in_pages(cursor, from, looks);
        }
        if !self.refresh(cursor, looks) {
            return Sought::Later(from);
        }
        match &cursor.few.ids {
            Some(ids) => sought(ids.iter().filter_map(|&id| self.next_of(id, from)).min()),
            None => self.next_in_pages(cursor, from, looks),
        }
    }

    /// Brings the cursor's few subjects up to date, if it may look at as many as that takes. Once there are many, it is left at
    /// that. Answers whether it is done.
    fn refresh(&self, cursor: &mut Cursor, looks: &mut usize) -> bool {
        let seen = cursor.few.births.filter(|seen| self.subjects.newborn(*seen).is_some());
        if seen.is_none() {
            // Where more subjects came than are remembered, before all were looked at, there are many.
            let begun = cursor.few.from.is_some();
            cursor.few = Few {
                births: Some(self.subjects.births()),
                ids: (!begun).then(Vec::new),
                from: (!begun).then(Vec::new),
            };
        }
        let Few {
            ids: Some(found), from, ..
        } = &mut cursor.few
        else {
            cursor.few.births = Some(self.subjects.births());
            return true;
        };
        if let Some(begin) = from {
            let next = self.ids_from(&cursor.filters, begin, looks, &mut |_, id| {
                found.push(id);
                match found.len() <= FEW {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
            *from = next;
            if found.len() > FEW {
                (cursor.few.ids, cursor.few.from) = (None, None);
            } else if from.is_some() {
                return false;
            }
        }
        self.take_newborn(cursor);
        true
    }

    /// Looks at the subjects that came since the cursor's few were found.
    fn take_newborn(&self, cursor: &mut Cursor) {
        let seen = cursor.few.births.replace(self.subjects.births());
        let newborn = seen.and_then(|seen| self.subjects.newborn(seen));
        let (Some(newborn), Some(ids)) = (newborn, &mut cursor.few.ids) else {
            return;
        };
        for id in newborn {
            // An id may be one that had another meaning before.
            ids.retain(|&other| other != id);
            if self.subjects.is_match(id, &cursor.filters) {
                ids.push(id);
            }
        }
        if ids.len() > FEW {
            ids.retain(|&id| self.subjects.get(id).count > 0);
        }
        if ids.len() > FEW {
            cursor.few.ids = None;
        }
    }

    /// The next match from `from` on, chunk by chunk, by the bitmap of each chunk's matches.
    fn next_in_pages(&self, cursor: &mut Cursor, from: Seq, looks: &mut usize) -> Sought {
        for (number, chunk, at) in self.upwards(from) {
            let Some(end) = chunk.prev(u16::MAX) else {
                continue;
            };
            if cursor.page.as_ref().is_none_or(|page| page.chunk != number) {
                // The bitmap is used again.
                let page = cursor.page.take().filter(|page| page.matches.len() == 0);
                let matches = page.map_or_else(Bits::new, |page| page.matches);
                // What lies before the question is looked through only if someone goes back.
                cursor.page = Some(Page {
                    chunk: number,
                    matches,
                    covered: u32::from(at),
                    begins: at,
                });
            }
            let filters = &cursor.filters;
            let Some(page) = cursor.page.as_mut() else {
                continue;
            };
            if at < page.begins {
                *page = Page {
                    chunk: number,
                    matches: Bits::new(),
                    covered: u32::from(at),
                    begins: at,
                };
            }
            loop {
                let mut place = at;
                // Of a subject that was tested all positions are among them; of what lies between those behind the part that
                // was looked through, nothing is known yet.
                let known = |found: &u16| u32::from(*found) < page.covered;
                while let Some(found) = page.matches.next(place).filter(known) {
                    if chunk.contains(found) {
                        return Sought::At(self.size.seq(number, found));
                    }
                    page.matches.remove(found);
                    place = found;
                }
                if page.covered > u32::from(end) {
                    break;
                }
                if *looks == 0 {
                    return Sought::Later(from.max(self.size.seq(number, at)));
                }
                // A single search finds its match among the first; whoever goes on wants the rest.
                let whole = u32::from(end) + 1;
                let upto = match page.covered == u32::from(page.begins) {
                    true => whole.min(page.covered + WINDOW),
                    false => whole,
                };
                let tested = self.cover(filters, page, number, chunk, upto);
                *looks = looks.saturating_sub(1 + tested / TESTED + chunk.postings.subjects() / PASSED);
                page.covered = upto;
            }
        }
        Sought::Nothing
    }

    /// Adds to the page what matches in its chunk from `covered` up to but without `upto`, and maybe more. Answers how many subjects
    /// it tested.
    fn cover(&self, filters: &Filters, page: &mut Page, number: u64, chunk: &Chunk, upto: u32) -> usize {
        let Ok(covered) = u16::try_from(page.covered) else {
            return 0;
        };
        let start = self.size.seq(number, covered);
        if self.recent.front().is_some_and(|&(oldest, _)| oldest <= start) {
            let skip = self.recent.partition_point(|&(seq, _)| seq < start);
            let here = |&&(seq, _): &&(Seq, u32)| self.size.of(seq) == number;
            let mut tested = 0;
            for &(seq, id) in self.recent.range(skip..).take_while(here) {
                tested += 1;
                // A subject that is gone leaves only dead messages behind; its id may have another meaning by now.
                if self.subjects.get(id).count > 0 && self.subjects.is_match(id, filters) {
                    page.matches.insert(self.size.position(seq));
                }
            }
            return tested;
        }
        // Either all matching subjects are looked for in the chunk, or all subjects of the chunk are tested.
        let here = chunk.postings.subjects();
        let whole = upto > u32::from(covered) + WINDOW;
        let ids = if whole && here > SMALL_CHUNK && self.subjects.len() / 4 <= here {
            self.ids_within(filters, here / 4, here / 4)
        } else {
            None
        };
        if let Some(ids) = ids {
            for id in ids {
                chunk.postings.collect_from(id, covered, &mut page.matches);
            }
            return here;
        }
        let mut tested = 0;
        let wanted = chunk.postings.ids_from(covered).filter(|(_, at)| u32::from(*at) < upto);
        for (id, _) in wanted {
            tested += 1;
            if self.subjects.is_match(id, filters) {
                chunk.postings.collect_from(id, covered, &mut page.matches);
            }
        }
        tested
    }
}
