//! How turns are let out. A turn is handed to what makes it a fact ([`Commit`]), and let out when it is one, as surely as its streams ask
//! for. Once it is a fact it goes to the logs; where these have what nothing else has ([aside](super::aside)), it is let out when they are
//! synced. While all that takes, the next turns are decided and handed over: a bounded number of them is in flight, and they are let out in
//! their order.
//!
//! [`Commit`]: super::commit::Commit

use std::collections::VecDeque;

use crate::error::Result;
use crate::shard::command::Commands;
use crate::shard::emit::Emit;
use crate::shard::turn::Turn;
use crate::shard::{Role, Shard, ShardHandle, keep_ledger};
use crate::store::Shown;
use crate::stream::messages::TurnNumber;
use crate::types::{NanoTime, Seq, StreamId};

/// Turns in flight, at most.
const FLIGHT_TURNS: usize = 8;
/// Bytes of the journal that turns in flight wrote, at most, but for the last one.
const FLIGHT_BYTES: usize = 8 << 20;
/// Turns that go on while others are in flight, at most: then all are let out, for what only a settled shard does, such as a checkpoint.
const UNSETTLED_TURNS: u32 = 64;

/// What is in flight.
#[derive(Default)]
pub(super) struct Flights {
    /// The last turn.
    turn: TurnNumber,
    /// The last turn that the logs have.
    landed: TurnNumber,
    /// The last turn that was let out.
    out: TurnNumber,
    /// Turns that are no facts yet.
    waiting: VecDeque<Flight>,
    /// Turns before those, which the logs have and that are let out when these are synced.
    written: VecDeque<Flight>,
    /// Bytes that all of them wrote.
    bytes: usize,
    /// How many turns there were since nothing was in flight.
    unsettled: u32,
}

/// A turn that is written and not let out.
struct Flight {
    turn: TurnNumber,
    /// The turn that must be synced before; once the logs have it, the one with which they must be.
    needs: TurnNumber,
    /// The streams that it changed, with what they held at its end.
    streams: Vec<(StreamId, Shown)>,
    emits: Vec<Emit>,
    bytes: usize,
    /// The last record before it.
    before: Seq,
}

impl Flight {
    /// Whether somebody waits for it to be on disk.
    fn is_due(&self) -> bool {
        self.needs == self.turn
    }
}

impl Flights {
    /// Whether all turns were let out.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.written.is_empty()
    }

    /// Whether no other turn may be in flight as well.
    fn is_full(&self) -> bool {
        self.waiting.len() + self.written.len() >= FLIGHT_TURNS || self.bytes >= FLIGHT_BYTES
    }

    /// The last turn that the logs have.
    pub fn landed(&self) -> TurnNumber {
        self.landed
    }

    /// The last turn that was let out: what later ones did is no fact yet.
    pub fn out(&self) -> TurnNumber {
        self.out
    }

    /// Whether what the logs have is all let out.
    pub fn are_landed_out(&self) -> bool {
        self.written.is_empty()
    }

    /// Whether all are to be let out before the next turn.
    pub fn must_settle(&self) -> bool {
        self.unsettled >= UNSETTLED_TURNS
    }

    /// The last record before all that is no fact yet.
    pub fn landed_position(&self) -> Option<Seq> {
        self.waiting.front().map(|flight| flight.before)
    }

    /// The streams that turns in flight changed.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        let flights = self.written.iter().chain(&self.waiting);
        flights.flat_map(|flight| flight.streams.iter().map(|(id, _)| *id))
    }

    /// Gives up what is in flight: answers whom it would have been for. Turns go on to be numbered behind it.
    pub fn give_up(&mut self) -> Vec<Emit> {
        let given_up = std::mem::take(self);
        (self.turn, self.landed, self.out) = (given_up.turn, given_up.turn, given_up.turn);
        let flights = given_up.written.into_iter().chain(given_up.waiting);
        flights.flat_map(|flight| flight.emits).collect()
    }

    fn push(&mut self, flight: Flight) {
        self.bytes += flight.bytes;
        self.unsettled += 1;
        self.waiting.push_back(flight);
    }

    fn pop_committed(&mut self, done: TurnNumber) -> Option<Flight> {
        self.waiting.pop_front_if(|flight| flight.needs <= done)
    }

    /// The logs have the turn.
    fn push_written(&mut self, flight: Flight) {
        self.landed = flight.turn;
        self.written.push_back(flight);
    }

    fn pop_written(&mut self, synced: TurnNumber) -> Option<Flight> {
        let flight = self.written.pop_front_if(|flight| flight.needs <= synced)?;
        self.bytes -= flight.bytes;
        self.out = flight.turn;
        if self.is_empty() {
            self.unsettled = 0;
        }
        Some(flight)
    }
}

