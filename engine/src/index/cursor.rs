//! What a reader remembers between two questions for the next message that its filters match.

use bytes::Bytes;

use super::bits::Bits;
use crate::types::Seq;

/// The filters of a reader, and a cache that makes asking for the next match cheap when the questions go upwards.
/// Whatever is added to and removed from the index between two questions, the answers stay right; a cursor belongs
/// to one index. Takes up to about 8 KiB.
#[derive(Debug, Default)]
pub struct Cursor {
    pub(super) filters: Vec<Bytes>,
    pub(super) few: Few,
    pub(super) page: Option<Page>,
    pub(super) ahead: Option<Ahead>,
}

/// The subjects that match, if they are so few that each can be asked on its own.
#[derive(Debug, Default)]
pub(super) struct Few {
    /// What [`births`](super::subjects::Subjects::births) said when the ids were looked up.
    pub births: Option<u64>,
    pub ids: Option<Vec<u32>>,
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
            filters: reduce(filters.as_ref()),
            few: Few::default(),
            page: None,
            ahead: None,
        }
    }

    /// The filters, without those that another one includes; empty if everything matches.
    pub fn filters(&self) -> &[Bytes] {
        &self.filters
    }
}

/// The filters without those that another one includes; empty if everything matches.
pub(super) fn reduce(filters: &[Bytes]) -> Vec<Bytes> {
    let mut kept: Vec<Bytes> = Vec::new();
    for filter in filters {
        if filter.as_ref() == b">" {
            return Vec::new();
        }
        if kept.iter().any(|other| weir_subject::is_subset(filter, other)) {
            continue;
        }
        kept.retain(|other| !weir_subject::is_subset(other, filter));
        kept.push(filter.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_reduced() {
        let reduced = |filters: &[&'static str]| {
            let filters: Vec<Bytes> = filters
                .iter()
                .map(|filter| Bytes::from_static(filter.as_bytes()))
                .collect();
            reduce(&filters)
                .iter()
                .map(|filter| String::from_utf8_lossy(filter).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(reduced(&["a.b", "a.*", "b", "a.*"]), ["a.*", "b"]);
        assert_eq!(reduced(&["a", ">"]), [""; 0]);
        assert_eq!(reduced(&["a.>", "a.b.c", "a"]), ["a.>", "a"]);
    }
}
