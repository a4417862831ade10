//! What a reader remembers between two questions for the next message that its filters match.

use bytes::Bytes;

use super::bits::Bits;
use super::filters::Filters;
use crate::types::Seq;

/// The filters of a reader, and a cache that makes asking for the next match cheap when the questions go upwards.
/// Whatever is added to and removed from the index between two questions, the answers stay right; a cursor belongs
/// to one index. Takes up to about 8 KiB.
#[derive(Debug, Default)]
pub struct Cursor {
    pub(super) filters: Filters,
    pub(super) few: Few,
    pub(super) page: Option<Page>,
    pub(super) ahead: Option<Ahead>,
    /// Whether many subjects may match in a paged index, or many are to be looked through for a few.
    pub(super) wide: bool,
    pub(super) survey: Option<Survey>,
    /// The subject to go on with and the last match so far, of a search for that in a paged index.
    pub(super) newest: Option<(Vec<u8>, Option<Seq>)>,
}

/// How far a paged index came in asking all subjects where they have their next message, while the log is read for it.
#[derive(Debug)]
pub(super) struct Survey {
    /// Messages below this are not asked for.
    pub place: Seq,
    /// The subject to go on with.
    pub next: Vec<u8>,
    /// No match from `place` on lies below this, of the subjects that were asked.
    pub nearest: Option<Seq>,
    /// The last message when this began: of those behind it nothing is known.
    pub upto: Seq,
}

/// The subjects that match, if they are so few that each can be asked on its own.
#[derive(Debug, Default)]
pub(super) struct Few {
    /// What [`births`](super::subjects::Subjects::births) said when the ids were looked up.
    pub births: Option<u64>,
    pub ids: Option<Vec<u32>>,
    /// The subject to go on with, while they are looked for.
    pub from: Option<Vec<u8>>,
}

/// Matches that a paged index fetched before they were asked for.
#[derive(Debug)]
pub(super) struct Ahead {
    /// All matches from here to `upto` are among `seqs`; some may be dead by now.
    pub from: Seq,
    pub upto: Seq,
    pub seqs: Vec<Seq>,
    /// The index's count of removals when this was fetched: while it stands, all are live.
    pub removals: u64,
}

/// The matches of one chunk.
#[derive(Debug)]
pub(super) struct Page {
    pub chunk: u64,
    /// Positions that matched when they were added; some may be dead by now.
    pub matches: Bits,
    /// Positions below were not asked for and not looked at.
    pub begins: u16,
    /// Positions from `begins` up to this one are looked through; 65,536 is the end of the chunk.
    pub covered: u32,
}

impl Cursor {
    /// A cursor for what any of the filters matches. No filter at all matches everything.
    pub fn new(filters: impl AsRef<[Bytes]>) -> Self {
        Self {
            filters: Filters::of(filters.as_ref()),
            few: Few::default(),
            page: None,
            ahead: None,
            wide: false,
            survey: None,
            newest: None,
        }
    }

    /// The filters, without those that another one includes; empty if everything matches.
    pub fn filters(&self) -> &[Bytes] {
        &self.filters
    }
}
