//! Who was given bytes that nobody has tried to write yet.

use std::sync::Arc;

use super::Link;
use crate::limits::WRITE_FEW;

/// The receivers of a sender's batch: each is written to once, when the batch is done.
#[derive(Default)]
pub(crate) struct Sink {
    pub dirty: Vec<Arc<Link>>,
    /// A receiver is so far behind that the sender should wait a little.
    pub stall: bool,
    /// Writing is not the sender's work, unless it is quickly done.
    pub aloof: bool,
    /// Of each thread that was left something and is to be woken, one of its links.
    asleep: Vec<Arc<Link>>,
}

impl Sink {
    /// Writes what was gathered, once per receiver, or leaves it to the receivers' own threads, each of which is woken once.
    pub fn flush(&mut self) {
        if let ([lone], false) = (&*self.dirty, self.aloof)
            && lone.flush_little()
        {
            self.dirty.clear();
            return;
        }
        let many = self.aloof && self.dirty.len() > WRITE_FEW;
        for link in self.dirty.drain(..) {
            if link.is_for_home(many) {
                if link.leave() {
                    self.asleep.push(link);
                }
            } else {
                link.flush();
            }
        }
        for link in self.asleep.drain(..) {
            link.wake_home();
        }
    }
}
