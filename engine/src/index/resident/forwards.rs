//! Searching a resident index upwards, with a cursor that remembers pages.

use crate::index::bits::Bits;
use crate::index::chunk::{Chunk, chunk_of, position_of, seq_at};
use crate::index::cursor::{Cursor, Page};
use crate::index::filters::Filters;
use crate::index::resident::Resident;
use crate::types::Seq;

/// Up to so many matching subjects are asked one by one; with more, the matches of a chunk are gathered in a bitmap.
const FEW: usize = 4;

/// In a chunk of no more subjects than this, each is tested against the filters.
const SMALL_CHUNK: usize = 256;

impl Resident {
    /// The first live message from `from` on that the cursor's filters match.
    pub fn next_match(&mut self, cursor: &mut Cursor, from: Seq) -> Option<Seq> {
        if cursor.filters().is_empty() {
            return self.next_live(from);
        }
        let (first, last) = (self.first()?, self.last_live()?);
        let from = from.max(first);
        if from > last {
            return None;
        }
        // While a page covers the place, it answers without looking at any subject.
        if cursor.page.as_ref().is_some_and(|page| page.chunk == chunk_of(from)) {
            return self.next_in_pages(cursor, from);
        }
        self.refresh(cursor);
        match &cursor.few.ids {
            Some(ids) => ids.iter().filter_map(|&id| self.next_of(id, from)).min(),
            None => self.next_in_pages(cursor, from),
        }
    }

    /// Brings the cursor's few subjects up to date. Once there are many, it is left at that.
    pub(super) fn refresh(&self, cursor: &mut Cursor) {
        let births = self.subjects.births();
        let seen = cursor.few.births.replace(births);
        let Some(newborn) = seen.and_then(|seen| self.subjects.newborn(seen)) else {
            cursor.few.ids = self.subjects.matching_up_to(&cursor.filters, FEW);
            return;
        };
        let Some(ids) = &mut cursor.few.ids else {
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
    pub(super) fn next_in_pages(&self, cursor: &mut Cursor, from: Seq) -> Option<Seq> {
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
                while let Some(found) = page.matches.next(place) {
                    if chunk.contains(found) {
                        return Some(seq_at(number, found));
                    }
                    page.matches.remove(found);
                    place = found;
                }
                if page.covered > u32::from(end) {
                    break;
                }
                self.cover(filters, page, number, chunk);
                page.covered = u32::from(end) + 1;
            }
        }
        None
    }

    /// Adds to the page what matches in its chunk at `covered` and above.
    pub(super) fn cover(&self, filters: &Filters, page: &mut Page, number: u64, chunk: &Chunk) {
        let Ok(covered) = u16::try_from(page.covered) else {
            return;
        };
        let start = seq_at(number, covered);
        if self.recent.front().is_some_and(|&(oldest, _)| oldest <= start) {
            let skip = self.recent.partition_point(|&(seq, _)| seq < start);
            let here = |&&(seq, _): &&(Seq, u32)| chunk_of(seq) == number;
            for &(seq, id) in self.recent.range(skip..).take_while(here) {
                // A subject that is gone leaves only dead messages behind; its id may have another meaning by now.
                if self.subjects.get(id).count > 0 && self.subjects.is_match(id, filters) {
                    page.matches.insert(position_of(seq));
                }
            }
            return;
        }
        // Either all matching subjects are looked for in the chunk, or all subjects of the chunk are tested.
        let here = chunk.postings.subjects();
        let ids = if here > SMALL_CHUNK && self.subjects.len() / 4 <= here {
            self.subjects.matching_up_to(filters, here / 4)
        } else {
            None
        };
        if let Some(ids) = ids {
            for id in ids {
                chunk.postings.collect_from(id, covered, &mut page.matches);
            }
            return;
        }
        for (id, _) in chunk.postings.ids_from(covered) {
            if self.subjects.is_match(id, filters) {
                chunk.postings.collect_from(id, covered, &mut page.matches);
            }
        }
    }
}