impl Shard {
    /// Writes what the turn decided. If nothing must be waited for, or nobody waits for another turn (`others_wait`) and nothing is in
    /// flight, it is a fact at the end, and so is all that was in flight, whose emits are then before those of this turn. Else
    /// the turn is in flight, with its emits. `beside`: what goes on meanwhile; `None` if nothing may.
    ///
    /// # Errors
    /// If the journal failed.
    pub(super) fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        others_wait: bool,
        beside: Option<&ShardHandle>,
    ) -> Result<()> {
        for at in 0..self.touched.len() {
            let id = self.touched[at];
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.journal_turn(turn);
            }
        }
        let before = self.position;
        // Of replicas, nothing is a fact before most have it, however little a stream asks for.
        let is_leading = self.role == Role::Leading;
        let has_decided = !turn.commands.is_empty() || !turn.emits.is_empty() || !self.touched.is_empty();
        let due = turn.sync || is_leading && has_decided || self.sync_due.is_some_and(|due| due <= turn.now);
        let (asides, left) = self.set_aside(turn, due)?;
        let bytes = self.submit(&turn.commands)? + left;
        if due {
            self.sync_due = None;
        } else if let Some(nanos) = turn.sync_within {
            let due = turn.now.saturating_add(nanos);
            self.sync_due = Some(self.sync_due.map_or(due, |before| before.min(due)));
        }
        self.flights.turn += 1;
        let number = self.flights.turn;
        self.wait_for_bodies(asides, number);
        for at in 0..self.touched.len() {
            if let Some(stream) = self.streams.get_mut(&self.touched[at]) {
                stream.position = stream.position.max(self.position);
                stream.turn = number;
                stream.unsaved = true;
                stream.untidy = true;
                stream.messages.stage(number);
            }
        }
        let waits = !self.flights.is_empty() || due && (others_wait || is_leading);
        if waits
            && let Some(handle) = beside
            && self.can_fly()
            && (!due || self.commit.begin(number, handle))
        {
            self.fly(number, due, (before, bytes), turn);
            return Ok(());
        }
        let committed = match due {
            true => self.commit.sync(),
            false => self.commit.wait(number),
        };
        if let Err(error) = committed {
            // What it wrote is no fact.
            self.position = before;
            return Err(error);
        }
        let mut is_awaited = due || !self.flights.written.is_empty();
        while let Some(flight) = self.flights.pop_committed(TurnNumber::MAX) {
            is_awaited |= flight.is_due();
            self.land_streams(&flight, number, turn.now);
            self.flights.push_written(flight);
        }
        for at in 0..self.touched.len() {
            self.land_stream(self.touched[at], number, turn.now);
        }
        self.flights.landed = number;
        self.bodies_landed(number, is_awaited, turn.now)?;
        if is_awaited {
            self.sync_asides()?;
            self.say_synced(turn.now)?;
        }
        let mut emits = self.let_out(TurnNumber::MAX);
        self.flights.out = number;
        if !emits.is_empty() {
            emits.append(&mut turn.emits);
            turn.emits = emits;
        }
        for at in 0..self.touched.len() {
            if let Some(stream) = self.streams.get_mut(&self.touched[at]) {
                // A client that is answered may ask for it at once.
                stream.note_stats();
            }
        }
        for (id, error) in std::mem::take(&mut self.faulty) {
            self.take_offline(id, &error, turn);
        }
        for (id, settings) in std::mem::take(&mut self.doomed) {
            self.remove_log(id, &settings);
        }
        Ok(())
    }

    /// Writes commands to the journal; answers how many bytes those are, about.
    pub(super) fn submit(&mut self, commands: &Commands) -> Result<usize> {
        if commands.is_empty() {
            return Ok(0);
        }
        let records = commands.records(self.position + 1);
        self.commit.submit(&records)?;
        self.position += records.len() as Seq;
        let lengths = records.iter().map(|record| record.head.len() + record.body.len() + 64);
        let bytes = lengths.sum();
        self.checkpoint.grown(bytes);
        Ok(bytes)
    }

    /// Whether the turn that ends may be in flight: all that it leaves to do can be done later.
    fn can_fly(&self) -> bool {
        self.faulty.is_empty() && self.doomed.is_empty() && self.suspended.is_none()
    }

    fn fly(&mut self, number: TurnNumber, due: bool, (before, bytes): (Seq, usize), turn: &mut Turn<'_>) {
        if self.touched.is_empty() && turn.emits.is_empty() && bytes == 0 && !due {
            // It did nothing but look at what was committed.
            return;
        }
        let earlier = self.flights.waiting.back().map_or(0, |flight| flight.needs);
        let streams = self.touched.iter().filter_map(|id| {
            let stream = self.streams.get(id)?;
            Some((*id, stream.shown()))
        });
        let flight = Flight {
            turn: number,
            needs: if due { number } else { earlier },
            streams: streams.collect(),
            emits: std::mem::take(&mut turn.emits),
            bytes,
            before,
        };
        self.flights.push(flight);
    }

    /// Lets out what was committed meanwhile; if there is no room for another turn in flight, waits for some. `handle`: who is told when
    /// logs are synced.
    ///
    /// # Errors
    /// If it cannot be committed.
    pub(super) fn land(&mut self, now: NanoTime, handle: &ShardHandle) -> Result<Vec<Emit>> {
        if self.flights.is_empty() {
            return Ok(Vec::new());
        }
        if self.flights.is_full() {
            match (self.flights.written.front(), self.flights.waiting.front()) {
                (Some(first), _) => self.asides.wait(first.needs)?,
                (None, Some(first)) => self.commit.wait(first.needs)?,
                (None, None) => {}
            }
        }
        let done = self.commit.committed()?;
        self.land_up_to(done, now, Some(handle))?;
        let synced = self.asides.synced()?;
        Ok(self.let_out(synced))
    }

    /// Waits until all is committed that is in flight, and lets it out.
    ///
    /// # Errors
    /// If it cannot be committed.
    pub(super) fn settle(&mut self, now: NanoTime) -> Result<Vec<Emit>> {
        if self.flights.is_empty() {
            return Ok(Vec::new());
        }
        self.commit.sync()?;
        self.land_up_to(TurnNumber::MAX, now, None)?;
        Ok(self.let_out(TurnNumber::MAX))
    }

    /// What turns up to this one did is fact: their logs have it from now on, and are synced if somebody waits for that, by whoever tells
    /// that to the `handle`, or else when it returns.
    fn land_up_to(&mut self, done: TurnNumber, now: NanoTime, handle: Option<&ShardHandle>) -> Result<()> {
        let before = self.flights.landed;
        let needs = self.flights.written.back().map_or(0, |flight| flight.needs);
        let mut is_awaited = handle.is_none() && needs > 0;
        while let Some(mut flight) = self.flights.pop_committed(done) {
            is_awaited |= flight.is_due();
            let turn = flight.turn;
            self.land_streams(&flight, turn, now);
            flight.needs = needs;
            self.flights.push_written(flight);
        }
        let landed = self.flights.landed;
        self.bodies_landed(landed, is_awaited, now)?;
        if !is_awaited {
            return Ok(());
        }
        let Some(handle) = handle else {
            return self.sync_asides();
        };
        if self.begin_to_sync_asides(landed, handle)? {
            let new = self.flights.written.iter_mut().filter(|flight| flight.turn > before);
            new.for_each(|flight| flight.needs = landed);
        }
        Ok(())
    }

    /// Lets out what the logs have whose syncs with turns up to this one are over: others see it.
    fn let_out(&mut self, synced: TurnNumber) -> Vec<Emit> {
        let mut emits = Vec::new();
        while let Some(flight) = self.flights.pop_written(synced) {
            for (id, shown) in flight.streams {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.show(shown);
                }
            }
            match emits.is_empty() {
                true => emits = flight.emits,
                false => emits.extend(flight.emits),
            }
        }
        emits
    }

    fn land_streams(&mut self, flight: &Flight, turn: TurnNumber, now: NanoTime) {
        for (id, _) in &flight.streams {
            self.land_stream(*id, turn, now);
        }
    }

    /// What turns up to this one did to a stream is a fact: its log has it from now on.
    fn land_stream(&mut self, id: StreamId, turn: TurnNumber, now: NanoTime) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let read = stream.has_consumers();
        let written = match self.room.is_unwritten(id) {
            true => {
                // The log is asked again when it is time to look.
                stream.messages.join(turn);
                self.asides.refused(id, turn);
                Ok(())
            }
            false => stream.messages.land(turn, read),
        };
        keep_ledger(&self.env, stream);
        if let Err(error) = written {
            // The journal has it all, or will have before the turn is let out: what is answered stays true.
            self.asides.refused(id, turn);
            self.not_written(id, error, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_numbered_on_behind_those_that_were_given_up() {
        let mut flights = Flights {
            turn: 7,
            landed: 5,
            unsettled: 2,
            ..Flights::default()
        };
        for (turn, bytes) in [(6, 10), (7, 20)] {
            flights.push(Flight {
                turn,
                needs: turn,
                streams: Vec::new(),
                emits: Vec::new(),
                bytes,
                before: 0,
            });
        }
        assert!(flights.give_up().is_empty());
        // What a stream in memory staged in the seventh goes to its log with the eighth.
        assert_eq!((flights.turn, flights.landed, flights.out), (7, 7, 7));
        assert!(flights.is_empty() && flights.bytes == 0 && flights.unsettled == 0);
    }
}
