//! Which chunks are kept beside the log, and what is written of the others.
//!
//! Each chunk that grows no longer becomes a frame of a list. When more than half of what the list has is gone from the index, it is
//! written anew, beside the old one, and takes its place when all is in it.

use crate::index::kept::{Draft, DraftStep};
use crate::index::resident::Resident;

/// How far the keeping is.
#[derive(Debug)]
pub(super) struct Keeping {
    /// Where the backend keeps it; see [`KeptIndex`](crate::backend::KeptIndex).
    token: u64,
    /// What a subject is marked with that a frame of the list names.
    mark: u32,
    /// Chunks below this are in the list, if they have anything.
    next: u64,
    /// Positions in the list, those too that are gone.
    positions: u64,
    /// Whether the list must be written anew: there is none, or it cannot be used.
    anew: bool,
    /// Whether a list is being written that does not stand for all yet.
    beside: bool,
    /// What the backend was not given yet.
    steps: Vec<DraftStep>,
}

/// What a backend is to keep of an index.
pub struct Drafts {
    /// See [`KeptIndex`](crate::backend::KeptIndex).
    pub token: u64,
    /// In their order.
    pub steps: Vec<DraftStep>,
}

impl Resident {
    /// From now on it is kept, in a new list.
    pub fn keep_anew(&mut self, token: u64) {
        self.keeping = Some(Keeping {
            token,
            mark: 1,
            next: 0,
            positions: 0,
            anew: true,
            beside: false,
            steps: Vec::new(),
        });
    }

    /// From now on it is kept, in the list that it was taken from: that has the chunks below `next` with so many positions, and the
    /// names of the subjects that are marked with 1.
    pub(super) fn keep_on(&mut self, token: u64, next: u64, positions: u64) {
        self.keep_anew(token);
        if let Some(keeping) = &mut self.keeping {
            (keeping.next, keeping.positions, keeping.anew) = (next, positions, false);
        }
    }

    /// The first chunk from `from` on, if it grows no longer.
    fn sealed_from(&self, from: u64) -> Option<u64> {
        let growing = self.size.of(self.next.saturating_sub(1));
        let (&number, _) = self.chunks.range(from..).next()?;
        (number < growing).then_some(number)
    }

    /// Whether there is something to be kept that is not drafted yet.
    pub fn has_unkept(&self) -> bool {
        self.keeping.as_ref().is_some_and(|keeping| {
            keeping.beside
                || self.is_wasteful(keeping)
                || self.sealed_from(if keeping.anew { 0 } else { keeping.next }).is_some()
        })
    }

    /// Whether more than half of the list is gone from the index, and there is more of it than of a chunk.
    fn is_wasteful(&self, keeping: &Keeping) -> bool {
        !keeping.beside && keeping.positions > 2 * self.len + self.size.len()
    }

    /// Drafts what is to be kept of one chunk, if there is any; answers about how many bytes that takes until it is kept.
    pub fn draft(&mut self) -> usize {
        let Some(mut keeping) = self.keeping.take() else {
            return 0;
        };
        let before = keeping.steps.len();
        let next = self.sealed_from(if keeping.anew { 0 } else { keeping.next });
        if self.is_wasteful(&keeping) || (keeping.anew && next.is_some()) {
            keeping.steps.push(DraftStep::Begin);
            keeping.mark += 1;
            (keeping.next, keeping.positions) = (0, 0);
            (keeping.anew, keeping.beside) = (false, true);
        }
        if let Some(number) = self.sealed_from(keeping.next).filter(|_| !keeping.anew) {
            let draft = self.draft_of(number, keeping.mark);
            keeping.steps.push(DraftStep::Frame(Box::new(draft)));
            keeping.next = number + 1;
            keeping.positions += self.chunks.get(&number).map_or(0, |chunk| u64::from(chunk.len()));
        }
        if keeping.beside && self.sealed_from(keeping.next).is_none() {
            keeping.steps.push(DraftStep::Complete);
            keeping.beside = false;
        }
        let bytes = keeping.steps[before..].iter().map(DraftStep::bytes).sum();
        self.keeping = Some(keeping);
        bytes
    }

    fn draft_of(&mut self, number: u64, mark: u32) -> Draft {
        let chunk = self.chunks.get(&number);
        let ends = chunk.and_then(|chunk| Some((chunk.next(0)?, chunk.prev(u16::MAX)?)));
        let digest = chunk.map(|chunk| chunk.digest).unwrap_or_default();
        let mut draft = Draft::of(self.size.power(), number, ends.unwrap_or_default(), digest);
        let Some(chunk) = chunk else { return draft };
        let subjects = &mut self.subjects;
        chunk.postings.each_list(|id, positions| {
            draft.subject(id, positions);
            if subjects.get(id).named != mark {
                subjects.get_mut(id).named = mark;
                draft.name(id, subjects.name(id));
            }
        });
        for (&position, &at) in chunk.endings.positions.iter().zip(&chunk.endings.times) {
            if chunk.contains(position) {
                draft.ending(position, at);
            }
        }
        draft.sizes(&chunk.sizes);
        draft.times(&chunk.times);
        draft
    }

    /// What the backend is to keep now; `None` if that is nothing.
    pub fn take_drafts(&mut self) -> Option<Drafts> {
        let keeping = self.keeping.as_mut().filter(|keeping| !keeping.steps.is_empty())?;
        Some(Drafts {
            token: keeping.token,
            steps: std::mem::take(&mut keeping.steps),
        })
    }

    /// What was drafted may not have been kept.
    pub fn not_kept(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.steps.clear();
            (keeping.anew, keeping.beside) = (true, false);
            (keeping.next, keeping.positions) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests;
