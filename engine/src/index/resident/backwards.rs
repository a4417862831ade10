//! Searching a resident index backwards.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::index::chunk::Chunk;
use crate::index::filters::Filters;
use crate::index::resident::Resident;
use crate::types::Seq;

/// The subjects that a backwards search asks one by one.
const FEW_BACKWARDS: usize = 64;

/// The subjects whose last messages a backwards search looks at before it tries the nearest chunk.
const MANY_BACKWARDS: usize = 8192;

impl Resident {
    /// The last live message up to `from` that any of the filters matches; no filter matches everything.
    pub fn prev_match(&self, filters: &[Bytes], from: Seq) -> Option<Seq> {
        let filters = Filters::of(filters);
        if filters.is_empty() {
            return self.prev_live(from);
        }
        if let Some(ids) = self.subjects.matching_up_to(&filters, FEW_BACKWARDS) {
            let mut best = None;
            for id in ids {
                // Only what lies above the best so far can be better.
                best = best.max(self.prev_of(id, from, best.map_or(0, |seq: Seq| seq + 1)));
            }
            return best;
        }
        for &(seq, id) in self.recent.iter().rev().filter(|(seq, _)| *seq <= from) {
            // The id of a message that is gone may have another meaning by now.
            if self.is_live(seq) && self.subjects.is_match(id, &filters) {
                return Some(seq);
            }
        }
        let from = match self.recent.front() {
            Some(&(oldest, _)) => from.min(oldest.saturating_sub(1)),
            None => from,
        };
        if let Some(found) = self.prev_by_subjects(&filters, from, MANY_BACKWARDS) {
            return found;
        }
        // Among so many subjects a match is probably near; if not, the subjects know.
        let nearest = self
            .downwards(from)
            .next()
            .and_then(|near| self.prev_in_chunk(near, &filters));
        if nearest.is_some() {
            return nearest;
        }
        if let Some(found) = self.prev_by_subjects(&filters, from, usize::MAX) {
            return found;
        }
        self.downwards(from)
            .find_map(|chunk| self.prev_in_chunk(chunk, &filters))
    }

    /// The last match up to `from` by what is known of the matching subjects, `limit` at most; `None` if that does not say
    /// it.
    #[allow(clippy::option_option, reason = "whether there is one, if that is known")]
    pub(super) fn prev_by_subjects(&self, filters: &Filters, from: Seq, limit: usize) -> Option<Option<Seq>> {
        let mut best = None;
        let (mut looked, mut on_both_sides) = (0, Vec::new());
        let ended = self.subjects.matching(filters, |_, id| {
            let subject = self.subjects.get(id);
            if subject.last <= from {
                best = best.max(Some(subject.last));
            } else if subject.first <= from {
                on_both_sides.push(id);
            }
            looked += 1;
            match looked > limit || on_both_sides.len() > FEW_BACKWARDS {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if ended.is_break() {
            return None;
        }
        for id in on_both_sides {
            best = best.max(self.prev_of(id, from, best.map_or(0, |seq: Seq| seq + 1)));
        }
        Some(best)
    }

    /// The last match in a chunk, up to a position there.
    pub(super) fn prev_in_chunk(&self, (number, chunk, at): (u64, &Chunk, u16), filters: &Filters) -> Option<Seq> {
        let mut best = None;
        for (id, position) in chunk.postings.ids_up_to(at) {
            if best < Some(position) && self.subjects.is_match(id, filters) {
                best = Some(position);
            }
        }
        Some(self.size.seq(number, best?))
    }
}
