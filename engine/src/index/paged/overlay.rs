//! The writes of the turn under way, and of those before it that are not in the [`Kv`] yet, seen as if they were.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::backend::{Kv, KvWrite, VisitKey};
use crate::error::Result;
use crate::stream::messages::TurnNumber;

/// What turns changed: the last change of each key.
#[derive(Default)]
pub(super) struct Overlay {
    keys: BTreeMap<Bytes, Change>,
    /// Those that the turn under way changed.
    fresh: Vec<Bytes>,
}

struct Change {
    /// `None` if the key is to be deleted.
    value: Option<Bytes>,
    /// The turn that changed it last; `None` if that is under way.
    turn: Option<TurnNumber>,
}

impl Overlay {
    /// What becomes of a key, if anything changed it.
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.keys.get(key).map(|change| change.value.as_ref())
    }

    /// Changes a key.
    pub fn insert(&mut self, key: impl Into<Bytes>, value: Option<Bytes>) {
        match self.keys.entry(key.into()) {
            Entry::Vacant(entry) => {
                self.fresh.push(entry.key().clone());
                entry.insert(Change { value, turn: None });
            }
            Entry::Occupied(mut entry) => {
                if entry.get().turn.is_some() {
                    self.fresh.push(entry.key().clone());
                }
                entry.insert(Change { value, turn: None });
            }
        }
    }

    /// Keys that were changed.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Nobody reads what was changed any more; what earlier turns staged is written all the same.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.fresh.clear();
    }

    /// The turn of that number is over: adds what it changed to its writes.
    pub fn stage(&mut self, turn: TurnNumber, writes: &mut Vec<KvWrite>) {
        for key in self.fresh.drain(..) {
            if let Some(change) = self.keys.get_mut(&key) {
                change.turn = Some(turn);
                writes.push((key, change.value.clone()));
            }
        }
    }

    /// The key has what turns up to this one made of it: answers that, unless a later one changed it again.
    pub fn land(&mut self, turn: TurnNumber, key: &[u8]) -> Option<Option<Bytes>> {
        let change = self.keys.get(key)?;
        if change.turn.is_none_or(|of| of > turn) {
            return None;
        }
        self.keys.remove(key).map(|change| change.value)
    }
}

/// As [`Kv::scan`], with the overlay's changes.
pub(super) fn scan(
    kv: &dyn Kv,
    overlay: &Overlay,
    prefix: &[u8],
    from: Option<&[u8]>,
    visit: VisitKey<'_>,
) -> Result<()> {
    let start = from.filter(|from| *from > prefix).unwrap_or(prefix);
    let mut changes = overlay
        .keys
        .range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(prefix))
        .map(|(key, change)| (key, &change.value))
        .peekable();
    let mut stopped = false;
    kv.scan(prefix, from, &mut |key, value| {
        while let Some((changed, new)) = changes.next_if(|(changed, _)| changed.as_ref() <= key) {
            let done = match new {
                Some(new) => visit(changed, new),
                None => ControlFlow::Continue(()),
            };
            if done.is_break() {
                stopped = true;
                return done;
            }
            if changed.as_ref() == key {
                return ControlFlow::Continue(());
            }
        }
        let done = visit(key, value);
        stopped = done.is_break();
        done
    })?;
    if stopped {
        return Ok(());
    }
    for (key, value) in changes {
        if let Some(value) = value
            && visit(key, value).is_break()
        {
            break;
        }
    }
    Ok(())
}
