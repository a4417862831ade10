//! Names of queues that a message is for.

use std::fmt;

use crate::line;

/// Names of queues: as they stand in a line, or in a list of the sender's.
#[derive(Clone, Copy, Default)]
pub struct Queues<'a> {
    /// Separated by blanks; empty if they are in the list.
    line: &'a [u8],
    list: &'a [&'a [u8]],
}

impl<'a> Queues<'a> {
    /// These ones.
    #[must_use]
    pub fn of(list: &'a [&'a [u8]]) -> Self {
        Self { line: b"", list }
    }

    /// Those that stand there, with blanks between them.
    pub(super) fn in_line(line: &'a [u8]) -> Self {
        Self { line, list: &[] }
    }

    /// Each of them, in their order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        line::words(self.line).chain(self.list.iter().copied())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(self, name: &[u8]) -> bool {
        self.iter().any(|known| known == name)
    }
}

impl PartialEq for Queues<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Queues<'_> {}

impl fmt::Debug for Queues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
