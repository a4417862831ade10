//! The options, behind one swap.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::conf::Options;

/// What the server is told now. Who asks once for each connection, or less often, asks here each time; what a connection is made
/// with and what is needed for each message is copied when the connection is made.
pub struct Live {
    options: ArcSwap<Options>,
    since: Mutex<Timestamp>,
}

impl Live {
    /// Begins with these.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options: ArcSwap::from_pointee(options),
            since: Mutex::new(Timestamp::now()),
        }
    }

    /// Goes on with others.
    pub(crate) fn set(&self, options: Options) {
        self.options.store(Arc::new(options));
        *self.since.lock() = Timestamp::now();
    }

    /// Whether these are the options of now.
    pub(crate) fn are(&self, options: &Arc<Options>) -> bool {
        Arc::ptr_eq(&self.options.load(), options)
    }

    /// Since when the options of now are those.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        *self.since.lock()
    }

    /// The options of now, for a look: quick, and not to be kept.
    #[must_use]
    pub fn read(&self) -> Guard<Arc<Options>> {
        self.options.load()
    }

    /// The options of now, to be kept for as long as it takes.
    #[must_use]
    pub fn get(&self) -> Arc<Options> {
        self.options.load_full()
    }
}
