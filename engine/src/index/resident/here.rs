//! Which subjects the messages of one place have: where messages are removed one after the other, that need not be looked up
//! for each of them among all subjects of its chunk.

use bytes::Bytes;

use crate::index::resident::Resident;
use crate::types::Seq;

/// Positions of which the subjects are known, at most.
const BLOCK: u16 = 4096;
/// Subjects of a chunk up to which they are rather looked at each time.
const FEW: usize = 16;
/// Subjects that may be looked at for the sake of one message, on average; with [`BLOCK`] messages in a row it is far less.
const LOOKS: usize = 32;
/// What may have been saved up of that.
const SAVED: usize = 8 << 16;

/// The subjects of the messages in a part of one chunk, by their positions.
#[derive(Debug)]
pub(super) struct Here {
    chunk: u64,
    first: u16,
    /// Of what was removed, or never was there, it means nothing.
    ids: Vec<u32>,
    /// So many subjects may be looked at.
    looks: usize,
}

impl Default for Here {
    fn default() -> Self {
        Self {
            chunk: 0,
            first: 0,
            ids: Vec::new(),
            looks: SAVED,
        }
    }
}

impl Here {
    fn get(&self, chunk: u64, at: u16) -> Option<u32> {
        let place = at.checked_sub(self.first).filter(|_| chunk == self.chunk)?;
        self.ids.get(usize::from(place)).copied()
    }

    /// A message was added to a chunk, which has so many now.
    pub fn added(&mut self, chunk: u64, at: u16, id: u32, live: u32) {
        if chunk != self.chunk || self.ids.is_empty() {
            return;
        }
        let place = usize::from(at.saturating_sub(self.first));
        if place > 2 * live as usize + FEW {
            // It takes more room than what is left is worth.
            self.ids = Vec::new();
        } else if place < usize::from(BLOCK) {
            self.ids.resize(place, 0);
            self.ids.push(id);
        }
    }

    /// A chunk is gone.
    pub fn dropped(&mut self, chunk: u64) {
        if chunk == self.chunk {
            self.ids = Vec::new();
        }
    }
}

impl Resident {
    /// Whether the subject of a message can be told at once, or it is a while since it was looked for in another place.
    pub fn is_quick(&self, seq: Seq) -> bool {
        let (number, at) = (self.size.of(seq), self.size.position(seq));
        let subjects = self.chunks.get(&number).map_or(0, |chunk| chunk.postings.subjects());
        subjects <= FEW.max(self.here.looks) || self.here.get(number, at).is_some()
    }

    /// Whose a live message is; quick for many in a row.
    fn id_at(&mut self, seq: Seq) -> Option<u32> {
        let (number, at) = (self.size.of(seq), self.size.position(seq));
        let chunk = self.chunks.get(&number).filter(|chunk| chunk.contains(at))?;
        self.here.looks = (self.here.looks + LOOKS).min(SAVED);
        let subjects = chunk.postings.subjects();
        if subjects <= FEW {
            return chunk.postings.id_at(at);
        }
        if let Some(id) = self.here.get(number, at) {
            return Some(id);
        }
        self.here.looks = self.here.looks.saturating_sub(subjects);
        let last = chunk.prev(u16::MAX).unwrap_or(at).min(at.saturating_add(BLOCK - 1));
        let ids = &mut self.here.ids;
        ids.clear();
        ids.resize(usize::from(last - at) + 1, 0);
        chunk
            .postings
            .each_within(at, last, |id, position| ids[usize::from(position - at)] = id);
        (self.here.chunk, self.here.first) = (number, at);
        self.here.get(number, at)
    }

    /// As [`Resident::subject_at`], quick for many in a row.
    pub fn subject_here(&mut self, seq: Seq) -> Option<Bytes> {
        let id = self.id_at(seq)?;
        Some(Bytes::copy_from_slice(self.subjects.name(id)))
    }

    /// Lets go of memory that only removing needs.
    pub fn idle(&mut self) {
        self.here = Here::default();
    }
}
