//! What the log of a stream holds, for those who look at a store.

use std::sync::Arc;

use crate::backend::{LogReader, Lost};
use crate::stream::Stream;
use crate::stream::settings::Settings;

impl Stream {
    /// How it is stored.
    pub fn settings(&self) -> Settings {
        self.messages.settings
    }

    /// Reads its log, which may lack what only the journal has.
    pub fn log_reader(&self) -> &Arc<dyn LogReader> {
        self.messages.reader()
    }

    /// What its log has lost: what opening it found, and what readers met since.
    pub fn log_lost(&self) -> Vec<Lost> {
        self.messages.log_lost()
    }

    /// Damaged places that opening its log found, one line each with file and offset; in an [`Image`](crate::image::Image)
    /// only.
    pub fn damaged_places(&self) -> &[String] {
        &self.messages.places
    }

    /// Bytes at the end of its log of a write that never finished; in an [`Image`](crate::image::Image) only.
    pub fn torn_bytes(&self) -> u64 {
        self.messages.torn_bytes
    }
}
