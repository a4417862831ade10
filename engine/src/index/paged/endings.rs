//! When messages with a life of their own end: keys in the order of time, so that the first is one seek away.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::overlay::scan;
use super::{Paged, keys};
use crate::error::Result;
use crate::types::{NanoTime, Seq};

impl Paged {
    /// Notes when a message ends.
    pub fn add_ending(&mut self, at: NanoTime, seq: Seq) {
        self.overlay.insert(self.keys.ending(at, seq), Some(Bytes::new()));
        self.changed = true;
        self.endings_from = self.endings_from.min((at, seq));
        if let Some(first) = &mut self.first_ending
            && first.is_none_or(|first| (at, seq) < first)
        {
            *first = Some((at, seq));
        }
    }

    /// Forgets when a message ends.
    pub fn remove_ending(&mut self, at: NanoTime, seq: Seq) {
        self.overlay.insert(self.keys.ending(at, seq), None);
        self.changed = true;
        if self.first_ending == Some(Some((at, seq))) {
            // Seeking goes on from here, past what was deleted before.
            self.endings_from = (at, seq);
            self.first_ending = None;
        }
    }

    /// The message that ends first.
    pub fn first_ending(&mut self) -> Result<Option<(NanoTime, Seq)>> {
        if let Some(first) = self.first_ending {
            return Ok(first);
        }
        let first = self.endings(NanoTime::MAX, 1)?.first().copied();
        self.first_ending = Some(first);
        Ok(first)
    }

    /// The messages that end first, up to that time; `most` at most.
    pub fn endings(&self, until: NanoTime, most: usize) -> Result<Vec<(NanoTime, Seq)>> {
        let (at, seq) = self.endings_from;
        let mut found = Vec::new();
        let from = self.keys.ending(at, seq);
        scan(
            self.kv.as_ref(),
            &self.overlay,
            &self.keys.endings(),
            Some(&from),
            &mut |key, _| match keys::ending_of(key) {
                Some((at, seq)) if at <= until && found.len() < most => {
                    found.push((at, seq));
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Break(()),
            },
        )?;
        Ok(found)
    }
}
