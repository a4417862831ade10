//! The options, behind one swap.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::conf::Options;

/// What the server is told now. Who asks once for each connection, or less often, asks here each time; what a connection is made
/// with and what is needed for each message is copied when the connection is made.
pub struct Live(ArcSwap<Options>);

impl Live {
    /// Begins with these.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(ArcSwap::from_pointee(options))
    }

    /// The options of now, for a look: quick, and not to be kept.
    #[must_use]
    pub fn read(&self) -> Guard<Arc<Options>> {
        self.0.load()
    }

    /// The options of now, to be kept for as long as it takes.
    #[must_use]
    pub fn get(&self) -> Arc<Options> {
        self.0.load_full()
    }
}
