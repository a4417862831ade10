//! What a shard does while the disk is full: publishers are refused before anything of their messages is written, and
//! everything else goes on, in room that the journal keeps for it. When there is room again publishing goes on by itself.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::shard::Shard;
use crate::types::{LogId, NanoTime, Nanos, SECOND};

/// How often a shard looks whether there is room again.
const LOOK_EVERY: Nanos = SECOND;

/// About what a new stream needs of the journal, in bytes.
pub(super) const NEW_STREAM_BYTES: usize = 16 << 10;

/// What a shard knows of the room on its disk.
#[derive(Default)]
pub(super) struct Room {
    /// Why nothing can be stored, and when to look again.
    full: Option<(Error, NanoTime)>,
    /// Bytes of the journal that this turn was promised.
    promised: u64,
    /// Streams whose logs lack what the journal has: there was no room for it.
    unwritten: BTreeSet<LogId>,
}

impl Room {
    /// # Errors
    /// The disk is full: nothing can be stored now.
    pub fn check(&self) -> Result<()> {
        match &self.full {
            None => Ok(()),
            Some((why, _)) => Err(why.clone()),
        }
    }

    /// Whether a stream's log lacks what the journal has, for want of room.
    pub fn is_unwritten(&self, id: LogId) -> bool {
        self.unwritten.contains(&id)
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        if let Some((_, at)) = &mut self.full {
            *at = at.saturating_add(step);
        }
    }

    /// When to look whether there is room again.
    pub fn next_look(&self) -> Option<NanoTime> {
        self.full.as_ref().map(|(_, at)| *at)
    }
}

impl Shard {
    /// At the start of a turn: sees to it that the journal has room for its messages, or notes that there is none.
    ///
    /// # Errors
    /// If the journal failed for another reason.
    pub(super) fn begin_with_room(&mut self, bytes: u64, now: NanoTime) -> Result<()> {
        self.room.promised = 0;
        self.look_for_room(bytes, now)
    }

    /// Within a turn: what a call wants to store needs room as well.
    ///
    /// # Errors
    /// The disk is full, or the journal failed.
    pub(super) fn need_room(&mut self, bytes: usize, now: NanoTime) -> Result<()> {
        self.look_for_room(bytes as u64, now)?;
        self.room.check()
    }

    fn look_for_room(&mut self, bytes: u64, now: NanoTime) -> Result<()> {
        match self.room.next_look() {
            Some(at) if now < at => return Ok(()),
            None if bytes == 0 => return Ok(()),
            _ => {}
        }
        for id in std::mem::take(&mut self.room.unwritten) {
            if let Some(stream) = self.streams.get_mut(&id)
                && let Err(error) = stream.messages.write(true)
            {
                self.not_written(id, error, now);
            }
        }
        if !self.room.unwritten.is_empty() {
            return Ok(());
        }
        match self.journal.reserve(self.room.promised + bytes) {
            Ok(()) => {
                self.room.promised += bytes;
                if self.room.full.take().is_some() {
                    tracing::warn!(
                        shard = self.number,
                        "there is room on the disk again: publishing goes on"
                    );
                    self.env.catalogue.set_trouble(self.number, None);
                }
                Ok(())
            }
            Err(error) if error.kind == Kind::Full => {
                self.note_full(&error, now);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A stream's log could not take what the journal has of it. Without room that waits; anything else is a fault of
    /// the stream.
    pub(super) fn not_written(&mut self, id: LogId, error: Error, now: NanoTime) {
        if error.kind == Kind::Full {
            self.room.unwritten.insert(id);
            self.note_full(&error, now);
        } else {
            self.faulty.push((id, error));
        }
    }

    fn note_full(&mut self, error: &Error, now: NanoTime) {
        let why = format!("the disk is full, publishing waits for room: {error}");
        if self.room.full.is_none() {
            tracing::error!(shard = self.number, "{why}");
            self.env.catalogue.set_trouble(self.number, Some(why.clone()));
        }
        self.room.full = Some((Error::new(Kind::Full, why), now.saturating_add(LOOK_EVERY)));
    }
}
