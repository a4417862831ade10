//! Which subjects the messages of one place have: where messages are removed one after the other, that need not be looked up
//! for each of them among all subjects of its chunk.

use bytes::Bytes;

use crate::index::resident::Resident;
use crate::types::Seq;

/// Positions of a block.
const BLOCK: u16 = 4096;
/// Blocks that are remembered: as many places of a stream may be worked at, by as many consumers for example.
const BLOCKS: usize = 16;
/// Subjects of a chunk up to which they are rather looked at each time.
const FEW: usize = 16;
/// Subjects that may be looked at for the sake of one message, on average; with [`BLOCK`] messages in a row it is far less.
const LOOKS: usize = 32;
/// What may have been saved up of that.
const SAVED: usize = 2 * BLOCKS * 65_536;

/// The subjects of the messages in parts of chunks.
#[derive(Debug)]
pub(super) struct Here {
    /// The one that was asked last comes first.
    blocks: Vec<Block>,
    /// So many subjects may be looked at.
    looks: usize,
}

/// The subjects of the messages in a part of one chunk, by their positions.
#[derive(Debug)]
struct Block {
    chunk: u64,
    first: u16,
    /// Of what was removed, or never was there, it means nothing.
    ids: Vec<u32>,
}

impl Default for Here {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            looks: SAVED,
        }
    }
}

impl Here {
    /// The block with a position, and its subject.
    fn find(&self, chunk: u64, at: u16) -> Option<(usize, u32)> {
        let mut found = self.blocks.iter().enumerate().filter(|(_, block)| block.chunk == chunk);
        found.find_map(|(nth, block)| {
            let place = at.checked_sub(block.first)?;
            Some((nth, *block.ids.get(usize::from(place))?))
        })
    }

    /// A message was added to a chunk, which has so many now.
    pub fn added(&mut self, chunk: u64, at: u16, id: u32, live: u32) {
        self.blocks.retain_mut(|block| {
            let place = usize::from(at.saturating_sub(block.first));
            if block.chunk != chunk || place >= usize::from(BLOCK) {
                return true;
            }
            block.ids.resize(place, 0);
            block.ids.push(id);
            // Else it takes more room than what is left is worth.
            place <= 2 * live as usize + FEW
        });
    }

    /// A chunk is gone.
    pub fn dropped(&mut self, chunk: u64) {
        self.blocks.retain(|block| block.chunk != chunk);
    }
}

impl Resident {
    /// Whether the subject of a message can be told at once, or it is a while since it was looked for in another place.
    pub fn is_quick(&self, seq: Seq) -> bool {
        let (number, at) = (self.size.of(seq), self.size.position(seq));
        let subjects = self.chunks.get(&number).map_or(0, |chunk| chunk.postings.subjects());
        subjects <= FEW.max(self.here.looks) || self.here.find(number, at).is_some()
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
        if let Some((nth, id)) = self.here.find(number, at) {
            self.here.blocks[..=nth].rotate_right(1);
            return Some(id);
        }
        self.here.looks = self.here.looks.saturating_sub(subjects);
        let last = chunk.prev(u16::MAX).unwrap_or(at).min(at.saturating_add(BLOCK - 1));
        let mut ids = vec![0; usize::from(last - at) + 1];
        chunk
            .postings
            .each_within(at, last, |id, position| ids[usize::from(position - at)] = id);
        let id = ids.first().copied();
        let block = Block {
            chunk: number,
            first: at,
            ids,
        };
        self.here.blocks.truncate(BLOCKS - 1);
        self.here.blocks.insert(0, block);
        id
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
