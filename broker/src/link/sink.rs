//! Who was given bytes that nobody has tried to write yet.

use std::sync::Arc;

use super::Link;

/// The receivers of a sender's batch: each is written to once, when the batch is done.
#[derive(Default)]
pub(crate) struct Sink {
    pub dirty: Vec<Arc<Link>>,
    /// A receiver is so far behind that the sender should wait a little.
    pub stall: bool,
}

impl Sink {
    /// Writes what was gathered, once per receiver.
    pub fn flush(&mut self) {
        for link in self.dirty.drain(..) {
            link.flush();
        }
    }
}
