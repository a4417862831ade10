//! Looking into a shard between its turns, on the caller's own thread.

use crate::error::Error;
use crate::shard::offline::contained;
use crate::shard::{Role, Shard, ShardHandle};
use crate::stream::{Search, Sight, StreamState};
use crate::types::{Seq, StreamId};

/// A shard between two turns, to read.
pub struct Looking<'s>(&'s mut Shard);

impl Looking<'_> {
    /// What a search is for in a stream, as far as that is in memory and is found among some `looks` messages and subjects, which this
    /// lowers; the search is not gone on with after that. `None` if it is not, or what turns in flight did to the stream may matter, or it
    /// is offline or gone: a turn tells.
    pub fn sight(&mut self, id: StreamId, search: &mut Search, looks: &mut usize) -> Option<Sight> {
        let flights = &self.0.flights;
        let (out, are_landed_out) = (flights.out(), flights.are_landed_out());
        let stream = self.0.streams.get_mut(&id)?;
        // What of a turn in flight the log has already, the stream cannot tell apart.
        let before = match stream.turn <= out {
            true => Seq::MAX,
            false if are_landed_out => stream.messages.staged_from()?,
            false => return None,
        };
        stream.sight(search, before, looks)
    }

    /// What a stream holds that has lost nothing, and how many consumers it has. `None` if it has, or not all of that is in memory, or
    /// turns in flight changed it, or the stream is offline or gone: a turn tells.
    pub fn state(&mut self, id: StreamId) -> Option<(StreamState, usize)> {
        let out = self.0.flights.out();
        let stream = self.0.streams.get_mut(&id).filter(|stream| stream.turn <= out)?;
        if stream.messages.unknown_first().is_some() || !stream.ledger().losses().is_empty() {
            return None;
        }
        Some((stream.state().ok()?, stream.consumer_count()))
    }
}

impl ShardHandle {
    /// Looks into the shard without its thread, while that has nothing to do: what is found is committed, and nothing that the caller
    /// has handed over before is missing. `None` if that cannot be had now, or `look` says so: then the shard has to be asked by
    /// [`ShardHandle::call`].
    ///
    /// The shard's thread may be waiting for the end of `look`: it reads nothing from a disk and is over in some microseconds. A panic
    /// in it goes no further than one in a turn.
    pub fn look<T>(&self, look: impl FnOnce(&mut Looking<'_>) -> Option<T>) -> Option<T> {
        if !self.is_idle() {
            return None;
        }
        self.window().look(|shard| {
            // What came meanwhile is taken off the queue under the same lock.
            if !self.is_idle() || !shard.is_settled() {
                return None;
            }
            contained(|| Ok(look(&mut Looking(shard)))).unwrap_or_else(|error| {
                shard.broken = Some(error);
                None
            })
        })
    }
}

impl Shard {
    /// Whether what is in memory is what its backends have, but for turns in flight.
    fn is_settled(&self) -> bool {
        let is_open = self.suspended.is_some() || self.generation == self.env.generation();
        // One that leads learns late that it does not any more.
        is_open && self.role == Role::Alone && self.broken.is_none() && self.discards == self.env.discards()
    }

    /// Somebody who looked in left it who knows how.
    ///
    /// # Errors
    /// Then: it must be opened anew.
    pub(super) fn check_whole(&mut self) -> Result<(), Error> {
        self.broken.take().map_or(Ok(()), Err)
    }
}
