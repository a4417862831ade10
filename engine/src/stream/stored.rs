//! What the log of a stream holds, for those who look at a store.

use std::sync::Arc;

use crate::backend::{LogReader, Lost};
use crate::stream::Stream;
use crate::stream::messages::Messages;
use crate::stream::settings::Settings;

impl Stream {
    /// How it is to be stored according to its metadata, if its messages are elsewhere.
    pub(crate) fn wanted_settings(&self) -> Option<Settings> {
        let current = self.messages.settings;
        let wanted = current.wanted_by(self.config()).ok()?;
        (wanted.backend != current.backend && wanted.is_journaled() && current.is_journaled()).then_some(wanted)
    }

    /// Its messages, of one that has nothing else.
    pub(crate) fn into_messages(self) -> Messages {
        self.messages
    }

    /// Goes on with a copy of its log.
    pub(crate) fn go_over(&mut self, copy: Messages) {
        self.messages.go_over(copy);
        // What readers remember of the index was that of the other.
        for consumer in self.consumers.values_mut() {
            consumer.forget_index();
        }
        self.removals.forget_index();
    }

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
