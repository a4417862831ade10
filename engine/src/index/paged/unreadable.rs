//! Messages whose records cannot be read: the log passes over them, and the index still has them. They are live, as in a
//! resident index, until they are removed: limits count them, and take them away in their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, RangeInclusive};

use bytes::Bytes;

use super::keys::{self, STEM};
use super::{Paged, overlay};
use crate::error::Result;
use crate::types::Seq;

/// What is known of the messages whose records cannot be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// The damage of the log that was looked into.
    known: BTreeSet<(Seq, Seq)>,
    /// The live messages that it struck, with their subjects.
    live: BTreeMap<Seq, Bytes>,
}

impl Unreadable {
    /// The subject of a message that is known to be unreadable.
    pub fn subject(&self, seq: Seq) -> Option<Bytes> {
        self.live.get(&seq).cloned()
    }

    /// Whether that damage was looked into.
    fn knows(&self, (low, high): (Seq, Seq)) -> bool {
        let before = self.known.range(..=(low, Seq::MAX)).next_back();
        before.is_some_and(|(_, end)| *end >= high)
    }

    /// A message is removed.
    pub fn gone(&mut self, seq: Seq) {
        self.live.remove(&seq);
    }

    /// All are removed.
    pub fn clear(&mut self) {
        self.live.clear();
    }
}

impl Paged {
    /// The live messages of a range, none of which the log has shown, whose records cannot be read.
    pub(super) fn unreadable(&self, range: RangeInclusive<Seq>) -> Result<Vec<(Seq, Bytes)>> {
        let damage = self.reader.damaged(range.clone());
        if damage.is_empty() || range.is_empty() {
            return Ok(Vec::new());
        }
        let mut unreadable = self.unreadable.borrow_mut();
        let new: Vec<(Seq, Seq)> = damage.into_iter().filter(|place| !unreadable.knows(*place)).collect();
        if !new.is_empty() {
            unreadable.live.extend(self.live_within(&new)?);
            unreadable.known.extend(new);
        }
        let live = unreadable.live.range(range);
        Ok(live.map(|(seq, subject)| (*seq, subject.clone())).collect())
    }

    /// The live messages within ranges, by the entries of their subjects: all of these are looked at.
    fn live_within(&self, ranges: &[(Seq, Seq)]) -> Result<BTreeMap<Seq, Bytes>> {
        let mut found = BTreeMap::new();
        let mut across: Vec<(Bytes, Seq, Seq)> = Vec::new();
        let prefix = self.keys.subject(b"");
        let mut outcome = Ok(());
        overlay::scan(&*self.kv, &self.overlay, &prefix, None, &mut |key, value| {
            let info = match keys::decode(key, value) {
                Ok(info) => info,
                Err(error) => {
                    outcome = Err(error);
                    return ControlFlow::Break(());
                }
            };
            let subject = key.get(STEM..).unwrap_or_default();
            for &(low, high) in ranges
                .iter()
                .filter(|(low, high)| info.first <= *high && info.last >= *low)
            {
                for end in [info.first, info.last] {
                    if (low..=high).contains(&end) {
                        found.insert(end, Bytes::copy_from_slice(subject));
                    }
                }
                if info.count > 2 {
                    across.push((Bytes::copy_from_slice(subject), low, high));
                }
            }
            ControlFlow::Continue(())
        })?;
        outcome?;
        for (subject, low, high) in across {
            if low == high && found.contains_key(&low) {
                continue;
            }
            self.postings(&subject, low, &mut |seq| {
                if seq > high {
                    return ControlFlow::Break(());
                }
                found.insert(seq, subject.clone());
                ControlFlow::Continue(())
            })?;
        }
        Ok(found)
    }
}
