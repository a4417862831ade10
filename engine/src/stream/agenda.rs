//! When each consumer of a stream next has something to do, so that a turn looks at those alone that it touched, however
//! many there are.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

use crate::types::NanoTime;

/// The next deadline of each consumer that has one, by serial number.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeSet<(NanoTime, u64)>,
    of: HashMap<u64, NanoTime, RandomState>,
}

impl Agenda {
    /// Notes when a consumer next has something to do; `None` for never.
    pub fn set(&mut self, serial: u64, due: Option<NanoTime>) {
        let before = match due {
            Some(due) => self.of.insert(serial, due),
            None => self.of.remove(&serial),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, serial));
        }
        if let Some(due) = due {
            self.due.insert((due, serial));
        }
    }

    /// Takes one that is due, the one due longest first.
    pub fn take_due(&mut self, now: NanoTime) -> Option<u64> {
        let &(due, serial) = self.due.first()?;
        if due > now {
            return None;
        }
        self.set(serial, None);
        Some(serial)
    }

    /// The first deadline of all.
    pub fn first(&self) -> Option<NanoTime> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests;
