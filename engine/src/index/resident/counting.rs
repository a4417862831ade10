//! Counting what a resident index holds from a sequence on.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::index::chunk::Chunk;
use crate::index::filters::Filters;
use crate::index::resident::Resident;
use crate::types::Seq;

impl Resident {
    /// Live messages from `from` on that any of the filters matches; no filter matches everything.
    pub fn count_from(&self, filters: &[Bytes], from: Seq) -> u64 {
        let filters = Filters::of(filters);
        let below = from <= self.first().unwrap_or(Seq::MAX);
        if filters.is_empty() {
            return if below { self.len } else { self.count_all_from(from) };
        }
        if let Ok(Some(count)) = self.tallies.count(&filters, from, |seq| Ok(self.next_live(seq))) {
            return count;
        }
        // Most subjects lie wholly on one side, and their totals say it all.
        let mut count = 0;
        let mut on_both_sides = Vec::new();
        let _: ControlFlow<()> = self.subjects.matching(&filters, |_, id| {
            let subject = self.subjects.get(id);
            if subject.first >= from {
                count += subject.count;
            } else if subject.last >= from {
                if below {
                    count += subject.count;
                } else {
                    on_both_sides.push(id);
                }
            }
            ControlFlow::Continue(())
        });
        if on_both_sides.is_empty() {
            count
        } else {
            count + self.count_of_from(&on_both_sides, from)
        }
    }

    /// Live messages from `from` on, by the chunks' counts from the nearer end.
    pub(super) fn count_all_from(&self, from: Seq) -> u64 {
        let edge = self.size.of(from);
        let inside = self
            .chunks
            .get(&edge)
            .map_or(0, |chunk| u64::from(chunk.count_from(self.size.position(from))));
        if self.is_nearer_the_end(edge) {
            inside
                + self
                    .chunks
                    .range(edge + 1..)
                    .map(|(_, chunk)| u64::from(chunk.len()))
                    .sum::<u64>()
        } else {
            let before: u64 = self
                .chunks
                .range(..=edge)
                .map(|(_, chunk)| u64::from(chunk.len()))
                .sum();
            self.len - before + inside
        }
    }

    /// Messages of these subjects from `from` on.
    pub(super) fn count_of_from(&self, ids: &[u32], from: Seq) -> u64 {
        let edge = self.size.of(from);
        let mut wanted = Wanted {
            ids,
            set: None,
            bound: self.subjects.ids(),
        };
        let inside = self
            .chunks
            .get(&edge)
            .map_or(0, |chunk| wanted.count_in(chunk, self.size.position(from)));
        if self.is_nearer_the_end(edge) {
            inside
                + self
                    .chunks
                    .range(edge + 1..)
                    .map(|(_, chunk)| wanted.count_in(chunk, 0))
                    .sum::<u64>()
        } else {
            let total: u64 = ids.iter().map(|&id| self.subjects.get(id).count).sum();
            let before: u64 = self
                .chunks
                .range(..=edge)
                .map(|(_, chunk)| wanted.count_in(chunk, 0))
                .sum();
            total - before + inside
        }
    }

    /// Whether there is less to look at behind that chunk than before it.
    pub(super) fn is_nearer_the_end(&self, chunk: u64) -> bool {
        let number = |entry: Option<(&u64, &Chunk)>| entry.map_or(0, |(&number, _)| number);
        let first = number(self.chunks.first_key_value());
        let last = number(self.chunks.last_key_value());
        last.saturating_sub(chunk) <= chunk.saturating_sub(first)
    }
}

/// A set of subjects to count in chunk after chunk.
struct Wanted<'a> {
    ids: &'a [u32],
    /// The same as a bitmap, made when a chunk has fewer subjects than are wanted.
    set: Option<Vec<u64>>,
    /// One above the highest id.
    bound: usize,
}

impl Wanted<'_> {
    /// How many of the chunk's positions at `from` or above belong to the set.
    fn count_in(&mut self, chunk: &Chunk, from: u16) -> u64 {
        let postings = &chunk.postings;
        if self.ids.len() <= postings.subjects() {
            return self
                .ids
                .iter()
                .map(|&id| u64::from(postings.count_from(id, from)))
                .sum();
        }
        let set = self.set.get_or_insert_with(|| {
            let mut set = vec![0u64; self.bound.div_ceil(64)];
            for &id in self.ids {
                set[id as usize / 64] |= 1 << (id % 64);
            }
            set
        });
        let is_wanted = |id: &u32| set[*id as usize / 64] >> (id % 64) & 1 == 1;
        postings
            .ids()
            .filter(is_wanted)
            .map(|id| u64::from(postings.count_from(id, from)))
            .sum()
    }
}
