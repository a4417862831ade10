//! What a shard does while the disk is full: publishers are refused before anything of their messages is written, and
//! everything else goes on, in room that the journal keeps for it. When there is room again publishing goes on by itself.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::shard::Shard;
use crate::types::{NanoTime, Nanos, SECOND, StreamId};

/// How often a shard looks whether there is room again.
const LOOK_EVERY: Nanos = SECOND;

/// The most bytes that must find room in the journal before it counts as having some again: a message that is longer holds up
/// no others.
const WANTED_MAX: u64 = 64 << 10;

/// About what a new stream needs of the journal, in bytes.
pub(super) const NEW_STREAM_BYTES: usize = 16 << 10;

/// What a shard knows of the room on its disks: a stream's log may lie on another one than the journal.
#[derive(Default)]
pub(super) struct Room {
    /// Why the journal takes no messages, and so no stream.
    full: Option<Error>,
    /// Streams whose logs lack what the journal has, and why: they store nothing until their logs have it.
    unwritten: BTreeMap<StreamId, Error>,
    /// When to look again whether there is room.
    look_at: Option<NanoTime>,
    /// Bytes of the journal that this turn was promised.
    promised: u64,
    /// Bytes that found no room, up to [`WANTED_MAX`]: room for fewer is none, or publishing would go on and stop each second.
    wanted: u64,
    /// What health says of all this.
    told: Option<String>,
}

impl Room {
    /// Whether a stream may store something.
    ///
    /// # Errors
    /// A disk is full that it needs.
    pub fn check(&self, id: StreamId) -> Result<()> {
        match self.full.as_ref().or_else(|| self.unwritten.get(&id)) {
            None => Ok(()),
            Some(why) => Err(why.clone()),
        }
    }

    /// The stream was opened anew, and its log with it.
    pub fn forget(&mut self, id: StreamId) {
        self.unwritten.remove(&id);
    }

    /// Whether a stream's log lacks what the journal has, for want of room.
    pub fn is_unwritten(&self, id: StreamId) -> bool {
        self.unwritten.contains_key(&id)
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        if let Some(at) = &mut self.look_at {
            *at = at.saturating_add(step);
        }
    }

    /// When to look whether there is room again.
    pub fn next_look(&self) -> Option<NanoTime> {
        self.look_at
    }

    fn look_after(&mut self, now: NanoTime) {
        self.look_at = Some(now.saturating_add(LOOK_EVERY));
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

    /// Within a turn: what a call wants to store in a stream needs room as well.
    ///
    /// # Errors
    /// A disk is full that it needs, or the journal failed.
    pub(super) fn need_room(&mut self, id: StreamId, bytes: usize, now: NanoTime) -> Result<()> {
        self.look_for_room(bytes as u64, now)?;
        self.room.check(id)
    }

    fn look_for_room(&mut self, bytes: u64, now: NanoTime) -> Result<()> {
        let due = self.room.look_at.is_some_and(|at| at <= now);
        if due {
            self.room.look_at = None;
            let landed = self.flights.landed();
            for id in std::mem::take(&mut self.room.unwritten).into_keys() {
                if let Some(stream) = self.streams.get_mut(&id)
                    && let Err(error) = stream.messages.land(landed, true)
                {
                    self.not_written(id, error, now);
                }
            }
        }
        let was_full = self.room.full.is_some();
        // A journal that is full is asked again only when it is time; one that is not, for whatever it is to take.
        if due && was_full || !was_full && bytes > 0 {
            let needed = self.room.promised + bytes;
            match self.commit.reserve(needed.max(self.room.wanted)) {
                Ok(()) => {
                    self.room.promised += bytes;
                    self.room.full = None;
                    self.room.wanted = 0;
                }
                Err(error) if error.kind == Kind::Full => {
                    self.room.full = Some(refusal(&error));
                    self.room.wanted = needed.max(self.room.wanted).min(WANTED_MAX);
                    self.room.look_after(now);
                }
                Err(error) => return Err(error),
            }
        }
        self.tell_of_room();
        Ok(())
    }

    /// A stream's log could not take what the journal has of it. Without room that waits; anything else is a fault of
    /// the stream.
    pub(super) fn not_written(&mut self, id: StreamId, error: Error, now: NanoTime) {
        if error.kind != Kind::Full {
            self.faulty.push((id, error));
            return;
        }
        self.room.unwritten.insert(id, refusal(&error));
        self.room.look_after(now);
        self.tell_of_room();
    }

    /// Tells health and the log, if something changed.
    fn tell_of_room(&mut self) {
        let of_stream = |(id, why): (&StreamId, &Error)| {
            let name = self
                .streams
                .get(id)
                .map_or_else(|| id.to_string(), |stream| stream.name().to_string());
            format!("stream {name}: {}", why.message)
        };
        let full = self.room.full.as_ref().map(|why| why.message.clone());
        let told = full.or_else(|| self.room.unwritten.iter().next().map(of_stream));
        if told == self.room.told {
            return;
        }
        match &told {
            Some(why) => tracing::error!(shard = %self.number, "{why}"),
            None => tracing::warn!(
                shard = %self.number,
                "there is room on the disk again: publishing goes on"
            ),
        }
        self.env.catalogue.set_trouble(self.number, told.clone());
        self.room.told = told;
    }
}

/// What publishers are told.
fn refusal(error: &Error) -> Error {
    Error::new(
        Kind::Full,
        format!("the disk is full, publishing waits for room: {error}"),
    )
}
