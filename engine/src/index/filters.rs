//! The filters of a question, made ready for many subjects: few are tried one by one, many stand in a trie.

use std::ops::Deref;

use bytes::Bytes;
use weir_subject::Sublist;

/// So many filters are tried one by one.
const FEW: usize = 16;

/// Filters without those that another one includes; empty if everything matches.
#[derive(Debug, Default)]
pub(super) struct Filters {
    list: Vec<Bytes>,
    /// Each with its place in the list, if they are many.
    trie: Option<Sublist<usize>>,
}

impl Filters {
    /// Takes out what another one includes. No filter at all matches everything.
    pub fn of(filters: &[Bytes]) -> Self {
        if filters.iter().any(|filter| filter.as_ref() == b">") {
            return Self::default();
        }
        let list = match filters.len() > FEW {
            true => reduce_many(filters),
            false => reduce_few(filters),
        };
        let trie = (list.len() > FEW).then(|| trie_of(&list));
        Self { list, trie }
    }

    /// Whether any of them matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        match &self.trie {
            Some(trie) => trie.has_interest(name),
            None => self.list.iter().any(|filter| weir_subject::matches(filter, name)),
        }
    }

    /// Whether none that stands before a place matches.
    pub fn is_first(&self, at: usize, name: &[u8]) -> bool {
        match &self.trie {
            Some(trie) => {
                let mut first = true;
                trie.matches(name, &mut |place| first &= *place >= at);
                first
            }
            None => !self.list[..at].iter().any(|filter| weir_subject::matches(filter, name)),
        }
    }
}

impl Deref for Filters {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        &self.list
    }
}

fn trie_of(filters: &[Bytes]) -> Sublist<usize> {
    let mut trie = Sublist::new();
    for (at, filter) in filters.iter().enumerate() {
        // One that is malformed matches nothing.
        let _ = trie.insert(filter, at);
    }
    trie
}

fn reduce_few(filters: &[Bytes]) -> Vec<Bytes> {
    let mut kept: Vec<Bytes> = Vec::new();
    for filter in filters {
        if kept.iter().any(|other| weir_subject::is_subset(filter, other)) {
            continue;
        }
        kept.retain(|other| !weir_subject::is_subset(other, filter));
        kept.push(filter.clone());
    }
    kept
}

fn reduce_many(filters: &[Bytes]) -> Vec<Bytes> {
    let trie = trie_of(filters);
    let is_kept = |(at, filter): &(usize, &Bytes)| {
        let mut kept = true;
        // Of equal ones the first counts.
        trie.covering(filter, &mut |&other| {
            kept &= other == *at || (filters[other] == **filter && *at < other)
        });
        kept
    };
    let kept = filters.iter().enumerate().filter(is_kept);
    kept.map(|(_, filter)| filter.clone()).collect()
}

#[cfg(test)]
mod tests;
